"""Printing: results go to stdout, everything else goes to stderr."""

import contextlib
import io
import logging
import os
import re
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence

from maskbank.checks import format_bytes

WIDTH = 80  # columns of a table
_MOST = 900  # characters of a message; one of that length fills half a screen

quiet = False  # with -q: errors and results only


def visible(text: str) -> str:
    """Text with control characters, which a terminal would obey, written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def line(text: str) -> str:
    """A message as one line, cut in its middle where it is too long."""
    text = visible(" ".join(text.split()))
    return text if len(text) <= _MOST else f"{text[: _MOST - 300]} … {text[-300:]}"


def shortened(name: str, most: int) -> str:
    """A name, or its end where it is longer than `most` characters."""
    return name if len(name) <= most else f"..{name[2 - most :]}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, each column as wide as its widest cell."""
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def show(text: str) -> None:
    """Print a result on stdout; its lines stay lines."""
    print("\n".join(map(visible, text.split("\n"))), flush=True)


def has_blocks() -> bool:
    """Whether stdout can take block characters; else plain ASCII."""
    try:
        "▀█▁±".encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def say(text: str, *, result: bool = False) -> None:
    """Print a line on stderr, or a result on stdout; with -q neither."""
    if not quiet:
        (show if result else _to_stderr)(line(text))


def report(text: str) -> None:
    """Print a message of the library on stderr."""
    say(f"maskbank: {text}")


def made(path: str, what: str, start: float, then: str = "") -> None:
    """Say what was made at `path`, how large it is, and how long it took since `start`."""
    size, seconds = format_bytes(os.path.getsize(path)), time.perf_counter() - start
    say(f"made {path}: {what}, {size}, in {seconds:.1f} s{then}")


def complain(text: str) -> None:
    """Print an error on stderr as one line. Parameters of the library are named as options."""
    text = re.sub(r"\b(force|partial)=True\b", r"--\1", text).replace("another path", "another -o")
    _to_stderr("maskbank: " + line(text))


def _to_stderr(text: str) -> None:
    tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)  # writes above its bar
    try:
        (tqdm.write if tqdm else print)(text, file=sys.stderr)
        sys.stderr.flush()
    except OSError:  # nobody can read it; the command goes on
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


@contextlib.contextmanager
def after_a_while(text: str, seconds: float = 2.0) -> Iterator[None]:
    """Say what a command does if it takes longer than some seconds."""
    timer = threading.Timer(seconds, report, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Let the streams take any text, even where they were closed; print warnings and the log as messages."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # opened now, so that no bank gets its descriptor
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper) and name != "stdin":
            stream.reconfigure(errors="backslashreplace")
    log, handler = logging.getLogger("maskbank"), logging.Handler()
    handler.emit = lambda record: report(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings for developers
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_args, **_kwargs: report(str(message))
        try:
            yield
        finally:
            log.removeHandler(handler)
