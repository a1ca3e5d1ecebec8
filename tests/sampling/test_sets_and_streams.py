"""Disjoint masks of one set, what a run keeps, streams, and what masks cost."""

import json
import math
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import maskbank
from maskbank import (
    RBN,
    Bank,
    BankError,
    Green,
    MaskSampler,
    RecipeError,
)
from tests.conftest import Share
from tests.sampling.common import IDS, VIDEO, Array, check_masks, child, forge, one_line, same

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
    for index in (-1, 2**63, 1.5, "0", [[1, 2]], None, True):
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
    with pytest.raises(BankError, match="masks_version 0, now "):
        sampler.load_state_dict(state | {"masks_version": 0})
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
count, clips = 0, int(sys.argv[2])
for start in range(0, clips, 256):
    masks = sampler(np.arange(start, min(start + 256, clips)))
    count += masks.visible.sum()
    if start % 8192 == 0:
        masks.masked, masks.ids_keep, masks.ids_restore
print(json.dumps([private() - before, int(count)]))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="memory is measured on Linux")
def test_an_epoch_costs_no_memory(green: Bank, share: Share) -> None:
    """240,000 clips of Kinetics-400: the private memory grows by at most 50 MB.

    A sixth of them, if their masks were kept, would be more.
    """
    clips = share(240_000, 40_000)
    grown, count = child(MEMORY, green.path, clips)
    assert count == clips * 156
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
