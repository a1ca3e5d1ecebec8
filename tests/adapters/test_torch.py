"""PyTorch and V-JEPA: the same masks for the same ids in any loader, worker and rank."""

import copy
import itertools
import multiprocessing
import os
import pickle
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

import maskbank
from maskbank.sampling.masks import Masks
from maskbank.sampling.stream import process_rank

pytest.importorskip("torch")

import torch

from maskbank.adapters.device import DeviceMasks
from maskbank.adapters.pytorch import OUTPUTS, MaskedDataset
from maskbank.adapters.vjepa import MaskCollator, MultiMaskCollator
from tests.adapters.test_device import WIDTH, Autoencoder

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),  # Python 3.12 warns of threads
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # more than cores
]

GRID = (4, 14, 14)


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


STARTS = [(None, 0), ("fork", 2), ("fork", 4), ("spawn", 2), ("forkserver", 2)]


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
