"""The decorator of all kernels, and the compiler's settings."""

import contextlib
import functools
import importlib.util
import inspect
import logging
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from llvmlite import binding
from numba import types
from numba.core.ccallback import CFunc
from numba.extending import lower_builtin, type_callable

from maskbank.kernels.cache import FOLDER, warn_not_kept

with contextlib.suppress(ImportError):  # there is none on Windows, where masks are sampled, but no banks made
    import fcntl


def _leave_out_blas() -> None:
    """Keep Numba from importing SciPy's BLAS, which takes 0.25 s.

    Numba imports it to see whether it is there. Here that import fails, and then Numba is told that BLAS is
    there. No kernel needs it; functions of another program that do import it when they are compiled. Nothing
    is done where other threads run, as they could want the import meanwhile.
    """
    name = "scipy.linalg.cython_blas"
    if name in sys.modules or threading.active_count() > 1 or importlib.util.find_spec("scipy") is None:
        return
    sys.modules[name] = None  # what is None here cannot be imported
    try:
        with contextlib.suppress(ImportError):  # another Numba may keep it elsewhere
            from numba.np import arraymath

            vars(arraymath)["_HAVE_BLAS"] = True
    finally:
        del sys.modules[name]


if not numba.config.DISABLE_JIT:
    _leave_out_blas()


def has_feature(name: str) -> bool:
    """Whether kernels are compiled for a processor that has a feature; `name` is LLVM's, such as avx2."""
    if numba.config.DISABLE_JIT:
        return False
    if numba.config.CPU_NAME is not None or numba.config.CPU_FEATURES is not None:
        return f"+{name}" in (numba.config.CPU_FEATURES or "").split(",")
    return bool(binding.get_host_cpu_features().get(name))


@functools.cache
def _say_once() -> None:
    logging.getLogger("maskbank").info("compiling kernels, once, about 4 s")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keep other processes from saving: Numba reads its index and writes it back, with one entry more."""
    if os.name != "posix":
        yield
        return
    with open(Path(str(FOLDER)) / "lock", "a") as file:
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
            warn_not_kept(str(error))


_ADDRESSED: list[Any] = []
KEPT = bool(numba.config.DISABLE_JIT) or FOLDER is not None  # no later run compiles the same again

_SETTINGS: dict[str, Any] = {
    "nogil": True, "fastmath": False, "error_model": "numpy", "no_cfunc_wrapper": True,
}  # fmt: skip


def kernel(function: Any) -> Any:
    """Compile `function` as a kernel: no GIL, no fastmath, no contraction, kept between runs."""
    return _keep(numba.njit(function, **_SETTINGS))


def machine_code(function: Any, *args: Any) -> int:
    """The address of `function`, compiled with C's calling convention for arguments of these types, and kept.

    `function` returns nothing. A kernel that calls it by its address does not contain it. The address is 0
    without the compiler.
    """
    if numba.config.DISABLE_JIT:
        return 0
    compiled = _keep(CFunc(function, (args, types.void), {}, {"nopython": True, **_SETTINGS}))
    compiled.compile()
    _ADDRESSED.append(compiled)  # its code must stay
    return int(compiled.address)


def _keep(compiled: Any) -> Any:
    """Keep between runs what Numba compiles here."""
    if FOLDER is not None:
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = FOLDER  # read once, when the kernel's cache is set up
        try:
            compiled.enable_caching()
        finally:
            numba.config.CACHE_DIR = before
        compiled._cache = _ForgivingCache(compiled._cache)
    return compiled


def inlined(function: Any) -> Any:
    """Paste `function` into the kernels that call it: what is called once need not be compiled by itself."""
    return numba.njit(function, inline="always", **_SETTINGS)


def in_llvm(function: Any) -> Callable[[Any], Any]:
    """Decorate a function that writes LLVM IR: kernels that call `function` contain that code instead.

    The decorated one is called as write(context, builder, signature, args), as by
    `numba.extending.lower_builtin`. `function` returns nothing. It runs as it is when Python calls it, and
    with NUMBA_DISABLE_JIT=1.
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
    """Numba's type of an argument, without the value of a literal; integers are 64 bits wide."""
    if isinstance(kind, types.BaseTuple) and not isinstance(kind, types.BaseNamedTuple):
        return types.BaseTuple.from_types([_plain(part) for part in kind.types])
    return types.intp if isinstance(kind, types.Integer) else types.unliteral(kind)


def widest_vectors():
    """Let the loops of the kernel that calls this, first of all, use the widest vectors of the processor.

    By default LLVM uses 256 bits where there are 512, as older processors lowered their clock for 512 bits.
    """


@in_llvm(widest_vectors)
def _write_widest_vectors(_context: Any, builder: Any, _signature: Any, _args: Any) -> None:
    # llvmlite's own set of attributes takes known names only; this one is text in the function's head
    set.add(builder.function.attributes, '"prefer-vector-width"="512"')
