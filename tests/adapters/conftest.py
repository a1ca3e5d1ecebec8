"""A bank and a sampler of it."""

from pathlib import Path

import pytest

import maskbank


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> maskbank.Bank:
    path: Path = tmp_path_factory.mktemp("torch") / "white.h5"
    return maskbank.generate(path, maskbank.White(size=(8, 16, 16)), n=20)


@pytest.fixture(scope="module")
def sampler(bank: maskbank.Bank) -> maskbank.MaskSampler:
    return maskbank.MaskSampler(bank, (4, 14, 14), 0.9, seed=1)
