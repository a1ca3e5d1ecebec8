"""Regularised blue noise equals its slow twin, is exact, is fair, and is as well spread as it should be."""

import heapq
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maskbank
from maskbank import noise
from maskbank.analysis.structure import adjacency, clustering
from maskbank.recipes import RBN, White
from tests import reference
from tests.conftest import Share

Ranks = npt.NDArray[Any]
Masks = npt.NDArray[np.bool_]

Z = 4.5
ISOTROPIC = (1.0, 1.0, 1.0, 1.0)
HORIZONTAL = (1.0, 0.0, 0.0, 0.0)
UNEVEN = (0.37, 0.41, 0.11, 0.11)
HIGH = 2**64 - 1


def sets(recipe: RBN, count: int, seed: int = 0) -> Ranks:
    """The first sets of a bank: (count, K, H, W)."""
    block = noise.Block(recipe, count * recipe.masks_per_set)
    noise.maker(recipe, seed).make(0, block)
    return block.items.reshape(count, recipe.masks_per_set, *recipe.size)


def threshold(items: Ranks, mask_ratio: float) -> Masks:
    """The masks of a ratio: the highest values are visible."""
    length = items.shape[-1] * items.shape[-2]
    return np.asarray(items >= length - int(length * (1 - mask_ratio)))


def score(items: Ranks, mask_ratio: float) -> float:
    """S of equation 5 with the paper's windows and weights, not wrapped, the mean over all masks."""
    return float(clustering(threshold(items, mask_ratio)).mean())


def z_scores(values: npt.NDArray[Any], expected: float) -> npt.NDArray[np.float64]:
    """How many standard errors the means over the first axis, of independent values, are off."""
    error = values.std(0, ddof=1) / math.sqrt(len(values))
    return np.asarray((values.mean(0) - expected) / error)


# The twins


def test_twin_of_algorithm_1_by_hand() -> None:
    """Two masks share a row of four, in which only the patches beside each other count."""
    row = reference.neighbours((1, 4), (3,), (1, 0, 0, 0), False)
    first = reference.algorithm1([0, 1, 2, 3], 2, 2, row)
    assert first == [[1, 0, 1, 0], [0, 1, 0, 1]]
    # equal masks at 0 and at 3: the first of them takes both, unless the words say otherwise
    assert reference.algorithm1([0, 3, 1, 2], 2, 2, row) == [[1, 0, 0, 1], [0, 1, 1, 0]]
    assert reference.algorithm1([0, 3, 1, 2], 2, 2, row, [2**31 - 1, 2**31, 0, 0]) == first
    # a mask that is full takes nothing, and what nobody takes is masked in all
    assert reference.algorithm1([1, 0, 3, 2], 2, 1, row) == [[0, 1, 0, 0], [1, 0, 0, 0]]
    # what a mask starts with counts until its position is decided, and is dropped unless it is taken
    before = [[0, 1, 0, 0], [0, 0, 0, 0]]
    assert reference.algorithm1([0, 1, 2, 3], 2, 1, row, None, before) == [[0, 1, 0, 0], [1, 0, 0, 0]]
    assert reference.algorithm1([0, 3, 2, 1], 2, 1, row, None, before) == [[0, 0, 0, 1], [1, 0, 0, 0]]


def test_twin_of_neighbours_by_hand() -> None:
    """On a small torus a neighbour met from both sides counts twice, and nobody is its own."""

    def weighed(size: tuple[int, ...], window: int, weights: tuple[int, ...], wrap: bool) -> dict[int, int]:
        sums: dict[int, int] = {}
        for q, weight in reference.neighbours(size, (window,), weights, wrap)[0]:
            sums[q] = sums.get(q, 0) + weight
        return {q: weight for q, weight in sums.items() if weight}

    assert weighed((1, 3), 7, (1, 0, 0, 0), True) == {1: 2, 2: 2}
    assert weighed((1, 3), 7, (1, 0, 0, 0), False) == {1: 1, 2: 1}
    assert weighed((3, 3), 3, (1, 2, 4, 8), True) == {1: 1, 2: 1, 3: 2, 6: 2, 4: 4, 8: 4, 5: 8, 7: 8}
    assert weighed((3, 3), 5, (1, 2, 4, 8), False) == {1: 1, 2: 1, 3: 2, 6: 2, 4: 4, 8: 4}


