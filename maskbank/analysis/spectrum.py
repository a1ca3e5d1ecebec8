"""Radial power spectra, measured and analytic (section A.15).

Power is in units of white noise of unit variance: 1 at every frequency. Frequencies are in cycles per
voxel, or per token; a radial bin is 1/32 wide, and the first one leaves out frequency zero.
"""

import itertools
import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.recipes import Filtered, Recipe

Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Grid = tuple[int, ...]

BINS = 32  # of one cycle


@dataclass(frozen=True)
class Spectrum:
    """A radial power spectrum: of each bin its middle frequency, mean power, and number of coefficients."""

    frequency: Float64s
    power: Float64s
    count: Int64s

    @property
    def cumulative(self) -> Float64s:
        """The share of the energy up to and including each bin."""
        energy = np.cumsum(self.power * self.count)
        return np.asarray(energy / energy[-1:])  # none of a single voxel


def radial(power: Float64s, periodic: bool = True) -> Spectrum:
    """The mean of power (extents of a grid), as FFTs (or, not periodic, DCTs) order it, in radial bins."""
    square = np.zeros(power.shape)
    for axis, n in enumerate(power.shape):
        frequency = np.fft.fftfreq(n) if periodic else np.arange(n) / (2 * n)
        square = square + frequency.reshape([-1 if a == axis else 1 for a in range(power.ndim)]) ** 2
    bins = np.floor(np.sqrt(square) * BINS).astype(np.int64).reshape(-1)[1:]
    count = np.bincount(bins)
    total = np.bincount(bins, power.reshape(-1)[1:])
    there = count > 0
    middle = (np.arange(len(count)) + 0.5) / BINS
    return Spectrum(middle[there], total[there] / count[there], count[there])


def measured(fields: npt.NDArray[Any], periodic: bool = True) -> Float64s:
    """The mean power of fields, (B, extents), as `radial` takes it: of FFTs, or of DCTs if not periodic."""
    from scipy import fft

    total = np.zeros(fields.shape[1:])
    for field in np.asarray(fields, np.float64):
        if periodic:
            total += np.abs(np.fft.fftn(field)) ** 2 / field.size
        else:
            total += fft.dctn(field, norm="ortho") ** 2
    return total / len(fields)


def analytic(recipe: Recipe, sigmas: npt.NDArray[np.float32]) -> Float64s:
    """The expected power of items of a coloured kind with these sigmas, (B, 0 to 2): their mean, (extents).

    On a torus (boundary wrap) of FFT coefficients, else of DCT ones.
    """
<<<<<<< HEAD
=======
    periodic = recipe.boundary == "wrap"
    delta, *weights = recipe.mixture
