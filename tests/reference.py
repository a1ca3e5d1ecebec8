"""Slow twins of the kernels, written from the papers and from SciPy's definitions, never from the kernels.

Everything is in Python integers or float64, so a disagreement is the kernels' fault or this file's, and
never rounding beyond the tolerance a test states.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, special

from maskbank import noise
from maskbank.recipes import RBN, Blue, Filtered, Recipe, White

Float64s = npt.NDArray[np.float64]
Neighbours = list[list[tuple[int, int]]]  # of each position: which, and the weight it counts with

MASK = 0xFFFFFFFF
VOXELS, SIGMAS, POSITIONS, TIES, PRIORITIES = range(5)
NOBODY = -1

# What the paper's equations 1 to 3 (and ColorMAE's fourth colour) do to w, G(s1) w and G(s2) w
EQUATIONS = {"red": (0, 1, 0), "blue": (1, -1, 0), "green": (0, 1, -1), "purple": (1, -1, 1)}


def philox4x32_10(counter: tuple[Any, ...], key: tuple[int, int]) -> tuple[Any, ...]:
    """Salmon, Moraes, Dror and Shaw (2011), section 3.3: ten rounds, the key raised between them.

    The counter's words are Python ints, or uint64 arrays of values below 2**32.
    """
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(10):
        low, high = x0 * 0xD2511F53, x2 * 0xCD9E8D57
        x0, x1, x2, x3 = (high >> 32) ^ x1 ^ k0, high & MASK, (low >> 32) ^ x3 ^ k1, low & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return x0, x1, x2, x3


def words(seed: int, stream: int, index: int, block: Any) -> tuple[Any, ...]:
    """The four words of a block (or of a uint64 array of blocks), 64-bit seed and index low word first."""
    zero = block * 0
    return philox4x32_10(
        (block, zero + stream, zero + (index & MASK), zero + (index >> 32)), (seed & MASK, seed >> 32)
    )


def uniform(word: Any) -> Any:
    """(word + 1/2) / 2**32, exact in float64."""
    return (word + 0.5) / 2.0**32


def box_muller(radius_words: npt.NDArray[Any], angle_words: npt.NDArray[Any]) -> tuple[Float64s, Float64s]:
    """Box and Muller (1958): r cos a and r sin a, in float64."""
    radius = np.sqrt(-2.0 * np.log(uniform(radius_words)))
    angle = 2.0 * np.pi * uniform(angle_words)
    return radius * np.cos(angle), radius * np.sin(angle)


def normals(seed: int, stream: int, index: int, first: int, n: int) -> Float64s:
    """Numbers first..first+n-1 of an item's stream: block b gives numbers 4b to 4b+3."""
    blocks = np.arange(first // 4, (first + n + 3) // 4, dtype=np.uint64)
    w0, w1, w2, w3 = words(seed, stream, index, blocks)
    four = np.stack((*box_muller(w0, w1), *box_muller(w2, w3)), axis=1).reshape(-1)
    return four[first % 4 :][:n]


def white(size: tuple[int, ...], seed: int, index: int) -> Float64s:
    """The white noise of an item."""
    return normals(seed, VOXELS, index, 0, math.prod(size)).reshape(size)


def sigmas(recipe: Recipe, seed: int, index: int) -> npt.NDArray[np.float32]:
    """An item's sigmas: attempt a reads block a; two sigmas less than 0.05 apart are drawn again."""
    for attempt in range(10**6):
        two = words(seed, SIGMAS, index, attempt)[:2]
        drawn = [
            np.float32(low + (high - low) * uniform(word))
            for (low, high), word in zip(recipe.ranges, two, strict=False)
        ]
        if len(drawn) < 2 or float(drawn[1]) - float(drawn[0]) >= 0.05:
            return np.array(drawn, np.float32)
    raise AssertionError("no draw was accepted")


def along(sigma: Any, stretch: tuple[float, ...]) -> list[list[float]]:
    """Of each sigma, that of each axis."""
    return [[float(s) * factor for factor in stretch] for s in sigma]


def stretch_of(recipe: Recipe) -> tuple[float, ...]:
    """What multiplies the sigmas along each axis."""
    return recipe.stretch if isinstance(recipe, Filtered) else (1.0,) * len(recipe.size)


def apply(
    colour: str, w: Float64s, sigma: npt.NDArray[np.float32], mode: str, stretch: tuple[float, ...] = ()
) -> Float64s:
    """Equations 1 to 3 with scipy.ndimage's Gaussian of truncate=4, a sigma for each axis, undivided."""
    delta, a, b = EQUATIONS[colour]
    sigmas = along(sigma, stretch or (1.0,) * w.ndim)
    total = delta * w + a * ndimage.gaussian_filter(w, sigmas[0], mode=mode, truncate=4.0)
    if b:
        total = total + b * ndimage.gaussian_filter(w, sigmas[1], mode=mode, truncate=4.0)
    return np.asarray(total)


def gain(
    colour: str,
    size: tuple[int, ...],
    sigma: npt.NDArray[np.float32],
    boundary: str,
    stretch: tuple[float, ...] = (),
) -> float:
    """2-norm of the impulse response: on the torus for wrap, unbounded for reflect."""
    if boundary == "reflect":
        size = tuple(2 * int(4.0 * float(max(sigma)) * f + 0.5) + 1 for f in stretch or (1.0,) * len(size))
    impulse = np.zeros(size)
    impulse[tuple(n // 2 for n in size)] = 1.0
    response = apply(colour, impulse, sigma, "wrap" if boundary == "wrap" else "constant", stretch)
    return float(np.sqrt(np.sum(response**2)))


def item(recipe: Recipe, seed: int, index: int) -> tuple[Float64s, float]:
    """An item of coloured noise in float64, and its gain."""
    drawn = sigmas(recipe, seed, index)
    stretch = stretch_of(recipe)
    norm = gain(recipe.colour, recipe.size, drawn, recipe.boundary, stretch)
    filtered = apply(recipe.colour, white(recipe.size, seed, index), drawn, recipe.boundary, stretch)
    return filtered / norm, norm


def transfer(
    colour: str,
    size: tuple[int, ...],
    sigma: npt.NDArray[np.float32],
    boundary: str,
    stretch: tuple[float, ...],
) -> Float64s:
    """What the filter multiplies each coefficient by: of the FFT for wrap, of the DCT-II for reflect.

    The cosine series of the taps, at angle 2 pi k / n or, half-sample symmetric, at pi k / n.
    """
    delta, *weights = EQUATIONS[colour]
    total = np.full(size, float(delta))
    for weight, axes in zip(weights, along(sigma, stretch), strict=False):
        product = np.ones(size)
        for axis, (n, s) in enumerate(zip(size, axes, strict=True)):
            radius = int(4.0 * s + 0.5)
            places = np.arange(-radius, radius + 1)
            taps = np.exp(-0.5 * (places / s) ** 2)
            taps /= taps.sum()
            angles = np.arange(n) * (2.0 * np.pi if boundary == "wrap" else np.pi) / n
            line = np.cos(np.outer(angles, places)) @ taps
            product = product * line.reshape([-1 if a == axis else 1 for a in range(len(size))])
        total = total + weight * product
    return total


def spectrum(recipe: Recipe, sigma: npt.NDArray[np.float32]) -> tuple[Float64s, npt.NDArray[np.int64]]:
    """The analytic power of each coefficient of an item, and the number of its radial shell."""
    stretch = stretch_of(recipe)
    norm = gain(recipe.colour, recipe.size, sigma, recipe.boundary, stretch)
    power = (transfer(recipe.colour, recipe.size, sigma, recipe.boundary, stretch) / norm) ** 2
    square = np.zeros(recipe.size)
    for axis, n in enumerate(recipe.size):
        frequency = np.arange(n) / (2 * n) if recipe.boundary == "reflect" else np.fft.fftfreq(n)
        square = square + frequency.reshape([-1 if a == axis else 1 for a in range(len(recipe.size))]) ** 2
    return power, np.floor(np.sqrt(square) * 32.0).astype(np.int64)


def quantiles() -> Float64s:
    """The 255 inner 256-quantiles of N(0, 1)."""
    return np.asarray(special.ndtri(np.arange(1, 256) / 256.0))


# Regularised blue noise, and the classic to compare it with. Position p of a grid is (p // W, p % W).


def stream(seed: int, number: int, index: int, n: int) -> list[int]:
    """The first n words of a stream: word t is word t % 4 of block t // 4."""
    four = words(seed, number, index, np.arange((n + 3) // 4, dtype=np.uint64))
    return [int(word) for word in np.stack(four, axis=1).reshape(-1)[:n]]


def below(word: int, n: int) -> int:
    """One of 0..n-1."""
    return (word * n) >> 32


def shuffle(drawn: list[int]) -> list[int]:
    """Fisher and Yates, inside out: a random order of as many numbers as there are words."""
    order = [0] * len(drawn)
    for j, word in enumerate(drawn):
        k = below(word, j + 1)
        order[j] = order[k]
        order[k] = j
    return order


def neighbours(
    size: tuple[int, ...], windows: tuple[int, ...], weights: tuple[int, ...], wrap: bool
) -> Neighbours:
    """What equation 5 counts around each position: in line with the centre of a window of each width.

    Beyond an edge lies the other side, or nothing. No position is a neighbour of its own. A grid of one axis
    has nothing but the neighbours along it.
    """
    directions = ((0, 1), (1, 0), (1, 1), (1, -1)) if len(size) == 2 else ((0, 1),)
    height, width = (1, *size)[-2:]
    around: Neighbours = []
    for y in range(height):
        for x in range(width):
            around.append([])
            for window in windows:
                for d in range(1, window // 2 + 1):
                    for (dy, dx), weight in zip(directions, weights, strict=False):
                        for sign in (1, -1):
                            v, u = y + sign * d * dy, x + sign * d * dx
                            if wrap:
                                v, u = v % height, u % width
                            if 0 <= v < height and 0 <= u < width and (v, u) != (y, x):
                                around[-1].append((v * width + u, weight))
    return around


def algorithm1(
    order: list[int],
    masks: int,
    visible: int,
    around: Neighbours,
    drawn: list[int] | None = None,
    before: list[list[int]] | None = None,
) -> list[list[int]]:
    """The paper's Algorithm 1, line by line: masks of 0 and 1, from the positions in their order.

    drawn: for each place in the order the word that chooses among equal masks; None for the first of
    them, as the paper has it. before: what the masks hold at first, zeros in the paper. Such patches
    do not count against `visible`, as lines 18 to 23 decide about each position once more.
    """
    m = [list(mask) for mask in before] if before else [[0] * len(order) for _ in range(masks)]  # line 1
    sums = [0] * masks
    for t, p in enumerate(order):  # 3
        least: float = math.inf  # 4
        equals: list[int] = []
        for i in range(masks):  # 5
            if sums[i] >= visible:  # 6
                continue  # 7
            s = sum(weight for q, weight in around[p] if m[i][q])  # 8 to 14
            if s < least:  # 15
                least = s  # 16
                equals = [i]  # 17
            elif s == least:
                equals.append(i)
        chosen = NOBODY
        if equals:
            chosen = equals[below(drawn[t], len(equals)) if drawn else 0]
            sums[chosen] += 1
        for i in range(masks):  # 19
            m[i][p] = 1 if i == chosen else 0  # 20 to 23
    return m  # 24


def rank_extension(inside: list[bool], priority: list[int], around: Neighbours) -> list[int]:
    """Ranks of all positions, those inside first, equals in the order of `priority`.

    Those inside are taken away one after the other, always the most clustered one, and ranked from the
    back; then, from the mask again, the others are added, always the least clustered one. A position is
    clustered by the share of its neighbours that is inside; one without neighbours is not.
    """
    ranks = [NOBODY] * len(inside)
    # shares as whole numbers over a common denominator: exact, and faster to compare than Fractions
    existing = [max(1, sum(weight for _, weight in there)) for there in around]
    common = math.lcm(*existing)

    def share(p: int, now: list[bool]) -> int:
        return sum(weight for q, weight in around[p] if now[q]) * (common // existing[p])

    now = list(inside)
    for rank in reversed(range(sum(inside))):
        p = max((p for p in priority if now[p]), key=lambda p: share(p, now))  # the first of equals
        ranks[p] = rank
        now[p] = False
    now = list(inside)
    for rank in range(sum(inside), len(inside)):
        p = min((p for p in priority if not now[p]), key=lambda p: share(p, now))
        ranks[p] = rank
        now[p] = True
    return ranks


def rbn_owners(recipe: RBN, seed: int, number: int) -> tuple[list[int], list[int], Neighbours]:
    """A set of masks: which one owns each position, the order of positions, and their neighbours."""
    length = math.prod(recipe.size)
    wrap = recipe.boundary == "wrap"
    visible = int(length * (1 - recipe.mask_ratio))
    placed = min(visible, length - visible)
    masks = recipe.masks_per_set
    around = neighbours(recipe.size, recipe.window, recipe.whole_weights, wrap)
    order = shuffle(stream(seed, POSITIONS, number, length))
    before: list[list[int]] | None = None
    if recipe.init != "zeros":
        colour = {"white": White, "blue": Blue}[recipe.init]
        start = colour(size=recipe.size, dtype="float32", boundary="wrap" if wrap else "reflect")
        before = []
        for i in range(masks):
            values = noise.item(start, seed, number * masks + i).reshape(-1).tolist()
            highest = sorted(range(length), key=lambda p: (-values[p], p))[:placed]
            before.append([int(p in highest) for p in range(length)])
    drawn = stream(seed, TIES, number, length) if recipe.ties == "random" else None
    made = algorithm1(order, masks, placed, around, drawn, before)
    owners = [next((i for i in range(masks) if made[i][p]), NOBODY) for p in range(length)]
    return owners, order, around


def rbn_item(recipe: RBN, seed: int, index: int) -> npt.NDArray[Any]:
    """An item of regularised blue noise: a full order of the positions, high values visible."""
    length = math.prod(recipe.size)
    number, mask = divmod(index, recipe.masks_per_set)
    owners, priority, around = rbn_owners(recipe, seed, number)
    if recipe.ties == "random":
        priority = shuffle(stream(seed, PRIORITIES, index, length))
    inside = [owner == mask for owner in owners]
    ranks = rank_extension(inside, priority, around)
    if sum(inside) == int(length * (1 - recipe.mask_ratio)):  # otherwise the masked ones were placed
        ranks = [length - 1 - rank for rank in ranks]
    return np.array(ranks, np.uint16 if length <= 65_536 else np.uint32).reshape(recipe.size)


def clustering(mask: npt.NDArray[np.bool_]) -> float:
    """Equation 5 with the weights of Table A.2, the mean over visible patches."""
    weights = (0.4, 0.4, 0.1, 0.1)
    visible = mask.reshape(-1).tolist()
    around = neighbours(mask.shape, (3, 5), (0, 1, 2, 3), False)  # the direction, in place of its weight
    scores = [
        sum(weights[direction] for q, direction in there if visible[q])
        for p, there in enumerate(around)
        if visible[p]
    ]
    return sum(scores) / max(1, len(scores))


def adjacency(mask: npt.NDArray[np.bool_]) -> float:
    """The share of visible patches with another one beside, above or below."""
    visible = mask.reshape(-1).tolist()
    around = neighbours(mask.shape, (3,), (1, 1, 0, 0), False)
    near = [any(weight and visible[q] for q, weight in there) for p, there in enumerate(around) if visible[p]]
    return sum(near) / max(1, len(near))


def void_and_cluster(
    height: int, width: int, visible: int, seed: int, wrap: bool = True, sigma: float = 1.5
) -> npt.NDArray[np.int64]:
    """Ulichney, "The void-and-cluster method for dither array generation" (1993): ranks, visible first.

    Density is the Gaussian of what is there; without `wrap`, as a share of what of the Gaussian lies on
    the grid. Where more than half is visible, the initial pattern is of the masked, who are fewer.
    """
    length = height * width
    if 2 * visible > length:
        return length - 1 - void_and_cluster(height, width, length - visible, seed, wrap, sigma)
    rows, columns = (
        ndimage.gaussian_filter1d(np.eye(n), sigma, axis=0, mode="wrap" if wrap else "constant")
        for n in (height, width)
    )
    exist = np.outer(rows.sum(1), columns.sum(1)).reshape(-1)

    def blob(p: int) -> Float64s:
        return np.outer(rows[:, p // width], columns[:, p % width]).reshape(-1) / exist

    def tightest_cluster(pattern: npt.NDArray[np.bool_], density: Float64s) -> int:
        return int(np.argmax(np.where(pattern, density, -np.inf)))

    def largest_void(pattern: npt.NDArray[np.bool_], density: Float64s) -> int:
        return int(np.argmin(np.where(pattern, np.inf, density)))

    pattern = np.zeros(length, bool)
    pattern[np.random.default_rng(seed).permutation(length)[:visible]] = True
    density = sum((blob(p) for p in np.flatnonzero(pattern).tolist()), np.zeros(length))
    for _ in range(100 * length):  # the initial pattern: until the tightest cluster is the largest void
        p = tightest_cluster(pattern, density)
        pattern[p] = False
        density -= blob(p)
        q = largest_void(pattern, density)
        if density[q] > density[p] - 1e-9:
            q = p
        pattern[q] = True
        density += blob(q)
        if q == p:
            break

    ranks = np.empty(length, np.int64)
    left, remaining = pattern.copy(), density.copy()
    for rank in range(visible - 1, -1, -1):  # phase 1
        p = tightest_cluster(left, remaining)
        ranks[p] = rank
        left[p] = False
        remaining -= blob(p)
    for rank in range(visible, length // 2):  # phase 2
        p = largest_void(pattern, density)
        ranks[p] = rank
        pattern[p] = True
        density += blob(p)
    empty, density = ~pattern, 1.0 - density
    for rank in range(max(visible, length // 2), length):  # phase 3: now the others are the minority
        p = tightest_cluster(empty, density)
        ranks[p] = rank
        empty[p] = False
        density -= blob(p)
    return ranks.reshape(height, width)


# Data, and the best linear map from what a mask shows of them


def correlation_by_distance(clips: npt.NDArray[Any]) -> Float64s:
    """The correlation of tokens by distance, from clips (N, pixels, *grid): products of pairs, one by one.

    Less the mean of each pixel; distance n along an axis of n tokens is the mean of both n - 1; then, as a
    torus of twice the grid sees it, no negative power, and 1 at distance 0.
    """
    values = clips.astype(np.float64)
    values = values - values.mean((0, *range(2, values.ndim)), keepdims=True)
    grid = values.shape[2:]
    shape = tuple(2 * n for n in grid)
    total, pairs = np.zeros(shape), np.zeros(shape)
    for a in np.ndindex(grid):
        for b in np.ndindex(grid):
            d = tuple(y - x for x, y in zip(a, b, strict=True))
            total[d] += (values[(..., *a)] * values[(..., *b)]).mean()
            pairs[d] += 1
    covariance = total / np.maximum(pairs, 1)
    for axis, n in enumerate(grid):
        line = np.moveaxis(covariance, axis, 0)
        line[n] = (line[n - 1] + line[(n + 1) % (2 * n)]) / 2
    power = np.maximum(np.fft.fftn(covariance).real, 0)
    possible = np.fft.ifftn(power).real
    return np.asarray(possible / possible.flat[0])


def error_of_the_best_map(masks: npt.NDArray[np.bool_], correlation: Float64s) -> float:
    """The error of the best linear map from masked to whole data, (B, *torus) masks, by normal equations.

    All shifts of the masks are as likely; the data have this correlation by distance on the torus.
    """
    torus = correlation.shape
    places = list(np.ndindex(torus))
    sigma = np.array([
        [correlation[tuple((y - x) % n for x, y, n in zip(a, b, torus, strict=True))] for b in places]
        for a in places
    ])  # fmt: skip
    axes = tuple(range(1, masks.ndim))
    shifted = [np.roll(masks, shift, axes).reshape(len(masks), -1) for shift in places]
    every = np.concatenate(shifted).astype(np.float64)
    seen = every.T @ every / len(every) * sigma  # E[(m x) (m x)']
    cross = every.mean(0)[None] * sigma  # E[x (m x)']
    return float(1.0 - np.trace(np.linalg.solve(seen, cross.T) @ cross) / np.trace(sigma))


# Masks


def largest(values: list[Any], count: int, valid: list[bool], word: int) -> list[bool]:
    """Algorithm 2 among valid tokens: those with the `count` largest values are visible.

    Equal ones in the cyclic order of the valid tokens, from number word * tokens / 2**24 on.
    """
    competing = [j for j, there in enumerate(valid) if there]
    start = word * len(competing) // 2**24
    around = competing[start:] + competing[:start]
    chosen = sorted(around, key=lambda j: values[j], reverse=True)[:count]  # sorted keeps the order of equals
    return [j in chosen for j in range(len(values))]


def word_of(keys: list[int]) -> int:
    """24 bits from whole numbers alone: the sum of a hash of each number and its place, mixed."""

    def mixed(word: int) -> int:
        word ^= word >> 16
        word = word * 0x85EBCA6B % 2**32
        word ^= word >> 13
        word = word * 0xC2B2AE35 % 2**32
        return word ^ word >> 16

    places = ((key ^ key >> 32) + j * 0x9E3779B1 for j, key in enumerate(keys))
    return mixed(sum(mixed(place % 2**32) for place in places) % 2**32) >> 8
