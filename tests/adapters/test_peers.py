"""Rows of the adapters' table on the classes of the libraries themselves, with random weights.

What a model saw is read from gradients: of its output, by the pixels of each patch. A mask of a wrong
polarity, order or count, or one token off because of a class token, has other pixels.
"""

import copy
import importlib.util
import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import maskbank
from maskbank import Green, MaskSampler, RecipeError
from maskbank.adapters.keys import sample_id
from maskbank.recipes import RBN

torch = pytest.importorskip("torch")

from maskbank.adapters import beit, huggingface, ijepa, monai, timm  # noqa: E402
from maskbank.adapters.pytorch import indices  # noqa: E402

pytestmark = [pytest.mark.full, pytest.mark.filterwarnings("ignore")]  # libraries warn of many things

Tensor = Any
Bools = npt.NDArray[np.bool_]
PATCH = 8


def import_torchvision() -> None:
    """Where its own operators cannot be loaded, as with torch's CPU build, name the two that it asks for."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        operators = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        importlib.import_module("torchvision")


if importlib.util.find_spec("torchvision"):  # timm needs it; transformers takes it where it is installed
    import_torchvision()


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
        assert len(grid) == 1 or seen.shape != seen.T.shape or not np.array_equal(seen, seen.T), (
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


def vit(*grid: int, **options: Any) -> Any:
    """timm's, small."""
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        tuple(n * PATCH for n in grid), PATCH, embed_dim=16, depth=1, num_heads=2, **options
    )


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_the_lines_that_the_documents_tell_to_import() -> None:
    root = Path(maskbank.__file__).parent
    tables = "".join((root / name).read_text() for name in ("adapters/README.md", "../README.md"))
    lines = set(re.findall(r"`(from maskbank\.adapters\.\w+ import [\w, ]+)`", tables))
    assert len(lines) > 15
    for line in lines:
        exec(line, {})


# timm


@pytest.mark.parametrize("kind", ["vit", "eva"])
def test_timm_patch_dropout(kind: str, still: Callable[..., MaskSampler]) -> None:
    pytest.importorskip("timm")
    from timm.models.eva import Eva

    sampler = still(5, 4)
    if kind == "vit":
        model = vit(5, 4, reg_tokens=2)
    else:
        sizes: dict[str, Any] = {"embed_dim": 16, "depth": 1, "num_heads": 2, "num_classes": 0}
        model = Eva((40, 32), PATCH, **sizes, use_rot_pos_emb=True, num_reg_tokens=2, global_pool="token")
    assert model.num_prefix_tokens == 3
    names = set(model.state_dict())
    model.patch_drop = timm.PatchDropout(sampler, model.num_prefix_tokens, indices=kind == "eva")
    assert set(model.state_dict()) == names
    model = copy.deepcopy(model)  # as for averaged weights
    pixels = image(2, 5, 4)
    tokens = model.train().forward_features(pixels)
    assert tokens.shape == (2, 3 + sampler.num_visible, 16)
    mask = sampler(0).visible.reshape(5, 4)
    np.testing.assert_array_equal(felt(tokens, pixels, (5, 4)), [mask, mask])
    assert felt(model.eval().forward_features(pixels), pixels, (5, 4)).all()  # evaluation sees everything


