"""What the campaigns share: a process that forks, and how much of a campaign to run."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.bank.processes import Warm


class Share(Protocol):
    """How many of a campaign's cases to run."""

    def __call__(self, count: int, few: int = 0) -> int: ...


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(tmp_path_factory.mktemp("warm"))
    yield process
    process.close()


@pytest.fixture(scope="session")
def share(request: pytest.FixtureRequest) -> Share:
    """All of a campaign's cases with --full; `few`, or a tenth, without."""
    full: bool = request.config.getoption("--full")
    return lambda count, few=0: count if full else few or -(-count // 10)


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where the machine has that: a killed process is the same there, only sooner."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="maskbank-") as folder:
        yield Path(folder)
