"""Numbers about structure: against plain loops, against SciPy's filters, and against what is known."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import maskbank
from maskbank import noise
from maskbank.analysis import measures, spectrum, structure
from maskbank.analysis.covariance import possible
from maskbank.analysis.measures import measure_structure
from maskbank.recipes import COLOURS, Recipe
from maskbank.sampling.sampler import Fit
from tests import reference
from tests.conftest import Share

Bools = npt.NDArray[np.bool_]
VIDEO = (8, 14, 14)


def slow_difficulty(mask: Bools) -> float:
    """DESIGN's definition, token by token."""
    lengths = (4.0,) * (mask.ndim - 2) + (2.0, 2.0)[: mask.ndim]
    scaled = [
        tuple(x / length for x, length in zip(place, lengths, strict=True))
        for place in np.ndindex(mask.shape)
    ]

    def covariance(a: tuple[float, ...], b: tuple[float, ...]) -> float:
        return math.exp(-math.dist(a, b))

    known = [place for place, shown in zip(scaled, mask.reshape(-1), strict=True) if shown]
    hidden = [place for place, shown in zip(scaled, mask.reshape(-1), strict=True) if not shown]
    a = np.array([[covariance(p, q) + 1e-3 * (p == q) for q in known] for p in known])
    inverse = np.linalg.inv(a)
    explained = []
    for place in hidden:
        c = np.array([covariance(place, q) for q in known])
        explained.append(c @ inverse @ c)
    return 1.0 - float(np.mean(explained))


def slow_continuity(mask: Bools, axis: int) -> float:
    """Of the visible tokens with a next one along the axis, the share whose next one is visible."""
    both = here = 0
    for place in np.ndindex(mask.shape):
        following = tuple(x + (a == axis) for a, x in enumerate(place))
        if following[axis] < mask.shape[axis] and mask[place]:
            here += 1
            both += bool(mask[following])
    return both / here if here else math.nan


@pytest.mark.parametrize(
    "grid, seed", [((3, 4, 5), 0), ((2, 6, 3), 1), ((7, 5), 2), ((1, 4, 4), 3), ((19,), 4)]
)
def test_continuity_and_difficulty_equal_their_twins(grid: tuple[int, ...], seed: int) -> None:
    masks = np.random.default_rng(seed).random((6, *grid)) < 0.4
    for axis in range(len(grid)):
        expected = [slow_continuity(mask, axis) for mask in masks]
        np.testing.assert_allclose(structure.continuity(masks, axis), expected, atol=1e-12)
    np.testing.assert_allclose(structure.difficulty(masks), [slow_difficulty(m) for m in masks], atol=1e-9)


def test_the_difficulty_for_data_with_a_direction_equals_its_twin() -> None:
    """A covariance that is another one to the upper right than to the lower right."""
    grid = (4, 5)
    y, x = np.meshgrid(np.fft.fftfreq(8, 1 / 8), np.fft.fftfreq(10, 1 / 10), indexing="ij")
    covariance = possible(np.exp(-np.sqrt((y - 0.7 * x) ** 2 + x**2 / 4)))
    masks = np.random.default_rng(0).random((5, *grid)) < 0.4
    expected = []
    for mask in masks:
        known, hidden = np.argwhere(mask), np.argwhere(~mask)
        a = np.array([[covariance[tuple(q - p)] + 1e-3 * (p == q).all() for q in known] for p in known])
        inverse = np.linalg.inv(a)
        cs = [np.array([covariance[tuple(place - q)] for q in known]) for place in hidden]
        expected.append(1.0 - float(np.mean([c @ inverse @ c for c in cs])))
    np.testing.assert_allclose(structure.difficulty(masks, covariance), expected, atol=1e-9)
    assert not np.allclose(structure.difficulty(masks[..., ::-1], covariance), expected, atol=1e-3)


def made(n: int, kind: str, boundary: str, stretched: bool) -> tuple[Recipe, noise.Block]:
    cls: Any
    cls, default = COLOURS[kind]
    size = (12, 10, 16) if len(default) == 3 else (24, 20)
    stretch = {"stretch": (2, 1, 0.8)[: len(size)]} if stretched else {}
    recipe: Recipe = cls(size=size, dtype="float32", boundary=boundary, **stretch)
    block = noise.Block(recipe, n)
    noise.maker(recipe, 5).make(0, block)
    return recipe, block


