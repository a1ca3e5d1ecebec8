"""Measures the structure of a sampler's masks, beside random and tube masks, and gives a verdict."""

import math
import os
from functools import lru_cache
from typing import Any, NotRequired, TypedDict

import numpy as np

from maskbank.analysis import spectrum, structure
from maskbank.bank.reader import Bank
from maskbank.checks import check_grid, format_size
from maskbank.recipes import RBN
from maskbank.sampling.baselines import NAMES, SPECTROGRAMS
from maskbank.sampling.sampler import Fit, MaskSampler
from maskbank.sampling.windows import Bools, Float64s

MASKS = 256  # to measure, at most
HARD = 12  # masks whose difficulty is measured, at most; it is slow
MOST_TOKENS = 2**20  # in all masks: of a large grid fewer are measured
MOST_VOXELS = 2**22  # of all items whose spectrum is measured
LARGEST = 2**24  # voxels of one item; the spectrum of a larger one would take minutes and is left out
# Correlation of neighbours; random masks have none, blue noise -0.10, resized green noise -0.045
CLEAR = 0.07
SURE = 4.5  # standard errors
FEW = 8  # visible or masked tokens, or voxels of an item; fewer make no pattern
# The default grid and ratio of measures, by the number of axes of a grid
USUAL: dict[int, tuple[tuple[int, ...], float]] = {
    3: ((8, 14, 14), 0.9),
    2: ((14, 14), 0.75),
    1: ((500,), 0.8),
}


Measure = dict[str, float]  # value, error: mean and standard error; random, tube: means of these masks


class Radial(TypedDict):
    """A radial spectrum: the frequency, power and standard error of each bin, and the energy up to it.

    analytic: the power by the recipe. random, tube: the power of these masks.
    """

    frequency: list[float]
    power: list[float]
    error: list[float] | None
    cumulative: list[float]
    analytic: NotRequired[list[float]]
    random: NotRequired[list[float]]
    tube: NotRequired[list[float]]


def usual(bank: Bank, grid: tuple[int, ...] | str | None = None) -> tuple[tuple[int, ...], float]:
    """The default grid and mask ratio for measures and pictures of a bank; a given grid is kept.

    8x14x14 at 0.9 for video; an rbn bank's own; 14x14 at 0.75 for other images; 500 at 0.8 on one axis. The
    grid is smaller where items are smaller and do not tile.
    """
    given, recipe = () if grid is None else check_grid(grid), bank.recipe
    axes = len(given or recipe.size)
    if isinstance(recipe, RBN) and axes < 3:
        return given or recipe.size, recipe.mask_ratio
    wanted, ratio = USUAL[axes]
    if recipe.boundary != "wrap":
        wanted = tuple(map(min, wanted, recipe.size[-len(wanted) :]))
    return given or wanted, ratio


def usual_sampler(
    source: Bank | str | os.PathLike[str],
    grid: tuple[int, ...] | str | None = None,
    mask_ratio: float | None = None,
    seed: int = 0,
    fit: Fit = "crop",
) -> MaskSampler:
    """A sampler of a bank, its path or a baseline's name; grid and ratio default to those of `usual`.

    Raises RecipeError for a grid or ratio that cannot be used, BankError for a file that is no bank.
    """
    if isinstance(source, str) and source in NAMES:
        its_grid = check_grid(grid or ((64, 8) if source in SPECTROGRAMS else (8, 14, 14)))
        ratio: Any = (0.5, 0.6) if source == "timefreq" else USUAL[len(its_grid)][1]
    else:
        source = source if isinstance(source, Bank) else Bank(source)
        its_grid, ratio = usual(source, grid)
    return MaskSampler(source, its_grid, ratio if mask_ratio is None else mask_ratio, seed=seed, fit=fit)


