"""maskbank preview BANK... -o FILE: what is in banks, as a picture."""

import os
import time

import click

from maskbank.checks import format_bytes
from maskbank.cli import SETTINGS
from maskbank.cli.options import BANKS, MASK_RATIO, QUIET, SAMPLER_SEED
from maskbank.cli.output import after_a_while, say


@click.command(context_settings=SETTINGS)
@BANKS
@click.option(
    "-o", "--output", required=True, metavar="FILE", type=click.Path(), help="FILE.png or FILE.gif."
)
@click.option("--grid", metavar="TxHxW", help="Tokens of the model: 8x14x14, or 64x8.")
@MASK_RATIO
@SAMPLER_SEED
@click.option("--force", is_flag=True, help="Replace what is at FILE.")
@QUIET
def command(
    banks: tuple[str, ...],
    output: str,
    grid: str | None,
    mask_ratio: float | None,
    seed: int,
    force: bool,
) -> None:
    """Draw what is in a bank, and the masks from it. Several banks share one page.

    FILE.png is a page: items, masks and spectra. FILE.gif shows masks over time, beside tube and random
    ones. Left to itself, it takes 8x14x14 tokens at 0.9 for video, an rbn bank's own grid and ratio, and
    14x14 at 0.75 for other images. It needs matplotlib: pip install 'maskbank[plot]'.

    \b
    maskbank preview green3d.h5 blue3d.h5 -o noise.png
    """
    from maskbank.analysis.pictures import draw

    start = time.perf_counter()
    with after_a_while(f"drawing {output}"):
        what = draw(banks, output, grid, mask_ratio, seed, force=force)
    seconds = time.perf_counter() - start
    size = format_bytes(os.path.getsize(output))
    say(f"made {output}: {what}, {size}, in {seconds:.1f} s")
