"""`fit`: the prediction against brute force, what is measured against loops, and the recommendation."""

import math
import shlex
from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest

import maskbank
from maskbank.analysis import covariance, prediction, spectrum, structure
from maskbank.analysis.fit import PAPER
from maskbank.analysis.kinds import difficulties, pairs_of
from maskbank.recipes import COLOURS
from tests import reference
from tests.cli.common import call

Float64s = npt.NDArray[np.float64]
VIDEO = (8, 14, 14)
EXPONENTIAL = (4.0, 2.0, 2.0)


def clips(n: int, grid: tuple[int, ...], lengths: tuple[float, ...], seed: int = 0) -> Float64s:
    """Gaussian clips whose tokens have the correlation exp(-d): (n, *grid)."""
    torus = tuple(2 * size for size in grid)
    spectrum = np.fft.rfftn(covariance.exponential(grid, lengths)).real
    white = np.random.default_rng(seed).normal(size=(n, *torus))
    axes = tuple(range(1, white.ndim))
    coloured = np.fft.rfftn(white, axes=axes) * np.sqrt(np.maximum(spectrum, 0))
    whole = np.fft.irfftn(coloured, torus, axes=axes)
    return np.asarray(whole[(slice(None), *(slice(size) for size in grid))])


def masks_of(values: Float64s, share: float) -> npt.NDArray[np.bool_]:
    """The highest values of each field: True where visible."""
    flat = values.reshape(len(values), -1)
    visible = round(share * flat.shape[1])
    return (flat >= np.sort(flat, 1)[:, -visible, None]).reshape(values.shape)


@pytest.mark.parametrize("lengths", [(1.0, 1.0), (4.0, 1.0), (2.0, 3.0)])
@pytest.mark.parametrize("kind", ["random", "red", "blue", "tube"])
def test_the_prediction_is_the_error_of_the_best_map(kind: str, lengths: tuple[float, float]) -> None:
    torus = (4, 6)
    fields = np.random.default_rng(0).normal(size=(40, *torus))
    if kind == "tube":
        fields[:] = fields[:, :1]
    elif kind != "random":
        sigma = np.array([0.8], np.float32)
        fields = np.array([reference.apply(kind, field, sigma, "wrap") for field in fields])
    masks = masks_of(fields, 1 / 3)
    correlation = covariance.possible(covariance.exponential((2, 3), lengths))
    pairs = np.zeros(torus)
    for d in np.ndindex(torus):
        pairs[d] = (masks & np.roll(masks, d, (1, 2))).mean()
    predicted = prediction.Predictor(correlation[None])(pairs)
    assert predicted[0] == pytest.approx(reference.error_of_the_best_map(masks, correlation), abs=1e-3)


def test_the_prediction_is_what_least_squares_finds_in_samples() -> None:
    """On a ring of 32 tokens, with green noise and the formula of its pairs."""
    ring, share, samples = (16,), 0.25, 100_000
    correlation = covariance.possible(covariance.exponential(ring, (2.0,)))
    rng = np.random.default_rng(1)

    def drawn(power: Float64s) -> Float64s:
        white = rng.normal(size=(samples, 32))
        return np.asarray(np.fft.irfft(np.fft.rfft(white) * np.sqrt(np.maximum(power, 0)), 32))

    noise = drawn(np.fft.rfft(spectrum.autocorrelation((0, 1, -1), (0.7, 2.0), (1.0,), (32,))).real)
    data = drawn(np.fft.rfft(correlation).real)
    seen = data * (noise > 0.6744897501960817)  # the upper quartile
    best = np.linalg.solve(seen.T @ seen, seen.T @ data)
    found = ((data - seen @ best) ** 2).sum() / (data**2).sum()
    pairs = prediction.chance_of_pairs(spectrum.autocorrelation((0, 1, -1), (0.7, 2.0), (1.0,), (32,)), share)
    pairs[0] = share
    assert prediction.Predictor(correlation[None])(pairs)[0] == pytest.approx(found, abs=1e-3)


