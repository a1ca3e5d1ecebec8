"""How hard each kind of mask is for data of a known correlation, and the sigmas that reach an aim."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskbank import noise
from maskbank.analysis.covariance import standard_error
from maskbank.analysis.prediction import Predictor, draws, pairs_of_masks, pairs_of_noise, repeated
from maskbank.checks import count_visible, format_size
from maskbank.errors import RecipeError
from maskbank.recipes import COLOURS, KINDS, RBN
from maskbank.recipes.base import LEAST_SIGMA, MOST_SIGMA
from maskbank.sampling.sampler import MaskSampler

Float64s = npt.NDArray[np.float64]
Grid = tuple[int, ...]

MASKS = 256  # drawn of a kind without a formula
MOST_PATCHES = 2**20  # of all of them
SPREAD = 2.3  # sigma2 / sigma1 where they are chosen: that of the middles of Table A.1's variant 5
TRIED = 24  # sigmas, before the interval that holds the aim is searched
SMALLEST, LARGEST = 0.15, 8.0  # of them, in tokens; of sigma1 where there are two
CLOSE = 0.01  # to the aim, as a share of the baseline's difficulty: reached


@dataclass(frozen=True)
class Recommendation:
    """A bank for the data: what `command` makes.

    sigma, or sigma1 and sigma2: in voxels; None where the kind has none. stretch: what multiplies them
    along each axis. difficulty: predicted. share: of the baseline's. reached: whether that is the aim.
    reachable: the smallest and largest share that any sigma of this kind reaches.
    """

    kind: str
    sigma: float | None
    sigma1: float | None
    sigma2: float | None
    stretch: tuple[float, ...]
    difficulty: float
    difficulty_error: float
    share: float
    reached: bool
    reachable: tuple[float, float]
    command: str


def dimensions(axes: int) -> int:
    """How many axes the kinds have that are made for grids with so many."""
    return axes if f"blue{axes}d" in KINDS else 2


def difficulties(predictor: Predictor, grid: Grid, ratio: float) -> dict[str, Float64s]:
    """The predicted difficulty of each kind at its defaults and of the baselines: name -> float64 (n,).

    On a grid of three axes masks of two are the same in all frames. R-BN is made for the grid of a frame.
    """
    found: dict[str, Float64s] = {}
    for kind, (_, size) in COLOURS.items():
        if len(size) in (2, len(grid)) and len(size) <= max(len(grid), 2):
            each = [predictor(pairs_of(kind, sigmas, None, grid, ratio)) for sigmas in draws(kind)]
            found[kind] = np.mean(each, 0)
    found["random"] = found[f"white{dimensions(len(grid))}d"]
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
    if len(grid) == 3 and kind.endswith("2d"):
        tokens = math.prod(grid[1:])
        share = (tokens - int(ratio * tokens)) / tokens  # as VideoMAE's tube
        return repeated(pairs_of_noise(colour, sigmas, stretch or (1.0, 1.0), grid[1:], share), grid[0])
    tokens = math.prod(grid)
    share = count_visible(tokens, ratio) / tokens
    return pairs_of_noise(colour, sigmas, stretch or (1.0,) * len(grid), grid, share)


def pairs_of_rbn(grid: Grid, ratio: float) -> Float64s | None:
    """The same of R-BN; None where a frame is too small for it."""
    frame = grid[-2:]
    tokens = math.prod(frame)
    visible = tokens - int(ratio * tokens) if len(grid) == 3 else count_visible(tokens, ratio)
    try:
        recipe = RBN(size=frame if len(frame) == 2 else (1, *frame), mask_ratio=ratio)
    except RecipeError:
        return None
    block = noise.Block(recipe, _masks(frame))
    noise.Maker(recipe, 0).make(0, block)
    values = block.items.reshape(len(block), tokens)
    masks = (values >= np.sort(values, 1)[:, -visible, None]).reshape(-1, *frame)
    pairs = pairs_of_masks(masks)
    return repeated(pairs, grid[0]) if len(grid) == 3 else pairs


def _masks(grid: Grid) -> int:
    return min(MASKS, max(8, MOST_PATCHES // math.prod(grid)))


def choose(
    predictor: Predictor,
    grid: Grid,
    ratio: float,
    kind: str,
    aim: float,
    baseline: Float64s,
    stretch: tuple[float, ...],
) -> Recommendation:
    """The bank of this kind whose masks are `aim` times as difficult as `baseline`, or nearest to it.

    Two sigmas keep the ratio of the paper's. stretch: what multiplies them along each axis.
    """
    if kind == "rbn":
        pairs = pairs_of_rbn(grid, ratio)
        if pairs is None:
            raise RecipeError(f"grid={format_size(grid)} is too small for rbn; choose another kind")
        found = predictor(pairs)
        share = float(found[0] / baseline[0])
        return Recommendation(
            kind, None, None, None, (), float(found[0]), float(standard_error(found[1:])), share,
            abs(share - aim) <= CLOSE, (share, share), command(kind, (), (), grid, ratio),
        )  # fmt: skip
    from scipy.optimize import brentq

    cls = COLOURS[kind][0]
    spread = (1.0, SPREAD)[: len(cls.sigma_names)]

    def sigmas(log_sigma: float) -> tuple[float, ...]:
        return tuple(round(math.exp(log_sigma) * factor, 4) for factor in spread)

    def shares(log_sigma: float) -> Float64s:
        return predictor(pairs_of(kind, sigmas(log_sigma), stretch, grid, ratio)) / baseline

    low = max(SMALLEST, cls.least_sigma.get(cls.sigma_names[0], LEAST_SIGMA))
    high = min(LARGEST, MOST_SIGMA / (spread[-1] * max(stretch)))
    tried = np.linspace(math.log(low), math.log(high), TRIED)
    away = np.array([float(shares(x)[0]) for x in tried]) - aim
    crossing = np.flatnonzero(away[:-1] * away[1:] <= 0)
    if len(crossing):
        k = int(crossing[0])
        best = float(brentq(lambda x: float(shares(x)[0]) - aim, tried[k], tried[k + 1], xtol=1e-3))
    else:
        best = float(tried[np.abs(away).argmin()])
    chosen = tuple(round(math.exp(best) * factor, 2) for factor in spread)
    found = predictor(pairs_of(kind, chosen, stretch, grid, ratio))
    share = float(found[0] / baseline[0])
    named = dict(zip(cls.sigma_names, chosen, strict=True))
    return Recommendation(
        kind, named.get("sigma"), named.get("sigma1"), named.get("sigma2"), stretch, float(found[0]),
        float(standard_error(found[1:])), share, abs(share - aim) <= CLOSE,
        (float(away.min() + aim), float(away.max() + aim)), command(kind, chosen, stretch, grid, ratio),
    )  # fmt: skip


def command(
    kind: str, sigmas: tuple[float, ...], stretch: tuple[float, ...], grid: Grid, ratio: float
) -> str:
    """The command line that makes the bank; items are as large as the grid, at least."""
    words = ["maskbank", "generate", kind, "--n", "10000"]
    default = KINDS[kind][1]
    own = (1, *grid)[-len(default) :]
    size = (
        own
        if kind == "rbn"
        else tuple(
            max(n, 1 << (g - 1).bit_length()) if g > 1 else 1 if len(grid) == 1 else n
            for n, g in zip(default, own, strict=True)
        )
    )
    if size != default:
        words += ["--size", format_size(size)]
    if kind == "rbn":
        words += ["--mask-ratio", f"{ratio:g}"]
    for name, sigma in zip(KINDS[kind][0].sigma_names, sigmas, strict=True):
        words += [f"--{name}", f"{sigma:g}", f"{sigma:g}"]
    if any(factor != 1.0 for factor in stretch):
        words += ["--stretch", "x".join(f"{factor:g}" for factor in stretch)]
    return " ".join([*words, "-o", f"{kind}.h5"])
