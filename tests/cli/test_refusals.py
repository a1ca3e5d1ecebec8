"""What the command line refuses: one line each."""

import os
from pathlib import Path

import pytest

import maskbank
from tests.cli.common import call, one_line, run


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ("green3d -n 0", 2, ["n=0", "1 to"]),
        ("green3d -n -3", 2, ["n=-3", "1 to"]),
        ("green3d -n many", 2, ["many", "integer"]),
        ("green3d", 2, ["n is missing"]),
        ("gren3d -n 3", 2, ["gren3d", "Did you mean", "'green3d'"]),
        ("xyzzy -n 3", 2, ["xyzzy", "generate --help"]),
        ("green3d -n 3 --size 64x64", 2, ["64x64", "takes 3"]),
        ("green2d -n 3 --size 64", 2, ["size=64", "takes 2, as in 64x64"]),
        ("green1d -n 3 --size 64x64", 2, ["size=64x64", "takes 1, as in 1024"]),
        ("rbn -n 3 --size 500 --weights 0 1 1 1", 2, ["first weight", "along one axis"]),
        ("green2d -n 3 --size big", 2, ["'big'", "64x64"]),
        ("green2d -n 3 --size 0x4", 2, ["size=0", "1 to"]),
        ("green3d -n 3 --size 4096x4096x64", 2, ["1,073,741,824", "268,435,456"]),
        ("blue2d -n 3 --sigma 0 1", 2, ["sigma=0", "0.3 to 64"]),
        ("blue2d -n 3 --sigma -1 1", 2, ["sigma=-1"]),
        ("blue2d -n 3 --sigma nan 1", 2, ["sigma=nan"]),
        ("blue2d -n 3 --sigma 0.29 1", 2, ["sigma=0.29", "0.3 to 64"]),
        ("purple2d -n 3 --sigma1 0.29 1", 2, ["sigma1=0.29", "0.3 to 64"]),
        ("blue2d -n 3 --sigma 1 65", 2, ["sigma=65"]),
        ("red2d -n 3 --sigma 2 1", 2, ["LO=2", "HI=1"]),
        ("red2d -n 3 --sigma 2", 2, ["--sigma", "2"]),
        ("green2d -n 3 --sigma1 2 3 --sigma2 0.5 1", 2, ["sigma1=2 to 3", "sigma2=0.5 to 1"]),
        ("green2d -n 3 --variant 6", 2, ["'6'", "main"]),
        ("green2d -n 3 --dtype float64", 2, ["float64", "float16"]),
        ("green2d -n 3 --boundary open", 2, ["open", "wrap"]),
        ("green2d -n 3 --seed -1", 2, ["seed=-1"]),
        ("green2d -n 3 --seed 18446744073709551616", 2, ["seed=18446744073709551616"]),
        ("green2d -n 3 -j 0", 2, ["workers=0"]),
        ("green2d -n 3 --sed 3", 2, ["--sed", "--seed"]),
        ("white2d -n 3 --sigma 1 2", 2, ["--sigma"]),
        ("rbn -n 3 --masks-per-set 6", 2, ["masks_per_set=6", "5 is the largest"]),
        ("rbn -n 3 --mask-ratio 0.3 --masks-per-set 4", 2, ["masks_per_set=4", "3 is the largest"]),
        ("rbn -n 3 --masks-per-set 0", 2, ["masks_per_set=0", "1 to"]),
        ("rbn -n 3 --window 4", 2, ["window=4", "even"]),
        ("rbn -n 3 --window 3 --window 0", 2, ["window=0", "1 to"]),
        ("rbn -n 3 --window 65", 2, ["window=65", "at most 64"]),
        ("rbn -n 3 --window 3 --window 3", 2, ["window=(3, 3)", "twice"]),
        ("rbn -n 3 --window three", 2, ["--window", "three"]),
        ("rbn -n 3 --weights .4 -.4 .1 .1", 2, ["weights=-0.4", "0 or more"]),
        ("rbn -n 3 --weights .4 nan .1 .1", 2, ["weights=nan", "0 or more"]),
        ("rbn -n 3 --weights 0 0 0 0", 2, ["weights", "all zero"]),
        ("rbn -n 3 --weights .4 .4 .1", 2, ["--weights", "4"]),
        ("rbn -n 3 --weights .1234567 .4 .1 .1", 2, ["0.1234567", "digits"]),
        ("rbn -n 3 --mask-ratio 0", 2, ["mask_ratio=0", "between 0 and 1"]),
        ("rbn -n 3 --mask-ratio 1", 2, ["mask_ratio=1", "between 0 and 1"]),
        ("rbn -n 3 --mask-ratio -0.5", 2, ["mask_ratio=-0.5", "between 0 and 1"]),
        ("rbn -n 3 --mask-ratio 80", 2, ["mask_ratio=80", "between 0 and 1"]),
        ("rbn -n 3 --mask-ratio nan", 2, ["mask_ratio=nan", "between 0 and 1"]),
        ("rbn -n 3 --mask-ratio 0.999", 2, ["mask_ratio=0.999", "512", "visible"]),
        ("rbn -n 3 --mask-ratio 1e-17", 2, ["mask_ratio=1e-17", "512", "masked"]),
        ("rbn -n 3 --size 1x1 --window 1", 2, ["1 token"]),
        ("rbn -n 3 --size 8x8x8", 2, ["8x8x8", "takes", "64x8"]),
        ("rbn -n 3 --size 1025x1024", 2, ["1025x1024", "1,048,576"]),
        ("rbn -n 3 --init red", 2, ["--init", "red", "blue"]),
        ("rbn -n 3 --ties last", 2, ["--ties", "last", "first"]),
        ("rbn -n 3 --boundary reflect", 2, ["--boundary", "reflect", "open"]),
        ("rbn -n 3 --refine 1", 2, ["--refine"]),
        ("rbn -n 3 --sigma 1 2", 2, ["--sigma"]),
        ("green2d -n 3 -o nowhere/b.h5", 1, ["nowhere", "folder"]),
        ("green2d -n 3 -o /proc/b.h5", 1, ["/proc/b.h5"]),
        ("green2d -n 3 -o .", 1, ["folder"]),
        ("green2d -n 3 -o notes.txt", 1, ["notes.txt", "not an HDF5 file", "--force"]),
        ("green3d -n 281474976710656", 1, ["bytes", "free"]),
    ],
)
def test_bad_input_gets_one_clear_line(args: str, code: int, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    line = one_line(call("generate", *args.split(), cwd=tmp_path), code)
    for word in words:
        assert word in line, line
    assert os.listdir(tmp_path) == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ("inspect", 2, ["BANK"]),
        ("inspect nowhere.h5", 1, ["nowhere.h5", "No such file"]),
        ("inspect .", 1, ["folder"]),
        ("inspect notes.txt", 1, ["notes.txt", "not an HDF5 file"]),
        ("inspect b.h5.partial", 1, ["unfinished bank", "repeat the command"]),
        ("insect", 2, ["insect", "Did you mean 'inspect'"]),
        ("--verion", 2, ["--verion", "--version"]),
    ],
)
def test_bad_banks_and_commands_get_one_clear_line(
    args: str, code: int, words: list[str], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "b.h5.partial").write_bytes(bytes(5000))
    line = one_line(call(*args.split(), cwd=tmp_path), code)
    for word in words:
        assert word in line, line


