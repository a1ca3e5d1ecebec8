"""Numbers about the structure of masks, measured without training a model."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from maskbank.analysis.covariance import exponential

Bools = npt.NDArray[np.bool_]
Float64s = npt.NDArray[np.float64]

DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))  # horizontal, vertical and both diagonals: d1 to d4
SPACE, TIME = 2.0, 4.0  # correlation lengths, in tokens, of the signal that `difficulty` reconstructs
NUGGET = 1e-3  # its noise, added to the diagonal
WORK = 4e9  # multiplications that `difficulty` does in one or two seconds

_AT_ONCE = 2048  # masked tokens whose covariances are in memory


def clustering(
    masks: Bools,
    window: tuple[int, ...] = (3, 5),
    weights: tuple[float, ...] = (0.4, 0.4, 0.1, 0.1),
    wrap: bool = False,
) -> Float64s:
    """The score S of equation 5, summed over the windows, averaged over the visible patches of each mask.

    masks: (..., H, W), True where visible. Returns (...). 0: no visible patch has another one on a line
    through it in a window. wrap: windows continue at the other side, instead of ending at the edge.
    """
    visible = np.asarray(masks, bool)
    total = np.zeros(visible.shape)
    for d in range(1, max(window) // 2 + 1):
        windows = sum(width // 2 >= d for width in window)
        for (dy, dx), weight in zip(DIRECTIONS, weights, strict=True):
            for sign in (-1, 1):
                total += windows * weight * _moved(visible, sign * d * dy, sign * d * dx, wrap)
    counts = visible.sum((-2, -1))
    return np.asarray((total * visible).sum((-2, -1)) / np.maximum(counts, 1))


def adjacency(masks: Bools, wrap: bool = False) -> Float64s:
    """The share of the visible patches of each mask with a visible one beside, above or below: (...).

    masks: (..., H, W), True where visible.
    """
    counts = np.asarray(masks, bool).sum((-2, -1))
    return np.asarray(clumped(masks, wrap).sum((-2, -1)) / np.maximum(counts, 1))


def clumped(masks: Bools, wrap: bool = False) -> Bools:
    """Which visible patches have a visible one beside, above or below: (..., H, W), as masks."""
    visible = np.asarray(masks, bool)
    beside = np.zeros(visible.shape, bool)
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        beside |= _moved(visible, dy, dx, wrap)
    return np.asarray(beside & visible)


def _moved(visible: Bools, dy: int, dx: int, wrap: bool) -> Bools:
    """Masks of the patches dy rows below and dx columns to the right; none is visible beyond the edge."""
    moved = np.roll(visible, (-dy, -dx), (-2, -1))
    height, width = visible.shape[-2:]
    if dy % height == 0 and dx % width == 0:  # once around: a patch is no neighbour of itself
        moved[:] = False
    if not wrap:
        moved[..., max(height - dy, 0) if dy >= 0 else 0 : height if dy >= 0 else min(-dy, height), :] = False
        moved[..., max(width - dx, 0) if dx >= 0 else 0 : width if dx >= 0 else min(-dx, width)] = False
    return moved


def continuity(masks: Bools, axis: int) -> Float64s:
    """How likely the token after a visible one, along an axis, is visible, too: for each mask, (B,).

    masks: (B, T, H, W), (B, H, W) or (B, L), True where visible. axis: 0 for the first one after B. NaN along
    an axis of a single token.
    """
    visible = np.moveaxis(np.asarray(masks, bool), axis + 1, 1)
    visible = visible.reshape(*visible.shape[:2], -1)
    here = visible[:, :-1].sum((1, 2)).astype(np.float64)
    both = (visible[:, :-1] & visible[:, 1:]).sum((1, 2))
    return np.asarray(np.divide(both, here, out=np.full(len(visible), np.nan), where=here > 0))


def repeated(masks: Bools) -> bool:
    """Whether each mask of (B, T, H, W) is the same in all of several frames."""
    return masks.ndim == 4 and masks.shape[1] > 1 and bool((masks == masks[:, :1]).all())


def correlation(masks: Bools, axis: int) -> tuple[float, float, float]:
    """How alike neighbours along an axis are: (value, standard error, the chance of random masks).

    Value: the correlation of neighbours in Gaussian noise whose masks have as many visible neighbours. To
    first order it is p (P - chance) / phi(z)**2: p is the share of visible tokens, z its quantile, P the mean
    of `continuity`. It hardly depends on the ratio. NaN along an axis of a single token.
    """
    visible = np.asarray(masks, bool)
    each = continuity(visible, axis)
    each = each[~np.isnan(each)]
    if len(each) < 2:
        return math.nan, math.nan, math.nan
    cells, kept = visible[0].size, float(visible.sum() / len(visible))
    share = kept / cells
    frames = visible.reshape(len(visible), -1, *(1, *visible.shape[1:])[-2:]).sum((2, 3))
    even = bool(
        (frames == frames[0, 0]).all()
    )  # the same number in each frame: chance depends on one frame only
    if even:
        cells, kept = cells // frames.shape[1], float(frames[0, 0])
    chance = share if even and visible.ndim == 4 and axis == 0 else (kept - 1) / max(cells - 1, 1)
    normal = NormalDist()
    slope = share / normal.pdf(normal.inv_cdf(share)) ** 2
    error = float(each.std(ddof=1) / math.sqrt(len(each)))
    return float(each.mean() - chance) * slope, error * slope, chance


def lagged(masks: Bools, lags: tuple[int, ...] = (1, 2, 3)) -> float:
    """The sum, over axes and distances, of the squared correlation of tokens at that distance.

    masks: (B, T, H, W), (B, H, W) or (B, L), True where visible.
    """
    visible = np.asarray(masks, bool)
    share = visible.mean()
    centred = visible.astype(np.float32) - np.float32(share)
    total = 0.0
    for axis, lag in itertools.product(range(1, visible.ndim), lags):
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

    visible = np.asarray(masks, bool)
    grid = visible.shape[1:]
    if covariance is None:
        covariance = exponential(grid, (TIME,) * (len(grid) - 2) + (SPACE, SPACE)[: len(grid)])
    out = np.full(len(visible), np.nan)
    for b, mask in enumerate(visible):
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


def _between(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64], covariance: Float64s) -> Float64s:
    """The covariances between two lists of tokens, (n, axes) and (m, axes): (n, m)."""
    apart = other[None] - one[:, None]  # negative distances index from the end, the order of an FFT
    return np.asarray(covariance[tuple(np.moveaxis(apart, -1, 0))])


def visible_per_frame(masks: Bools) -> npt.NDArray[np.int64]:
    """The number of visible tokens in each frame of masks (B, T, H, W): (B, T)."""
    return np.asarray(np.asarray(masks, bool).sum((2, 3)))
