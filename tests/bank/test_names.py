"""Names and folders that a bank may have, and systems without some functions."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import maskbank
from maskbank.bank import layout
from maskbank.bank.layout import Content
from maskbank.bank.writer import Writer
from maskbank.recipes import White
from tests.bank.hostile import command_line
from tests.bank.processes import Warm

RECIPE = White(size=(4, 4))


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nd/", "not the name of a file"),
        ("-", "not the name of a file"),
        ("", "not the name of a file"),
        ("b.h5.partial", "unfinished file"),
        ("b.npy", "let it end in .h5"),
        ("b.PNG", "let it end in .h5"),
        ("nowhere/b.h5", "there is no folder"),
    ],
)
def test_names_that_mislead_are_refused_before_anything_is_made(
    name: str, words: str, force: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(maskbank.OutputError, match=words):
        maskbank.generate(name, RECIPE, 3, force=force)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["b", "b.hdf5", "b.h5", "b.v2", "b.bank"])
def test_other_names_are_fine(name: str, tmp_path: Path) -> None:
    assert len(maskbank.generate(tmp_path / name, RECIPE, 3)) == 3


def test_masks_are_not_exported_under_the_name_of_a_bank(tmp_path: Path) -> None:
    maskbank.generate(tmp_path / "b.h5", RECIPE, 3)
    sampler = maskbank.MaskSampler(str(tmp_path / "b.h5"), grid=(4, 4), mask_ratio=0.5)
    from maskbank.sampling.export import export

    for name in (tmp_path / "m.h5", tmp_path / "m.npz", f"{tmp_path}/ne/"):
        with pytest.raises(maskbank.OutputError, match="name"):
            export(name, sampler, 3)
    assert os.listdir(tmp_path) == ["b.h5"]


@pytest.mark.parametrize("force", [False, True])
def test_a_symbolic_link_is_followed_as_open_does(force: bool, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "b.h5", tmp_path / "link.h5"
    link.symlink_to(target)
    if force:
        target.write_text("old")
    else:
        target.write_text("old")
        with pytest.raises(maskbank.OutputError, match="not an HDF5 file"):
            maskbank.generate(link, RECIPE, 3)
        target.unlink()
    maskbank.generate(link, RECIPE, 3, force=force)
    assert link.is_symlink()
    assert not target.is_symlink()
    assert len(maskbank.Bank(target)) == 3
    assert os.listdir(tmp_path / "there") == ["b.h5"]


@pytest.mark.parametrize("start", [48, 5000])
def test_a_foreign_file_that_begins_with_zeros_is_not_taken_for_an_unfinished_bank(
    start: int, tmp_path: Path
) -> None:
    partial = tmp_path / "b.h5.partial"
    size = layout.lay_out(Content(RECIPE, 0, 3))[0].size
    for content in (bytes(start) + b"precious", (bytes(start) + b"precious").ljust(size, b"\0")):
        partial.write_bytes(content)
        with pytest.raises(maskbank.OutputError, match="force=True"):
            maskbank.generate(tmp_path / "b.h5", RECIPE, 3)
        assert partial.read_bytes() == content
    for content in (b"", bytes(size)):  # what a killed run leaves
        partial.write_bytes(content)
        assert len(maskbank.generate(tmp_path / "b.h5", RECIPE, 3)) == 3
        (tmp_path / "b.h5").unlink()


def test_an_unfinished_bank_is_gone_on_with_and_not_repaired(tmp_path: Path) -> None:
    with Writer(tmp_path / "b.h5", Content(RECIPE, 0, 3)):
        pass
    line = command_line("verify", str(tmp_path / "b.h5.partial"))
    assert "is unfinished: 3 of 3 items (0-2); repeat the command that made it" in line


def test_a_bank_that_cannot_be_mapped(warm: Warm, tmp_path: Path) -> None:
    maskbank.generate(tmp_path / "b.h5", White(size=(64, 64, 64)), 64)
    said = warm.call("tests.bank.test_names:opened", str(tmp_path / "b.h5"), memory=2**24).result
    assert said == f"cannot map the 33,583,104 bytes of {tmp_path / 'b.h5'}: Cannot allocate memory"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this hint")
def test_a_bank_that_fits_the_memory_is_read_in_large_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maskbank.generate(tmp_path / "b.h5", RECIPE, 3)

    def hinted() -> bool:
        bank = maskbank.Bank(tmp_path / "b.h5")
        (mapped,) = Path("/proc/self/smaps").read_text().split(str(tmp_path / "b.h5"))[1:]
        assert len(bank) == 3
        return " hg " in mapped.split("VmFlags:")[1].splitlines()[0] + " "

    assert hinted()
    monkeypatch.setattr(os, "sysconf", lambda _: 4)
    assert not hinted()


def opened(path: str) -> str:
    try:
        maskbank.Bank(path)
    except maskbank.BankError as error:
        return str(error)
    return ""


def test_a_bank_is_opened_without_touching_the_plugins_of_the_process(tmp_path: Path) -> None:
    """Another thread may read a file that needs them."""
    path = tmp_path / "b.h5"
    maskbank.generate(path, RECIPE, 3)
    code = f"""if True:
        import sys, h5py, maskbank
        h5py.h5pl.append(b"/tmp/plugins")
        seen, size = set(), h5py.h5pl.size()
        sys.setprofile(lambda frame, event, arg: seen.add(getattr(arg, "__qualname__", "")))
        maskbank.Bank({str(path)!r})
        sys.setprofile(None)
        assert not [name for name in seen if "h5pl" in name], seen
        assert h5py.h5pl.size() == size
    """
    subprocess.run([sys.executable, "-c", code], check=True)


LACKING = """if True:
    import os, sys
    for name in ("fcntl", "numba", "scipy", "resource", "pwd", "grp", "termios"):
        sys.modules[name] = None
    for name in ("fdatasync", "pread", "preadv", "pwrite", "geteuid", "statvfs", "link", "sched_getaffinity",
                 "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_DIRECT", "O_DIRECTORY"):
        if hasattr(os, name):
            delattr(os, name)
    import maskbank
    bank = maskbank.Bank(sys.argv[1])
    masks = maskbank.MaskSampler(bank, grid=(4, 4), mask_ratio=0.5)(range(8))
    assert masks.visible.sum() == 64
    for make in (lambda: maskbank.generate(sys.argv[1] + "2", "white2d", 3),
                 lambda: maskbank.Bank(sys.argv[1], cache_dir="cache")):
        try:
            make()
        except maskbank.MaskbankError as error:
            print(error)
"""


def test_banks_are_read_where_there_are_no_locks_and_no_compiler(tmp_path: Path) -> None:
    """Windows, for example."""
    path = tmp_path / "b.h5"
    maskbank.generate(path, RECIPE, 3)
    done = subprocess.run(
        [sys.executable, "-c", LACKING, path], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert "needs numba, which is not installed" in lines[0], lines
    assert "on Linux and macOS" in lines[1], lines
    assert os.listdir(tmp_path) == ["b.h5"]


def test_without_fdatasync_files_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS."""
    monkeypatch.delattr(os, "fdatasync")
    assert len(maskbank.generate(tmp_path / "b.h5", RECIPE, 3)) == 3


def test_other_programs_see_no_times(tmp_path: Path) -> None:
    maskbank.generate(tmp_path / "b.h5", RECIPE, 3)
    with h5py.File(tmp_path / "b.h5") as file:
        assert {h5py.h5o.get_info(file[name].id).mtime for name in ("/", *file)} == {0}
        assert np.issubdtype(file["noise"].dtype, np.float16)
