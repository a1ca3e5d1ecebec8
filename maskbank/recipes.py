"""Recipes: every parameter that decides what an item looks like, seed apart. Checked when made."""

import dataclasses
import hashlib
import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

from maskbank.errors import RecipeError

NUMBERS_VERSION = 1  # raised whenever any byte of any item would change

ALIGNMENT = 4096  # bytes: what stands in a bank starts at multiples of this
MOST_VOXELS = 2**28
MOST_ITEMS = 2**48
LEAST_GAP = 0.05  # kernels.colour.GAP: sigmas of one item are at least this far apart
LEAST_SIGMA = 0.1  # below, a Gaussian is the identity
LEAST_DIFFERENCE_SIGMA = 0.3  # below, nothing is left of the difference to something sharper
MOST_SIGMA = 64.0

Range = tuple[float, float]

# Sigma ranges of the paper: Table A.1's five variants, and section 3.2's ("main", ordered by redrawing)
VARIANTS: dict[str, dict[str, Range]] = {
    "1": {"sigma1": (0.5, 0.5), "sigma2": (2.0, 2.0)},
    "2": {"sigma1": (1.5, 1.5), "sigma2": (3.0, 3.0)},
    "3": {"sigma1": (0.5, 1.5), "sigma2": (2.0, 3.0)},
    "4": {"sigma1": (0.2, 1.7), "sigma2": (0.8, 2.3)},
    "5": {"sigma1": (0.4, 1.5), "sigma2": (1.4, 3.0)},
    "main": {"sigma1": (0.5, 2.0), "sigma2": (0.5, 2.0)},
}


def float32(x: float) -> float:
    """The float32 nearest to x, as a Python float."""
    return float(struct.unpack("<f", struct.pack("<f", x))[0])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all kinds share.

    size: (T, H, W) or (H, W), in voxels. dtype: float16, float32 or uint8 (256 equally likely levels).
    boundary: what lies beyond an edge: "wrap" (an item tiles, so a window can start anywhere) or
    "reflect" (scipy.ndimage's default).
    """

    size: tuple[int, ...] = (64, 64, 64)
    dtype: str = "float16"
    boundary: str = "wrap"

    colour: ClassVar[str]
    dtypes: ClassVar[tuple[str, ...]] = ("float16", "float32", "uint8")
    boundaries: ClassVar[tuple[str, ...]] = ("wrap", "reflect")
    sigma_names: ClassVar[tuple[str, ...]] = ()
    least_sigma: ClassVar[Mapping[str, float]] = MappingProxyType({})  # where it is not LEAST_SIGMA

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _size(self.size))
        _choice("dtype", self.dtype, self.dtypes)
        _choice("boundary", self.boundary, self.boundaries)
        for name in self.sigma_names:
            object.__setattr__(self, name, _sigma_range(self, name))
        self._check()

    def _check(self) -> None:
        """What only one kind asks for."""

    @property
    def kind(self) -> str:
        """The kind's name: the colour and the number of axes."""
        return f"{self.colour}{len(self.size)}d"

    @property
    def ranges(self) -> tuple[Range, ...]:
        """The sigma ranges, in the order in which a bank's `sigma` holds the draws."""
        return tuple(getattr(self, name) for name in self.sigma_names)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON knows it."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`; refuses names it does not know."""
        names = {field.name for field in dataclasses.fields(cls)}
        strange = sorted(set(values) - names)
        if strange or names - set(values):
            what = f"unknown {strange[0]!r}" if strange else f"no {min(names - set(values))!r}"
            raise RecipeError(f"recipe has {what}; a {cls.colour} recipe has {', '.join(sorted(names))}")
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**given)


@dataclass(frozen=True, kw_only=True)
class White(Recipe):
    """White noise w ~ N(0, 1): exactly what the coloured kinds of the same size and seed are filtered from.

    Its boundary changes no number; it says whether windows may wrap around.
    """

    colour = "white"


@dataclass(frozen=True, kw_only=True)
class Red(Recipe):
    """Low-pass noise G(sigma) w (equation 1). The paper gives no sigma; the default is U(0.4, 3)."""

    sigma: Range = (0.4, 3.0)
    colour = "red"
    sigma_names = ("sigma",)


class _Difference(Recipe):
    """A kind that takes a Gaussian from something: on one single voxel nothing would be left."""

    def _check(self) -> None:
        if math.prod(self.size) == 1:
            raise RecipeError(f"size={format_size(self.size)}: a single voxel holds no {self.colour} noise")


@dataclass(frozen=True, kw_only=True)
class Blue(_Difference):
    """High-pass noise w - G(sigma) w (equation 2). The paper gives no sigma; the default is U(0.4, 1.5)."""

    sigma: Range = (0.4, 1.5)
    colour = "blue"
    sigma_names = ("sigma",)
    least_sigma = MappingProxyType({"sigma": LEAST_DIFFERENCE_SIGMA})


@dataclass(frozen=True, kw_only=True)
class Green(_Difference):
    """Band-pass noise G(sigma1) w - G(sigma2) w (equation 3). The default is Table A.1's variant 5."""

    sigma1: Range = VARIANTS["5"]["sigma1"]
    sigma2: Range = VARIANTS["5"]["sigma2"]
    colour = "green"
    sigma_names = ("sigma1", "sigma2")
    least_sigma = MappingProxyType({"sigma2": LEAST_DIFFERENCE_SIGMA})

    def _check(self) -> None:
        super()._check()
        _check_order(self.sigma1, self.sigma2)