@pytest.mark.parametrize(
    "kind, stretched, boundary",
    [
        pytest.param(kind, stretched, boundary, marks=[pytest.mark.full] * (k % 5 > 0))
        for k, (kind, stretched, boundary) in enumerate(
            (kind, stretched, boundary)
            for kind, stretched in (*((kind, False) for kind in COLOURS), ("green3d", True), ("blue2d", True))
            for boundary in ("wrap", "reflect")
        )
    ],
)
def test_the_analytic_spectrum_is_the_twins_and_the_measured_one(
    kind: str, boundary: str, stretched: bool, share: Share
) -> None:
    recipe, block = made(share(300, 80), kind, boundary, stretched)
    expected = spectrum.analytic(recipe, block.sigmas)
    if recipe.ranges:
        twins = [reference.spectrum(recipe, drawn)[0] for drawn in block.sigmas[:10]]
        np.testing.assert_allclose(spectrum.analytic(recipe, block.sigmas[:10]), np.mean(twins, 0), atol=1e-9)
    periodic = boundary == "wrap"
    analytic = spectrum.radial(expected, periodic)
    each = np.array([spectrum.measured(item, periodic).power for item in block.items])
    own = np.array(
        [spectrum.radial(spectrum.analytic(recipe, drawn[None]), periodic).power for drawn in block.sigmas]
    )
    error = (each - own).std(0, ddof=1) / math.sqrt(len(each))
    assert (np.abs(each.mean(0) - analytic.power) < 5 * error + 1e-5).all()
    assert analytic.cumulative[-1] == pytest.approx(1)


def test_the_spectrum_of_windows_is_that_of_what_they_are_cut_from(tmp_path: Path) -> None:
    recipe = maskbank.Green(size=(16, 16, 16), sigma1=(0.7, 0.7), sigma2=(1.5, 1.5))
    bank = maskbank.generate(tmp_path / "b.h5", recipe, 50)
    windows = maskbank.MaskSampler(bank, (5, 7, 6), 0.9).windows(np.arange(800))
    each = np.array([spectrum.measured(w).power for w in windows])
    assert bank.sigma is not None
    expected = spectrum.radial(
        spectrum.of_windows(spectrum.analytic(recipe, bank.sigma[:1]), (5, 7, 6))
    ).power
    error = each.std(0, ddof=1) / math.sqrt(50)  # windows of one item are not independent
    assert (np.abs(each.mean(0) - expected) < 4 * error).all()


@pytest.mark.parametrize(
    "source, expected",
    [("random", 0.50), ("tube", 0.69), (maskbank.Blue(), 0.49), (maskbank.Green(), 0.60)],
    ids=["random", "tube", "blue3d", "green3d"],
)
def test_difficulty_ranks_masks_as_training_does(
    source: str | Recipe, expected: float, tmp_path: Path
) -> None:
    bank = source if isinstance(source, str) else maskbank.generate(tmp_path / "b.h5", source, 12)
    masks = maskbank.MaskSampler(bank, VIDEO, 0.9)(np.arange(12)).visible.reshape(12, *VIDEO)
    found = structure.difficulty(masks)
    assert abs(found.mean() - expected) < 0.01 + 4 * found.std(ddof=1) / math.sqrt(12)


def test_an_alarm_where_structure_is_lost_and_none_where_it_is_there(tmp_path: Path) -> None:
    green = maskbank.generate(tmp_path / "g.h5", maskbank.Green(size=(32, 64, 64)), 20)
    blue = maskbank.generate(tmp_path / "b.h5", maskbank.Blue(size=(16, 32, 32)), 20)
    white = maskbank.generate(tmp_path / "w.h5", maskbank.White(size=(16, 16, 16)), 30)
    cases: list[tuple[maskbank.Bank, Fit, bool]] = [
        (green, "crop", True),
        (green, "resize", False),
        (blue, "crop", True),
        (white, "crop", False),
    ]
    for bank, fit, reaches in cases:
        found = measure_structure(maskbank.MaskSampler(bank, VIDEO, 0.9, fit=fit), 128)
        assert found["reaches"] is reaches, (bank.kind, fit, found["measures"])
        assert ("ALARM" in found["verdict"]) is not reaches
        assert ("crop" in found["verdict"]) is (fit == "resize")


