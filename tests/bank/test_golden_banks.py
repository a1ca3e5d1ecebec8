"""Banks of every kind, frozen as files: they open, are whole, and are made again byte for byte."""

from pathlib import Path

import numpy as np
import pytest

import maskbank
from maskbank.recipes import KINDS
from tests.golden import make_banks


def frozen(name: str) -> Path:
    return make_banks.FOLDER / f"{name}.h5"


def test_every_kind_is_frozen() -> None:
    assert {path.stem for path in make_banks.FOLDER.glob("*.h5")} == set(make_banks.COMMANDS)
    assert {maskbank.Bank(frozen(name)).kind for name in make_banks.COMMANDS} == set(KINDS)


@pytest.mark.parametrize("name", make_banks.COMMANDS)
def test_a_frozen_bank_is_read_and_made_again(name: str, tmp_path: Path) -> None:
    bank = maskbank.Bank(frozen(name))
    assert bank[len(bank) - 1].shape == bank.shape[1:]
    assert np.isfinite(np.asarray(bank[:], np.float64)).all()
    make_banks.make(name, tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == frozen(name).read_bytes()


@pytest.mark.parametrize("name", make_banks.COMMANDS)
def test_nothing_is_wrong_with_a_frozen_bank(name: str) -> None:
    from maskbank.cli import main

    with pytest.raises(SystemExit) as end:
        main(["verify", str(frozen(name))])
    assert end.value.code == 0
