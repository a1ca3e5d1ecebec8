"""maskbank fit DATA...: choose a mask for data."""

import json
import math
from typing import TYPE_CHECKING, Any

import click

from maskbank.checks import format_size, parse_size
from maskbank.cli.options import Count, Share
from maskbank.cli.output import aligned, report, say, show
from maskbank.cli.progress import bar
from maskbank.recipes import KINDS

if TYPE_CHECKING:
    from maskbank.analysis.fit import Fit

BARS = " ▁▂▃▄▅▆▇█"


@click.command()
@click.argument("data", nargs=-1, metavar="DATA...", type=click.Path())
@click.option("--patch", metavar="TxHxW", help="Pixels of a token.  [default: 2x16x16 for video, 16x16, 16]")
@click.option(
    "--mask-ratio", type=Share(), metavar="R",
    help="The share that is masked.  [default: 0.9 for video, 0.75 for images with channels, 0.8]",
)  # fmt: skip
@click.option(
    "--kind", metavar="K", help="The kind to recommend.  [default: green3d for video, else blue2d or blue1d]"
)
@click.option(
    "--aim", type=float, default=0.9, show_default=True, metavar="A",
    help="The difficulty to reach, as a share of that of tube masks (video) or random ones; lower is easier.",
)  # fmt: skip
@click.option(
    "--target", type=click.Choice(["raw", "normalised"]), default="raw", show_default=True,
    help="What the loss compares: pixels, or pixels normalised per patch.",
)  # fmt: skip
@click.option(
    "--clips", type=Count(), default=256, show_default=True, metavar="N", help="How many to measure, at most."
)
@click.option("--like", metavar="video|image|audio", help="Typical data of this kind, instead of DATA.")
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(),
    help="Also draw a page: FILE.png, .pdf or .svg, with masks over the data.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace what is at FILE.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(
    data: tuple[str, ...], patch: str | None, clips: int, output: str | None, force: bool, as_json: bool,
    **given: Any,
) -> None:  # fmt: skip
    """Choose a mask for data: measure them, predict how hard each mask is for them, recommend a bank.

    DATA is one array of clips, or several files of them: .npy, .npz, .h5:DATASET; of the shape (N, T, H, W),
    (N, T, H, W, C), (N, H, W), (N, H, W, C), spectrograms (N, T, F), signals (N, L), or, with a patch of one
    axis, signals of several channels (N, L, C); or video and sound files and folders of them, with PyAV:
    pip install 'maskbank[media]'. No model is trained.

    \b
    maskbank fit clips.npy
    maskbank fit eeg.npy --patch 10
    maskbank fit spectrograms.h5:train --patch 16x16 --mask-ratio 0.8 --kind green2d
    """
    from maskbank.analysis.fit import fit

    if bool(data) is (given["like"] is not None):
        raise click.UsageError("give either DATA, or --like video, image or audio")
    if output is not None:
        from maskbank.analysis.drawing import check_picture

        check_picture(output, force)
    extents = None if patch is None else parse_size(patch)
    with bar(unit="clip", wait="reading the data") as show_done:
        found = fit(list(data) or None, extents, most=clips, progress=show_done, **given)
    chosen = found.recommend
    if not chosen.reached:
        low, high = chosen.reachable
        report(
            f"aim={found.aim:g} is not reached by {chosen.kind}: the nearest is {chosen.share:.2f} "
            f"of {found.baseline}'s difficulty; {low:.2f} to {high:.2f} can be reached"
        )
    if output is not None:
        from maskbank.analysis.fit_page import draw_fit

        draw_fit(found, list(data) or None, output, force=force)
        say(f"made {output}")
    show(json.dumps(found.to_dict(), indent=2) if as_json else text(found))


