"""Whole processes, timed: side by side, in turn, medians."""

import contextlib
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PYTHON = sys.executable
MASKBANK = str(Path(PYTHON).parent / "maskbank")


class Bench:
    """Runs processes that write `out`, a file in a folder that is removed in the end."""

    def __init__(self, folder: str | None, repeat: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="maskbank-bench-", dir=folder))
        self.out = str(self.folder / "bank.h5")
        self.repeat = repeat
        self.memory = 0.0  # of the last process, MB
        self.cpu = 0.0  # its seconds of all cores, and those of its children

    def once(self, *command: str, **environment: str) -> float:
        """Seconds of one whole process; its output file is removed outside of the measured time."""
        with tempfile.TemporaryFile("w+") as errors:
            start = time.perf_counter()
            process = subprocess.Popen(
                command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=errors
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                errors.seek(0)
                said = f"{' '.join(command)[:200]} ended with {process.returncode}"
                raise SystemExit(f"{said}: {errors.read()[-500:]}")
        self.memory = usage.ru_maxrss / 1024
        self.cpu = usage.ru_utime + usage.ru_stime
        Path(self.out).unlink(missing_ok=True)
        return seconds

    def script(self, code: str, *args: object, **environment: str) -> float:
        path = self.folder / "peer.py"
        path.write_text(code)
        return self.once(PYTHON, str(path), *map(str, args), **environment)

    def generate(self, kind: str, n: int, workers: int, *more: str, **environment: str) -> float:
        command = (MASKBANK, "generate", kind, "-n", str(n), "-o", self.out, "-j", str(workers), *more)
        return self.once(*command, **environment)

    def medians(self, times: int = 1, **runs: Callable[[], float]) -> dict[str, float]:
        """Medians of runs taken in turn, so that a drift of the machine's speed meets all alike.

        times: how many times as many runs as usual, where they are short.
        """
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(times * self.repeat):
            for name, run in runs.items():
                seconds[name].append(run())
        return {name: statistics.median(values) for name, values in seconds.items()}


def processor() -> str:
    with contextlib.suppress(OSError, IndexError):
        found = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        return str(found[0])
    return platform.processor() or platform.machine()


def line(what: str, text: str) -> None:
    print(f"  {what:<26}{text}", flush=True)


def row(*cells: str) -> None:
    """A row of a table of the README."""
    print(f"| {' | '.join(cells)} |", flush=True)
