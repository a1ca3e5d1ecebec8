"""The task of a cluster's worker: it writes items to the bank's file. The client keeps the journal."""

import os
import socket
import time
from typing import NamedTuple

from maskbank.bank.layout import read
from maskbank.bank.storage import Array, BankFile
from maskbank.errors import BankError, MaskbankError, OutputError
from maskbank.generation.threads import Span, maker_of, write_items

Mark = tuple[int, bytes]  # as `Writer.mark` returns it: the last missing item, and random bytes


class Made(NamedTuple):
    """What a task returns."""

    pieces: list[tuple[int, Array, Array]]  # first item, checksums and sigmas
    seconds: float  # how long it took


class SharedFile(BankFile):
    """A bank's file whose journal another process keeps."""

    def __init__(self, path: str, mark: Mark) -> None:
        super().__init__(read(path), path)
        self._item, self._bytes = mark

    def _open(self) -> None:
        try:
            self._take(os.open(self._name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW))
            found = os.pread(self._fd, 4, self.layout.offset("crc32", self._item))
        except OSError as error:
            raise BankError(f"cannot write {self._name}: {error.strerror}") from None
        if found != self._bytes:
            raise BankError(f"{self._name} is not the client's file of this name")

    def checkpoint(self) -> None:
        """Do nothing: the client keeps the journal."""

    def finish(self) -> list[tuple[int, Array, Array]]:
        """Sync the items. Returns (first item, checksums, sigmas) for each block that was written."""
        self._sync()
        return self._pending


def make_items(path: str, mark: Mark, spans: list[Span]) -> Made:
    """Write these items and sync them. A second run of the task writes the same bytes.

    Without spans, only checks that the file can be written. OutputError, with this host's name, where
    anything fails.
    """
    try:
        with SharedFile(path, mark) as file:
            start = time.perf_counter()
            write_items(file, maker_of(file.content), 1, spans=spans)
            return Made(file.finish(), time.perf_counter() - start)
    except BankError as error:
        text = f"{error}; give a path that all workers see and can write to"
    except MaskbankError as error:
        text = str(error)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
    raise OutputError(f"worker {socket.gethostname()}: {text}")
