"""Calls of the command line, in this process or in a new one."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskbank.cli import main

Result = subprocess.CompletedProcess[str]
MASKBANK = [sys.executable, "-m", "maskbank"]


def call(*args: object, cwd: Path | None = None) -> Result:
    """`maskbank ARGS` in this process, because a new process spends most of its time starting."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd or "."),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main([*map(str, args)])
    assert isinstance(end.value.code, int)
    return Result([*map(str, args)], end.value.code, out.getvalue(), err.getvalue())


def run(*args: object, cwd: Path | None = None, **environment: str) -> Result:
    """`maskbank ARGS` in a new process."""
    return subprocess.run(
        [*MASKBANK, *map(str, args)],
        cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def lines(text: str) -> list[str]:
    """The lines on stderr, without the line that only a first run prints."""
    return [line for line in text.splitlines() if "compiling kernels" not in line]


def one_line(result: Result, code: int) -> str:
    """The message of a failed command: exactly one line on stderr, nothing on stdout."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    (line,) = lines(result.stderr)
    assert line.startswith("maskbank: ")
    return line
