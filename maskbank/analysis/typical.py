"""Correlations of tokens of typical data, for `fit` without data: sums of exp(-d), and their sources."""

from dataclasses import dataclass

import numpy as np

from maskbank.analysis.covariance import Correlation, exponential, lengths, possible
from maskbank.checks import choice


@dataclass(frozen=True)
class Typical:
    """Typical data of one kind, cut into the usual patches.

    terms: of their correlation, (weight, lengths in tokens along each axis). The weights add up to 1.
    """

    patch: tuple[int, ...]
    grid: tuple[int, ...]
    mask_ratio: float
    terms: tuple[tuple[float, tuple[float, ...]], ...]
    source: str


TYPICAL = {
    "video": Typical(
        (2, 16, 16), (8, 14, 14), 0.9,
        ((1.0, (4.0, 2.0, 2.0)),),
        "assumed, since it predicts the order of the losses in the paper's Tables 6 and 7",
    ),
    "image": Typical(
        (16, 16), (14, 14), 0.75,
        ((0.5, (1.0, 1.0)), (0.5, (9.0, 9.0))),
        "measured on photographs of scikit-image and scikit-learn; falls slowly, as in Field (1987)",
    ),
    "audio": Typical(
        (16, 16), (64, 8), 0.8,
        ((0.21, (1.7, 0.6)), (0.66, (1.0, 4.5)), (0.13, (20.0, 0.1))),
        "measured on log-mel spectrograms of 96 clips of words, spoken by espeak-ng in 18 voices",
    ),
}  # fmt: skip


def typical(name: str) -> tuple[Typical, Correlation]:
    """An entry of the table and its correlation, without clips and errors; or RecipeError."""
    choice("like", name, tuple(TYPICAL))
    entry = TYPICAL[name]
    values = np.sum([weight * exponential(entry.grid, axes) for weight, axes in entry.terms], 0)
    found = possible(values)
    return entry, Correlation(entry.grid, 0, found[None], lengths(found, entry.grid)[None])
