"""Makes the items of a bank on a Dask cluster, whose workers all write to the one file.

The client lays the file out, submits tasks, keeps the journal and publishes the bank. Dask schedules the
tasks, and repeats those that fail or whose worker dies. A task makes its items, writes and syncs them, and
returns their checksums. It takes whole pages of the file, so no two tasks write to one page, and a repeated
task writes the same bytes. During the run random bytes stand where the checksum of the last missing item
will be. By them a task recognises the client's file among others of the same name.
"""

import asyncio
import contextlib
import logging
import re
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from maskbank.bank.storage import AGAIN
from maskbank.checks import count_workers
from maskbank.errors import Interrupted, OutputError, RecipeError, check_installed
from maskbank.generation.threads import (
    CHECKPOINT_SECONDS,
    Progress,
    Report,
    Span,
    missing,
    whole_pages,
)
from maskbank.generation.worker import Made, make_items

if TYPE_CHECKING:
    from maskbank.bank.writer import Writer

_ADDRESS = r"((tcp|tls|ucx|wss?)://)?[^\s/]+:\d{1,5}"
_ANSWER_SECONDS = 8.0  # a scheduler has this long to answer
_CHECK_SECONDS = 60.0  # the workers have this long: they load maskbank, perhaps from a slow disk
_TASK_SECONDS = 0.5  # computing time of a task, to which Dask adds some 2 %
_TASK_SECONDS_THREAD = 1 / 150  # or this for each thread: a scheduler passes on some 300 tasks a second
_FIRST_BYTES = 2**25  # size of a task until the time for an item is known
_LEAST_ITEM = 2**14  # bytes: until then, a smaller item counts as this, because it takes time, too
_IN_FLIGHT = 3  # tasks for each thread: one at work, others waiting
_RETRIES = 3  # of a task that fails
_COUNT_SECONDS = 2.0  # the scheduler has this long to list its workers
_POLL_SECONDS = 0.05
_LOST = f"the connection to the Dask scheduler is lost; {AGAIN}"


@contextlib.contextmanager
def connect(dask: Any, workers: int | None, stop: threading.Event | None = None) -> Iterator[Any]:
    """A client of a Dask cluster.

    dask: the address of a scheduler, "local" for processes of this machine, or a client, which is used as
    it is. workers: the number of processes, for "local". Raises MissingError where Dask is not installed,
    RecipeError for any other `dask`, OutputError where no scheduler answers, Interrupted once `stop` is set.
    """
    check_installed("distributed", "a cluster needs Dask", "dask")
    from distributed import Client
    from distributed.utils import silence_logging_cmgr

    if isinstance(dask, Client):
        if dask.asynchronous:
            raise RecipeError(f"dask={dask!r} is asynchronous; give a synchronous client, or an address")
        yield dask
        return
    if not isinstance(dask, str) or not (dask == "local" or re.fullmatch(_ADDRESS, dask)):
        raise RecipeError(f"dask={dask!r} is no address; give a scheduler's, as tcp://host:8786, or local")
    if dask != "local" and workers is not None:
        raise RecipeError(f"workers={workers} goes with dask=local; a cluster has as many as it has")
    with contextlib.ExitStack() as stack:
        stack.enter_context(silence_logging_cmgr(logging.CRITICAL))  # the user gets one line from us instead
        try:
            if dask == "local":
                address: Any = stack.enter_context(_local(count_workers(workers)))
            else:
                address = dask
                asyncio.run(asyncio.wait_for(_ask(address), _ANSWER_SECONDS))
            client = Client(address, timeout=_ANSWER_SECONDS, set_as_default=False)
        except Exception as error:
            if stop is not None and stop.is_set():
                raise Interrupted("nothing is begun yet") from None
            if dask == "local":
                raise OutputError(f"cannot start a Dask cluster on this machine: {error}") from None
            raise OutputError(
                f"no Dask scheduler answers at {dask} ({type(error).__name__}: {error}); check the address, "
                "or give local"
            ) from None
        yield stack.enter_context(client)


async def _ask(address: str) -> None:
    """Have a scheduler answer once. Client waits without end for one that accepts and is then silent."""
    from distributed import Security
    from distributed.core import rpc

    arguments = Security().get_connection_args("client")
    async with rpc(address, connection_args=arguments, timeout=_ANSWER_SECONDS) as scheduler:
        found = await scheduler.identity()
    if found.get("type") != "Scheduler":
        raise OSError(f"there is a {found.get('type')}; give the address of the scheduler")


