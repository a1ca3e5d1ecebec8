"""The system calls that maskbank's own code makes on a bank's file: counted, recorded, or made to fail."""

import errno
import fcntl
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import maskbank
from maskbank.bank import writer

Call = Callable[..., Any]
Act = Callable[[int, str, Call, tuple[Any, ...]], Any]

HOME = os.path.dirname(maskbank.__file__)
PLACES: dict[str, Any] = {
    **dict.fromkeys(
        (
            "open", "close", "stat", "lstat", "fstat", "ftruncate", "pread", "preadv", "pwrite",
            "fdatasync", "fsync", "link", "unlink", "replace",
        ),
        os,
    ),
    "flock": fcntl,
    "allocate": writer,
}  # fmt: skip


class Calls:
    """Replaces those calls by act(index, name, call, args). Use as a context manager."""

    def __init__(self, act: Act) -> None:
        self.act = act
        self.names: list[str] = []
        self._lock = threading.Lock()
        self._real = {name: getattr(place, name) for name, place in PLACES.items()}

    def __enter__(self) -> Self:
        for name, place in PLACES.items():
            setattr(place, name, self._over(name, self._real[name]))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, place in PLACES.items():
            setattr(place, name, self._real[name])

    def _over(self, name: str, real: Call) -> Call:
        def call(*args: Any, **settings: Any) -> Any:
            if not sys._getframe(1).f_code.co_filename.startswith(HOME):
                return real(*args, **settings)
            with self._lock:
                index = len(self.names)
                self.names.append(name)
            return self.act(index, name, lambda *a: real(*a, **settings), args)

        return call


def plain(_index: int, _name: str, call: Call, args: tuple[Any, ...]) -> Any:
    """Make the call."""
    return call(*args)


def failing(at: int, code: int, on: bool = False) -> Act:
    """Call number `at` fails with this errno; on: so do all later ones except closing."""

    def act(index: int, name: str, call: Call, args: tuple[Any, ...]) -> Any:
        if (index == at or (on and index > at)) and name != "close":
            raise OSError(code, os.strerror(code))
        return call(*args)

    return act


def short(at: int, then: int = 0) -> Act:
    """Write number `at` takes only half of its bytes; then: the next write fails with this errno.

    A write within one sector is never split: disks do not do that.
    """
    armed = False

    def act(index: int, name: str, call: Call, args: tuple[Any, ...]) -> Any:
        nonlocal armed
        if index == at and name == "pwrite":
            fd, data, offset = args
            view = memoryview(data).cast("B")
            if len(view) > 512:
                armed = then > 0
                return call(fd, view[: len(view) // 2], offset)
        if armed and index > at and name == "pwrite":
            armed = False
            raise OSError(then, os.strerror(then))
        return call(*args)

    return act


FAULTS: dict[str, tuple[int, ...]] = {
    "open": (errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EACCES),
    "close": (),
    "stat": (errno.EIO,),
    "lstat": (errno.EIO,),
    "fstat": (errno.EIO,),
    "ftruncate": (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    "pread": (errno.EIO,),
    "preadv": (errno.EIO,),
    "pwrite": (errno.EIO, errno.ENOSPC, errno.EDQUOT),
    "fdatasync": (errno.EIO, errno.ENOSPC, errno.EDQUOT),
    "fsync": (errno.EIO, errno.ENOSPC),
    "link": (errno.EIO, errno.ENOSPC, errno.EMLINK, errno.EPERM),
    "unlink": (errno.EIO,),
    "replace": (errno.EIO, errno.ENOSPC),
    "flock": (errno.EIO, errno.ENOLCK, errno.EWOULDBLOCK),
    "allocate": (errno.EIO, errno.ENOSPC, errno.EDQUOT),
}
