"""Coloured noise equals equations 1 to 4 of the paper, as SciPy computes them in float64.

Two ways of filtering exist: by Fourier transforms (wrap, all axes powers of two up to 128), and along one
axis after the other (everything else). Every test here sees both.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from scipy import fft, ndimage, stats

from maskbank import noise
from maskbank.kernels import gaussian
from maskbank.recipes import COLOURS, VARIANTS, Blue, Filtered, Green, Purple, Range, Recipe, Red
from tests import reference
from tests.conftest import Share

FILTERED: tuple[type[Recipe], ...] = (Red, Blue, Green, Purple)
Z = 4.5

# Each shape of powers of two is a kernel of its own, so there are few; they are used again and again.
SPECTRAL = [(64, 64, 64), (2, 8, 4), (64, 64), (4, 128)]
DIRECT = [
    (8, 14, 14),  # the grid of VideoMAE: default sigmas reach beyond the axis
    (5, 6, 7),
    (1, 9, 33),
    (7, 1, 1),
    (2, 3, 1),
    (2, 2, 256),  # powers of two, but one too long
    (3, 40, 130),  # rows longer than a strip
    (33, 17),
    (1, 40),
    (45, 1),
    (256, 8),
    (14, 14),
    (500,),
    (2,),
    (64,),
    (1024,),
]
REFLECT = [*DIRECT, (16, 32, 8), (4, 4, 4), (16, 16), (64, 32)]


def make(recipe: Recipe, seed: int, index: int) -> npt.NDArray[Any]:
    return noise.item(recipe, seed, index)


def recipe_of(cls: type[Recipe], size: tuple[int, ...], boundary: str, *sigma: float | Range) -> Recipe:
    """A float32 recipe; sigmas that are not given are the defaults."""
    given: dict[str, Any] = dict(zip(cls.sigma_names, sigma, strict=bool(sigma)))
    return cls(size=size, dtype="float32", boundary=boundary, **given)


def check(recipe: Recipe, seed: int, index: int) -> None:
    """The contract: within 1e-5 * max(1, 0.02 / gain) of SciPy, in units of the noise's standard deviation.

    That is 1, not what this very item happens to have: a low-pass item of a few voxels is nearly constant.
    It is more than 1 only where a kernel is reflected onto itself, so that the unbounded gain is too small.
    """
    exact, gain = reference.item(recipe, seed, index)
    unit = 1.0
    if recipe.boundary == "reflect":
        power, _ = reference.spectrum(recipe, reference.sigmas(recipe, seed, index))
        unit = max(1.0, math.sqrt(np.mean(power)))
    error = float(np.abs(make(recipe, seed, index) - exact).max()) / unit
    allowed = 1e-5 * max(1.0, 0.02 / gain)
    assert error <= allowed, f"{recipe}, {seed}, {index}: {error:.2e}, allowed {allowed:.2e}, gain {gain:.2e}"


def with_colours(cases: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Each case with each colour. The plain suite tries one colour of each case."""
    return [
        pytest.param(*case, cls, marks=[pytest.mark.full] * ((k + j) % len(FILTERED) > 0))
        for k, case in enumerate(cases)
        for j, cls in enumerate(FILTERED)
    ]


SIZES = [*(("wrap", size) for size in SPECTRAL + DIRECT), *(("reflect", size) for size in REFLECT)]


@pytest.mark.parametrize("boundary, size, cls", with_colours(SIZES), ids=str)
def test_equals_scipy(boundary: str, size: tuple[int, ...], cls: type[Recipe]) -> None:
    """Every colour with its default sigmas: 1D to 3D, both boundaries, odd, tiny, flat and long sizes."""
    for index in range(1 if math.prod(size) > 10**5 else 4):
        check(recipe_of(cls, size, boundary), 2, index)


STRETCHED: list[tuple[str, tuple[int, ...], tuple[float, ...]]] = [
    ("wrap", (64, 64, 64), (2.0, 1.0, 1.0)),
    ("wrap", (2, 8, 4), (1.0, 3.5, 0.8)),
    ("wrap", (64, 64), (0.8, 2.2)),
    ("wrap", (4, 128), (1.0, 5.0)),
    ("wrap", (8, 14, 14), (3.0, 1.0, 1.2)),
    ("wrap", (33, 17), (2.5, 0.75)),
    ("wrap", (3, 40, 130), (0.9, 1.0, 4.0)),
    ("reflect", (9, 15, 16), (2.0, 1.0, 1.0)),
    ("reflect", (5, 6, 7), (0.8, 4.0, 1.0)),
    ("reflect", (64, 32), (1.0, 2.0)),
    ("wrap", (100,), (2.5,)),
    ("reflect", (9,), (4.0,)),
]


