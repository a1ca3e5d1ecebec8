"""Rows of the adapters' table on the classes of the libraries themselves, with random weights.

What a model saw is read from gradients: of its output, by the pixels of each patch. A mask of a wrong
polarity, order or count, or one token off because of a class token, has other pixels.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import maskbank
from maskbank import Green, MaskSampler, RecipeError
from maskbank.adapters.keys import sample_id

torch = pytest.importorskip("torch")

from maskbank.adapters import huggingface, monai, timm  # noqa: E402
from maskbank.adapters.pytorch import indices  # noqa: E402

pytestmark = [pytest.mark.full, pytest.mark.filterwarnings("ignore")]  # libraries warn of many things

Tensor = Any
Bools = npt.NDArray[np.bool_]
PATCH = 8


def peer(name: str) -> Any:
    """The library, or the test is skipped. torchvision of the registry may not know torch's CPU build."""
    if name in ("timm", "hiera", "lightly", "streaming", "mmpretrain"):
        whole_torchvision()
    return pytest.importorskip(name)


def whole_torchvision() -> None:
    """Import torchvision; where its own operators cannot be loaded, name the two that it asks for then."""
    try:
        pytest.importorskip("torchvision")
    except RuntimeError:
        operators = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        pytest.importorskip("torchvision")


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., MaskSampler]:
    """Samplers of grids, all of whose masks are the same: of one item as large as the grid, never flipped."""
    folder = tmp_path_factory.mktemp("still")

    def of(*grid: int, **options: Any) -> MaskSampler:
        bank = folder / f"{'x'.join(map(str, grid))}.h5"
        if not bank.exists():
            maskbank.generate(bank, Green(size=grid, boundary="reflect", dtype="float32"), 1)
        sampler = MaskSampler(bank, grid, **{"mask_ratio": 0.7, "flip": False, **options})
        seen = sampler(0).visible.reshape(grid)
        assert seen.shape != seen.T.shape or not np.array_equal(seen, seen.T), (
            "a transposed mask would not be seen"
        )
        return sampler

    return of


