"""Tokens that are not valid, several views, and counts of samples, in one call; Algorithm 2 on any values."""

import contextlib
import math
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maskbank
from maskbank import RBN, Masks, MaskSampler
from maskbank.checks import count_visible
from maskbank.kernels import select
from maskbank.sampling import selection
from maskbank.sampling.masks import ALL
from tests import reference
from tests.conftest import Share
from tests.sampling.common import IDS, Array, Bools, one_line

FIXED = ("timefreq", "running-cell")


def padded(rows: int, tokens: int, seed: int = 0) -> Bools:
    """Rows that end at random places, with holes."""
    rng = np.random.default_rng(seed)
    valid: Bools = np.arange(tokens) < rng.integers(tokens // 2, tokens + 1, rows)[:, None]
    return valid & (rng.random(valid.shape) < 0.9)


def check(masks: Masks, valid: Bools) -> None:
    """All arrays say the same: valid is bool, of the shape of visible."""
    np.testing.assert_array_equal(masks.valid, valid)
    np.testing.assert_array_equal(masks.visible | masks.masked, valid)
    assert not (masks.visible & masks.masked).any()
    np.testing.assert_array_equal(masks.lengths, masks.visible.sum(-1))
    assert masks.lengths.dtype == masks.ids_keep.dtype == masks.ids_restore.dtype == np.int64
    assert masks.ids_keep.shape == (*valid.shape[:-1], masks.lengths.max())
    for row in np.ndindex(valid.shape[:-1]):
        visible, masked = np.flatnonzero(masks.visible[row]), np.flatnonzero(masks.masked[row])
        keep, length = masks.ids_keep[row], masks.lengths[row]
        np.testing.assert_array_equal(keep[:length], visible)
        assert (keep[length:] == -1).all()
        order = np.concatenate([visible, masked, np.flatnonzero(~valid[row])])
        np.testing.assert_array_equal(order[masks.ids_restore[row]], np.arange(valid.shape[-1]))
    for name in ("visible", "masked", "valid", "lengths", "ids_keep", "ids_restore"):
        assert getattr(masks, name).flags.writeable, name


def without_numba() -> Any:
    stack = contextlib.ExitStack()
    for module in ("sampler", "priorities", "masks"):  # masks last: the others import its core
        stack.enter_context(patch(f"maskbank.sampling.{module}.core", return_value=selection))
    return stack


# the kernel, its NumPy twin and the slow one


@st.composite
def contests(draw: st.DrawFn) -> dict[str, Any]:
    """What select_all takes: R = B * K rows in S parts, values for each part or for all."""
    samples, views, parts, n = draw(st.tuples(*[st.integers(1, 3)] * 3, st.integers(1, 12)))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    dtype = draw(st.sampled_from(["uint8", "uint16", "uint32", "uint64"]))
    most = 2 ** (8 * np.dtype(dtype).itemsize) - 1
    every = np.array([0, 1, most // 3, most - 1, most], dtype)
    levels = rng.choice(every, draw(st.integers(1, 5)), replace=False)
    values = rng.choice(levels, (samples * views, draw(st.sampled_from([n, parts * n]))))
    valid = rng.random((samples, parts * n)) < draw(st.sampled_from([0.2, 0.7, 1.0]))
    there = valid.reshape(samples, parts, n).sum(-1)
    if draw(st.booleans()):
        valid, there = ALL, np.full((samples, parts), n)
    counts = rng.integers(0, there + 1)
    words = np.where(rng.random(len(values)) < 0.7, rng.integers(0, 2**24, len(values)), -1)
    return {"values": values, "words": words, "counts": counts, "valid": valid, "n": n}


@given(contests())
def test_contests_of_kernel_numpy_and_twin_are_equal(case: dict[str, Any]) -> None:
    values, words, counts, valid, n = case.values()
    parts = counts.shape[1]
    found = []
    for module, before in ((select, True), (selection, False)):
        visible = np.full((len(values), parts * n), before)
        module.select_all(values, 8 * values.itemsize, words, counts, valid, visible)
        found.append(visible)
    np.testing.assert_array_equal(found[0], found[1])
    for r, row in enumerate(found[0].reshape(len(values), parts, n).tolist()):
        b = r * len(counts) // len(values)
        there = (valid[b] if valid.size else np.ones(parts * n, bool)).reshape(parts, n).tolist()
        own = np.broadcast_to(values[r].reshape(-1, n), (parts, n)).tolist()
        for s in range(parts):
            keys = [key if ok else 0 for key, ok in zip(own[s], there[s], strict=True)]
            word = int(words[r]) if words[r] >= 0 else reference.word_of(keys)
            assert row[s] == reference.largest(keys, int(counts[b, s]), there[s], word)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 40), st.integers(0, 999))
def test_restoring_orders_leave_what_is_not_valid_last(
    samples: int, views: int, length: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    valid = rng.random((samples, length)) < 0.7
    visible = np.repeat(valid, views, 0) & (rng.random((samples * views, length)) < 0.5)
    check(Masks(visible.reshape(samples, views, length), (1, length), None, valid),
          np.repeat(valid, views, 0).reshape(samples, views, length))  # fmt: skip
    found = []
    for module in (select, selection):
        restore = np.full(visible.shape, -7, np.int64)
        module.restore_all(visible, visible.sum(-1), valid, restore)
        found.append(restore)
    np.testing.assert_array_equal(found[0], found[1])


# views


def test_views_are_the_masks_of_each_view(samplers: dict[str, MaskSampler]) -> None:
    for name, sampler in samplers.items():
        length = math.prod(sampler.grid)
        masks = sampler(IDS, epoch=2, view=3, views=4)
        assert masks.visible.shape == (len(IDS), 4, length), name
        assert (len(masks), masks.num_visible) == (len(IDS), sampler.num_visible)
        for k in range(4):
            np.testing.assert_array_equal(masks.visible[:, k], sampler(IDS, 2, 3 + k).visible, name)
        one = sampler(IDS[5], 2, 3, views=4)
        np.testing.assert_array_equal(one.visible, masks.visible[5], name)
        check(one, np.ones((4, length), bool))
        assert sampler([], views=4).visible.shape == (0, 4, length)
        with without_numba():
            np.testing.assert_array_equal(sampler(IDS, 2, 3, views=4).visible, masks.visible, name)
    check(masks, np.ones(masks.visible.shape, bool))
    last = samplers["crop"](IDS, view=2**32 - 2, views=2).visible
    np.testing.assert_array_equal(last[:, 1], samplers["crop"](IDS, view=2**32 - 1).visible)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"views": 0}, ["views=0", "1 to 65536"]),
        ({"views": -1}, ["views=-1", "1 to"]),
        ({"views": 2**16 + 1}, ["views=65537", "1 to 65536"]),
        ({"views": 2, "view": 2**32 - 1}, ["views=2", "1 to 1"]),
        ({"views": 2.0}, ["views=2.0", "whole number"]),
        ({"views": True}, ["views=True", "whole number"]),
        ({"views": [2]}, ["views=[2]", "whole number"]),
    ],
    ids=str,
)
def test_refused_views(given: dict[str, Any], words: list[str], samplers: dict[str, MaskSampler]) -> None:
    for name in ("crop", "random", "timefreq"):
        one_line(lambda name=name: samplers[name](3, **given), *words)  # type: ignore[misc]


