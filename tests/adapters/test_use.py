"""What users of adapters meet: imports, wrappers, seeds, checkpointing, sources of masks, Trainer."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import maskbank
import maskbank.adapters
from maskbank import MaskSampler, RecipeError
from maskbank.sampling.stream import first_id

torch = pytest.importorskip("torch")

from torch.utils.checkpoint import checkpoint  # noqa: E402

from maskbank.adapters import colormae, device, huggingface, pytorch, videomae, vjepa  # noqa: E402
from maskbank.adapters.mae import RandomMasking, TimeFrequencyMasking  # noqa: E402

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]

GRID = (14, 14)
VIDEO = (4, 14, 14)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> maskbank.Bank:
    path: Path = tmp_path_factory.mktemp("use") / "green.h5"
    return maskbank.generate(path, maskbank.Green(size=(8, 16, 16)), n=20)


@pytest.fixture(scope="module")
def sampler(bank: maskbank.Bank) -> MaskSampler:
    return MaskSampler(bank, GRID, 0.75)


class Model(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Embeds, masks and encodes, as MAE; with checkpointing where asked."""

    def __init__(self, reentrant: bool | None = None) -> None:
        super().__init__()
        self.embed, self.encoder = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
        self.reentrant = reentrant
        self.masks: list[Any] = []

    def random_masking(self, x: Any, mask_ratio: float) -> Any:
        raise AssertionError("this is what is replaced")

    def random_masking_2d(self, x: Any, t: float, f: float) -> Any:
        raise AssertionError("this is what is replaced")

    def encode(self, x: Any) -> Any:
        x, mask, _ = self.random_masking(self.embed(x), 0.75)
        self.masks.append(mask)
        return self.encoder(x)

    def forward(self, x: Any) -> Any:
        if self.reentrant is None:
            return self.encode(x)
        return checkpoint(self.encode, x, use_reentrant=self.reentrant)


# imports


def test_adapters_are_imported_on_first_use() -> None:
    code = (
        "import sys, maskbank.adapters as a\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\n"
        "assert a.videomae.MaskingGenerator and 'torch' not in sys.modules\n"
        "assert a.mae.RandomMasking and a.huggingface.noise and a.vjepa.MaskCollator\n"
        "try: a.mea\n"
        "except AttributeError as error: assert 'colormae' in str(error), error\n"
        "else: sys.exit('no such adapter')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"mae", "pytorch", "videomae", "vjepa"} <= set(dir(maskbank.adapters))


# install


def compiled(model: Any) -> Any:
    return torch.compile(model, backend="eager")


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda model: model,
    "compiled": compiled,
    "DataParallel": torch.nn.DataParallel,
    "DDP": lambda model: torch.nn.parallel.DistributedDataParallel(model),
    "compiled DDP": lambda model: compiled(torch.nn.parallel.DistributedDataParallel(model)),
    "DDP of compiled": lambda model: torch.nn.parallel.DistributedDataParallel(compiled(model)),
}


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("group")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", WRAPPERS)
def test_install_reaches_the_model(name: str, sampler: MaskSampler) -> None:
    torch._dynamo.reset()
    inner = Model()
    model = WRAPPERS[name](inner)
    masking = RandomMasking(sampler)
    line = masking.install(model)
    assert line.startswith("Model.random_masking is now <RandomMasking: <MaskSampler: green3d")
    assert line.endswith("; it was Model.random_masking")
    assert inner.random_masking is masking
    for calls in (1, 2):
        model(torch.randn(3, 196, 8)).sum().backward()
        assert masking.calls == calls
    assert not torch.equal(*inner.masks)
    assert "it was <RandomMasking" in RandomMasking(sampler).install(model)


