"""A task of a cluster: it writes items into the bank's file. The client keeps the journal."""

import os
import socket
import time
from functools import lru_cache
from typing import NamedTuple

from maskbank.bank.layout import Layout, read
from maskbank.bank.storage import AGAIN, Array, BankFile
from maskbank.errors import BankError, MaskbankError, OutputError
from maskbank.generation.threads import Span, maker_of, write_items

Key = tuple[int, bytes]  # the last item that was missing, and random bytes in the place of its checksum


class Made(NamedTuple):
    """What a task returns."""

    pieces: list[tuple[int, Array, Array]]  # first item, checksums and sigmas
    seconds: float  # that it took


class SharedFile(BankFile):
    """A bank's file whose journal another process keeps. Use as a context manager."""

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
            raise BankError(f"cannot write {self._path}: {error.strerror}") from None
        if found != self._key[1]:
            self._close()
            raise BankError(f"{self._path} is another file than the client's of this name")
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


def make_items(path: str, key: Key, spans: list[Span]) -> Made:
    """Write these items and bring them to the disk. Done twice, it writes the same bytes.

    OutputError, with this host's name, where that fails. No items: only see whether the file can be written.
    """
    try:
        with SharedFile(path, key) as file:
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
