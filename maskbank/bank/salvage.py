"""What a bank was whose header HDF5 reads no more, or whose size is wrong: from its attributes' remains.

The fingerprint decides. Recipe, seed, first item and number of items are looked for in the first bytes of
the file; where what was found makes the fingerprint that stands there, it is what the bank was.
"""

import os
import re
import stat

import numpy as np

from maskbank.bank.layout import Content, Layout, lay_out, read
from maskbank.checks import MOST_ITEMS
from maskbank.errors import BankError, RecipeError
from maskbank.recipes import KINDS, Recipe, from_json

_HEAD = 2**14  # bytes that are looked at: headers have some 2 kB
_MOST_RECIPES = 8  # candidates, lest a file made for it keeps us busy
_BEFORE_NUMBER = 12 + 4  # bytes of a scalar attribute's type and dataspace, between its name and its value


def known(path: str) -> Layout:
    """The layout of the bank at `path`, as its header says or what is left of it; or BankError."""
    try:
        return read(path)
    except BankError:
        content = salvage(path)
        if content is None:
            raise
        return lay_out(content)[0]


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
            if content.fingerprint in fingerprints:
                return content
    return None


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
