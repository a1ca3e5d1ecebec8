"""maskbank verify BANK: whether a bank is whole."""

import click

from maskbank.bank import layout
from maskbank.bank.check import verify
from maskbank.checks import format_bytes
from maskbank.cli import SETTINGS
from maskbank.cli.options import QUIET, Share
from maskbank.cli.output import show
from maskbank.cli.progress import Bar
from maskbank.errors import BankError


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
    n = layout.read(bank).content.n
    with Bar(max(1, round(n * (sample or 1)))) as bar:
        found = verify(bank, sample, bar.show)
    if found.fault:
        raise BankError(found.fault)
    what = f"{found.kind}, fingerprint {found.fingerprint}, {format_bytes(found.bytes_read)}"
    what += f" in {found.seconds:.1f} s"
    if found.checked < found.items:
        show(f"{bank} has no damage in the {found.checked:,} of {found.items:,} items looked at: {what}")
    else:
        show(f"{bank} is whole: {found.items:,} items of {what}")