# valid tokens


def parts_of(sampler: MaskSampler, marks: Bools) -> Bools:
    """Marks (..., L) in the parts that have a count each: (..., parts, n)."""
    return marks.reshape(*marks.shape[:-1], sampler.num_visible // sampler.segment_count, -1)


def expected_counts(sampler: MaskSampler, valid: Bools) -> Array:
    there = parts_of(sampler, valid).sum(-1)
    if there.shape[-1] == 1:
        return np.array([[count_visible(int(n), sampler.mask_ratio)] for n in there[:, 0]])  # type: ignore[arg-type]
    return np.array([[n - int(sampler.mask_ratio * n) for n in row] for row in there.tolist()])


def test_valid_tokens_compete_in_the_same_window(samplers: dict[str, MaskSampler]) -> None:
    """The largest values of the valid tokens are visible; where all are valid, nothing changes."""
    for name, sampler in samplers.items():
        if sampler.baseline in FIXED or sampler.mask_ratio is None:
            continue
        length = math.prod(sampler.grid)
        valid = padded(len(IDS), length, len(name))
        masks = sampler(IDS, 1, valid=valid)
        check(masks, valid)
        counts = expected_counts(sampler, valid)
        np.testing.assert_array_equal(parts_of(sampler, masks.visible).sum(-1), counts, name)
        everywhere = sampler(IDS, 1, valid=np.ones((len(IDS), length), bool)).visible
        np.testing.assert_array_equal(everywhere, sampler(IDS, 1).visible, name)
        if sampler.bank is not None:
            values = sampler.windows(IDS, 1).reshape(len(IDS), length)
            least = parts_of(sampler, np.where(masks.visible, values, np.inf)).min(-1)
            most = parts_of(sampler, np.where(masks.masked, values, -np.inf)).max(-1)
            assert (least >= most).all(), name
        with without_numba():
            np.testing.assert_array_equal(sampler(IDS, 1, valid=valid).visible, masks.visible, name)
        alone = sampler(IDS[3], 1, valid=valid[3])
        np.testing.assert_array_equal(alone.visible, masks.visible[3], name)
        check(alone, valid[3])
        several = sampler(IDS, 1, valid=valid, views=3)
        check(several, np.repeat(valid[:, None], 3, 1))
        np.testing.assert_array_equal(several.visible[:, 2], sampler(IDS, 1, 2, valid=valid).visible, name)


def test_exact_counts_among_valid_tokens(samplers: dict[str, MaskSampler]) -> None:
    for name in ("crop", "uint8", "rbn", "random", "resize"):
        sampler = samplers[name].replace(num_visible=40)
        valid = padded(len(IDS), math.prod(sampler.grid))
        valid[3], valid[3, 7:47] = False, True  # just enough
        masks = sampler(IDS, valid=valid, views=2)
        assert (masks.lengths == 40).all()
        assert masks.num_visible == 40
        check(masks, np.repeat(valid[:, None], 2, 1))


def test_frames_that_are_padding_show_nothing(samplers: dict[str, MaskSampler]) -> None:
    """Each frame's own tokens compete for its own count; a repeated mask differs only where frames do."""
    for name in ("per frame", "2D on 3D", "tube", "rbn on 3D"):
        sampler = samplers[name]
        frames = sampler.grid[0]
        valid = np.ones((3, *sampler.grid), bool)
        valid[1, frames // 2 :], valid[2, :, 0] = False, False
        masks = sampler([5, 5, 5], valid=valid.reshape(3, -1))
        check(masks, valid.reshape(3, -1))
        whole, half, cut = masks.visible.reshape(3, frames, -1)
        np.testing.assert_array_equal(half[: frames // 2], whole[: frames // 2])
        assert not half[frames // 2 :].any()
        assert len(set(cut.sum(-1).tolist())) == 1
        if sampler.segments == 1:
            assert (cut == cut[0]).all()


def test_arrays_of_valid_tokens_are_copied(samplers: dict[str, MaskSampler]) -> None:
    kept = padded(2, 1568)
    for copied in (np.array, np.asfortranarray):
        valid = copied(kept)
        masks = samplers["crop"]([1, 2], valid=valid)
        before = masks.visible.copy()
        valid[:] = False
        check(masks, kept)
    kept.flags.writeable = False
    np.testing.assert_array_equal(samplers["crop"]([1, 2], valid=kept).visible, before)
    np.testing.assert_array_equal(samplers["crop"]([1, 2], valid=kept.tolist()).visible, before)


@pytest.mark.parametrize(
    "valid, words",
    [
        (np.ones((2, 1568)), ["float64", "bool"]),
        (np.ones((2, 1568), int), ["int64", "bool"]),
        (np.ones((3, 1568), bool), ["(3, 1568)", "(2, 1568)"]),
        (np.ones((2, 1567), bool), ["(2, 1567)", "(2, 1568)"]),
        (np.ones(1568, bool), ["(1568,)", "(2, 1568)"]),
        (np.ones((2, 8, 14, 14), bool), ["(2, 8, 14, 14)", "(2, 1568)"]),
        (True, ["()", "(2, 1568)"]),
        ([[True], [True, False]], ["valid", "different lengths"]),
        (np.arange(2)[:, None] + np.zeros((2, 1568)) > 0, ["sample 0 (id 7)", "no token is valid"]),
        (np.arange(1568) < np.array([[1000], [0]]), ["sample 1 (id 99)", "no token is valid"]),
        (np.arange(1568) < np.array([[1000], [3]]), ["sample 1 (id 99)", "=0.9", "none of 3 tokens"]),
        (np.arange(1568) < np.array([[1], [300]]), ["sample 0 (id 7)", "1 token"]),
    ],
    ids=lambda given: str(given)[:40],
)  # fmt: skip
def test_refused_valid_tokens(valid: Any, words: list[str], samplers: dict[str, MaskSampler]) -> None:
    one_line(lambda: samplers["crop"]([7, 99], valid=valid), *words)


def test_refused_valid_tokens_by_frame_and_count(samplers: dict[str, MaskSampler]) -> None:
    frames, crop = samplers["per frame"], samplers["crop"]
    valid = np.ones((2, 1568), bool)
    valid[1] = False
    one_line(lambda: frames([7, 99], valid=valid), "sample 1 (id 99)", "no token is valid")
    valid[1, ::400] = True
    one_line(
        lambda: crop([7, 99], valid=valid, num_visible=5), "sample 1 (id 99)", "num_visible=5", "4 valid"
    )
    assert crop([7, 99], valid=valid, num_visible=4).lengths.tolist() == [4, 4]
    words = ("sample 1 (id 99)", "num_visible=8", "0 valid", "mask_ratio")
    one_line(lambda: frames([7, 99], valid=valid, num_visible=8), *words)
    one_line(lambda: frames(99, valid=valid[1]), "sample 0 (id 99)", "masked")
    one_line(lambda: crop(99, valid=valid), "(2, 1568)", "(1568,)")
    for name in FIXED:
        given: dict[str, Any] = {"valid": np.ones((2, 72), bool)}
        sampler = (
            MaskSampler(name, (9, 8), (0.3, 0.4)) if name == "timefreq" else MaskSampler(name, (6, 12), 0.5)
        )
        for given in ({"valid": np.ones((2, 72), bool)}, {"mask_ratio": 0.5}, {"num_visible": [3, 4]}):
            one_line(lambda sampler=sampler, given=given: sampler([1, 2], **given), name, "replace")  # type: ignore[misc]


# ratios and counts of samples


def test_ratios_and_counts_of_samples_are_those_of_other_samplers(samplers: dict[str, MaskSampler]) -> None:
    ratios = np.linspace(0.4, 0.8, len(IDS))
    for name, sampler in samplers.items():
        if sampler.baseline in FIXED:
            continue
        masks = sampler(IDS, 2, mask_ratio=ratios, views=2)
        frames = sampler.num_visible // sampler.segment_count
        counts = np.arange(1, len(IDS) + 1) * frames
        exact = sampler(IDS, 2, num_visible=counts)
        check(exact, np.ones(exact.visible.shape, bool))
        for b in (0, 4, 10):
            other = sampler.replace(mask_ratio=float(ratios[b]))
            np.testing.assert_array_equal(masks.visible[b, 1], other(IDS[b], 2, 1).visible, name)
            other = sampler.replace(num_visible=int(counts[b]))
            np.testing.assert_array_equal(exact.visible[b], other(IDS[b], 2).visible, name)
        with without_numba():
            np.testing.assert_array_equal(sampler(IDS, 2, mask_ratio=ratios, views=2).visible, masks.visible)
        plain = sampler(IDS, mask_ratio=0.5)
        np.testing.assert_array_equal(plain.visible, sampler.replace(mask_ratio=0.5)(IDS).visible, name)
        assert plain.num_visible == sampler.replace(mask_ratio=0.5).num_visible
        assert sampler([], mask_ratio=0.5).ids_keep.shape == (0, plain.num_visible)
        assert sampler([], num_visible=3 * frames).ids_keep.shape == (0, 3 * frames)


@pytest.mark.parametrize("grid", [(14, 14), (196,), (1, 14, 14)], ids=str)
def test_per_frame_counts_alike_in_a_call_where_there_is_one_frame(grid: tuple[int, ...]) -> None:
    """196 - int(0.9 * 196) tokens, where Algorithm 2 leaves int(196 * (1 - 0.9))."""
    sampler = MaskSampler("random", grid, 0.9, per_frame=True)
    masks = sampler(IDS)
    assert (masks.num_visible, sampler.replace(per_frame=False).num_visible) == (20, 19)
    for how in ({"mask_ratio": 0.9}, {"valid": np.ones(masks.visible.shape, bool)}):
        np.testing.assert_array_equal(sampler(IDS, **how).visible, masks.visible)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"mask_ratio": [0.5, 0.9999]}, ["sample 1 (id 99)", "0.9999", "1568", "visible"]),
        ({"mask_ratio": [0.5, 1.5]}, ["sample 1 (id 99)", "mask_ratio=1.5", "between 0 and 1"]),
        ({"mask_ratio": np.array([np.nan, 0.5])}, ["sample 0 (id 7)", "nan"]),
        ({"mask_ratio": [0.5]}, ["mask_ratio", "(1,)", "2 samples"]),
        ({"mask_ratio": [0.5, 0.6, 0.7]}, ["mask_ratio", "(3,)", "2 samples"]),
        ({"mask_ratio": [[0.5, 0.6]]}, ["mask_ratio", "(1, 2)", "2 samples"]),
        ({"mask_ratio": [[0.5], [0.6, 0.7]]}, ["mask_ratio", "different lengths"]),
        ({"mask_ratio": 1.0}, ["mask_ratio=1", "between 0 and 1"]),
        ({"mask_ratio": "most"}, ["'most'", "0.9"]),
        ({"num_visible": [5, 0]}, ["sample 1 (id 99)", "num_visible=0", "1 to 1567"]),
        ({"num_visible": [1568, 5]}, ["sample 0 (id 7)", "num_visible=1568", "1 to 1567"]),
        ({"num_visible": [5, 5.0]}, ["sample 0 (id 7)", "whole number"]),
        ({"num_visible": np.array([True, True])}, ["sample 0", "whole number"]),
        ({"num_visible": 0}, ["num_visible=0", "1 to 1567"]),
        ({"num_visible": 5, "mask_ratio": 0.5}, ["either", "num_visible"]),
    ],
    ids=str,
)
def test_refused_ratios_and_counts(
    given: dict[str, Any], words: list[str], samplers: dict[str, MaskSampler]
) -> None:
    one_line(lambda: samplers["crop"]([7, 99], **given), *words)


def test_refused_ratios_and_counts_of_one_or_by_frame(samplers: dict[str, MaskSampler]) -> None:
    one_line(lambda: samplers["crop"](7, mask_ratio=[0.5]), "(1,)", "one number")
    one_line(lambda: samplers["per frame"]([7, 99], num_visible=[8, 9]), "sample 1 (id 99)", "multiple of 8")
    one_line(lambda: samplers["per frame"]([7, 99], mask_ratio=[0.5, 0.001]), "sample 1", "masked")


def test_masks_of_several_views_and_lengths_have_names_and_pictures(samplers: dict[str, MaskSampler]) -> None:
    sampler = samplers["crop"]
    masks = sampler([1, 2, 3], views=4, mask_ratio=[0.5, 0.75, 0.9])
    assert repr(masks) == "<Masks: 3x4 of 8x14x14, 156 to 784 visible>"
    assert repr(sampler(1, valid=np.arange(1568) < 500)) == "<Masks: one of 8x14x14, 49 visible>"
    assert repr(sampler([1], valid=np.arange(1568)[None] < 500)) == "<Masks: 1 of 8x14x14, 49 visible>"
    for shown in (masks, sampler(1, views=2), sampler([1, 2], mask_ratio=[0.5, 0.6])):
        assert "<img" in shown._repr_html_()
    assert len(masks) == 3
    assert len(sampler(1, views=4)) == 4


# sets


def test_complementary_masks_of_a_batch_are_those_of_each(tmp_path: Any) -> None:
    bank = maskbank.generate(tmp_path / "b.h5", RBN(size=(16, 6)), 20)
    sampler = MaskSampler(bank, (16, 6), 0.8)
    masks = sampler.complementary(IDS, 2, 1)
    assert masks.visible.shape == (len(IDS), 5, 96)
    assert masks.visible.sum(1).max() == 1
    for b, index in enumerate(IDS):
        np.testing.assert_array_equal(masks.visible[b], sampler.complementary(index, 2, 1).visible)
    assert sampler.complementary(3).visible.shape == (5, 96)
    assert sampler.complementary([]).visible.shape == (0, 5, 96)
    check(masks, np.ones(masks.visible.shape, bool))


# Algorithm 2 on any values


DTYPES = ["?", "i1", "u1", "i2", "u2", ">i4", "u4", "i8", "u8", "f2", ">f4", "f8"]


@st.composite
def maps(draw: st.DrawFn) -> tuple[Array, Any, Any]:
    shape = draw(st.sampled_from([(1,), (7,), (3, 9), (2, 3, 5), (0, 4), (2, 0, 3)]))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    if dtype.kind == "f":
        values = rng.choice([-np.inf, -1.5, -0.0, 0.0, 1e-7, 2.0, np.inf], shape).astype(dtype)
    else:
        info = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)  # type: ignore[type-var]
        values = rng.choice(np.array([*info, 1], dtype), shape)
    valid = rng.random(shape) < 0.7 if draw(st.booleans()) else None
    there = np.full(shape[:-1], shape[-1]) if valid is None else valid.sum(-1)
    counts = rng.integers(0, there + 1)
    return values, counts if draw(st.booleans()) or not counts.size else int(counts.min()), valid


