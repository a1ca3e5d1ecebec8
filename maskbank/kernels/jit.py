"""The decorator of all kernels: the compiler's settings and its cache."""

import contextlib
import functools
import hashlib
import inspect
import logging
import os
import pickle
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from llvmlite import binding
from numba import types
from numba.core.ccallback import CFunc
from numba.extending import lower_builtin, type_callable

from maskbank.checks import count_cores

with contextlib.suppress(ImportError):  # there is none on Windows, where masks are sampled, but no banks made
    import fcntl

HERE = Path(__file__).parent
_KEPT_SECONDS = 30 * 24 * 3600


class CompilerCacheWarning(UserWarning):
    """The compiled kernels cannot be kept: everything works, but each run compiles anew."""


def _cache_folder() -> str | None:
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
    _warn("; ".join(reasons))
    return None


def has_feature(name: str) -> bool:
    """Whether kernels are compiled for a processor of LLVM's feature `name`, as avx2."""
    if numba.config.DISABLE_JIT:
        return False
    if numba.config.CPU_NAME is not None or numba.config.CPU_FEATURES is not None:
        return f"+{name}" in (numba.config.CPU_FEATURES or "").split(",")
    return bool(binding.get_host_cpu_features().get(name))


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
        if os.name == "posix" and found.st_uid not in (0, os.geteuid()):
            return f"{folder} belongs to another user"
        if os.name == "posix" and found.st_mode & 0o022:
            return f"other users can write to {folder}"
        probe = folder / f"probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError:
        return f"cannot write to {folder.parent}"
    return ""


def _forget(base: Path) -> None:
    """Remove what other states of the sources left here, unused for long: each start touches its own."""
    for folder in base.glob("kernels-" + 12 * "[0-9a-f]"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _warn(why: str) -> None:
    warnings.warn(
        f"compiled kernels are not kept ({why}), so each run compiles anew; "
        "set NUMBA_CACHE_DIR to a writable folder",
        CompilerCacheWarning,
        stacklevel=2,
    )


@functools.cache
def _say_once() -> None:
    logging.getLogger("maskbank").info("compiling kernels, once, about 4 s")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keep other processes from saving: Numba reads its index and writes it back, with one entry more."""
    if os.name != "posix":
        yield
        return
    with open(Path(str(_FOLDER)) / "lock", "a") as file:
        with contextlib.suppress(OSError):  # where a file system has no locks, kernels are kept all the same
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _ForgivingCache:
    """Numba's cache of one kernel, where a full disk or a damaged file is no error: it compiles instead."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = None
        with contextlib.suppress(
            OSError, EOFError, ValueError, IndexError, KeyError, TypeError, pickle.UnpicklingError
        ):
            found = self._cache.load_overload(sig, target_context)
        if found is not None and tuple(found.signature.args) != tuple(getattr(sig, "args", sig)):
            found = None  # as after processes that saved at once where there are no locks
        if found is None:
            _say_once()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            with _alone():
                self._cache.save_overload(sig, data)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
            _warn(str(error))


_FOLDER = None if numba.config.DISABLE_JIT else _cache_folder()
_ADDRESSED: list[Any] = []
KEPT = bool(numba.config.DISABLE_JIT) or _FOLDER is not None  # nothing is compiled more than once


_SETTINGS: dict[str, Any] = {
    "nogil": True, "fastmath": False, "error_model": "numpy", "no_cfunc_wrapper": True,
}  # fmt: skip


def kernel(function: Any) -> Any:
    """Compile `function` as a kernel: no GIL, no fastmath, no contraction, kept between runs."""
    return _keep(numba.njit(function, **_SETTINGS))


def machine_code(function: Any, *args: Any) -> int:
    """The address of `function`, compiled as C code for arguments of these types, and kept between runs.

    It has no result. A kernel that calls it by its address does not contain it.
    """
    compiled = _keep(CFunc(function, (args, types.void), {}, {"nopython": True, **_SETTINGS}))
    compiled.compile()
    _ADDRESSED.append(compiled)  # its code must stay
    return int(compiled.address)


def _keep(compiled: Any) -> Any:
    """Keep between runs what Numba compiles here."""
    if _FOLDER is not None:
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = _FOLDER  # read once, when the kernel's cache is set up
        try:
            compiled.enable_caching()
        finally:
            numba.config.CACHE_DIR = before
        compiled._cache = _ForgivingCache(compiled._cache)
    return compiled


@contextlib.contextmanager
def beside(compiled: Any, statement: str) -> Iterator[None]:
    """Have a second process compile a kernel, by a statement, meanwhile; it is loaded when it is called.

    Not where it is compiled or kept already, nor on one core. Where that fails, the caller compiles it.
    """
    process = None
    python = sys.executable or ""
    new = _FOLDER is not None and not compiled.signatures
    if new and count_cores() > 1 and Path(python).name.startswith("python"):
        kept = any(Path(compiled.stats.cache_path).glob(f"*.{compiled.__name__}-*.nbi"))
        with contextlib.suppress(OSError):
            process = None if kept else subprocess.Popen(
                [python, "-c", f"import sys; sys.path[:] = {sys.path!r}; {statement}"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
    try:
        yield
    finally:
        if process:
            process.wait()


def inlined(function: Any) -> Any:
    """Paste `function` into the kernels that call it: what is called once need not be compiled by itself."""
    return numba.njit(function, inline="always", **_SETTINGS)


def in_llvm(function: Any) -> Callable[[Any], Any]:
    """The decorator of what writes the code of `function`, in LLVM's language, where kernels call it.

    That is write(context, builder, signature, args), as for `numba.extending.lower_builtin`. `function` has
    no result. Called from Python it runs itself, and so it does with NUMBA_DISABLE_JIT=1.
    """

    def register(write: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            write(context, builder, signature, args)
            return context.get_dummy_value()

        def typed(*args: Any) -> Any:
            return types.void(*map(_plain, args))

        vars(typed)["pysig"] = inspect.signature(function)
        type_callable(function)(lambda _context: typed)
        lower_builtin(function, types.VarArg(types.Any))(generate)
        return write

    return register


def _plain(kind: Any) -> Any:
    """A type of Numba's without what it knows of values; integers are 64 bits wide."""
    if isinstance(kind, types.BaseTuple) and not isinstance(kind, types.BaseNamedTuple):
        return types.BaseTuple.from_types([_plain(part) for part in kind.types])
    return types.intp if isinstance(kind, types.Integer) else types.unliteral(kind)


def widest_vectors():
    """Say, at the head of a kernel, that its loops are to use the widest vectors of the machine.

    LLVM stops at 256 bits on processors whose clock once sank when 512 were used; it no longer does.
    """


@in_llvm(widest_vectors)
def _write_widest_vectors(_context: Any, builder: Any, _signature: Any, _args: Any) -> None:
    # llvmlite's own set of attributes takes known names only; this one is text in the function's head
    set.add(builder.function.attributes, '"prefer-vector-width"="512"')
