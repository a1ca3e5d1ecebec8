"""maskbank join and maskbank rebuild: banks from parts, and from a recipe's line."""

import os
from pathlib import Path

import click

from maskbank.checks import check_workers
from maskbank.cli import SETTINGS
from maskbank.cli.progress import Bar, stopping, told
from maskbank.errors import BankError

WORKERS = click.option("-j", "--workers", type=int, metavar="W", help="Cores to use.  [default: all]")
FORCE = click.option("--force", is_flag=True, help="Replace what is at OUT.")


@click.command(context_settings=SETTINGS)
@click.argument("out", metavar="OUT", type=click.Path())
@click.argument("parts", metavar="PART...", nargs=-1, required=True, type=click.Path())
@WORKERS
@FORCE
def join(out: str, parts: tuple[str, ...], workers: int | None, force: bool) -> None:
    """Put parts together that were made with --items: the file equals the one made in one go.

    \b
    maskbank generate green3d -n 10000 --items 0:5000 -o a.h5
    maskbank generate green3d -n 10000 --items 5000:10000 -o b.h5
    maskbank join green3d.h5 a.h5 b.h5
    """
    from maskbank.bank.reader import Bank
    from maskbank.joining import join as put_together

    if workers is not None:
        check_workers(workers)
    content = Bank(list(parts)).content
    with told(out, content), stopping() as stop, Bar(content.n) as bar:
        put_together(out, parts, workers=workers, force=force, progress=bar.show, stop=stop)


@click.command(context_settings=SETTINGS)
@click.argument("recipe", metavar="RECIPE")
@click.option("-o", "--output", type=click.Path(), metavar="OUT", help="The file.  [default: KIND.h5]")
@WORKERS
@FORCE
def rebuild(recipe: str, output: str | None, workers: int | None, force: bool) -> None:
    """Make a bank from what inspect --recipe printed: a file that holds the line, or the line itself.

    \b
    maskbank inspect bank.h5 --recipe > bank.json
    maskbank rebuild bank.json -o again.h5
    """
    from maskbank.generation import write
    from maskbank.joining import content_of

    if workers is not None:
        check_workers(workers)
    if not recipe.lstrip().startswith("{"):
        try:
            if not os.path.isfile(recipe):
                raise BankError(f"there is no file {recipe}; give one, or the line that starts with {{")
            recipe = Path(recipe).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise BankError(f"cannot read {recipe}: {error}") from None
    content = content_of(recipe)
    path = output or f"{content.recipe.kind}.h5"
    with told(path, content), stopping() as stop, Bar(content.n) as bar:
        write(path, content, workers=workers, force=force, progress=bar.show, stop=stop)
