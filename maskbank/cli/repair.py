"""maskbank repair BANK: damaged items made again, in place."""

import click

from maskbank.bank.salvage import known
from maskbank.cli import SETTINGS
from maskbank.cli.options import WORKERS
from maskbank.cli.progress import Bar, stopping


@click.command(context_settings=SETTINGS)
@click.argument("bank", metavar="BANK", type=click.Path())
@WORKERS
def command(bank: str, workers: int | None) -> None:
    """Make damaged or missing items of a bank again, in place, bit for bit.

    What an item was follows from the recipe and the seed, so nothing else is needed. It can be stopped at
    any time; the same command goes on.
    """
    from maskbank.generation.repair import repair

    n = known(bank).content.n
    with stopping() as stop, Bar(n) as bar:
        items, header = repair(bank, workers=workers, progress=bar.show, stop=stop)
    if items or header:
        faults = [f"{items:,} of {n:,} items"] if items else []
        faults += [f"{header} bytes of its header"] if header else []
        click.echo(f"{bank} is whole again: {' and '.join(faults)} were made anew", err=True)
    else:
        click.echo(f"{bank} is whole; nothing to do", err=True)
