"""Which item a sample gets, where its window lies, and which of its values are the largest: in NumPy alone.

`maskbank.kernels.select` does the same, faster; the numbers are equal. Everything is drawn by
Philox4x32-10 (see `maskbank.kernels.philox` and `.streams`). The seed, the epoch and the view give two keys:

    block(c0 = epoch, c1 = MASKS, c2 = view, c3 = 0; key = seed) -> key of windows, key of items

With these, sample `number` reads one block for its window, and the round keys of its aligned block of
numbers for its item:

    block(0, WINDOWS, number; key of windows)          -> starts along T, H, W; a word of bits
    blocks(0 and 1, ITEMS, number // items; key of items) -> eight Feistel rounds

Bits 0 to 3 of the word: height flipped, width flipped, time flipped, height and width changed places.
Its upper 24 bits choose among equal values. What is drawn does not depend on the bank's kind.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.kernels.streams import ITEMS, MASKS, WINDOWS

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]

FLIP_HEIGHT, FLIP_WIDTH, FLIP_TIME, TRANSPOSE = 1, 2, 4, 8

_LOW = 0xFFFFFFFF


def philox(counter: tuple[Any, Any, Any, Any], key: tuple[Any, Any]) -> tuple[Any, Any, Any, Any]:
    """Philox4x32-10 of a counter and a key: Python integers or uint64 arrays, below 2**32."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p, q = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (q >> 32) ^ c1 ^ k0, q & _LOW, (p >> 32) ^ c3 ^ k1, p & _LOW
        k0, k1 = (k0 + 0x9E3779B9) & _LOW, (k1 + 0xBB67AE85) & _LOW
    return c0, c1, c2, c3


@lru_cache(64)
def keys(seed: int, epoch: int, view: int) -> npt.NDArray[np.uint32]:
    """The keys of one epoch and view: uint32 (4,), two words for windows and two for items."""
    drawn = philox((epoch, MASKS, view, 0), (seed & _LOW, seed >> 32))
    words = np.array(drawn, np.uint32)
    words.flags.writeable = False
    return words


def words(numbers: UInt64s, stream: int, key: Array, blocks: int = 1) -> UInt64s:
    """The words of blocks 0, 1, ... of each number: uint64 (B, 4 * blocks), below 2**32."""
    place = np.arange(blocks, dtype=np.uint64)
    low, high = numbers[:, None] & np.uint64(_LOW), numbers[:, None] >> np.uint64(32)
    counter = (place[None], np.uint64(stream), low, high)
    drawn = np.broadcast_arrays(*philox(counter, (int(key[0]), int(key[1]))))
    return np.stack(drawn, -1).reshape(len(numbers), 4 * blocks)


