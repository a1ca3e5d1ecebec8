"""MaskSampler and Masks: pure functions of ids, exact counts, windows of items, and plain refusals."""

import hashlib
import json
import math
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

import maskbank
from maskbank import (
    RBN,
    Bank,
    BankError,
    Blue,
    Green,
    Masks,
    MaskSampler,
    Purple,
    Recipe,
    RecipeError,
    Red,
    White,
)
from maskbank.bank import layout

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]

VIDEO = (8, 14, 14)
LEAST_P = 1e-6
Z = 5.0
IDS = [0, 1, 2, 3, 19, 20, 21, 12345, 2**32 - 1, 2**32, 2**63 - 1]

BASELINES: dict[str, dict[str, Any]] = {
    "random": {"grid": (4, 6, 7), "mask_ratio": 0.8},
    "random per frame": {"grid": (4, 6, 7), "mask_ratio": 0.8, "per_frame": True},
    "tube": {"grid": (4, 6, 7), "mask_ratio": 0.8},
    "grid": {"grid": (4, 6, 7), "mask_ratio": 0.75},
    "block": {"grid": (4, 6, 7), "mask_ratio": 0.6},
    "timefreq": {"grid": (9, 8), "mask_ratio": (0.3, 0.4)},
}


def forge(path: Path, recipe: Recipe, items: Array, first: int = 0, n: int | None = None) -> Bank:
    """A bank's file with known items; with a larger n, what follows is a hole of zeros."""
    made, pieces = layout.lay_out(layout.Content(recipe, 0, len(items) if n is None else n, first))
    with open(path, "wb") as file:
        os.ftruncate(file.fileno(), made.size)
        for offset, piece in pieces:
            os.pwrite(file.fileno(), piece, offset)
        os.pwrite(file.fileno(), b"\1" * made.content.n, made.offsets["written"])
        os.pwrite(file.fileno(), items.astype(recipe.dtype).tobytes(), made.offsets["noise"])
    return Bank(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("banks")


@pytest.fixture(scope="module")
def banks(folder: Path) -> dict[str, Bank]:
    """Small banks of real noise, of 20 items: what windows and masks are taken from."""
    recipes: dict[str, tuple[Recipe, int]] = {
        "green3d": (Green(size=(9, 20, 21)), 20),
        "float32": (Red(size=(9, 20, 21), dtype="float32"), 20),
        "uint8": (Purple(size=(9, 20, 21), dtype="uint8"), 20),
        "reflect": (Green(size=(9, 20, 21), boundary="reflect"), 20),
        "blue2d": (Blue(size=(20, 21)), 20),
        "rbn": (RBN(), 20),
        "open": (RBN(boundary="open"), 20),
    }
    return {name: maskbank.generate(folder / f"{name}.h5", *given) for name, given in recipes.items()}


@pytest.fixture(scope="module")
def green(folder: Path) -> Bank:
    """Green3D as it comes: 64x64x64, float16, default sigmas."""
    return maskbank.generate(folder / "default.h5", Green(), 64)


@pytest.fixture(scope="module")
def samplers(banks: dict[str, Bank]) -> dict[str, MaskSampler]:
    """One sampler for each way from ids to masks."""
    green3d = banks["green3d"]
    every = {
        "crop": MaskSampler(green3d, VIDEO, 0.9),
        "float32": MaskSampler(banks["float32"], VIDEO, 0.75),
        "uint8": MaskSampler(banks["uint8"], VIDEO, 0.9),
        "reflect": MaskSampler(banks["reflect"], VIDEO, 0.9),
        "per frame": MaskSampler(green3d, VIDEO, 0.9, per_frame=True),
        "num_visible": MaskSampler(green3d, "8x14x14", num_visible=333, seed=2**64 - 1),
        "turned": MaskSampler(green3d, (4, 6, 8), 0.9, flip=False, flip_time=True, transpose=True),
        "tiled": MaskSampler(green3d, (10, 30, 22), 0.9),
        "resize": MaskSampler(green3d, VIDEO, 0.9, fit="resize"),
        "window": MaskSampler(green3d, VIDEO, 0.9, normalize="window"),
        "frame": MaskSampler(green3d, VIDEO, 0.9, normalize="frame"),
        "2D on 3D": MaskSampler(banks["blue2d"], VIDEO, 0.9),
        "2D on 3D resized": MaskSampler(banks["blue2d"], VIDEO, 0.9, fit="resize"),
        "3D on 2D": MaskSampler(green3d, (14, 14), 0.75),
        "3D on 2D resized": MaskSampler(green3d, (14, 14), 0.75, fit="resize"),
        "rbn": MaskSampler(banks["rbn"], (64, 8), 0.8),
        "rbn on 3D": MaskSampler(banks["rbn"], (4, 16, 8), 0.7),
        "open": MaskSampler(banks["open"], (32, 8), 0.8),
    }
    return every | {name: MaskSampler(name.split()[0], **given) for name, given in BASELINES.items()}


def same(a: Masks, b: Masks) -> None:
    np.testing.assert_array_equal(a.visible, b.visible)
    np.testing.assert_array_equal(a.masked, b.masked)
    np.testing.assert_array_equal(a.ids_keep, b.ids_keep)
    np.testing.assert_array_equal(a.ids_restore, b.ids_restore)


# a mask is a pure function of bank, parameters, epoch, id and view


def test_masks_do_not_depend_on_the_batch(samplers: dict[str, MaskSampler]) -> None:
    """Alone, in any order, among others, twice, as part of any type of ids."""
    order = np.random.default_rng(0).permutation(len(IDS))
    for name, sampler in samplers.items():
        whole = sampler(IDS, epoch=3, view=1).visible
        assert whole.shape == (len(IDS), math.prod(sampler.grid)), name
        assert len({row.tobytes() for row in whole[3:]}) > 5, name
        shuffled = sampler([IDS[k] for k in order], 3, 1).visible
        np.testing.assert_array_equal(shuffled, whole[order], name)
        twice = sampler([*IDS, 77, *IDS], 3, 1).visible
        np.testing.assert_array_equal(twice[: len(IDS)], whole, name)
        np.testing.assert_array_equal(twice[len(IDS) + 1 :], whole, name)
        for place in (0, 7, 10):
            alone = sampler([IDS[place]], 3, 1).visible
            np.testing.assert_array_equal(alone, whole[place : place + 1], name)
            single = sampler(IDS[place], 3, 1).visible
            np.testing.assert_array_equal(single, whole[place], name)


@pytest.mark.parametrize(
    "kind", [list, tuple, np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64, range]
)
def test_ids_may_be_any_integers(samplers: dict[str, MaskSampler], kind: Any) -> None:
    ids = range(9) if kind is range else kind(range(9)) if kind in (list, tuple) else np.arange(9, dtype=kind)
    same(samplers["crop"](ids), samplers["crop"]([0, 1, 2, 3, 4, 5, 6, 7, 8]))
    one = ids[7]
    same(samplers["crop"](one), samplers["crop"](7))


def test_ids_may_be_a_strided_or_read_only_array(samplers: dict[str, MaskSampler]) -> None:
    ids = np.arange(20)[::-2]
    ids.flags.writeable = False
    same(samplers["crop"](ids), samplers["crop"](ids.tolist()))
    same(samplers["crop"](np.array(5)), samplers["crop"](5))


def test_indexing_is_one_unbatched_mask(samplers: dict[str, MaskSampler]) -> None:
    for sampler in samplers.values():
        length = math.prod(sampler.grid)
        numbers: list[Any] = [0, np.int64(7)]
        for i in numbers:
            masks = sampler[i]
            same(masks, sampler(i))
            assert masks.visible.shape == masks.masked.shape == masks.ids_restore.shape == (length,)
            assert masks.ids_keep.shape == (sampler.num_visible,)
            np.testing.assert_array_equal(masks.ids_keep, sampler([i]).ids_keep[0])
            np.testing.assert_array_equal(masks.ids_restore, sampler([i]).ids_restore[0])


def test_an_empty_batch_has_no_masks(samplers: dict[str, MaskSampler]) -> None:
    for name, sampler in samplers.items():
        length = math.prod(sampler.grid)
        masks = sampler([])
        assert masks.visible.shape == masks.masked.shape == masks.ids_restore.shape == (0, length), name
        assert masks.ids_keep.shape == (0, sampler.num_visible)
        if sampler.bank is not None:
            assert sampler.windows([]).shape == (0, *sampler.grid)


def test_a_sampler_has_no_end(samplers: dict[str, MaskSampler]) -> None:
    """It can be indexed, so Python would iterate over it forever."""
    with pytest.raises(TypeError, match="not iterable"):
        iter(samplers["crop"])


def test_epoch_view_seed_and_bank_change_masks(samplers: dict[str, MaskSampler]) -> None:
    """Each by itself, and differently: no epoch is another one's view."""
    for name, sampler in samplers.items():
        other = sampler.replace(seed=sampler.seed ^ 1)
        found = [sampler(range(20), e, v).visible.tobytes() for e in (0, 1, 2**32 - 1) for v in (0, 1, 2)]
        found.append(other(range(20)).visible.tobytes())
        assert len(set(found)) == len(found), name
    share = np.mean([(samplers["crop"](range(99), e).visible & samplers["crop"](range(99)).visible).mean()
                     for e in (1, 2, 3)])  # fmt: skip
    assert abs(share - 0.01) < 0.002, "masks of two epochs have more in common than chance"


def test_pickled_samplers_make_the_same_masks(samplers: dict[str, MaskSampler]) -> None:
    """A pickle holds the bank's path, not its items."""
    for name, sampler in samplers.items():
        text = pickle.dumps(sampler)
        assert len(text) < 2000, name
        copy = pickle.loads(text)
        assert copy.config == sampler.config
        same(copy(IDS, 1, 2), sampler(IDS, 1, 2))
        masks = pickle.loads(pickle.dumps(sampler(IDS, 1, 2)))
        same(masks, sampler(IDS, 1, 2))


def test_a_pickle_refuses_another_bank(tmp_path: Path) -> None:
    path = tmp_path / "bank.h5"
    text = pickle.dumps(MaskSampler(forge(path, White(size=(5, 7)), np.zeros((3, 5, 7))), (5, 7), 0.5))
    pickle.loads(text)
    forge(path, White(size=(5, 7)), np.zeros((4, 5, 7)))
    with pytest.raises(BankError, match="now holds bank"):
        pickle.loads(text)


def test_threads_make_the_same_masks(samplers: dict[str, MaskSampler]) -> None:
    def one(start: int) -> list[bytes]:
        return [sampler(range(start, start + 5)).visible.tobytes() for sampler in samplers.values()]

    expected = [one(start) for start in range(0, 60, 5)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, list(range(0, 60, 5)) * 2)) == expected * 2


