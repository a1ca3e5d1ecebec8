"""Chooses what pictures of banks and their masks show; `maskbank.analysis.drawing` draws them."""

import io
import math
from collections.abc import Sequence

import numpy as np

from maskbank.analysis import drawing
from maskbank.analysis.drawing import Block, Row
from maskbank.analysis.measures import measure_structure
from maskbank.analysis.structure import clumped
from maskbank.bank.thumbnail import is_spectrogram
from maskbank.errors import RecipeError
from maskbank.files import appearing
from maskbank.recipes import RBN
from maskbank.sampling.sampler import MaskSampler
from maskbank.sampling.windows import Bools

MOST_FRAMES = 64  # of a .gif
COLUMNS = 8  # panels in a row
STACKED = 6  # spectrograms, one below the other
FILM_DPI, FILM_COLUMNS, FILM_MS = 128, 4, 250  # columns: panels in a row; milliseconds of a frame


def blocks(samplers: Sequence[MaskSampler]) -> list[Block]:
    """One block for each bank, and one of baselines for each grid and ratio."""
    clumps = any(sampler.bank is not None and isinstance(sampler.bank.recipe, RBN) for sampler in samplers)
    made = [_bank_block(sampler, clumps) for sampler in samplers if sampler.bank is not None]
    for first in {(sampler.grid, f"{ratio_of(sampler):.3g}"): sampler for sampler in samplers}.values():
        own = [one for one in samplers if one.baseline and one.grid == first.grid]
        rows = [row for one in with_baselines(own, first) for row in _masks(one, clumps)[0]]
        title = f"for comparison  ·  grid {_size(first.grid)}, {_count(first)}"
        made.append(Block(title, rows, _heads(first), spectrogram=is_spectrogram(first.grid)))
    return made


def with_baselines(samplers: Sequence[MaskSampler], first: MaskSampler) -> list[MaskSampler]:
    """Samplers, and those of tube (on three axes) and random masks at the grid and ratio of the first."""
    usual = ("tube", "random") if len(first.grid) == 3 else ("random",)
    missing = [name for name in usual if all(one.baseline != name for one in samplers)]
    return [*samplers, *(MaskSampler(name, first.grid, ratio_of(first), seed=first.seed) for name in missing)]


def _bank_block(sampler: MaskSampler, clumps: bool) -> Block:
    """The first items, windows and masks of a bank, its spectrum, and a caption with its measures."""
    bank, grid, spectrogram = sampler.bank, sampler.grid, is_spectrogram(sampler.grid)
    assert bank is not None
    found = measure_structure(sampler)
    recipe, still = bank.recipe, len(bank.recipe.size) < 3
    masks, words = _masks(sampler, clumps)
    count = 1 if spectrogram else len(masks[0].panels)
    alone = len(grid) == 3 or not still or spectrogram
    items = [bank[0]] * count if still and len(grid) == 3 else bank[:count] if still else bank[0][:count]
    name = f"item {bank.first}" if alone else "items"
    if bank.sigma is not None and alone:
        name += "\nσ " + ", ".join(f"{one:.2f}" for one in bank.sigma[0])
    rows = [Row(f"{name}\n{_size(recipe.size)}", [np.atleast_2d(one).astype(np.float64) for one in items])]
    windows = sampler.windows(0)[:count] if len(grid) == 3 else sampler.windows(np.arange(count))
    if grid != recipe.size:
        rows.append(Row(f"window\n{_size(grid)}", list(map(np.atleast_2d, windows))))
    text = (
        f"{len(bank):,} item{'s' * (len(bank) > 1)} of {_size(recipe.size)}, {bank.dtype}, {recipe.boundary}"
    )
    for name, (low, high) in zip(recipe.sigma_names, recipe.ranges, strict=True):
        text += f", {name.replace('sigma', 'σ')} {low:g}" + (f" to {high:g}" if high > low else "")
    measures = [
        f"{name} {one['value']:.2f} (random {one['random']:.2f})"
        for name, one in found["measures"].items()
        if name in ("time", "space", "difficulty")
    ]
    caption = (
        f"{text}; grid {_size(grid)}, {_count(sampler)}, seed {sampler.seed}. {words} Measures: "
        f"{', '.join(measures)}; {found['verdict']}."
    )
    spectrum = found["spectrum"].get("items")
    if spectrum and not spectrum["power"]:  # of a single voxel
        spectrum = None
    title, heads = f"{bank.kind}  ·  bank {bank.fingerprint}", _heads(sampler)[:count]
    unit = "patch" if still else "voxel"
    return Block(title, rows + masks, heads, caption, spectrum, unit, spectrogram)