def _local(workers: int) -> Any:
    """Processes of this machine that ignore Ctrl-C. Only the client handles it."""
    from distributed import LocalCluster

    resource_tracker.ensure_running()  # started later, by a worker, it would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def write_items_on(
    client: Any,
    writer: "Writer",
    progress: Progress | None = None,
    report: Report | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Write all items that are not `writer.done`, by tasks of a cluster, and record them in the journal.

    OutputError where a worker cannot write to the file, or the scheduler is lost. Items done are kept.
    """
    if writer.done.all():
        return
    if progress:
        progress(int(writer.done.sum()))
    run = _Run(client, writer, stop or threading.Event())
    try:
        run.find_workers(report)
        run.write(progress)
    except Exception:
        if not run.stop.is_set():  # a signal may reach workers, too, and end them
            if client.status == "running":
                raise
            raise OutputError(_LOST) from None
    finally:
        run.end()
    if run.done < writer.content.n:
        raise Interrupted(f"{run.done:,} of {writer.content.n:,} items are done and kept")


class _Run:
    """The tasks of one run."""

    def __init__(self, client: Any, writer: "Writer", stop: threading.Event) -> None:
        self.client = client
        self.writer = writer
        self.mark = writer.mark()
        self.stop = stop
        self.done = int(writer.done.sum())
        self.threads: dict[str, int] = {}  # of each worker, by address
        self.pace = 0.0  # seconds for an item
        self.tasks: set[Any] = set()  # futures of the tasks in flight
        self.last: Any = None  # the piece with the marked item: recorded last, since it replaces the mark

    def find_workers(self, report: Report | None) -> None:
        """Wait for workers, and check that all can write; OutputError where one cannot."""
        self._count_threads()
        if report:
            link = self.client.dashboard_link
            report(
                f"{len(self.threads)} Dask workers with {sum(self.threads.values())} threads"
                + ("" if self.threads else "; waiting for some to join")
                + (f"; dashboard {link}" if link else "")
            )
        while not self.threads and not self.stop.wait(0.2):
            self._count_threads()
        try:
            answers = self.client.run(
                make_items, self.writer.partial, self.mark, [],
                on_error="return", callback_timeout=_CHECK_SECONDS,
            )  # fmt: skip
        except TimeoutError:
            raise OutputError(f"a Dask worker does not answer within {_CHECK_SECONDS:.0f} s") from None
        failed = [(host, error) for host, error in answers.items() if isinstance(error, Exception)]
        if failed:
            self.writer.discard()
            host, error = failed[0]
            here = "" if isinstance(error, OutputError) else f"worker {host} cannot load this maskbank: "
            raise OutputError(f"{here}{error} (workers that fail: {len(failed)} of {len(answers)})")

    def _count_threads(self) -> None:
        """Ask the scheduler for its workers and their threads."""
        if self.client.status != "running":
            raise OutputError(_LOST)
        with contextlib.suppress(TimeoutError):
            self.threads = self.client.sync(self.client.scheduler.ncores, callback_timeout=_COUNT_SECONDS)

    def write(self, progress: Progress | None) -> None:
        """Submit tasks and record what they made, until all is done or `stop` is set."""
        from distributed import as_completed

        completed = as_completed(loop=self.client.loop, with_results=True, raise_errors=False)
        work = self._work()
        recorded = time.monotonic()
        while self.done < self.writer.content.n and not self.stop.is_set():
            most = max(4, _IN_FLIGHT * sum(self.threads.values()))
            while len(self.tasks) < most and (spans := next(work, None)):
                future = self.client.submit(
                    make_items, self.writer.partial, self.mark, spans, retries=_RETRIES, pure=False
                )
                self.tasks.add(future)
                completed.add(future)
            if not completed.has_ready():
                self.stop.wait(_POLL_SECONDS)
            for future, made in completed.next_batch(block=False):
                self.tasks.remove(future)
                if isinstance(made, Made):  # the worker that made it may be gone by now
                    self._take(made)
                    continue
                if future.status == "error":
                    error = future.exception()
                    if isinstance(error, OutputError):
                        raise error
                    raise OutputError(f"{type(error).__name__}: {error}; see the workers' logs; {AGAIN}")
                raise OutputError(_LOST)  # cancelled, when the connection was lost
            if progress:
                progress(self.done)
            if time.monotonic() - recorded > CHECKPOINT_SECONDS:
                self.writer.checkpoint()
                self._count_threads()
                recorded = time.monotonic()

    def _work(self) -> Iterator[list[Span]]:
        """The missing spans for each task, in whole pages. Tasks get shorter, so all workers end together."""
        n, page = self.writer.content.n, whole_pages(self.writer.content)
        start = 0
        while start < n:
            threads = max(1, sum(self.threads.values()))
            most = _FIRST_BYTES // max(self.writer.content.item_bytes, _LEAST_ITEM)
            if self.pace:
                most = int(max(_TASK_SECONDS, _TASK_SECONDS_THREAD * threads) / self.pace)
            length = max(min(most, (n - start) // (4 * threads)), most // 8, 1)
            stop = min(n, start + -(-length // page) * page)
            if spans := [(start + a, start + b) for a, b in missing(self.writer.done[start:stop])]:
                yield spans
            start = stop

    def _take(self, made: Made) -> None:
        """Count what a task made, and record it."""
        count = sum(len(crcs) for _, crcs, _ in made.pieces)
        self.done += count
        self.pace = min(self.pace or made.seconds, made.seconds / count)  # the first tasks also compile
        for start, crcs, sigmas in made.pieces:
            if start <= self.mark[0] < start + len(crcs):
                self.last = start, crcs, sigmas
            else:
                self.writer.record(start, crcs, sigmas)

    def end(self) -> None:
        """Leave no task on the cluster, and record what was made."""
        with contextlib.suppress(Exception):
            self.client.cancel(list(self.tasks))
        if self.last:
            self.writer.record(*self.last)
        self.writer.checkpoint()