def text(found: "Fit") -> str:
    """The text that the command prints."""
    from maskbank.analysis.fit import AIM, AXES

    chosen = found.recommend
    what = f"{found.clips:,} clip{'s' * (found.clips > 1)}"
    if not found.clips:
        what = f"typical data ({found.source})"
    lengths = ", ".join(
        f"{name} {_with_error(length, error, 2)}"
        for name, length, error in zip(AXES[len(found.grid)], found.length, found.length_error, strict=True)
        if not math.isnan(length)
    )
    power = found.spectrum.power
    names = ("sigma",) if len(chosen.sigmas) == 1 else ("sigma1", "sigma2")
    sigmas = "".join(f", {name} {sigma:g}" for name, sigma in zip(names, chosen.sigmas, strict=False))
    if any(factor != 1.0 for factor in chosen.stretch):
        sigmas += f", stretch {'x'.join(f'{factor:g}' for factor in chosen.stretch)}"
    lines = [
        f"{what}, {format_size(found.grid)} tokens of {format_size(found.patch)}, "
        f"mask ratio {found.mask_ratio:g}, {found.target} pixels",
        f"correlation length, in tokens: {lengths}",
        f"spectrum, 0 to highest: {''.join(BARS[math.ceil(8 * p / power.max())] for p in power)}",
        "",
        *_table(found),
        "",
        f"recommended: {chosen.kind}{sigmas}",
        f"  predicted difficulty {_with_error(chosen.difficulty, chosen.difficulty_error)}, "
        f"{_with_error(chosen.share, chosen.share_error)} of {found.baseline}'s",
        *_confirmation(found),
        f"Lower is easier. The default aim, {AIM:g}, is a rule of thumb: in the paper's Tables 6, 7 and A.3",
        "the best masks have 0.90 to 0.94 of their baseline's loss.",
        "",
        f"  {chosen.command}",
    ]
    return "\n".join(lines)


def _with_error(value: float, error: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" + ("" if math.isnan(error) else f" ± {error:.{digits}f}")


def _confirmation(found: "Fit") -> list[str]:
    """The difficulty that masks of the recommended bank showed."""
    chosen = found.recommend
    if chosen.confirmed is None:
        return ["  not confirmed on masks: the grid is too large, or Numba is not installed"]
    lines = [
        f"  exact difficulty     {chosen.confirmed:.3f} ± {chosen.confirmed_error:.3f}, "
        f"{chosen.confirmed_share:.3f} ± {chosen.confirmed_share_error:.3f} of {found.baseline}'s"
    ]
    if not chosen.agrees:
        lines.append(
            "  The shares differ by more than their errors. The exact one knows each mask and its edges."
        )
    usual = found.difficulty[found.baseline]
    away = {
        kind: abs(value / usual - found.aim)
        for kind, value in found.difficulty.items()
        if kind in KINDS and kind != chosen.kind and not kind.startswith("white")
    }
    nearest = min(away, key=lambda kind: away[kind])
    if not chosen.reached and away[nearest] < abs(chosen.share - found.aim):
        share = found.difficulty[nearest] / usual
        lines.append(
            f"  {nearest} comes nearer to the aim, {share:.3f} at its defaults: try --kind {nearest}."
        )
    return lines


def _table(found: "Fit") -> list[str]:
    """The table of masks, the easiest first."""
    from maskbank.analysis.fit import PAPER

    losses = PAPER.get(len(found.grid), {})
    which = "video" if len(found.grid) == 3 else "audio"
    rows = [("mask", "predicted difficulty", f"of {found.baseline}'s", f"the paper's loss, {which}")]
    for name in found.order:
        value = found.difficulty[name]
        rows.append(
            (
                name,
                _with_error(value, found.difficulty_error[name]) + " ≈" * (name in found.ties),
                f"{value / found.difficulty[found.baseline]:.2f}",
                f"{losses[name]:.2f}" if name in losses else "",
            )
        )
    lines = aligned(rows if losses else [row[:-1] for row in rows])
    if not found.ties:
        return lines
    return [*lines, "≈: within two standard errors of the one above; ± is one, over the clips"]
