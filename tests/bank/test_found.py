"""Faults that the campaigns found and that were then corrected: one test each."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import maskbank
from maskbank.bank import layout, writer
from maskbank.bank.layout import Content
from maskbank.generation import generate as generation
from maskbank.generation import join, rebuild, threads
from maskbank.recipes import Green
from tests.bank.calls import Call, Calls
from tests.bank.forgery import forge
from tests.bank.hostile import command_line

RECIPE = Green(size=(8, 8, 8))
N = 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    maskbank.generate(tmp_path / "bank.h5", RECIPE, N)
    return tmp_path / "bank.h5"


def test_force_leaves_the_bank_alone_where_a_kill_left_both_its_names(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 between link and unlink: the .partial is the bank itself, and must not be emptied."""
    os.link(path, f"{path}.partial")
    before = path.read_bytes()
    seen = []

    def stop(*_: Any) -> None:
        seen.append(path.read_bytes() == before)
        raise KeyboardInterrupt

    monkeypatch.setattr(generation, "write_items", stop)
    with pytest.raises(KeyboardInterrupt):
        maskbank.generate(path, RECIPE, N, seed=1, force=True)
    assert seen == [True]
    assert len(maskbank.Bank(path)) == N


def test_a_second_name_that_a_kill_left_is_taken_away(path: Path) -> None:
    os.link(path, f"{path}.partial")
    assert not generation.write(path, Content(RECIPE, 0, N))
    assert os.listdir(path.parent) == ["bank.h5"]


def test_a_partial_without_a_superblock_that_is_not_ours_is_kept(path: Path) -> None:
    """A file of the bank's size that begins with zeros, as a run leaves one that ended early."""
    head = layout.read(path).offsets["crc32"]
    partial = path.rename(f"{path}.partial")
    theirs = bytearray(partial.read_bytes())
    theirs[:head] = bytes(head)
    theirs[head - 1] = 1
    partial.write_bytes(theirs)
    with pytest.raises(maskbank.OutputError, match="start anew with force=True, or choose another path"):
        maskbank.generate(path, RECIPE, N)
    assert partial.read_bytes() == theirs


def test_a_partial_that_was_replaced_is_not_published_in_the_place_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "bank.h5"
    ours, theirs = Content(RECIPE, 0, N), Content(RECIPE, 1, N)
    with writer.Writer(path, ours) as one:
        threads.write_items(one, threads.maker_of(ours), 1)
        os.unlink(one.partial)  # as a user does who takes it for a leftover
        with writer.Writer(path, theirs), pytest.raises(maskbank.OutputError):
            one.publish()
    assert not path.exists()


def test_a_link_to_a_partial_bank_does_not_cost_the_bank(path: Path) -> None:
    maskbank.generate(path, RECIPE, N)
    partial = path.with_name(path.name + ".partial")
    path.rename(partial)
    path.symlink_to(partial)
    assert not generation.write(path, Content(RECIPE, 0, N))
    assert maskbank.Bank(path).content.n == N
    path.unlink()
    partial.unlink()


def test_verify_names_damage_of_the_header_alone(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(layout.read(path).offsets["crc32"] - 1)
        file.write(b"\7")
    assert "is damaged: 1 bytes of its header; maskbank repair" in command_line("verify", str(path))


def test_repair_never_makes_an_unusual_header_unreadable(tmp_path: Path) -> None:
    """With offsets that the format allows, though the writer never chooses them."""
    forged = forge(tmp_path / "forged.h5", alignment=8192)
    assert maskbank.Bank(forged)[:].tobytes()
    command_line("repair", str(forged))
    assert len(maskbank.Bank(forged)) == N


@pytest.mark.parametrize(("seed", "first"), [(-1, 0), (0, -1), (0, 2**64 - 1), (0, 2**64 - 10), (0, 2**63)])
def test_seeds_and_first_items_out_of_range_are_refused(seed: int, first: int, tmp_path: Path) -> None:
    attributes = {
        "seed": np.int64(seed),
        "first": np.int64(first) if first < 0 else np.uint64(first),
        "fingerprint": np.bytes_(Content(RECIPE, seed, N, first).fingerprint),
    }
    forged = forge(tmp_path / "forged.h5", attributes=attributes, data=False)
    with pytest.raises(maskbank.BankError):
        layout.read(forged)


@pytest.mark.parametrize("sigma1", ["[1{0},2]", "1{0}"])
def test_a_sigma_that_no_float_holds_is_refused(sigma1: str, tmp_path: Path) -> None:
    recipe = '{"boundary":"wrap","dtype":"float16","sigma1":S,"sigma2":[1,3],"size":[8,8,8]}'
    recipe = recipe.replace("S", sigma1.format("0" * 400))
    forged = forge(tmp_path / "forged.h5", attributes={"recipe": np.bytes_(recipe)}, data=False)
    with pytest.raises(maskbank.BankError):
        layout.read(forged)
    line = '{"fingerprint":"x","first":0,"kind":"green3d","n":3,"numbers_version":1,"seed":0,"recipe":'
    with pytest.raises(maskbank.MaskbankError):
        rebuild.content_of(line + recipe + "}")


def test_join_refuses_a_part_whose_sigmas_are_damaged(tmp_path: Path) -> None:
    parts = [tmp_path / "0.h5", tmp_path / "1.h5"]
    maskbank.generate(parts[0], RECIPE, N, items=(0, 10))
    maskbank.generate(parts[1], RECIPE, N, items=(10, 20))
    with open(parts[1], "r+b") as file:
        file.seek(layout.read(parts[1]).offsets["sigma"] + 4)
        file.write(b"\1\2")
    with pytest.raises(maskbank.BankError, match="is damaged"):
        generation.write(tmp_path / "joined.h5", *join.content_and_source(tmp_path / "joined.h5", parts))


def test_a_half_written_bank_under_the_final_name_is_not_called_done(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(layout.read(path).offsets["written"] + 3)
        file.write(b"\0")
    args = ["generate", "green3d", "--size", "8x8x8", "-n", str(N), "-o", str(path)]
    assert "repair" in command_line(*args)


@pytest.mark.parametrize(
    ("name", "command"),
    [("pread", "verify"), ("pread", "repair"), ("fstat", "inspect")],
)
def test_a_disk_that_fails_where_it_is_asked_gets_one_line(name: str, command: str, path: Path) -> None:
    def act(index: int, called: str, call: Call, args: tuple[Any, ...]) -> Any:
        if called == name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return call(*args)

    args = [command, str(path)]
    with Calls(act):
        assert "Input/output error" in command_line(*args)


def test_a_file_that_is_replaced_while_it_is_opened_is_not_mixed_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never the header of one file with the items of the other."""
    maskbank.generate(path.parent / "other.h5", RECIPE, N, seed=9)
    real = layout.read

    def read(name: Any) -> layout.Layout:
        found = real(name)
        if (path.parent / "other.h5").exists():
            os.replace(path.parent / "other.h5", path)
        return found

    monkeypatch.setattr(layout, "read", read)
    try:
        bank = maskbank.Bank(path)
    except maskbank.BankError:
        return
    from maskbank import noise

    assert bank[0].tobytes() == noise.item(RECIPE, bank.seed, 0).tobytes()
