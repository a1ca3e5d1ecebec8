"""Finding the masks in the batches of any loader, whatever framework makes them."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.checks import format_size
from maskbank.errors import RecipeError
from maskbank.sampling.masks import Masks
from maskbank.sampling.windows import Bools

Place = tuple[Any, ...]  # the indices and keys that lead to a mask in a batch


class Finder:
    """Finds the masks in a batch: bool (B, L), True for ones, or for tokens that are listed."""

    def __init__(self, grid: tuple[int, ...], mask: Any) -> None:
        self.grid, self.tokens = grid, math.prod(grid)
        self.mask = mask
        self.means: str | None = None  # what True is, where that is known
        self.says = ""
        self._place: Place | None = None
        if isinstance(mask, bool) or not (mask is None or callable(mask) or isinstance(mask, int | str)):
            raise RecipeError(f"mask={mask!r}: give the masks' index or key in a batch, or a function of it")

    def __call__(self, batch: Any, number: int) -> Bools:
        """The masks of batch `number`: bool (B, L); RecipeError where there are none."""
        given = self._given(batch, number)
        if self._place is None:
            self._place = self._search(given)
            keys = self._place if self.mask is None or callable(self.mask) else (self.mask, *self._place)
            self.says = ("mask(batch)" if callable(self.mask) else "batch") + _path(keys)
        try:
            for key in self._place:
                given = given[key]
        except (LookupError, TypeError):
            raise self._refusal(f"batch {number} has no {self.says}, as batch 0 has", given) from None
        rows = self._rows(given, strict=False)
        if rows is None:
            raise self._refusal(f"{self.says} of batch {number} is no mask", given)
        return rows

    def _given(self, batch: Any, number: int) -> Any:
        if self.mask is None:
            return batch
        if callable(self.mask):
            return self.mask(batch)
        try:
            return batch[self.mask]
        except (LookupError, TypeError, ValueError):
            raise self._refusal(f"batch {number} has no [{self.mask!r}]", batch) from None

    def _search(self, given: Any) -> Place:
        """Where in the first batch the masks are: the only thing that looks like some."""
        if self.mask is not None and self._rows(given, strict=False) is not None:
            return ()
        there = [(place, self._rows(each, strict=True), each) for place, each in _leaves(given)]
        masks = [(place, rows, each) for place, rows, each in there if rows is not None]
        dense = [(place, rows) for place, rows, each in masks if not self._is_list(each)]
        varied = [place for place, rows in dense if rows.any() and not rows.all()]  # others only mark padding
        places = varied or [place for place, _ in dense] or [place for place, _, _ in masks]
        if len(places) == 1:
            return places[0]
        if not places:
            raise self._refusal("no masks were found", given)
        names = ", ".join(_path(place) for place in places[:6]) + (", ..." if len(places) > 6 else "")
        raise RecipeError(
            f"{len(places)} things look like masks of {format_size(self.grid)}: {names}; "
            "say which with mask=, an index, a key or a function of the batch"
        )

    def _is_list(self, given: Any) -> bool:
        return not isinstance(given, Masks) and not self._fits(_array(given).shape)

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return any(shape == end or shape[1:] == end for end in ((self.tokens,), self.grid))

    def _rows(self, given: Any, strict: bool) -> Bools | None:
        """The masks as bool (B, L), or None for what are none; strict: what may be something else is none."""
        if isinstance(given, Masks):
            self.means = "visible"
            fits = given.grid == self.grid
            return np.atleast_2d(given.visible) if fits else None
        array = _array(given)
        if array.dtype.kind not in "biuf":
            return None
        if not array.size:  # a batch of none
            return np.zeros((0, self.tokens), bool) if self._fits(array.shape) else None
        if self._fits(array.shape):
            if array.dtype.kind == "b" or ((array == 0) | (array == 1)).all():
                return array.reshape(-1, self.tokens).astype(bool)
            return None
        if array.dtype.kind not in "iu" or array.ndim != 2 or not 0 < array.shape[1] < self.tokens:
            return None
        if array.min() < 0 or array.max() >= self.tokens:
            return None
        if (strict and array.shape[1] == 1) or (np.diff(np.sort(array, 1), axis=1) == 0).any():
            return None
        rows = np.zeros((len(array), self.tokens), bool)
        np.put_along_axis(rows, array.astype(np.int64), True, 1)
        return rows

    def _refusal(self, what: str, given: Any) -> RecipeError:
        there = [f"{_path(place)} {_description(each)}".strip() for place, each in _leaves(given)]
        more = f" and {len(there) - 6} more" if len(there) > 6 else ""
        permuted = any(
            sorted(_array(each).shape[1:]) == sorted(self.grid) and not self._fits(_array(each).shape)
            for _, each in _leaves(given)
        )
        advice = (
            f"bring the axes to {format_size(self.grid)}" if permuted else "check the grid, or give mask="
        )
        return RecipeError(
            f"{what}; there is {', '.join(there[:6]) or 'nothing'}{more}; masks are (B, {self.tokens}) or "
            f"(B, {', '.join(map(str, self.grid))}) of bools or of 0 and 1, or (B, K) whole numbers, of "
            f"different tokens; {advice}"
        )


def _leaves(given: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """All arrays in nested tuples, lists and dicts, with the indices that lead to them."""
    if isinstance(given, Mapping):
        for key, each in given.items():
            yield from _leaves(each, (*place, key))
    elif isinstance(given, list | tuple):
        for index, each in enumerate(given):
            yield from _leaves(each, (*place, index))
    else:
        yield place, given


def _path(place: Place) -> str:
    return "".join(f"[{key!r}]" for key in place)


def _array(given: Any) -> npt.NDArray[Any]:
    """An array or tensor, of any framework and device, as NumPy's; of no numbers where it is none."""
    if isinstance(given, Masks):
        return given.visible
    try:
        if hasattr(given, "detach"):
            given = given.detach().cpu()
            if "bfloat16" in str(given.dtype):
                given = given.float()
        elif not hasattr(given, "__array__"):
            return np.empty((), object) if not isinstance(given, bool | int | float) else np.asarray(given)
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError):
        return np.empty((), object)


def _description(given: Any) -> str:
    array = _array(given)
    if array.dtype.kind == "O":
        return type(given).__name__
    text = f"{array.dtype} ({', '.join(map(str, array.shape))}{',' if array.ndim == 1 else ''})"
    if array.size and array.dtype.kind in "iuf":
        text += f" from {array.min():g} to {array.max():g}"
    return text
