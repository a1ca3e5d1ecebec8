"""generate, join, rebuild, verify, repair, export: what they make and say."""

import re
from pathlib import Path

import numpy as np
import pytest

import maskbank
from maskbank.recipes import KINDS
from tests.cli.common import call, lines, one_line

# kinds of the plain suite
SOME = ("white3d", "green2d", "rbn")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind in SOME else [pytest.mark.full]) for kind in KINDS]
)
def test_every_kind_can_be_made_and_inspected(kind: str, tmp_path: Path) -> None:
    size = {"1d": "31", "3d": "8x8x8"}.get(kind[-2:], "9x7")
    made = call("generate", kind, "--n", 3, "--size", size, "--seed", 5, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stdout == ""
    dtype = "uint16" if kind == "rbn" else "float16"
    what = rf"{kind}.h5: 3 x {kind} {size} {dtype}, [\d.]+ (kB|bytes)"
    start, end = lines(made.stderr)
    assert re.fullmatch(rf"making {what}", start)
    assert re.fullmatch(rf"made {what}, in [\d.]+ s; next: maskbank inspect {kind}.h5", end)
    bank = maskbank.Bank(tmp_path / f"{kind}.h5")
    assert (bank.kind, len(bank), bank.seed) == (kind, 3, 5)
    again = call("generate", kind, "-n", 3, "--size", size, "--seed", 5, cwd=tmp_path)
    assert again.returncode == 0
    assert "is there already" in again.stderr
    assert bank.fingerprint in again.stderr


def test_all_options_reach_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "b.h5"
    result = call(
        "generate", "purple2d", "-n", 4, "-o", path, "--size", "12x10", "--seed", 2**64 - 1,
        "--dtype", "uint8", "-j", 1, "--boundary", "reflect", "--sigma1", 0.5, 1.5, "--sigma2", 2.5, 2.5,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    bank = maskbank.Bank(path)
    expected = maskbank.Purple(
        size=(12, 10), dtype="uint8", boundary="reflect", sigma1=(0.5, 1.5), sigma2=(2.5, 2.5)
    )
    assert bank.recipe == expected
    assert bank.seed == 2**64 - 1


def test_all_options_of_rbn_reach_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "b.h5"
    result = call(
        "generate", "rbn", "-n", 4, "-o", path, "--size", "12x10", "--seed", 7, "--mask-ratio", 0.3,
        "--masks-per-set", 2, "--window", 7, "--window", 1, "--weights", 1, 0.5, 0, ".25",
        "--init", "blue", "--ties", "first", "--boundary", "open",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    bank = maskbank.Bank(path)
    assert bank.recipe == maskbank.RBN(
        size=(12, 10), mask_ratio=0.3, masks_per_set=2, window=(1, 7), weights=(1.0, 0.5, 0.0, 0.25),
        init="blue", ties="first", boundary="open",
    )  # fmt: skip
    assert (bank.seed, bank.dtype.name, bank.shape) == (7, "uint16", (4, 12, 10))


def test_no_option_of_rbn_is_the_default_recipe(tmp_path: Path) -> None:
    assert call("generate", "rbn", "-n", 2, cwd=tmp_path).returncode == 0
    assert maskbank.Bank(tmp_path / "rbn.h5").recipe == maskbank.RBN()


def test_one_mask_a_set_works_and_warns_in_one_line(tmp_path: Path) -> None:
    args = ("generate", "rbn", "-n", 3, "--masks-per-set", 1)
    result = call(*args, cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout == ""
    warning, *_, made = result.stderr.splitlines()
    assert warning.startswith("maskbank: masks_per_set=1 is random masking")
    assert "up to 5 fit" in warning
    assert made.startswith("made rbn.h5: 3 x rbn 64x8 uint16")
    again = call(*args, cwd=tmp_path)
    assert (again.returncode, len(lines(again.stderr))) == (0, 1)


@pytest.mark.parametrize(
    "variant", ["4", "main", *(pytest.param(name, marks=pytest.mark.full) for name in "1235")]
)
@pytest.mark.parametrize("kind", ["green2d", "purple2d"])
def test_every_variant_is_made(variant: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "b.h5"
    assert call("generate", kind, "-n", 2, "-o", path, "--variant", variant).returncode == 0
    assert len(maskbank.Bank(path)) == 2


def test_export_writes_what_the_sampler_gives(tmp_path: Path) -> None:
    bank = maskbank.generate(tmp_path / "b.h5", maskbank.Green(size=(8, 16, 16)), 5)
    result = call(
        "export", "b.h5", "--grid", "4x7x7", "--mask-ratio", 0.75, "-n", 11, "--epoch", 2, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert "True = masked" in result.stderr
    expected = maskbank.MaskSampler(bank, (4, 7, 7), 0.75)(np.arange(11), epoch=2)
    exported = np.load(tmp_path / "masks.npy", mmap_mode="r")
    assert exported.dtype == np.bool_
    assert np.array_equal(exported, expected.masked)
    assert "--force" in one_line(
        call("export", "b.h5", "--grid", "4x7x7", "--mask-ratio", 0.75, "-n", 11, cwd=tmp_path), 1
    )
    packed = call(
        "export", "b.h5", "--grid", "4x7x7", "--num-visible", 40, "--per-frame", "-n", 9000, "--packed",
        "--mark", "visible", "--seed", 4, "--force", cwd=tmp_path,
    )  # fmt: skip
    assert packed.returncode == 0, packed.stderr
    bits = np.load(tmp_path / "masks.npy")
    assert bits.shape == (9000, 25)
    sampler = maskbank.MaskSampler(bank, (4, 7, 7), num_visible=40, per_frame=True, seed=4)
    assert np.array_equal(np.unpackbits(bits, axis=1)[:, :196], sampler(np.arange(9000)).visible)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.h5", "masks.npy"]


def test_parts_verify_repair_join_and_rebuild_from_the_command_line(tmp_path: Path) -> None:
    common = ("generate", "green2d", "--size", "8x8", "-n", 10)
    assert call(*common, "-o", "whole.h5", cwd=tmp_path).returncode == 0
    for part, items in (("a.h5", "0:3"), ("b.h5", "3:10")):
        assert call(*common, "--items", items, "-o", part, cwd=tmp_path).returncode == 0
    assert call("join", "-o", "joined.h5", "b.h5", "a.h5", cwd=tmp_path).returncode == 0
    whole = (tmp_path / "whole.h5").read_bytes()
    assert (tmp_path / "joined.h5").read_bytes() == whole
    (tmp_path / "line.json").write_text(call("inspect", "whole.h5", "--recipe", cwd=tmp_path).stdout)
    assert call("rebuild", "line.json", "-o", "again.h5", cwd=tmp_path).returncode == 0
    assert (tmp_path / "again.h5").read_bytes() == whole
    broken = bytearray(whole)
    broken[-1] ^= 1
    (tmp_path / "again.h5").write_bytes(broken)
    line = one_line(call("verify", "again.h5", cwd=tmp_path), 1)
    assert "1 of 10 items (9)" in line
    assert call("repair", "again.h5", cwd=tmp_path).returncode == 0
    assert (tmp_path / "again.h5").read_bytes() == whole
    assert "has no damage in the" in call("verify", "again.h5", "--sample", "50%", cwd=tmp_path).stdout


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_no_command_replaces_what_it_reads(force: list[str], tmp_path: Path) -> None:
    for name, items in (("a.h5", "0:3"), ("b.h5", "3:10")):
        call("generate", "white2d", "--size", "64x64", "--items", items, "-o", name, cwd=tmp_path)
    (tmp_path / "link.h5").symlink_to("a.h5")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for args in (
        "join -o a.h5 a.h5 b.h5",
        "join -o link.h5 a.h5 b.h5",
        "export a.h5 --grid 8x8 --mask-ratio 0.5 -n 5 -o a.h5",
    ):
        line = one_line(call(*args.split(), *force, cwd=tmp_path), 1)
        assert "is one of the files that are read" in line
    assert "-o" in one_line(call("join", "a.h5", "b.h5", *force, cwd=tmp_path), 2)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
