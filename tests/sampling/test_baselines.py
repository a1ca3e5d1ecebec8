"""Baselines: what structured masks are compared with, behind the same interface."""

import itertools
import json
import math
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from maskbank import MaskSampler, RecipeError
from maskbank.sampling.baselines import NAMES, STILL
from tests.conftest import Share

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]

LEAST_P = 1e-6
Z = 5.0
VIDEO = (8, 14, 14)

# a baseline, its grid, its ratio, and how many are visible then
CASES: list[tuple[str, tuple[int, ...], Any, int]] = [
    ("random", VIDEO, 0.9, 156),
    ("random", (14, 14), 0.75, 49),
    ("random", (3, 5, 7), 0.5, 52),
    ("tube", VIDEO, 0.9, 160),
    ("tube", (14, 14), 0.9, 19),
    ("tube", (3, 5, 7), 0.5, 54),
    ("grid", VIDEO, 0.75, 392),
    ("grid", (14, 14), 0.75, 49),
    ("grid", (3, 5, 7), 0.8, 21),
    ("grid", (64, 8), 0.8, 102),
    ("running-cell", VIDEO, 0.5, 784),
    ("running-cell", (4, 6), 0.9, 6),
    ("running-cell", (3, 2, 8), 0.25, 36),
    ("block", VIDEO, 0.75, 392),
    ("block", (14, 14), 0.4, 117),
    ("block", (3, 5, 7), 0.9, 12),
    ("block", (1, 40), 0.6, 16),
    ("multiblock", VIDEO, 0.8, 320),
    ("multiblock", (14, 14), 0.6, 78),
    ("multiblock", (3, 5, 7), 0.9, 12),
    ("multiblock", (1, 40), 0.6, 16),
    ("multiblock", (500,), 0.6, 200),
    ("inverse-block", (500,), 0.8, 99),
    ("span", (500,), 0.49, 255),
    ("time", (50,), 0.5, 25),
    ("inverse-block", VIDEO, 0.8, 320),
    ("inverse-block", (64, 8), 0.8, 102),
    ("inverse-block", (3, 2, 3), 0.5, 9),
    ("span", VIDEO, 0.5, 784),
    ("span", (64, 8), 0.49, 261),
    ("span", (7, 3), 0.5, 10),
    ("time", VIDEO, 0.7, 470),
    ("time", (64, 8), 0.75, 128),
    ("frequency", (64, 8), 0.7, 153),
    ("frequency", (9, 7), 0.5, 31),
    ("timefreq", (64, 8), (0.3, 0.3), 44 * 5),
    ("timefreq", (9, 7), (0.5, 0.2), 4 * 5),
    ("timefreq", (9, 7), (0.5, 0), 4 * 7),  # one axis may stay whole
]


def many(name: str, grid: tuple[int, ...], count: int = 300, **given: Any) -> Bools:
    """Masks of ids 0 to count - 1, in the grid's shape."""
    visible = MaskSampler(name, grid, **given)(range(count)).visible
    return visible.reshape(count, *grid)


# the interface


@pytest.mark.parametrize("name, grid, ratio, count", CASES)
def test_counts_are_exact(name: str, grid: tuple[int, ...], ratio: Any, count: int) -> None:
    sampler = MaskSampler(name, grid, ratio)
    masks = sampler(range(50))
    assert sampler.num_visible == masks.num_visible == count
    assert masks.visible.shape == (50, math.prod(grid))
    assert (masks.visible.sum(1) == count).all()
    np.testing.assert_array_equal(masks.masked, ~masks.visible)
    np.testing.assert_array_equal(masks.ids_keep, [np.flatnonzero(row) for row in masks.visible])
    for row, restore in zip(masks.visible, masks.ids_restore, strict=True):
        shuffled = np.concatenate([np.flatnonzero(row), np.flatnonzero(~row)])
        np.testing.assert_array_equal(shuffled[restore], np.arange(row.size))


