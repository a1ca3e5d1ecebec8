"""Draws a page for a fit: the correlation and spectrum of data beside those of masks (Figure A.6)."""

import math
from typing import Any

import numpy as np

from maskbank.analysis import drawing
from maskbank.analysis.clips import opened
from maskbank.analysis.fit import AXES, Fit
from maskbank.analysis.kinds import masks_of, pairs_of
from maskbank.analysis.overlay import PANELS, block
from maskbank.analysis.spectrum import radial
from maskbank.sampling.windows import Float64s

TICKS = (0.2, 0.5, 1, 2, 5)
CURVES = 2.1  # the height of a row of curves, in inches
COLOURS = {"data": "#000000", "random": drawing.GREY, "tube": drawing.CLUMP}
CHOSEN = drawing.VISIBLE  # the recommended kind


def draw_fit(found: Fit, data: Any, output: str, *, force: bool = False) -> None:
    """Draw a page into FILE.png, .pdf or .svg: curves, and masks over the first of the data.

    data: the same data as given to `fit`; None for typical data, which have no picture. force: replace what
    is at `output`. Raises RecipeError for another type of file, OutputError where it cannot be written,
    MissingError without matplotlib.
    """
    drawing.save_figure(drawing.check_picture(output, force), force, _page, found, data)


def _page(found: Fit, data: Any) -> Any:
    chosen, grid, ratio = found.recommend, found.grid, found.mask_ratio
    baselines = ("random", "tube") if len(grid) == 3 else ("random",)
    shown: dict[str, tuple[Any, ...]] = dict.fromkeys(baselines, ())  # masks, and their sigmas and stretch
    shown[chosen.kind] = chosen.sigmas, chosen.stretch
    curves = {"data": found.correlation}  # by distance; 1 at distance 0
    for name, how in shown.items():
        pairs = pairs_of(name, grid, ratio, *how)
        share = float(pairs.flat[0])
        curves[name] = (pairs - share**2) / (share - share**2)
    over = None
    if data is not None and len(grid) > 1:
        masks = [(name, masks_of(name, grid, ratio, PANELS, *how)) for name, how in shown.items()]
        over = block("Masks over the data: hidden patches are grey", opened(data)[0], masks)
    heights = [CURVES, CURVES, *([over.height] if over else [])]
    figure, (above, below, *rest) = drawing.new_figure(drawing.WIDTH, heights)
    for axis, axes in enumerate(above.subplots(1, len(grid), squeeze=False)[0]):
        _correlation(axes, axis, found, curves)
    spectrum, choice = below.subplots(1, 2)
    _spectrum(spectrum, curves)
    _choice(choice, found)
    if over:
        drawing.show_rows(rest[0], rest[0], over)
    return figure


def _correlation(axes: Any, axis: int, found: Fit, curves: dict[str, Float64s]) -> None:
    n = found.grid[axis]
    for name, values in curves.items():
        line = values[tuple(slice(n) if a == axis else 0 for a in range(len(found.grid)))]
        axes.plot(np.arange(n), line, ".-", color=COLOURS.get(name, CHOSEN), lw=1.0, ms=3, label=name)
    length, error = found.length[axis], found.length_error[axis]
    words = f"{length:.2f}" + ("" if math.isnan(error) else f" ± {error:.2f}")
    axes.set_title(f"{AXES[len(found.grid)][axis]}: length {words} tokens", size=8)
    axes.set(xlabel="distance in tokens", ylim=(-0.25, 1.05))
    if axis == 0:
        axes.set_ylabel("correlation")
        axes.legend(frameon=False, fontsize=7)


def _spectrum(axes: Any, curves: dict[str, Float64s]) -> None:
    for name, values in curves.items():
        found = radial(np.fft.fftn(values).real)
        power, colour = np.maximum(found.power, 1e-2), COLOURS.get(name, CHOSEN)
        axes.plot(found.frequency, power, color=colour, lw=1.2, label=name)
    axes.set_yscale("log")
    axes.set_title("radial power spectrum", size=8)
    axes.set(xlabel="cycles per token", ylabel="power")


def _choice(axes: Any, found: Fit) -> None:
    chosen = found.recommend
    base = found.difficulty[found.baseline]
    if chosen.curve:
        sigmas, shares = zip(*chosen.curve, strict=True)
        axes.plot(sigmas, np.array(shares) * base, color=CHOSEN, lw=1.2)
        axes.plot([chosen.sigmas[0]], [chosen.difficulty], "o", color=CHOSEN, ms=5)
        axes.set_xscale("log")
        axes.set_xticks(TICKS, map(str, TICKS))
        axes.minorticks_off()
        axes.set_xlabel(f"{'sigma1' if len(chosen.sigmas) > 1 else 'sigma'} of {chosen.kind}, in voxels")
    else:
        axes.axhline(chosen.difficulty, color=CHOSEN, lw=1.2, label=chosen.kind)
        axes.legend(frameon=False, fontsize=7)
        axes.set(xticks=[], ylim=(0, 1))
    axes.axhline(found.aim * base, color=drawing.GREY, lw=0.8, ls="--")
    how = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right", "size": 7}
    axes.annotate(f"{found.aim:g} of {found.baseline}'s", (0.98, found.aim * base), (0, 2), **how)
    axes.set_title("predicted difficulty, and the choice", size=8)
    axes.set_ylabel("difficulty")