@given(maps())
def test_selected_values_are_the_largest(case: tuple[Array, Any, Any]) -> None:
    values, counts, valid = case
    found = maskbank.select(values, counts, valid)
    assert found.dtype == bool
    assert found.shape == values.shape
    with without_numba():
        np.testing.assert_array_equal(maskbank.select(values, counts, valid), found)
    there = np.ones(values.shape, bool) if valid is None else valid
    counts = np.broadcast_to(counts, values.shape[:-1])
    assert not (found & ~there).any()
    np.testing.assert_array_equal(found.sum(-1), counts)
    for row in np.ndindex(values.shape[:-1]):
        shown, hidden = values[row][found[row]], values[row][there[row] & ~found[row]]
        assert not shown.size or not hidden.size or shown.min() >= hidden.max()
        alone = maskbank.select(values[row], int(counts[row]), None if valid is None else valid[row])
        np.testing.assert_array_equal(alone, found[row], "a row has the same mask in any batch")


def test_equal_values_favour_no_place(share: Share) -> None:
    """Over many rows; what is not valid has no influence."""

    def fair(masks: Bools, expected: float) -> bool:
        spread = math.sqrt(expected * (1 - expected) / len(masks))
        return bool((abs(masks.mean(0) - expected) < 5 * spread).all())

    rng = np.random.default_rng(0)
    valid = np.broadcast_to(np.arange(40) < 30, (share(20_000, 5000), 40))
    for dtype in ("u1", "f4", "f8", "i8"):
        values = rng.integers(0, 2, valid.shape).astype(dtype)
        assert fair(maskbank.select(values, 8), 8 / 40)
        masks = maskbank.select(values, 6, valid)
        assert fair(masks[:, :30], 6 / 30)
        np.testing.assert_array_equal(masks, maskbank.select(np.where(valid, values, 1), 6, valid))
    np.testing.assert_array_equal(
        maskbank.select(np.array([0.0, -0.0, 0.0, -0.0]), 2), maskbank.select(np.zeros(4), 2)
    )


