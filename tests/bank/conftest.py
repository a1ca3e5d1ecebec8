"""Fixtures of the campaigns: a process that forks, and a folder in memory."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bank.processes import Warm


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(tmp_path_factory.mktemp("warm"))
    yield process
    process.close()


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where the machine has that: kills have the same effects there, only sooner."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="maskbank-") as folder:
        yield Path(folder)
