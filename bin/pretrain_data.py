"""Data with labels and without downloads: moving digits; words by espeak-ng, or vowels made of formants."""

import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import numpy.typing as npt
import skimage
import torch

from maskbank.analysis.clips import grid_of, opened, patch_for
from maskbank.errors import MaskbankError

Array = npt.NDArray[Any]
Axes = tuple[int, ...]

WORDS = "zero one two three four five six seven eight nine yes no up down left right go stop bird house"
ACCENTS = "en-us en-gb en-gb-scotland en-gb-x-rp en-029"
SPEAKERS = "m1 m2 m3 m4 m5 m7 f1 f2 f3 f4 croak Annie"
VOICES = [f"{accent}+{speaker}" for accent in ACCENTS.split() for speaker in SPEAKERS.split()]
RATE, HOP, FFT, BANDS, FRAMES = 16_000, 80, 512, 64, 512  # of sound; a frame has 5 ms
FORMANTS = {  # Hz (Peterson and Barney 1952, men)
    "heed": (270, 2290, 3010), "head": (530, 1840, 2480), "had": (660, 1720, 2410), "hod": (730, 1090, 2440),
    "hawed": (570, 840, 2410), "who'd": (300, 870, 2240), "hud": (640, 1190, 2390), "hid": (390, 1990, 2550),
}  # fmt: skip
PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "brick", "moon")
SAMPLES = {"train": 2048, "test": 768}


class Data(NamedTuple):
    """Samples as tokens of a grid."""

    arrays: dict[str, Array]  # train and test: float16 (N, L, values); train_LABEL and test_LABEL: (N,)
    grid: Axes
    patch: Axes

    def whole(self, tokens: Array) -> Array:
        """Tokens (L, values) put together again, without channels: (T, H, W), (H, W) or (T, F)."""
        axes = len(self.grid)
        cells = tokens.reshape(*self.grid, -1, *self.patch).mean(axes, np.float32)
        order = np.arange(2 * axes).reshape(2, axes).T.ravel()
        return np.asarray(cells.transpose(order).reshape(np.multiply(self.grid, self.patch)))


def load(folder: Path, task: str, large: bool, patch: Axes | None, labels: str | None) -> Data:
    """The data of "video" or "audio", made once and kept in the folder; or the user's own from a file."""
    kept = joblib.Memory(folder, mmap_mode="c", verbose=0)  # processes share the pages of its files
    if task == "video":
        side = 14 if large else 8
        return Data(kept.cache(_moving_digits)(8 * side), (8, side, side), (2, 8, 8))
    if task == "audio":
        name = "word" if shutil.which("espeak-ng") else "vowel"
        return Data(kept.cache(_spectrograms)(name), (64, 8), (8, 8))
    (source,) = opened(task)
    patch = patch_for(source.shape, patch)
    grid, ids = grid_of(source.shape, patch), np.arange(source.count)
    if len(grid) < 2 or source.count < 16:
        raise MaskbankError(f"{task}: give 16 samples or more of video, images or spectrograms")
    parts = {"train": ids[ids % 8 != 7], "test": ids[ids % 8 == 7]}
    arrays = _cut({part: np.stack(list(source.read(some))) for part, some in parts.items()}, patch)
    if labels is not None:
        try:
            y = np.lib.format.open_memmap(labels, mode="r")
        except (OSError, ValueError) as error:
            raise MaskbankError(f"{labels} is no .npy file of labels: {error}") from None
        if y.shape != (len(ids),) or y.dtype.kind not in "iuUb" or len(np.unique(y[parts["train"]])) < 2:
            want = f"a whole number for each of {len(ids):,} samples, at least two different ones"
            raise MaskbankError(f"{labels} holds {y.dtype} {y.shape}; give {want}")
        arrays |= {f"{part}_label": y[some] for part, some in parts.items()}
    return Data(arrays, grid, patch)


def _cut(arrays: dict[str, Array], patch: Axes) -> dict[str, Array]:
    """Samples, with channels last or without, as tokens, less the mean of all and over their deviation."""
    some = arrays["train"][:256].astype(np.float32)
    for part in SAMPLES:
        x = torch.from_numpy(((arrays[part] - some.mean()) / (some.std() or 1)).astype(np.float16))
        for axis, p in enumerate(patch, 1):
            x = x.unfold(axis, p, p)
        arrays[part] = x.flatten(1, len(patch)).flatten(2).numpy()
    return arrays


def _moving_digits(side: int) -> dict[str, Array]:
    """Digits that move over panning photographs, in tokens. Digits and photographs are other ones to test."""
    from sklearn.datasets import load_digits

    digits, made, rng = load_digits(), {}, np.random.default_rng(0)
    shuffled = rng.permutation(len(digits.target))
    for part, count in SAMPLES.items():
        train, scenes = part == "train", []
        for name in PHOTOGRAPHS:  # the left part to train, the right part to test
            image = getattr(skimage.data, name)()
            grey = (image.mean(-1) if image.ndim == 3 else image) / image.max()
            own = np.split(grey, [int(0.6 * grey.shape[1])], 1)[not train]
            scenes.append(skimage.transform.rescale(own, (side + 96) / min(own.shape), anti_aliasing=True))
        k = rng.choice(shuffled[:1200] if train else shuffled[1200:], count)
        scene, direction = rng.choice(len(scenes), count), rng.integers(0, 8, count)
        made[f"{part}_digit"], made[f"{part}_direction"] = digits.target[k], direction
        each = zip(scene, digits.images[k], direction, strict=True)
        made[part] = np.stack([_clip(rng, scenes[place], digit, way, side) for place, digit, way in each])
    return _cut(made, (2, 8, 8))


