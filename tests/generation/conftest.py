"""Dask clusters of real processes: a scheduler and workers over TCP, to be killed, stopped and misled."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bank.processes import PASSING

HOST = "127.0.0.1"


COMMAND = "import sys; from maskbank.cli import main; main(sys.argv[1:])"
# the command line with many small tasks
SMALL_TASKS = f"""
from maskbank.generation import cluster
cluster._FIRST_BYTES, cluster._TASK_SECONDS = 2**20, 0.05
{COMMAND}
"""


def wait_until(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until this returns true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def written(partial: Path) -> int:
    """How many items the journal of a `.partial` records."""
    from maskbank.bank import layout
    from maskbank.errors import BankError

    try:
        found = layout.read(partial)
        with open(partial, "rb") as file:
            file.seek(found.offsets["written"])
            return file.read(found.content.n).count(1)
    except (BankError, OSError):
        return 0


class Cluster:
    """A scheduler and workers. within: the command that starts a process elsewhere, as in a namespace."""

    def __init__(self, folder: Path, host: str = HOST, within: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.log = open(folder / "log", "ab")  # noqa: SIM115
        self.processes: list[subprocess.Popen[bytes]] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        self.address = ""
        self.start(host, within)

    def start(self, host: str = HOST, within: tuple[str, ...] = ()) -> None:
        """Start a scheduler, at the address of the last one if there was one."""
        port = self.address.rpartition(":")[2] or "0"
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        self.scheduler = self._dask(
            (*within, sys.executable), "scheduler", "--host", host, "--port", port, "--no-dashboard",
            "--scheduler-file", str(file), "--no-show",
        )  # fmt: skip
        wait_until(lambda: file.exists() and file.stat().st_size)
        import json

        self.address = str(json.loads(file.read_text())["address"])

    def work(self, *more: str, within: tuple[str, ...] = (), host: str = HOST) -> "subprocess.Popen[bytes]":
        """Start a worker of one thread."""
        worker = self._dask(
            (*within, sys.executable), "worker", self.address, "--host", host, "--nthreads", "1",
            "--no-dashboard", "--no-nanny", "--local-directory", str(self.folder), *more,
        )  # fmt: skip
        self.workers.append(worker)
        return worker

    def joined(self, count: int) -> None:
        """Wait until this number of workers has joined."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            wait_until(lambda: len(client.nthreads()) == count)

    def _dask(self, start: tuple[str, ...], *args: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [*start, "-m", "dask", *args], stdout=self.log, stderr=self.log, cwd=self.folder,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "10s"},
        )  # fmt: skip
        self.processes.append(process)
        return process

    def maskbank(self, *args: object, wait: bool = True, code: str = COMMAND) -> "Command":
        """Run maskbank on this cluster."""
        command = Command(self.folder, *args, "--dask", self.address, code=code)
        if wait:
            command.wait()
        return command

    def close(self) -> None:
        """End all."""
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        self.log.close()


class Command:
    """A maskbank process."""

    def __init__(self, folder: Path, *args: object, code: str = COMMAND) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, args)], cwd=folder,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs ignore it
        )  # fmt: skip

    def wait(self, seconds: float = 120.0) -> str:
        """Its stderr, after it has ended."""
        try:
            _, self.err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.err

    @property
    def lines(self) -> list[str]:
        """Its lines on stderr without "making" and "stopping"."""
        return [line for line in self.err.splitlines() if not line.startswith(PASSING)]

    @property
    def code(self) -> int:
        """Its exit code."""
        return int(self.process.returncode)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler that has no workers yet."""
    one = Cluster(tmp_path)
    yield one
    one.close()


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and three workers, which tests leave running."""
    one = Cluster(tmp_path_factory.mktemp("three"))
    for _ in range(3):
        one.work()
    one.joined(3)
    yield one
    one.close()


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skips where this machine allows no namespaces."""
    if (
        not shutil.which("unshare")
        or subprocess.run(
            ["unshare", "--mount", "--uts", "true"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no namespaces here")


def elsewhere(folder: Path, name: str, how: str) -> tuple[str, ...]:
    """The command prefix for another host: with another name, and `folder` changed by `how`."""
    return ("unshare", "--mount", "--uts", "sh", "-c", f'{how} && hostname {name} && exec "$@"', "sh")


class Network:
    """Hosts with addresses of their own: network namespaces on one bridge, the first one ours."""

    def __init__(self, hosts: int) -> None:
        self.name = f"mb{os.getpid() % 100_000}"
        self.hosts = [f"{self.name}h{k}" for k in range(hosts)]
        self.ip("link", "add", self.name, "type", "bridge")
        self.ip("addr", "add", "10.213.7.1/24", "dev", self.name)
        self.ip("link", "set", self.name, "up")
        for k, host in enumerate(self.hosts):
            self.ip("netns", "add", host)
            self.ip("link", "add", f"{self.name}v{k}", "type", "veth", "peer", "name", "eth0", "netns", host)
            self.ip("link", "set", f"{self.name}v{k}", "master", self.name, "up")
            self.ip("-n", host, "addr", "add", f"{self.address(k)}/24", "dev", "eth0")
            self.ip("-n", host, "link", "set", "lo", "up")
            self.ip("-n", host, "link", "set", "eth0", "up")

    @staticmethod
    def ip(*args: str, check: bool = True) -> None:
        """Run ip."""
        subprocess.run(["ip", *args], check=check, capture_output=True)

    @staticmethod
    def address(k: int) -> str:
        """The address of host k."""
        return f"10.213.7.{10 + k}"

    def within(self, k: int) -> tuple[str, ...]:
        """The command prefix that runs a process on host k."""
        return ("ip", "netns", "exec", self.hosts[k])

    def cut(self, k: int) -> None:
        """Take host k off the network. The others get no message."""
        self.ip("-n", self.hosts[k], "link", "set", "eth0", "down")

    def close(self) -> None:
        """Remove all."""
        for k, host in enumerate(self.hosts):
            self.ip("link", "del", f"{self.name}v{k}", check=False)
            self.ip("netns", "del", host, check=False)
        self.ip("link", "del", self.name, check=False)


@pytest.fixture
def network() -> Iterator[Network]:
    """Four hosts. Skips where this machine does not allow them."""
    made = Network.__new__(Network)
    made.name, made.hosts = "", []
    try:
        made.__init__(4)  # type: ignore[misc]
    except (OSError, subprocess.CalledProcessError):
        made.close()
        pytest.skip("no network namespaces here")
    yield made
    made.close()
