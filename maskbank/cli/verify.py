"""maskbank verify BANK: whether a bank is whole."""

import os
import time

import click
import numpy as np

from maskbank.bank import check, layout
from maskbank.bank.salvage import known
from maskbank.checks import format_bytes
from maskbank.cli import SETTINGS
from maskbank.cli.options import QUIET, Share
from maskbank.cli.output import show
from maskbank.cli.progress import Bar
from maskbank.errors import BankError, MaskbankError, RecipeError

_MOST_RUNS = 10  # ranges of damaged items that are named


@click.command(context_settings=SETTINGS)
@click.argument("bank", metavar="BANK", type=click.Path())
@click.option("--sample", type=Share(), metavar="SHARE", help="Look at a random share only, as 1%.")
@QUIET
def command(bank: str, sample: float | None) -> None:
    """Check that a bank is whole: header, layout, every checksum, and the sigmas of its recipe and seed.

    Says which items are damaged, if any, and then ends with exit code 1.

    \b
    maskbank verify green3d.h5
    """
    start = time.perf_counter()
    try:
        found = layout.read(bank)
    except BankError as error:
        try:
            known(bank)
        except MaskbankError:
            raise error from None
        raise BankError(f"{error}; maskbank repair makes it whole") from None
    n = found.content.n
    items = None
    if sample is not None:
        if not 0.0 < sample <= 1.0:
            raise RecipeError(f"sample={sample:g} is not a share of the items; give for example 1% or 0.01")
        count = max(1, round(sample * n))
        items = np.sort(np.random.default_rng().choice(n, count, replace=False))
    fd = os.open(bank, os.O_RDONLY | os.O_CLOEXEC)
    try:
        header = len(check.header_differences(fd, found))
        with Bar(n if items is None else len(items)) as bar:
            good = check.whole(fd, found, items, bar.show)
    finally:
        os.close(fd)
    bad = np.flatnonzero(~good) if items is None else items[~good]
    what = f"{n:,} items" if items is None else f"{len(items):,} of {n:,} items"
    if header or len(bad):
        faults = [f"{header} bytes of its header"] if header else []
        faults += [f"{len(bad):,} of {what} ({_ranges(bad)})"] if len(bad) else []
        raise BankError(f"{bank} is damaged: {' and '.join(faults)}; maskbank repair makes it whole")
    seconds = time.perf_counter() - start
    size = len(good) * found.content.item_bytes
    show(
        f"{bank} is whole: {what} of {found.content.recipe.kind}, fingerprint {found.content.fingerprint}, "
        f"{format_bytes(size)} in {seconds:.1f} s"
    )


def _ranges(items: np.ndarray[tuple[int], np.dtype[np.int64]]) -> str:
    """[1, 2, 3, 7] -> '1-3, 7'."""
    runs = np.split(items, np.flatnonzero(np.diff(items) != 1) + 1)
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs[:_MOST_RUNS]]
    more = len(runs) - len(texts)
    return ", ".join(texts) + (f" and {more:,} more ranges" if more else "")
