"""Adapters for code whose masks are made in the model or its transforms, on real models and twins of them."""

import copy
import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import maskbank
from maskbank import Green, MaskSampler, RecipeError
from maskbank.checks import MOST_TOKENS
from maskbank.recipes import RBN

torch = pytest.importorskip("torch")

from maskbank.adapters import colormae, huggingface, mae, videomae  # noqa: E402

pytestmark = pytest.mark.full

Tensor = Any
CHANNELS, WIDTH = 12, 16
TF = (12, 5)  # time x frequency, of different lengths so that a transposed mask is seen


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Banks by name; `still` holds one item that fits TF only one way, so each of its masks is the same."""
    folder = tmp_path_factory.mktemp("banks")
    recipes = {
        "green3d": (Green(size=(16, 16, 16)), 8),
        "green2d": (Green(size=(16, 16)), 8),
        "rbn": (RBN(size=(64, 8)), 5),
        "still": (Green(size=TF, boundary="reflect", dtype="float32"), 1),
    }
    for name, (recipe, n) in recipes.items():
        maskbank.generate(folder / f"{name}.h5", recipe, n)
    return {name: folder / f"{name}.h5" for name in recipes}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def still(banks: dict[str, Path], ratio: float = 0.75) -> MaskSampler:
    return MaskSampler(banks["still"], grid=TF, mask_ratio=ratio, flip=False)


class Model(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A masked autoencoder with the peers' interface: embed, mask, encode, unshuffle, decode, loss.

    late: positions are added after masking, by ids_keep, as in MAE-ST.
    """

    def __init__(self, tokens: int, late: bool = False) -> None:
        super().__init__()
        self.late = late
        self.embed = torch.nn.Linear(CHANNELS, WIDTH)
        self.pos = torch.nn.Parameter(torch.randn(1, tokens, WIDTH))
        self.encoder = torch.nn.TransformerEncoderLayer(WIDTH, 2, 32, dropout=0.0, batch_first=True)
        self.mask_token = torch.nn.Parameter(torch.randn(1, 1, WIDTH))
        self.decoder = torch.nn.TransformerEncoderLayer(WIDTH, 2, 32, dropout=0.0, batch_first=True)
        self.pred = torch.nn.Linear(WIDTH, CHANNELS)

    def _random_masking(self, x: Tensor, mask_ratio: float) -> Any:
        raise AssertionError("this is what is replaced")

    random_masking: Any = _random_masking

    def encode(self, patches: Tensor, *ratios: float) -> tuple[Tensor, Tensor, Tensor]:
        x = self.embed(patches)
        if not self.late:
            x, mask, restore = self.random_masking(x + self.pos, *ratios)
        else:
            x, mask, restore, keep = self.random_masking(x, *ratios)
            pos = self.pos.expand(len(x), -1, -1)
            x = x + torch.gather(pos, 1, keep.unsqueeze(-1).repeat(1, 1, WIDTH))
        return self.encoder(x), mask, restore

    def decode(self, x: Tensor, restore: Tensor) -> Tensor:
        fill = self.mask_token.repeat(len(x), restore.shape[1] - x.shape[1], 1)
        x = torch.cat([x, fill], dim=1)
        x = torch.gather(x, 1, restore.unsqueeze(-1).repeat(1, 1, x.shape[2]))
        return self.pred(self.decoder(x + self.pos))

    def forward(self, patches: Tensor, *ratios: float) -> tuple[Tensor, Tensor, Tensor]:
        latent, mask, restore = self.encode(patches, *ratios)
        pred = self.decode(latent, restore)
        loss = (pred - patches.detach()) ** 2
        return (loss.mean(-1) * mask).sum() / mask.sum(), pred, mask


def check_training(model: Any, patches: Tensor, *ratios: float) -> Tensor:
    """One step forward and back; what was removed has no influence on the prediction. The mask."""
    patches.requires_grad_()
    loss, pred, mask = model(patches, *ratios)
    loss.backward(retain_graph=True)
    assert torch.isfinite(loss)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    (felt,) = torch.autograd.grad(pred.float().square().sum(), patches)
    assert torch.equal(felt.abs().sum(-1) > 0, mask == 0)
    return mask


