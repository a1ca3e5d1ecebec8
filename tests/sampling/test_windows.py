"""Windows of items: every place as often as any other, flipped as asked, with their structure."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage, stats

import maskbank
from maskbank import (
    RBN,
    Bank,
    Blue,
    Green,
    MaskSampler,
    Purple,
    Recipe,
    Red,
    White,
)
from maskbank.sampling.sampler import Fit, Normalize
from tests.conftest import Share
from tests.sampling.common import IDS, LEAST_P, VIDEO, Array, Z, check_masks, forge

# windows


SMALL = (4, 5, 6)


def places(size: tuple[int, ...], n: int) -> Array:
    """Items whose every voxel tells item and place: float32 holds them exactly."""
    return np.arange(n * math.prod(size)).reshape(n, *size)


Place = tuple[int, int, int, bool, bool, bool, bool]


@functools.cache
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
def test_every_window_occurs_and_as_often_as_any_other(boundary: str, tmp_path: Path, share: Share) -> None:
    """Every place, flip and transposition of every item, nothing else; only inside where it does not tile."""
    bank = forge(
        tmp_path / "bank.h5", White(size=SMALL, dtype="float32", boundary=boundary), places(SMALL, 7)
    )
    known = catalogue(SMALL, (3, 3, 4), boundary == "wrap")
    assert len(known) == 16 * (4 * 5 * 6 if boundary == "wrap" else 0) or boundary == "reflect"
    assert len(known) == (1920 if boundary == "wrap" else 8 * (2 * 3 * 3) + 8 * (2 * 2 * 4))
    if boundary == "reflect":  # transposed, there are other numbers of places: so each by itself
        turns, count = (False,), share(12_000, 4000)
    else:
        turns, count = (True,), share(60_000, 24_000)
    for transpose in turns:
        sampler = MaskSampler(bank, (3, 3, 4), 0.5, flip_time=True, transpose=transpose)
        items, found = look_up(sampler, known, count)
        assert stats.chisquare(np.bincount(items, minlength=7)).pvalue > LEAST_P
        wanted = {place: k for k, place in enumerate(p for p in known.values() if transpose or not p[-1])}
        counts = np.bincount([wanted[place] for place in found], minlength=len(wanted))
        assert counts.min() > 0
        assert stats.chisquare(counts).pvalue > LEAST_P


def test_places_do_not_depend_on_items_or_neighbours(tmp_path: Path, share: Share) -> None:
    """Chi-square of pairs: item and start, start and flips, start of one id and of the next."""
    bank = forge(tmp_path / "bank.h5", White(size=SMALL, dtype="float32"), places(SMALL, 5))
    known = catalogue(SMALL, (3, 3, 4), True)
    sampler = MaskSampler(bank, (3, 3, 4), 0.5, flip_time=True, transpose=True)
    items, found = look_up(sampler, known, share(30_000, 10_000))
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
        tmp_path / "bank.h5", White(size=SMALL, dtype="float32", boundary=boundary), places(SMALL, 60)
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
                found = {window.tobytes() for window in sampler.windows(range(100))}
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
    ids = range(100)
    banks = [forge(tmp_path / f"{k}.h5", recipe, places(recipe.size, 2)) for k, recipe in enumerate(recipes)]
    every: list[dict[str, Any]] = [{}, {"flip_time": True, "transpose": True, "seed": 9}]
    for options in every:
        found = [MaskSampler(bank, grid, 0.5, **options).windows(ids, 4, 2) for bank in banks]
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
    cases: list[tuple[str, Fit]] = [("green3d", "crop"), ("uint8", "crop"), ("float32", "resize")]
    scales: list[Normalize | None] = [None, "window", "frame"]
    for name, kind in cases:
        bank = banks[name]
        plain, window, frame = (MaskSampler(bank, VIDEO, 0.9, fit=kind, normalize=n) for n in scales)
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
            MaskSampler(bank, VIDEO, 0.9, fit=kind, per_frame=True, normalize=n) for n in scales[::2]
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
def test_no_position_is_favoured(name: str, banks: dict[str, Bank], green: Bank, share: Share) -> None:
    """Over 100,000 masks, uint8 ties included; over 20,000 in the plain suite."""
    count = 100_000 if name in ("float16", "uint8") else 40_000
    check_frequencies(FREQUENCIES[name](banks, green), share(count, 20_000))


@pytest.mark.full
@pytest.mark.parametrize("name", ["rbn 0.8", "rbn 0.75", "2D"])
def test_no_position_is_favoured_in_the_long_run(name: str, banks: dict[str, Bank], green: Bank) -> None:
    check_frequencies(FREQUENCIES[name](banks, green), 1_000_000)


def test_no_position_is_favoured_where_all_are_equal(tmp_path: Path) -> None:
    bank = forge(tmp_path / "bank.h5", White(size=(3, 4, 5), dtype="uint8"), np.zeros((4, 3, 4, 5)))
    for options in ({"mask_ratio": 0.9}, {"mask_ratio": 0.5, "per_frame": True}, {"num_visible": 59}):
        check_frequencies(MaskSampler(bank, (3, 4, 5), **options), 40_000)
