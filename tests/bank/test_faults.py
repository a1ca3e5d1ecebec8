"""Every call that the writer makes on its files fails in turn."""

import errno
import fcntl
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import maskbank
from maskbank.bank import layout, writer
from maskbank.bank.layout import Content
from maskbank.errors import MaskbankError
from maskbank.generation import generate as generation
from maskbank.generation import join, repair, threads
from maskbank.recipes import Green
from tests.bank.calls import FAULTS, Act, Calls, failing, plain, short
from tests.bank.hostile import command_line
from tests.bank.processes import Warm, digest
from tests.conftest import Share

RECIPE = Green(size=(16, 16))
N = 300
ARGS = ["generate", "green2d", "--size", "16x16", "-n", str(N), "-j", "2"]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a run make several writes and checkpoints."""
    monkeypatch.setattr(threads, "_WRITE_BYTES", 2**15)
    monkeypatch.setattr(threads, "CHECKPOINT_SECONDS", 0.001)
    monkeypatch.setattr(threads, "_PROGRESS_SECONDS", 0.002)  # otherwise every run takes a tenth of a second


@pytest.fixture
def original(quick_path: Path) -> bytes:
    maskbank.generate(quick_path / "original.h5", RECIPE, N)
    return (quick_path / "original.h5").read_bytes()


# calls that only ask: from Python, the OSError itself is as good an answer; the command line has its one line
ASKING = ("stat", "fstat", "pread")

Command = tuple[Callable[[], None], Callable[[], object]]


def make_commands(folder: Path, original: bytes) -> dict[str, Command]:
    """command -> (what stands in the folder before, the call). All of them make bank.h5."""
    path, partial = folder / "bank.h5", folder / "bank.h5.partial"
    found = layout.read(folder / "original.h5")
    content = found.content
    begun = bytearray(original)
    hurt = bytearray(original)
    for item in range(100, 200):
        begun[found.offsets["written"] + item] = 0
        hurt[found.offsets["noise"] + item * found.content.item_bytes] ^= 3
    parts = [folder / "0.h5", folder / "1.h5"]
    maskbank.generate(parts[0], RECIPE, N, items=(0, 77))
    maskbank.generate(parts[1], RECIPE, N, items=(77, N))

    def nothing() -> None:
        path.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)

    def some() -> None:
        nothing()
        partial.write_bytes(begun)

    def other() -> None:
        nothing()
        path.write_bytes(b"an older file")
        partial.write_bytes(b"an older partial")

    def damage() -> None:
        nothing()
        path.write_bytes(hurt)

    def make() -> object:
        return generation.write(path, content, workers=2)

    return {
        "generate": (nothing, make),
        "go on": (some, make),
        "force": (other, lambda: generation.write(path, content, workers=2, force=True)),
        "join": (nothing, lambda: generation.write(path, *join.content_and_source(path, parts), workers=2)),
        "repair": (damage, lambda: repair.repair(path, workers=2)),
    }


def suffer(act: Act, command: Command, folder: Path, original: bytes, asks: bool) -> tuple[str, list[str]]:
    """A run with a fault, then the same run without. Returns the first one's message, and its calls."""
    path = folder / "bank.h5"
    prepare, run = command
    prepare()
    before = path.read_bytes() if path.exists() else None
    threads = {*threading.enumerate()}  # other tests may have left some
    said = ""
    with Calls(act) as calls:
        try:
            run()
        except (MaskbankError, OSError) as error:
            if not asks and not isinstance(error, MaskbankError):
                raise
            said = str(error)
            assert said
            assert "\n" not in said
    assert {*threading.enumerate()} <= threads
    if path.exists() and (before is None or len(before) != len(original)):  # a repair may be half done
        assert path.read_bytes() in (original, before)
    if not said:
        assert path.read_bytes() == original
    run()
    assert path.read_bytes() == original
    return said, calls.names


def acts(names: list[str]) -> list[tuple[int, str, Act]]:
    """A fault for each call and each way that it can fail."""
    found: list[tuple[int, str, Act]] = []
    for k, name in enumerate(names):
        found += [(k, f"{name} {errno.errorcode[code]}", failing(k, code)) for code in FAULTS[name]]
        if name == "pwrite":
            found += [(k, "short", short(k)), (k, "short, then full", short(k, errno.ENOSPC))]
        if name in ("pwrite", "fdatasync", "fsync", "allocate"):
            found.append((k, "full from here on", failing(k, errno.ENOSPC, on=True)))
            found.append((k, "broken from here on", failing(k, errno.EIO, on=True)))
    return found


