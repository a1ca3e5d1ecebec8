"""Masks of one axis: over the frames of speech, over the samples of a sensor."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import maskbank
from maskbank import RBN, Bank, Blue, Green, MaskSampler, Red, White
from tests.sampling.common import LEAST_P, check_masks, forge, one_line

LENGTH = 1024


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bank]:
    """Banks of one axis at their defaults, of 8 items."""
    folder = tmp_path_factory.mktemp("speech")
    recipes: list[Any] = [cls(size=(LENGTH,)) for cls in (White, Red, Blue, Green)]
    return {one.kind: maskbank.generate(folder / f"{one.kind}.h5", one, 8) for one in recipes}


@pytest.mark.parametrize("boundary", ["wrap", "reflect"])
def test_every_window_occurs_and_as_often_as_any_other(boundary: str, tmp_path: Path) -> None:
    """From every place where one may start, forwards and backwards, and nothing else."""
    recipe = White(size=(7,), dtype="float32", boundary=boundary)
    with pytest.warns(UserWarning, match="different windows"):
        sampler = MaskSampler(forge(tmp_path / "b.h5", recipe, np.arange(21).reshape(3, 7)), 4, 0.5)
    starts = range(7 if boundary == "wrap" else 4)
    known = {tuple((a + np.arange(4)) % 7)[::step] for a in starts for step in (1, -1)}
    assert len(known) == 2 * len(starts)
    windows = sampler.windows(range(6000)).astype(int)
    assert windows.shape == (6000, 4)
    assert (windows.min(1) // 7 == windows.max(1) // 7).all(), "a window of two items"
    visible = sampler(range(6000)).visible
    np.testing.assert_array_equal(visible, windows > np.sort(windows, 1)[:, 1:2], "the largest two")
    counts = dict.fromkeys(known, 0)
    for window in windows % 7:
        counts[tuple(window)] += 1
    assert stats.chisquare(list(counts.values())).pvalue > LEAST_P
    forwards = sampler.replace(flip=False).windows(range(200)).astype(int) % 7
    assert (np.diff(forwards, axis=1) % 7 == 1).all()


@pytest.mark.parametrize("grid", [500, (500,), [500], "500", np.int64(500)], ids=repr)
def test_a_grid_is_given_as_any_number_or_sequence(grid: Any, speech: dict[str, Bank]) -> None:
    sampler = MaskSampler(speech["green1d"], grid, 0.8)
    assert sampler.grid == (500,)
    assert sampler.config["grid"] == "500"
    assert sampler.num_visible == int(500 * (1 - 0.8)) == 99
    masks = sampler(range(20))
    assert masks.visible.shape == (20, 500)
    check_masks(masks, 99)
    assert "500" in repr(masks)
    assert sampler.per_frame is False


def test_the_colours_differ_along_the_axis(speech: dict[str, Bank]) -> None:
    """How likely the token after a visible one is visible: 0.2 where masks are random."""
    beside = {}
    for kind, bank in speech.items():
        visible = MaskSampler(bank, 500, num_visible=100)(range(400)).visible
        beside[kind] = (visible[:, 1:] & visible[:, :-1]).sum() / visible[:, :-1].sum()
    assert abs(beside["white1d"] - 0.2) < 0.02
    assert beside["blue1d"] < 0.1 < 0.25 < beside["green1d"] < beside["red1d"]


def test_the_values_are_those_of_the_item(speech: dict[str, Bank]) -> None:
    """A window as long as the item is the item, shifted and maybe reversed; resized, it is the item."""
    bank = speech["green1d"]
    around = (np.tile(item[::step].astype(np.float32), 2) for item in bank for step in (1, -1))
    shifts = {twice[k : k + LENGTH].tobytes() for twice in around for k in range(LENGTH)}
    assert {window.tobytes() for window in MaskSampler(bank, LENGTH, 0.8).windows(range(8))} <= shifts
    whole = MaskSampler(bank, LENGTH, 0.8, fit="resize", flip=False).windows(range(8))
    assert sorted(map(bytes, whole)) == sorted(bytes(item.astype(np.float32)) for item in bank)


def test_complementary_masks_cover_the_axis(tmp_path: Path) -> None:
    bank = maskbank.generate(tmp_path / "rbn.h5", RBN(size=(100,), mask_ratio=0.75), 20)
    masks = MaskSampler(bank, 100, 0.75).complementary(3)
    assert masks.visible.shape == (4, 100)
    assert (masks.visible.sum(0) == 1).all()
    assert MaskSampler(bank, 60, 0.8)(range(9)).visible.sum(1).tolist() == [11] * 9


def test_a_bank_of_more_axes_gives_a_row(banks: dict[str, Bank]) -> None:
    """Of a frame: items of 20 x 21, and of 9 x 20 x 21."""
    for name in ("blue2d", "green3d"):
        rows = {row.tobytes() for item in banks[name] for row in item.astype(np.float32).reshape(-1, 21)}
        sampler = MaskSampler(banks[name], 21, 0.75, flip=False)
        windows = sampler.windows(range(50))
        assert windows.shape == (50, 21)
        for window in windows:
            assert any(np.roll(window, k).tobytes() in rows for k in range(21))
        assert (sampler(range(50)).visible.sum(1) == 5).all()


def test_regular_masks_of_one_axis() -> None:
    """The lattice of ordered dithering is one token in four, at any shift."""
    visible = MaskSampler("grid", 64, 0.75)(range(60)).visible
    assert {tuple(np.diff(np.flatnonzero(one))) for one in visible} == {(4,) * 15}
    assert len({one.tobytes() for one in visible}) == 4


@pytest.mark.parametrize(
    "source, grid, given, words",
    [
        ("green1d", (8, 14, 14), {}, ["grid=8x14x14", "green1d", "one axis", "1024"]),
        ("green1d", (64, 8), {}, ["grid=64x8", "green1d", "one axis", "1024"]),
        ("green1d", 500, {"transpose": True}, ["transpose=True", "one axis", "flip"]),
        ("green1d", (), {}, ["grid=()", "(L,)"]),
        ("green1d", 0, {}, ["grid=0", "1 to"]),
        ("green1d", True, {}, ["grid=True", "whole"]),
        ("green1d", 500.0, {}, ["grid=500.0", "(L,)"]),
        ("green1d", 1, {}, ["1 token", "larger"]),
        ("block", 500, {}, ["grid=500", "block", "rectangles", "span"]),
        ("running-cell", 500, {}, ["grid=500", "running-cell", "rectangles", "span"]),
        ("running-cell", 500, {"num_visible": 9, "mask_ratio": None}, ["grid=500", "running-cell", "span"]),
        ("frequency", 500, {}, ["grid=500", "frequency", "two axes"]),
        ("timefreq", 500, {}, ["grid=500", "timefreq", "two axes"]),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(
    source: str, grid: Any, given: dict[str, Any], words: list[str], speech: dict[str, Bank]
) -> None:
    one_line(lambda: MaskSampler(speech.get(source, source), grid, **{"mask_ratio": 0.75} | given), *words)


def test_a_longer_grid_tiles_with_a_warning(speech: dict[str, Bank]) -> None:
    with pytest.warns(UserWarning, match="repeat 1.46 times"):
        visible = MaskSampler(speech["green1d"], 1500, 0.8)(range(4)).visible
    np.testing.assert_allclose(visible[:, :476].mean(), visible[:, LENGTH:].mean(), atol=0.01)
