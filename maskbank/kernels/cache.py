"""Where compiled kernels are kept, and a second process that compiles: without Numba, which loads slowly."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from maskbank.checks import count_cores

if TYPE_CHECKING:
    from maskbank.recipes import Recipe

HERE = Path(__file__).parent
_KEPT_SECONDS = 30 * 24 * 3600


class CompilerCacheWarning(UserWarning):
    """The compiled kernels cannot be kept: everything works, but each run compiles anew."""


def cache_folder() -> str | None:
    """The folder where compiled kernels are kept, or None where there can be none.

    Numba notices a change of the file a kernel stands in, but not of the kernels it calls in other
    files. A folder named after all kernel sources makes stale machine code impossible.
    """
    sources = hashlib.sha256()
    for source in sorted(HERE.glob("*.py")):
        sources.update(source.read_bytes())
    given = os.environ.get("NUMBA_CACHE_DIR")
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    bases = [Path(given)] if given else [HERE / "__pycache__", Path(user) / "maskbank"]
    reasons = []
    for base in bases:
        folder = base / f"kernels-{sources.hexdigest()[:12]}"
        reason = _unusable(folder)
        if not reason:
            return str(folder)
        reasons.append(reason)
    warn_not_kept("; ".join(reasons))
    return None


def _unusable(folder: Path) -> str:
    """Why compiled kernels cannot be kept in a folder, or nothing. Makes the folder where there is none."""
    if folder.parts[0] == "~":
        return "there is no home folder"
    try:
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            _forget(folder.parent)
        # kernels are kept as pickles, which run the code of whoever wrote them
        found = folder.lstat()
        users = hasattr(os, "geteuid")  # not on Windows
        if users and found.st_uid not in (0, os.geteuid()):
            return f"{folder} belongs to another user"
        if users and found.st_mode & 0o022:
            return f"other users can write to {folder}"
        probe = folder / f"probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError:
        return f"cannot write to {folder.parent}"
    return ""


def _forget(base: Path) -> None:
    """Remove folders that no process used for 30 days: each start gives its own folder a new date."""
    for folder in base.glob("kernels-" + 12 * "[0-9a-f]"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def warn_not_kept(why: str) -> None:
    """Warn that compiled kernels are lost when the process ends."""
    warnings.warn(
        f"compiled kernels are not kept ({why}), so each run compiles anew; "
        "set NUMBA_CACHE_DIR to a writable folder",
        CompilerCacheWarning,
        stacklevel=2,
    )


FOLDER = cache_folder() if os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0") else None
_second: subprocess.Popen[bytes] | None = None


@contextlib.contextmanager
def compiled_beside(recipe: "Recipe") -> Iterator[None]:
    """During this block a second process compiles the drawing of filters, and the recipe's transforms.

    `wait_for_second` waits for it; without that, it is stopped at the end of the block. There is none where
    the drawing is kept already, on one core, or within another such block.
    """
    global _second
    python = sys.executable or ""
    possible = FOLDER and recipe.ranges and Path(python).name.startswith("python") and count_cores() > 1
    if _second or not possible or any(Path(str(FOLDER)).glob("*/*.draw_filters-*.nbi")):
        yield
        return
    code = (
        f"import gc, os, sys; gc.disable(); sys.path[:] = {sys.path!r}; from maskbank import noise; "
        f"from maskbank.recipes import *; noise.maker({recipe!r}, 0).compile_filters(); os._exit(0)"
    )
    second = None
    with contextlib.suppress(OSError):
        _second = second = subprocess.Popen(
            [python, "-c", code],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        yield
    finally:
        if second:
            second.terminate()  # where nobody waited for it, the work failed
            second.wait()
            _second = None


def wait_for_second() -> None:
    """Wait until the second process has compiled. If it failed, the caller compiles what is missing."""
    if second := _second:
        second.wait()