def _digest(sampler: MaskSampler) -> str:
    """Of masks, orders, windows and sets."""
    masks = sampler(IDS, 2, 1)
    arrays: list[Array] = [masks.visible, masks.masked, masks.ids_keep, masks.ids_restore]
    arrays.append(sampler[5].ids_restore)
    if sampler.bank is not None:
        arrays.append(sampler.windows(IDS, 2, 1))
    if sampler.config["bank"] == "rbn" and sampler.grid == (64, 8):
        arrays.append(sampler.complementary(3).visible)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def test_processes_started_in_any_way_make_the_same_masks(samplers: dict[str, MaskSampler]) -> None:
    every = list(samplers.values())
    expected = [_digest(sampler) for sampler in every]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(_digest, every) == expected


CHILD = """
import hashlib, json, pickle, sys
sys.modules["numba"] = None
import maskbank
with open(sys.argv[1], "rb") as file:
    samplers, ids = pickle.load(file)
found = {}
for name, sampler in samplers.items():
    masks = sampler(ids, 2, 1)
    arrays = [masks.visible, masks.masked, masks.ids_keep, masks.ids_restore, sampler[5].ids_restore]
    if sampler.bank is not None:
        arrays.append(sampler.windows(ids, 2, 1))
    if sampler.config["bank"] == "rbn" and sampler.grid == (64, 8):
        arrays.append(sampler.complementary(3).visible)
    found[name] = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
loaded = {name.split(".")[0] for name, module in sys.modules.items() if module is not None}
print(json.dumps([found, sorted(loaded & {"numba", "llvmlite", "scipy", "torch"})]))
"""


def child(code: str, *arguments: object) -> Any:
    """What a process of its own prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_masks_need_no_compiler(samplers: dict[str, MaskSampler], tmp_path: Path) -> None:
    """Without Numba: the same bytes, and neither Numba nor SciPy is imported. Parts and all."""
    (tmp_path / "samplers").write_bytes(pickle.dumps((samplers, IDS)))
    found, loaded = child(CHILD, tmp_path / "samplers")
    assert found == {name: _digest(sampler) for name, sampler in samplers.items()}
    assert loaded == []


def test_neither_batches_nor_banks_share_memory(samplers: dict[str, MaskSampler]) -> None:
    """All arrays are the caller's own: writable, and what is written to them is written nowhere else."""
    for name, sampler in samplers.items():
        calls: list[Callable[[], Masks]] = [lambda s=sampler: s(IDS), lambda s=sampler: s[7]]  # type: ignore[misc]
        if name == "rbn":
            calls.append(lambda s=sampler: s.complementary(0))  # type: ignore[misc]
        for call in calls:
            first, expected = call(), call()
            arrays: list[Array] = [first.visible, first.masked, first.ids_keep, first.ids_restore]
            if sampler.bank is not None:
                arrays.append(sampler.windows(IDS))
            for k, array in enumerate(arrays):
                assert array.flags.writeable, name
                assert array.flags.c_contiguous, name
                assert not any(np.shares_memory(array, other) for other in arrays[:k]), name
            for array in arrays:
                array[...] = 0
            same(call(), expected)
        assert first.visible.dtype == first.masked.dtype == bool
        assert first.ids_keep.dtype == first.ids_restore.dtype == np.int64


def test_items_are_read_only(banks: dict[str, Bank]) -> None:
    for bank in banks.values():
        for view in (bank[0], bank[-1], bank[1:3], bank.bits, next(iter(bank))):
            with pytest.raises(ValueError, match="read-only"):
                view[...] = 0


def test_parts_are_the_bank_they_make_together(tmp_path: Path) -> None:
    """Masks, windows and sets of parts are those of one file, whichever part a sample's item is in."""
    recipes: list[tuple[Recipe, dict[str, Any]]] = [
        (Green(size=(3, 5, 6)), {"grid": (3, 5, 6), "mask_ratio": 0.5}),
        (White(size=(5, 6), dtype="uint8"), {"grid": (2, 5, 5), "mask_ratio": 0.5, "fit": "resize"}),
        (RBN(size=(5, 6)), {"grid": (5, 6), "mask_ratio": 0.8}),
    ]
    for k, (recipe, options) in enumerate(recipes):
        whole = maskbank.generate(tmp_path / f"{k}.h5", recipe, 17)
        cuts = [0, 1, 8, 17]
        paths = [tmp_path / f"{k}-{a}.h5" for a in cuts[:-1]]
        for path, a, b in zip(paths, cuts[:-1], cuts[1:], strict=True):
            forge(path, recipe, whole[a:b], a)
        one, parts = MaskSampler(whole, **options), MaskSampler(Bank(paths[::-1]), **options)
        same(one(range(99)), parts(range(99)))
        np.testing.assert_array_equal(one.windows(range(99)), parts.windows(range(99)))
        same(one(5), pickle.loads(pickle.dumps(parts))(5))
        if isinstance(recipe, RBN):
            same(one.complementary(4), parts.complementary(4))
        assert {k: v for k, v in one.config.items() if k != "fingerprint"} == {
            k: v for k, v in parts.config.items() if k != "fingerprint"
        }


