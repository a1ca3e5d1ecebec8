"""What a process compiles, where nothing is compiled yet: only what it uses."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import maskbank
from maskbank import noise
from maskbank.checks import count_cores
from maskbank.kernels import cache, colour, direct, spectral
from tests.conftest import printed_by

# Numba says which functions it compiles, with those they call.
CODE = """
import sys
from numba.core import event

class Names(event.Listener):
    def on_start(self, event):
        print(event.data["dispatcher"].py_func.__qualname__)

    def on_end(self, event):
        pass

event.register("numba:compile", Names())
exec(sys.argv[1])
"""
VERIFY = "from maskbank.bank.check import verify; assert not verify({path!r}).fault"
MASK = "import maskbank; maskbank.MaskSampler({path!r}, (8, 14, 14), 0.9)([3])"
RBN = "import maskbank; maskbank.generate({path!r} + '.rbn', 'rbn', n=2)"


def compiled_by(code: str, cache: Path) -> list[str]:
    """The functions that a process compiles for this code, with kernels kept in this folder."""
    return printed_by("-c", CODE, code, NUMBA_CACHE_DIR=str(cache)).split()


@pytest.mark.parametrize(
    "code, wanted, most",
    [
        pytest.param(VERIFY, {"draw_all"}, 4, id="verify"),
        pytest.param(MASK, {"crop_masks", "choose"}, 30, id="mask", marks=pytest.mark.full),
        pytest.param(RBN, {"make_set", "rank_masks"}, 40, id="rbn", marks=pytest.mark.full),
    ],
)
def test_a_command_compiles_what_it_uses(tmp_path: Path, code: str, wanted: set[str], most: int) -> None:
    """No noise for masks or checks, and never Numba's strings, which one slice brings along."""
    bank = maskbank.generate(tmp_path / "bank.h5", "green3d", n=4, size=(8, 16, 16))
    names = compiled_by(code.format(path=bank.path), tmp_path)
    assert wanted <= set(names)
    assert len(names) <= most
    assert names.count("peel") <= 1
    assert not {"spectral_noise", "direct_noise", "draw_filters"} & set(names)
    assert not [name for name in names if "unicode" in name or "str_" in name]


def test_a_second_process_compiles_the_drawing_of_filters_and_no_size_has_kernels_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the next test sees in processes that compile it all, here in one that may have compiled it."""
    asked = []

    @contextlib.contextmanager
    def beside(recipe: maskbank.Recipe) -> Iterator[None]:
        asked.append(recipe.size)
        noise.maker(recipe, 0).compile_filters()  # type: ignore[union-attr]
        yield

    def compiled() -> list[Any]:
        return [list(one.signatures) for one in (colour.draw_filters, spectral.spectral_noise)]

    monkeypatch.setattr(cache, "compiled_beside", beside)
    noise.item(maskbank.Green(size=(2, 4, 4)), 0, 0)
    before = compiled()
    noise.item(maskbank.Green(size=(8, 2, 1)), 0, 0)
    assert asked == [(2, 4, 4), (8, 2, 1)]
    assert all(before)
    assert compiled() == before


def test_no_dtype_has_kernels_of_its_own() -> None:
    """Filtered by transforms, axis by axis, and not at all."""
    kernels = spectral.spectral_noise, direct.direct_noise, colour.white

    def made(dtype: str) -> list[Any]:
        for recipe in (maskbank.Green, maskbank.White):
            for size in ((2, 4, 4), (2, 3, 5)):
                noise.item(recipe(size=size, dtype=dtype), 0, 0)
        return [list(one.signatures) for one in kernels]

    first = made("float16")
    assert all(first)
    assert made("float32") == made("uint8") == first


@pytest.mark.full
def test_a_first_bank_is_compiled_by_two_processes_and_another_size_by_none(tmp_path: Path) -> None:
    """The second process compiles the drawing of filters; only transforms belong to a size."""
    make = "import maskbank; maskbank.generate({path!r}, 'green3d', n=2, size={size})"
    first = compiled_by(make.format(path=str(tmp_path / "a.h5"), size=(2, 4, 4)), tmp_path)
    assert "spectral_noise" in first
    assert ("draw_filters" in first) == (count_cores() == 1)
    assert compiled_by(make.format(path=str(tmp_path / "b.h5"), size=(8, 2, 1)), tmp_path) == []


class Writes:
    """A recipe: who makes its noise writes to a file, and fails."""

    ranges = (1.0, 2.0)

    def __init__(self, file: Path) -> None:
        self.file = file

    def __repr__(self) -> str:
        return f"open({str(self.file)!r}, 'a').write('x')"


@pytest.mark.parametrize("cores, there, written", [(2, False, "x"), (1, False, ""), (2, True, "")])
def test_a_second_process_runs_where_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, there: bool, written: str
) -> None:
    """Where the kernel is not kept, and on more than one core; once. What it does may fail."""
    monkeypatch.setattr(cache, "count_cores", lambda: cores)
    monkeypatch.setattr(cache, "FOLDER", str(tmp_path))
    (tmp_path / "package").mkdir()
    if there:
        (tmp_path / "package" / "module.draw_filters-3.nbi").touch()
    recipe: Any = Writes(tmp_path / "written")
    recipe.file.touch()
    with cache.compiled_beside(recipe):
        with cache.compiled_beside(recipe):
            cache.wait_for_second()
        assert recipe.file.read_text() == written
    cache.wait_for_second()


def test_a_second_process_ends_with_work_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the bank exists already: nobody waits for what is compiled."""
    monkeypatch.setattr(cache, "count_cores", lambda: 2)
    monkeypatch.setattr(cache, "FOLDER", str(tmp_path))
    recipe: Any = Writes(tmp_path / "written")
    with cache.compiled_beside(recipe):
        second = cache._second
        assert second is not None
    assert second.returncode == -signal.SIGTERM
    assert cache._second is None
    assert not recipe.file.exists()


def test_numba_loads_no_linear_algebra_until_somebody_wants_it() -> None:
    """It looks for BLAS as soon as it compiles anything; another program's functions still find it."""
    code = (
        "import sys, maskbank; from maskbank import noise; noise.sigmas(maskbank.Green(), 0, 0, 1)\n"
        "assert 'scipy.linalg' not in sys.modules\n"
        "from numba.np import arraymath, linalg; assert arraymath._HAVE_BLAS; linalg.ensure_blas()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_second_process_is_started_before_numba_is_loaded(tmp_path: Path) -> None:
    code = (
        "import contextlib, sys; from maskbank.kernels import cache; import maskbank\n"
        "@contextlib.contextmanager\n"
        "def beside(recipe):\n"
        "    sys.exit('numba' in sys.modules)\n"
        "    yield\n"
        "cache.compiled_beside = beside\n"
        "maskbank.generate(sys.argv[1], 'white2d', 2)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "b.h5"], check=True)
    assert not (tmp_path / "b.h5").exists(), "no second process was asked for"
