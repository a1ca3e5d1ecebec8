"""The page of `fit`, and masks over data: what is clear, what is grey, and that files appear."""

from pathlib import Path

import numpy as np
import pytest

import maskbank
from maskbank.analysis import preview as previews
from maskbank.analysis.clips import opened
from maskbank.analysis.drawing import Block
from maskbank.analysis.overlay import block, overlay, pictures_of
from maskbank.errors import MaskbankError
from tests.cli.common import call, one_line

pytest.importorskip("matplotlib")

from maskbank.analysis.fit_page import draw_fit


def test_visible_patches_are_clear_and_hidden_ones_grey() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    visible = np.array([[True, False], [False, True]])
    found = overlay(image, visible)
    assert (found[:3, :4] == image[:3, :4]).all()
    assert (found[3:, 4:] == image[3:, 4:]).all()
    for hidden in (found[:3, 4:], found[3:, :4]):
        assert hidden.min() >= 150
        assert hidden.max() <= 150 + 64


def test_pictures_are_the_first_frames_of_tokens_or_the_first_clips() -> None:
    clips = np.random.default_rng(0).integers(0, 256, (9, 4, 8, 12)).astype(np.uint8)
    (video,) = opened(clips)
    frames, heads = pictures_of(video, (2, 4, 4))
    assert (len(frames), heads) == (2, ["token 0", "token 1"])
    assert np.corrcoef(frames[1][..., 0].ravel(), clips[0, 2].ravel())[0, 1] > 0.99
    (images,) = opened(clips[..., :3])  # (N, H, W, C)
    shown, heads = pictures_of(images, (2, 4))
    assert (len(shown), shown[0].shape, heads[5]) == (6, (4, 8, 3), "clip 5")
    with pytest.raises(maskbank.RecipeError, match="4x8x12 do not divide into 3x4x4 tokens"):
        pictures_of(video, (3, 4, 4))


def test_each_row_shows_a_mask_of_its_own() -> None:
    clips = np.full((2, 2, 4, 4), 100, np.uint8)
    clips[..., ::2] = 0
    masks = np.zeros((1, 2, 2, 2), bool)
    masks[0, 1, 0, 1] = True
    made = block("title", opened(clips)[0], [("mask", masks)])
    data, mask = made.rows
    assert (mask.panels[1][:2, 2:] == data.panels[1][:2, 2:]).all()
    assert (mask.panels[0] != data.panels[0]).all()


@pytest.mark.parametrize(
    "shape, patch, kind",
    [((8, 4, 16, 16), (1, 2, 2), "green3d"), ((8, 64, 16), (2, 2), "rbn"), ((8, 8, 8, 3), (1, 1), "blue2d")],
)  # fmt: skip
def test_a_page_is_drawn_for_any_data(
    shape: tuple[int, ...], patch: tuple[int, ...], kind: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    clips = np.cumsum(rng.normal(size=shape), 1)
    found = maskbank.fit(clips, patch, 0.75, kind=kind)
    draw_fit(found, clips, str(tmp_path / "page.png"))
    assert (tmp_path / "page.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(MaskbankError, match="is there already"):
        draw_fit(found, clips, str(tmp_path / "page.png"))
    with pytest.raises(maskbank.RecipeError, match="pictures are written as"):
        draw_fit(found, clips, str(tmp_path / "page.gif"))


def test_preview_lays_masks_over_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bank's own masks are drawn, below those of tube and random."""
    maskbank.generate(tmp_path / "b.h5", maskbank.Blue(size=(8, 8, 8)), 3)
    np.save(tmp_path / "c.npy", np.cumsum(np.random.default_rng(0).normal(size=(9, 8, 16, 16)), 1))
    drawn: list[Block] = []
    monkeypatch.setattr(previews, "save_figure", lambda *given: drawn.extend(given[-1]))
    words = previews.preview(tmp_path / "b.h5", tmp_path / "o.png", "4x8x8", over=tmp_path / "c.npy")
    assert words == "1 bank"
    assert [row.label for row in drawn[0].rows] == ["data", "tube", "random", "blue3d"]
    masks = maskbank.MaskSampler(str(tmp_path / "b.h5"), (4, 8, 8), 0.9)(0).visible.reshape(4, 8, 8)
    data, *_, blue = drawn[0].rows
    for frame, shown, mask in zip(data.panels, blue.panels, masks, strict=True):
        assert (shown == overlay(frame, mask)).all()
    monkeypatch.undo()
    args = ("preview", "b.h5", "--over", "c.npy", "--grid", "4x8x8")
    assert call(*args, "-o", "o.png", cwd=tmp_path).returncode == 0
    assert (tmp_path / "o.png").read_bytes()[:4] == b"\x89PNG"
    assert "--over goes with -o" in one_line(call(*args, cwd=tmp_path), 2)


def test_signals_and_typical_data_have_curves_only(tmp_path: Path) -> None:
    signals = np.cumsum(np.random.default_rng(0).normal(size=(20, 640)), 1)
    draw_fit(maskbank.fit(signals, (16,)), signals, str(tmp_path / "signal.svg"))
    draw_fit(maskbank.fit(like="image"), None, str(tmp_path / "image.pdf"))
    assert (tmp_path / "signal.svg").stat().st_size > 1000
    assert (tmp_path / "image.pdf").read_bytes()[:4] == b"%PDF"
