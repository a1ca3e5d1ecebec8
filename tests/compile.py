"""Compiles what most tests use, while types are checked: each of pytest's processes would compile it again.

    python -m tests.compile 0 2     the first of the two halves; `bin/test` runs both

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

LINES = (2, 3, 5)  # not by transforms, as where axes are powers of two


def items(recipe: Recipe) -> None:
    """An empty block only compiles."""
    noise.maker(recipe, 0).make(0, noise.Block(recipe, 0))


def sigmas(recipe: Recipe) -> None:
    """Without items, as a bank is checked."""
    noise.sigmas(recipe, 0, 0, 1)


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


def padded(tokens: int) -> None:
    """Where some tokens are not valid."""
    MaskSampler("random", (tokens,), 0.5)([0], valid=np.arange(tokens)[None] > 0)


# Each uses its own kernels, and takes as long as the other.
HALVES: list[list[tuple[Callable[..., None], object]]] = [
    [
        *((items, Green(size=LINES, dtype=dtype)) for dtype in ("float16", "float32", "uint8")),
        *((items, Green(size=(length,) * 3)) for length in (4, 64, 128)),  # lengths of transforms
        (sigmas, Green()),
        *((items, RBN(size=size)) for size in ((8, 8), (260, 256))),
    ],
    [
        *((masks, White(size=LINES, dtype=dtype)) for dtype in ("float16", "float32", "uint8")),
        *((selection, dtype) for dtype in ("u8", "u1", "u2")),
        (padded, 8),
    ],
]


def main(first: int, step: int) -> None:
    """Every so many halves, from one on."""
    warnings.filterwarnings("ignore", "this bank has only .* different windows")
    for half in HALVES[first::step]:
        for function, argument in half:
            function(argument)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
