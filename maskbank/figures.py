"""Pictures of banks and of the masks from them: a page for a paper (.png), masks over time (.gif).

matplotlib (the extra `plot`) is imported by what draws, and only there. No display is needed, nor is any
state of pyplot's or of the user's matplotlibrc used: the same arguments give the same picture.
"""

import io
import math
import os
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank import selection
from maskbank.bank.reader import Bank
from maskbank.bank.writer import rename_new
from maskbank.checks import choice
from maskbank.errors import MaskbankError, OutputError, RecipeError
from maskbank.recipes import RBN
from maskbank.report import report
from maskbank.sampler import MaskSampler

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Path = str | os.PathLike[str]

SUFFIXES = (".png", ".gif")
MOST_BANKS = 24  # in one picture
MOST_FRAMES = 64  # of a .gif
COLUMNS = 8  # panels beside each other
STACKED = 6  # masks of one set one below the other, where a grid is long
SINGLE = 3  # masks of single samples so
TYPICAL = 64  # samples among which a typical one is looked for
LONG = 3  # times as high as wide, or more, is long

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


def draw(
    banks: Bank | Path | Sequence[Bank | Path],
    output: Path,
    grid: tuple[int, ...] | str | None = None,
    mask_ratio: float | None = None,
    seed: int = 0,
    *,
    force: bool = False,
) -> str:
    """Draw what is in banks, and the masks from them, into FILE.png or FILE.gif; return what was drawn.

    grid, mask_ratio: those of `usual`, unless given. force: replace what is there. The name appears when
    all is written. Raises OutputError where the file cannot be written, MaskbankError without matplotlib.
    """
    name = os.path.abspath(os.fspath(output))
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in SUFFIXES:
        raise RecipeError(f"{name}: pictures are written as .png (a page) or .gif (masks over time)")
    _check_free(name, force)
    given = [banks] if isinstance(banks, Bank | str | os.PathLike) else list(banks)
    if not 1 <= len(given) <= MOST_BANKS:
        raise RecipeError(f"{len(given)} banks: a picture holds 1 to {MOST_BANKS}; draw several pictures")
    needed()
    opened = [bank if isinstance(bank, Bank) else Bank(bank) for bank in given]
    samplers = []
    for bank in opened:
        usual_grid, usual_ratio = usual(bank, grid, moving=suffix == ".gif")
        ratio = usual_ratio if mask_ratio is None else mask_ratio
        samplers.append(MaskSampler(bank, usual_grid if grid is None else grid, ratio, seed=seed))
    pictures = film(samplers) if suffix == ".gif" else [page(blocks(samplers))]
    save(pictures, name, force=force)
    height, width, _ = pictures[0].shape
    count = "1 bank" if len(opened) == 1 else f"{len(opened)} banks"
    frames = f", {len(pictures)} frames" if suffix == ".gif" else ""
    return f"{count}, {width} x {height} pixels{frames}"


def usual(
    bank: Bank, grid: tuple[int, ...] | str | None = None, moving: bool = False
) -> tuple[tuple[int, ...], float]:
    """The grid and the mask ratio at which a bank is shown, where a user gives none.

    8x14x14 at 0.9 for video; for rbn its own; 14x14 at 0.75 for other images. Smaller where items are and
    do not tile. moving: over time, so a grid of three axes, whatever the bank.
    """
    size, recipe = bank.recipe.size, bank.recipe
    three = moving or (len(size) == 3 if grid is None else len(_axes(grid)) == 3)
    if isinstance(recipe, RBN) and not three:
        return recipe.size, recipe.mask_ratio
    wanted: tuple[int, ...] = (8, 14, 14) if three else (14, 14)
    if recipe.boundary != "wrap":
        most = size if len(size) == 3 else (wanted[0], *size)
        wanted = tuple(map(min, wanted, most[-len(wanted) :]))
    return wanted, 0.9 if three else 0.75


def _axes(grid: tuple[int, ...] | str) -> Sequence[Any]:
    return grid.lower().replace("×", "x").split("x") if isinstance(grid, str) else tuple(grid)


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


def blocks(samplers: Sequence[MaskSampler]) -> list[Block]:
    """One for each sampler of a bank; and one for each grid and ratio, of masks that come from no bank."""
    clumps = any(sampler.bank is not None and isinstance(sampler.bank.recipe, RBN) for sampler in samplers)
    made = [_block(sampler, clumps) for sampler in samplers]
    others = {(sampler.grid, sampler.num_visible): sampler for sampler in samplers}
    return made + [_comparison(sampler, clumps) for sampler in others.values()]


