"""PyTorch, V-JEPA and masks on devices: the same masks for the same ids in any loader, worker and rank."""

import copy
import itertools
import multiprocessing
import os
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

import maskbank
from maskbank.sampling import windows
from maskbank.sampling.masks import Masks
from maskbank.sampling.stream import process_rank

pytest.importorskip("torch")

import torch

from maskbank.adapters import device as device_module
from maskbank.adapters.device import DeviceMasks
from maskbank.adapters.pytorch import OUTPUTS, MaskedDataset
from maskbank.adapters.vjepa import MaskCollator, MultiMaskCollator

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),  # Python 3.12 warns of threads
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # more than cores
]

GRID = (4, 14, 14)
WIDTH = 8  # of the toy models
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
DEVICES = ("cpu", pytest.param("cuda", marks=CUDA))


class Clips:
    """A dataset whose samples say which they are."""

    def __init__(self, count: int = 60) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return torch.tensor(index)


class ManyClips(Clips):
    def __getitems__(self, indices: list[int]) -> list[Any]:
        return list(torch.tensor(indices))


class VideoClips(Clips):
    """As V-JEPA's: (list of buffers, label, list of the frames' numbers), of 8 or 16 frames."""

    def __getitem__(self, index: int) -> Any:
        frames = 16 if index % 3 else 8
        return [torch.full((2, 2), float(index))], index, [np.arange(frames)]


class Stream(torch.utils.data.IterableDataset):  # type: ignore[misc]
    def __iter__(self) -> Iterator[int]:
        return iter(range(3))

    def __len__(self) -> int:
        return 3


@pytest.fixture(autouse=True, scope="module")
def quickly() -> Iterator[None]:
    multiprocessing.get_context("forkserver").set_forkserver_preload(["torch"])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more wait for one another on a busy machine
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> maskbank.Bank:
    path: Path = tmp_path_factory.mktemp("torch") / "white.h5"
    return maskbank.generate(path, maskbank.White(size=(8, 16, 16)), n=20)


@pytest.fixture(scope="module")
def sampler(bank: maskbank.Bank) -> maskbank.MaskSampler:
    return maskbank.MaskSampler(bank, GRID, 0.9, seed=1)


def rows(loader: Iterable[Any]) -> dict[int, Any]:
    """The mask of each clip."""
    return {int(clip): mask for clips, masks in loader for clip, mask in zip(clips, masks, strict=True)}


def check_rows(seen: dict[int, Any], sampler: maskbank.MaskSampler, ids: Iterable[int], epoch: int) -> None:
    ids = sorted(ids)
    assert sorted(seen) == ids
    assert np.array_equal(np.stack([seen[i].numpy() for i in ids]), sampler(ids, epoch=epoch).masked)


# --- MaskedDataset


def test_an_item_is_the_sample_and_its_mask(sampler: maskbank.MaskSampler) -> None:
    want = sampler(7, epoch=5, view=2)
    for name in OUTPUTS:
        masked = MaskedDataset(Clips(), sampler, name, view=2)
        masked.set_epoch(5)
        sample, mask = masked[7]
        assert sample == 7
        assert np.array_equal(mask.numpy(), getattr(want, name))
        assert mask.dtype == (torch.int64 if name.startswith("ids") else torch.bool)
    several = MaskedDataset(Clips(), sampler, ("ids_keep", "visible"))
    _, keep, visible = several[-3]
    assert np.array_equal(keep, sampler(57).ids_keep)
    assert np.array_equal(visible, sampler(57).visible)
    assert len(several) == 60
    assert len(list(itertools.islice(several, 99))) == 60  # by indices, until they end
    for nothing in (60, -61):
        with pytest.raises(IndexError, match="the dataset has 60 samples"):
            several[nothing]