@pytest.mark.parametrize(
    "colour, sigmas",
    [("red", (1.2,)), ("blue", (0.6,)), ("green", (0.8, 2.0)), ("purple", (0.8, 2.0))],
)
@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
def test_the_chance_of_pairs_is_that_of_counted_ones(
    colour: str, sigmas: tuple[float, ...], share: float
) -> None:
    """Noise of SciPy on the torus, its highest values counted."""
    torus, drawn = (24, 32), np.array(sigmas, np.float32)
    rng = np.random.default_rng(0)
    fields = np.array([reference.apply(colour, rng.normal(size=torus), drawn, "wrap") for _ in range(400)])
    scale = reference.gain(colour, torus, drawn, "wrap")
    masks = fields / scale > NormalDist().inv_cdf(1 - share)
    rho = spectrum.autocorrelation(COLOURS[f"{colour}2d"][0].mixture, sigmas, (1.0, 1.0), torus)
    expected = prediction.chance_of_pairs(rho, share)
    for d in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 3), (0, 5), (12, 16)):
        both = (masks & np.roll(masks, d, (1, 2))).mean((1, 2))
        error = both.std(ddof=1) / math.sqrt(len(both))
        assert abs(both.mean() - expected[d]) < 4 * error, d


def test_pairs_of_masks_are_counted_one_by_one() -> None:
    masks = np.random.default_rng(0).random((5, 3, 4)) < 0.4
    found = prediction.pairs_of_masks(masks)
    for dy in range(-3, 4):
        for dx in range(-4, 5):
            here = [
                bool(mask[y, x] and mask[y + dy, x + dx])
                for mask in masks
                for y in range(3)
                for x in range(4)
                if 0 <= y + dy < 3 and 0 <= x + dx < 4
            ]
            if here:
                assert found[dy, dx] == pytest.approx(np.mean(here)), (dy, dx)
    assert found[3, 1] == pytest.approx((found[2, 1] + found[-2, 1]) / 2)


@pytest.mark.parametrize("colour, sigmas", [("white", ()), ("red", (0.8,)), ("green", (1.0, 2.5))])
def test_pairs_of_masks_with_the_same_number_are_predicted(colour: str, sigmas: tuple[float, ...]) -> None:
    """In windows of larger fields of SciPy's, the highest values of each."""
    grid, rng = (6, 8), np.random.default_rng(0)
    fields = rng.normal(size=(2000, 24, 32))
    if sigmas:
        drawn = np.array(sigmas, np.float32)
        fields = np.array([reference.apply(colour, field, drawn, "wrap") for field in fields])
    masks = masks_of(fields[:, :6, :8], 0.25)
    counted = prediction.pairs_of_masks(masks)
    predicted = prediction.pairs_of_noise(colour, sigmas, (1.0,) * 2, grid, 0.25)
    near = (slice(-2, None), slice(-2, None))
    assert np.abs(predicted - counted)[near].max() < 0.01
    assert predicted[0, 0] == pytest.approx(0.25)
    correlation = covariance.possible(covariance.exponential(grid, (2.0, 2.0)))
    predictor = prediction.Predictor(correlation[None])
    assert predictor(predicted)[0] == pytest.approx(predictor(counted)[0], abs=0.01)


@pytest.mark.parametrize("grid, pixels", [((3, 4), 2), ((2, 3, 2), 1), ((5,), 3), ((1, 4), 1)])
def test_the_correlation_is_that_of_a_loop(grid: tuple[int, ...], pixels: int) -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=(20, pixels, *grid))
    values += np.random.default_rng(1).normal(size=(20, 1) + (1,) * len(grid))
    found = covariance.estimate((clip.astype(np.float32) for clip in values), grid, pixels)
    np.testing.assert_allclose(found.values[0], reference.correlation_by_distance(values), atol=1e-5)
    assert found.values.shape == (17, *(2 * n for n in grid))
    left = np.array([clip for i, clip in enumerate(values) if i % 16 != 3])
    np.testing.assert_allclose(found.values[4], reference.correlation_by_distance(left), atol=1e-5)


