"""The command line, as real processes."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest

import maskbank
from maskbank.recipes import KINDS

Result = subprocess.CompletedProcess[str]


def run(*args: object, cwd: Path | None = None, **environment: str) -> Result:
    return subprocess.run(
        [sys.executable, "-m", "maskbank", *map(str, args)],
        cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def one_line(result: Result, code: int) -> str:
    """What a user reads when something goes wrong: exactly one line on stderr, nothing on stdout."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("maskbank: ")
    return lines[0]


# a process each, of which the plain suite runs some
SOME = ("white3d", "green2d", "rbn")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind in SOME else [pytest.mark.full]) for kind in KINDS]
)
def test_every_kind_can_be_made_and_inspected(kind: str, tmp_path: Path) -> None:
    size = "8x8x8" if kind.endswith("3d") else "9x7"
    made = run("generate", kind, "--n", 3, "--size", size, "--seed", 5, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stdout == ""
    dtype = "uint16" if kind == "rbn" else "float16"
    what = rf"made {kind}.h5: 3 x {kind} {size} {dtype}, [\d.]+ kB, in [\d.]+ s"
    assert re.fullmatch(rf"{what}; next: maskbank inspect {kind}.h5\n", made.stderr)
    bank = maskbank.Bank(tmp_path / f"{kind}.h5")
    assert (bank.kind, len(bank), bank.seed) == (kind, 3, 5)
    again = run("generate", kind, "-n", 3, "--size", size, "--seed", 5, cwd=tmp_path)
    assert again.returncode == 0
    assert "is there already" in again.stderr
    assert bank.fingerprint in again.stderr


def test_all_options_reach_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "b.h5"
    result = run(
        "generate", "purple2d", "-n", 4, "-o", path, "--size", "12x10", "--seed", 2**64 - 1,
        "--dtype", "uint8", "-j", 1, "--boundary", "reflect", "--variant", 3, "--sigma2", 2.5, 2.5,
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
    result = run(
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
    assert run("generate", "rbn", "-n", 2, cwd=tmp_path).returncode == 0
    assert maskbank.Bank(tmp_path / "rbn.h5").recipe == maskbank.RBN()


def test_one_mask_a_set_works_and_warns_in_one_line(tmp_path: Path) -> None:
    args = ("generate", "rbn", "-n", 3, "--masks-per-set", 1)
    result = run(*args, cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout == ""
    warning, made = result.stderr.splitlines()
    assert warning.startswith("maskbank: masks_per_set=1 is random masking")
    assert "up to 5 fit" in warning
    assert made.startswith("made rbn.h5: 3 x rbn 64x8 uint16")
    again = run(*args, cwd=tmp_path)
    assert (again.returncode, len(again.stderr.splitlines())) == (0, 1)


@pytest.mark.parametrize(
    "variant", ["4", "main", *(pytest.param(name, marks=pytest.mark.full) for name in "1235")]
)
@pytest.mark.parametrize("kind", ["green2d", "purple2d"])
def test_every_variant_is_made(variant: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "b.h5"
    assert run("generate", kind, "-n", 2, "-o", path, "--variant", variant).returncode == 0
    assert len(maskbank.Bank(path)) == 2


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ("green3d -n 0", 2, ["n=0", "1 to"]),
        ("green3d -n -3", 2, ["n=-3", "1 to"]),
        ("green3d -n many", 2, ["many", "integer"]),
        ("green3d", 2, ["-n"]),
        ("gren3d -n 3", 2, ["gren3d", "did you mean green3d"]),
        ("xyzzy -n 3", 2, ["xyzzy", "white2d"]),
        ("green3d -n 3 --size 64x64", 2, ["64x64", "takes 3"]),
        ("green2d -n 3 --size 64", 2, ["size=64", "takes 2"]),
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
        ("rbn -n 3 --size 8x8x8", 2, ["8x8x8", "takes 2", "64x8"]),
        ("rbn -n 3 --size 1025x1024", 2, ["1025x1024", "1,048,576"]),
        ("rbn -n 3 --init red", 2, ["--init", "red", "blue"]),
        ("rbn -n 3 --ties last", 2, ["--ties", "last", "first"]),
        ("rbn -n 3 --boundary reflect", 2, ["--boundary", "reflect", "open"]),
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
    line = one_line(run("generate", *args.split(), cwd=tmp_path), code)
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
        ("inspect b.h5.partial", 1, ["never finished"]),
        ("insect", 2, ["insect", "did you mean inspect"]),
        ("--verion", 2, ["--verion", "--version"]),
    ],
)
def test_bad_banks_and_commands_get_one_clear_line(
    args: str, code: int, words: list[str], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "b.h5.partial").write_bytes(bytes(5000))
    line = one_line(run(*args.split(), cwd=tmp_path), code)
    for word in words:
        assert word in line, line


def test_a_folder_that_must_not_be_written_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("nothing is forbidden to root")
    tmp_path.chmod(0o500)
    assert "Permission denied" in one_line(run("generate", "white2d", "-n", 3, cwd=tmp_path), 1)


def test_an_unwritable_compiler_cache_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    path = tmp_path / "b.h5"
    result = run(
        "generate", "white2d", "-n", 3, "--size", "4x4", "-o", path, NUMBA_CACHE_DIR=str(file / "no")
    )
    assert result.returncode == 0
    warning, made = result.stderr.splitlines()
    assert "compiled kernels are not kept" in warning
    assert "NUMBA_CACHE_DIR" in warning
    assert made.startswith("made ")


def test_a_damaged_compiler_cache_is_compiled_anew(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    args = ("generate", "white2d", "-n", 3, "--size", "4x4", "--force", "-o", tmp_path / "b.h5")
    assert run(*args, NUMBA_CACHE_DIR=str(cache)).returncode == 0
    content = (tmp_path / "b.h5").read_bytes()
    kept = [path for path in cache.rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:40])
    again = run(*args, NUMBA_CACHE_DIR=str(cache))
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "b.h5").read_bytes() == content


def test_the_compilers_cache_forgets_what_nobody_uses(tmp_path: Path) -> None:
    old, recent, other = (
        tmp_path / name for name in ("kernels-0123456789ab", "kernels-ba9876543210", "kept")
    )
    for folder in (old, recent, other):
        folder.mkdir()
        (folder / "x.nbi").write_bytes(b"x")
    for folder in (old, other):
        os.utime(folder, (0, 0))
    args = ("generate", "white2d", "-n", 3, "--size", "4x4", "-o", tmp_path / "b.h5")
    assert run(*args, NUMBA_CACHE_DIR=str(tmp_path)).returncode == 0
    assert not old.exists()
    assert recent.exists()
    assert other.exists()
    assert len(list(tmp_path.glob("kernels-*"))) == 2


def test_ctrl_c_ends_with_130_and_no_half_written_bank(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "maskbank", "generate", "white3d", "-n", "20000", "-o", "b.h5"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # deaf in the background
    )  # fmt: skip
    partial = tmp_path / "b.h5.partial"
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130, text
    assert "run the same command again to go on" in text
    assert "Traceback" not in text
    assert not (tmp_path / "b.h5").exists()
    partial.unlink()


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_what_has_nothing_to_finish(tmp_path: Path, number: int, code: int) -> None:
    call = (
        "import os, signal; from maskbank.bank import layout; from maskbank.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"layout.read = lambda _: os.kill(os.getpid(), {int(number)})\n"
        "main(['verify', 'b.h5'])"
    )
    result = subprocess.run([sys.executable, "-c", call], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == code, result.stderr
    assert "interrupted; run the same command again" in result.stderr


def test_a_terminal_shows_progress_and_a_pipe_does_not(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "maskbank", "generate", "white3d", "-n", "400", "--force", "-o", "b.h5"]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(command, cwd=tmp_path, stderr=theirs, stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        assert process.wait(60) == 0
    os.close(ours)
    assert b"item/s" in shown
    assert b"%|" in shown
    piped = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert len(piped.stderr.splitlines()) == 1


# inspect


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("banks")
    maskbank.generate(folder / "green.h5", maskbank.Green(size=(4, 8, 8)), 9, seed=3)
    maskbank.generate(folder / "white.h5", maskbank.White(size=(5, 5), dtype="uint8"), 4)
    recipe = maskbank.RBN(
        size=(9, 7), mask_ratio=0.75, window=(5, 3), weights=(1, 0.5, 0, 0), boundary="open"
    )
    maskbank.generate(folder / "rbn.h5", recipe, 6)
    return folder


def test_inspect_tells_what_is_in_a_bank(banks: Path) -> None:
    bank = maskbank.Bank(banks / "green.h5")
    result = run("inspect", "green.h5", cwd=banks)
    assert result.returncode == 0
    assert result.stderr == ""
    rows = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in result.stdout.splitlines()[:-1])
    assert rows["kind"] == "green3d"
    assert rows["items"] == "9"
    assert rows["item"] == "4x8x8 (T x H x W)"
    assert rows["dtype"] == "float16"
    assert rows["on disk"] == f"{bank.nbytes:,} bytes"
    assert rows["seed"] == "3"
    assert rows["fingerprint"] == bank.fingerprint
    assert rows["recipe: sigma1"] == "0.4 to 1.5"
    assert rows["recipe: boundary"] == "wrap"
    assert bank.sigma is not None
    low, high = bank.sigma[:, 1].min(), bank.sigma[:, 1].max()
    assert rows["drawn: sigma2"].startswith(f"{low:.3f} … ")
    assert rows["drawn: sigma2"].endswith(f" … {high:.3f}")


def test_inspect_tells_how_regularised_blue_noise_was_made(banks: Path) -> None:
    result = run("inspect", "rbn.h5", cwd=banks)
    assert (result.returncode, result.stderr) == (0, "")
    rows = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in result.stdout.splitlines())
    expected = {
        "kind": "rbn", "items": "6", "item": "9x7 (H x W)", "dtype": "uint16", "recipe: mask_ratio": "0.75",
        "recipe: masks_per_set": "4", "recipe: window": "3, 5", "recipe: weights": "1, 0.5, 0, 0",
        "recipe: boundary": "open", "recipe: init": "zeros", "recipe: ties": "random",
    }  # fmt: skip
    assert {key: rows.get(key) for key in expected} == expected
    assert not [key for key in rows if key.startswith("drawn")]
    facts = json.loads(run("inspect", "rbn.h5", "--json", cwd=banks).stdout)
    assert facts["shape"] == [6, 9, 7]
    assert facts["recipe"] == {
        "size": [9, 7], "mask_ratio": 0.75, "masks_per_set": 4, "window": [3, 5], "boundary": "open",
        "weights": [1.0, 0.5, 0.0, 0.0], "init": "zeros", "ties": "random", "dtype": "uint16",
    }  # fmt: skip
    assert "sigma" not in facts
    lines = run("inspect", "rbn.h5", "green.h5", cwd=banks).stdout.splitlines()
    assert ["recipe:", "masks_per_set", "4"] in [line.split() for line in lines]


def test_several_banks_stand_side_by_side(banks: Path) -> None:
    lines = run("inspect", "green.h5", "white.h5", cwd=banks).stdout.splitlines()
    assert lines[0].split() == ["bank", "green.h5", "white.h5"]
    assert ["kind", "green3d", "white2d"] in [line.split() for line in lines]


def test_inspect_json_says_the_same_to_programs(banks: Path) -> None:
    bank = maskbank.Bank(banks / "green.h5")
    facts = json.loads(run("inspect", "green.h5", "--json", cwd=banks).stdout)
    assert facts["items"] == 9
    assert facts["shape"] == [9, 4, 8, 8]
    assert facts["bytes"] == bank.nbytes
    assert facts["recipe"] == bank.recipe.to_dict()
    assert facts["fingerprint"] == bank.fingerprint
    assert bank.sigma is not None
    assert facts["sigma"]["sigma1"]["max"] == bank.sigma[:, 0].max()
    both = json.loads(run("inspect", "green.h5", "white.h5", "--json", cwd=banks).stdout)
    assert [facts["kind"] for facts in both] == ["green3d", "white2d"]


def test_inspect_recipe_is_all_that_is_needed_to_make_it_again(banks: Path, tmp_path: Path) -> None:
    line = run("inspect", "green.h5", "--recipe", cwd=banks).stdout
    assert line.count("\n") == 1
    made = json.loads(line)
    recipe = maskbank.Green.from_dict(made["recipe"])
    bank = maskbank.generate(tmp_path / "again.h5", recipe, made["n"], seed=made["seed"])
    assert bank.fingerprint == made["fingerprint"]
    assert (tmp_path / "again.h5").read_bytes() == (banks / "green.h5").read_bytes()


def test_inspect_structure_says_whether_it_reaches_the_model(tmp_path: Path) -> None:
    maskbank.generate(tmp_path / "green.h5", maskbank.Green(size=(32, 32, 32)), 20)
    maskbank.generate(tmp_path / "white.h5", maskbank.White(size=(16, 16, 16)), 20)
    result = run("inspect", "green.h5", "white.h5", "--structure", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "8x14x14, 156 of 1,568 visible" in result.stdout
    assert "green.h5: structure reaches the model" in result.stdout
    assert re.search(
        r"white.h5: ALARM: .* cannot be told from random ones; .*use another kind", result.stdout
    )
    facts = json.loads(
        run(
            "inspect",
            "green.h5",
            "--structure",
            "--json",
            "--grid",
            "4x8x8",
            "--mask-ratio",
            0.75,
            cwd=tmp_path,
        ).stdout
    )["structure"]
    assert facts["grid"] == [4, 8, 8]
    assert facts["num_visible"] == 64
    assert facts["reaches"] is True
    assert facts["measures"]["time"]["value"] > 1.4 * facts["measures"]["time"]["random"]
    assert len(facts["spectrum"]["items"]["power"]) == len(facts["spectrum"]["items"]["analytic"])
    assert "--structure" in one_line(run("inspect", "green.h5", "--grid", "4x8x8", cwd=tmp_path), 2)


def test_inspect_structure_of_rbn_takes_its_own_grid(tmp_path: Path) -> None:
    maskbank.generate(tmp_path / "rbn.h5", maskbank.RBN(), 20)
    result = run("inspect", "rbn.h5", "--structure", cwd=tmp_path)
    assert "64x8, 102 of 512 visible" in result.stdout
    assert "structure reaches the model" in result.stdout


def test_export_writes_what_the_sampler_gives(tmp_path: Path) -> None:
    bank = maskbank.generate(tmp_path / "b.h5", maskbank.Green(size=(8, 16, 16)), 5)
    result = run(
        "export", "b.h5", "--grid", "4x7x7", "--mask-ratio", 0.75, "-n", 11, "--epoch", 2, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert "True = masked" in result.stderr
    expected = maskbank.MaskSampler(bank, (4, 7, 7), 0.75)(np.arange(11), epoch=2)
    exported = np.load(tmp_path / "masks.npy", mmap_mode="r")
    assert exported.dtype == np.bool_
    assert np.array_equal(exported, expected.masked)
    assert "--force" in one_line(
        run("export", "b.h5", "--grid", "4x7x7", "--mask-ratio", 0.75, "-n", 11, cwd=tmp_path), 1
    )
    packed = run(
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
    assert run(*common, "-o", "whole.h5", cwd=tmp_path).returncode == 0
    for part, items in (("a.h5", "0:3"), ("b.h5", "3:10")):
        assert run(*common, "--items", items, "-o", part, cwd=tmp_path).returncode == 0
    assert run("join", "joined.h5", "b.h5", "a.h5", cwd=tmp_path).returncode == 0
    whole = (tmp_path / "whole.h5").read_bytes()
    assert (tmp_path / "joined.h5").read_bytes() == whole
    (tmp_path / "line.json").write_text(run("inspect", "whole.h5", "--recipe", cwd=tmp_path).stdout)
    assert run("rebuild", "line.json", "-o", "again.h5", cwd=tmp_path).returncode == 0
    assert (tmp_path / "again.h5").read_bytes() == whole
    broken = bytearray(whole)
    broken[-1] ^= 1
    (tmp_path / "again.h5").write_bytes(broken)
    line = one_line(run("verify", "again.h5", cwd=tmp_path), 1)
    assert "1 of 10 items (9)" in line
    assert run("repair", "again.h5", cwd=tmp_path).returncode == 0
    assert (tmp_path / "again.h5").read_bytes() == whole
    assert "whole" in run("verify", "again.h5", "--sample", "50%", cwd=tmp_path).stdout
