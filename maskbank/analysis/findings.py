"""The checks of an audit. Each looks at the masks of a loader and returns a `Finding`."""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from maskbank.analysis import measures, structure
from maskbank.checks import axis_names
from maskbank.sampling.windows import Bools, Int64s

REPEATED = 0.01  # share of masks; if more are repeated, it is not by chance
BIASED = 0.15  # relative deviation of positions, root mean square; red noise in small windows has half of it
SURE = 6.0  # standard errors; even the worst of many positions stays below by chance
FAINT = 0.02  # a correlation of neighbours that can be measured, but is too weak to matter
FURTHEST = 64  # batches; `workers` compares batches that are at most so far apart
CLEARER, LEAST = 1.5, 5e-4  # another order of axes must show more structure by this factor and difference


@dataclass(frozen=True)
class Finding:
    """The result of one check: its name, whether it passed, what was found, and what to do (or "")."""

    name: str
    ok: bool
    says: str
    remedy: str = ""
    __getitem__ = object.__getattribute__


def possible(masks: Bools, visible: int) -> float:
    """How many different masks have so many visible tokens; of one frame where masks repeat it."""
    from scipy.special import binom

    frames = masks.shape[1] if structure.repeated(masks) else 1
    return float(binom(masks[0].size // frames, visible // frames))


def counts_differ(counts: list[Int64s]) -> Finding:
    """Whether all masks have the same number of visible tokens."""
    every = np.concatenate(counts)
    low, high = every.min(), every.max()
    if low == high:
        return Finding("counts", True, f"{low:,} visible tokens in every mask")
    uneven = sum(each.min() < each.max() for each in counts)
    where = f"within {uneven:,} of {len(counts):,} batches" if uneven else "between batches, not within"
    remedy = "take as many of the largest values as the mask ratio says, instead of cutting at a threshold"
    return Finding("counts", False, f"visible tokens differ {where}: {low:,} to {high:,}", remedy)


def polarity(share: float, guess: str, ones: str | None, mask_ratio: float | None) -> Finding:
    """Whether the share of ones agrees with what 1 means: `ones`, or the guess where that is None."""
    target = "more than half" if mask_ratio is None else f"{mask_ratio:.3g}"
    says = f"{share:.1%} are 1, or listed"
    if share in (0.0, 1.0):
        return Finding("polarity", False, f"{says}: nothing is masked in part", "check mask= and the grid")
    if ones is None:
        says += f": taken as {guess}, for {target} should be masked"
        remedy = f"make sure that the model also takes 1 as {guess}; say it with ones={guess!r}"
        return Finding("polarity", True, says, remedy)
    hidden = share if ones == "masked" else 1 - share
    fits = hidden > 0.5 if mask_ratio is None else abs(hidden - mask_ratio) <= abs(1 - hidden - mask_ratio)
    says += f", and mean {ones}: {hidden:.1%} are masked{'' if fits else f', though {target} should be'}"
    remedy = "invert the masks; or, if so many are meant, say it with mask_ratio="
    return Finding("polarity", fits, says, remedy * (not fits))


def order(masks: Bools) -> Finding:
    """Whether the tokens show more structure when their axes are read in another order."""
    grid = masks.shape[1:]
    names = axis_names(len(grid))
    found = {}
    for axes in itertools.permutations(range(len(grid))):
        read = masks.reshape(len(masks), *(grid[axis] for axis in axes))
        found[" x ".join(names[axis] for axis in axes)] = structure.lagged(read)
    stated, best = " x ".join(names), max(found, key=lambda axes: found[axes])
    # Chance also shows some structure, and so does a fixed number of visible tokens in each frame
    least = max(LEAST, 20 / masks.size, 6 / math.prod(grid[-2:]) ** 2)
    ok = found[best] <= CLEARER * found[stated] or found[best] <= found[stated] + least
    says = f"read as {best}, tokens are far more alike than as {stated}"
    if ok:
        says = f"no order of axes shows clearly more structure than {stated}"
        says = says if len(grid) > 1 else "a grid of one axis has only one order"
    remedy = f"flatten the masks with {names[0]} slowest and {names[-1]} fastest, as the model's tokens are"
    return Finding("order", ok, says, remedy * (not ok))


def repeats(first: list[Int64s], choices: float) -> Finding:
    """Whether masks of one epoch repeat more often than by chance."""
    numbers = np.concatenate(first)
    count, different = len(numbers), len(np.unique(numbers))
    expected = count * min(1.0, count / choices / 2)
    within = sum(len(each) - len(np.unique(each)) for each in first)
    says = f"{count - different:,} of {count:,} masks of an epoch repeat earlier ones ({within:,} in their "
    says += f"own batch); {different:,} are different"
    remedy = "draw a mask for each sample; where there are few masks, use a larger bank"
    ok = count - different <= REPEATED * count + 2 * expected
    return Finding("repeats", ok, says, remedy * (not ok))


def workers(first: list[Int64s]) -> Finding:
    """Whether batches repeat earlier ones, mask for mask, at a regular distance."""
    count = len(first)
    alike = [0.0]  # alike[d]: the share of masks that equal those of d batches before
    for apart in range(1, min(FURTHEST, count - 1) + 1):
        pairs = zip(first[apart:], first, strict=False)
        same = [later[: len(earlier)] == earlier[: len(later)] for later, earlier in pairs]
        alike.append(float(np.concatenate(same).mean()))
    worst = int(np.argmax(alike))
    # Where there are few different masks, some are equal by chance
    ok = alike[worst] <= 10 * REPEATED + 3 / len(np.unique(np.concatenate(first)))
    says = f"{alike[worst]:.0%} of the masks are those of the same place {worst} batch(es) before"
    if worst == 1 and alike[1] < 1 and not ok:
        runs = 1 + (count - 1) * (1 - alike[1])  # a run of equal batches is as long as there are workers
        says += f", as of {max(2, math.ceil(count / runs - 1e-6))} workers with the same random numbers"
    remedy = "take masks by the sample's id, or seed each worker differently (worker_init_fn); forked workers"
    remedy += " share the state of NumPy's global generator"
    return Finding("workers", ok, says, remedy * (not ok))


def shared(
    name: str, first: list[Int64s], others: list[list[Int64s]], choices: float, what: str, remedy: str
) -> Finding:
    """Whether later epochs repeat masks of earlier ones, or ranks those of other ranks."""
    before = np.concatenate(first)
    again, count, ok = 0, 0, True
    for numbers in map(np.concatenate, filter(None, others)):
        known = int(np.isin(numbers, before).sum())
        ok &= known <= (REPEATED + 2 * min(1.0, len(np.unique(before)) / choices)) * len(numbers)
        again, count, before = again + known, count + len(numbers), np.concatenate([before, numbers])
    if not count:
        return Finding(name, False, "the loader gave no batch in a second epoch", "give one that can")
    return Finding(name, ok, f"{again:,} of {count:,} masks of {what}", remedy * (not ok))


def positions(masks: Bools) -> Finding:
    """Whether some positions are visible clearly more often than others, and not by chance."""
    count, tokens = len(masks), masks[0].size
    often = masks.mean(0).reshape(-1)
    share = float(often.mean())
    variance = share * (1 - share) / count
    z = (often - share) / math.sqrt(variance)
    bias = math.sqrt(max(0.0, float(((often - share) ** 2).mean()) - variance)) / share
    ramp = ((np.arange(tokens) - (tokens - 1) / 2) / tokens).astype(np.float32)
    lean = masks.reshape(count, tokens) @ ramp  # positive where the last positions are visible more often
    slope = float(lean.mean()) / max(float(lean.std(ddof=1)), 1e-12) * math.sqrt(count)
    tilt = float(often[-(tokens // 2) :].mean() / max(1e-12, often[: tokens // 2].mean())) - 1
    worst = int(np.abs(z).argmax())
    place = ", ".join(map(str, np.unravel_index(worst, masks.shape[1:])))
    says = (
        f"positions differ by {bias:.1%} beyond chance (chi-square {float((z**2).mean()):.2f} each); most, "
        f"({place}): visible in {often[worst]:.1%} of masks, {share:.1%} expected, z = {z[worst]:.1f}"
    )
    if tilted := abs(slope) > SURE and abs(tilt) > 0.01:
        says += f"; the later half {abs(tilt):.1%} {'more' if tilt > 0 else 'less'} often, z = {slope:.1f}"
    ok = not tilted and not (bias > BIASED and abs(z[worst]) > SURE)
    remedy = "cut windows at random from noise that tiles (boundary wrap), and break ties at random"
    return Finding("positions", ok, says, remedy * (not ok))


def unlike_random(masks: Bools, found: dict[str, measures.Measure], structured: bool | None) -> Finding:
    """Whether neighbours are more, or less, alike than in random masks. found: the result of `compare`."""
    shown = [name for name in ("time", "space", "difficulty") if "random" in found.get(name, {})]
    parts = [f"{name} {found[name]['value']:.3f} ({found[name]['random']:.3f})" for name in shown]
    says = f"how alike neighbours are, and difficulty (of random masks): {', '.join(parts)}"
    if measures.differs(masks):
        return Finding("structure", True, f"unlike random masks: {says}")
    peer = "tube masks, repeated over time" if structure.repeated(masks) else "random masks"
    faint = measures.differs(masks, FAINT)
    says = ("hardly any, too faint to matter: " if faint else f"none, as of {peer}: ") + says
    if structured is False:
        return Finding("structure", True, says)
    remedy = "from a bank, use fit='crop' (resizing loses the structure) or sigmas nearer to 1 token"
    if structured or faint:
        return Finding("structure", False, says, remedy)
    return Finding("structure", True, says, f"if structure was meant, it is lost: {remedy}")
