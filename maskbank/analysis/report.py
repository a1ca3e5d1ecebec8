"""What the masks of a sampler look like, beside random and tube masks: the numbers, and what they mean."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.analysis import spectrum, structure
from maskbank.bank.reader import Bank
from maskbank.checks import check_grid
from maskbank.recipes import RBN
from maskbank.sampling.sampler import MaskSampler

Bools = npt.NDArray[np.bool_]

MASKS = 256  # looked at
HARD = 12  # of them, by `difficulty`, which takes long
MOST_TOKENS = 2**20  # looked at in all: fewer masks of a large grid
MOST_VOXELS = 2**22  # of items, or of a grid, whose spectrum is measured; of a single item,
LARGEST = 2**24  # or it is left out: it would take longer than one waits
# Correlation of neighbours: random masks have none, blue noise -0.10, green items that were resized -0.045
CLEAR = 0.07
SURE = 4.5  # standard errors
FEW = 8  # visible or masked tokens, of which none can stand in a pattern
WORK = 4e9  # multiplications for `difficulty`: a second or two, or it is left out

# name -> what it says, in the words of the table
MEASURES = {
    "time": "visible in the next frame, too",
    "space": "visible beside, in its frame, too",
    "clustering": "clustering score S",
    "adjacency": "with a visible 4-neighbour",
    "difficulty": "difficulty of reconstruction",
    "per_frame": "visible tokens of a frame, spread",
}


def usual(
    bank: Bank, grid: tuple[int, ...] | str | None = None, moving: bool = False
) -> tuple[tuple[int, ...], float]:
    """The grid and the mask ratio at which a bank is looked at, where a user gives none.

    8x14x14 at 0.9 for video; for rbn its own; 14x14 at 0.75 for other images. Smaller where items are and
    do not tile. moving: over time, so a grid of three axes, whatever the bank. grid: the given one.
    """
    size, recipe = bank.recipe.size, bank.recipe
    three = moving or len(size if grid is None else check_grid(grid)) == 3
    if isinstance(recipe, RBN) and not three:
        return recipe.size if grid is None else check_grid(grid), recipe.mask_ratio
    wanted: tuple[int, ...] = (8, 14, 14) if three else (14, 14)
    if recipe.boundary != "wrap":
        most = size if len(size) == 3 else (wanted[0], *size)
        wanted = tuple(map(min, wanted, most[-len(wanted) :]))
    return wanted if grid is None else check_grid(grid), 0.9 if three else 0.75


def report(sampler: MaskSampler, most: int = MASKS) -> dict[str, Any]:
    """Measures of structure, each with its standard error, for the sampler, random and tube masks.

    Keys: grid, num_visible, masks (how many were looked at); `measures`: for each of MEASURES that the grid
    has, {"value", "error", "random", "tube"}; `spectrum`: radial ones, {"frequency", "power", "error",
    "cumulative"}, of `masks`, with the powers of `random` and `tube` ones, and for banks of `items` and
    `windows`, with what the recipe should give (`analytic`) where that is known; `reaches`: whether masks
    can be told from random ones; `verdict`: one sentence, with the remedy where they cannot. Takes seconds,
    whatever the size of the bank.
    """
    count = max(2, min(most, MOST_TOKENS // math.prod(sampler.grid)))
    masks = sampler(np.arange(count)).visible.reshape(count, *sampler.grid)
    measures = compared(masks, sampler.num_visible, sampler.seed)
    reaches = differs(masks)
    return {
        "grid": list(sampler.grid),
        "num_visible": sampler.num_visible,
        "masks": count,
        "measures": measures,
        "spectrum": _spectra(sampler, masks) if masks[0].size <= MOST_VOXELS else {},
        "reaches": reaches,
        "verdict": _verdict(sampler, reaches),
    }


def compared(masks: Bools, num_visible: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """Measures of masks (B, T, H, W) or (B, H, W), True where visible, beside random and tube masks'."""
    grid, tokens = masks.shape[1:], masks[0].size
    hard = hard_masks(len(masks), num_visible, tokens)
    others = _others(grid, num_visible)
    found = {name: _baseline(name, grid, shown, seed, len(masks), hard) for name, shown in others.items()}
    return {
        name: {"value": value, "error": error}
        | {other: theirs[name][0] for other, theirs in found.items() if name in theirs}
        for name, (value, error) in measure(masks, hard).items()
    }


def _others(grid: tuple[int, ...], num_visible: int) -> dict[str, int]:
    """The baselines that masks of a grid stand beside, and how many tokens those show."""
    others = {"random": num_visible}
    if (
        len(grid) == 3 and math.prod(grid[1:]) > 1
    ):  # a tube has as many in every frame, so maybe not exactly so
        frame = math.prod(grid[1:])
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
    """`measure` of a baseline's masks, once for several banks."""
    return measure(_masks_of(name, grid, num_visible, seed, count), hard)


