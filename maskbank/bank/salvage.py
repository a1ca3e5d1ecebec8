"""What a bank was whose header HDF5 reads no more, or whose size is wrong: from its attributes' remains.

The fingerprint decides. Recipe, seed, first item and number of items are looked for in the first bytes of
the file; where what was found makes the fingerprint that stands there, it is what the bank was.
"""

import os
import re
import stat

import numpy as np

from maskbank.bank.layout import SUPERBLOCK, Content, Layout, lay_out, read
from maskbank.checks import MOST_ITEMS
from maskbank.errors import BankError, OtherBank, OutputError, RecipeError
from maskbank.recipes import KINDS, Recipe, from_json

_HEAD = 2**14  # bytes that are looked at: headers have some 2 kB
_MOSTLY = 0.75  # of a header's bytes have to be right
_MOST_RECIPES = 8  # candidates, lest a file made for it keeps us busy
_BEFORE_NUMBER = 12 + 4  # bytes of a scalar attribute's type and dataspace, between its name and its value


def known(path: str) -> Layout:
    """The layout of the bank at `path`, as its header says or what is left of it; or BankError.

    OutputError where the disk has no room for what it was: nothing is made on a damaged header's word.
    """
    try:
        return read(path)
    except OtherBank:
        raise
    except BankError:
        content = salvage(path)
        if content is None:
            raise
    disk, file = os.statvfs(path), os.stat(path)
    needed, free = content.n * content.item_bytes, file.st_blocks * 512 + disk.f_bavail * disk.f_frsize
    if needed > max(free, file.st_size):
        raise OutputError(
            f"the disk of {path} is too full to make the bank whole: it needs {needed:,} bytes, "
            f"{free:,} are free"
        )
    layout = lay_out(content)[0]
    if file.st_size > layout.size:
        raise OtherBank(
            f"{path} has {file.st_size - layout.size:,} bytes behind what was a bank; cut them off first"
        )
    return layout


def salvage(path: str) -> Content | None:
    """What the bank at `path` was, or None where too much is lost. Reads a few kilobytes."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        head = os.pread(fd, _HEAD, 0)
    except OSError:
        return None
    finally:
        os.close(fd)
    fingerprints = {match[1].decode() for match in re.finditer(rb"(?=([0-9a-f]{12}))", head)}
    seed, first = _number(head, b"seed\0"), _number(head, b"first\0")
    if not fingerprints or seed is None or first is None:
        return None
    for recipe in _recipes(head):
        for n in _numbers(head):
            content = Content(recipe, seed, n, first)
            if first + n <= MOST_ITEMS and content.fingerprint in fingerprints:
                return content if _stands(content, head) else None
    return None


def _stands(content: Content, head: bytes) -> bool:
    """Whether most of a header stands where it should: no archive or text that merely quotes a bank."""
    # it depends on n by a few addresses only, and that of a single item is laid out whatever n says
    ours, pieces = lay_out(Content(content.recipe, content.seed, 1, content.first))
    right = total = 0
    for offset, piece in pieces:
        if SUPERBLOCK <= offset < ours.offsets["crc32"]:
            total += len(piece)
            right += sum(a == b for a, b in zip(head[offset : offset + len(piece)], piece, strict=False))
    return right >= _MOSTLY * total


def _number(head: bytes, name: bytes) -> int | None:
    """The value of a whole number's attribute."""
    place = head.find(name)
    start = place + len(name) + _BEFORE_NUMBER
    if place < 0 or start + 8 > len(head):
        return None
    return int.from_bytes(head[start : start + 8], "little")


def _recipes(head: bytes) -> list[Recipe]:
    """All recipes whose JSON is in there."""
    found = []
    for match in list(re.finditer(rb"\{[ -z|~]*\}", head))[:_MOST_RECIPES]:
        for kind in KINDS:
            try:
                found.append(from_json(kind, match[0].decode("ascii")))
            except RecipeError:
                continue
    return found


def _numbers(head: bytes) -> list[int]:
    """All numbers of items that may stand there, as the extent of a dataset."""
    places = [np.frombuffer(head[shift:], "<u8", (len(head) - shift) // 8) for shift in range(8)]
    numbers = np.unique(np.concatenate(places))
    return [int(n) for n in numbers[(numbers > 0) & (numbers <= MOST_ITEMS)]]
