"""The bank that suits data: the sigmas that reach an aim, confirmed on masks of that bank."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskbank.analysis.covariance import Correlation, standard_error
from maskbank.analysis.kinds import HAS_NUMBA, masks_of, pairs_of, pairs_of_rbn
from maskbank.analysis.prediction import Predictor
from maskbank.analysis.structure import difficulty
from maskbank.checks import count_visible, format_size
from maskbank.errors import RecipeError
from maskbank.recipes import COLOURS, KINDS, RBN, Filtered, Recipe
from maskbank.recipes.base import LEAST_SIGMA, MOST_SIGMA
from maskbank.sampling.sampler import MaskSampler

Float64s = npt.NDArray[np.float64]
Grid = tuple[int, ...]

SPREAD = 2.3  # sigma2 / sigma1 where they are chosen: that of the middles of Table A.1's variant 5
TRIED = 24  # sigmas, before the interval that holds the aim is searched
SMALLEST, LARGEST = 0.15, 8.0  # of them, in tokens; of sigma1 where there are two
MOST_STRETCH = 8.0
CLOSE = 0.01  # to the aim, as a share of the baseline's difficulty: reached
CONFIRMING = 24  # masks of the bank, and of the baseline
FEWEST = 4  # of them, or nothing is confirmed
WORK = 4e9  # multiplications for them: a second or two


@dataclass(frozen=True)
class Recommendation:
    """A bank for the data: what `command` makes.

    sigma, or sigma1 and sigma2: in voxels; None where the kind has none. stretch: what multiplies them
    along each axis. difficulty: predicted. share: of the baseline's. reached: whether that is the aim.
    reachable: the smallest and largest share that any sigma of this kind reaches. curve: (sigma or sigma1,
    share) of those that were tried.

    confirmed: `structure.difficulty` of masks of the bank for the measured data, which knows the mask and
    looks at masked tokens only; its error is that over the masks. agrees: whether its share of the
    baseline's is the predicted one, within two standard errors. None for a grid so large that it would take
    too long, and without Numba.
    """

    kind: str
    sigma: float | None
    sigma1: float | None
    sigma2: float | None
    stretch: tuple[float, ...]
    difficulty: float
    difficulty_error: float
    share: float
    share_error: float
    reached: bool
    reachable: tuple[float, float]
    curve: tuple[tuple[float, float], ...]
    confirmed: float | None
    confirmed_error: float | None
    confirmed_share: float | None
    confirmed_share_error: float | None
    agrees: bool | None
    command: str


def recommend(
    predictor: Predictor,
    grid: Grid,
    ratio: float,
    kind: str,
    aim: float,
    baseline: str,
    hard: Float64s,
    stretch: tuple[float, ...],
) -> Recommendation:
    """The bank of this kind whose masks are `aim` times as difficult as the baseline's, or nearest to it.

    hard: how difficult these are, predicted. stretch: what multiplies the sigmas along each axis.
    """
    if kind == "rbn":
        pairs = pairs_of_rbn(grid, ratio)
        if pairs is None:
            raise RecipeError(
                f"rbn: grid={format_size(grid)} is too small, or Numba is not installed; choose another kind"
            )
        recipe: Recipe = RBN(size=grid[-2:], mask_ratio=ratio)
        sigmas: tuple[float, ...] = ()
        curve: tuple[tuple[float, float], ...] = ()
    else:
        sigmas, curve = choose(predictor, grid, ratio, kind, aim, hard, stretch)
        pairs = pairs_of(kind, sigmas, stretch, grid, ratio)
        recipe = recipe_of(kind, sigmas, stretch, grid)
    found = predictor(pairs)
    share = float(found[0] / hard[0])
    share_error = float(standard_error(found[1:] / hard[1:]))
    tried = [one for _, one in curve] or [share]
    confirmed = confirm(recipe, grid, ratio, baseline, predictor.correlations[0])
    agrees = None
    if confirmed is not None:
        both = math.hypot(confirmed[3], 0.0 if math.isnan(share_error) else share_error)
        agrees = abs(confirmed[2] - share) <= 2.0 * both
    exact, exact_error, exact_share, exact_share_error = confirmed or (None,) * 4
    named = dict(zip(recipe.sigma_names, sigmas, strict=True))
    return Recommendation(
        kind=kind,
        sigma=named.get("sigma"),
        sigma1=named.get("sigma1"),
        sigma2=named.get("sigma2"),
        stretch=stretch,
        difficulty=float(found[0]),
        difficulty_error=float(standard_error(found[1:])),
        share=share,
        share_error=share_error,
        reached=abs(share - aim) <= CLOSE,
        reachable=(min(tried), max(tried)),
        curve=curve,
        confirmed=exact,
        confirmed_error=exact_error,
        confirmed_share=exact_share,
        confirmed_share_error=exact_share_error,
        agrees=agrees,
        command=command(recipe),
    )


def choose(
    predictor: Predictor,
    grid: Grid,
    ratio: float,
    kind: str,
    aim: float,
    hard: Float64s,
    stretch: tuple[float, ...],
) -> tuple[tuple[float, ...], tuple[tuple[float, float], ...]]:
    """The sigmas that reach the aim, or come nearest; and (sigma, share) of those that were tried.

    Two sigmas keep the ratio of the paper's. Where several reach the aim, the smallest are taken.
    """
    from scipy.optimize import brentq

    cls = COLOURS[kind][0]
    spread = (1.0, SPREAD)[: len(cls.sigma_names)]

    def away(log_sigma: float) -> float:
        sigmas = tuple(math.exp(log_sigma) * factor for factor in spread)
        return float(predictor(pairs_of(kind, sigmas, stretch, grid, ratio))[0] / hard[0]) - aim

    low = max(SMALLEST, cls.least_sigma.get(cls.sigma_names[0], LEAST_SIGMA))
    high = min(LARGEST, MOST_SIGMA / (spread[-1] * max(stretch)))
    tried = np.linspace(math.log(low), math.log(high), TRIED)
    aways = np.array([away(x) for x in tried])
    crossing = np.flatnonzero(aways[:-1] * aways[1:] <= 0)
    if len(crossing):
        k = int(crossing[0])
        best = float(brentq(away, tried[k], tried[k + 1], xtol=1e-3))
    else:
        best = float(tried[np.abs(aways).argmin()])
    chosen = tuple(round(math.exp(best) * factor, 2) for factor in spread)
    return chosen, tuple((math.exp(x), float(y) + aim) for x, y in zip(tried, aways, strict=True))


def stretch_for(correlation: Correlation) -> tuple[float, ...]:
    """How much longer than the shortest the correlation lengths are, to one decimal, at most MOST_STRETCH.

    1 where the difference is within two standard errors, and along an axis of a single token.
    """
    lengths = correlation.lengths
    if np.isnan(lengths).all():
        return (1.0,) * len(lengths)
    shortest = int(np.nanargmin(lengths))
    ratios = lengths / lengths[shortest]
    parts = correlation.lengths_of_parts
    errors = standard_error(parts / parts[:, shortest, None]) if len(parts) > 1 else np.zeros(len(ratios))
    factors = np.where(ratios - 1.0 > 2.0 * errors, np.minimum(np.round(ratios, 1), MOST_STRETCH), 1.0)
    return tuple(map(float, factors))


def recipe_of(kind: str, sigmas: tuple[float, ...], stretch: tuple[float, ...], grid: Grid) -> Recipe:
    """The recipe with these sigmas for each item; items are of the usual size, or as large as the grid."""
    cls, usual = KINDS[kind]
    size = tuple(max(n, 1 << (g - 1).bit_length()) for n, g in zip(usual, grid[-len(usual) :], strict=True))
    ranges = {name: (sigma, sigma) for name, sigma in zip(cls.sigma_names, sigmas, strict=True)}
    return cls(size=size, stretch=stretch, **ranges)  # type: ignore[arg-type, call-arg]  # each kind has its own


def command(recipe: Recipe) -> str:
    """The command line that makes a bank of the recipe."""
    words = ["maskbank", "generate", recipe.kind, "--n", "10000"]
    if recipe.size != KINDS[recipe.kind][1]:
        words += ["--size", format_size(recipe.size)]
    if isinstance(recipe, RBN):
        words += ["--mask-ratio", f"{recipe.mask_ratio:g}"]
    if isinstance(recipe, Filtered) and set(recipe.stretch) != {1.0}:
        words += ["--stretch", "x".join(f"{factor:g}" for factor in recipe.stretch)]
    for name, (low, high) in zip(recipe.sigma_names, recipe.ranges, strict=True):
        words += [f"--{name}", f"{low:g}", f"{high:g}"]
    return " ".join([*words, "-o", f"{recipe.kind}.h5"])


def confirm(
    recipe: Recipe, grid: Grid, ratio: float, baseline: str, correlation: Float64s
) -> tuple[float, float, float, float] | None:
    """Reconstruct data of this correlation from masks of the recipe, and from the baseline's.

    The difficulty, its error, its share of the baseline's, and the error of that. None where the grid is so
    large that it would take too long.
    """
    tokens = math.prod(grid)
    masks = min(CONFIRMING, int(WORK / (tokens * count_visible(tokens, ratio) ** 2)))
    if masks < FEWEST or not HAS_NUMBA:
        return None
    others = MaskSampler(baseline, grid, ratio)(np.arange(masks))
    own = difficulty(masks_of(recipe, masks, grid, ratio), correlation)
    other = difficulty(others.visible.reshape(-1, *grid), correlation)
    found, usual = float(own.mean()), float(other.mean())
    error, usual_error = (float(one.std(ddof=1)) / math.sqrt(masks) for one in (own, other))
    return found, error, found / usual, found / usual * math.hypot(error / found, usual_error / usual)
