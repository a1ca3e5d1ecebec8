"""Pictures: that they are made, whole, the same each time; and what is refused."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import maskbank
from maskbank.analysis import drawing, measures, pictures, structure
from maskbank.analysis.preview import MOST_BANKS, preview
from tests.cli.common import call, one_line

full = pytest.mark.full


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Small banks, by name."""
    folder = tmp_path_factory.mktemp("banks")
    recipes: dict[str, tuple[maskbank.Recipe, int]] = {
        "green": (maskbank.Green(size=(16, 16, 16)), 6),
        "blue": (maskbank.Blue(size=(16, 16, 16)), 2),
        "flat": (maskbank.Blue(size=(32, 32)), 9),
        "white": (maskbank.White(size=(20, 20)), 3),
        "rbn": (maskbank.RBN(), 12),
        "square": (maskbank.RBN(size=(8, 8), masks_per_set=3), 5),
        "inverted": (maskbank.RBN(size=(12, 12), mask_ratio=0.25), 8),
        "levels": (maskbank.Red(size=(9, 15, 15), dtype="uint8", boundary="reflect"), 2),
        "tiny": (maskbank.Green(size=(4, 6, 6), boundary="reflect"), 1),
        "line": (maskbank.Red(size=(1, 300)), 2),
    }
    for name, (recipe, n) in recipes.items():
        maskbank.generate(folder / f"{name}.h5", recipe, n, seed=3)
    return {name: str(folder / f"{name}.h5") for name in recipes}


@pytest.fixture
def images() -> Any:
    """Pillow's Image module, where there is matplotlib."""
    pytest.importorskip("matplotlib")
    return pytest.importorskip("PIL.Image")


ALL = ("green", "rbn", "inverted", "levels", "tiny", "line")


@full
@pytest.mark.parametrize("name", ALL)
def test_every_bank_has_a_page(name: str, banks: dict[str, str], tmp_path: Path, images: Any) -> None:
    what = preview(banks[name], tmp_path / "a.png")
    with images.open(tmp_path / "a.png") as image:
        width, height = image.size
        pixels = np.asarray(image.convert("RGB"))
    assert what == "1 bank"
    expected = (drawing.LABELS + drawing.PANELS + drawing.SPECTRUM) * drawing.DPI
    assert width == pytest.approx(expected, rel=0.05)
    assert 400 < height < 4000
    colours = {tuple(pixel) for pixel in pixels.reshape(-1, 3)}
    for colour in (drawing.MASKED, drawing.VISIBLE):
        assert tuple(bytes.fromhex(colour[1:])) in colours
    edge = np.concatenate([pixels[:3].reshape(-1), pixels[-3:].reshape(-1), pixels[:, -3:].reshape(-1)])
    assert (edge == 255).all(), "something reaches over the edge"
    assert os.listdir(tmp_path) == ["a.png"]


@full
def test_pages_hold_several_banks(banks: dict[str, str], tmp_path: Path, images: Any) -> None:
    heights = []
    for names in (["green"], ["rbn", "flat", "levels"]):
        given = [banks[name] for name in names]
        preview([maskbank.Bank(given[0]), *given[1:]], tmp_path / f"{len(names)}.png")
        with images.open(tmp_path / f"{len(names)}.png") as image:
            heights.append(image.size[1])
    assert heights == sorted(set(heights))


@full
@pytest.mark.parametrize(
    ("name", "grid", "ratio"),
    [
        ("rbn", "64x8", 0.6), ("rbn", "8x64x8", None), ("flat", "8x14x14", None), ("green", "16x4x30", 0.7),
        ("square", "8x8", 0.95), ("white", "3x200", 0.5),
    ],
)  # fmt: skip
def test_any_grid_that_a_bank_fits_is_drawn(
    name: str, grid: str, ratio: float | None, banks: dict[str, str], tmp_path: Path, images: Any
) -> None:
    preview(banks[name], tmp_path / "a.png", grid, ratio, seed=2**64 - 1)
    with images.open(tmp_path / "a.png") as image:
        image.load()


@full
@pytest.mark.parametrize(("names", "lines"), [(["green"], 1), (["green", "blue", "flat"], 2)])
def test_films_show_every_frame(
    names: list[str], lines: int, banks: dict[str, str], tmp_path: Path, images: Any
) -> None:
    path = tmp_path / "a.GIF"
    what = preview([banks[name] for name in names], path, "6x7x7", 0.8)
    with images.open(path) as film:
        assert (film.n_frames, film.info["loop"], film.info["duration"]) == (6, 0, pictures.FILM_MS)
        assert film.size[1] > lines * drawing.LARGEST * pictures.FILM_DPI
        frames = []
        for t in range(6):
            film.seek(t)
            frames.append(film.convert("RGB").tobytes())
    assert len(set(frames)) == 6
    assert what.endswith(f"bank{'s' * (len(names) > 1)}, 6 frames")


