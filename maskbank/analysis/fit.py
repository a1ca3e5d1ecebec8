"""Chooses a mask for data: `fit` measures the correlation of tokens and recommends a kind and its sigmas.

It compares masks by the difficulty that `prediction` gives. Losses of training rank masks in the same order
(Spearman 0.98 to 1.00 over eight masks, with the data's own correlation), but it is no bound on them.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from maskbank.analysis.clips import CLIPS, Tokens, measure, opened, patch_for
from maskbank.analysis.covariance import Correlation, Grid, standard_error
from maskbank.analysis.kinds import difficulties
from maskbank.analysis.prediction import Predictor
from maskbank.analysis.recommendation import Recommendation, recommend, stretch_for
from maskbank.analysis.spectrum import Spectrum, radial
from maskbank.analysis.typical import typical
from maskbank.checks import check_ratio, choice, count_visible, integer
from maskbank.errors import RecipeError
from maskbank.recipes import KINDS
from maskbank.sampling.windows import Float64s

AIM = 0.9  # of the baseline's difficulty; the best masks of Tables 6, 7 and A.3 have 0.90 to 0.94 of it
RATIOS = {3: 0.9, 2: 0.8, 1: 0.8}  # VideoMAE's, AudioMAE's; and MAE's
IMAGES = 0.75
AXES = {3: ("time", "height", "width"), 2: ("rows", "columns"), 1: ("time",)}  # names, by the number of axes
# Reconstruction losses of Tables 6 and 7, by the axes of a token grid
PAPER: dict[int, dict[str, float]] = {
    3: {"blue3d": 0.41, "green3d": 0.60, "tube": 0.67, "green2d": 0.73, "red3d": 0.85},
    2: {"blue2d": 0.45, "rbn": 0.49, "random": 0.52, "green2d": 0.57, "red2d": 0.61},
}


@dataclass(frozen=True, eq=False)
class Fit:
    """What `fit` found.

    source: "measured", or where the correlation of typical data is from; then `clips` is 0 and errors are
    NaN. length, length_error: correlation lengths in tokens, slowest axis first; NaN along an axis of one
    token. difficulty, difficulty_error: predicted, of each kind at its defaults and of each baseline. order:
    their names, the easiest first. ties: names within two standard errors of the one before. aim: the wanted
    share of the baseline's difficulty. spectrum: radial, of the data. correlation: of the data, by distance.
    """

    source: str
    clips: int
    patch: tuple[int, ...]
    grid: Grid
    mask_ratio: float
    target: str
    length: tuple[float, ...]
    length_error: tuple[float, ...]
    difficulty: dict[str, float]
    difficulty_error: dict[str, float]
    ties: tuple[str, ...]
    baseline: str
    aim: float
    recommend: Recommendation
    spectrum: Spectrum = field(repr=False)
    correlation: Float64s = field(repr=False)

    @property
    def order(self) -> list[str]:
        """The names of `difficulty`, the easiest first."""
        return sorted(self.difficulty, key=lambda name: self.difficulty[name])

    def to_dict(self) -> dict[str, Any]:
        """All fields but `correlation`, as values for JSON: lists for tuples, None for what is not known."""
        chosen, found = self.recommend, self.spectrum
        recommended = {
            name: value
            for name, value in (asdict(chosen) | {"agrees": chosen.agrees}).items()
            if value is not None or not name.startswith("sigma")
        }
        spectrum = {"frequency": found.frequency.tolist(), "power": found.power.tolist()}
        values = vars(self) | {"recommend": recommended, "spectrum": spectrum}
        del values["correlation"]
        known: dict[str, Any] = _known(values)
        return known


def _known(value: Any) -> Any:
    """Lists for tuples and None for NaN."""
    if isinstance(value, dict):
        return {key: _known(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_known(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def fit(
    clips: Any = None,
    patch: tuple[int, ...] | None = None,
    mask_ratio: float | None = None,
    *,
    kind: str | None = None,
    aim: float = AIM,
    target: str = "raw",
    like: str | None = None,
    most: int = CLIPS,
    progress: Callable[[int, int], None] | None = None,
) -> Fit:
    """Measure data, predict how hard each kind of mask makes their reconstruction, and recommend a bank.

    clips: an array (N, T, H, W), (N, T, H, W, C), (N, H, W), (N, H, W, C), of spectrograms (N, T, F), of
    signals (N, L), or (N, L, C) with a patch of one axis; or the name of a .npy, .npz or HDF5 file of one
    (FILE.h5:DATASET), or several names. patch: the pixels of a token; the default is 2x16x16 for video, else
    16x16 or 16. mask_ratio: the default is 0.9 for video, 0.75 for images with channels, else 0.8. kind: the
    kind to recommend; the default is green3d for video, else blue2d or blue1d. aim: the difficulty to reach,
    as a share of the usual baseline's: tube for video, else random. target: "raw" pixels, or "normalised" per
    patch where the loss normalises them. like: "video", "image" or "audio" takes typical data
    (`analysis.typical`) instead of clips, and gives no errors. most: how many clips to read, evenly spaced.
    progress: called with the number of clips that are done, and of all.

    Raises RecipeError for arguments that cannot be used, MaskbankError for files that cannot be read.
    """
    if not (isinstance(aim, int | float) and 0.0 < aim < math.inf):
        raise RecipeError(f"aim={aim!r} is no share of the baseline's difficulty; give a number, as 0.9")
    choice("target", target, ("raw", "normalised"))
    if (clips is None) is (like is None):
        raise RecipeError("give clips, or like='video', 'image' or 'audio' where there are none")
    if like is not None:
        entry, correlation = typical(like)
        if patch is not None or target != "raw":
            raise RecipeError(f"like={like} has patches and a target of its own; leave out patch and target")
        patch, grid, usual, source = entry.patch, entry.grid, entry.mask_ratio, entry.source
    else:
        sources = opened(clips)
        shape = sources[0].shape
        patch, source = patch_for(shape, patch), "measured"
        tokens = Tokens(shape, patch, target == "normalised")
        grid = tokens.grid
        usual = IMAGES if len(grid) == 2 and len(shape) == 3 else RATIOS[len(grid)]
    ratio = check_ratio(usual if mask_ratio is None else mask_ratio)
    count_visible(math.prod(grid), ratio)
    kind = _check_kind(kind, len(grid))
    if like is None:
        correlation = measure(sources, tokens, integer("most", most, 1), progress)
    return _judge(correlation, patch, ratio, target, kind, float(aim), source)


def _check_kind(kind: str | None, axes: int) -> str:
    """The given kind, or the usual one for clips of so many axes. RecipeError where its masks do not fit."""
    if kind is None:
        return "green3d" if axes == 3 else f"blue{axes}d"
    fitting = [name for name in KINDS if name == "rbn" or name.endswith((f"{min(axes, 2)}d", f"{axes}d"))]
    choice("kind", kind, tuple(name for name in fitting if not name.startswith("white")))
    return kind


def _judge(
    found: Correlation, patch: tuple[int, ...], ratio: float, target: str, kind: str, aim: float, source: str
) -> Fit:
    """Compute everything that follows from the correlation."""
    predictor = Predictor(found.values)
    grid = found.grid
    each = difficulties(predictor, grid, ratio)
    baseline = "tube" if len(grid) == 3 else "random"
    order = sorted(each, key=lambda name: float(each[name][0]))
    ties = tuple(
        name
        for before, name in pairwise(order)
        if float(each[name][0] - each[before][0]) <= 2.0 * float(standard_error(each[name] - each[before]))
    )
    stretch = stretch_for(found)[-2:] if kind.endswith("2d") else stretch_for(found)
    chosen = recommend(predictor, grid, ratio, kind, aim, baseline, each[baseline], stretch)
    return Fit(
        source=source,
        clips=found.clips,
        patch=patch,
        grid=grid,
        mask_ratio=ratio,
        target=target,
        length=tuple(map(float, found.lengths[0])),
        length_error=tuple(map(float, standard_error(found.lengths))),
        difficulty={name: float(each[name][0]) for name in order},
        difficulty_error={name: float(standard_error(each[name])) for name in order},
        ties=ties,
        baseline=baseline,
        aim=aim,
        recommend=chosen,
        spectrum=radial(np.fft.fftn(found.values[0]).real),
        correlation=found.values[0],
    )
