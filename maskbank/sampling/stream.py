"""Masks for code that knows no sample ids."""

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from maskbank.checks import integer
from maskbank.sampling.masks import Masks


class MaskStream:
    """An endless iterator of single masks, different in every process, worker, rank and run.

    Ids begin at a random place, chosen anew in each process that takes masks from it (also after a fork
    or a pickle), so no two processes share masks. What it gives cannot be had again: not resumable.
    """

    def __init__(self, sampler: Callable[[Any], Masks]) -> None:
        self.sampler = sampler
        self._lock = threading.Lock()
        self._process = -1
        self._next = 0

    def take(self, count: int) -> Masks:
        """The next `count` masks, as a batch."""
        count = integer("count", count, 0, 2**32)
        with self._lock:
            if self._process != os.getpid():
                self._process = os.getpid()
                self._next = int.from_bytes(os.urandom(8), "little") >> 2
            start = self._next
            self._next += count
        return self.sampler(np.arange(start, start + count))

    def __iter__(self) -> Iterator[Masks]:
        return self

    def __next__(self) -> Masks:
        masks = self.take(1)
        return Masks(masks.visible[0], masks.grid, masks.num_visible)

    def __reduce__(self) -> tuple[Any, ...]:
        return MaskStream, (self.sampler,)
