"""Compiles what most tests use, while types are checked: each of pytest's processes would compile it again.

    python -m tests.compile 0 2     the first of every two kernels; `bin/test` runs both halves

What is missing here is compiled by the test that needs it.
"""

import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

import maskbank
from maskbank import RBN, Green, MaskSampler, Recipe, White, noise
from maskbank.bank import check

FOURIER, LINES = (2, 4, 4), (2, 3, 5)  # two ways of filtering


def items(recipe: Recipe) -> None:
    """An empty block only compiles."""
    noise.maker(recipe, 0).make(0, noise.Block(recipe, 0))


def masks(recipe: Recipe) -> None:
    """Crops, and whole items that are resized."""
    with tempfile.TemporaryDirectory() as folder:
        bank = maskbank.generate(Path(folder) / "bank.h5", recipe, 2)
        for fit in ("crop", "resize"):
            made = MaskSampler(bank, (1, 2, 2), 0.5, fit=fit, seed=1)([0, 1])
            assert made.ids_restore.shape == (2, 4)


def selection(dtype: str) -> None:
    """Algorithm 2 on values of a type."""
    maskbank.select(np.zeros((2, 4), dtype), 2)


# such that every second one takes as long as the others
JOBS: list[tuple[Callable[..., None], object]] = [
    (items, Green(size=LINES)),
    (masks, White(size=LINES)),
    (items, RBN(size=(8, 8))),
    (items, Green(size=LINES, dtype="uint8")),
    (items, Green(size=FOURIER, dtype="float32")),
    (masks, White(size=LINES, dtype="uint8")),
    (items, Green(size=FOURIER)),
    (items, Green(size=FOURIER, dtype="uint8")),
    (masks, White(size=LINES, dtype="float32")),
    (selection, "u8"),
    (selection, "u1"),
    (selection, "u2"),
]


def main(first: int, step: int) -> None:
    """Every so many jobs, from one on."""
    warnings.filterwarnings("ignore", "this bank has only .* different windows")
    check.crc32()
    for function, argument in JOBS[first::step]:
        function(argument)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
