"""A local copy of a bank, made once for all processes of a user on a machine."""

import contextlib
import os
import zlib
from typing import BinaryIO

import numpy as np

from maskbank.bank import layout
from maskbank.bank.layout import Layout
from maskbank.errors import BankError, OutputError
from maskbank.files import check_space, check_system, lock

_AT_ONCE = 2**22  # bytes read and written at once, where items are smaller
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def copy_of(path: str, folder: str) -> str:
    """The path of a checked copy of the bank at `path` in `folder`, named after the user and the fingerprint.

    The first process makes it, under a lock that ends with the process. Others wait and use it. The copy
    gets its name when it is complete, every item has its checksum, and it is synced. A copy is made anew
    where another user owns it, or where its header, checksums or sigmas differ from the bank's.
    """
    with layout.open_file(path) as source:
        wanted = layout.read_open(source, path)
        try:
            check_system()
            copy = os.path.join(folder, f"maskbank-{os.geteuid()}-{wanted.content.fingerprint}.h5")
            os.makedirs(folder, exist_ok=True)
            if not _is_current(copy, source, wanted):
                with open(os.open(copy + ".lock", _FLAGS, 0o600), "rb", buffering=0) as file:
                    locked = lock(file.fileno(), copy + ".lock", wait=True)
                    if not _is_current(copy, source, wanted):
                        # with the lock, this process may remove what a killed one left
                        name = f"{copy}.partial" if locked else f"{copy}.{os.getpid()}.partial"
                        _copy(source, path, wanted, name)
                        os.replace(name, copy)
        except (OSError, OutputError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BankError(
                f"cannot keep a copy of {path} in cache_dir={folder}: {reason}; choose another folder, or "
                "leave it out"
            ) from None
    return copy


def _is_current(copy: str, source: BinaryIO, wanted: Layout) -> bool:
    """Whether this copy is ours and has the bank's header, checksums and sigmas. Its items were checked."""
    try:
        with layout.open_file(copy) as file:
            found = os.fstat(file.fileno())
            head = wanted.offsets["noise"]
            return (found.st_uid, found.st_size) == (os.geteuid(), wanted.size) and os.pread(
                file.fileno(), head, 0
            ) == os.pread(source.fileno(), head, 0)
    except BankError:
        return False


def _copy(source: BinaryIO, path: str, wanted: Layout, name: str) -> None:
    """Copy a bank to a new file, and compare every item with its checksum on the way."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name)
    check_space(name, wanted.size, advice="remove what is not needed")
    content = wanted.content
    source.seek(0)
    try:
        with (
            open(source.fileno(), "rb", _AT_ONCE, closefd=False) as pieces,
            open(os.open(name, _FLAGS | os.O_EXCL, 0o600), "wb", _AT_ONCE) as target,
        ):
            head = pieces.read(wanted.offsets["noise"])
            target.write(head)
            crcs = np.frombuffer(head, "<u4", content.n, wanted.offsets["crc32"])
            for i, crc in enumerate(crcs.tolist()):
                item = pieces.read(content.item_bytes)
                if len(item) < content.item_bytes:
                    raise BankError(f"{path} changed while it was copied; open it again")
                if zlib.crc32(item) != crc:
                    raise BankError(
                        f"item {i} of {path} does not have its checksum: the file is damaged; "
                        f"{layout.remedy(path)}"
                    )
                target.write(item)
            target.flush()
            os.fsync(target.fileno())
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
