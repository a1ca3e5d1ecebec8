"""Masks: what a model is given, for a batch of samples or for one."""

import itertools
from functools import cache, cached_property
from types import ModuleType
from typing import Any

import numpy as np

from maskbank.checks import format_size
from maskbank.errors import RecipeError
from maskbank.sampling import selection
from maskbank.sampling.windows import Array, Bools, Int64s, UInt64s

TWIN_CALLS = 1000  # 1.5 s for single masks, 4 s for batches of 32; compiling takes 3 s
_calls = itertools.count()

ALL = np.ones((1, 0), bool)  # stands for valid, bool (B, L), where all tokens are valid


class Masks:
    """Masks of B samples, of K views of each, or of one, over the L tokens of a grid, time slowest.

    visible, masked, valid: bool (B, L). A valid token is either visible or masked; one that is not valid, as
    padding, is neither. lengths: int64 (B,), how many are visible. ids_keep: int64 (B, the largest of them),
    the visible tokens, ascending, with -1 behind where there are fewer. ids_restore: int64 (B, L), the
    permutation that undoes [visible tokens, masked tokens, tokens that are not valid], as in MAE.
    num_visible: how many tokens are visible in each mask, None where that depends on the sample.

    With several views all arrays begin with (B, K) instead of (B,). The arrays of a single mask begin with
    L, and it has no len(). All arrays are the caller's own.

    Parameters: visible; the grid; num_visible; and valid, bool (B, L), the same for all views. valid is None
    where all tokens are valid.
    """

    def __init__(
        self, visible: Bools, grid: tuple[int, ...], num_visible: int | None, valid: Bools | None = None
    ) -> None:
        self.visible = visible
        self.grid = grid
        self.num_visible = num_visible
        if valid is not None and valid.ndim < visible.ndim:
            valid = valid[..., None, :]  # the same for all views
        self._valid = valid

    @cached_property
    def valid(self) -> Bools:
        """bool (B, L): True where a token is there, to be shown or hidden."""
        if self._valid is None:
            return np.ones(self.visible.shape, bool)
        return np.array(np.broadcast_to(self._valid, self.visible.shape))

    @cached_property
    def masked(self) -> Bools:
        """bool (B, L): True where a token is hidden."""
        if self._valid is None:
            return ~self.visible
        return self._valid ^ self.visible

    @cached_property
    def lengths(self) -> Int64s:
        """int64 (B,): how many tokens are visible."""
        if self.num_visible is None:
            return np.asarray(self.visible.sum(-1, dtype=np.int64))
        return np.full(self.visible.shape[:-1], self.num_visible)

    @cached_property
    def ids_keep(self) -> Int64s:
        """int64 (B, largest of lengths): the visible tokens, ascending; -1 behind them."""
        length, batch = self.visible.shape[-1], self.visible.shape[:-1]
        keep = np.flatnonzero(self.visible)
        if self.num_visible is not None:
            rows = keep.reshape(-1, self.num_visible)
            rows -= np.arange(len(rows))[:, None] * length
            return rows.reshape(*batch, self.num_visible)
        there = np.arange(self.lengths.max(initial=0)) < self.lengths[..., None]
        padded = np.full(there.shape, -1)
        padded[there] = keep % length
        return padded

    @cached_property
    def ids_restore(self) -> Int64s:
        """int64 (B, L): the position of each token in [visible, masked, not valid]."""
        restore = np.empty(self.visible.shape, np.int64)
        rows = (-1, self.visible.shape[-1])
        lengths = self.lengths.reshape(-1) if self.num_visible is None else np.array([self.num_visible])
        valid = ALL if self._valid is None else self._valid.reshape(rows)
        core().restore_all(self.visible.reshape(rows), lengths, valid, restore.reshape(rows))
        return restore

    def __len__(self) -> int:
        if self.visible.ndim == 1:
            raise TypeError(f"a single mask has no length; its grid {format_size(self.grid)} has tokens")
        return len(self.visible)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.visible.shape[:-1])) or "one"
        count: Any = self.num_visible
        if count is None and self.visible.size:
            low, high = self.lengths.min(), self.lengths.max()
            count = low if low == high else f"{low} to {high}"
        return f"<Masks: {shape} of {format_size(self.grid)}, {'no' if count is None else count} visible>"

    def _repr_html_(self) -> str:
        """A small picture of the first masks, for notebooks."""
        from maskbank.bank.thumbnail import of_masks

        return of_masks(self.visible, self.valid, self.grid, repr(self))


def check_ids(ids: Any) -> tuple[UInt64s, bool]:
    """Sample ids as uint64 (B,), and whether only one was given; RecipeError where one is not an id."""
    if type(ids) is int and 0 <= ids < 2**63:  # the common case of code that takes one mask at a time
        return np.array([ids], np.uint64), True
    try:
        given = np.asarray(ids)
        kind = given.dtype
        if given.dtype.kind in "fO" and not isinstance(ids, np.ndarray):
            given = np.asarray(ids, object)  # Python's own integers, which NumPy would round or not take
    except ValueError:
        raise RecipeError(f"ids={ids!r}: give a flat list, one for each sample") from None
    if given.size == 0 and given.ndim == 1:
        return np.empty(0, np.uint64), False
    whole = given.dtype.kind in "iu" or (
        given.dtype.kind == "O"
        and all(isinstance(one, int) and not isinstance(one, bool) for one in given.flat)
    )
    if not whole or given.ndim > 1:
        what = f"{given.ndim} axes of {kind}" if given.ndim else f"{ids!r}"
        raise RecipeError(f"ids={what}: give whole numbers from 0 to 2**63 - 1, one for each sample")
    found = given.reshape(-1)
    if given.dtype.kind != "O":
        found = found.astype(np.uint64)
        if np.maximum.reduce(found) < 2**63:  # negative ones are above
            return found, given.ndim == 0
    for one in (int(given.min()), int(given.max())):
        if not 0 <= one < 2**63:
            raise RecipeError(f"ids: {one} is out of range; an id is 0 to 2**63 - 1")
    return found.astype(np.uint64), given.ndim == 0


def as_array(name: str, given: Any, wanted: str) -> Array:
    """What is given, as an array; RecipeError where its rows have different lengths."""
    try:
        return np.asarray(given)
    except ValueError:
        raise RecipeError(f"{name} has rows of different lengths; give {wanted}") from None


def core() -> ModuleType:
    """The kernels that select, or their NumPy twin.

    It is the twin where Numba is not installed. It is also the twin for the first TWIN_CALLS calls of a
    process that cannot keep compiled kernels. Compiling takes as long as that many calls of the twin, and
    many processes make fewer.
    """
    kernels, kept = _kernels()
    return kernels if kept or next(_calls) >= TWIN_CALLS else selection


@cache
def _kernels() -> tuple[ModuleType, bool]:
    """The kernels, and whether they are compiled, or need not be."""
    try:
        from maskbank.kernels import jit, select
    except ImportError:
        return selection, True
    return select, jit.KEPT
