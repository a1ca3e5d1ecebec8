"""Regularised blue noise: sets of disjoint masks by the paper's Algorithm 1, and their rank extension.

Position p of a grid (H, W) is (y, x) with p = y * W + x. Its neighbours are those that equation 5 counts,
in four directions and all windows. A kernel gets them as `around`, a tuple of

    width     W
    offsets   int64 (neighbours, 3): dy + R, dx + R and the weight, summed over the windows that reach there
    rows      int64 (H + 2 R,)
    columns   int64 (W + 2 R,): rows[y + dy + R] + columns[x + dx + R] is a neighbour's number, or
              negative where there is none
    existing  int64 (L,): the weight of all neighbours that a position has, at least 1
"""

import math

import numpy as np

from maskbank.kernels.jit import kernel, widest_vectors
from maskbank.kernels.philox import block, words
from maskbank.kernels.streams import POSITIONS, PRIORITIES, SWAPS, TIES

i64 = np.int64
u32 = np.uint32
u64 = np.uint64
f64 = np.float64

NOBODY = -1
NEVER = np.iinfo(np.int64).max
NOWHERE = -(2**40)

# A key is (a share of neighbours, a place in an order). Shares are quotients of numbers up to 2**20, so
# different ones are 2**-40 apart: in these units 4, and rounding cannot make them equal.
SHARES = 2.0**42

_32 = u64(32)
_LOW = u64(0xFFFFFFFF)


