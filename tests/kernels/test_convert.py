"""float32 to what a bank stores: NumPy's halves bit for bit, and 256 equally likely levels."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from maskbank import noise
from maskbank.kernels import convert
from maskbank.kernels.jit import kernel
from maskbank.recipes import Green, Recipe, Red, White
from tests import reference

Floats = npt.NDArray[np.float32]
round_to_halves: Any = convert.round_to_halves  # Numba infers its types


@kernel
def compiled_halves(values, out):  # type: ignore[no-untyped-def]
    round_to_halves(values, out)


def to_half(values: Floats) -> npt.NDArray[np.uint16]:
    out = np.empty(values.size, np.uint16)
    compiled_halves(values, out)
    return out


def numpy_half(values: Floats) -> npt.NDArray[np.uint16]:
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float16).view(np.uint16)


def to_levels(values: Floats) -> npt.NDArray[np.uint8]:
    out = np.empty(values.size, np.uint8)
    convert.to_levels(values, out)
    return out


def sorted_levels(values: Floats) -> npt.NDArray[np.uint8]:
    """The contract: how many of the 255 thresholds lie at or below x."""
    return np.searchsorted(convert.THRESHOLDS, values, side="right").astype(np.uint8)


def neighbours(values: Floats) -> Floats:
    """The values, and the floats just below and just above."""
    up, down = np.float32(np.inf), np.float32(-np.inf)
    with np.errstate(over="ignore"):  # beyond the largest float is infinity
        return np.concatenate((np.nextafter(values, down), values, np.nextafter(values, up)))


def all_halves() -> Floats:
    return np.arange(65536, dtype=np.uint32).astype(np.uint16).view(np.float16).astype(np.float32)


def test_every_half_is_itself() -> None:
    """All 65536 bit patterns: zeros, subnormals, infinities; every NaN becomes a NaN of the same sign."""
    values = all_halves()
    bits = np.arange(65536, dtype=np.uint32).astype(np.uint16)
    nan = np.isnan(values)
    got = to_half(values)
    assert (got[~nan] == bits[~nan]).all()
    assert np.isnan(got[nan].view(np.float16)).all()
    assert (got[nan] >> 15 == bits[nan] >> 15).all()


def test_ties_go_to_even() -> None:
    """Half-way between neighbouring halves, and a float above and below: normal and subnormal, both signs."""
    finite = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    middle = ((finite[1:] + finite[:-1]) / 2.0).astype(np.float32)  # exact: a half has 11 bits
    values = neighbours(np.concatenate((middle, -middle)))
    assert (to_half(values) == numpy_half(values)).all()
    ties = to_half(middle)
    assert (ties % 2 == 0).all()


def test_overflow_and_underflow() -> None:
    """From 65520 on infinity; below half the least subnormal zero; at exactly half, even, which is zero."""
    edge = np.array([65504.0, 65519.99, 65520.0, 65536.0, 1e30, 3.4028235e38, np.inf], np.float32)
    tiny = np.array([0.0, 1e-45, 1e-38, 1.1754944e-38, 2.0**-26, 2.0**-25, 2.0**-24, 2.0**-14], np.float32)
    values = neighbours(np.concatenate((edge, -edge, tiny, -tiny)))
    assert (to_half(values) == numpy_half(values)).all()
    assert to_half(np.array([65519.996, 65520.0], np.float32)).tolist() == [0x7BFF, 0x7C00]
    assert to_half(np.array([2.0**-25, -(2.0**-25)], np.float32)).tolist() == [0x0000, 0x8000]


def test_random_bit_patterns() -> None:
    """Two million float32 of all exponents."""
    bits = np.random.default_rng(5).integers(0, 2**32, 2_000_000, dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    nan = np.isnan(values)
    assert nan.any()
    got = to_half(values)
    assert (got[~nan] == numpy_half(values[~nan])).all()
    assert np.isnan(got[nan].view(np.float16)).all()


def test_every_exponent_and_every_rounding_pattern() -> None:
    """Each exponent with mantissas whose dropped bits are below, at and above a tie."""
    mantissas = np.array(
        [a << 13 | b for a in (0, 1, 2, 511, 1022, 1023) for b in (0, 1, 4095, 4096, 4097, 8191)]
    )
    bits = (np.arange(255)[:, None] << 23 | mantissas).astype(np.uint32).ravel()
    values = np.concatenate((bits, bits | np.uint32(1 << 31))).view(np.float32)
    assert (to_half(values) == numpy_half(values)).all()


def test_integers_round_as_the_processor_does() -> None:
    """The integer code that other processors run: over all exponents, and around every half."""
    half: Any = convert.half
    values = np.random.default_rng(3).integers(0, 2**32, 300_000, np.uint32).view(np.float32)
    values = np.concatenate((values, neighbours(np.nan_to_num(all_halves()))))
    values = values[~np.isnan(values)]
    assert (half(values) == numpy_half(values)).all()
    assert (to_half(values) == numpy_half(values)).all()


@pytest.mark.parametrize("n", [1, 2, 7, 8, 15, 16, 17, 31, 33, 100])
def test_half_of_any_length(n: int) -> None:
    """The vectors' remainders are converted as all others are."""
    values = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    assert (to_half(values) == numpy_half(values)).all()


