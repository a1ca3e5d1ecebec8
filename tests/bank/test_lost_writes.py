"""Power loss: any part of what was not synced may be lost, but every item marked as written is written.

A run's writes and syncs are recorded. A crash is then a moment between two of them, and a choice, for each
512-byte sector written since the last sync, of whether it reached the disk.
"""

import dataclasses
import functools
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import maskbank
from maskbank.bank import layout
from maskbank.generation import generate as generation
from maskbank.generation import join, repair, threads
from maskbank.recipes import RBN, Green, Recipe, White
from tests.bank.calls import Call, Calls
from tests.conftest import Share

SECTOR = 512
Sector = tuple[int, bytes]


@dataclasses.dataclass(frozen=True)
class Event:
    """One action of a run: what = write, size, sync (of the file), or a change of names."""

    what: str
    offset: int = 0
    data: bytes = b""


class Recorder:
    """Everything a run does to its one file."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._lock = threading.Lock()

    def __call__(self, _index: int, name: str, call: Call, args: tuple[Any, ...]) -> Any:
        if name in ("fdatasync", "fsync"):  # covers what was written before the call
            self._add(Event("sync"))
        result = call(*args)
        if name == "pwrite":
            _, data, offset = args
            self._add(Event("write", offset, bytes(memoryview(data).cast("B")[:result])))
        elif name == "ftruncate":
            self._add(Event("size", args[1]))
        elif name in ("link", "unlink", "replace"):
            self._add(Event(name))
        return result

    def _add(self, event: Event) -> None:
        with self._lock:
            self.events.append(event)


def sectors(event: Event) -> list[Sector]:
    """A write, cut into sectors, which a disk writes whole or not at all."""
    pieces = []
    at = 0
    while at < len(event.data):
        length = min(SECTOR - (event.offset + at) % SECTOR, len(event.data) - at)
        pieces.append((event.offset + at, event.data[at : at + length]))
        at += length
    return pieces


def crash(before: bytes, events: list[Event], moment: int, random_: random.Random) -> tuple[bytes, list[str]]:
    """The disk after a crash before event `moment`: (the file, the changes of its name)."""
    named = random_.random()  # drawn first: later draws depend on how far the threads had come
    disk = bytearray(before)
    unsynced: list[Event] = []
    names: list[str] = []
    for event in events[:moment]:
        if event.what == "sync":
            for written in unsynced:
                disk[written.offset : written.offset + len(written.data)] = written.data
            unsynced = []
        elif event.what == "size":  # sizes are the file system's own, and in order
            disk = disk[: event.offset].ljust(event.offset, b"\0")
        elif event.what == "write":
            unsynced.append(event)
        else:
            names.append(event.what)
    manner = random_.choice(["none", "all", "half", "few", "most", "writes", "last", "first"])
    share = {"none": 0.0, "all": 1.0, "few": 0.1, "most": 0.9}.get(manner, 0.5)
    for k, written in enumerate(unsynced):
        whole = random_.random() < 0.5
        for offset, data in sectors(written):
            kept = {
                "writes": whole,
                "last": k >= len(unsynced) // 2,
                "first": k < len(unsynced) // 2,
            }.get(manner, random_.random() < share)
            if kept:
                disk[offset : offset + len(data)] = data
    return bytes(disk), names[: int(named * (len(names) + 1))]


@dataclasses.dataclass(frozen=True)
class Run:
    """A recorded run: the file before, the events, and a call that runs it again."""

    before: bytes
    in_place: bool  # under the final name, as repair does
    events: list[Event]
    again: Callable[[Path], object]


def record(path: Path, before: bytes | None, in_place: bool, again: Callable[[Path], object]) -> Run:
    for old in (path, Path(f"{path}.partial")):
        old.unlink(missing_ok=True)
    if before is not None:
        (path if in_place else Path(f"{path}.partial")).write_bytes(before)
    recorder = Recorder()
    with Calls(recorder):
        again(path)
    return Run(before or b"", in_place, recorder.events, again)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a run make many writes and checkpoints."""
    monkeypatch.setattr(threads, "_WRITE_BYTES", 2**13)
    monkeypatch.setattr(threads, "CHECKPOINT_SECONDS", 0.0005)
    monkeypatch.setattr(threads, "_PROGRESS_SECONDS", 0.002)


RECIPES: dict[str, tuple[Recipe, int]] = {
    "green2d": (Green(size=(16, 16)), 300),
    "white2d": (White(size=(5, 7), dtype="uint8"), 600),
    "rbn": (RBN(size=(16, 8)), 400),
}


def damage(content: bytes, found: layout.Layout, random_: random.Random) -> bytes:
    """A third of the items, checksums, sigmas and flags."""
    hurt = bytearray(content)
    for item in range(found.content.n):
        if random_.random() < 0.33:
            name = random_.choice(list(found.content.tables))
            shape, dtype = found.content.tables[name]
            size = int(np.prod(shape[1:])) * dtype.itemsize
            hurt[found.offsets[name] + item * size + random_.randrange(size)] ^= random_.randint(1, 255)
    return bytes(hurt)


def begin(content: bytes, found: layout.Layout) -> bytes:
    """A bank of which the second half was never made."""
    begun = bytearray(content)
    n = found.content.n
    for name, (shape, dtype) in found.content.tables.items():
        size = int(np.prod(shape[1:])) * dtype.itemsize
        start, stop = found.offsets[name] + n // 2 * size, found.offsets[name] + n * size
        begun[start:stop] = bytes(stop - start)
    return bytes(begun)


