"""A task of a cluster: it writes items into the one file, of which the client keeps the journal."""

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

from maskbank.bank.layout import Layout, read
from maskbank.bank.storage import AGAIN, Array, BankFile
from maskbank.errors import MaskbankError, OutputError
from maskbank.generation.threads import Run, Span, Workspace, block_length, maker_of, prepare

Key = tuple[int, bytes]  # the last item that was missing, and random bytes in the place of its checksum
_SHARED = "give a path that all workers see and can write to"


class Made(NamedTuple):
    """What a task returns."""

    pieces: list[tuple[int, Array, Array]]  # first item, checksums and sigmas
    seconds: float  # of computing


class SharedFile(BankFile):
    """A bank's file, of which another process keeps the journal. Use as a context manager."""

    def __init__(self, path: str, key: Key) -> None:
        super().__init__(_layout(path, key))
        self._path = path
        self._key = key

    def __enter__(self) -> "SharedFile":
        try:
            self._take(os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW), self._path)
            found = os.pread(self._fd, 4, self.layout.offset("crc32", self._key[0]))
        except OSError as error:
            self._close()
            raise OutputError(f"cannot write {self._path}: {error.strerror}; {_SHARED}") from None
        if found != self._key[1]:
            self._close()
            raise OutputError(f"{self._path} is another file than the client's of this name; {_SHARED}")
        return self

    def checkpoint(self) -> None:
        """Nothing: the journal is the client's."""

    def finish(self) -> list[tuple[int, Array, Array]]:
        """Bring the items to the disk: (first item, checksums, sigmas) of what was written."""
        self._sync()
        return self._pending

    def _failed(self, error: OSError) -> MaskbankError:
        return OutputError(f"cannot write {self._path}: {error.strerror}; {AGAIN}")


@lru_cache(4)
def _layout(path: str, key: Key) -> Layout:
    """What the file is, read once for each run."""
    del key
    return read(path)


_COMPILING = threading.Lock()
_WORKSPACES = threading.local()  # kept from task to task: memory that is touched for the first time is slow


def _workspace(file: SharedFile) -> Workspace:
    """This thread's workspace for a bank; that of another bank is given up."""
    content = file.content
    if getattr(_WORKSPACES, "content", None) != content:
        _WORKSPACES.content = None
        with _COMPILING:
            prepare(maker_of(content), content)
        _WORKSPACES.workspace = Workspace(maker_of(content)(), content, block_length(content, 1))
    _WORKSPACES.content = None  # after a failure, writes may still use it
    workspace: Workspace = _WORKSPACES.workspace
    return workspace


def make_items(path: str, key: Key, spans: list[Span]) -> Made:
    """Write these items and bring them to the disk. Done twice, it writes the same bytes.

    OutputError, with this host's name, where that fails. No items: only see whether the file can be written.
    """
    try:
        with SharedFile(path, key) as file:
            return _make_items(file, spans) if spans else Made([], 0.0)
    except Exception as error:
        text = str(error) if isinstance(error, MaskbankError) else f"{type(error).__name__}: {error}"
        raise OutputError(f"worker {socket.gethostname()}: {text}") from None


def _make_items(file: SharedFile, spans: list[Span]) -> Made:
    workspace = _workspace(file)
    start = time.perf_counter()
    length = len(workspace.blocks[0])
    pieces = ((low, min(low + length, stop)) for first, stop in spans for low in range(first, stop, length))
    run = Run(file, lambda: workspace.source, length, pieces)
    with ThreadPoolExecutor(2) as pool:
        writes = run.compute_all(pool, workspace)
        seconds = time.perf_counter() - start
        for written in writes:
            written.result()
    _WORKSPACES.content = file.content
    return Made(file.finish(), seconds)
