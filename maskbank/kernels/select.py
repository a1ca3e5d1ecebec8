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
_ODD = u64(0x9E3779B1)


@inlined
def mixed(word):
    """The finalizer of MurmurHash3 (Appleby): every bit of a uint32 word depends on every other."""
    word = u32(word ^ (word >> _16))
    word = u32(u64(word) * u64(0x85EBCA6B) & _LOW)
    word = u32(word ^ (word >> _13))
    word = u32(u64(word) * u64(0xC2B2AE35) & _LOW)
    return u32(word ^ (word >> _16))


@kernel
def rounds_of(turn, key0, key1):
    """The words of the eight Feistel rounds of an aligned block of sample numbers."""
    low, high = u32(turn & _LOW), u32(turn >> _32)
    return block(u32(0), u32(ITEMS), low, high, key0, key1), block(u32(1), u32(ITEMS), low, high, key0, key1)


@kernel
def item_of(place, items, half, rounds):
    """Which of `items` items the sample at this place of its aligned block takes: each item once.

    Eight Feistel rounds over 2 * half bits, walked until the result is below `items`.
    """
    first, second = rounds
    mask = u32((1 << half) - 1)
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
def word_of(values):
    """24 bits from the values (n,) alone: the sum of a hash of each value and its place, mixed."""
    total = u64(0)
    for j in range(values.size):
        value = u64(values[j])
        value = (value ^ (value >> _32)) & _LOW
        total += u64(mixed(u32((value + u64(j) * _ODD) & _LOW)))
    return i64(mixed(u32(total & _LOW)) >> u32(8))


@kernel
def threshold_of(values, bits, count):
    """The largest threshold that at least `count` of the values (n,) reach, and how many reach it.

    It has their type. Values are below 2**bits.
    """
    widest_vectors()
    kind = values.dtype.type
    threshold = kind(0)
    reached = values.size
    for bit in range(bits - 1, -1, -1):
        higher = kind(u64(threshold) | u64(1) << u64(bit))
        found = 0
        for begin in range(0, values.size, CHUNK):
            end = values.size if values.size < begin + CHUNK else begin + CHUNK
            total = u16(0)
            for j in range(u64(begin), u64(end)):
                total = u16(total + (u16(1) if values[j] >= higher else u16(0)))
            found += i64(total)
        if found >= count:
            threshold = higher
            reached = found
            if found == count:
                break  # the bits below choose no others
    return threshold, reached


@kernel
def choose(values, bits, counts, word, valid, competing, visible):
    """Make the largest values visible in each of S equal segments: as many as counts, int64 (S,), says.

    visible: bool (S * n,). values: unsigned and below 2**bits, (S * n,), or (n,) for all segments. valid:
    bool (S * n,), which of them compete, or (0,) where all do. competing: (n,), memory for their values.

    Among equal values at the threshold, those from a valid token on are taken, cyclically. It is the one that
    word, 24 bits, chooses among the valid ones of its segment; below 0, a word made from the values.
    """
    widest_vectors()
    n = competing.size
    for s in range(counts.size):
        begin = s * n
        first = begin if values.size > n else 0
        tokens = n
        if valid.size == 0:
            for j in range(u64(n)):
                competing[j] = values[u64(first + j)]
        else:
            tokens = 0
            for j in range(u64(n)):  # without a branch, so that this becomes vectors
                competing[j] = u64(values[u64(first + j)]) & (u64(0) - u64(valid[u64(begin + j)]))
                tokens += i64(valid[u64(begin + j)])
        threshold, reached = threshold_of(competing, bits, counts[s])
        if threshold == 0 and valid.size > 0:  # which also stands for tokens that are not valid
            reached = tokens
            for j in range(u64(n)):
                visible[u64(begin + j)] = valid[u64(begin + j)]
        else:
            for j in range(u64(n)):
                visible[u64(begin + j)] = competing[j] >= threshold
        spare = reached - counts[s]
        if spare == 0:
            continue
        start = ((word_of(competing) if word < 0 else word) * tokens) >> 24
        j = start
        if valid.size > 0:  # valid token number `start`
            j = 0
            while start > 0 or not valid[u64(begin + j)]:
                start -= i64(valid[u64(begin + j)])
                j += 1
        while spare > 0:  # the last of the equal ones, from there on, are not visible
            j = (j if j > 0 else n) - 1
            if competing[u64(j)] == threshold and visible[u64(begin + j)]:
                visible[u64(begin + j)] = False
                spare -= 1