@pytest.mark.parametrize(
    "name", ["random", "tube", "grid", "block", "multiblock", "inverse-block", "span", "time"]
)
def test_any_count_can_be_asked_for(name: str, share: Share) -> None:
    """The plain suite tries every third one."""
    step = share(1, 3)
    frames = 3 if name in STILL else 1
    for count in range(frames, 3 * 5 * 7, frames * step):
        sampler = MaskSampler(name, (3, 5, 7), num_visible=count)
        visible = sampler(range(20)).visible
        assert (visible.sum(1) == count).all()
        if frames > 1:
            assert (visible.reshape(20, 3, 35).sum(2) == count // 3).all()
    for count in range(1, 35, step):
        assert (
            MaskSampler(name if name != "time" else "frequency", (5, 7), num_visible=count)(
                range(20)
            ).visible.sum(1)
            == count
        ).all()


@pytest.mark.parametrize("name, grid, ratio, count", CASES)
def test_masks_are_pure(name: str, grid: tuple[int, ...], ratio: Any, count: int) -> None:
    """Of ids, epoch, view and seed; in any batch; after pickling."""
    sampler = MaskSampler(name, grid, ratio, seed=7)
    ids = [0, 1, 5, 2**32, 2**63 - 1]
    whole = sampler(ids, 3, 1)
    np.testing.assert_array_equal(sampler(ids[::-1], 3, 1).visible[::-1], whole.visible)
    for k, i in enumerate(ids):
        np.testing.assert_array_equal(sampler(i, 3, 1).visible, whole.visible[k])
    copy = pickle.loads(pickle.dumps(sampler))
    np.testing.assert_array_equal(copy(ids, 3, 1).ids_restore, whole.ids_restore)
    others = [sampler(range(30), e, v).visible.tobytes() for e in (0, 1, 2) for v in (0, 1, 2)]
    others.append(MaskSampler(name, grid, ratio, seed=8)(range(30)).visible.tobytes())
    assert len(set(others)) == 10, name
    few = name == "running-cell" or (name == "grid" and ratio == 0.75)  # four masks are all there are
    few |= name == "span" and grid == VIDEO  # five places of four frames of eight
    assert len({row.tobytes() for row in sampler(range(30)).visible}) > (2 if few else 10)


@pytest.mark.parametrize("name, grid, ratio, count", CASES)
def test_config_names_the_baseline(name: str, grid: tuple[int, ...], ratio: Any, count: int) -> None:
    sampler = MaskSampler(name, grid, ratio)
    config = sampler.config
    assert config["bank"] == name
    assert config["fingerprint"] is None
    assert config["num_visible"] == count
    assert json.loads(json.dumps(config)) == config
    sampler.load_state_dict(config)
    assert name in repr(sampler)
    assert sampler.baseline == name
    assert sampler.replace(seed=1).baseline == name


@pytest.mark.parametrize("name", NAMES)
def test_there_is_no_noise_to_hand_out(name: str) -> None:
    sampler = MaskSampler(name, (16, 8), (0.3, 0.3) if name == "timefreq" else 0.75)
    with pytest.raises(RecipeError, match=f"baseline {name} has no noise"):
        sampler.windows(0)
    with pytest.raises(RecipeError, match="rbn"):
        sampler.complementary(0)


def test_a_stream_of_a_baseline_has_no_end() -> None:
    for name in NAMES:
        sampler = MaskSampler(name, (16, 8), (0.3, 0.3) if name == "timefreq" else 0.85)
        masks = list(itertools.islice(sampler.stream(), 20))
        assert len({mask.visible.tobytes() for mask in masks}) > 2


# random and tube


@pytest.mark.parametrize(
    "name, grid, given",
    [
        ("random", VIDEO, {"mask_ratio": 0.9}),
        ("random", (14, 14), {"mask_ratio": 0.75}),
        ("random", (2, 5, 5), {"mask_ratio": 0.5, "per_frame": True}),
        ("tube", VIDEO, {"mask_ratio": 0.9}),
        ("timefreq", (16, 8), {"mask_ratio": (0.3, 0.5)}),
        ("grid", (16, 16), {"mask_ratio": 0.75}),
    ],
)
def test_no_position_is_favoured(
    name: str, grid: tuple[int, ...], given: dict[str, Any], share: Share
) -> None:
    count = share(5000, 2000)
    sampler = MaskSampler(name, grid, **given)
    totals = sampler(range(count)).visible.sum(0)
    expected = sampler.num_visible / totals.size
    z = (totals - count * expected) / math.sqrt(count * expected * (1 - expected))
    assert np.abs(z).max() < Z
    assert name == "grid" or z.std() > 0.5, "more even than chance"


@pytest.mark.parametrize("name, grid", [("random", VIDEO), ("random", (14, 14)), ("tube", (14, 14))])
def test_random_tokens_have_no_neighbours_but_by_chance(
    name: str, grid: tuple[int, ...], share: Share
) -> None:
    """Pairs of visible tokens at any distance are as frequent as without replacement."""
    count = share(4000, 1000)
    visible = many(name, grid, count, mask_ratio=0.75)
    length = math.prod(grid)
    kept = int(visible[0].sum())
    expected = kept / length * (kept - 1) / (length - 1)
    flat = visible.reshape(count, length)
    for apart in (1, 2, 3, 4, grid[-1], length // 2):
        pairs = (flat[:, apart:] & flat[:, :-apart]).mean(1)
        assert abs(pairs.mean() - expected) < Z * pairs.std() / math.sqrt(count), apart
    following = (flat[1:] & flat[:-1]).mean(1)
    assert abs(following.mean() - (kept / length) ** 2) < Z * following.std() / math.sqrt(count)


def test_random_per_frame_has_as_many_in_each_frame_and_others_in_each() -> None:
    visible = many("random", VIDEO, 100, mask_ratio=0.9, per_frame=True)
    assert (visible.sum((2, 3)) == 20).all()
    assert not (visible == visible[:, :1]).all((1, 2, 3)).any()
    whole = many("random", VIDEO, 100, mask_ratio=0.9).sum((2, 3))
    assert (whole.sum(1) == 156).all()
    assert len(np.unique(whole)) > 10


@pytest.mark.parametrize("name", STILL)
def test_tube_grid_and_block_are_the_same_in_all_frames(name: str) -> None:
    sampler = MaskSampler(name, VIDEO, 0.75)
    visible = sampler(range(50)).visible.reshape(50, *VIDEO)
    assert sampler.per_frame
    assert (visible == visible[:, :1]).all()
    if name == "multiblock":
        return  # on two axes it is another model's
    flat = MaskSampler(name, VIDEO[1:], num_visible=49)
    np.testing.assert_array_equal(flat(range(50)).visible.reshape(50, 14, 14), visible[:, 0])


# grid


def cells(visible: Bools, side: int) -> Array:
    """How many are visible in each side x side: (B, h / side, w / side)."""
    b, h, w = visible.shape
    return np.asarray(visible.reshape(b, h // side, side, w // side, side).sum((2, 4)))


@pytest.mark.parametrize("size", [(14, 14), (16, 16), (6, 10), (64, 8), (2, 2), (2, 30)])
def test_grid_at_three_quarters_shows_one_of_each_two_by_two(size: tuple[int, int]) -> None:
    """The same one in all; each of the four is as frequent."""
    visible = many("grid", size, 2000, mask_ratio=0.75)
    assert (cells(visible, 2) == 1).all()
    corner = visible[:, :2, :2].reshape(2000, 4)
    np.testing.assert_array_equal(visible, np.tile(visible[:, :2, :2], (1, size[0] // 2, size[1] // 2)))
    assert stats.chisquare(corner.sum(0)).pvalue > LEAST_P


@pytest.mark.parametrize("size", [(4, 4), (12, 12), (16, 16), (8, 20), (64, 8)])
def test_grid_at_fifteen_sixteenths_shows_one_of_each_four_by_four(size: tuple[int, int]) -> None:
    visible = many("grid", size, 4000, mask_ratio=15 / 16)
    assert (cells(visible, 4) == 1).all()
    np.testing.assert_array_equal(visible, np.tile(visible[:, :4, :4], (1, size[0] // 4, size[1] // 4)))
    assert stats.chisquare(visible[:, :4, :4].reshape(4000, 16).sum(0)).pvalue > LEAST_P


def test_grid_at_one_half_is_a_chessboard() -> None:
    visible = many("grid", (8, 14), 200, mask_ratio=0.5)
    parity = np.add.outer(np.arange(8), np.arange(14)) % 2
    boards = {(parity == 0).tobytes(), (parity == 1).tobytes()}
    assert {mask.tobytes() for mask in visible} == boards


def test_grid_in_between_is_regular() -> None:
    """At 90 % no two visible tokens touch, and no 8 x 8 is empty, nor has more than twice its share."""
    visible = many("grid", (32, 32), 300, mask_ratio=0.9)
    assert not (visible[:, 1:] & visible[:, :-1]).any()
    assert not (visible[:, :, 1:] & visible[:, :, :-1]).any()
    counts = cells(visible, 8)
    assert counts.min() >= 4
    assert counts.max() <= 12


# running cells


@pytest.mark.parametrize("ratio", [0.25, 0.3, 0.5, 0.6, 0.75, 0.9])
def test_running_cells_are_videomaev2s(ratio: float) -> None:
    """The four masks of its RunningCellMaskingGenerator, each as often."""
    masked = int(4 * ratio)
    peers = np.zeros((4, 6, 4, 8), bool)
    for state, t, y, x in np.ndindex(*peers.shape):  # a queue that moves on by one in each frame
        peers[state, t, y, x] = (2 * (y % 2) + x % 2 + state + t) % 4 < masked
    visible = many("running-cell", (6, 4, 8), 4000, mask_ratio=ratio)
    known = {(~mask).tobytes(): state for state, mask in enumerate(peers)}
    assert stats.chisquare(np.bincount([known[mask.tobytes()] for mask in visible])).pvalue > LEAST_P
    over_time = visible[:, :4].any(1) if masked < 4 else visible
    assert over_time.all(), "some token is never visible"


def test_running_cells_need_whole_cells() -> None:
    for grid, ratio in (((8, 14, 13), 0.5), ((8, 7, 14), 0.5), (VIDEO, 0.2)):
        with pytest.raises(RecipeError, match="even height and width"):
            MaskSampler("running-cell", grid, ratio)


# block


def neighbours(visible: Bools) -> float:
    """The probability that the neighbour of a visible token is visible, over (B, h, w)."""
    pairs = (visible[:, 1:] & visible[:, :-1]).sum() + (visible[:, :, 1:] & visible[:, :, :-1]).sum()
    return float(pairs / (visible[:, 1:].sum() + visible[:, :, 1:].sum()))


@pytest.mark.parametrize("ratio", [0.4, 0.6, 0.75])
def test_block_hides_and_leaves_contiguous_areas(ratio: float) -> None:
    """Far more neighbours than by chance, of the visible tokens and of the masked ones."""
    block, random = (many(name, (14, 14), 500, mask_ratio=ratio) for name in ("block", "random"))
    assert abs(neighbours(random) - (1 - ratio)) < 0.02
    for one, chance in ((block, 1 - ratio), (~block, ratio)):
        assert neighbours(one) > chance + 0.6 * (1 - chance)


def test_block_masks_a_union_of_rectangles() -> None:
    """At 40 %, a masked token, but those of the last rectangle, has masked neighbours along both axes."""
    masked = ~many("block", (14, 14), 500, mask_ratio=0.4)
    padded = np.pad(masked, ((0, 0), (1, 1), (1, 1)))
    along = padded[:, :-2, 1:-1] | padded[:, 2:, 1:-1], padded[:, 1:-1, :-2] | padded[:, 1:-1, 2:]
    both = (along[0] & along[1])[masked]
    assert both.mean() > 0.93


def test_block_varies() -> None:
    """Every place is hidden now and then; masks are hardly ever the same."""
    masked = ~many("block", (14, 14), 2000, mask_ratio=0.4)
    share = masked.mean(0)
    assert share.min() > 0.02
    assert share.max() < 0.85, "BEiT's rectangles are inside, so the middle is hidden more often"
    np.testing.assert_allclose(share, share[::-1], atol=0.08)  # nothing is drawn to one side
    np.testing.assert_allclose(share, share[:, ::-1], atol=0.08)
    assert len({mask.tobytes() for mask in masked[:100]}) > 90


# timefreq


@pytest.mark.parametrize(
    "grid, ratios", [((64, 8), (0.3, 0.3)), ((9, 7), (0.5, 0.2)), ((5, 40), (0.79, 0.75))]
)
def test_timefreq_masks_whole_rows_and_whole_columns(
    grid: tuple[int, int], ratios: tuple[float, float]
) -> None:
    """AudioMAE's: visible where both row and column are, int(T * (1 - t)) and int(F * (1 - f)) of them."""
    visible = many("timefreq", grid, 4000, mask_ratio=ratios)
    rows: Bools = np.any(visible, 2)
    columns: Bools = np.any(visible, 1)
    assert (rows.sum(1) == int(grid[0] * (1 - ratios[0]))).all()
    assert (columns.sum(1) == int(grid[1] * (1 - ratios[1]))).all()
    np.testing.assert_array_equal(visible, rows[:, :, None] & columns[:, None])
    for there in (rows, columns):
        share = there[0].mean()
        z = (there.sum(0) - 4000 * share) / math.sqrt(4000 * share * (1 - share))
        assert np.abs(z).max() < Z
        pairs = (there[:, 1:] & there[:, :-1]).mean(1)
        n, kept = there.shape[1], int(there[0].sum())
        deviation = pairs.mean() - kept * (kept - 1) / (n * (n - 1))
        assert abs(deviation) < Z * max(float(pairs.std()), 1e-3) / math.sqrt(4000)
    together = (rows[:, :1] & columns[:, :1]).mean()
    share = visible[0].mean()
    assert abs(together - share) < Z * math.sqrt(share * (1 - share) / 4000), "rows and columns depend"


# refusals


@pytest.mark.parametrize(
    "name, given, words",
    [
        ("timefreq", {"grid": (64, 8), "mask_ratio": 0.3}, ["0.3", "two"]),
        ("timefreq", {"grid": (64, 8), "mask_ratio": (0.3,)}, ["(0.3,)", "two"]),
        ("timefreq", {"grid": (64, 8), "mask_ratio": (0.3, 0.3, 0.3)}, ["two"]),
        ("timefreq", {"grid": (64, 8), "num_visible": 100}, ["two"]),
        ("timefreq", {"grid": VIDEO, "mask_ratio": (0.3, 0.3)}, ["8x14x14", "two axes"]),
        ("timefreq", {"grid": (64, 8), "mask_ratio": (0.3, 1.0)}, ["mask_ratio=1", "between 0 and 1"]),
        ("timefreq", {"grid": (64, 8), "mask_ratio": (0.0, 0)}, ["(0, 0)", "masks nothing"]),
        ("timefreq", {"grid": (64, 8), "mask_ratio": (0.3, 0.9)}, ["0.9", "8 tokens", "visible"]),
        ("timefreq", {"grid": (64, 8), "mask_ratio": ("a", "b")}, ["'a'", "number"]),
        ("timefreq", {"grid": (64, 8)}, ["mask_ratio", "num_visible"]),
        ("frequency", {"grid": VIDEO, "mask_ratio": 0.5}, ["frequency", "8x14x14", "two axes"]),
        (
            "time",
            {"grid": VIDEO, "mask_ratio": 0.5, "per_frame": True},
            ["per_frame", "time", "whole frames"],
        ),
        ("span", {"grid": VIDEO, "num_visible": 80, "per_frame": True}, ["per_frame", "span"]),
        ("random", {"grid": VIDEO, "mask_ratio": (0.3, 0.3)}, ["(0.3, 0.3)", "share"]),
        ("tube", {"grid": VIDEO, "mask_ratio": 0.001}, ["0.001", "196", "masked"]),
        ("tube", {"grid": VIDEO, "num_visible": 156}, ["156", "multiple of 8"]),
        ("block", {"grid": VIDEO, "mask_ratio": 0.9, "fit": "pad"}, ["'pad'", "crop or resize"]),
    ],
)
def test_refusals(name: str, given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        MaskSampler(name, **given)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text
