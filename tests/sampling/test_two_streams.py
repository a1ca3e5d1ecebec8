"""Masks of two streams of one sample: the same window, on one grid or on two."""

import numpy as np
import pytest

import maskbank
from maskbank import Bank, Green, MaskSampler
from tests.sampling.common import Bools

IDS = np.arange(200)
SHOWN = {"video": 156, "audio": 102}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """Green noise, eight times as long along time, so that every eighth step is default green noise."""
    recipe = Green(size=(64, 31, 32), stretch=(8, 1, 1), dtype="float32")
    return maskbank.generate(tmp_path_factory.mktemp("streams") / "green.h5", recipe, 20)


def test_one_grid_has_one_window_at_any_count(bank: Bank) -> None:
    """Of two streams on one grid, the one that shows fewer tokens shows some of the other's."""
    depth = MaskSampler(bank, (8, 14, 14), 0.9, seed=3)
    colour = depth.replace(num_visible=700)
    few, many = depth(IDS, epoch=2, view=1), colour(IDS, epoch=2, view=1)
    assert many.visible[few.visible].all()
    assert (many.visible.sum(1) == 700).all()
    np.testing.assert_array_equal(depth.windows(IDS, 2, 1), colour.windows(IDS, 2, 1))
    assert not depth.replace(seed=4)(IDS, epoch=2, view=1).visible[few.visible].mean() > 0.2


def streams(bank: Bank, seed: int = 0) -> dict[str, Bools]:
    """Masks of video, 8 x 14 x 14, and of audio, 64 x 8, as the documents make them."""
    values = MaskSampler(bank, (64, 14, 14), 0.9, seed=seed).windows(IDS)
    parts = {"video": values[:, ::8], "audio": values[:, :, 6, 3:11]}
    return {
        name: maskbank.select(part.reshape(len(IDS), -1), SHOWN[name]).reshape(part.shape)
        for name, part in parts.items()
    }


def test_two_grids_share_a_window(bank: Bank) -> None:
    """Where a video token is visible, the audio token of its time and place is; by chance one in five."""
    both, other = streams(bank), streams(bank, seed=1)
    for name, masks in both.items():
        assert (masks.reshape(len(IDS), -1).sum(1) == SHOWN[name]).all()
    shown = both["video"][:, :, 6, 3:11]
    assert both["audio"][:, ::8][shown].mean() > 0.95
    assert abs(other["audio"][:, ::8][shown].mean() - 0.2) < 0.06


def test_two_grids_keep_the_structure(bank: Bank) -> None:
    """The next video frame shows what one does as often as on a grid of its own; audio is smooth."""
    both = streams(bank)
    video, audio = both["video"], both["audio"]
    following = video[:, 1:][video[:, :-1]].mean()
    assert abs(following - 0.41) < 0.04
    assert audio[:, 1:][audio[:, :-1]].mean() > 0.85


def test_the_window_of_both_is_the_samplers_own(bank: Bank) -> None:
    both = MaskSampler(bank, (64, 14, 14), 0.9)
    chosen = maskbank.select(both.windows(IDS).reshape(len(IDS), -1), both.num_visible)
    np.testing.assert_array_equal(chosen, both(IDS).visible)


def test_samplers_of_two_grids_begin_at_one_place_without_flips(bank: Bank) -> None:
    """With flips they differ: a window is flipped as a whole, whatever its size."""
    large = MaskSampler(bank, (16, 14, 14), 0.9, flip=False)
    small = large.replace(grid=(8, 10, 12))
    np.testing.assert_array_equal(large.windows(IDS)[:, :8, :10, :12], small.windows(IDS))
    flipped = large.replace(flip=True).windows(IDS)[:, :8, :10, :12]
    same = (flipped == small.replace(flip=True).windows(IDS)).all((1, 2, 3))
    assert 0.1 < same.mean() < 0.4
