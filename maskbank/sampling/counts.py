"""How many tokens are visible: the one place where a mask ratio becomes a number."""

import math
from typing import Any

import numpy as np

from maskbank.checks import check_ratio, count_visible, format_size, integer
from maskbank.errors import RecipeError

Ratio = float | tuple[float, float] | None

FIXED = ("running-cell", "timefreq")  # baselines that count by whole cells, rows or columns


def check_counts(
    baseline: str | None, grid: tuple[int, ...], per_frame: bool, mask_ratio: Any, num_visible: Any
) -> tuple[Ratio, int]:
    """The checked ratio, None where num_visible was given, and how many tokens of the grid are visible.

    Algorithm 2 keeps int(L * (1 - mask_ratio)) tokens. per_frame: each frame keeps as many, and a ratio
    leaves h * w - int(mask_ratio * h * w) of a frame, as in VideoMAE's tube.
    """
    if (mask_ratio is None) == (num_visible is None):
        raise RecipeError("give either mask_ratio, the share that is hidden, or num_visible")
    tokens = math.prod(grid)
    frames = grid[0] if per_frame and len(grid) == 3 else 1
    if baseline == "timefreq":
        if num_visible is not None:
            raise RecipeError(f"num_visible={num_visible!r}: timefreq takes mask_ratio, two ratios, instead")
        ratios = _two_ratios(grid, mask_ratio)
        return ratios, math.prod(map(count_of_axis, grid, ratios))
    if baseline in ("block", "running-cell") and len(grid) == 1:
        raise RecipeError(
            f"grid={format_size(grid)}: {baseline} masks rectangles, which one axis does not have; use "
            "'span', or a grid of two or three axes"
        )
    if baseline == "frequency" and len(grid) != 2:
        raise RecipeError(f"grid={format_size(grid)}: frequency takes a grid of two axes, as (64, 8)")
    if baseline in ("span", "time") and frames > 1:
        raise RecipeError(f"per_frame=True: {baseline} masks whole frames; leave it out")
    if num_visible is not None:
        return None, check_count(num_visible, tokens - 1, frames)
    ratio = check_ratio(mask_ratio)
    if baseline == "running-cell":
        return ratio, _count_in_cells(grid, ratio)
    if not per_frame:
        return ratio, count_visible(tokens, ratio)
    frame = tokens // frames
    kept = int(kept_of_frame(np.int64(frame), ratio))
    if not 0 < kept < frame:
        which = "masked" if kept else "visible"
        raise RecipeError(f"mask_ratio={ratio:g} leaves none of the {frame} tokens of a frame {which}")
    return ratio, kept * frames


def count_of_axis(tokens: int, ratio: float) -> int:
    """How many of these tokens, rows or columns stay visible: all of them at 0; or RecipeError."""
    return tokens if ratio == 0 else count_visible(tokens, check_ratio(ratio))


def _count_in_cells(grid: tuple[int, ...], ratio: float) -> int:
    """int(4 * mask_ratio) tokens are masked in each 2 x 2 of a frame, as VideoMAEv2 counts."""
    masked = int(4 * ratio)
    if masked == 0 or grid[-1] % 2 or grid[-2] % 2:
        raise RecipeError(
            f"mask_ratio={ratio:g}, grid={format_size(grid)}: running-cell masks int(4 * mask_ratio) tokens "
            "of each 2x2; give a ratio of at least 0.25 and an even height and width"
        )
    return math.prod(grid) // 4 * (4 - masked)


def _two_ratios(grid: tuple[int, ...], mask_ratio: Any) -> tuple[float, float]:
    if len(grid) != 2:
        raise RecipeError(f"grid={format_size(grid)}: timefreq takes a grid of two axes, as (64, 8)")
    try:
        rows, columns = mask_ratio
    except (TypeError, ValueError):
        raise RecipeError(
            f"mask_ratio={mask_ratio!r}: timefreq takes two, of rows (time) and columns, as (0.3, 0.3)"
        ) from None
    if rows == columns == 0:
        raise RecipeError("mask_ratio=(0, 0) masks nothing; give one of them above 0")
    return tuple(0.0 if ratio == 0 else check_ratio(ratio) for ratio in (rows, columns))  # type: ignore[return-value]


def check_count(given: Any, most: int, frames: int) -> int:
    """num_visible as Python int, or RecipeError."""
    count = integer("num_visible", given, 1, most)
    if count % frames:
        raise RecipeError(
            f"num_visible={count} cannot be the same in each of {frames} frames; give a multiple of {frames}"
        )
    return count


def kept_of_frame(tokens: Any, ratio: Any) -> Any:
    """How many tokens of a frame VideoMAE's tube keeps, int64; Algorithm 2 rounds the other way."""
    return tokens - (ratio * tokens).astype(np.int64)
