"""What is drawn and what is selected: the kernel equals its NumPy twin, and both what a slow twin says."""

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from maskbank.kernels import colour, direct, philox, rbn, select, spectral, streams
from maskbank.sampling import baselines, selection, stream
from maskbank.sampling.masks import ALL
from tests import reference
from tests.conftest import Share
from tests.kernels.test_philox import KNOWN

LEAST_P = 1e-6  # the draws are fixed, so a test passes always or never

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]

U32 = st.integers(0, 2**32 - 1)
U64 = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**64 - 1]))
IDS = st.one_of(
    st.integers(0, 40),
    st.integers(0, 2**63 - 1),
    st.sampled_from([2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1]),
)
ITEMS = st.sampled_from([1, 2, 3, 7, 8, 9, 64, 65, 10_000])


def uint64s(*numbers: int) -> npt.NDArray[np.uint64]:
    return np.array(numbers, np.uint64)


# what is drawn


@pytest.mark.parametrize("counter, key, expected", KNOWN, ids=["zeros", "ones", "pi"])
def test_philox_gives_the_published_vectors(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    """From Python integers, and from arrays."""
    assert selection.philox(counter, key) == expected  # type: ignore[arg-type]
    arrays: Any = tuple(uint64s(word, word) for word in counter)
    assert [word.tolist() for word in selection.philox(arrays, key)] == [[word] * 2 for word in expected]


@given(st.tuples(U32, U32, U32, U32), st.tuples(U32, U32))
def test_philox_equals_twin(counter: tuple[int, int, int, int], key: tuple[int, int]) -> None:
    assert selection.philox(counter, key) == reference.philox4x32_10(counter, key)


def test_no_two_purposes_share_a_stream() -> None:
    """And no purpose ever gets another stream: items and masks would change."""
    table = {name: number for name, number in vars(streams).items() if name.isupper()}
    assert table == {
        "VOXELS": 0, "SIGMAS": 1, "POSITIONS": 2, "TIES": 3, "PRIORITIES": 4,
        "WINDOWS": 6, "ITEMS": 7, "MASKS": 8, "BASELINES": 9, "STREAMS": 10,
    }  # fmt: skip
    for module in (philox, colour, rbn, spectral, direct, select, selection, baselines, stream):
        own = {name: vars(module)[name] for name in table.keys() & vars(module).keys()}
        assert own.items() <= table.items(), module


@given(U64, U32, U32)
def test_keys_are_one_block_of_the_seed(seed: int, epoch: int, view: int) -> None:
    keys = selection.keys(seed, epoch, view)
    twin = reference.philox4x32_10((epoch, streams.MASKS, view, 0), (seed & 2**32 - 1, seed >> 32))
    assert keys[:, 0].tolist() == list(twin)


def test_keys_of_seeds_epochs_and_views_all_differ() -> None:
    """Also where epoch and view change places, or the seed's words do."""
    seeds = (0, 1, 2, 3, 2**32, 2**33, 2**32 + 1)
    every = {tuple(selection.keys(s, e, v)[:, 0].tolist()) for s in seeds for e in range(5) for v in range(5)}
    assert len(every) == len(seeds) * 25
    assert len({word for keys in every for word in (keys[:2], keys[2:])}) == 2 * len(every)


@given(st.lists(IDS, min_size=1, max_size=5), st.integers(0, 9), st.tuples(U32, U32), st.integers(1, 5))
def test_words_are_blocks_of_each_number(
    numbers: list[int], stream: int, key: tuple[int, int], blocks: int
) -> None:
    found = selection.words(uint64s(*numbers), stream, np.array(key, np.uint32), blocks)
    assert found.shape == (len(numbers), 4 * blocks)
    for number, words in zip(numbers, found.tolist(), strict=True):
        counters = ((b, stream, number & 2**32 - 1, number >> 32) for b in range(blocks))
        assert words == [word for counter in counters for word in reference.philox4x32_10(counter, key)]


# which item


def item_in_kernel(number: int, items: int, half: int, key0: Any, key1: Any) -> int:
    rounds = select.rounds_of(np.uint64(number // items), key0, key1)
    return int(select.item_of(np.uint64(number % items), np.uint64(items), half, rounds))


@given(st.lists(IDS, min_size=1, max_size=5), ITEMS, U64)
def test_items_of_the_kernel_are_those_of_numpy(numbers: list[int], items: int, seed: int) -> None:
    keys = selection.keys(seed, 0, 0)[2:]
    found = selection.item_of(uint64s(*numbers), items, keys)
    half = max(3, -(-(items - 1).bit_length() // 2))
    k0, k1 = keys[:, 0]
    kernel = [item_in_kernel(i, items, half, k0, k1) for i in numbers]
    assert found.dtype == np.int64
    assert found.tolist() == kernel


@pytest.mark.parametrize(
    "items",
    [
        *(*range(1, 18), 31, 32, 33, 63, 64, 65, 127, 128, 129, 1000, 1025),
        *(pytest.param(items, marks=pytest.mark.full) for items in (10_000, 16_385)),
    ],
)
def test_each_item_once_in_each_block(items: int, share: Share) -> None:
    """Also at the far end of the ids."""
    most = 2**63 // items - 1
    for block in (0, 1, 2, 2**32 // items, 2**32, most):
        start = min(block, most) * items
        numbers = np.arange(start, start + items, dtype=np.uint64)
        for seed in range(share(2)):
            found = selection.item_of(numbers, items, selection.keys(seed, 0, 0)[2:])
            assert sorted(found.tolist()) == list(range(items))


@pytest.mark.parametrize("items", [2**40 + 1, 2**48])
def test_items_of_a_huge_bank_are_all_different(items: int) -> None:
    """As many as a bank can have: 2**48."""
    numbers = np.concatenate([np.arange(3000, dtype=np.uint64), uint64s(items - 2, items - 1)])
    found = selection.item_of(numbers, items, selection.keys(0, 0, 0)[2:])
    assert len(set(found.tolist())) == len(numbers)
    assert found.min() >= 0
    assert found.max() < items
    assert stats.kstest(found / items, "uniform").pvalue > LEAST_P


def blocks_of(items: int, count: int, seed: int = 0) -> Int64s:
    """The items of `count` blocks of ids: (count, items)."""
    numbers = np.arange(count * items, dtype=np.uint64)
    return selection.item_of(numbers, items, selection.keys(seed, 0, 0)[2:]).reshape(count, items)


@pytest.mark.parametrize("items", [10, 65, 1000])
def test_blocks_seeds_and_epochs_have_orders_of_their_own(items: int) -> None:
    orders = [*blocks_of(items, 40), *blocks_of(items, 40, seed=1)]
    orders.append(selection.item_of(np.arange(items, dtype=np.uint64), items, selection.keys(0, 1, 0)[2:]))
    assert len({order.tobytes() for order in orders}) == len(orders)


def check_uniform(codes: Int64s, cells: int) -> None:
    """Chi-square: codes 0 to cells - 1 are equally likely."""
    counts = np.bincount(codes.reshape(-1), minlength=cells)
    assert len(counts) == cells
    assert counts.sum() >= 5 * cells, "too few for chi-square"
    assert stats.chisquare(counts).pvalue > LEAST_P, counts / counts.mean()


@pytest.mark.parametrize("items, count", [(2, 40_000), (3, 40_000), (10, 20_000), (20, 10_000), (1000, 40)])
def test_each_place_of_a_block_takes_each_item_as_often(items: int, count: int, share: Share) -> None:
    """Over blocks; for many items, tenths of the block and tenths of the items."""
    found = blocks_of(items, share(count, count // 4))
    if items > 20:
        found, items = found * 10 // items, 10
        for tenth in np.split(found, 10, axis=1):
            check_uniform(tenth, 10)
        return
    for place in range(items):
        check_uniform(found[:, place], items)


def test_each_id_takes_each_item_as_often_over_seeds(share: Share) -> None:
    ids = (0, 4, 5, 2**40)
    every = [selection.keys(seed, 0, 0)[:, 0] for seed in range(share(10_000))]
    found = [[item_in_kernel(i, 5, 3, keys[2], keys[3]) for i in ids] for keys in every]
    for column in np.array(found, np.int64).T:
        check_uniform(column, 5)


@pytest.mark.parametrize("items, count", [(2, 40_000), (3, 40_000), (10, 20_000), (20, 10_000)])
def test_items_of_neighbouring_ids_do_not_depend_on_each_other(items: int, count: int, share: Share) -> None:
    """Within a block each ordered pair of different items is as likely; across its end any pair is."""
    found = blocks_of(items, share(count, count // 4))
    for place in range(items - 1):
        a, b = found[:, place], found[:, place + 1]
        check_uniform(a * (items - 1) + b - (b > a), items * (items - 1))
    check_uniform(found[:-1, -1] * items + found[1:, 0], items * items)


@pytest.mark.parametrize("items, count", [(3, 30_000), (4, 40_000)])
def test_orders_of_a_small_block_are_equally_likely(items: int, count: int, share: Share) -> None:
    orders = {order: k for k, order in enumerate(itertools.permutations(range(items)))}
    codes = np.array([orders[tuple(order)] for order in blocks_of(items, share(count)).tolist()])
    check_uniform(codes, math.factorial(items))


@pytest.mark.parametrize("items", [1000, 10_000])
def test_items_of_neighbouring_ids_do_not_correlate(items: int, share: Share) -> None:
    """No stride: differences of neighbours are as spread as those of any two, and correlate with nothing.

    Also at distances that are powers of two, where the halves of a Feistel network are nearly equal.
    """
    found = blocks_of(items, share(400_000, 100_000) // items)
    cells = np.bincount(np.arange(items - 1) * 20 // (items - 1))  # of the differences 1 to items - 1
    for apart in (1, 2, 3, 8, 16, 32, 64, 128, 256, items // 4, items // 2):
        a, b = found[:, :-apart].reshape(-1), found[:, apart:].reshape(-1)
        counts = np.bincount(((b - a) % items - 1) * 20 // (items - 1), minlength=20)
        expected = cells * (a.size / (items - 1))
        assert stats.chisquare(counts, expected).pvalue > LEAST_P, (apart, counts / expected)
        assert abs(stats.pearsonr(a, b).statistic) < 5 / math.sqrt(a.size)
    ups = np.diff(found, axis=1) > 0
    assert abs(ups.mean() - 0.5) < 5 * math.sqrt(1 / 12 / ups.size)  # the variance of a permutation's ups


# which tokens


def slow_visible(values: Array, count: int, word: int) -> Bools:
    """Algorithm 2: a stable argsort of -values, begun at a random place and going around."""
    n = len(values)
    start = (word >> 8) * n // 2**24
    around = [(start + k) % n for k in range(n)]
    order = np.argsort([-float(values[place]) for place in around], kind="stable")
    visible = np.zeros(n, bool)
    for k in order[:count].tolist():
        visible[around[k]] = True
    return visible


def slow_window(
    item: Array, grid: tuple[int, ...], periodic: bool, flips: int, words: tuple[int, ...]
) -> Array:
    """A window of an item (T, H, W): begun at random places, flipped, its last axes exchanged."""
    happen = words[3] & flips
    t, h, w = grid
    indices = []
    for extent, n, word in zip(item.shape, (t, w, h) if happen & 8 else grid, words[:3], strict=True):
        first = word * (extent if periodic else extent - n + 1) >> 32
        indices.append([(first + k) % extent for k in range(n)])
    window = item[np.ix_(*indices)]
    window = window[:, ::-1] if happen & 1 else window
    window = window[:, :, ::-1] if happen & 2 else window
    window = window[::-1] if happen & 4 else window
    return window.swapaxes(1, 2) if happen & 8 else window


def contents(dtype: str, shape: tuple[int, ...], levels: int, seed: int) -> Array:
    """Items of a type: ranks are orders of their places; others have so many different values."""
    rng = np.random.default_rng(seed)
    n, voxels = shape[0], math.prod(shape[1:])
    if dtype in ("uint16", "uint32"):
        return np.stack([rng.permutation(voxels) for _ in range(n)]).astype(dtype).reshape(shape)
    picked = rng.integers(0, levels, shape)
    if dtype == "uint8":
        return rng.integers(0, 256, levels).astype(np.uint8)[picked]
    return (rng.standard_normal(levels) + 0.0).astype(dtype)[picked]


@st.composite
def crops(draw: st.DrawFn) -> dict[str, Any]:
    """Everything that crop_masks takes, and a sampler could hand it."""
    n = draw(st.sampled_from([1, 2, 3, 7, 10_000]))
    side = st.integers(1, 3 if n == 10_000 else 7)
    size = draw(st.tuples(side, side, side))
    flips = draw(st.integers(0, 15))
    periodic = draw(st.booleans())
    if periodic:  # smaller, equal, or larger, so that items tile
        grid = draw(st.one_of(st.just(size), st.tuples(*[st.integers(1, 16)] * 3)))
    else:
        least = min(size[1:]) if flips & 8 else None
        grid = draw(st.tuples(*[st.integers(1, least if least and a else size[a]) for a in range(3)]))
    per_frame = draw(st.booleans())
    dtype = draw(st.sampled_from(["float16", "float32", "uint8", "uint16", "uint32"]))
    ranks = dtype in ("uint16", "uint32")
    items = contents(dtype, (n, *size), draw(st.sampled_from([1, 2, 5, 1000])), draw(st.integers(0, 99)))
    return {
        "items": items,
        "grid": grid,
        "periodic": periodic,
        "flips": flips,
        "bits": (math.prod(size) - 1).bit_length() if ranks else 8 * items.itemsize,
        "per_frame": per_frame,
        "count": draw(st.integers(1, math.prod(grid[1:] if per_frame else grid))),
        "ids": draw(st.lists(IDS, min_size=1, max_size=6)),
        "splits": sorted(draw(st.sets(st.integers(1, n - 1), max_size=2))) if n > 1 else [],
        "seed": draw(U64),
        "epoch": draw(U32),
        "view": draw(U32),
    }


def both(case: dict[str, Any]) -> tuple[Bools, Bools]:
    """Masks by the kernel and by NumPy, over what was there before, of a bank in as many parts."""
    items, grid, ids = case["items"], case["grid"], uint64s(*case["ids"])
    noise = items.reshape(len(items), -1).view(f"u{items.itemsize}")
    noise.flags.writeable = False  # as a bank's are: another type to Numba
    bounds = [0, *case.get("splits", ()), len(items)]
    keys = selection.keys(case["seed"], case["epoch"], case["view"])
    found = []
    for module, before in ((select, True), (selection, False)):
        visible = np.full((len(ids), math.prod(grid)), before)
        for begin, end in itertools.pairwise(bounds):
            module.crop_masks(
                noise[begin:end], begin,
                (items.shape[1:], grid, case["periodic"], case["flips"],
                 len(items), items.dtype.kind == "f", case["bits"]),
                ids, keys, np.full((1, grid[0] if case["per_frame"] else 1), case["count"]), ALL, visible,
            )  # fmt: skip
        found.append(visible)
    return found[0], found[1]


@given(crops())
def test_masks_of_kernel_numpy_and_twin_are_equal(case: dict[str, Any]) -> None:
    kernel, twin = both(case)
    np.testing.assert_array_equal(kernel, twin)
    key = reference.philox4x32_10(
        (case["epoch"], streams.MASKS, case["view"], 0), (case["seed"] & 2**32 - 1, case["seed"] >> 32)
    )
    chosen = selection.item_of(uint64s(*case["ids"]), len(case["items"]), np.array(key[2:], np.uint32))
    for number, item, visible in zip(case["ids"], chosen, kernel, strict=True):
        words = reference.philox4x32_10((0, streams.WINDOWS, number & 2**32 - 1, number >> 32), key[:2])
        window = slow_window(case["items"][item], case["grid"], case["periodic"], case["flips"], words)
        for frames in window.reshape(len(window) if case["per_frame"] else 1, -1):
            expected, visible = slow_visible(frames, case["count"], words[3]), visible[:]
            np.testing.assert_array_equal(visible[: len(frames)], expected)
            visible = visible[len(frames) :]


@st.composite
def keyed(draw: st.DrawFn) -> tuple[Array, int, int, Int64s]:
    """Keys, how many bits they have, how many are wanted, and where to begin."""
    bits = draw(st.integers(1, 32))
    dtype = np.min_scalar_type(2**bits - 1)
    b, s, n = draw(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 40)))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    most = draw(st.sampled_from([1, 2, 4, 2**bits]))
    keys = rng.integers(max(0, 2**bits - most), 2**bits, (b, s, n)).astype(dtype)
    return keys, bits, draw(st.integers(1, n)), rng.integers(0, n, b)


def selected(module: Any, keys: Array, bits: int, count: int, starts: Int64s) -> Bools:
    b, s, n = keys.shape
    visible = np.full((b, s * n), module is select)
    words = -(-(starts << 24) // n)  # the smallest words that begin there
    module.select_all(keys.reshape(b, s * n), bits, words, np.full((1, s), count), ALL, visible)
    return visible.reshape(keys.shape)


@given(keyed())
def test_selections_of_kernel_numpy_and_twin_are_equal(case: tuple[Array, int, int, Int64s]) -> None:
    keys, _, count, starts = case
    kernel = selected(select, *case)
    np.testing.assert_array_equal(kernel, selected(selection, *case))
    for b, s in np.ndindex(keys.shape[:2]):
        n = keys.shape[-1]
        word = -(-(int(starts[b]) << 24) // n) << 8  # the smallest word that begins there
        np.testing.assert_array_equal(kernel[b, s], slow_visible(keys[b, s], count, word))


@pytest.mark.parametrize(
    "length", [2**15 - 1, 2**15, 2**15 + 1, 2**16, 70_000, pytest.param(200_001, marks=pytest.mark.full)]
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_selections_of_many_tokens_are_exact(length: int, dtype: str) -> None:
    """Beyond what 16 bits can count."""
    bits = 8 * np.dtype(dtype).itemsize
    rng = np.random.default_rng(length)
    random = rng.integers(0, 2**bits, (1, 2, length)).astype(dtype)
    for keys in (random, np.zeros_like(random), np.full_like(random, 2**bits - 1)):
        for count in (1, length // 10, length - 1):
            case = (keys, bits, count, np.array([length // 3]))
            kernel = selected(select, *case)
            assert (kernel.sum(-1) == count).all()
            np.testing.assert_array_equal(kernel, selected(selection, *case))


@given(st.integers(1, 5), st.integers(1, 60), st.integers(0, 999), st.data())
def test_restoring_orders_are_equal(batch: int, length: int, seed: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, length))
    rng = np.random.default_rng(seed)
    visible = np.stack([rng.permutation(np.arange(length) < count) for _ in range(batch)])
    found = []
    for module in (select, selection):
        restore = np.full(visible.shape, -7, np.int64)
        module.restore_all(visible, np.array([count]), ALL, restore)
        found.append(restore)
    np.testing.assert_array_equal(found[0], found[1])
    for there, restore in zip(visible, found[0], strict=True):
        shuffled = [*np.flatnonzero(there), *np.flatnonzero(~there)]
        assert [shuffled[k] for k in restore] == list(range(length))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_order_of_floats_is_that_of_their_integers(dtype: str) -> None:
    """Negative ones, subnormal ones, the largest and infinite ones; what is unsigned is left alone."""
    info = np.finfo(dtype)
    tiny, small, large = float(info.smallest_subnormal), float(info.tiny), float(info.max)
    half = [0.0, tiny, 2 * tiny, small - tiny, small, 0.5, 1.0, 1.0 + float(info.eps), large, math.inf]
    values = np.array([-value for value in half[:0:-1]] + half, dtype)
    assert (np.diff(values.astype(np.longdouble)[1:-1]) > 0).all()
    keys = selection.ordered(values)
    assert keys.dtype == f"u{values.itemsize}"
    assert (np.diff(keys.astype(np.int64)) > 0).all()
    for unsigned in (np.arange(9, dtype=np.uint8), np.arange(9, dtype=np.uint16)):
        assert selection.ordered(unsigned) is unsigned


def test_equal_values_are_chosen_from_any_place_as_often(share: Share) -> None:
    """Where all are equal, each place begins, and is visible, as often as any other."""
    length, count = 12, 5
    ids = np.arange(share(30_000))
    zeros = contents("uint8", (1, 1, 3, 4), 1, 0)
    case = {"items": zeros, "grid": (1, 3, 4), "periodic": True, "flips": 0, "bits": 8, "per_frame": False}
    kernel, _ = both({**case, "count": count, "ids": ids.tolist(), "seed": 1, "epoch": 0, "view": 0})
    runs = {tuple(sorted((start + k) % length for k in range(count))): start for start in range(length)}
    check_uniform(np.array([runs[tuple(np.flatnonzero(row).tolist())] for row in kernel]), length)


@given(U32)
def test_the_choice_among_equals_is_of_24_bits(word: int) -> None:
    assert selection.choices(uint64s(0, 0, 0, word)[None]).tolist() == [word >> 8]
