"""Data to pretrain on, with labels and without downloads: clips of moving digits, and spoken words.

scikit-image and scikit-learn ship the photographs and the digits. espeak-ng speaks the words where it is
installed; elsewhere they are vowels made of formants.
"""

import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage, signal

from maskbank.analysis.clips import grid_of, opened, patch_for
from maskbank.errors import MaskbankError

Array = npt.NDArray[Any]
Axes = tuple[int, ...]

WORDS = "zero one two three four five six seven eight nine yes no up down left right go stop bird house"
ACCENTS, SPEAKERS = (
    "en-us en-gb en-gb-scotland en-gb-x-rp en-029",
    "m1 m2 m3 m4 m5 m7 f1 f2 f3 f4 croak Annie",
)
VOICES = [f"{accent}+{speaker}" for accent in ACCENTS.split() for speaker in SPEAKERS.split()]
RATE, HOP, FFT, BANDS, FRAMES = 16_000, 80, 512, 64, 512  # of sound; a frame has 5 ms
FORMANTS = {  # Hz (Peterson and Barney 1952, men)
    "heed": (270, 2290, 3010), "head": (530, 1840, 2480), "had": (660, 1720, 2410), "hod": (730, 1090, 2440),
    "hawed": (570, 840, 2410), "who'd": (300, 870, 2240), "hud": (640, 1190, 2390), "hid": (390, 1990, 2550),
}  # fmt: skip
PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "brick", "moon")
SAMPLES = {"train": 2048, "test": 768}


