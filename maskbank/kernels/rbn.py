"""Regularised blue noise: sets of disjoint masks by the paper's Algorithm 1, and their rank extension.

Position p of a grid (H, W) is (y, x) with p = y * W + x; one axis is a grid (1, L). Its neighbours are the
positions that equation 5 counts, in four directions and all windows.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from maskbank.kernels.jit import kernel, widest_vectors
from maskbank.kernels.philox import words
from maskbank.kernels.streams import POSITIONS, PRIORITIES, TIES

i64 = np.int64
u32 = np.uint32
u64 = np.uint64
f64 = np.float64

NOBODY = -1
NEVER = np.iinfo(np.int64).max
NOWHERE = -(2**40)

# A cost is (a share of neighbours, a place in an order). Shares are quotients of numbers up to 2**20, so
# different ones are 2**-40 apart: in these units 4, and rounding cannot make them equal.
SHARES = 2.0**42

_32 = u64(32)


class Rule(NamedTuple):
    """How the masks of a set are made."""

    masks: int  # K
    placed: int  # positions that Algorithm 1 gives to each mask
    inverted: bool  # the placed positions are the masked ones, not the visible ones
    first_wins: bool  # among equal masks or positions the first is taken, not a random one


class Around(NamedTuple):
    """The neighbours of all positions. R: how far the largest window reaches."""

    width: int  # W
    offsets: Any  # int64 (neighbours, 3): dy + R, dx + R, and the weight, summed over all windows
    rows: Any  # int64 (H + 2 R,)
    # int64 (W + 2 R,): rows[y + dy + R] + columns[x + dx + R] is a neighbour's number, negative for none
    columns: Any
    existing: Any  # int64 (L,): the weight of all neighbours that a position has, at least 1


def neighbourhood(size, windows, weights, periodic):
    """The neighbours in a grid (H, W), for odd widths of windows and four whole weights.

    On a torus a neighbour reached from both sides counts twice. A position is never its own neighbour.
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
    return Around(width, table, rows, columns, np.maximum(existing.reshape(math.prod(size)), 1))


@kernel
def draw_words(seed, stream, index, out):
    """Fill out, uint32 (n,), with the first words of a stream, four from each block."""
    blocks = (out.size + 3) // 4
    drawn = np.empty((4, blocks), np.uint32)
    words(seed, stream, index, 0, blocks, drawn)
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
def assign(order, drawn, rule, before, around, owners):
    """Algorithm 1: give each position, in this order, to the mask with the lowest score there.

    order: int64 (L,). drawn: uint32 (L,), for each place in the order a word that chooses among equal masks;
    with rule.first_wins the first of them is taken instead, as in Algorithm 1. before: uint8 (masks, L), the
    positions that each mask starts with, or (0, L) for none; such a position counts until it is assigned.
    Fills owners, int32 (L,), with the number of a mask or NOBODY.
    """
    masks, placed, _, first_wins = rule
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
def lowest(costs, start, stop):
    """The least of costs[start:stop]."""
    widest_vectors()
    least = NEVER
    for j in range(start, stop):
        least = min(least, costs[j])
    return least


@kernel
def peel(candidates, weights, places, rank, step, around, ranks):
    """Rank the candidates. The next one is always that with the least cost.

    A position's cost is the weight of its neighbours that are no candidates, or no longer, as a share of the
    weight of all its neighbours. candidates: bool (L,). weights: int64 (L,), the weight of each position's
    neighbours that are no candidates; kept up to date. places: int64 (L,), each position's place in the order
    that decides among equals. Writes rank, rank + step, ... to ranks, int64 (L,).

    Costs are kept in about sqrt(L) parts, with the least cost of each part. Costs only grow, so the least of
    a part changes only when the cost of its position does. A step takes about sqrt(L) operations.
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
    costs = np.full(parts << shift, NEVER)
    left = 0
    for p in range(length):
        order[places[p]] = p
        if candidates[p]:
            costs[p] = i64(f64(weights[p]) * SHARES / f64(existing[p])) << bits | places[p]
            left += 1
    least = np.empty(parts, np.int64)
    for part in range(parts):
        least[part] = lowest(costs, part << shift, (part + 1) << shift)
    for _ in range(left):
        p = order[lowest(least, i64(0), parts) & last]
        ranks[p] = rank
        rank += step
        y = p // width
        x = p - y * width
        for o in range(offsets.shape[0]):
            q = rows[y + offsets[o, 0]] + columns[x + offsets[o, 1]]
            if q < 0:
                continue
            weights[q] += offsets[o, 2]
            old = costs[q]
            if old != NEVER:
                costs[q] = i64(f64(weights[q]) * SHARES / f64(existing[q])) << bits | (old & last)
                part = q >> shift
                if old == least[part]:
                    least[part] = lowest(costs, part << shift, (part + 1) << shift)
        costs[p] = NEVER
        part = p >> shift
        least[part] = lowest(costs, part << shift, (part + 1) << shift)


@kernel
def extend(inside, places, around, ranks):
    """The rank extension of a mask, bool (L,): a full order of the positions, int64 (L,), the mask's first.

    Positions inside the mask are ordered from last to first: the most clustered is taken away, that with the
    least share of neighbours outside. The others follow: the least clustered is added, that with the least
    share of neighbours inside.
    """
    width, offsets, rows, columns, existing = around
    length = ranks.size
    weights = np.zeros(length, np.int64)
    count = i64(0)
    for p in range(length):
        if inside[p]:
            count += 1
            y = p // width
            x = p - y * width
            for o in range(offsets.shape[0]):
                q = rows[y + offsets[o, 0]] + columns[x + offsets[o, 1]]
                if q >= 0:
                    weights[q] += offsets[o, 2]
    peel(inside, existing - weights, places, count - 1, i64(-1), around, ranks)
    peel(~inside, weights, places, count, i64(1), around, ranks)


@kernel
def make_set(seed, number, rule, before, around, order, owners):
    """Set `number`: fill order, int64 (L,), and owners, int32 (L,), the mask that owns each position.

    before: see `assign`.
    """
    drawn = np.empty(order.size, np.uint32)
    draw_words(seed, u32(POSITIONS), number, drawn)
    shuffle(drawn, order)
    draw_words(seed, u32(TIES), number, drawn)
    assign(order, drawn, rule, before, around, owners)


@kernel
def rank_masks(seed, item, first, rule, around, order, owners, stored):
    """Fill stored, uint16 or uint32 (count, L), with masks first, first + 1, ... of a set: high is visible.

    item: the number of the first of them among all items. An order decides among equal positions: the set's
    own with rule.first_wins, otherwise one drawn for the item.
    """
    length = order.size
    drawn = np.empty(length, np.uint32)
    own = order.copy()
    places = np.empty(length, np.int64)
    ranks = np.empty(length, np.int64)
    for i in range(stored.shape[0]):
        if not rule.first_wins:
            draw_words(seed, u32(PRIORITIES), item + u64(i), drawn)
            shuffle(drawn, own)
        for t in range(length):
            places[own[t]] = t
        extend(owners == first + i, places, around, ranks)
        for p in range(length):
            stored[i, p] = ranks[p] if rule.inverted else length - 1 - ranks[p]