@pytest.mark.parametrize("recipe", [maskbank.Green(size=(30, 30, 30)), maskbank.Blue(size=(30, 30, 30))])
def test_spectra_of_windows_and_masks_stand_beside_what_they_should_be(
    recipe: Recipe, tmp_path: Path
) -> None:
    bank = maskbank.generate(tmp_path / "b.h5", recipe, 64)
    found = measure_structure(maskbank.MaskSampler(bank, VIDEO, 0.9))["spectrum"]
    for one in (found["items"], found["windows"]):
        measured, error = np.array(one["power"]), np.array(one["error"])
        assert (np.abs(measured - one["analytic"]) < 5 * error + 0.02 * measured).all()
    chance = measure_structure(maskbank.MaskSampler("random", VIDEO, 0.9))["spectrum"]["masks"]
    power, error = np.array(chance["power"]), np.array(chance["error"])
    assert (np.abs(power - 1.0) < 5 * error).all()
    assert chance["power"] == chance["random"]
    apart = np.abs(np.array(found["masks"]["power"]) - found["masks"]["random"]) / error
    assert apart.max() > 10
    assert found["masks"]["cumulative"][-1] == pytest.approx(1.0)
    assert np.array(found["masks"]["tube"])[-1] < 0.1  # nothing changes over time, so nothing is fast


def test_a_flat_bank_over_time_is_judged_by_its_frames(tmp_path: Path) -> None:
    for name, recipe, reaches in (
        ("white", maskbank.White(size=(64, 64)), False),
        ("blue", maskbank.Blue(size=(64, 64)), True),
    ):
        bank = maskbank.generate(tmp_path / f"{name}.h5", recipe, 200)
        assert measure_structure(maskbank.MaskSampler(bank, VIDEO, 0.9))["reaches"] is reaches, name


def test_where_no_structure_can_be_the_grid_is_to_blame(tmp_path: Path) -> None:
    green = maskbank.generate(tmp_path / "g.h5", maskbank.Green(size=(16, 16, 16)), 30)
    rbn = maskbank.generate(tmp_path / "r.h5", maskbank.RBN(), 30)
    for bank, grid, ratio, words in (
        (green, (7, 7), 0.97, "1 visible tokens of 49 are too few"),
        (rbn, (64, 8), 0.01, "6 masked tokens of 512 are too few"),
    ):
        found = measure_structure(maskbank.MaskSampler(bank, grid, ratio))
        assert words in found["verdict"]
        assert "larger grid" in found["verdict"]


def test_nothing_is_hidden_in_a_mask_that_shows_all() -> None:
    masks = np.ones((2, 3, 4), bool)
    masks[1, 0, 0] = False
    found = structure.difficulty(masks)
    assert np.isnan(found[0])
    assert 0 < found[1] < 1


def test_a_bank_of_huge_items_is_not_transformed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = maskbank.generate(tmp_path / "b.h5", maskbank.Green(size=(16, 16, 16)), 3)
    monkeypatch.setattr(measures, "LARGEST", 16**3 - 1)
    found = measure_structure(maskbank.MaskSampler(bank, VIDEO, 0.9))
    assert "items" not in found["spectrum"]
    assert found["reaches"]


@pytest.mark.parametrize("grid", [(1, 6, 6), (6, 6), (2, 1, 5), (4, 4, 4)])
def test_any_grid_has_a_report(grid: tuple[int, ...], tmp_path: Path) -> None:
    for name, recipe in (("g", maskbank.Green(size=(4, 7, 8))), ("r", maskbank.RBN(size=(6, 6)))):
        bank = maskbank.generate(tmp_path / f"{name}.h5", recipe, 10)
        if len(recipe.size) == 2 and grid == (2, 1, 5):
            continue
        found = measure_structure(maskbank.MaskSampler(bank, grid, 0.6), 32)
        assert all(math.isfinite(x) for one in found["measures"].values() for x in one.values())
