"""Masks laid over a user's own clips, as in Figures A.2 to A.5: visible patches clear, hidden ones grey."""

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from maskbank.analysis.clips import Clips, opened
from maskbank.analysis.drawing import Block, Row, check_matplotlib
from maskbank.analysis.measures import usual_sampler
from maskbank.analysis.pictures import save_page, with_baselines
from maskbank.bank.reader import Bank
from maskbank.checks import format_size
from maskbank.errors import RecipeError
from maskbank.files import check_free, check_sources

Bools = npt.NDArray[np.bool_]
Levels = npt.NDArray[np.uint8]
Grid = tuple[int, ...]

PANELS = 6  # frames of a clip, or clips
LONG = 3  # a spectrogram is long if its sides differ by this factor; it fills a row
HIDDEN, KEPT = 200, 0.25  # the grey over hidden patches, and the share of them that shows through
SUFFIXES = (".png", ".pdf", ".svg")


def overlay(image: Levels, visible: Bools) -> Levels:
    """An image, uint8 (H, W, 3), with the patches grey that a mask, (h, w), hides."""
    high, wide = (n // g for n, g in zip(image.shape, visible.shape, strict=False))
    shown = visible.repeat(high, 0).repeat(wide, 1)[..., None]
    grey = (KEPT * image + (1.0 - KEPT) * HIDDEN).astype(np.uint8)
    return np.where(shown, image, grey)


def pictures_of(source: Clips, grid: Grid) -> tuple[list[Levels], list[str]]:
    """What masks on this grid are laid over, (H, W, 3), and a title of each.

    The first frame of each token of the first clip; for images and spectrograms the first few of them.
    """
    shape = source.shape
    fits = 2 <= len(grid) <= 3 and len(shape) - len(grid) in (0, 1)
    if not fits or any(n % g for n, g in zip(shape, grid, strict=False)):
        raise RecipeError(f"clips of {format_size(shape)} do not divide into {format_size(grid)} tokens")
    count = 1 if len(grid) == 3 or _long(grid) else min(PANELS, source.count)
    clips = np.stack([np.asarray(clip, np.float32) for clip in source.read(range(count))])
    if len(shape) == len(grid):
        clips = clips[..., None]
    colours = clips[..., :3] if clips.shape[-1] >= 3 else clips[..., :1].repeat(3, -1)
    low, high = np.quantile(colours, [0.005, 0.995])
    levels = (255 * np.clip((colours - low) / max(high - low, 1e-9), 0, 1)).astype(np.uint8)
    if len(grid) == 3:
        frames = levels[0, :: shape[0] // grid[0]][:PANELS]
        return list(frames), [f"token {t}" for t in range(len(frames))]
    return list(levels), [f"clip {i}" for i in range(count)]


def block(title: str, source: Clips, masks: Sequence[tuple[str, Bools]]) -> Block:
    """Rows of pictures: the clip itself, and under each mask; masks are (name, bool (B, *grid))."""
    grid = masks[0][1].shape[1:]
    pictures, heads = pictures_of(source, grid)
    rows = [Row("data", pictures)]
    for name, drawn in masks:
        panels = drawn[0] if len(grid) == 3 else drawn
        rows.append(
            Row(name, [overlay(*pair) for pair in zip(pictures, panels[: len(pictures)], strict=True)])
        )
    long = _long(grid)
    return Block(title, rows, [] if long else heads, spectrogram=long and grid[0] > grid[1], wide=long)


def draw_over(
    banks: Sequence[Bank | str],
    data: str,
    output: str,
    grid: Grid | str | None = None,
    mask_ratio: float | None = None,
    seed: int = 0,
    *,
    force: bool = False,
) -> str:
    """Draw masks over clips into a page: tube, random, and those of each bank; what was drawn, in words.

    data: a file of clips, as `maskbank.fit` reads it. The rest is as for `pictures.draw`.
    """
    name = check_page(output, force)
    samplers = [usual_sampler(bank, grid, mask_ratio, seed=seed) for bank in banks]
    check_sources(name, (part.path for s in samplers if s.bank for part in s.bank.parts))
    (source,) = opened(data)
    blocks = []
    for sampler in samplers:
        others = [one for one in with_baselines([], sampler) if one.baseline != sampler.baseline]
        masks = [
            (one.bank.kind if one.bank else str(one.baseline), one(np.arange(PANELS)).visible)
            for one in (*others, sampler)
        ]
        shaped = [(label, drawn.reshape(-1, *sampler.grid)) for label, drawn in masks]
        blocks.append(block(f"{shaped[-1][0]} over {source.name}", source, shaped))
    save_page(blocks, name, force)
    return "1 bank" if len(blocks) == 1 else f"{len(blocks)} banks"


def check_page(output: str, force: bool) -> str:
    """The absolute name of a page that can be written, or an error of its own."""
    name = os.path.abspath(os.fspath(output))
    if not name.lower().endswith(SUFFIXES):
        raise RecipeError(f"{name}: a page is written as .png, .pdf or .svg")
    check_free(name, force)
    check_matplotlib()
    return name


def _long(grid: Grid) -> bool:
    return len(grid) == 2 and max(grid) >= LONG * min(grid)
