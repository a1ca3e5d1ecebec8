"""Writes to a bank's file in place: items, and the journal that records which of them are written."""

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from maskbank.bank import check
from maskbank.bank.layout import Layout, read, read_open
from maskbank.errors import OutputError
from maskbank.files import ALIGNMENT, check_space, check_system, lock, sync

Array = npt.NDArray[Any]

AGAIN = "what was done is kept: run the same command again to go on"


class BankFile:
    """A bank's file, open for writing in place. Use as a context manager.

    `write` may be called from many threads. done: bool (items,), which items are whole already.
    """

    def __init__(self, layout: Layout, name: str) -> None:
        self.layout = layout
        self.content = layout.content
        self.done = np.zeros(layout.content.n, bool)
        self._pending: list[tuple[int, Array, Array]] = []
        self._lock = threading.Lock()
        self._queue = threading.Lock()
        self._fd = -1
        self._direct_fd = -1
        self._name = name

    def __enter__(self) -> Self:
        try:
            with self._reported():
                self._open()
        except BaseException:
            self._close()
            raise
        return self

    def _open(self) -> None:
        """Open the file for writing, and `_take` it. Subclasses say how."""
        raise NotImplementedError

    def _take(self, fd: int) -> None:
        """Write to this open file from now on, past the page cache where the system can."""
        self._fd = fd
        with contextlib.suppress(OSError, AttributeError):  # not every system or file system has O_DIRECT
            direct = os.open(self._name, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
            if os.path.samestat(os.fstat(direct), os.fstat(fd)):
                self._direct_fd = direct
            else:  # the name leads to another file by now
                os.close(direct)

    def write(self, start: int, items: Array, sigmas: npt.NDArray[np.float32], crcs: list[int]) -> None:
        """Write items start, start + 1, ... (counted from the bank's first), and `record` them.

        items: (count, ...) as stored. sigmas: float32 (count, 0 to 2). crcs: zlib.crc32 of each item.
        """
        self._write_items(items.reshape(-1).view(np.uint8).data, self.layout.offset("noise", start))
        self.record(start, np.array(crcs, "<u4"), sigmas.copy())

    def record(self, start: int, crcs: Array, sigmas: Array) -> None:
        """Have the next checkpoint enter these items in the journal."""
        with self._lock:
            self._pending.append((start, crcs, sigmas))

    def checkpoint(self) -> None:
        """Sync what was written, then enter it in the journal, which is part of the file."""
        with self._lock:
            pending, self._pending = self._pending, []
        if not pending:
            return
        self._sync()
        for start, crcs, sigmas in pending:
            self._pwrite(crcs.tobytes(), self.layout.offset("crc32", start))
            if sigmas.shape[1]:
                self._pwrite(sigmas.tobytes(), self.layout.offset("sigma", start))
            self._pwrite(b"\x01" * len(crcs), self.layout.offset("written", start))

    def _write_items(self, data: memoryview, offset: int) -> None:
        """Write past the page cache where the system can: it saves a copy, and memory.

        Direct writes take whole pages, so the last items of a bank may go through the page cache. There,
        threads that write to one file only wait for each other, so they take turns.
        """
        if self._direct_fd >= 0 and offset % ALIGNMENT == 0 and len(data) % ALIGNMENT == 0:
            with self._reported():
                try:
                    if os.pwrite(self._direct_fd, data, offset) == len(data):
                        return
                except OSError as error:
                    if error.errno != errno.EINVAL:  # EINVAL: this disk takes no direct write of this size
                        raise
        with self._queue:
            self._pwrite(data, offset)

    def _pwrite(self, data: Any, offset: int) -> None:
        view = memoryview(data)
        with self._reported():
            while view:
                done = os.pwrite(self._fd, view, offset)
                view = view[done:]
                offset += done

    def _sync(self) -> None:
        with self._reported():
            sync(self._fd)

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """Raise OutputError in place of an OSError; once the file is open, it says how to go on."""
        try:
            yield
        except OSError as error:
            more = f"; {AGAIN}" if self._fd >= 0 else ""
            raise OutputError(f"cannot write {self._name}: {error.strerror}{more}") from None

    def _close(self) -> None:
        for fd in (self._direct_fd, self._fd):
            if fd >= 0:
                os.close(fd)
        self._direct_fd = self._fd = -1

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if value is not None and not isinstance(value, OutputError):
                with contextlib.suppress(OutputError):  # whatever went wrong elsewhere, keep what is done
                    self.checkpoint()
        finally:
            self._close()


class RepairFile(BankFile):
    """Writes items of a finished bank again."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        check_system()
        # Refuses what is no bank, before anything is opened for writing
        super().__init__(read(path, cut_off=True), os.path.abspath(path))

    def _open(self) -> None:
        self._take(os.open(self._name, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
        lock(self._fd, self._name)
        with open(self._fd, "rb", buffering=0, closefd=False) as file:
            locked = read_open(file, self._name, cut_off=True)
        if locked != self.layout or not os.path.samestat(os.stat(self._name), os.fstat(self._fd)):
            raise OutputError(f"{self._name} was replaced just now; run the same command again")
        if os.fstat(self._fd).st_size < self.layout.size:
            check_space(self._name, self.layout.size, self._name, "free some space")
            os.ftruncate(self._fd, self.layout.size)
        self.done = check.whole(self._fd, self.layout)

    def repair_header(self) -> int:
        """Write zeros where `header_damage` finds other bytes. Returns how many there were."""
        places = check.header_damage(self._fd, self.layout)
        for place in places:
            self._pwrite(b"\0", place)
        self._sync()
        return len(places)

    def finish(self) -> None:
        """Sync the journal, which is up to date when all items are written."""
        self._sync()
