"""The difficulty of masks for data, predicted without drawing a mask or training a model.

A linear map that does not know the mask gets the data with masked tokens set to 0. It should give back all
data. Let v be the share of visible tokens, R(d) the probability that two tokens at distance d are both
visible, C(d) their correlation and S its Fourier transform. The best such map multiplies frequency f by

    H(f) = v^2 S(f) / F[R C](f)        and leaves        D = 1 - sum(S H) / sum(S)

(times 1 / v, as it multiplies the masked data). So the masks' spectrum, the subject of section A.15, blurs
that of the data. Arrays by distance are as in `covariance`.
"""

from itertools import pairwise, product

import numpy as np

from maskbank.analysis.covariance import Grid, mean_of_pairs
from maskbank.analysis.spectrum import autocorrelation
from maskbank.recipes import COLOURS, LEAST_GAP
from maskbank.sampling.windows import Bools, Float64s

STEPS = 8  # values from a range of sigma; half as many from each of two ranges


class Predictor:
    """Predicts D for data with these correlations, (n, 2 T, 2 H, 2 W): predictor(pairs) is float64 (n,)."""

    def __init__(self, correlations: Float64s) -> None:
        from scipy import fft

        self.correlations = correlations
        self.axes = tuple(range(1, correlations.ndim))
        self.spectra = np.maximum(fft.rfftn(correlations, axes=self.axes).real, 0.0)
        # rfftn gives only one of two equal coefficients
        self.counts = np.full(self.spectra.shape[-1], 2.0)
        self.counts[[0, -1]] = 1.0

    def __call__(self, pairs: Float64s) -> Float64s:
        """D for masks. pairs: the probability that two tokens are both visible, by distance."""
        from scipy import fft

        square = float(pairs.flat[0]) ** 2
        least = square * self.spectra  # else the error at a frequency could be below 0
        blurred = np.maximum(fft.rfftn(pairs * self.correlations, axes=self.axes).real, least)
        share = np.divide(least, blurred, out=np.zeros_like(least), where=blurred > 0)
        weighted = self.spectra * self.counts
        return np.asarray(1.0 - (weighted * share).sum(self.axes) / weighted.sum(self.axes))


def chance_of_pairs(rho: Float64s, share: float) -> Float64s:
    """The probability that two tokens are both among the highest `share`, for Gaussian noise.

    rho: their correlation. It is share - 2 T(z, sqrt((1 - rho) / (1 + rho))), with z the normal quantile of
    1 - share and T the function of Owen (1956): the integral that the README gives (Plackett 1954).
    """
    from scipy.special import ndtri, owens_t

    rho = np.clip(rho, -1.0, 1.0)
    with np.errstate(divide="ignore"):  # T(z, infinity) is finite
        return np.asarray(share - 2.0 * owens_t(ndtri(share), np.sqrt((1.0 - rho) / (1.0 + rho))))


def pairs_of_noise(
    colour: str, sigmas: tuple[float, ...], stretch: tuple[float, ...], grid: Grid, share: float
) -> Float64s:
    """The probability that two tokens are both visible, by distance, in masks from coloured noise.

    grid: of tokens, or of a frame, (H, W). share: of visible tokens; each mask has the same number of them.
    With a fixed threshold the number would vary. To first order, its variance over the square of the number
    of all tokens is subtracted from each pair.
    """
    mixture = COLOURS[f"{colour}2d"][0].mixture
    rho = autocorrelation(mixture, sigmas, stretch, tuple(2 * n for n in grid))
    pairs = chance_of_pairs(rho, share)
    pairs.flat[0] = share
    ordered = np.ones(())  # the share of all pairs that have this distance
    for n in grid:
        apart = np.abs(np.fft.fftfreq(2 * n, 1 / (2 * n)))
        ordered = np.multiply.outer(ordered, (n - apart) / n**2)
    pairs -= ((pairs - share**2) * ordered).sum()
    pairs.flat[0] = share
    return np.maximum(pairs, 0.0)


def pairs_of_masks(masks: Bools) -> Float64s:
    """The same probability, counted in masks (B, *grid), True where visible."""
    from scipy import fft

    grid = masks.shape[1:]
    shape, axes = tuple(2 * n for n in grid), tuple(range(1, masks.ndim))
    power = np.zeros((*shape[:-1], grid[-1] + 1))
    for some in np.array_split(masks, -(-len(masks) // 16)):
        power += (np.abs(fft.rfftn(some.astype(np.float64), shape, axes=axes)) ** 2).sum(0)
    pairs = np.rint(fft.irfftn(np.abs(fft.rfftn(np.ones(grid), shape)) ** 2, shape)) * len(masks)
    both = np.rint(fft.irfftn(power, shape))
    return mean_of_pairs(both, pairs)


def draws(kind: str) -> list[tuple[float, ...]]:
    """Sigmas that are spread evenly over the default ranges of a kind."""
    cls, size = COLOURS[kind]
    ranges = cls(size=size).ranges
    steps = STEPS if len(ranges) == 1 else STEPS // 2
    middles = (np.arange(steps) + 0.5) / steps
    values = [(low + (high - low) * middles).tolist() for low, high in ranges]
    return [drawn for drawn in product(*values) if all(b - a >= LEAST_GAP for a, b in pairwise(drawn))]
