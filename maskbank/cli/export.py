"""maskbank export BANK: masks as a .npy file."""

import time
from typing import Any, Literal

import click

from maskbank.cli.options import FORCE, QUIET, SAMPLER_SEED, BankPath, Count, Share
from maskbank.cli.output import made
from maskbank.cli.progress import bar

MARKS = click.Choice(["masked", "visible"])


@click.command()
@click.argument("bank", metavar="BANK", type=BankPath(baselines=True))
@click.option("--grid", required=True, metavar="TxHxW", help="Tokens of the model: 8x14x14, 64x8 or 500.")
@click.option(
    "--mask-ratio", type=Share(), multiple=True, metavar="R",
    help="The share that is masked: 0.9 or 90%. For timefreq twice: of rows and of columns.",
)  # fmt: skip
@click.option("--num-visible", type=int, metavar="V", help="Visible tokens, instead of the ratio.")
@click.option("--per-frame", is_flag=True, help="The same number visible in every frame.")
@click.option(
    "-n", "--n", "n", type=Count(), required=True, metavar="N", help="Number of masks: of samples 0 to N - 1."
)
@SAMPLER_SEED
@click.option("--epoch", type=int, default=0, show_default=True, metavar="E", help="Each has other masks.")
@click.option("--mark", type=MARKS, default="masked", show_default=True, help="Which tokens are True.")
@click.option("--packed", is_flag=True, help="Pack eight tokens into a byte, as numpy.packbits does.")
@click.option("-o", "--output", type=click.Path(), default="masks.npy", show_default=True, metavar="OUT")
@FORCE
@QUIET
def command(
    bank: str,
    grid: str,
    n: int,
    output: str,
    epoch: int,
    mark: Literal["masked", "visible"],
    packed: bool,
    force: bool,
    **given: Any,
) -> None:
    """Write masks for any language or framework: a NumPy array, N x tokens, that can be memory-mapped.

    BANK is a bank, or one of the baselines random, tube, grid, running-cell, block, multiblock,
    inverse-block, span, time, frequency and timefreq. The same arguments give the same file. Its masks
    are those that maskbank.MaskSampler gives for the same sample ids.

    \b
    maskbank export green3d.h5 --grid 8x14x14 --mask-ratio 0.9 --n 10000 -o masks.npy
    """
    from maskbank.sampling.export import export
    from maskbank.sampling.sampler import MaskSampler

    start = time.perf_counter()
    ratios = given.pop("mask_ratio")
    sampler = MaskSampler(bank, grid, ratios if len(ratios) > 1 else next(iter(ratios), None), **given)
    with bar(n, "mask", wait=f"making {output}") as show:
        export(output, sampler, n, epoch=epoch, mark=mark, packed=packed, force=force, progress=show)
    what = f"{n:,} masks of {grid}, {sampler.num_visible} visible, {'1' if packed else 'True'} = {mark}"
    made(output, what, start)
