"""The environment of a command: the compiler's cache, closed streams, hostile text, background jobs."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import maskbank
from maskbank.kernels import cache
from tests.cli.common import MASKBANK, call, one_line, run

# a process that calls the command line with each of its arguments
CALLS = """
import sys
from maskbank.cli import main
for line in sys.argv[1:]:
    try:
        main(line.split())
    except SystemExit as end:
        if end.code:
            raise
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank, and a folder of what its check compiles, with older ones before."""
    cache = tmp_path_factory.mktemp("compiled")
    maskbank.generate(cache / "b.h5", maskbank.White(size=(4, 4)), 3)
    for name in ("kernels-0123456789ab", "kernels-ba9876543210", "kept"):
        (cache / name).mkdir()
        (cache / name / "x.nbi").write_bytes(b"x")
    for name in ("kernels-0123456789ab", "kept"):
        os.utime(cache / name, (0, 0))
    assert run("verify", cache / "b.h5", NUMBA_CACHE_DIR=str(cache)).returncode == 0
    return cache


def own(cache: Path) -> Path:
    """The folder of today's kernels."""
    (folder,) = {*cache.glob("kernels-*")} - {cache / "kernels-0123456789ab", cache / "kernels-ba9876543210"}
    return folder


def test_an_unwritable_compiler_cache_is_a_warning(compiled: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    result = run("verify", compiled / "b.h5", NUMBA_CACHE_DIR=str(file / "no"))
    assert result.returncode == 0
    assert "is whole" in result.stdout
    warning, *_ = result.stderr.splitlines()
    assert "compiled kernels are not kept" in warning
    assert "NUMBA_CACHE_DIR" in warning


@pytest.mark.parametrize(
    "mode, owner, words", [(0o777, None, "other users can write"), (0o755, 54321, "belongs to another user")]
)
def test_a_compiler_cache_that_others_can_change_is_not_used(
    mode: int, owner: int | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if owner and os.geteuid():
        pytest.skip("only root gives a folder away")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    found = cache.cache_folder()
    assert found is not None
    folder = Path(found)
    assert folder.parent == tmp_path
    folder.chmod(mode)
    if owner:
        os.chown(folder, owner, owner)
    with pytest.warns(cache.CompilerCacheWarning, match=words):
        assert cache.cache_folder() is None
    assert not list(folder.iterdir())


@pytest.mark.parametrize("given", [False, pytest.param(True, marks=pytest.mark.full)])
def test_kernels_are_compiled_where_there_is_no_home(given: bool, tmp_path: Path) -> None:
    """As in a container: no HOME, no entry in /etc/passwd, a read-only package."""
    code = (
        "import os, pwd, sys, warnings, pathlib\n"
        "def nobody(*_): raise KeyError('no such user')\n"
        "pwd.getpwuid = pwd.getpwnam = nobody\n"
        "touch = pathlib.Path.touch\n"
        "def no(path, *args, **kwargs): raise PermissionError(13, 'Permission denied')\n"
        "pathlib.Path.touch = no\n"
        "warnings.simplefilter('error'); warnings.simplefilter('always', UserWarning)\n"
        "import maskbank\n"
        "print(maskbank.MaskSampler('random', (4, 4), 0.5)([1, 2]).visible.sum())\n"
        "from maskbank.kernels import cache; print(cache.FOLDER)\n"
    )
    homes = ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")
    environment = {k: v for k, v in os.environ.items() if k not in homes}
    if given:
        environment["NUMBA_CACHE_DIR"] = str(tmp_path)
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["16", "None"]
    assert "compiled kernels are not kept" in result.stderr
    assert ("no home folder" in result.stderr) != given
    assert len(result.stderr.splitlines()) == 2, result.stderr


def test_the_light_install_says_what_the_command_line_needs() -> None:
    code = "import sys; sys.modules['click'] = None; sys.argv = ['maskbank']; from maskbank.cli import main"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "needs click, which is not installed: pip install click" in one_line(result, 1)


def test_a_damaged_compiler_cache_is_compiled_anew(compiled: Path, tmp_path: Path) -> None:
    folder = tmp_path / own(compiled).name
    shutil.copytree(own(compiled), folder)
    kept = [path for path in folder.rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:40])
    again = run("verify", compiled / "b.h5", NUMBA_CACHE_DIR=str(tmp_path))
    assert again.returncode == 0, again.stderr
    assert "is whole" in again.stdout


def test_the_compilers_cache_is_our_own_and_forgets_what_nobody_uses(compiled: Path) -> None:
    assert own(compiled).stat().st_mode & 0o777 == 0o700
    assert list(own(compiled).rglob("*.nbi"))
    assert not (compiled / "kernels-0123456789ab").exists()
    assert (compiled / "kernels-ba9876543210").exists()
    assert (compiled / "kept").exists()


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bank") / "b.h5"
    maskbank.generate(path, maskbank.White(size=(4, 4)), 3)
    return path


@pytest.mark.parametrize(
    "closed",
    ["<&- >&- 2>&-", *(pytest.param(how, marks=pytest.mark.full) for how in ("2>&-", "2>/dev/full"))],
)
def test_nobody_has_to_read_what_a_command_says(closed: str, bank: Path, tmp_path: Path) -> None:
    (tmp_path / "b.h5").write_bytes(bank.read_bytes())
    commands = (
        "generate white2d -n 3 --size 4x4 -o made.h5",
        "verify b.h5",
        "repair b.h5",
        "join -o joined.h5 b.h5",
        "export b.h5 --grid 4x4 --mask-ratio 0.5 -n 5",
    )
    script = f"{shlex.join([sys.executable, '-c', CALLS, *commands])} {closed}"
    assert subprocess.run(["bash", "-c", script], cwd=tmp_path, check=False).returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["b.h5", "joined.h5", "made.h5", "masks.npy"]
    assert (tmp_path / "made.h5").read_bytes() == (tmp_path / "joined.h5").read_bytes() == bank.read_bytes()


def test_a_result_that_cannot_be_written_is_a_failure(bank: Path) -> None:
    script = f"{shlex.join(MASKBANK)} inspect {bank} >/dev/full"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, "maskbank: the disk: No space left on device\n")


