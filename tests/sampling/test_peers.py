"""Baselines have the statistics of the masks of the models they come from."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage, stats

from maskbank import MaskSampler
from maskbank.sampling import baselines
from maskbank.sampling.selection import keys
from tests.conftest import Share
from tests.sampling import peers

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]

LEAST_P = 1e-6
Z = 5.0
IMAGE = (14, 14)
VIDEO = (8, 14, 14)
LONG = (64, 8)


@pytest.fixture(scope="module")
def count(share: Share) -> int:
    """How many masks of a source."""
    return share(1000, 700)


def ours(name: str, grid: tuple[int, ...], ratio: float, count: int) -> Bools:
    """Masks of a baseline: bool (count, *grid), True where visible."""
    return MaskSampler(name, grid, ratio, seed=5)(range(count)).visible.reshape(count, *grid)


def values(name: str, grid: tuple[int, ...], count: int) -> Array:
    """The values of a baseline, the smallest ones masked first."""
    return baselines.VALUES[name](np.arange(count, dtype=np.uint64), keys(5, 0, 0), grid, 0.5)


def theirs(count: int, make: Callable[..., Bools], *given: Any) -> Bools:
    rng = np.random.default_rng(11)
    return np.array([make(*given, rng) for _ in range(count)])


def like(a: Bools, b: Bools) -> None:
    """Masks (n, h, w) of two sources have the same statistics.

    How many tokens, how many connected areas, how many pairs along each axis, and where.
    """
    for measure in (total, areas, vertical, horizontal):
        x, y = measure(a), measure(b)
        assert abs(x.mean() - y.mean()) <= Z * math.sqrt(x.var() / len(x) + y.var() / len(y)), measure
        assert stats.ks_2samp(x, y, method="asymp").pvalue > LEAST_P, measure
    p, q = a.mean(0), b.mean(0)
    error = np.sqrt(p * (1 - p) / len(a) + q * (1 - q) / len(b))
    assert (np.abs(p - q) <= Z * error).all()


def total(masks: Bools) -> Array:
    return np.asarray(masks.sum((1, 2)))


def areas(masks: Bools) -> Array:
    return np.array([ndimage.label(mask)[1] for mask in masks])


def vertical(masks: Bools) -> Array:
    return np.asarray((masks[:, 1:] & masks[:, :-1]).sum((1, 2)))


def horizontal(masks: Bools) -> Array:
    return np.asarray((masks[:, :, 1:] & masks[:, :, :-1]).sum((1, 2)))


# multiblock


def by_range(order: Array) -> dict[str, Array]:
    """V-JEPA's short-range and long-range masks apart, by the size of the first block."""
    short = (order == 0).mean((1, 2)) < 0.4
    assert stats.binomtest(int(short.sum()), len(order)).pvalue > LEAST_P
    return {"short": order[short], "long": order[~short]}


@pytest.mark.parametrize("h, w", [(14, 14), (24, 24)])
@pytest.mark.parametrize("name, scale, blocks, expected", [("short", 0.15, 8, 0.63), ("long", 0.7, 2, 0.82)])
def test_multiblock_on_three_axes_is_vjepas(
    h: int, w: int, name: str, scale: float, blocks: int, expected: float, count: int
) -> None:
    """Its eight or two blocks; their mean share of the frame is the one that the documents give."""
    order = by_range(values("multiblock", (8, h, w), 2 * count))[name]
    found = order < blocks
    like(found, theirs(count, peers.vjepa, h, w, scale, blocks))
    assert abs(found.mean() - expected) < 0.02


def test_multiblock_on_two_axes_is_ijepas(count: int) -> None:
    """What lies outside the context block, then four targets."""
    found = values("multiblock", (16, 16), count) < 5
    like(found, theirs(count, peers.ijepa, 16, 16))
    assert abs(found.mean() - 0.58) < 0.02


@pytest.mark.parametrize("name, scale", [("short", 0.15), ("long", 0.7)])
def test_all_blocks_of_a_mask_have_one_size(name: str, scale: float, count: int) -> None:
    order = by_range(values("multiblock", VIDEO, count))[name]
    like(order < 1, theirs(count, peers.vjepa, *IMAGE, scale, 1))
    for one in order[:300]:
        high, wide = np.ptp(np.nonzero(one == 0), axis=1)
        extents = [np.ptp(np.nonzero(one == number), axis=1) for number in np.unique(one[one < 64])]
        assert (np.array(extents) <= (high, wide)).all()


@pytest.mark.parametrize("grid, ratio", [(VIDEO, 0.63), (VIDEO, 0.9), (IMAGE, 0.6)])
def test_multiblock_masks_whole_blocks_and_the_last_in_part(grid: tuple[int, ...], ratio: float) -> None:
    masked = ~ours("multiblock", grid, ratio, 500).reshape(500, -1, *IMAGE)[:, 0]
    order = values("multiblock", grid, 500)
    for mask, one in zip(masked, order, strict=True):
        last = one[mask].max()
        assert mask[one < last].all()


def test_blocks_that_are_too_long_are_cut_and_keep_their_area(count: int) -> None:
    order = by_range(values("multiblock", (2, 64, 8), count))
    assert abs((order["long"] == 0).mean() - 0.7) < 0.02
    assert abs((order["short"] == 0).mean() - 0.15) < 0.02
    for row in (order["long"] == 0)[:50]:
        assert row[row.any(1)].all(), "all bins, so 45 steps and not 19"


