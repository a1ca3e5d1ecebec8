"""The layout of the bank file. Its metadata is written and read here, and nowhere else.

A bank is HDF5 with library bounds exactly V18. Root attributes: format, format_version,
numbers_version, kind, recipe (JSON), seed, first, fingerprint. Datasets, in this order, contiguous,
little-endian, each at a multiple of 4096 bytes; `noise` ends the file, and has an attribute `axes`:

    crc32    (N,) uint32           zlib.crc32 of each item's bytes
    written  (N,) uint8            the journal: 1 where the item and its checksum are on disk
    sigma    (N, 1 or 2) float32   the draws (coloured kinds other than white)
    noise    (N, ...)              the items
"""

import hashlib
import io
import math
import os
from dataclasses import dataclass
from typing import Any, BinaryIO

import h5py
import numpy as np
from h5py import h5d, h5f, h5fd, h5o, h5p, h5s, h5t

from maskbank.bank import superblock
from maskbank.checks import MOST_ITEMS, axis_names, check_n, check_seed, integer
from maskbank.errors import BankError, MaskbankError, RecipeError
from maskbank.files import ALIGNMENT
from maskbank.recipes import NUMBERS_VERSION, Recipe, canonical_json, from_json

FORMAT = "maskbank"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Content:
    """What a bank holds. Every byte of its file follows from this."""

    recipe: Recipe
    seed: int
    n: int
    first: int = 0

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that the bytes of the bank depend on, as JSON values."""
        return {
            "kind": self.recipe.kind,
            "n": self.n,
            "seed": self.seed,
            "first": self.first,
            "numbers_version": NUMBERS_VERSION,
            "recipe": self.recipe.to_dict(),
        }

    @property
    def fingerprint(self) -> str:
        """The first 12 hex digits of the SHA-256 of `facts`. They name the content without reading it."""
        return hashlib.sha256(canonical_json(self.facts).encode()).hexdigest()[:12]

    @property
    def tables(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and type of each dataset, in the file's order."""
        tables: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {
            "crc32": ((self.n,), np.dtype("<u4")),
            "written": ((self.n,), np.dtype("u1")),
        }
        if self.recipe.ranges:
            tables["sigma"] = ((self.n, len(self.recipe.ranges)), np.dtype("<f4"))
        tables["noise"] = ((self.n, *self.recipe.size), np.dtype(self.recipe.dtype).newbyteorder("<"))
        return tables

    def row_bytes(self, table: str) -> int:
        """Bytes that one item takes in a dataset."""
        shape, dtype = self.tables[table]
        return math.prod(shape[1:]) * dtype.itemsize

    @property
    def item_bytes(self) -> int:
        """Bytes of one item."""
        return self.row_bytes("noise")


@dataclass(frozen=True)
class Layout:
    """Where each dataset begins. offsets: dataset -> bytes from the file's start. size: bytes of the file."""

    content: Content
    offsets: dict[str, int]
    size: int

    def offset(self, table: str, item: int) -> int:
        """Where an item's row of a dataset begins, in bytes from the start of the file."""
        return self.offsets[table] + item * self.content.row_bytes(table)


def lay_out(content: Content) -> tuple[Layout, list[tuple[int, bytes]]]:
    """The layout of a bank and its metadata: (offset, bytes) pieces, superblock last.

    HDF5 writes to a file object that keeps only the pieces written. So this takes milliseconds and
    kilobytes, however large the bank is.
    """
    sink = _Sink()
    access = _access(sink)
    access.set_libver_bounds(h5f.LIBVER_V18, h5f.LIBVER_V18)
    access.set_alignment(1, ALIGNMENT)
    creation = h5p.create(h5p.FILE_CREATE)
    creation.set_obj_track_times(False)  # h5py below 3.15 would store the time in the root group
    offsets = {}
    with h5py.File(h5f.create(b"maskbank", h5f.ACC_TRUNC, creation, access)) as file:
        for name, value in _attributes(content).items():
            file.attrs.create(name, value)
        for name, (shape, dtype) in content.tables.items():
            settings = h5p.create(h5p.DATASET_CREATE)
            settings.set_layout(h5d.CONTIGUOUS)
            settings.set_alloc_time(h5d.ALLOC_TIME_EARLY)
            settings.set_fill_time(h5d.FILL_TIME_NEVER)
            settings.set_obj_track_times(False)
            space = h5s.create_simple(shape)
            dataset = h5d.create(file.id, name.encode(), h5t.py_create(dtype), space, settings)
            offsets[name] = dataset.get_offset()
        axes = ",".join(["item", *axis_names(len(content.recipe.size))])
        file["noise"].attrs.create("axes", np.bytes_(axes))
    pieces = sorted(sink.pieces.items(), key=lambda piece: (piece[0] == 0, piece[0]))
    layout = Layout(content, offsets, offsets["noise"] + content.n * content.item_bytes)
    if sink.size != layout.size:  # an HDF5 that puts something behind the noise; none is known
        raise MaskbankError(
            f"HDF5 {h5py.version.hdf5_version} laid the file out in an unknown way; use another h5py"
        )
    return layout, pieces


