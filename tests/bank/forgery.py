"""Banks that another program might write, and how a process with little memory answers to them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5d, h5f, h5p, h5s, h5t

import maskbank
from maskbank.bank import layout
from maskbank.bank.layout import Content
from maskbank.recipes import Green
from tests.bank.processes import Warm

RECIPE = Green(size=(8, 8, 8))


N = 20


def forge(
    path: Path,
    content: Content | None = None,
    attributes: dict[str, Any] | None = None,
    data: bool = True,
    alignment: int = 4096,
    order: tuple[str, ...] = (),
    edit: Callable[[h5py.File], None] | None = None,
    version: int = h5f.LIBVER_V18,
    times: bool = False,
) -> Path:
    """A bank that another program might write. attributes: replace the right ones; None leaves one out."""
    content = content or Content(RECIPE, 0, N)
    tables = content.tables
    creation, access = h5p.create(h5p.FILE_CREATE), h5p.create(h5p.FILE_ACCESS)
    creation.set_obj_track_times(times)  # h5py.File takes this only since 3.15
    access.set_libver_bounds(version, version)
    access.set_alignment(1, alignment)
    with h5py.File(h5f.create(os.fsencode(path), h5f.ACC_TRUNC, creation, access)) as file:
        for name, value in {**layout._attributes(content), **(attributes or {})}.items():
            if value is not None:
                file.attrs.create(name, value)
        for name in order or tables:
            shape, dtype = tables[name]
            settings = h5p.create(h5p.DATASET_CREATE)
            settings.set_alloc_time(h5d.ALLOC_TIME_EARLY)
            settings.set_fill_time(h5d.FILL_TIME_NEVER)
            settings.set_obj_track_times(False)
            made = h5d.create(
                file.id, name.encode(), h5t.py_create(dtype), h5s.create_simple(shape), settings
            )
            del made
        if data and content.n <= N:
            good = maskbank.generate(path.parent / "good.h5", content.recipe, content.n)
            for name in tables:
                file[name][...] = good.parts[0].table(name)
        if "noise" in file and edit is None:
            file["noise"].attrs.create("axes", np.bytes_("item,T,H,W"))
        if edit:
            edit(file)
    return path


def place_of(content: bytes, name: str, found: layout.Layout) -> int:
    """The offset of a dataset's address in the header; its size follows."""
    shape, dtype = found.content.tables[name]
    size = int(np.prod(shape)) * dtype.itemsize
    words = found.offsets[name].to_bytes(8, "little") + size.to_bytes(8, "little")
    assert content[: found.offsets["noise"]].count(words) == 1
    return content.index(words)


def header_places(content: bytes, found: layout.Layout) -> list[int]:
    """Offsets of the metadata: all bytes outside the tables that are not zero."""
    inside: set[int] = set()
    for name, (shape, dtype) in found.content.tables.items():
        start = found.offsets[name]
        inside |= set(range(start, start + int(np.prod(shape)) * dtype.itemsize))
    return [k for k in range(found.offsets["noise"]) if content[k] and k not in inside]


def fix_checksums(content: bytearray) -> bytearray:
    """Correct all checksums of the metadata. Object headers are found by their signature."""
    at = -1
    while (at := content.find(b"OHDR", at + 1, 36864)) >= 0:
        flags = content[at + 5]
        position = at + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        size = int.from_bytes(content[position : position + width], "little")
        end = position + width + size
        content[end : end + 4] = lookup3(bytes(content[at:end])).to_bytes(4, "little")
    content[44:48] = lookup3(bytes(content[:44])).to_bytes(4, "little")
    return content


def lookup3(data: bytes) -> int:
    """Jenkins' hash, the checksum of HDF5's metadata."""
    mask = 0xFFFFFFFF

    def rot(x: int, k: int) -> int:
        return ((x << k) | (x >> (32 - k))) & mask

    a = b = c = (0xDEADBEEF + len(data)) & mask
    while len(data) > 12:
        x, y, z = (int.from_bytes(data[i : i + 4], "little") for i in (0, 4, 8))
        a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
        a = (a - c) & mask ^ rot(c, 4)
        c = (c + b) & mask
        b = (b - a) & mask ^ rot(a, 6)
        a = (a + c) & mask
        c = (c - b) & mask ^ rot(b, 8)
        b = (b + a) & mask
        a = (a - c) & mask ^ rot(c, 16)
        c = (c + b) & mask
        b = (b - a) & mask ^ rot(a, 19)
        a = (a + c) & mask
        c = (c - b) & mask ^ rot(b, 4)
        b = (b + a) & mask
        data = data[12:]
    if not data:
        return c
    data = data.ljust(12, b"\0")
    x, y, z = (int.from_bytes(data[i : i + 4], "little") for i in (0, 4, 8))
    a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
    c = (c ^ b) - rot(b, 14) & mask
    a = (a ^ c) - rot(c, 11) & mask
    b = (b ^ a) - rot(a, 25) & mask
    c = (c ^ b) - rot(b, 16) & mask
    a = (a ^ c) - rot(c, 4) & mask
    b = (b ^ a) - rot(a, 14) & mask
    return (c ^ b) - rot(b, 24) & mask


MEMORY = 96 * 2**20  # enough for four threads; an allocation that trusts a forged header would need far more


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "bank.h5"
    maskbank.generate(path, RECIPE, N)
    return path


def look(warm: Warm, *paths: Path, limit: float = 20.0) -> list[str]:
    """How a process with little memory answers to files."""
    ended = warm.call("tests.bank.hostile:look_at", [str(path) for path in paths], memory=MEMORY, limit=limit)
    assert ended.code == 0, ended
    answers: list[str] = ended.result
    for path, answer in zip(paths, answers, strict=True):
        assert not answer.startswith("WRONG"), f"{path.name}: {answer}"
    return answers