def check_contract(x: Tensor, kept: int, x_masked: Tensor, mask: Tensor, restore: Tensor) -> None:
    """What the peers' random_masking promises, whatever the mask is."""
    n, tokens, channels = x.shape
    assert x_masked.shape == (n, kept, channels)
    assert (mask.dtype, mask.shape) == (torch.float32, (n, tokens))
    assert (restore.dtype, restore.shape) == (torch.int64, (n, tokens))
    assert x_masked.dtype == x.dtype
    assert x_masked.device == mask.device == restore.device == x.device
    assert torch.equal(mask.sum(1), torch.full((n,), float(tokens - kept)))
    assert set(mask.unique().tolist()) == ({0.0, 1.0} if kept < tokens else {0.0})
    fill = torch.full((n, tokens - kept, channels), -1.0, dtype=x.dtype)
    whole = torch.cat([x_masked, fill], 1).gather(1, restore.unsqueeze(-1).repeat(1, 1, channels))
    assert torch.equal(whole, torch.where(mask.unsqueeze(-1) == 0, x, -1.0))


FAMILIES = [  # bank, grid, order, returns, mask ratio
    ("green2d", (14, 14), "time-major", 3, 0.75),  # MAE
    ("green3d", (8, 14, 14), "time-major", 4, 0.9),  # MAE-ST
    ("rbn", (64, 8), "time-major", 3, 0.8),  # AudioMAE
    ("rbn", (62, 8), "frequency-major", 3, 0.75),  # MaskSpec
    ("random", (14, 14), "time-major", 3, 0.75),
]


@pytest.mark.parametrize("name, grid, order, returns, ratio", FAMILIES)
@pytest.mark.parametrize("own", [0.5, None])
def test_random_masking_in_a_model(
    banks: dict[str, Path],
    name: str,
    grid: tuple[int, ...],
    order: Any,
    returns: Any,
    ratio: float,
    own: float | None,
) -> None:
    """The ratio of the call counts, whether or not it is the sampler's own."""
    tokens = math.prod(grid)
    model = Model(tokens, late=returns == 4)
    sampler = MaskSampler(banks.get(name, name), grid=grid, mask_ratio=own or ratio)
    model.random_masking = mae.RandomMasking(sampler, order=order, returns=returns)
    mask = check_training(model, torch.randn(3, tokens, CHANNELS), ratio)
    assert not torch.equal(mask[0], mask[1])
    x = torch.randn(3, tokens, CHANNELS)
    result = model.random_masking(x, ratio)
    assert len(result) == returns
    kept = int(tokens * (1 - ratio))
    check_contract(x, kept, *result[:3])
    if returns == 4:
        keep = result[3]
        assert (keep.dtype, keep.shape) == (torch.int64, (3, kept))
        assert torch.equal(result[0], x.gather(1, keep.unsqueeze(-1).repeat(1, 1, CHANNELS)))


def test_the_mask_of_the_sampler_is_the_mask_of_the_model(banks: dict[str, Path]) -> None:
    """Both orders: a token's value is its place, (t, f)."""
    sampler = still(banks)
    visible = sampler(0).visible.reshape(TF)
    assert (sampler(range(9)).visible == visible.reshape(-1)).all()
    assert not (visible[:5, :5] == visible[:5, :5].T).all()
    t, f = np.indices(TF)
    cases: list[tuple[mae.Order, tuple[int, int]]] = [("time-major", (0, 1)), ("frequency-major", (1, 0))]
    for order, axes in cases:
        places = np.stack([t, f], -1).transpose(*axes, 2).reshape(1, -1, 2)
        x = torch.from_numpy(places).float().repeat(2, 1, 1)
        x_masked, mask, _ = mae.RandomMasking(sampler, order=order)(x, 0.75)
        for b in range(2):
            seen = np.zeros(TF, bool)
            seen[tuple(x_masked[b].long().numpy().T)] = True
            np.testing.assert_array_equal(seen, visible)
            np.testing.assert_array_equal(
                mask[b].numpy().reshape(np.array(TF)[list(axes)]), ~visible.transpose(axes)
            )
        steps = np.diff(
            x_masked[0].numpy() @ (np.array([TF[1], 1]) if axes[0] == 0 else np.array([1, TF[0]]))
        )
        assert (steps > 0).all()  # tokens that stay ascend


