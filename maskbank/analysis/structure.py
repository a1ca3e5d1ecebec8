"""Numbers about the structure of masks, measured without training a model."""

import itertools
import math
from statistics import NormalDist

import numpy as np

from maskbank.analysis.covariance import exponential
from maskbank.sampling.windows import Bools, Float64s, Int64s

DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))  # horizontal, vertical and both diagonals: d1 to d4
WEIGHTS = (0.4, 0.4, 0.1, 0.1)  # of the directions (Table A.2)
SPACE, TIME = 2.0, 4.0  # correlation lengths, in tokens, of the signal that `difficulty` reconstructs
NUGGET = 1e-3  # its noise, added to the diagonal
WORK = 4e9  # multiplications that `difficulty` does in one or two seconds

_AT_ONCE = 2048  # masked tokens whose covariances are in memory


def clustering(masks: Bools) -> Float64s:
    """The score S of equation 5, summed over the windows 3 and 5, averaged over each mask's visible patches.

    masks: bool (..., H, W), True where visible. Returns float64 (...). 0: no visible patch has another one on
    a line through it in a window. Windows end at the edge.
    """
    from scipy import ndimage

    kernel = np.zeros((5, 5))
    for (dy, dx), weight in zip(DIRECTIONS, WEIGHTS, strict=True):
        for d, windows in ((1, 2), (2, 1)):  # both windows hold the patches at distance 1
            kernel[2 + d * dy, 2 + d * dx] = kernel[2 - d * dy, 2 - d * dx] = windows * weight
    kernel = kernel.reshape((1,) * (masks.ndim - 2) + (5, 5))
    total = ndimage.correlate(masks.astype(np.float64), kernel, mode="constant")
    return np.asarray((total * masks).sum((-2, -1)) / np.maximum(masks.sum((-2, -1)), 1))


def adjacency(masks: Bools) -> Float64s:
    """The share of the visible patches of each mask with a visible one beside, above or below: (...).

    masks: (..., H, W), True where visible.
    """
    return np.asarray(clumped(masks).sum((-2, -1)) / np.maximum(masks.sum((-2, -1)), 1))


def clumped(masks: Bools) -> Bools:
    """Which visible patches have a visible one beside, above or below: (..., H, W), as masks."""
    wide = np.pad(masks, [(0, 0)] * (masks.ndim - 2) + [(1, 1), (1, 1)])  # nothing beyond the edge
    beside = wide[..., 1:-1, :-2] | wide[..., 1:-1, 2:] | wide[..., :-2, 1:-1] | wide[..., 2:, 1:-1]
    return beside & masks


def continuity(masks: Bools, axis: int) -> Float64s:
    """The probability that the token after a visible one, along an axis, is also visible: float64 (B,).

    masks: (B, T, H, W), (B, H, W) or (B, L), True where visible. axis: 0 for the first one after B. NaN along
    an axis of a single token.
    """
    visible = np.moveaxis(masks, axis + 1, 1)
    visible = visible.reshape(*visible.shape[:2], -1)
    here = visible[:, :-1].sum((1, 2)).astype(np.float64)
    both = (visible[:, :-1] & visible[:, 1:]).sum((1, 2))
    return np.asarray(np.divide(both, here, out=np.full(len(visible), np.nan), where=here > 0))


def repeated(masks: Bools) -> bool:
    """Whether each mask of (B, T, H, W) is the same in all of several frames."""
    return masks.ndim == 4 and masks.shape[1] > 1 and bool((masks == masks[:, :1]).all())


def correlation(masks: Bools, axis: int) -> tuple[float, float]:
    """How alike neighbours along an axis are, and the standard error; masks and axis as in `continuity`.

    It is the correlation of neighbours in Gaussian noise whose masks have as many visible neighbours. To
    first order it is p (P - chance) / phi(z)**2: p is the share of visible tokens, z its quantile, P the mean
    of `continuity`, chance that of random masks. It hardly depends on the ratio. NaN along an axis of a
    single token.
    """
    each = continuity(masks, axis)
    each = each[~np.isnan(each)]
    if len(each) < 2:
        return math.nan, math.nan
    cells, kept = masks[0].size, float(masks.sum() / len(masks))
    share = kept / cells
    frames = masks.reshape(len(masks), -1, *(1, *masks.shape[1:])[-2:]).sum((2, 3))
    even = bool((frames == frames[0, 0]).all())
    if even:  # the same number in each frame: chance depends on one frame only
        cells, kept = cells // frames.shape[1], float(frames[0, 0])
    chance = share if even and masks.ndim == 4 and axis == 0 else (kept - 1) / max(cells - 1, 1)
    normal = NormalDist()
    slope = share / normal.pdf(normal.inv_cdf(share)) ** 2
    error = float(each.std(ddof=1) / math.sqrt(len(each)))
    return float(each.mean() - chance) * slope, error * slope


def lagged(masks: Bools) -> float:
    """The sum, over axes and distances of 1 to 3, of the squared correlation of tokens at that distance.

    masks: (B, T, H, W), (B, H, W) or (B, L), True where visible.
    """
    share = masks.mean()
    centred = masks.astype(np.float32) - np.float32(share)
    total = 0.0
    for axis, lag in itertools.product(range(1, masks.ndim), (1, 2, 3)):
        line = np.moveaxis(centred, axis, 0)
        if lag < len(line) and 0 < share < 1:
            total += float((line[lag:] * line[:-lag]).mean() / (share * (1 - share))) ** 2
    return total


def difficulty(masks: Bools, covariance: Float64s | None = None) -> Float64s:
    """The error of the best linear reconstruction of the masked tokens from the visible ones: (B,).

    The signal has unit variance. The error is one minus the mean of c' A^-1 c over the masked tokens: A is
    the covariance of the visible ones (1e-3 added to its diagonal), c is theirs with a masked one. 0: all
    is known; 1: nothing; NaN: nothing is masked. masks: (B, *grid), one to three axes, True where visible.
    covariance: of data, by distance as in `analysis.covariance`. Without it: exp(-d), with d the distance in
    correlation lengths of 2 tokens, and of 4 tokens along the time of video.
    """
    from scipy.linalg import solve_triangular

    grid = masks.shape[1:]
    if covariance is None:
        covariance = exponential(grid, (TIME,) * (len(grid) - 2) + (SPACE, SPACE)[: len(grid)])
    out = np.full(len(masks), np.nan)
    for b, mask in enumerate(masks):
        known, hidden = np.argwhere(mask), np.argwhere(~mask)
        if not len(hidden):
            continue
        between = _between(known, known, covariance) + NUGGET * np.eye(len(known))
        factor = np.linalg.cholesky(between)
        explained = 0.0
        for start in range(0, len(hidden), _AT_ONCE):
            cross = _between(known, hidden[start : start + _AT_ONCE], covariance)
            explained += float((solve_triangular(factor, cross, lower=True) ** 2).sum())
        out[b] = 1.0 - explained / len(hidden)
    return out


def affordable(visible: int, tokens: int) -> int:
    """How many masks with so many visible tokens `difficulty` can reconstruct in one or two seconds."""
    return int(WORK / (visible**2 * tokens))


def _between(one: Int64s, other: Int64s, covariance: Float64s) -> Float64s:
    """The covariances between two lists of tokens, (n, axes) and (m, axes): (n, m)."""
    apart = other[None] - one[:, None]  # negative distances index from the end, the order of an FFT
    return np.asarray(covariance[tuple(np.moveaxis(apart, -1, 0))])
