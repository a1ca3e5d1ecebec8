"""Progress of a command: a bar on a terminal; elsewhere a line at the start and one each minute."""

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from maskbank.checks import format_bytes, format_size
from maskbank.cli import output
from maskbank.cli.output import after_a_while, made, report, say
from maskbank.cli.signals import Stop, Stopped
from maskbank.errors import Interrupted

if TYPE_CHECKING:
    from maskbank.bank.layout import Content

LINE_SECONDS = 60.0  # between lines, where there is no terminal


@contextlib.contextmanager
def bar(n: int = 0, unit: str = "item", start: str = "", wait: str = "") -> Iterator[Callable[..., None]]:
    """Yield a function that shows progress: show(done), or show(done, n) where only the caller knows n.

    start: printed when work begins. wait: printed before that, if it takes more than two seconds.
    """
    drawn: Any = None  # tqdm's bar
    first: tuple[float, int] | None = None  # when work began, and what was done then
    last = 0.0  # when the last line was printed

    def show(done: int, n: int = n) -> None:
        nonlocal drawn, first, last
        now = time.monotonic()
        if first is None:
            waiting.close()
            first, last = (now, done), now
            if start:
                say(start)
            if sys.stderr.isatty() and not output.quiet:
                from tqdm import tqdm

                drawn = tqdm(total=n, initial=done, unit=unit, smoothing=0.1, dynamic_ncols=True, leave=False)
        elif drawn is not None:
            drawn.update(done - drawn.n)
        elif now - last >= LINE_SECONDS and done < n:
            last = now
            pace = (done - first[1]) / (now - first[0])
            seconds = (n - done) / pace if pace else 0
            left = f", {seconds:.0f} s left" if seconds < 120 else f", {seconds / 60:.0f} min left"
            report(f"{done:,} of {n:,} {unit}s, {done / n:.0%}{left * bool(pace)}")

    with contextlib.ExitStack() as waiting:
        if wait:
            waiting.enter_context(after_a_while(wait))
        try:
            yield show
        finally:
            if drawn is not None:
                drawn.close()


def run(
    function: Callable[..., Any], *args: Any, n: int = 0, start: str = "", wait: str = "", **options: Any
) -> Any:
    """Call a function of the library that makes items, and show its progress. n, start, wait: as for `bar`.

    A signal stops it; then Stopped is raised, with the signal's exit code.
    """
    with Stop() as stop, bar(n, start=start, wait=wait) as show:
        try:
            return function(*args, progress=show, report=report, stop=stop, **options)
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
