"""Which tokens of the samples of a batch compete, and how many of them are visible."""

import math
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from maskbank.checks import check_ratio, count_visible
from maskbank.errors import RecipeError
from maskbank.sampling.counts import FIXED, check_count, kept_of_frame
from maskbank.sampling.masks import ALL, core
from maskbank.sampling.selection import Tokens
from maskbank.sampling.windows import Array, Bools, Float64s, Int64s, UInt64s

if TYPE_CHECKING:
    from maskbank.sampling.sampler import MaskSampler

MOST = 2**14  # tokens for which counts are kept as a table


# counts and valid tokens; how many are visible in each mask, None where samples differ; their shares
Competition = tuple[Tokens, int | None, float | Float64s]


def compete(
    sampler: "MaskSampler", ids: UInt64s, single: bool, valid: Any, mask_ratio: Any, num_visible: Any
) -> Competition:
    """What decides the masks of samples. single: there is no axis of samples. Raises RecipeError.

    valid, mask_ratio, num_visible: see `MaskSampler.__call__`. The share of a sample is that of visible
    tokens were all valid: it shapes some baselines, which padding does not change.
    """
    if sampler.baseline in FIXED:
        raise RecipeError(
            f"{sampler.baseline} counts whole rows, columns or cells: it takes no valid=, mask_ratio= or "
            "num_visible= in a call; use another sampler, or sampler.replace(mask_ratio=...)"
        )
    if mask_ratio is not None and num_visible is not None:
        raise RecipeError("give either mask_ratio, the share that is hidden, or num_visible, not both")
    if mask_ratio is None and num_visible is None:
        mask_ratio = sampler.mask_ratio
        num_visible = sampler.num_visible if mask_ratio is None else None
    frames = sampler.num_visible // sampler.segment_count
    batch = _Batch(ids, single, math.prod(sampler.grid), frames)
    given = None if valid is None else batch.check_valid(valid)
    counts, marks = batch.counts(given, mask_ratio, num_visible)
    total: int | None = None
    asked_for = mask_ratio if num_visible is None else num_visible
    if len(ids) == 0:
        total = sampler.num_visible
    elif (valid is None or num_visible is not None) and np.ndim(asked_for) == 0:
        total = int(counts[0, 0]) * frames
    share: float | Float64s = 0.0
    if sampler.bank is None:
        whole = counts if valid is None else batch.counts(None, mask_ratio, num_visible)[0]
        share = whole.sum(1) / batch.tokens
    if valid is None:
        counts = np.ascontiguousarray(counts[:, : sampler.segments])
    return (counts, marks), total, share


