"""recipe + n -> bank, over the cores. Reports progress, never prints."""

import math
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from maskbank.checks import check_n, check_seed, check_workers
from maskbank.recipes import ALIGNMENT, Recipe

if TYPE_CHECKING:
    from maskbank.bank.layout import Content
    from maskbank.bank.reader import Bank
    from maskbank.bank.writer import Writer
    from maskbank.noise import Block, Maker

Progress = Callable[[int], None]

_BLOCK_BYTES = 2**22  # written at once: smaller pieces cost switching between threads
_CACHE_BYTES = (
    2**21
)  # computed by one call: less costs Python more, more leaves the caches before its checksum
_CHECKPOINT_SECONDS = 1.0
_PROGRESS_SECONDS = 0.1


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
    already is this bank, nothing is done.

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
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> bool:
    """`generate`, without opening the bank: whether anything had to be made."""
    from maskbank.bank.layout import Content
    from maskbank.bank.writer import Writer, is_there

    content = Content(recipe, check_seed(seed), check_n(n))
    threads = default_workers() if workers is None else check_workers(workers)
    if not force and is_there(os.fspath(path), content):
        return False
    if recipe.caution:
        warnings.warn(recipe.caution, stacklevel=2)
    with Writer(path, content, force=force) as writer:
        _fill(writer, threads, progress or (lambda done: None))
        writer.publish()
    return True


def default_workers() -> int:
    """One worker for each core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _fill(writer: "Writer", workers: int, progress: Progress) -> None:
    """Make all items: workers compute, as many threads wait for the disk, and one keeps the journal."""
    from maskbank.kernels import checksum
    from maskbank.noise import Block, Maker

    content = writer.content
    length = _block_length(content, workers)
    # compiles, before any thread could need it
    Maker(content.recipe, content.seed).make(content.first, Block(content.recipe, 0))
    checksum.prepare()
    count = min(workers, -(-content.n // length))
    run = _Run(writer, length)
    with ThreadPoolExecutor(2 * count + 1, thread_name_prefix="maskbank") as pool:
        try:
            pending = {pool.submit(run.keep_journal)}
            pending |= {pool.submit(run.work, pool) for _ in range(count)}
            while run.done < content.n:
                finished, pending = wait(pending, _PROGRESS_SECONDS, FIRST_EXCEPTION)
                for future in finished:
                    future.result()
                progress(run.done)
        finally:
            run.stop.set()
    for future in pending:
        future.result()


def _block_length(content: "Content", workers: int) -> int:
    """How many items are written at once: some megabytes, in whole pages, and some blocks a worker."""
    page = ALIGNMENT // math.gcd(ALIGNMENT, content.item_bytes)
    length = min(_BLOCK_BYTES // content.item_bytes, -(-content.n // (4 * workers)))
    return max(length // page * page, page if page * content.item_bytes <= _BLOCK_BYTES else 1)


class _Run:
    """What the threads of one run share."""

    def __init__(self, writer: "Writer", length: int) -> None:
        self.writer = writer
        self.content = writer.content
        self.length = min(length, self.content.n)
        self.at_once = max(1, _CACHE_BYTES // self.content.item_bytes)
        self.starts = iter(range(0, self.content.n, self.length))
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.done = 0

    def next_start(self) -> int | None:
        """Where the next block begins; None when there is nothing left to do."""
        with self.lock:
            return None if self.stop.is_set() else next(self.starts, None)

    def work(self, pool: ThreadPoolExecutor) -> None:
        """Compute blocks, one after the other, while the one before is being written."""
        from maskbank.noise import Block, Maker

        maker = Maker(self.content.recipe, self.content.seed)
        blocks = [Block(self.content.recipe, self.length) for _ in range(2)]
        writes: list[Future[None] | None] = [None, None]
        turn = 0
        while (start := self.next_start()) is not None:
            written = writes[turn]
            if written is not None:
                written.result()
            block = blocks[turn].part(0, min(self.length, self.content.n - start))
            crcs = self.compute(maker, start, block)
            writes[turn] = pool.submit(self.write, start, block, crcs)
            turn = 1 - turn
        for written in writes:
            if written is not None:
                written.result()

    def compute(self, maker: "Maker", start: int, block: "Block") -> list[int]:
        """Fill a block; the checksums, taken while the items are still in this core's cache."""
        from maskbank.kernels.checksum import crc32

        crcs: list[int] = []
        for a in range(0, len(block), self.at_once):
            part = block.part(a, min(a + self.at_once, len(block)))
            maker.make(self.content.first + start + a, part)
            crcs += [crc32(item) for item in part.items.reshape(len(part), -1).view("u1")]
            if self.stop.is_set():
                break
        return crcs

    def write(self, start: int, block: "Block", crcs: list[int]) -> None:
        """Bring a block to the file."""
        if len(crcs) == len(block):  # not where the run was stopped meanwhile
            self.writer.write(start, block.items, block.sigmas, crcs)
            with self.lock:
                self.done += len(block)

    def keep_journal(self) -> None:
        """Now and then, say in the file what is in it."""
        while not self.stop.wait(_CHECKPOINT_SECONDS):
            self.writer.checkpoint()