@pytest.mark.parametrize("grid, lengths", [((8, 8, 8), EXPONENTIAL), ((32, 8), (5.0, 1.0)), ((64,), (2.5,))])
def test_lengths_are_found_again_within_their_errors(
    grid: tuple[int, ...], lengths: tuple[float, ...]
) -> None:
    found = maskbank.fit(clips(256, grid, lengths), (1,) * len(grid), 0.75)
    for length, error, true in zip(found.length, found.length_error, lengths, strict=True):
        assert 0 < error < 0.1 * true
        assert abs(length - true) < 3 * error


def test_errors_are_those_of_repeated_data() -> None:
    """The jackknife's error of a length and of a difficulty against their spread over data sets."""
    found = [maskbank.fit(clips(64, (8, 8), (2.0, 2.0), seed), (1, 1), 0.75) for seed in range(20)]
    for values, errors in (
        ([f.length[0] for f in found], [f.length_error[0] for f in found]),
        ([f.difficulty["red2d"] for f in found], [f.difficulty_error["red2d"] for f in found]),
    ):
        assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.5)


def test_the_order_is_that_of_the_papers_losses() -> None:
    """With exp(-d), lengths 4 and 2, where training lost .41, .60, .67, .73 and .85."""
    correlation = covariance.possible(covariance.exponential(VIDEO, EXPONENTIAL))
    found = difficulties(prediction.Predictor(correlation[None]), VIDEO, 0.9)
    names = list(PAPER[3])
    values = [float(found[name][0]) for name in names]
    assert np.corrcoef(values, list(PAPER[3].values()))[0, 1] > 0.97
    expected = {"blue3d": 0.48, "green3d": 0.64, "tube": 0.66, "green2d": 0.76, "red3d": 0.81}
    assert values == pytest.approx(list(expected.values()), abs=0.05)
    assert sorted(names, key=lambda name: float(found[name][0])) == names


