"""A local copy of a bank, made once for all processes of a machine."""

import contextlib
import fcntl
import os
import shutil
import zlib
from collections.abc import Iterator

import numpy as np

from maskbank.bank import layout
from maskbank.errors import BankError

_AT_ONCE = 2**24  # bytes read at once


def copy_of(path: str, folder: str) -> str:
    """The path of a checked copy of the bank at `path` in `folder`, named after its fingerprint.

    The first process makes it, under a lock that dies with it; others wait and find it. Its name appears
    when all its bytes are there, have been compared with the bank's checksums, and are synced.
    """
    wanted = layout.read(path)
    copy = os.path.join(folder, f"maskbank-{wanted.content.fingerprint}.h5")
    if _is_whole(copy, wanted):
        return copy
    try:
        os.makedirs(folder, exist_ok=True)
        with _locked(copy + ".lock") as alone:
            if not _is_whole(copy, wanted):
                # alone, it may take over what a killed process left
                _make(path, wanted, copy, f"{copy}.partial" if alone else f"{copy}.{os.getpid()}.partial")
    except OSError as error:
        raise BankError(
            f"cannot keep a copy of {path} in cache_dir={folder}: {error.strerror or error}; choose another "
            "folder, or leave it out"
        ) from None
    return copy


def _is_whole(copy: str, wanted: layout.Layout) -> bool:
    """Whether the copy is there. Its bytes were checked when it was made; its header and size are, now."""
    try:
        return layout.read(copy) == wanted
    except BankError:
        return False


@contextlib.contextmanager
def _locked(path: str) -> Iterator[bool]:
    """Hold a file, once whoever does has let go: whether the file system has locks at all."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def _make(path: str, wanted: layout.Layout, copy: str, temporary: str) -> None:
    free = shutil.disk_usage(os.path.dirname(copy)).free
    if wanted.size > free:
        raise BankError(
            f"cache_dir={os.path.dirname(copy)} has {free:,} bytes free, and {path} needs {wanted.size:,}; "
            "choose another folder, or leave it out"
        )
    try:
        with open(path, "rb") as source, open(temporary, "wb") as target:
            while piece := source.read(_AT_ONCE):
                target.write(piece)
            target.flush()
            os.fsync(target.fileno())
        _check(path, temporary, wanted)
        os.replace(temporary, copy)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _check(path: str, copied: str, wanted: layout.Layout) -> None:
    """Compare every item of the copy with its checksum."""
    content = wanted.content
    with open(copied, "rb") as file:
        if os.fstat(file.fileno()).st_size != wanted.size:
            raise BankError(f"{path} changed while it was copied; open it again")
        file.seek(wanted.offsets["crc32"])
        checksums = np.frombuffer(file.read(4 * content.n), "<u4")
        file.seek(wanted.offsets["noise"])
        for item in range(content.n):
            if zlib.crc32(file.read(content.item_bytes)) != checksums[item]:
                raise BankError(f"item {item} of {path} does not have its checksum; the file is damaged")
