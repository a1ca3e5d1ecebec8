"""Signals, and output to terminals, files and pipes."""

import contextlib
import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

import maskbank
from maskbank import noise
from maskbank.cli import main, output, progress
from tests.cli.common import MASKBANK, call, lines

# the command line with slow items
SLOW = """
import sys, time
from maskbank import noise
from maskbank.cli import main, progress
make = noise.Colours.make
def slowly(self, first, block):
    time.sleep({seconds} * len(block))
    make(self, first, block)
noise.Colours.make = slowly
progress.LINE_SECONDS = {line}
main(sys.argv[1:])
"""


def slow(seconds: float, line: float = 60.0) -> list[str]:
    return [sys.executable, "-c", SLOW.format(seconds=seconds, line=line)]


class Terminal:
    """A command in its own terminal."""

    def __init__(self, *command: str, cwd: Path) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.process = subprocess.Popen(
            command, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)
        self.text = ""

    def read_until(self, pattern: str, seconds: float = 100.0) -> None:
        """Read the output until a pattern appears or the command ends."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, self.text
            try:
                piece = os.read(self.ours, 65536)
            except OSError:
                piece = b""
            if not piece:
                assert pattern == "the end", self.text
                return
            self.text += piece.decode(errors="replace")

    def press_ctrl_c(self) -> None:
        os.write(self.ours, b"\x03")

    def end(self) -> int:
        """Read all output. Returns the exit code."""
        self.read_until("the end")
        os.close(self.ours)
        return self.process.wait(60)


class Shown(io.StringIO):
    """What a terminal shows."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_that_starts_where_the_work_does(tmp_path: Path) -> None:
    args = ("generate", "white2d", "-n", "2000", "--size", "8x8", "-o", "b.h5", "-j", "1")
    first = Terminal(*slow(0.002), *args, cwd=tmp_path)
    first.read_until(r"item/s")
    assert "making b.h5: 2,000 x white2d 8x8 float16, 256 kB" in first.text
    first.press_ctrl_c()
    first.read_until("stopping: finishing the items in hand")
    assert first.end() == 130
    (done,) = re.findall(r"stopped: ([\d,]+) of 2,000 items are done and kept", first.text)
    assert first.text.rstrip().endswith("run the same command again to go on")
    assert "Traceback" not in first.text
    again = Shown()
    with contextlib.chdir(tmp_path), contextlib.redirect_stderr(again), pytest.raises(SystemExit) as end:
        main([*args])
    assert end.value.code == 0
    assert f"going on: {done} of 2,000 items are made" in again.getvalue()
    shown = [int(number) for number in re.findall(r"\| (\d+)/2000", again.getvalue())]
    assert shown[0] == int(done.replace(",", ""))
    assert len(maskbank.Bank(tmp_path / "b.h5")) == 2000


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    args = ("generate", "white2d", "-n", "40", "--size", "8x8", "-o", "b.h5", "-j", "1")
    terminal = Terminal(*slow(60), *args, cwd=tmp_path)
    terminal.read_until(r"0/40")
    terminal.press_ctrl_c()
    terminal.read_until("once more stops at once")
    terminal.press_ctrl_c()
    assert terminal.end() == 130
    assert "stopped at once" in terminal.text
    assert not (tmp_path / "b.h5").exists()


def test_without_a_terminal_there_is_a_line_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ("generate", "white2d", "-n", "1000", "--size", "8x8", "-o", "b.h5", "-j", "1")
    make = noise.Colours.make

    def slowly(self: noise.Colours, first: int, block: noise.Block) -> None:
        time.sleep(0.0005 * len(block))
        make(self, first, block)

    monkeypatch.setattr(noise.Colours, "make", slowly)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.1)
    result = call(*args, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    start, *between, made = lines(result.stderr)
    assert (start.split()[0], made.split()[0]) == ("making", "made")
    pattern = r"maskbank: (\d+) of 1,000 items, \d+%(, \d+ s left)?"
    done = [int(match[1]) for match in map(re.compile(pattern).fullmatch, between) if match]
    assert len(done) == len(between) > 1
    assert done == sorted(done)
    assert "\r" not in result.stderr


@pytest.mark.parametrize("quiet", [False, True])
def test_quiet_shows_no_bar(quiet: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "quiet", False)  # put back, for what a command leaves
    shown = Shown()
    args = ["generate", "white2d", "-n", "3", "--size", "8x8", "-o", str(tmp_path / "b.h5")]
    with contextlib.redirect_stderr(shown), pytest.raises(SystemExit):
        main([*args, *["-q"] * quiet])
    assert ("/3 [" in shown.getvalue()) != quiet
    assert bool(shown.getvalue()) != quiet


def test_compiling_is_said_and_ctrl_c_is_answered_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    args = ("generate", "white2d", "-n", "3", "--size", "8x8", "-o", "b.h5")
    terminal = Terminal(*MASKBANK, *args, cwd=tmp_path)
    terminal.read_until("compiling kernels, once, about 4 s")
    terminal.press_ctrl_c()
    terminal.read_until("stopping: ")
    terminal.press_ctrl_c()
    assert terminal.end() == 130
    assert "stopped at once" in terminal.text


def test_a_wait_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with output.after_a_while("drawing", 0.05):
        time.sleep(0.2)
    with output.after_a_while("nothing", 5):
        pass
    assert capsys.readouterr().err == "maskbank: drawing\n"


@pytest.mark.parametrize(
    "number, code", [pytest.param(signal.SIGINT, 130, marks=pytest.mark.full), (signal.SIGTERM, 143)]
)
def test_a_signal_stops_the_work_and_keeps_it(tmp_path: Path, number: int, code: int) -> None:
    process = subprocess.Popen(
        [*slow(0.0005), "generate", "white2d", "-n", "20000", "--size", "8x8", "-o", "b.h5"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline().startswith("making")
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    assert process.returncode == code, text
    assert "run the same command again to go on" in text
    assert "Traceback" not in text
    assert os.listdir(tmp_path) == ["b.h5.partial"]


@pytest.mark.parametrize(
    "number, code", [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.full)]
)
def test_a_signal_ends_what_has_nothing_to_finish(tmp_path: Path, number: int, code: int) -> None:
    code_text = (
        "import os, signal; from maskbank.bank import check; from maskbank.cli import main\n"
        f"check.read_open = lambda *_: os.kill(os.getpid(), {int(number)})\n"
        "main(['verify', 'b.h5'])"
    )
    (tmp_path / "b.h5").touch()
    result = subprocess.run([sys.executable, "-c", code_text], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == code, result.stderr
    assert "interrupted; run the same command again" in result.stderr


LATE = """
import os, sys
from maskbank import cli
ended = cli._status

def late(args):
    code = ended(args)
    os.kill(os.getpid(), int(sys.argv[1]))
    return code

cli._status = late
cli.main(["--version"])
"""


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_after_the_last_word_of_a_command_is_no_traceback(number: int, code: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LATE, str(int(number))], capture_output=True, text=True, check=False
    )
    assert ended.returncode == code
    assert ended.stderr == ""
