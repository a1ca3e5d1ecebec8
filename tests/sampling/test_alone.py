"""Masks where something is missing: Numba, SciPy, Linux's calls for files, a place for compiled kernels."""

import hashlib
import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskbank import Bank, MaskSampler
from maskbank.kernels import jit, select
from maskbank.sampling import masks
from tests.sampling.common import child

ALONE = """
import hashlib, json, os, pickle, sys
for name in ("numba", "llvmlite", "scipy", "click", "tqdm", "fcntl"):
    sys.modules[name] = None
for name in ("fdatasync", "O_DIRECTORY"):
    delattr(os, name)
import numpy as np
import maskbank
from maskbank.adapters.videomae import MaskingGenerator
from maskbank.sampling.export import export
with open(sys.argv[1], "rb") as file:
    sampler = pickle.load(file)
assert MaskingGenerator(sampler, (8, 14, 14), 0.9, seed=1)().sum() == 1408
masks = sampler(range(50))
export(sys.argv[2], sampler, 50, mark="visible")
assert np.array_equal(np.load(sys.argv[2]), masks.visible)
print(json.dumps(hashlib.sha256(masks.visible.tobytes() + masks.ids_restore.tobytes()).hexdigest()))
"""


def test_numpy_and_h5py_are_enough(samplers: dict[str, MaskSampler], tmp_path: Path) -> None:
    """Masks, streams and exports, also on a system that has none of Linux's calls for files."""
    sampler = samplers["crop"]
    (tmp_path / "sampler").write_bytes(pickle.dumps(sampler))
    made = sampler(range(50))
    expected = hashlib.sha256(made.visible.tobytes() + made.ids_restore.tobytes()).hexdigest()
    assert child(ALONE, tmp_path / "sampler", tmp_path / "masks.npy") == expected


UNKEPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
import maskbank
from maskbank.kernels import select
from maskbank.sampling import masks
sampler = maskbank.MaskSampler(sys.argv[1], (4, 6, 7), 0.8)
found, compiled = [], []
for start in range(0, masks.TWIN_CALLS + 2):
    visible = sampler(start).visible
    if start < 3 or start >= masks.TWIN_CALLS - 1:
        found.append([start, visible.tobytes().hex()])
        compiled.append(len(select.crop_masks.signatures))
print(json.dumps([found, compiled]))
"""


def test_kernels_that_cannot_be_kept_select_after_some_calls_of_their_twin(
    banks: dict[str, Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the next test sees in a process that compiles them."""
    sampler = MaskSampler(banks["green3d"], (4, 6, 7), 0.8)
    expected = [sampler(start).visible for start in range(6)]
    crop, calls = select.crop_masks, []

    def crop_masks(*given: Any) -> None:
        calls.append(start)
        crop(*given)

    monkeypatch.setattr(select, "crop_masks", crop_masks)
    monkeypatch.setattr(jit, "KEPT", False)
    monkeypatch.setattr(masks, "TWIN_CALLS", 4)
    monkeypatch.setattr(masks, "_calls", itertools.count())
    masks._kernels.cache_clear()
    try:
        for start in range(6):
            np.testing.assert_array_equal(sampler(start).visible, expected[start])
    finally:
        masks._kernels.cache_clear()
    assert calls == [4, 5]


@pytest.mark.full
def test_what_cannot_be_kept_is_compiled_late(
    banks: dict[str, Bank], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker in a read-only container has its first masks at once; one that makes many, fast ones."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "folder"))
    found, compiled = child(UNKEPT, banks["green3d"].path)
    assert compiled == [0, 0, 0, 0, 1, 1]
    sampler = MaskSampler(banks["green3d"], (4, 6, 7), 0.8)
    for start, visible in found:
        assert sampler(start).visible.tobytes().hex() == visible