class _Batch(NamedTuple):
    """Samples that are given valid tokens, ratios or counts."""

    ids: UInt64s  # (B,)
    single: bool  # only one id was given, and no axis of samples
    tokens: int  # L
    frames: int  # parts of the tokens, one behind the other, that have a count each

    def check_valid(self, valid: Any) -> Bools:
        """Which tokens are valid, as bool (B, L), or RecipeError."""
        try:
            given = np.asarray(valid)
        except ValueError:
            raise RecipeError("valid: rows have different lengths; give bool (B, L)") from None
        shape = (self.tokens,) if self.single else (len(self.ids), self.tokens)
        if given.dtype != bool or given.shape != shape:
            raise RecipeError(
                f"valid is {given.dtype} {given.shape}; give bool {shape}, True where a token is there"
            )
        given = given if given.flags.carray else given.copy()  # kernels are compiled for one layout
        return given[None] if self.single else given

    def counts(self, valid: Bools | None, mask_ratio: Any, num_visible: Any) -> Tokens:
        """How many tokens are visible in each part of each sample, int64 (B, frames), or RecipeError.

        And a copy of valid, bool (B, L); ALL for None, which says that all tokens are. mask_ratio
        or num_visible: one number, or one for each sample. A ratio leaves int(tokens * (1 - ratio)) of a
        sample's valid tokens; with several frames, of each frame's own, tokens - int(ratio * tokens).
        num_visible is shared by frames evenly.
        """
        if type(mask_ratio) is float and self.frames == 1 and self.tokens < MOST:
            tokens, least = self._counted(valid, _table(self.tokens, mask_ratio))
            if least > 0:
                return tokens
        (there, marks), least = self._counted(valid, _table(self.tokens // self.frames, None))
        if type(num_visible) is int:
            count = check_count(num_visible, self.tokens - 1, self.frames) // self.frames
            if count <= least:  # so in all samples
                return np.full_like(there, count), marks
        if least == 0:
            self._all(there.any(-1), "no token is valid; leave the sample out")
        if num_visible is not None:
            given = self._each(
                lambda n: check_count(n, self.tokens - 1, self.frames), "num_visible", num_visible
            ).astype(np.int64)
            counts = np.repeat(given[:, None] // self.frames, self.frames, 1)
            fine = (counts <= there).all(-1)
            if not fine.all():
                which = "tokens" if self.frames == 1 else f"tokens in one of its {self.frames} frames"
                b = int(fine.argmin())
                what = f"num_visible={given[b]} is too many for {there[b].min()} valid {which}"
                self._all(fine, f"{what}; lower it, or give mask_ratio")
            return counts, marks
        ratios = self._each(check_ratio, "mask_ratio", mask_ratio)
        if self.frames == 1:
            counts = self._map(count_visible, there[:, 0].tolist(), ratios.tolist())[:, None]
            return counts.astype(np.int64), marks
        counts = kept_of_frame(there, ratios[:, None])
        self._all(counts.any(-1), "its mask_ratio leaves no token visible; lower it")
        self._all((counts < there).any(-1), "its mask_ratio leaves no token masked; raise it")
        return counts, marks

    def _counted(self, valid: Bools | None, table: Int64s) -> tuple[Tokens, int]:
        """table[number of valid tokens] for each part, with a copy of valid; and the least of them."""
        if valid is None:
            return (np.full((len(self.ids), self.frames), table[-1]), ALL), int(table[-1])
        counts = np.empty((len(self.ids), self.frames), np.int64)
        marks = np.empty(valid.shape, bool)
        return (counts, marks), core().count_all(valid, table, marks, counts)

    def _each(self, check: Callable[[Any], Any], name: str, given: Any) -> Array:
        """What is given for each sample, (B,), checked."""
        try:
            found = np.asarray(given)
        except ValueError:
            raise RecipeError(
                f"{name} has rows of different lengths; give one number for each sample"
            ) from None
        if found.ndim == 0:
            return np.full(len(self.ids), check(given))
        if self.single or found.shape != self.ids.shape:
            wanted = (
                "one number" if self.single else f"one number, or one for each of {len(self.ids)} samples"
            )
            raise RecipeError(f"{name} has shape {found.shape}; give {wanted}")
        return self._map(check, found.tolist())

    def _map(self, function: Callable[..., Any], *columns: list[Any]) -> Array:
        """function for each sample; where it refuses, the error says which."""
        found: list[Any] = []
        try:
            for given in zip(*columns, strict=True):
                found.append(function(*given))
        except RecipeError as error:
            self._all(np.arange(len(self.ids)) != len(found), str(error))
        return np.array(found)

    def _all(self, fine: Any, otherwise: str) -> None:
        """RecipeError that names the first sample that is not fine."""
        if not fine.all():
            b = int(fine.argmin())
            raise RecipeError(f"sample {b} (id {self.ids[b]}): {otherwise}")


@lru_cache(16)
def _table(tokens: int, ratio: float | None) -> Int64s:
    """How many of 0, 1, ... tokens a ratio leaves visible; 0 where `count_visible` refuses. None: all."""
    if ratio is None:
        return np.arange(tokens + 1)
    counts = np.zeros(tokens + 1, np.int64)
    for number in range(tokens + 1):
        with suppress(RecipeError):
            counts[number] = count_visible(number, check_ratio(ratio))
    return counts