def measure_structure(
    sampler: MaskSampler, most: int = MASKS, covariance: Float64s | None = None
) -> dict[str, Any]:
    """Measure the structure of up to `most` masks of a sampler, and of as many random and tube masks.

    `grid` and `num_visible` are the sampler's, `masks` is how many were measured. `measures` has a `Measure`
    for time and space (how likely the token after a visible one, in time or in a frame, is also visible),
    clustering (equation 5), adjacency (the share of visible tokens with a visible 4-neighbour), difficulty,
    and per_frame (the spread of the number of visible tokens over frames), as far as the grid has them.
    `spectrum` has a `Radial` of masks; for a bank also of windows and of `looked_at` items; for a huge grid
    nothing. `reaches`: whether masks differ from random ones. `verdict`: a sentence, with a remedy where they
    do not. covariance: of data on the sampler's grid; the difficulty is then that for these data
    (`structure.difficulty`). Takes seconds.
    """
    count = max(2, min(most, MOST_TOKENS // math.prod(sampler.grid)))
    masks = sampler(np.arange(count)).visible.reshape(count, *sampler.grid)
    smallest = FEW if sampler.bank is None else math.prod(sampler.bank.recipe.size)
    reaches = differs(masks) and smallest >= FEW
    return {
        "grid": list(sampler.grid),
        "num_visible": sampler.num_visible,
        "masks": count,
        "measures": compare(masks, sampler.num_visible, sampler.seed, covariance),
        "spectrum": _spectra(sampler, masks) if masks[0].size <= MOST_VOXELS else {},
        "reaches": reaches,
        "verdict": _verdict(sampler, reaches),
    }


def compare(
    masks: Bools, num_visible: int, seed: int = 0, covariance: Float64s | None = None
) -> dict[str, Measure]:
    """Measure masks, bool (B, *grid), True where visible, and as many random and tube masks.

    covariance: as in `structure.difficulty`. Returns the measures by name.
    """
    count, grid = len(masks), masks.shape[1:]
    hard = structure.affordable(num_visible, masks[0].size)
    hard = min(HARD, count, hard) if hard > 1 else 0
    found = {}
    for name, shown in _others(grid, num_visible).items():
        if covariance is None:
            found[name] = _baseline(name, grid, shown, seed, count, hard)
        else:
            found[name] = _measured(_masks_of(name, grid, shown, seed, count), hard, covariance)
    return {
        name: {"value": value, "error": error}
        | {other: theirs[name][0] for other, theirs in found.items() if name in theirs}
        for name, (value, error) in _measured(masks, hard, covariance).items()
    }


def _others(grid: tuple[int, ...], num_visible: int) -> dict[str, int]:
    """The baselines to compare masks of a grid with, and how many tokens are visible in each."""
    others = {"random": num_visible}
    frame = math.prod(grid[1:])
    if len(grid) == 3 and frame > 1:  # a tube has the same number in every frame
        others["tube"] = min(max(round(num_visible / grid[0]), 1), frame - 1) * grid[0]
    return others


def _masks_of(name: str, grid: tuple[int, ...], num_visible: int, seed: int, count: int) -> Bools:
    """Masks of a baseline: bool (count, *grid), True where visible."""
    sampler = MaskSampler(name, grid, num_visible=num_visible, seed=seed)
    return sampler(np.arange(count)).visible.reshape(count, *grid)


@lru_cache(64)
def _baseline(
    name: str, grid: tuple[int, ...], num_visible: int, seed: int, count: int, hard: int
) -> dict[str, tuple[float, float]]:
    """The measures of a baseline's masks; cached, since several banks are compared with them."""
    return _measured(_masks_of(name, grid, num_visible, seed, count), hard)


def _measured(
    visible: Bools, hard: int, covariance: Float64s | None = None
) -> dict[str, tuple[float, float]]:
    """The mean and standard error of each measure; of difficulty, those of the first `hard` masks."""
    axes = visible.ndim - 1
    frames = visible.reshape(len(visible), -1, *(1, *visible.shape[1:])[-2:])
    within = range(max(axes - 2, 0), axes)
    beside = [structure.continuity(visible, axis) for axis in within if visible.shape[axis + 1] > 1]
    space = np.mean(beside, 0) if beside else np.full(len(visible), np.nan)
    values = {
        "space": space,
        "clustering": structure.clustering(frames).mean(-1),
        "adjacency": structure.adjacency(frames).mean(-1),
        "difficulty": structure.difficulty(visible[:hard], covariance) if hard else np.empty(0),
    }
    if axes == 3 and visible.shape[1] > 1:
        values = {"time": structure.continuity(visible, 0)} | values
        values["per_frame"] = visible.sum((2, 3)).std(-1)
    values = {name: each[~np.isnan(each)] for name, each in values.items()}
    return {
        name: (float(each.mean()), float(each.std(ddof=1) / math.sqrt(len(each))))
        for name, each in values.items()
        if len(each) > 1
    }


def differs(masks: Bools, clear: float = CLEAR) -> bool:
    """Whether neighbours in masks (B, *grid) are more, or less, alike than in random ones.

    clear: smaller correlations of neighbours do not count. Masks that repeat over time, like a tube, are
    judged by one frame.
    """
    if structure.repeated(masks):
        masks = masks[:, 0]
    found = [structure.correlation(masks, axis) for axis in range(masks.ndim - 1)]
    return any(abs(value) > max(clear, SURE * error) for value, error in found)  # false for NaN


def _verdict(sampler: MaskSampler, reaches: bool) -> str:
    if sampler.bank is None:
        return f"{sampler.baseline} masks, a baseline"
    if reaches:
        return "structure reaches the model: these masks differ from random ones"
    tokens, visible = math.prod(sampler.grid), sampler.num_visible
    if math.prod(sampler.bank.recipe.size) < FEW:
        remedy = f"items of {format_size(sampler.bank.recipe.size)} have no structure; use larger ones"
    elif min(visible, tokens - visible) < FEW:
        which = "visible" if 2 * visible < tokens else "masked"
        remedy = (
            f"{min(visible, tokens - visible)} {which} tokens of {tokens:,} are too few for structure; use a "
            "larger grid or another mask ratio"
        )
    elif sampler.fit == "resize":
        remedy = "resizing items steps over the wavelength of their noise; use fit='crop'"
    elif sampler.bank.recipe.colour == "white":
        remedy = "white noise is random masking; use another kind"
    elif isinstance(sampler.bank.recipe, RBN):
        alone = sampler.bank.recipe.masks_per_set == 1
        remedy = "use a bank with masks_per_set above 1" if alone else "use a mask ratio nearer to the bank's"
    else:
        remedy = "use a bank with other sigmas, nearer to 1 token"
    return f"ALARM: at this grid these masks do not differ from random ones; {remedy}"


def _spectra(sampler: MaskSampler, masks: Bools) -> dict[str, Any]:
    """Radial spectra of masks, windows and items, beside the recipe's and those of baselines."""
    of_masks: dict[str, Any] = {**_radial(_even(masks))}
    for name, shown in _others(sampler.grid, sampler.num_visible).items():
        others = _masks_of(name, sampler.grid, shown, sampler.seed, len(masks))
        of_masks[name] = _radial(_even(others))["power"]
    bank = sampler.bank
    if bank is None:
        return {"masks": of_masks}
    recipe, periodic = bank.recipe, bank.recipe.boundary == "wrap"
    windows = sampler.windows(np.arange(len(masks))).astype(np.float64)
    count = max(1, min(len(bank), 64, MOST_VOXELS // math.prod(recipe.size)))
    places = np.linspace(0, len(bank) - 1, count).astype(int)
    mean, spread = (0.0, 1.0)
    if bank.dtype.kind == "u":  # uint8 levels and ranks of rbn are scaled to unit variance
        sample = np.concatenate([bank[int(place)].reshape(-1)[:MOST_VOXELS] for place in places])
        mean, spread = float(sample.mean()), float(sample.std())
    spectra: dict[str, Any] = {"windows": _radial((windows - mean) / spread), "masks": of_masks}
    if math.prod(recipe.size) > LARGEST:
        return spectra
    items = np.stack([bank[int(place)] for place in places]).astype(np.float64)
    spectra["items"] = _radial((items - mean) / spread, periodic)
    if not isinstance(recipe, RBN):
        sigma = bank.sigma
        drawn = np.zeros((count, 0), np.float32) if sigma is None else sigma[places]
        expected = spectrum.analytic(recipe, drawn)
        spectra["items"]["analytic"] = spectrum.radial(expected, periodic).power.tolist()
        if periodic and sampler.fit == "crop" and sampler.normalize is None and windows.ndim == items.ndim:
            blurred = spectrum.of_windows(expected, sampler.grid)
            spectra["windows"]["analytic"] = spectrum.radial(blurred).power.tolist()
    return {"looked_at": count, **spectra}


def _even(masks: Bools) -> Float64s:
    """Masks as numbers of mean 0 and variance 1."""
    share = masks.mean()
    return np.asarray((masks - share) / math.sqrt(share * (1 - share)))


def _radial(fields: Float64s, periodic: bool = True) -> Radial:
    each = [spectrum.measured(field, periodic) for field in fields]
    powers = np.array([one.power for one in each])
    found = spectrum.Spectrum(each[0].frequency, powers.mean(0), each[0].count)
    error = (powers.std(0, ddof=1) / math.sqrt(len(each))).tolist() if len(each) > 1 else None
    return {
        "frequency": found.frequency.tolist(),
        "power": found.power.tolist(),
        "error": error,
        "cumulative": found.cumulative.tolist(),
    }
