"""Progress of a command: a bar on a terminal; elsewhere a line at the start and one each minute."""

import contextlib
import shlex
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from maskbank.checks import format_bytes, format_size
from maskbank.cli import output
from maskbank.cli.output import after_a_while, made, report, say
from maskbank.cli.signals import Stop, Stopped
from maskbank.errors import Interrupted

if TYPE_CHECKING:
    from maskbank.bank.layout import Content

LINE_SECONDS = 60.0  # between lines, where there is no terminal


class Bar:
    """Shows how many of `n` are done; 0: the caller gives `show` the number.

    start: printed when work begins. wait: printed before that, if it takes more than two seconds.
    """

    def __init__(self, n: int = 0, unit: str = "item", start: str = "", wait: str = "") -> None:
        self.n = n
        self.unit = unit
        self.start = start
        self.wait = wait
        self.waiting = contextlib.ExitStack()
        self.bar: Any = None
        self.first: tuple[float, int] | None = None  # when work began, and what was done then
        self.last = 0.0

    def __enter__(self) -> "Bar":
        if self.wait:
            self.waiting.enter_context(after_a_while(self.wait))
        return self

    def __exit__(self, *_: object) -> None:
        self.waiting.close()
        if self.bar is not None:
            self.bar.close()

    def show(self, done: int, n: int | None = None) -> None:
        """Show that `done` are made, of `n` if only the caller knows that."""
        self.n = n or self.n
        now = time.monotonic()
        if self.first is None:
            self.waiting.close()
            self.first, self.last = (now, done), now
            if self.start:
                say(self.start)
            if sys.stderr.isatty() and not output.quiet:
                from tqdm import tqdm

                self.bar = tqdm(
                    total=self.n, initial=done, unit=self.unit, smoothing=0.1, dynamic_ncols=True, leave=False
                )
        elif self.bar is not None:
            self.bar.update(done - self.bar.n)
        elif now - self.last >= LINE_SECONDS and done < self.n:
            self.last = now
            pace = (done - self.first[1]) / (now - self.first[0])
            seconds = (self.n - done) / pace if pace else 0
            left = f", {seconds:.0f} s left" if seconds < 120 else f", {seconds / 60:.0f} min left"
            report(f"{done:,} of {self.n:,} {self.unit}s, {done / self.n:.0%}{left * bool(pace)}")


def run(
    function: Callable[..., Any], *args: Any, n: int = 0, start: str = "", wait: str = "", **options: Any
) -> Any:
    """Call a function of the library that makes items, and show its progress. n, start, wait: as for `Bar`.

    A signal stops it; then Stopped is raised, with the signal's exit code.
    """
    with Stop() as stop, Bar(n, start=start, wait=wait) as bar:
        try:
            return function(*args, progress=bar.show, report=report, stop=stop, **options)
        except Interrupted as error:
            raise Stopped(f"stopped: {error}; run the same command again to go on", stop.code) from None


def make(path: str, content: "Content", *source: Any, **options: Any) -> None:
    """Make the bank of a content at `path`, or find it there, and say so. Arguments: as in `write`."""
    from maskbank.generation.generate import write

    start = time.perf_counter()
    recipe = content.recipe
    what = f"{content.n:,} x {recipe.kind} {format_size(recipe.size)} {recipe.dtype}"
    if content.first:
        what += f", items {content.first:,} to {content.first + content.n - 1:,}"
    size = format_bytes(content.n * content.item_bytes)
    if run(write, path, content, *source, n=content.n, start=f"making {path}: {what}, {size}", **options):
        made(path, what, start, f"; next: maskbank inspect {shlex.quote(path)}")
    else:
        say(f"{path} is there already: {what}, fingerprint {content.fingerprint}; nothing to do")
