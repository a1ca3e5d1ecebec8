"""Masks that are made on a device: their counts, structure, seeds and compiled graphs."""

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

import maskbank
from maskbank.sampling import windows
from maskbank.sampling.masks import Masks

pytest.importorskip("torch")

import torch

from maskbank.adapters import device as device_module
from maskbank.adapters.device import DeviceMasks

pytestmark = pytest.mark.full

GRID = (4, 14, 14)
WIDTH = 8  # of the toy models
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
DEVICES = ("cpu", pytest.param("cuda", marks=CUDA))

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


@pytest.fixture(autouse=True, scope="module")
def quickly() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more wait for one another on a busy machine
    yield
    torch.set_num_threads(threads)


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