# counts


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
@pytest.mark.parametrize("content", ["random", "constant", "two", "extremes"])
def test_counts_are_exact(dtype: str, content: str, tmp_path: Path) -> None:
    """Whatever the type, however many are equal, in each frame where it is per frame."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((3, 5, 9, 8)) if dtype != "uint8" else rng.integers(0, 256, (3, 5, 9, 8))
    least, most = (0, 255) if dtype == "uint8" else (-60000, 60000)
    contents: dict[str, Array] = {
        "random": noise,
        "constant": np.full(noise.shape, 7),
        "two": noise > 1,
        "extremes": np.where(noise > 0, most, least),
    }
    bank = forge(tmp_path / "bank.h5", White(size=(5, 9, 8), dtype=dtype), contents[content])
    for ratio in (0.001, 0.1, 0.5, 0.75, 0.9, 0.999):
        if int(180 * (1 - ratio)) not in (0, 180):
            visible = MaskSampler(bank, (3, 6, 10), ratio)(range(50)).visible
            assert (visible.sum(1) == int(180 * (1 - ratio))).all()
        kept = 60 - int(ratio * 60)
        if kept not in (0, 60):
            for fit in ("crop", "resize"):
                sampler = MaskSampler(bank, (3, 6, 10), ratio, per_frame=True, fit=fit)
                visible = sampler(range(50)).visible.reshape(50, 3, 60)
                assert (visible.sum(2) == kept).all()
    for count in (1, 2, 90, 178, 179):
        for normalize in (None, "window", "frame"):
            sampler = MaskSampler(bank, (3, 6, 10), num_visible=count, normalize=normalize)
            assert sampler.num_visible == count
            assert (sampler(range(50)).visible.sum(1) == count).all()


@settings(deadline=None, derandomize=True, max_examples=60, database=None)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(1, 40)), st.floats(0.01, 0.99), st.booleans()
)
def test_counts_are_those_of_the_formulas(
    samplers: dict[str, MaskSampler], grid: tuple[int, int, int], ratio: float, per_frame: bool
) -> None:
    """int(L * (1 - mask_ratio)), with its float arithmetic; per frame H * W - int(mask_ratio * H * W)."""
    length, frame = math.prod(grid), grid[1] * grid[2]
    count = grid[0] * (frame - int(ratio * frame)) if per_frame else int(length * (1 - ratio))
    if count in (0, length):
        with pytest.raises(RecipeError):
            samplers["crop"].replace(grid=grid, mask_ratio=ratio, per_frame=per_frame)
        return
    sampler = samplers["crop"].replace(grid=grid, mask_ratio=ratio, per_frame=per_frame)
    masks = sampler([3, 4])
    assert sampler.num_visible == masks.num_visible == count
    assert (masks.visible.sum(1) == count).all()
    if per_frame:
        assert (masks.visible.reshape(2, *grid).sum((2, 3)) == count // grid[0]).all()


def test_counts_of_known_models(banks: dict[str, Bank]) -> None:
    """VideoMAE by Algorithm 2 and by its tube, MAE, AudioMAE."""
    assert MaskSampler(banks["green3d"], VIDEO, 0.9).num_visible == 156
    tube = MaskSampler(banks["green3d"], VIDEO, 0.9, per_frame=True)
    assert tube.num_visible == 160
    assert (tube(range(50)).visible.reshape(50, 8, 196).sum(2) == 20).all()
    assert MaskSampler(banks["blue2d"], (14, 14), 0.75).num_visible == 49
    assert MaskSampler(banks["blue2d"], VIDEO, 0.9).num_visible == 160
    assert MaskSampler(banks["rbn"], (64, 8), 0.8).num_visible == 102
    assert MaskSampler(banks["rbn"], (64, 8), 0.75).num_visible == 128


def test_two_dimensions_repeat_over_time(banks: dict[str, Bank]) -> None:
    for name, fit in (("blue2d", "crop"), ("blue2d", "resize"), ("rbn", "crop")):
        sampler = MaskSampler(banks[name], VIDEO, 0.9, fit=fit)
        assert sampler.per_frame
        frames = sampler(range(30)).visible.reshape(30, 8, 196)
        assert (frames == frames[:, :1]).all()
        assert (frames.sum(2) == 20).all()
        assert len({frame.tobytes() for frame in frames[:, 0]}) > 25
        windows = sampler.windows(range(30))
        assert (windows == windows[:, :1]).all()
        # the frame is that of the 2D grid
        flat = MaskSampler(banks[name], VIDEO[1:], num_visible=20, fit=fit)
        np.testing.assert_array_equal(flat(range(30)).visible, frames[:, 0])
        num = MaskSampler(banks[name], VIDEO, num_visible=8 * 33, fit=fit)
        assert (num([1]).visible.reshape(8, 196).sum(1) == 33).all()


def test_three_dimensions_give_a_frame(banks: dict[str, Bank]) -> None:
    """Cut anywhere in time; resized, the middle of the item."""
    flat, deep = (MaskSampler(banks["green3d"], grid, 0.75) for grid in ((14, 14), (1, 14, 14)))
    np.testing.assert_array_equal(flat(range(30)).visible, deep(range(30)).visible)
    assert flat.windows(range(30)).shape == (30, 14, 14)
    np.testing.assert_array_equal(flat.windows(range(30)), deep.windows(range(30))[:, 0])
    whole = MaskSampler(banks["green3d"], (20, 21), 0.75, fit="resize", flip=False)
    assert any(np.array_equal(whole.windows(0), item[4]) for item in banks["green3d"])


# Masks


def check_masks(masks: Masks, count: int) -> None:
    """The four arrays say the same."""
    np.testing.assert_array_equal(masks.masked, ~masks.visible)
    for visible, keep, restore in zip(masks.visible, masks.ids_keep, masks.ids_restore, strict=True):
        np.testing.assert_array_equal(keep, np.flatnonzero(visible))
        shuffled = np.concatenate([keep, np.flatnonzero(~visible)])  # both ascend
        np.testing.assert_array_equal(shuffled[restore], np.arange(len(visible)))
        np.testing.assert_array_equal((restore >= count), ~visible)  # what MAE makes of it


def test_ids_keep_ascends_and_ids_restore_undoes(samplers: dict[str, MaskSampler]) -> None:
    for sampler in samplers.values():
        check_masks(sampler(IDS), sampler.num_visible)
        assert len(sampler(IDS)) == len(IDS)


def test_masks_tell_what_they_are(samplers: dict[str, MaskSampler]) -> None:
    masks = samplers["crop"](IDS)
    for part in ("11", "8x14x14", "156 visible"):
        assert part in repr(masks)
    assert "one of 8x14x14" in repr(samplers["crop"][0])


# windows


SMALL = (4, 5, 6)


def places(size: tuple[int, ...], n: int) -> Array:
    """Items whose every voxel tells item and place: float32 holds them exactly."""
    return np.arange(n * math.prod(size)).reshape(n, *size)


Place = tuple[int, int, int, bool, bool, bool, bool]


def catalogue(size: tuple[int, ...], grid: tuple[int, ...], periodic: bool) -> dict[bytes, Place]:
    """All windows of item 0 of `places`: where it begins along T, H, W; flips of T, H, W; turned."""
    item = places(size, 1)[0]
    found: dict[bytes, Place] = {}
    for turned in (False, True):
        source = item.swapaxes(1, 2) if turned else item
        counts = [
            extent if periodic else extent - n + 1 for extent, n in zip(source.shape, grid, strict=True)
        ]
        for a, b, c in np.ndindex(*counts):
            starts = zip((a, b, c), source.shape, grid, strict=True)
            window = source[np.ix_(*[(first + np.arange(n)) % extent for first, extent, n in starts])]
            for flips in np.ndindex(2, 2, 2):
                flipped = window[tuple(slice(None, None, -1 if f else 1) for f in flips)]
                place = (a, c, b) if turned else (a, b, c)
                t, h, w = map(bool, flips)
                found[flipped.astype(np.float32).tobytes()] = (*place, t, h, w, turned)
    return found


def look_up(sampler: MaskSampler, known: dict[bytes, Place], count: int) -> tuple[Array, list[Place]]:
    """Items and places of the windows of ids 0 to count - 1; KeyError where one is no window of an item."""
    voxels = math.prod(SMALL)
    windows = sampler.windows(range(count))
    items = windows.reshape(count, -1)[:, 0].astype(np.int64) // voxels
    windows = (windows.T - items.astype(np.float32) * voxels).T
    return items, [known[window.tobytes()] for window in np.ascontiguousarray(windows)]


@pytest.mark.parametrize("boundary", ["wrap", "reflect"])
def test_every_window_occurs_and_as_often_as_any_other(boundary: str, tmp_path: Path) -> None:
    """Every place, flip and transposition of every item, nothing else; only inside where it does not tile."""
    bank = forge(
        tmp_path / "bank.h5", White(size=SMALL, dtype="float32", boundary=boundary), places(SMALL, 7)
    )
    known = catalogue(SMALL, (3, 3, 4), boundary == "wrap")
    assert len(known) == 16 * (4 * 5 * 6 if boundary == "wrap" else 0) or boundary == "reflect"
    assert len(known) == (1920 if boundary == "wrap" else 8 * (2 * 3 * 3) + 8 * (2 * 2 * 4))
    if boundary == "reflect":  # transposed, there are other numbers of places: so each by itself
        turns, count = (False,), 12_000
    else:
        turns, count = (True,), 60_000
    for transpose in turns:
        sampler = MaskSampler(bank, (3, 3, 4), 0.5, flip_time=True, transpose=transpose)
        items, found = look_up(sampler, known, count)
        assert stats.chisquare(np.bincount(items, minlength=7)).pvalue > LEAST_P
        wanted = {place: k for k, place in enumerate(p for p in known.values() if transpose or not p[-1])}
        counts = np.bincount([wanted[place] for place in found], minlength=len(wanted))
        assert counts.min() > 0
        assert stats.chisquare(counts).pvalue > LEAST_P


def test_places_do_not_depend_on_items_or_neighbours(tmp_path: Path) -> None:
    """Chi-square of pairs: item and start, start and flips, start of one id and of the next."""
    bank = forge(tmp_path / "bank.h5", White(size=SMALL, dtype="float32"), places(SMALL, 5))
    known = catalogue(SMALL, (3, 3, 4), True)
    items, found = look_up(MaskSampler(bank, (3, 3, 4), 0.5, flip_time=True, transpose=True), known, 30_000)
    table = np.array(found, np.int64)
    sizes = [*SMALL, 2, 2, 2, 2]
    for a in range(7):
        for b in range(a):
            codes = table[:, a] * sizes[b] + table[:, b]
            assert stats.chisquare(np.bincount(codes, minlength=sizes[a] * sizes[b])).pvalue > LEAST_P
        following = table[:-1, a] * sizes[a] + table[1:, a]
        assert stats.chisquare(np.bincount(following, minlength=sizes[a] ** 2)).pvalue > LEAST_P
        with_item = table[:, a] * 5 + items
        assert stats.chisquare(np.bincount(with_item, minlength=sizes[a] * 5)).pvalue > LEAST_P


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("flip_time", [False, True])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("boundary", ["wrap", "reflect"])
def test_only_what_is_asked_for_is_flipped(
    flip: bool, flip_time: bool, transpose: bool, boundary: str, tmp_path: Path
) -> None:
    """Also with a grid that is not square: turned windows are windows of the turned item."""
    bank = forge(
        tmp_path / "bank.h5", White(size=SMALL, dtype="float32", boundary=boundary), places(SMALL, 2)
    )
    for grid in ((3, 3, 4), (3, 5, 3)):
        known = catalogue(SMALL, grid, boundary == "wrap")
        how: dict[str, Any] = {"flip": flip, "flip_time": flip_time, "transpose": transpose}
        _, found = look_up(MaskSampler(bank, grid, 0.5, **how), known, 400)
        happened = {place[3:] for place in found}
        expected = {
            (t, h, w, turned)
            for t in {False, flip_time}
            for h in {False, flip}
            for w in {False, flip}
            for turned in {False, transpose}
        }
        assert happened == expected


def test_resized_items_are_flipped_as_asked(tmp_path: Path) -> None:
    """At their own size nothing is interpolated, so what is flipped can be seen."""
    cube = (4, 5, 5)
    bank = forge(tmp_path / "bank.h5", White(size=cube, dtype="float32"), places(cube, 1))
    for flip in (False, True):
        for flip_time in (False, True):
            for transpose in (False, True):
                how: dict[str, Any] = {"flip": flip, "flip_time": flip_time, "transpose": transpose}
                sampler = MaskSampler(bank, cube, 0.5, fit="resize", **how)
                found = {window.tobytes() for window in sampler.windows(range(300))}
                expected = set()
                for t in {False, flip_time}:
                    for h in {False, flip}:
                        for w in {False, flip}:
                            for turned in {False, transpose}:
                                item = bank[0].swapaxes(1, 2) if turned else bank[0]
                                steps = (slice(None, None, -1 if f else 1) for f in (t, h, w))
                                expected.add(np.ascontiguousarray(item[tuple(steps)]).tobytes())
                assert found == expected


def test_grids_larger_than_an_item_tile(tmp_path: Path) -> None:
    bank = forge(tmp_path / "bank.h5", White(size=SMALL, dtype="float32"), places(SMALL, 2))
    sampler = MaskSampler(bank, (9, 11, 13), 0.9)
    windows = sampler.windows(range(20))
    for axis, extent in zip((1, 2, 3), SMALL, strict=True):
        n = windows.shape[axis]
        head, tail = np.arange(n - extent), np.arange(extent, n)
        np.testing.assert_array_equal(windows.take(head, axis), windows.take(tail, axis))
    for window in windows:
        assert len(np.unique(window)) == math.prod(SMALL)
    check_masks(sampler(range(20)), sampler.num_visible)


def test_ids_take_turns_with_items(tmp_path: Path) -> None:
    """In each aligned block of N ids every item once, in another order in each block and epoch."""
    bank = forge(tmp_path / "bank.h5", White(size=(3, 4), dtype="float32"), places((3, 4), 30))
    sampler = MaskSampler(bank, (3, 4), 0.5)
    orders = set()
    for epoch in range(3):
        windows = sampler.windows(range(30 * 5), epoch)
        items = windows.reshape(5, 30, 12).min(2) // 12
        assert (np.sort(items, 1) == np.arange(30)).all()
        orders |= {order.tobytes() for order in items}
    assert len(orders) == 15


COLOURS = (White, Red, Blue, Green, Purple)
PAIRED: list[Recipe] = [
    *(cls(size=SMALL, dtype=dtype) for cls in COLOURS for dtype in ("float16", "uint8")),
    White(size=SMALL, dtype="float32"),
    Green(size=SMALL, sigma1=(0.5, 0.6), sigma2=(2.0, 3.0)),
]
PAIRED_2D: list[Recipe] = [
    *(cls(size=(10, 12), dtype="uint8") for cls in COLOURS),
    White(size=(10, 12), dtype="float32"),
    RBN(size=(10, 12)),
    RBN(size=(10, 12), mask_ratio=0.6, ties="first"),
]


@pytest.mark.parametrize("recipes", [PAIRED, PAIRED_2D], ids=["3D", "2D"])
@pytest.mark.parametrize("grid", [(3, 3, 4), (9, 8)], ids=str)
def test_what_is_drawn_does_not_depend_on_the_kind(
    recipes: list[Recipe], grid: tuple[int, ...], tmp_path: Path
) -> None:
    """Banks of as many items of one size give an id the same item, place and flips: ablations are paired."""
    ids = range(200)
    for options in ({}, {"flip_time": True, "transpose": True}, {"seed": 9}):
        found = []
        for k, recipe in enumerate(recipes):
            bank = forge(tmp_path / f"{k}.h5", recipe, places(recipe.size, 2))
            found.append(MaskSampler(bank, grid, 0.5, **options).windows(ids, 4, 2))
        for windows in found[1:]:
            np.testing.assert_array_equal(windows, found[0])


def test_windows_are_what_masks_are_made_of(samplers: dict[str, MaskSampler]) -> None:
    """float32 of the grid's shape; the largest values of each mask, or of each of its frames, are visible."""
    for name, sampler in samplers.items():
        if sampler.bank is None:
            continue
        windows = sampler.windows(IDS, 2, 1)
        assert windows.dtype == np.float32, name
        assert windows.shape == (len(IDS), *sampler.grid), name
        np.testing.assert_array_equal(sampler.windows(IDS[4], 2, 1), windows[4])
        assert windows[4].shape == sampler.grid
        frames = sampler.grid[0] if sampler.per_frame and len(sampler.grid) == 3 else 1
        values = windows.reshape(len(IDS) * frames, -1)
        visible = sampler(IDS, 2, 1).visible.reshape(values.shape)
        least = np.where(visible, values, np.inf).min(1)
        most = np.where(visible, -np.inf, values).max(1)
        assert (least >= most).all(), name
        if name not in ("uint8", "tiled"):
            assert (least > most).mean() > 0.5, name


