"""What terminals and notebooks show: masks as text, as small pictures, and the structure table."""

import base64
import contextlib
import io
import os
import pty
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import maskbank
from maskbank.analysis.measures import usual_sampler
from maskbank.analysis.preview import preview
from maskbank.bank import thumbnail
from maskbank.cli import main
from maskbank.cli.structure_table import COLUMNS, structure_table, table
from maskbank.sampling.baselines import NAMES
from tests.cli.common import call


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("banks")
    recipes: dict[str, tuple[maskbank.Recipe, int]] = {
        "green": (maskbank.Green(size=(16, 16, 16)), 6),
        "flat": (maskbank.Blue(size=(32, 32)), 9),
        "rbn": (maskbank.RBN(), 10),
        "one": (maskbank.White(size=(1, 1, 1)), 1),
    }
    for name, (recipe, n) in recipes.items():
        maskbank.generate(folder / f"{name}.h5", recipe, n, seed=3)
    return {name: str(folder / f"{name}.h5") for name in recipes}


def read(lines: list[str], signs: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The tokens that text shows: two rows of them in each line."""
    codes = np.array([[signs.index(sign) for sign in line] for line in lines])
    return np.stack([codes & 1, codes >> 1], axis=1).reshape(-1, codes.shape[1]).astype(bool)


@pytest.mark.parametrize("blocks", [True, False])
def test_text_shows_the_frames_of_the_mask(banks: dict[str, str], blocks: bool) -> None:
    shown = preview(banks["green"], width=80, blocks=blocks).split("\n\n")
    names = ["green3d  8x14x14, 156", "tube  8x14x14, 160", "random  8x14x14, 156"]
    samplers = [
        maskbank.MaskSampler(source, (8, 14, 14), 0.9) for source in (banks["green"], "tube", "random")
    ]
    for part, name, sampler in zip(shown, names, samplers, strict=True):
        head, *lines = part.split("\n")
        assert head == f"{name} of 1,568 visible, frames 0 to 4"
        assert max(map(len, lines)) <= 80
        assert blocks or part.isascii()
        mask = sampler(0).visible.reshape(8, 14, 14)
        for t in range(5):
            frame = [line[15 * t : 15 * t + 14] for line in lines]
            np.testing.assert_array_equal(read(frame, " ▀▄█" if blocks else " '.:"), mask[t])


def test_text_shows_spectrograms_with_time_to_the_right_and_frequency_upwards(banks: dict[str, str]) -> None:
    first, random = preview(banks["rbn"]).split("\n\n")
    head, *lines = first.split("\n")
    assert head == "rbn  64x8, 102 of 512 visible"
    mask = maskbank.MaskSampler(banks["rbn"], (64, 8), 0.8)(0).visible.reshape(64, 8)
    np.testing.assert_array_equal(read(lines, " ▀▄█"), mask.T[::-1])
    assert random.startswith("random  64x8")


def test_the_longer_axis_is_time_whichever_it_is() -> None:
    first, *_ = preview("random", grid="8x40").split("\n\n")
    head, *lines = first.split("\n")
    assert head.startswith("random  8x40, ")
    mask = maskbank.MaskSampler("random", (8, 40), 0.75)(0).visible.reshape(8, 40)
    np.testing.assert_array_equal(read(lines, " ▀▄█"), mask[::-1])


@pytest.mark.parametrize("width", [1, 7, 20, 300])
def test_text_fits_any_width(banks: dict[str, str], width: int) -> None:
    for name in ("green", "flat", "rbn", "one"):
        for part in preview(banks[name], width=width).split("\n\n"):
            assert all(len(line) <= width for line in part.split("\n")[1:])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.full] * (name not in ("random", "block", "timefreq")))
        for name in NAMES
    ],
)
def test_baselines_have_a_preview_and_a_structure(name: str) -> None:
    assert f"{name}  " in preview(name)
    (found,) = structure_table([name])
    assert f"{name}: {name} masks, a baseline" in table([name], [found])


def on_terminal(*args: str, cwd: Path, encoding: str = "utf-8") -> str:
    """What a command shows on a terminal of 60 columns."""
    ours, theirs = pty.openpty()
    import termios

    termios.tcsetwinsize(theirs, (24, 60))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "maskbank", *args],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, close_fds=True,
        env=environment | {"PYTHONIOENCODING": encoding},
    )  # fmt: skip
    os.close(theirs)
    read = b""
    try:
        while chunk := os.read(ours, 4096):
            read += chunk
    except OSError:  # Linux's end of a terminal
        pass
    os.close(ours)
    assert process.wait() == 0, read
    return read.decode(encoding).replace("\r\n", "\n")


def test_preview_without_a_file_draws_on_the_terminal(banks: dict[str, str], tmp_path: Path) -> None:
    shown = on_terminal("preview", banks["green"], cwd=tmp_path)
    expected = preview(banks["green"], width=60)
    assert expected in shown
    assert "frames 0 to 3" in shown
    assert not os.listdir(tmp_path)


@pytest.mark.full
def test_preview_on_a_terminal_of_ascii(tmp_path: Path) -> None:
    plain = on_terminal("preview", "tube", "--grid", "4x6x6", cwd=tmp_path, encoding="ascii")
    assert preview("tube", grid="4x6x6", blocks=False, width=60) in plain
    assert not os.listdir(tmp_path)


def test_the_structure_table_is_ascii_where_nothing_else_can_be_shown() -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), "ascii")
    with contextlib.redirect_stdout(stdout), pytest.raises(SystemExit):
        main(["inspect", "random", "--structure", "--grid", "2x6x6"])
    stdout.seek(0)
    shown = stdout.read()
    assert "\\u" not in shown
    assert re.search(r"^  \+-  +0\.0", shown, re.MULTILINE)


def test_each_banks_baselines_are_of_its_own_grid_and_ratio(banks: dict[str, str]) -> None:
    names = ["green.h5", "/a/long/path/that/does/not/fit/its/column/flat.h5", "rbn.h5"]
    found = structure_table([banks["green"], banks["flat"], maskbank.Bank(banks["rbn"])])
    text = table(names, found)
    assert max(map(len, text.split("\n"))) <= 80
    parts = text.split("structure at ")[1:]
    assert [part.split(",")[0] for part in parts] == ["8x14x14", "14x14", "64x8"]
    for part, one in zip(parts, found, strict=True):
        for other in ("random", "tube"):
            rows = re.findall(rf"^{other} +([01]\.\d+.*)$", part, re.MULTILINE)
            there = [measure[other] for measure in one["measures"].values() if other in measure]
            assert bool(rows) == bool(there), other
            if rows:
                assert f"{there[1]:.3f}" in rows[0]
    order = [text.index(word) for word in (*COLUMNS.values(), "spectra of", "clustering: score", "reaches")]
    assert order == sorted(order)
    assert text.count("next frame   ") == 3
    assert re.search(r"^\.\.\w+/flat\.h5  ", text, re.MULTILINE)


def test_a_bank_of_one_voxel_has_a_structure_and_a_picture(banks: dict[str, str], tmp_path: Path) -> None:
    result = call("inspect", banks["one"], "--structure", "--json")
    assert result.returncode == 0
    assert "Warning" not in result.stderr
    assert "Traceback" not in result.stderr
    found = structure_table([banks["one"]])
    assert "structure at" in table(["one"], found)
    assert not found[0]["reaches"]
    assert "items of 1x1x1 have no structure; use larger ones" in found[0]["verdict"]
    pytest.importorskip("matplotlib")
    assert preview(banks["one"], tmp_path / "one.png") == "1 bank"


def pixels(html: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The picture in a notebook's HTML, (H, W, 3)."""
    (source,) = re.findall(r'src="data:image/png;base64,([^"]*)"', html)
    data = base64.b64decode(source)
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    image = pytest.importorskip("PIL.Image").open(io.BytesIO(data))
    found = np.asarray(image)
    assert found.shape == (height, width, 3)
    assert zlib.crc32(data[12:29]) == int.from_bytes(data[29:33], "big")
    return found


def test_notebooks_show_masks_and_banks(banks: dict[str, str]) -> None:
    valid = np.ones((6, 8, 14, 14), bool)
    valid[1, 5:], valid[2, :, :, 10:] = False, False
    masks = maskbank.MaskSampler(banks["green"], (8, 14, 14), 0.9)(range(6), valid=valid.reshape(6, -1))
    html = masks._repr_html_()
    assert "&lt;Masks: 6 of 8x14x14, 97 to 156 visible&gt;" in html
    tones = (
        (thumbnail.VISIBLE, masks.visible),
        (thumbnail.MASKED, masks.masked),
        (thumbnail.ABSENT, ~masks.valid),
    )
    found = pixels(html)[:: thumbnail.SCALE, :: thumbnail.SCALE]
    for b in range(4):
        for t in range(8):
            panel = found[15 * b : 15 * b + 14, 15 * t : 15 * t + 14]
            for tone, marks in tones:
                np.testing.assert_array_equal((panel == tone).all(2), marks[b].reshape(8, 14, 14)[t])
    for name in banks:
        bank = maskbank.Bank(banks[name])
        assert pixels(bank._repr_html_()).size
        assert bank.fingerprint in bank._repr_html_()
    single = usual_sampler(banks["rbn"])(7)
    shown = pixels(single._repr_html_())[:: thumbnail.SCALE, :: thumbnail.SCALE][:8, :64]
    np.testing.assert_array_equal((shown == thumbnail.VISIBLE).all(2), single.visible.reshape(64, 8).T[::-1])


def test_pictures_of_notebooks_are_small_whatever_the_grid() -> None:
    masks = maskbank.MaskSampler("random", (16, 224, 224), 0.9)(range(5))
    assert len(masks._repr_html_()) < 1_000_000