@dataclass(frozen=True, kw_only=True)
class Purple(Green):
    """Band-stop noise w - green: ColorMAE's fourth colour. Sigmas as for green."""

    colour = "purple"
    least_sigma = MappingProxyType({"sigma1": LEAST_DIFFERENCE_SIGMA, "sigma2": LEAST_DIFFERENCE_SIGMA})


# The one table of kinds: name -> (recipe class, default size)
KINDS: dict[str, tuple[type[Recipe], tuple[int, ...]]] = {
    f"{cls.colour}{len(size)}d": (cls, size)
    for size in ((64, 64), (64, 64, 64))
    for cls in (White, Red, Blue, Green, Purple)
}


def variant(colour: str, name: str) -> dict[str, Range]:
    """The sigma ranges of a row of Table A.1 ("1" to "5") or of section 3.2 ("main"), for green or purple.

    Purple asks for sigmas of 0.3 and more, so there the range of variant 4 begins at 0.3, not 0.2.
    """
    _choice("variant", name, tuple(VARIANTS))
    least = LEAST_DIFFERENCE_SIGMA if colour == "purple" else LEAST_SIGMA
    return {key: (max(low, least), high) for key, (low, high) in VARIANTS[name].items()}


def from_json(kind: str, text: str) -> Recipe:
    """The recipe of a bank, from its `kind` and `recipe` attributes."""
    if kind not in KINDS:
        raise RecipeError(f"unknown kind {kind!r}; this version knows {', '.join(KINDS)}")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"recipe is not JSON ({error})") from None
    if not isinstance(values, dict):
        raise RecipeError("recipe is not a JSON object")
    recipe = KINDS[kind][0].from_dict(values)
    if recipe.kind != kind:
        raise RecipeError(f"recipe is of kind {recipe.kind}, not {kind}")
    return recipe


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: one text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def fingerprint(recipe: Recipe, seed: int, n: int, first: int = 0) -> str:
    """What a bank holds, named without reading it: 12 hex digits of a SHA-256."""
    content = {
        "first": first,
        "kind": recipe.kind,
        "n": n,
        "numbers_version": NUMBERS_VERSION,
        "recipe": recipe.to_dict(),
        "seed": seed,
    }
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:12]


def check_seed(seed: Any) -> int:
    """A seed as Python int, or RecipeError."""
    return _integer("seed", seed, 0, 2**64 - 1)


def check_n(n: Any) -> int:
    """A number of items as Python int, or RecipeError."""
    return _integer("n", n, 1, MOST_ITEMS)


def check_workers(workers: Any) -> int:
    """A number of workers as Python int, or RecipeError."""
    return _integer("workers", workers, 1, 4096)


def parse_size(text: str) -> tuple[int, ...]:
    """'64x64x64' -> (64, 64, 64)."""
    if not re.fullmatch(r"\d+([x×]\d+)*", text.strip().lower()):
        raise RecipeError(f"size={text!r} is not a size; write for example 64x64x64 (T x H x W) or 64x64")
    return tuple(int(part) for part in re.split("[x×]", text.strip().lower()))


def format_size(size: tuple[int, ...]) -> str:
    """(64, 64, 64) -> '64x64x64'."""
    return "x".join(map(str, size))


def _integer(name: str, value: Any, low: int, high: int) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = value.__index__()
    except (AttributeError, TypeError):
        raise RecipeError(f"{name}={value!r} is not a whole number") from None
    if not low <= number <= high:
        raise RecipeError(f"{name}={number} is out of range; allowed is {low} to {high}")
    return int(number)


def _choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise RecipeError(f"{name}={value!r} is not known; choose {', '.join(allowed[:-1])} or {allowed[-1]}")


def _size(size: Any) -> tuple[int, ...]:
    if isinstance(size, str):
        size = parse_size(size)
    try:
        axes = tuple(size)
    except TypeError:
        raise RecipeError(f"size={size!r} is not a size; give (T, H, W) or (H, W)") from None
    if len(axes) not in (2, 3):
        raise RecipeError(f"size={axes!r} has {len(axes)} axes; a bank holds (T, H, W) or (H, W)")
    axes = tuple(_integer("size", axis, 1, MOST_VOXELS) for axis in axes)
    if math.prod(axes) > MOST_VOXELS:
        raise RecipeError(
            f"size={format_size(axes)} has {math.prod(axes):,} voxels; an item has at most {MOST_VOXELS:,}"
        )
    return axes


def _sigma_range(recipe: Recipe, name: str) -> Range:
    value = getattr(recipe, name)
    try:
        low, high = (float(x) for x in ((value, value) if isinstance(value, int | float) else value))
    except (TypeError, ValueError):
        raise RecipeError(f"{name}={value!r} is not a range; give two numbers, LO and HI") from None
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


def _check_order(sigma1: Range, sigma2: Range) -> None:
    """Refuse ranges in which hardly any pair has sigma1 + 0.05 <= sigma2: drawing would go on and on."""
    (low1, high1), (low2, high2) = sigma1, sigma2
    if low1 == high1 and low2 == high2:
        share = float(float32(low2) - float32(low1) >= LEAST_GAP)
    else:
        # the share of pairs that are far enough apart, by a sum over the first one's range
        steps = 1000
        share = 0.0
        for step in range(steps):
            least = low1 + (high1 - low1) * (step + 0.5) / steps + LEAST_GAP
            if high2 > low2:
                share += min(max((high2 - least) / (high2 - low2), 0.0), 1.0) / steps
            else:
                share += float(low2 >= least) / steps
    if share < 0.001:
        raise RecipeError(
            f"sigma1={low1:g} to {high1:g} hardly ever lies {LEAST_GAP} below sigma2={low2:g} to {high2:g}; "
            "sigma1 is the smaller of the two, so lower sigma1 or raise sigma2"
        )
