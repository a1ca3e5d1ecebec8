"""The correlation of tokens of data by the distance between them, estimated from a few hundred clips.

Arrays by distance have twice the extents of the token grid, in the order of an FFT: distance d along an
axis of n tokens stands at index d % 2n. No clip holds two tokens at distance n. For that, the correlation
at distance n - 1 is taken.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskbank.errors import RecipeError

Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Grid = tuple[int, ...]

BLOCKS = 16  # of clips; each is left out once for the standard errors
LONGEST = 1000.0  # tokens; longer lengths are given as this


@dataclass(frozen=True, eq=False)
class Correlation:
    """The correlation of tokens of data, by distance.

    values: float64 (2 T, 2 H, 2 W), or fewer axes; 1 at distance 0, no negative power at any frequency.
    parts: the same, each without one block of clips: (blocks, ...); empty for a single clip. lengths,
    lengths_of_parts: correlation lengths in tokens, float64 (axes,) and (blocks, axes).
    """

    grid: Grid
    clips: int
    values: Float64s
    parts: Float64s
    lengths: Float64s
    lengths_of_parts: Float64s

    @property
    def lengths_error(self) -> Float64s:
        """Standard errors of the lengths: (axes,)."""
        return standard_error(self.lengths_of_parts)


def standard_error(parts: Float64s) -> Float64s:
    """The jackknife's standard error, from estimates that each leave out one block: (blocks, ...)."""
    blocks = len(parts)
    if blocks < 2:
        return np.full(parts.shape[1:], math.nan)
    return np.asarray(np.sqrt((blocks - 1) / blocks * ((parts - parts.mean(0)) ** 2).sum(0)))


class Estimate:
    """Estimates the correlation of tokens: `add` each clip, then call `correlation`.

    From each pixel its mean is subtracted. Products of tokens at distance d are summed over clips and pixels
    and divided by the number of pairs. Memory does not grow with the number of clips.
    """

    def __init__(self, grid: Grid, pixels: int) -> None:
        from scipy import fft

        self.grid = grid
        self.clips = 0
        self._shape = tuple(2 * n for n in grid)
        self._axes = tuple(range(-len(grid), 0))
        self._ones = fft.rfftn(np.ones(grid), self._shape)
        self._power = np.zeros((BLOCKS, *self._ones.shape))
        self._sums = np.zeros((BLOCKS, pixels, *grid))
        self._offset: Float32s | None = None

    def add(self, tokens: Float32s) -> None:
        """Add one clip: float32 (pixels, *grid)."""
        from scipy import fft

        if self._offset is None:  # float32 keeps more digits of what varies
            self._offset = tokens.mean(self._axes, keepdims=True)
        tokens = tokens - self._offset
        block = self.clips % BLOCKS
        coefficients = fft.rfftn(tokens, self._shape, axes=self._axes)
        self._power[block] += (coefficients.real**2 + coefficients.imag**2).sum(0, dtype=np.float64)
        self._sums[block] += tokens
        self.clips += 1

    def correlation(self) -> Correlation:
        """The correlation of the clips added so far, or RecipeError where nothing varies."""
        blocks = min(self.clips, BLOCKS)
        all_power, all_sums = self._power.sum(0), self._sums.sum(0)
        values, lengths = self._finish(all_power, all_sums, self.clips)
        left_out = []
        if blocks > 1:
            for b in range(blocks):
                clips = self.clips - len(range(b, self.clips, BLOCKS))
                left_out.append(self._finish(all_power - self._power[b], all_sums - self._sums[b], clips))
        parts = np.array([part for part, _ in left_out]).reshape(-1, *self._shape)
        lengths_of_parts = np.array([length for _, length in left_out]).reshape(-1, len(self.grid))
        return Correlation(self.grid, self.clips, values, parts, lengths, lengths_of_parts)

    def _finish(self, power: Float64s, sums: Float64s, clips: int) -> tuple[Float64s, Float64s]:
        """The correlation and the lengths, from sums over some of the clips."""
        from scipy import fft

        means = sums.mean(self._axes) / clips
        towards = fft.rfftn(np.tensordot(means, sums, 1), self._shape)
        ones = np.abs(self._ones) ** 2
        power = power - 2.0 * (towards.conj() * self._ones).real + clips * (means**2).sum() * ones
        pairs = np.rint(fft.irfftn(ones, self._shape))
        products = fft.irfftn(power, self._shape)
        covariance = np.divide(products, pairs, out=np.zeros(self._shape), where=pairs > 0)
        complete(covariance)
        variance = covariance.flat[0] / (clips * len(means))
        if not variance > 1e-12 * float((self._offset**2).mean() if self._offset is not None else 0.0):
            raise RecipeError("the clips are constant, so there is nothing to fit; give data that vary")
        return possible(covariance), lengths(covariance / covariance.flat[0], self.grid)


def complete(by_distance: Float64s) -> None:
    """Set the value at distance n, which no grid has, to the mean of those at n - 1 and 1 - n, in place."""
    for axis, size in enumerate(by_distance.shape):
        along = np.moveaxis(by_distance, axis, 0)
        n = size // 2
        along[n] = (along[n - 1] + along[(n + 1) % size]) / 2.0


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
    square = np.zeros(())
    for n, length in zip(grid, lengths, strict=True):
        square = np.add.outer(square, (np.fft.fftfreq(2 * n, 1 / (2 * n)) / length) ** 2)
    return np.asarray(np.exp(-np.sqrt(square)))
