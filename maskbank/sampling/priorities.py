"""Algorithm 2 on values of the caller's."""

import math
from typing import Any

import numpy as np

from maskbank.checks import integer
from maskbank.errors import RecipeError
from maskbank.sampling.masks import ALL, as_array, core
from maskbank.sampling.selection import ordered
from maskbank.sampling.windows import Array, Bools, Int64s


def select(values: Any, num_visible: Any, valid: Any = None) -> Bools:
    """The mask of a priority map (Algorithm 2): the largest values of each row are visible.

    values: (..., L), integers, bools or floats of at most 64 bits, infinite ones too; NaN only where a token
    is not valid. num_visible: how many are visible, 0 to L; one number, or an array of integers of shape
    (...). valid: bool, of the shape of values; False where there is no token, as padding: it is never
    visible, and its value has no influence. Returns bool (..., L), True where a token is visible.

    Equal values at the threshold are taken cyclically, from a valid token on that a hash of the row's values
    chooses. So over many rows no token is favoured, and a row has the same mask in any batch.

    Raises RecipeError, for one row with its place in the batch.
    """
    given = as_array("values", values, "an array (..., L)")
    if given.dtype.kind not in "biuf" or given.dtype.itemsize > 8 or given.ndim == 0 or given.shape[-1] == 0:
        raise RecipeError(
            f"values are {given.dtype} of shape {given.shape}; give integers or floats of at most 64 bits, "
            "(..., L) with the L tokens of a mask last"
        )
    tokens = given.shape[-1]
    batch, rows = given.shape[:-1], math.prod(given.shape[:-1])
    there = ALL
    if valid is not None:
        there = as_array("valid", valid, "bool (..., L)")
        if there.dtype != bool or there.shape != given.shape:
            raise RecipeError(f"valid is {there.dtype} of shape {there.shape}; give bool of {given.shape}")
        there = np.require(there.reshape(rows, tokens), requirements=["C", "W"])
    counts = _counts(num_visible, batch, tokens)
    if valid is not None:
        _refuse(counts > there.sum(-1).reshape(batch), counts, "fewer valid tokens than num_visible={}")
    if given.dtype.kind == "f":
        nan = np.isnan(given)
        _refuse((nan if valid is None else nan & valid).any(-1), counts, "NaN, which has no order; give -inf")
    keys = np.require(_unsigned(given).reshape(rows, tokens), requirements=["C", "W"])
    visible = np.empty((rows, tokens), bool)
    own = np.ascontiguousarray(counts.reshape(rows, 1))
    core().select_all(keys, 8 * keys.dtype.itemsize, np.full(rows, -1), own, there, visible)
    return visible.reshape(given.shape)


def _counts(num_visible: Any, batch: tuple[int, ...], tokens: int) -> Int64s:
    """How many tokens of each row are visible, int64 of the batch's shape."""
    given = as_array("num_visible", num_visible, "one whole number for each row")
    if given.ndim == 0:
        return np.full(batch, integer("num_visible", num_visible, 0, tokens))
    if given.dtype.kind not in "iu" or given.shape != batch:
        raise RecipeError(
            f"num_visible is {given.dtype} of shape {given.shape}; give a whole number, or whole numbers of "
            f"shape {batch}, one for each row"
        )
    for one in (given.min(initial=0), given.max(initial=0)):
        integer("num_visible", one, 0, tokens)
    return given.astype(np.int64)


def _unsigned(values: Array) -> Array:
    """Unsigned integers in the order of the values; equal where these are."""
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    kind = np.dtype(f"u{values.dtype.itemsize}")
    if values.dtype.kind == "f":
        return ordered(values + values.dtype.type(0))  # -0.0 becomes 0.0
    if values.dtype.kind == "i":
        return np.asarray(values.astype(kind) ^ kind.type(1 << (8 * kind.itemsize - 1)))
    return values.astype(kind, copy=False)


def _refuse(bad: Any, counts: Int64s, why: str) -> None:
    """RecipeError that names the first bad row."""
    if bad.any():
        row = np.unravel_index(int(bad.argmax()), bad.shape)
        place = f"row {', '.join(map(str, row))}" if row else "the row"
        raise RecipeError(f"{place} of values has {why.format(counts[row])}")