@pytest.mark.parametrize("boundary, size, stretch, cls", with_colours(STRETCHED), ids=str)
def test_stretched_noise_equals_scipy_with_a_sigma_for_each_axis(
    boundary: str, size: tuple[int, ...], stretch: tuple[float, ...], cls: type[Filtered]
) -> None:
    """Default sigmas, and small ones that each axis enlarges or not."""
    least = max(cls.least_sigma.values(), default=0.1) / min(1.0, *stretch) + 1e-9
    small: tuple[float, ...] = (least, least + 0.06)[: len(cls.sigma_names)]
    for sigmas in ((), small):
        plain: Any = recipe_of(cls, size, boundary, *sigmas)
        check(dataclasses.replace(plain, stretch=stretch), 2, 1)


@pytest.mark.parametrize("cls", FILTERED)
@pytest.mark.parametrize("boundary", ["wrap", "reflect"])
def test_each_axis_has_its_own_factor(cls: type[Filtered], boundary: str) -> None:
    """On a cube, noise stretched along one axis is that stretched along another, axes changed."""
    recipe: Any = recipe_of(cls, (8, 8, 8), boundary)
    white = reference.white((8, 8, 8), 1, 0)
    drawn = reference.sigmas(recipe, 1, 0)
    exact = reference.apply(recipe.colour, white, drawn, boundary, (3.0, 1.0, 1.0))
    gain = reference.gain(recipe.colour, (8, 8, 8), drawn, boundary, (3.0, 1.0, 1.0))
    items = {s: make(dataclasses.replace(recipe, stretch=s), 1, 0) for s in ((3, 1, 1), (1, 3, 1), (1, 1, 3))}
    np.testing.assert_allclose(items[3, 1, 1], exact / gain, atol=1e-4)
    assert not np.allclose(items[1, 3, 1], items[3, 1, 1], atol=0.01)
    assert not np.allclose(items[1, 1, 3], items[1, 3, 1], atol=0.01)


FIXED: list[tuple[type[Recipe], tuple[float | Range, ...]]] = [
    (Red, (0.1,)),
    (Red, (0.124,)),  # the largest radius of 0
    (Red, (0.126,)),  # the smallest radius of 1
    (Red, (0.79,)),
    (Red, (0.81,)),
    (Red, (8.0,)),
    (Blue, (0.3,)),
    (Blue, (0.35,)),
    (Blue, (0.81,)),
    (Blue, (5.0,)),
    (Green, (0.2, 0.3)),
    (Green, (0.1, 0.3)),  # a first Gaussian that is the identity
    (Green, (0.4, 0.45001)),
    (Green, (0.7, 0.76)),
    (Green, (0.79, 0.85)),
    (Green, (0.81, 0.87)),
    (Green, (2.0, 2.06)),
    (Green, (0.1, 6.0)),
    (Green, (1.1, 7.9)),
    (Purple, (0.3, 0.36)),
    (Purple, (0.3, 4.0)),
    (Purple, (0.75, 0.81)),
    (Purple, (1.5, 1.56)),
]


@pytest.mark.parametrize(
    "boundary, size",
    [
        ("wrap", (64, 64)),
        ("wrap", (2, 8, 4)),
        ("wrap", (20, 31)),
        ("wrap", (8, 14, 14)),
        ("reflect", (64, 37)),
        ("reflect", (9, 15, 16)),
        ("wrap", (750,)),
        ("reflect", (128,)),
    ],
    ids=str,
)
@pytest.mark.parametrize("cls, sigma", FIXED, ids=[f"{c.__name__}{s}" for c, s in FIXED])
def test_equals_scipy_for_small_and_close_sigmas(
    cls: type[Recipe], sigma: tuple[float | Range, ...], boundary: str, size: tuple[int, ...]
) -> None:
    """Where a colour is a small difference of nearly equal numbers, no digits are lost."""
    check(recipe_of(cls, size, boundary, *sigma), 8, 1)


@pytest.mark.parametrize(
    "boundary, size", [("wrap", (64, 64, 64)), ("wrap", (60, 61, 62)), ("reflect", (300, 300))], ids=str
)
@pytest.mark.parametrize(
    "sigma1, sigma2",
    [(0.2, 0.3), (0.25, 0.3001), *((s, s + 0.0501) for s in (0.41, 0.75, 0.79, 1.0, 1.2, 1.45))],
)
def test_equals_scipy_for_the_closest_sigmas_over_many_voxels(
    sigma1: float, sigma2: float, boundary: str, size: tuple[int, ...], share: Share
) -> None:
    """The worst of a hundred thousand voxels, where green is the difference of nearly equal Gaussians."""
    for index in (1, 2)[: share(2)]:
        check(recipe_of(Green, size, boundary, sigma1, sigma2), 8, index)


