"""The package's layers: what is imported when, which way imports go, what the top level holds."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

import maskbank

ROOT = Path(__file__).parent.parent
HEAVY = {"numba", "llvmlite", "scipy", "matplotlib", "dask", "torch", "tqdm", "pytest"}

# A layer imports only from itself and from earlier ones.
LAYERS = [
    "errors", "checks", "files", "recipes", "kernels", "noise",
    "bank.superblock", "bank.layout", "bank.thumbnail",
    "bank.check", "bank.storage", "bank.writer", "bank.cache", "bank.reader", "generation.threads",
    "generation.worker", "generation.cluster", "generation.generate",
    "generation.join", "generation.repair", "generation.rebuild", "sampling", "adapters",
    "analysis.covariance", "analysis.structure", "analysis.spectrum",
    "analysis.prediction", "analysis.kinds", "analysis.recommendation", "analysis.media", "analysis.clips",
    "analysis.typical", "analysis.fit", "analysis.measures", "analysis.findings", "analysis.audit",
    "analysis.drawing", "analysis.pictures", "analysis.overlay", "analysis.preview", "analysis.fit_page",
    "cli",
]  # fmt: skip


# A process that does something and then calls the command line
CALLS = """
import sys
{first}
from maskbank.cli import main
for args in {calls}:
    try:
        main(args)
    except SystemExit as end:
        assert not end.code
print("modules:", *{{name.split(".")[0] for name in sys.modules}})
"""


def imported_by(first: str, *calls: list[str]) -> set[str]:
    code = CALLS.format(first=first, calls=calls)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.rpartition("modules:")[2].split())


@functools.cache
def parsed() -> dict[Path, ast.Module]:
    """The package's files."""
    return {source: ast.parse(source.read_text()) for source in sorted((ROOT / "maskbank").rglob("*.py"))}


def test_import_maskbank_and_help_are_cheap() -> None:
    assert not imported_by("import maskbank", ["--help"], ["generate", "-h"]) & (HEAVY | {"numpy", "h5py"})


def test_opening_and_inspecting_a_bank_need_no_compiler(tmp_path: Path) -> None:
    path = str(tmp_path / "b.h5")
    maskbank.generate(path, maskbank.White(size=(4, 4)), 2)
    assert not imported_by(f"import maskbank; maskbank.Bank({path!r})[0]", ["inspect", path]) & HEAVY


def test_imports_go_one_way() -> None:
    for source, module in parsed().items():
        name = ".".join(source.relative_to(ROOT / "maskbank").with_suffix("").parts)
        layer = next((r for r in LAYERS if name == r or name.startswith(r + ".")), None)
        if layer is None:
            assert name.endswith(".__init__") or name in ("__init__", "__main__"), name
            continue
        for node in ast.walk(module):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("maskbank."):
                for alias in node.names:
                    target = f"{node.module}.{alias.name}".removeprefix("maskbank.")
                    to = next(r for r in LAYERS if f"{target}.".startswith(f"{r}."))
                    assert LAYERS.index(to) <= LAYERS.index(layer), f"{name} imports {target}"


def test_no_function_takes_more_than_eight_positional_parameters() -> None:
    """But for commands, whose parameters are the options of the command line."""
    for source, module in parsed().items():
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef) and not (
                source.parent.name == "cli" and node.name == "command"
            ):
                names = [arg.arg for arg in node.args.posonlyargs + node.args.args]
                taken = [name for name in names if name not in ("self", "cls")]
                assert len(taken) <= 8, f"{source}: {node.name} takes {len(taken)}"


def test_the_top_level_is_what_was_asked_for() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if files.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in files.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} == {
        "pyproject.toml", "maskbank", "tests", "bin", "README.md",
    }  # fmt: skip


def test_every_public_name_has_a_docstring() -> None:
    for name in maskbank.__all__:
        assert getattr(maskbank, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        maskbank.nonsense  # noqa: B018


def test_generate_stays_the_function_whatever_is_imported_first() -> None:
    code = (
        "import maskbank.generation.generate, maskbank.analysis.audit, maskbank.cli.generate, maskbank, sys; "
        "assert callable(maskbank.generate) and callable(maskbank.audit); "
        "assert not {'torch', 'matplotlib', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
