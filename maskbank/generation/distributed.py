"""Items into a bank's file, over a Dask cluster: every worker writes its own into the one file.

The client lays the file out, hands out blocks of items, keeps the journal, and publishes. A block takes
whole pages of the file, so no two writers ever touch one. A task makes its items, writes and syncs them, and
returns their checksums: done twice, it writes the same bytes. As long as the run lasts, the checksum of the
last item that was missing holds a random key instead, by which a task knows the file from any other.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import numpy as np

from maskbank.bank.storage import AGAIN
from maskbank.errors import Interrupted, OutputError
from maskbank.generation.cluster import Crew, Tell
from maskbank.generation.threads import CHECKPOINT_SECONDS, Bools, Progress, missing, whole_pages
from maskbank.generation.worker import Key, Made, Runs, Unfit, make_items

if TYPE_CHECKING:
    from maskbank.bank.writer import Writer

_TASK_SECONDS = 0.5  # of computing in a task, of which Dask takes some 2 %
_TASK_SECONDS_THREAD = 1 / 150  # or this for each thread: a scheduler passes on some 300 tasks a second
_FIRST_BYTES = 2**25  # in a task while nobody knows how long an item takes
_LEAST_ITEM = 2**14  # bytes that an item then counts for at least, since a small one takes its time, too
_IN_FLIGHT = 3  # tasks for each thread: one at work, others waiting on the worker
_COPIES = 4  # of one of the last tasks, where no worker seems to end it
_TRIES = 10  # of a block whose workers die or fail
_UNABLE_SECONDS = 30.0  # for which no worker may be there that can write
_STOP_SECONDS = 10.0  # the least that tasks at work are given to end, once all is to be stopped
_LATE_SECONDS = 5.0  # the least after which a last block is given to another worker, too


def fill(
    writer: "Writer",
    client: Any,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    tell: Tell | None = None,
) -> None:
    """Make all items that are not `writer.done` on the cluster, and say so in the journal.

    OutputError where a worker cannot write to the file, or the scheduler is lost. What is done is kept.
    """
    if writer.done.all():
        return
    stop = stop or threading.Event()
    key = writer.mark()
    try:
        crew = Crew(client, writer.partial, key)
        crew.gather(stop, tell)
    except Unfit:
        if not writer.done.any():
            writer.discard()
        raise
    job = _Job(writer, client, crew, key)
    try:
        job.run(progress, stop)
    finally:
        job.leave()
    if progress:
        progress(job.done)
    if job.done < writer.content.n:
        raise Interrupted(f"{job.done:,} of {writer.content.n:,} items are done and kept")


class _Block:
    """Some items that are one task."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self.tries = 0
        self.since = 0.0
        self.copies = 1  # at work
        self.done = False


