"""`maskbank.generate` from Python: what it takes, what it refuses, what it reports."""

import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

import maskbank
from maskbank.errors import Interrupted
from maskbank.generation import generate as generation
from maskbank.generation import join, threads
from maskbank.recipes import RBN, Green, Purple, White
from tests.conftest import hold_writes

SMALL = White(size=(4, 4))


@pytest.mark.parametrize(
    ("kind", "options", "recipe"),
    [
        ("green3d", {"size": (4, 8, 8), "sigma1": (0.4, 0.6)}, Green(size=(4, 8, 8), sigma1=(0.4, 0.6))),
        ("purple2d", {"size": "8x8", "variant": "3"}, Purple(size=(8, 8), variant="3")),
        ("rbn", {"size": (8, 8), "mask_ratio": 0.75}, RBN(size=(8, 8), mask_ratio=0.75)),
    ],
)
def test_a_kinds_name_does_for_a_recipe(kind: str, options: Any, recipe: Any, tmp_path: Path) -> None:
    bank = maskbank.generate(tmp_path / "a.h5", kind, 3, seed=2, **options)
    assert bank.recipe == recipe
    maskbank.generate(tmp_path / "b.h5", recipe, 3, seed=2)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize(
    ("args", "options", "words"),
    [
        ((Green, 3), {}, "recipe is the class Green; give a recipe"),
        ((None, 3), {}, "recipe is a NoneType; give a recipe"),
        (({"size": 3}, 3), {}, "recipe is a dict; give a recipe"),
        (("gren3d", 3), {}, "did you mean 'green3d'"),
        (("green3d", 3), {"sigma": (1, 2)}, "green3d has no option 'sigma'; it has size,"),
        (("green3d", 3), {"size": (8, 8)}, "green3d takes 3"),
        ((SMALL, 3), {"size": (8, 8)}, "size= goes with a kind's name"),
        ((SMALL,), {}, "n is missing"),
        ((SMALL, 0), {}, "n=0 is out of range"),
        ((SMALL, 3), {"items": (2, 4)}, "items"),
        ((SMALL, 3), {"items": (2, 2)}, "empty"),
        ((SMALL, 3), {"seed": -1}, "seed=-1 is out of range"),
        ((SMALL, 3), {"workers": 0}, "workers=0 is out of range"),
        ((SMALL, 3), {"dask": "nonsense"}, "dask='nonsense' is no address|not installed"),
    ],
)
def test_one_line_refuses_what_cannot_be_used(args: Any, options: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(maskbank.MaskbankError, match=words) as caught:
        maskbank.generate(tmp_path / "b.h5", *args, **options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_part_holds_its_items_only(tmp_path: Path) -> None:
    whole = maskbank.generate(tmp_path / "whole.h5", SMALL, 9)
    for n in (9, None):
        part = maskbank.generate(tmp_path / "part.h5", SMALL, n, items=(4, 7), force=True)
        assert (part.first, len(part)) == (4, 3)
        assert part[:].tobytes() == whole[4:7].tobytes()


def test_progress_begins_with_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a progress bar can begin there and show a true rate."""
    recipe = White(size=(64, 64))
    path, stop = tmp_path / "b.h5", threading.Event()
    monkeypatch.setattr(threads, "_PROGRESS_SECONDS", 0.001)
    monkeypatch.setattr(threads, "_WRITE_BYTES", 2**16)

    def interrupt(done: int) -> None:
        if done:
            stop.set()

    hold_writes(monkeypatch, stop)
    with pytest.raises(Interrupted):
        maskbank.generate(path, recipe, 3000, stop=stop, progress=interrupt)
    done: list[int] = []
    lines: list[str] = []
    maskbank.generate(path, recipe, 3000, progress=done.append, report=lines.append)
    assert done == sorted(done)
    assert 0 < done[0] < done[-1] == 3000
    assert lines == [f"going on: {done[0]:,} of 3,000 items are made"]
    done.clear()
    maskbank.generate(path, recipe, 3000, progress=done.append)
    assert done == []


def test_a_warning_about_sets_of_one_mask_points_at_the_line_of_the_caller(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        maskbank.generate(tmp_path / "b.h5", RBN(size=(8, 8), masks_per_set=2), 3)
        assert not caught
        maskbank.generate(tmp_path / "c.h5", RBN(size=(8, 8), masks_per_set=1), 3)
    assert [warning.filename for warning in caught] == [__file__]
    assert str(caught[0].message).startswith("masks_per_set=1 is random masking")
    assert str(caught[0].message).endswith("up to 5 fit")


@pytest.mark.parametrize("started", [0, 1, 3])
def test_threads_that_cannot_be_started_end_it_with_one_line(
    started: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, work, count, refused = threading.Thread.start, threads._Run.work, 0, threading.Event()

    def start(self: threading.Thread) -> None:
        nonlocal count
        count += self.name.startswith("maskbank")
        if count > started:
            refused.set()
            raise RuntimeError("can't start new thread")
        real(self)

    def work_later(self: threads._Run) -> None:  # or those that are started could have made all items by then
        refused.wait(60)
        work(self)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        patch.setattr(threads._Run, "work", work_later)
        with pytest.raises(maskbank.OutputError, match="cannot start 5 threads; lower workers"):
            maskbank.generate(tmp_path / "b.h5", SMALL, 3000, workers=2)
    assert len(maskbank.generate(tmp_path / "b.h5", SMALL, 3000, workers=2)) == 3000


def test_what_a_callback_raises_comes_through(tmp_path: Path) -> None:
    def fail(_: int) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        maskbank.generate(tmp_path / "b.h5", SMALL, 3000, progress=fail)


@pytest.mark.parametrize("command", ["generate white2d -n 3", "join -o b.h5 a.h5"])
def test_without_numba_one_line_says_what_to_install(command: str, tmp_path: Path) -> None:
    maskbank.generate(tmp_path / "a.h5", SMALL, 3)
    code = "import sys; sys.modules['numba'] = None; from maskbank.cli import main; main(sys.argv[1:])"
    result = subprocess.run(
        [sys.executable, "-c", code, *command.split()],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "maskbank: making noise needs numba, which is not installed: pip install numba\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_what_is_joined_needs_its_beginning_or_partial(tmp_path: Path) -> None:
    for name, items in (("b.h5", (2, 4)), ("c.h5", (4, 6))):
        maskbank.generate(tmp_path / name, SMALL, items=items)
    parts = [tmp_path / "c.h5", tmp_path / "b.h5"]
    with pytest.raises(maskbank.BankError, match=r"begins at item 2.*partial=True"):
        join.content_and_source(tmp_path / "d.h5", parts)
    assert generation.write(
        tmp_path / "d.h5", *join.content_and_source(tmp_path / "d.h5", parts, partial=True)
    )
    assert maskbank.Bank(tmp_path / "d.h5").first == 2
    with pytest.raises(maskbank.OutputError):
        join.content_and_source(tmp_path / "b.h5", parts, partial=True)
    assert len(maskbank.Bank(tmp_path / "b.h5")) == 2
