"""Items into a bank's file, over the cores of this machine."""

import functools
import math
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from maskbank.errors import Interrupted, OutputError
from maskbank.files import ALIGNMENT

if TYPE_CHECKING:
    from maskbank.bank.layout import Content
    from maskbank.bank.storage import BankFile
    from maskbank.noise import Block

Bools = npt.NDArray[np.bool_]
Progress = Callable[[int], None]
Report = Callable[[str], None]
Span = tuple[int, int]  # items, (start, stop), counted from the bank's first

_WRITE_BYTES = 2**23  # written at once: less costs switching between threads
_CACHE_BYTES = 2**22  # made by one call: less costs Python more, more leaves the caches before its checksum
CHECKPOINT_SECONDS = 1.0
_PROGRESS_SECONDS = 0.1


class Source(Protocol):
    """Where items come from; each thread has its own."""

    def make(self, first: int, block: "Block") -> None:
        """Write items first, first + 1, ... and their sigmas to `block`."""


def maker_of(content: "Content") -> Callable[[], Source]:
    """A source that computes a content's items."""
    from maskbank.noise import maker

    return functools.partial(maker, content.recipe, content.seed)


def write_items(
    writer: "BankFile",
    source: Callable[[], Source],
    workers: int,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    spans: Sequence[Span] | None = None,
) -> None:
    """Write items and record them in the file's journal; without `spans` all that are not `writer.done`.

    As many workers as are given compute at the same time, as many more threads wait for the disk, and one
    keeps the journal.
    """
    content = writer.content
    spans = missing(writer.done) if spans is None else spans
    todo = sum(stop - start for start, stop in spans)
    if not todo:
        return
    before = content.n - todo
    if progress:
        progress(before)
    length = block_length(content, workers)
    workers = min(workers, -(-todo // length))
    run = _Run(writer, cut(spans, length), length, todo)
    with ThreadPoolExecutor(2 * workers + 1, thread_name_prefix="maskbank") as pool:
        try:
            pool.submit(prepare, source, content).result()  # not here: this thread answers signals meanwhile
            for _ in range(workers):
                run.sources.put(source())
            threads = [pool.submit(run.until_stopped, run.keep_journal)]
            threads += [pool.submit(run.until_stopped, run.work) for _ in range(2 * workers)]
            while not run.stop.wait(_PROGRESS_SECONDS):
                if progress:
                    progress(before + run.done)
                if stop is not None and stop.is_set():
                    break
        except RuntimeError as error:
            if "start new thread" not in str(error):
                raise
            raise OutputError(
                f"cannot start {2 * workers + 1} threads; lower workers, or raise the limits of this system "
                "(ulimit -u, ulimit -v)"
            ) from None
        finally:
            run.stop.set()
    for thread in threads:
        thread.result()
    if progress:
        progress(before + run.done)
    writer.checkpoint()
    if run.done < todo:
        raise Interrupted(f"{before + run.done:,} of {content.n:,} items are done and kept")


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


def missing(done: Bools) -> list[Span]:
    """The spans of items that are not done."""
    edges = np.flatnonzero(np.diff(done, prepend=True, append=True))
    return [(start, stop) for start, stop in edges.reshape(-1, 2).tolist()]


def cut(spans: Iterable[Span], length: int) -> Iterator[Span]:
    """Spans of at most `length`, none across a multiple of it."""
    for start, stop in spans:
        while start < stop:
            end = min(stop, start - start % length + length)
            yield start, end
            start = end


class _Run:
    """What the threads of one run share. sources: one for each worker; who takes one may compute."""

    def __init__(self, writer: "BankFile", spans: Iterator[Span], length: int, todo: int) -> None:
        self.writer = writer
        self.content = writer.content
        self.spans = spans
        self.length = length
        self.at_once = max(1, _CACHE_BYTES // self.content.item_bytes)
        self.todo = todo
        self.done = 0
        self.sources: queue.SimpleQueue[Source] = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.stop = threading.Event()  # all is done, or a thread failed, or the run is to end

    def until_stopped(self, work: Callable[[], None]) -> None:
        """Do this work; where it fails, stop the others."""
        try:
            work()
        except BaseException:
            self.stop.set()
            raise

    def keep_journal(self) -> None:
        """Record in the file what is in it, once a second."""
        while not self.stop.wait(CHECKPOINT_SECONDS):
            self.writer.checkpoint()

    def work(self) -> None:
        """Compute and write items, one span after the other. While one thread writes, another computes."""
        from maskbank.noise import Block

        block = Block(self.content.recipe, self.length)
        while True:
            source = self.sources.get()
            try:
                with self.lock:
                    start, stop = (0, 0) if self.stop.is_set() else next(self.spans, (0, 0))
                if start == stop:
                    return
                crcs = self.compute(source, start, block.part(0, stop - start))
            finally:
                self.sources.put(source)
            made = block.part(0, len(crcs))
            self.writer.write(start, made.items, made.sigmas, crcs)
            with self.lock:
                self.done += len(crcs)
                if self.done == self.todo:
                    self.stop.set()

    def compute(self, source: Source, start: int, block: "Block") -> list[int]:
        """Compute a block; the checksums, taken while the items are still in this core's cache.

        Where the run is stopped meanwhile, only those of the items that were finished.
        """
        from maskbank.kernels.checksum import crc32

        crcs: list[int] = []
        for a in range(0, len(block), self.at_once):
            part = block.part(a, min(a + self.at_once, len(block)))
            source.make(self.content.first + start + a, part)
            crcs += crc32(part.items.reshape(len(part), -1).view("u1"))
            if self.stop.is_set():
                break
        return crcs
