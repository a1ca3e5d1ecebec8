"""Video and sound files: what is sampled, how it is scaled, and what cannot be read."""

import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import maskbank
from maskbank.analysis.clips import opened
from maskbank.analysis.media import media_files, read_media
from maskbank.errors import MaskbankError


def sound(path: Path, seconds: float, hertz: float, rate: int = 22_050) -> None:
    """A tone in stereo, as a .wav file."""
    tone = np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
    samples = np.repeat((20_000 * tone).astype("<i2"), 2)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


def video(path: Path, frames: int, size: tuple[int, int] = (240, 320)) -> None:
    """Frame t is grey t, but for a black border to the left and right of the central square."""
    import av

    high, wide = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = wide, high, "yuv420p", 8_000_000
        stream.gop_size = 12
        for t in range(frames):
            image: npt.NDArray[Any] = np.zeros((high, wide, 3), np.uint8)
            image[:, (wide - high) // 2 : (wide + high) // 2] = t
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def test_without_pyav_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound(tmp_path / "a.wav", 0.1, 440)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MaskbankError, match=r"pip install 'maskbank\[media\]'"):
        maskbank.fit(tmp_path / "a.wav")


def test_folders_are_searched_for_media(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("b.WAV", "a.mp3", "inner/c.flac", "notes.txt"):
        (tmp_path / name).write_text("")
    assert [Path(name).name for name in media_files(str(tmp_path))] == ["a.mp3", "b.WAV", "c.flac"]
    assert media_files(str(tmp_path / "notes.txt")) == []


def test_a_tone_is_in_its_band_at_all_times(tmp_path: Path) -> None:
    pytest.importorskip("av")
    for name, hertz in (("low", 300.0), ("high", 3000.0)):
        sound(tmp_path / f"{name}.wav", 2.0, hertz)
        found = read_media(str(tmp_path / f"{name}.wav"))
        assert found.shape == (1024, 128)
        mel = 1127 * np.log1p(np.array([20.0, hertz, 8000.0]) / 700)
        expected = (mel[1] - mel[0]) / (mel[2] - mel[0]) * 129 - 1
        assert (np.abs(found.argmax(1) - expected) <= 1.5).mean() > 0.98


def test_a_video_is_every_fourth_frame_around_its_middle_its_central_square(tmp_path: Path) -> None:
    pytest.importorskip("av")
    video(tmp_path / "v.mp4", 200)
    found = read_media(str(tmp_path / "v.mp4"))
    assert found.shape == (16, 224, 224, 3)
    assert found.dtype == np.uint8
    levels = found.reshape(16, -1).mean(1)
    assert np.allclose(np.diff(levels), 4, atol=1.6)
    assert abs(levels[0] - 68) < 4  # of 200 frames, 64 around the middle
    assert np.ptp(found[3, 10:-10, 10:-10].astype(int)) < 12  # nothing of the border
    video(tmp_path / "short.mp4", 10)
    short = read_media(str(tmp_path / "short.mp4")).reshape(16, -1).mean(1)
    assert np.allclose(short[3:], short[2])


def test_folders_of_media_are_clips(tmp_path: Path) -> None:
    pytest.importorskip("av")
    for i in range(9):
        sound(tmp_path / f"{i}.wav", 1.0, 200.0 * (i + 1))
    (read,) = opened(tmp_path)
    assert (read.count, read.shape) == (9, (1024, 128))
    found = maskbank.fit(tmp_path)
    assert (found.clips, found.grid, found.mask_ratio) == (9, (64, 8), 0.8)
    (tmp_path / "broken.wav").write_text("no sound")
    with pytest.raises(MaskbankError, match=r"broken.wav cannot be decoded: .*; leave it out"):
        maskbank.fit(tmp_path)
    (tmp_path / "film.mp4").write_text("")
    with pytest.raises(MaskbankError, match="holds both video and sound"):
        maskbank.fit(tmp_path)