class Data:
    """Samples that are cut into a grid of patches.

    arrays: "train" and "test", (N, T, H, W), (N, H, W) or (N, T, F), with channels last or without; and
    "train_NAME", "test_NAME", (N,), for each label. periodic: time may start anywhere.
    """

    def __init__(self, arrays: dict[str, Array], grid: Axes, patch: Axes, periodic: bool = False) -> None:
        self.arrays, self.grid, self.patch, self.periodic = arrays, grid, patch, periodic
        some = np.asarray(arrays["train"][:256], np.float32)
        self.mean, self.deviation = float(some.mean()), float(some.std()) or 1.0
        self.values = math.prod(patch) * math.prod(some.shape[1 + len(patch) :])
        self.labels = [name.removeprefix("train_") for name in arrays if name.startswith("train_")]
        self.samples = {part: torch.from_numpy(arrays[part]) for part in SAMPLES}

    def tokens(self, ids: Any, rng: np.random.Generator | None = None, part: str = "train") -> Any:
        """Tokens (B, L, values), float32: cropped in the middle; with rng anywhere, and shifted in time."""
        whole = self.samples[part]
        x = whole[torch.as_tensor(ids, device=whole.device)]
        for axis, (g, p) in enumerate(zip(self.grid, self.patch, strict=True), 1):
            spare = x.shape[axis] - g * p
            x = x.narrow(axis, int(rng.integers(spare + 1)) if rng else spare // 2, g * p)
        if rng and self.periodic:
            x = x.roll(int(rng.integers(x.shape[1])), 1)
        for axis, p in enumerate(self.patch, 1):
            x = x.unfold(axis, p, p)
        return ((x.float() - self.mean) / self.deviation).reshape(len(x), math.prod(self.grid), -1)

    def whole(self, tokens: Array) -> Array:
        """Tokens (L, values) put together again, without channels: (T, H, W), (H, W) or (T, F)."""
        axes = len(self.grid)
        cells = tokens.reshape(*self.grid, -1, *self.patch).mean(axes)
        cells = cells.transpose(*(i for axis in range(axes) for i in (axis, axes + axis)))
        return np.asarray(cells.reshape([g * p for g, p in zip(self.grid, self.patch, strict=True)]))


def load(folder: Path, task: str, side: int, patch: Axes | None, labels: str | None) -> Data:
    """The data of "video" or "audio", made once and kept in the folder; or the user's own from a file."""
    if task == "video":
        cells = side // 9  # of 8 pixels: the rest is for crops
        made = _kept(folder / f"video{side}", lambda: _moving_digits(side))
        return Data(made, (8, cells, cells), (2, 8, 8))
    if task == "audio":
        name = "word" if shutil.which("espeak-ng") else "vowel"
        return Data(_kept(folder / f"{name}s", lambda: _spectrograms(name)), (64, 8), (8, 8), periodic=True)
    (source,) = opened(task)  # every eighth one is a test sample
    patch = patch_for(source.shape, patch)
    grid = grid_of(source.shape, patch)
    if len(grid) < 2 or source.count < 16:
        raise MaskbankError(f"{task}: give 16 samples or more of video, images or spectrograms")
    x, test = np.stack(list(source.read(range(source.count)))), np.arange(source.count) % 8 == 7
    arrays = {"train": x[~test], "test": x[test]}
    if labels is not None:
        try:
            y = np.load(labels)
        except (OSError, ValueError) as error:
            raise MaskbankError(f"{labels} is no .npy file of labels: {error}") from None
        if y.shape != (len(x),) or y.dtype.kind not in "iuUb" or len(np.unique(y[~test])) < 2:
            want = f"a whole number for each of {len(x):,} samples, at least two different ones"
            raise MaskbankError(f"{labels} holds {y.dtype} {y.shape}; give {want}")
        arrays |= {"train_label": y[~test], "test_label": y[test]}
    return Data(arrays, grid, patch)


def _kept(folder: Path, make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """The arrays that `make` gives, made once; processes share the pages of their files."""
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        partial.mkdir(parents=True, exist_ok=True)
        for name, array in make().items():
            np.save(partial / f"{name}.npy", array)
        partial.replace(folder)
    return {path.stem: np.load(path, mmap_mode="c") for path in sorted(folder.glob("*.npy"))}


def _moving_digits(side: int) -> dict[str, Array]:
    """Digits that move in eight directions over panning photographs: uint8 (N, 16, side, side).

    Test clips have digits and parts of photographs that no training clip has.
    """
    import skimage.io
    from sklearn.datasets import load_digits, load_sample_images

    files = [Path(skimage.__file__).parent / "data" / f"{name}.png" for name in PHOTOGRAPHS]
    images = [*load_sample_images().images, *map(skimage.io.imread, files)]
    grey = [image[..., :3].mean(-1) if image.ndim == 3 else image for image in images]
    digits, made = load_digits(), {}
    shuffled = np.random.default_rng(0).permutation(len(digits.target))
    for part, count in SAMPLES.items():
        train, rng = part == "train", np.random.default_rng([1, len(part)])
        chosen, scenes = shuffled[:1200] if train else shuffled[1200:], []
        for image in grey:  # the left part to train, the right part to test
            own = np.split(image / image.max(), [int(image.shape[1] * 0.6)], 1)[not train]
            factor = (side + 80) / min(own.shape)
            scenes.append(ndimage.zoom(ndimage.gaussian_filter(own, 0.45 / factor), factor, order=1))
        k, direction = rng.choice(chosen, count), rng.integers(0, 8, count)
        made[f"{part}_digit"], made[f"{part}_direction"] = digits.target[k], direction
        each = zip(rng.integers(0, len(scenes), count), k, direction, strict=True)
        made[part] = np.stack([_clip(rng, scenes[s], digits.images[i] / 16, d, side) for s, i, d in each])
    return made


def _clip(rng: np.random.Generator, scene: Array, digit: Array, direction: int, side: int) -> Array:
    """16 frames of a photograph that pans, and of a digit that moves in a direction."""
    steps, pan, angle = np.arange(16)[:, None], rng.uniform(-1.5, 1.5, 2), direction * np.pi / 4
    glyph = ndimage.zoom(digit, rng.uniform(0.38, 0.52) * side / 8, order=1).clip(0, 1)
    free = np.array(scene.shape) - side - 15 * np.abs(pan)
    views = np.rint(rng.random(2) * free + (-15 * pan).clip(0) + pan * steps).astype(int)
    move = rng.uniform(0.8, 1.6) * np.array([np.sin(angle), np.cos(angle)]) * (steps - 7.5)
    middles, most = rng.uniform(0.4, 0.6, 2) * side + move, side - len(glyph)
    corners = np.rint(middles - len(glyph) / 2).clip(0, most).astype(int)
    contrast, light = rng.uniform(0.4, 0.8), rng.choice([rng.uniform(0.85, 1), rng.uniform(0, 0.15)])
    frames = 0.5 + contrast * (np.stack([scene[y : y + side, x : x + side] for y, x in views]) - 0.5)
    for frame, (y, x) in zip(frames, corners, strict=True):
        under = frame[y : y + len(glyph), x : x + len(glyph)]
        under += glyph * (light - under)
    return (frames * 255).astype(np.uint8)


def _spectrograms(name: str) -> dict[str, Array]:
    """A word or vowel, again and again by one voice: log-mel (N, 512, 64). Test voices are others."""
    order = np.random.default_rng(5).permutation(len(VOICES))
    sounds, say = (WORDS.split(), _spoken) if name == "word" else (list(FORMANTS), _sung)
    made = {}
    for part, count in SAMPLES.items():
        rng, voices = np.random.default_rng([7, len(part)]), order[:40] if part == "train" else order[40:]
        said = [[say(sound, int(voice), rng) for voice in voices] for sound in sounds]
        made[f"{part}_{name}"] = labels = rng.integers(0, len(sounds), count)
        made[part] = np.stack([_spectrogram(rng, said[k][rng.integers(len(voices))]) for k in labels])
    return made


def _spoken(word: str, voice: int, rng: np.random.Generator) -> Array:
    """A word by espeak-ng, at a speed and pitch of its own: 16 kHz."""
    how = ["-v", VOICES[voice], "-s", str(rng.integers(120, 200)), "-p", str(rng.integers(20, 80))]
    data = subprocess.run(["espeak-ng", *how, "--stdout", word], capture_output=True, check=True).stdout
    samples = np.frombuffer(data[44 : len(data) // 2 * 2], "<i2") / 32768  # behind the header of a .wav
    sound = signal.resample_poly(samples, RATE, 22_050)
    loud = np.flatnonzero(np.abs(sound) > 1e-3)
    return np.asarray(sound[loud[0] : loud[-1] + 1] if len(loud) else sound)


def _sung(vowel: str, voice: int, rng: np.random.Generator) -> Array:
    """A vowel: a sawtooth of the voice's pitch through resonances of its vocal tract: 16 kHz."""
    own, length = np.random.default_rng(voice), int(rng.uniform(0.15, 0.4) * RATE)
    pitch, tract = own.uniform(90, 220), own.uniform(0.85, 1.2)
    glide = pitch * (1 + 0.1 * rng.normal() * np.linspace(-1, 1, length))
    sound = signal.sawtooth(2 * np.pi * np.cumsum(glide) / RATE)
    for formant in FORMANTS[vowel]:
        sound = signal.lfilter(*signal.iirpeak(formant * tract, 6.0, RATE), sound) + 0.1 * sound
    return np.asarray(sound * np.hanning(length))


def _spectrogram(rng: np.random.Generator, word: Array) -> Array:
    """2.56 s of a word again and again, at paces of its own, in noise: log power of mel bands, (512, 64)."""
    length, start = FRAMES * HOP, int(rng.uniform(0, 0.3) * RATE)
    sound = rng.normal(size=length + 4 * RATE) * 10 ** rng.uniform(-3, -1.7)
    while start < length - RATE // 5:
        said = np.interp(np.arange(0, len(word) - 1, rng.uniform(0.87, 1.15)), np.arange(len(word)), word)
        sound[start : start + len(said)] += (said / (np.abs(said).max() + 1e-6))[: len(sound) - start]
        start += len(said) + int(rng.uniform(0.08, 0.35) * RATE)
    frames = np.lib.stride_tricks.sliding_window_view(sound, FFT)[:length:HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(FFT))) ** 2
    mel, low, high = (2595 * np.log10(1 + f / 700) for f in (np.fft.rfftfreq(FFT, 1 / RATE), 60, 7800))
    centres, apart = np.linspace(low, high, BANDS, retstep=True)
    bands = (1 - np.abs(mel - centres[:, None]) / apart).clip(0)
    return np.asarray(np.log(power @ bands.T + 1e-4), np.float16)