def test_warnings_are_lines_whatever_python_is_asked_for(tmp_path: Path) -> None:
    args = ("generate", "rbn", "-n", 3, "--masks-per-set", 1, "--force")
    result = run(*args, cwd=tmp_path, PYTHONWARNINGS="error", PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    assert "maskbank: masks_per_set=1 is random masking" in result.stderr
    assert "Warning" not in result.stderr


def test_text_from_files_and_names_cannot_command_the_terminal(bank: Path, tmp_path: Path) -> None:
    """For example a fingerprint or a file name that sets the window's title."""
    fingerprint = maskbank.Bank(bank).fingerprint.encode()
    name = "\x1b]0;owned\x07\u202e.h5"
    (tmp_path / name).write_bytes(bank.read_bytes().replace(fingerprint, b"\x1b]0;owned\x07"))
    line = json.loads(call("inspect", bank, "--recipe").stdout)
    line["fingerprint"] = "\x1b]0;owned\x07" * 10_000
    recipe = tmp_path / "line.json"
    recipe.write_text(json.dumps(line))
    for args in (
        *((command, name) for command in ("inspect", "verify", "repair")),
        ("generate", "white2d", "-n", 3, "--size", "4x4", "-o", name),
        ("rebuild", recipe, "-o", "again.h5"),
        ("export", name, "--grid", "4x4", "--mask-ratio", 0.5, "-n", 3),
        ("join", "-o", "joined.h5", name),
    ):
        result = call(*args, cwd=tmp_path)
        text = one_line(result, 1) if result.returncode else result.stderr + result.stdout
        assert "owned" in text
        assert len(text) < 1000
        assert all(c.isprintable() or c == "\n" for c in text), text
    assert "\\x1b]0;owned\\x07\\u202e.h5" in text


def test_a_background_job_of_a_shell_is_tested_as_any_other() -> None:
    """Shells make background jobs ignore Ctrl-C, but these tests send it."""
    code = (
        "import signal, tests.conftest; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    command = f"trap '' INT; exec {shlex.join([sys.executable, '-c', code])}"
    subprocess.run(["bash", "-c", command], cwd=Path(__file__).parents[2], check=True)


def test_ctrl_c_reaches_the_tests_own_processes() -> None:
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