def test_windows_of_levels_and_ranks_are_their_numbers(samplers: dict[str, MaskSampler]) -> None:
    for name, most in (("uint8", 255), ("rbn", 511)):
        windows = samplers[name].windows(range(40))
        assert (windows == windows.round()).all()
        assert windows.min() == 0
        assert windows.max() == most
    assert (np.sort(samplers["rbn"].windows(3).reshape(-1)) == np.arange(512)).all()


def test_normalising_scales_windows(banks: dict[str, Bank]) -> None:
    """A whole window changes no mask; frames do: what stands out in its frame is then large everywhere."""
    ids = range(60)
    for bank, kind in ((banks["green3d"], "crop"), (banks["uint8"], "crop"), (banks["float32"], "resize")):
        plain, window, frame = (
            MaskSampler(bank, VIDEO, 0.9, fit=kind, normalize=n) for n in (None, "window", "frame")
        )
        np.testing.assert_array_equal(plain(ids).visible, window(ids).visible)
        assert (plain(ids).visible != frame(ids).visible).any(1).mean() > 0.5
        values = plain.windows(ids).astype(np.float64)
        for sampler, axes in ((window, (1, 2, 3)), (frame, (2, 3))):
            low, high = values.min(axes, keepdims=True), values.max(axes, keepdims=True)
            found = sampler.windows(ids)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, (values - low) / (high - low), atol=1e-6)
            assert (found.min(axes) == 0).all()
            assert (found.max(axes) == 1).all()
        per_frame = [
            MaskSampler(bank, VIDEO, 0.9, fit=kind, per_frame=True, normalize=n) for n in (None, "frame")
        ]
        share = (per_frame[0](ids).visible == per_frame[1](ids).visible).mean()
        assert share > 0.999, "within a frame the order is the same, but for rounding"


