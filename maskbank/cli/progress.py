"""What commands say while they work, and of how much."""

import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from maskbank.checks import format_size
from maskbank.cli.signals import Stop
from maskbank.errors import Interrupted

if TYPE_CHECKING:
    from maskbank.bank.layout import Content


class Stopped(Interrupted):
    """A command was stopped by a signal: what to say, and the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def say(text: str) -> None:
    """A line on stderr."""
    click.echo("maskbank: " + " ".join(text.split()), err=True)


@contextmanager
def stopping() -> Iterator[Stop]:
    """Ctrl-C and SIGTERM set the event; what comes of it ends the command with the signal's exit code."""
    with Stop() as stop:
        try:
            yield stop
        except Interrupted as error:
            raise Stopped(f"stopped: {error}; run the same command again to go on", stop.code) from None


@contextmanager
def told(path: str, content: "Content") -> Iterator[None]:
    """Say what a command made or found there, after it, and warnings on stderr as they come."""
    start = time.perf_counter()
    before = _identity(path)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_args, **_kwargs: say(str(message))
        yield
    recipe = content.recipe
    what = f"{content.n:,} x {recipe.kind} {format_size(recipe.size)} {recipe.dtype}"
    if content.first:
        what += f", items {content.first:,} to {content.first + content.n - 1:,}"
    if _identity(path) == before:
        click.echo(
            f"{path} is there already: {what}, fingerprint {content.fingerprint}; nothing to do", err=True
        )
        return
    seconds = time.perf_counter() - start
    size = human_bytes(os.path.getsize(path))
    click.echo(f"made {path}: {what}, {size}, in {seconds:.1f} s; next: maskbank inspect {path}", err=True)


def _identity(path: str) -> tuple[int, ...]:
    try:
        file = os.stat(path)
    except OSError:
        return ()
    return file.st_dev, file.st_ino, file.st_mtime_ns


class Bar:
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self, n: int, unit: str = "item") -> None:
        self.n = n
        self.unit = unit
        self.bar: Any = None

    def __enter__(self) -> "Bar":
        return self

    def show(self, done: int) -> None:
        """Say that `done` items are made."""
        if self.bar is None:
            if not sys.stderr.isatty():
                return
            from tqdm import tqdm

            self.bar = tqdm(total=self.n, unit=self.unit, smoothing=0.1, dynamic_ncols=True, leave=False)
        self.bar.update(done - self.bar.n)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


def human_bytes(n: int) -> str:
    """5243039744 -> '5.24 GB'."""
    size = float(n)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError
