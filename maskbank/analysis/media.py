"""Reads video and sound files as VideoMAE and AudioMAE sample them. PyAV (extra `media`) decodes them."""

import os
from itertools import chain, islice
from typing import Any

import numpy as np

from maskbank.errors import MaskbankError
from maskbank.sampling.windows import Array, Float32s, Float64s, UInt8s

VIDEO = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")
SOUND = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac")

FRAMES, STRIDE, SIDE = 16, 4, 224  # VideoMAE's on Kinetics
RATE, BANDS, STEPS = 16_000, 128, 1024  # AudioMAE's: 10.24 s of 10 ms
WINDOW, HOP, POINTS = 400, 160, 512  # samples: 25 ms, 10 ms, and the length of the Fourier transform
LOWEST, EMPHASIS, LEAST = 20.0, 0.97, 1.1920929e-07  # Hz; Kaldi's defaults, which AudioMAE takes


def media_files(path: str) -> list[str]:
    """The video and sound files at a path: the file itself, or all in a folder and its subfolders, sorted."""
    if os.path.isdir(path):
        found = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
        return sorted(name for name in found if name.lower().endswith(VIDEO + SOUND))
    return [path] if path.lower().endswith(VIDEO + SOUND) else []


def media_shape(path: str) -> tuple[int, ...]:
    """The shape that `read_media` returns: (16, 224, 224, 3) for a video, (1024, 128) for a sound."""
    return (FRAMES, SIDE, SIDE, 3) if path.lower().endswith(VIDEO) else (STEPS, BANDS)


def read_media(path: str) -> Array:
    """A video as uint8 (16, 224, 224, 3), or a sound as a log-mel spectrogram, float32 (1024, 128).

    Of a video it takes every fourth frame around the middle, scales the short side to 224, crops the centre,
    and repeats the last frame if there are too few. Of a sound it takes the first 10 s, and repeats a shorter
    one.
    """
    import av

    try:
        with av.open(path) as container:
            return _video(container) if path.lower().endswith(VIDEO) else _spectrogram(_sound(container))
    except (av.error.FFmpegError, IndexError, ValueError) as error:
        raise MaskbankError(f"{path} cannot be decoded: {error}; leave it out") from None


def _video(container: Any) -> UInt8s:
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    high, wide = stream.height, stream.width
    scale = SIDE / min(high, wide)
    size = (max(SIDE, round(high * scale)), max(SIDE, round(wide * scale)))
    top, left = ((n - SIDE) // 2 for n in size)
    start = 0.0
    if stream.duration and stream.average_rate:
        start = float(stream.duration * stream.time_base) - FRAMES * STRIDE / float(stream.average_rate)
        start = max(start / 2, 0.0)
        container.seek(int(start / stream.time_base), stream=stream)
    # Decoding begins at the key frame before `start`
    late = (one for one in container.decode(stream) if one.time is None or one.time + 1e-6 >= start)
    frames: list[UInt8s] = []
    for frame in islice(late, 0, (FRAMES - 1) * STRIDE + 1, STRIDE):
        pixels = frame.reformat(width=size[1], height=size[0], format="rgb24").to_ndarray()
        frames.append(pixels[top : top + SIDE, left : left + SIDE])
    return np.stack(frames + frames[-1:] * (FRAMES - len(frames)))


def _sound(container: Any) -> Float32s:
    """The first samples of a sound, as mono at 16 kHz: as many as the spectrogram needs."""
    import av

    needed = WINDOW + (STEPS - 1) * HOP
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    parts: list[Float32s] = []
    for frame in chain(container.decode(audio=0), [None]):  # None gets what the resampler still holds
        parts += [one.to_ndarray().reshape(-1) for one in resampler.resample(frame)]
        if sum(map(len, parts)) >= needed:
            break
    return np.resize(np.concatenate(parts), needed)


def _spectrogram(samples: Float32s) -> Float32s:
    """Log-mel power of Hann windows: float32 (1024, 128)."""
    places = np.arange(STEPS)[:, None] * HOP + np.arange(WINDOW)
    windows = samples.astype(np.float64)[places]
    windows = windows - windows.mean(1, keepdims=True)
    windows[:, 1:] -= EMPHASIS * windows[:, :-1]
    power = np.abs(np.fft.rfft(windows * np.hanning(WINDOW), POINTS)) ** 2
    return np.log(np.maximum(power @ _bands().T, LEAST)).astype(np.float32)


def _bands() -> Float64s:
    """Triangular filters at equal distances on the mel scale: (128, frequencies)."""

    def mel(hertz: Any) -> Any:
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    edges = np.linspace(mel(LOWEST), mel(RATE / 2), BANDS + 2)
    at = mel(np.fft.rfftfreq(POINTS, 1 / RATE))
    rising = (at - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - at) / (edges[2:] - edges[1:-1])[:, None]
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)))
