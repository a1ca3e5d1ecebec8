"""Files that appear whole or not at all."""

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from maskbank.errors import OutputError

ALIGNMENT = 4096  # bytes: datasets of a bank and direct writes start at multiples of this


def check_place(path: str) -> None:
    """OutputError where no file can be: there is no folder for it, or something that no file replaces."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise OutputError(f"there is no folder {folder}; make it first, or choose another -o")
    if os.path.isdir(path):
        raise OutputError(f"{path} is a folder; give the name of a file")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OutputError(f"{path} is a device or a pipe, which nothing replaces; choose another -o")


def check_free(path: str, force: bool) -> None:
    """OutputError where no file can be, or something is at `path` that is not to be replaced."""
    check_place(path)
    if os.path.lexists(path) and not (force and os.path.isfile(path)):
        raise OutputError(f"{path} is there already; choose another -o, or replace it with --force")


def check_sources(path: str, sources: Iterable[str]) -> None:
    """OutputError where `path` is one of the files that its contents are read from."""
    if os.path.exists(path) and any(os.path.samefile(path, source) for source in sources):
        raise OutputError(f"{path} is one of the files that are read; give another name")


def check_space(path: str, needed: int, own: str) -> None:
    """OutputError where the disk of `path` has less than `needed` bytes, with those that file `own` has."""
    disk = os.statvfs(os.path.dirname(path))
    free = disk.f_bavail * disk.f_frsize
    with contextlib.suppress(OSError):
        free += os.lstat(own).st_blocks * 512
    if needed > free:
        raise OutputError(
            f"the disk of {path} is too full: the bank needs {needed:,} bytes, {free:,} are free; "
            "lower n, use --dtype uint8, or choose another -o"
        )


@contextlib.contextmanager
def appearing(path: str, force: bool) -> Iterator[BinaryIO]:
    """A file to write to, which gets its name when all is written and synced, and is gone otherwise.

    force: replace what is at `path`. Raises OutputError where something is there or cannot be written.
    """
    check_free(path, force)
    partial = f"{path}.{os.getpid()}.partial"
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if force:
            os.replace(partial, path)
        else:
            rename_new(partial, path)
        sync_folder(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(partial)


def sync_folder(path: str) -> None:
    """Bring to the disk that a file has this name."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def allocate(fd: int, size: int) -> None:
    """Reserve disk space for `size` bytes where the file system can, without writing them.

    Not os.posix_fallocate: where the file system has no such call, that one writes the whole file.
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
    """Rename, or FileExistsError. By link and unlink; where there are no links, by renameat2."""
    try:
        os.link(old, new)
    except FileExistsError:
        raise
    except OSError as refused:
        try:
            rename = ctypes.CDLL(None, use_errno=True).renameat2
        except (AttributeError, OSError):
            raise refused from None
        here, no_replace = -100, 1  # AT_FDCWD, RENAME_NOREPLACE
        if rename(here, os.fsencode(old), here, os.fsencode(new), no_replace) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code)) from None
    else:
        os.unlink(old)
