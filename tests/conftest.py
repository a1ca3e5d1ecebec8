"""What all tests share."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import settings

# Processes of pytest run side by side; several threads of linear algebra in each wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the long campaigns, too")


def pytest_configure(config: pytest.Config) -> None:
    """The same examples each time; more of them with --full, where a test does not say how many."""
    settings.register_profile(
        "maskbank",
        max_examples=150 if config.getoption("--full") else 40,
        deadline=None, derandomize=True, database=None,
    )  # fmt: skip
    settings.load_profile("maskbank")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--full"):
        for item in items:
            if "full" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="bin/test --all runs it"))


def printed_by(*python: object, **variables: str) -> str:
    """What a Python process of its own prints, with these environment variables besides ours."""
    done = subprocess.run(
        [sys.executable, *map(str, python)],
        cwd=Path(__file__).parent.parent, env=os.environ | variables, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


class Share(Protocol):
    """How many of a campaign's cases to run."""

    def __call__(self, count: int, few: int = 0) -> int: ...


@pytest.fixture(scope="session")
def share(request: pytest.FixtureRequest) -> Share:
    """All of a campaign's cases with --full; `few`, or a tenth, without."""
    full: bool = request.config.getoption("--full")
    return lambda count, few=0: count if full else few or -(-count // 10)


def hold_writes(patch: pytest.MonkeyPatch, until: threading.Event) -> None:
    """Let all writes of items but the first wait for an event: a fast machine would have made all by then."""
    from maskbank.bank.storage import BankFile  # not above: it imports NumPy, which reads the environment

    write = BankFile.write

    def later(self: BankFile, start: int, *block: Any) -> None:
        if start:
            until.wait(60)
        write(self, start, *block)

    patch.setattr(BankFile, "write", later)
