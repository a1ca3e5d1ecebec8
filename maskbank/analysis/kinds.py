"""How hard each kind of mask is for data of a known correlation, and masks of a kind."""

import math
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from maskbank.analysis.prediction import Predictor, draws, pairs_of_masks, pairs_of_noise, repeated
from maskbank.checks import count_visible
from maskbank.errors import RecipeError
from maskbank.recipes import COLOURS, RBN, Recipe
from maskbank.sampling.sampler import MaskSampler

Bools = npt.NDArray[np.bool_]
Float64s = npt.NDArray[np.float64]
Grid = tuple[int, ...]

HAS_NUMBA = find_spec("numba") is not None  # without it no noise is made, and the rest works
MASKS = 256  # drawn of a kind without a formula
MOST_PATCHES = 2**20  # of all of them


def difficulties(predictor: Predictor, grid: Grid, ratio: float) -> dict[str, Float64s]:
    """The predicted difficulty of each kind at its defaults and of the baselines: name -> float64 (n,).

    On a grid of three axes masks of two are the same in all frames. R-BN is made for the grid of a frame.
    """
    found: dict[str, Float64s] = {}
    for kind, (_, size) in COLOURS.items():
        if len(size) in (min(2, len(grid)), len(grid)):
            each = [predictor(pairs_of(kind, sigmas, None, grid, ratio)) for sigmas in draws(kind)]
            found[kind] = np.mean(each, 0)
    found["random"] = found[f"white{len(grid)}d"]
    if len(grid) == 3:
        found["tube"] = found["white2d"]
    if len(grid) > 1:
        for name in ("grid", "block"):
            sampler = MaskSampler(name, grid, ratio)
            masks = sampler(np.arange(_masks(grid))).visible.reshape(-1, *grid)
            found[name] = predictor(pairs_of_masks(masks))
    pairs = pairs_of_rbn(grid, ratio)
    if pairs is not None:
        found["rbn"] = predictor(pairs)
    return found


def pairs_of(
    kind: str, sigmas: tuple[float, ...], stretch: tuple[float, ...] | None, grid: Grid, ratio: float
) -> Float64s:
    """The chance that two tokens of a grid are both visible, by distance, in masks of a coloured kind."""
    colour = COLOURS[kind][0].colour
    visible, tokens = visible_of(kind, grid, ratio)
    own = grid[1:] if tokens < math.prod(grid) else grid
    pairs = pairs_of_noise(colour, sigmas, stretch or (1.0,) * len(own), own, visible / tokens)
    return repeated(pairs, grid[0]) if len(own) < len(grid) else pairs


def visible_of(kind: str, grid: Grid, ratio: float) -> tuple[int, int]:
    """How many tokens are visible, and of how many: of a frame where its mask is the same in all frames."""
    if len(grid) == 3 and not kind.endswith("3d"):
        tokens = math.prod(grid[1:])
        return tokens - int(ratio * tokens), tokens  # as VideoMAE's tube
    tokens = math.prod(grid)
    return count_visible(tokens, ratio), tokens


def pairs_of_rbn(grid: Grid, ratio: float) -> Float64s | None:
    """The same of R-BN for this grid or its frames; None where these are too small, and without Numba."""
    if not HAS_NUMBA:
        return None
    try:
        recipe = RBN(size=grid[-2:], mask_ratio=ratio)
    except RecipeError:
        return None
    masks = masks_of(recipe, _masks(grid[-2:]), grid, ratio)
    return repeated(pairs_of_masks(masks[:, 0]), grid[0]) if len(grid) == 3 else pairs_of_masks(masks)


def masks_of(recipe: Recipe, count: int, grid: Grid, ratio: float) -> Bools:
    """Masks from the first items of a recipe with seed 0, cut at their first place: bool (count, *grid)."""
    from maskbank import noise

    block = noise.Block(recipe, count)
    noise.Maker(recipe, 0).make(0, block)
    own = grid[-len(recipe.size) :]
    windows = block.items[(slice(None), *(slice(n) for n in own))].reshape(count, -1)
    visible, tokens = visible_of(recipe.kind, grid, ratio)
    masks = np.zeros((count, tokens), bool)
    highest = np.argpartition(windows, tokens - visible, 1)[:, tokens - visible :]
    np.put_along_axis(masks, highest, True, 1)
    if tokens < math.prod(grid):
        return np.broadcast_to(masks.reshape(count, 1, *grid[1:]), (count, *grid))
    return masks.reshape(count, *grid)


def _masks(grid: Grid) -> int:
    return min(MASKS, max(8, MOST_PATCHES // math.prod(grid)))
