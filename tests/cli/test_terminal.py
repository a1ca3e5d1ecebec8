"""Signals and terminals: what depends on who watches."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.cli.common import MASKBANK


def test_ctrl_c_ends_with_130_and_no_half_written_bank(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*MASKBANK, "generate", "white3d", "-n", "20000", "-o", "b.h5"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    partial = tmp_path / "b.h5.partial"
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130, text
    assert "run the same command again to go on" in text
    assert "Traceback" not in text
    assert not (tmp_path / "b.h5").exists()
    partial.unlink()


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_what_has_nothing_to_finish(tmp_path: Path, number: int, code: int) -> None:
    call = (
        "import os, signal; from maskbank.bank import layout; from maskbank.cli import main\n"
        f"layout.read = lambda _: os.kill(os.getpid(), {int(number)})\n"
        "main(['verify', 'b.h5'])"
    )
    result = subprocess.run([sys.executable, "-c", call], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == code, result.stderr
    assert "interrupted; run the same command again" in result.stderr


def test_a_terminal_shows_progress_and_a_pipe_does_not(tmp_path: Path) -> None:
    command = [*MASKBANK, "generate", "white3d", "-n", "400", "--force", "-o", "b.h5"]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(command, cwd=tmp_path, stderr=theirs, stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        assert process.wait(60) == 0
    os.close(ours)
    assert b"item/s" in shown
    assert b"%|" in shown
    piped = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in piped.stderr.splitlines()] == ["making", "made"]
