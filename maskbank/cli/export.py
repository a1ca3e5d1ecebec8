"""maskbank export BANK: masks as a .npy file."""

import os
import time
from typing import Any

import click

from maskbank.cli import SETTINGS
from maskbank.cli.progress import Bar, human_bytes

MARKS = click.Choice(["masked", "visible"])


@click.command(context_settings=SETTINGS)
@click.argument("bank", metavar="BANK")
@click.option("--grid", required=True, metavar="TxHxW", help="Tokens of the model: 8x14x14, or 64x8.")
@click.option("--mask-ratio", type=float, metavar="R", help="The share that is masked.")
@click.option("--num-visible", type=int, metavar="V", help="Visible tokens, instead of the ratio.")
@click.option("--per-frame", is_flag=True, help="The same number in every frame.")
@click.option("-n", "--n", "n", type=int, required=True, metavar="N", help="Masks: of samples 0 to N - 1.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="S", help="The sampler's seed.")
@click.option("--epoch", type=int, default=0, show_default=True, metavar="E", help="Other masks for each.")
@click.option("--mark", type=MARKS, default="masked", show_default=True, help="Which tokens are True.")
@click.option("--packed", is_flag=True, help="Eight tokens a byte, as numpy.packbits makes it.")
@click.option("-o", "--output", type=click.Path(), default="masks.npy", show_default=True, metavar="OUT")
@click.option("--force", is_flag=True, help="Replace what is at OUT.")
def command(
    bank: str, grid: str, n: int, output: str, epoch: int, mark: str, packed: bool, force: bool, **given: Any
) -> None:
    """Write masks for any language or framework: a NumPy array, N x tokens, that can be memory-mapped.

    BANK is a bank, or one of the baselines random, tube, grid and block. The same arguments give the same
    file, and the masks that maskbank.MaskSampler gives to the same sample ids.

    \b
    maskbank export green3d.h5 --grid 8x14x14 --mask-ratio 0.9 --n 10000 -o masks.npy
    """
    from maskbank.sampling.export import export
    from maskbank.sampling.sampler import MaskSampler

    start = time.perf_counter()
    sampler = MaskSampler(bank, grid, given.pop("mask_ratio"), **given)
    with Bar(n, "mask") as bar:
        export(output, sampler, n, epoch=epoch, mark=mark, packed=packed, force=force, progress=bar.show)
    seconds = time.perf_counter() - start
    what = f"{n:,} masks of {grid}, {sampler.num_visible} visible, {'1' if packed else 'True'} = {mark}"
    size = human_bytes(os.path.getsize(output))
    click.echo(f"made {output}: {what}, {size}, in {seconds:.1f} s", err=True)
