"""Checks of what users give. Each returns the value in one form, or the error says what is allowed."""

import math
import os
import re
from typing import Any

from maskbank.errors import RecipeError

MOST_VOXELS = 2**28
MOST_ITEMS = 2**48
MOST_TOKENS = 2**24


def check_seed(seed: Any) -> int:
    """A seed as Python int, or RecipeError."""
    return integer("seed", seed, 0, 2**64 - 1)


def check_n(n: Any) -> int:
    """A number of items as Python int, or RecipeError."""
    return integer("n", n, 1, MOST_ITEMS)


def count_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count_workers(workers: Any) -> int:
    """A number of workers as Python int, or RecipeError. None stands for one on each core."""
    return count_cores() if workers is None else integer("workers", workers, 1, 4096)


def parse_size(text: str) -> tuple[int, ...]:
    """'64x64x64' -> (64, 64, 64)."""
    if not re.fullmatch(r"\d{1,18}([x×]\d{1,18})*", text.strip().lower()):
        raise RecipeError(
            f"size={shown(text)} is not a size; write for example 64x64x64 (T x H x W), 64x64 or 1024"
        )
    return tuple(int(part) for part in re.split("[x×]", text.strip().lower()))


def format_size(size: tuple[int, ...]) -> str:
    """(64, 64, 64) -> '64x64x64'."""
    return "x".join(map(str, size))


def axis_names(axes: int) -> str:
    """A letter for each axis of an item: THW, HW, or L."""
    return ("L", "HW", "THW")[axes - 1]


def format_bytes(n: int) -> str:
    """5243039744 -> '5.24 GB'."""
    size = float(n)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB" if size < 999.5 else f"{size:,.0f} TB"


def shown(value: Any) -> str:
    """A value as text for a message, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a very large number"
    return text if len(text) <= 100 else f"{text[:60]}…{text[-20:]}"


def integer(name: str, value: Any, low: float, high: float = math.inf) -> int:
    """A whole number from low to high, which may be infinite, as Python int, or RecipeError."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = value.__index__()
    except (AttributeError, TypeError):
        raise RecipeError(f"{name}={shown(value)} is not a whole number") from None
    if not low <= number <= high:
        allowed = f"{low} and more" if high == math.inf else f"{low} to {high}"
        raise RecipeError(f"{name}={shown(number)} is out of range; allowed is {allowed}")
    return int(number)


def boolean(name: str, value: Any) -> bool:
    """True or False as Python bool, or RecipeError: a text such as "no" would count as True."""
    if type(value).__name__ not in ("bool", "bool_"):
        raise RecipeError(f"{name}={value!r} is neither True nor False")
    return bool(value)


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raise RecipeError where `value` is not one of `allowed`."""
    if value not in allowed:
        raise RecipeError(
            f"{name}={shown(value)} is not known; choose {', '.join(allowed[:-1])} or {allowed[-1]}"
        )


def check_size(size: Any) -> tuple[int, ...]:
    """A size, given as a tuple, as text or as L, as a tuple of one to three Python ints, or RecipeError."""
    axes = _check_axes("size", size, "size")
    if math.prod(axes) > MOST_VOXELS:
        raise RecipeError(
            f"size={format_size(axes)} has {math.prod(axes):,} voxels; an item has at most {MOST_VOXELS:,}"
        )
    return axes


def check_grid(grid: Any) -> tuple[int, ...]:
    """A token grid, given as a tuple, as text or as L, as one to three Python ints, or RecipeError."""
    axes = _check_axes("grid", grid, "token grid")
    if math.prod(axes) > MOST_TOKENS:
        raise RecipeError(f"grid={format_size(axes)} has more than {MOST_TOKENS:,} tokens")
    return axes


def _check_axes(name: str, given: Any, what: str) -> tuple[int, ...]:
    try:
        axes = tuple(parse_size(given) if isinstance(given, str) else given)
    except TypeError:
        axes = (given,) if hasattr(given, "__index__") else ()
    except RecipeError:
        axes = ()
    if len(axes) not in (1, 2, 3):
        raise RecipeError(
            f"{name}={shown(given)} is not a {what}; give (T, H, W), (H, W) or (L,), as 64x64x64"
        )
    return tuple(integer(name, axis, 1, MOST_VOXELS) for axis in axes)


def check_ratio(mask_ratio: Any) -> float:
    """A mask ratio, between 0 and 1, as Python float, or RecipeError."""
    try:
        ratio = float(mask_ratio)
    except OverflowError:
        ratio = math.inf
    except (TypeError, ValueError):
        raise RecipeError(f"mask_ratio={shown(mask_ratio)} is not a number; give a share, as 0.9") from None
    if not 0.0 < ratio < 1.0:  # true for NaN, too
        raise RecipeError(f"mask_ratio={ratio:g} is not between 0 and 1; give the masked share, as 0.9")
    return ratio


def count_visible(tokens: int, mask_ratio: float) -> int:
    """How many of `tokens` are visible: int(L * (1 - mask_ratio)), as in Algorithm 2 and MAE, or RecipeError.

    It is computed in floats: 1,568 tokens at 0.9 leave 156.
    """
    visible = int(tokens * (1 - mask_ratio))
    if not 0 < visible < tokens:
        which = "visible" if visible == 0 else "masked"
        raise RecipeError(
            f"mask_ratio={mask_ratio:g} leaves none of {tokens} tokens {which}; "
            + (f"{1 - 1 / tokens:.4g} is about the most" if visible == 0 else "raise it")
            if tokens > 1
            else f"{tokens} token cannot be masked in part; give a larger grid"
        )
    return visible


def check_items(items: Any, n: int) -> tuple[int, int]:
    """A range of items, (a, b) or "a:b" for items a to b - 1 of n, as two Python ints, or RecipeError."""
    try:
        first, end = map(int, items.split(":")) if isinstance(items, str) else items
    except (TypeError, ValueError):
        raise RecipeError(f"items={shown(items)} is not a range; give two numbers, as 0:5000") from None
    first, end = integer("items", first, 0, n), integer("items", end, 0, n)
    if first >= end:
        raise RecipeError(f"items={first}:{end} is empty; give A:B with A below B, for items A to B - 1")
    return first, end