def neighbourhood(size, windows, weights, periodic):
    """`around` for a grid (H, W), odd widths of windows and four whole weights.

    On a torus a neighbour met from both sides counts twice, as in a tiling; a position is never its own.
    """
    height, width = size
    reach = max(windows) // 2
    offsets = [
        (sign * d * dy + reach, sign * d * dx + reach, weight * sum(window // 2 >= d for window in windows))
        for (dy, dx), weight in zip(((0, 1), (1, 0), (1, 1), (1, -1)), weights, strict=True)
        for d in range(1, reach + 1)
        for sign in (-1, 1)
        if weight and not (periodic and d * dy % height == 0 and d * dx % width == 0)
    ]
    table = np.array(offsets, np.int64).reshape(-1, 3)
    rows, columns = (
        np.array([i % n if periodic or 0 <= i < n else NOWHERE for i in range(-reach, n + reach)], np.int64)
        for n in size
    )
    rows[rows >= 0] *= width
    existing = np.zeros(size, np.int64)
    for dy, dx, weight in offsets:
        there = (rows[dy : dy + height, None] >= 0) & (columns[None, dx : dx + width] >= 0)
        existing += weight * there
    return width, table, rows, columns, np.maximum(existing.reshape(math.prod(size)), 1)


@kernel
def draw_words(seed, stream, index, out):
    """Fill out, uint32 (n,), with the first words of a stream, four from each block."""
    blocks = (out.size + 3) // 4
    drawn = np.empty((4, blocks), np.uint32)
    words(seed, stream, index, 0, drawn[0], drawn[1], drawn[2], drawn[3])
    for j in range(out.size):
        out[j] = drawn[j & 3, j >> 2]


@kernel
def below(word, n):
    """A number below n from a uint32 word."""
    return i64((u64(word) * u64(n)) >> _32)


@kernel
def shuffle(drawn, order):
    """Fill order, int64 (n,), with 0..n-1 shuffled by words, uint32 (n,): Fisher and Yates, inside out."""
    for j in range(order.size):
        k = below(drawn[j], j + 1)
        order[j] = order[k]
        order[k] = j


@kernel
def score(p, mask, owners, around):
    """Equation 5, summed over the windows, for position p among the positions that `mask` owns."""
    width, offsets, rows, columns, _ = around
    y = p // width
    x = p - y * width
    total = 0
    for o in range(offsets.shape[0]):
        q = rows[y + offsets[o, 0]] + columns[x + offsets[o, 1]]
        if q >= 0 and owners[q] == mask:
            total += offsets[o, 2]
    return total


@kernel
def assign(order, drawn, first_wins, masks, placed, before, around, owners):
    """Algorithm 1: give each position, in this order, to the mask with the lowest score there.

    order: int64 (L,). drawn: uint32 (L,), for each place in the order a word that chooses among equal
    masks; with `first_wins` the first of them is taken, which is Algorithm 1 to the letter. A mask takes
    `placed` positions. before: uint8 (masks, L), what each mask holds where nothing is decided yet; or
    (0, L) for nothing. Fills owners, int32 (L,), with the number of a mask or NOBODY.
    """
    width, offsets, rows, columns, _ = around
    counts = np.zeros(masks, np.int64)
    scores = np.empty(masks, np.int64)
    owners[:] = NOBODY
    for t in range(masks * placed):
        p = order[t]
        y = p // width
        x = p - y * width
        scores[:] = 0
        for o in range(offsets.shape[0]):
            q = rows[y + offsets[o, 0]] + columns[x + offsets[o, 1]]
            if q >= 0:
                if owners[q] != NOBODY:
                    scores[owners[q]] += offsets[o, 2]
                else:
                    for i in range(before.shape[0]):
                        scores[i] += offsets[o, 2] * before[i, q]
        least = NEVER
        equals = 0
        chosen = NOBODY
        for i in range(masks):
            if counts[i] < placed:
                if scores[i] < least:
                    least = scores[i]
                    equals = 0
                    chosen = i
                if scores[i] == least:
                    equals += 1
        if equals > 1 and not first_wins:
            skip = below(drawn[t], equals)
            while skip > 0:
                chosen += 1
                if counts[chosen] < placed and scores[chosen] == least:
                    skip -= 1
        owners[p] = chosen
        counts[chosen] += 1


@kernel
def swap(seed, number, passes, order, around, owners):
    """Let positions of different masks change places wherever that lowers their scores. Counts stay.

    In each pass, each position that has neighbours in its mask tries the four positions that the words of
    a block of stream SWAPS choose, until one is better.
    """
    length = owners.size
    for turn in range(passes):
        for t in range(length):
            p = order[t]
            mine = owners[p]
            here = score(p, mine, owners, around) if mine != NOBODY else 0
            if here == 0:
                continue
            four = block(
                u32(turn * length + t),
                u32(SWAPS),
                u32(number & _LOW),
                u32(number >> _32),
                u32(seed & _LOW),
                u32(seed >> _32),
            )
            for word in four:
                q = below(word, length)
                other = owners[q]
                if other == mine:
                    continue
                now = here + (score(q, other, owners, around) if other != NOBODY else 0)
                owners[p] = other
                owners[q] = mine
                then = score(q, mine, owners, around)
                then += score(p, other, owners, around) if other != NOBODY else 0
                if then < now:
                    break
                owners[p] = mine
                owners[q] = other


@kernel
def lowest(keys, start, stop):
    """The least of keys[start:stop]."""
    widest_vectors()
    least = NEVER
    for j in range(start, stop):
        least = min(least, keys[j])
    return least


@kernel
def peel(candidates, weights, places, rank, step, around, ranks):
    """Rank candidates, always the one whose neighbours weigh least, as a share of those that exist.

    candidates: bool (L,). weights: int64 (L,), of each position's neighbours that are no candidates, kept
    up to date. places: int64 (L,), each position's place in the order that decides among equals. Writes
    rank, rank + step, ... to ranks, int64 (L,).

    Keys only grow, so the least key of a part of them changes only where it was that one: a step costs
    the neighbours, a part or some, and as many parts, each about the square root of L.
    """
    width, offsets, rows, columns, existing = around
    length = ranks.size
    bits = 1
    while 1 << bits < length:
        bits += 1
    shift = bits // 2
    parts = ((length - 1) >> shift) + 1
    last = (1 << bits) - 1
    order = np.empty(length, np.int64)
    keys = np.full(parts << shift, NEVER)
    left = 0
    for p in range(length):
        order[places[p]] = p
        if candidates[p]:
            keys[p] = i64(f64(weights[p]) * SHARES / f64(existing[p])) << bits | places[p]
            left += 1
    least = np.empty(parts, np.int64)
    for part in range(parts):
        least[part] = lowest(keys, part << shift, (part + 1) << shift)
    for _ in range(left):
        p = order[lowest(least, 0, parts) & last]
        ranks[p] = rank
        rank += step
        y = p // width
        x = p - y * width
        for o in range(offsets.shape[0]):
            q = rows[y + offsets[o, 0]] + columns[x + offsets[o, 1]]
            if q < 0:
                continue
            weights[q] += offsets[o, 2]
            old = keys[q]
            if old != NEVER:
                keys[q] = i64(f64(weights[q]) * SHARES / f64(existing[q])) << bits | (old & last)
                part = q >> shift
                if old == least[part]:
                    least[part] = lowest(keys, part << shift, (part + 1) << shift)
        keys[p] = NEVER
        part = p >> shift
        least[part] = lowest(keys, part << shift, (part + 1) << shift)


@kernel
def extend(inside, places, around, ranks):
    """The rank extension of a mask, bool (L,): a full order of the positions, int64 (L,), the mask's first.

    Those inside are ordered from the back by taking away the most clustered, the one with the least share
    of neighbours outside; the others by adding the least clustered, the one with the least share inside.
    """
    width, offsets, rows, columns, existing = around
    length = ranks.size
    weights = np.zeros(length, np.int64)
    count = 0
    for p in range(length):
        if inside[p]:
            count += 1
            y = p // width
            x = p - y * width
            for o in range(offsets.shape[0]):
                q = rows[y + offsets[o, 0]] + columns[x + offsets[o, 1]]
                if q >= 0:
                    weights[q] += offsets[o, 2]
    peel(inside, existing - weights, places, count - 1, -1, around, ranks)
    peel(~inside, weights, places, count, 1, around, ranks)


@kernel
def make_set(seed, number, masks, placed, first_wins, passes, before, around, order, owners):
    """Set `number`: its random order, int64 (L,), and who owns which position, int32 (L,).

    masks: K. placed: how many positions a mask takes. before: see `assign`. passes: of swaps.
    """
    drawn = np.empty(order.size, np.uint32)
    draw_words(seed, POSITIONS, number, drawn)
    shuffle(drawn, order)
    draw_words(seed, TIES, number, drawn)
    assign(order, drawn, first_wins, masks, placed, before, around, owners)
    swap(seed, number, passes, order, around, owners)


@kernel
def rank_masks(seed, item, first, inverted, first_wins, around, order, owners, stored):
    """Masks first, first + 1, ... of a set: stored, uint16 or uint32 (count, L), high values visible.

    item: the number of the first of them among all items. inverted: a set placed the masked positions.
    Equal positions are told apart by the set's order with `first_wins`, else by one of the item's own.
    """
    length = order.size
    drawn = np.empty(length, np.uint32)
    own = order.copy()
    places = np.empty(length, np.int64)
    ranks = np.empty(length, np.int64)
    for i in range(stored.shape[0]):
        if not first_wins:
            draw_words(seed, PRIORITIES, item + u64(i), drawn)
            shuffle(drawn, own)
        for t in range(length):
            places[own[t]] = t
        extend(owners == first + i, places, around, ranks)
        for p in range(length):
            stored[i, p] = ranks[p] if inverted else length - 1 - ranks[p]
