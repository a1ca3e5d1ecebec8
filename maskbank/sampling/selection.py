"""Which item a sample gets, where its window lies, and which of its values are the largest: in NumPy alone.

`maskbank.kernels.select` does the same, faster, with equal results. All words are drawn by Philox4x32-10
(see `maskbank.kernels.philox` and `.streams`). The seed, the epoch and the view give two keys:

    block(c0 = epoch, c1 = MASKS, c2 = view, c3 = 0; key = seed) -> key of windows, key of items

A sample's id gives one block of words for its window. Its aligned block of ids gives the round keys that
permute the items:

    block(0, WINDOWS, id; key of windows)             -> starts along T, H, W; a word of bits
    blocks(0 and 1, ITEMS, id // items; key of items) -> eight Feistel rounds

Bits 0 to 3 of the word: height flipped, width flipped, time flipped, height and width transposed. Its upper
24 bits choose among equal values. What is drawn does not depend on the bank's kind.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.checks import integer
from maskbank.kernels.streams import ITEMS, MASKS, WINDOWS
from maskbank.sampling.windows import Array, Bools, Cut, Int64s, UInt64s, crop

Keys = npt.NDArray[np.uint32]

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


@lru_cache(64, typed=True)  # so that 1.0 is checked after 1
def keys(seed: int, epoch: int, view: int) -> Keys:
    """The keys of one epoch and view: uint32 (4,), two words for windows and two for items.

    Raises RecipeError where epoch and view are no integers below 2**32, TypeError where they have no hash.
    """
    epoch, view = integer("epoch", epoch, 0, _LOW), integer("view", view, 0, _LOW)
    drawn = np.array(philox((epoch, MASKS, view, 0), (seed & _LOW, seed >> 32)), np.uint32)
    drawn.flags.writeable = False
    return drawn


def words(ids: UInt64s, stream: int, key: Array, blocks: int = 1) -> UInt64s:
    """The words of blocks 0, 1, ... of each id: uint64 (B, 4 * blocks), below 2**32."""
    block = np.arange(blocks, dtype=np.uint64)
    low, high = ids[:, None] & np.uint64(_LOW), ids[:, None] >> np.uint64(32)
    counter = (block[None], np.uint64(stream), low, high)
    drawn = np.broadcast_arrays(*philox(counter, (int(key[0]), int(key[1]))))
    return np.stack(drawn, -1).reshape(len(ids), 4 * blocks)


def item_of(ids: UInt64s, items: int, key: Array) -> Int64s:
    """Which of `items` items each id takes: in every aligned block of that many ids, each item once."""
    half = np.uint64(max(3, -(-(items - 1).bit_length() // 2)))  # of the bits of an item's number
    mask = np.uint64((1 << int(half)) - 1)
    rounds = words(ids // np.uint64(items), ITEMS, key, 2)
    item = ids % np.uint64(items)
    beyond = np.ones(len(ids), bool)  # numbers that are still to be permuted until they are below `items`
    while beyond.any():
        left, right = item[beyond] >> half, item[beyond] & mask
        for word in rounds[beyond].T:
            left, right = right, left ^ (_mixed((right + word) & np.uint64(_LOW)) & mask)
        item[beyond] = left << half | right
        beyond[beyond] = item[beyond] >= items
    return item.astype(np.int64)


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


def ordered(values: Array) -> Array:
    """Unsigned integers in the order of the values, unsigned or floats."""
    if values.dtype.kind == "u":
        return values
    kind = np.dtype(f"u{values.dtype.itemsize}")
    bits = values.view(kind)
    sign = kind.type(1 << (8 * kind.itemsize - 1))
    return np.where(bits & sign, ~bits, bits | sign)


def select_all(values: Array, bits: int, count: int, starts: Int64s, visible: Bools) -> None:
    """Make the `count` largest values of each segment visible: bool (B, segments, n) from unsigned ones.

    Among values that equal the threshold, those from position starts[b] on are taken, cyclically. bits:
    values are below 2**bits, which the kernel needs.
    """
    n = values.shape[-1]
    threshold = np.partition(values, n - count, axis=-1)[..., n - count, None]
    np.greater_equal(values, threshold, out=visible)
    spare = visible.sum(-1) - count
    for b, s in zip(*np.nonzero(spare), strict=True):
        around = (np.arange(n) + starts[b]) % n
        equal = around[values[b, s, around] == threshold[b, s]]
        visible[b, s, equal[len(equal) - spare[b, s] :]] = False


def restore_all(visible: Bools, count: int, restore: Int64s) -> None:
    """The position of each token in [visible tokens, masked tokens]: int64 (B, L) from bool (B, L)."""
    shown = np.cumsum(visible, -1, dtype=np.int64)
    restore[:] = np.where(visible, shown - 1, np.arange(count, count + visible.shape[1]) - shown)


def crop_masks(
    noise: Array,
    begin: int,
    items: int,
    cut: tuple[tuple[int, ...], tuple[int, ...], bool, int],
    rule: tuple[bool, int, bool, int],
    ids: UInt64s,
    keys: Keys,
    visible: Bools,
) -> None:
    """What `maskbank.kernels.select.crop_masks` does."""
    floats, bits, per_frame, count = rule
    stored = item_of(ids, items, keys[2:]) - begin
    here = (stored >= 0) & (stored < len(noise))
    drawn = words(ids[here], WINDOWS, keys[:2])
    values = crop(noise, stored[here], Cut(*cut), drawn)
    if floats:
        values = ordered(values.view(f"f{values.dtype.itemsize}"))
    segments = cut[1][0] if per_frame else 1
    chosen = np.empty((len(values), segments, visible.shape[1] // segments), bool)
    select_all(values.reshape(chosen.shape), bits, count, starts(drawn, chosen.shape[-1]), chosen)
    visible[here] = chosen.reshape(len(chosen), visible.shape[1])
