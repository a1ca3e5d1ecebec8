"""Drawing with matplotlib: pages of panels, and what they are made of.

matplotlib (the extra `plot`) is imported by the functions that draw, and only there. They need no display
and use neither pyplot nor the user's matplotlibrc: the same arguments give the same picture.
"""

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.analysis.measures import Radial
from maskbank.analysis.structure import clumped
from maskbank.errors import MaskbankError

Array = npt.NDArray[Any]

# Okabe and Ito's colours, which people with any kind of colour vision can tell apart
MASKED, VISIBLE, CLUMP, GREY = "#e9e9e9", "#0072b2", "#e69f00", "#777777"
NOISE = "cividis"
DPI, WIDTH = 200, 8.0  # WIDTH and all that follows: inches
LABELS, PANELS, SPECTRUM = 1.2, 4.8, 2.0  # the columns of a page; a spectrum is as high as wide
LARGEST = 1.2  # height of a panel
LINE = 0.15  # of text
STYLE = {
    "font.size": 8, "axes.linewidth": 0.5, "axes.labelpad": 1.5, "axes.titlepad": 2.5,
    "svg.hashsalt": "maskbank", "pdf.fonttype": 42,
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """Panels beside each other, (H, W): noise, masks (bool), or masks whose clumps are marked.

    Pictures are (H, W, 3), uint8.

    label: the first line is bold.
    """

    label: str
    panels: Sequence[Array]
    clumps: bool = False


@dataclass(frozen=True)
class Block:
    """A part of a page: a title, rows of panels, maybe a spectrum beside them, and a caption below.

    heads: above the columns. unit: what the spectrum's frequencies count. spectrogram: panels are (time,
    frequency), drawn with time from left to right and frequency upwards. wide: one panel fills a row.
    """

    title: str
    rows: Sequence[Row]
    heads: Sequence[str] = ()
    caption: str = ""
    spectrum: Radial | None = None
    unit: str = "voxel"
    spectrogram: bool = False
    wide: bool = False

    @property
    def columns(self) -> int:
        """How many panels fit into a row: at least 4, so that few do not become huge."""
        return 1 if self.wide else max(4, *(len(row.panels) for row in self.rows))

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
            high, wide = row.panels[0].shape[:2][:: -1 if self.spectrogram else 1]
            panel = min(PANELS / self.columns * high / wide, LARGEST)
            heights.append(max(panel, 0.9 * LINE * (row.label.count("\n") + 1)))
        return heights

    def lines(self) -> list[str]:
        """The caption, wrapped."""
        return textwrap.wrap(self.caption, int(16 * WIDTH))


def check_matplotlib() -> None:
    """MaskbankError, with the remedy, where matplotlib is not installed."""
    try:
        import matplotlib
        import PIL.Image  # comes with it
    except ImportError:
        raise MaskbankError(
            "pictures need matplotlib, which is not installed: pip install 'maskbank[plot]'"
        ) from None
    del matplotlib, PIL


@contextmanager
def plain_style() -> Iterator[None]:
    """Matplotlib's own defaults, whatever the user's are, and this module's."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def new_figure(width: float, height: float, dpi: float) -> Any:
    """An empty figure, in inches, laid out by matplotlib, without pyplot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.025, h_pad=0.025, wspace=0.0, hspace=0.0)
    return figure


def page(blocks: Sequence[Block]) -> Any:
    """A figure of blocks, one below the other. Call it, and save the figure, within `plain_style`."""
    rows = [row for block in blocks for row in block.rows]
    labels = LABELS if any(row.label for row in rows) else 0.05
    beside = SPECTRUM if any(block.spectrum for block in blocks) else 0.0
    heights, width = [block.height for block in blocks], labels + PANELS
    figure = new_figure(width + beside, sum(heights) + 2 * LINE, DPI)
    parts = figure.subfigures(len(blocks), 1, height_ratios=heights, squeeze=False)[:, 0]
    for block, part in zip(blocks, parts, strict=True):
        part.suptitle(block.title, x=0.01, ha="left", weight="bold", size=9.5)
        part.supxlabel("\n".join([*block.lines(), " "]), x=0.01, ha="left", size=8)
        if beside:
            left, right = part.subfigures(1, 2, width_ratios=(width, beside))
            if block.spectrum:
                _show_spectrum(right.subplots(), block.spectrum, block.unit)
        else:
            left = part
        show_rows(left, block, labels)
    _legend(figure, rows)
    return figure


