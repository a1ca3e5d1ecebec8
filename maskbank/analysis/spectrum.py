"""Radial power spectra, measured and analytic (section A.15).

The unit of power is that of white noise of unit variance, which is 1 at every frequency. Frequencies are in
cycles per voxel, or per token. A radial bin is 1/32 wide; the first one leaves out frequency zero.
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np

from maskbank.analysis.covariance import Grid
from maskbank.recipes import Filtered, Recipe
from maskbank.sampling.windows import Array, Float32s, Float64s, Int64s

Mixture = tuple[float, float, float]

BINS = 32  # per cycle


@dataclass(frozen=True)
class Spectrum:
    """A radial power spectrum: the middle frequency, mean power and number of coefficients of each bin."""

    frequency: Float64s
    power: Float64s
    count: Int64s

    @property
    def cumulative(self) -> Float64s:
        """The share of the energy up to and including each bin."""
        energy = np.cumsum(self.power * self.count)
        return np.asarray(energy / energy[-1:])  # empty for a single voxel


def radial(power: Float64s, periodic: bool = True) -> Spectrum:
    """The mean of power (extents of a grid) in radial bins, in FFT order or, if not periodic, DCT order."""
    axes = np.ix_(*(np.fft.fftfreq(n) if periodic else np.arange(n) / (2 * n) for n in power.shape))
    bins = np.floor(np.sqrt(sum(frequency**2 for frequency in axes)) * BINS).astype(np.int64).reshape(-1)[1:]
    count = np.bincount(bins)
    total = np.bincount(bins, power.reshape(-1)[1:])
    there = count > 0
    middle = (np.arange(len(count)) + 0.5) / BINS
    return Spectrum(middle[there], total[there] / count[there], count[there])


def measured(field: Array, periodic: bool = True) -> Spectrum:
    """The spectrum of a field: by FFTs, or by DCTs if not periodic."""
    from scipy import fft

    field = field.astype(np.float64)
    if periodic:
        return radial(np.abs(np.fft.fftn(field)) ** 2 / field.size)
    return radial(fft.dctn(field, norm="ortho") ** 2, periodic)


def analytic(recipe: Recipe, sigmas: Float32s) -> Float64s:
    """The expected power of items of a coloured kind, averaged over their sigmas, (B, 0 to 2): (extents).

    It is that of FFT coefficients for boundary wrap (a torus), else of DCT coefficients.
    """
    stretch = recipe.stretch if isinstance(recipe, Filtered) else (1.0,) * len(recipe.size)
    periodic = recipe.boundary == "wrap"
    total = np.zeros(recipe.size)
    for drawn in sigmas.astype(np.float64):
        response = _response(_parts(recipe.size, recipe.mixture, drawn, stretch, periodic))
        size = recipe.size
        if not periodic:  # the gain is that of an unbounded item: take a torus that holds the whole filter
            size = tuple(2 * _radius(factor * max(drawn, default=0.0)) + 1 for factor in stretch)
        parts = _parts(size, recipe.mixture, drawn, stretch, True)
        # Parseval: the gain's square is the mean of the squared response over frequencies, axis by axis
        total += response**2 / sum(
            one * other * math.prod(float((x * y).mean()) for x, y in zip(a, b, strict=True))
            for (one, a), (other, b) in itertools.product(parts, repeat=2)
        )
    return total / len(sigmas)


def autocorrelation(
    mixture: Mixture, sigmas: tuple[float, ...], stretch: tuple[float, ...], shape: Grid
) -> Float64s:
    """The autocorrelation of coloured noise on a torus of this shape, by distance.

    mixture: of a recipe. sigmas: in voxels, before `stretch` multiplies them along each axis.
    """
    power = _response(_parts(shape, mixture, sigmas, stretch, True)) ** 2
    covariance = np.real(np.fft.ifftn(power))
    return np.asarray(covariance / covariance.flat[0])


Parts = list[tuple[float, list[Float64s]]]  # a weight, and the factors along each axis


def _parts(
    size: Grid, mixture: Mixture, sigmas: Iterable[float], stretch: Iterable[float], periodic: bool
) -> Parts:
    """The weighted identity and Gaussians whose sum is a filter."""
    delta, *weights = mixture
    parts = [(delta, [np.ones(n) for n in size])]
    for weight, sigma in zip(weights, sigmas, strict=False):
        axes = zip(size, stretch, strict=True)
        parts.append((weight, [_transfer(sigma * factor, n, periodic) for n, factor in axes]))
    return parts


def _response(parts: Parts) -> Float64s:
    """The factor by which a filter multiplies each coefficient."""
    return np.asarray(sum(weight * reduce(np.multiply.outer, lines) for weight, lines in parts))


def _radius(sigma: float) -> int:
    return int(4.0 * sigma + 0.5)


def _transfer(sigma: float, n: int, periodic: bool) -> Float64s:
    """The factors by which a Gaussian filter multiplies an axis' n FFT (or, not periodic, DCT) coefficients.

    The Gaussian is that of scipy.ndimage with truncate=4.
    """
    steps = np.arange(1, _radius(sigma) + 1)
    taps = np.exp(-0.5 * (steps / sigma) ** 2)
    waves = np.cos(np.outer((2.0 if periodic else 1.0) * np.pi * np.arange(n) / n, steps))
    return np.asarray((1.0 + 2.0 * waves @ taps) / (1.0 + 2.0 * taps.sum()))


def of_windows(power: Float64s, grid: Grid) -> Float64s:
    """The expected power of windows as large as a grid, from the power of their items, both by FFTs.

    A window's edges blur its spectrum: the autocovariance at each distance is weighted by the share of pairs
    that lie in the window.
    """
    covariance = np.real(np.fft.ifftn(power))
    for axis, n in enumerate(grid):
        # Of n pairs in the window whose distance modulo n is d, d have the distance d - n
        d = np.arange(n)
        share = (d / n).reshape(-1, *(1,) * (len(grid) - axis - 1))
        ahead, back = (covariance.take(place, axis, mode="wrap") for place in (d, d - n))
        covariance = ahead + share * (back - ahead)
    return np.maximum(np.real(np.fft.fftn(covariance)), 0.0)  # rounding can leave less
