"""Pictures of banks and of their masks: a page (.png, .pdf, .svg), or masks frame by frame (.gif).

`maskbank.analysis.drawing` draws them; this module decides what they show.
"""

import io
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.analysis import drawing
from maskbank.analysis.drawing import Block, Row
from maskbank.analysis.measures import Measure, measure_structure, usual_sampler
from maskbank.analysis.structure import clumped
from maskbank.bank.reader import Bank
from maskbank.errors import RecipeError
from maskbank.files import appearing, check_free, check_sources
from maskbank.recipes import RBN
from maskbank.sampling import selection
from maskbank.sampling.sampler import MaskSampler

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Path = str | os.PathLike[str]

SUFFIXES = (".png", ".pdf", ".svg", ".gif")
MOST_BANKS = 24  # in one picture
MOST_FRAMES = 64  # of a .gif
COLUMNS = 8  # panels beside each other
STACKED, SINGLE = 6, 3  # masks below each other on a long grid: of one set, or of single samples
TYPICAL = 64  # samples among which `_typical` chooses
LONG = 3  # a grid is long whose sides differ by this factor
FILM_DPI, FILM_COLUMNS, FILM_MS = 128, 4, 250  # panels beside each other; milliseconds a frame is shown


def draw(
    banks: Bank | Path | Sequence[Bank | Path],
    output: Path,
    grid: tuple[int, ...] | str | None = None,
    mask_ratio: float | None = None,
    seed: int = 0,
    *,
    force: bool = False,
) -> str:
    """Draw what is in banks, and masks from them, into a file; return what was drawn, in words.

    banks: Banks, their paths, or names of baselines. output: FILE.png, .pdf or .svg is a page; FILE.gif
    shows frame after frame, or sample after sample where the grid has two axes. grid, mask_ratio: the
    defaults are those of `usual`; a .gif takes the first bank's for all. force: replace what is at output.
    The name appears when all is written. Raises RecipeError for what cannot be drawn, OutputError where
    the file cannot be written, MaskbankError without matplotlib.
    """
    name = os.path.abspath(os.fspath(output))
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in SUFFIXES:
        raise RecipeError(
            f"{name}: pictures are written as .png, .pdf or .svg (a page), or .gif (masks frame by frame)"
        )
    check_free(name, force)
    given = [banks] if isinstance(banks, Bank | str | os.PathLike) else list(banks)
    if not 1 <= len(given) <= MOST_BANKS:
        raise RecipeError(f"{len(given)} banks: a picture holds 1 to {MOST_BANKS}; draw several pictures")
    drawing.check_matplotlib()
    samplers: list[MaskSampler] = []
    for one in given:
        samplers.append(usual_sampler(one, grid, mask_ratio, seed=seed))
        if suffix == ".gif":
            grid, mask_ratio = samplers[0].grid, _ratio(samplers[0])
    parts = [part for sampler in samplers if sampler.bank for part in sampler.bank.parts]
    check_sources(name, (part.path for part in parts))
    made = "1 bank" if len(given) == 1 else f"{len(given)} banks"
    if suffix != ".gif":
        save_page(blocks(samplers), name, force)
        return made
    frames = film(samplers)
    with appearing(name, force) as file:
        frames[0].save(
            file, "GIF", save_all=True, append_images=frames[1:], duration=FILM_MS, loop=0, optimize=False
        )
    return f"{made}, {len(frames)} frames"


