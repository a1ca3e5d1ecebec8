"""maskbank preview BANK... [-o FILE]: masks in the terminal, or a picture of banks and their masks."""

import shutil
import time

import click

from maskbank.cli.options import QUIET, SAMPLER_SEED, SOURCES, Share
from maskbank.cli.output import after_a_while, has_blocks, made, show


@click.command()
@SOURCES
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(),
    help="FILE.png, .pdf, .svg or .gif.  [default: draw in the terminal]",
)  # fmt: skip
@click.option(
    "--over", metavar="DATA",
    help="With -o: masks laid over these clips, as maskbank fit reads them, below tube and random masks.",
)  # fmt: skip
@click.option("--grid", metavar="TxHxW", help="Tokens of the model: 8x14x14, 64x8 or 500.")
@click.option("--mask-ratio", type=Share(), metavar="R", help="The share that is masked: 0.9 or 90%.")
@SAMPLER_SEED
@click.option("--force", is_flag=True, help="Replace what is at FILE.")
@QUIET
def command(
    banks: tuple[str, ...],
    output: str | None,
    over: str | None,
    grid: str | None,
    mask_ratio: float | None,
    seed: int,
    force: bool,
) -> None:
    """Draw masks in the terminal; or, with -o, a picture of banks and their masks.

    Without -o it shows the mask of a clip frame by frame, or several masks of images, with baselines below.
    FILE.png, FILE.pdf and FILE.svg are a page: items, masks and spectra. FILE.gif shows masks frame by frame.
    Defaults: 8x14x14 tokens at 0.9 for video, an rbn bank's own grid and ratio, 14x14 at 0.75 for other
    images, 500 at 0.8 on one axis. BANK can also be a baseline: random, tube, grid, block, ... Pictures need
    matplotlib: pip install 'maskbank[plot]'.

    \b
    maskbank preview green3d.h5
    maskbank preview green3d.h5 blue3d.h5 -o noise.png
    maskbank preview green3d.h5 --over clips.npy -o masks.png
    """
    from maskbank.analysis.preview import preview

    if output is None and over is not None:
        raise click.UsageError("--over goes with -o: clips do not fit into a terminal")
    start = time.perf_counter()
    width = shutil.get_terminal_size().columns
    with after_a_while("drawing" if output is None else f"drawing {output}"):
        drawn = preview(
            banks, output, grid, mask_ratio, seed, over=over, force=force, width=width, blocks=has_blocks()
        )
    if output is None:
        show(drawn)
    else:
        made(output, drawn, start)