@pytest.mark.parametrize("command", ["generate", "go on", "force", "join", "repair"])
def test_each_call_fails_in_turn(command: str, quick_path: Path, original: bytes, share: Share) -> None:
    both = make_commands(quick_path, original)[command]
    both[0]()
    with Calls(plain) as calls:
        both[1]()
    assert (quick_path / "bank.h5").read_bytes() == original
    for name in ("pwrite", "fdatasync", "flock", "open"):
        assert name in calls.names
    cases = acts(calls.names)
    random.Random(command).shuffle(cases)
    first = list({case[1].split()[0]: case for case in cases}.values())  # one of each call
    cases = [*first, *(case for case in cases if case not in first)]
    wrong = []
    for k, what, act in cases[: share(len(cases), len(first))]:
        name = what.split()[0].rstrip(",")
        try:
            said, names = suffer(act, both, quick_path, original, name in ASKING)
            # threads make a call more or less, so it may have been another one that failed
            lost = name != "short" and names[k : k + 1] in (["pwrite"], ["fdatasync"], ["fsync"])
            assert said or not lost, "nothing is said"
        except (Exception, AssertionError) as error:
            wrong.append(f"call {k} of {len(calls.names)}: {what}: {type(error).__name__} {str(error)[:99]}")
    assert not wrong, "\n".join(wrong)


def test_the_command_line_ends_with_one_line_and_code_1(warm: Warm, quick_path: Path, share: Share) -> None:
    """In real processes: no thread is left running, and none crashes at its end."""
    path, original = quick_path / "bank.h5", quick_path / "original.h5"
    maskbank.generate(original, RECIPE, N)
    with Calls(plain) as calls:
        assert command_line(*ARGS, "-o", str(path)) == ""
    cases = [
        (k, code, on)
        for k, name in enumerate(calls.names)
        for code in FAULTS[name]
        for on in ((False, True) if name in ("pwrite", "fdatasync") else (False,))
    ]
    random.Random(7).shuffle(cases)
    codes = []
    for k, code, on in cases[: share(100)]:  # each ends as an interpreter does, which takes its time
        for old in (path, Path(f"{path}.partial")):
            old.unlink(missing_ok=True)
        ended = warm.maskbank(*ARGS, "-o", path, fail=[k, code, on], ends=True)
        codes.append(ended.code)
        if ended.code:
            ended.line(1)
        assert not path.exists() or digest(path) == digest(original)
        assert warm.maskbank(*ARGS, "-o", path).code == 0
        assert digest(path) == digest(original)
    assert 1 in codes


def test_a_kernel_that_fails_keeps_what_was_done(
    quick_path: Path, original: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maskbank import noise

    path = quick_path / "bank.h5"
    real = noise.Colours.make
    calls = 0

    def make(self: noise.Colours, first: int, block: noise.Block) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise MemoryError
        real(self, first, block)

    monkeypatch.setattr(noise.Colours, "make", make)
    threads = {*threading.enumerate()}
    with pytest.raises(MemoryError):
        maskbank.generate(path, RECIPE, N, workers=1)
    monkeypatch.setattr(noise.Colours, "make", real)
    assert {*threading.enumerate()} <= threads
    with writer.Writer(path, Content(RECIPE, 0, N)) as again:
        assert again.done.sum() >= 64
    maskbank.generate(path, RECIPE, N)
    assert path.read_bytes() == original


# file systems that lack something


def _refuse(code: int) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return call


LACKING: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "no direct writes": lambda patch: patch.delattr(os, "O_DIRECT"),
    "no fallocate": lambda patch: patch.setattr(writer, "allocate", lambda fd, size: None),
    "no hard links": lambda patch: patch.setattr(os, "link", _refuse(errno.EPERM)),
    "no locks": lambda patch: patch.setattr(fcntl, "flock", _refuse(errno.ENOTSUP)),
}


@pytest.mark.parametrize(
    "lacking", [*(pytest.param(name, marks=pytest.mark.full) for name in LACKING), "all of it"]
)
@pytest.mark.parametrize("command", ["generate", "go on", "force", "join", "repair"])
def test_a_file_system_that_lacks_something_holds_the_same_bank(
    lacking: str, command: str, quick_path: Path, original: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, run = make_commands(quick_path, original)[command]
    for name in LACKING if lacking == "all of it" else [lacking]:
        LACKING[name](monkeypatch)
    prepare()
    run()
    assert (quick_path / "bank.h5").read_bytes() == original
    assert not (quick_path / "bank.h5.partial").exists()


def test_fallocate_that_is_not_supported_is_none(
    quick_path: Path, original: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The C function itself is not supported, or is interrupted before it succeeds."""
    import ctypes

    answers = [errno.EINTR, errno.EOPNOTSUPP]

    class Library:
        class fallocate:  # the C function's name
            argtypes: Any = ()

            def __new__(cls, *_: Any) -> Any:
                ctypes.set_errno(answers.pop(0))
                return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library)
    maskbank.generate(quick_path / "b.h5", RECIPE, N)
    assert not answers
    assert (quick_path / "b.h5").read_bytes() == original


def test_reading_may_fail_too(quick_path: Path, original: bytes) -> None:
    """If a disk cannot read an item, only that item is damaged."""
    path = quick_path / "original.h5"
    found = layout.read(path)
    with open(path, "rb") as file:
        from maskbank.bank import check

        def act(_index: int, name: str, call: Callable[..., Any], args: tuple[Any, ...]) -> Any:
            if name == "pread":
                _, size, offset = args
                bad = found.offsets["noise"] + 123 * found.content.item_bytes
                if offset <= bad < offset + size:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
            return call(*args)

        with Calls(act):
            good = check.whole(file.fileno(), found)
    assert (~good).nonzero()[0].tolist() == [123]