def test_equals_scipy_for_an_unlucky_default_draw() -> None:
    """Table A.1's variant 5 draws sigmas as close as 0.05: this item's are 1.32 and 1.43."""
    check(recipe_of(Green, (1, 40), "wrap"), 2, 17)


WIDE: list[tuple[type[Recipe], str, tuple[int, ...], tuple[float, ...]]] = [
    (Red, "wrap", (64, 64), (64.0,)),
    (Red, "reflect", (64, 64), (64.0,)),
    (Red, "wrap", (2, 8, 4), (64.0,)),
    (Red, "wrap", (9, 11), (64.0,)),
    (Red, "reflect", (5, 6), (64.0,)),
    (Red, "wrap", (300, 7), (33.0,)),
    (Blue, "wrap", (64, 64), (64.0,)),
    (Blue, "reflect", (9, 40), (64.0,)),
    (Blue, "wrap", (7, 8, 9), (64.0,)),
    (Green, "wrap", (64, 64), (20.0, 40.0)),
    (Green, "wrap", (600, 20), (5.0, 60.0)),
    (Green, "reflect", (100, 30), (20.0, 64.0)),
    (Green, "reflect", (70, 30), (0.5, 64.0)),
    (Purple, "wrap", (4, 128), (1.0, 64.0)),
    (Purple, "reflect", (12, 50), (10.0, 64.0)),
    (Green, "reflect", (3, 3, 50), (4.0, 9.0)),
    (Green, "wrap", (3, 5, 70), (4.0, 9.0)),
    (Green, "wrap", (40,), (20.0, 64.0)),
    (Purple, "reflect", (7,), (3.0, 64.0)),
]


@pytest.mark.parametrize(
    "cls, boundary, size, sigma",
    [
        pytest.param(*case, marks=[pytest.mark.full] * (case[1] == "reflect" and math.prod(case[2]) > 600))
        for case in WIDE
    ],
    ids=[str((c.__name__, *x)) for c, *x in WIDE],
)
def test_equals_scipy_where_the_kernel_is_longer_than_the_axis(
    cls: type[Recipe], boundary: str, size: tuple[int, ...], sigma: tuple[float, ...]
) -> None:
    """A kernel of up to 513 taps folds onto the axis, again and again, as SciPy's does."""
    check(recipe_of(cls, size, boundary, *sigma), 4, 2**35)


@pytest.mark.parametrize("boundary, size", [("wrap", (64, 64, 64)), ("reflect", (20, 24, 28))], ids=str)
def test_white_under_green(boundary: str, size: tuple[int, ...]) -> None:
    """white3d holds exactly what green3d of the same size and seed was filtered from: checked by SciPy."""
    recipe = recipe_of(Green, size, boundary)
    for index in (0, 77):
        white = make(COLOURS["white3d"][0](size=size, dtype="float32"), 6, index).astype(np.float64)
        drawn = noise.sigmas(recipe, 6, index, 1)[0]
        exact = reference.apply("green", white, drawn, boundary)
        exact /= reference.gain("green", size, drawn, boundary)
        assert np.abs(make(recipe, 6, index) - exact).max() <= 1e-5


def block_of(recipe: Recipe, seed: int, count: int) -> noise.Block:
    block = noise.Block(recipe, count)
    noise.maker(recipe, seed).make(0, block)
    return block


@pytest.mark.parametrize("cls", FILTERED)
@pytest.mark.parametrize(
    "boundary, size",
    [
        ("wrap", (64, 64)),
        ("wrap", (2, 8, 4)),
        ("wrap", (13, 10, 15)),
        ("reflect", (45, 64, 50)),
        ("wrap", (99,)),
    ],
    ids=str,
)
def test_unit_variance(cls: type[Recipe], boundary: str, size: tuple[int, ...], share: Share) -> None:
    """In expectation, over items and their sigmas: everywhere for wrap, away from the edges for reflect."""
    count = share(60, 20) if boundary == "reflect" else share(800, 200)
    items = block_of(recipe_of(cls, size, boundary), 31, count).items
    if boundary == "reflect":
        edge = 12  # the largest radius by default
        items = items[(slice(None), *(slice(edge, -edge) for _ in size))]
    squares = np.mean(items.reshape(len(items), -1).astype(np.float64) ** 2, axis=1)
    assert abs(np.mean(squares) - 1.0) < Z * np.std(squares, ddof=1) / math.sqrt(len(squares))


