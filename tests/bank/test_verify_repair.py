"""verify finds and names every kind of damage; repair makes the file equal to the original."""

import random
from pathlib import Path

import h5py
import numpy as np
import pytest

import maskbank
from maskbank import files
from maskbank.bank import layout, storage
from maskbank.bank.layout import Content, lay_out
from maskbank.generation import threads
from maskbank.recipes import RBN, Green, Recipe, White
from tests.bank.forgery import forge
from tests.bank.hostile import command_line
from tests.bank.processes import Warm
from tests.conftest import Share

RECIPES: dict[str, tuple[Recipe, int]] = {
    "green2d": (Green(size=(16, 16)), 200),
    "white2d": (White(size=(5, 7), dtype="uint8"), 300),
    "rbn": (RBN(size=(16, 8)), 100),
}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise every repair takes a tenth of a second."""
    monkeypatch.setattr(threads, "_PROGRESS_SECONDS", 0.002)


@pytest.mark.parametrize("kind", list(RECIPES))
def test_every_kind_of_damage_is_named_and_repaired(kind: str, quick_path: Path, share: Share) -> None:
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
    assert "no damage in the 20 of 200 items looked at" in whole.out
    path.write_bytes(hurt)
    assert "of 20 of 200 items" in warm.maskbank("verify", path, "--sample", "10%").line(1)
    for share in ("0", "101%", "-1", "nan"):
        assert "sample=" in warm.maskbank("verify", path, "--sample", share).line(2)


def test_damage_between_the_structures_of_the_header_is_repaired(quick_path: Path) -> None:
    """In the padding between the structures, which should be zero."""
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


@pytest.mark.parametrize("kind", list(RECIPES))
def test_a_header_that_cannot_be_read_is_left_alone(kind: str, quick_path: Path, share: Share) -> None:
    """HDF5's checksums show the damage, and `rebuild` makes the bank again."""
    path = quick_path / "bank.h5"
    recipe, n = RECIPES[kind]
    maskbank.generate(path, recipe, n, seed=2**63 + 5)
    original = path.read_bytes()
    used = [
        at
        for offset, data in lay_out(Content(recipe, 2**63 + 5, n))[1]
        for at in range(offset, offset + len(data))
    ]
    random_ = random.Random(kind)
    for at in [9, 20, 40, *random_.sample(used, share(100))]:
        hurt = bytearray(original)
        hurt[at] ^= 1 << random_.randrange(8)
        path.write_bytes(hurt)
        for command in ("verify", "repair", "inspect"):
            line = command_line(command, str(path))
            assert "maskbank rebuild" in line or at < 9, line
        assert path.read_bytes() == hurt


@pytest.mark.parametrize("end", [47, 100, 9000, -1, -5000, -102_000])
def test_a_bank_that_was_cut_off_is_repaired_where_its_header_can_be_read(end: int, quick_path: Path) -> None:
    path = quick_path / "bank.h5"
    recipe, n = RECIPES["green2d"]
    maskbank.generate(path, recipe, n)
    original = path.read_bytes()
    path.write_bytes(original[:end])
    remedy = "maskbank rebuild" if end > 0 else "maskbank repair makes it whole"
    for command in ("verify", "inspect"):
        line = command_line(command, str(path))
        assert "is truncated" in line
        assert remedy in line
    said = command_line("repair", str(path))
    assert ("maskbank rebuild" in said) == (end > 0)
    assert path.read_bytes() == (original[:end] if said else original)


def test_a_partial_that_was_cut_off_is_gone_on_with(quick_path: Path) -> None:
    path, partial = quick_path / "bank.h5", quick_path / "bank.h5.partial"
    recipe, n = RECIPES["green2d"]
    maskbank.generate(path, recipe, n)
    original = path.read_bytes()
    path.unlink()
    partial.write_bytes(original[:-5000])
    assert "repeat the command that made it" in command_line("verify", str(partial))
    maskbank.generate(path, recipe, n)
    assert path.read_bytes() == original


