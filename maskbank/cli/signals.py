"""Ctrl-C and SIGTERM: after the first one a command finishes the items in hand; the second ends it."""

import contextlib
import os
import signal
import threading
from types import FrameType
from typing import Any

from maskbank.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Interrupted):
    """A command was stopped by a signal; `code` is the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Stop(threading.Event):
    """An event that the first signal sets, within this context manager. The work looks at it."""

    def __init__(self) -> None:
        super().__init__()
        self.code = 130  # the exit code of the process
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # ignored in a shell's background
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.is_set():
            _answer("stopped at once; run the same command again to go on")
            os._exit(128 + number)
        self.code = 128 + number
        self.set()
        _answer("stopping: finishing the items in hand; once more stops at once")


def _answer(text: str) -> None:
    """Print a line on stderr. Python's buffers are not used: the interrupted code may be writing to them."""
    with contextlib.suppress(OSError):
        os.write(2, ("\n" * os.isatty(2) + f"maskbank: {text}\n").encode())
