"""Draws pages of panels with matplotlib.

Only the functions that draw import matplotlib (the extra `plot`). They need no display and use neither
pyplot nor the user's matplotlibrc, so the same arguments give the same bytes.
"""

import math
import os
import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from maskbank.analysis.measures import Radial
from maskbank.analysis.structure import clumped
from maskbank.errors import RecipeError, check_installed
from maskbank.files import appearing, check_free
from maskbank.sampling.windows import Array

# Colours of Okabe and Ito, which people with any colour vision can distinguish
MASKED, VISIBLE, CLUMP, GREY = "#e9e9e9", "#0072b2", "#e69f00", "#777777"
NOISE = "cividis"
DPI, WIDTH = 200, 8.0  # WIDTH and the lengths below are in inches
LABELS, PANELS, SPECTRUM = 1.2, 4.8, 2.0  # columns of a page; a spectrum is a square
LARGEST = 1.2  # height of a panel
LINE = 0.15  # of text
STYLE = {
    "font.size": 8, "axes.linewidth": 0.5, "axes.labelpad": 1.5, "axes.titlepad": 2.5,
    "svg.hashsalt": "maskbank", "pdf.fonttype": 42,
}  # fmt: skip
PAGES = (".png", ".pdf", ".svg")
UNDATED: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


@dataclass(frozen=True)
class Row:
    """Panels beside each other: noise (H, W), masks (bool, H, W) or pictures (uint8, H, W, 3).

    label: the first line is bold. clumps: mark the clumps of masks.
    """

    label: str
    panels: Sequence[Array]
    clumps: bool = False


@dataclass(frozen=True)
class Block:
    """A part of a page: a title, rows of panels, perhaps a spectrum beside them, and a caption below.

    heads: titles of the columns. unit: the spectrum's frequencies are in cycles per unit. spectrogram: panels
    are spectrograms (`thumbnail.is_spectrogram`), one in a row, with time to the right and frequency upwards.
    """

    title: str
    rows: Sequence[Row]
    heads: Sequence[str] = ()
    caption: str = ""
    spectrum: Radial | None = None
    unit: str = "voxel"
    spectrogram: bool = False

    @property
    def columns(self) -> int:
        """How many panels a row has space for: at least 4, so that a few do not become huge."""
        return 1 if self.spectrogram else max(4, *(len(row.panels) for row in self.rows))

    @property
    def transposed(self) -> bool:
        """Whether time is the first axis of a spectrogram, by its masks: noise may be square."""
        high, wide = self.rows[-1].panels[0].shape[:2]
        return self.spectrogram and high > wide

    @property
    def height(self) -> float:
        """The height of the block, in inches."""
        heads = max([head.count("\n") + 1 for head in self.heads], default=0)
        rows = max(sum(self.heights()), SPECTRUM if self.spectrum else 0.0)
        return rows + LINE * (heads + len(self.lines()) + 3)

    def heights(self) -> list[float]:
        """The height of each row, in inches."""
        heights = []
        for row in self.rows:
            high, wide = row.panels[0].shape[:2][:: -1 if self.transposed else 1]
            panel = min(PANELS / self.columns * high / wide, LARGEST)
            heights.append(max(panel, 0.9 * LINE * (row.label.count("\n") + 1)))
        return heights

    def lines(self) -> list[str]:
        """The caption, wrapped."""
        return textwrap.wrap(self.caption, int(16 * WIDTH))


def check_picture(output: str | os.PathLike[str], force: bool, suffixes: tuple[str, ...] = PAGES) -> str:
    """The absolute path of a picture to draw. Raises RecipeError, OutputError and MissingError."""
    name = os.path.abspath(os.fspath(output))
    if os.path.splitext(name)[1].lower() not in suffixes:
        film = ", or .gif (masks frame by frame)" if len(suffixes) > len(PAGES) else ""
        raise RecipeError(f"{name}: pictures are written as .png, .pdf or .svg (a page){film}")
    check_free(name, force)
    check_installed("matplotlib", "pictures need matplotlib", "plot")
    return name


def plain_style() -> AbstractContextManager[None]:
    """Within it, matplotlib's own defaults and this module's are used, instead of the user's."""
    import matplotlib.style

    return cast(AbstractContextManager[None], matplotlib.style.context(STYLE, after_reset=True))


def save_figure(path: str, force: bool, draw: Callable[..., Any], *what: Any) -> None:
    """Write the figure draw(*what), in `plain_style`, as .png, .pdf or .svg."""
    kind = os.path.splitext(path)[1][1:].lower()
    with appearing(path, force) as file, plain_style():
        figure = draw(*what)
        _lay_out(figure)
        figure.savefig(file, format=kind, metadata=UNDATED.get(kind), bbox_inches="tight", pad_inches=0.08)


def _lay_out(figure: Any) -> None:
    """Lay out a figure and round its positions.

    Their last digits differ between processes, since matplotlib's solver, kiwi, adds in the order of memory
    addresses. SVG names depend on positions.
    """
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.findobj(SubFigure):
        part.bbox_relative.set_points(part.bbox_relative.get_points().round(6))
    for axes in figure.findobj(Axes):
        axes.set_position(np.round(axes.get_position(original=True).bounds, 6))