def test_a_folder_that_must_not_be_written_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("nothing is forbidden to root")
    tmp_path.chmod(0o500)
    assert "Permission denied" in one_line(call("generate", "white2d", "-n", 3, cwd=tmp_path), 1)


@pytest.mark.parametrize(
    "args",
    [
        *(f"generate green2d -n 3 --size 4x4 -o {name}" for name in ("nd/", "-", "x.npy", "b.h5.partial")),
        *(
            f"export random --grid 4x4 --mask-ratio 0.5 -n 3 -o {name}"
            for name in ("ne/", "m.h5", "m.npz", "-")
        ),
        "join -o x.npz part.h5",
    ],
)
def test_a_name_that_misleads_is_refused_before_anything_is_made(args: str, tmp_path: Path) -> None:
    maskbank.generate(tmp_path / "part.h5", maskbank.White(size=(4, 4)), 3)
    line = one_line(call(*args.split(), cwd=tmp_path), 1)
    assert args.split()[args.split().index("-o") + 1] in line
    assert os.listdir(tmp_path) == ["part.h5"]


@pytest.mark.parametrize(
    "args",
    [
        "generate green2d -n 0",
        "inspect nowhere.h5",
        "--verion",
        *(
            pytest.param(args, marks=pytest.mark.full)
            for args in ("generate gren3d -n 3", "generate green2d -n 3 -o nowhere/b.h5", "verify --sample 2")
        ),
    ],
)
def test_a_process_ends_as_a_call_does(args: str, tmp_path: Path) -> None:
    as_process, as_call = run(*args.split(), cwd=tmp_path), call(*args.split(), cwd=tmp_path)
    assert one_line(as_process, as_call.returncode) == one_line(as_call, as_call.returncode)
    assert as_call.returncode in (1, 2)
