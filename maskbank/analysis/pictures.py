"""Pictures of banks and of the masks from them: a page for a paper (.png), masks over time (.gif).

`maskbank.analysis.drawing` draws them; here it is decided what they show.
"""

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.analysis.drawing import (
    DPI,
    Block,
    Row,
    colours,
    needed,
    new_figure,
    page,
    painted,
    pixels,
    place,
    plain,
    show,
    write,
)
from maskbank.analysis.report import report, usual
from maskbank.analysis.structure import clumped
from maskbank.bank.reader import Bank
from maskbank.errors import OutputError, RecipeError
from maskbank.files import appearing, check_free
from maskbank.recipes import RBN
from maskbank.sampling import selection
from maskbank.sampling.sampler import MaskSampler

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
    check_free(name, force)
    given = [banks] if isinstance(banks, Bank | str | os.PathLike) else list(banks)
    if not 1 <= len(given) <= MOST_BANKS:
        raise RecipeError(f"{len(given)} banks: a picture holds 1 to {MOST_BANKS}; draw several pictures")
    needed()
    opened = [bank if isinstance(bank, Bank) else Bank(bank) for bank in given]
    if os.path.exists(name) and any(
        os.path.samefile(name, part.path) for bank in opened for part in bank.parts
    ):
        raise OutputError(f"{name} is one of the banks; choose another -o")
    samplers = []
    for bank in opened:
        its_grid, ratio = usual(bank, grid, moving=suffix == ".gif")
        samplers.append(MaskSampler(bank, its_grid, ratio if mask_ratio is None else mask_ratio, seed=seed))
    pictures = film(samplers) if suffix == ".gif" else [page(blocks(samplers))]
    save(pictures, name, force)
    height, width, _ = pictures[0].shape
    count = "1 bank" if len(opened) == 1 else f"{len(opened)} banks"
    frames = f", {len(pictures)} frames" if suffix == ".gif" else ""
    return f"{count}, {width} x {height} pixels{frames}"


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
        return Block(title, caption, rows, heads, found["spectrum"].get("items", {}))
    first, masks = _together(sampler, count)
    items = [_item(bank, sampler, i) if first is None else first + i for i in range(len(masks))]
    noise = [_slice(bank[item]) for item in items]
    name = "mask" if first is not None else "sample"
    marked = clumps and grid == sampler.grid
    if isinstance(recipe, RBN):
        each = recipe.masks_per_set
        if first is None:
            caption += (
                " Single masks: the bank holds no whole set."
                if len(bank) < each
                else " Single masks: at this grid or ratio those of a set would not be disjoint."
            )
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
        return Block(title, caption, rows, heads, found["spectrum"].get("items", {}))
    rows = [Row(_named(bank, items[0]), noise[:1])]
    rows += [
        Row(f"{head}{_clumped(mask[None], marked)}", [mask], marked)
        for head, mask in zip(heads, masks, strict=True)
    ]
    return Block(title, caption, rows, (), found["spectrum"].get("items", {}), turned)


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


def _clumped(masks: Bools, marked: bool) -> str:
    return f"\n{clumped(masks).sum() / max(masks.sum(), 1):.0%} in clumps" if marked else ""


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
    with plain(**{"font.size": 10.0}):
        figure = new_figure(width, height, FILM_DPI)
        caption = f"grid {_size(grid)}, mask ratio {_ratio(first):g}, seed {first.seed}"
        write(figure, FILM_LEFT, 0.1, caption)
        counter = figure.text(FILM_LEFT / width, 1 - 0.3 / height, "", va="top", weight="bold")
        images = []
        for i, (one, mask) in enumerate(zip(shown, masks, strict=True)):
            x = FILM_LEFT + i % columns * FILM_PITCH
            y = FILM_TOP + i // columns * FILM_ROW + 0.2
            high, wide = mask.shape[1:]
            scale = FILM_PANEL / max(high, wide)
            size = (max(wide * scale, 0.1), max(high * scale, 0.1))
            axes = place(figure, x, y, *size)
            axes.set_title(one.bank.kind if one.bank else one.baseline, weight="bold", size=11, loc="left")
            images.append(show(axes, mask[0], False))
            if i % columns == 0:
                axes.set_ylabel("height" if size[1] > 0.6 else "H", size=9)
            lines = ["width", f"{_part(one)} visible", f"sample {samples[i]}"]
            if one.bank:
                lines.append(f"bank {one.bank.fingerprint}")
            for line, words in enumerate(lines):
                write(figure, x, y + size[1] + 0.06 + 0.15 * line, words, size=9)
        pictures = []
        for t in range(frames):
            for image, mask in zip(images, masks, strict=True):
                image.set_data(painted(mask[t % len(mask)], False))
            counter.set_text(f"frame {t} (0 to {grid[0] - 1})   blue: visible")
            pictures.append(pixels(figure))
        return pictures


# Files


def save(pictures: Sequence[npt.NDArray[np.uint8]], path: str, force: bool) -> None:
    """Write pixels (H, W, 3) as .png, or frames of them as .gif."""
    from PIL import Image

    images = [Image.fromarray(picture) for picture in pictures]
    with appearing(path, force) as file:
        if not path.lower().endswith(".gif"):
            images[0].save(file, "PNG", optimize=True, dpi=(DPI, DPI))
            return
        palette = Image.new("P", (1, 1))
        palette.putpalette([*np.repeat(range(0, 256, 15), 3), *colours().reshape(-1)])  # text is grey
        frames = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
        frames[0].save(
            file, "GIF", save_all=True, append_images=frames[1:], duration=FILM_MS, loop=0, optimize=False
        )
