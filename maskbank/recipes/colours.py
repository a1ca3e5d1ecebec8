"""White and coloured noise: equations 1 to 4."""

import math
from dataclasses import InitVar, dataclass
from types import MappingProxyType

from maskbank.checks import choice, format_size
from maskbank.errors import RecipeError
from maskbank.recipes.base import LEAST_SIGMA, Filtered, Range, Recipe, float32

LEAST_GAP = 0.05  # voxels; the two sigmas of an item are at least this far apart, or are drawn again
LEAST_DIFFERENCE_SIGMA = 0.3  # voxels; noise less its Gaussian of a smaller sigma is nearly zero
_QUANTILE = 2.0**-9  # recipes are refused where fewer than one draw in 2**18 could be far enough apart

# Sigma ranges of the paper: Table A.1's five variants, and section 3.2's ("main", ordered by redrawing)
VARIANTS: dict[str, dict[str, Range]] = {
    "1": {"sigma1": (0.5, 0.5), "sigma2": (2.0, 2.0)},
    "2": {"sigma1": (1.5, 1.5), "sigma2": (3.0, 3.0)},
    "3": {"sigma1": (0.5, 1.5), "sigma2": (2.0, 3.0)},
    "4": {"sigma1": (0.2, 1.7), "sigma2": (0.8, 2.3)},
    "5": {"sigma1": (0.4, 1.5), "sigma2": (1.4, 3.0)},
    "main": {"sigma1": (0.5, 2.0), "sigma2": (0.5, 2.0)},
}


@dataclass(frozen=True, kw_only=True)
class White(Recipe):
    """White noise w ~ N(0, 1): the coloured kinds of the same size and seed filter exactly this noise.

    The boundary changes no number. It says whether windows may wrap around.
    """

    colour = "white"


@dataclass(frozen=True, kw_only=True)
class Red(Filtered):
    """Low-pass noise G(sigma) w (equation 1). The paper gives no sigma; the default is U(0.4, 3)."""

    sigma: Range = (0.4, 3.0)
    colour = "red"
    mixture = (0.0, 1.0, 0.0)
    sigma_names = ("sigma",)


class _Difference(Filtered):
    """A kind that subtracts filtered noise: on a single voxel nothing would be left."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if math.prod(self.size) == 1:
            raise RecipeError(f"size={format_size(self.size)}: a single voxel holds no {self.colour} noise")


@dataclass(frozen=True, kw_only=True)
class Blue(_Difference):
    """High-pass noise w - G(sigma) w (equation 2). The paper gives no sigma; the default is U(0.4, 1.5)."""

    sigma: Range = (0.4, 1.5)
    colour = "blue"
    mixture = (1.0, -1.0, 0.0)
    sigma_names = ("sigma",)
    least_sigma = MappingProxyType({"sigma": LEAST_DIFFERENCE_SIGMA})


@dataclass(frozen=True, kw_only=True)
class Green(_Difference):
    """Band-pass noise G(sigma1) w - G(sigma2) w (equation 3). The default is Table A.1's variant 5.

    variant: a name of VARIANTS that gives the sigmas; it is not stored.
    """

    sigma1: Range = VARIANTS["5"]["sigma1"]
    sigma2: Range = VARIANTS["5"]["sigma2"]
    variant: InitVar[str | None] = None
    colour = "green"
    mixture = (0.0, 1.0, -1.0)
    sigma_names = ("sigma1", "sigma2")
    least_sigma = MappingProxyType({"sigma2": LEAST_DIFFERENCE_SIGMA})

    def __post_init__(self, row: str | None) -> None:
        if row is not None:
            sigmas = variant(self.colour, row)
            if given := [name for name in sigmas if getattr(self, name) is not VARIANTS["5"][name]]:
                raise RecipeError(
                    f"variant sets sigma1 and sigma2; give it or {' and '.join(given)}, not both"
                )
            for name, value in sigmas.items():
                object.__setattr__(self, name, value)
        super().__post_init__()
        _check_order(self.sigma1, self.sigma2)


@dataclass(frozen=True, kw_only=True)
class Purple(Green):
    """Band-stop noise w - green: ColorMAE's fourth colour. Sigmas as for green."""

    colour = "purple"
    mixture = (1.0, -1.0, 1.0)
    least_sigma = MappingProxyType({"sigma1": LEAST_DIFFERENCE_SIGMA, "sigma2": LEAST_DIFFERENCE_SIGMA})


def variant(colour: str, name: str) -> dict[str, Range]:
    """The sigma ranges of a row of Table A.1 ("1" to "5") or of section 3.2 ("main"), for green or purple.

    Sigmas of purple noise are at least 0.3, so its range in variant 4 begins at 0.3 instead of 0.2.
    """
    choice("variant", name, tuple(VARIANTS))
    least = LEAST_DIFFERENCE_SIGMA if colour == "purple" else LEAST_SIGMA
    return {key: (max(low, least), high) for key, (low, high) in VARIANTS[name].items()}


def _check_order(sigma1: Range, sigma2: Range) -> None:
    """Refuse ranges in which hardly any pair has sigma1 + 0.05 <= sigma2: drawing would hardly end.

    A low quantile of sigma1 and a high one of sigma2, in the arithmetic of the draw (kernels.colour.draw),
    must be far enough apart. Then each pair of a lower sigma1 and a higher sigma2 is, too.
    """
    (low1, high1), (low2, high2) = sigma1, sigma2
    small = float32(low1 + (high1 - low1) * _QUANTILE)
    large = float32(low2 + (high2 - low2) * (1.0 - _QUANTILE))
    if large - small < LEAST_GAP:
        raise RecipeError(
            f"sigma1={low1:g} to {high1:g} hardly ever lies {LEAST_GAP} below sigma2={low2:g} to {high2:g}; "
            "sigma1 is the smaller of the two, so lower sigma1 or raise sigma2"
        )
