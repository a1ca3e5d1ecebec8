"""Drawing with matplotlib: pages of panels, and what they are made of.

matplotlib (the extra `plot`) is imported by what draws, and only there. No display is needed, nor is any
state of pyplot's or of the user's matplotlibrc used: the same arguments give the same picture.
"""

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.analysis.structure import clumped
from maskbank.errors import MaskbankError

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]

# Okabe and Ito's colours, which people with any kind of colour vision can tell apart
MASKED, VISIBLE, CLUMP, GREY, BLACK = "#e9e9e9", "#0072b2", "#e69f00", "#777777", "#000000"
NOISE = "cividis"

# inches
DPI = 200
LEFT, PANELS, SPECTRUM, MARGIN = 1.2, 4.8, 1.95, 0.08
HIGHEST, LARGEST, GAP = 1.2, 1.2, 0.04
LINE, TEXT = 0.15, 8  # TEXT: points
STYLE = {"font.size": TEXT, "axes.linewidth": 0.5, "axes.labelpad": 1.5, "axes.titlepad": 2.5}


@dataclass
class Row:
    """Panels beside each other, of (H, W): noise, masks (bool), or masks whose clumps are marked."""

    label: str
    panels: Sequence[Array]
    clumps: bool = False


@dataclass
class Block:
    """A part of a page: a title, a caption, rows of panels, and maybe a spectrum beside them.

    turned: height is drawn from left to right, as time is in a spectrogram.
    """

    title: str
    caption: str
    rows: Sequence[Row]
    heads: Sequence[str] = ()  # above the columns
    spectrum: dict[str, Any] = field(default_factory=dict)
    turned: bool = False


def needed() -> None:
    """MaskbankError, with the remedy, where there is no matplotlib."""
    try:
        import matplotlib
        import PIL.Image  # comes with it
    except ImportError:
        raise MaskbankError(
            "pictures need matplotlib, which is not installed: pip install 'maskbank[plot]'"
        ) from None
    del matplotlib, PIL


@contextmanager
def plain(**changes: Any) -> Iterator[None]:
    """Matplotlib's own defaults, whatever the user's are, and this module's."""
    from matplotlib import style

    with style.context(["default", STYLE | changes]):
        yield


