"""Real disks: too small, full in the middle, read-only, or gone."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import maskbank
from maskbank.bank import layout, writer
from maskbank.bank.layout import Content
from maskbank.generation import threads
from maskbank.recipes import Green, White
from tests.bank.processes import Warm, digest, noted
from tests.conftest import hold_writes

RECIPE = White(size=(16, 16, 16))  # 8 kB an item
ARGS = ["generate", "white3d", "--size", "16x16x16"]
NOBODY = 65534


@contextlib.contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """A small disk in memory, mounted for a while."""
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount")
    folder.mkdir(exist_ok=True)
    command = [mount, "-t", "tmpfs", "-o", options, "maskbank-test", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def test_a_disk_that_is_too_small_is_refused_before_anything_is_computed(warm: Warm, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with disk(tmp_path / "disk", "size=4m") as small:
        path = small / "b.h5"
        line = warm.maskbank(*ARGS, "-n", 1000, "-o", path, log=str(log)).line(1)
        needed = 1000 * RECIPE.size[0] ** 3 * 2
        free = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
        assert line == (
            f"maskbank: the disk of {path} is too full: the bank needs {needed:,} bytes, {free:,} are free; "
            "lower n, store uint8, or choose another -o"
        )
        assert noted(log) == []
        assert os.listdir(small) == []
        assert warm.maskbank(*ARGS, "-n", 400, "-o", path).code == 0
        assert warm.maskbank("verify", path).code == 0


def test_a_bank_that_just_fits_is_made_and_one_more_item_is_not(warm: Warm, tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "size=2m") as small:
        room = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
        head = layout.lay_out(Content(RECIPE, 0, 200))[0].offsets["noise"]
        most = (room - head) // 8192
        path = small / "b.h5"
        assert "too full" in warm.maskbank(*ARGS, "-n", most + 1, "-o", path).line(1)
        assert os.listdir(small) == []
        assert warm.maskbank(*ARGS, "-n", most, "-o", path).code == 0
        assert warm.maskbank("verify", path).code == 0


def test_space_is_taken_at_the_start_so_that_others_cannot_fill_the_disk(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "size=4m") as small:
        content = Content(RECIPE, 0, 400)
        with writer.Writer(small / "b.h5", content) as bank:
            with pytest.raises(OSError, match="No space"), open(small / "other", "wb") as other:
                other.write(bytes(2**22))
            threads.write_items(bank, threads.maker_of(content), 2)
            bank.publish()
        maskbank.generate(tmp_path / "b.h5", RECIPE, 400)
        assert digest(small / "b.h5") == digest(tmp_path / "b.h5")


def test_a_disk_that_others_fill_in_the_middle_keeps_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If space cannot be reserved, the run ends with one line, and goes on when there is space."""
    monkeypatch.setattr(writer, "allocate", lambda fd, size: None)
    monkeypatch.setattr(threads, "_WRITE_BYTES", 2**16)
    monkeypatch.setattr(threads, "CHECKPOINT_SECONDS", 0.001)
    with disk(tmp_path / "disk", "size=4m") as small:
        path, other = small / "b.h5", small / "other"
        full = threading.Event()

        def meddle(done: int) -> None:
            if done and not other.exists():
                with contextlib.suppress(OSError), open(other, "wb", buffering=0) as file:
                    while file.write(bytes(2**16)):
                        pass
                full.set()

        monkeypatch.setattr(threads, "_PROGRESS_SECONDS", 0.0001)
        hold_writes(monkeypatch, full)
        with pytest.raises(maskbank.OutputError, match="No space left on device; what was done is kept"):
            maskbank.generate(path, RECIPE, 400, workers=1, progress=meddle)
        assert not path.exists()
        other.unlink()
        made: list[int] = []
        maskbank.generate(path, RECIPE, 400, progress=made.append)
        maskbank.generate(tmp_path / "b.h5", RECIPE, 400)
        assert digest(path) == digest(tmp_path / "b.h5")


def test_a_disk_that_is_read_only(warm: Warm, tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "size=4m") as small:
        bank = small / "bank.h5"
        maskbank.generate(bank, RECIPE, 20)
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        line = warm.maskbank(*ARGS, "-n", 30, "-o", small / "b.h5").line(1)
        assert line == f"maskbank: cannot write {small / 'b.h5.partial'}: Read-only file system"
        assert "Read-only file system" in warm.maskbank("repair", bank).line(1)
        assert warm.maskbank("verify", bank).code == 0
        assert warm.maskbank(*ARGS, "-n", 20, "-o", bank).code == 0  # it is there already


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach, too."""
    with tempfile.TemporaryDirectory(prefix="maskbank-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_that_is_not_ours(warm: Warm, open_folder: Path) -> None:
    bank = open_folder / "bank.h5"
    maskbank.generate(bank, RECIPE, 20)
    os.chmod(bank, 0o644)
    line = warm.maskbank(*ARGS, "-n", 5, "-o", open_folder / "b.h5", user=NOBODY).line(1)
    assert line == f"maskbank: cannot write {open_folder / 'b.h5.partial'}: Permission denied"
    assert "Permission denied" in warm.maskbank("repair", bank, user=NOBODY).line(1)
    assert warm.maskbank("verify", bank, user=NOBODY).code == 0
    os.chmod(bank, 0o600)
    for command in ("verify", "inspect", "repair"):
        ended = warm.maskbank(command, bank, user=NOBODY)
        assert re.search("Permission denied|not readable", ended.line(ended.code)), ended
        assert ended.code in (1, 2)
    assert os.listdir(open_folder) == ["bank.h5"]


def test_a_folder_that_is_removed_under_the_writer(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def remove(done: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    with pytest.raises(maskbank.OutputError, match="was removed or replaced"):
        maskbank.generate(folder / "b.h5", RECIPE, 200, progress=remove)
    folder.mkdir()
    maskbank.generate(folder / "b.h5", RECIPE, 200)
    assert len(maskbank.Bank(folder / "b.h5")) == 200


def test_a_folder_that_is_moved_under_the_writer(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    moved = False

    def move(done: int) -> None:
        nonlocal moved
        if not moved:
            folder.rename(elsewhere)
            moved = True

    with pytest.raises(maskbank.OutputError, match="was removed or replaced"):
        maskbank.generate(folder / "b.h5", RECIPE, 200, progress=move)
    maskbank.generate(elsewhere / "b.h5", RECIPE, 200)
    assert os.listdir(elsewhere) == ["b.h5"]


def test_a_disk_without_room_for_a_second_bank_still_goes_on_with_the_first(tmp_path: Path) -> None:
    """The space that an earlier run of the same bank reserved counts as free."""
    with disk(tmp_path / "disk", "size=4m") as small:
        path = small / "b.h5"
        with writer.Writer(path, Content(RECIPE, 0, 400)):
            pass
        assert os.path.getsize(f"{path}.partial") > 3_000_000
        maskbank.generate(path, RECIPE, 400)
        assert len(maskbank.Bank(path)) == 400


def test_a_file_larger_than_the_process_may_write(warm: Warm, tmp_path: Path) -> None:
    path = tmp_path / "b.h5"
    ended = warm.call("tests.bank.test_disks:limited", str(path))
    assert re.search(r"takes no file of [\d,]+ bytes; lower n, store uint8", ended.result)
    assert os.listdir(tmp_path) == []


def limited(path: str) -> str:
    """The message of a process that may write only a megabyte."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
    try:
        maskbank.generate(path, Green(size=(64, 64)), 1000)
    except maskbank.OutputError as error:
        return str(error)
    return ""
