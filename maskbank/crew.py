"""A Dask cluster as maskbank sees it: a client of its scheduler, and the workers that can write to a bank."""

import asyncio
import contextlib
import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

from maskbank.errors import MaskbankError, OutputError, RecipeError
from maskbank.filling import check_threads
from maskbank.sharing import Key, Unfit, look

Tell = Callable[[str], None]

_ADDRESS = r"((tcp|tls|ucx|wss?)://)?[^\s/]+:\d{1,5}"
# Ctrl-C in a terminal reaches all processes there, but it is ours to end our workers
_DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
_ANSWER_SECONDS = 8.0  # for a scheduler to answer
_LOOK_SECONDS = 60.0  # for a worker to: it has to load maskbank, maybe from a slow disk


@contextlib.contextmanager
def cluster(dask: Any, workers: int | None) -> Iterator[Any]:
    """A client of a Dask cluster: of a scheduler's address, of "local" processes, or the one that is given.

    workers: how many, of "local". Raises MaskbankError where there is no Dask, RecipeError for what is no
    address, OutputError where nobody answers.
    """
    try:
        from distributed import Client, LocalCluster
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
            local = LocalCluster(
                n_workers=check_threads(workers), threads_per_worker=1, dashboard_address=":0",
                silence_logs=logging.CRITICAL, preload=[_DEAF],
            )  # fmt: skip
            address: Any = stack.enter_context(local)
        elif workers is not None:
            raise RecipeError(f"workers={workers} goes with dask=local; a cluster has as many as it has")
        else:
            address = dask
        try:
            client = Client(address, timeout=_ANSWER_SECONDS, set_as_default=False)
        except (OSError, OverflowError):
            raise OutputError(
                f"no Dask scheduler answers at {dask} within {_ANSWER_SECONDS:.0f} s; check the address, or "
                "give local"
            ) from None
        yield stack.enter_context(client)


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
            self.count()
        self.look()
        if self.unfit:
            reasons = list(self.unfit.values())
            more = f", and {len(reasons) - 1} more workers" if len(reasons) > 1 else ""
            raise Unfit(f"{reasons[0]}{more}; give an -o that all workers see and can write to")

    def count(self) -> bool:
        """Ask the scheduler who is there: whether there is anyone new."""
        before = self.threads.keys()
        if self.client.status == "running":
            with contextlib.suppress(OSError, RuntimeError, CancelledError, asyncio.CancelledError):
                self.threads = dict(self.client.nthreads())
        return not self.threads.keys() <= before

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