def measure(visible: Bools, hard: int) -> dict[str, tuple[float, float]]:
    """Mean and standard error of each measure over masks; `hard`: of how many, difficulty is taken."""
    axes = visible.ndim - 1
    frames = visible if axes == 3 else visible[:, None]
    beside = [
        structure.continuity(visible, axis) for axis in (axes - 2, axes - 1) if visible.shape[axis + 1] > 1
    ]
    space = np.mean(beside, 0) if beside else np.full(len(visible), np.nan)
    values = {
        "space": space,
        "clustering": structure.clustering(frames).mean(-1),
        "adjacency": structure.adjacency(frames).mean(-1),
        "difficulty": structure.difficulty(visible[:hard]) if hard else np.empty(0),
    }
    if axes == 3 and visible.shape[1] > 1:
        values = {"time": structure.continuity(visible, 0)} | values
        values["per_frame"] = structure.visible_per_frame(visible).std(-1)
    values = {name: each[~np.isnan(each)] for name, each in values.items()}
    return {
        name: (float(each.mean()), float(each.std(ddof=1) / math.sqrt(len(each))))
        for name, each in values.items()
        if len(each) > 1
    }


def hard_masks(count: int, visible: int, tokens: int) -> int:
    """Of how many masks difficulty is taken: of none where two would take too long."""
    most = int(WORK / (visible**2 * tokens))
    return min(HARD, count, most) if most > 1 else 0


def differs(masks: Bools) -> bool:
    """Whether neighbours in masks (B, T, H, W) or (B, H, W) are more, or less, alike than in random ones.

    That a mask is repeated over time, as a tube, does not count: it is of its frames then.
    """
    if structure.repeated(masks):
        masks = masks[:, 0]
    found = [structure.correlation(masks, axis)[:2] for axis in range(masks.ndim - 1)]
    return any(abs(value) > max(CLEAR, SURE * error) for value, error in found)  # false for NaN


def _verdict(sampler: MaskSampler, reaches: bool) -> str:
    if sampler.bank is None:
        return f"{sampler.baseline} masks, a baseline"
    if reaches:
        return "structure reaches the model: these masks can be told from random ones"
    tokens, visible = math.prod(sampler.grid), sampler.num_visible
    if min(visible, tokens - visible) < FEW:
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
    return f"ALARM: at this grid these masks cannot be told from random ones; {remedy}"


def _spectra(sampler: MaskSampler, masks: Bools) -> dict[str, Any]:
    """Radial spectra of masks, windows and items, beside those that they should have, or that others have."""
    of_masks = _radial(_even(masks))
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
    if bank.dtype.kind == "u":  # levels and ranks are no numbers of unit variance: make them so
        sample = np.concatenate([bank[int(place)].reshape(-1)[:MOST_VOXELS] for place in places])
        mean, spread = float(sample.mean()), float(sample.std())
    spectra = {"windows": _radial((windows - mean) / spread), "masks": of_masks}
    if math.prod(recipe.size) > LARGEST:
        return spectra
    items = np.stack([bank[int(place)] for place in places]).astype(np.float64)
    spectra |= {"items": _radial((items - mean) / spread, periodic)}
    if not isinstance(recipe, RBN):
        sigma = bank.sigma
        drawn = np.zeros((count, 0), np.float32) if sigma is None else sigma[places]
        expected = spectrum.analytic(recipe, drawn)
        spectra["items"]["analytic"] = spectrum.radial(expected, periodic).power.tolist()
        if periodic and sampler.fit == "crop" and sampler.normalize is None and windows.ndim == items.ndim:
            blurred = spectrum.of_windows(expected, sampler.grid)
            spectra["windows"]["analytic"] = spectrum.radial(blurred).power.tolist()
    return {"looked_at": count} | spectra


def _even(masks: Bools) -> npt.NDArray[np.float64]:
    """Masks as numbers of mean 0 and variance 1."""
    share = masks.mean()
    return np.asarray((masks - share) / math.sqrt(share * (1 - share)))


def _radial(fields: npt.NDArray[np.float64], periodic: bool = True) -> dict[str, Any]:
    each = [spectrum.radial(spectrum.measured(field[None], periodic), periodic) for field in fields]
    powers = np.array([one.power for one in each])
    found = spectrum.Spectrum(each[0].frequency, powers.mean(0), each[0].count)
    error = (powers.std(0, ddof=1) / math.sqrt(len(each))).tolist() if len(each) > 1 else None
    return {
        "frequency": found.frequency.tolist(),
        "power": found.power.tolist(),
        "error": error,
        "cumulative": found.cumulative.tolist(),
    }
