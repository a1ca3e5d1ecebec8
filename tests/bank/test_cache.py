"""cache_dir: one checked copy for all processes of a machine."""

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

import maskbank
from maskbank.bank import layout
from maskbank.recipes import White
from tests.bank.conftest import Share
from tests.bank.processes import Warm

RECIPE = White(size=(16, 16, 16))
N = 2000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "bank.h5"
    maskbank.generate(path, RECIPE, N)
    return path


def opened(path: str, folder: str) -> list[Any]:
    """In a process of its own: what it got, and the inode of what it reads."""
    bank = maskbank.Bank(path, cache_dir=folder)
    copies = [name for name in os.listdir(folder) if name.endswith(".h5")]
    inode = os.stat(os.path.join(folder, copies[0])).st_ino
    return [len(bank), bank.fingerprint, bank[-1].tobytes() == maskbank.Bank(path)[-1].tobytes(), inode]


OPENED = "tests.bank.test_cache:opened"


def test_eight_processes_make_one_copy(warm: Warm, source: Path, quick_path: Path) -> None:
    job = {"call": OPENED, "args": [str(source), str(quick_path)]}
    results = [ended.result for ended in warm.together([job] * 8)]
    assert all(result == results[0] for result in results)
    assert results[0][:3] == [N, maskbank.Bank(source).fingerprint, True]
    copies = [name for name in os.listdir(quick_path) if not name.endswith(".lock")]
    assert copies == [f"maskbank-{results[0][1]}.h5"]
    assert (quick_path / copies[0]).read_bytes() == source.read_bytes()


def test_the_copying_process_may_be_killed(warm: Warm, source: Path, quick_path: Path, share: Share) -> None:
    args = [str(source), str(quick_path)]
    length = warm.call(OPENED, *args).seconds
    copy = next(quick_path.glob("*.h5"))
    kills = share(50)
    for k in range(kills):
        copy.unlink(missing_ok=True)
        ended = warm.call(OPENED, *args, signals=[(1.1 * length * (k + 1) / kills, 9)])
        assert ended.code in (0, -9)
        if copy.exists():
            assert copy.read_bytes() == source.read_bytes()
        assert warm.call(OPENED, *args).result[0] == N


def test_a_source_that_changed_is_copied_anew(source: Path, quick_path: Path) -> None:
    path = quick_path / "bank.h5"
    shutil.copy(source, path)
    before = maskbank.Bank(path, cache_dir=quick_path / "cache")
    maskbank.generate(path, RECIPE, N, seed=1, force=True)
    after = maskbank.Bank(path, cache_dir=quick_path / "cache")
    assert after.fingerprint != before.fingerprint
    assert after[5].tobytes() == maskbank.Bank(path)[5].tobytes() != before[5].tobytes()
    assert pickle.loads(pickle.dumps(after)).cache_dir == str(quick_path / "cache")
    with pytest.raises(maskbank.BankError, match="now holds bank"):
        pickle.loads(pickle.dumps(before))


def test_a_damaged_source_is_never_a_copy(source: Path, quick_path: Path) -> None:
    path = quick_path / "bank.h5"
    shutil.copy(source, path)
    with open(path, "r+b") as file:
        file.seek(layout.read(path).offsets["noise"] + 8192 * 77 + 5)
        file.write(b"\1\2\3")
    with pytest.raises(maskbank.BankError, match=r"item 77 of .* does not have its checksum"):
        maskbank.Bank(path, cache_dir=quick_path / "cache")
    assert [name for name in os.listdir(quick_path / "cache") if not name.endswith(".lock")] == []


def test_a_folder_that_cannot_hold_the_copy_gets_one_line(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folders = [tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")]
    for folder in folders:
        with pytest.raises(maskbank.BankError, match="choose another folder, or leave it out") as caught:
            maskbank.Bank(source, cache_dir=folder)
        assert "\n" not in str(caught.value)