def test_normalising_what_is_constant_is_quiet(tmp_path: Path) -> None:
    bank = forge(tmp_path / "bank.h5", White(size=SMALL), np.full((2, *SMALL), 3.0))
    for normalize in ("window", "frame"):
        sampler = MaskSampler(bank, SMALL, 0.5, normalize=normalize)
        assert (sampler.windows([0, 1]) == 0).all()
        assert (sampler([0, 1]).visible.sum(1) == sampler.num_visible).all()


def trilinear(item: Array, grid: tuple[int, ...]) -> Array:
    """At the centres of a grid's cells, from the nearest voxels: torch's align_corners=False."""
    centres = [(np.arange(n) + 0.5) * extent / n - 0.5 for n, extent in zip(grid, item.shape, strict=True)]
    at = np.meshgrid(*[np.clip(c, 0, extent - 1) for c, extent in zip(centres, item.shape, strict=True)],
                     indexing="ij")  # fmt: skip
    return np.asarray(ndimage.map_coordinates(item.astype(np.float64), at, order=1, mode="nearest"))


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_resized_items_are_trilinear(dtype: str, tmp_path: Path) -> None:
    """Smaller, larger, mixed, and as large; half-pixel centres."""
    for size in ((9, 10, 13), (10, 13)):
        bank = maskbank.generate(tmp_path / f"{len(size)}.h5", Green(size=size, dtype=dtype), 1)
        item = bank[0]
        for three_axes in ((4, 5, 6), (9, 10, 13), (20, 31, 14), (1, 1, 2), (3, 40, 5)):
            grid = three_axes[-len(size) :]
            windows = MaskSampler(bank, grid, 0.5, fit="resize", flip=False).windows([0, 5])
            expected = trilinear(item, grid)
            scale = 255 if dtype == "uint8" else 1
            np.testing.assert_allclose(windows[0] / scale, expected / scale, atol=3e-6)
            np.testing.assert_array_equal(windows[0], windows[1])
    three, two = Bank(tmp_path / "3.h5"), Bank(tmp_path / "2.h5")
    frame = MaskSampler(three, (5, 6), 0.5, fit="resize", flip=False).windows(0)
    np.testing.assert_allclose(
        frame, trilinear(three[0], (1, 5, 6))[0], atol=1e-3 if dtype == "uint8" else 3e-6
    )
    tube = MaskSampler(two, (3, 5, 6), 0.5, fit="resize", flip=False).windows(0)
    for repeated in tube:
        np.testing.assert_allclose(
            repeated, trilinear(two[0], (5, 6)), atol=1e-3 if dtype == "uint8" else 3e-6
        )


# structure and chance


def continuity(sampler: MaskSampler, count: int) -> tuple[float, float]:
    """How probably a visible token is visible in the next frame, and how probably its neighbour in space."""
    visible = sampler(range(count)).visible.reshape(count, *sampler.grid)
    shares = []
    for axis in (1, 2, 3):
        n = visible.shape[axis]
        one, other = visible.take(range(n - 1), axis), visible.take(range(1, n), axis)
        shares.append((one & other).sum() / one.sum())
    return shares[0], (shares[1] + shares[2]) / 2


def test_crops_keep_the_structure_and_resizing_loses_it(green: Bank) -> None:
    """Probabilities at VideoMAE's grid, 90 % masked; those of random masks beside them."""
    time_random, space_random = continuity(MaskSampler("random", VIDEO, 0.9), 500)
    assert abs(time_random - 0.0995) < 0.004
    assert abs(space_random - 0.0995) < 0.004
    time_crop, space_crop = continuity(MaskSampler(green, VIDEO, 0.9), 2000)
    assert abs(time_crop - 0.42) < 0.04
    assert abs(space_crop - 0.38) < 0.05
    time_resize, space_resize = continuity(MaskSampler(green, VIDEO, 0.9, fit="resize"), 250)
    assert abs(time_resize - time_random) < 0.03
    assert abs(space_resize - space_random) < 0.03


def test_flips_and_transposition_keep_continuity(green: Bank) -> None:
    """A window that is put together wrongly would lose it."""
    plain = continuity(MaskSampler(green, VIDEO, 0.9, flip=False), 1000)
    turned = continuity(MaskSampler(green, VIDEO, 0.9, flip_time=True, transpose=True), 1000)
    assert abs(plain[0] - turned[0]) < 0.02
    assert abs(plain[1] - turned[1]) < 0.02


def check_frequencies(sampler: MaskSampler, count: int) -> None:
    """Each position is visible as often as any other, within what sampling allows.

    Ids have places of their own, so a position's masks are nearly independent: at most binomial.
    """
    totals = np.zeros(math.prod(sampler.grid), np.int64)
    for start in range(0, count, 10_000):
        totals += sampler(np.arange(start, start + 10_000)).visible.sum(0)
    share = sampler.num_visible / totals.size
    z = (totals - count * share) / math.sqrt(count * share * (1 - share))
    assert np.abs(z).max() < Z, (sampler, z.argmax(), np.abs(z).max())
    assert z.size < 1000 or z.std() < 1.25, sampler  # many small deviations are one, too


FREQUENCIES: dict[str, Callable[[dict[str, Bank], Bank], MaskSampler]] = {
    "float16": lambda banks, green: MaskSampler(green, VIDEO, 0.9),
    "uint8": lambda banks, green: MaskSampler(banks["uint8"], VIDEO, 0.9),
    "rbn 0.8": lambda banks, green: MaskSampler(banks["rbn"], (64, 8), 0.8),
    "rbn 0.75": lambda banks, green: MaskSampler(banks["rbn"], (64, 8), 0.75),
    "per frame": lambda banks, green: MaskSampler(green, VIDEO, 0.9, per_frame=True),
    "2D": lambda banks, green: MaskSampler(banks["blue2d"], (14, 14), 0.75),
}


@pytest.mark.parametrize("name", FREQUENCIES)
def test_no_position_is_favoured(name: str, banks: dict[str, Bank], green: Bank) -> None:
    """Over 100,000 masks, uint8 ties included."""
    check_frequencies(FREQUENCIES[name](banks, green), 100_000 if name in ("float16", "uint8") else 40_000)


@pytest.mark.full
@pytest.mark.parametrize("name", ["rbn 0.8", "rbn 0.75", "2D"])
def test_no_position_is_favoured_in_the_long_run(name: str, banks: dict[str, Bank], green: Bank) -> None:
    check_frequencies(FREQUENCIES[name](banks, green), 1_000_000)


def test_no_position_is_favoured_where_all_are_equal(tmp_path: Path) -> None:
    bank = forge(tmp_path / "bank.h5", White(size=(3, 4, 5), dtype="uint8"), np.zeros((4, 3, 4, 5)))
    for options in ({"mask_ratio": 0.9}, {"mask_ratio": 0.5, "per_frame": True}, {"num_visible": 59}):
        check_frequencies(MaskSampler(bank, (3, 4, 5), **options), 40_000)


