"""Masks for code that knows no sample ids."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from multiprocessing.context import get_spawning_popen
from typing import TYPE_CHECKING, Any

import numpy as np

from maskbank.checks import check_seed, integer
from maskbank.errors import BankError, RecipeError
from maskbank.kernels.streams import STREAMS
from maskbank.sampling.masks import Masks
from maskbank.sampling.selection import philox

if TYPE_CHECKING:
    from maskbank.sampling.sampler import MaskSampler

WORKERS = 1024  # that are counted one by one


class MaskStream:
    """An endless iterator of masks: next(stream) is a single one, stream.take(count) a batch.

    Without a seed, ids begin at a random number, drawn anew in each process that takes masks (also after a
    fork or a pickle): no two processes or runs have the same masks, and none can be had again.

    seed: 0 to 2**64 - 1. The same launch then has the same masks. Ids begin at a number that is drawn from
    the seed, the rank, the worker and how often that worker was started, so ranks, the workers of a loader,
    and its workers of the next epoch all differ. A worker is one of torch's DataLoader, or else a child
    process of multiprocessing. rank: by default torch.distributed's, where its group is initialised when
    the stream is made; else $RANK; else 0.

    A copy or a pickle of a seeded stream goes on from the same state. Raises RecipeError for seed and rank.
    """

    def __init__(self, sampler: "MaskSampler", seed: int | None = None, rank: int | None = None) -> None:
        self.sampler = sampler
        self.seed = None if seed is None else check_seed(seed)
        self.rank = 0 if seed is None else process_rank(rank)
        self._process = -1
        self._first = self._next = 0
        self.__setstate__({"_started": None if seed is None else [0] * WORKERS})  # how often, by worker

    def take(self, count: int, **options: Any) -> Masks:
        """The next `count` masks, as a batch. options: of the sampler's call, as valid= or num_visible=."""
        count = integer("count", count, 0, 2**32)
        start = self._advance(count)
        return self.sampler(np.arange(start, start + count), **options)

    def __iter__(self) -> Iterator[Masks]:
        return self

    def __next__(self) -> Masks:
        return self.sampler(self._advance(1))  # a Python integer: the fast way through `check_ids`

    def _advance(self, count: int) -> int:
        """The first of the next `count` ids."""
        with self._lock:
            if self._process != os.getpid():
                self._begin()
            start = self._next
            self._next += count
        return start

    def _begin(self) -> None:
        """Draw where the ids of this process begin."""
        self._process = os.getpid()
        if self.seed is None:
            self._next = int.from_bytes(os.urandom(8), "little") >> 2
            return
        worker = process_worker()
        times = self._started[worker % WORKERS]
        self._started[worker % WORKERS] += 1
        self._first = self._next = first_id(self.seed, self.rank, worker, times)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: what `load_state_dict` needs to go on. Same for all ranks.

        Of workers in other processes it holds how often they were started, so call it between epochs.
        """
        if self.seed is None:
            raise RecipeError("a stream without a seed cannot be resumed; make it with seed=")
        with self._lock:
            started = {worker: times for worker, times in enumerate(self._started) if times}
            here = self._process == os.getpid()
            taken = self._next - self._first if here else None
        return {"seed": self.seed, "started": started, "taken": taken, "sampler": self.sampler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was called; BankError where that stream had other masks."""
        if state.get("seed") != self.seed or self.seed is None:
            raise BankError(f"the checkpoint's stream has seed={state.get('seed')}, this one {self.seed}")
        self.sampler.load_state_dict(state["sampler"])
        with self._lock:
            self._started[:] = [state["started"].get(worker, 0) for worker in range(WORKERS)]
            self._process = -1
            if state["taken"] is not None:
                self._started[process_worker() % WORKERS] -= 1
                self._begin()
                self._next += state["taken"]

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"]
        if self.seed is None:
            state["_process"] = -1
        elif get_spawning_popen() is None:  # a copy counts by itself; a new worker counts with its parent
            state["_started"] = list(self._started)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        if isinstance(self._started, list):  # memory that a worker shares with its parent
            self._started: Any = multiprocessing.get_context("spawn").RawArray("Q", self._started)

    def __repr__(self) -> str:
        seed = "without a seed" if self.seed is None else f"seed={self.seed}, rank={self.rank}"
        return f"<MaskStream: {seed}, of {self.sampler!r}>"


def first_id(seed: int, rank: int, worker: int, times: int) -> int:
    """Where the ids of a seeded stream begin: below 2**62, another for each rank, worker and start."""
    low, high, _, _ = philox((rank, STREAMS, worker, times), (seed & 0xFFFFFFFF, seed >> 32))
    return int(low | high << 32) >> 2


def process_rank(rank: int | None = None) -> int:
    """The given rank; else torch.distributed's, where a group is initialised; else $RANK; else 0."""
    if rank is None:
        torch = sys.modules.get("torch")
        if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
            return int(torch.distributed.get_rank())
        text = os.environ.get("RANK", "0")
        if not text.isdecimal():
            raise RecipeError(f"the environment's RANK={text!r} is not a whole number; give rank=")
        rank = int(text)
    return integer("rank", rank, 0, 2**24)


def process_worker() -> int:
    """1, 2, ... in a worker of torch's DataLoader or a child process of multiprocessing; else 0."""
    torch = sys.modules.get("torch")
    worker = None if torch is None else torch.utils.data.get_worker_info()
    if worker is not None:
        return int(worker.id) + 1
    identity: tuple[int, ...] = getattr(multiprocessing.current_process(), "_identity", ())
    return identity[-1] if identity else 0
