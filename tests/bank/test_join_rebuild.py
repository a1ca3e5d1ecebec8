"""Parts, put together or read as one, are the bank that was made in one go."""

import json
import os
import pickle
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

import maskbank
from maskbank.bank import layout
from maskbank.generation import generate as generation
from maskbank.generation import join, threads
from maskbank.recipes import RBN, Green, Recipe, White
from tests.bank.processes import Warm
from tests.conftest import Share

RECIPES: dict[str, tuple[Recipe, int]] = {
    "bytes of no alignment": (White(size=(5, 7), dtype="uint8"), 700),
    "sets cut by parts": (RBN(size=(16, 8)), 53),
    "floats": (Green(size=(3, 5, 7), dtype="float32"), 90),
    "halves": (Green(size=(16, 16)), 120),
}


@pytest.mark.parametrize("kind", list(RECIPES))
def test_joined_parts_equal_the_whole(
    kind: str, quick_path: Path, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, n = RECIPES[kind]
    whole = maskbank.generate(quick_path / "whole.h5", recipe, n, seed=3)
    expected = (quick_path / "whole.h5").read_bytes()
    random_ = random.Random(kind)
    splits = [[1], [n - 1], [1, 2, 3], list(range(1, 12))]
    splits += [sorted(random_.sample(range(1, n), random_.randint(1, 6))) for _ in range(share(40))]
    monkeypatch.setattr(threads, "_PROGRESS_SECONDS", 0.002)  # otherwise every run takes a tenth of a second
    for split in splits:
        ends = [0, *split, n]
        paths = [quick_path / f"{k}.h5" for k in range(len(ends) - 1)]
        for path, first, end in zip(paths, ends[:-1], ends[1:], strict=True):
            maskbank.generate(path, recipe, n, seed=3, items=(first, end), workers=1)
        random_.shuffle(paths)
        bank = maskbank.Bank(paths)
        assert (len(bank), bank.fingerprint, bank.shape) == (n, whole.fingerprint, whole.shape)
        assert bank[:].tobytes() == whole[:].tobytes()
        assert bank.crc32.tolist() == whole.crc32.tolist()
        start, stop, step = random_.randrange(n), random_.randrange(n), random_.choice([1, -1, 3, -7])
        assert bank[start:stop:step].tobytes() == whole[start:stop:step].tobytes()
        if whole.sigma is not None and bank.sigma is not None:
            assert bank.sigma.tobytes() == whole.sigma.tobytes()
        joined = quick_path / "joined.h5"
        generation.write(joined, *join.content_and_source(joined, paths), workers=2)
        assert joined.read_bytes() == expected
        for path in (*paths, joined):
            path.unlink()


def test_parts_read_as_one_pickle_and_give_the_same_masks(tmp_path: Path) -> None:
    recipe = Green(size=(8, 15, 16))
    whole = maskbank.generate(tmp_path / "whole.h5", recipe, 40)
    paths = [tmp_path / "0.h5", tmp_path / "1.h5"]
    maskbank.generate(paths[0], recipe, 40, items=(0, 7))
    maskbank.generate(paths[1], recipe, 40, items=(7, 40))
    again = pickle.loads(pickle.dumps(maskbank.Bank(paths)))
    ids = np.arange(100)
    one, other = (
        maskbank.MaskSampler(bank, grid=(4, 8, 8), mask_ratio=0.75, seed=1)(ids, epoch=2)
        for bank in (whole, again)
    )
    np.testing.assert_array_equal(one.visible, other.visible)


def test_parts_that_do_not_belong_together_are_refused(warm: Warm, tmp_path: Path) -> None:
    recipe = Green(size=(7, 8))
    made = {"a": (0, (0, 10)), "b": (0, (10, 20)), "c": (0, (20, 30)), "over": (0, (9, 20))}
    for name, (seed, items) in (made | {"seed": (1, (10, 20))}).items():
        maskbank.generate(tmp_path / f"{name}.h5", recipe, 30, seed=seed, items=items)
    maskbank.generate(tmp_path / "size.h5", Green(size=(7, 4)), 30, items=(10, 20))
    for name, items in {"early": (0, 10), "stretch": (10, 20)}.items():
        maskbank.generate(tmp_path / f"{name}.h5", Green(size=(7, 8), stretch=(2, 1)), 30, items=items)
    shutil.copy(tmp_path / "b.h5", tmp_path / "hurt.h5")
    found = layout.read(tmp_path / "hurt.h5")
    with open(tmp_path / "hurt.h5", "r+b") as file:
        file.seek(found.offsets["noise"] + 300)
        file.write(b"\1\2\3")
    refusals = {
        "a c": "leave out items 10 to 19",
        "a over": "overlap",
        "a a": "overlap",
        "a seed": "seed 1 instead of 0",
        "a size": "no part of the same bank",
        "a stretch": "stretch (2.0, 1.0) instead of (1.0, 1.0)",
        "early b": "stretch (1.0, 1.0) instead of (2.0, 1.0)",
        "a hurt": "hurt.h5 is damaged; maskbank repair",
        "a nowhere": "nowhere.h5",
    }
    for parts, words in refusals.items():
        names = [f"{name}.h5" for name in parts.split()]
        ended = warm.maskbank("join", "-o", "out.h5", *names, cwd=str(tmp_path))
        assert words in ended.line(ended.code), parts
        assert not (tmp_path / "out.h5").exists()
        (tmp_path / "out.h5.partial").unlink(missing_ok=True)
    line = warm.maskbank("join", "-o", "a.h5", "a.h5", "b.h5", cwd=str(tmp_path)).line(1)
    assert "one of the files that are read" in line
    assert warm.maskbank("join", "-o", "out.h5", "c.h5", "a.h5", "b.h5", cwd=str(tmp_path)).code == 0
    maskbank.generate(tmp_path / "whole.h5", recipe, 30)
    assert (tmp_path / "out.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_rebuild_from_a_file_and_from_the_line(warm: Warm, tmp_path: Path) -> None:
    path = tmp_path / "part.h5"
    args = ["generate", "green2d", "--size", "16x16", "--seed", "9", "--items", "5:25"]
    assert warm.maskbank(*args, "-o", path).code == 0
    line = warm.maskbank("inspect", path, "--recipe").out
    assert json.loads(line)["first"] == 5
    (tmp_path / "recipe.json").write_text(line)
    for k, given in enumerate((line, line.strip(), tmp_path / "recipe.json")):
        again = tmp_path / f"again{k}.h5"
        assert warm.maskbank("rebuild", given, "-o", again).code == 0
        assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("items", ["5:5", "7:3", "0:0", "-1:3", "3", "a:b", ":", "0:31"])
def test_items_that_are_none_are_refused(items: str, warm: Warm, tmp_path: Path) -> None:
    args = ["generate", "white2d", "--size", "4x4", "-n", "30", "--items", items, "-o", tmp_path / "b.h5"]
    assert "items=" in warm.maskbank(*args).line(2)
    assert os.listdir(tmp_path) == []


def test_items_without_n_make_the_same_part(warm: Warm, tmp_path: Path) -> None:
    for name, more in (("a.h5", []), ("b.h5", ["-n", "90"])):
        args = ["generate", "green2d", "--size", "8x8", "--items", "5:25", *more, "-o", tmp_path / name]
        assert warm.maskbank(*args).code == 0
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


# one writer at a time


SLOW = {"maskbank.generation.threads:_WRITE_BYTES": 2**12, "maskbank.generation.threads:_CACHE_BYTES": 2**12}
ARGS = ["generate", "green2d", "--size", "16x16", "-n", "400"]


def test_of_two_processes_at_once_one_is_refused_at_once(warm: Warm, tmp_path: Path) -> None:
    path = tmp_path / "b.h5"
    job = {
        "call": "maskbank.cli:main", "args": [[*ARGS, "-o", str(path)]], "settings": SLOW, "slow": 0.02,
        "log": str(tmp_path / "log"),
    }  # fmt: skip
    ended = sorted(warm.together([job] * 3), key=lambda one: one.code)
    assert [one.code for one in ended] == [0, 1, 1]
    for one in ended[1:]:
        assert "is being written by another process" in one.line(1)
        assert one.seconds < ended[0].seconds
    maskbank.generate(tmp_path / "alone.h5", Green(size=(16, 16)), 400)
    assert path.read_bytes() == (tmp_path / "alone.h5").read_bytes()


def test_a_partial_of_another_bank_is_refused_unless_forced(warm: Warm, tmp_path: Path) -> None:
    path = tmp_path / "b.h5"
    killed = warm.maskbank(
        *ARGS, "-o", path, settings=SLOW, slow=0.02, log=str(tmp_path / "log"), signals=[(0.5, 9)]
    )
    assert killed.code == -9
    other = [*ARGS, "--seed", "1", "-o", path]
    line = warm.maskbank(*other).line(1)
    assert "is the beginning of another bank (seed 0 instead of 1); start anew with --force" in line
    assert warm.maskbank(*other, "--force").code == 0
    maskbank.generate(tmp_path / "alone.h5", Green(size=(16, 16)), 400, seed=1)
    assert path.read_bytes() == (tmp_path / "alone.h5").read_bytes()
