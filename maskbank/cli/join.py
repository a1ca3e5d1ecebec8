"""maskbank join: parts put together."""

import click

from maskbank.checks import check_workers
from maskbank.cli import SETTINGS
from maskbank.cli.options import FORCE, WORKERS
from maskbank.cli.progress import Bar, stopping, told


@click.command(context_settings=SETTINGS)
@click.argument("out", metavar="OUT", type=click.Path())
@click.argument("parts", metavar="PART...", nargs=-1, required=True, type=click.Path())
@WORKERS
@FORCE
def command(out: str, parts: tuple[str, ...], workers: int | None, force: bool) -> None:
    """Put parts together that were made with --items: the file equals the one made in one go.

    \b
    maskbank generate green3d -n 10000 --items 0:5000 -o a.h5
    maskbank generate green3d -n 10000 --items 5000:10000 -o b.h5
    maskbank join green3d.h5 a.h5 b.h5
    """
    from maskbank.bank.reader import Bank
    from maskbank.generation.join import join

    if workers is not None:
        check_workers(workers)
    content = Bank(list(parts)).content
    with told(out, content), stopping() as stop, Bar(content.n) as bar:
        join(out, parts, workers=workers, force=force, progress=bar.show, stop=stop)