def test_values_may_be_lists_read_only_or_not_numbers_where_nothing_is() -> None:
    values = np.array([[3.0, np.nan, 1.0], [np.nan, 2.0, 5.0]])
    values.flags.writeable = False
    there = ~np.isnan(values)
    assert maskbank.select(values, 1, there).tolist() == [[True, False, False], [False, False, True]]
    assert maskbank.select([[1, 9], [8, 2]], [0, 2]).tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize(
    "values, given, words",
    [
        ([1.0, np.nan], (1,), ["the row", "NaN", "-inf"]),
        ([[1.0, 2.0], [np.nan, 1.0]], (1,), ["row 1", "NaN"]),
        (np.ones(3, complex), (1,), ["complex128", "integers or floats"]),
        (np.ones(3, np.longdouble), (1,), ["64 bits"]),
        (["a", "b"], (1,), ["<U1"]),
        (3.0, (1,), ["shape ()"]),
        (np.ones((2, 0)), (0,), ["(2, 0)"]),
        ([[1], [2, 3]], (1,), ["values", "different lengths"]),
        ([1, 2, 3], (4,), ["num_visible=4", "0 to 3"]),
        ([1, 2, 3], (-1,), ["num_visible=-1"]),
        ([1, 2, 3], (1.5,), ["num_visible=1.5", "whole number"]),
        ([[1, 2], [3, 4]], ([1, 2, 3],), ["num_visible", "(3,)", "(2,)"]),
        ([[1, 2], [3, 4]], ([1, 3],), ["num_visible=3", "0 to 2"]),
        ([[1, 2], [3, 4]], ([1.0, 1.0],), ["num_visible", "float64"]),
        ([1, 2, 3], (2, [True, False, False]), ["the row", "fewer valid tokens", "num_visible=2"]),
        ([[1, 2], [3, 4]], (1, [[True, True], [False, False]]), ["row 1", "fewer valid tokens"]),
        ([1, 2, 3], (1, [1, 1, 1]), ["valid", "int64", "bool"]),
        ([1, 2, 3], (1, [True, True]), ["valid", "(2,)", "(3,)"]),
    ],
    ids=str,
)  # fmt: skip
def test_refused_values(values: Any, given: Any, words: list[str]) -> None:
    if isinstance(values, np.ndarray) and values.dtype == np.longdouble and values.dtype.itemsize <= 8:
        pytest.skip("long doubles are doubles here")
    one_line(lambda: maskbank.select(values, *given), *words)
