"""Numbers about the structure of masks."""

import numpy as np
import numpy.typing as npt

DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))  # horizontal, vertical and both diagonals: d1 to d4


def clustering(
    masks: npt.NDArray[np.bool_],
    window: tuple[int, ...] = (3, 5),
    weights: tuple[float, ...] = (0.4, 0.4, 0.1, 0.1),
    wrap: bool = False,
) -> npt.NDArray[np.float64]:
    """The score S of equation 5, summed over the windows, averaged over the visible patches of each mask.

    masks: (..., H, W), True where visible. Returns (...). 0: no visible patch has another one in a window,
    in line with it. wrap: windows go on at the other side, instead of ending at the edge.
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


def adjacency(masks: npt.NDArray[np.bool_], wrap: bool = False) -> npt.NDArray[np.float64]:
    """The share of the visible patches of each mask with a visible one beside, above or below: (...).

    masks: (..., H, W), True where visible.
    """
    visible = np.asarray(masks, bool)
    beside = np.zeros(visible.shape, bool)
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        beside |= _moved(visible, dy, dx, wrap)
    return np.asarray((beside & visible).sum((-2, -1)) / np.maximum(visible.sum((-2, -1)), 1))


def _moved(visible: npt.NDArray[np.bool_], dy: int, dx: int, wrap: bool) -> npt.NDArray[np.bool_]:
    """What lies dy rows below and dx columns to the right; beyond the edge nothing is visible."""
    moved = np.roll(visible, (-dy, -dx), (-2, -1))
    height, width = visible.shape[-2:]
    if dy % height == 0 and dx % width == 0:  # once around: a patch is no neighbour of itself
        moved[:] = False
    if not wrap:
        moved[..., max(height - dy, 0) if dy >= 0 else 0 : height if dy >= 0 else min(-dy, height), :] = False
        moved[..., max(width - dx, 0) if dx >= 0 else 0 : width if dx >= 0 else min(-dx, width)] = False
    return moved