# complementary masks


@pytest.fixture(scope="module")
def sets(folder: Path) -> Bank:
    return maskbank.generate(folder / "sets.h5", RBN(size=(16, 6)), 20)


@pytest.mark.parametrize("ratio", [0.8, 0.85, 0.9, 0.98])
@pytest.mark.parametrize("flip", [False, True])
def test_complementary_masks_are_disjoint(sets: Bank, ratio: float, flip: bool) -> None:
    """At the native ratio of a set, and above."""
    sampler = MaskSampler(sets, (16, 6), ratio, flip=flip)
    for index in range(12):
        masks = sampler.complementary(index)
        assert masks.visible.shape == (5, 96)
        assert (masks.visible.sum(1) == int(96 * (1 - ratio))).all()
        assert masks.visible.sum(0).max() == 1
        check_masks(masks, sampler.num_visible)


def whole_set(bank: Bank, number: int, count: int) -> Array:
    """The masks of a set as they are in the bank: (5, 16, 6), the highest ranks visible."""
    items = bank[5 * number : 5 * number + 5].astype(np.int64).reshape(5, -1)
    return np.argsort(np.argsort(-items, axis=1), axis=1).reshape(5, *bank.recipe.size) < count


def test_complementary_masks_are_one_set_shifted_and_flipped_alike(sets: Bank) -> None:
    """Each set in turn; each shift and flip occurs."""
    sampler = MaskSampler(sets, (16, 6), 0.85)
    known = {}
    for number in range(4):
        plain = whole_set(sets, number, sampler.num_visible)
        for h, w in np.ndindex(2, 2):
            flipped = plain[:, :: -1 if h else 1, :: -1 if w else 1]
            for y, x in np.ndindex(16, 6):
                known[np.roll(flipped, (y, x), (1, 2)).tobytes()] = (number, h, w, y, x)
    found = [known[sampler.complementary(i).visible.tobytes()] for i in range(200)]
    assert all({f[0] for f in found[k : k + 4]} == {0, 1, 2, 3} for k in range(0, 200, 4))
    assert {f[1:3] for f in found} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert len({f[3] for f in found}) == 16
    assert len({f[4] for f in found}) == 6


def test_complementary_masks_are_pure(sets: Bank) -> None:
    sampler = MaskSampler(sets, (16, 6), 0.8, seed=3)
    same(sampler.complementary(7, 1, 2), pickle.loads(pickle.dumps(sampler)).complementary(7, 1, 2))
    found = [sampler.complementary(i, e, v).visible.tobytes() for i in (0, 9) for e in (0, 1) for v in (0, 1)]
    found.append(sampler.replace(seed=4).complementary(0).visible.tobytes())
    assert len(set(found)) == 9


def test_complementary_masks_below_one_half_share_no_masked_token(tmp_path: Path) -> None:
    bank = maskbank.generate(tmp_path / "b.h5", RBN(size=(16, 6), mask_ratio=0.2), 10)
    for ratio in (0.2, 0.1):
        sampler = MaskSampler(bank, (16, 6), ratio)
        masks = sampler.complementary(1)
        assert masks.masked.sum(0).max() == 1
        assert (masks.visible.sum(1) == sampler.num_visible).all()
    with pytest.raises(RecipeError, match=r"mask_ratio=0\.2 down"):
        MaskSampler(bank, (16, 6), 0.3).complementary(0)


def test_complementary_masks_are_disjoint_when_transposed(tmp_path: Path, sets: Bank) -> None:
    """Or refused: a grid that is not square holds no turned item."""
    square = maskbank.generate(tmp_path / "b.h5", RBN(size=(9, 9)), 10)
    for bank in (square, sets):
        sampler = MaskSampler(bank, bank.recipe.size, 0.8, transpose=True)
        for index in range(20):
            try:
                masks = sampler.complementary(index)
            except RecipeError:
                assert bank is sets
                continue
            assert masks.visible.sum(0).max() == 1


def test_sets_of_a_part_are_whole(sets: Bank, tmp_path: Path) -> None:
    """A part that begins in the middle of a set leaves its rest out."""
    part = forge(tmp_path / "part.h5", sets.recipe, sets[3:18], 3)
    sampler = MaskSampler(part, (16, 6), 0.8, flip=False)
    known = {number: whole_set(sets, number, sampler.num_visible) for number in (1, 2)}
    for index in range(10):
        masks = sampler.complementary(index).visible.reshape(5, 16, 6)
        rolls = {np.roll(masks, shift, (1, 2)).tobytes() for shift in np.ndindex(16, 6)}
        assert any(plain.tobytes() in rolls for plain in known.values())
    small = forge(tmp_path / "small.h5", sets.recipe, sets[1:9], 1)
    with pytest.raises(RecipeError, match="no whole set of 5 masks"):
        MaskSampler(small, (16, 6), 0.8).complementary(0)


def test_complementary_refusals(sets: Bank, banks: dict[str, Bank]) -> None:
    for sampler, words in (
        (MaskSampler(banks["green3d"], VIDEO, 0.9), ["rbn"]),
        (MaskSampler("random", (16, 6), 0.9), ["rbn"]),
        (MaskSampler(sets, (16, 6), 0.7), ["28 visible", "mask_ratio=0.8 up"]),
        (MaskSampler(sets, (8, 6), 0.8), ["8x6", "16x6"]),
        (MaskSampler(sets, (2, 16, 6), 0.8), ["2x16x6", "16x6"]),
        (MaskSampler(sets, (16, 6), 0.8, fit="resize"), ["resize"]),
    ):
        one_line(lambda sampler=sampler: sampler.complementary(0), *words)  # type: ignore[misc]
    for index in (-1, 2**63, 1.5, "0", [1, 2], None, True):
        one_line(lambda index=index: MaskSampler(sets, (16, 6), 0.8).complementary(index), "ids")  # type: ignore


# what a run keeps


def test_config_is_flat_and_says_everything(samplers: dict[str, MaskSampler]) -> None:
    for name, sampler in samplers.items():
        config = sampler.config
        assert all(isinstance(key, str) for key in config)
        assert all(type(value) in (str, int, float, bool, type(None)) for value in config.values()), name
        assert json.loads(json.dumps(config)) == config == sampler.state_dict()
        bank = sampler.bank
        assert config["fingerprint"] == (None if bank is None else bank.fingerprint)
        assert config["bank"] == (name.split()[0] if bank is None else bank.kind)
        assert config["num_visible"] == sampler.num_visible
        assert config["grid"] == "x".join(map(str, sampler.grid))
    assert samplers["timefreq"].config["mask_ratio"] == "0.3 0.4"
    assert len({json.dumps(sampler.config) for sampler in samplers.values()}) == len(samplers)


def test_numpy_numbers_are_taken_as_pythons(banks: dict[str, Bank]) -> None:
    numbers: list[Any] = [np.array(VIDEO), np.uint64(2**64 - 1), np.int32(3), np.uint8(1), np.int16(7)]
    grid, seed, three, one, seven = numbers
    sampler = MaskSampler(banks["green3d"], grid, np.float64(0.9), seed=seed, flip=bool(one))
    same(sampler([1]), MaskSampler(banks["green3d"], "8x14x14", 0.9, seed=2**64 - 1)([1]))
    same(sampler([1], three, one), sampler([1], 3, 1))
    counted = MaskSampler(banks["green3d"], VIDEO, num_visible=seven)
    for config in (sampler.config, counted.config):
        assert json.loads(json.dumps(config)) == config


def test_a_checkpoint_is_taken_up_by_the_same_masks_only(
    samplers: dict[str, MaskSampler], banks: dict[str, Bank]
) -> None:
    sampler = samplers["crop"]
    state = json.loads(json.dumps(sampler.state_dict()))
    sampler.load_state_dict(state)
    pickle.loads(pickle.dumps(sampler)).load_state_dict(state | {"maskbank": "0.0.1"})
    changes: list[dict[str, Any]] = [
        {"seed": 5}, {"mask_ratio": 0.8}, {"grid": (8, 14, 13)}, {"fit": "resize"}, {"normalize": "frame"},
        {"flip": False}, {"flip_time": True}, {"transpose": True}, {"per_frame": True}, {"num_visible": 200},
        {"bank": banks["uint8"]}, {"bank": banks["reflect"]}, {"bank": "random"},
    ]  # fmt: skip
    for change in changes:
        other = sampler.replace(**change)
        with pytest.raises(BankError) as caught:
            other.load_state_dict(state)
        text = str(caught.value)
        assert "\n" not in text
        named = "fingerprint" if "bank" in change else next(iter(change))
        if named != "num_visible":
            assert f"{named} {state[named]!r}, now {other.config[named]!r}" in text
    with pytest.raises(BankError, match="seed None, now 0"):
        sampler.load_state_dict({key: value for key, value in state.items() if key != "seed"})


