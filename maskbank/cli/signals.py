"""Ctrl-C and SIGTERM: the first one finishes what is in hand, the second one leaves at once."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop(threading.Event):
    """Set by the first signal. Use as a context manager around what looks at it."""

    def __init__(self) -> None:
        super().__init__()
        self.code = 130  # what the process ends with
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as in a shell's background
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.is_set():
            os._exit(128 + number)
        self.code = 128 + number
        self.set()
