"""What the workers of a cluster do: write items into the one file, of which the client keeps the journal."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

from maskbank.bank.layout import Content, Layout, read
from maskbank.bank.storage import AGAIN, BankFile
from maskbank.errors import BankError, MaskbankError, OutputError
from maskbank.generation.threads import Desk, Run, block_length, maker_of, prepare

Key = tuple[int, bytes]  # an item, and what stands in the place of its checksum
Runs = list[tuple[int, int]]  # items, (start, stop)


class Made(NamedTuple):
    """What became of a task; it is told, not raised, since not every error survives the way through Dask."""

    pieces: list[tuple[int, bytes, bytes]]  # start, checksums and sigmas
    seconds: float = 0.0  # of computing
    unfit: str = ""  # why this worker cannot write to the bank
    failed: str = ""  # what went wrong otherwise
    fatal: bool = False  # for all workers: a disk that is full or fails


class Unfit(OutputError):
    """This worker cannot write to the bank."""


class _Share(BankFile):
    """A bank's file, of which another process keeps the journal. Use as a context manager."""

    def __init__(self, path: str, key: Key) -> None:
        self._key = key
        try:
            super().__init__(_layout(path, key))
        except BankError as error:
            raise Unfit(str(error)) from None
        self._path = path

    def __enter__(self) -> "_Share":
        try:
            self._take(os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW), self._path)
        except OSError as error:
            raise Unfit(f"cannot write {self._path}: {error.strerror}") from None
        item, token = self._key
        try:
            there = os.pread(self._fd, len(token), self.layout.offset("crc32", item))
        except OSError as error:
            self._close()
            raise Unfit(f"cannot read {self._path}: {error.strerror}") from None
        if there != token:
            self._close()
            raise Unfit(f"{self._path} is another file than the client's of this name")
        return self

    def checkpoint(self) -> None:
        """Nothing: the journal is the client's."""

    def finish(self) -> list[tuple[int, bytes, bytes]]:
        """Bring the items to the disk: (start, checksums, sigmas) of what was written."""
        self._sync()
        return [(start, crcs.tobytes(), sigmas.tobytes()) for start, crcs, sigmas in self._pending]

    def _failed(self, error: OSError) -> MaskbankError:
        return OutputError(f"{socket.gethostname()} cannot write {self._name}: {error.strerror}; {AGAIN}")


@lru_cache(4)
def _layout(path: str, key: Key) -> Layout:
    """What the file is, read once for each run."""
    del key
    return read(path)


_PREPARING = threading.Lock()
_DESKS: list[tuple[Content, Desk]] = []  # free ones; kept, since memory that is touched anew costs as much


@contextlib.contextmanager
def _desk(content: Content) -> Iterator[Desk]:
    """A desk for this bank, of this process's own; those of other banks are cleared away."""
    with _PREPARING:
        _DESKS[:] = [(whose, desk) for whose, desk in _DESKS if whose == content]
        if _DESKS:
            _, desk = _DESKS.pop()
        else:
            prepare(maker_of(content), content)
            desk = Desk(maker_of(content)(), content, block_length(content, 1))
    yield desk
    _DESKS.append((content, desk))  # not after a failure, when it may be in use


def look(path: str, key: Key) -> tuple[str, str]:
    """This worker's host, and what keeps it from writing to the bank, or nothing."""
    try:
        with _Share(path, key):
            return socket.gethostname(), ""
    except MaskbankError as error:
        return socket.gethostname(), str(error)


def make_items(path: str, key: Key, runs: Runs) -> Made:
    """Make these items and bring them to the disk. Done twice, it writes the same bytes."""
    try:
        return _make_items(path, key, runs)
    except Unfit as error:
        return Made([], unfit=str(error))
    except OutputError as error:
        return Made([], failed=str(error), fatal=True)
    except Exception as error:
        return Made([], failed=f"{socket.gethostname()}: {type(error).__name__}: {error}")


def _make_items(path: str, key: Key, runs: Runs) -> Made:
    with _Share(path, key) as share, _desk(share.content) as desk, ThreadPoolExecutor(2) as pool:
        start = time.perf_counter()
        length = len(desk.blocks[0])
        pieces = (
            (low, min(low + length, stop)) for start, stop in runs for low in range(start, stop, length)
        )
        writes = Run(share, lambda: desk.source, length, pieces).compute_all(pool, desk)
        seconds = time.perf_counter() - start
        _let_the_next_begin()
        for written in writes:
            written.result()
        return Made(share.finish(), seconds)


def _let_the_next_begin() -> None:
    """Have the worker compute another task while this one waits for the disk."""
    with contextlib.suppress(ImportError, ValueError, AttributeError):  # where this is no task
        from distributed import secede

        secede()