def save_page(parts: Sequence[Block], path: str, force: bool) -> None:
    """Write a page of blocks as .png, .pdf or .svg. The same blocks give the same bytes."""
    kind = os.path.splitext(path)[1][1:].lower()
    undated: dict[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    with appearing(path, force) as file, drawing.plain_style():
        how = {"format": kind, "metadata": undated.get(kind), "bbox_inches": "tight", "pad_inches": 0.08}
        drawing.page(parts).savefig(file, **how)


def blocks(samplers: Sequence[MaskSampler]) -> list[Block]:
    """One block for each sampler, and one of baselines for each grid and ratio."""
    clumps = any(sampler.bank is not None and isinstance(sampler.bank.recipe, RBN) for sampler in samplers)
    banks = [sampler for sampler in samplers if sampler.bank is not None]
    made = [_bank_block(sampler, clumps) for sampler in banks]
    grids = {(sampler.grid, sampler.num_visible): sampler for sampler in samplers}
    for sampler in grids.values():
        names = [one.baseline for one in samplers if one.baseline and one.grid == sampler.grid]
        made.append(_baselines_block(sampler, [name for name in names if name], clumps))
    return made


def _bank_block(sampler: MaskSampler, clumps: bool) -> Block:
    bank = sampler.bank
    assert bank is not None
    found = measure_structure(sampler)
    caption = f"{_recipe(bank)}; grid {_size(sampler.grid)}, {_count(sampler)}, seed {sampler.seed}. "
    caption += _in_words(found["measures"])
    if not found["reaches"]:
        caption += f" {found['verdict'].removeprefix('ALARM: ').capitalize()}."
    if len(sampler.grid) == 3:
        rows, heads, more = _frames(sampler)
    else:
        rows, heads, more = _samples(sampler, clumps)
    return Block(
        f"{bank.kind}  ·  bank {bank.fingerprint}", rows, heads, f"{caption} {more}",
        found["spectrum"].get("items"), "voxel" if len(bank.recipe.size) == 3 else "patch",
        *_long(sampler.grid),
    )  # fmt: skip


def _frames(sampler: MaskSampler) -> tuple[list[Row], list[str], str]:
    """An item, a window and a mask of one sample, frame by frame; and words about them."""
    bank, count = sampler.bank, _shown(sampler)
    assert bank is not None
    sample = _typical(sampler)
    item = _item(bank, sampler, sample)
    whole = bank[item].astype(np.float64)
    noise = [whole if whole.ndim == 2 else whole[t % len(whole)] for t in range(count)]
    rows = [
        Row(_named(bank, item), noise),
        Row(f"window\n{_size(sampler.grid)}", list(sampler.windows(sample)[:count])),
        Row(f"mask\nsample {sample}\n{_part(sampler)}", list(_mask(sampler, sample)[:count])),
    ]
    words = "The mask is the highest values of a window that is cut out of the item."
    if bank.sigma is not None and len(bank) > 1:
        words = f"Sample {sample} is of an item near the median σ. {words}"
    if whole.ndim == 2:
        words += " It is repeated over time."
    return rows, [f"frame {t}" for t in range(count)], words


def _samples(sampler: MaskSampler, clumps: bool) -> tuple[list[Row], list[str], str]:
    """Items and masks of a set, or of several samples; and words about them."""
    bank = sampler.bank
    assert bank is not None
    first, masks = _together(sampler, _shown(sampler))
    words = "The mask is the highest values of a window that is cut out of the item."
    if isinstance(bank.recipe, RBN):
        each = bank.recipe.masks_per_set
        if first is not None:
            words = f"Masks of one set: {len(masks)} of {each}."
        elif len(bank) < each:
            words = "Single masks: the bank holds no whole set."
        else:
            words = "Single masks: at this grid or ratio those of a set would not be disjoint."
    items = [_item(bank, sampler, i) if first is None else first + i for i in range(len(masks))]
    noise = [(one if one.ndim == 2 else one[0]).astype(np.float64) for one in map(bank.__getitem__, items)]
    heads = [f"{'sample' if first is None else 'mask'} {i}" for i in range(len(masks))]
    if _long(sampler.grid)[1]:
        rows = [Row(_named(bank, items[0]), noise[:1])]
        rows += [
            Row(f"{head}{_clumped(mask[None], clumps)}", [mask], clumps)
            for head, mask in zip(heads, masks, strict=True)
        ]
        return rows, [], words
    rows = [Row(f"items\n{_size(bank.recipe.size[-2:])}", noise)]
    if first is None:
        rows.append(Row(f"windows\n{_size(sampler.grid)}", list(sampler.windows(np.arange(len(masks))))))
    return [*rows, Row(f"masks{_clumped(masks, clumps)}", list(masks), clumps)], heads, words


def _baselines_block(sampler: MaskSampler, names: Sequence[str], clumps: bool) -> Block:
    """Masks of tube and random, and of other baselines, at the grid and ratio of a sampler."""
    grid, count = sampler.grid, _shown(sampler)
    usual = ("tube", "random") if len(grid) == 3 else ("random",)
    ratio = sampler.mask_ratio if sampler.baseline == "timefreq" else _ratio(sampler)
    shown = [
        MaskSampler(name, grid, _ratio(sampler) if name in usual else ratio, seed=sampler.seed)
        for name in dict.fromkeys((*names, *usual))
    ]
    rows = []
    for one in shown:
        if len(grid) == 3:
            rows.append(Row(f"{one.baseline}\n{_part(one)}", list(_mask(one, 0)[:count])))
        else:
            masks = _together(one, 1 if _long(grid)[1] else count)[1]
            rows.append(Row(f"{one.baseline}{_clumped(masks, clumps)}", list(masks), clumps))
    heads = [f"frame {t}" for t in range(count)] if len(grid) == 3 else []
    title = f"for comparison  ·  grid {_size(grid)}, {_count(sampler)}"
    return Block(title, rows, heads, "", None, "", *_long(grid))


def _shown(sampler: MaskSampler) -> int:
    """How many panels: frames, masks of one set, or samples."""
    if len(sampler.grid) == 3:
        return min(COLUMNS, sampler.grid[0])
    long = _long(sampler.grid)[1]
    if sampler.bank is None:
        return 1 if long else COLUMNS
    most = STACKED if isinstance(sampler.bank.recipe, RBN) else SINGLE
    return min(most if long else COLUMNS, len(sampler.bank))


def _long(grid: tuple[int, ...]) -> tuple[bool, bool]:
    """Whether a grid is a spectrogram's, (time, frequency), and whether one mask fills a row."""
    high, wide = grid[-2:]
    long = len(grid) == 2 and max(high, wide) >= LONG * min(high, wide)
    return long and high > wide, long


def _together(sampler: MaskSampler, count: int) -> tuple[int | None, Bools]:
    """Masks (B, H, W) of one set of an rbn bank, and the place of the set's first item; else of samples."""
    bank = sampler.bank
    if bank is not None and isinstance(bank.recipe, RBN):
        try:
            masks = sampler.complementary(0).visible.reshape(-1, *sampler.grid)[:count]
        except RecipeError:
            pass  # not at this grid or ratio
        else:
            each = bank.recipe.masks_per_set
            skip = -bank.first % each
            return skip + _item(bank, sampler, 0, (len(bank) - skip) // each) * each, masks
    return None, sampler(np.arange(count)).visible.reshape(-1, *sampler.grid)


def _item(bank: Bank, sampler: MaskSampler, index: int, items: int | None = None) -> int:
    """The item (or set) that a sample's mask comes from."""
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
    return f"mask ratio {_ratio(sampler):.3g}, {_part(sampler)} tokens visible"


def _recipe(bank: Bank) -> str:
    recipe = bank.recipe
    items = "1 item" if len(bank) == 1 else f"{len(bank):,} items"
    text = f"{items} of {_size(recipe.size)}, {bank.dtype}, {recipe.boundary}"
    if isinstance(recipe, RBN):
        text += f", made for mask ratio {recipe.mask_ratio:g}, {recipe.masks_per_set} masks a set"
    for name, (low, high) in zip(recipe.sigma_names, recipe.ranges, strict=True):
        text += f", {name.replace('sigma', 'σ')} {low:g}" + (f" to {high:g}" if high > low else "")
    return text


def _in_words(measures: dict[str, Measure]) -> str:
    """What the eye should see: how likely the neighbours of a visible token are visible."""
    parts = []
    for name, words in {"time": "in the next frame", "space": "beside it"}.items():
        if found := measures.get(name):
            others = [f"{other} {found[other]:.2f}" for other in ("random", "tube") if other in found]
            parts.append(f"{words} {found['value']:.2f} ({', '.join(others)})")
    return f"The chance that a visible token's neighbour is visible: {'; '.join(parts)}." if parts else ""


def film(samplers: Sequence[MaskSampler]) -> list[Any]:
    """Masks frame by frame (sample by sample on a grid of two axes), beside tube and random ones.

    All samplers have the same grid. Returns Pillow images.
    """
    from PIL import Image

    first, still = samplers[0], len(samplers[0].grid) == 2
    shown = list(samplers)
    for name in ("random",) if still else ("tube", "random"):
        if all(one.baseline != name for one in samplers):
            shown.append(MaskSampler(name, first.grid, _ratio(first), seed=first.seed))
    masks = [_together(one, COLUMNS)[1] if still else _mask(one, _typical(one)) for one in shown]
    names = [f"{one.bank.kind if one.bank else one.baseline}\n{_part(one)}" for one in shown]
    where = f"grid {_size(first.grid)}, {_count(first)}, seed {first.seed}"
    spectrogram, wide = _long(first.grid)
    images = []
    with drawing.plain_style():
        for t in range(min(MOST_FRAMES, max(map(len, masks)))):
            panels = [mask[t % len(mask)] for mask in masks]
            rows = [Row(name, [panel]) for name, panel in zip(names, panels, strict=True)]
            title = f"{'mask' if still else 'frame'} {t}  ·  {where}"
            if wide:
                parts = [Block(title, rows, spectrogram=spectrogram, wide=True)]
            else:
                starts = range(0, len(shown), FILM_COLUMNS)
                parts = [Block(" " if i else title, [Row("", panels[i : i + FILM_COLUMNS])],
                               names[i : i + FILM_COLUMNS]) for i in starts]  # fmt: skip
            memory = io.BytesIO()
            drawing.page(parts).savefig(memory, format="png", dpi=FILM_DPI)
            images.append(Image.open(memory).convert("RGB"))
    return images
