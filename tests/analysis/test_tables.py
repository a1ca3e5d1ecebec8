"""bin/tables: whether it runs and prints its rows; what they say is not checked here."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, str(ROOT / "bin" / "tables.py"), *args)
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.full
def test_rbn_prints_its_tables_and_leaves_nothing(tmp_path: Path) -> None:
    result = run("rbn", "--items", "20", "--folder", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert not list(tmp_path.iterdir())
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in result.stdout.splitlines()
        if line.startswith("|")
    ]
    assert {len(row) for row in rows} == {5, 8}
    columns = {row[0]: row[1:] for row in rows}
    for name in (
        "random",
        *(f"blue, thresholded, sigma {sigma}" for sigma in ("0.5", "1", "2")),
        *(f"Algorithm 1, open, K = {masks}" for masks in (1, 2, 3, 5)),
        "Algorithm 1, wrap, K = 5 (default)",
        *(f"wrap, K = 5, {change}" for change in ("ties first", "init white", "init blue")),
        "void-and-cluster, wrap",
        *(f"{boundary}: one bank, for 80 %" for boundary in ("wrap", "open")),
        *(f"{boundary}: a bank for each" for boundary in ("wrap", "open")),
        "void-and-cluster, for 80 %",
    ):
        assert all(float(cell.rstrip(" %")) >= 0 for cell in columns[name]), name
    assert "edge columns" in result.stdout
    assert "with ties random" in result.stdout


@pytest.mark.full
def test_red3d_is_hardest_where_sigma_is_large_or_time_correlates_little() -> None:
    """Why the paper's order, in which red3d is the hardest, is not that of the default sigmas."""
    result = run("red", "--items", "12")
    assert result.returncode == 0, result.stderr
    head, _, *rows = [
        [c.strip() for c in line.split("|")[1:-1]] for line in result.stdout.splitlines() if "|" in line
    ]
    hard = {row[0]: dict(zip(head[1:], map(float, row[1:]), strict=True)) for row in rows}
    default, large = hard["red3d, sigma 0.4 to 3"], hard["red3d, sigma 3"]
    assert default["4 x 2"] < hard["green2d"]["4 x 2"] < large["4 x 2"]
    assert hard["tube"]["2 x 2"] < hard["green2d"]["2 x 2"] < default["2 x 2"] + 0.03
    assert default["4 x 1"] < hard["tube"]["4 x 1"] < hard["green2d"]["4 x 1"]  # hardly any neighbour helps
    assert all(hard["green3d"][c] < default[c] for c in head[1:])


def test_marks_of_the_documents_are_filled_with_what_commands_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "bin")
    tables = importlib.import_module("tables")
    (tmp_path / "bin").mkdir()
    page = tmp_path / "bin" / "README.md"
    before = (
        "a\n<!-- one: bin/say x 'y z' -->\nold\n<!-- end -->\nb\n"
        "<!-- two: bin/say 2 && bin/say -->\n<!-- end -->\nc\n"
    )
    page.write_text(before)
    (tmp_path / "bin" / "say").write_text('#!/bin/sh\necho "$#" "$@"\n')
    (tmp_path / "bin" / "say").chmod(0o755)
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    tables.documents(["two"])
    only_two = before.replace("bin/say -->\n", "bin/say -->\n1 2\n0\n")
    assert page.read_text() == only_two
    tables.documents([])
    assert page.read_text() == only_two.replace("old", "2 x y z")
    (tmp_path / "bin" / "say").write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(SystemExit, match="one: exit status 3; its figures stay as they are"):
        tables.documents([])
    with pytest.raises(SystemExit, match="no part three; it has one, two"):
        tables.documents(["three"])
    assert page.read_text() == only_two.replace("old", "2 x y z")


def test_wrong_usage() -> None:
    assert run("nonsense").returncode == 2
    assert run("rbn", "--items", "4").returncode == 2