def felt(output: Tensor, pixels: Tensor, grid: tuple[int, ...]) -> Bools:
    """Which patches of pixels (B, C, *axes) an output depends on: bool (B, *grid)."""
    (gradient,) = torch.autograd.grad(output.float().square().sum(), pixels, retain_graph=True)
    kernel = tuple(size // n for size, n in zip(pixels.shape[2:], grid, strict=True))
    pool = {2: torch.nn.functional.max_pool2d, 3: torch.nn.functional.max_pool3d}[len(grid)]
    result: Bools = pool(gradient.abs().amax(1, keepdim=True), kernel)[:, 0].numpy() > 0
    return result


def image(batch: int, *grid: int, channels: int = 3, patch: int = PATCH) -> Tensor:
    return torch.rand(batch, channels, *(n * patch for n in grid), requires_grad=True)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# timm


@pytest.mark.parametrize("kind", ["vit", "eva"])
def test_timm_patch_dropout(kind: str, still: Callable[..., MaskSampler]) -> None:
    peer("timm")
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    sampler = still(5, 4)
    sizes: dict[str, Any] = {
        "img_size": (40, 32), "patch_size": PATCH, "embed_dim": 16, "depth": 1, "num_heads": 2,
        "num_classes": 0,
    }  # fmt: skip
    if kind == "vit":
        model = VisionTransformer(**sizes, reg_tokens=2, global_pool="token")
    else:
        model = Eva(**sizes, use_rot_pos_emb=True, num_reg_tokens=2, global_pool="token")
    assert model.num_prefix_tokens == 3
    model.patch_drop = timm.PatchDropout(sampler, model.num_prefix_tokens, indices=kind == "eva")
    pixels = image(2, 5, 4)
    tokens = model.train().forward_features(pixels)
    assert tokens.shape == (2, 3 + sampler.num_visible, 16)
    mask = sampler(0).visible.reshape(5, 4)
    np.testing.assert_array_equal(felt(tokens, pixels, (5, 4)), [mask, mask])
    assert felt(model.eval().forward_features(pixels), pixels, (5, 4)).all()  # evaluation sees everything


def test_timm_patch_dropout_counts_and_orders_as_theirs(still: Callable[..., MaskSampler]) -> None:
    peer("timm")
    from timm.layers import PatchDropout, PatchDropoutWithIndices

    x = torch.arange(23.0).reshape(1, 23, 1).repeat(3, 1, 2)
    for ratio in (0.1, 0.25, 0.5, 0.7, 0.9):
        sampler = still(5, 4, mask_ratio=ratio)
        theirs, their_ids = PatchDropoutWithIndices(ratio, num_prefix_tokens=3, ordered=True)(x)
        ours, ids = timm.PatchDropout(sampler, 3, indices=True)(x)
        assert ours.shape == theirs.shape
        assert (ids.dtype, ids.shape) == (their_ids.dtype, their_ids.shape)
        kept = sampler(0).visible.nonzero()[0]
        np.testing.assert_array_equal(ours[0, :, 0].numpy(), [0, 1, 2, *kept + 3])
        np.testing.assert_array_equal(ids.numpy(), [kept] * 3)
        plain = timm.PatchDropout(sampler, 3)
        assert plain(x).shape == PatchDropout(ratio, num_prefix_tokens=3)(x).shape
        assert plain.eval()(x) is x
    random = timm.PatchDropout("random", 3, indices=True, grid=(5, 4), mask_ratio=0.5)
    assert not torch.equal(random(x)[1][0], random(x)[1][0])
    with pytest.raises(RecipeError, match="x has 22 patches beside 1 prefix tokens, the sampler's grid 20"):
        timm.PatchDropout(sampler, 1)(x)


# Hiera


def test_hiera(still: Callable[..., MaskSampler]) -> None:
    """The package: True is visible, a token of the grid is a mask unit of 32 x 32 pixels."""
    peer("hiera")
    from hiera.hiera_mae import MaskedAutoencoderHiera

    model = MaskedAutoencoderHiera(
        input_size=(160, 128), embed_dim=8, num_heads=1, stages=(1, 1, 1, 1), q_pool=2,
        decoder_embed_dim=8, decoder_depth=1, decoder_num_heads=1,
    )  # fmt: skip
    masks = still(5, 4)(range(2))
    pixels = image(2, 5, 4, patch=32)
    _, prediction, _, used = model(pixels, mask=torch.from_numpy(masks.visible))
    np.testing.assert_array_equal(used.numpy(), masks.visible)
    assert used.sum() == model.get_random_mask(pixels, 0.7).sum()
    assert len(prediction) == masks.masked.sum() * 4  # of each unit, 2 x 2 tokens of the last stage
    np.testing.assert_array_equal(felt(prediction, pixels, (5, 4)), masks.visible.reshape(2, 5, 4))


def test_transformers_hiera(still: Callable[..., MaskSampler]) -> None:
    from transformers import HieraConfig, HieraForPreTraining

    config = HieraConfig(
        image_size=[160, 128], embed_dim=8, num_heads=[1, 1, 1, 1], depths=[1, 1, 1, 1], mask_ratio=0.7,
        decoder_hidden_size=8, decoder_depth=1, decoder_num_heads=1,
    )  # fmt: skip
    masks = still(5, 4)(range(2))
    pixels = image(2, 5, 4, patch=32)
    output = HieraForPreTraining(config)(pixels, noise=huggingface.noise(masks))
    np.testing.assert_array_equal(felt(output.logits, pixels, (5, 4)), masks.visible.reshape(2, 5, 4))


# lightly


def test_lightly(still: Callable[..., MaskSampler]) -> None:
    peer("lightly")
    peer("timm")
    from lightly.models.modules import MaskedVisionTransformerTIMM
    from lightly.models.utils import random_token_mask
    from timm.models.vision_transformer import VisionTransformer

    vit = VisionTransformer(
        img_size=32, patch_size=PATCH, embed_dim=16, depth=1, num_heads=2, global_pool="token"
    )
    masks = still(4, 4)(range(2))
    keep, mask = indices(masks, num_prefix=1)
    for ours, theirs in zip((keep, mask), random_token_mask((2, 17), 0.7), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert (keep[:, 0] == 0).all()
    assert sorted(torch.cat([keep, mask], 1)[0].tolist()) == list(range(17))
    pixels = image(2, 4, 4)
    tokens = MaskedVisionTransformerTIMM(vit).encode(pixels, idx_keep=keep)
    assert tokens.shape[1] == 1 + masks.ids_keep.shape[1]
    np.testing.assert_array_equal(felt(tokens, pixels, (4, 4)), masks.visible.reshape(2, 4, 4))


def test_indices_of_clones_and_of_unequal_numbers() -> None:
    sampler = MaskSampler("random", (3, 4), 0.5)
    one = indices(sampler(7))
    assert (one[0].shape, one[1].shape) == ((6,), (6,))
    assert len(indices(sampler([]), 1)[0]) == 0
    masks = sampler(range(2))
    masks.visible[1, masks.masked[1].argmax()] = True
    with pytest.raises(RecipeError, match="samples have 6 to 7 visible tokens; lists of indices need"):
        indices(masks)


# MONAI


@pytest.mark.parametrize("grid", [(3, 4, 5), (5, 4)])
def test_monai(grid: tuple[int, ...], still: Callable[..., MaskSampler]) -> None:
    peer("monai")
    from monai.networks.nets import MaskedAutoEncoderViT

    axes = len(grid)
    model = MaskedAutoEncoderViT(
        1, tuple(n * 4 for n in grid), 4, hidden_size=24, mlp_dim=32, num_layers=1, num_heads=2,
        masking_ratio=0.7, decoder_hidden_size=24, decoder_mlp_dim=32, decoder_num_layers=1,
        decoder_num_heads=2, spatial_dims=axes, pos_embed_type="learnable",
        decoder_pos_embed_type="learnable",
    )  # fmt: skip
    sampler = still(*grid)
    tokens = math.prod(grid)
    theirs = model._masking(torch.zeros(2, tokens, 24))
    ours = monai.Masking(sampler)(torch.zeros(2, tokens, 24))
    assert [(t.dtype, t.shape) for t in ours] == [(t.dtype, t.shape) for t in theirs]
    assert "_masking is now <Masking" in monai.Masking(sampler).install(model)
    pixels = image(2, *grid, channels=1, patch=4)
    prediction, mask = model(pixels)
    seen = sampler(range(2)).visible
    np.testing.assert_array_equal(mask.numpy() == 0, seen)
    np.testing.assert_array_equal(felt(prediction, pixels, grid), seen.reshape(2, *grid))
    assert model(pixels, masking_ratio=0.5)[1].sum(1).tolist() == [tokens - int(tokens * 0.5)] * 2


# transformers


def test_transformers_beit(still: Callable[..., MaskSampler]) -> None:
    from transformers import BeitConfig, BeitForMaskedImageModeling

    config = BeitConfig(
        image_size=32, patch_size=PATCH, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, use_mask_token=True, vocab_size=10, use_absolute_position_embeddings=True,
    )  # fmt: skip
    masks = still(4, 4)(range(2))
    masked = huggingface.bool_masked_pos(masks)
    pixels = image(2, 4, 4)
    labels = torch.zeros(int(masked.sum()), dtype=torch.int64)
    output = BeitForMaskedImageModeling(config).eval()(pixels, bool_masked_pos=masked, labels=labels)
    assert torch.isfinite(output.loss)
    np.testing.assert_array_equal(felt(output.logits, pixels, (4, 4)), masks.visible.reshape(2, 4, 4))


def test_transformers_swin(still: Callable[..., MaskSampler]) -> None:
    """Squares of 8 x 8 pixels, the model's patches are 2 x 2: each token of the grid is 4 patches long."""
    from transformers import SwinConfig, SwinForMaskedImageModeling

    config = SwinConfig(
        image_size=32, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4,
        encoder_stride=4,
    )  # fmt: skip
    masks = still(4, 4)(range(2))
    assert not (masks.visible[0].reshape(4, 4) == masks.visible[0].reshape(4, 4).T).all()
    masked = huggingface.bool_masked_pos(masks, scale=4)
    assert (masked.dtype, masked.shape) == (torch.bool, (2, 256))
    pixels = image(2, 4, 4)
    output = SwinForMaskedImageModeling(config).eval()(pixels, bool_masked_pos=masked)
    assert torch.isfinite(output.loss)
    np.testing.assert_array_equal(felt(output.reconstruction, pixels, (4, 4)), masks.visible.reshape(2, 4, 4))
    with pytest.raises(RecipeError, match="scale=0 is out of range"):
        huggingface.bool_masked_pos(masks, scale=0)


def test_transformers_vjepa2(still: Callable[..., MaskSampler]) -> None:
    from transformers import VJEPA2Config, VJEPA2Model

    config = VJEPA2Config(
        crop_size=16, patch_size=4, frames_per_clip=6, tubelet_size=2, hidden_size=12, num_attention_heads=2,
        num_hidden_layers=1, mlp_ratio=2, pred_hidden_size=12, pred_num_attention_heads=2,
        pred_num_hidden_layers=1, pred_num_mask_tokens=1,
    )  # fmt: skip
    masks = still(3, 4, 4)(range(2))
    context, target = indices(masks)
    model = VJEPA2Model(config).eval()
    output = model(torch.rand(2, 6, 3, 16, 16), context_mask=[context], target_mask=[target])
    whole = output.last_hidden_state
    assert torch.equal(output.masked_hidden_state.flatten(0, 1), whole[torch.from_numpy(masks.visible)])
    prediction = output.predictor_output
    assert torch.equal(prediction.target_hidden_state.flatten(0, 1), whole[torch.from_numpy(masks.masked)])
    assert prediction.last_hidden_state.shape == (2, masks.masked.sum(1)[0], 12)


def test_transformers_wav2vec2() -> None:
    """Frames that are masked have no influence; negatives come from masked frames."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining
    from transformers.models.wav2vec2.modeling_wav2vec2 import _sample_negative_indices

    config = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, conv_dim=(8,),
        conv_kernel=(10,), conv_stride=(5,), num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
        codevector_dim=8, proj_codevector_dim=8, num_codevectors_per_group=4, num_negatives=3,
    )  # fmt: skip
    model = Wav2Vec2ForPreTraining(config).eval()
    frames = torch.randn(2, 8, 40, requires_grad=True)
    model.wav2vec2.feature_extractor.forward = lambda _: frames
    masks = MaskSampler("random", (1, 40), 0.6)(range(2))
    negatives = _sample_negative_indices((2, 40), 3, masks.masked)
    output = model(
        torch.zeros(2, 400),
        mask_time_indices=torch.from_numpy(masks.masked),
        sampled_negative_indices=torch.from_numpy(negatives),
    )
    assert torch.isfinite(output.loss)
    (gradient,) = torch.autograd.grad(output.projected_states.square().sum(), frames)
    np.testing.assert_array_equal(gradient.abs().amax(1).numpy() > 0, masks.visible)


# samples with keys


def test_an_id_of_a_key_is_the_same_everywhere() -> None:
    assert sample_id("a/0001") == sample_id(b"a/0001")
    assert [sample_id(key) for key in ("", "a/0001", "Übung")] == [
        724655455495936113, 6293888054808380127, 8813061363655865828,
    ]  # fmt: skip
    ids = {sample_id(f"{n:09d}") for n in range(10_000)}
    assert len(ids) == 10_000
    assert all(0 <= one < 2**63 for one in ids)
    assert max(ids) > 2**62
    for wrong in (7, None, ["a"]):
        with pytest.raises(RecipeError, match="give a string or bytes; a whole number is an id as it is"):
            sample_id(wrong)


def test_webdataset(tmp_path: Path) -> None:
    """A sample has the same mask whatever shard, worker and batch it comes from."""
    webdataset = peer("webdataset")
    sampler = MaskSampler("random", (3, 4), 0.5)
    for shard in range(2):
        with webdataset.TarWriter(str(tmp_path / f"{shard}.tar")) as writer:
            for n in range(4 * shard, 4 * shard + 4):
                writer.write({"__key__": f"clip{n}", "cls": n})
    seen: dict[int, list[Bools]] = {}
    for batch_size in (1, 3):
        shards = [str(tmp_path / f"{shard}.tar") for shard in range(2)]
        dataset = webdataset.WebDataset(shards, shardshuffle=False).decode()
        for batch in webdataset.WebLoader(dataset.batched(batch_size), batch_size=None):
            masks = sampler([sample_id(key) for key in batch["__key__"]], epoch=1)
            for label, masked in zip(batch["cls"], masks.masked, strict=True):
                seen.setdefault(int(label), []).append(masked)
    assert sorted(seen) == list(range(8))
    for n, (alone, in_batch) in seen.items():
        np.testing.assert_array_equal(alone, in_batch)
        np.testing.assert_array_equal(alone, sampler(sample_id(f"clip{n}"), epoch=1).masked)


def test_mosaic_streaming(tmp_path: Path) -> None:
    """The index of a sample in the whole data set is its id."""
    streaming = peer("streaming")
    with streaming.MDSWriter(out=str(tmp_path / "mds"), columns={"n": "int"}) as writer:
        for n in range(10):
            writer.write({"n": n})

    class Indexed(streaming.StreamingDataset):  # type: ignore[misc, name-defined]
        def __getitem__(self, index: int) -> dict[str, Any]:
            return {**super().__getitem__(index), "id": index}

    sampler = MaskSampler("random", (3, 4), 0.5)
    dataset = Indexed(local=str(tmp_path / "mds"), shuffle=True, batch_size=4)
    seen = []
    for batch in streaming.StreamingDataLoader(dataset, batch_size=4):
        assert torch.equal(batch["id"], batch["n"])
        masks = sampler(batch["id"], epoch=1)
        np.testing.assert_array_equal(masks.masked, sampler(batch["n"].numpy(), epoch=1).masked)
        seen += batch["id"].tolist()
    assert sorted(seen) == list(range(10))