def test_repr_tells_what_matters(samplers: dict[str, MaskSampler], banks: dict[str, Bank]) -> None:
    text = repr(samplers["crop"])
    for part in ("green3d", banks["green3d"].fingerprint, "8x14x14", "156 of 1,568", "crop", "seed=0"):
        assert part in text
    assert "160 of 1,568" in repr(samplers["per frame"])
    assert "20 in each frame" in repr(samplers["per frame"])
    assert "resize" in repr(samplers["resize"])
    assert "tube on 4x6x7" in repr(samplers["tube"])
    assert all("\n" not in repr(sampler) for sampler in samplers.values())


def test_replace_shares_the_bank(samplers: dict[str, MaskSampler]) -> None:
    sampler = samplers["crop"]
    other = sampler.replace(grid=(16, 14, 14), seed=3)
    assert other.bank is sampler.bank
    assert (other.grid, other.seed, other.num_visible) == ((16, 14, 14), 3, int(3136 * (1 - 0.9)))
    assert sampler.replace(num_visible=9).replace(mask_ratio=0.9).config == sampler.config
    assert sampler.replace(mask_ratio=0.5).num_visible == 784
    assert sampler.replace(num_visible=9).replace(grid=(2, 4, 4)).num_visible == 9
    for one in samplers.values():
        assert one.replace().config == one.config
        same(one.replace()(IDS), one(IDS))
    assert samplers["2D on 3D"].replace(grid=(14, 14)).per_frame is False
    asked = samplers["2D on 3D"].replace(per_frame=True)
    assert asked.replace(grid=(14, 14)).per_frame is True, "what was asked for is kept"


# streams


def test_streams_give_masks_without_end(samplers: dict[str, MaskSampler]) -> None:
    for name, sampler in samplers.items():
        one, other = sampler.stream(), sampler.stream()
        assert iter(one) is one
        masks = [next(one) for _ in range(4)] + [next(other) for _ in range(4)]
        for mask in masks:
            assert mask.visible.shape == (math.prod(sampler.grid),)
            assert mask.ids_keep.shape == (sampler.num_visible,)
        if name != "grid":  # which has four masks in all
            assert len({mask.visible.tobytes() for mask in masks}) > 2, name


