"""Recipes: every parameter that decides what an item looks like, seed apart. Checked when made."""

import dataclasses
import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any, ClassVar, Self

from maskbank.checks import check_ratio, check_size, choice, count_visible, format_size, integer
from maskbank.errors import RecipeError

NUMBERS_VERSION = 1  # raised whenever any byte of any item would change

ALIGNMENT = 4096  # bytes: what stands in a bank starts at multiples of this
LEAST_GAP = 0.05  # sigmas of one item are at least this far apart
LEAST_SIGMA = 0.1  # below, a Gaussian is the identity
LEAST_DIFFERENCE_SIGMA = 0.3  # below, nothing is left of the difference to something sharper
MOST_SIGMA = 64.0
MOST_PATCHES = 2**20
MOST_WEIGHT = 2**20  # of all neighbours of a patch, in whole numbers: kernels.rbn tells shares of it apart

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
        object.__setattr__(self, "size", check_size(self.size))
        choice("dtype", self.dtype, self.dtypes)
        choice("boundary", self.boundary, self.boundaries)
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
    def caution(self) -> str:
        """What a user should know before making such a bank, or nothing."""
        return ""

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


@dataclass(frozen=True, kw_only=True)
class RBN(Recipe):
    """Regularised blue noise: full orders of a grid's positions, from Algorithm 1 and its rank extension.

    size: (H, W), in patches. mask_ratio: the native one, for which Algorithm 1 makes the masks; each has
    `count_visible(H * W, mask_ratio)` visible patches. masks_per_set: K, disjoint masks made together; None
    for as many as fit. window: odd widths of the windows of equation 5, summed over. weights: of its
    horizontal, vertical and two diagonal counts. init: "zeros", or "white" or "blue" for masks that are
    thresholded from such noise first (section 3.3). ties: which of equal masks gets a position, a
    "random" one or the "first" (Algorithm 1 to the letter). boundary: beyond an edge are the patches of
    the other side ("wrap") or none ("open"). refine: passes of swaps after the greedy one, not in the
    paper. dtype: uint16, or uint32 beyond 65,536 patches, found by itself.
    """

    size: tuple[int, ...] = (64, 8)
    dtype: str = ""
    mask_ratio: float = 0.8
    masks_per_set: int = None  # type: ignore[assignment]  # a number from __post_init__ on
    window: tuple[int, ...] = (3, 5)
    weights: tuple[float, ...] = (0.4, 0.4, 0.1, 0.1)
    init: str = "zeros"
    ties: str = "random"
    refine: int = 0

    colour = "rbn"
    dtypes = ("uint16", "uint32")
    boundaries = ("wrap", "open")

    def __post_init__(self) -> None:
        if not self.dtype:
            patches = math.prod(check_size(self.size))
            object.__setattr__(self, "dtype", "uint16" if patches <= 2**16 else "uint32")
        super().__post_init__()

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
        """What Algorithm 1 places of a mask: its visible patches, or the masked ones where they are fewer."""
        return min(self.num_visible, math.prod(self.size) - self.num_visible)

    @property
    def whole_weights(self) -> tuple[int, ...]:
        """The weights as the smallest whole numbers of the same proportions: scores and ties are exact."""
        exact = [Fraction(repr(weight)) for weight in self.weights]
        scaled = [int(weight * math.lcm(*(w.denominator for w in exact))) for weight in exact]
        return tuple(weight // math.gcd(*scaled) for weight in scaled)

    def _check(self) -> None:
        if len(self.size) != 2 or math.prod(self.size) > MOST_PATCHES:
            raise RecipeError(
                f"size={format_size(self.size)}: rbn takes H x W, as 64x8: {MOST_PATCHES:,} patches at most"
            )
        if (math.prod(self.size) > 2**16) != (self.dtype == "uint32"):
            raise RecipeError(f"dtype={self.dtype} is not that of items this large; leave it out")
        object.__setattr__(self, "mask_ratio", check_ratio(self.mask_ratio))
        most = math.prod(self.size) // self.placed
        given: int | None = self.masks_per_set
        masks = integer("masks_per_set", most if given is None else given, -(2**63))
        if masks < 1:
            raise RecipeError(f"masks_per_set={masks} is out of range; allowed is 1 to {most}")
        if masks > most:
            what = "visible" if self.placed == self.num_visible else "masked"
            raise RecipeError(
                f"masks_per_set={masks} is too large: {most} is the largest that fits, as masks share "
                f"no {what} patch: each has {self.placed} of {math.prod(self.size)}"
            )
        object.__setattr__(self, "masks_per_set", masks)
        object.__setattr__(self, "window", _windows(self.window, self.size))
        object.__setattr__(self, "weights", _weights(self.weights))
        if 2 * sum(self.whole_weights) * sum(width // 2 for width in self.window) > MOST_WEIGHT:
            raise RecipeError(f"weights={self.weights} have too many digits; round them, as 0.4 0.4 0.1 0.1")
        choice("init", self.init, ("zeros", "white", "blue"))
        choice("ties", self.ties, ("random", "first"))
        object.__setattr__(self, "refine", integer("refine", self.refine, 0, 1000))

    @property
    def caution(self) -> str:
        """What a user should know before making such a bank, or nothing."""
        if self.masks_per_set > 1:
            return ""
        return (
            "masks_per_set=1 is random masking: with one mask there is no choice between masks; "
            f"up to {math.prod(self.size) // self.placed} fit"
        )


# The one table of kinds: name -> (recipe class, default size)
COLOURS: dict[str, tuple[type[Recipe], tuple[int, ...]]] = {
    f"{cls.colour}{len(size)}d": (cls, size)
    for size in ((64, 64), (64, 64, 64))
    for cls in (White, Red, Blue, Green, Purple)
}
KINDS: dict[str, tuple[type[Recipe], tuple[int, ...]]] = {**COLOURS, "rbn": (RBN, (64, 8))}


def variant(colour: str, name: str) -> dict[str, Range]:
    """The sigma ranges of a row of Table A.1 ("1" to "5") or of section 3.2 ("main"), for green or purple.

    Purple asks for sigmas of 0.3 and more, so there the range of variant 4 begins at 0.3, not 0.2.
    """
    choice("variant", name, tuple(VARIANTS))
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


def _sigma_range(recipe: Recipe, name: str) -> Range:
    value = getattr(recipe, name)
    try:
        low, high = (float(x) for x in ((value, value) if isinstance(value, int | float) else value))
    except (TypeError, ValueError, OverflowError):
        raise RecipeError(f"{name}={value!r:.60} is not a range; give two numbers, LO and HI") from None
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


def _windows(value: Any, size: tuple[int, ...]) -> tuple[int, ...]:
    """Odd, different widths, in ascending order."""
    try:
        widths = tuple(value)
    except TypeError:
        widths = (value,)
    for width in widths:
        if not hasattr(width, "__index__"):
            raise RecipeError(f"window={width!r} is not a whole number; give one width or several, as (3, 5)")
    most = max(size)
    widths = tuple(sorted(integer("window", width, -(2**63)) for width in widths))
    for width in widths:
        if width > most:
            raise RecipeError(f"window={width} is beyond size={format_size(size)}; give at most {most}")
        if width < 1 or width % 2 == 0:
            what = "even, so no patch is in its middle" if width > 0 else "out of range"
            raise RecipeError(f"window={width} is {what}; give an odd width from 1 to {most}")
    if not widths or len(set(widths)) < len(widths):
        raise RecipeError(f"window={widths} asks for {'no window' if not widths else 'one window twice'}")
    return widths


def _weights(value: Any) -> tuple[float, ...]:
    """Four weights, none negative, not all zero."""
    try:
        weights = tuple(float(weight) for weight in (() if isinstance(value, str) else value))
    except (TypeError, ValueError, OverflowError):
        raise RecipeError(f"weights={value!r} are not numbers; give four, as in 0.4 0.4 0.1 0.1") from None
    if len(weights) != 4:
        raise RecipeError(
            f"weights={weights}: give four, for horizontal, vertical and both diagonals, as 0.4 0.4 0.1 0.1"
        )
    for weight in weights:
        if not 0.0 <= weight <= 1e6:  # false for NaN, too
            raise RecipeError(f"weights={weight:g} is out of range; it is 0 or more, to 1,000,000")
    if not any(weights):
        raise RecipeError("weights are all zero, so no mask would be better than another; give one above 0")
    return weights