@pytest.mark.parametrize("clips", (Clips(), ManyClips()))
def test_a_batch_takes_one_call(
    clips: Clips, sampler: maskbank.MaskSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    call = maskbank.MaskSampler.__call__

    def counted(self: maskbank.MaskSampler, ids: Any, epoch: int = 0, view: int = 0) -> Masks:
        calls.append(ids)
        return call(self, ids, epoch, view)

    monkeypatch.setattr(maskbank.MaskSampler, "__call__", counted)
    masked = MaskedDataset(clips, sampler, ("masked", "ids_keep"))
    batches = list(torch.utils.data.DataLoader(masked, batch_size=12))
    assert len(calls) == len(batches) == 5
    for clip, mask, keep in batches:
        assert mask.shape == (12, 784)
        assert keep.shape == (12, sampler.num_visible)
        assert np.array_equal(mask, sampler(clip.numpy()).masked)
    within = torch.utils.data.Subset(masked, [5, 9])
    check_rows(rows((c, m) for c, m, _ in torch.utils.data.DataLoader(within)), sampler, (5, 9), 0)


STARTS = [(None, 0), *((start, workers) for start in ("fork", "spawn", "forkserver") for workers in (2, 4))]


@pytest.mark.parametrize("start, workers", STARTS)
def test_workers_change_no_mask_and_hear_of_epochs(
    start: str | None, workers: int, sampler: maskbank.MaskSampler
) -> None:
    """The bank was opened before the workers were started, and they persist."""
    masked = MaskedDataset(Clips(), sampler)
    loader = torch.utils.data.DataLoader(
        masked, batch_size=7 + workers, shuffle=True, num_workers=workers, multiprocessing_context=start,
        persistent_workers=workers > 0,
    )  # fmt: skip
    for epoch in (0, 3):
        masked.set_epoch(epoch)
        check_rows(rows(loader), sampler, range(60), epoch)


def test_a_run_goes_on_with_other_workers(sampler: maskbank.MaskSampler) -> None:
    order = np.random.default_rng(0).permutation(60).tolist()
    seen: dict[int, Any] = {}
    for part, size, workers in ((order[:24], 8, 2), (order[24:48], 4, 4), (order[48:], 5, 0)):
        masked = MaskedDataset(Clips(), sampler)
        masked.set_epoch(2)
        context = "fork" if workers else None
        loader = torch.utils.data.DataLoader(
            masked, batch_size=size, sampler=part, num_workers=workers, multiprocessing_context=context
        )
        seen |= rows(loader)
    check_rows(seen, sampler, range(60), 2)


def test_copies_tell_their_own_workers(sampler: maskbank.MaskSampler) -> None:
    first = MaskedDataset(Clips(8), sampler)
    first.set_epoch(1)
    for masked in (copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        loader = torch.utils.data.DataLoader(
            masked, num_workers=1, persistent_workers=True, multiprocessing_context="fork"
        )
        check_rows(rows(loader), sampler, range(8), 1)
        masked.set_epoch(6)
        check_rows(rows(loader), sampler, range(8), 6)
    check_rows(rows(torch.utils.data.DataLoader(first)), sampler, range(8), 1)


def test_what_cannot_be_masked_is_refused(sampler: maskbank.MaskSampler) -> None:
    for stream in (Stream(), iter([1])):
        with pytest.raises(maskbank.RecipeError, match=r"sampler\.stream\(\)"):
            MaskedDataset(stream, sampler)
    with pytest.raises(maskbank.RecipeError, match=r"MaskStream is no MaskSampler; give one"):
        MaskedDataset(Clips(), sampler.stream())  # type: ignore[arg-type]
    with pytest.raises(maskbank.RecipeError, match="output='mask' is not known; choose masked, visible"):
        MaskedDataset(Clips(), sampler, ("visible", "mask"))  # type: ignore[arg-type]
    with pytest.raises(maskbank.RecipeError, match="view=-1 is out of range"):
        MaskedDataset(Clips(), sampler, view=-1)
    masked = MaskedDataset(Clips(), sampler)
    with pytest.raises(maskbank.RecipeError, match=r"epoch=1\.5 is not a whole number"):
        masked.set_epoch(1.5)  # type: ignore[arg-type]
    with pytest.raises(maskbank.RecipeError, match="index='a' is not a whole number"):
        masked["a"]  # type: ignore[index]


def test_torch_takes_the_arrays_without_a_copy(sampler: maskbank.MaskSampler) -> None:
    """And without a warning: the suite makes errors of them."""
    for masks in (sampler(range(5)), sampler[3]):
        for array in [getattr(masks, name) for name in OUTPUTS]:
            for taken in (torch.from_numpy(array), torch.as_tensor(array), torch.from_dlpack(array)):
                assert taken.data_ptr() == array.ctypes.data
                assert taken.shape == array.shape
            taken.zero_()  # the caller's own
            assert not array.any()
    stacked = torch.utils.data.default_collate([(i, sampler[i].masked) for i in range(3)])
    assert np.array_equal(stacked[1], sampler(range(3)).masked)


def test_the_rank_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert process_rank() == 0
    monkeypatch.setenv("RANK", "3")
    assert process_rank() == 3
    assert process_rank(1) == 1
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(maskbank.RecipeError, match="RANK='first' is not a whole number"):
        process_rank()


# --- V-JEPA


def jepa_samplers(bank: maskbank.Bank, frames: int = 4) -> list[maskbank.MaskSampler]:
    return [maskbank.MaskSampler(bank, (frames, 4, 4), ratio) for ratio in (0.9, 0.75)]


def check_pairs(visible: list[Any], masked: list[Any], clips: int, frames: int = 4) -> None:
    """What V-JEPA's collators give: for each sampler the tokens that are seen and the others, ascending."""
    tokens = frames * 16
    assert len(visible) == len(masked) == 2
    for keep, hidden, ratio in zip(visible, masked, (0.9, 0.75), strict=True):
        assert keep.dtype == hidden.dtype == torch.int64
        assert keep.shape == (clips, int(tokens * (1 - ratio)))
        assert hidden.shape == (clips, tokens - keep.shape[1])
        for part in (keep, hidden):
            assert (part.diff(dim=1) > 0).all()
        assert torch.equal(
            torch.cat([keep, hidden], 1).sort(1).values, torch.arange(tokens).expand(clips, -1)
        )


def test_a_v_jepa_collator_gives_indices(bank: maskbank.Bank) -> None:
    collator = MaskCollator(jepa_samplers(bank))
    samples = [VideoClips()[i] for i in range(1, 15) if i % 3][:6]
    (buffers, labels, numbers), visible, masked = collator(samples)
    assert buffers[0].shape == (6, 2, 2)
    assert labels.tolist() == [1, 2, 4, 5, 7, 8]
    assert numbers[0].shape == (6, 16)
    check_pairs(visible, masked, 6)
    assert len({tuple(row) for row in visible[1].tolist()}) == 6
    inside = [set(a) <= set(b) for a, b in zip(visible[0].tolist(), visible[1].tolist(), strict=True)]
    assert not any(inside)  # samplers draw apart
    _, (keep,), (hidden,) = MaskCollator(jepa_samplers(bank)[0])(samples[:1])
    assert keep.shape == (1, 6)
    assert hidden.shape == (1, 58)


def test_steps_skip_what_was_used(bank: maskbank.Bank) -> None:
    samples = [VideoClips()[1]] * 3
    through = MaskCollator(jepa_samplers(bank))
    calls = [through(samples)[1][1] for _ in range(5)]
    assert len({tuple(row) for call in calls for row in call.tolist()}) == 15
    later = MaskCollator(jepa_samplers(bank))
    for expected in range(3):
        assert later.step() == expected
    assert torch.equal(later(samples)[1][1], calls[3])
    assert torch.equal(later(samples)[1][1], calls[4])
    other = MaskCollator(jepa_samplers(bank), rank=1)
    for call in calls:
        assert not torch.equal(other(samples)[1][1], call)


@pytest.mark.parametrize("start", ("fork", "spawn"))
def test_v_jepa_workers_count_together(start: str, bank: maskbank.Bank) -> None:
    collator = MaskCollator(jepa_samplers(bank))
    collator.step()
    loader = torch.utils.data.DataLoader(
        torch.utils.data.Subset(VideoClips(), [i for i in range(60) if i % 3]),
        batch_size=4, collate_fn=collator, num_workers=2, multiprocessing_context=start,
    )  # fmt: skip
    seen = [visible[1].tolist() for _, visible, _ in loader]
    alone = MaskCollator(jepa_samplers(bank))
    alone.step()
    want = [alone([VideoClips()[1]] * 4)[1][1].tolist() for _ in range(10)]
    assert sorted(seen) == sorted(want)  # which batch has which is up to the workers, as in V-JEPA
    assert collator.step() == 11


def test_v_jepa_2_has_a_group_for_each_length(bank: maskbank.Bank) -> None:
    samplers = {8: jepa_samplers(bank, 4), 16: jepa_samplers(bank, 8)}
    collator = MultiMaskCollator(samplers)
    loader = torch.utils.data.DataLoader(
        VideoClips(21), batch_size=7, collate_fn=collator, num_workers=2, multiprocessing_context="fork"
    )
    for groups in loader:
        assert len(groups) == 2
        for frames, ((buffers, labels, numbers), visible, masked) in zip((8, 16), groups, strict=True):
            clips = len(labels)
            assert buffers[0].shape == (clips, 2, 2)
            assert numbers[-1].shape == (clips, frames)  # what V-JEPA 2 reads the group from
            assert all(bool(label % 3) == (frames == 16) for label in labels)
            check_pairs(visible, masked, clips, frames // 2)
    assert collator.step() == 3
    longer = [VideoClips()[i] for i in (1, 2)]
    (only,) = MultiMaskCollator(samplers)(longer)
    assert only[2][0].shape == (2, 128 - 12)
    views = [group[1][1] for group in MultiMaskCollator({8: samplers[8], 16: samplers[8]})(
        [VideoClips()[0], VideoClips()[1]]
    )]  # fmt: skip
    assert not torch.equal(*views)


def test_collators_say_what_they_want(bank: maskbank.Bank) -> None:
    four, eight = jepa_samplers(bank, 4), jepa_samplers(bank, 8)
    with pytest.raises(maskbank.RecipeError, match="have the grids 4x4x4 and 8x4x4"):
        MaskCollator([*four, *eight])
    with pytest.raises(maskbank.RecipeError, match="samplers is empty; give one for each entry of cfgs_mask"):
        MaskCollator([])
    with pytest.raises(maskbank.RecipeError, match="dict is no MaskSampler"):
        MaskCollator([{"ratio": 0.9}])  # type: ignore[list-item]
    with pytest.raises(maskbank.RecipeError, match="by frames per clip"):
        MultiMaskCollator(four)  # type: ignore[arg-type]
    with pytest.raises(maskbank.RecipeError, match="a clip has 8 frames; there are samplers for 16"):
        MultiMaskCollator({16: eight})([VideoClips()[0]])
    with pytest.raises(maskbank.RecipeError, match="rank=-1 is out of range"):
        MaskCollator(four, rank=-1)


def picked(x: Any, indices: list[Any]) -> list[Any]:
    """The tokens (B, K, D) at int64 (B, K), for each of several."""
    return [torch.gather(x, 1, index[:, :, None].expand(-1, -1, x.shape[-1])) for index in indices]


def test_a_joint_embedding_learns_through_the_indices(bank: maskbank.Bank) -> None:
    """An encoder of the seen tokens, a predictor of the others, forward and backward, as V-JEPA has them."""
    torch.manual_seed(0)
    clips, tokens = 5, 64
    _, visible, masked = MaskCollator(jepa_samplers(bank))([0] * clips)
    encoder = torch.nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True)
    predictor = torch.nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True)
    places = torch.randn(1, tokens, WIDTH)
    x = torch.randn(clips, tokens, WIDTH, requires_grad=True)
    with torch.no_grad():
        targets = picked(torch.nn.functional.layer_norm(x, (WIDTH,)), masked)
    loss = torch.zeros(())
    for seen, index, target in zip(picked(x + places, visible), masked, targets, strict=True):
        asked = picked(places.expand(clips, -1, -1), [index])[0]
        predicted = predictor(torch.cat([encoder(seen), asked], 1))[:, seen.shape[1] :]
        assert predicted.shape == target.shape
        loss = loss + (predicted - target).abs().mean()
    loss.backward()
    reached = (x.grad != 0).any(-1)
    either = torch.zeros(clips, tokens, dtype=torch.bool)
    for keep in visible:
        either.scatter_(1, keep, True)
    assert torch.equal(reached, either)  # gradients reach what is seen, and nothing else
    assert all(p.grad is not None and p.grad.isfinite().all() for p in predictor.parameters())


# --- DeviceMasks

KINDS: dict[str, tuple[maskbank.Recipe, dict[str, Any]]] = {
    "crop": (maskbank.White(size=(8, 16, 20)), {"grid": (4, 14, 10), "mask_ratio": 0.9}),
    "per frame": (
        maskbank.White(size=(8, 16, 20)), {"grid": (4, 14, 10), "mask_ratio": 0.75, "per_frame": True}
    ),
    "turned": (
        maskbank.White(size=(8, 16, 20), dtype="float32"),
        {"grid": (4, 7, 12), "num_visible": 50, "flip_time": True, "transpose": True},
    ),
    "levels": (maskbank.White(size=(8, 16, 16), dtype="uint8"), {"grid": (8, 14, 14), "mask_ratio": 0.9}),
    "tiled": (maskbank.Red(size=(4, 6, 5)), {"grid": (6, 8, 9), "mask_ratio": 0.8, "flip_time": True}),
    "edges": (
        maskbank.Blue(size=(5, 12, 9), boundary="reflect"),
        {"grid": (5, 8, 8), "mask_ratio": 0.8, "transpose": True},
    ),
    "still": (maskbank.Green(size=(16, 16)), {"grid": (4, 14, 14), "mask_ratio": 0.9}),
    "image": (maskbank.Purple(size=(4, 16, 16)), {"grid": (14, 14), "mask_ratio": 0.75}),
    "ranks": (maskbank.RBN(size=(32, 12)), {"grid": (32, 12), "mask_ratio": 0.8, "flip": False}),
    "more ranks": (maskbank.RBN(size=(16, 8)), {"grid": (3, 12, 8), "mask_ratio": 0.6}),
}  # fmt: skip


@pytest.fixture(params=KINDS, scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> maskbank.MaskSampler:
    recipe, parameters = KINDS[request.param]
    path = tmp_path_factory.mktemp("kinds") / "bank.h5"
    return maskbank.MaskSampler(maskbank.generate(path, recipe, n=7), **parameters)


def check_masks(masks: Any, sampler: maskbank.MaskSampler, clips: int) -> None:
    """Exact counts, and four arrays that tell the same."""
    visible, masked, keep, restore = (array.cpu() for array in masks)
    tokens, count = int(np.prod(sampler.grid)), sampler.num_visible
    assert visible.dtype == masked.dtype == torch.bool
    assert keep.dtype == restore.dtype == torch.int64
    assert visible.shape == restore.shape == (clips, tokens)
    assert keep.shape == (clips, count)
    assert (visible.sum(-1) == count).all()
    assert torch.equal(visible, ~masked)
    same = Masks(visible.numpy(), sampler.grid, count)
    assert np.array_equal(keep, same.ids_keep)
    assert np.array_equal(restore, same.ids_restore)
    if sampler.per_frame:
        assert (visible.view(clips, sampler.grid[0], -1).sum(-1) == count // sampler.grid[0]).all()


@pytest.mark.parametrize("device", DEVICES)
def test_counts_are_exact(device: str, made: maskbank.MaskSampler) -> None:
    masks = DeviceMasks(made, device)
    for clips in (1, 33):
        check_masks(masks(clips), made, clips)
    assert DeviceMasks(made, "cpu").to(device)(1).visible.device.type == device
    assert torch.equal(masks.cpu()(0).visible, torch.empty(0, int(np.prod(made.grid)), dtype=torch.bool))


def test_the_largest_values_of_the_windows_are_visible(
    made: maskbank.MaskSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows are those that the sampler's own code cuts where the same is drawn."""
    clips, noise = 400, made.bank
    assert noise is not None
    words = torch.randint(2**31, (5, clips), generator=torch.Generator().manual_seed(5))
    monkeypatch.setattr(torch, "randint", lambda *_, **__: words)
    visible = DeviceMasks(made, "cpu", rank=0)(clips).visible.numpy()
    monkeypatch.undo()
    assert (visible.sum(-1) == made.num_visible).all()
    drawn = words.numpy()[1:].T.astype(np.uint64)
    drawn[:, :3] <<= np.uint64(1)  # a sampler's words have 32 bits
    items = words[0].numpy() * len(noise) >> 31
    values = noise[:].reshape(len(noise), -1)
    if noise.dtype.kind == "f":
        values = np.floor(ndtr(values.astype(np.float16).astype(float)) * 256)
    cropped = windows.crop(values.astype(np.int64), items, made.cut, drawn)
    if made._repeated:
        cropped = np.tile(cropped, (1, made.grid[0], 1, 1))
    segments = made.grid[0] if made.per_frame else 1
    cropped, visible = cropped.reshape(clips, segments, -1), visible.reshape(clips, segments, -1)
    least = np.where(visible, cropped, 2**40).min(-1)
    most = np.where(visible, -1, cropped).max(-1)
    assert (least >= most).all()
    if isinstance(noise.recipe, maskbank.RBN) and made.grid == noise.recipe.size:
        assert (least > most).all()  # ranks differ: Algorithm 1's masks, exactly


def test_items_are_used_alike_and_no_place_is_favoured(bank: maskbank.Bank) -> None:
    torch.manual_seed(3)
    masks = DeviceMasks(maskbank.MaskSampler(bank, (2, 6, 6), 0.75), "cpu")
    for ties in (False, True):
        if ties:
            masks._noise.zero_()
        share = masks(20_000).visible.double().mean(0)
        assert ((share - 0.25).abs() < 5 * (0.25 * 0.75 / 20_000) ** 0.5).all()
    masks._noise.copy_((torch.arange(20) * 12).to(torch.uint8)[:, None].expand(-1, masks._noise.shape[1]))
    items = masks._windows(*_drawn(masks, 20_000))[:, 0, 0, 0] // 12
    assert ((items.bincount(minlength=20) / 20_000 - 0.05).abs() < 5 * (0.05 * 0.95 / 20_000) ** 0.5).all()


def _drawn(masks: Any, clips: int) -> tuple[Any, list[Any], Any]:
    item, *starts, last = torch.randint(2**31, (5, clips)).unbind()
    return item * masks.items >> 31, starts, last


@pytest.mark.parametrize("dtype", ("float16", "uint8"))
def test_structure_reaches_the_device(dtype: str, tmp_path: Path) -> None:
    """Of tokens that are visible, how many are in the next frame, too: 0.42, where chance gives 0.10."""
    torch.manual_seed(0)
    green = maskbank.generate(tmp_path / "green.h5", maskbank.Green(size=(32, 32, 32), dtype=dtype), n=200)
    sampler = maskbank.MaskSampler(green, (8, 14, 14), 0.9)

    def continuity(visible: Any) -> float:
        frames = np.asarray(visible).reshape(-1, 8, 196)
        return float((frames[:, 1:] & frames[:, :-1]).sum() / frames[:, :-1].sum())

    on_device = continuity(DeviceMasks(sampler, "cpu")(1000).visible)
    assert abs(on_device - 0.42) < 0.05
    assert abs(on_device - continuity(sampler(range(1000)).visible)) < 0.03


def test_torch_seeds_decide_and_ranks_differ(sampler: maskbank.MaskSampler) -> None:
    drawn = []
    for rank in (0, 0, 1, 2, 7):
        torch.manual_seed(4)
        masks = DeviceMasks(sampler, "cpu", rank=rank)
        drawn.append(masks(16).visible)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(masks(16).visible, drawn[-1])  # each call draws anew
    different = {tuple(row) for visible in drawn[1:] for row in visible.tolist()}
    assert len(different) == 4 * 16


class Autoencoder(torch.nn.Module):  # type: ignore[misc]
    """Encodes visible tokens, and puts them back in their places."""

    def __init__(self, masks: Any) -> None:
        super().__init__()
        self.masks = masks
        self.encoder = torch.nn.Linear(WIDTH, WIDTH)
        self.token = torch.nn.Parameter(torch.zeros(1, 1, WIDTH))

    def forward(self, x: Any) -> tuple[Any, Any]:
        masks = self.masks(x.shape[0])
        seen = self.encoder(torch.gather(x, 1, masks.ids_keep[:, :, None].expand(-1, -1, WIDTH)))
        hidden = self.token.to(seen.dtype).expand(len(x), x.shape[1] - seen.shape[1], -1)
        order = masks.ids_restore[:, :, None].expand(-1, -1, WIDTH)
        decoded = torch.gather(torch.cat([seen, hidden], 1), 1, order)
        return ((decoded - x) ** 2).mean(-1)[:, :] * masks.masked, masks.visible


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("parameters", ({}, {"per_frame": True, "transpose": True}))
def test_one_graph_compiles(device: str, parameters: dict[str, bool], bank: maskbank.Bank) -> None:
    """Nothing in a model breaks the graph; another batch size, autocast; equal to what is not compiled."""
    masks = DeviceMasks(maskbank.MaskSampler(bank, GRID, 0.9, **parameters), device)  # type: ignore[arg-type]
    model = Autoencoder(masks).to(device)
    torch._dynamo.reset()
    backend = "inductor" if device == "cuda" else "aot_eager"  # C++ takes a minute to compile
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    for clips in (4, 6):
        x = torch.randn(clips, 784, WIDTH, device=device)
        for dtype in (None, torch.bfloat16):
            with torch.autocast(device, dtype or torch.bfloat16, enabled=dtype is not None):
                loss, visible = compiled(x)
                loss.mean().backward()
                check_masks(masks(clips), masks.sampler, clips)
            assert (visible.sum(-1) == masks.sampler.num_visible).all()
            assert torch.equal(loss != 0, ~visible)
            assert model.encoder.weight.grad is not None
            if device == "cpu":
                torch.manual_seed(clips)
                plain = model(x)[1]
                torch.manual_seed(clips)
                assert torch.equal(plain, compiled(x)[1])


def test_nothing_depends_on_data(made: maskbank.MaskSampler) -> None:
    """Fake tensors have shapes and no numbers: what would wait for the device raises there."""
    from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

    masks = DeviceMasks(made, "cpu")
    with FakeTensorMode() as mode:
        masks._noise = mode.from_tensor(masks._noise)
        for array in masks(3):
            assert type(array).__name__ == "FakeTensor"
        with pytest.raises(DataDependentOutputException):
            masks(3).visible.sum().item()


@CUDA
def test_nothing_waits_for_a_gpu(made: maskbank.MaskSampler) -> None:
    masks = DeviceMasks(made, "cuda")
    masks(3)
    torch.cuda.set_sync_debug_mode("error")
    try:
        masks(8)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_it_moves_with_a_model_and_keeps_its_numbers(sampler: maskbank.MaskSampler) -> None:
    masks = DeviceMasks(sampler, "cpu", items=5)
    before = masks._noise.clone()
    model = Autoencoder(masks)
    assert set(model.state_dict()) == {"token", "encoder.weight", "encoder.bias"}
    assert not list(masks.buffers())  # which DistributedDataParallel sends around
    model.half().to(torch.float64).to("meta").to_empty(device="cpu")
    assert masks._noise.dtype == torch.uint8
    assert torch.equal(masks._noise, before)
    check_masks(copy.deepcopy(masks)(4), sampler, 4)
    check_masks(pickle.loads(pickle.dumps(masks))(4), sampler, 4)
    assert masks.nbytes == 5 * 8 * 16 * 16
    assert "5 items, 10,240 bytes on cpu of <MaskSampler: white3d" in repr(model)


def test_a_share_of_the_bank_is_kept(
    sampler: maskbank.MaskSampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert DeviceMasks(sampler, "cpu").items == 20
    monkeypatch.setattr(device_module, "MOST_BYTES", 5000)
    assert (DeviceMasks(sampler, "cpu").items, DeviceMasks(sampler, "cpu").nbytes) == (2, 4096)
    assert DeviceMasks(sampler, "cpu", items=3).nbytes == 6144
    rbn = maskbank.generate(tmp_path / "rbn.h5", maskbank.RBN(size=(16, 8)), n=30)
    ranks = DeviceMasks(maskbank.MaskSampler(rbn, (16, 8), 0.8), "cpu")
    assert (ranks.items, ranks.nbytes, ranks._noise.dtype) == (19, 19 * 256, torch.int16)
    for items in (0, 21):
        with pytest.raises(maskbank.RecipeError, match=f"items={items} is out of range; allowed is 1 to 20"):
            DeviceMasks(sampler, "cpu", items=items)


def test_what_devices_do_not_make_is_refused(bank: maskbank.Bank) -> None:
    with pytest.raises(maskbank.RecipeError, match="the baseline tube has no items to keep"):
        DeviceMasks(maskbank.MaskSampler("tube", GRID, 0.9), "cpu")
    for parameters, given in (
        ({"fit": "resize"}, "fit='resize'"),
        ({"normalize": "frame"}, "normalize='frame'"),
    ):
        with pytest.raises(maskbank.RecipeError, match=f"{given} is not made on devices"):
            DeviceMasks(maskbank.MaskSampler(bank, GRID, 0.9, **parameters), "cpu")  # type: ignore[arg-type]
    with pytest.raises(maskbank.RecipeError, match="grid=None is not a token grid"):
        DeviceMasks(bank, "cpu")
    masks = DeviceMasks(bank, "cpu", grid=GRID, mask_ratio=0.9)
    refused: list[dict[str, Any]] = [
        {"valid": torch.ones(2, 4)}, {"views": 2}, {"num_visible": 3}, {"mask_ratio": [0.5, 0.6]},
        {"mask_ratio": torch.rand(2)}, {"mask_ratio": np.ones(2)},
    ]  # fmt: skip
    for wrong in refused:
        with pytest.raises(maskbank.RecipeError, match=f"takes no {next(iter(wrong))}= of samples, only one"):
            masks(2, **wrong)


# --- Ranks


def be_a_rank(rank: int, world: int, folder: str, sampler: maskbank.MaskSampler) -> None:
    """What each of the processes does; what it saw is left in a file."""
    os.environ.pop("RANK", None)
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    masked = MaskedDataset(Clips(), sampler)
    share = torch.utils.data.DistributedSampler(masked, seed=9)
    loader = torch.utils.data.DataLoader(masked, batch_size=4, sampler=share)
    seen = []
    for epoch in (0, 1):
        masked.set_epoch(epoch)
        share.set_epoch(epoch)
        seen.append(rows(loader))
    torch.manual_seed(0)  # the same on all ranks
    collated = MaskCollator([sampler])([0] * 6)[1][0]
    model = torch.nn.parallel.DistributedDataParallel(Autoencoder(DeviceMasks(sampler, "cpu")))
    x = torch.randn(6, 784, WIDTH)
    steps = []
    for _ in range(2):
        loss, visible = model(x)
        loss.mean().backward()
        steps.append(visible)
    gradient = model.module.encoder.weight.grad
    torch.save(
        {"seen": seen, "collated": collated, "x": x, "steps": steps, "gradient": gradient}, f"{folder}/{rank}"
    )
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(sampler: maskbank.MaskSampler, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = str(tmp_path_factory.mktemp("ranks"))
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=be_a_rank, args=(rank, 2, folder, sampler)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    return [torch.load(f"{folder}/{rank}") for rank in range(2)]


def test_ranks_share_an_epoch(ranks: list[dict[str, Any]], sampler: maskbank.MaskSampler) -> None:
    for epoch in (0, 1):
        first, second = (rank["seen"][epoch] for rank in ranks)
        assert not first.keys() & second.keys()
        check_rows(first | second, sampler, range(60), epoch)


def test_ranks_of_equal_seeds_have_masks_of_their_own(ranks: list[dict[str, Any]]) -> None:
    first, second = ranks
    assert torch.equal(first["x"], second["x"])  # equal seeds, indeed
    assert torch.equal(first["gradient"], second["gradient"])  # and one model
    for step in range(2):
        assert not (first["steps"][step] == second["steps"][step]).all(-1).any()
    assert not (first["collated"] == second["collated"]).all(-1).any()