def test_the_header_of_another_version_of_hdf5_is_no_damage(quick_path: Path) -> None:
    """h5py below 3.15 stored four times in the root group."""
    path = forge(quick_path / "bank.h5", times=True)
    before = path.read_bytes()
    assert before != (quick_path / "good.h5").read_bytes()
    assert command_line("verify", str(path)) == ""
    assert command_line("repair", str(path)) == ""
    assert path.read_bytes() == before
    found = layout.read(path)
    with open(path, "r+b") as file:
        file.seek(found.offset("noise", 3))
        file.write(b"\7\7\7")
    assert "1 of 20 items (3)" in command_line("verify", str(path))
    assert command_line("repair", str(path)) == ""
    assert path.read_bytes() == before


def what_is_no_broken_bank(folder: Path) -> dict[str, Path]:
    """Files that hold a whole bank's header, but are something else, or more."""
    recipe, n = RECIPES["green2d"]
    files = {name: folder / name for name in ("archive", "quote", "behind", "added", "newer")}
    maskbank.generate(folder / "bank.h5", recipe, n)
    bank = (folder / "bank.h5").read_bytes()
    for path in files.values():
        path.write_bytes(bank)
    files["archive"].write_bytes(bytes(512) + bank + b"precious" * 5000)
    files["quote"].write_bytes(b"notes on " + bank[4096:9000])
    files["behind"].write_bytes(b"x" + bank[1:] + b"precious")
    with h5py.File(files["added"], "r+", locking=False) as file:
        file["labels"] = np.arange(50_000)
    with h5py.File(files["newer"], "r+", locking=False) as file:
        h5py.h5a.open(file.id, b"format_version").write(np.array(2, "i8"))  # in place
    return files


@pytest.mark.parametrize("name", ["archive", "quote", "behind", "added", "newer"])
def test_nothing_is_repaired_that_is_no_broken_bank(name: str, quick_path: Path) -> None:
    path = what_is_no_broken_bank(quick_path)[name]
    before = path.read_bytes()
    assert "repair" not in command_line("verify", str(path))
    assert command_line("repair", str(path))
    assert path.read_bytes() == before


def test_a_bank_that_takes_the_name_of_a_broken_one_is_left_alone(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process replaces it between the check and the lock."""
    path = quick_path / "bank.h5"
    recipe, n = RECIPES["green2d"]
    maskbank.generate(path, recipe, n)
    hurt = bytearray(path.read_bytes())
    hurt[-1] ^= 1
    path.write_bytes(hurt)
    lock = files.lock

    def late(fd: int, name: str) -> bool:
        monkeypatch.undo()
        maskbank.generate(path, White(size=(16, 16)), 50, force=True)
        return lock(fd, name)

    monkeypatch.setattr(storage, "lock", late)
    assert "was replaced just now" in command_line("repair", str(path))
    assert maskbank.Bank(path).kind == "white2d"
    assert command_line("verify", str(path)) == ""


def test_no_disk_is_filled_because_a_header_says_so(quick_path: Path) -> None:
    """A file of some kilobytes whose header describes a bank of petabytes, with a matching fingerprint."""
    path = quick_path / "bank.h5"
    pieces = lay_out(Content(White(size=(64, 64, 64)), 0, 2**32))[1]
    with open(path, "wb") as file:
        for offset, piece in pieces:
            file.seek(offset)
            file.write(piece)
    size = path.stat().st_size
    assert "is too full: the bank needs 2,2" in command_line("repair", str(path))
    assert path.stat().st_size == size


def test_progress_says_how_many_there_are(tmp_path: Path) -> None:
    from maskbank.bank.check import verify
    from maskbank.generation.repair import repair

    path = tmp_path / "b.h5"
    told: list[tuple[int, int]] = []
    maskbank.generate(path, maskbank.White(size=(4, 4)), 40)
    verify(path, progress=lambda done, n: told.append((done, n)))
    verify(path, 0.5, lambda done, n: told.append((done, n)))
    assert told[-1] == (20, 20)
    assert (40, 40) in told
    path.write_bytes(path.read_bytes()[:-8])  # the last item is damaged
    told.clear()
    assert repair(path, progress=lambda done, n: told.append((done, n)))[:2] == (1, 40)
    assert told[-1] == (40, 40)
