"""What people type, and what the message suggests instead."""

import contextlib
import io
import json
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

import maskbank
from maskbank.cli import main
from tests.cli.common import MASKBANK, call, one_line


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("banks")
    maskbank.generate(folder / "white2d.h5", maskbank.White(size=(8, 8)), 6)
    broken = bytearray((folder / "white2d.h5").read_bytes())
    broken[-1] ^= 1
    (folder / "broken.h5").write_bytes(broken)
    return folder


@pytest.mark.parametrize("n", ["2000", "2k", "2K", "2_000", "2,000", "2e3", "0.002M"])
def test_numbers_are_written_as_people_do(n: str, tmp_path: Path) -> None:
    made = call("generate", "white2d", "--size", "4x4", "--n", n, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert len(maskbank.Bank(tmp_path / "white2d.h5")) == 2000


@pytest.mark.parametrize("n", ["2.5", "k", "1e", "1e400", "0x10", "1.2345k", "9" * 5000])
def test_what_is_no_whole_number_is_refused(n: str, tmp_path: Path) -> None:
    line = one_line(call("generate", "white2d", "--n", n, cwd=tmp_path), 2)
    assert n[:20] in line or "very large" in line
    assert len(line) < 1000


@pytest.mark.parametrize(
    "option", ["--size 9{}", "--items 0:9{}", "--seed 9{}", "-j 9{}", "--sigma1 9{} 9{}"]
)
def test_whole_numbers_of_any_length_get_one_line(option: str, tmp_path: Path) -> None:
    args = option.format("9" * 5000, "9" * 5000).split()
    line = one_line(call("generate", "green2d", "-n", 3, *args, cwd=tmp_path), 2)
    assert len(line) < 1000


def test_numbers_that_python_cannot_write_get_one_line_from_the_library(banks: Path) -> None:
    bank, many = maskbank.Bank(banks / "white2d.h5"), 10**5000
    for wrong in (
        lambda: maskbank.MaskSampler(bank, (many, 4), 0.5),
        lambda: maskbank.MaskSampler(bank, (4, 4), many),
        lambda: maskbank.White(size=(many, 4)),
        lambda: maskbank.generate(banks / "x.h5", maskbank.White(), many),
        lambda: maskbank.generate(banks / "x.h5", maskbank.White(), 3, seed=many),
    ):
        with pytest.raises(maskbank.RecipeError) as error:
            wrong()
        assert len(str(error.value)) < 300
    line = json.dumps({"n": 0}).replace("0", "9" * 5000)
    assert "not JSON" in one_line(call("rebuild", line), 1)


def test_a_kind_may_follow_its_options(tmp_path: Path) -> None:
    assert call("generate", "--n", 2, "--size", "4x4", "white2d", "-o", "a.h5", cwd=tmp_path).returncode == 0
    for option in ("-o", "--output"):
        for name in ("red2d", "white2d"):
            given = ("generate", option, name, "white2d", "-n", 2, "--size", "4x4")
            assert call(*given, cwd=tmp_path).returncode == 0
    assert maskbank.Bank(tmp_path / "red2d").kind == "white2d"


def test_percent_and_two_ratios(banks: Path, tmp_path: Path) -> None:
    args = ("--grid", "8x8", "-n", 3, "--force")
    assert call("export", banks / "white2d.h5", *args, "--mask-ratio", "75%", cwd=tmp_path).returncode == 0
    assert np.load(tmp_path / "masks.npy").sum() == 3 * 48
    two = ("--mask-ratio", "50%", "--mask-ratio", "0.25")
    result = call("export", "timefreq", *args, *two, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert np.load(tmp_path / "masks.npy").sum() == 3 * (64 - 4 * 6)
    for words in ("two", "mask_ratio=0.5"):
        assert words in one_line(call("export", "timefreq", *args, "--mask-ratio", 0.5, cwd=tmp_path), 2)
    assert "mask_ratio" in one_line(call("export", "random", *args, *two, cwd=tmp_path), 2)
    assert "'many'" in one_line(call("export", "random", *args, "--mask-ratio", "many", cwd=tmp_path), 2)


@pytest.mark.parametrize(
    "args, code, words",
    [
        ("generate white3d -n 3 --size 64 64 64", 2, "--size 64x64x64"),
        ("inspect white2d", 1, "did you mean white2d.h5?"),
        ("verify wite2d.h5", 1, "did you mean white2d.h5?"),
        ("export tubes --grid 8x8 --mask-ratio 0.5 -n 3", 1, "did you mean tube?"),
        ("rebuild white2d.h5", 1, "maskbank inspect white2d.h5 --recipe"),
        ("join broken.h5 white2d.h5", 2, "'-o'"),
    ],
)
def test_one_line_names_what_was_probably_meant(args: str, code: int, words: str, banks: Path) -> None:
    assert words in one_line(call(*args.split(), cwd=banks), code)


def test_a_larger_n_over_the_same_bank_names_commands_to_paste(tmp_path: Path) -> None:
    name = "my bank's.h5"
    args = ("generate", "green2d", "--size", "8x8", "--sigma1", 0.5, 1, "--seed", 3, "-o", name)
    assert call(*args, "-n", 4, cwd=tmp_path).returncode == 0
    line = one_line(call(*args, "-n", 10, cwd=tmp_path), 1)
    assert "holds the first 4 of these items" in line
    for command in line[line.index(": maskbank generate") + 2 :].split(" && "):
        program, *words = shlex.split(command)
        assert program == "maskbank"
        assert call(*words, cwd=tmp_path).returncode == 0, command
    assert call(*args[:-1], "direct.h5", "-n", 10, cwd=tmp_path).returncode == 0
    assert (tmp_path / "my bank's-whole.h5").read_bytes() == (tmp_path / "direct.h5").read_bytes()
    assert "holds the first" not in one_line(call(*args, "-n", 2, cwd=tmp_path), 1)
    assert "holds the first" not in one_line(call(*args, "-n", 10, "--seed", 4, cwd=tmp_path), 1)


def test_parts_that_do_not_begin_at_item_0_are_joined_only_when_asked_for(tmp_path: Path) -> None:
    for name, items in (("b.h5", "2:5"), ("c.h5", "5:9")):
        call("generate", "white2d", "--size", "4x4", "--items", items, "-o", name, cwd=tmp_path)
    args = ("join", "-o", "bc.h5", "b.h5", "c.h5")
    assert "begins at item 2" in (line := one_line(call(*args, cwd=tmp_path), 1))
    assert "--partial" in line
    assert call(*args, "--partial", cwd=tmp_path).returncode == 0
    assert maskbank.Bank(tmp_path / "bc.h5").first == 2


def test_verify_takes_several_banks_and_speaks_json(banks: Path) -> None:
    args = ("verify", "white2d.h5", "broken.h5", "white2d.h5")
    result = call(*args, cwd=banks)
    assert result.returncode == 1
    assert [line.split()[:3] for line in result.stdout.splitlines()] == 2 * [["white2d.h5", "is", "whole:"]]
    assert "broken.h5 is damaged: 1 of 6 items (5)" in result.stderr
    found = call(*args, "--json", cwd=banks)
    assert (found.returncode, found.stderr) == (1, "")
    one, broken, _ = json.loads(found.stdout)
    assert (one["fault"], one["items"], one["checked"], one["damaged"]) == ("", 6, 6, [])
    assert broken["damaged"] == [5]
    (banks / "text").write_text("no bank")
    (text,) = json.loads(call("verify", "text", "--json", cwd=banks).stdout)
    assert "not an HDF5 file" in text["fault"]
    assert call("verify", "white2d.h5", "-q", cwd=banks).stdout == ""
    assert "broken.h5" in one_line(call("verify", "broken.h5", "-q", cwd=banks), 1)


def test_quiet_is_quiet(tmp_path: Path) -> None:
    made = call("generate", "rbn", "-n", 3, "--masks-per-set", 1, "-q", cwd=tmp_path)
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")
    assert "next: maskbank" in call("generate", "rbn", "-n", 3, "-o", "b.h5", cwd=tmp_path).stderr
    assert "n=0" in one_line(call("generate", "rbn", "-n", 0, "-q", cwd=tmp_path), 2)


def test_suggested_commands_are_quoted_for_the_shell(tmp_path: Path) -> None:
    made = call("generate", "white2d", "-n", 3, "--size", "4x4", "-o", "it's $HOME.h5", cwd=tmp_path)
    line = made.stderr.splitlines()[-1]
    assert shlex.split(line[line.index("next: ") + 6 :]) == ["maskbank", "inspect", "it's $HOME.h5"]


def test_the_shell_completes_commands_options_and_files(banks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def completed(words: str) -> list[str]:
        monkeypatch.setenv("_MASKBANK_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", f"maskbank {words}")
        monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
        stdout = io.TextIOWrapper(io.BytesIO(), "utf-8")
        with contextlib.redirect_stdout(stdout), pytest.raises(SystemExit) as end:
            main([])
        assert not end.value.code
        stdout.seek(0)
        return stdout.read().split()

    monkeypatch.chdir(banks)
    assert completed("ver") == ["plain,verify"]
    assert subprocess.check_output(MASKBANK, text=True).split() == ["plain,verify"]
    assert completed("insect wh") == []
    assert completed("generate gree") == ["plain,green1d", "plain,green2d", "plain,green3d"]
    assert completed("generate rbn --mask") == ["plain,--mask-ratio", "plain,--masks-per-set"]
    for command in ("inspect", "verify", "export", "repair", "join -o", "rebuild", "preview"):
        assert completed(f"{command} wh") == ["file,wh"], command
