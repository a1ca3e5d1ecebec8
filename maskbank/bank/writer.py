"""Writing a bank: reserved in full, written in place, and given its name when it is whole."""

import contextlib
import ctypes
import errno
import fcntl
import math
import os
import stat
import threading
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.bank import check
from maskbank.bank.layout import SUPERBLOCK, Content, Layout, difference, lay_out, read
from maskbank.errors import BankError, MaskbankError, OutputError
from maskbank.recipes import ALIGNMENT

Array = npt.NDArray[Any]

AGAIN = "what was done is kept: run the same command again to go on"


def is_there(path: str, content: Content) -> bool:
    """Whether `path` already is the bank of `content`. OutputError if it is anything else."""
    if not os.path.lexists(path):
        return False
    if os.path.isdir(path):
        raise OutputError(f"{path} is a folder; give the name of a file")
    try:
        found = read(path)
    except BankError as error:
        raise OutputError(
            f"{error}; it is left as it is: choose another -o, or replace it with --force"
        ) from None
    if found.content.fingerprint == content.fingerprint:
        _check_written(path, found)
        with contextlib.suppress(OSError):  # killed between link and unlink, it has two names
            if os.path.samefile(path, path + ".partial"):
                os.unlink(path + ".partial")
        return True
    raise OutputError(
        f"{path} is another bank ({difference(content, found.content)}); choose another -o, "
        "or replace it with --force"
    )


def _check_written(path: str, layout: Layout) -> None:
    """OutputError where items are missing from a bank that has its final name."""
    with open(path, "rb") as file:
        file.seek(layout.offsets["written"])
        missing = layout.content.n - file.read(layout.content.n).count(1)
    if missing:
        raise OutputError(
            f"{path} is half-written, {missing:,} of {layout.content.n:,} items are missing; maskbank repair "
            "makes it whole"
        )


