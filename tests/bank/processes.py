"""Starts fresh processes quickly (the tests' side of `warm.py`); helpers of the campaigns."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskbank.bank import layout
from maskbank.errors import BankError

ROOT = Path(__file__).parent.parent.parent
CLI = "maskbank.cli:main"
PASSING = ("making ", "maskbank: making ", "maskbank: stopping: ")  # lines that come before the last one


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended. code: minus the signal, if one ended it; late: it hung."""

    code: int
    seconds: float
    late: bool
    out: str
    err: str

    @property
    def result(self) -> Any:
        """The value that its function returned."""
        return json.loads(self.out)

    def line(self, code: int) -> str:
        """Its last line on stderr, which is the only one besides PASSING ones."""
        assert self.code == code, self
        lines = [line for line in self.err.splitlines() if not line.startswith(PASSING)]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("maskbank: ")
        assert self.out == ""
        return lines[0]


class Warm:
    """The process that forks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugins = folder / "plugins"
        self.plugins.mkdir()
        environment = os.environ | {
            "MALLOC_ARENA_MAX": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "HDF5_PLUGIN_PATH": str(self.plugins),
            "PYTHONWARNINGS": "error",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bank.warm"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def close(self) -> None:
        """End it."""
        self.process.communicate()

    def together(self, jobs: Sequence[dict[str, Any]]) -> list[Ended]:
        """Run jobs at the same time."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            os.chmod(folder, 0o777)
            jobs = [
                {"out": f"{folder}/{k}.out", "err": f"{folder}/{k}.err", **job} for k, job in enumerate(jobs)
            ]
            self.process.stdin.write(json.dumps(jobs) + "\n")
            self.process.stdin.flush()
            found = json.loads(self.process.stdout.readline())
            return [
                Ended(
                    **values,
                    out=Path(job["out"]).read_text() if os.path.exists(job["out"]) else "",
                    err=Path(job["err"]).read_text() if os.path.exists(job["err"]) else "",
                )
                for job, values in zip(jobs, found, strict=True)
            ]

    def call(self, place: str, *args: Any, **settings: Any) -> Ended:
        """Call a function, "module:name", in a fresh process."""
        return self.together([{"call": place, "args": list(args), **settings}])[0]

    def maskbank(self, *args: object, **settings: Any) -> Ended:
        """Run the command line in a fresh process."""
        return self.call(CLI, [str(arg) for arg in args], **settings)


def digest(path: str | Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def claimed(path: str | Path) -> set[int]:
    """The items that are written by a bank's journal; none where the bank has no journal yet."""
    try:
        found = layout.read(path)
    except BankError:
        return set()
    with open(path, "rb") as file:
        file.seek(found.offsets["written"])
        flags = np.frombuffer(file.read(found.content.n), "u1")
    return set(np.flatnonzero(flags).tolist())


def noted(log: str | Path) -> list[int]:
    """The items that a process noted in its log."""
    if not os.path.exists(log):
        return []
    pairs = [line.split() for line in Path(log).read_text().splitlines()]
    return [item for first, count in pairs for item in range(int(first), int(first) + int(count))]