def _attributes(content: Content) -> dict[str, Any]:
    recipe = content.recipe
    return {
        "format": np.bytes_(FORMAT),
        "format_version": np.int64(FORMAT_VERSION),
        "numbers_version": np.int64(NUMBERS_VERSION),
        "kind": np.bytes_(recipe.kind),
        "recipe": np.bytes_(canonical_json(recipe.to_dict())),
        "seed": np.uint64(content.seed),
        "first": np.uint64(content.first),
        "fingerprint": np.bytes_(content.fingerprint),
    }


def _access(file: "_File") -> h5p.PropFAID:
    """The settings with which HDF5 opens a file object. HDF5's own drivers would lock the file."""
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fileobj_driver(h5fd.fileobj_driver, file)
    return access


class _File(io.RawIOBase):
    """A file object for HDF5."""

    def __init__(self, size: int) -> None:
        self.position = 0
        self.size = size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        return self.position


class _Sink(_File):
    """Keeps the pieces that HDF5 writes, and nothing else."""

    def __init__(self) -> None:
        super().__init__(0)
        self.pieces: dict[int, bytes] = {}

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self.pieces[self.position] = piece
        self.position += len(piece)
        self.size = max(self.size, self.position)
        return len(piece)

    def truncate(self, size: int | None = None) -> int:
        self.size = self.position if size is None else size
        return self.size


class _Padded(_File):
    """A file to read. Zeros stand for an end that was cut off."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(size)
        self.file = file

    def readinto(self, buffer: Any) -> int:
        if not 0 <= self.position <= self.size - len(buffer):
            raise OSError("the header points outside the file")
        self.file.seek(self.position)
        piece = self.file.read(len(buffer)).ljust(len(buffer), b"\0")
        memoryview(buffer).cast("B")[:] = piece
        return len(piece)


def read(path: str | os.PathLike[str], cut_off: bool = False) -> Layout:
    """The checked layout of the bank at `path`; BankError where the file is no bank.

    Reads the header only. cut_off: allow a file that ends before its last item.
    """
    with open_file(path) as file:
        return read_open(file, os.fspath(path), cut_off)


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading; BankError where that fails."""
    name = os.fspath(path)
    if os.path.isdir(name):
        raise BankError(f"{name} is a folder, not a bank")
    if os.path.exists(name) and not os.path.isfile(name):  # opening a pipe could wait for ever
        raise BankError(f"{name} is a device or a pipe, so no bank")
    try:
        return open(name, "rb", buffering=0)
    except OSError as error:
        raise BankError(f"cannot open {name}: {error.strerror}") from None


def read_open(file: BinaryIO, name: str, cut_off: bool = False) -> Layout:
    """`read` for an open file. name: for messages. HDF5 has closed the file when this returns."""
    try:
        size = os.fstat(file.fileno()).st_size
        file.seek(0)
        start = file.read(superblock.SIZE)
    except OSError as error:
        raise BankError(f"cannot read {name}: {error.strerror}") from None
    end = superblock.end_of_file(name, size, start)
    try:
        access = _access(_Padded(file, end))
        with h5py.File(h5f.open(b"maskbank", h5f.ACC_RDONLY, access)) as hdf5:
            layout = _parse(name, hdf5, end)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeError) as error:
        what = "is truncated, and no readable bank" if size < end else "is no readable bank"
        raise BankError(f"{name} {what}: {' '.join(str(error).split())}; {superblock.REBUILD}") from None
    if size < end and not cut_off:
        raise BankError(f"{name} is truncated: it has {size:,} bytes of {end:,}; {remedy(name)}")
    return layout


