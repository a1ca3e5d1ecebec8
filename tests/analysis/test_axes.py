"""Grids of one axis, and of three equal ones that are no powers of two: measured, drawn, audited, fitted."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import maskbank
from maskbank import RBN, Blue, Green, MaskSampler, Red, White
from maskbank.analysis.measures import measure_structure, usual
from maskbank.analysis.preview import preview
from tests import reference
from tests.cli.common import Result, call, one_line

Float64s = npt.NDArray[np.float64]
VOLUME = (10, 10, 10)


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("axes")
    recipes: list[Any] = [cls(size=(1024,)) for cls in (White, Red, Blue, Green)]
    recipes += [RBN(size=(200,)), Green(size=VOLUME, stretch=(2, 1, 1))]
    return {one.kind: maskbank.generate(folder / f"{one.kind}.h5", one, 12).path for one in recipes}


def test_structure_of_one_axis_equals_the_twins(banks: dict[str, str]) -> None:
    """Neighbours are those along the axis; nothing is above or beside a row."""
    sampler = MaskSampler(banks["green1d"], 200, 0.75)
    found = measure_structure(sampler, 40)
    masks = sampler(range(40)).visible
    rows = masks[:, None]
    beside = np.mean([(one[1:] & one[:-1]).sum() / one[:-1].sum() for one in masks])
    score = np.mean([reference.clustering(row) for row in rows])
    near = np.mean([reference.adjacency(row) for row in rows])
    for name, twin in (("space", beside), ("clustering", score), ("adjacency", near)):
        assert found["measures"][name]["value"] == pytest.approx(twin, abs=1e-9)
        assert "tube" not in found["measures"][name]
    assert set(found["measures"]) == {"space", "clustering", "adjacency", "difficulty"}
    items = found["spectrum"]["items"]
    np.testing.assert_allclose(items["power"][:-1], items["analytic"][:-1], rtol=0.25)


def test_one_axis_ranks_as_more_axes_do(banks: dict[str, str]) -> None:
    """Blue is the easiest, red the hardest; white does not differ from random masks."""
    hard = {}
    for kind in ("white1d", "red1d", "blue1d", "green1d", "rbn"):
        found = measure_structure(MaskSampler(banks[kind], 200, 0.8), 100)
        hard[kind] = found["measures"]["difficulty"]["value"]
        assert found["reaches"] is (kind != "white1d")
        assert ("random masking" in found["verdict"]) is (kind == "white1d")
    assert hard["blue1d"] < hard["white1d"] < hard["green1d"] < hard["red1d"]
    assert hard["rbn"] < hard["white1d"]


def test_one_axis_is_looked_at_on_500_tokens(banks: dict[str, str], tmp_path: Path) -> None:
    """An rbn bank on its own grid; items that do not tile on no more than they hold."""
    assert usual(maskbank.Bank(banks["green1d"])) == ((500,), 0.8)
    assert usual(maskbank.Bank(banks["rbn"])) == ((200,), 0.8)
    short = maskbank.generate(tmp_path / "b.h5", Red(size=(60,), boundary="reflect"), 2)
    assert usual(short) == ((60,), 0.8)


@pytest.mark.parametrize("blocks", [True, False])
def test_text_shows_a_mask_in_each_line(banks: dict[str, str], blocks: bool) -> None:
    shown, randomly = preview(banks["rbn"], width=50, blocks=blocks).split("\n\n")
    head, *lines = shown.split("\n")
    assert head == "rbn  200, 39 of 200 visible, masks 0 to 7, tokens 0 to 49"
    assert randomly.startswith("random  200, 39 of 200 visible")
    masks = MaskSampler(banks["rbn"], 200, 0.8)(range(8)).visible[:, :50]
    assert set("".join(lines)) == {" ", "▀" if blocks else "'"}
    assert [[sign != " " for sign in line] for line in lines] == masks.tolist()


@pytest.mark.parametrize(
    "kinds, grid, suffix",
    [
        (["green1d", "rbn"], None, ".png"),
        (["green1d"], 100, ".gif"),
        (["green3d"], VOLUME, ".svg"),
        (["green3d"], 40, ".svg"),
    ],
)
def test_pictures_are_drawn(
    kinds: list[str], grid: Any, suffix: str, banks: dict[str, str], tmp_path: Path
) -> None:
    """Of one axis, of a volume, and of a row of its items; frames differ, so masks are in them."""
    image_module = pytest.importorskip("PIL.Image")
    output = tmp_path / f"picture{suffix}"
    preview([banks[kind] for kind in kinds], output, grid)
    if suffix == ".svg":  # panels of an item, a window, and masks of the bank and of baselines
        assert output.read_text().count("<image") == (8 + 8 + 16 if grid == VOLUME else 1 + 1 + 6 + 6)
        return
    with image_module.open(output) as image:
        assert min(image.size) > 100
        frames = []
        for k in range(getattr(image, "n_frames", 1)):
            image.seek(k)
            frames.append(image.convert("RGB").tobytes())
    assert len(set(frames)) == len(frames) == (1 if suffix == ".png" else 6)


def test_notebooks_show_them(banks: dict[str, str]) -> None:
    for path in banks.values():
        bank = maskbank.Bank(path)
        assert "<img" in bank._repr_html_()
        grid = VOLUME if bank.kind == "green3d" else 200
        assert "<img" in MaskSampler(bank, grid, 0.75)(range(3))._repr_html_()


def test_signals_have_no_picture_to_lay_masks_over(banks: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    np.save(tmp_path / "eeg.npy", np.zeros((3, 5000)))
    with pytest.raises(maskbank.RecipeError, match="grid=500: signals of one axis have no picture"):
        preview(banks["green1d"], tmp_path / "o.png", over=tmp_path / "eeg.npy")


@pytest.mark.parametrize("kind, grid", [("green1d", (500,)), ("green3d", VOLUME)])
def test_audits_find_nothing_wrong(kind: str, grid: tuple[int, ...], banks: dict[str, str]) -> None:
    sampler = MaskSampler(banks[kind], grid, 0.8)
    report = maskbank.audit(
        [sampler(range(k, k + 32)).masked for k in range(0, 512, 32)], grid, ones="masked"
    )
    assert report.ok, str(report)


def test_devices_cut_the_same_windows(banks: dict[str, str]) -> None:
    """Every window is one of an item, forwards or backwards; counts are exact."""
    torch = pytest.importorskip("torch")
    from maskbank.adapters.device import DeviceMasks

    bank = maskbank.Bank(banks["rbn"])
    sampler = MaskSampler(bank, 150, 0.8)
    torch.manual_seed(0)
    visible = DeviceMasks(sampler, "cpu")(60).visible.numpy()
    assert visible.shape == (60, 150)
    assert (visible.sum(1) == sampler.num_visible).all()
    known = set()
    for item in bank:
        for window in (np.roll(item, -k)[:150] for k in range(200)):
            mask = window >= np.sort(window)[-sampler.num_visible]
            known |= {mask.tobytes(), mask[::-1].tobytes()}
    assert {one.tobytes() for one in visible} <= known


@pytest.mark.parametrize("channels", [(), (6,)])
def test_signals_are_fitted_by_kinds_of_one_axis(channels: tuple[int, ...], tmp_path: Path) -> None:
    """Also signals of several channels; the command that fit prints makes the bank."""
    rng = np.random.default_rng(0)
    white = rng.normal(size=(60, 600, *channels))
    signals = sum(np.roll(white, k, 1) for k in range(25))
    found = maskbank.fit(signals, (10,))
    assert (found.grid, found.recommend.kind) == ((60,), "blue1d")
    assert {"red1d", "blue1d", "green1d", "rbn", "random"} <= set(found.difficulty)
    assert not any(name.endswith("2d") for name in found.difficulty)
    assert found.order.index("blue1d") < found.order.index("random") < found.order.index("red1d")
    command = found.recommend.command.replace("--n 10000", "--n 3").split()[1:]
    assert call(*command, cwd=tmp_path).returncode == 0
    assert maskbank.Bank(tmp_path / "blue1d.h5").shape == (3, 1024)


def test_volumes_are_stretched_as_fit_recommends() -> None:
    """Correlated along depth only, so the noise of masks is, too."""
    rng = np.random.default_rng(0)
    white = rng.normal(size=(60, *VOLUME))
    found = maskbank.fit(sum(np.roll(white, k, 1) for k in range(5)), (1, 1, 1), 0.75)
    assert found.grid == VOLUME
    depth, *others = found.recommend.stretch
    assert depth > 2 > max(others)
    assert f"--stretch {depth:g}x1x1" in found.recommend.command


def test_the_command_line_makes_shows_and_exports_them(tmp_path: Path) -> None:
    """From generate to export, and what is refused on the way."""

    def ask(line: str) -> Result:
        return call(*line.split(), cwd=tmp_path)

    assert ask("generate green1d --n 5 --size 500 --stretch 2").returncode == 0
    assert ask("generate rbn --n 5 --size 40").returncode == 0
    assert ask("verify green1d.h5 rbn.h5").returncode == 0
    shown = ask("inspect green1d.h5 rbn.h5").stdout
    assert "500 (L)" in shown
    assert "40 (L)" in shown
    measured = ask("inspect green1d.h5 --structure --grid 100 --mask-ratio 0.7").stdout
    assert "structure at 100, 30 of 100 visible" in measured
    assert ask("export green1d.h5 --grid 500 --mask-ratio 0.6 -n 7").returncode == 0
    masks = np.load(tmp_path / "masks.npy")
    sampler = MaskSampler(tmp_path / "green1d.h5", 500, 0.6)
    np.testing.assert_array_equal(masks, sampler(range(7)).masked)
    line = one_line(ask("export green1d.h5 --grid 64x8 --mask-ratio 0.6 -n 7"), 2)
    assert "grid=64x8" in line
    assert "one axis" in line
