"""maskbank join PART...: put parts together."""

import click

from maskbank.cli.options import FORCE, QUIET, WORKERS, BankPath
from maskbank.cli.progress import make


@click.command()
@click.argument("parts", metavar="PART...", nargs=-1, required=True, type=BankPath())
@click.option("-o", "--output", required=True, type=click.Path(), metavar="OUT", help="The file to make.")
@click.option(
    "--partial", is_flag=True, help="Let the first part begin after item 0: OUT is then also a part."
)
@WORKERS
@FORCE
@QUIET
def command(parts: tuple[str, ...], output: str, partial: bool, workers: int | None, force: bool) -> None:
    """Put together parts that were made with --items. The file equals one made in one run.

    \b
    maskbank generate green3d -n 10000 --items 0:5000 -o a.h5
    maskbank generate green3d -n 10000 --items 5000:10000 -o b.h5
    maskbank join -o green3d.h5 a.h5 b.h5
    """
    from maskbank.generation.join import content_and_source

    make(output, *content_and_source(output, parts, partial), workers=workers, force=force)
