"""Previews of banks: masks as text for a terminal, or a picture of banks and their masks."""

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from maskbank.analysis import pictures
from maskbank.analysis.drawing import PAGES, check_picture, page, save_figure
from maskbank.analysis.measures import usual_sampler
from maskbank.analysis.overlay import blocks_over
from maskbank.bank import thumbnail
from maskbank.bank.reader import Bank
from maskbank.checks import format_size
from maskbank.errors import RecipeError
from maskbank.files import check_sources
from maskbank.sampling.sampler import MaskSampler

Path = str | os.PathLike[str]

MOST_BANKS = 24  # in one picture


def preview(
    banks: Bank | Path | Sequence[Bank | Path],
    output: Path | None = None,
    grid: tuple[int, ...] | str | None = None,
    mask_ratio: float | None = None,
    seed: int = 0,
    *,
    over: Any = None,
    force: bool = False,
    width: int = 80,
    blocks: bool = True,
) -> str:
    """Draw masks from banks as text and return it, or draw a picture into a file and return what it shows.

    banks: Banks, their paths, or names of baselines. output: None for text; FILE.png, .pdf or .svg for a page
    of items, masks and spectra; FILE.gif for masks frame after frame, or mask after mask on a grid of two
    axes. grid, mask_ratio: by default those of `usual`; all banks of a .gif take the first one's. seed: of
    the samplers. over: clips, as `maskbank.fit` reads them; the page then shows masks over them. force:
    replace what is at output. width: columns of text. blocks: use block characters in text, not only ASCII.
    The file appears when all is written. Raises RecipeError for what cannot be drawn, OutputError where the
    file cannot be written, MissingError without matplotlib.
    """
    given = [banks] if isinstance(banks, Bank | str | os.PathLike) else list(banks)
    if not 1 <= len(given) <= MOST_BANKS:
        raise RecipeError(f"{len(given)} banks: a picture holds 1 to {MOST_BANKS}; draw several pictures")
    if output is None:
        samplers = [usual_sampler(one, grid, mask_ratio, seed=seed) for one in given]
        return _text(samplers, width, blocks)
    name = check_picture(output, force, PAGES if over is not None else (*PAGES, ".gif"))
    film = name.lower().endswith(".gif")
    samplers = [usual_sampler(given[0], grid, mask_ratio, seed=seed)]
    if film:
        grid, mask_ratio = samplers[0].grid, pictures.ratio_of(samplers[0])
    samplers += [usual_sampler(one, grid, mask_ratio, seed=seed) for one in given[1:]]
    check_sources(name, [part.path for one in samplers if one.bank for part in one.bank.parts])
    made = "1 bank" if len(given) == 1 else f"{len(given)} banks"
    if film:
        return f"{made}, {pictures.save_film(samplers, name, force)} frames"
    shown = pictures.blocks(samplers) if over is None else blocks_over(samplers, over)
    save_figure(name, force, page, shown)
    return made


def _text(samplers: Sequence[MaskSampler], width: int, blocks: bool) -> str:
    """The first mask of each sampler, and of baselines below; on a square grid the first few masks.

    On one axis each mask is a line.
    """
    groups: dict[tuple[tuple[int, ...], int], list[MaskSampler]] = {}
    for one in samplers:
        groups.setdefault((one.grid, one.num_visible), []).append(one)
    parts = []
    for (grid, _), members in groups.items():
        for one in pictures.with_baselines(members, members[0]):
            alone = len(grid) == 3 or (len(grid) == 2 and thumbnail.is_spectrogram(grid))
            count = 1 if alone else pictures.COLUMNS
            masks = one(np.arange(count)).visible.reshape(count, *grid)
            panels = [panel for mask in masks for panel in thumbnail.panels(mask)]
            shown = panels[: thumbnail.fitting(panels[0], width)]
            unit = "frames" if len(grid) == 3 else "masks"
            which = f", {unit} 0 to {len(shown) - 1}" if len(shown) > 1 else ""
            if len(grid) == 1:
                shown = [np.insert(masks, range(1, count + 1), False, axis=0)]
                which = f", masks 0 to {count - 1}" + f", tokens 0 to {width - 1}" * (grid[0] > width)
            head = f"{pictures.name_of(one)}  {format_size(grid)}, {one.num_visible:,} of {math.prod(grid):,}"
            parts.append(f"{head} visible{which}\n{thumbnail.text(shown, width, blocks)}")
    return "\n\n".join(parts)
