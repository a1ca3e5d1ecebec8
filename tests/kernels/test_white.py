"""White noise is N(0, 1), and independent wherever two numbers are not the same number.

Every threshold is a z-score from sampling theory; the seeds are fixed, so a test that passes goes on passing.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special, stats

from maskbank import noise
from maskbank.kernels import philox, streams
from maskbank.recipes import White
from tests import reference

SIZE = (64, 64, 64)
N = math.prod(SIZE)
ITEMS = 40
Z = 4.5  # one in 150,000 for each of the few dozen numbers looked at

untyped: Any = philox  # Numba infers its types


def make(seed: int, index: int, size: tuple[int, ...] = SIZE) -> npt.NDArray[Any]:
    return noise.item(White(size=size, dtype="float32"), seed, index)


@pytest.fixture(scope="module")
def many() -> npt.NDArray[np.float32]:
    """Ten million numbers: enough to see the tails beyond 5."""
    recipe = White(size=SIZE, dtype="float32")
    block = noise.Block(recipe, ITEMS)
    noise.maker(recipe, 12).make(0, block)
    return block.items


def correlation(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """z-score of the correlation of two arrays that should be independent N(0, 1)."""
    return float(np.mean(a.astype(np.float64) * b) * math.sqrt(a.size))


@pytest.mark.parametrize(
    "size", [SIZE, (5, 7, 3), (1, 1, 1), (9, 11), (1, 1), (300, 257), (1,), (21,)], ids=str
)
def test_white_equals_the_twin(size: tuple[int, ...]) -> None:
    """Voxel v of an item is number v of its stream, whatever the size, beyond one run of the kernel too."""
    assert np.abs(make(3, 2**33 + 1, size) - reference.white(size, 3, 2**33 + 1)).max() < 1e-6


def test_white_does_not_depend_on_how_an_item_is_cut() -> None:
    """The flat numbers are those of any other size, and the boundary changes none."""
    cube = make(1, 2, (8, 30, 50)).reshape(-1)
    assert cube.tobytes() == make(1, 2, (100, 120)).tobytes() == make(1, 2, (12_000,)).tobytes()
    other = noise.item(White(size=(8, 30, 50), dtype="float32", boundary="reflect"), 1, 2)
    assert cube.tobytes() == other.tobytes()


@pytest.mark.parametrize(
    "power, mean, variance", [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)], ids=["1st", "2nd", "3rd", "4th"]
)
def test_moments(many: npt.NDArray[np.float32], power: int, mean: float, variance: float) -> None:
    """Moments to the fourth: E x**(2k) = (2k - 1)!!, and the variance of each mean from the next ones."""
    got = np.mean([np.mean(math.prod([item.astype(np.float64)] * power)) for item in many])
    assert abs(got - mean) < Z * math.sqrt(variance / many.size)


def test_distribution(many: npt.NDArray[np.float32]) -> None:
    """Kolmogorov and Smirnov see no difference from the normal distribution in a million numbers."""
    assert stats.kstest(many[:4].reshape(-1).astype(np.float64), "norm").pvalue > 1e-4


@pytest.mark.parametrize("beyond", [3.0, 4.0, 4.5, 5.0])
def test_tails(many: npt.NDArray[np.float32], beyond: float) -> None:
    """As many numbers beyond 3 to 5 on either side as there should be, within Poisson limits."""
    expected = many.size * special.ndtr(-beyond)
    for count in (np.count_nonzero(many > beyond), np.count_nonzero(many < -beyond)):
        assert stats.poisson.cdf(count, expected) > 1e-5
        assert stats.poisson.sf(count - 1, expected) > 1e-5


def test_tails_reach_as_far_as_the_number_of_samples_allows(many: npt.NDArray[np.float32]) -> None:
    """The largest of ten million lies where the extreme value law has it, between its 1e-5 quantiles."""
    for largest in (many.max(), -many.min()):
        share = -many.size * special.ndtr(-float(largest))  # ln of P(all are smaller)
        assert math.log(1e-5) < share < math.log(1.0 - 1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["T", "H", "W"])
@pytest.mark.parametrize("lag", [1, 2, 3, 4, 5, 8, 16, 32])
def test_no_autocorrelation(many: npt.NDArray[np.float32], axis: int, lag: int) -> None:
    """Neighbours on any axis know nothing of each other."""
    item = np.moveaxis(many[:8], axis + 1, 1)
    assert abs(correlation(item[:, lag:], item[:, :-lag])) < Z


def test_box_muller_pairs_share_nothing(many: npt.NDArray[np.float32]) -> None:
    """The two normals of a pair, and the pairs of a block, are independent in size as in sign."""
    four = many[:8].reshape(-1, 4).astype(np.float64)
    squares = (four**2 - 1.0) / math.sqrt(2.0)
    for a in range(4):
        for b in range(a):
            assert abs(correlation(four[:, a], four[:, b])) < Z
            assert abs(correlation(squares[:, a], squares[:, b])) < Z


@pytest.mark.parametrize("index", [1, 2, 3, 4, 7, 2**32, 2**32 + 1, 2**40])
def test_items_are_independent(index: int) -> None:
    """Also where only the high word of the item's number differs."""
    assert abs(correlation(make(5, 0), make(5, index))) < Z


@pytest.mark.parametrize("seed", [1, 2, 2**32, 2**32 + 1, 2**63, 2**64 - 1])
def test_seeds_are_independent(seed: int) -> None:
    """Also where only the high word of the seed differs."""
    assert abs(correlation(make(0, 3), make(seed, 3))) < Z


def test_seed_and_item_are_not_one_number() -> None:
    """(seed 1, item 0) is not (seed 0, item 1): nothing is made of their sum."""
    assert abs(correlation(make(1, 0), make(0, 1))) < Z
    assert abs(correlation(make(2**32, 0), make(0, 2**32))) < Z


def test_streams_are_independent() -> None:
    """The numbers of the voxels' stream and of the sigmas' stream have nothing in common."""
    numbers = np.empty((2, N), np.float32)
    for stream, out in zip((streams.VOXELS, streams.SIGMAS), numbers, strict=True):
        untyped.normals(np.uint64(0), stream, np.uint64(0), 0, out, untyped.memory())
    assert abs(correlation(numbers[0], numbers[1])) < Z
    assert abs(correlation(numbers[0, 1:], numbers[1, :-1])) < Z


def test_means_of_items_scatter_as_they_should(many: npt.NDArray[np.float32]) -> None:
    """No item is shifted or scaled as a whole: the items' sums and sums of squares are chi-squared."""
    sums = many.reshape(ITEMS, -1).sum(axis=1, dtype=np.float64) / math.sqrt(N)
    squares = np.array([np.sum(item.astype(np.float64) ** 2) for item in many])
    scatter = np.sum(((squares - N) / math.sqrt(2 * N)) ** 2)
    for value in (float(np.sum(sums**2)), float(scatter)):
        assert 1e-4 < stats.chi2.cdf(value, ITEMS) < 1.0 - 1e-4