def test_masks_of_a_stream_are_all_different(green: Bank) -> None:
    """From streams of one sampler, copies, threads: two of a thousand are the same by chance, at most."""
    sampler = MaskSampler(green, VIDEO, 0.9, flip_time=True)
    stream, other = sampler.stream(), sampler.stream()
    batch = stream.take(7)
    check_masks(batch, 156)
    assert stream.take(0).visible.shape == (0, 1568)
    batches = [batch, stream.take(300), other.take(200)]
    batches += [pickle.loads(pickle.dumps(stream)).take(50) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        batches += pool.map(lambda _: stream.take(5), range(60))
    every = {row.tobytes() for masks in batches for row in masks.visible}
    assert len(every) >= 907 - 1


@pytest.mark.parametrize("count", [-1, 2.5, "3", None, True])
def test_a_stream_survives_a_wrong_count(green: Bank, count: Any) -> None:
    """And does not go back."""
    stream = MaskSampler(green, VIDEO, 0.9).stream()
    before = [next(stream).visible.tobytes() for _ in range(3)]
    one_line(lambda: stream.take(count), repr(count))
    assert next(stream).visible.tobytes() not in before
    assert stream.take(2).visible.shape == (2, 1568)


STREAMS = """
import json, multiprocessing, os, pickle, sys
sys.modules["numba"] = None
import maskbank

def digest(stream):
    return [next(stream).visible.tobytes().hex() for _ in range(3)] + [stream.take(2).visible.tobytes().hex()]

def work(queue, stream):
    queue.put(digest(stream))

if __name__ == "__main__":
    stream = maskbank.MaskSampler(sys.argv[1], (8, 14, 14), 0.9).stream()
    found = [digest(stream)]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=work, args=(queue, stream)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found += [queue.get() for _ in workers]
    for worker in workers:
        worker.join()
    found += [digest(stream), digest(pickle.loads(pickle.dumps(stream)))]
    print(json.dumps(found))
"""


def test_processes_never_share_masks_of_a_stream(green: Bank) -> None:
    """Nor do runs: two processes started alike; nor workers forked from one stream."""
    runs = [child(STREAMS, green.path) for _ in range(2)]
    every = [mask for run in runs for digests in run for mask in digests]
    assert len(every) == 2 * 6 * 4
    assert len(set(every)) >= len(every) - 1  # two may be the same, once in 100,000 times


# cost


MEMORY = """
import json, re, sys
import numpy as np
import maskbank

def private():
    with open("/proc/self/smaps_rollup") as file:
        return int(re.search(r"Private_Dirty:\\s+(\\d+) kB", file.read())[1]) / 1024

sampler = maskbank.MaskSampler(sys.argv[1], (8, 14, 14), 0.9)
sampler([0, 1]).ids_restore
before = private()
count = 0
for start in range(0, 240_000, 256):
    masks = sampler(np.arange(start, min(start + 256, 240_000)))
    count += masks.visible.sum()
    if start % 8192 == 0:
        masks.masked, masks.ids_keep, masks.ids_restore
print(json.dumps([private() - before, int(count)]))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="memory is measured on Linux")
def test_an_epoch_costs_no_memory(green: Bank) -> None:
    """240,000 clips of Kinetics-400: the private memory grows by at most 50 MB."""
    grown, count = child(MEMORY, green.path)
    assert count == 240_000 * 156
    assert grown < 50


def test_making_a_sampler_reads_no_items(green: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """So one for each grid is cheap."""

    class Untouchable:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"items were touched: {name}")

    bank = Bank(green.path)
    for part in bank.parts:
        monkeypatch.setattr(part, "noise", np.empty((0,), part.noise.dtype))
        monkeypatch.setattr(part, "bits", Untouchable())
        monkeypatch.setattr(part, "table", Untouchable())
    sampler = MaskSampler(bank, VIDEO, 0.9)
    assert sampler.config["fingerprint"] == green.fingerprint
    assert "green3d" in repr(sampler.replace(grid=(14, 14)))
    start = time.perf_counter()
    for _ in range(100):
        sampler.replace(grid=(4, 7, 7))
    assert time.perf_counter() - start < 0.5


def test_opening_a_bank_does_not_depend_on_its_size(tmp_path: Path) -> None:
    """Nor do masks of it: 200,000 items, 100 GB, of which the disk holds next to nothing."""
    try:
        large = forge(tmp_path / "large.h5", Green(), np.zeros((1, 64, 64, 64)), n=200_000)
    except OSError as error:
        pytest.skip(f"no such files here: {error}")
    forge(tmp_path / "small.h5", Green(), np.zeros((1, 64, 64, 64)))
    seconds = {}
    for name in ("small", "large"):
        taken = []
        for _ in range(7):
            start = time.perf_counter()
            Bank(tmp_path / f"{name}.h5")
            taken.append(time.perf_counter() - start)
        seconds[name] = min(taken)
    assert seconds["large"] < 0.02 + 2 * seconds["small"]
    sampler = MaskSampler(large, VIDEO, 0.9)
    assert (sampler([0, 199_999, 2**63 - 1]).visible.sum(1) == 156).all()


# refusals


def one_line(call: Callable[[], object], *words: str) -> None:
    """It is refused by one line that says what was given and what is allowed."""
    with pytest.raises(RecipeError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 300
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    "ids, words",
    [
        (-1, ["-1", "0 to 2**63 - 1"]),
        ([3, -7], ["-7", "0 to 2**63 - 1"]),
        (2**63, [str(2**63), "2**63 - 1"]),
        ([1, 2**63], [str(2**63), "2**63 - 1"]),
        (2**64, ["2**63 - 1"]),
        (-(2**63) - 1, ["2**63 - 1"]),
        (np.array([2**64 - 1], np.uint64), [str(2**64 - 1), "2**63 - 1"]),
        (1.0, ["1.0", "whole numbers"]),
        ([0.0, 1.0], ["float64", "whole numbers"]),
        (math.nan, ["nan", "whole numbers"]),
        (True, ["True", "whole numbers"]),
        ([True, False], ["bool", "whole numbers"]),
        (np.True_, ["True", "whole numbers"]),
        ("7", ["7", "whole numbers"]),
        (["7"], ["whole numbers"]),
        (b"7", ["7", "whole numbers"]),
        (None, ["None", "whole numbers"]),
        ([None], ["whole numbers"]),
        ([[1, 2]], ["2 axes", "one for each sample"]),
        ([[1], [2, 3]], ["ids", "one for each sample"]),
        ({1, 2}, ["whole numbers"]),
        (slice(0, 3), ["slice", "whole numbers"]),
    ],
    ids=str,
)
def test_refused_ids(samplers: dict[str, MaskSampler], ids: Any, words: list[str]) -> None:
    sampler = samplers["crop"]
    for call in (lambda: sampler(ids), lambda: sampler.windows(ids), lambda: sampler[ids]):
        one_line(call, *words)


@pytest.mark.parametrize("name", ["epoch", "view"])
@pytest.mark.parametrize("value", [-1, 2**32, 1.0, "0", None, True, [1]], ids=str)
def test_refused_epochs_and_views(samplers: dict[str, MaskSampler], name: str, value: Any) -> None:
    words = [f"{name}={value!r}", f"0 to {2**32 - 1}" if type(value) is int else "whole number"]
    for call in (samplers["crop"], samplers["random"], samplers["crop"].windows):
        one_line(lambda call=call: call(1, **{name: value}), *words)  # type: ignore[misc]


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"mask_ratio": 0}, ["mask_ratio=0", "between 0 and 1"]),
    ({"mask_ratio": 1}, ["mask_ratio=1", "between 0 and 1"]),
    ({"mask_ratio": 1.5}, ["mask_ratio=1.5", "between 0 and 1"]),
    ({"mask_ratio": -0.1}, ["mask_ratio=-0.1", "between 0 and 1"]),
    ({"mask_ratio": 90}, ["mask_ratio=90", "between 0 and 1"]),
    ({"mask_ratio": math.nan}, ["mask_ratio=nan", "between 0 and 1"]),
    ({"mask_ratio": math.inf}, ["mask_ratio=inf", "between 0 and 1"]),
    ({"mask_ratio": 10**400}, ["mask_ratio=inf", "between 0 and 1"]),
    ({"mask_ratio": "most"}, ["'most'", "0.9"]),
    ({"mask_ratio": (0.3, 0.3)}, ["(0.3, 0.3)", "0.9"]),
    ({"mask_ratio": 0.9999}, ["0.9999", "1568", "visible"]),
    ({"mask_ratio": 1e-17}, ["1e-17", "1568", "masked"]),
    ({"mask_ratio": None}, ["mask_ratio", "num_visible"]),
    ({"mask_ratio": 0.9, "num_visible": 156}, ["mask_ratio", "num_visible", "either"]),
    ({"mask_ratio": None, "num_visible": 0}, ["num_visible=0", "1 to 1567"]),
    ({"mask_ratio": None, "num_visible": 1568}, ["num_visible=1568", "1 to 1567"]),
    ({"mask_ratio": None, "num_visible": -5}, ["num_visible=-5", "1 to 1567"]),
    ({"mask_ratio": None, "num_visible": 156.0}, ["num_visible=156.0", "whole number"]),
    ({"mask_ratio": None, "num_visible": True}, ["num_visible=True", "whole number"]),
    ({"mask_ratio": None, "num_visible": 156, "per_frame": True}, ["=156", "8 frames", "multiple of 8"]),
    ({"mask_ratio": 0.001, "per_frame": True}, ["0.001", "196", "masked"]),
    ({"grid": (8, 1, 1), "mask_ratio": 0.9, "per_frame": True}, ["0.9", "frame"]),
    ({"grid": (14,)}, ["(14,)", "(T, H, W) or (H, W)"]),
    ({"grid": ()}, ["()", "(T, H, W) or (H, W)"]),
    ({"grid": (1, 2, 3, 4)}, ["(1, 2, 3, 4)", "(T, H, W) or (H, W)"]),
    ({"grid": 14}, ["14", "(T, H, W) or (H, W)"]),
    ({"grid": None}, ["None", "(T, H, W) or (H, W)"]),
    ({"grid": "8by14"}, ["'8by14'", "(T, H, W) or (H, W)"]),
    ({"grid": (8, 0, 14)}, ["grid=0", "1 to"]),
    ({"grid": (8, -1, 14)}, ["grid=-1", "1 to"]),
    ({"grid": (8, 14.0, 14)}, ["grid=14.0", "whole number"]),
    ({"grid": (8, True, 14)}, ["grid=True", "whole number"]),
    ({"grid": (1, 1)}, ["1 token"]),
    ({"grid": (8192, 8192)}, ["8192x8192", "16,777,216"]),
    ({"seed": -1}, ["seed=-1", f"0 to {2**64 - 1}"]),
    ({"seed": 2**64}, [f"seed={2**64}", f"0 to {2**64 - 1}"]),
    ({"seed": 1.0}, ["seed=1.0", "whole number"]),
    ({"seed": None}, ["seed=None", "whole number"]),
    ({"fit": "stretch"}, ["fit='stretch'", "crop or resize"]),
    ({"fit": None}, ["fit=None", "crop or resize"]),
    ({"normalize": "all"}, ["normalize='all'", "window or frame"]),
    ({"normalize": True}, ["normalize=True", "window or frame"]),
]  # fmt: skip


@pytest.mark.parametrize("change, words", REFUSED, ids=[str(change)[:50] for change, _ in REFUSED])
def test_refused_parameters(banks: dict[str, Bank], change: dict[str, Any], words: list[str]) -> None:
    parameters: dict[str, Any] = {"grid": VIDEO, "mask_ratio": 0.9} | change
    sources: list[Any] = [banks["green3d"], "random"]
    for bank in sources:
        one_line(lambda bank=bank: MaskSampler(bank, **parameters), *words)  # type: ignore[misc]


def test_items_that_do_not_tile_have_to_be_large_enough(banks: dict[str, Bank]) -> None:
    """Anything not wrap, along any axis, turned windows included; resizing is free."""
    for name, fits, larger in (
        ("reflect", [(9, 20, 21), (20, 21)], [(10, 20, 21), (9, 21, 21), (9, 20, 22), (21, 21), (20, 22)]),
        ("open", [(64, 8), (5, 64, 8)], [(65, 8), (64, 9), (8, 14, 14)]),
    ):
        bank = banks[name]
        size = "x".join(map(str, bank.recipe.size))
        for grid in fits:
            check_masks(MaskSampler(bank, grid, 0.75)(range(5)), MaskSampler(bank, grid, 0.75).num_visible)
        for grid in larger:
            words = ["x".join(map(str, grid)), size, f"boundary {bank.recipe.boundary}", "wrap"]
            one_line(lambda bank=bank, grid=grid: MaskSampler(bank, grid, 0.75), *words)  # type: ignore[misc]
            MaskSampler(bank, grid, 0.75, fit="resize")(range(3))
            MaskSampler(banks["rbn" if name == "open" else "green3d"], grid, 0.75)(range(3))
    one_line(lambda: MaskSampler(banks["reflect"], (9, 20, 21), 0.75, transpose=True), "9x20x21")
    MaskSampler(banks["reflect"], (9, 20, 20), 0.75, transpose=True)(range(9))
    one_line(lambda: MaskSampler(banks["open"], (9, 8), 0.75, transpose=True), "9x8", "64x8")


def test_a_bank_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("not a bank")
    for path in (tmp_path / "nothing.h5", str(tmp_path / "nothing.h5"), tmp_path / "text.h5", tmp_path):
        with pytest.raises(BankError) as caught:
            MaskSampler(path, VIDEO, 0.9)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_bank_is_given_by_path_too(banks: dict[str, Bank], samplers: dict[str, MaskSampler]) -> None:
    for path in (banks["green3d"].path, Path(banks["green3d"].path), os.path.relpath(banks["green3d"].path)):
        same(MaskSampler(path, VIDEO, 0.9)(IDS), samplers["crop"](IDS))
