"""verify finds and names every kind of damage; repair makes the file equal to the original."""

import random
from pathlib import Path

import numpy as np
import pytest

import maskbank
from maskbank import filling
from maskbank.bank import layout
from maskbank.recipes import RBN, Green, Recipe, White
from tests.storage.conftest import Share
from tests.storage.hostile import command_line
from tests.storage.processes import Warm

RECIPES: dict[str, tuple[Recipe, int]] = {
    "green2d": (Green(size=(16, 16)), 200),
    "white2d": (White(size=(5, 7), dtype="uint8"), 300),
    "rbn": (RBN(size=(16, 8)), 100),
}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or every repair takes a tenth of a second."""
    monkeypatch.setattr(filling, "_PROGRESS_SECONDS", 0.002)


@pytest.mark.parametrize("kind", list(RECIPES))
def test_every_kind_of_damage_is_named_and_mended(kind: str, quick_path: Path, share: Share) -> None:
    recipe, n = RECIPES[kind]
    path = quick_path / "bank.h5"
    maskbank.generate(path, recipe, n, seed=5)
    original = path.read_bytes()
    found = layout.read(path)
    random_ = random.Random(kind)
    for _ in range(share(100)):
        hurt = bytearray(original)
        items = sorted(random_.sample(range(n), random_.choice([1, 2, 20, n])))
        for item in items:
            name = random_.choice(list(found.content.tables))
            shape, dtype = found.content.tables[name]
            row = int(np.prod(shape[1:])) * dtype.itemsize
            hurt[found.offsets[name] + item * row + random_.randrange(row)] ^= random_.randint(1, 255)
        path.write_bytes(hurt)
        line = command_line("verify", str(path))
        assert f"{len(items):,} of {n:,} items (" in line
        runs = np.split(items, np.flatnonzero(np.diff(items) != 1) + 1)
        texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
        if len(texts) <= 10:
            assert f"({', '.join(texts)})" in line
        else:
            assert f"({', '.join(texts[:10])} and {len(texts) - 10} more ranges)" in line
        assert command_line("repair", str(path)) == ""
        assert path.read_bytes() == original
        assert command_line("verify", str(path)) == ""


def test_a_sample_finds_what_it_looks_at(warm: Warm, quick_path: Path) -> None:
    path = quick_path / "bank.h5"
    recipe, n = RECIPES["green2d"]
    maskbank.generate(path, recipe, n)
    found = layout.read(path)
    hurt = bytearray(path.read_bytes())
    for item in range(0, n, 2):
        hurt[found.offsets["noise"] + 512 * item] ^= 1
    whole = warm.maskbank("verify", path, "--sample", "10%")
    assert "20 of 200 items" in whole.out
    path.write_bytes(hurt)
    assert "of 20 of 200 items" in warm.maskbank("verify", path, "--sample", "10%").line(1)
    for share in ("0", "101%", "-1", "nan", "x"):
        assert f"sample={share}" in warm.maskbank("verify", path, "--sample", share).line(2)


def test_a_damaged_header_that_can_be_read_around_is_mended(quick_path: Path) -> None:
    """Padding between the structures, where nothing should stand."""
    path = quick_path / "bank.h5"
    recipe, n = RECIPES["green2d"]
    maskbank.generate(path, recipe, n)
    original = path.read_bytes()
    offsets = layout.read(path).offsets
    for at in (offsets["crc32"] - 1, offsets["written"] - 1, offsets["noise"] - 1, offsets["crc32"] + 4 * n):
        hurt = bytearray(original)
        hurt[at] = 7
        path.write_bytes(hurt)
        assert "1 bytes of its header" in command_line("verify", str(path))
        assert command_line("repair", str(path)) == ""
        assert path.read_bytes() == original
