"""How windows are cut out of items, and what is made instead: items resized, values scaled (section 3.4)."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

FLIP_HEIGHT, FLIP_WIDTH, FLIP_TIME, TRANSPOSE = 1, 2, 4, 8  # bits of a sample's last word

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
UInt8s = npt.NDArray[np.uint8]
UInt64s = npt.NDArray[np.uint64]


def allowed_flips(flip: bool, flip_time: bool, transpose: bool) -> int:
    """The sum of the bits of what is allowed; `flip` is that of height and width, or of one axis."""
    return (FLIP_HEIGHT | FLIP_WIDTH) * flip | FLIP_TIME * flip_time | TRANSPOSE * transpose


class Cut(NamedTuple):
    """How windows are cut out of the items of a bank."""

    size: tuple[int, ...]  # of an item, (T, H, W)
    window: tuple[int, ...]  # (t, h, w)
    periodic: bool  # items tile, so a window may begin anywhere
    flips: int  # the sum of the bits of those that are allowed

    def starts(self, axis: int, n: int) -> int:
        """At how many places of an axis of the item n values can begin."""
        return self.size[axis] if self.periodic else self.size[axis] - n + 1

    def windows(self, fit: str) -> int:
        """How many different windows an item has at most."""
        flips = zip((FLIP_TIME, FLIP_HEIGHT, FLIP_WIDTH), self.window, strict=True)
        idle = sum(bit for bit, n in flips if n == 1)
        places = [1] if fit == "resize" else map(self.starts, range(3), self.window)
        return math.prod(places) << (self.flips & ~idle).bit_count()


def crop(noise: Array, items: Int64s, cut: Cut, drawn: UInt64s) -> Array:
    """Windows of items: (B, t, h, w) of noise's type, from noise (N, T * H * W).

    drawn: uint64 (B, 4): where a window begins along T, H and W; a word whose bits say which flips happen.
    """
    (_, height, width), (t, h, w) = cut.size, cut.window
    on = drawn[:, 3] & np.uint64(cut.flips)
    flipped = [on & np.uint64(bit) != 0 for bit in (FLIP_TIME, FLIP_HEIGHT, FLIP_WIDTH)]
    strides = (height * width, width, 1)

    def offsets(axis: int, n: int) -> Int64s:
        """Offsets of a window's n values along an axis of the item: int64 (B, n)."""
        first = (drawn[:, axis] * np.uint64(cut.starts(axis, n)) >> np.uint64(32)).astype(np.int64)
        along = (first[:, None] + np.arange(n)) % cut.size[axis] * strides[axis]
        return np.where(flipped[axis][:, None], along[:, ::-1], along)

    ts, ys, xs = offsets(0, t), offsets(1, h), offsets(2, w)
    transposed = (on & np.uint64(TRANSPOSE) != 0)[:, None]
    if transposed.any():  # rows of the window then go along the width of the item
        ys, xs = np.where(transposed, offsets(2, h), ys), np.where(transposed, offsets(1, w), xs)
    start = items * noise.shape[1]
    where = (start[:, None] + ts)[:, :, None, None] + (ys[:, :, None] + xs[:, None, :])[:, None]
    return np.asarray(noise.reshape(-1)[where])


def resized(items: Sequence[Array], cut: Cut, drawn: UInt64s) -> Float32s:
    """Items (T, H, W), linearly interpolated at the centres of the window's cells: (B, t, h, w).

    drawn: as for `crop`; only the flips are taken from it.
    """
    out = np.empty((len(items), *cut.window), np.float32)
    for item, target, word in zip(items, out, drawn[:, 3], strict=True):
        on = int(word) & cut.flips
        values = np.swapaxes(item, 1, 2) if on & TRANSPOSE else item
        for axis, extent in enumerate(cut.window):
            values = _interpolated(values, axis, extent)
        bits = (FLIP_TIME, FLIP_HEIGHT, FLIP_WIDTH)
        target[:] = values[tuple(slice(None, None, -1 if on & bit else 1) for bit in bits)]
    return out


def _interpolated(values: Array, axis: int, extent: int) -> Float32s:
    """`extent` values along an axis, at the centres of as many equal cells, from the two nearest ones."""
    n = values.shape[axis]
    centres = np.clip((np.arange(extent) + 0.5) * (n / extent) - 0.5, 0, n - 1)
    below = centres.astype(np.int64)
    shape = [-1 if a == axis else 1 for a in range(values.ndim)]
    share = (centres - below).astype(np.float32).reshape(shape)
    low = values.take(below, axis).astype(np.float32)
    high = values.take(np.minimum(below + 1, n - 1), axis).astype(np.float32)
    return np.asarray(low * (np.float32(1) - share) + high * share)


def normalized(windows: Array, unit: str) -> Float32s:
    """Windows (B, t, h, w), brought linearly to 0 to 1: each "window" or each "frame" by itself."""
    values = windows.astype(np.float32)
    axes = (1, 2, 3) if unit == "window" else (2, 3)
    low = values.min(axes, keepdims=True)
    span = values.max(axes, keepdims=True) - low
    return np.asarray((values - low) / np.where(span > 0, span, np.float32(1)))