def make_runs(folder: Path, recipe: Recipe, n: int, content: bytes) -> dict[str, Run]:
    found = layout.read(folder / "original.h5")
    path = folder / "recorded.h5"
    parts = [folder / "0.h5", folder / "1.h5"]
    maskbank.generate(parts[0], recipe, n, items=(0, n // 3))
    maskbank.generate(parts[1], recipe, n, items=(n // 3, n))

    def make(path: Path) -> object:
        return generation.write(path, layout.Content(recipe, 0, n), workers=2)

    def force(path: Path) -> object:
        return generation.write(path, layout.Content(recipe, 0, n), workers=2, force=True)

    def put_together(path: Path) -> object:
        return generation.write(path, *join.content_and_source(path, parts), workers=2)

    def make_again(path: Path) -> object:
        return repair.repair(path, workers=2)

    return {
        "generate": record(path, None, False, make),
        "go on": record(path, begin(content, found), False, make),
        "force": record(path, None, False, force),
        "join": record(path, None, False, put_together),
        "repair": record(path, damage(content, found, random.Random(8)), True, make_again),
    }


def true_claims(disk: bytes, found: layout.Layout, original: bytes, before: bytes) -> int:
    """Items that the journal says are written are written; how many those are."""
    size = found.content.item_bytes
    count = 0
    for item in range(found.content.n):
        here = found.offsets["noise"] + item * size
        flag = found.offsets["written"] + item
        if disk[flag] == 1 and not (before and before[flag] == 1):
            assert disk[here : here + size] == original[here : here + size], f"item {item}"
            count += 1
        elif before and before[here : here + size] == original[here : here + size]:
            assert disk[here : here + size] == original[here : here + size], f"item {item} was whole"
    return count


@pytest.mark.parametrize("kind", list(RECIPES))
def test_whatever_is_lost_nothing_is_claimed_that_is_not_there(
    kind: str, quick_path: Path, share: Share
) -> None:
    recipe, n = RECIPES[kind]
    maskbank.generate(quick_path / "original.h5", recipe, n)
    original = (quick_path / "original.h5").read_bytes()
    found = layout.read(quick_path / "original.h5")
    path, partial = quick_path / "bank.h5", quick_path / "bank.h5.partial"
    claims = finals = 0
    for command, run in make_runs(quick_path, recipe, n, original).items():
        events = run.events
        assert [event.what for event in events].count("sync") >= 3
        last = max(k for k, event in enumerate(events) if event.what == "write")
        for case in range(share(100)):
            random_ = random.Random(f"{kind} {command} {case}")
            # at any moment; often after the last writes, where names change; once after all
            moment = random_.randint(last if case % 3 == 0 else 0, len(events)) if case else len(events)
            disk, names = crash(run.before, events, moment, random_)
            for old in (path, partial):
                old.unlink(missing_ok=True)
            if run.in_place:
                path.write_bytes(disk)
            else:
                if "link" in names or "replace" in names:
                    finals += 1
                    assert disk == original  # whatever bears the final name is whole
                    path.write_bytes(disk)
                if names in ([], ["link"]) and moment:
                    partial.write_bytes(disk)
                if "link" in names and partial.exists():
                    partial.unlink()
                    os.link(path, partial)
            if len(disk) == len(original) and any(disk[:48]):
                claims += true_claims(disk, found, original, run.before)
            run.again(path)
            assert path.read_bytes() == original, (command, moment)
    assert claims > n
    assert finals > 0


def test_the_journal_never_comes_before_its_items(quick_path: Path) -> None:
    """The worst crash of all, at each moment: every item since the last sync lost, everything else kept."""
    recipe, n = RECIPES["green2d"]
    maskbank.generate(quick_path / "original.h5", recipe, n)
    original = (quick_path / "original.h5").read_bytes()
    found = layout.read(quick_path / "original.h5")
    for run in make_runs(quick_path, recipe, n, original).values():
        disk = bytearray(run.before)
        lost: list[Event] = []
        for event in run.events:
            if event.what == "size":
                disk = disk[: event.offset].ljust(event.offset, b"\0")
            elif event.what == "sync":
                for written in lost:
                    disk[written.offset : written.offset + len(written.data)] = written.data
                lost = []
            elif event.what == "write" and event.offset >= found.offsets["noise"]:
                lost.append(event)
            elif event.what == "write":
                disk[event.offset : event.offset + len(event.data)] = event.data
                if len(disk) == len(original):
                    true_claims(bytes(disk), found, original, run.before)
                if event.offset == 0 and not run.before:  # the superblock: the rest of the header is synced
                    assert disk[: found.offsets["crc32"]] == original[: found.offsets["crc32"]]


def test_the_rest_of_the_header_is_synced_before_the_superblock(quick_path: Path) -> None:
    recipe, n = RECIPES["green2d"]
    run = record(quick_path / "b.h5", None, False, lambda path: maskbank.generate(path, recipe, n))
    superblock = next(k for k, event in enumerate(run.events) if event.what == "write" and event.offset == 0)
    before = [event.what for event in run.events[:superblock]]
    assert before[-1] == "sync"
    assert before.count("write") >= 1


def test_the_name_comes_after_everything_is_synced(quick_path: Path) -> None:
    recipe, n = RECIPES["green2d"]
    for force in (False, True):
        again = functools.partial(generation.write, content=layout.Content(recipe, 0, n), force=force)
        what = [event.what for event in record(quick_path / f"{force}.h5", None, False, again).events]
        named = what.index("replace" if force else "link")
        written = max(k for k, name in enumerate(what) if name == "write")
        assert "sync" in what[written:named]
        assert "sync" in what[named:]  # of the folder
