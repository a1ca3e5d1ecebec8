"""Writing files that appear whole or not at all."""

import contextlib
import ctypes
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from maskbank.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows, where banks are read and not written
    fcntl = None  # type: ignore[assignment]

ALIGNMENT = 4096  # bytes: datasets of a bank and direct writes start at multiples of this

# Suffixes that say what a file is
_SUFFIXES = (".h5", ".hdf5", ".npy", ".npz", ".json", ".png", ".pdf", ".svg", ".gif")


def check_system() -> None:
    """Raise OutputError on a system without file locks."""
    if fcntl is None:
        raise OutputError(
            "banks are made, verified, repaired and copied on Linux and macOS; elsewhere only read"
        )


def check_place(path: str | os.PathLike[str], suffixes: tuple[str, ...] = ()) -> str:
    """The absolute path of a file to make. A symbolic link is followed, as `open` does.

    suffixes: those allowed, if the name has one that says what a file is. Raises OutputError where the
    folder is missing, where `path` is a folder, a device or a pipe, or where the name misleads.
    """
    name = os.fspath(path)
    suffix = os.path.splitext(name)[1].lower()
    if os.path.basename(name) in ("", "-"):
        raise OutputError(f"{name or repr(name)} is not the name of a file; give one")
    if suffix == ".partial":
        raise OutputError(f"{name}: a name in .partial is that of an unfinished file; choose another path")
    if suffixes and suffix in _SUFFIXES and suffix not in suffixes:
        raise OutputError(f"{name} has the name of another kind of file; let it end in {suffixes[0]}")
    name = os.path.realpath(name) if os.path.islink(name) else os.path.abspath(name)
    folder = os.path.dirname(name)
    if not os.path.isdir(folder):
        raise OutputError(f"there is no folder {folder}; make it first, or choose another path")
    if os.path.isdir(name):
        raise OutputError(f"{name} is a folder; give the name of a file")
    if os.path.exists(name) and not os.path.isfile(name):
        raise OutputError(f"{name} is a device or a pipe and cannot be replaced; choose another path")
    return name


def check_free(path: str | os.PathLike[str], force: bool, suffixes: tuple[str, ...] = ()) -> str:
    """The same as `check_place`; without `force`, OutputError also where something is at `path`."""
    name = check_place(path, suffixes)
    if os.path.lexists(name) and not force:
        raise OutputError(f"{name} is there already; choose another path, or replace it with force=True")
    return name


def check_sources(path: str, sources: Iterable[str]) -> None:
    """Raise OutputError where `path` is one of `sources`, the files that are read."""
    if os.path.exists(path) and any(os.path.samefile(path, source) for source in sources):
        raise OutputError(f"{path} is one of the files that are read; give another name")


def check_space(
    path: str, needed: int, own: str = "", advice: str = "lower n, store uint8, or choose another path"
) -> None:
    """Raise OutputError where the disk of `path` has too few free bytes; those of `own` count as free."""
    free = shutil.disk_usage(os.path.dirname(path)).free
    with contextlib.suppress(OSError):
        free += os.lstat(own).st_blocks * 512
    if needed > free:
        raise OutputError(
            f"the disk of {path} is too full: the bank needs {needed:,} bytes, {free:,} are free; {advice}"
        )


@contextlib.contextmanager
def appearing(
    path: str | os.PathLike[str], force: bool, suffixes: tuple[str, ...] = ()
) -> Iterator[BinaryIO]:
    """A file to write to. It gets its name when all is written and synced; if that fails, it is removed.

    force: replace what is at `path`. Raises OutputError where `path` is taken or writing fails.
    """
    name = check_free(path, force, suffixes)
    partial = f"{name}.{os.getpid()}.partial"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if force:
            os.replace(partial, name)
        else:
            rename_new(partial, name)
        sync_folder(name)
    except OSError as error:
        raise OutputError(f"cannot write {name}: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(partial)


def lock(fd: int, name: str, wait: bool = False) -> bool:
    """Lock a file until it is closed. Returns whether its file system has locks.

    wait: where another process holds the lock, wait for it instead of raising OutputError.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise OutputError(
            f"{name} is being written by another process; wait for it, or choose another path"
        ) from None
    except OSError:
        return False
    return True


def sync(fd: int) -> None:
    """Flush the bytes of a file to the disk."""
    getattr(os, "fdatasync", os.fsync)(fd)  # macOS has no fdatasync


def sync_folder(path: str) -> None:
    """Flush the folder of a file, which holds its name, to the disk."""
    if hasattr(os, "O_DIRECTORY"):  # Windows cannot open folders
        folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def allocate(fd: int, size: int) -> None:
    """Reserve disk space for `size` bytes where the file system can, without writing them.

    os.posix_fallocate would write the whole file where the file system cannot reserve space.
    """
    try:
        fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    except (AttributeError, OSError):  # not Linux
        return
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    while fallocate(fd, 0, 0, size) != 0:
        code = ctypes.get_errno()
        if code in (errno.EOPNOTSUPP, errno.ENOSYS):
            return
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))


def rename_new(old: str, new: str) -> None:
    """Rename a file, or FileExistsError. Without hard links renameat2 does it."""
    try:
        os.link(old, new)
    except FileExistsError:
        raise
    except OSError as refused:
        try:
            rename = ctypes.CDLL(None, use_errno=True).renameat2
        except (AttributeError, OSError, TypeError):
            raise refused from None
        here, no_replace = -100, 1  # AT_FDCWD, RENAME_NOREPLACE
        if rename(here, os.fsencode(old), here, os.fsencode(new), no_replace) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code)) from None
    else:
        os.unlink(old)