def new_figure(width: float, heights: Sequence[float]) -> tuple[Any, Sequence[Any]]:
    """An empty figure that matplotlib lays out, and its parts, of these heights in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, sum(heights)), dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.025, h_pad=0.025, wspace=0.0, hspace=0.0)
    return figure, figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]


def page(blocks: Sequence[Block]) -> Any:
    """A figure of blocks, one below the other. Call it, and save the figure, within `plain_style`."""
    rows = [row for block in blocks for row in block.rows]
    labels = LABELS if any(row.label for row in rows) else 0.05
    beside = SPECTRUM if any(block.spectrum for block in blocks) else 0.0
    heights = [*(block.height for block in blocks), 2 * LINE]
    figure, (*parts, foot) = new_figure(labels + PANELS + beside, heights)
    for block, part in zip(blocks, parts, strict=True):
        part.supxlabel("\n".join([*block.lines(), " "]), x=0.01, ha="left", size=8)
        panels = part
        if beside:
            panels, right = part.subfigures(1, 2, width_ratios=(labels + PANELS, beside))
            if block.spectrum:
                _show_spectrum(right.subplots(), block.spectrum, block.unit)
        show_rows(part, panels, block, labels)
    _legend(foot, rows)
    return figure


def show_rows(part: Any, panels: Any, block: Block, labels: float = LABELS) -> None:
    """Draw the title of a block into `part` of a figure, and its rows into `panels`, inside that part.

    labels: the width of the rows' labels, in inches.
    """
    part.suptitle(block.title, x=0.01, ha="left", weight="bold", size=9.5)
    columns, heights = block.columns, block.heights()
    widths = [labels, *[PANELS / columns] * columns]
    grid = panels.add_gridspec(len(heights), len(widths), height_ratios=heights, width_ratios=widths)
    how = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top", "in_layout": False}
    for i, row in enumerate(block.rows):
        label = panels.add_subplot(grid[i, 0])
        label.set_axis_off()
        name, _, rest = row.label.partition("\n")
        label.annotate(name, (0, 1), (2, 0), weight="bold", **how)
        label.annotate(rest, (0, 1), (2, -10), **how)
        for j, panel in enumerate(row.panels):
            axes = panels.add_subplot(grid[i, 1 + j])
            show(axes, panel.swapaxes(0, 1) if block.transposed else panel, row.clumps, block.spectrogram)
            if i == 0 and block.heads:
                axes.set_title(block.heads[j], size=8)
            if row is block.rows[-1] and j == 0:
                names = "time →  frequency ↑" if block.spectrogram else "width →  height ↓"
                names = "position →" if len(panel) == 1 else names
                axes.set_xlabel(names, loc="left", size=7)


def show(axes: Any, panel: Array, clumps: bool, upwards: bool) -> None:
    """Draw one panel: a picture, noise in shades, or a mask in colours."""
    axes.set(xticks=[], yticks=[], anchor="NW")
    if panel.dtype == bool:
        colours = np.array([list(bytes.fromhex(one[1:])) for one in (MASKED, VISIBLE, CLUMP)], np.uint8)
        panel = colours[panel.astype(int) + (clumped(panel) if clumps else False)]
    shades = {}
    if panel.ndim == 2:
        low, high = np.quantile(panel, [0.01, 0.99])
        shades = {"cmap": NOISE, "vmin": low, "vmax": max(high, low + 1e-9)}
    long = max(panel.shape[:2]) > 40 * min(panel.shape[:2])  # too long to be drawn to scale
    aspect, origin = "auto" if long else "equal", "lower" if upwards else "upper"
    axes.imshow(panel, aspect=aspect, interpolation="nearest", origin=origin, **shades)


def _show_spectrum(axes: Any, found: Radial, unit: str) -> None:
    x, power = np.array(found["frequency"]), np.array([1.0, *found["power"], *found.get("analytic", [])])
    axes.axhline(1.0, color=GREY, lw=1.0, label="random: 1")
    if "analytic" in found:
        axes.plot(x, found["analytic"], color=CLUMP, lw=2.2, label="analytic")
    axes.plot(x, found["power"], ".", color=VISIBLE, ms=3.2, label="measured")
    low, high = max(power.min(), 1e-9), power.max()
    axes.set_yscale("log")
    axes.set_ylim(10 ** math.floor(math.log10(low / 1.3)), 10 ** math.ceil(math.log10(high * 1.3)))
    axes.set(xlim=(0, max(0.5, float(x.max()) + 1 / 64)), box_aspect=0.7, anchor="N")
    axes.minorticks_off()
    axes.tick_params(labelsize=7, width=0.5, length=2, pad=1.5)
    axes.set_title("radial power spectrum", size=8)
    axes.set_xlabel(f"cycles per {unit}", size=7)
    axes.set_ylabel("power", size=7)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.26), ncols=2, frameon=False, fontsize=7)


def _legend(foot: Any, rows: Sequence[Row]) -> None:
    """Explain the colours at the foot of a page."""
    entries = [(VISIBLE, "visible"), (MASKED, "masked")]
    if any(row.clumps for row in rows):
        entries.append((CLUMP, "visible, beside a visible one (a clump)"))
    if all(row.panels[0].ndim == 3 for row in rows):
        entries = [("#c8c8c8", "hidden patches are grey")]
    elif any(row.panels[0].dtype != bool for row in rows):
        entries.append(("none", "noise: dark is low, bright is high"))
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=colour, edgecolor=GREY, lw=0.5, label=text) for colour, text in entries]
    foot.legend(handles=patches, loc="lower left", ncols=4, frameon=False, handlelength=1.2)