@full
@pytest.mark.parametrize("suffix", ["png", "gif", "pdf", "svg"])
def test_the_same_arguments_make_the_same_bytes(
    suffix: str, banks: dict[str, str], tmp_path: Path, images: Any
) -> None:
    first, second, other = (tmp_path / f"{name}.{suffix}" for name in "abc")
    preview(banks["tiny"], first, "4x6x6", seed=4)
    code = (
        "import sys, matplotlib; matplotlib.rcParams.update({'font.size': 30, 'image.cmap': 'jet'})\n"
        "from maskbank.analysis import measures, preview\n"
        f"measures.HARD = {measures.HARD}\n"
        "preview.preview(sys.argv[2], sys.argv[1], (4, 6, 6), seed=4)\n"
        "assert 'matplotlib.pyplot' not in sys.modules and matplotlib.rcParams['font.size'] == 30"
    )
    args = [sys.executable, "-c", code, str(second), banks["tiny"]]
    subprocess.run(args, check=True, env=os.environ | {"MPLBACKEND": "TkAgg", "DISPLAY": ""})
    assert first.read_bytes() == second.read_bytes()
    if suffix == "png":
        preview(banks["tiny"], other, "4x6x6", seed=5)
        assert first.read_bytes() != other.read_bytes()


@full
def test_the_command_makes_a_picture_and_keeps_what_is_there(
    banks: dict[str, str], tmp_path: Path, images: Any
) -> None:
    made = call("preview", banks["rbn"], banks["green"], "-o", "a.png", cwd=tmp_path)
    assert (made.returncode, made.stdout) == (0, "")
    assert made.stderr.splitlines()[-1].startswith("made a.png: 2 banks, ")  # slow ones say so first
    before = (tmp_path / "a.png").read_bytes()
    assert "--force" in one_line(call("preview", banks["green"], "-o", "a.png", cwd=tmp_path), 1)
    assert (tmp_path / "a.png").read_bytes() == before
    args = ("preview", banks["green"], "-o", "a.png", "--force", "--grid", "4x6x6", "--mask-ratio", 0.5)
    assert call(*args, cwd=tmp_path).returncode == 0
    assert (tmp_path / "a.png").read_bytes() != before
    assert "larger than the items" in one_line(
        call("preview", banks["green"], banks["tiny"], "-o", "b.gif", cwd=tmp_path), 2
    )
    assert "larger than the items" in one_line(
        call("preview", banks["tiny"], "-o", "b.png", "--grid", "8x14x14", cwd=tmp_path), 2
    )
    assert "mask_ratio=1" in one_line(
        call("preview", banks["tiny"], "-o", "b.png", "--mask-ratio", 1, cwd=tmp_path), 2
    )
    assert "there is no folder" in one_line(
        call("preview", banks["green"], "-o", "no/a.png", cwd=tmp_path), 1
    )
    assert "nothing.h5" in one_line(call("preview", "nothing.h5", "-o", "b.png", cwd=tmp_path), 1)
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.png.exe", ".png", "a.svgz"])
def test_other_image_types_are_refused(name: str, banks: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(maskbank.RecipeError, match=r"\.svg \(a page\), or \.gif"):
        preview(banks["green"], tmp_path / name)
    assert not os.listdir(tmp_path)


def test_what_is_there_is_kept(banks: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("mine")
    (tmp_path / "b.png").mkdir()
    for name, force in (("a.png", False), ("b.png", True)):
        with pytest.raises(maskbank.MaskbankError, match=r"is there already|is a folder"):
            preview(banks["green"], tmp_path / name, force=force)
    assert (tmp_path / "a.png").read_text() == "mine"


def test_a_picture_holds_some_banks_but_not_any_number(banks: dict[str, str], tmp_path: Path) -> None:
    for given in ([], [banks["green"]] * (MOST_BANKS + 1)):
        with pytest.raises(maskbank.RecipeError, match="holds 1 to 24"):
            preview(given, tmp_path / "a.png")


def test_without_matplotlib_one_line_says_how_to_install_it(banks: dict[str, str], tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from maskbank.cli import main; main(['preview', *sys.argv[1:]])"
    )
    args = [sys.executable, "-c", code, banks["green"], "-o", str(tmp_path / "a.png")]
    result = subprocess.run(args, capture_output=True, text=True, check=False)
    assert "pip install 'maskbank[plot]'" in one_line(result, 1)
    assert not os.listdir(tmp_path)


def test_help_imports_neither_matplotlib_nor_numpy() -> None:
    code = (
        "import sys\nfrom maskbank.cli import main\n"
        "try: main(['preview', '-h'])\nexcept SystemExit as done: assert not done.code\n"
        "assert not {'matplotlib', 'numpy', 'numba', 'PIL'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "FILE.png" in result.stdout


@pytest.mark.parametrize(
    ("name", "grid", "expected"),
    [
        ("green", None, ((8, 14, 14), 0.9)),
        ("flat", None, ((14, 14), 0.75)),
        ("flat", "8x14x14", ((8, 14, 14), 0.9)),
        ("rbn", None, ((64, 8), 0.8)),
        ("levels", None, ((8, 14, 14), 0.9)),
        ("tiny", None, ((4, 6, 6), 0.9)),
    ],
)
def test_the_usual_grid_and_ratio(name: str, grid: str | None, expected: Any, banks: dict[str, str]) -> None:
    assert measures.usual(maskbank.Bank(banks[name]), grid) == expected


def test_clumps_are_visible_patches_with_a_visible_4_neighbour() -> None:
    mask = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]], bool)
    expected = np.array([[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]], bool)
    np.testing.assert_array_equal(structure.clumped(mask), expected)
    from maskbank.analysis.structure import adjacency

    masks = np.random.default_rng(0).random((9, 7, 5)) < 0.3
    np.testing.assert_allclose(
        structure.clumped(masks).sum((1, 2)) / masks.sum((1, 2)), adjacency(masks), rtol=1e-12
    )
