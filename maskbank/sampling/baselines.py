"""Masks that come from no bank: what structured ones are compared with (Table A.5, and other models').

random         any tokens
tube           any tokens of a frame, the same in all frames
grid           a regular lattice, shifted at random, the same in all frames
running-cell   of each 2 x 2 tokens, other ones in each frame, in turns: VideoMAEv2's decoder mask
block          what random rectangles leave, the same in all frames: BEiT's
multiblock     what several blocks of one size leave: V-JEPA's, on two axes I-JEPA's
inverse-block  a few squares, of any place: data2vec 2's and EAT's
span           what spans of 10 time steps leave: wav2vec 2.0's
time           whole time steps: CAV-MAE's
frequency      whole frequency bins: CAV-MAE's
timefreq       whole rows and whole columns are masked, at a ratio each: AudioMAE's

Except for timefreq, a baseline gives values whose largest ones are visible, as a bank does. It is a function
of sample ids (B,), keys, the sampler's grid of one to three axes, and the share of tokens that is visible
(one number, or one for each sample). The first axis of a grid is time, the last of two is frequency.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from maskbank.kernels.streams import BASELINES, WINDOWS
from maskbank.sampling.counts import count_of_axis
from maskbank.sampling.masks import ALL
from maskbank.sampling.selection import Keys, select_all, words
from maskbank.sampling.windows import Bools, Float64s, UInt64s

UInt32s = npt.NDArray[np.uint32]
Grid = tuple[int, ...]
Share = float | Float64s

BLOCKS = 64  # rectangles tried, of which the first ones count
SMALLEST = 16  # tokens of a rectangle, as in BEiT
THINNEST = 0.3  # of its height and width
SHORT, LONG = 0.15, 0.7  # shares of a frame that V-JEPA's blocks have
TARGET = 0.15, 0.2  # the same of I-JEPA's, from and to
CONTEXT = 0.85, 1.0  # and of the square around what I-JEPA shows
ASPECT = 0.75, 1.5  # height by width of blocks, in both
SPARE = 0.07  # of all tokens: how much more data2vec 2's squares have, if none overlap
SPAN = 10  # time steps


def random(ids: UInt64s, keys: Keys, grid: Grid, _share: Share = 0) -> UInt32s:
    """Independent values: uint32 (B, *grid)."""
    tokens = int(np.prod(grid))
    drawn = words(ids, BASELINES, keys[:2], -(-tokens // 4))
    return drawn[:, :tokens].astype(np.uint32).reshape(len(ids), *grid)


def tube(ids: UInt64s, keys: Keys, grid: Grid, _share: Share = 0) -> UInt32s:
    """Independent values of one frame: uint32 (B, h, w)."""
    return random(ids, keys, grid[-2:])


def lattice(ids: UInt64s, keys: Keys, grid: Grid, _share: Share = 0) -> UInt32s:
    """Bayer's order of ordered dithering, shifted at random: uint32 (B, h, w).

    Its first quarter is one token of each 2 x 2, which is the grid masking of MAE at 75 %; its first
    sixteenth one of each 4 x 4; and what lies between is as regular as can be.
    """
    h, w = _frame(grid)
    side = 1 << max(max(h, w) - 1, 1).bit_length()
    drawn = words(ids, WINDOWS, keys[:2])
    y = (np.arange(h, dtype=np.uint64) + (drawn[:, 1, None] >> np.uint64(16))) % np.uint64(side)
    x = (np.arange(w, dtype=np.uint64) + (drawn[:, 2, None] >> np.uint64(16))) % np.uint64(side)
    order = np.zeros((len(ids), h, w), np.uint64)
    one = np.uint64(1)
    for bit in range(side.bit_length() - 1):
        a, b = y[:, :, None] >> np.uint64(bit) & one, x[:, None, :] >> np.uint64(bit) & one
        order = order << np.uint64(2) | (a ^ b) << one | a
    return (np.uint64(side * side - 1) - order).astype(np.uint32)


def running_cell(ids: UInt64s, keys: Keys, grid: Grid, _share: Share = 0) -> UInt32s:
    """VideoMAEv2's running cells: the four values of each 2 x 2 move on by one from frame to frame.

    uint32 (B, t, h, w), 0 to 3. A cell's tokens take turns in the order upper left, upper right, lower
    left, lower right; all cells are in step, and the first frame's state is one of four.
    """
    t, (h, w) = (1, *grid)[-3], _frame(grid)
    start = words(ids, WINDOWS, keys[:2])[:, 0, None, None, None] >> np.uint64(30)
    cell = np.add.outer(np.arange(t), np.add.outer(np.arange(h) % 2 * 2, np.arange(w) % 2))
    return ((start + cell.astype(np.uint64)) % np.uint64(4)).astype(np.uint32)


def rectangles(ids: UInt64s, keys: Keys, grid: Grid, _share: Share = 0) -> UInt32s:
    """The number of the first random rectangle over a token, more for none: uint32 (B, h, w).

    Rectangles are those of BEiT's blockwise masking. Their area is 16 tokens to about half the frame, their
    aspect 0.3 to 1 / 0.3. The last one that is needed for the count is masked in part.
    """
    h, w = _frame(grid)
    part = _parts(ids, keys, BLOCKS).reshape(len(ids), BLOCKS, 4)
    least = min(SMALLEST, h * w)
    area = least + part[..., 0] * (h * w - least) / 2
    aspect = THINNEST ** (2 * part[..., 1] - 1)
    high = np.clip(np.rint(np.sqrt(area * aspect)), 1, h)
    wide = np.clip(np.rint(np.sqrt(area / aspect)), 1, w)
    return _first(_covered(part[..., 2:], high, wide, h, w))


def multiblock(ids: UInt64s, keys: Keys, grid: Grid, _share: Share = 0) -> UInt32s:
    """The number of the first block over a token, more for none: uint32 (B, h, w).

    The blocks of a mask have one size and lie anywhere within the frame; their aspect is uniform from 0.75
    to 1.5. On three axes they span all of time and have, with equal chances, 0.15 or 0.7 of the frame:
    V-JEPA's short-range and long-range masks, of which each clip gets both. On fewer axes they have 0.15 to
    0.2 of it, and what lies outside a square of 0.85 to 1, the context block, is masked first: I-JEPA's.

    V-JEPA draws 8 blocks or 2, I-JEPA 4, and drops the last tokens of what is too long for its batch. Here
    as many blocks are masked as the count needs, the last in part. I-JEPA's code places no block in the
    last row and column; here all places are as likely. Where a block is longer than the frame, it is cut,
    and its other side grows, so that its area holds.
    """
    h, w = _frame(grid)
    part = _parts(ids, keys, BLOCKS // 2 + 1)
    aspect = ASPECT[0] + part[:, 1] * (ASPECT[1] - ASPECT[0])
    places = part[:, 4:].reshape(len(ids), BLOCKS, 2)
    if len(grid) == 3:
        high, wide = _sides(h, w, np.where(part[:, 0] < 0.5, SHORT, LONG), aspect, 0)
        return _first(_covered(places, high[:, None], wide[:, None], h, w))
    high, wide = _sides(h, w, TARGET[0] + part[:, 0] * (TARGET[1] - TARGET[0]), aspect, 1)
    square = _sides(h, w, CONTEXT[0] + part[:, 2] * (CONTEXT[1] - CONTEXT[0]), np.ones(len(ids)), 1)
    first = np.arange(BLOCKS) == 0
    high, wide = (
        np.where(first, around[:, None], one[:, None])
        for around, one in zip(square, (high, wide), strict=True)
    )
    covered = _covered(places, high, wide, h, w)
    covered[:, 0] ^= True
    return _first(covered)


def inverse_block(ids: UInt64s, keys: Keys, grid: Grid, share: Share) -> UInt32s:
    """Random values, those of tokens in squares above all others: uint32 (B, h, w).

    int((share + 0.07) * h * w / area of a square) places are drawn, one at least, and each is the middle of
    a square that ends at the edges of the frame. A side is 3, as in data2vec 2's images; 5 where the frame
    is twice as long as wide, as in EAT's spectrograms, and on one axis. Squares overlap. As in both peers,
    tokens that are too many are masked, and tokens that are too few are shown, at random.
    """
    h, w = _frame(grid)
    side = 5 if max(h, w) >= 2 * min(h, w) else 3
    squares = np.maximum((np.asarray(share) + SPARE) * (h * w) / (side if h == 1 else side**2), 1)
    most = int(squares.max(initial=0))
    drawn = words(ids, BASELINES, keys[:2], -(-(h * w + most) // 4))
    place = drawn[:, h * w : h * w + most] * np.uint64(h * w) >> np.uint64(32)
    used = np.arange(most) < np.reshape(squares, (-1, 1)).astype(np.int64)
    middle = np.zeros((len(ids), h * w + 1), bool)
    np.put_along_axis(middle, np.where(used, place.astype(np.int64), h * w), True, 1)
    shown: Bools = middle[:, :-1].reshape(len(ids), h, w)
    for axis in (1, 2):
        around = [(side // 2,) * 2 if axis == one else (0, 0) for one in range(3)]
        shown = np.any(sliding_window_view(np.pad(shown, around), side, axis), -1)
    values = drawn[:, : h * w].reshape(shown.shape) >> np.uint64(1) | shown.astype(np.uint64) << np.uint64(31)
    return values.astype(np.uint32)


def span(ids: UInt64s, keys: Keys, grid: Grid, _share: Share = 0) -> UInt32s:
    """How late a span comes over a time step, spans in random order: uint32 (B, *grid).

    Spans have 10 time steps, or half of all where these are fewer than 20; all their tokens are masked.
    Each start from which a span fits comes once in the order. wav2vec 2.0 draws p * T / 10 starts without
    replacement, which masks about 1 - (1 - p / 10)**10 of T steps: 0.49 at its p = 0.65. Here as many spans
    are masked as the count needs, the last in part.
    """
    steps = grid[0]
    length = max(1, min(SPAN, steps // 2))
    drawn = random(ids, keys, (steps - length + 1,))
    padded = np.pad(drawn, ((0, 0), (length - 1, length - 1)), constant_values=np.uint32(0xFFFFFFFF))
    return _along_time(sliding_window_view(padded, length, 1).min(-1), grid)


def time(ids: UInt64s, keys: Keys, grid: Grid, _share: Share = 0) -> UInt32s:
    """Independent values of time steps, the same for all tokens of each: uint32 (B, *grid).

    CAV-MAE masks int(T * mask_ratio) of T steps, and tokens of others at random until the count is reached.
    Here these come from one more step. At CAV-MAE's own ratio, 0.75 of 64 x 8, there are none.
    """
    return _along_time(random(ids, keys, grid[:1]), grid)


def frequency(ids: UInt64s, keys: Keys, grid: Grid, _share: Share = 0) -> UInt32s:
    """The same of frequency bins, the last axis of two: uint32 (B, *grid)."""
    return np.broadcast_to(random(ids, keys, grid[1:])[:, None], (len(ids), *grid)).copy()


def timefreq(ids: UInt64s, keys: Keys, grid: Grid, ratios: tuple[float, float]) -> Bools:
    """AudioMAE's separable masking: visible where both the row and the column are, bool (B, h * w).

    ratios: of rows and of columns; 0 masks none of them.
    """
    h, w = grid
    values = random(ids, keys, (h + w,))
    rows, columns = np.empty((len(ids), h), bool), np.empty((len(ids), w), bool)
    ties = np.zeros(len(ids), np.int64)
    for own, ratio, visible in ((values[:, :h], ratios[0], rows), (values[:, h:], ratios[1], columns)):
        count = np.full((1, 1), count_of_axis(own.shape[1], ratio))
        select_all(own, 32, ties, count, ALL, visible)
    return (rows[:, :, None] & columns[:, None]).reshape(len(ids), h * w)


def _frame(grid: Grid) -> tuple[int, int]:
    """Height and width of one frame of a grid; (1, L) of L tokens on one axis."""
    h, w = (1, *grid)[-2:]
    return h, w


def _along_time(values: UInt32s, grid: Grid) -> UInt32s:
    """Values (B, T) of time steps for all their tokens: (B, *grid)."""
    return np.broadcast_to(values.reshape(*values.shape, *[1] * (len(grid) - 1)), (len(values), *grid)).copy()


def _parts(ids: UInt64s, keys: Keys, blocks: int) -> Float64s:
    """Uniform numbers between 0 and 1: float64 (B, 4 * blocks)."""
    return (words(ids, BASELINES, keys[:2], blocks).astype(np.float64) + 0.5) / 2**32


def _sides(h: int, w: int, share: Float64s, aspect: Float64s, less: int) -> tuple[Float64s, Float64s]:
    """Height and width of blocks with this share of a frame: float64 (B,) each, whole numbers.

    less: by how much blocks are at least shorter than the frame, along both axes.
    """
    area = np.floor(h * w * share)
    h, w = max(h - less, 1), max(w - less, 1)
    high, wide = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    high, wide = (
        np.where(wide > w, np.rint(area / w), high),
        np.where(high > h, np.rint(area / h), wide),
    )
    return np.clip(high, 1, h), np.clip(wide, 1, w)


def _covered(places: Float64s, high: Float64s, wide: Float64s, h: int, w: int) -> Bools:
    """Which tokens each of N rectangles covers: bool (B, N, h, w).

    places: float64 (B, N, 2), where among all that are possible, from 0 to 1. high, wide: whole numbers.
    """
    top = np.floor(places[..., 0] * (h - high + 1))[..., None]
    left = np.floor(places[..., 1] * (w - wide + 1))[..., None]
    y, x = np.arange(h), np.arange(w)
    rows = (y >= top) & (y < top + high[..., None])
    columns = (x >= left) & (x < left + wide[..., None])
    covered: Bools = rows[:, :, :, None] & columns[:, :, None, :]
    return covered


def _first(covered: Bools) -> UInt32s:
    """The first of N that covers a token, N where none does: uint32 (B, h, w) from bool (B, N, h, w)."""
    first = np.where(covered.any(1), covered.argmax(1), covered.shape[1])
    return np.asarray(first, np.uint32)


VALUES: dict[str, Callable[[UInt64s, Keys, Grid, Share], UInt32s]] = {
    "random": random,
    "tube": tube,
    "grid": lattice,
    "block": rectangles,
    "running-cell": running_cell,
    "multiblock": multiblock,
    "inverse-block": inverse_block,
    "span": span,
    "time": time,
    "frequency": frequency,
}
NAMES = (*VALUES, "timefreq")
STILL = ("tube", "grid", "block", "multiblock", "inverse-block")  # the same in all frames
SPECTROGRAMS = ("span", "time", "frequency", "timefreq")  # usual on 64x8
