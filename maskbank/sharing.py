"""What the workers of a cluster do: write items into the one file, of which the client keeps the journal."""

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from maskbank.bank.inplace import AGAIN, BankFile
from maskbank.bank.layout import Layout, read
from maskbank.errors import BankError, MaskbankError, OutputError
from maskbank.filling import Run, Source, block_length, maker_of, prepare

Key = tuple[int, bytes]  # an item, and what stands in the place of its checksum
Runs = list[tuple[int, int]]  # items, (start, stop)
Made = list[tuple[int, bytes, bytes]]  # start, checksums and sigmas of pieces


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
        if os.pread(self._fd, len(token), self._offset("crc32", item)) != token:
            self._close()
            raise Unfit(f"{self._path} is another file than the client's of this name")
        return self

    def checkpoint(self) -> None:
        """Nothing: the journal is the client's."""

    def finish(self) -> Made:
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


_SOURCES = threading.local()
_PREPARING = threading.Lock()


def _source(share: _Share) -> Source:
    """What makes this bank's items, kept by each thread for the next task."""
    content = share.content
    if getattr(_SOURCES, "content", None) != content:
        with _PREPARING:
            prepare(maker_of(content), content)
            _SOURCES.source, _SOURCES.content = maker_of(content)(), content
    source: Source = _SOURCES.source
    return source


def look(path: str, key: Key) -> tuple[str, str]:
    """This worker's host, and what keeps it from writing to the bank, or nothing."""
    try:
        with _Share(path, key):
            return socket.gethostname(), ""
    except MaskbankError as error:
        return socket.gethostname(), str(error)


def make_items(path: str, key: Key, runs: Runs) -> Made:
    """Make these items and bring them to the disk. Done twice, it writes the same bytes."""
    with _Share(path, key) as share, ThreadPoolExecutor(2, thread_name_prefix="maskbank") as pool:
        source = _source(share)
        length = block_length(share.content, 1)
        pieces = (
            (low, min(low + length, stop)) for start, stop in runs for low in range(start, stop, length)
        )
        Run(share, lambda: source, length, pieces).work(pool)
        return share.finish()
