"""maskbank rebuild RECIPE: make a bank from the line of its recipe."""

import os
import shlex
from pathlib import Path

import click

from maskbank.bank.superblock import SIGNATURE
from maskbank.cli.options import FORCE, QUIET, WORKERS
from maskbank.cli.progress import make
from maskbank.errors import BankError


@click.command()
@click.argument("recipe", metavar="RECIPE", type=click.Path())
@click.option(
    "-o", "--output", type=click.Path(), metavar="OUT", help="The file to make.  [default: KIND.h5]"
)
@WORKERS
@FORCE
@QUIET
def command(recipe: str, output: str | None, workers: int | None, force: bool) -> None:
    """Make a bank from what inspect --recipe printed: a file that holds the line, or the line itself.

    \b
    maskbank inspect bank.h5 --recipe > bank.json
    maskbank rebuild bank.json -o again.h5
    """
    from maskbank.generation.rebuild import content_of

    if not recipe.lstrip().startswith("{"):
        if not os.path.isfile(recipe):
            raise BankError(f"there is no file {recipe}; give one, or the line that starts with {{")
        try:
            with open(recipe, "rb") as file:
                if file.read(len(SIGNATURE)) == SIGNATURE:
                    name = shlex.quote(recipe)
                    raise BankError(
                        f"{recipe} is a bank; rebuild takes the line of its recipe: "
                        f"maskbank inspect {name} --recipe > recipe.json"
                    )
            recipe = Path(recipe).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise BankError(f"cannot read {recipe}: {error}") from None
    content = content_of(recipe)
    make(output or f"{content.recipe.kind}.h5", content, workers=workers, force=force)