def _block(sampler: MaskSampler, clumps: bool) -> Block:
    bank = sampler.bank
    assert bank is not None
    recipe, grid, still = bank.recipe, sampler.grid, len(bank.recipe.size) == 2
    found = report(sampler)
    caption = f"{_recipe(bank)}; grid {_size(grid)}, {_count(sampler)}, seed {sampler.seed}. "
    caption += _measures(found["measures"])
    if not found["reaches"]:
        caption += f" {found['verdict'].removeprefix('ALARM: ').capitalize()}."
    highest = "The mask is the highest values of a window that is cut out of the item."
    title = f"{bank.kind}  ·  bank {bank.fingerprint}"
    turned, stacked = _long(grid)
    count = _shown(sampler)
    if len(grid) == 3:
        sample = _typical(sampler)
        item = _item(bank, sampler, sample)
        whole = bank[item].astype(np.float64)
        noise = [whole if still else whole[t % len(whole)] for t in range(count)]
        rows = [Row(_named(bank, item), noise)]
        rows.append(Row(f"window\n{_size(grid)}", list(sampler.windows(sample)[:count])))
        rows.append(Row(f"mask\nsample {sample}\n{_part(sampler)}", list(_mask(sampler, sample)[:count])))
        heads = [f"frame {t}" for t in range(count)]
        if bank.sigma is not None and len(bank) > 1:
            caption += f" Sample {sample}, of an item near the median σ."
        caption += f" {highest}" + (" It is repeated over time." if still else "")
        return Block(title, caption, rows, heads, found["spectrum"])
    first, masks = _together(sampler, count)
    items = [_item(bank, sampler, i) if first is None else first + i for i in range(len(masks))]
    noise = [_slice(bank[item]) for item in items]
    name = "mask" if first is not None else "sample"
    marked = clumps and grid == sampler.grid
    if isinstance(recipe, RBN):
        each = recipe.masks_per_set
        if first is None:
            caption += " Single masks: at this grid or ratio those of a set would not be disjoint."
        elif each > len(masks):
            caption += f" Shown are {len(masks)} of the {each} masks of one set."
        else:
            caption += f" Shown are the {each} masks of one set."
    else:
        caption += f" {highest}"
    heads = [f"{name} {i}" for i in range(len(masks))]
    if not stacked:
        rows = [Row(f"items\n{_size(recipe.size[-2:])}", noise)]
        if first is None:
            rows.append(Row(f"windows\n{_size(grid)}", list(sampler.windows(np.arange(len(masks))))))
        rows.append(Row(f"masks{_clumped(masks, marked)}", list(masks), marked))
        return Block(title, caption, rows, heads, found["spectrum"])
    rows = [Row(_named(bank, items[0]), noise[:1])]
    rows += [
        Row(f"{head}{_clumped(mask[None], marked)}", [mask], marked)
        for head, mask in zip(heads, masks, strict=True)
    ]
    return Block(title, caption, rows, (), found["spectrum"], turned)


def _comparison(sampler: MaskSampler, clumps: bool) -> Block:
    """Masks from no bank, at the grid and ratio of a sampler."""
    grid, count = sampler.grid, _shown(sampler)
    title = f"for comparison  ·  grid {_size(grid)}, {_count(sampler)}"
    random = MaskSampler("random", grid, num_visible=sampler.num_visible, seed=sampler.seed)
    if len(grid) == 3:
        tube = MaskSampler("tube", grid, _ratio(sampler), seed=sampler.seed)
        rows = [Row(f"{one.baseline}\n{_part(one)}", list(_mask(one, 0)[:count])) for one in (tube, random)]
        return Block(title, "", rows, [f"frame {t}" for t in range(count)])
    turned, stacked = _long(grid)
    masks = np.stack([_mask(random, i) for i in range(1 if stacked else count)])
    row = Row(f"random{_clumped(masks, clumps)}", list(masks), clumps)
    return Block(title, "", [row], (), turned=turned)


def _shown(sampler: MaskSampler) -> int:
    """How many panels: frames, masks of one set, or samples."""
    if len(sampler.grid) == 3:
        return min(COLUMNS, sampler.grid[0])
    assert sampler.bank is not None
    if not _long(sampler.grid)[1]:
        return min(COLUMNS, len(sampler.bank))
    return min(STACKED if isinstance(sampler.bank.recipe, RBN) else SINGLE, len(sampler.bank))


def _long(grid: tuple[int, ...]) -> tuple[bool, bool]:
    """Whether a grid is drawn turned, and whether its masks stand one below the other."""
    high, wide = grid[-2:]
    stacked = len(grid) == 2 and max(high, wide) >= LONG * min(high, wide)
    return stacked and high > wide, stacked