def _masks(sampler: MaskSampler, clumps: bool) -> tuple[list[Row], str]:
    """Rows of the masks of a sampler, and words about them."""
    name = f"{sampler.baseline or 'mask'}\n{sampler.num_visible:,} of {math.prod(sampler.grid):,}"
    if len(sampler.grid) == 3:
        frames = sampler(0).visible.reshape(sampler.grid)[:COLUMNS]
        return [Row(name, list(frames))], "The mask is that of sample 0."
    masks, words = together(sampler)
    rows = []
    for some in np.split(masks, len(masks)) if is_spectrogram(sampler.grid) else [masks]:
        share = f"\n{clumped(some).sum() / max(some.sum(), 1):.0%} in clumps" if clumps else ""
        rows.append(Row(name + share, list(some), clumps))
    return rows, words


def together(sampler: MaskSampler) -> tuple[Bools, str]:
    """Masks (B, H, W) of one set of an rbn bank, or of the first samples; and words about them.

    On one axis H is 1.
    """
    count, bank = COLUMNS, sampler.bank
    if is_spectrogram(sampler.grid):
        many = len(sampler.grid) == 1 or (bank is not None and isinstance(bank.recipe, RBN))
        count = STACKED if many else 1
    masks, words = sampler(np.arange(count)).visible, "The masks are those of the first samples."
    if bank is not None and isinstance(bank.recipe, RBN):
        try:
            masks = sampler.complementary(0).visible[:count]
            words = f"Masks of one set: {len(masks)} of {bank.recipe.masks_per_set}."
        except RecipeError:  # the grid or ratio does not fit, or the bank holds no whole set
            words = "Single masks: at this grid and ratio the bank has no disjoint sets."
    return masks.reshape(-1, *(1, *sampler.grid)[-2:]), words


def _heads(sampler: MaskSampler) -> list[str]:
    if len(sampler.grid) == 3:
        return [f"frame {t}" for t in range(min(COLUMNS, sampler.grid[0]))]
    return [] if is_spectrogram(sampler.grid) else [f"mask {i}" for i in range(COLUMNS)]


def _size(size: tuple[int, ...]) -> str:
    return "×".join(map(str, size))


def name_of(sampler: MaskSampler) -> str:
    """The kind of a sampler's bank, or the name of its baseline."""
    return sampler.bank.kind if sampler.bank else str(sampler.baseline)


def ratio_of(sampler: MaskSampler) -> float:
    """The share that is masked."""
    ratio = sampler.mask_ratio
    return ratio if isinstance(ratio, float) else 1 - sampler.num_visible / math.prod(sampler.grid)


def _count(sampler: MaskSampler) -> str:
    tokens = math.prod(sampler.grid)
    return f"mask ratio {ratio_of(sampler):.3g}, {sampler.num_visible:,} of {tokens:,} tokens visible"


def save_film(samplers: Sequence[MaskSampler], path: str, force: bool) -> int:
    """Write masks frame by frame (mask by mask on a grid of two axes) as .gif, beside tube and random ones.

    All samplers have the same grid. Returns how many frames there are.
    """
    from PIL import Image

    first, spectrogram = samplers[0], is_spectrogram(samplers[0].grid)
    shown = with_baselines(samplers, first)
    moving = len(first.grid) == 3
    masks = [one(0).visible.reshape(first.grid) if moving else together(one)[0] for one in shown]
    names = [f"{name_of(one)}\n{one.num_visible:,} visible" for one in shown]
    frames = []
    with drawing.plain_style():
        for t in range(min(MOST_FRAMES, max(map(len, masks)))):
            panels = [mask[t % len(mask)] for mask in masks]
            title = f"{'frame' if moving else 'mask'} {t}  ·  {_size(first.grid)} at {ratio_of(first):.3g}"
            rows = [Row(name, [panel]) for name, panel in zip(names, panels, strict=True)]
            parts = [Block(title, rows, spectrogram=True)]
            if not spectrogram:
                lines = [slice(i, i + FILM_COLUMNS) for i in range(0, len(shown), FILM_COLUMNS)]
                parts = [Block(title * (i.start == 0), [Row("", panels[i])], names[i]) for i in lines]
            memory = io.BytesIO()
            drawing.page(parts).savefig(memory, format="png", dpi=FILM_DPI)
            frames.append(Image.open(memory).convert("RGB"))
    with appearing(path, force) as file:
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=FILM_MS, loop=0)
    return len(frames)
