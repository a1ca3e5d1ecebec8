"""Masks that come from no bank: what structured ones are compared with (Table A.5, AudioMAE).

random     any tokens
tube       any tokens of a frame, the same in all frames
grid       a regular lattice, shifted at random, the same in all frames
running-cell  of each 2 x 2 tokens, other ones in each frame, in turns: VideoMAEv2's decoder mask
block      what random rectangles leave, the same in all frames
timefreq   whole rows and whole columns are masked, at a ratio each

Except for timefreq, a baseline gives values whose largest ones are visible, as a bank does.
"""

import numpy as np
import numpy.typing as npt

from maskbank.kernels.streams import BASELINES, WINDOWS
from maskbank.sampling.counts import count_of_axis
from maskbank.sampling.selection import Keys, select_all, words
from maskbank.sampling.windows import Bools, UInt64s

UInt32s = npt.NDArray[np.uint32]
Grid = tuple[int, ...]

BLOCKS = 64  # rectangles tried, of which the first ones count
SMALLEST = 16  # tokens of a rectangle, as in BEiT
THINNEST = 0.3  # of its height and width


def random(ids: UInt64s, keys: Keys, grid: Grid) -> UInt32s:
    """Independent values: uint32 (B, t, h, w)."""
    tokens = int(np.prod(grid))
    drawn = words(ids, BASELINES, keys[:2], -(-tokens // 4))
    return drawn[:, :tokens].astype(np.uint32).reshape(len(ids), *grid)


def lattice(ids: UInt64s, keys: Keys, grid: Grid) -> UInt32s:
    """Bayer's order of ordered dithering, shifted at random: uint32 (B, 1, h, w).

    Its first quarter is one token of each 2 x 2, which is the grid masking of MAE at 75 %; its first
    sixteenth one of each 4 x 4; and what lies between is as regular as can be.
    """
    _, h, w = grid
    side = 1 << max(max(h, w) - 1, 1).bit_length()
    drawn = words(ids, WINDOWS, keys[:2])
    y = (np.arange(h, dtype=np.uint64) + (drawn[:, 1, None] >> np.uint64(16))) % np.uint64(side)
    x = (np.arange(w, dtype=np.uint64) + (drawn[:, 2, None] >> np.uint64(16))) % np.uint64(side)
    order = np.zeros((len(ids), h, w), np.uint64)
    one = np.uint64(1)
    for bit in range(side.bit_length() - 1):
        a, b = y[:, :, None] >> np.uint64(bit) & one, x[:, None, :] >> np.uint64(bit) & one
        order = order << np.uint64(2) | (a ^ b) << one | a
    return (np.uint64(side * side - 1) - order).astype(np.uint32)[:, None]


def running_cell(ids: UInt64s, keys: Keys, grid: Grid) -> UInt32s:
    """VideoMAEv2's running cells: the four values of each 2 x 2 move on by one from frame to frame.

    uint32 (B, t, h, w), 0 to 3. A cell's tokens take turns in the order upper left, upper right, lower
    left, lower right; all cells are in step, and the first frame's state is one of four.
    """
    t, h, w = grid
    start = words(ids, WINDOWS, keys[:2])[:, 0, None, None, None] >> np.uint64(30)
    cell = np.add.outer(np.arange(t), np.add.outer(np.arange(h) % 2 * 2, np.arange(w) % 2))
    return ((start + cell.astype(np.uint64)) % np.uint64(4)).astype(np.uint32)


def rectangles(ids: UInt64s, keys: Keys, grid: Grid) -> UInt32s:
    """The number of the first random rectangle over a token, more for none: uint32 (B, 1, h, w).

    Rectangles are those of BEiT's blockwise masking: up to the whole frame, of aspects 0.3 to 1 / 0.3. The
    last one that is needed for the count is masked in part.
    """
    _, h, w = grid
    drawn = words(ids, BASELINES, keys[:2], BLOCKS).reshape(len(ids), BLOCKS, 4)
    part = (drawn.astype(np.float64) + 0.5) / 2**32
    least = min(SMALLEST, h * w)
    area = least + part[..., 0] * (h * w - least) / 2
    aspect = THINNEST ** (2 * part[..., 1] - 1)
    high = np.clip(np.rint(np.sqrt(area * aspect)), 1, h)
    wide = np.clip(np.rint(np.sqrt(area / aspect)), 1, w)
    top = np.floor(part[..., 2] * (h - high + 1))[..., None]
    left = np.floor(part[..., 3] * (w - wide + 1))[..., None]
    y, x = np.arange(h), np.arange(w)
    rows = (y >= top) & (y < top + high[..., None])
    columns = (x >= left) & (x < left + wide[..., None])
    covered = rows[:, :, :, None] & columns[:, :, None, :]
    first = np.where(covered.any(1), covered.argmax(1), BLOCKS)
    return first.astype(np.uint32)[:, None]


def timefreq(ids: UInt64s, keys: Keys, grid: Grid, ratios: tuple[float, float]) -> Bools:
    """AudioMAE's separable masking: visible where both the row and the column are, bool (B, h * w).

    ratios: of rows and of columns; 0 masks none of them.
    """
    h, w = grid
    values = random(ids, keys, (1, 1, h + w)).reshape(len(ids), 1, h + w)
    none = np.zeros(len(ids), np.int64)
    rows, columns = np.empty((len(ids), 1, h), bool), np.empty((len(ids), 1, w), bool)
    select_all(values[..., :h], 32, count_of_axis(h, ratios[0]), none, rows)
    select_all(values[..., h:], 32, count_of_axis(w, ratios[1]), none, columns)
    return (rows[:, 0, :, None] & columns).reshape(len(ids), h * w)


VALUES = {
    "random": random,
    "tube": random,
    "grid": lattice,
    "block": rectangles,
    "running-cell": running_cell,
}
NAMES = (*VALUES, "timefreq")
STILL = ("tube", "grid", "block")  # the same in all frames