>>>>>>> 4c20d4e (Type what an audit finds, and compute the analytic spectrum's gain by Parseval)
    total = np.zeros(recipe.size)
    stretch = recipe.stretch if isinstance(recipe, Filtered) else (1.0,) * len(recipe.size)
    for drawn in sigmas.astype(np.float64):
<<<<<<< HEAD
        lines = [[_taps(sigma * factor) for factor in stretch] for sigma in drawn]
        response = _response(recipe.size, recipe.mixture, lines, recipe.boundary == "wrap")
        total += response**2 / _gain(recipe, lines) ** 2
    return total / len(sigmas)


def autocorrelation(
    mixture: tuple[float, float, float], sigmas: tuple[float, ...], stretch: tuple[float, ...], shape: Grid
) -> Float64s:
    """The autocorrelation of coloured noise on a torus of this shape, by distance.

    mixture: of a recipe. sigmas: in voxels, before each axis' `stretch` multiplies them.
    """
    lines = [[_taps(sigma * factor) for factor in stretch] for sigma in sigmas]
    power = _response(shape, mixture, lines, True) ** 2
    covariance = np.real(np.fft.ifftn(power))
    return np.asarray(covariance / covariance.flat[0])


def _response(
    size: Grid, mixture: tuple[float, float, float], lines: list[list[Float64s]], periodic: bool
) -> Float64s:
    """What the filter multiplies each coefficient by: of each Gaussian, its taps along each axis."""
    delta, *weights = mixture
    total = np.full(size, delta)
    for weight, axes in zip(weights, lines, strict=False):
        product = np.ones(())
        for n, taps in zip(size, axes, strict=True):
            angles = (2.0 if periodic else 1.0) * np.pi * np.arange(n) / n
            line = taps[0] + 2.0 * np.cos(np.outer(angles, np.arange(1, len(taps)))) @ taps[1:]
            product = np.multiply.outer(product, line)
        total += weight * product
    return total


def _gain(recipe: Recipe, lines: list[list[Float64s]]) -> float:
    """The 2-norm of the impulse response: on the torus for wrap, unbounded otherwise.

    A Gaussian's response is a product of lines, so inner products are products of those of lines.
    """
    delta, *weights = recipe.mixture
    parts = [(delta, [np.ones(1)] * len(recipe.size)), *zip(weights, lines, strict=False)]
    total = 0.0
    for one, a in parts:
        for other, b in parts:
            product = one * other
            for n, taps, others in zip(recipe.size, a, b, strict=True):
                product *= _inner(taps, others, n if recipe.boundary == "wrap" else 0)
            total += product
    return math.sqrt(total)


def _inner(a: Float64s, b: Float64s, period: int) -> float:
    """The inner product of two symmetric filters, given by their halves; wrapped around where periodic."""
    reach = max(len(a), len(b)) - 1
    padded = [np.pad(half, (0, reach + 1 - len(half))) for half in (a, b)]
    whole = [np.concatenate([half[:0:-1], half]) for half in padded]
    if period:
        places = np.arange(-reach, reach + 1) % period
        whole = [np.bincount(places, line, period) for line in whole]
    return float(whole[0] @ whole[1])


def _taps(sigma: float) -> Float64s:
    """Half of scipy.ndimage's Gaussian with truncate=4: its middle and one side."""
    taps = np.exp(-0.5 * (np.arange(int(4.0 * sigma + 0.5) + 1) / sigma) ** 2)
    return np.asarray(taps / (2.0 * taps.sum() - taps[0]))
=======
        response = np.full(recipe.size, delta)
        for weight, sigma in zip(weights, drawn, strict=False):
            lines = [_transfer(sigma, n, periodic) for n in recipe.size]
            response += weight * reduce(np.multiply.outer, lines)
        # the gain is that of the unbounded response unless periodic: of a torus around which nothing meets
        wide = [n if periodic else 2 * _radius(max(drawn, default=0.0)) + 1 for n in recipe.size]
        parts = [(delta, [np.ones(n) for n in wide])]
        parts += [
            (weight, [_transfer(sigma, n, True) for n in wide])
            for weight, sigma in zip(weights, drawn, strict=False)
        ]
        # Parseval: inner products are means over frequencies, and separable
        gain = sum(
            one * other * math.prod(float((a * b).mean()) for a, b in zip(x, y, strict=True))
            for (one, x), (other, y) in itertools.product(parts, repeat=2)
        )
        total += response**2 / gain
    return total / len(sigmas)


def _radius(sigma: float) -> int:
    return int(4.0 * sigma + 0.5)


def _transfer(sigma: float, n: int, periodic: bool) -> Float64s:
    """The factor of each of an axis' n FFT (or, not periodic, DCT) coefficients in a Gaussian filter.

    The Gaussian is that of scipy.ndimage with truncate=4.
    """
    steps = np.arange(1, _radius(sigma) + 1)
    taps = np.exp(-0.5 * (steps / sigma) ** 2)
    waves = np.cos(np.outer((2.0 if periodic else 1.0) * np.pi * np.arange(n) / n, steps))
    return np.asarray((1.0 + 2.0 * waves @ taps) / (1.0 + 2.0 * taps.sum()))
>>>>>>> 4c20d4e (Type what an audit finds, and compute the analytic spectrum's gain by Parseval)


def of_windows(power: Float64s, grid: Grid) -> Float64s:
    """The expected power of windows as large as a grid, cut out of items with this one (of FFTs).

    A window's edges blur its spectrum: the autocovariance is weighted by the share of pairs in it.
    """
    covariance = np.real(np.fft.ifftn(power))
    places = [np.arange(-n + 1, n) for n in grid]
    cut = covariance[np.ix_(*[place % extent for place, extent in zip(places, power.shape, strict=True)])]
    for axis, (place, n) in enumerate(zip(places, grid, strict=True)):
        shape = [-1 if a == axis else 1 for a in range(len(grid))]
        cut = cut * (1.0 - np.abs(place) / n).reshape(shape)
    folded = np.zeros(grid)
    where = np.ix_(*[place % n for place, n in zip(places, grid, strict=True)])
    np.add.at(folded, where, cut)
    return np.real(np.fft.fftn(folded))
