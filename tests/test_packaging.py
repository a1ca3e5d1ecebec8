"""What is installed: a source distribution, the light install of training nodes, types for user code."""

import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import maskbank

ROOT = Path(__file__).parent.parent
MASKS = """
import hashlib, sys
import maskbank
sampler = maskbank.MaskSampler(sys.argv[1], (4, 14, 14), 0.9)
masks = sampler(range(50), epoch=2)
print(hashlib.sha256(masks.visible.tobytes() + masks.ids_restore.tobytes()).hexdigest())
"""
USER = """
import maskbank
sampler = maskbank.MaskSampler("bank.h5", grid=(8, 14, 14), mask_ratio=0.9)
reveal_type(sampler([1, 2]).ids_keep)
reveal_type(maskbank.Bank("bank.h5").fingerprint)
maskbank.MaskSampler("bank.h5", grid=(8, 14, 14), mask_ration=0.9)
"""


def run(*command: str | Path, **given: str | Path) -> str:
    """A program's stdout; what it writes to stderr is shown where it fails."""
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=given.pop("cwd", None),
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )  # fmt: skip
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds maskbank, NumPy and h5py alone."""
    folder = tmp_path_factory.mktemp("light")
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", ROOT, "numpy", "h5py")
    return python


@pytest.mark.full
def test_numpy_and_h5py_are_enough_for_masks(light: Path, tmp_path: Path) -> None:
    """As many megabytes as the README says, and the masks are those of the full install."""
    path = tmp_path / "bank.h5"
    bank = maskbank.generate(path, maskbank.Green(size=(8, 16, 16)), 20)
    masks = maskbank.MaskSampler(bank, (4, 14, 14), 0.9)(range(50), epoch=2)
    here = hashlib.sha256(masks.visible.tobytes() + masks.ids_restore.tobytes()).hexdigest()
    assert run(light, "-c", MASKS, path, cwd=tmp_path).strip() == here
    listed = run(light, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check")
    assert {line.split("==")[0] for line in listed.split()} - {"pip", "setuptools"} == {
        "maskbank",
        "numpy",
        "h5py",
    }


@pytest.mark.full
def test_the_source_distribution_runs_its_own_tests(tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "builder")
    python = tmp_path / "builder" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "build")
    run(python, "-m", "build", "--sdist", "--outdir", tmp_path, ROOT)
    (archive,) = tmp_path.glob("maskbank-*.tar.gz")
    assert archive.name == f"maskbank-{maskbank.__version__}.tar.gz"
    with tarfile.open(archive) as file:
        names = {name.split("/", 1)[1] for name in file.getnames()}
        file.extractall(tmp_path, filter="data")
    assert {"bin/test", ".ci/run", "README.md", "tests/golden/items.json"} <= names
    banks = {name for name in names if name.endswith(".h5")}
    assert banks == {name for name in names if name.startswith("tests/golden/banks/")}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    folder = tmp_path / archive.name.removesuffix(".tar.gz")
    run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_layout.py",
        "tests/recipes", cwd=folder)  # fmt: skip


@pytest.mark.full
def test_user_code_is_checked_against_our_types(tmp_path: Path) -> None:
    """py.typed is installed; arguments and results have types, and a misspelt parameter is found."""
    (tmp_path / "user.py").write_text(USER)
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "user.py"], cwd=tmp_path,
        capture_output=True, text=True, check=False, env=os.environ | {"MYPYPATH": ""},
    )  # fmt: skip
    assert 'Revealed type is "numpy.ndarray' in result.stdout, result.stdout
    assert 'Revealed type is "builtins.str"' in result.stdout or 'Revealed type is "str"' in result.stdout
    assert "mask_ration" in result.stdout
    assert "import" not in result.stdout, result.stdout


def test_programs_run_with_stderr_closed(tmp_path: Path) -> None:
    """Also in a fresh clone, where they say that they install."""
    for name, text in {
        "pyproject.toml": "",
        "bin/_venv": (ROOT / "bin" / "_venv").read_text(),
        "bin/program": '#!/bin/bash\nset -eu\nextra=\n. "$(dirname "$0")/_venv"\n"$python" -c "print(1)"\n',
        "tools/uv": f'#!/bin/sh\nmkdir -p .venv/bin\nln -sf "{sys.executable}" .venv/bin/python\n',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path / 'tools'}:{os.environ['PATH']}"}
    command = ["bash", "-c", "bin/program 2>&-"]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "1\n")
