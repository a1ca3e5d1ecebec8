"""Which tokens of each sample of a batch can be visible, and how many of them are."""

import math
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from maskbank.checks import check_ratio, count_visible
from maskbank.errors import RecipeError
from maskbank.sampling.counts import FIXED, check_count, kept_of_frame
from maskbank.sampling.masks import ALL, as_array
from maskbank.sampling.selection import Tokens
from maskbank.sampling.windows import Array, Bools, Float64s, Int64s, UInt64s

if TYPE_CHECKING:
    from maskbank.sampling.sampler import MaskSampler

TABLE = 2**14  # tokens; for fewer, counts are looked up in a table

# counts and valid tokens; how many tokens of each mask are visible, None where samples differ; as a share
Competition = tuple[Tokens, int | None, float | Float64s]


def compete(
    sampler: "MaskSampler", ids: UInt64s, single: bool, valid: Any, mask_ratio: Any, num_visible: Any
) -> Competition:
    """Which tokens of samples can be visible, and how many are. Raises RecipeError.

    single: there is no axis of samples. valid, mask_ratio, num_visible: see `MaskSampler.__call__`. The
    share is that of visible tokens if all tokens were valid. Some baselines depend on it, and padding does
    not change them.
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
    batch = _Batch(ids, single, math.prod(sampler.grid), frames, sampler.per_frame)
    marks = ALL if valid is None else batch.check_valid(valid)
    counts = batch.counts(marks, mask_ratio, num_visible)
    total: int | None = None
    asked_for = mask_ratio if num_visible is None else num_visible
    if (valid is None or num_visible is not None) and np.ndim(asked_for) == 0:
        some = batch if len(ids) else batch._replace(ids=np.zeros(1, np.uint64))
        total = int((counts if some is batch else some.counts(ALL, mask_ratio, num_visible))[0, 0]) * frames
    elif len(ids) == 0:
        total = sampler.num_visible
    share: float | Float64s = 0.0
    if sampler.bank is None:
        whole = counts if valid is None else batch.counts(ALL, mask_ratio, num_visible)
        share = whole.sum(1) / batch.tokens
    if valid is None:
        counts = np.ascontiguousarray(counts[:, : sampler.segments])
    return (counts, marks), total, share


class _Batch(NamedTuple):
    """Samples that are given valid tokens, ratios or counts."""

    ids: UInt64s  # (B,)
    single: bool  # only one id was given, and no axis of samples
    tokens: int  # L
    frames: int  # that have a count each; 1 where all tokens have one
    per_frame: bool  # a ratio counts as that of VideoMAE's tube does

    def check_valid(self, valid: Any) -> Bools:
        """Which tokens are valid, as a new array, bool (B, L); or RecipeError."""
        given = as_array("valid", valid, "bool (B, L)")
        shape = (self.tokens,) if self.single else (len(self.ids), self.tokens)
        if given.dtype != bool or given.shape != shape:
            raise RecipeError(
                f"valid is {given.dtype} {given.shape}; give bool {shape}, True where a token is there"
            )
        return given.reshape(len(self.ids), self.tokens).copy()

    def counts(self, valid: Bools, mask_ratio: Any, num_visible: Any) -> Int64s:
        """How many tokens are visible in each frame of each sample, int64 (B, frames), or RecipeError.

        valid: bool (B, L), or ALL. mask_ratio or num_visible: one number, or one for each sample. A ratio
        leaves int(tokens * (1 - ratio)) of a sample's valid tokens; with per_frame, of each frame's own,
        tokens - int(ratio * tokens). num_visible is shared by frames evenly.
        """
        shape = len(self.ids), self.frames, self.tokens // self.frames
        if valid is ALL:
            there = np.full(shape[:2], shape[2])
        else:
            small = np.uint16 if shape[2] < 2**16 else np.uint32  # which NumPy adds up faster
            there = valid.reshape(shape).sum(-1, dtype=small).astype(np.int64)
            if np.count_nonzero(there) < there.size:
                self._all(there.any(-1), "no token is valid; leave the sample out")
        counts: Int64s
        if type(mask_ratio) is float and not self.per_frame and self.tokens < TABLE:  # usual, and faster
            counts = _table(self.tokens, mask_ratio)[there]
            if np.count_nonzero(counts) == counts.size:
                return counts
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
            return counts
        ratios = self._each(check_ratio, "mask_ratio", mask_ratio)
        if not self.per_frame:
            return self._map(count_visible, there[:, 0].tolist(), ratios.tolist()).astype(np.int64)[:, None]
        counts = kept_of_frame(there, ratios[:, None])
        self._all(counts.any(-1), "its mask_ratio leaves no token visible; lower it")
        self._all((counts < there).any(-1), "its mask_ratio leaves no token masked; raise it")
        return counts

    def _each(self, check: Callable[[Any], Any], name: str, given: Any) -> Array:
        """What is given for each sample, (B,), checked."""
        found = as_array(name, given, "one number for each sample")
        if found.ndim == 0:
            return np.full(len(self.ids), check(given))
        if self.single or found.shape != self.ids.shape:
            several = "" if self.single else f", or one for each of {len(self.ids)} samples"
            raise RecipeError(f"{name} has shape {found.shape}; give one number{several}")
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
def _table(tokens: int, ratio: float) -> Int64s:
    """How many of 0, 1, ... tokens a ratio leaves visible; 0 where `count_visible` refuses."""
    counts = np.zeros(tokens + 1, np.int64)
    for number in range(tokens + 1):
        with suppress(RecipeError):
            counts[number] = count_visible(number, check_ratio(ratio))
    return counts