def _clip(rng: np.random.Generator, scene: Array, digit: Array, direction: int, side: int) -> Array:
    """16 frames of a photograph that pans, and of a digit that moves in a direction."""
    from scipy import ndimage

    steps, angle = np.arange(16)[:, None] - 7.5, direction * np.pi / 4
    pan, move = rng.uniform(-1.5, 1.5, 2), rng.uniform(0.8, 1.6) * np.array([np.sin(angle), np.cos(angle)])
    glyph = ndimage.zoom(digit / 16, rng.uniform(0.38, 0.52) * side / 8, order=1).clip(0, 1)
    size = len(glyph)
    views = (rng.uniform(12, np.array(scene.shape) - side - 12) + pan * steps).astype(int)
    places = (rng.uniform(0.4, 0.6, 2) * side - size / 2 + move * steps).clip(0, side - size).astype(int)
    contrast, light = rng.uniform(0.4, 0.8), rng.choice([rng.uniform(0.85, 1), rng.uniform(0, 0.15)])
    frames = 0.5 + contrast * (np.stack([scene[y : y + side, x : x + side] for y, x in views]) - 0.5)
    for frame, (y, x) in zip(frames, places, strict=True):
        frame[y : y + size, x : x + size] += glyph * (light - frame[y : y + size, x : x + size])
    return (frames * 255).astype(np.uint8)


def _spectrograms(name: str) -> dict[str, Array]:
    """A word or vowel, again and again by one voice: log-mel, in tokens. Voices are other ones to test."""
    rng, made = np.random.default_rng(0), {}
    voices = rng.permutation(len(VOICES))
    sounds, say = (WORDS.split(), _spoken) if name == "word" else (list(FORMANTS), _sung)
    for (part, count), some in zip(SAMPLES.items(), (voices[:40], voices[40:]), strict=True):
        said = [[say(sound, int(voice), rng) for voice in some] for sound in sounds]
        made[f"{part}_{name}"] = labels = rng.integers(0, len(sounds), count)
        made[part] = np.stack([_spectrogram(rng, said[k][rng.integers(len(some))]) for k in labels])
    return _cut(made, (8, 8))


def _spoken(word: str, voice: int, rng: np.random.Generator) -> Array:
    """A word by espeak-ng, at a speed and pitch of its own: 16 kHz."""
    from scipy import signal

    how = ["-v", VOICES[voice], "-s", str(rng.integers(120, 200)), "-p", str(rng.integers(20, 80))]
    data = subprocess.run(["espeak-ng", *how, "--stdout", word], capture_output=True, check=True).stdout
    samples = np.frombuffer(data[44 : len(data) // 2 * 2], "<i2") / 32768  # behind the header of a .wav
    sound = signal.resample_poly(samples, RATE, 22_050)
    loud = np.flatnonzero(np.abs(sound) > 1e-3)
    return np.asarray(sound[loud[0] : loud[-1] + 1])


def _sung(vowel: str, voice: int, rng: np.random.Generator) -> Array:
    """A vowel: a sawtooth of the voice's pitch through resonances of its vocal tract: 16 kHz."""
    from scipy import signal

    own, length = np.random.default_rng(voice), int(rng.uniform(0.15, 0.4) * RATE)
    pitch, tract = own.uniform(90, 220), own.uniform(0.85, 1.2)
    glide = pitch * (1 + 0.1 * rng.normal() * np.linspace(-1, 1, length))
    sound = signal.sawtooth(2 * np.pi * np.cumsum(glide) / RATE)
    for formant in FORMANTS[vowel]:
        sound = signal.lfilter(*signal.iirpeak(formant * tract, 6.0, RATE), sound) + 0.1 * sound
    return np.asarray(sound * np.hanning(length))


def _spectrogram(rng: np.random.Generator, word: Array) -> Array:
    """2.56 s of a word again and again, at paces of its own, in noise: log power of mel bands, (512, 64)."""
    gaps = RATE * rng.uniform(0.08, 0.35, 20)
    paced = [np.arange(-gap, len(word), rng.uniform(0.87, 1.15)) for gap in gaps]
    sound = np.interp(np.concatenate(paced)[: FRAMES * HOP + FFT], np.arange(len(word)), word, left=0)
    sound = sound / np.abs(sound).max() + rng.normal(size=len(sound)) * 10 ** rng.uniform(-3, -1.7)
    frames = np.lib.stride_tricks.sliding_window_view(sound, FFT)[: FRAMES * HOP : HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(FFT))) ** 2
    mel, low, high = (2595 * np.log10(1 + f / 700) for f in (np.fft.rfftfreq(FFT, 1 / RATE), 60, 7800))
    centres, apart = np.linspace(low, high, BANDS, retstep=True)
    bands = (1 - np.abs(mel - centres[:, None]) / apart).clip(0)
    return np.asarray(np.log(power @ bands.T + 1e-4), np.float16)
