"""Items into a bank's file, over the cores of this machine."""

import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from maskbank.checks import check_workers
from maskbank.errors import Interrupted
from maskbank.files import ALIGNMENT

if TYPE_CHECKING:
    from maskbank.bank.layout import Content
    from maskbank.bank.storage import BankFile
    from maskbank.noise import Block

Bools = npt.NDArray[np.bool_]
Progress = Callable[[int], None]
Report = Callable[[str], None]
Span = tuple[int, int]  # items, (start, stop), counted from the bank's first

_WRITE_BYTES = 2**22  # written at once: less costs switching between threads
# computed by one call: less costs Python more, more leaves the caches before its checksum
_CACHE_BYTES = 2**21
CHECKPOINT_SECONDS = 1.0
_PROGRESS_SECONDS = 0.1


class Source(Protocol):
    """Where items come from; each thread has its own."""

    def make(self, first: int, block: "Block") -> None:
        """Write items first, first + 1, ... and their sigmas to `block`."""


def count_workers(workers: Any) -> int:
    """A number of workers; None: one for each core that this process may use."""
    if workers is not None:
        return check_workers(workers)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def maker_of(content: "Content") -> Callable[[], Source]:
    """A source that computes a content's items."""
    from maskbank.noise import Maker

    return lambda: Maker(content.recipe, content.seed)


def write_items(
    writer: "BankFile",
    source: Callable[[], Source],
    workers: int,
    progress: Progress | None = None,
    report: Report | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Write all items that are not `writer.done`, and record them in its journal.

    Workers compute, as many threads wait for the disk, and one keeps the journal.
    """
    content = writer.content
    if writer.done.all():
        return
    if progress:
        progress(int(writer.done.sum()))
    length = block_length(content, workers)
    prepare(source, content)
    run = Run(writer, source, length, missing(writer.done, length), int(writer.done.sum()))
    count = min(workers, -(-(content.n - run.done) // length))
    with ThreadPoolExecutor(2 * count + 1, thread_name_prefix="maskbank") as pool:
        try:
            working = [pool.submit(run.work, pool) for _ in range(count)]
            pending = [pool.submit(run.keep_journal), *working]
            while not run.finished.wait(_PROGRESS_SECONDS):
                for future in pending:
                    if future.done():
                        future.result()
                if progress:
                    progress(run.done)
                if stop is not None and stop.is_set():
                    break
        finally:
            run.stop.set()
            wait(working)  # what they have computed, they still give to the pool to be written
    for future in pending:
        future.result()
    if progress:
        progress(run.done)
    writer.checkpoint()
    if run.done < content.n:
        raise Interrupted(f"{run.done:,} of {content.n:,} items are done and kept")


def prepare(source: Callable[[], Source], content: "Content") -> None:
    """Compile what threads will need, before any of them could."""
    from maskbank.kernels import checksum
    from maskbank.noise import Block

    source().make(content.first, Block(content.recipe, 0))
    checksum.prepare()


def whole_pages(content: "Content") -> int:
    """The least number of items that take whole pages of the file."""
    return ALIGNMENT // math.gcd(ALIGNMENT, content.item_bytes)


def block_length(content: "Content", workers: int) -> int:
    """How many items are written at once: some megabytes, in whole pages, and some blocks a worker."""
    page = whole_pages(content)
    length = min(_WRITE_BYTES // content.item_bytes, -(-content.n // (4 * workers)))
    length = max(length // page * page, page if page * content.item_bytes <= _WRITE_BYTES else 1)
    return min(length, content.n)


def missing(done: Bools, length: int) -> Iterator[Span]:
    """What is not done, in spans of at most `length`, none across a multiple of it."""
    for begin in range(0, len(done), length):
        piece = done[begin : begin + length]
        if not piece.any():
            yield begin, begin + len(piece)
            continue
        edges = np.flatnonzero(np.diff(piece, prepend=True, append=True))
        for start, stop in edges.reshape(-1, 2).tolist():
            yield begin + start, begin + stop


class Workspace:
    """The memory of one thread: a source, and two blocks, so that one is computed while one is written."""

    def __init__(self, source: Source, content: "Content", length: int) -> None:
        from maskbank.noise import Block

        self.source = source
        self.blocks = [Block(content.recipe, length) for _ in range(2)]


class Run:
    """What the threads of one run share.

    spans: the items to make, at most `length` in each. done: how many are in the file already.
    """

    def __init__(
        self,
        writer: "BankFile",
        source: Callable[[], Source],
        length: int,
        spans: Iterator[Span],
        done: int = 0,
    ) -> None:
        self.writer = writer
        self.source = source
        self.content = writer.content
        self.length = length
        self.at_once = max(1, _CACHE_BYTES // self.content.item_bytes)
        self.done = done
        self.spans = spans
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.finished = threading.Event()  # all items of the bank are done

    def next_span(self) -> Span | None:
        """What to make next; None when there is nothing left to do."""
        with self.lock:
            return None if self.stop.is_set() else next(self.spans, None)

    def work(self, pool: ThreadPoolExecutor) -> None:
        """Compute items, one span after the other, while the one before is being written."""
        for written in self.compute_all(pool, Workspace(self.source(), self.content, self.length)):
            written.result()

    def compute_all(self, pool: ThreadPoolExecutor, workspace: Workspace) -> list[Future[None]]:
        """As `work`, except that the last writes are returned: they may still use the workspace."""
        writes: list[Future[None]] = []
        blocks = workspace.blocks
        while (span := self.next_span()) is not None:
            if len(writes) == len(blocks):
                writes.pop(0).result()
            blocks.append(blocks.pop(0))
            block = blocks[0].part(0, span[1] - span[0])
            crcs = self.compute(workspace.source, span[0], block)
            writes.append(pool.submit(self.write, span[0], block.part(0, len(crcs)), crcs))
        return writes

    def compute(self, source: Source, start: int, block: "Block") -> list[int]:
        """Compute a block; the checksums, taken while the items are still in this core's cache.

        Where the run is stopped meanwhile, only those of the items that were finished.
        """
        from maskbank.kernels.checksum import crc32

        crcs: list[int] = []
        for a in range(0, len(block), self.at_once):
            part = block.part(a, min(a + self.at_once, len(block)))
            source.make(self.content.first + start + a, part)
            crcs += [crc32(item) for item in part.items.reshape(len(part), -1).view("u1")]
            if self.stop.is_set():
                break
        return crcs

    def write(self, start: int, block: "Block", crcs: list[int]) -> None:
        """Write a block to the file."""
        self.writer.write(start, block.items, block.sigmas, crcs)
        with self.lock:
            self.done += len(block)
            if self.done == self.content.n:
                self.finished.set()

    def keep_journal(self) -> None:
        """Record in the file what is in it, once a second."""
        while not self.stop.wait(CHECKPOINT_SECONDS):
            self.writer.checkpoint()