def test_install_wants_the_method(sampler: MaskSampler) -> None:
    masking = RandomMasking(sampler)
    for model, method in (
        (torch.nn.Linear(2, 2), None),
        (torch.nn.DataParallel(torch.nn.Linear(2, 2)), None),
        (Model(), "random_maskin"),
        (Model(), "masks"),
        (None, None),
    ):
        with pytest.raises(RecipeError, match=f"has no method {method or 'random_masking or '}"):
            masking.install(model, method)
    assert "random_masking" not in vars(Model())
    model = Model()
    separable = TimeFrequencyMasking("timefreq", grid=(64, 8), mask_ratio=(0.3, 0.3))
    assert "Model.random_masking_2d is now" in separable.install(model)
    assert "Model.random_masking_2d is now" in masking.install(model, "random_masking_2d")


# seeds


def test_torchs_seed_and_the_rank_decide_in_models(
    sampler: MaskSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    makers: list[Callable[[], Any]] = [
        lambda: RandomMasking(sampler)(torch.zeros(4, 196, 1), 0.75)[2],
        lambda: TimeFrequencyMasking(sampler)(torch.zeros(4, 196, 1), 0.5, 0.5)[2],
        lambda: colormae.ColorMasking(14, 0.75, sampler).extract_windows(4),
    ]
    for make in makers:
        found = []
        for seed, rank in ((1, "0"), (1, "0"), (2, "0"), (1, "1")):
            torch.manual_seed(seed)
            monkeypatch.setenv("RANK", rank)
            found.append(make())
        assert torch.equal(found[0], found[1])
        found.append(make())
        assert all(not torch.equal(a, b) for k, a in enumerate(found[1:]) for b in found[1:][:k])


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_repeats_the_masks(reentrant: bool, sampler: MaskSampler) -> None:
    """In the backward pass, so gradients are those without checkpointing."""
    found = []
    x = torch.randn(3, 196, 8, requires_grad=True)
    for how in (None, reentrant):
        torch.manual_seed(0)
        model = Model(how)
        RandomMasking(sampler).install(model)
        torch.manual_seed(1)
        loss = sum(model(x).square().sum() for _ in range(2))
        torch.manual_seed(99)  # whatever else is drawn meanwhile
        loss.backward()
        found.append([model.embed.weight.grad, model.encoder.weight.grad, x.grad.clone()])
        x.grad = None
        if how is not None:
            masks = {mask.numpy().tobytes() for mask in model.masks}
            assert (len(model.masks), len(masks)) == (4, 2)
    for plain, again in zip(*found, strict=True):
        assert torch.allclose(plain, again, atol=1e-6)


class Clips:
    def __init__(self, generator: videomae.MaskingGenerator) -> None:
        self.generator = generator

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return self.generator()


@pytest.mark.parametrize("start, persistent", [("fork", False), ("fork", True), ("spawn", False)])
def test_a_seeded_generator_repeats_in_workers(start: str, persistent: bool, bank: maskbank.Bank) -> None:
    """Launch by launch, however workers are started; epochs, workers, ranks and seeds have other masks."""

    def launch(seed: int, rank: int, start: str = "fork") -> list[bytes]:
        generator = videomae.MaskingGenerator(bank, VIDEO, 0.9, seed=seed, rank=rank)
        loader = torch.utils.data.DataLoader(
            Clips(generator), batch_size=2, num_workers=2, multiprocessing_context=start,
            persistent_workers=persistent,
        )  # fmt: skip
        epochs = 2 if start == "fork" else 1  # spawned workers import torch
        return [mask.numpy().tobytes() for _ in range(epochs) for batch in loader for mask in batch]

    first, again = launch(3, 0), launch(3, 0, start)
    assert again == first[: len(again)]
    assert len(set(first + launch(4, 0) + launch(3, 1))) == 3 * 16


def test_a_run_of_restarted_workers_goes_on(bank: maskbank.Bank) -> None:
    """Between epochs, whose workers are new."""

    def epoch(generator: videomae.MaskingGenerator) -> list[bytes]:
        loader = torch.utils.data.DataLoader(
            Clips(generator), batch_size=2, num_workers=2, multiprocessing_context="fork"
        )
        return [mask.numpy().tobytes() for batch in loader for mask in batch]

    generator = videomae.MaskingGenerator(bank, VIDEO, 0.9, seed=3)
    epoch(generator)
    state = pickle.loads(pickle.dumps(generator.stream.state_dict()))
    second = epoch(generator)
    later = videomae.MaskingGenerator(bank, VIDEO, 0.9, seed=3)
    later.stream.load_state_dict(state)
    assert epoch(later) == second


def test_a_videomae_generator_without_a_seed_never_repeats(bank: maskbank.Bank) -> None:
    generators = [videomae.MaskingGenerator(bank, VIDEO, 0.9) for _ in range(2)]
    assert not np.array_equal(generators[0](), generators[1]())
    seeded = [videomae.MaskMapGenerator(bank, VIDEO, 0.9, seed=1) for _ in range(2)]
    for _ in range(3):
        map_ = seeded[0]()
        np.testing.assert_array_equal(map_, seeded[1]())
    expected = MaskSampler(bank, VIDEO, 0.9, per_frame=True)(first_id(1, 0, 0, 0) + 2)
    np.testing.assert_array_equal(map_.reshape(-1) == 1, expected.masked)


# the ratio of the model, on devices


@pytest.mark.parametrize("ratio", [0.5, 0.75, 0.9])
def test_devices_follow_the_models_ratio(ratio: float, sampler: MaskSampler) -> None:
    masks = device.DeviceMasks(sampler, "cpu")
    torch.manual_seed(0)
    found = masks(5, ratio)
    assert (found.visible.sum(1) == int(196 * (1 - ratio))).all()
    torch.manual_seed(0)
    own = device.DeviceMasks(sampler, "cpu", mask_ratio=ratio)(5)
    for one, other in zip(found, own, strict=True):
        assert torch.equal(one, other)
    compiled = torch.compile(lambda n: masks(n, ratio), fullgraph=True, backend="eager")
    assert (compiled(5).visible.sum(1) == int(196 * (1 - ratio))).all()


def test_devices_refuse_ratios_that_do_not_fit(bank: maskbank.Bank) -> None:
    masks = device.DeviceMasks(bank, "cpu", grid=VIDEO, mask_ratio=0.9, per_frame=True)
    assert masks(2, 0.5).visible.reshape(2, 4, 196).sum(2).unique().tolist() == [98]
    for ratio, words in ((0.9, "78 tokens, which 4 frames"), (1.5, "between 0 and 1"), (0.9999, "visible")):
        with pytest.raises(RecipeError, match=words):
            masks(2, ratio)


# sources


def test_every_adapter_takes_a_path_and_says_what_it_has(bank: maskbank.Bank, sampler: MaskSampler) -> None:
    path, options = bank.path, {"grid": GRID, "mask_ratio": 0.75}
    made: list[tuple[Callable[..., Any], dict[str, Any]]] = [
        (lambda source, **how: RandomMasking(source, **how), options),
        (lambda source, **how: TimeFrequencyMasking(source, **how), options),
        (lambda source, **how: vjepa.MaskCollator(source, **how), options),
        (lambda source, **how: vjepa.MaskCollator([source, source], **how), options),
        (lambda source, **how: vjepa.MultiMaskCollator({8: source}, **how), options),
        (lambda source, **how: device.DeviceMasks(source, "cpu", **how), options),
        (lambda source, **how: pytorch.MaskedDataset([1, 2], source, **how), options),
        (lambda source, **how: colormae.ColorMasking(14, 0.75, source, **how), {}),
        (lambda source, **how: videomae.MaskingGenerator(source, (1, 14, 14), 0.75, **how), {}),
        (lambda source, **how: videomae.MaskMapGenerator(source, (1, 14, 14), 0.75, **how), {}),
    ]
    for make, given in made:
        for adapter in (make(path, **given), make(Path(path), **given), make(bank, **given), make(sampler)):
            assert isinstance(adapter.sampler, MaskSampler)
            assert adapter.sampler.config["fingerprint"] == bank.fingerprint
            for part in ("green3d", bank.fingerprint, "14x14", "mask_ratio=0.75"):
                assert part in repr(adapter), (repr(adapter), part)
        with pytest.raises(RecipeError, match="int is no MaskSampler"):
            make(7, **given)
        if given:
            assert make(sampler, mask_ratio=0.5).sampler.num_visible == 98
            with pytest.raises(RecipeError, match="grid=None is not a token grid"):
                make(path)


# Hugging Face


class Frames:
    """As a dataset for Trainer: dicts of the model's arguments."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"pixel_values": torch.full(self.shape, index / 6)}


def models() -> list[tuple[huggingface.Argument, Any, Any, dict[str, Any]]]:
    """The argument, the model, its data and its sampler's parameters."""
    from transformers import VideoMAEConfig, VideoMAEForPreTraining, ViTMAEConfig, ViTMAEForPreTraining

    small: dict[str, Any] = {
        "image_size": 40, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 32, "decoder_hidden_size": 16,
        "decoder_num_hidden_layers": 1,
        "decoder_num_attention_heads": 2, "decoder_intermediate_size": 32,
    }  # fmt: skip
    video = VideoMAEForPreTraining(VideoMAEConfig(num_frames=6, tubelet_size=2, **small))
    image = ViTMAEForPreTraining(ViTMAEConfig(mask_ratio=0.75, **small))
    return [
        ("bool_masked_pos", video, Frames((6, 3, 40, 40)), {"grid": (3, 5, 5), "mask_ratio": 0.8}),
        ("noise", image, Frames((3, 40, 40)), {"grid": (5, 5), "mask_ratio": 0.75}),
    ]


def test_a_collator_gives_the_models_arguments(bank: maskbank.Bank) -> None:
    pytest.importorskip("transformers")
    for argument, model, frames, how in models():
        collator = huggingface.Collator(argument)
        masked = pytorch.MaskedDataset(frames, bank, collator.output, **how)
        (batch,) = torch.utils.data.DataLoader(masked, batch_size=6, collate_fn=collator)
        assert set(batch) == {"pixel_values", argument}
        masks = masked.sampler(range(6))
        expected = huggingface.bool_masked_pos(masks) if argument != "noise" else huggingface.noise(masks)
        assert torch.equal(batch[argument], expected)
        assert batch[argument].dtype == expected.dtype
        output = model(**batch)
        assert torch.isfinite(output.loss)
        if argument == "noise":
            np.testing.assert_array_equal(output.mask.numpy() == 1, masks.masked)
    with pytest.raises(RecipeError, match="argument='mask' is not known; choose bool_masked_pos or noise"):
        huggingface.Collator("mask")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore")  # Trainer's own
def test_trainer_trains(bank: maskbank.Bank, tmp_path: Path) -> None:
    """Each epoch with masks of its own."""
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    os.environ["WANDB_DISABLED"] = "true"
    for argument, model, frames, how in models():
        collator = huggingface.Collator(argument)
        masked = pytorch.MaskedDataset(frames, bank, collator.output, **how)
        seen: list[Any] = []

        def watch(samples: Any, collator: Any = collator, seen: list[Any] = seen) -> Any:
            batch = collator(samples)
            seen.append(batch[collator.argument])
            return batch

        trainer = Trainer(
            model=model, train_dataset=masked, data_collator=watch,
            args=TrainingArguments(
                str(tmp_path), num_train_epochs=2, per_device_train_batch_size=3, report_to=[], use_cpu=True,
                save_strategy="no", disable_tqdm=True,
            ),
            callbacks=[huggingface.epochs(masked)],
        )  # fmt: skip
        trainer.train()
        assert len(seen) == 4
        rows = [tuple(row.tolist()) for batch in seen for row in batch]
        wanted = {
            tuple(getattr(masked.sampler(range(6), epoch), collator.output)[k].tolist())
            for epoch in (0, 1)
            for k in range(6)
        }
        assert set(rows) == wanted
