"""Regularised blue noise: section 3.3, Algorithm 1."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from maskbank.checks import check_ratio, check_size, choice, count_visible, format_size, integer, shown
from maskbank.errors import RecipeError
from maskbank.recipes.base import Recipe

MOST_PATCHES = 2**20
MOST_WEIGHT = 2**20  # whole weights of all neighbours of a patch; kernels.rbn compares shares of this exactly


@dataclass(frozen=True, kw_only=True)
class RBN(Recipe):
    """Regularised blue noise: an item ranks all patches of a grid, by Algorithm 1 and its rank extension.

    size: (H, W) or (L,), in patches. mask_ratio: the native one, at which Algorithm 1 makes the masks; each
    has `count_visible(H * W, mask_ratio)` visible patches. masks_per_set: K disjoint masks are made together;
    None: as many as fit. window: odd widths of the windows over which equation 5 is summed; on one axis they
    are intervals. weights: of its horizontal, vertical and two diagonal counts; one axis uses only the first.
    init: masks start from "zeros", or from thresholded "white" or "blue" noise (section 3.3). ties: which of
    equally good masks gets a patch, a "random" one or the "first" (as in Algorithm 1). boundary: beyond an
    edge lie the patches of the other side ("wrap") or none ("open"). dtype: uint16, or uint32 for more than
    65,536 patches; chosen by the size if left out.
    """

    size: tuple[int, ...] = (64, 8)
    dtype: str = ""
    mask_ratio: float = 0.8
    masks_per_set: int = None  # type: ignore[assignment]  # a number from __post_init__ on
    window: tuple[int, ...] = (3, 5)
    weights: tuple[float, ...] = (0.4, 0.4, 0.1, 0.1)
    init: str = "zeros"
    ties: str = "random"

    colour = "rbn"
    dtypes = ("uint16", "uint32")
    boundaries = ("wrap", "open")

    def __post_init__(self) -> None:
        if not self.dtype:
            patches = math.prod(check_size(self.size))
            object.__setattr__(self, "dtype", "uint16" if patches <= 2**16 else "uint32")
        super().__post_init__()
        if len(self.size) == 3 or math.prod(self.size) > MOST_PATCHES:
            raise RecipeError(
                f"size={format_size(self.size)}: rbn takes H x W or L, as 64x8, "
                f"{MOST_PATCHES:,} patches at most"
            )
        if (math.prod(self.size) > 2**16) != (self.dtype == "uint32"):
            raise RecipeError(f"dtype={self.dtype} is not that of items this large; leave it out")
        object.__setattr__(self, "mask_ratio", check_ratio(self.mask_ratio))
        most = self.most_masks
        given: int | None = self.masks_per_set
        masks = integer("masks_per_set", most if given is None else given, -math.inf)
        if not 1 <= masks <= most:
            what = "visible" if self.placed == self.num_visible else "masked"
            raise RecipeError(
                f"masks_per_set={shown(masks)} is out of range; allowed is 1 to {most}. "
                f"Masks share no {what} patch, and each has {self.placed} of {math.prod(self.size)}, "
                f"so {most} is the largest that fits"
            )
        object.__setattr__(self, "masks_per_set", masks)
        object.__setattr__(self, "window", _windows(self.window, self.size))
        object.__setattr__(self, "weights", _weights(self.weights, len(self.size)))
        if 2 * sum(self.whole_weights) * sum(width // 2 for width in self.window) > MOST_WEIGHT:
            raise RecipeError(f"weights={self.weights} have too many digits; round them, as 0.4 0.4 0.1 0.1")
        choice("init", self.init, ("zeros", "white", "blue"))
        choice("ties", self.ties, ("random", "first"))

    @property
    def kind(self) -> str:
        """The kind's name."""
        return self.colour

    @property
    def num_visible(self) -> int:
        """V: the visible patches of a mask at the native ratio."""
        return count_visible(math.prod(self.size), self.mask_ratio)

    @property
    def placed(self) -> int:
        """How many patches of a mask Algorithm 1 places: the visible ones, or the masked ones if fewer."""
        return min(self.num_visible, math.prod(self.size) - self.num_visible)

    @property
    def most_masks(self) -> int:
        """How many disjoint masks fit."""
        return math.prod(self.size) // self.placed

    @property
    def whole_weights(self) -> tuple[int, ...]:
        """The weights as the smallest whole numbers of the same proportions, so scores and ties are exact.

        On one axis the last three are 0.
        """
        exact = [Fraction(repr(weight)) for weight in self.weights[: 4 if len(self.size) == 2 else 1]]
        scaled = [int(weight * math.lcm(*(w.denominator for w in exact))) for weight in exact]
        return (*(weight // math.gcd(*scaled) for weight in scaled), 0, 0, 0)[:4]


def _windows(value: Any, size: tuple[int, ...]) -> tuple[int, ...]:
    """Odd, different widths, in ascending order."""
    try:
        widths = tuple(value)
    except TypeError:
        widths = (value,)
    most = max(size)
    widths = tuple(sorted(integer("window", width, -math.inf) for width in widths))
    for width in widths:
        if width > most:
            raise RecipeError(
                f"window={shown(width)} is beyond size={format_size(size)}; give at most {most}"
            )
        if width < 1 or width % 2 == 0:
            what = "even, so no patch is in its middle" if width > 0 else "out of range"
            raise RecipeError(f"window={shown(width)} is {what}; give an odd width from 1 to {most}")
    if not widths or len(set(widths)) < len(widths):
        raise RecipeError(f"window={widths} asks for {'no window' if not widths else 'one window twice'}")
    return widths


def _weights(value: Any, axes: int) -> tuple[float, ...]:
    """Four weights, none negative and not all zero; on one axis the first is above zero."""
    try:
        weights = tuple(float(weight) for weight in (() if isinstance(value, str) else value))
    except (TypeError, ValueError, OverflowError):
        raise RecipeError(
            f"weights={shown(value)} are not numbers; give four, as in 0.4 0.4 0.1 0.1"
        ) from None
    if len(weights) != 4:
        raise RecipeError(
            f"weights={weights}: give four, for horizontal, vertical and both diagonals, as 0.4 0.4 0.1 0.1"
        )
    for weight in weights:
        if not 0.0 <= weight <= 1e6:  # false for NaN, too
            raise RecipeError(f"weights={weight:g} is out of range; it is 0 or more, to 1,000,000")
    if not any(weights[: 4 if axes == 2 else 1]):
        which = (
            "weights are all zero" if axes == 2 else "the first weight, of neighbours along one axis, is zero"
        )
        raise RecipeError(f"{which}, so no mask would be better than another; give one above 0")
    return weights
