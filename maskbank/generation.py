"""recipe + n -> bank, over the cores. Reports progress, never prints."""

import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Protocol

from maskbank.checks import check_items, check_n, check_seed, check_workers
from maskbank.errors import Interrupted
from maskbank.recipes import ALIGNMENT, Recipe

if TYPE_CHECKING:
    from maskbank.bank.inplace import BankFile
    from maskbank.bank.layout import Content
    from maskbank.bank.reader import Bank
    from maskbank.noise import Block

Progress = Callable[[int], None]

_BLOCK_BYTES = 2**22  # written at once: smaller pieces cost switching between threads
# computed by one call: less costs Python more, more leaves the caches before its checksum
_CACHE_BYTES = 2**21
_CHECKPOINT_SECONDS = 1.0
_PROGRESS_SECONDS = 0.1


class Source(Protocol):
    """Where items come from; each thread has its own."""

    def make(self, first: int, block: "Block") -> None:
        """Fill `block` with items first, first + 1, ... and their sigmas."""


def generate(
    path: str | os.PathLike[str],
    recipe: Recipe,
    n: int,
    *,
    seed: int = 0,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> "Bank":
    """Make `path` the bank of the first n items of (recipe, seed), and open it.

    workers: threads; None for one on each core. The bytes do not depend on it. force: replace whatever
    is at `path`. progress: called now and then with the number of items done so far. Where `path`
    already is this bank, nothing is done; where an earlier run stopped, this one goes on.

    Raises RecipeError for a parameter that cannot be used, OutputError where the bank cannot be written.
    """
    from maskbank.bank.reader import Bank

    make(path, recipe, n, seed=seed, workers=workers, force=force, progress=progress)
    return Bank(path)


def make(
    path: str | os.PathLike[str],
    recipe: Recipe,
    n: int,
    *,
    seed: int = 0,
    items: tuple[int, int] | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> bool:
    """`generate`, without opening the bank: whether anything had to be made.

    items: (a, b) for a part that holds items a to b - 1 only. stop: once it is set, the items in hand
    are finished and synced, and Interrupted is raised.
    """
    from maskbank.bank.layout import Content

    first, end = check_items(items, check_n(n)) if items is not None else (0, check_n(n))
    return write(
        path, Content(recipe, check_seed(seed), end - first, first),
        workers=workers, force=force, progress=progress, stop=stop,
    )  # fmt: skip


def write(
    path: str | os.PathLike[str],
    content: "Content",
    source: Callable[[], Source] | None = None,
    *,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> bool:
    """Make `path` the bank of this content, its items coming from `source`, or computed if there is none."""
    from maskbank.bank.writer import Writer, is_there

    threads = default_workers() if workers is None else check_workers(workers)
    if not force and is_there(os.fspath(path), content):
        return False
    if content.recipe.caution:
        warnings.warn(content.recipe.caution, stacklevel=3)
    with Writer(path, content, force=force) as writer:
        fill(writer, source or maker_of(content), threads, progress, stop)
        writer.publish()
    return True


def default_workers() -> int:
    """One worker for each core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def maker_of(content: "Content") -> Callable[[], Source]:
    """A source that computes a content's items."""
    from maskbank.noise import Maker

    return lambda: Maker(content.recipe, content.seed)


def fill(
    writer: "BankFile",
    source: Callable[[], Source],
    workers: int,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Make all items that are not `writer.done`, and say so in its journal.

    Workers compute, as many threads wait for the disk, and one keeps the journal.
    """
    from maskbank.kernels import checksum
    from maskbank.noise import Block

    content = writer.content
    if writer.done.all():
        return
    length = _block_length(content, workers)
    # compiles, before any thread could need it
    source().make(content.first, Block(content.recipe, 0))
    checksum.prepare()
    run = _Run(writer, source, length)
    count = min(workers, -(-run.missing // length))
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
            wait(working)  # they hand on to the pool what they have in hand
    for future in pending:
        future.result()
    if progress:
        progress(run.done)
    writer.checkpoint()
    if run.done < content.n:
        raise Interrupted(f"{run.done:,} of {content.n:,} items are done and kept")


def _block_length(content: "Content", workers: int) -> int:
    """How many items are written at once: some megabytes, in whole pages, and some blocks a worker."""
    page = ALIGNMENT // math.gcd(ALIGNMENT, content.item_bytes)
    length = min(_BLOCK_BYTES // content.item_bytes, -(-content.n // (4 * workers)))
    length = max(length // page * page, page if page * content.item_bytes <= _BLOCK_BYTES else 1)
    return min(length, content.n)


class _Run:
    """What the threads of one run share."""

    def __init__(self, writer: "BankFile", source: Callable[[], Source], length: int) -> None:
        self.writer = writer
        self.source = source
        self.content = writer.content
        self.length = length
        self.at_once = max(1, _CACHE_BYTES // self.content.item_bytes)
        self.done = int(writer.done.sum())
        self.missing = self.content.n - self.done
        self.blocks = self._blocks()
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.finished = threading.Event()  # all items are done

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """What is missing, (start, stop) in pieces of at most a block."""
        for begin in range(0, self.content.n, self.length):
            done = self.writer.done[begin : begin + self.length]
            if not done.any():
                yield begin, begin + len(done)
                continue
            start = None
            for i in range(len(done) + 1):
                missing = i < len(done) and not done[i]
                if missing and start is None:
                    start = i
                elif not missing and start is not None:
                    yield begin + start, begin + i
                    start = None

    def next_block(self) -> tuple[int, int] | None:
        """What to make next; None when there is nothing left to do."""
        with self.lock:
            return None if self.stop.is_set() else next(self.blocks, None)

    def work(self, pool: ThreadPoolExecutor) -> None:
        """Compute blocks, one after the other, while the one before is being written."""
        from maskbank.noise import Block

        source = self.source()
        blocks = [Block(self.content.recipe, self.length) for _ in range(2)]
        writes: list[Future[None] | None] = [None, None]
        turn = 0
        while (piece := self.next_block()) is not None:
            written = writes[turn]
            if written is not None:
                written.result()
            block = blocks[turn].part(0, piece[1] - piece[0])
            crcs = self.compute(source, piece[0], block)
            writes[turn] = pool.submit(self.write, piece[0], block.part(0, len(crcs)), crcs)
            turn = 1 - turn
        for written in writes:
            if written is not None:
                written.result()

    def compute(self, source: Source, start: int, block: "Block") -> list[int]:
        """Fill a block; the checksums, taken while the items are still in this core's cache.

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
        """Bring a block to the file."""
        self.writer.write(start, block.items, block.sigmas, crcs)
        with self.lock:
            self.done += len(block)
            if self.done == self.content.n:
                self.finished.set()

    def keep_journal(self) -> None:
        """Now and then, say in the file what is in it."""
        while not self.stop.wait(_CHECKPOINT_SECONDS):
            self.writer.checkpoint()