# inverse-block


@pytest.mark.parametrize(
    "grid, ratio, side",
    [(IMAGE, 0.8, 3), (IMAGE, 0.5, 3), (LONG, 0.8, 5), ((5, 24, 16), 0.8, 3), ((1, 200), 0.8, 5)],
)
def test_inverse_blocks_are_data2vecs_and_eats(
    grid: tuple[int, ...], ratio: float, side: int, count: int
) -> None:
    """Squares of one size, holes in them, and tokens beside them: as many of each as in the peers."""
    expected = theirs(count, peers.data2vec, *grid[-2:], ratio, side)
    frames = math.prod(grid[:-2])
    own = grid if grid[0] > 1 else grid[1:]
    sampler = MaskSampler("inverse-block", own, num_visible=frames * int(expected[0].sum()), seed=5)
    found = sampler(range(count)).visible.reshape(count, frames, *grid[-2:])
    assert (found == found[:, :1]).all()
    like(found[:, 0], expected)


def test_inverse_blocks_of_each_sample_follow_its_own_share() -> None:
    """Values of a sample are the same beside others that show more or less."""
    ids, share = np.arange(4, dtype=np.uint64), np.array([0.2, 0.5, 0.1, 0.9])
    together = baselines.inverse_block(ids, keys(5, 0, 0), IMAGE, share)
    for i in range(4):
        alone = baselines.inverse_block(ids[i : i + 1], keys(5, 0, 0), IMAGE, float(share[i]))
        np.testing.assert_array_equal(together[i], alone[0])


# span


def first_spans(steps: int, length: int, spans: int, count: int) -> Bools:
    """What the first spans mask: bool (count, 1, steps)."""
    starts = baselines.random(np.arange(count, dtype=np.uint64), keys(5, 0, 0), (steps - length + 1,))
    last = np.sort(starts, 1)[:, spans - 1, None]
    return (values("span", (steps,), count) <= last)[:, None]


@pytest.mark.parametrize("steps, length, spans", [(500, 10, 32), (64, 10, 4), (12, 6, 2), (8, 4, 3)])
def test_spans_are_wav2vecs(steps: int, length: int, spans: int, count: int) -> None:
    """Of 10 steps, or half of all where that is less."""
    expected = theirs(count, peers.wav2vec, steps, spans, length)[:, None]
    like(first_spans(steps, length, spans, count), expected)


@pytest.mark.full
def test_spans_are_those_of_transformers(count: int) -> None:
    """`_compute_mask_indices` at wav2vec 2.0's length and share: 49 % masked, in runs as many and as long."""
    module = pytest.importorskip("transformers.models.wav2vec2.modeling_wav2vec2")
    np.random.seed(2)  # noqa: NPY002 (the peer draws from it)
    real = module._compute_mask_indices((2 * count, 500), 0.64, 10)
    like(first_spans(500, 10, 32, count), real[:, None])

    real = np.concatenate([module._compute_mask_indices((50, 500), 0.65, 10) for _ in range(40)])
    assert abs(real.mean() - 0.49) < 0.005
    mine = ~ours("span", (500,), float(real.mean()), 2 * count)[:, None]
    assert abs(areas(mine).mean() / areas(real[:, None]).mean() - 1) < 0.04
    assert np.abs(mine.mean(0) - real.mean(0)).max() < 0.05


@pytest.mark.parametrize("grid", [LONG, (16, 6, 6)])
def test_spans_are_of_whole_time_steps(grid: tuple[int, ...]) -> None:
    """The last span is cut, at most within two steps."""
    masked = ~ours("span", grid, 0.5, 300).reshape(300, grid[0], -1)
    part = masked.any(2) & ~masked.all(2)
    assert (part.sum(1) <= 2).all()


# time and frequency


@pytest.mark.parametrize("mode, name, axis", [("time", "time", 0), ("freq", "frequency", 1)])
@pytest.mark.parametrize("grid, ratio", [(LONG, 0.75), (LONG, 0.3), ((20, 10), 0.5)])
def test_time_and_frequency_are_cav_maes(
    mode: str, name: str, axis: int, grid: tuple[int, int], ratio: float, count: int
) -> None:
    """As many whole lines are masked, any of them; what is left over comes from one line instead of all."""
    found, expected = ours(name, grid, ratio, count), theirs(count, peers.cav_mae, *grid, ratio, mode)
    np.testing.assert_array_equal(total(found), total(expected))
    whole, peer = (~one.any(2 - axis) for one in (found, expected))
    assert (whole.sum(1) == int(grid[axis] * ratio)).all()
    assert (peer.sum(1) >= int(grid[axis] * ratio)).all()  # more where the rest happens to take a line
    mixed = found.any(2 - axis) & ~found.all(2 - axis)
    assert (mixed.sum(1) == (int(grid[axis] * ratio) < grid[axis] * ratio)).all()
    share = whole.sum(1)[0] / grid[axis]
    error = math.sqrt(share * (1 - share) / count)
    assert np.abs(whole.mean(0) - share).max() < Z * error
    if not mixed.any():
        like(found, expected)


def test_time_masks_whole_frames() -> None:
    visible = ours("time", VIDEO, 0.75, 300).reshape(300, 8, 196)
    assert (visible.all(2).sum(1) == 2).all()
    assert (~visible.any(2)).sum() == 300 * 6