def half_bits(items: int) -> int:
    """Half the bits of the Feistel network for so many items."""
    return max(3, -(-(items - 1).bit_length() // 2))


def item_of(numbers: UInt64s, items: int, key: Array) -> Int64s:
    """Which of `items` items each number takes: each once in every aligned block of as many numbers."""
    half = np.uint64(half_bits(items))
    mask = np.uint64((1 << int(half)) - 1)
    rounds = words(numbers // np.uint64(items), ITEMS, key, 2)
    place = numbers % np.uint64(items)
    walking = np.ones(len(numbers), bool)
    while walking.any():
        left, right = place[walking] >> half, place[walking] & mask
        for word in rounds[walking].T:
            left, right = right, left ^ (_mixed((right + word) & np.uint64(_LOW)) & mask)
        place[walking] = left << half | right
        walking[walking] = place[walking] >= items
    return place.astype(np.int64)


def _mixed(word: UInt64s) -> UInt64s:
    """The finalizer of MurmurHash3 (Appleby)."""
    word = word ^ word >> np.uint64(16)
    word = word * np.uint64(0x85EBCA6B) & np.uint64(_LOW)
    word = word ^ word >> np.uint64(13)
    word = word * np.uint64(0xC2B2AE35) & np.uint64(_LOW)
    return word ^ word >> np.uint64(16)


def starts(drawn: UInt64s, length: int) -> Int64s:
    """Where, in a segment of this length, the choice among equal values begins: int64 (B,)."""
    return ((drawn[:, 3] >> np.uint64(8)) * np.uint64(length) >> np.uint64(24)).astype(np.int64)


def crop(
    noise: Array,
    items: Int64s,
    size: tuple[int, ...],
    grid: tuple[int, ...],
    periodic: bool,
    flips: int,
    drawn: UInt64s,
) -> Array:
    """Windows of items: (B, t, h, w) of noise's type, from noise (N, T * H * W) of items (T, H, W)."""
    (t, h, w), (_, height, width) = grid, size
    on = drawn[:, 3] & np.uint64(flips)
    flipped = [on & np.uint64(bit) != 0 for bit in (FLIP_TIME, FLIP_HEIGHT, FLIP_WIDTH)]
    turned = (on & np.uint64(TRANSPOSE) != 0)[:, None]
    ts = _places(size[0], height * width, t, periodic, drawn[:, 0], flipped[0])
    ys = _places(height, width, h, periodic, drawn[:, 1], flipped[1])
    xs = _places(width, 1, w, periodic, drawn[:, 2], flipped[2])
    if turned.any():  # rows of the window then go along the width of the item
        ys = np.where(turned, _places(width, 1, h, periodic, drawn[:, 2], flipped[2]), ys)
        xs = np.where(turned, _places(height, width, w, periodic, drawn[:, 1], flipped[1]), xs)
    start = items * noise.shape[1]
    where = (start[:, None] + ts)[:, :, None, None] + (ys[:, :, None] + xs[:, None, :])[:, None]
    return np.asarray(noise.reshape(-1)[where])


def _places(extent: int, stride: int, n: int, periodic: bool, word: UInt64s, flipped: Bools) -> Int64s:
    """Offsets of a window's n places along an axis of an item: int64 (B, n)."""
    count = extent if periodic else extent - n + 1
    first = (word * np.uint64(max(count, 1)) >> np.uint64(32)).astype(np.int64)
    places = (first[:, None] + np.arange(n)) % extent * stride
    return np.where(flipped[:, None], places[:, ::-1], places)


def ordered(values: Array) -> Array:
    """Unsigned integers in the order of the values: unsigned ones are left, halves and floats become them."""
    if values.dtype.kind == "u":
        return values
    kind = np.dtype(f"u{values.dtype.itemsize}")
    bits = values.view(kind)
    sign = kind.type(1 << (8 * kind.itemsize - 1))
    return np.where(bits & sign, ~bits, bits | sign)


def select_all(keys: Array, bits: int, count: int, starts: Int64s, visible: Bools) -> None:
    """Make the `count` largest keys of each segment visible: bool (B, segments, n) from unsigned keys.

    Among equal keys at the threshold, those from place starts[b] on are taken, cyclically.
    """
    n = keys.shape[-1]
    threshold = np.partition(keys, n - count, axis=-1)[..., n - count, None]
    np.greater_equal(keys, threshold, out=visible)
    spare = visible.sum(-1) - count
    for b, s in zip(*np.nonzero(spare), strict=True):
        order = (np.arange(n) + starts[b]) % n
        equal = order[keys[b, s, order] == threshold[b, s]]
        visible[b, s, equal[len(equal) - spare[b, s] :]] = False


def restore_all(visible: Bools, count: int, restore: Int64s) -> None:
    """Where each token stands in [visible tokens, masked tokens]: int64 (B, L) from bool (B, L)."""
    shown = np.cumsum(visible, -1, dtype=np.int64)
    restore[:] = np.where(visible, shown - 1, np.arange(count, count + visible.shape[1]) - shown)


def crop_masks(
    noise: Array,
    begin: int,
    items: int,
    cut: tuple[tuple[int, ...], tuple[int, ...], bool, int],
    rule: tuple[bool, int, bool, int],
    ids: UInt64s,
    keys: npt.NDArray[np.uint32],
    visible: Bools,
) -> None:
    """What `maskbank.kernels.select.crop_masks` does."""
    floats, bits, per_frame, count = rule
    places = item_of(ids, items, keys[2:]) - begin
    here = (places >= 0) & (places < len(noise))
    drawn = words(ids[here], WINDOWS, keys[:2])
    values = crop(noise, places[here], *cut, drawn)
    if floats:
        values = ordered(values.view(f"f{values.dtype.itemsize}"))
    segments = cut[1][0] if per_frame else 1
    chosen = np.empty((len(values), segments, visible.shape[1] // segments), bool)
    select_all(values.reshape(chosen.shape), bits, count, starts(drawn, chosen.shape[-1]), chosen)
    visible[here] = chosen.reshape(len(chosen), visible.shape[1])
