"""Masks of each kind and each baseline on a grid of tokens, and their difficulty for data."""

import contextlib
import math

import numpy as np

from maskbank.analysis.covariance import Floats, Grid
from maskbank.analysis.prediction import Predictor, draws, pairs_of_masks, pairs_of_noise
from maskbank.checks import count_visible
from maskbank.errors import MissingError, RecipeError
from maskbank.recipes import COLOURS, KINDS, RBN, Recipe
from maskbank.sampling.sampler import MaskSampler
from maskbank.sampling.windows import Bools, Float64s

MASKS = 256  # to draw for a kind without a formula, at most
MOST_PATCHES = 2**20  # in all these masks


def difficulties(predictor: Predictor, grid: Grid, ratio: float) -> dict[str, Float64s]:
    """The predicted difficulty of each kind at its defaults and of the baselines: name -> float64 (n,).

    On a grid of three axes, masks of two axes repeat in all frames. R-BN is made for the grid of a frame. It
    is left out where that is too small, and without Numba.
    """
    found: dict[str, Float64s] = {}
    for kind, (_, size) in COLOURS.items():
        if len(size) in (min(2, len(grid)), len(grid)):
            each = [predictor(pairs_of(kind, grid, ratio, sigmas)) for sigmas in draws(kind)]
            found[kind] = np.mean(each, 0)
    for name in ("random", "grid", "block", "tube")[: (0, 1, 3, 4)[len(grid)]]:
        found[name] = predictor(pairs_of(name, grid, ratio))
    with contextlib.suppress(RecipeError, MissingError):
        found["rbn"] = predictor(pairs_of("rbn", grid, ratio))
    return found


def pairs_of(
    name: str, grid: Grid, ratio: float, sigmas: Floats = (), stretch: Floats | None = None
) -> Float64s:
    """The probability that two tokens are both visible, by distance, in masks of a kind or a baseline.

    For coloured noise it is computed; masks of R-BN, grid and block are drawn and counted.
    """
    differ = len(grid) < 3 or name == "random" or name.endswith("3d")  # else masks repeat in all frames
    own = grid if differ else grid[1:]
    if name in ("rbn", "grid", "block"):
        count = min(MASKS, max(8, MOST_PATCHES // math.prod(own)))
        masks = masks_of(name, grid, ratio, count, sigmas, stretch)
        pairs = pairs_of_masks(masks.reshape(count, -1, *own)[:, 0])
    else:
        colour = COLOURS[name][0].colour if name in COLOURS else "white"
        share = _visible(own, ratio, own == grid) / math.prod(own)
        pairs = pairs_of_noise(colour, sigmas, stretch or (1.0,) * len(own), own, share)
    return pairs if differ else np.broadcast_to(pairs, (2 * grid[0], *pairs.shape))


def _visible(own: Grid, ratio: float, all_tokens: bool) -> int:
    """How many tokens are visible: of all, or of a frame that masks repeat, as in VideoMAE's tube."""
    tokens = math.prod(own)
    return count_visible(tokens, ratio) if all_tokens else tokens - int(ratio * tokens)


def masks_of(
    name: str, grid: Grid, ratio: float, count: int, sigmas: Floats = (), stretch: Floats | None = None
) -> Bools:
    """Masks of a baseline, or from the first items of a kind with seed 0: bool (count, *grid).

    A window starts at the first voxel of its item. RecipeError where R-BN does not fit the grid;
    MissingError without Numba.
    """
    if name not in KINDS:
        return MaskSampler(name, grid, ratio)(np.arange(count)).visible.reshape(count, *grid)
    from maskbank import noise

    recipe = recipe_of(name, grid, ratio, sigmas, stretch)
    block = noise.Block(recipe, count)
    noise.maker(recipe, 0).make(0, block)
    own = grid[-len(recipe.size) :]
    windows = block.items[(slice(None), *(slice(n) for n in own))].reshape(count, -1)
    hidden = math.prod(own) - _visible(own, ratio, own == grid)
    masks = np.zeros(windows.shape, bool)
    np.put_along_axis(masks, np.argpartition(windows, hidden, 1)[:, hidden:], True, 1)
    return np.broadcast_to(masks.reshape(count, *(1,) * (len(grid) - len(own)), *own), (count, *grid))


def recipe_of(kind: str, grid: Grid, ratio: float, sigmas: Floats, stretch: Floats | None) -> Recipe:
    """The recipe in which each item has these sigmas. Items have the usual size, or more for a large grid.

    R-BN has this ratio, and the size of the grid or of its frames.
    """
    if kind == "rbn":
        return RBN(size=grid[-2:], mask_ratio=ratio)
    cls, usual = KINDS[kind]
    size = tuple(max(n, 1 << (g - 1).bit_length()) for n, g in zip(usual, grid[-len(usual) :], strict=True))
    ranges = {name: (sigma, sigma) for name, sigma in zip(cls.sigma_names, sigmas, strict=True)}
    return cls(size=size, stretch=stretch or (), **ranges)  # type: ignore[arg-type, call-arg]  # each kind has its own
