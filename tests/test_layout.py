"""The house itself: what is imported when, which way imports go, and that the README is true."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import maskbank
from maskbank.cli import COMMANDS
from maskbank.recipes import KINDS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
HEAVY = {"numba", "llvmlite", "scipy", "matplotlib", "dask", "torch", "tqdm", "pytest"}

# Ground first: a room imports only from rooms before it.
ROOMS = [
    "errors", "checks", "files", "recipes", "sampling.selection", "kernels", "noise",
    "bank.layout", "bank.salvage",
    "bank.check", "bank.storage", "bank.writer", "bank.cache", "bank.reader", "generation.threads",
    "generation.worker", "generation.cluster", "generation.distributed", "generation.generate",
    "generation.join", "generation.repair", "generation.rebuild", "sampling", "adapters",
    "analysis.structure", "analysis.spectrum", "analysis.report", "analysis.loader", "analysis.findings",
    "analysis.audit", "analysis.drawing", "analysis.pictures", "cli",
]  # fmt: skip


def imported_by(code: str) -> set[str]:
    listing = f"{code}\nimport sys; print('\\n'.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_import_maskbank_and_help_are_cheap() -> None:
    call = "from maskbank.cli import main\ntry: main({args!r})\nexcept SystemExit: pass"
    for code in ("import maskbank", call.format(args=["--help"]), call.format(args=["generate", "-h"])):
        assert not imported_by(code) & (HEAVY | {"numpy", "h5py"}), code


def test_opening_and_inspecting_a_bank_need_no_compiler(tmp_path: Path) -> None:
    path = tmp_path / "b.h5"
    maskbank.generate(path, maskbank.White(size=(4, 4)), 2)
    call = f"from maskbank.cli import main\ntry: main(['inspect', {str(path)!r}])\nexcept SystemExit: pass"
    for code in (f"import maskbank; maskbank.Bank({str(path)!r})[0]", call):
        assert not imported_by(code) & HEAVY


def test_imports_go_one_way() -> None:
    for source in (ROOT / "maskbank").rglob("*.py"):
        name = ".".join(source.relative_to(ROOT / "maskbank").with_suffix("").parts)
        room = next((r for r in ROOMS if name == r or name.startswith(r + ".")), None)
        if room is None:
            assert name.endswith(".__init__") or name in ("__init__", "__main__"), name
            continue
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("maskbank."):
                for alias in node.names:
                    target = f"{node.module}.{alias.name}".removeprefix("maskbank.")
                    to = next(r for r in ROOMS if f"{target}.".startswith(f"{r}."))
                    assert ROOMS.index(to) <= ROOMS.index(room), f"{name} imports {target}"


def test_the_top_level_is_what_was_asked_for() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if files.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in files.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} == {
        "pyproject.toml", "maskbank", "tests", "bin", "README.md",
    }  # fmt: skip


def test_every_public_name_is_there_and_documented() -> None:
    for name in maskbank.__all__:
        assert getattr(maskbank, name).__doc__, name
        assert f"maskbank.{name}" in README or f"`{name}`" in README, f"{name} is not in the README"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        maskbank.nonsense  # noqa: B018


def test_generate_stays_the_function_whatever_is_imported_first() -> None:
    code = (
        "import maskbank.generation.generate, maskbank.analysis.audit, maskbank.cli.generate, maskbank; "
        "assert callable(maskbank.generate) and callable(maskbank.audit)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_readme_names_every_command_kind_and_option() -> None:
    for command in COMMANDS:
        assert f"maskbank {command}" in README
    for kind in KINDS:
        assert kind in README, kind
    for command in ("green3d", "red2d", "rbn"):
        text = subprocess.run(
            [sys.executable, "-m", "maskbank", "generate", command, "--help"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for option in re.findall(r"--[a-z][a-z0-9-]*", text):
            assert option in README, option


def readme_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def third(number: str) -> int:
    """A place in 10,000 items as one in three."""
    return int(number) * 3 // 10_000


def test_the_readmes_commands_and_code_run(tmp_path: Path) -> None:
    """In the order of the README, in one folder; large n is made small."""
    ran = 0
    pattern = r"^```(console|python)\n(.*?)^```"
    for language, block in re.findall(pattern, README, re.MULTILINE | re.DOTALL):
        if language == "python":
            result = subprocess.run(
                [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert result.returncode == 0, f"{block}\n{result.stderr}"
            ran += 1
            continue
        for line in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
            program, rest = line.split(maxsplit=1) if " " in line else (line, "")
            if program not in ("maskbank", "bin/maskbank"):
                assert program in ("bin/test", "bin/bench", "bin/tables", "bin/pictures", "pip"), line
                continue
            rest = re.sub(r"(--n|-n) \d+", r"\1 3", rest)
            rest = re.sub(r"--items (\d+):(\d+)", lambda m: f"--items {third(m[1])}:{third(m[2])}", rest)
            result = subprocess.run(
                f"{shlex.quote(sys.executable)} -m maskbank {rest}", shell=True,
                cwd=tmp_path, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert result.returncode == 0, f"{line}\n{result.stderr}"
            ran += 1
    assert ran >= 6


def test_the_readmes_job_array_makes_the_bank(tmp_path: Path) -> None:
    """As separate processes, a hundred times smaller; the tasks of an array know their number only."""
    (script,) = [block for block in readme_blocks("sh") if "SLURM" in block]
    (join,) = re.findall(r"^# afterwards: maskbank (.*)$", script, re.MULTILINE)
    assert "#SBATCH --array=0-99\n" in script
    command = f'maskbank() {{ {shlex.quote(sys.executable)} -m maskbank "$@"; }}\n'
    script = script.replace("--n 1000000", "--n 30 --size 4x8x8").replace("* 10000", "* 10")
    tasks = [
        subprocess.Popen(
            ["bash", "-c", command + script], cwd=tmp_path, env=os.environ | {"SLURM_ARRAY_TASK_ID": str(k)}
        )
        for k in range(3)
    ]
    assert [task.wait() for task in tasks] == [0, 0, 0]
    subprocess.run(["bash", "-c", f"{command}maskbank {join}"], cwd=tmp_path, check=True)
    maskbank.generate(tmp_path / "whole.h5", maskbank.Green(size=(4, 8, 8)), 30)
    assert (tmp_path / "bank.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_the_commands_of_the_readme_are_executable() -> None:
    for script in ("bin/maskbank", "bin/test", "bin/bench", "bin/tables", "bin/pictures", ".ci/run"):
        assert os.access(ROOT / script, os.X_OK), script
        subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