RADIAL: list[tuple[str, tuple[int, ...], int]] = [
    ("wrap", (64, 64, 64), 6),
    ("wrap", (64, 64), 100),
    ("wrap", (30, 33, 36), 20),
    ("reflect", (30, 32, 36), 20),
    ("reflect", (48, 61), 100),
    ("wrap", (1024,), 400),
    ("reflect", (500,), 400),
]


@pytest.mark.parametrize("boundary, size, count, cls", with_colours(RADIAL), ids=str)
def test_radial_spectrum(
    boundary: str, size: tuple[int, ...], count: int, cls: type[Recipe], share: Share
) -> None:
    """The power in each radial shell is the analytic one, within the sampling error of that very sum.

    Coefficients of white noise are independent and normal, so a sum of powers P has the variance
    2 sum P**2: for the DCT, in which reflecting filters are diagonal, as for the FFT, in which each complex
    power counts twice.
    """
    recipe = recipe_of(cls, size, boundary)
    block = block_of(recipe, 17, share(count, -(-count // 4)))
    measured, expected, variance = np.zeros((3, 100))
    for item, drawn in zip(block.items.astype(np.float64), block.sigmas, strict=True):
        power, shell = reference.spectrum(recipe, drawn)
        if boundary == "wrap":
            coefficients = np.abs(fft.fftn(item, norm="ortho"))
        else:
            coefficients = fft.dctn(item, norm="ortho")
        measured += np.bincount(shell.ravel(), (coefficients**2).ravel(), minlength=100)
        expected += np.bincount(shell.ravel(), power.ravel(), minlength=100)
        variance += np.bincount(shell.ravel(), 2.0 * (power**2).ravel(), minlength=100)
    seen = expected > 1e-9 * expected.sum()  # below is rounding
    assert seen.sum() > 8
    assert (np.abs(measured - expected)[seen] < 5.0 * np.sqrt(variance[seen])).all()
    assert measured[~seen].sum() < 1e-8 * measured.sum()


def test_exp_is_accurate() -> None:
    """Over all that taps ask for, within 2 units in the last place of 30 digits, rounded."""
    points = [0.0, -0.0, -1e-300, -1e-17, -0.34657359, -0.3465736, -0.693147181, -1.0, -8.5, -17.3, -700.0]
    points += [-8.5 * k / 400 for k in range(400)]
    with mpmath.workdps(30):
        for x in points:
            exact = float(mpmath.exp(x))
            assert abs(gaussian.exp(x) - exact) <= 2.0 * math.ulp(exact), x


@pytest.mark.parametrize("sigma", [0.1, 0.124, 0.125, 0.3, 0.5, 1.0, 1.4, 1.624, 1.625, 3.0, 17.7, 64.0])
def test_taps_are_those_of_scipy(sigma: float) -> None:
    """The impulse response of scipy.ndimage.gaussian_filter1d, its radius int(4 sigma + 1/2) included."""
    taps = np.full(300, np.nan)
    radius = gaussian.gaussian_taps(sigma, taps)
    assert radius == int(4.0 * sigma + 0.5)
    impulse = np.zeros(2 * 300 + 1)
    impulse[300] = 1.0
    exact = ndimage.gaussian_filter1d(impulse, sigma, truncate=4.0)[300:]
    assert np.abs(taps[: radius + 1] - exact[: radius + 1]).max() < 1e-15
    assert (exact[radius + 1 :] == 0.0).all()


@pytest.mark.parametrize("periodic, mode", [(True, "wrap"), (False, "symmetric")])
@pytest.mark.parametrize("n, margin", [(1, 1), (1, 9), (2, 7), (5, 2), (5, 5), (5, 23), (8, 0), (14, 12)])
def test_fold_is_numpys_padding(n: int, margin: int, periodic: bool, mode: Any) -> None:
    """Which place stands for one beyond an edge, however far beyond: np.pad's 'wrap' and 'symmetric'."""
    index = np.full(n + 2 * margin, -1, np.int64)
    gaussian.fold(n, margin, periodic, index)
    assert (index == np.pad(np.arange(n), margin, mode=mode)).all()


@pytest.mark.parametrize("kind", COLOURS)
@pytest.mark.parametrize("seed, first", [(0, 0), (2**64 - 1, 2**48 - 200), (2**32, 2**32 - 100)])
def test_draws_equal_twin(kind: str, seed: int, first: int) -> None:
    """Sigmas are the twin's, float32, attempt by attempt."""
    cls, size = COLOURS[kind]
    recipe = cls(size=size)
    drawn = noise.sigmas(recipe, seed, first, 200)
    assert drawn.dtype == np.float32
    assert drawn.shape == (200, len(recipe.ranges))
    for i in range(200 if recipe.ranges else 0):
        assert drawn[i].tobytes() == reference.sigmas(recipe, seed, first + i).tobytes()


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("cls", [Green, Purple])
def test_draws_are_in_range_and_apart(cls: type[Green], name: str) -> None:
    """Every row of Table A.1 and section 3.2: within the ranges, and sigma2 - sigma1 at least 0.05."""
    recipe = cls(size=(8, 8), variant=name)
    drawn = noise.sigmas(recipe, 3, 0, 20_000).astype(np.float64)
    for column, (low, high) in zip(drawn.T, recipe.ranges, strict=True):
        assert float(np.float32(low)) <= column.min()
        assert column.max() <= float(np.float32(high))
    assert (drawn[:, 1] - drawn[:, 0] >= 0.05).all()
    expected = [reference.sigmas(recipe, 3, i) for i in range(300)]
    assert (drawn[:300] == np.array(expected)).all()


def test_main_variant_is_two_uniforms_in_order() -> None:
    """Drawing again until they are in order gives the smaller and the larger of two (all but 0.05 apart)."""
    drawn = noise.sigmas(Green(size=(8, 8), variant="main"), 1, 0, 20_000).astype(np.float64)
    rng = np.random.default_rng(0)
    pairs = np.sort(rng.uniform(0.5, 2.0, (50_000, 2)), axis=1)
    pairs = pairs[pairs[:, 1] - pairs[:, 0] >= 0.05]
    for column in (0, 1):
        assert stats.ks_2samp(drawn[:, column], pairs[:, column]).pvalue > 1e-4


@pytest.mark.parametrize("cls", [Red, Blue])
def test_single_draws_are_uniform(cls: type[Recipe]) -> None:
    """Kolmogorov and Smirnov over 20,000 items."""
    recipe = cls(size=(8, 8))
    ((low, high),) = recipe.ranges
    drawn = noise.sigmas(recipe, 5, 0, 20_000)[:, 0].astype(np.float64)
    assert stats.kstest(drawn, "uniform", (low, high - low)).pvalue > 1e-4


def test_draws_without_rejection_are_uniform_and_uncorrelated() -> None:
    """Variant 3, whose ranges lie far apart: sigma1 and sigma2 are two independent uniforms."""
    drawn = noise.sigmas(Green(size=(8, 8), variant="3"), 5, 0, 20_000).astype(np.float64)
    for column, low in zip(drawn.T, (0.5, 2.0), strict=True):
        assert stats.kstest(column, "uniform", (low, 1.0)).pvalue > 1e-4
    assert abs(stats.pearsonr(drawn[:, 0], drawn[:, 1]).statistic) < Z / math.sqrt(len(drawn))


def test_draws_do_not_depend_on_anything_but_seed_item_and_ranges() -> None:
    """Not on size, number of axes, dtype, boundary, or, where the ranges are the same, the colour."""
    expected = noise.sigmas(Green(), 9, 40, 50).tobytes()
    for size, dtype, boundary in itertools.product(
        ((8, 14, 14), (64, 64), (1, 2)), ("float16", "float32", "uint8"), ("wrap", "reflect")
    ):
        for cls in (Green, Purple):
            assert (
                noise.sigmas(cls(size=size, dtype=dtype, boundary=boundary), 9, 40, 50).tobytes() == expected
            )


@pytest.mark.parametrize("size, boundary", [((64, 64), "wrap"), ((8, 14, 14), "wrap"), ((9, 9), "reflect")])
@pytest.mark.parametrize("cls", FILTERED)
def test_stored_sigmas_are_the_draws(cls: type[Recipe], size: tuple[int, ...], boundary: str) -> None:
    """What is stored beside the items is what `noise.sigmas` says, and (test_equals_scipy) what was used."""
    recipe = recipe_of(cls, size, boundary)
    block = noise.Block(recipe, 7)
    noise.maker(recipe, 21).make(1000, block)
    assert block.sigmas.tobytes() == noise.sigmas(recipe, 21, 1000, 7).tobytes()


def test_fixed_sigmas_are_stored_as_the_nearest_float32() -> None:
    """LO = HI fixes a sigma, to the last bit."""
    drawn = noise.sigmas(recipe_of(Green, (8, 8), "wrap", 0.7, 1.9), 3, 0, 50)
    assert (drawn == np.array([0.7, 1.9], np.float32)).all()
    assert (noise.sigmas(recipe_of(Red, (8, 8), "wrap", 2.3), 3, 0, 50) == np.float32(2.3)).all()
