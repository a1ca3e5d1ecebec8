"""Window to mask: cut a window out of an item, find its largest values, exactly as many as asked for.

`maskbank.sampling.selection` is the same in NumPy, and says what is drawn from which words.
"""

import numpy as np

from maskbank.kernels.jit import inlined, kernel, widest_vectors
from maskbank.kernels.philox import block
from maskbank.kernels.streams import ITEMS, WINDOWS

i64 = np.int64
u16 = np.uint16
u32 = np.uint32
u64 = np.uint64

CHUNK = 2**15  # what 16 bits can count

_16 = u32(16)
_13 = u32(13)
_32 = u64(32)
_LOW = u64(0xFFFFFFFF)


@inlined
def mixed(word):
    """The finalizer of MurmurHash3 (Appleby): every bit of a uint32 word depends on every other."""
    word = u32(word ^ (word >> _16))
    word = u32(u64(word) * u64(0x85EBCA6B) & _LOW)
    word = u32(word ^ (word >> _13))
    word = u32(u64(word) * u64(0xC2B2AE35) & _LOW)
    return u32(word ^ (word >> _16))


@kernel
def item_of(number, items, half, key0, key1):
    """Which of `items` items sample `number` takes: each once in every aligned block of as many numbers.

    Eight Feistel rounds over 2 * half bits, walked until the result is below `items`.
    """
    turn = number // items
    first = block(u32(0), u32(ITEMS), u32(turn & _LOW), u32(turn >> _32), key0, key1)
    second = block(u32(1), u32(ITEMS), u32(turn & _LOW), u32(turn >> _32), key0, key1)
    mask = u32((1 << half) - 1)
    place = number % items
    while True:
        left = u32(place >> u64(half))
        right = u32(place & u64(mask))
        for word in first:
            left, right = right, u32(left ^ (mixed(u32((u64(right) + u64(word)) & _LOW)) & mask))
        for word in second:
            left, right = right, u32(left ^ (mixed(u32((u64(right) + u64(word)) & _LOW)) & mask))
        place = (u64(left) << u64(half)) | u64(right)
        if place < items:
            return place


@kernel
def at_least(keys, threshold):
    """How many keys, unsigned and at most CHUNK of them, are at least the threshold, of the same type."""
    widest_vectors()
    total = u16(0)
    for j in range(keys.size):
        total = u16(total + (u16(1) if keys[j] >= threshold else u16(0)))
    return i64(total)


@kernel
def mark(keys, threshold, visible):
    """visible, bool (n,): whether keys are at least the threshold."""
    widest_vectors()
    for j in range(keys.size):
        visible[j] = keys[j] >= threshold


@kernel
def select(keys, bits, count, start, visible):
    """Make the `count` largest keys visible: bool (n,) from unsigned (n,) keys below 2**bits.

    Among equal keys at the threshold, those from place `start` on are taken, cyclically.
    """
    threshold = np.zeros(1, keys.dtype)  # an array, so that it has the keys' type
    reached = keys.size
    for bit in range(bits - 1, -1, -1):
        before = threshold[0]
        threshold[0] = before | (1 << bit)
        found = 0
        for chunk in range(0, keys.size, CHUNK):
            found += at_least(keys[chunk : chunk + CHUNK], threshold[0])
        if found < count:
            threshold[0] = before
        else:
            reached = found
            if found == count:
                break  # the bits below choose no other keys
    mark(keys, threshold[0], visible)
    j = start
    while reached > count:  # too many equals: the last ones in cyclic order have to go
        j = (j if j > 0 else keys.size) - 1
        if keys[j] == threshold[0]:
            visible[j] = False
            reached -= 1


@kernel
def select_all(keys, bits, count, starts, visible):
    """`select` for keys (B, segments, n) and starts, int64 (B,), the same for all segments of a sample."""
    for b in range(keys.shape[0]):
        for s in range(keys.shape[1]):
            select(keys[b, s], bits, count, starts[b], visible[b, s])


@kernel
def restore_all(visible, count, restore):
    """Where each token stands in [visible tokens, masked tokens]: int64 (B, L) from bool (B, L)."""
    for b in range(visible.shape[0]):
        shown = 0
        hidden = count
        for j in range(visible.shape[1]):
            there = i64(visible[b, j])
            restore[b, j] = shown if there else hidden
            shown += there
            hidden += 1 - there


@kernel
def crop_masks(noise, begin, items, cut, rule, ids, keys, visible):
    """Fill visible, bool (B, t * h * w), with the masks of samples.

    noise: unsigned (n, T * H * W), the bits of items begin, begin + 1, ... of `items` in all. Rows of
    samples that take other items are not written. ids: uint64 (B,). keys: uint32 (4,), two words for
    windows and two for items. cut and rule are plain tuples, which Numba unpacks in half the time of a
    named one:

    cut: (size, grid, periodic, flips). size: (T, H, W) of an item. grid: (t, h, w) of the window. periodic:
    the item tiles. flips: the sum of what is allowed: flip height (1), width (2), time (4), transpose (8).
    rule: (floats, bits, per_frame, count). floats: whether the values are floats. bits: values are below
    2**bits. per_frame: `count` values are visible in each frame, otherwise in the whole window.
    """
    size, grid, periodic, flips = cut
    floats, bits, per_frame, count = rule
    half = 3  # of the bits of an item's number
    while 1 << 2 * half < items:
        half += 1
    t, h, w = grid
    length = t * h * w
    values = np.empty(length, noise.dtype)
    sign = 1 << (bits - 1)
    lowest = (1 << bits) - 1
    ts = np.empty(t, np.int64)
    ys = np.empty(h, np.int64)
    xs = np.empty(w, np.int64)
    segment = h * w if per_frame else length
    for b in range(ids.size):
        number = ids[b]
        item = i64(item_of(number, u64(items), half, keys[2], keys[3])) - begin
        if not 0 <= item < noise.shape[0]:
            continue
        words = block(u32(0), u32(WINDOWS), u32(number & _LOW), u32(number >> _32), keys[0], keys[1])
        drawn = words[3] & flips
        transposed = drawn & 8 != 0
        places(size[0], size[1] * size[2], periodic, words[0], drawn & 4 != 0, ts)
        if transposed:
            places(size[1], size[2], periodic, words[1], drawn & 1 != 0, xs)
            places(size[2], 1, periodic, words[2], drawn & 2 != 0, ys)
        else:
            places(size[1], size[2], periodic, words[1], drawn & 1 != 0, ys)
            places(size[2], 1, periodic, words[2], drawn & 2 != 0, xs)
        source = noise[item]
        j = u64(0)
        for a in ts:
            for c in ys:
                row = a + c
                for d in range(w):
                    values[j] = source[u64(row + xs[u64(d)])]
                    j += u64(1)
        if floats:
            for i in range(length):
                value = i64(values[i])
                values[i] = lowest ^ value if value & sign else value | sign
        start = i64((u64(words[3] >> u32(8)) * u64(segment)) >> u64(24))
        for s in range(0, length, segment):
            select(values[s : s + segment], bits, count, start, visible[b, s : s + segment])


@kernel
def places(extent, stride, periodic, word, flipped, out):
    """Fill out, int64 (n,), with the offsets of a window's places along an axis of `extent` places."""
    n = out.size
    starts = extent if periodic else extent - n + 1
    place = int((u64(word) * u64(starts)) >> _32)
    for k in range(n):
        out[n - 1 - k if flipped else k] = place * stride
        place += 1
        if place == extent:
            place = 0
