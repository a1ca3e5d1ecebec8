"""What all recipes share."""

import dataclasses
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

from maskbank.checks import axis_names, check_size, choice, shown
from maskbank.errors import RecipeError

LEAST_SIGMA = 0.1  # voxels; a narrower Gaussian is the identity
MOST_SIGMA = 64.0

Range = tuple[float, float]


def float32(x: float) -> float:
    """The float32 nearest to x, as a Python float."""
    return float(struct.unpack("<f", struct.pack("<f", x))[0])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The parameters of all kinds.

    size: (T, H, W), (H, W) or (L,), in voxels. dtype: float16, float32 or uint8 (256 equally likely levels).
    boundary: what lies beyond an edge: "wrap" (an item tiles, so a window can start anywhere) or
    "reflect" (scipy.ndimage's default). A parameter that cannot be used raises RecipeError, a ValueError.
    """

    size: tuple[int, ...] = (64, 64, 64)
    dtype: str = "float16"
    boundary: str = "wrap"

    colour: ClassVar[str]
    # delta, a, b of delta w + a G(sigma1) w + b G(sigma2) w: equations 1 to 3, and their complement
    mixture: ClassVar[tuple[float, float, float]] = (1.0, 0.0, 0.0)
    dtypes: ClassVar[tuple[str, ...]] = ("float16", "float32", "uint8")
    boundaries: ClassVar[tuple[str, ...]] = ("wrap", "reflect")
    sigma_names: ClassVar[tuple[str, ...]] = ()
    least_sigma: ClassVar[Mapping[str, float]] = MappingProxyType({})  # where it is not LEAST_SIGMA

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_size(self.size))
        choice("dtype", self.dtype, self.dtypes)
        choice("boundary", self.boundary, self.boundaries)
        for name in self.sigma_names:
            object.__setattr__(self, name, _sigma_range(self, name))

    @property
    def kind(self) -> str:
        """The kind's name: the colour and the number of axes."""
        return f"{self.colour}{len(self.size)}d"

    @property
    def ranges(self) -> tuple[Range, ...]:
        """The sigma ranges, in the order of the columns of a bank's `sigma`."""
        return tuple(getattr(self, name) for name in self.sigma_names)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as values that JSON has. A stretch of 1 along each axis is left out."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
            if key != "stretch" or set(value) != {1.0}
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`. RecipeError for names that are unknown or missing."""
        names = {field.name for field in dataclasses.fields(cls)}
        strange = sorted(set(values) - names)
        missing = names - set(values) - {"stretch"}
        if strange or missing:
            what = f"unknown {shown(strange[0])}" if strange else f"no {min(missing)!r}"
            raise RecipeError(f"recipe has {what}; a {cls.colour} recipe has {', '.join(sorted(names))}")
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Filtered(Recipe):
    """A kind of noise that Gaussian filters make.

    Its sigmas are in voxels: (LO, HI), from which each item draws its own uniformly, or one fixed number.
    stretch: a factor for each axis of the size, which multiplies the sigmas along that axis; given as
    (2, 1, 1) or as "2x1x1". The default is 1 along each.
    """

    stretch: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "stretch", _stretch(self))


def _stretch(recipe: Filtered) -> tuple[float, ...]:
    axes = len(recipe.size)
    given: Any = recipe.stretch
    try:
        factors = tuple(map(float, re.split("[x×]", given.lower()) if isinstance(given, str) else given))
    except (TypeError, ValueError, OverflowError):
        factors = (math.nan,) * axes
    if set(factors) <= {1.0}:  # so `size` may be replaced by one of other axes
        factors = (1.0,) * axes
    if len(factors) != axes or not all(0.0 < factor < math.inf for factor in factors):
        raise RecipeError(
            f"stretch={shown(given)} is not a stretch; give a factor for each of the {axes} axes of an item, "
            f"as {'x'.join('2111'[:axes])}"
        )
    for name, (low, high) in zip(recipe.sigma_names, recipe.ranges, strict=True):
        least = recipe.least_sigma.get(name, LEAST_SIGMA)
        for axis, factor in zip(axis_names(axes), factors, strict=True):
            if not (least <= low * factor and high * factor <= MOST_SIGMA):
                wrong = low if low * factor < least else high
                text = "x".join(f"{f:g}" for f in factors)
                raise RecipeError(
                    f"stretch={text} makes {name}={wrong:g} {wrong * factor:g} along {axis}; for "
                    f"{recipe.colour} noise it is {least:g} to {MOST_SIGMA:g} voxels"
                )
    return factors


def _sigma_range(recipe: Recipe, name: str) -> Range:
    value = getattr(recipe, name)
    try:
        low, high = (float(x) for x in ((value, value) if isinstance(value, int | float) else value))
    except (TypeError, ValueError, OverflowError):
        raise RecipeError(f"{name}={shown(value)} is not a range; give two numbers, LO and HI") from None
    least = recipe.least_sigma.get(name, LEAST_SIGMA)
    for sigma in (low, high):
        if not least <= sigma <= MOST_SIGMA:  # false for NaN, too
            raise RecipeError(
                f"{name}={sigma:g} is out of range; for {recipe.colour} noise it is "
                f"{least:g} to {MOST_SIGMA:g} voxels"
            )
    if low > high:
        raise RecipeError(f"{name}: LO={low:g} is above HI={high:g}; give the smaller one first")
    return (low, high)
