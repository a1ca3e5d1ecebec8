"""What the tests of masks share."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from maskbank import (
    Bank,
    Masks,
    Recipe,
    RecipeError,
)
from maskbank.bank import layout

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]

VIDEO = (8, 14, 14)
LEAST_P = 1e-6
Z = 5.0
IDS = [0, 1, 2, 3, 19, 20, 21, 12345, 2**32 - 1, 2**32, 2**63 - 1]

BASELINES: dict[str, dict[str, Any]] = {
    "random": {"grid": (4, 6, 7), "mask_ratio": 0.8},
    "random per frame": {"grid": (4, 6, 7), "mask_ratio": 0.8, "per_frame": True},
    "tube": {"grid": (4, 6, 7), "mask_ratio": 0.8},
    "grid": {"grid": (4, 6, 7), "mask_ratio": 0.75},
    "block": {"grid": (4, 6, 7), "mask_ratio": 0.6},
    "multiblock": {"grid": (4, 6, 7), "mask_ratio": 0.7},
    "inverse-block": {"grid": (4, 6, 7), "mask_ratio": 0.7},
    "span": {"grid": (9, 8), "mask_ratio": 0.5},
    "time": {"grid": (4, 6, 7), "mask_ratio": 0.6},
    "frequency": {"grid": (9, 8), "mask_ratio": 0.6},
    "timefreq": {"grid": (9, 8), "mask_ratio": (0.3, 0.4)},
}


def forge(path: Path, recipe: Recipe, items: Array, first: int = 0, n: int | None = None) -> Bank:
    """A bank's file with known items; with a larger n, what follows is a hole of zeros."""
    made, pieces = layout.lay_out(layout.Content(recipe, 0, len(items) if n is None else n, first))
    with open(path, "wb") as file:
        os.ftruncate(file.fileno(), made.size)
        for offset, piece in pieces:
            os.pwrite(file.fileno(), piece, offset)
        os.pwrite(file.fileno(), b"\1" * made.content.n, made.offsets["written"])
        os.pwrite(file.fileno(), items.astype(recipe.dtype).tobytes(), made.offsets["noise"])
    return Bank(path)


def same(a: Masks, b: Masks) -> None:
    np.testing.assert_array_equal(a.visible, b.visible)
    np.testing.assert_array_equal(a.masked, b.masked)
    np.testing.assert_array_equal(a.ids_keep, b.ids_keep)
    np.testing.assert_array_equal(a.ids_restore, b.ids_restore)


def child(code: str, *arguments: object) -> Any:
    """What a process of its own prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_masks(masks: Masks, count: int) -> None:
    """The four arrays say the same."""
    np.testing.assert_array_equal(masks.masked, ~masks.visible)
    for visible, keep, restore in zip(masks.visible, masks.ids_keep, masks.ids_restore, strict=True):
        np.testing.assert_array_equal(keep, np.flatnonzero(visible))
        shuffled = np.concatenate([keep, np.flatnonzero(~visible)])  # both ascend
        np.testing.assert_array_equal(shuffled[restore], np.arange(len(visible)))
        np.testing.assert_array_equal((restore >= count), ~visible)  # what MAE makes of it


def one_line(call: Callable[[], object], *words: str) -> None:
    """It is refused by one line that says what was given and what is allowed."""
    with pytest.raises(RecipeError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 300
    for word in words:
        assert word in text, text
