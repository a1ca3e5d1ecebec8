"""inspect: what is in a bank, for people and for programs."""

import json
import re
import shutil
from pathlib import Path

import pytest

import maskbank
from maskbank.checks import format_bytes
from tests.cli.common import call, one_line


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


def test_inspect_shows_what_is_in_a_bank(banks: Path) -> None:
    bank = maskbank.Bank(banks / "green.h5")
    result = call("inspect", "green.h5", cwd=banks)
    assert result.returncode == 0
    assert result.stderr == ""
    rows = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in result.stdout.splitlines()[:-1])
    assert rows["kind"] == "green3d"
    assert rows["items"] == "9"
    assert rows["item"] == "4x8x8 (T x H x W)"
    assert rows["dtype"] == "float16"
    assert rows["on disk"] == f"{format_bytes(bank.nbytes)} ({bank.nbytes:,} bytes)"
    assert rows["seed"] == "3"
    assert rows["fingerprint"] == bank.fingerprint
    assert rows["recipe: sigma1"] == "0.4 to 1.5"
    assert rows["recipe: boundary"] == "wrap"
    assert bank.sigma is not None
    low, high = bank.sigma[:, 1].min(), bank.sigma[:, 1].max()
    assert rows["drawn: sigma2"].startswith(f"{low:.3f} … ")
    assert rows["drawn: sigma2"].endswith(f" … {high:.3f}")


def test_inspect_shows_how_regularised_blue_noise_was_made(banks: Path) -> None:
    result = call("inspect", "rbn.h5", cwd=banks)
    assert (result.returncode, result.stderr) == (0, "")
    rows = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in result.stdout.splitlines())
    expected = {
        "kind": "rbn", "items": "6", "item": "9x7 (H x W)", "dtype": "uint16", "recipe: mask_ratio": "0.75",
        "recipe: masks_per_set": "4", "recipe: window": "3, 5", "recipe: weights": "1, 0.5, 0, 0",
        "recipe: boundary": "open", "recipe: init": "zeros", "recipe: ties": "random",
    }  # fmt: skip
    assert {key: rows.get(key) for key in expected} == expected
    assert not [key for key in rows if key.startswith("drawn")]
    (facts,) = json.loads(call("inspect", "rbn.h5", "--json", cwd=banks).stdout)
    assert facts["shape"] == [6, 9, 7]
    assert facts["recipe"] == {
        "size": [9, 7], "mask_ratio": 0.75, "masks_per_set": 4, "window": [3, 5], "boundary": "open",
        "weights": [1.0, 0.5, 0.0, 0.0], "init": "zeros", "ties": "random", "dtype": "uint16",
    }  # fmt: skip
    assert "sigma" not in facts
    lines = call("inspect", "rbn.h5", "green.h5", cwd=banks).stdout.splitlines()
    assert ["recipe:", "masks_per_set", "4"] in [line.split() for line in lines]


def test_several_banks_stand_side_by_side(banks: Path) -> None:
    lines = call("inspect", "green.h5", "white.h5", cwd=banks).stdout.splitlines()
    assert lines[0].split() == ["bank", "green.h5", "white.h5"]
    assert ["kind", "green3d", "white2d"] in [line.split() for line in lines]


def test_no_line_is_wider_than_80_columns(banks: Path) -> None:
    """Banks too many for one line go below each other. Of a long name the end is shown."""
    (banks / ("long" * 30)).mkdir(exist_ok=True)
    name = shutil.copy(banks / "green.h5", banks / ("long" * 30))
    lines = call("inspect", name, *["green.h5", "rbn.h5"] * 3, cwd=banks).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("fingerprint") for line in lines) in range(2, 8)
    assert sum(line.split().count("green3d") for line in lines if line.startswith("kind")) == 4
    assert any(re.fullmatch(r"bank +\.\.[long]+/green\.h5", line) for line in lines)


def test_inspect_json_says_the_same_to_programs(banks: Path) -> None:
    bank = maskbank.Bank(banks / "green.h5")
    (facts,) = json.loads(call("inspect", "green.h5", "--json", cwd=banks).stdout)
    assert facts["items"] == 9
    assert facts["shape"] == [9, 4, 8, 8]
    assert facts["bytes"] == bank.nbytes
    assert facts["recipe"] == bank.recipe.to_dict()
    assert facts["fingerprint"] == bank.fingerprint
    assert bank.sigma is not None
    assert facts["sigma"]["sigma1"]["max"] == bank.sigma[:, 0].max()
    both = json.loads(call("inspect", "green.h5", "white.h5", "--json", cwd=banks).stdout)
    assert [facts["kind"] for facts in both] == ["green3d", "white2d"]


def test_inspect_recipe_is_all_that_is_needed_to_make_it_again(banks: Path, tmp_path: Path) -> None:
    line = call("inspect", "green.h5", "--recipe", cwd=banks).stdout
    assert line.count("\n") == 1
    made = json.loads(line)
    recipe = maskbank.Green.from_dict(made["recipe"])
    bank = maskbank.generate(tmp_path / "again.h5", recipe, made["n"], seed=made["seed"])
    assert bank.fingerprint == made["fingerprint"]
    assert (tmp_path / "again.h5").read_bytes() == (banks / "green.h5").read_bytes()


def test_inspect_structure_says_whether_it_reaches_the_model(tmp_path: Path) -> None:
    maskbank.generate(tmp_path / "green.h5", maskbank.Green(size=(32, 32, 32)), 20)
    maskbank.generate(tmp_path / "white.h5", maskbank.White(size=(16, 16, 16)), 20)
    result = call("inspect", "green.h5", "white.h5", "--structure", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "8x14x14, 156 of 1,568 visible" in result.stdout
    lines = result.stdout[result.stdout.index("structure at") :].splitlines()
    assert max(map(len, lines)) <= 80
    assert "green.h5: structure reaches the model" in result.stdout
    assert re.search(
        r"white.h5: ALARM: .* do not differ from random ones; .*use another kind", " ".join(lines)
    )
    found = call(
        "inspect", "green.h5", "--structure", "--json", "--grid", "4x8x8", "--mask-ratio", 0.75, cwd=tmp_path
    )
    facts = json.loads(found.stdout)[0]["structure"]
    assert facts["grid"] == [4, 8, 8]
    assert facts["num_visible"] == 64
    assert facts["reaches"] is True
    assert facts["measures"]["time"]["value"] > 1.4 * facts["measures"]["time"]["random"]
    assert len(facts["spectrum"]["items"]["power"]) == len(facts["spectrum"]["items"]["analytic"])
    assert "--structure" in one_line(call("inspect", "green.h5", "--grid", "4x8x8", cwd=tmp_path), 2)


def test_inspect_structure_of_rbn_takes_its_own_grid(tmp_path: Path) -> None:
    maskbank.generate(tmp_path / "rbn.h5", maskbank.RBN(), 20)
    result = call("inspect", "rbn.h5", "--structure", cwd=tmp_path)
    assert "64x8, 102 of 512 visible" in result.stdout
    assert "structure reaches the model" in result.stdout