def remedy(name: str) -> str:
    """What to do about a bank with missing or damaged items, for a message."""
    if name.endswith(".partial"):
        return "repeat the command that made it"
    return "maskbank repair makes it whole"


def _parse(name: str, file: h5py.File, size: int) -> Layout:
    attributes = file.attrs
    if _text(attributes, "format") != FORMAT:
        raise BankError(f"{name} is an HDF5 file, but not one that maskbank made")
    for what, does, ours in (("format", "reads", FORMAT_VERSION), ("numbers", "makes", NUMBERS_VERSION)):
        version = _number(attributes, f"{what}_version")
        if version != ours:
            raise BankError(
                f"{name} has {what} version {version}; this maskbank {does} version {ours}, "
                f"so use {'a newer' if version > ours else 'an older'} one"
            )
    n = math.prod(_dataset(name, file, "crc32").shape)
    seed, first = _number(attributes, "seed"), _number(attributes, "first")
    try:
        recipe = from_json(_text(attributes, "kind"), _text(attributes, "recipe"))
        content = Content(recipe, check_seed(seed), check_n(n), integer("first", first, 0, MOST_ITEMS - n))
    except RecipeError as error:
        raise BankError(f"{name} has a header that is not valid: {error}") from None
    end = 0
    offsets = {}
    for key, (shape, dtype) in content.tables.items():
        dataset = _dataset(name, file, key)
        if dataset.shape != shape or dataset.dtype != dtype:
            raise BankError(
                f"{name}: {key} is {dataset.dtype} {dataset.shape}, where the recipe asks for {dtype} {shape}"
            )
        offset = dataset.get_offset()
        if offset is None or offset % ALIGNMENT or offset < max(end, superblock.SIZE):
            raise BankError(f"{name}: {key} begins at byte {offset}, where no bank has it")
        offsets[key] = offset
        end = offset + n * content.row_bytes(key)
    if end != size:
        raise BankError(f"{name} has {size - end:,} bytes more than its items take, so it is no bank")
    stored = _text(attributes, "fingerprint")
    if stored != content.fingerprint:
        raise BankError(
            f"{name} has fingerprint {stored}, but its recipe, seed and items make {content.fingerprint}: "
            f"the header is damaged; {superblock.REBUILD}"
        )
    return Layout(content, offsets, size)


def _dataset(name: str, file: h5py.File, key: str) -> h5d.DatasetID:
    """A contiguous dataset inside the file, reached by a hard link; BankError for anything else."""
    link = file.id.links.get_info(key.encode()) if file.id.links.exists(key.encode()) else None
    if link is None or link.type != h5py.h5l.TYPE_HARD:
        raise BankError(f"{name} has no {key}" if link is None else f"{name}: {key} is a link to elsewhere")
    opened = h5o.open(file.id, key.encode())
    if not isinstance(opened, h5d.DatasetID):
        raise BankError(f"{name}: {key} is not a dataset")
    settings = opened.get_create_plist()
    if settings.get_layout() != h5d.CONTIGUOUS or settings.get_external_count():
        raise BankError(f"{name}: {key} is not stored in one piece inside the file")
    return opened


def _text(attributes: h5py.AttributeManager, key: str) -> str:
    value = attributes.get(key)
    return value.decode("ascii") if isinstance(value, bytes) else ""


def _number(attributes: h5py.AttributeManager, key: str) -> int:
    value = attributes.get(key)
    if not isinstance(value, np.integer):
        raise ValueError(f"attribute {key} is missing or not a whole number")
    return int(value)


def difference(asked: Content, found: Content) -> str:
    """What differs between two banks, for a message: 'seed 1 instead of 0, n 20 instead of 10'."""
    a, b = asked.facts, found.facts
    if a["kind"] == b["kind"]:
        a, b = a | vars(asked.recipe), b | vars(found.recipe)  # with a stretch of 1, which facts leave out
    keys = [key for key in a if key != "recipe" and a[key] != b[key]]
    return ", ".join(f"{key} {b[key]} instead of {a[key]}" for key in keys)