def test_one_model_with_audio_and_frames(banks: dict[str, Path]) -> None:
    """CAV-MAE: 512 tokens of audio, frequency-major, and 196 of a frame, by one function."""
    audio = MaskSampler(banks["rbn"], grid=(64, 8), mask_ratio=0.75)
    frames = MaskSampler(banks["green3d"], grid=(14, 14), mask_ratio=0.75)
    for masking in (
        mae.RandomMasking(audio, frames, order=("frequency-major", "time-major")),
        mae.RandomMasking(frames, audio, order=("time-major", "frequency-major")),
    ):
        for tokens in (512, 196, 512):
            model = Model(tokens)
            model.random_masking = masking
            check_training(model, torch.randn(2, tokens, CHANNELS), 0.75)
            x = torch.randn(2, tokens, 4)
            check_contract(x, int(tokens * (1 - 0.75)), *masking(x, 0.75))
    both = mae.RandomMasking(still(banks), frames, order=("frequency-major", "time-major"))
    _, mask, _ = both(torch.zeros(1, 60, 1), 0.75)
    expected = ~still(banks)(0).visible.reshape(TF).T
    np.testing.assert_array_equal(mask[0].numpy().reshape(TF[::-1]), expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_types_stay(banks: dict[str, Path], dtype: str) -> None:
    masking = mae.RandomMasking(MaskSampler(banks["rbn"], grid=(64, 8), mask_ratio=0.8))
    x = torch.randn(2, 512, 3).to(getattr(torch, dtype)).requires_grad_()
    x_masked, mask, restore = masking(x, 0.8)
    check_contract(x, 102, x_masked, mask, restore)
    x_masked.sum().backward()
    assert torch.equal(x.grad, (1 - mask).to(x.dtype).unsqueeze(-1).expand_as(x))


def test_autocast(banks: dict[str, Path]) -> None:
    for late in (False, True):
        model = Model(196, late=late)
        sampler = MaskSampler(banks["green2d"], grid=(14, 14), mask_ratio=0.75)
        model.random_masking = mae.RandomMasking(sampler, returns=4 if late else 3)
        with torch.autocast("cpu", torch.bfloat16):
            x = model.embed(torch.randn(2, 196, CHANNELS))
            check_contract(x, 49, *model.random_masking(x, 0.75)[:3])
            assert x.dtype == torch.bfloat16
            check_training(model, torch.randn(2, 196, CHANNELS), 0.75)


def test_the_mask_has_torchs_default_type_as_the_peers_ones_have(banks: dict[str, Path]) -> None:
    generator = colormae.ColorMasking(14, 0.75, banks["green2d"])
    torch.set_default_dtype(torch.float64)
    try:
        _, mask, _ = mae.RandomMasking(still(banks))(torch.zeros(1, 60, 1), 0.75)
        assert (
            mask.dtype == generator.color_noise_mask(generator.extract_windows(2))[0].dtype == torch.float64
        )
    finally:
        torch.set_default_dtype(torch.float32)


def test_everything_stays_at_ratio_zero(banks: dict[str, Path]) -> None:
    """How features are taken from a trained model."""
    for order in ("time-major", "frequency-major"):
        x = torch.randn(2, 60, 4)
        result = mae.RandomMasking(still(banks), order=order, returns=4)(x, 0.0)
        check_contract(x, 60, *result[:3])
        assert torch.equal(result[0], x)
    x = torch.randn(2, 60, 4)
    check_contract(x, 60, *mae.TimeFrequencyMasking(still(banks))(x, 0.0, 0.0))
    with pytest.raises(RecipeError, match="not between 0 and 1"):
        mae.RandomMasking(still(banks))(x, -0.1)


def test_time_frequency_masking(banks: dict[str, Path]) -> None:
    """AudioMAE: whole rows and columns from the baseline, as many tokens from a bank."""
    separable = MaskSampler("timefreq", grid=(64, 8), mask_ratio=(0.3, 0.3))
    spread = MaskSampler(banks["rbn"], grid=(64, 8), mask_ratio=0.8)
    for t, f, rows, columns in ((0.6, 0.5, 25, 4), (0.3, 0.3, 44, 5), (0.5, 0.25, 32, 6), (0.75, 0.5, 16, 4)):
        for sampler in (separable, spread):
            masking = mae.TimeFrequencyMasking(sampler)
            x = torch.randn(3, 512, 4)
            result = masking(x, mask_t_prob=t, mask_f_prob=f)  # named, as models_mae calls it
            check_contract(x, rows * columns, *result)
            visible = result[1].reshape(3, 64, 8) == 0
            whole = visible.any(2, keepdim=True) & visible.any(1, keepdim=True)
            assert torch.equal(visible, whole) == (sampler is separable)
            if sampler is separable:
                assert (visible.any(2).sum(1) == rows).all()
                assert (visible.any(1).sum(1) == columns).all()
            model = Model(512)
            model.random_masking = masking
            check_training(model, torch.randn(2, 512, CHANNELS), t, f)
    # Counts, not ratios, tell masks apart: 16 x 2 and 8 x 4 are both 32.
    masking = mae.TimeFrequencyMasking(separable)
    for t, f, rows in ((0.75, 0.75, 16), (0.875, 0.5, 8)):
        _, mask, _ = masking(torch.zeros(2, 512, 1), t, f)
        assert ((mask.reshape(2, 64, 8) == 0).any(2).sum(1) == rows).all()
    _, mask, _ = mae.TimeFrequencyMasking(still(banks))(torch.zeros(1, 60, 1), 0.5, 0.4)
    np.testing.assert_array_equal(mask[0].numpy() == 0, still(banks).replace(num_visible=6 * 3)(0).visible)


def test_masks_differ_between_calls_and_copies(banks: dict[str, Path]) -> None:
    model = Model(196)
    keys = set(model.state_dict())
    model.random_masking = mae.RandomMasking(MaskSampler(banks["green2d"], grid=(14, 14), mask_ratio=0.75))
    assert set(model.state_dict()) == keys
    x = torch.zeros(4, 196, CHANNELS)
    model(x, 0.75)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    copies = [model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded]
    masks = [twin(x, 0.75)[2] for twin in copies for _ in range(2)]
    assert all(not torch.equal(a, b) for i, a in enumerate(masks) for b in masks[:i])
    generator = mae.TimeFrequencyMasking(MaskSampler("timefreq", grid=(64, 8), mask_ratio=(0.3, 0.3)))
    assert (
        pickle.loads(pickle.dumps(copy.deepcopy(generator)))(torch.zeros(1, 512, 1), 0.5, 0.5)[0].shape[1]
        == 128
    )


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's compiler, of its own doing
def test_a_compiled_model_draws_masks_anew(banks: dict[str, Path]) -> None:
    sampler = MaskSampler(banks["green2d"], grid=(14, 14), mask_ratio=0.75)
    for masking in (mae.RandomMasking(sampler), coloured(colormae.ColorMasking(14, 0.75, sampler))):
        model = Model(196)
        model.random_masking = masking
        compiled = torch.compile(model, backend="eager")
        masks = [check_training(compiled, torch.randn(2, 196, CHANNELS), 0.75) for _ in range(3)]
        assert not torch.equal(masks[0], masks[1])
        assert not torch.equal(masks[1], masks[2])


def test_what_random_masking_refuses(banks: dict[str, Path]) -> None:
    square = MaskSampler("random", grid=(14, 14), mask_ratio=0.75)
    video = MaskSampler(banks["green2d"], grid=(8, 14, 14), mask_ratio=0.9)
    for message, call in (
        (
            r"200 tokens.*14x14 \(196\), 8x14x14 \(1568\)",
            lambda: mae.RandomMasking(square, video)(zeros(200), 0.75),
        ),
        (r"shape \(2, 196\)", lambda: mae.RandomMasking(square)(torch.zeros(2, 196), 0.75)),
        (
            "two samplers for 196 tokens",
            lambda: mae.RandomMasking(square, still(banks).replace(grid=(4, 5)), square),
        ),
        ("order='rows'", lambda: mae.RandomMasking(square, order="rows")),  # type: ignore[arg-type]
        ("8x14x14 is not time x frequency", lambda: mae.RandomMasking(video, order="frequency-major")),
        ("1 samplers and 2 orders", lambda: mae.RandomMasking(square, order=("time-major", "time-major"))),
        ("0 samplers", lambda: mae.RandomMasking()),
        ("returns=5", lambda: mae.RandomMasking(square, returns=5)),  # type: ignore[arg-type]
        ("leaves none of 196 tokens visible", lambda: mae.RandomMasking(square)(zeros(196), 0.999)),
        ("num_visible=156 cannot be the same", lambda: mae.RandomMasking(video)(zeros(1568), 0.9)),
        ("timefreq has two ratios", lambda: mae.RandomMasking(MaskSampler("timefreq", (64, 8), (0.3, 0.3)))),
        ("grid=8x14x14", lambda: mae.TimeFrequencyMasking(video)),
        (
            "60 tokens, the sampler's grid 14x14 has 196",
            lambda: mae.TimeFrequencyMasking(square)(zeros(60), 0.5, 0.5),
        ),
    ):
        with pytest.raises(RecipeError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert mae.RandomMasking(video)(zeros(1568), 0.8979)[0].shape[1] == 160


def zeros(tokens: int) -> Tensor:
    return torch.zeros(2, tokens, 4)


def coloured(generator: colormae.ColorMasking) -> Any:
    """What ColorMAEViT does with its generator."""

    def color_masking(x: Tensor, mask_ratio: float) -> tuple[Tensor, Tensor, Tensor]:
        mask, restore, keep = generator.color_noise_mask(generator.extract_windows(len(x)))
        return torch.gather(x, 1, keep.unsqueeze(-1).repeat(1, 1, x.shape[2])), mask, restore

    return color_masking


@pytest.mark.parametrize("name", ["green2d", "green3d", "random"])
def test_colormae(banks: dict[str, Path], name: str) -> None:
    generator = colormae.ColorMasking(14, mask_ratio=0.75, data_path=banks.get(name, name))
    windows = generator.extract_windows(5)
    assert (windows.dtype, windows.shape, windows.device.type) == (
        torch.float32,
        (5, 14, 14),
        generator.device.type,
    )
    assert generator.loaded_color == name.removesuffix("2d").removesuffix("3d")
    mask, restore, keep = generator.color_noise_mask(windows)
    x = torch.randn(5, 196, 4)
    x_masked = torch.gather(x, 1, keep.unsqueeze(-1).repeat(1, 1, 4))
    check_contract(x, 49, x_masked, mask, restore)
    order = windows.flatten(1)
    assert (
        order[mask == 0].reshape(5, -1).min(1).values > order[mask == 1].reshape(5, -1).max(1).values
    ).all()
    assert torch.equal(keep, keep.sort(1).values)

    model = Model(196)
    model.random_masking = coloured(generator)
    check_training(model, torch.randn(3, 196, CHANNELS), 0.75)
    twins = (generator, copy.deepcopy(generator), pickle.loads(pickle.dumps(generator)))
    assert len({twin.extract_windows(2).numpy().tobytes() for twin in twins for _ in range(2)}) == 6


def test_colormae_takes_any_windows_samplers_and_schedules(banks: dict[str, Path], tmp_path: Path) -> None:
    fixed = MaskSampler(banks["still"], grid=(4, 5), mask_ratio=0.5, flip=False)
    generator = colormae.ColorMasking(5, 0.75, fixed)
    noise = torch.randn(3, 5, 5)
    mask, restore, keep = generator.color_noise_mask(noise)
    assert torch.equal(keep, noise.flatten(1).argsort(1, descending=True)[:, :6])
    assert torch.equal(noise.flatten(1)[0][mask[0] == 0].sort().values, noise[0].flatten().sort().values[-6:])
    assert torch.equal(restore.gather(1, keep), torch.arange(6).repeat(3, 1))
    recipe = Green(size=(5, 5), boundary="reflect", dtype="float32")
    square = MaskSampler(
        maskbank.generate(tmp_path / "5.h5", recipe, 1), grid=(5, 5), mask_ratio=0.75, flip=False
    )
    generator.change_color_pattern(square)
    for twin in (generator, colormae.ColorMasking(5, 0.75, square)):
        mask, _, _ = twin.color_noise_mask(twin.extract_windows(1))
        np.testing.assert_array_equal(mask[0].numpy() == 1, square(0).masked)
    for path, colour in ((banks["rbn"], "rbn"), (str(banks["green3d"]), "green"), ("block", "block")):
        generator.change_color_pattern(path)
        assert generator.loaded_color == colour
        assert (generator.color_noise_mask(generator.extract_windows(4))[0].sum(1) == 19).all()


def test_videomaes_generator(banks: dict[str, Path]) -> None:
    generator = videomae.MaskingGenerator(banks["green3d"], (8, 14, 14), 0.9, transpose=True)
    mask = generator()
    assert mask.dtype == np.float64
    assert mask.shape == (1568,)
    assert (mask.reshape(8, 196) == 1).sum(1).tolist() == [176] * 8
    assert (mask == 0).sum() == 160
    assert not np.array_equal(mask, generator())
    assert not np.array_equal(mask[:196], mask[196:392])  # no tube, so these are frames
    assert (generator.total_patches, generator.total_masks) == (1568, 1408)
    assert "total patches 1568, mask patches 1408" in repr(generator)
    assert generator.sampler.bank is not None
    assert generator.sampler.bank.fingerprint in repr(generator)
    assert generator.sampler.transpose
    assert (
        videomae.MaskingGenerator(banks["green3d"], (8, 14, 14), 0.9, per_frame=False)() == 0
    ).sum() == 156
    tube = videomae.MaskingGenerator("tube", (8, 14, 14), 0.9)()
    assert (tube.reshape(8, 196) == tube[:196]).all()
    with pytest.raises(RecipeError, match="mask_ratio"):
        videomae.MaskingGenerator(banks["green3d"], (8, 14, 14), 1.9)


def test_videomaes_mask_is_the_samplers(tmp_path: Path) -> None:
    recipe = Green(size=(3, 4, 5), boundary="reflect", dtype="float32")
    bank = maskbank.generate(tmp_path / "still.h5", recipe, 1)
    expected = MaskSampler(bank, (3, 4, 5), 0.75, per_frame=True, flip=False)(0).masked
    np.testing.assert_array_equal(
        videomae.MaskingGenerator(bank, (3, 4, 5), 0.75, flip=False)() == 1, expected
    )
    map_ = videomae.MaskMapGenerator(bank, (3, 4, 5), 0.75, flip=False)()
    np.testing.assert_array_equal(map_ == 1, expected.reshape(3, 20))


def test_videomaev2s_maps_meet_in_its_loss(banks: dict[str, Path]) -> None:
    """What its engine does with a batch of both maps."""
    encoder = videomae.MaskMapGenerator(banks["green3d"], (8, 14, 14), 0.9)
    decoder = videomae.MaskMapGenerator(banks["rbn"], (8, 14, 14), 0.5)
    samples = [(encoder(), decoder()) for _ in range(4)]
    assert samples[0][0].shape == samples[0][1].shape == (8, 196)
    assert samples[0][0].dtype == samples[0][1].dtype == np.float64
    hidden, unread = (m.flatten(1).to(torch.bool) for m in torch.utils.data.default_collate(samples))
    patches = torch.randn(4, 1568, 6)
    assert patches[~hidden].reshape(4, -1, 6).shape[1] == 160  # what the encoder sees
    labels = patches[~unread].reshape(4, -1, 6)
    assert labels.shape[1] == 8 * 98  # what the decoder reconstructs
    counted = hidden[~unread].reshape(4, -1)
    assert ((counted.float().mean(1) > 0.85) & (counted.float().mean(1) < 0.95)).all()
    assert ((1 - samples[0][0]) == (samples[0][0] == 0)).all()  # without decoder masking


class Clips:
    """A dataset whose transform ends in VideoMAE's generator."""

    def __init__(self, *generators: videomae.MaskingGenerator) -> None:
        self.generators = generators

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return tuple(generator() for generator in self.generators)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_videomae_in_workers(banks: dict[str, Path], method: str) -> None:
    clips = Clips(
        videomae.MaskingGenerator("random", (8, 14, 14), 0.9),
        videomae.MaskMapGenerator(banks["green3d"], (8, 14, 14), 0.9),
    )
    first = clips[0]  # the bank is open and the stream has begun before the fork
    loader = torch.utils.data.DataLoader(clips, batch_size=2, num_workers=2, multiprocessing_context=method)
    epochs = 2 if method == "fork" else 1  # spawned workers import torch
    batches = [batch for _ in range(epochs) for batch in loader]
    flat = torch.cat([batch[0] for batch in batches])
    assert flat.dtype == torch.float64
    assert len({mask.numpy().tobytes() for mask in flat} | {first[0].tobytes()}) == 16 * epochs + 1
    assert (torch.cat([batch[1] for batch in batches]) == 0).sum((1, 2)).tolist() == [160] * 16 * epochs


def check_hidden(pixels: Tensor, logits: Tensor, masked: Any, tube: int) -> None:
    """Logits feel every pixel of visible tokens and none of masked ones, (B, T, H, W), 8 x 8 pixels each."""
    (felt,) = torch.autograd.grad(logits.square().sum(), pixels)
    hidden = np.repeat(np.repeat(np.repeat(masked, tube, 1), 8, 2), 8, 3)
    np.testing.assert_array_equal(felt.abs().amax(-3).numpy().reshape(hidden.shape) == 0, hidden)


SMALL: dict[str, int] = {
    f"{part}{name}": n
    for part in ("", "decoder_")
    for name, n in {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32
    }.items()
}  # fmt: skip


def test_transformers_videomae(banks: dict[str, Path]) -> None:
    from transformers import VideoMAEConfig, VideoMAEForPreTraining

    config = VideoMAEConfig(image_size=40, patch_size=8, num_frames=6, tubelet_size=2, **SMALL)
    masks = MaskSampler(banks["green3d"], grid=(3, 5, 5), mask_ratio=0.7, per_frame=True)(range(4))
    masked = huggingface.bool_masked_pos(masks)
    assert (masked.dtype, masked.shape) == (torch.bool, (4, 75))
    assert np.shares_memory(masked.numpy(), masks.masked)
    assert torch.equal(masked, torch.from_numpy(~masks.visible))
    clip = torch.rand(4, 6, 3, 40, 40, requires_grad=True)
    output = VideoMAEForPreTraining(config)(clip, bool_masked_pos=masked)
    assert torch.isfinite(output.loss)
    assert output.logits.shape[:2] == (4, 75 - masks.ids_keep.shape[1])
    check_hidden(clip, output.logits, masks.masked.reshape(4, 3, 5, 5), 2)


def test_transformers_vitmae(banks: dict[str, Path]) -> None:
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    config = ViTMAEConfig(image_size=56, patch_size=8, mask_ratio=0.75, **SMALL)
    masks = MaskSampler(banks["green2d"], grid=(7, 7), mask_ratio=0.75)(range(4))
    noise = huggingface.noise(masks)
    assert (noise.dtype, noise.shape) == (torch.float32, (4, 49))
    image = torch.rand(4, 3, 56, 56, requires_grad=True)
    output = ViTMAEForPreTraining(config)(image, noise=noise)
    assert torch.isfinite(output.loss)
    np.testing.assert_array_equal(output.mask.numpy() == 1, masks.masked)
    np.testing.assert_array_equal(output.ids_restore.numpy(), masks.ids_restore)
    check_hidden(image, output.logits, masks.masked.reshape(4, 1, 7, 7), 1)


def test_noise_has_no_ties_however_large_the_grid() -> None:
    assert MOST_TOKENS <= 2**24
    last = np.arange(MOST_TOKENS - 1000, MOST_TOKENS)
    np.testing.assert_array_equal(last.astype(np.float32).astype(np.int64), last)


def test_one_mask_and_a_device() -> None:
    mask = MaskSampler("random", grid=(4, 4), mask_ratio=0.5)(7)
    assert huggingface.bool_masked_pos(mask, "cpu").shape == (16,)
    assert huggingface.noise(mask, torch.device("cpu")).shape == (16,)
    assert huggingface.noise(mask, "meta").device.type == "meta"
    assert huggingface.bool_masked_pos(mask, "meta").device.type == "meta"
