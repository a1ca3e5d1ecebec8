"""The correlation of tokens of data by the distance between them, estimated from a few hundred clips.

Arrays by distance have twice the extents of the token grid, in the order of an FFT: distance d along an
axis of n tokens stands at index d % 2n. No clip holds two tokens at distance n. For that, the correlation
at distance n - 1 is taken.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from maskbank.errors import RecipeError
from maskbank.sampling.windows import Float32s, Float64s

Grid = tuple[int, ...]
Floats = tuple[float, ...]  # a number for each axis

BLOCKS = 16  # of clips; each is left out once for the standard errors
LONGEST = 1000.0  # tokens; longer lengths are given as this


@dataclass(frozen=True, eq=False)
class Correlation:
    """The correlation of tokens of data, by distance.

    values: float64 (estimates, 2 T, 2 H, 2 W), or fewer axes; 1 at distance 0, no negative power at any
    frequency. lengths: correlation lengths in tokens, float64 (estimates, axes). The first estimate is that
    of all clips; each other one leaves out a block of them. A single clip and typical data have only one.
    """

    grid: Grid
    clips: int
    values: Float64s
    lengths: Float64s


def standard_error(estimates: Float64s) -> Float64s:
    """The jackknife's standard error. estimates: (estimates, ...), as in `Correlation`; NaN for only one."""
    parts = estimates[1:]
    blocks = len(parts)
    if blocks < 2:
        return np.full(parts.shape[1:], math.nan)
    return np.asarray(np.sqrt((blocks - 1) / blocks * ((parts - parts.mean(0)) ** 2).sum(0)))


def estimate(clips: Iterable[Float32s], grid: Grid, pixels: int) -> Correlation:
    """The correlation of the tokens of clips, each float32 (pixels, *grid); RecipeError where nothing varies.

    From each pixel its mean is subtracted. Products of tokens at distance d are summed over clips and pixels
    and divided by the number of pairs. Memory does not grow with the number of clips.
    """
    from scipy import fft

    shape, axes = tuple(2 * n for n in grid), tuple(range(-len(grid), 0))
    ones = fft.rfftn(np.ones(grid), shape)
    powers, sums = np.zeros((BLOCKS, *ones.shape)), np.zeros((BLOCKS, pixels, *grid))
    offset, count = np.zeros(1, np.float32), 0
    for tokens in clips:
        if not count:  # float32 keeps more digits of what varies
            offset = tokens.mean(axes, keepdims=True)
        coefficients = fft.rfftn(tokens - offset, shape, axes=axes)
        powers[count % BLOCKS] += (coefficients.real**2 + coefficients.imag**2).sum(0, dtype=np.float64)
        sums[count % BLOCKS] += tokens - offset
        count += 1

    def finish(power: Float64s, sums: Float64s, clips: int) -> tuple[Float64s, Float64s]:
        """The correlation and the lengths, from sums over some of the clips."""
        means = sums.mean(axes) / clips
        towards = fft.rfftn(np.tensordot(means, sums, 1), shape)
        pairs = np.abs(ones) ** 2
        power = power - 2.0 * (towards.conj() * ones).real + clips * (means**2).sum() * pairs
        covariance = mean_of_pairs(fft.irfftn(power, shape), np.rint(fft.irfftn(pairs, shape)))
        if not covariance.flat[0] / (clips * pixels) > 1e-12 * float((offset**2).mean()):
            raise RecipeError("the clips are constant, so there is nothing to fit; give data that vary")
        return possible(covariance), lengths(covariance / covariance.flat[0], grid)

    power, total = powers.sum(0), sums.sum(0)
    found = [finish(power, total, count)]
    for b in range(min(count, BLOCKS) if count > 1 else 0):
        found.append(finish(power - powers[b], total - sums[b], count - len(range(b, count, BLOCKS))))
    values, every_length = map(np.array, zip(*found, strict=True))
    return Correlation(grid, count, values, every_length)


def mean_of_pairs(products: Float64s, pairs: Float64s) -> Float64s:
    """The mean product of two tokens, by distance, from sums of products and the number of pairs.

    No grid has pairs at distance n: it gets the mean of those at n - 1 and 1 - n.
    """
    means = np.divide(products, pairs, out=np.zeros(products.shape), where=pairs > 0)
    for axis, size in enumerate(means.shape):
        along = np.moveaxis(means, axis, 0)
        n = size // 2
        along[n] = (along[n - 1] + along[(n + 1) % size]) / 2.0
    return means


def possible(covariance: Float64s) -> Float64s:
    """The correlation nearest to an estimated covariance: no negative power, and 1 at distance 0."""
    from scipy import fft

    values = fft.irfftn(np.maximum(fft.rfftn(covariance).real, 0.0), covariance.shape)
    return np.asarray(values / values.flat[0])


def lengths(correlation: Float64s, grid: Grid) -> Float64s:
    """The distance along each axis at which the correlation has fallen to 1/e: float64 (axes,).

    The logarithm is interpolated between two distances, and extrapolated beyond the last one. NaN along an
    axis of a single token.
    """
    found = np.full(len(grid), math.nan)
    for axis, n in enumerate(grid):
        if n < 2:
            continue
        line = correlation[tuple(slice(n) if a == axis else 0 for a in range(len(grid)))]
        logs = np.log(np.clip(line, 1e-3, None))
        below = np.flatnonzero(logs <= -1.0)
        d = int(below[0]) if len(below) else n - 1
        start = d - 1 if len(below) else 0
        slope = (logs[start] - logs[d]) / (d - start)
        found[axis] = min(start + (1.0 + logs[start]) / max(slope, 1e-9), LONGEST)
    return found


def exponential(grid: Grid, lengths: tuple[float, ...]) -> Float64s:
    """exp(-d), d being the distance in correlation lengths, for tokens of a grid: (2 T, 2 H, 2 W)."""
    scaled = (np.fft.fftfreq(2 * n, 1 / (2 * n)) / length for n, length in zip(grid, lengths, strict=True))
    return np.asarray(np.exp(-np.sqrt(sum(apart**2 for apart in np.ix_(*scaled)))))
