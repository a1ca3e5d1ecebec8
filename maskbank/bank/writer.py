"""Writes a bank: reserves the whole file, fills it in place, and gives it its name when it is whole."""

import contextlib
import errno
import os
import stat

import numpy as np

from maskbank.bank import check
from maskbank.bank.layout import Content, difference, lay_out, read, remedy
from maskbank.bank.storage import BankFile
from maskbank.bank.superblock import SIZE as SUPERBLOCK
from maskbank.errors import BankError, OutputError
from maskbank.files import (
    allocate,
    check_place,
    check_space,
    check_system,
    lock,
    rename_new,
    sync,
    sync_folder,
)

SUFFIXES = (".h5", ".hdf5")


def is_there(path: str | os.PathLike[str], content: Content) -> bool:
    """Whether `path` already is the bank of `content`, whole; OutputError if it is anything else."""
    path = check_place(path, SUFFIXES)
    if not os.path.lexists(path):
        return False
    try:
        found = read(path)
    except BankError as error:
        raise OutputError(
            f"{error}; it is left as it is: choose another path, or replace it with force=True"
        ) from None
    if found.content.fingerprint != content.fingerprint:
        raise OutputError(
            f"{path} is another bank ({difference(content, found.content)}); choose another path, "
            "or replace it with force=True"
        )
    with open(path, "rb") as file:
        file.seek(found.offsets["written"])
        missing = content.n - file.read(content.n).count(1)
    if missing:
        raise OutputError(
            f"{path} is half-written, {missing:,} of {content.n:,} items are missing; {remedy(path)}"
        )
    with contextlib.suppress(OSError):  # a run that was killed between link and unlink left two names
        two = os.lstat(path), os.lstat(path + ".partial")  # not of files that symbolic links lead to
        if os.path.samestat(*two) and stat.S_ISREG(two[0].st_mode):
            os.unlink(path + ".partial")
    return True


class Writer(BankFile):
    """Writes one bank.

    Items go to PATH.partial, which is locked and has all its disk space from the start. `publish` renames
    it to PATH, so no half-written file ever has the final name. Where an earlier run left a .partial of
    the same content, this one goes on with it: `done` says which items are whole.
    """

    def __init__(self, path: str | os.PathLike[str], content: Content, *, force: bool = False) -> None:
        check_system()
        self.path = check_place(path, SUFFIXES)
        self.partial = self.path + ".partial"
        self.force = force
        # before HDF5 lays out a file that no disk can hold
        check_space(self.path, content.n * content.item_bytes, self.partial)
        layout, self._pieces = lay_out(content)
        super().__init__(layout, self.partial)

    def _open(self) -> None:
        self._hold()
        self._take(self._fd)
        if not self._goes_on():
            os.ftruncate(self._fd, 0)
        self._reserve()
        *body, superblock = self._pieces
        for offset, piece in body:
            self._pwrite(piece, offset)
        sync(self._fd)
        assert superblock[0] < SUPERBLOCK
        self._pwrite(superblock[1], superblock[0])
        sync_folder(self.path)

    def _hold(self) -> None:
        """Open or make PATH.partial, and lock it.

        Starts again where the file was renamed, removed or replaced before it was locked.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        while True:
            check_space(self.path, self.layout.size, self.partial)
            self._fd = os.open(self.partial, flags, 0o666)
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                raise OutputError(f"{self.partial} is in the way: it is not a regular file; remove it")
            lock(self._fd, self.partial)
            if self._is_ours():
                found = os.fstat(self._fd)
                # A file with a second name is not reused; nor, with force, is one that workers of another
                # run may still write to
                if found.st_nlink == 1 and not (self.force and found.st_size):
                    return
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.partial)
            self._close()

    def _is_ours(self) -> bool:
        """Whether PATH.partial still is the file that is open."""
        try:
            return os.path.samestat(os.stat(self.partial), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def _goes_on(self) -> bool:
        """Whether PATH.partial is the beginning of this bank. If so, `done` is set from it."""
        if not any(os.pread(self._fd, SUPERBLOCK, 0)) and self._is_blank():
            return False
        try:
            found = read(self.partial, cut_off=True)
        except BankError as error:
            raise OutputError(f"{error}; start anew with force=True, or choose another path") from None
        if found.content.fingerprint != self.content.fingerprint:
            what = difference(self.content, found.content)
            raise OutputError(
                f"{self.partial} is the beginning of another bank ({what}); start anew with force=True, or "
                "choose another path"
            )
        self.done = check.whole(self._fd, self.layout)
        return True

    def _is_blank(self) -> bool:
        """Whether this is what a run leaves that ended before it wrote the superblock."""
        size = os.fstat(self._fd).st_size
        if size not in (0, self.layout.size):
            return False
        head = bytearray(self.layout.offsets["crc32"])
        for offset, data in self._pieces:
            if offset < len(head):
                head[offset : offset + len(data)] = data
        there = np.frombuffer(os.pread(self._fd, len(head), 0), np.uint8)
        right = np.frombuffer(head, np.uint8)[: len(there)]
        return bool(((there == 0) | (there == right)).all())

    def _reserve(self) -> None:
        """Reserve all the disk space of the bank before the first item is computed."""
        size = self.layout.size
        try:
            os.ftruncate(self._fd, size)
            allocate(self._fd, size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                what = f"the disk of {self.path} is too full for the {size:,} bytes of the bank"
            elif error.errno in (errno.EFBIG, errno.EINVAL, errno.EOVERFLOW):
                what = f"{self.path}: the file system takes no file of {size:,} bytes"
            else:
                raise
            self.discard()
            raise OutputError(f"{what}; lower n, store uint8, or choose another path") from None

    def mark(self) -> tuple[int, bytes]:
        """Write random bytes where the checksum of the last missing item will be: (that item, these bytes).

        A worker that finds them there has opened this file, and not another one of the same name.
        """
        last = self.content.n - 1 - int(self.done[::-1].argmin())
        mark = os.urandom(4)
        self._pwrite(mark, self.layout.offset("crc32", last))
        self._sync()
        return last, mark

    def publish(self) -> None:
        """Give the bank its name when all of it is on disk. Replaces another file only with force."""
        self.checkpoint()
        with self._reported():
            os.fsync(self._fd)
            if not self._is_ours():
                raise OutputError(
                    f"{self.partial} was removed or replaced while it was written; run the same command again"
                )
            if self.force:
                os.replace(self.partial, self.path)
            else:
                try:
                    rename_new(self.partial, self.path)
                except FileExistsError:
                    raise OutputError(
                        f"{self.path} appeared while the bank was made; it is left as it is, and the new "
                        f"bank is {self.partial}: rename that, or run again with force=True"
                    ) from None
            sync_folder(self.path)

    def discard(self) -> None:
        """Remove PATH.partial, unless it holds whole items."""
        if not self.done.any():
            with contextlib.suppress(OSError):
                os.unlink(self.partial)