def show_rows(figure: Any, block: Block, labels: float = LABELS) -> None:
    """Draw the rows of a block, with their labels, into a figure or a part of one. labels: their width."""
    columns, heights = block.columns, block.heights()
    widths = [labels, *[PANELS / columns] * columns]
    grid = figure.add_gridspec(len(heights), len(widths), height_ratios=heights, width_ratios=widths)
    for i, row in enumerate(block.rows):
        label = figure.add_subplot(grid[i, 0])
        label.set_axis_off()
        name, _, rest = row.label.partition("\n")
        how = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top", "in_layout": False}
        label.annotate(name, (0, 1), (2, 0), weight="bold", **how)
        label.annotate(rest, (0, 1), (2, -10), **how)
        for j, panel in enumerate(row.panels):
            axes = figure.add_subplot(grid[i, 1 + j])
            show(axes, panel.swapaxes(0, 1) if block.spectrogram else panel, row.clumps, block.spectrogram)
            if i == 0 and block.heads:
                axes.set_title(block.heads[j], size=8)
            if row is block.rows[-1] and j == 0:
                names = "time →  frequency ↑" if block.spectrogram else "width →  height ↓"
                axes.set_xlabel(names, loc="left", size=7)


def show(axes: Any, panel: Array, clumps: bool = False, upwards: bool = False) -> Any:
    """Draw one panel: noise in shades, or a mask in colours."""
    axes.set(xticks=[], yticks=[], anchor="NW")
    long = max(panel.shape[:2]) > 40 * min(panel.shape[:2])  # else it would be a hairline
    how = {
        "aspect": "auto" if long else "equal", "interpolation": "nearest",
        "origin": "lower" if upwards else "upper",
    }  # fmt: skip
    if panel.ndim == 3:
        return axes.imshow(panel, **how)
    if panel.dtype == bool:
        return axes.imshow(painted(panel, clumps), **how)
    low, high = np.quantile(panel, [0.01, 0.99])
    return axes.imshow(panel, cmap=NOISE, vmin=low, vmax=max(high, low + 1e-9), **how)


def painted(mask: npt.NDArray[np.bool_], clumps: bool = False) -> npt.NDArray[np.uint8]:
    """A mask in colours: (H, W, 3)."""
    colours = np.array([list(bytes.fromhex(one[1:])) for one in (MASKED, VISIBLE, CLUMP)], np.uint8)
    return colours[mask.astype(np.int64) + (clumped(mask) if clumps else False)]


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


def _legend(figure: Any, rows: Sequence[Row]) -> None:
    """What the colours say, at the foot of a page."""
    from matplotlib.patches import Patch

    entries = [(VISIBLE, "visible"), (MASKED, "masked")]
    if any(row.clumps for row in rows):
        entries.append((CLUMP, "visible, beside a visible one (a clump)"))
    patches = [Patch(facecolor=colour, edgecolor=GREY, lw=0.5, label=text) for colour, text in entries]
    if all(row.panels[0].ndim == 3 for row in rows):
        patches = [Patch(facecolor="#c8c8c8", edgecolor=GREY, lw=0.5, label="hidden patches are grey")]
    elif any(row.panels[0].dtype != bool for row in rows):
        patches.append(Patch(facecolor="none", label="noise: dark is low, bright is high"))
    figure.legend(handles=patches, loc="outside lower left", ncols=4, frameon=False, handlelength=1.2)
