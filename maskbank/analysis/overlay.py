"""Lays masks over clips, as in Figures A.2 to A.5: visible patches are clear, hidden ones grey."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from maskbank.analysis.clips import Clips, opened, patch_on
from maskbank.analysis.covariance import Grid
from maskbank.analysis.drawing import Block, Row
from maskbank.analysis.pictures import name_of, with_baselines
from maskbank.bank.thumbnail import is_spectrogram
from maskbank.errors import RecipeError
from maskbank.sampling.sampler import MaskSampler
from maskbank.sampling.windows import Bools, UInt8s

PANELS = 6  # frames of a clip, or clips, in a row
HIDDEN, KEPT = 200, 0.25  # the grey of hidden patches, and the share of the image that shows through


def overlay(image: UInt8s, visible: Bools) -> UInt8s:
    """An image, uint8 (H, W, 3), whose patches are grey where a mask, (h, w), hides them."""
    high, wide = (n // g for n, g in zip(image.shape, visible.shape, strict=False))
    shown = visible.repeat(high, 0).repeat(wide, 1)[..., None]
    grey = (KEPT * image + (1.0 - KEPT) * HIDDEN).astype(np.uint8)
    return np.where(shown, image, grey)


def pictures_of(source: Clips, grid: Grid) -> tuple[list[UInt8s], list[str]]:
    """Pictures (H, W, 3) to lay masks of this grid over, and a title of each.

    Of video, the first frame of each token of the first clip; else the first few images or spectrograms.
    RecipeError where the clips do not divide into the grid, or it has one axis.
    """
    if len(grid) == 1:
        raise RecipeError(f"grid={grid[0]}: signals of one axis have no picture that masks can be laid over")
    patch_on(source.shape, grid)
    count = 1 if len(grid) == 3 or is_spectrogram(grid) else min(PANELS, source.count)
    clips = np.stack([np.asarray(clip, np.float32) for clip in source.read(range(count))])
    if len(source.shape) == len(grid):
        clips = clips[..., None]
    colours = clips[..., :3] if clips.shape[-1] >= 3 else clips[..., :1].repeat(3, -1)
    low, high = np.quantile(colours, [0.005, 0.995])
    levels = (255 * np.clip((colours - low) / max(high - low, 1e-9), 0, 1)).astype(np.uint8)
    if len(grid) == 3:
        frames = levels[0, :: source.shape[0] // grid[0]][:PANELS]
        return list(frames), [f"token {t}" for t in range(len(frames))]
    return list(levels), [f"clip {i}" for i in range(count)]


def block(title: str, source: Clips, masks: Sequence[tuple[str, Bools]]) -> Block:
    """Rows of pictures: the clip alone, and under each mask. masks: (name, bool (B, *grid))."""
    grid = masks[0][1].shape[1:]
    pictures, heads = pictures_of(source, grid)
    rows = [Row("data", pictures)]
    for name, drawn in masks:
        panels = drawn[0] if len(grid) == 3 else drawn
        rows.append(Row(name, [overlay(*pair) for pair in zip(pictures, panels, strict=False)]))
    spectrogram = is_spectrogram(grid)
    return Block(title, rows, [] if spectrogram else heads, spectrogram=spectrogram)


def blocks_over(samplers: Sequence[MaskSampler], data: Any) -> list[Block]:
    """A block for each sampler: baselines' masks and its own, over clips as `maskbank.fit` reads them."""
    (source,) = opened(data)
    blocks = []
    for sampler in samplers:
        own, *others = with_baselines([sampler], sampler)
        masks = [
            (name_of(one), one(np.arange(PANELS)).visible.reshape(-1, *sampler.grid))
            for one in (*others, own)
        ]
        blocks.append(block(f"{name_of(sampler)} over {source.name}", source, masks))
    return blocks