def test_twin_of_the_rank_extension_by_hand() -> None:
    """Patches 0, 1 and 3 of a row of five: away go 0 (all its neighbours are inside), 3 and 1."""
    row = reference.neighbours((1, 5), (3,), (1, 0, 0, 0), False)
    inside = [True, True, False, True, False]
    assert reference.rank_extension(inside, [4, 3, 2, 1, 0], row) == [2, 0, 4, 1, 3]
    assert reference.rank_extension(inside, [0, 1, 2, 3, 4], row) == [2, 1, 3, 0, 4]


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("visible", [102, 410])
def test_twin_of_void_and_cluster(visible: int, wrap: bool, share: Share) -> None:
    """What R-BN is compared with: an order whose fewer patches are spread better than thresholded noise."""
    count = share(10, 4)
    orders = np.array([reference.void_and_cluster(64, 8, visible, seed, wrap) for seed in range(count)])
    assert (np.sort(orders.reshape(count, -1)) == np.arange(512)).all()
    few = orders < visible if visible < 256 else orders >= visible
    assert clustering(few).mean() < 0.65  # thresholded blue noise has 0.72 and more, random masks 1.06
    assert len({order.tobytes() for order in orders}) == count


# Equal to the twin

CASES = [
    RBN(size=(2, 3), window=(3,)),
    RBN(size=(2, 3), window=(1,), mask_ratio=0.5, ties="first"),
    RBN(size=(2, 3), window=(3,), mask_ratio=0.3, boundary="open"),
    RBN(size=(1, 9), window=(1,)),
    RBN(size=(1, 9), window=(5, 9), mask_ratio=0.5),
    RBN(size=(1, 9), window=(3, 5), mask_ratio=0.5, init="white"),  # each would be above itself
    RBN(size=(2, 9), window=(5, 9), init="blue"),
    RBN(size=(9, 1), window=(3, 7), boundary="open", ties="first"),
    RBN(size=(5, 7)),
    RBN(size=(5, 7), boundary="open", ties="first", mask_ratio=0.9),
    RBN(size=(5, 7), window=(5, 7), mask_ratio=0.3, masks_per_set=2),
    RBN(size=(5, 7), window=(7,), weights=HORIZONTAL, mask_ratio=0.5, boundary="open"),
    RBN(size=(5, 7), window=(1, 3), weights=UNEVEN, masks_per_set=1),
    RBN(size=(5, 7), weights=(0.0, 0.0, 1.0, 0.0), boundary="open"),  # two corners without a neighbour
    RBN(size=(5, 7), init="white", boundary="open", mask_ratio=0.3),
    RBN(size=(5, 7), init="blue", masks_per_set=3),
    *(RBN(size=(8, 8), ties=t, boundary=b) for t in ("random", "first") for b in ("wrap", "open")),
    *(RBN(size=(8, 8), mask_ratio=r, ties="first") for r in (0.3, 0.5, 0.9)),
    *(RBN(size=(8, 8), mask_ratio=r, boundary="open") for r in (0.3, 0.5, 0.9)),
    *(RBN(size=(8, 8), window=w, weights=UNEVEN) for w in ((3,), (1, 3), (5, 7))),
    *(RBN(size=(8, 8), weights=w, boundary="open") for w in (ISOTROPIC, HORIZONTAL)),
    *(RBN(size=(8, 8), masks_per_set=k, boundary="open") for k in (1, 2, 4)),
    *(RBN(size=(8, 8), init=i, ties="first") for i in ("white", "blue")),
    *(RBN(size=(8, 8), init=i, boundary="open", mask_ratio=0.5) for i in ("white", "blue")),
    RBN(size=(8, 8), ties="first", boundary="open", mask_ratio=0.3, weights=ISOTROPIC),
    RBN(size=(16, 8)),
    RBN(size=(16, 8), boundary="open", ties="first", mask_ratio=0.9),
    RBN(size=(16, 8), window=(7, 9)),  # windows as wide as the torus: some neighbours count twice
    RBN(size=(16, 8), window=(7, 9), mask_ratio=0.9, boundary="open", weights=UNEVEN),
    RBN(size=(16, 8), window=(5, 15), mask_ratio=0.5, weights=ISOTROPIC, ties="first"),
    RBN(size=(60,)),
    RBN(size=(60,), weights=(0.1, 0.7, 0.9, 0.9), boundary="open", mask_ratio=0.7),
    RBN(size=(9,), window=(3, 7, 9), mask_ratio=0.3, init="blue"),  # windows as wide as the circle
]