def _together(sampler: MaskSampler, count: int) -> tuple[int | None, Bools]:
    """Masks (B, H, W), and the place of the first one's item if they are of one set, of an rbn bank."""
    bank = sampler.bank
    assert bank is not None
    if isinstance(bank.recipe, RBN):
        try:
            masks = sampler.complementary(0).visible.reshape(-1, *sampler.grid)[:count]
        except RecipeError:
            pass  # not at this grid or ratio: single ones
        else:
            each = bank.recipe.masks_per_set
            skip = -bank.first % each
            return skip + _item(bank, sampler, 0, (len(bank) - skip) // each) * each, masks
    return None, sampler(np.arange(count)).visible.reshape(-1, *sampler.grid)


def _item(bank: Bank, sampler: MaskSampler, index: int, items: int | None = None) -> int:
    """Which item (or set) a sample's mask comes from."""
    key = selection.keys(sampler.seed, 0, 0)[2:]
    return int(selection.item_of(np.array([index], np.uint64), items or len(bank), key)[0])


def _typical(sampler: MaskSampler) -> int:
    """The sample, of the first ones, whose item has sigmas nearest to the bank's median."""
    bank = sampler.bank
    sigma = None if bank is None else bank.sigma
    if bank is None or sigma is None:
        return 0
    middle = np.median(sigma[:: max(1, len(sigma) // 2**16)], axis=0)
    items = [_item(bank, sampler, index) for index in range(TYPICAL)]
    return int(np.abs(sigma[items] - middle).sum(1).argmin())


def _mask(sampler: MaskSampler, index: int) -> Bools:
    return sampler(index).visible.reshape(sampler.grid)


def _slice(item: Array) -> Array:
    return (item if item.ndim == 2 else item[0]).astype(np.float64)


def beside(visible: Bools) -> Bools:
    """Which visible patches have a visible one above, below or beside them: (..., H, W)."""
    padded = np.pad(visible, [(0, 0)] * (visible.ndim - 2) + [(1, 1), (1, 1)])
    near = padded[..., :-2, 1:-1] | padded[..., 2:, 1:-1] | padded[..., 1:-1, :-2] | padded[..., 1:-1, 2:]
    return np.asarray(near & visible)


def _clumped(masks: Bools, marked: bool) -> str:
    return f"\n{beside(masks).sum() / max(masks.sum(), 1):.0%} in clumps" if marked else ""


def _size(size: tuple[int, ...]) -> str:
    return "×".join(map(str, size))


def _named(bank: Bank, place: int) -> str:
    """The label of an item: its number, size and sigmas."""
    sigma = bank.sigma
    drawn = "" if sigma is None else "\nσ " + ", ".join(f"{value:.2f}" for value in sigma[place])
    return f"item {bank.first + place}\n{_size(bank.recipe.size)}{drawn}"


def _part(sampler: MaskSampler) -> str:
    return f"{sampler.num_visible:,} of {math.prod(sampler.grid):,}"


def _ratio(sampler: MaskSampler) -> float:
    ratio = sampler.mask_ratio
    return ratio if isinstance(ratio, float) else 1 - sampler.num_visible / math.prod(sampler.grid)


def _count(sampler: MaskSampler) -> str:
    return f"mask ratio {_ratio(sampler):g}, {_part(sampler)} tokens visible"


def _recipe(bank: Bank) -> str:
    recipe = bank.recipe
    text = f"{len(bank):,} items of {_size(recipe.size)}, {bank.dtype}, {recipe.boundary}"
    if isinstance(recipe, RBN):
        text += f", made for mask ratio {recipe.mask_ratio:g}, {recipe.masks_per_set} masks a set"
    for name, (low, high) in zip(recipe.sigma_names, recipe.ranges, strict=True):
        text += f", {name.replace('sigma', 'σ')} {low:g}" + (f" to {high:g}" if high > low else "")
    return text


def _measures(measures: dict[str, dict[str, float]]) -> str:
    """What the eye should see, in numbers: probabilities that neighbours of a visible token are visible."""
    parts = []
    for name, words in {"time": "in the next frame", "space": "beside it"}.items():
        if name in measures and not math.isnan(measures[name]["value"]):
            found = measures[name]
            others = ", ".join(
                f"{other} {found[other]:.2f}" for other in ("random", "tube") if other in found
            )
            parts.append(f"{words} {found['value']:.2f} ({others})")
    return f"The chance that a visible token's neighbour is visible: {'; '.join(parts)}."


# Drawing


@contextmanager
def _plain(**changes: Any) -> Iterator[None]:
    """Matplotlib's own defaults, whatever the user's are, and this module's."""
    from matplotlib import style

    with style.context(["default", STYLE | changes]):
        yield


def _figure(width: float, height: float, dpi: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi)
    FigureCanvasAgg(figure)
    return figure


def _pixels(figure: Any) -> npt.NDArray[np.uint8]:
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())[..., :3]


def _place(figure: Any, x: float, y: float, width: float, height: float) -> Any:
    """Axes at inches from the top left, on whole pixels."""
    x, y, width, height = (round(value * DPI) / DPI for value in (x, y, width, height))
    wide, high = figure.get_size_inches()
    return figure.add_axes((x / wide, 1 - (y + height) / high, width / wide, height / high))


def _write(figure: Any, x: float, y: float, text: str, **how: Any) -> Any:
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
    with _plain():
        figure = _figure(round(width * DPI) / DPI, height, DPI)
        y = MARGIN
        for part, one in zip(parts, laid, strict=True):
            _draw_block(figure, part, one, y)
            y += one.height
        _legend(figure, height - foot / 2, [row for part in parts for row in part.rows])
        return _pixels(figure)


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
    _write(figure, MARGIN, top, block.title, weight="bold", size=TEXT + 1.5)
    for i, line in enumerate(laid.lines):
        _write(figure, MARGIN, top + LINE + 0.04 + i * LINE, line)
    for row, (wide, high), y in zip(block.rows, laid.boxes, laid.tops, strict=True):
        name, _, rest = row.label.partition("\n")
        _write(figure, MARGIN, top + y, name, weight="bold")
        _write(figure, MARGIN, top + y + 0.13, rest)
        for i, panel in enumerate(row.panels):
            axes = _place(figure, LEFT + i * laid.pitch, top + y, wide, high)
            _show(axes, panel.T if block.turned else panel, row.clumps)
            if i == 0:
                across, down = ("height", "width") if block.turned else ("width", "height")
                axes.set_ylabel(down if high > 0.4 else down[0].upper(), size=TEXT - 1)
                if row is block.rows[-1]:
                    axes.set_xlabel(across if wide > 0.4 else across[0].upper(), size=TEXT - 1)
            if row is block.rows[0] and block.heads:
                axes.set_title(block.heads[i], size=TEXT)
    if block.spectrum:
        _show_spectrum(figure, block.spectrum, top + laid.tops[0])


def _show(axes: Any, panel: Array, clumps: bool) -> Any:
    """One panel: noise in shades, or a mask."""
    axes.set_xticks([])
    axes.set_yticks([])
    how = {"aspect": "auto", "interpolation": "nearest"}
    if panel.dtype != bool:
        low, high = np.quantile(panel, [0.01, 0.99])
        return axes.imshow(panel, cmap=NOISE, vmin=low, vmax=max(high, low + 1e-9), **how)
    return axes.imshow(_painted(panel, clumps), **how)


def _painted(mask: Bools, clumps: bool) -> npt.NDArray[np.uint8]:
    """A mask in colours: (H, W, 3)."""
    return _colours()[mask.astype(np.int64) + (beside(mask) if clumps else False)]


def _colours() -> npt.NDArray[np.uint8]:
    """Of masked, visible and clumped tokens: (3, 3)."""
    return np.array([list(bytes.fromhex(colour[1:])) for colour in (MASKED, VISIBLE, CLUMP)], np.uint8)


def _show_spectrum(figure: Any, spectrum: dict[str, Any], top: float) -> None:
    items = spectrum["items"]
    axes = _place(figure, LEFT + PANELS + 0.62, top + 0.14, SPECTRUM - 0.68, 0.86)
    axes.axhline(1.0, color=GREY, lw=1.0, label="random: 1")
    x = np.array(items["frequency"])
    every = [1.0, *items["power"]]
    if "analytic" in items:
        axes.plot(x, items["analytic"], color=CLUMP, lw=2.2, label="analytic")
        every += items["analytic"]
    axes.plot(x, items["power"], ".", color=VISIBLE, ms=3.2, label="measured")
    low, high = max(min(every), 1e-3), max(every)
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
        axes = _place(figure, x, y - side / 2, wide, side)
        if colour:
            axes.set(xticks=[], yticks=[], facecolor=colour)
        else:
            _show(axes, np.arange(64.0)[None], False)
        written = _write(figure, x + wide + 0.05, y, text, va="center_baseline")
        x += wide + 0.25 + written.get_window_extent(figure.canvas.get_renderer()).width / DPI


# Over time

FILM_DPI = 128
FILM_PANEL, FILM_PITCH, FILM_ROW, FILM_TOP, FILM_LEFT = 1.75, 2.0, 2.75, 0.62, 0.3
FILM_COLUMNS = 4
FILM_MS = 250  # a frame


def film(samplers: Sequence[MaskSampler]) -> list[npt.NDArray[np.uint8]]:
    """Masks over time, beside tube and random ones: frames as pixels (H, W, 3)."""
    needed()
    grid = samplers[0].grid
    if len(grid) != 3:
        raise RecipeError(f"grid={_size(grid)}: a .gif shows masks over time; give three axes, as 8x14x14")
    if any(sampler.grid != grid for sampler in samplers):
        raise RecipeError(
            "these banks are usually shown at different grids; give one for all, as --grid 8x8x8"
        )
    first = samplers[0]
    tube = MaskSampler("tube", grid, _ratio(first), seed=first.seed)
    random = MaskSampler("random", grid, num_visible=first.num_visible, seed=first.seed)
    shown = [*samplers, tube, random]
    samples = [_typical(one) for one in shown]
    masks = [_mask(one, sample) for one, sample in zip(shown, samples, strict=True)]
    frames = min(MOST_FRAMES, max(map(len, masks)))
    deep = -(-len(shown) // FILM_COLUMNS)
    columns = -(-len(shown) // deep)
    width = FILM_LEFT + columns * FILM_PITCH
    height = FILM_TOP + deep * FILM_ROW
    with _plain(**{"font.size": 10.0}):
        figure = _figure(width, height, FILM_DPI)
        caption = f"grid {_size(grid)}, mask ratio {_ratio(first):g}, seed {first.seed}"
        _write(figure, FILM_LEFT, 0.1, caption)
        counter = figure.text(FILM_LEFT / width, 1 - 0.3 / height, "", va="top", weight="bold")
        images = []
        for i, (one, mask) in enumerate(zip(shown, masks, strict=True)):
            x = FILM_LEFT + i % columns * FILM_PITCH
            y = FILM_TOP + i // columns * FILM_ROW + 0.2
            high, wide = mask.shape[1:]
            scale = FILM_PANEL / max(high, wide)
            size = (max(wide * scale, 0.1), max(high * scale, 0.1))
            axes = _place(figure, x, y, *size)
            axes.set_title(one.bank.kind if one.bank else one.baseline, weight="bold", size=11, loc="left")
            images.append(_show(axes, mask[0], False))
            if i % columns == 0:
                axes.set_ylabel("height" if size[1] > 0.6 else "H", size=9)
            lines = ["width", f"{_part(one)} visible", f"sample {samples[i]}"]
            if one.bank:
                lines.append(f"bank {one.bank.fingerprint}")
            for line, words in enumerate(lines):
                _write(figure, x, y + size[1] + 0.06 + 0.15 * line, words, size=9)
        pictures = []
        for t in range(frames):
            for image, mask in zip(images, masks, strict=True):
                image.set_data(_painted(mask[t % len(mask)], False))
            counter.set_text(f"frame {t} (0 to {grid[0] - 1})   blue: visible")
            pictures.append(_pixels(figure))
        return pictures


# Files


def save(pictures: Sequence[npt.NDArray[np.uint8]], output: Path, *, force: bool = False) -> None:
    """Write pixels (H, W, 3) as .png, or frames of them as .gif; the name appears when all is written."""
    from PIL import Image

    name = os.path.abspath(os.fspath(output))
    choice("suffix", os.path.splitext(name)[1].lower(), SUFFIXES)
    _check_free(name, force)
    images = [Image.fromarray(picture) for picture in pictures]
    held = io.BytesIO()
    if name.lower().endswith(".gif"):
        palette = Image.new("P", (1, 1))
        palette.putpalette([*np.repeat(range(0, 256, 15), 3), *_colours().reshape(-1)])  # text is grey
        frames = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
        frames[0].save(
            held, "GIF", save_all=True, append_images=frames[1:], duration=FILM_MS, loop=0, optimize=False
        )
    else:
        images[0].save(held, "PNG", optimize=True, dpi=(DPI, DPI))
    partial = f"{name}.{os.getpid()}.partial"
    try:
        with open(partial, "wb") as file:
            file.write(held.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        if force:
            os.replace(partial, name)
        else:
            rename_new(partial, name)
    except OSError as error:
        raise OutputError(f"cannot write {name}: {error.strerror}") from None
    finally:
        if os.path.exists(partial):
            os.unlink(partial)


def _check_free(name: str, force: bool) -> None:
    if os.path.lexists(name) and not (force and os.path.isfile(name)):
        raise OutputError(f"{name} is there already; choose another -o, or replace it with --force")
