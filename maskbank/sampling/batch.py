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
from maskbank.sampling.windows import Bools, Float64s, Int64s, UInt64s

if TYPE_CHECKING:
    from maskbank.sampling.sampler import MaskSampler

MOST = 2**14  # tokens for which counts are kept as a table


# counts and valid tokens; how many are visible in each mask, None where samples differ; their shares
Competition = tuple[Tokens, int | None, float | Float64s]


class Asked(NamedTuple):
    """What a call asks for, instead of the sampler's own: see `MaskSampler.__call__`."""

    valid: Any
    mask_ratio: Any
    num_visible: Any


def compete(sampler: "MaskSampler", ids: UInt64s, single: bool, asked: Asked) -> Competition:
    """What decides the masks of samples. single: there is no axis of samples. Raises RecipeError.

    The share of a sample is that of visible tokens were all valid: it shapes some baselines, which padding
    does not change.
    """
    if sampler.baseline in FIXED:
        raise RecipeError(
            f"{sampler.baseline} counts whole rows, columns or cells: it takes no valid=, mask_ratio= or "
            "num_visible= in a call; use another sampler, or sampler.replace(mask_ratio=...)"
        )
    valid, mask_ratio, num_visible = asked
    if mask_ratio is not None and num_visible is not None:
        raise RecipeError("give either mask_ratio, the share that is hidden, or num_visible, not both")
    if mask_ratio is None and num_visible is None:
        mask_ratio = sampler.mask_ratio
        num_visible = sampler.num_visible if mask_ratio is None else None
    frames = sampler.num_visible // sampler.segment_count
    batch = _Batch(ids, single, math.prod(sampler.grid), frames)
    marks = None if valid is None else batch.check_valid(valid)
    counts = batch.counts(marks, mask_ratio, num_visible)
    total: int | None = None
    asked_for = mask_ratio if num_visible is None else num_visible
    if len(ids) == 0:
        total = sampler.num_visible
    elif (marks is None or num_visible is not None) and np.ndim(asked_for) == 0:
        total = int(counts[0].sum())
    share: float | Float64s = 0.0
    if sampler.bank is None:
        whole = counts if marks is None else batch.counts(None, mask_ratio, num_visible)
        share = whole.sum(1) / batch.tokens
    if marks is not None:
        return (counts, marks), total, share
    return (np.ascontiguousarray(counts[:, : sampler.segments]), ALL), total, share


class _Batch(NamedTuple):
    """Samples that are given valid tokens, ratios or counts."""

    ids: UInt64s  # (B,)
    single: bool  # only one id was given, and no axis of samples
    tokens: int  # L
    frames: int  # parts of the tokens, one behind the other, that have a count each

    def check_valid(self, valid: Any) -> Bools:
        """Which tokens are valid, as bool (B, L) of our own, or RecipeError."""
        try:
            given = np.asarray(valid)
        except ValueError:
            raise RecipeError("valid: rows have different lengths; give bool (B, L)") from None
        shape = (self.tokens,) if self.single else (len(self.ids), self.tokens)
        if given.dtype != bool or given.shape != shape:
            raise RecipeError(
                f"valid is {given.dtype} {given.shape}; give bool {shape}, True where a token is there"
            )
        found = np.empty((len(self.ids), self.tokens), bool)
        np.logical_and(given, given, out=found)  # a copy; plain ones are slow at some addresses
        return found

    def counts(self, valid: Bools | None, mask_ratio: Any, num_visible: Any) -> Int64s:
        """How many tokens are visible in each part of each sample: int64 (B, frames), or RecipeError.

        valid: bool (B, L), or None where all tokens are. mask_ratio or num_visible: one number, or one for
        each sample. A ratio leaves int(tokens * (1 - ratio)) of a sample's valid tokens; with several
        frames, of each frame's own, tokens - int(ratio * tokens). num_visible is shared by frames evenly.
        """
        there = np.empty((len(self.ids), self.frames), np.int64)
        if valid is None:
            there[:] = self.tokens // self.frames
        else:
            core().number_of_all(valid, there)
        if num_visible is None and self.frames == 1 and self.tokens < MOST and type(mask_ratio) is float:
            counts: Int64s = _table(self.tokens, mask_ratio).take(there)
            if np.count_nonzero(counts) == counts.size:
                return counts
        self._all(there.any(-1), "no token is valid; leave the sample out")
        if num_visible is not None:
            given = self._each(
                lambda n: check_count(n, self.tokens - 1, self.frames), "num_visible", num_visible
            )
            counts = np.repeat(np.array(given, np.int64)[:, None] // self.frames, self.frames, 1)
            fine = (counts <= there).all(-1)
            which = "tokens" if self.frames == 1 else f"tokens in one of its {self.frames} frames"
            if not fine.all():
                b = int(fine.argmin())
                what = f"num_visible={given[b]} is too many for {there[b].min()} valid {which}"
                self._all(fine, f"{what}; lower it, or give mask_ratio")
            return counts
        ratios = self._each(check_ratio, "mask_ratio", mask_ratio)
        if self.frames == 1:
            return np.array(self._map(count_visible, there[:, 0].tolist(), ratios), np.int64)[:, None]
        counts = kept_of_frame(there, np.array(ratios)[:, None])
        self._all(counts.any(-1), "its mask_ratio leaves no token visible; lower it")
        self._all((counts < there).any(-1), "its mask_ratio leaves no token masked; raise it")
        return counts

    def _each(self, check: Callable[[Any], Any], name: str, given: Any) -> list[Any]:
        """What is given for each sample, checked."""
        try:
            found = np.asarray(given)
        except ValueError:
            raise RecipeError(
                f"{name} has rows of different lengths; give one number for each sample"
            ) from None
        if found.ndim == 0:
            return [check(given)] * len(self.ids)
        if self.single or found.shape != self.ids.shape:
            wanted = (
                "one number" if self.single else f"one number, or one for each of {len(self.ids)} samples"
            )
            raise RecipeError(f"{name} has shape {found.shape}; give {wanted}")
        return self._map(check, found.tolist())

    def _map(self, function: Callable[..., Any], *columns: list[Any]) -> list[Any]:
        """function for each sample; where it refuses, the error says which."""
        found: list[Any] = []
        try:
            for given in zip(*columns, strict=True):
                found.append(function(*given))
        except RecipeError as error:
            self._all(np.arange(len(self.ids)) != len(found), str(error))
        return found

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