def test_thresholds_are_the_normal_quantiles() -> None:
    """k/256 for k = 1 to 255, rounded to float32; SciPy's own rounding may cost one unit."""
    exact = reference.quantiles()
    assert convert.THRESHOLDS.dtype == np.float32
    assert convert.THRESHOLDS.shape == (255,)
    distance = convert.THRESHOLDS.view(np.int32) - exact.astype(np.float32).view(np.int32)
    assert np.abs(np.delete(distance, 127)).max() <= 1
    assert convert.THRESHOLDS[127] == 0.0
    assert (np.diff(convert.THRESHOLDS) > 0.0).all()
    assert (-convert.THRESHOLDS[::-1] == convert.THRESHOLDS).all()


def test_levels_on_and_beside_every_threshold() -> None:
    """A threshold belongs to the level above it; the float below does not."""
    values = neighbours(convert.THRESHOLDS)
    expected = np.concatenate((np.arange(255), np.arange(1, 256), np.arange(1, 256)))
    assert (to_levels(values) == expected).all()
    assert (sorted_levels(values) == expected).all()


def test_levels_of_numbers_of_every_size() -> None:
    """Dense over [-4, 4], beside every border of a bin, and far out on both sides."""
    bins = np.float32(-2.75) + np.arange(-2, 1030, dtype=np.float32) * np.float32(5.5 / 1024)
    far = np.array([3.0, 6.7, 100.0, 1e10, 3e38, np.inf, 1e-45, 1e-38, 0.0], np.float32)
    values = np.concatenate(
        (
            np.linspace(-4, 4, 1_000_003).astype(np.float32),
            neighbours(bins),
            neighbours(far),
            -neighbours(far),
        )
    )
    assert (to_levels(values) == sorted_levels(values)).all()


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=50))
def test_levels_are_a_count_of_thresholds(values: list[float]) -> None:
    """For any float32 numbers."""
    array = np.array(values, np.float32)
    assert (to_levels(array) == sorted_levels(array)).all()


def test_levels_are_equally_likely() -> None:
    """Chi-square over the 256 levels of half a million white numbers."""
    levels = np.concatenate([noise.item(White(dtype="uint8"), 44, i).ravel() for i in range(2)])
    assert stats.chisquare(np.bincount(levels, minlength=256)).pvalue > 1e-4


@pytest.mark.parametrize(
    "boundary, size", [("wrap", (64, 64)), ("wrap", (5, 9, 11)), ("reflect", (20, 150))], ids=str
)
@pytest.mark.parametrize("cls", [White, Red, Green])
def test_all_dtypes_store_the_same_noise(cls: type[Recipe], boundary: str, size: tuple[int, ...]) -> None:
    """A half or a level is that of the float32 item: in white noise, and on both ways of filtering."""
    made: dict[str, Any] = {
        dtype: noise.item(cls(size=size, dtype=dtype, boundary=boundary), 3, 4)
        for dtype in ("float32", "float16", "uint8")
    }
    for dtype, item in made.items():
        assert item.dtype == dtype
        assert item.shape == size
    assert made["float16"].tobytes() == numpy_half(made["float32"]).tobytes()
    assert made["uint8"].tobytes() == sorted_levels(made["float32"]).tobytes()
