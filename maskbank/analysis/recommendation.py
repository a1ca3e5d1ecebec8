"""Recommends a bank for data: finds the sigmas that reach an aim, and confirms them on masks of that bank."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from maskbank.analysis.covariance import Correlation, Floats, Grid, standard_error
from maskbank.analysis.kinds import masks_of, pairs_of, recipe_of
from maskbank.analysis.prediction import Predictor
from maskbank.analysis.structure import affordable, difficulty
from maskbank.checks import count_visible
from maskbank.errors import MissingError
from maskbank.recipes import COLOURS, command_options
from maskbank.recipes.base import LEAST_SIGMA, MOST_SIGMA
from maskbank.sampling.windows import Float64s

Curve = tuple[tuple[float, float], ...]  # (sigma or sigma1, share)

SPREAD = 2.3  # sigma2 / sigma1, from the middles of the ranges of Table A.1's variant 5
TRIED = 24  # sigmas, to find an interval that holds the aim
SMALLEST, LARGEST = 0.15, 8.0  # of these sigmas, in tokens; of sigma1 if there are two
MOST_STRETCH = 8.0
CLOSE = 0.01  # the aim is reached within this share of the baseline's difficulty
CONFIRMING = 24  # masks of the bank, and of the baseline
FEWEST = 4  # of these masks; with fewer, nothing is confirmed


@dataclass(frozen=True)
class Recommendation:
    """A bank for the data; `command` makes it.

    sigma, or sigma1 and sigma2: in voxels; None where the kind has none. stretch: the factors of the sigmas
    along each axis. difficulty: predicted. share: the difficulty over the baseline's. reached: whether the
    share is the aim. reachable: the smallest and largest share of any sigma of this kind. curve: of the
    sigmas tried.

    confirmed: `structure.difficulty` of masks of the bank for the measured data, which knows each mask and
    counts masked tokens only. Its error is taken over the masks. agrees: whether its share equals the
    predicted one within two standard errors. None without Numba, and where the grid is too large.
    """

    kind: str
    stretch: Floats
    difficulty: float
    difficulty_error: float
    share: float
    share_error: float
    reached: bool
    reachable: tuple[float, float]
    curve: Curve
    command: str
    sigma: float | None = None
    sigma1: float | None = None
    sigma2: float | None = None
    confirmed: float | None = None
    confirmed_error: float | None = None
    confirmed_share: float | None = None
    confirmed_share_error: float | None = None

    @property
    def sigmas(self) -> Floats:
        """The sigmas that the kind has."""
        return tuple(sigma for sigma in (self.sigma, self.sigma1, self.sigma2) if sigma is not None)

    @property
    def agrees(self) -> bool | None:
        """Whether masks of the bank have the predicted share."""
        if self.confirmed_share is None or self.confirmed_share_error is None:
            return None
        error = math.hypot(*np.nan_to_num([self.confirmed_share_error, self.share_error]))
        return abs(self.confirmed_share - self.share) <= 2.0 * error


def recommend(
    predictor: Predictor, grid: Grid, ratio: float, kind: str, aim: float, baseline: str, hard: Float64s,
    stretch: Floats,
) -> Recommendation:  # fmt: skip
    """The bank of this kind whose masks are `aim` times as difficult as the baseline's, or nearest to it.

    hard: the predicted difficulty of the baseline. stretch: the factors of the sigmas along each axis.
    """

    def difficulties(sigmas: Floats) -> Float64s:
        return predictor(pairs_of(kind, grid, ratio, sigmas, stretch))

    sigmas: Floats = ()
    curve: Curve = ()
    if kind != "rbn":
        sigmas, curve = choose(lambda tried: float(difficulties(tried)[0] / hard[0]), kind, aim, max(stretch))
    recipe = recipe_of(kind, grid, ratio, sigmas, stretch)
    found = difficulties(sigmas)
    share = float(found[0] / hard[0])
    tried = [one for _, one in curve] or [share]
    return Recommendation(
        kind=kind,
        stretch=stretch,
        difficulty=float(found[0]),
        difficulty_error=float(standard_error(found)),
        share=share,
        share_error=float(standard_error(found / hard)),
        reached=abs(share - aim) <= CLOSE,
        reachable=(min(tried), max(tried)),
        curve=curve,
        command=" ".join(["maskbank generate", kind, "--n 10000", *command_options(recipe), f"-o {kind}.h5"]),
        **dict(zip(recipe.sigma_names, sigmas, strict=True)),
        **confirm(kind, sigmas, stretch, grid, ratio, baseline, predictor.correlations[0]),
    )


def choose(
    share: Callable[[Floats], float], kind: str, aim: float, most_stretch: float
) -> tuple[Floats, Curve]:
    """The sigmas whose share is the aim, or nearest to it; and (sigma, share) of all that were tried.

    Two sigmas have the ratio of the paper's. If several reach the aim, the smallest are taken.
    """
    from scipy.optimize import brentq

    cls = COLOURS[kind][0]
    spread = (1.0, SPREAD)[: len(cls.sigma_names)]

    def away(log_sigma: float) -> float:
        return share(tuple(math.exp(log_sigma) * factor for factor in spread)) - aim

    low = max(SMALLEST, cls.least_sigma.get(cls.sigma_names[0], LEAST_SIGMA))
    high = min(LARGEST, MOST_SIGMA / (spread[-1] * most_stretch))
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


def stretch_for(correlation: Correlation) -> Floats:
    """The correlation length along each axis over the shortest one, to one decimal, at most MOST_STRETCH.

    1 where they differ by less than two standard errors, and along an axis of a single token.
    """
    lengths = correlation.lengths
    ratios = lengths / lengths[:, np.nanargmin(lengths[0]), None]
    errors = np.nan_to_num(standard_error(ratios))
    factors = np.where(ratios[0] - 1.0 > 2.0 * errors, np.minimum(np.round(ratios[0], 1), MOST_STRETCH), 1.0)
    return tuple(map(float, factors))


def confirm(
    kind: str, sigmas: Floats, stretch: Floats, grid: Grid, ratio: float, baseline: str, correlation: Float64s
) -> dict[str, float]:
    """Reconstruct data of this correlation from masks of the bank, and from the baseline's.

    Returns the `confirmed` fields of a Recommendation; none without Numba, and where it would take too long.
    """
    tokens = math.prod(grid)
    masks = min(CONFIRMING, affordable(count_visible(tokens, ratio), tokens))
    if masks < FEWEST:
        return {}
    try:
        own = masks_of(kind, grid, ratio, masks, sigmas, stretch)
    except MissingError:
        return {}
    both = (difficulty(one, correlation) for one in (own, masks_of(baseline, grid, ratio, masks)))
    (found, error), (usual, usual_error) = (
        (float(each.mean()), float(each.std(ddof=1)) / math.sqrt(masks)) for each in both
    )
    return {
        "confirmed": found,
        "confirmed_error": error,
        "confirmed_share": found / usual,
        "confirmed_share_error": found / usual * math.hypot(error / found, usual_error / usual),
    }
