"""cache_dir: one checked copy for all processes of a machine."""

import os
import pickle
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

import maskbank
from maskbank.bank import cache, layout
from maskbank.generation import repair
from maskbank.recipes import Green, White
from tests.bank.processes import Warm
from tests.conftest import Share

RECIPE = White(size=(16, 16, 16))
N = 1000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "bank.h5"
    maskbank.generate(path, RECIPE, N)
    return path


def opened(path: str, folder: str) -> list[Any]:
    """Run in a separate process: the item that it got, and the inode of the file that it reads."""
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
    assert copies == [f"maskbank-{os.geteuid()}-{results[0][1]}.h5"]
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


def test_a_copy_is_made_anew_where_the_original_was_repaired(tmp_path: Path) -> None:
    """Damaged sigmas are copied, because only items are checked when a copy is made."""
    path = tmp_path / "bank.h5"
    good = maskbank.generate(path, Green(size=(16, 16)), 20).sigma
    with open(path, "r+b") as file:
        file.seek(layout.read(path).offset("sigma", 3))
        file.write(b"\1\2\3\4")
    hurt = maskbank.Bank(path, cache_dir=tmp_path / "cache").sigma
    repair.repair(path)
    again = maskbank.Bank(path, cache_dir=tmp_path / "cache").sigma
    assert good is not None
    assert hurt is not None
    assert again is not None
    assert again.tobytes() == good.tobytes() != hurt.tobytes()


@pytest.mark.parametrize("suffix", ["", ".partial", ".lock"])
@pytest.mark.parametrize("trap", ["link", "pipe", "folder", "file"])
def test_traps_under_the_names_of_a_copy(trap: str, suffix: str, warm: Warm, tmp_path: Path) -> None:
    """In a folder where others can write: no link is followed, no pipe waited for, no file trusted."""
    path, folder = tmp_path / "bank.h5", tmp_path / "cache"
    bank = maskbank.generate(path, RECIPE, 20)
    folder.mkdir()
    name = folder / f"maskbank-{os.geteuid()}-{bank.fingerprint}.h5{suffix}"
    precious = tmp_path / "precious"
    precious.write_text("precious")
    if trap == "link":
        name.symlink_to(precious)
    elif trap == "pipe":
        os.mkfifo(name)
    elif trap == "folder":
        name.mkdir()
    else:
        shutil.copy(path, name)
        with open(name, "r+b") as file:
            file.seek(100)
            file.write(b"evil" * 30)
    ended = warm.call("tests.bank.test_cache:opened_or_refused", str(path), str(folder), limit=20.0)
    assert not ended.late
    assert ended.result in ("right", "refused")
    if (trap, suffix) in (("link", ""), ("link", ".partial"), ("pipe", ".partial"), ("file", "")):
        assert ended.result == "right"
    assert precious.read_text() == "precious"


def test_a_link_that_appears_while_a_copy_begins_is_not_followed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    monkeypatch.setattr(cache, "check_space", lambda name, *_, **__: os.symlink(precious, name))
    assert opened_or_refused(str(source), str(tmp_path / "cache")) == "refused"
    assert precious.read_text() == "precious"


def opened_or_refused(path: str, folder: str) -> str:
    try:
        bank = maskbank.Bank(path, cache_dir=folder)
    except maskbank.BankError as error:
        return "refused" if "choose another folder, or leave it out" in str(error) else str(error)
    return "right" if bank[:].tobytes() == maskbank.Bank(path)[:].tobytes() else "wrong"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_two_users_share_a_folder_and_neither_reads_the_others_copy(warm: Warm, source: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="maskbank-") as folder:
        os.chmod(folder, 0o1777)
        path = shutil.copy(source, folder)
        os.chmod(path, 0o644)
        call = "tests.bank.test_cache:opened_or_refused"
        before = os.umask(0o077)
        try:
            assert warm.call(call, path, folder).result == "right"
        finally:
            os.umask(before)
        mine = Path(folder) / f"maskbank-0-{maskbank.Bank(path).fingerprint}.h5"
        theirs = Path(folder) / f"maskbank-65534-{maskbank.Bank(path).fingerprint}.h5"
        shutil.copy(mine, theirs)
        theirs.chmod(0o644)  # valid and readable, but another user owns it, and this one may not replace it
        assert warm.call(call, path, folder, user=65534).result == "refused"
        theirs.unlink()
        assert warm.call(call, path, folder, user=65534).result == "right"
        assert theirs.stat().st_uid == 65534
        assert mine.stat().st_mode & 0o777 == theirs.stat().st_mode & 0o777 == 0o600
