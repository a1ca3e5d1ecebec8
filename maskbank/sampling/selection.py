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

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.checks import integer
from maskbank.kernels.streams import ITEMS, MASKS, WINDOWS
from maskbank.sampling.windows import Array, Bools, Cut, Int64s, UInt64s, crop

Keys = npt.NDArray[np.uint32]
Tokens = tuple[Int64s, Bools]  # how many are visible, and which are valid: see `select_all`

MOST_VIEWS = 2**16  # of a sample in one call

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


def keys(seed: int, epoch: Any, view: Any, views: Any = None) -> Keys:
    """The keys of an epoch and K views from `view` on: uint32 (4, K), two words for windows, two for items.

    views: K, None for one. Raises RecipeError where epoch and view are no integers below 2**32, and where
    views is none from 1 to 65,536.
    """
    if not (type(epoch) is type(view) is int and 0 <= epoch <= _LOW and 0 <= view <= _LOW):  # not usual
        epoch, view = integer("epoch", epoch, 0, _LOW), integer("view", view, 0, _LOW)
    count = 1 if views is None else integer("views", views, 1, min(MOST_VIEWS, 2**32 - view))
    return _keys(seed, epoch, view, count)


@lru_cache(64)
def _keys(seed: int, epoch: int, view: int, count: int) -> Keys:
    views = np.arange(view, view + count, dtype=np.uint64)
    return np.array(philox((epoch, MASKS, views, 0), (seed & _LOW, seed >> 32)), np.uint32)


def words(ids: UInt64s, stream: int, key: Array, blocks: int = 1) -> UInt64s:
    """The words of blocks 0, 1, ... of each id: uint64 (B, 4 * blocks), below 2**32."""
    block = np.arange(blocks, dtype=np.uint64)
    low, high = ids[:, None] & np.uint64(_LOW), ids[:, None] >> np.uint64(32)
    counter = (block[None], np.uint64(stream), low, high)
    first, second = key.astype(np.uint64)[..., None]
    drawn = np.broadcast_arrays(*philox(counter, (first, second)))
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


def choices(drawn: UInt64s) -> Int64s:
    """The 24 bits that choose among equal values: int64 (B,), from the words of samples."""
    return (drawn[:, 3] >> np.uint64(8)).astype(np.int64)


def ordered(values: Array) -> Array:
    """Unsigned integers in the order of the values, unsigned or floats."""
    if values.dtype.kind == "u":
        return values
    kind = np.dtype(f"u{values.dtype.itemsize}")
    bits = values.view(kind)
    sign = kind.type(1 << (8 * kind.itemsize - 1))
    return np.where(bits & sign, ~bits, bits | sign)


def word_of(values: Array) -> int:
    """24 bits from the values (n,) alone: the sum of a hash of each value and its place, mixed."""
    low, places = np.uint64(_LOW), np.arange(len(values), dtype=np.uint64) * np.uint64(0x9E3779B1)
    wide = values.astype(np.uint64)
    total = _mixed(((wide ^ wide >> np.uint64(32)) + places) & low).sum(keepdims=True, dtype=np.uint64)
    return int(_mixed(total & low)[0]) >> 8


def select_all(values: Array, bits: int, words: Int64s, counts: Int64s, valid: Bools, visible: Bools) -> None:
    """Make the largest values visible: bool (R, S * n), from unsigned (R, S * n) ones, or (R, n) for all S.

    counts: int64 (B, S), how many are visible in each segment. valid: bool (B, S * n), or (1, 0) where all
    tokens are. R is a multiple of either B. Among values that equal the threshold, those from a valid token
    on are taken, cyclically. words: int64 (R,), 24 bits that choose it, below 0 for a choice by the values
    alone. bits: values are below 2**bits, which the kernel needs.
    """
    rows, segments = len(values), counts.shape[1]
    n = visible.shape[1] // segments
    counts, valid = (_repeated(of_samples, rows) for of_samples in (counts, valid))
    competing, chosen = values.reshape(rows, values.shape[1] // n, n), visible.reshape(rows, segments, n)
    there = valid.reshape(chosen.shape) if valid.size else np.ones((1, 1, n), bool)
    if valid.size:
        competing = np.where(there, competing, competing.dtype.type(0))
    place = np.minimum(n - counts, n - 1)[..., None]
    same = counts.size > 0 and (counts == counts.flat[0]).all()
    partial = np.partition(competing, place.flat[0], -1) if same else np.sort(competing, -1)
    threshold = np.take_along_axis(np.broadcast_to(partial, chosen.shape), place, -1)
    np.greater_equal(competing, threshold, out=chosen)
    chosen &= there
    spare = chosen.sum(-1) - counts
    competing, there = np.broadcast_to(competing, chosen.shape), np.broadcast_to(there, chosen.shape)
    for r, s in zip(*np.nonzero(spare), strict=True):
        own = np.flatnonzero(there[r, s])
        word = int(words[r]) if words[r] >= 0 else word_of(competing[r, s])
        around = np.roll(own, -(word * len(own) >> 24))
        equal = around[competing[r, s, around] == threshold[r, s]]
        chosen[r, s, equal[len(equal) - spare[r, s] :]] = False


def _repeated(of_samples: Array, rows: int) -> Array:
    """Rows (B, ...) of samples, or one row for all samples, repeated in place: (rows, ...)."""
    return of_samples[np.arange(rows) * len(of_samples) // max(rows, 1)]


def restore_all(visible: Bools, lengths: Int64s, valid: Bools, restore: Int64s) -> None:
    """Where each token stands in [visible, masked, not valid]: int64 (R, L) from bool (R, L).

    valid: bool (B, L), or (1, 0), as for `select_all`. lengths: int64 (B,), how many are visible, which the
    kernel needs.
    """
    there = _repeated(valid, len(visible)) if valid.size else np.bool_(True)
    order = np.argsort(np.where(visible, np.uint8(0), np.uint8(2) - there), -1, "stable")
    np.put_along_axis(restore, order, np.arange(visible.shape[1]), -1)


def crop_masks(
    noise: Array,
    begin: int,
    rule: tuple[tuple[int, ...], tuple[int, ...], bool, int, int, bool, int],
    ids: UInt64s,
    keys: Keys,
    counts: Int64s,
    valid: Bools,
    visible: Bools,
) -> None:
    """What `maskbank.kernels.select.crop_masks` does."""
    size, grid, periodic, flips, items, floats, bits = rule
    ids, keys = in_views(ids, keys)
    stored = item_of(ids, items, keys[2:]) - begin
    here = (stored >= 0) & (stored < len(noise))
    drawn = words(ids[here], WINDOWS, keys[:2, here])
    values = crop(noise, stored[here], Cut(size, grid, periodic, flips), drawn)
    if floats:
        values = ordered(values.view(f"f{values.dtype.itemsize}"))
    chosen = np.empty((len(values), visible.shape[1]), bool)
    counts, valid = (_repeated(of_samples, len(ids))[here] for of_samples in (counts, valid))
    values = values.reshape(len(values), math.prod(grid))
    select_all(values, bits, choices(drawn), counts, valid, chosen)
    visible[here] = chosen


def in_views(ids: UInt64s, keys: Keys) -> tuple[UInt64s, Keys]:
    """ids (B,) and keys (4, K) for each view of each sample: (B * K,) and (4, B * K)."""
    return np.repeat(ids, keys.shape[1]), np.tile(keys, len(ids))