class BankFile:
    """A bank's file, open for writing in place. `write` may be called from many threads."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.done = np.zeros(layout.content.n, bool)  # which items are whole already
        self._pending: list[tuple[int, Array, Array]] = []
        self._lock = threading.Lock()
        self._queue = threading.Lock()
        self._fd = -1
        self._direct_fd = -1
        self._name = ""

    @property
    def content(self) -> Content:
        """What is being written."""
        return self.layout.content

    def _take(self, fd: int, name: str) -> None:
        """Write to this file from now on, past the page cache where that can be."""
        self._fd, self._name = fd, name
        with contextlib.suppress(OSError, AttributeError):  # not every file system or platform has it
            self._direct_fd = os.open(name, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)

    def write(self, start: int, items: Array, sigmas: npt.NDArray[np.float32], crcs: list[int]) -> None:
        """Put items start, start + 1, ... (counted from the bank's first) in their place.

        items: (count, ...) as stored. sigmas: float32 (count, 0 to 2). crcs: zlib.crc32 of each item.
        """
        self._write_items(items.reshape(-1).view(np.uint8).data, self._offset("noise", start))
        with self._lock:
            self._pending.append((start, np.array(crcs, "<u4"), sigmas.copy()))

    def checkpoint(self) -> None:
        """Bring what has been written to the disk, then say so in the bank's own journal."""
        with self._lock:
            pending, self._pending = sorted(self._pending, key=lambda block: block[0]), []
        if not pending:
            return
        self._sync()
        for start, crcs, sigmas in _joined(pending):
            self._pwrite(crcs.tobytes(), self._offset("crc32", start))
            if sigmas.shape[1]:
                self._pwrite(sigmas.tobytes(), self._offset("sigma", start))
            self._pwrite(b"\x01" * len(crcs), self._offset("written", start))

    def _offset(self, table: str, start: int) -> int:
        shape, dtype = self.content.tables[table]
        return self.layout.offsets[table] + start * math.prod(shape[1:]) * dtype.itemsize

    def _write_items(self, data: memoryview, offset: int) -> None:
        """Directly, past the page cache, where that can be: it saves copying and the memory.

        Direct writes take whole pages, so the last items of a bank may have to go the other way. Threads
        that write through the page cache of one file only wait for each other, so there they queue up.
        """
        if self._direct_fd >= 0 and offset % ALIGNMENT == 0 and len(data) % ALIGNMENT == 0:
            try:
                if os.pwrite(self._direct_fd, data, offset) == len(data):
                    return
            except OSError as error:
                if error.errno != errno.EINVAL:  # not a disk that wants larger or other pieces
                    raise self._failed(error) from None
        with self._queue:
            self._pwrite(data, offset)

    def _pwrite(self, data: Any, offset: int) -> None:
        view = memoryview(data)
        try:
            while view:
                done = os.pwrite(self._fd, view, offset)
                view = view[done:]
                offset += done
        except OSError as error:
            raise self._failed(error) from None

    def _sync(self) -> None:
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> MaskbankError:
        return OutputError(f"cannot write {self._name}: {error.strerror}; {AGAIN}")

    def _close(self) -> None:
        for fd in (self._direct_fd, self._fd):
            if fd >= 0:
                os.close(fd)
        self._direct_fd = self._fd = -1

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if value is not None and not isinstance(value, OutputError) and self._fd >= 0:
                with contextlib.suppress(OutputError):  # what is done is kept, whatever went wrong elsewhere
                    self.checkpoint()
        finally:
            self._close()


class Writer(BankFile):
    """Writes one bank. Use as a context manager.

    The items go to PATH.partial, which is held by a lock, has all its disk space from the start, and
    becomes PATH in `publish`. Whatever happens before, nothing half-written bears the final name. Where
    an earlier run left its .partial of the same content, this one goes on: `done` says with what.
    """

    def __init__(self, path: str | os.PathLike[str], content: Content, *, force: bool = False) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self.partial = self.path + ".partial"
        self.force = force
        self._check_place()
        self._check_free(content.n * content.item_bytes)  # before HDF5 could be asked for the impossible
        layout, self._pieces = lay_out(content)
        super().__init__(layout)

    def __enter__(self) -> "Writer":
        try:
            self._take(self._hold(), self.partial)
            if not self._goes_on():
                os.ftruncate(self._fd, 0)
            self._reserve()
            *body, superblock = self._pieces
            for offset, piece in body:
                self._pwrite(piece, offset)
            os.fdatasync(self._fd)
            assert superblock[0] < SUPERBLOCK
            self._pwrite(superblock[1], superblock[0])
        except OSError as error:
            self._close()
            raise self._failed(error) from None
        except BaseException:
            self._close()
            raise
        return self

    def _check_place(self) -> None:
        """Refuse what cannot be: no folder to write to, or something there that no bank replaces."""
        folder = os.path.dirname(self.path)
        if not os.path.isdir(folder):
            raise OutputError(f"there is no folder {folder}; make it first, or choose another -o")
        if os.path.isdir(self.path):
            raise OutputError(f"{self.path} is a folder; give the name of a file")
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            raise OutputError(f"{self.path} is a device or a pipe, which no bank replaces; choose another -o")

    def _hold(self) -> int:
        """PATH.partial, opened or made, and locked: a file descriptor.

        A file that was renamed, removed or replaced before the lock was had is somebody else's by now.
        """
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        while True:
            self._check_free(self.layout.size)
            try:
                fd = os.open(self.partial, flags | os.O_CREAT, 0o666)
            except OSError as error:
                raise OutputError(f"cannot write {self.partial}: {error.strerror}") from None
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise OutputError(f"{self.partial} is in the way: it is no file; remove it")
                lock(fd, self.partial)
                if self._is_ours(fd):
                    if os.fstat(fd).st_nlink == 1:
                        return fd
                    os.unlink(self.partial)  # a second name of something that is not to be written to
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _is_ours(self, fd: int) -> bool:
        """Whether PATH.partial still is the file that we hold."""
        return os.path.samestat(os.stat(self.partial), os.fstat(fd))

    def _check_free(self, needed: int) -> None:
        """Refuse, before anything is made, what the disk has no room for."""
        disk = os.statvfs(os.path.dirname(self.path))
        free = disk.f_bavail * disk.f_frsize
        with contextlib.suppress(OSError):  # what an earlier run left of it is there already
            free += os.lstat(self.partial).st_blocks * 512
        if needed > free:
            raise OutputError(_full(self.path, needed, free))

    def _goes_on(self) -> bool:
        """Whether what stands in PATH.partial is the beginning of this bank, and has been looked through."""
        if self.force or not any(os.pread(self._fd, SUPERBLOCK, 0)):
            return False  # without the superblock, which is written last, nothing is done yet
        try:
            found = read(self.partial)
        except BankError as error:
            raise OutputError(f"{error}; start anew with --force, or choose another -o") from None
        if found.content.fingerprint != self.content.fingerprint:
            raise OutputError(
                f"{self.partial} is the beginning of another bank "
                f"({difference(self.content, found.content)}); start anew with --force, or choose another -o"
            )
        self.done = check.whole(self._fd, self.layout)
        return True

    def _reserve(self) -> None:
        """Take all the disk space the bank needs, before the first item is computed."""
        size = self.layout.size
        try:
            os.ftruncate(self._fd, size)
            _allocate(self._fd, size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                disk = os.statvfs(os.path.dirname(self.path))
                if not self.done.any():
                    self._discard()
                raise OutputError(_full(self.path, size, disk.f_bavail * disk.f_frsize)) from None
            if error.errno in (errno.EFBIG, errno.EINVAL, errno.EOVERFLOW):
                self._discard()
                raise OutputError(
                    f"{self.path}: the file system takes no file of {size:,} bytes; lower n or the size"
                ) from None
            raise

    def publish(self) -> None:
        """Give the bank its name, when all of it is on disk. Replaces nothing unasked."""
        self.checkpoint()
        try:
            os.fsync(self._fd)
            if not self._is_ours(self._fd):
                raise OutputError(
                    f"{self.partial} was replaced while it was written; run the same command again"
                )
            if self.force:
                os.replace(self.partial, self.path)
            else:
                rename_new(self.partial, self.path)
            folder = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except FileExistsError:
            raise OutputError(
                f"{self.path} appeared while the bank was made; it is left as it is, and the new bank is "
                f"{self.partial}: rename that, or run again with --force"
            ) from None
        except OSError as error:
            raise self._failed(error) from None
        self._close()

    def _discard(self) -> None:
        """Leave nothing behind of a bank that could not even begin."""
        with contextlib.suppress(OSError):
            os.unlink(self.partial)


class Mender(BankFile):
    """Writes items of a bank that is there, in place. Use as a context manager; `done` says what is whole."""

    def __init__(self, path: str) -> None:
        super().__init__(read(path))
        self.path = os.path.abspath(path)

    def __enter__(self) -> "Mender":
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from None
        self._take(fd, self.path)
        try:
            lock(fd, self.path)
            self.done = check.whole(fd, self.layout)
        except BaseException:
            self._close()
            raise
        return self

    def mend_header(self) -> int:
        """Make what is around the tables what it was: the number of bytes that were not."""
        wrong = check.header_differences(self._fd, self.layout)
        for offset, piece in wrong:
            self._pwrite(piece, offset)
        self._sync()
        return sum(len(piece) for _, piece in wrong)

    def finish(self) -> None:
        """Bring everything to the disk."""
        self.checkpoint()
        self._sync()


def lock(fd: int, name: str) -> None:
    """Hold a file until it is closed, or OutputError where another process does."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(
            f"{name} is being written by another process; wait for it, or choose another -o"
        ) from None
    except OSError:
        pass  # a file system without locks


def _full(path: str, needed: int, free: int) -> str:
    return (
        f"the disk of {path} is too full: the bank needs {needed:,} bytes, {free:,} are free; "
        "lower n, use --dtype uint8, or choose another -o"
    )


def _joined(blocks: list[tuple[int, Array, Array]]) -> list[tuple[int, Array, Array]]:
    """Sorted blocks, with those that follow on each other put together."""
    runs: list[list[tuple[int, Array, Array]]] = []
    for block in blocks:
        if runs and runs[-1][-1][0] + len(runs[-1][-1][1]) == block[0]:
            runs[-1].append(block)
        else:
            runs.append([block])
    return [
        (run[0][0], np.concatenate([b[1] for b in run]), np.concatenate([b[2] for b in run])) for run in runs
    ]


def _allocate(fd: int, size: int) -> None:
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