class _Job:
    """Blocks at work on the cluster."""

    def __init__(self, writer: "Writer", client: Any, crew: Crew, key: Key) -> None:
        self.writer = writer
        self.client = client
        self.crew = crew
        self.key = key
        self.done = int(writer.done.sum())
        self.blocks = self._blocks()
        self.again: list[_Block] = []  # to be given out again
        self.waiting: dict[str, tuple[Any, _Block]] = {}
        self.results: queue.SimpleQueue[tuple[Any, Made | None]] = queue.SimpleQueue()  # of futures
        self.held: list[Made] = []
        self.longest = 0.0
        self.pace = 0.0  # seconds an item
        self.able = time.monotonic()  # when there last was someone to hand out to

    def _blocks(self) -> Iterator[_Block]:
        """What is missing, in whole pages; shorter blocks towards the end, so that all end together."""
        n, page = self.writer.content.n, whole_pages(self.writer.content)
        start = 0
        while start < n:
            threads = max(1, sum(self.crew.threads.values()))
            most = _FIRST_BYTES // max(self.writer.content.item_bytes, _LEAST_ITEM)
            if self.pace:
                most = int(max(_TASK_SECONDS, _TASK_SECONDS_THREAD * threads) / self.pace)
            length = max(min(most, (n - start) // (4 * threads)), most // 8, 1)
            stop = min(n, start + -(-length // page) * page)
            done: Bools = self.writer.done[start:stop]
            runs = [(start + a, start + b) for a, b in missing(done, len(done))]
            if runs:
                yield _Block(runs)
            start = stop

    def run(self, progress: Progress | None, stop: threading.Event) -> None:
        """Hand out blocks and take in what was made, until all is done, or `stop` is set."""
        journalled = time.monotonic()
        deadline = None
        while self.done < self.writer.content.n:
            if not stop.is_set():
                self._hand_out()
            elif deadline is None:
                deadline = time.monotonic() + max(2 * self.longest, _STOP_SECONDS)
                self._keep_what_is_at_work()
            if deadline is not None and (not self.waiting or time.monotonic() > deadline):
                return
            self._take_in()
            if progress:
                progress(self.done)
            if time.monotonic() - journalled > CHECKPOINT_SECONDS:
                self.writer.checkpoint()
                self._look_after()
                journalled = time.monotonic()

    def _hand_out(self) -> None:
        if self.client.status != "running" or self.crew.only == []:
            return
        room = max(4, _IN_FLIGHT * sum(self.crew.threads.values()))
        while len(self.waiting) < room:
            block = self.again.pop() if self.again else next(self.blocks, None)
            if block is None:
                self._hand_out_twice()
                return
            if block.done:
                continue
            try:
                self._submit(block)
            except Exception:
                self.again.append(block)
                if self.client.status == "running":
                    raise
                return  # the scheduler was lost in this moment

    def _hand_out_twice(self) -> None:
        """The last blocks, where they take far too long, also to another worker: the first one counts."""
        late = max(_LATE_SECONDS, 4 * self.longest)
        for _, block in list(self.waiting.values()):
            if block.copies < _COPIES and not block.done and time.monotonic() - block.since > late:
                block.copies += 1
                self._submit(block)

    def _submit(self, block: _Block) -> None:
        future = self.client.submit(
            make_items, self.writer.partial, self.key, block.runs, pure=False, workers=self.crew.only,
            allow_other_workers=False,
        )  # fmt: skip
        block.since = time.monotonic()
        self.waiting[future.key] = future, block
        future.add_done_callback(self._fetch)

    def _fetch(self, future: Any) -> None:
        """Have a result brought here, without waiting for a worker that may not answer any more."""

        async def bring() -> None:
            made = None
            if future.status == "finished":
                with contextlib.suppress(Exception, CancelledError, asyncio.CancelledError):
                    bringing = self.client.gather([future], asynchronous=True)
                    (made,) = await asyncio.wait_for(bringing, _LATE_SECONDS)
            self.results.put((future, made))

        self.client.loop.add_callback(bring)

    def _take_in(self) -> None:
        """What has been brought meanwhile, if anything is within a moment."""
        with contextlib.suppress(queue.Empty):
            future, made = self.results.get(timeout=0.1)
            while True:
                _, block = self.waiting.pop(future.key, (None, None))
                if block and made:
                    self._take(block, made)
                elif block:
                    self._lost(block, future)
                future, made = self.results.get_nowait()

    def _take(self, block: _Block, made: Made) -> None:
        if block.done:
            return
        if made.unfit or made.failed:
            self._failed(block, made)
            return
        block.done = True
        count = sum(stop - start for start, stop in block.runs)
        self.done += count
        self.longest = max(self.longest, time.monotonic() - block.since)
        pace = made.seconds / count
        self.pace = (self.pace + pace) / 2 if self.pace else pace
        last = self.key[0]
        if any(start <= last < stop for start, stop in block.runs):
            self.held.append(made)  # its journal ends the run: the key stands in it
        else:
            self._claim(made)

    def _claim(self, made: Made) -> None:
        for start, crcs, sigmas in made.pieces:
            numbers = np.frombuffer(crcs, "<u4")
            self.writer.record(start, numbers, np.frombuffer(sigmas, "<f4").reshape(len(numbers), -1))

    def _lost(self, block: _Block, future: Any) -> None:
        """A task of which there is no result: its workers died, or could not load it, or Dask lost it."""
        from distributed import KilledWorker

        if future.status == "finished":  # with its worker, as a rule
            self._failed(block, Made([], failed="their results did not arrive"))
        elif future.status != "error":
            self.again.append(block)
        elif isinstance(future.exception(), KilledWorker):
            self._failed(block, Made([], failed="its workers died"))
        else:
            error = future.exception()
            self._failed(block, Made([], unfit=f"{type(error).__name__}: {error}"))

    def _failed(self, block: _Block, made: Made) -> None:
        """A task that went wrong: because of its worker, or of all of them, or of the block itself."""
        if block.done:
            return
        self.again.append(block)
        if made.fatal:
            raise OutputError(made.failed)
        if made.unfit and self.crew.look_again():
            self._withdraw()
            return
        block.tries += 1
        if block.tries >= _TRIES:
            first, last = block.runs[0][0], block.runs[-1][1] - 1
            raise OutputError(
                f"items {first:,} to {last:,} failed {_TRIES} times ({made.unfit or made.failed}); see the "
                f"workers' logs; {AGAIN}"
            )

    def _keep_what_is_at_work(self) -> None:
        """Cancel what was handed out last and so has not begun: as many as there are threads are at work."""
        handed_out = sorted(self.waiting.items(), key=lambda one: one[1][1].since)
        begun = dict(handed_out[: max(1, sum(self.crew.threads.values()))])
        idle = [future for key, (future, _) in self.waiting.items() if key not in begun]
        self.waiting = begun
        self.crew.cancel(idle)

    def _withdraw(self) -> None:
        """Take back all that is handed out, to hand it out to those who can."""
        waiting, self.waiting = self.waiting, {}
        self.again += [block for _, block in waiting.values() if not block.done]
        self.crew.cancel([future for future, _ in waiting.values()])

    def _look_after(self) -> None:
        """See who has come, and whether the scheduler is there."""
        self.crew.check()
        if not self.writer.is_there():
            raise OutputError(
                f"{self.writer.partial} was removed or replaced while it was written; run the same command "
                "again"
            )
        if self.crew.only != []:
            self.able = time.monotonic()
        elif time.monotonic() - self.able > _UNABLE_SECONDS:
            raise OutputError(f"no worker is left that can write: {next(iter(self.crew.unfit.values()))}")
        restricted = self.crew.only
        if self.crew.count() and restricted is not None:
            self.crew.look()
        if self.crew.only != restricted:
            self._withdraw()

    def leave(self) -> None:
        """Journal what has been made, and leave nothing behind on the cluster."""
        self.crew.cancel([future for future, _ in self.waiting.values()])
        for made in self.held:
            self._claim(made)
        self.writer.checkpoint()
