"""How windows are cut out of items, and what is made instead: items resized, values scaled (section 3.4)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from maskbank.sampling.selection import FLIP_HEIGHT, FLIP_TIME, FLIP_WIDTH, TRANSPOSE, UInt64s

Float32s = npt.NDArray[np.float32]


class Cut(NamedTuple):
    """How windows are cut out of the items of a bank."""

    size: tuple[int, ...]  # of an item, (T, H, W)
    window: tuple[int, ...]  # (t, h, w)
    periodic: bool  # items tile, so a window may begin anywhere
    flips: int  # those that are allowed


def resized(items: Sequence[npt.NDArray[Any]], grid: tuple[int, ...], flips: int, drawn: UInt64s) -> Float32s:
    """Items (T, H, W), linearly interpolated at the centres of a grid's cells: (B, t, h, w).

    flips: which ones are allowed. drawn: uint64 (B, 4), whose last word says which happen.
    """
    out = np.empty((len(items), *grid), np.float32)
    for item, target, word in zip(items, out, drawn[:, 3], strict=True):
        on = int(word) & flips
        values = np.swapaxes(item, 1, 2) if on & TRANSPOSE else item
        for axis, extent in enumerate(grid):
            values = _interpolated(values, axis, extent)
        bits = (FLIP_TIME, FLIP_HEIGHT, FLIP_WIDTH)
        target[:] = values[tuple(slice(None, None, -1 if on & bit else 1) for bit in bits)]
    return out


def _interpolated(values: npt.NDArray[Any], axis: int, extent: int) -> Float32s:
    """`extent` values along an axis, at the centres of as many equal cells, from the two nearest ones."""
    n = values.shape[axis]
    centres = np.clip((np.arange(extent) + 0.5) * (n / extent) - 0.5, 0, n - 1)
    below = centres.astype(np.int64)
    shape = [-1 if a == axis else 1 for a in range(values.ndim)]
    share = (centres - below).astype(np.float32).reshape(shape)
    low = values.take(below, axis).astype(np.float32)
    high = values.take(np.minimum(below + 1, n - 1), axis).astype(np.float32)
    return np.asarray(low * (np.float32(1) - share) + high * share)


def normalized(windows: npt.NDArray[Any], unit: str) -> Float32s:
    """Windows (B, t, h, w), brought linearly to 0 to 1: each "window" or each "frame" by itself."""
    values = windows.astype(np.float32)
    axes = (1, 2, 3) if unit == "window" else (2, 3)
    low = values.min(axes, keepdims=True)
    span = values.max(axes, keepdims=True) - low
    return np.asarray((values - low) / np.where(span > 0, span, np.float32(1)))
