"""`fit` on files of every type, and what it says of those it cannot use."""

import json
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import spearmanr

import maskbank
from maskbank.analysis import measures, structure
from maskbank.analysis.clips import Tokens, correlation_on, opened
from maskbank.analysis.fit import PAPER
from maskbank.errors import MaskbankError
from tests.cli.common import call

Array = npt.NDArray[Any]


def made(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> Array:
    values = np.random.default_rng(seed).normal(100.0, 20.0, shape)
    for axis in range(1, len(shape)):
        if shape[axis] > 4:  # not the channels
            values = values + np.roll(values, 1, axis)
    values = (values - values.min()) * 255 / np.ptp(values)
    return np.asarray(values.astype(dtype))


WRITERS: dict[str, Callable[[Path, Array], str]] = {
    "npy": lambda path, x: _save(path / "c.npy", lambda p: np.save(p, x)),
    "fortran.npy": lambda path, x: _save(path / "f.npy", lambda p: np.save(p, np.asfortranarray(x))),
    "npz": lambda path, x: _save(path / "c.npz", lambda p: np.savez(p, x=x)),
    "compressed.npz": lambda path, x: _save(path / "d.npz", lambda p: np.savez_compressed(p, x=x)),
    "one of several.npz": lambda path, x: _save(path / "e.npz", lambda p: np.savez(p, y=[1], x=x), ":x"),
    "h5": lambda path, x: _save(path / "c.h5", lambda p: _hdf5(p, x)),
    "h5:name": lambda path, x: _save(path / "d.h5", lambda p: _hdf5(p, x, True), ":group/clips"),
}


def _save(path: Path, write: Callable[[Path], Any], name: str = "") -> str:
    write(path)
    return f"{path}{name}"


def _hdf5(path: Path, x: Array, several: bool = False) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("group/clips", data=x)
        if several:
            file["labels"] = np.arange(3)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float64"])
def test_every_file_gives_the_clips_of_the_array(writer: str, dtype: str, tmp_path: Path) -> None:
    clips = made((20, 4, 6, 8), dtype)
    (read,) = opened(WRITERS[writer](tmp_path, clips))
    assert (read.count, read.shape) == (20, (4, 6, 8))
    chosen = [0, 3, 4, 11, 19]
    np.testing.assert_array_equal(np.array(list(read.read(chosen))), clips[chosen])


def test_files_count_as_one_array(tmp_path: Path) -> None:
    clips = made((24, 4, 8, 8))
    names = []
    for i in range(3):
        names.append(str(tmp_path / f"{i}.npy"))
        np.save(names[-1], clips[8 * i : 8 * i + 8])
    one, three = maskbank.fit(clips, (1, 2, 2), 0.7), maskbank.fit(names, (1, 2, 2), 0.7)
    assert one.to_dict() == three.to_dict()
    assert (one.clips, one.grid) == (24, (4, 4, 4))


@pytest.mark.parametrize(
    "shape, patch, grid, ratio, kind",
    [
        ((12, 4, 64, 64), None, (2, 4, 4), 0.9, "green3d"),
        ((12, 4, 32, 32, 3), None, (2, 2, 2), 0.8, "green3d"),
        ((12, 64, 48, 3), None, (4, 3), 0.75, "blue2d"),
        ((12, 128, 64), None, (8, 4), 0.8, "blue2d"),
        ((12, 128, 64), (8, 64), (16, 1), 0.8, "blue2d"),
        ((12, 640), None, (40,), 0.8, "blue1d"),
        ((12, 640, 6), (20,), (32,), 0.8, "blue1d"),
    ],
)  # fmt: skip
def test_every_shape_has_its_patch_ratio_and_kind(
    shape: tuple[int, ...], patch: tuple[int, ...] | None, grid: tuple[int, ...], ratio: float, kind: str
) -> None:
    given = 0.8 if shape == (12, 4, 32, 32, 3) else None  # of 8 tokens none would be visible
    found = maskbank.fit(made(shape), patch, given)
    assert (found.grid, found.mask_ratio, found.recommend.kind) == (grid, ratio, kind)
    assert found.baseline == ("tube" if len(grid) == 3 else "random")
    assert len(found.length) == len(found.length_error) == len(grid)
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert json.loads(text)["length"][-1] == (None if grid[-1] == 1 else found.length[-1])


def test_tokens_are_pixels_at_the_same_place_of_each_patch() -> None:
    clip = np.arange(4 * 6 * 6 * 2).reshape(4, 6, 6, 2)
    patches = [
        clip[2 * t : 2 * t + 2, 3 * y : 3 * y + 3, 3 * x : 3 * x + 3].reshape(-1)
        for t in range(2) for y in range(2) for x in range(2)
    ]  # fmt: skip
    expected = np.array(patches, np.float64)  # (tokens, pixels)
    found = Tokens(clip.shape, (2, 3, 3), False)(clip).reshape(-1, 8)
    assert len(found) == 16
    places = [int((pixel == expected.T).all(1).argmax()) for pixel in found]
    np.testing.assert_array_equal(found, expected.T[places])
    assert len(set(places)) == 16  # each another one
    whole = expected - expected.mean(1, keepdims=True)
    whole /= np.sqrt(expected.var(1, keepdims=True) + 1e-6)
    for pixel in Tokens(clip.shape, (2, 3, 3), True)(clip).reshape(-1, 8):
        assert np.isclose(pixel, whole.T, atol=1e-5).all(1).any()


def test_normalised_pixels_know_no_brightness() -> None:
    clips = made((40, 64, 64)) + np.random.default_rng(0).normal(0, 200, (40, 1, 1))
    raw, normalised = (maskbank.fit(clips, target=target) for target in ("raw", "normalised"))
    assert raw.length[0] > 3 * normalised.length[0]


def test_a_few_clips_are_looked_at_evenly() -> None:
    clips = made((100, 8, 8))
    some = maskbank.fit(clips, (1, 1), 0.7, most=25)
    assert some.clips == 25
    assert some.to_dict() == maskbank.fit(clips[::4], (1, 1), 0.7).to_dict()


def test_memory_does_not_grow_with_the_clips(tmp_path: Path) -> None:
    peaks = []
    for n in (20, 200):
        clips = np.tile(np.arange(64, dtype=np.uint8), (n, 64, 1))
        np.savez_compressed(tmp_path / f"{n}.npz", clips)
        tracemalloc.start()
        maskbank.fit(tmp_path / f"{n}.npz", most=200)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 400_000


@pytest.mark.parametrize("like, grid", [("video", (8, 14, 14)), ("image", (14, 14)), ("audio", (64, 8))])
def test_typical_data_stand_in_for_clips(like: str, grid: tuple[int, ...]) -> None:
    found = maskbank.fit(like=like, aim=0.95 if like == "video" else 1.0)
    assert (found.grid, found.clips) == (grid, 0)
    assert found.source.startswith(("measured", "assumed"))
    assert found.ties == ()
    printed = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert printed["length_error"] == [None] * len(grid)
    paper = PAPER[len(grid)]
    values = [found.difficulty[name] for name in paper]
    assert spearmanr(values, list(paper.values()))[0] > 0.85
    wrongs: list[dict[str, Any]] = [{"clips": made((9, 64, 64))}, {"patch": (8, 8)}, {"target": "normalised"}]
    for wrong in wrongs:
        with pytest.raises(maskbank.RecipeError):
            maskbank.fit(**wrong, like=like)
    with pytest.raises(maskbank.RecipeError, match="choose video, image or audio"):
        maskbank.fit(like="films")
    with pytest.raises(maskbank.RecipeError, match="give clips, or like="):
        maskbank.fit()


def test_many_channels_warn() -> None:
    """They could be the width of video, to which a patch of two axes was given."""
    with pytest.warns(UserWarning, match="the last axis, 16, is taken for channels"):
        assert maskbank.fit(made((9, 8, 8, 16)), (2, 2), 0.7).grid == (4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maskbank.fit(made((9, 8, 8, 3)), (2, 2), 0.7)


def test_few_clips_work_and_warn() -> None:
    for n in (1, 3):
        with pytest.warns(UserWarning, match=f"{n} clips are few"):
            found = maskbank.fit(made((n, 8, 8)), (1, 1), 0.7)
        assert found.clips == n
        json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    "clips, arguments, message",
    [
        (made((9, 4, 33, 32)), {}, "33x32 do not divide .* 2x16x16; crop or resize them to 4x32x32"),
        (made((9, 8, 8)), {"patch": (16, 16)}, "do not divide"),
        (made((9, 8, 8)), {"patch": (2, 2, 2)}, "has 3 axes, the clips have 2"),
        (made((9, 8, 8)), {"patch": (0, 2)}, "no patch"),
        (np.full((9, 8, 8), 7.0), {"patch": (1, 1)}, "constant"),
        (np.full((9, 32, 32), 7, np.uint8), {"target": "normalised", "patch": (8, 8)}, "constant"),
        (np.full((9, 8, 8), np.nan), {"patch": (1, 1)}, "clip 0 holds NaN"),
        (np.full((9, 8, 8), 1e300), {"patch": (1, 1)}, "clip 0 holds NaN, infinite or huge"),
        (made((9, 8, 8)), {"patch": (1, 1), "kind": "green"}, "kind='green' is not known; choose"),
        (made((9, 8, 8)), {"patch": (1, 1), "kind": "green3d"}, "choose red2d"),
        (made((9, 8, 8)), {"patch": (1, 1), "aim": 0.0}, "aim=0.0"),
        (made((9, 8, 8)), {"patch": (1, 1), "mask_ratio": 1.5}, "mask_ratio=1.5"),
        (made((9, 8, 8)), {"patch": (1, 1), "target": "none"}, "target='none'"),
        (made((9, 8, 8)), {"patch": (1, 1), "most": 0}, "most=0"),
        (made((9,)), {}, "has the shape"),
        (np.zeros((0, 8, 8)), {}, "has the shape"),
        (np.array([["a", "b"]]), {}, "clips are arrays of numbers"),
        ([np.zeros((8, 8)), np.zeros((9, 8))], {}, "clips differ in shape"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(clips: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(maskbank.RecipeError, match=message):
        maskbank.fit(clips, **arguments)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("no array")
    broken = tmp_path / "a.npy"
    broken.write_text("no array")
    cut = tmp_path / "b.npy"
    np.save(cut, made((20, 8, 8)))
    cut.write_bytes(cut.read_bytes()[:-900])
    several = tmp_path / "c.npz"
    np.savez(several, x=made((9, 8, 8)), y=np.zeros(3))
    deep = tmp_path / "deep.npz"
    np.savez(deep, np.zeros((9, 2, 2, 2, 2, 2)))
    empty = tmp_path / "d.h5"
    h5py.File(empty, "w").close()
    for name, message in (
        (tmp_path / "none.npy", "there is no file"),
        (text, "is no .npy, .npz or .h5 file, and no video or sound"),
        (tmp_path, "is no .npy"),
        (broken, "cannot be read as an array"),
        (cut, "cannot be read as an array"),
        (several, "holds x, y; name one of them, as .*c.npz:x"),
        (f"{several}:z", "holds x, y"),
        (deep, "has the shape"),
        (empty, "holds no array"),
    ):
        with pytest.raises(MaskbankError, match=message):
            maskbank.fit(name, (1, 1), 0.7)
    one, other = tmp_path / "1.npy", tmp_path / "2.npy"
    np.save(one, made((9, 8, 8)))
    np.save(other, made((9, 8, 16)))
    with pytest.raises(maskbank.RecipeError, match="give clips of one shape"):
        maskbank.fit([one, other], (1, 1), 0.7)


def test_the_command_prints_the_page_and_json(tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", made((20, 4, 32, 32)))
    args = ("c.npy", "--patch", "1x8x8", "--mask-ratio", 0.8)
    page = call("fit", *args, cwd=tmp_path)
    assert page.returncode == 0, page.stderr
    found = maskbank.fit(tmp_path / "c.npy", (1, 8, 8), 0.8)
    assert found.recommend.command in page.stdout
    assert f"  {found.recommend.command}\n" in page.stdout
    for name, value in found.difficulty.items():
        assert any(line.startswith(name) and f"{value:.3f}" in line for line in page.stdout.splitlines())
    printed = json.loads(call("fit", *args, "--json", cwd=tmp_path).stdout)
    assert printed == found.to_dict()
    assert set(printed) >= {"length", "length_error", "difficulty", "recommend"}
    names = {"kind", "sigma1", "sigma2", "stretch", "difficulty", "confirmed", "command"}
    assert set(printed["recommend"]) >= names
    assert "sigma" not in printed["recommend"]


def test_without_numba_all_but_drawn_masks_works() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np, maskbank\n"
        "found = maskbank.fit(np.random.default_rng(0).normal(size=(9, 8, 8)), (1, 1), 0.7)\n"
        "assert found.recommend.confirmed is None and 'rbn' not in found.difficulty\n"
        "assert 'blue2d' in found.difficulty and found.recommend.sigma"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_inspect_measures_the_difficulty_for_data(tmp_path: Path) -> None:
    """Beside random and tube masks; data without correlation leave everything unknown."""
    maskbank.generate(tmp_path / "b.h5", maskbank.Blue(size=(8, 9, 9)), 20)
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(20, 4, 1, 1)) + 0.01 * rng.normal(size=(20, 4, 32, 32))
    np.save(tmp_path / "smooth.npy", np.repeat(smooth, 2, 1))
    np.save(tmp_path / "noise.npy", rng.normal(size=(20, 8, 32, 32)))
    args = ["inspect", "b.h5", "--structure", "--json", "--grid", "4x8x8"]
    found = {}
    for name in ("smooth", "noise"):
        result = call(*args, "--data", f"{name}.npy", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        found[name] = json.loads(result.stdout)[0]["structure"]["measures"]["difficulty"]
    assert found["smooth"]["tube"] < 0.1
    assert found["noise"]["value"] > 0.9
    covariance = correlation_on(tmp_path / "noise.npy", (4, 8, 8))
    sampler = maskbank.MaskSampler(tmp_path / "b.h5", (4, 8, 8), 0.9)
    masks = sampler(range(measures.HARD)).visible.reshape(-1, 4, 8, 8)
    assert found["noise"]["value"] == pytest.approx(structure.difficulty(masks, covariance).mean())
    with pytest.raises(maskbank.RecipeError, match="8x32x32 do not divide into 3x8x8"):
        correlation_on(tmp_path / "noise.npy", (3, 8, 8))


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", made((5, 8, 8)))
    args = ("c.npy", "--patch", "1x1", "--mask-ratio", 0.7, "--json")
    few = call("fit", *args, "--aim", 0.3, cwd=tmp_path)
    assert few.returncode == 0
    first, second = few.stderr.splitlines()
    assert first == "maskbank: 5 clips are few: the errors are rough; a few hundred are enough"
    assert second.startswith("maskbank: aim=0.3 is not reached by blue2d: the nearest is 0.")
    page = call("fit", *args[:-1], "--aim", 1.2, cwd=tmp_path).stdout
    assert "  green2d comes nearer to the aim, 1.1" in page
    assert page.count("try --kind green2d.") == 1
    np.save(tmp_path / "d.npy", np.zeros(3))
    for bad, code in (
        (("none.npy",), 1), (("c.npy", "--patch", "3x3"), 2), (("c.npy", "--patch", "x"), 2), (("d.npy",), 2),
    ):  # fmt: skip
        result = call("fit", *bad, cwd=tmp_path)
        assert (result.returncode, result.stdout) == (code, "")
        assert result.stderr.startswith("maskbank: ")
        assert len(result.stderr.splitlines()) == 1
