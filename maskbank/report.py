"""What the masks of a sampler look like, beside random and tube masks: the numbers, and what they mean."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank import spectrum, structure
from maskbank.recipes import RBN
from maskbank.sampler import MaskSampler

Bools = npt.NDArray[np.bool_]

MASKS = 256  # looked at
HARD = 12  # of them, by `difficulty`, which takes long
MOST_TOKENS = 2**20  # looked at in all: fewer masks of a large grid
MOST_VOXELS = 2**22  # whose spectrum is measured
TOLD_APART = 1.25  # a factor between two probabilities below which hardly anything differs

# name -> what it says, in the words of the table
MEASURES = {
    "time": "visible in the next frame, too",
    "space": "visible beside, in its frame, too",
    "clustering": "clustering score S",
    "adjacency": "with a visible 4-neighbour",
    "difficulty": "difficulty of reconstruction",
    "per_frame": "visible tokens of a frame, spread",
}


def report(sampler: MaskSampler, masks: int = MASKS) -> dict[str, Any]:
    """Measures of structure, each with its standard error, for the sampler, random and tube masks.

    Keys: grid, num_visible, masks (how many were looked at); `measures`: for each of MEASURES that the grid
    has, {"value", "error", "random", "tube"}; `spectrum` of the items (banks only), with the analytic one
    where there is one; `reaches`: whether masks can be told from random ones; `verdict`: one sentence,
    with the remedy where they cannot. Takes seconds, whatever the size of the bank.
    """
    tokens = math.prod(sampler.grid)
    count = max(8, min(masks, MOST_TOKENS // tokens))
    hard = max(2, min(HARD, count, 2**15 // tokens))
    others = ("random", "tube") if len(sampler.grid) == 3 else ("random",)
    found = {"value": _measure(_masks(sampler, count), hard)}
    for name in others:
        found[name] = _baseline(name, sampler.grid, sampler.num_visible, sampler.seed, count, hard)
    measures = {
        name: {"value": value, "error": error} | {other: found[other][name][0] for other in others}
        for name, (value, error) in found["value"].items()
    }
    reaches = _reaches(measures)
    return {
        "grid": list(sampler.grid),
        "num_visible": sampler.num_visible,
        "masks": count,
        "measures": measures,
        "spectrum": _spectra(sampler),
        "reaches": reaches,
        "verdict": _verdict(sampler, reaches),
    }


@lru_cache(64)
def _baseline(
    name: str, grid: tuple[int, ...], num_visible: int, seed: int, count: int, hard: int
) -> dict[str, tuple[float, float]]:
    """`_measure` of a baseline, once for several banks."""
    if name == "tube":  # it has as many in every frame, so maybe not exactly so many
        sampler = MaskSampler(name, grid, 1 - num_visible / math.prod(grid), seed=seed)
    else:
        sampler = MaskSampler(name, grid, num_visible=num_visible, seed=seed)
    return _measure(_masks(sampler, count), hard)


def _masks(sampler: MaskSampler, count: int) -> Bools:
    """Visible tokens, (count, *grid)."""
    return sampler(np.arange(count)).visible.reshape(count, *sampler.grid)


def _measure(visible: Bools, hard: int) -> dict[str, tuple[float, float]]:
    """Mean and standard error of each measure over masks (B, T, H, W) or (B, H, W)."""
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
        "difficulty": structure.difficulty(visible[:hard]),
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


def _reaches(measures: dict[str, dict[str, float]]) -> bool:
    """Whether something differs from random masks by more than a factor, and more than chance."""
    for name in ("time", "space", "clustering", "adjacency"):
        if name in measures:
            value, error, random = (measures[name][key] for key in ("value", "error", "random"))
            low, high = value - 4 * error, value + 4 * error
            if low > TOLD_APART * random or high < random / TOLD_APART:
                return True
    return False


def _verdict(sampler: MaskSampler, reaches: bool) -> str:
    if sampler.bank is None:
        return f"{sampler.baseline} masks, a baseline"
    if reaches:
        return "structure reaches the model: these masks can be told from random ones"
    if sampler.fit == "resize":
        remedy = "resizing items steps over the wavelength of their noise; use fit='crop'"
    elif sampler.bank.recipe.colour == "white":
        remedy = "white noise is random masking; use another kind"
    elif isinstance(sampler.bank.recipe, RBN):
        remedy = "use masks_per_set above 1, and a mask ratio nearer to the bank's"
    else:
        remedy = "use a bank with other sigmas, nearer to 1 token"
    return f"ALARM: at this grid these masks cannot be told from random ones; {remedy}"


def _spectra(sampler: MaskSampler) -> dict[str, Any]:
    """Radial spectra of items and of windows, beside those that the recipe should have."""
    bank = sampler.bank
    if bank is None:
        return {}
    periodic = bank.recipe.boundary == "wrap"
    count = max(1, min(len(bank), 64, MOST_VOXELS // math.prod(bank.recipe.size)))
    places = np.linspace(0, len(bank) - 1, count).astype(int)
    items = np.stack([bank[int(place)] for place in places]).astype(np.float64)
    if bank.dtype.kind == "u":  # levels and ranks are no numbers of unit variance: make them so
        items = (items - items.mean()) / items.std()
    power = spectrum.measured(items, periodic)
    spectra = {"items": _radial(power, periodic)}
    if not isinstance(bank.recipe, RBN):
        sigma = bank.sigma
        drawn = np.zeros((count, 0), np.float32) if sigma is None else sigma[places]
        expected = spectrum.analytic(bank.recipe, drawn)
        spectra["items"]["analytic"] = spectrum.radial(expected, periodic).power.tolist()
    return {"looked_at": count} | spectra


def _radial(power: npt.NDArray[np.float64], periodic: bool) -> dict[str, Any]:
    found = spectrum.radial(power, periodic)
    return {
        "frequency": found.frequency.tolist(),
        "power": found.power.tolist(),
        "cumulative": found.cumulative.tolist(),
    }
