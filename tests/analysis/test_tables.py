"""bin/tables: whether it runs and prints its rows; what they say is not checked here."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, str(ROOT / "bin" / "tables.py"), *args)
    return subprocess.run(command, capture_output=True, text=True, check=False)


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


def test_wrong_usage() -> None:
    assert run("nonsense").returncode == 2
    assert run("rbn", "--items", "4").returncode == 2