@kernel
def select_all(values, bits, words, counts, valid, visible):
    """Make the largest values visible: bool (R, S * n), from unsigned (R, S * n) ones, or (R, n) for all S.

    bits, words: see `choose`; words is int64 (R,). counts: int64 (B, S), how many each segment shows. valid:
    bool (B, S * n), or (1, 0) where all tokens are. R is a multiple of either B: as many rows in turn
    are of one sample.
    """
    rows = values.shape[0]
    competing = np.empty(visible.shape[1] // counts.shape[1], values.dtype)
    for r in range(rows):
        own = counts[r * counts.shape[0] // rows]
        choose(values[r], bits, own, words[r], valid[r * valid.shape[0] // rows], competing, visible[r])


@kernel
def restore_all(visible, lengths, valid, restore):
    """Where each token stands in [visible, masked, not valid]: int64 (R, L) from bool (R, L).

    lengths: int64 (B,), how many are visible. valid: bool (B, L), or (1, 0). As for `select_all`.
    """
    rows = visible.shape[0]
    for r in range(rows):
        own = valid[r * valid.shape[0] // rows]
        shown = 0
        hidden = lengths[r * lengths.size // rows]
        absent = 0  # where the first token that is not valid stands
        for j in range(own.size):
            absent += i64(own[j])
        for j in range(visible.shape[1]):
            there = i64(visible[r, j])
            here = i64(own[j]) if own.size > 0 else i64(1)
            restore[r, j] = shown if there else hidden if here else absent
            shown += there
            hidden += here - there
            absent += 1 - here


@kernel
def crop_masks(noise, begin, rule, ids, keys, counts, valid, visible):
    """Fill visible, bool (B * K, L), with the masks of B samples, in K views of each.

    noise: unsigned (n, T * H * W), the bits of a bank's items begin, begin + 1, ... Rows that take other
    items are not written. ids: uint64 (B,). keys: uint32 (4, K), two words for windows and two for items.
    counts, valid: as for `select_all`. L is t * h * w, or a multiple of it, one for each segment.

    rule: (size, grid, periodic, flips, items, floats, bits), a plain tuple, which Numba unpacks in half the
    time of a named one. size: (T, H, W) of an item. grid: (t, h, w) of the window. periodic: the item tiles.
    flips: the sum of what is allowed: flip height (1), width (2), time (4), transpose (8). items: how many
    the bank has. floats: whether the values are floats. bits: values are below 2**bits.
    """
    size, grid, periodic, flips, items, floats, bits = rule
    half = 3  # of the bits of an item's number
    while 1 << 2 * half < items:
        half += 1
    t, h, w = grid
    length = t * h * w
    values = np.empty(length, noise.dtype)
    segment = np.empty(visible.shape[1] // counts.shape[1], noise.dtype)
    sign = 1 << (bits - 1)
    lowest = (1 << bits) - 1
    ts = np.empty(t, np.int64)
    ys = np.empty(h, np.int64)
    xs = np.empty(w, np.int64)
    last = u64(0)
    rounds = rounds_of(last, keys[2, 0], keys[3, 0])
    b = i64(0)
    k = i64(-1)
    for row in range(visible.shape[0]):
        k += 1
        if k == keys.shape[1]:  # row = b * K + k; a division takes longer
            b += 1
            k = i64(0)
        number = ids[b]
        turn = number // u64(items)
        if turn != last or keys.shape[1] > 1:
            rounds = rounds_of(turn, keys[2, k], keys[3, k])
            last = turn
        item = i64(item_of(number - turn * u64(items), u64(items), half, rounds)) - begin
        if not 0 <= item < noise.shape[0]:
            continue
        words = block(u32(0), u32(WINDOWS), u32(number & _LOW), u32(number >> _32), keys[0, k], keys[1, k])
        drawn = words[3] & flips
        first, second = (xs, ys) if drawn & 8 != 0 else (ys, xs)
        places(size[0], size[1] * size[2], periodic, words[0], drawn & 4 != 0, ts)
        places(size[1], size[2], periodic, words[1], drawn & 1 != 0, first)
        places(size[2], i64(1), periodic, words[2], drawn & 2 != 0, second)
        source = noise[item]
        j = u64(0)
        for a in ts:
            for c in ys:
                line = a + c
                for d in range(w):
                    values[j] = source[u64(line + xs[u64(d)])]
                    j += u64(1)
        if floats:
            for i in range(length):
                value = i64(values[i])
                values[i] = lowest ^ value if value & sign else value | sign
        word = i64(words[3] >> u32(8))
        own = counts[b if counts.shape[0] > 1 else 0]
        choose(values, bits, own, word, valid[b if valid.shape[0] > 1 else 0], segment, visible[row])


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