def title(recipe: RBN) -> str:
    default = RBN(size=recipe.size, window=(1,)).to_dict()
    return "-".join(f"{v}" for k, v in recipe.to_dict().items() if k == "size" or v != default[k])


@pytest.mark.parametrize("recipe", CASES, ids=title)
def test_equals_the_twin(recipe: RBN, share: Share) -> None:
    """To the last bit: the first and last masks of sets, seeds and indexes beyond their low words, too."""
    masks = recipe.masks_per_set
    pairs = [(1, 3 * masks - 1), (HIGH, 2**40 + 3), (0, 0), (2**32, 2**48 - 1)]
    for seed, index in pairs[: share(4, 2)]:
        made = noise.item(recipe, seed, index)
        twin = reference.rbn_item(recipe, seed, index)
        assert made.dtype == twin.dtype == recipe.dtype
        np.testing.assert_array_equal(made, twin)


def test_a_default_item_equals_the_twin() -> None:
    np.testing.assert_array_equal(noise.item(RBN(), 7, 13), reference.rbn_item(RBN(), 7, 13))


@given(data=st.data())
def test_any_small_recipe_equals_the_twin(data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(1, 7), st.integers(2, 7)) | st.tuples(st.integers(2, 40)))
    length = math.prod(size)
    visible = data.draw(st.integers(1, length - 1))
    widths = st.integers(0, (max(size) - 1) // 2).map(lambda d: 2 * d + 1)
    weight = st.integers(0, 30).map(lambda w: w / 10)
    recipe = RBN(
        size=size,
        mask_ratio=1 - (visible + 0.5) / length,
        masks_per_set=data.draw(st.integers(1, length // min(visible, length - visible))),
        window=data.draw(st.sets(widths, min_size=1, max_size=3).map(tuple)),
        weights=data.draw(st.tuples(*[weight] * 4).filter(lambda w: any(w[: 4 if len(size) == 2 else 1]))),
        init=data.draw(st.sampled_from(["zeros", "white", "blue"])),
        ties=data.draw(st.sampled_from(["random", "first"])),
        boundary=data.draw(st.sampled_from(["wrap", "open"])),
    )
    assert recipe.num_visible == visible
    seed, index = data.draw(st.integers(0, HIGH)), data.draw(st.integers(0, 2**48 - 1))
    made = noise.item(recipe, seed, index)
    np.testing.assert_array_equal(made, reference.rbn_item(recipe, seed, index))
    assert sorted(made.ravel().tolist()) == list(range(length))


def test_one_mask_a_set_is_random_masking() -> None:
    """Its visible patches are the first of the order, whatever the score."""
    recipe = RBN(masks_per_set=1, boundary="open")
    for index in range(5):
        order = reference.shuffle(reference.stream(3, reference.POSITIONS, index, 512))
        visible = threshold(noise.item(recipe, 3, index), 0.8)
        assert set(np.flatnonzero(visible)) == set(order[:102])


# Exact


@pytest.mark.parametrize(
    "recipe",
    [
        RBN(),
        RBN(boundary="open", ties="first"),
        RBN(mask_ratio=0.5),
        RBN(mask_ratio=0.3, init="blue"),
        RBN(mask_ratio=0.9, masks_per_set=4),
        RBN(mask_ratio=0.02, window=(3, 5, 7), masks_per_set=7),
        RBN(size=(14, 14), mask_ratio=0.75, init="white"),
        RBN(size=(12, 5), mask_ratio=0.69, boundary="open"),
        RBN(size=(3, 3), window=(3,), mask_ratio=0.01 + 5 / 9),
    ],
    ids=title,
)
def test_counts_are_exact_and_sets_disjoint(recipe: RBN, share: Share) -> None:
    """Of every set: full orders, V visible in each mask, no patch placed by two masks."""
    count = share(200, 40)
    items = sets(recipe, count, seed=4)
    length = math.prod(recipe.size)
    flat = items.reshape(*items.shape[:2], length)
    assert (np.sort(flat) == np.arange(length)).all()
    visible = threshold(items, recipe.mask_ratio)
    assert (visible.sum((-2, -1)) == recipe.num_visible).all()
    assert recipe.num_visible == int(length * (1 - recipe.mask_ratio))
    placed = ~visible if 2 * recipe.num_visible > length else visible
    assert placed.sum(1).max() == 1
    if length > 9:
        assert len({item.tobytes() for item in flat.reshape(-1, length)}) == count * recipe.masks_per_set


@pytest.mark.parametrize("boundary", ["wrap", "open"])
def test_sets_of_one_axis(boundary: str) -> None:
    """Counts are exact, sets disjoint, and few visible patches beside each other: 36 % in random masks."""
    recipe = RBN(size=(500,), boundary=boundary)
    visible = sets(recipe, 100) >= 500 - recipe.num_visible
    assert visible.shape == (100, 5, 500)
    assert (visible.sum(-1) == recipe.num_visible).all()
    assert visible.sum(1).max() == 1
    assert adjacency(visible[:, :, None]).mean() < 0.02


def test_more_than_half_visible_is_the_inverse() -> None:
    """At 30 % masked the masked patches are, item by item, the visible ones of 70 %: spread as well."""
    few, many = (RBN(size=(50, 8), mask_ratio=ratio) for ratio in (0.7, 0.3))
    assert (few.num_visible, many.num_visible) == (120, 280)
    assert few.masks_per_set == many.masks_per_set == 3
    items, inverse = sets(few, 100), sets(many, 100)
    np.testing.assert_array_equal(inverse, 399 - items)
    masked = ~threshold(inverse, 0.3)
    np.testing.assert_array_equal(masked, threshold(items, 0.7))
    randomly = ~threshold(sets(RBN(size=(50, 8), mask_ratio=0.3, masks_per_set=1), 100), 0.3)
    assert clustering(masked).mean() < 0.6 * clustering(randomly).mean()


def test_large_items_are_uint32() -> None:
    """Beyond 65,536 patches, and still a full order with exact counts."""
    recipe = RBN(size=(600, 128), window=(3,))
    item = noise.item(recipe, 0, 4)
    assert item.dtype == np.uint32
    assert (np.sort(item, axis=None) == np.arange(76_800)).all()
    assert threshold(item, 0.8).sum() == recipe.num_visible
    assert clustering(threshold(item, 0.8)) < 0.65  # random masks have 1.18
    assert noise.item(RBN(size=(256, 256), window=(1,)), 0, 0).dtype == np.uint16


def replay(item: Ranks, recipe: RBN, priority: list[int]) -> None:
    """Check a rank extension with a heap, in time for sizes at which its twin would take days."""
    around = reference.neighbours(recipe.size, recipe.window, recipe.whole_weights, recipe.boundary == "wrap")
    length = item.size
    order = (length - 1 - item.reshape(-1).astype(np.int64)).argsort().tolist()
    existing = [max(1, sum(weight for _, weight in there)) for there in around]
    common = math.lcm(*existing)
    place = {p: t for t, p in enumerate(priority)}
    inside = set(order[: recipe.num_visible])
    for expected, sign in ((order[: recipe.num_visible][::-1], -1), (order[recipe.num_visible :], 1)):
        weights = [sum(weight for q, weight in there if q in inside) for there in around]
        heap = [(sign * weights[p] * (common // existing[p]), place[p], p) for p in expected]
        heapq.heapify(heap)
        left = set(expected)
        for p in expected:
            while True:  # entries that are out of date come before those that are not
                share, _, first = heapq.heappop(heap)
                if first in left and share == sign * weights[first] * (common // existing[first]):
                    break
            assert first == p
            left.remove(p)
            for q, weight in around[p]:
                weights[q] += sign * weight
                if q in left:
                    heapq.heappush(heap, (sign * weights[q] * (common // existing[q]), place[q], q))


def test_a_medium_rank_extension() -> None:
    recipe = RBN(size=(40, 50), boundary="open", weights=UNEVEN)
    priority = reference.shuffle(reference.stream(5, reference.PRIORITIES, 2, 2000))
    replay(noise.item(recipe, 5, 2), recipe, priority)


@pytest.mark.full
@pytest.mark.parametrize("boundary", ["wrap", "open"])
def test_a_large_rank_extension(boundary: str) -> None:
    recipe = RBN(size=(600, 128), boundary=boundary)
    priority = reference.shuffle(reference.stream(5, reference.PRIORITIES, 2, 76_800))
    replay(noise.item(recipe, 5, 2), recipe, priority)


# Fair


@pytest.mark.parametrize("recipe", [RBN(), RBN(boundary="open", mask_ratio=0.7)], ids=title)
def test_no_place_in_a_set_is_worse(recipe: RBN, share: Share) -> None:
    """With random ties; at the native ratio and at another."""
    items = sets(recipe, share(800, 200), seed=6)
    for ratio in (recipe.mask_ratio, 0.75):
        masks = threshold(items, ratio)
        for scores in (clustering(masks), adjacency(masks)):
            others = scores - scores.mean(1, keepdims=True)
            assert np.abs(z_scores(others, 0.0)).max() < Z


def test_ties_first_favour_the_first_masks(share: Share) -> None:
    """As Algorithm 1 has it, and as the README says."""
    masks = threshold(sets(RBN(ties="first"), share(400, 200)), 0.8)
    scores = clustering(masks)
    assert z_scores(scores[:, -1] - scores[:, 0], 0.0) > 4 * Z
    beside = adjacency(masks).mean(0)
    assert beside[0] < 0.5 * beside[-1]


@pytest.mark.parametrize(
    "recipe", [RBN(), RBN(mask_ratio=0.3), RBN(init="blue", weights=HORIZONTAL)], ids=title
)
def test_no_position_of_a_torus_is_favoured(recipe: RBN, share: Share) -> None:
    """One mask of each set, so counts are binomial; and rows and columns, which would show an edge."""
    count = share(1600)
    items = sets(recipe, count, seed=8)[np.arange(count), np.arange(count) % recipe.masks_per_set]
    for ratio in (0.9, 0.8, 0.75, 0.5, 0.3):
        visible = threshold(items, ratio)
        expected = int(512 * (1 - ratio)) / 512
        error = math.sqrt(expected * (1 - expected) / count)
        assert np.abs((visible.mean(0) - expected) / error).max() < 5
        for axis in (1, 2):
            assert np.abs(z_scores(visible.mean(axis), expected)).max() < Z


def test_no_position_of_a_small_torus_is_favoured(share: Share) -> None:
    """Many more masks: a bias of some percent would show."""
    count = share(20_000, 5000)
    for recipe in (RBN(size=(6, 4), mask_ratio=0.75), RBN(size=(6, 4), mask_ratio=0.5, window=(3,))):
        items = sets(recipe, count, seed=8)[np.arange(count), np.arange(count) % recipe.masks_per_set]
        for visible in (1, 2, 4, 6, 9, 12, 18, 23):
            expected = visible / 24
            error = math.sqrt(expected * (1 - expected) / count)
            assert np.abs(((items >= 24 - visible).mean(0) - expected) / error).max() < Z


def test_edges_of_an_open_grid_are_hardly_favoured(share: Share) -> None:
    """Edge columns stay within 10 % of the mean at 75 % masked, made for 80 % or for 75 %.

    The first and last rows, of 8 patches in 64x8, are visible 13 % too often where made for 80 %.
    """
    for native, most in ((0.8, 0.15), (0.75, 0.1)):
        items = sets(RBN(boundary="open", mask_ratio=native), share(400, 100))
        shares = threshold(items, 0.75).mean((0, 1)) / 0.25
        assert np.abs(shares.mean(0) - 1)[[0, -1]].max() < 0.1
        assert np.abs(shares.mean(1) - 1)[[0, -1]].max() < most


# Well spread


def test_defaults_are_as_well_spread_as_promised(share: Share) -> None:
    """Scored without wrapping, at the native ratio; random masks have 1.06 and 56 %."""
    masks = threshold(sets(RBN(), share(400, 100)), 0.8)
    assert clustering(masks).mean() <= 0.29
    assert adjacency(masks).mean() <= 0.05
    randomly = threshold(sets(RBN(masks_per_set=1), share(400, 100)), 0.8)
    assert 1.0 < clustering(randomly).mean() < 1.12
    assert 0.53 < adjacency(randomly).mean() < 0.59


@pytest.mark.parametrize("boundary", ["wrap", "open"])
def test_one_bank_serves_every_ratio(boundary: str, share: Share) -> None:
    """Thresholded ranks are no worse than what Algorithm 1, in its letter or not, makes for the ratio."""
    count = share(200)
    items = sets(RBN(boundary=boundary), count)
    for ratio in (0.7, 0.75, 0.85, 0.9):
        for ties in ("first", "random"):
            native = sets(RBN(boundary=boundary, mask_ratio=ratio, ties=ties), count)
            assert score(items, ratio) <= score(native, ratio)


# In any blocks, by any number of workers


@pytest.mark.parametrize(
    "recipe",
    [RBN(size=(8, 8)), RBN(size=(5, 7), mask_ratio=0.3, init="white"), RBN(size=(8, 8), masks_per_set=1)],
    ids=title,
)
def test_items_do_not_depend_on_blocks(recipe: RBN) -> None:
    """Of any start and length, so that sets are cut anywhere; in any order; by one maker or many."""
    first = 2**33 - 4
    singly = [noise.item(recipe, 3, first + i) for i in range(16)]
    assert len({item.tobytes() for item in singly}) == 16
    maker = noise.maker(recipe, 3)
    whole = noise.Block(recipe, 16)
    for start in range(9):
        for length in range(8):
            block = whole.part(start, start + length)
            block.items.fill(65_535)
            maker.make(first + start, block)
            for item, alone in zip(block.items, singly[start:], strict=False):
                np.testing.assert_array_equal(item, alone)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: noise.item(recipe, 3, first + i), range(16)))
    np.testing.assert_array_equal(together, singly)


@pytest.mark.parametrize(
    "recipe",
    [RBN(), pytest.param(RBN(init="blue", boundary="open"), marks=pytest.mark.full)],
    ids=title,
)
def test_banks_do_not_depend_on_workers(recipe: RBN, tmp_path: Path) -> None:
    """1003 items are no whole number of sets, and no block of items is."""
    assert 1003 % recipe.masks_per_set
    banks = [
        maskbank.generate(tmp_path / f"{workers}.h5", recipe, 1003, seed=9, workers=workers)
        for workers in (1, 2, 7)
    ]
    assert len({(tmp_path / f"{workers}.h5").read_bytes() for workers in (1, 2, 7)}) == 1
    for i in (0, 1, 500, 999, 1000, 1002):
        np.testing.assert_array_equal(banks[0][i], noise.item(recipe, 9, i))


def test_an_empty_block_makes_no_set() -> None:
    """It only compiles; the next call makes the set."""
    maker, made = noise.Sets(RBN(size=(8, 8)), np.uint64(3)), noise.Block(RBN(size=(8, 8)), 2)
    maker.make(5, made.part(0, 0))
    assert (maker._owners <= 0).all(), "a position was given to a mask"
    maker.make(5, made)
    np.testing.assert_array_equal(made.items[1], noise.item(RBN(size=(8, 8)), 3, 6))


def test_a_longer_bank_begins_with_the_shorter(tmp_path: Path) -> None:
    """Also where the shorter one ends within a set."""
    short = maskbank.generate(tmp_path / "short.h5", RBN(), 7)
    long = maskbank.generate(tmp_path / "long.h5", RBN(), 13)
    np.testing.assert_array_equal(short[:7], long[:7])


def test_one_mask_a_set_is_warned_of(tmp_path: Path) -> None:
    """And made; a bank that is there already gives no second warning."""
    recipe = RBN(size=(8, 8), masks_per_set=1)
    with pytest.warns(UserWarning, match=r"masks_per_set=1 is random masking.*up to 5 fit"):
        maskbank.generate(tmp_path / "b.h5", recipe, 3)
    np.testing.assert_array_equal(
        maskbank.generate(tmp_path / "b.h5", recipe, 3)[2], noise.item(recipe, 0, 2)
    )


# Numbers about structure


@pytest.mark.parametrize("size", [(64, 8), (5, 7), (9, 5), (7, 16), (64, 2), (1, 9), (9, 1)], ids=str)
def test_structure_equals_naive_loops(size: tuple[int, ...]) -> None:
    """For several masks at once, dense and sparse ones, and one that is empty."""
    masks = np.random.default_rng(1).random((2, 3, *size)) < np.array([0.0, 0.2, 0.7]).reshape(3, 1, 1)
    near, scores = adjacency(masks), clustering(masks)
    assert near.shape == scores.shape == (2, 3)
    for i in np.ndindex(2, 3):
        twin = reference.clustering(masks[i])
        assert scores[i] == pytest.approx(twin, abs=1e-9)
        assert near[i] == pytest.approx(reference.adjacency(masks[i]), abs=1e-12)
    assert (near[:, 0] == 0).all()


def test_scores_of_known_masks() -> None:
    """Stripes, one patch, and random masks, whose S the weights and windows give."""
    stripes = np.zeros((64, 8), bool)
    stripes[::2] = True
    # along a row 1 + 1 in the window 3 and as many and 2 more in the 5; above and below only in the 5;
    # less at the edges, of what is near and far
    near, far, near_down, far_down = 14 / 16, 12 / 16, 126 / 128, 124 / 128
    within = 0.4 * (4 * near + 2 * far)
    assert clustering(stripes) == pytest.approx(within + 0.4 * 2 * far_down + 0.1 * 4 * far * far_down)
    assert adjacency(stripes) == 1.0
    one = np.zeros((64, 8), bool)
    one[3, 3] = True
    assert clustering(one) == adjacency(one) == 0.0
    randomly = threshold(
        np.argsort(
            np.argsort([noise.item(White(size=(64, 8), dtype="float32"), 0, i).ravel() for i in range(400)])
        ).reshape(-1, 64, 8),
        0.8,
    )
    across = 0.1 * 2 * (4 * near * near_down + 2 * far * far_down)
    expected = 101 / 511 * (within + 0.4 * (4 * near_down + 2 * far_down) + across)
    assert clustering(randomly).mean() == pytest.approx(expected, rel=0.02)
