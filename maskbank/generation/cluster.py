"""A Dask cluster as maskbank sees it: a client of its scheduler, and the workers that can write to a bank."""

import asyncio
import contextlib
import logging
import re
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from multiprocessing import resource_tracker
from typing import Any

from maskbank.bank.storage import AGAIN
from maskbank.errors import Interrupted, MaskbankError, OutputError, RecipeError
from maskbank.generation.threads import check_threads
from maskbank.generation.worker import Key, Unfit, look

Tell = Callable[[str], None]

_ADDRESS = r"((tcp|tls|ucx|wss?)://)?[^\s/]+:\d{1,5}"
_ANSWER_SECONDS = 8.0  # for a scheduler to answer
_COUNT_SECONDS = 2.0  # and to say who is there
_LOOK_SECONDS = 60.0  # for a worker to: it has to load maskbank, maybe from a slow disk


@contextlib.contextmanager
def cluster(dask: Any, workers: int | None, stop: threading.Event | None = None) -> Iterator[Any]:
    """A client of a Dask cluster: of a scheduler's address, of "local" processes, or the one that is given.

    workers: how many, of "local". stop: where it is set while they are started, Interrupted. Raises
    MaskbankError where there is no Dask, RecipeError for what is no address, OutputError where nobody
    answers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise MaskbankError(
            "a cluster needs Dask, which is not installed: pip install 'maskbank[dask]'"
        ) from None
    if isinstance(dask, Client):
        if dask.asynchronous:
            raise RecipeError(f"dask={dask!r} is asynchronous; give a client that is not, or an address")
        yield dask
        return
    if not isinstance(dask, str) or not (dask == "local" or re.fullmatch(_ADDRESS, dask)):
        raise RecipeError(f"dask={dask!r} is no address; give a scheduler's, as tcp://host:8786, or local")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_silent())
        if dask == "local":
            address: Any = stack.enter_context(_local(check_threads(workers), stop))
        elif workers is not None:
            raise RecipeError(f"workers={workers} goes with dask=local; a cluster has as many as it has")
        else:
            address = dask
            _ask(dask)
        try:
            client = Client(address, timeout=_ANSWER_SECONDS, set_as_default=False)
        except Exception as error:
            raise OutputError(f"cannot join the Dask cluster at {dask}: {error}") from None
        yield stack.enter_context(client)


def _ask(address: str) -> None:
    """OutputError where no scheduler answers at an address: before a client waits for one."""
    from distributed import Security
    from distributed.core import rpc

    async def identity() -> Any:
        arguments = Security().get_connection_args("client")
        async with rpc(address, connection_args=arguments, timeout=_ANSWER_SECONDS) as scheduler:
            return await asyncio.wait_for(scheduler.identity(), _ANSWER_SECONDS)

    try:
        found = asyncio.run(asyncio.wait_for(identity(), _ANSWER_SECONDS))
    except OSError:
        raise OutputError(
            f"no Dask scheduler answers at {address} within {_ANSWER_SECONDS:.0f} s; check the address, or "
            "give local"
        ) from None
    except Exception as error:
        raise OutputError(f"cannot talk to {address}: {type(error).__name__}: {error}") from None
    if found.get("type") != "Scheduler":
        raise OutputError(f"at {address} there is a {found.get('type')}; give the address of the scheduler")


def _local(workers: int, stop: threading.Event | None) -> Any:
    """Processes of this machine that do not hear Ctrl-C: it reaches all in a terminal, but is for us."""
    from distributed import LocalCluster

    resource_tracker.ensure_running()  # or it would unblock the signal when it is started by one of them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        )
    except Exception as error:
        if stop is not None and stop.is_set():
            raise Interrupted("nothing is begun yet") from None
        raise OutputError(f"cannot start a Dask cluster on this machine: {error}") from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """What Dask logs on stderr is not for those who did not set it up: they get one line of ours."""
    names = [
        name for name in logging.root.manager.loggerDict if name.split(".")[0] in ("distributed", "asyncio")
    ]
    loggers = [logger for logger in map(logging.getLogger, names) if not logger.disabled]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger in loggers:
            logger.disabled = False


class Crew:
    """The workers of a cluster: who is there, and who can write to the bank."""

    def __init__(self, client: Any, path: str, key: Key) -> None:
        self.client = client
        self.path = path
        self.key = key
        self.threads: dict[str, int] = {}  # of each worker, by address
        self.unfit: dict[str, str] = {}  # why
        self._looked_at: set[str] = set()

    @property
    def fit(self) -> list[str]:
        """The addresses of those who can write."""
        return [address for address in self.threads if address not in self.unfit]

    @property
    def only(self) -> list[str] | None:
        """To whom tasks may be given; None: to anyone, also to whom joins later."""
        return self.fit if self.unfit.keys() & self.threads.keys() else None

    def gather(self, stop: threading.Event, tell: Tell | None) -> None:
        """Wait for workers, and look whether all can write: Unfit where one cannot."""
        self.count()
        if tell:
            link = self.client.dashboard_link
            tell(
                f"{len(self.threads)} Dask workers with {sum(self.threads.values())} threads"
                + ("" if self.threads else "; waiting for some to join")
                + (f"; dashboard {link}" if link else "")
            )
        while not self.threads and not stop.wait(0.2):
            self.check()
            self.count()
        self.look()
        if self.unfit:
            reasons = list(self.unfit.values())
            more = f", and {len(reasons) - 1} more workers" if len(reasons) > 1 else ""
            raise Unfit(f"{reasons[0]}{more}; give an -o that all workers see and can write to")

    def check(self) -> None:
        """OutputError where the scheduler is lost."""
        if self.client.status in ("closing", "closed"):
            raise OutputError(f"the connection to the Dask scheduler is lost; {AGAIN}")

    def count(self) -> bool:
        """Ask the scheduler who is there: whether there is anyone new."""
        before = self.threads.keys()

        async def ask() -> dict[str, int]:
            return dict(await asyncio.wait_for(self.client.nthreads(), _COUNT_SECONDS))

        if self.client.status == "running":
            with contextlib.suppress(OSError, RuntimeError, CancelledError, asyncio.CancelledError):
                self.threads = self.client.sync(ask)
        return not self.threads.keys() <= before

    def cancel(self, futures: list[Any]) -> None:
        """Take tasks back, as far as the scheduler still listens."""

        async def ask() -> None:
            await asyncio.wait_for(self.client.cancel(futures), _COUNT_SECONDS)

        with contextlib.suppress(Exception, CancelledError, asyncio.CancelledError):
            self.client.sync(ask)

    def look(self) -> bool:
        """Look whether workers not yet looked at can write: whether some cannot."""
        new = [address for address in self.threads if address not in self._looked_at]

        async def ask(address: str) -> Any:
            reply = self.client.run(look, self.path, self.key, workers=[address], on_error="return")
            return (await asyncio.wait_for(reply, _LOOK_SECONDS))[address]

        async def ask_all() -> list[Any]:
            return await asyncio.gather(*map(ask, new), return_exceptions=True)

        found: list[Any] = self.client.sync(ask_all) if new else []
        unfit = {}
        for address, answer in zip(new, found, strict=True):
            if isinstance(answer, tuple):
                self._looked_at.add(address)
                host, reason = answer
            elif isinstance(answer, TimeoutError):
                host, reason = address, f"does not answer within {_LOOK_SECONDS:.0f} s"
            elif isinstance(answer, OSError | KeyError):
                continue  # gone meanwhile
            else:
                host, reason = address, f"cannot load this maskbank ({answer}); install the same there"
            if reason:
                unfit[address] = f"worker {host}: {reason}"
        self.unfit |= unfit
        return bool(unfit)

    def look_again(self) -> bool:
        """After a failure: whether there are workers, unknown so far, that cannot write."""
        self.count()
        self._looked_at.clear()
        known = self.unfit.keys() & self.threads.keys()
        self.look()
        new = self.unfit.keys() - known
        for address in new:
            warnings.warn(f"left out: {self.unfit[address]}", stacklevel=2)
        return bool(new)