@pytest.mark.parametrize("kind", ["green3d", pytest.param("red3d", marks=pytest.mark.full)])
def test_a_recommended_bank_is_as_hard_as_wanted(kind: str, tmp_path: Path) -> None:
    """From clips to masks of the bank that the printed command makes, counted in pairs."""
    grid = (8, 10, 10)
    data = clips(100, grid, EXPONENTIAL)
    found = maskbank.fit(data, (1, 1, 1), kind=kind, aim=0.95)
    assert (found.recommend.kind, found.recommend.reached) == (kind, True)
    words = shlex.split(found.recommend.command)
    words[words.index("--n") + 1] = "40"
    words += ["--size", "16x32x32"]
    assert words[0] == "maskbank"
    made = call(*words[1:], cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    predictor = prediction.Predictor(found.correlation[None])
    hard = {}
    for source in (str(tmp_path / f"{kind}.h5"), "tube"):
        masks = maskbank.MaskSampler(source, grid, 0.9)(range(400)).visible.reshape(-1, *grid)
        hard[source] = float(predictor(prediction.pairs_of_masks(masks))[0])
    bank, tube = hard.values()
    assert bank == pytest.approx(found.recommend.difficulty, rel=0.05)
    assert bank / tube == pytest.approx(0.95, rel=0.05)
    masks = maskbank.MaskSampler(str(tmp_path / f"{kind}.h5"), grid, 0.9)(range(24)).visible
    exact = structure.difficulty(masks.reshape(-1, *grid), found.correlation)
    confirmed, error = found.recommend.confirmed, found.recommend.confirmed_error
    assert confirmed is not None
    assert error is not None
    assert abs(exact.mean() - confirmed) < 5 * error


@pytest.mark.parametrize(
    "grid, lengths, stretch",
    [
        ((12, 6, 6), (4.0, 1.0, 1.0), (4.0, 1.0, 1.0)),
        ((12, 12), (1.0, 2.0), (1.0, 2.0)),
        ((12, 12), (2.0, 2.0), (1.0, 1.0)),
        ((1, 12, 12), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
    ],
)
def test_noise_is_stretched_as_the_data_are(
    grid: tuple[int, ...], lengths: tuple[float, ...], stretch: tuple[float, ...]
) -> None:
    found = maskbank.fit(clips(400, grid, lengths), (1,) * len(grid), 0.8, aim=0.97).recommend
    assert found.stretch == pytest.approx(stretch, rel=0.15, abs=0.1)
    assert ("--stretch" in found.command) is (max(stretch) > 1)


def test_a_kind_over_all_frames_is_recommended_from_its_own_pairs() -> None:
    found = maskbank.fit(clips(64, (4, 6, 6), (2.0, 1.0, 1.0)), (1, 1, 1), 0.8, kind="green2d", aim=1.02)
    chosen = found.recommend
    assert chosen.reached
    assert chosen.sigma1 is not None
    assert chosen.sigma2 is not None
    pairs = pairs_of("green2d", (4, 6, 6), 0.8, (chosen.sigma1, chosen.sigma2), chosen.stretch)
    assert pairs.shape == (8, 12, 12)
    assert (pairs == pairs[:1]).all()
    hard = prediction.Predictor(found.correlation[None])(pairs)[0]
    assert hard / found.difficulty["tube"] == pytest.approx(1.02, abs=0.01)


def test_an_aim_out_of_reach_gives_the_nearest_and_what_is_reachable() -> None:
    found = maskbank.fit(clips(64, (8, 8), (2.0, 2.0)), (1, 1), 0.75, aim=0.2).recommend
    assert not found.reached
    assert found.share == pytest.approx(found.reachable[0], abs=0.005)
    assert 0.8 < found.reachable[0] < found.reachable[1] < 1.01


def test_it_says_whether_masks_of_the_bank_agree() -> None:
    """Data of one length; and a grid too large for the exact measure."""
    found = maskbank.fit(clips(64, (8, 8), (2.0, 2.0)), (1, 1), 0.75, kind="red2d", aim=1.2).recommend
    assert found.confirmed_share is not None
    assert found.confirmed_share_error is not None
    away = abs(found.share - found.confirmed_share)
    error = math.hypot(found.share_error, found.confirmed_share_error)
    assert found.agrees is (away <= 2 * error)
    large = maskbank.fit(clips(8, (40, 40), (2.0, 2.0)), (1, 1), 0.1).recommend
    assert (large.confirmed, large.agrees) == (None, None)


def test_close_masks_are_ties_and_far_ones_are_not() -> None:
    found = maskbank.fit(clips(128, (4, 8, 8), (3.0, 2.0, 2.0)), (1, 1, 1))
    assert "white3d" in found.ties or "random" in found.ties
    assert len(found.ties) < len(found.order) / 2
    assert found.order[0] not in found.ties
    names = found.order
    assert [found.difficulty[name] for name in names] == sorted(found.difficulty.values())
    bases = {"green3d", "red3d", "blue3d", "purple3d", "green2d", "rbn", "tube", "random", "grid", "block"}
    assert set(found.difficulty) >= bases


def test_choosing_sigma_takes_less_than_a_second() -> None:
    import time

    from maskbank.analysis.recommendation import choose

    correlation = covariance.possible(covariance.exponential(VIDEO, EXPONENTIAL))
    predictor = prediction.Predictor(np.repeat(correlation[None], 17, 0))
    baseline = predictor(pairs_of("white2d", VIDEO, 0.9))[0]

    def seconds() -> float:
        start = time.process_time()
        choose(lambda s: predictor(pairs_of("green3d", VIDEO, 0.9, s))[0] / baseline, "green3d", 0.9, 1.0)
        return time.process_time() - start

    assert any(seconds() < 1.0 for _ in range(3))
