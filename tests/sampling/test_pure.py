"""Masks are pure functions of ids, whoever asks, with exact counts."""

import hashlib
import math
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maskbank
from maskbank import (
    RBN,
    Bank,
    BankError,
    Green,
    Masks,
    MaskSampler,
    Recipe,
    RecipeError,
    White,
)
from maskbank.sampling.sampler import Fit, Normalize
from tests.sampling.common import IDS, VIDEO, Array, check_masks, child, forge, same

FITS: tuple[Fit, ...] = ("crop", "resize")
SCALES: tuple[Normalize | None, ...] = (None, "window", "frame")

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


def test_an_epoch_that_counts_on_is_read_in_each_call(samplers: dict[str, MaskSampler]) -> None:
    """As a tensor does that a loop adds 1 to: it stays the same object."""

    class Epoch:
        number = 0

        def __index__(self) -> int:
            return self.number

    epoch: Any = Epoch()
    for number in (0, 1):
        epoch.number = number
        same(samplers["crop"](IDS, epoch, epoch), samplers["crop"](IDS, number, number))


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

    expected = [one(start) for start in range(0, 20, 5)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, list(range(0, 20, 5)) * 2)) == expected * 2


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
        for view in (bank[0], bank[-1], bank[1:3], bank.parts[0].bits, next(iter(bank))):
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


@pytest.mark.parametrize(
    "dtype, content",
    [
        pytest.param(dtype, content, marks=[pytest.mark.full] * ((k + j) % 3 > 0))
        for k, dtype in enumerate(("float16", "float32", "uint8"))
        for j, content in enumerate(("random", "constant", "two", "extremes"))
    ],
)
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
            for fit in FITS:
                sampler = MaskSampler(bank, (3, 6, 10), ratio, per_frame=True, fit=fit)
                visible = sampler(range(50)).visible.reshape(50, 3, 60)
                assert (visible.sum(2) == kept).all()
    for count in (1, 2, 90, 178, 179):
        for normalize in SCALES:
            sampler = MaskSampler(bank, (3, 6, 10), num_visible=count, normalize=normalize)
            assert sampler.num_visible == count
            assert (sampler(range(50)).visible.sum(1) == count).all()


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
    cases: list[tuple[str, Fit]] = [("blue2d", "crop"), ("blue2d", "resize"), ("rbn", "crop")]
    for name, fit in cases:
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


def test_ids_keep_ascends_and_ids_restore_undoes(samplers: dict[str, MaskSampler]) -> None:
    for sampler in samplers.values():
        check_masks(sampler(IDS), sampler.num_visible)
        assert len(sampler(IDS)) == len(IDS)


def test_masks_tell_what_they_are(samplers: dict[str, MaskSampler]) -> None:
    masks = samplers["crop"](IDS)
    for part in ("11", "8x14x14", "156 visible"):
        assert part in repr(masks)
    assert "one of 8x14x14" in repr(samplers["crop"][0])
