"""The documents are true: their commands and code run, their links lead somewhere, and nothing is missing."""

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
from tests.cli.common import call

ROOT = Path(__file__).parent.parent
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text()
    for folder in (ROOT, *(ROOT / name for name in ("maskbank", "bin", "tests")))
    for path in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
}
README, EVERYTHING = DOCUMENTS["README.md"], "\n".join(DOCUMENTS.values())
# Programs that other tests run
ELSEWHERE = ("bin/test", "bin/bench", "bin/tables", "bin/pictures", "bin/pretrain")

# Modules that a block of Python may miss
OPTIONAL = ("torch", "transformers", "jax", "matplotlib", "dask", "distributed")
PASTED = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def smaller(text: str) -> str:
    """With three items instead of many, a small grid where there is none, and few and small clips."""

    def part(match: re.Match[str]) -> str:
        first, end = (int(number) * 3 // 10_000 for number in match.groups())
        return f"--items {first}:{end}"

    text = re.sub(r"--items (\d+):(\d+)", part, re.sub(r"(--n|-n) \d+", r"\1 3", text))
    text = re.sub(r"--structure(?! --grid)", "--structure --grid 4x7x7", text)
    return text.replace("np.empty((64,", "np.empty((16,").replace("224", "112")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_and_code_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document's blocks one after the other, in one folder and one process, as one pastes them."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for language, block in PASTED.findall(DOCUMENTS[name]):
        if language == "python":
            try:
                exec(compile(smaller(block), name, "exec"), names)
            except ModuleNotFoundError as error:
                if str(error.name).split(".")[0] not in OPTIONAL:
                    raise
            continue
        for line in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
            program, *words = shlex.split(smaller(line))
            if program in ELSEWHERE:
                continue
            assert program in ("maskbank", "bin/maskbank"), f"no test can run {line}"
            words, output = (words[:-2], words[-1]) if ">" in words else (words, None)
            result = call(*words)
            assert result.returncode == 0, f"{line}: {result.stderr}"
            if output:
                Path(output).write_text(result.stdout)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", DOCUMENTS[name]):
        if re.match(r"[a-z]+://", target):
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert file.exists(), f"{name} links to {target}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}, target


def test_the_readme_can_be_read_to_its_end() -> None:
    assert len(README.splitlines()) <= 220
    first_screen = README.splitlines()[:30]
    assert any("](.pictures/" in line for line in first_screen), "no picture of masks within the first screen"


def test_every_public_name_is_documented() -> None:
    for name in maskbank.__all__:
        assert f"maskbank.{name}" in EVERYTHING, f"{name} is in no document"


def test_every_command_kind_and_option_is_documented() -> None:
    for kind in KINDS:
        assert f"`{kind}`" in EVERYTHING, kind
    for name in COMMANDS:
        assert f"maskbank {name}" in README, f"{name} is not in the README"
    kinds = (["generate", kind] for kind in ("green3d", "red2d", "rbn"))
    for command in (*([name] for name in COMMANDS), *kinds):
        text = call(*command, "--help").stdout
        for option in set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text)) - {"--help"}:
            assert option in EVERYTHING, f"maskbank {' '.join(command)} {option} is in no document"


def test_the_job_array_makes_the_bank(tmp_path: Path) -> None:
    """As separate processes, a hundred times smaller; the tasks of an array know their number only."""
    (script,) = [block for block in blocks(EVERYTHING, "sh") if "SLURM" in block]
    (join,) = re.findall(r"^# afterwards: maskbank (.*)$", script, re.MULTILINE)
    assert "#SBATCH --array=0-99\n" in script
    command = f'maskbank() {{ {shlex.quote(sys.executable)} -m maskbank "$@"; }}\n'
    script = script.replace("--n 1000000", "--n 20 --size 4x8x8").replace("* 10000", "* 10")
    tasks = [
        subprocess.Popen(
            ["bash", "-c", command + script], cwd=tmp_path, env=os.environ | {"SLURM_ARRAY_TASK_ID": str(k)}
        )
        for k in range(2)
    ]
    assert [task.wait() for task in tasks] == [0, 0]
    words = subprocess.check_output(["bash", "-c", f"echo {join}"], cwd=tmp_path, text=True).split()
    assert call(*words, cwd=tmp_path).returncode == 0
    maskbank.generate(tmp_path / "whole.h5", maskbank.Green(size=(4, 8, 8)), 20)
    assert (tmp_path / "bank.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_the_programs_are_executable() -> None:
    for script in ("bin/maskbank", *ELSEWHERE, ".ci/run"):
        assert os.access(ROOT / script, os.X_OK), script
        subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