def new_figure(width: float, height: float, dpi: float) -> Any:
    """An empty figure, in inches, that draws to memory."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi)
    FigureCanvasAgg(figure)
    return figure


def pixels(figure: Any) -> npt.NDArray[np.uint8]:
    """What is drawn, (H, W, 3)."""
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())[..., :3]


def place(figure: Any, x: float, y: float, width: float, height: float) -> Any:
    """Axes at inches from the top left, on whole pixels."""
    x, y, width, height = (round(value * DPI) / DPI for value in (x, y, width, height))
    wide, high = figure.get_size_inches()
    return figure.add_axes((x / wide, 1 - (y + height) / high, width / wide, height / high))


def write(figure: Any, x: float, y: float, text: str, **how: Any) -> Any:
    """Text at inches from the top left."""
    wide, high = figure.get_size_inches()
    return figure.text(x / wide, 1 - y / high, text, **({"va": "top", "ha": "left"} | how))


def page(parts: Sequence[Block]) -> npt.NDArray[np.uint8]:
    """A page of blocks, one below the other, as pixels (H, W, 3)."""
    needed()
    width = LEFT + PANELS + MARGIN + SPECTRUM * any(part.spectrum for part in parts)
    laid = [_lay_out(part, width) for part in parts]
    foot = 0.2
    height = round((sum(one.height for one in laid) + foot + MARGIN) * DPI) / DPI
    with plain():
        figure = new_figure(round(width * DPI) / DPI, height, DPI)
        y = MARGIN
        for part, one in zip(parts, laid, strict=True):
            _draw_block(figure, part, one, y)
            y += one.height
        _legend(figure, height - foot / 2, [row for part in parts for row in part.rows])
        return pixels(figure)


@dataclass
class _Layout:
    """Where things of a block stand, in inches below its top."""

    lines: list[str]
    pitch: float
    boxes: list[tuple[float, float]]
    tops: list[float]
    end: float
    height: float


def _lay_out(block: Block, width: float) -> _Layout:
    lines = textwrap.wrap(block.caption, int((width - 2 * MARGIN) * 16.2))
    y = LINE + 0.04 + len(lines) * LINE + 0.05 + (LINE if block.heads else 0)
    columns = max(len(row.panels) for row in block.rows)
    long = columns == 1 and not block.heads
    pitch = PANELS if long else min(PANELS / columns, LARGEST)
    boxes, tops = [], []
    for row in block.rows:
        shape = row.panels[0].shape
        high, wide = shape[::-1] if block.turned else shape
        scale = min((pitch - GAP) / wide, HIGHEST / high)
        boxes.append((max(wide * scale, 0.1), max(high * scale, 0.1)))
        tops.append(y)
        needs = LINE * 0.9 * (row.label.count("\n") + 1)
        y += max(boxes[-1][1], needs) + GAP
    y += 0.17  # the name of the axis
    end = max(y, tops[0] + 1.62) if block.spectrum else y
    return _Layout(lines, pitch, boxes, tops, y, end + 0.14)


def _draw_block(figure: Any, block: Block, laid: _Layout, top: float) -> None:
    write(figure, MARGIN, top, block.title, weight="bold", size=TEXT + 1.5)
    for i, line in enumerate(laid.lines):
        write(figure, MARGIN, top + LINE + 0.04 + i * LINE, line)
    for row, (wide, high), y in zip(block.rows, laid.boxes, laid.tops, strict=True):
        name, _, rest = row.label.partition("\n")
        write(figure, MARGIN, top + y, name, weight="bold")
        write(figure, MARGIN, top + y + 0.13, rest)
        for i, panel in enumerate(row.panels):
            axes = place(figure, LEFT + i * laid.pitch, top + y, wide, high)
            show(axes, panel.T if block.turned else panel, row.clumps)
            if i == 0:
                across, down = ("height", "width") if block.turned else ("width", "height")
                axes.set_ylabel(down if high > 0.4 else down[0].upper(), size=TEXT - 1)
                if row is block.rows[-1]:
                    axes.set_xlabel(across if wide > 0.4 else across[0].upper(), size=TEXT - 1)
            if row is block.rows[0] and block.heads:
                axes.set_title(block.heads[i], size=TEXT)
    if block.spectrum:
        _show_spectrum(figure, block.spectrum, top + laid.tops[0])


def show(axes: Any, panel: Array, clumps: bool) -> Any:
    """One panel: noise in shades, or a mask."""
    axes.set_xticks([])
    axes.set_yticks([])
    how = {"aspect": "auto", "interpolation": "nearest"}
    if panel.dtype != bool:
        low, high = np.quantile(panel, [0.01, 0.99])
        return axes.imshow(panel, cmap=NOISE, vmin=low, vmax=max(high, low + 1e-9), **how)
    return axes.imshow(painted(panel, clumps), **how)


def painted(mask: Bools, clumps: bool) -> npt.NDArray[np.uint8]:
    """A mask in colours: (H, W, 3)."""
    return colours()[mask.astype(np.int64) + (clumped(mask) if clumps else False)]


def colours() -> npt.NDArray[np.uint8]:
    """Of masked, visible and clumped tokens: (3, 3)."""
    return np.array([list(bytes.fromhex(colour[1:])) for colour in (MASKED, VISIBLE, CLUMP)], np.uint8)


def _show_spectrum(figure: Any, items: dict[str, Any], top: float) -> None:
    axes = place(figure, LEFT + PANELS + 0.62, top + 0.14, SPECTRUM - 0.68, 0.86)
    axes.axhline(1.0, color=GREY, lw=1.0, label="random: 1")
    x = np.array(items["frequency"])
    every = [1.0, *items["power"]]
    if "analytic" in items:
        axes.plot(x, items["analytic"], color=CLUMP, lw=2.2, label="analytic")
        every += items["analytic"]
    axes.plot(x, items["power"], ".", color=VISIBLE, ms=3.2, label="measured")
    low, high = max(min(every), 1e-9), max(every)
    axes.set_yscale("log")
    axes.set_ylim(10 ** math.floor(math.log10(low / 1.3)), 10 ** math.ceil(math.log10(high * 1.3)))
    axes.set_xlim(0, max(0.5, float(x.max()) + 1 / 64))
    axes.minorticks_off()
    axes.tick_params(labelsize=TEXT - 1, width=0.5, length=2, pad=1.5)
    axes.set_title("radial power spectrum", size=TEXT)
    axes.set_xlabel("cycles per voxel", size=TEXT - 1)
    axes.set_ylabel("power", size=TEXT - 1)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.4, -0.34), ncols=2, frameon=False, fontsize=TEXT - 1,
        handlelength=1.0, columnspacing=0.8, handletextpad=0.4, labelspacing=0.2, borderpad=0,
    )  # fmt: skip


def _legend(figure: Any, y: float, rows: Sequence[Row]) -> None:
    """What the colours say, at the foot of a page."""
    x, side = LEFT, 0.11
    entries: list[tuple[Any, str]] = [(VISIBLE, "visible"), (MASKED, "masked")]
    if any(row.clumps for row in rows):
        entries.append((CLUMP, "visible, beside a visible one (a clump)"))
    if any(row.panels[0].dtype != bool for row in rows):
        entries.append((None, "noise, low to high"))
    for colour, text in entries:
        wide = side if colour else 5 * side
        axes = place(figure, x, y - side / 2, wide, side)
        if colour:
            axes.set(xticks=[], yticks=[], facecolor=colour)
        else:
            show(axes, np.arange(64.0)[None], False)
        written = write(figure, x + wide + 0.05, y, text, va="center_baseline")
        x += wide + 0.25 + written.get_window_extent(figure.canvas.get_renderer()).width / DPI
