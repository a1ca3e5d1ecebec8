"""The superblock: the first 48 bytes of a bank, checked before HDF5 sees them.

Where HDF5 cannot open a file, it loads every library in its plugin folders, to find one that can. If the
superblock is right, HDF5 opens the file itself and reports damage elsewhere as an error.
"""

import struct

from maskbank.errors import BankError

SIZE = 48
SIGNATURE = b"\x89HDF\r\n\x1a\n"
REBUILD = "maskbank rebuild makes it again from its recipe's line"

_HEAD = SIGNATURE + bytes([2, 8, 8, 0])  # version 2, 8-byte offsets and lengths, no flags
_UNDEFINED = 2**64 - 1  # there is no superblock extension


def end_of_file(name: str, size: int, superblock: bytes) -> int:
    """The end of the file that its superblock states; BankError where it is not a bank's superblock.

    name, size: of the file. superblock: its first 48 bytes. Source: HDF5 File Format 3.0, section II.A.
    """
    if not superblock.startswith(SIGNATURE):
        if name.endswith(".partial") and not any(superblock):
            raise BankError(f"{name} is an unfinished bank without items; repeat the command that made it")
        raise BankError(f"{name} is {'not an HDF5' if size else 'an empty'} file, so no bank")
    if len(superblock) < SIZE:
        raise BankError(f"{name} is truncated: it has {size:,} bytes; {REBUILD}")
    if superblock[8] != 2:
        raise BankError(f"{name} is an HDF5 file, but not one that maskbank made")
    base, extension, end, _, checksum = struct.unpack("<QQQQI", superblock[len(_HEAD) :])
    if checksum != lookup3(superblock[:-4]):
        raise BankError(f"{name} has a damaged superblock; {REBUILD}")
    if (superblock[: len(_HEAD)], base, extension) != (_HEAD, 0, _UNDEFINED):
        raise BankError(f"{name} is an HDF5 file, but not one that maskbank made")
    if size > end:
        raise BankError(f"{name} is too long: it has {size:,} bytes, and its header asks for {end:,}")
    return int(end)


def lookup3(data: bytes) -> int:
    """Jenkins' hash `lookup3` of the superblock's first 44 bytes: HDF5's checksum of it."""
    mask = 2**32 - 1

    def rotate(x: int, k: int) -> int:
        return (x << k | x >> (32 - k)) & mask

    words: tuple[int, ...] = struct.unpack("<11I", data)
    a = b = c = 0xDEADBEEF + len(data)
    for k in (0, 3, 6):
        a, b, c = a + words[k] & mask, b + words[k + 1] & mask, c + words[k + 2] & mask
        for bits in (4, 6, 8, 16, 19, 4):
            a = (a - c & mask) ^ rotate(c, bits)
            a, b, c = b, c + b & mask, a
    a, b = a + words[9] & mask, b + words[10] & mask
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = (c ^ b) - rotate(b, bits) & mask
        a, b, c = b, c, a
    return b
