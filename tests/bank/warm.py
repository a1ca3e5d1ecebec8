"""A process that has imported and compiled everything. It forks fresh processes within milliseconds.

`python -m tests.bank.warm` reads one JSON line of jobs, starts all of them at once, and answers with one
line that says how they ended. `processes.py` is the other side.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """Serve until the input ends."""
    prepare()
    threading.stack_size(2**18)  # so that a limit of address space is one of memory
    gc.collect()
    gc.freeze()  # so that collecting garbage copies no memory in what is forked
    print("ready", flush=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until a job has become itself
    while line := sys.stdin.buffer.readline():
        jobs = json.loads(line)
        for job in jobs:
            importlib.import_module(job["call"].partition(":")[0])  # once here, not in each fork
        start = time.perf_counter()
        pids = []
        for job in jobs:
            pid = os.fork()
            if pid == 0:
                if job.get("ends"):
                    become(job)
                    return
                become_quickly(job)
            pids.append(pid)
        print(json.dumps(watch(jobs, pids, start)), flush=True)


def prepare() -> None:
    """Import and compile what any job may need."""
    import h5py  # noqa: F401

    import maskbank
    from maskbank import cli, noise  # noqa: F401
    from maskbank.bank import check
    from maskbank.cli import generate, inspect, join, rebuild, repair, verify  # noqa: F401

    check.crc32()
    with tempfile.TemporaryDirectory() as folder:
        for recipe in (
            maskbank.White(size=(8, 8, 8)),
            maskbank.White(size=(5, 7), dtype="uint8"),
            maskbank.Green(size=(8, 8, 8)),
            maskbank.Green(size=(5, 7), dtype="uint8"),
            maskbank.Green(size=(16, 16)),
            maskbank.RBN(size=(8, 8)),
        ):
            maskbank.generate(f"{folder}/{recipe.kind}-{recipe.dtype}.h5", recipe, 3, force=True)
    assert threading.active_count() == 1


def become_quickly(job: dict[str, Any]) -> NoReturn:
    """Become the job. Exit without unloading modules, which takes longer than most jobs."""
    code = 1
    try:
        become(job)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def become(job: dict[str, Any]) -> None:
    """Become the job: run its function."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # dies with the server
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for fd, path in ((1, job["out"]), (2, job["err"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), fd)
    if job.get("cwd"):
        os.chdir(job["cwd"])
    for place, value in job.get("settings", {}).items():
        module, _, name = place.partition(":")
        setattr(importlib.import_module(module), name, value)
    if job.get("log"):
        log_items(job["log"], job.get("slow", 0.0))
    if job.get("memory"):
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[0])
        limit = pages * resource.getpagesize() + job["memory"]
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    module, _, name = job["call"].partition(":")
    function = getattr(importlib.import_module(module), name)
    if job.get("user"):
        os.setgroups([])
        os.setgid(job["user"])
        os.setuid(job["user"])
    with contextlib.ExitStack() as stack:
        if "die" in job:
            stack.enter_context(dying(*job["die"]))
        if "fail" in job:
            from tests.bank.calls import Calls, failing

            stack.enter_context(Calls(failing(*job["fail"])))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        result = function(*job["args"])
        print(json.dumps(result), flush=True)


def dying(at: int, after: bool) -> Any:
    """kill -9 before, or after, call number `at`."""
    from tests.bank.calls import Call, Calls

    def act(index: int, _name: str, call: Call, args: tuple[Any, ...]) -> Any:
        if index == at and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*args)
        if index == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return Calls(act)


def log_items(path: str, slow: float) -> None:
    """Log the items that are made or copied from now on, and slow each down."""
    from maskbank import noise
    from maskbank.generation import join

    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    for cls in (noise.Colours, join._Copier):
        real = cls.make

        def make(self: Any, first: int, block: Any, real: Any = real) -> None:
            if slow:
                time.sleep(slow)
            real(self, first, block)
            os.write(fd, f"{first} {len(block)}\n".encode())

        cls.make = make  # type: ignore[method-assign]


def watch(jobs: list[dict[str, Any]], pids: list[int], start: float) -> list[dict[str, Any]]:
    """Send each job its signals in time, and wait for all jobs."""
    todo = sorted(
        (delay, pid, number)
        for job, pid in zip(jobs, pids, strict=True)
        for delay, number in job.get("signals", [])
    )
    deadline = start + max(job.get("limit", 60.0) for job in jobs)
    status: dict[int, int] = {}
    seconds: dict[int, float] = {}
    late: set[int] = set()
    while len(status) < len(pids):
        now = time.perf_counter()
        while todo and now - start >= todo[0][0]:
            _, pid, number = todo.pop(0)
            if pid not in status:
                os.kill(pid, number)
        for pid in pids:
            if pid not in status:
                ended, code = os.waitpid(pid, os.WNOHANG)
                if ended:
                    status[pid], seconds[pid] = os.waitstatus_to_exitcode(code), now - start
                elif now > deadline:
                    late.add(pid)
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.0005)
    return [{"code": status[pid], "seconds": seconds[pid], "late": pid in late} for pid in pids]


if __name__ == "__main__":
    main()