def test_timm_patch_dropout_counts_and_orders_as_theirs(still: Callable[..., MaskSampler]) -> None:
    pytest.importorskip("timm")
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
    pytest.importorskip("hiera")
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
    pytest.importorskip("lightly")
    pytest.importorskip("timm")
    from lightly.models.modules import MaskedVisionTransformerTIMM
    from lightly.models.utils import random_token_mask

    masks = still(4, 4)(range(2))
    keep, mask = indices(masks, num_prefix=1)
    for ours, theirs in zip((keep, mask), random_token_mask((2, 17), 0.7), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert (keep[:, 0] == 0).all()
    assert sorted(torch.cat([keep, mask], 1)[0].tolist()) == list(range(17))
    pixels = image(2, 4, 4)
    tokens = MaskedVisionTransformerTIMM(vit(4, 4, global_pool="token")).encode(pixels, idx_keep=keep)
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
    pytest.importorskip("monai")
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
    ours = monai.Masking(sampler)(torch.arange(tokens)[None, :, None].expand(2, -1, 24))
    assert [(t.dtype, t.shape) for t in ours[1:]] == [(t.dtype, t.shape) for t in theirs[1:]]
    for tokens_or_ids in (ours[0][..., 0], ours[1]):
        np.testing.assert_array_equal(tokens_or_ids.numpy(), sampler(range(2)).ids_keep)
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


def test_transformers_wav2vec2(still: Callable[..., MaskSampler]) -> None:
    """Frames that are masked have no influence, padded ones are not masked; negatives are masked frames."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining
    from transformers.models.wav2vec2.modeling_wav2vec2 import _sample_negative_indices

    config = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, conv_dim=(8,),
        conv_kernel=(10,), conv_stride=(5,), num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
        codevector_dim=8, proj_codevector_dim=8, num_codevectors_per_group=4, num_negatives=3,
    )  # fmt: skip
    model = Wav2Vec2ForPreTraining(config).eval()
    frames = torch.randn(2, 8, 39, requires_grad=True)
    model.wav2vec2.feature_extractor.forward = lambda _: frames
    heard = torch.ones(2, 200, dtype=torch.int64)
    heard[1, 100:] = 0
    valid = model._get_feature_vector_attention_mask(39, heard).bool().numpy()
    assert valid.sum(1).tolist() == [39, 19]
    masks = still(39)(range(2), valid=valid)
    negatives = _sample_negative_indices((2, 39), 3, masks.masked)
    output = model(
        torch.zeros(2, 200),
        attention_mask=heard,
        mask_time_indices=torch.from_numpy(masks.masked),
        sampled_negative_indices=torch.from_numpy(negatives),
    )
    assert torch.isfinite(output.loss)
    (gradient,) = torch.autograd.grad(output.projected_states[torch.from_numpy(valid)].square().sum(), frames)
    np.testing.assert_array_equal(gradient.abs().amax(1).numpy() > 0, masks.visible)


# BEiT, DINOv2, SimMIM, MMPretrain


def collate_masks(
    generator: Any, samples: int, patches: int, ratios: tuple[float, float]
) -> dict[str, Tensor]:
    """What DINOv2's collate makes of its generator: half of the samples masked, by rising ratios."""
    steps = torch.linspace(*ratios, samples // 2 + 1)
    counts = [int(patches * float(low + high) / 2) for low, high in itertools.pairwise(steps)]
    masks = [torch.BoolTensor(generator(count)) for count in counts + [0] * (samples - len(counts))]
    flat = torch.stack(masks).flatten(1)
    weight = (1 / flat.sum(1).clamp(min=1.0)).unsqueeze(1).expand_as(flat)[flat]
    return {
        "masks": flat,
        "counts": torch.tensor(counts),
        "indices": flat.flatten().nonzero().flatten(),
        "weight": weight,
    }


def test_dinov2(still: Callable[..., MaskSampler]) -> None:
    from transformers import Dinov2Config, Dinov2Model

    generator = beit.MaskingGenerator(still(4, 4), (4, 4), seed=3)
    assert generator(3).dtype == bool
    collated = collate_masks(generator, 8, 16, (0.1, 0.5))
    assert collated["masks"].sum(1).tolist() == [*collated["counts"].tolist(), 0, 0, 0, 0]
    assert len(set(collated["counts"].tolist())) == 4
    assert collated["weight"].sum().item() == pytest.approx(4)
    for mask, count in zip(collated["masks"], collated["counts"], strict=False):
        expected = still(4, 4).replace(num_visible=16 - int(count))(0).masked
        np.testing.assert_array_equal(mask.numpy(), expected)
    config = Dinov2Config(
        image_size=32, patch_size=PATCH, hidden_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    pixels = image(8, 4, 4)
    output = Dinov2Model(config).eval()(pixels, bool_masked_pos=collated["masks"]).last_hidden_state
    np.testing.assert_array_equal(felt(output, pixels, (4, 4)), ~collated["masks"].reshape(8, 4, 4).numpy())
    with pytest.raises(RecipeError, match="num_masking_patches=16 is out of range; allowed is 0 to 15"):
        generator(16)
    with pytest.raises(RecipeError, match="given neither to the generator nor to the call"):
        generator()


def test_beit_and_simmim(still: Callable[..., MaskSampler]) -> None:
    """Counts are of masked tokens; int64, 1 = masked, and each token is `scale` patches long."""
    mask = beit.MaskingGenerator(still(5, 4), (5, 4), 7, dtype=int)()
    assert mask.dtype == np.int64
    assert (mask.shape, mask.sum()) == ((5, 4), 7)
    np.testing.assert_array_equal(
        mask == 1, still(5, 4, mask_ratio=None, num_visible=13)(0).masked.reshape(5, 4)
    )
    large = beit.MaskingGenerator(still(5, 4), (5, 4), 7, dtype=int, scale=8)()
    np.testing.assert_array_equal(large, np.kron(mask, np.ones((8, 8), int)))
    random = beit.MaskingGenerator("random", 14, 75, dtype=int)
    assert random().sum() == random().sum() == 75
    assert (random() != random()).any()
    clip = beit.MaskingGenerator("random", (2, 4, 4), 10, scale=2)()
    assert clip.dtype == bool
    assert (clip.shape, clip.sum()) == ((2, 8, 8), 40)
    for wrong, message in (
        ({"input_size": (14,)}, r"an image has height and width; give \(14, 14\) or 14"),
        ({"num_masking_patches": 196}, "num_masking_patches=196 is out of range; allowed is 1 to 195"),
        ({"scale": 0}, "scale=0 is out of range"),
    ):
        with pytest.raises(RecipeError, match=message):
            beit.MaskingGenerator("random", **{"input_size": 14, "num_masking_patches": 75} | wrong)


def test_mmpretrain_results(still: Callable[..., MaskSampler]) -> None:
    transform = beit.MaskTransform(still(4, 4), 4, 7, scale=2)
    results = transform({"img": "kept"})
    assert results["img"] == "kept"
    assert results["mask"].dtype == np.int64
    assert results["mask"].shape == (8, 8)
    expected = still(4, 4).replace(num_visible=9)(0).masked.reshape(4, 4)
    np.testing.assert_array_equal(results["mask"] == 1, expected.repeat(2, 0).repeat(2, 1))
    assert "MaskTransform: <MaskingGenerator: <MaskSampler" in repr(transform)


@pytest.mark.parametrize("kind", ["beit", "simmim"])
def test_mmpretrain(kind: str, still: Callable[..., MaskSampler]) -> None:
    """A config names the transform; PackInputs and the model take what it gives."""
    pytest.importorskip("mmpretrain")
    from mmpretrain.datasets.transforms import PackInputs
    from mmpretrain.models.selfsup import BEiTPretrainViT, SimMIMSwinTransformer
    from mmpretrain.registry import TRANSFORMS

    sampler = still(4, 4)
    arguments: dict[str, Any] = {"source": sampler, "input_size": 4, "num_masking_patches": 7}
    if kind == "beit":
        arch: dict[str, Any] = {"embed_dims": 16, "num_layers": 1, "num_heads": 2, "feedforward_channels": 32}
        model: Any = BEiTPretrainViT(arch=arch, img_size=32, patch_size=PATCH, final_norm=True)
    else:
        arguments["scale"] = 4
        arch = {"embed_dims": 8, "depths": [1, 1], "num_heads": [1, 2]}
        model = SimMIMSwinTransformer(arch=arch, img_size=64, out_indices=(1,))
    transform = TRANSFORMS.build({"type": "maskbank.adapters.beit.MaskTransform", **arguments})
    packed = [PackInputs()(transform({"img": np.zeros((32, 32, 3), np.uint8)})) for _ in range(2)]
    masks = torch.stack([one["data_samples"].mask for one in packed])
    pixels = image(2, 4, 4, patch=PATCH if kind == "beit" else 16)
    model.eval()
    output = model(pixels, masks)[0]
    visible = sampler.replace(num_visible=9)(range(2)).visible.reshape(2, 4, 4)
    np.testing.assert_array_equal(felt(output, pixels, (4, 4)), visible)


# data2vec 2, EAT


def make_maskinfo(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How data2vec 2 and EAT read a precomputed mask: 1 is masked, every sample has as many as the first."""
    order = mask.to(torch.uint8).argsort(dim=1, stable=True)
    keep = order[:, : x.shape[1] - int(mask[0].sum())]
    return x.gather(1, keep.unsqueeze(-1).expand(-1, -1, x.shape[2])), order.argsort(dim=1), keep


def test_data2vec2_and_eat() -> None:
    """Clones of a sample lie side by side, as x.repeat_interleave(clones, 0) lays them."""
    sampler = MaskSampler("inverse-block", (8, 4), 0.8)
    ids, clones, epoch = [5, 9, 2], 4, 7
    precomputed = torch.from_numpy(sampler(ids, epoch, views=clones).masked).flatten(0, 1)
    each = [torch.from_numpy(sampler(index, epoch, views=clones).masked) for index in ids]  # by the data set
    assert torch.equal(precomputed, torch.cat(each))
    x = torch.arange(3.0 * 32).reshape(3, 32, 1).repeat_interleave(clones, 0)
    unmasked, restore, keep = make_maskinfo(x, precomputed)
    for row in range(3 * clones):
        sample, clone = divmod(row, clones)
        visible = sampler(ids[sample], epoch, view=clone).visible.nonzero()[0]
        np.testing.assert_array_equal(unmasked[row, :, 0].numpy(), sample * 32 + visible)
        np.testing.assert_array_equal(restore[row, keep[row]].numpy(), np.arange(len(visible)))


# I-JEPA


def test_ijepa(still: Callable[..., MaskSampler]) -> None:
    """Targets are what masks show; the context is free of them; both have the numbers of their samplers."""
    context, targets = MaskSampler("random", (6, 6), 0.5), MaskSampler("inverse-block", (6, 6), num_visible=4)
    collator = ijepa.MaskCollator(context, targets, npred=4, rank=0)
    assert collator.step() == 0
    batch, masks_enc, masks_pred = collator([torch.full((2,), float(n)) for n in range(3)])
    assert batch.shape == (3, 2)
    assert (len(masks_enc), len(masks_pred)) == (1, 4)
    assert (masks_enc[0].dtype, masks_enc[0].shape) == (torch.int64, (3, 18))
    for k, target in enumerate(masks_pred):
        assert (target.dtype, target.shape) == (torch.int64, (3, 4))
        np.testing.assert_array_equal(target.numpy(), targets(range(3), epoch=1, view=k).ids_keep)
    free = np.ones((3, 36), bool)
    np.put_along_axis(free, torch.cat(masks_pred, 1).numpy(), False, 1)
    expected = context(range(3), epoch=1, view=4, valid=free, num_visible=18)
    assert (expected.visible & ~free).sum() == 0
    np.testing.assert_array_equal(masks_enc[0].numpy(), expected.ids_keep)
    other = ijepa.MaskCollator(context, targets, rank=1)
    assert other.step() == 0
    assert not torch.equal(other([0, 1, 2])[1][0], masks_enc[0])
    for wrong, message in (
        ((context, targets.replace(grid=(5, 5))), "context has the grid 6x6, targets 5x5; an image has one"),
        ((context, targets, 5), "5 targets of 4 tokens and a context of 18 may need more than the 36 of the"),
        ((context, targets, 0), "npred=0 is out of range"),
    ):
        with pytest.raises(RecipeError, match=message):
            ijepa.MaskCollator(*wrong)


def test_ijepa_in_lightlys_model() -> None:
    """Its own collator gives the same shapes; encoder and predictor take the lists."""
    pytest.importorskip("lightly")
    from lightly.data.ijepa_collate import IJEPAMaskCollator
    from lightly.models.modules import MaskedVisionTransformerTIMM
    from lightly.models.modules.ijepa_timm import IJEPAPredictorTIMM
    from lightly.models.utils import apply_masks

    collator = ijepa.MaskCollator("random", "inverse-block", npred=3, grid=(8, 8), num_visible=12)
    pixels = image(2, 8, 8)
    batch, masks_enc, masks_pred = collator(list(pixels.detach()))
    theirs = IJEPAMaskCollator(64, PATCH, npred=3)(list(pixels.detach()))
    assert torch.equal(batch, theirs[0])
    assert [len(part) for part in (masks_enc, masks_pred)] == [len(part) for part in theirs[1:]]
    assert (masks_enc[0].dtype, masks_enc[0].ndim) == (theirs[1][0].dtype, theirs[1][0].ndim)
    encoder = MaskedVisionTransformerTIMM(vit(8, 8, class_token=False, global_pool="avg"))
    predictor = IJEPAPredictorTIMM(num_patches=64, depth=1, mlp_dim=16, predictor_embed_dim=16, num_heads=2)
    predicted = predictor(encoder.encode(pixels, idx_keep=masks_enc[0]), masks_enc, masks_pred)
    target = apply_masks(encoder.encode(pixels).detach(), masks_pred)
    assert predicted.shape == target.shape == (2 * 3, 12, 16)
    seen = felt(predicted, pixels, (8, 8)).reshape(2, 64)
    for n in range(2):
        assert seen[n].nonzero()[0].tolist() == masks_enc[0][n].tolist()


def test_complementary_masks_as_a_context_and_targets(tmp_path: Path) -> None:
    bank = maskbank.generate(tmp_path / "sets.h5", RBN(size=(14, 14), mask_ratio=0.8), 10)
    keep = torch.from_numpy(MaskSampler(bank, (14, 14), 0.8).complementary(range(3)).ids_keep)
    context, targets = [keep[:, 0]], list(keep[:, 1:5].unbind(1))
    assert [lists.shape for lists in context + targets] == [(3, 39)] * 5
    for n in range(3):
        assert len(set(torch.cat([lists[n] for lists in context + targets]).tolist())) == 195


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
    webdataset = pytest.importorskip("webdataset")
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
    streaming = pytest.importorskip("streaming")
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
