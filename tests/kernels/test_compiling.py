"""What a process compiles, where nothing is compiled yet: only what it uses."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import maskbank
from maskbank import noise
from maskbank.checks import count_cores
from maskbank.kernels import colour, jit, spectral

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
    done = subprocess.run(
        [sys.executable, "-c", CODE, code],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


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
    assert not {"spectral_noise", "direct_noise", "normals", "draw_filters"} & set(names)
    assert not [name for name in names if "unicode" in name or "str_" in name]


def test_a_second_process_compiles_the_drawing_of_filters_and_no_size_has_kernels_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the next test sees in processes that compile it all, here in one that may have compiled it."""
    asked = []

    @contextlib.contextmanager
    def beside(compiled: Any, statement: str) -> Iterator[None]:
        asked.append(compiled.__name__)
        exec(statement)
        yield

    def compiled() -> list[Any]:
        return [list(one.signatures) for one in (colour.draw_filters, spectral.spectral_noise)]

    monkeypatch.setattr(jit, "beside", beside)
    noise.item(maskbank.Green(size=(2, 4, 4)), 0, 0)
    before = compiled()
    noise.item(maskbank.Green(size=(8, 2, 1)), 0, 0)
    assert asked == ["draw_filters"] * 2
    assert all(before)
    assert compiled() == before


@pytest.mark.full
def test_a_first_bank_is_compiled_by_two_processes_and_another_size_by_none(tmp_path: Path) -> None:
    """The second process compiles the drawing of filters; only transforms belong to a size."""
    make = "import maskbank; maskbank.generate({path!r}, 'green3d', n=2, size={size})"
    first = compiled_by(make.format(path=str(tmp_path / "a.h5"), size=(2, 4, 4)), tmp_path)
    assert "spectral_noise" in first
    assert ("draw_filters" in first) == (count_cores() == 1)
    assert compiled_by(make.format(path=str(tmp_path / "b.h5"), size=(8, 2, 1)), tmp_path) == []


@pytest.mark.parametrize("cores, signatures, kept", [(2, [], True), (1, [], False), (2, ["one"], False)])
def test_a_second_process_runs_where_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, signatures: list[str], kept: bool
) -> None:
    """Before the kernel is compiled or kept, and on more than one core. What it does may fail."""
    monkeypatch.setattr(jit, "count_cores", lambda: cores)
    stats = SimpleNamespace(cache_path=tmp_path)
    compiled = SimpleNamespace(__name__="one", signatures=signatures, stats=stats)
    for end in ("", "; raise SystemExit(1)"):
        with jit.beside(compiled, f"open({str(tmp_path / 'module.one-3.nbi')!r}, 'a').write('x'){end}"):
            pass
    files = list(tmp_path.iterdir())
    assert [file.read_text() for file in files] == ["x"] * kept
