"""maskbank repair BANK: make damaged items again, in place."""

import click

from maskbank.cli.options import QUIET, WORKERS, BankPath
from maskbank.cli.output import say
from maskbank.cli.progress import run


@click.command()
@click.argument("bank", metavar="BANK", type=BankPath())
@WORKERS
@QUIET
def command(bank: str, workers: int | None) -> None:
    """Make damaged or missing items of a bank again, in place, bit for bit.

    Recipe and seed determine each item, so nothing else is needed. You can stop it at any time; the same
    command goes on.
    """
    from maskbank.generation.repair import repair

    items, n, header = run(repair, bank, wait=f"checking {bank}", workers=workers)
    if items or header:
        faults = [f"{items:,} of {n:,} items"] if items else []
        faults += [f"{header} bytes of its header"] if header else []
        say(f"{bank} is whole again: {' and '.join(faults)} were made anew")
    else:
        say(f"{bank} is whole; nothing to do")
