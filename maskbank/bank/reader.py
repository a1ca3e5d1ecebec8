"""Bank, a thin reader: memory-mapped items, no HDF5 handle, safe with forks, threads and pickles."""

import contextlib
import dataclasses
import itertools
import math
import mmap
import os
from collections.abc import Iterator, Sequence
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from maskbank.bank import cache, layout
from maskbank.bank.layout import Content
from maskbank.checks import format_size
from maskbank.errors import BankError
from maskbank.recipes import Recipe

Array = npt.NDArray[Any]
Path = str | os.PathLike[str]


class Part:
    """One file of a bank, memory-mapped.

    content: what the file holds. bits: the items as unsigned integers, (items, voxels). begin: how many
    items of the bank are in parts before it.
    """

    begin = 0

    def __init__(self, path: str, cache_dir: str | None) -> None:
        self.path = path
        opened = path if cache_dir is None else cache.copy_of(path, cache_dir)
        with layout.open_file(opened) as file:
            self.layout = layout.read_open(file, opened)
            try:
                self._map = mmap.mmap(file.fileno(), self.layout.size, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise BankError(f"cannot map the {self.layout.size:,} bytes of {path}: {reason}") from None
        _use_large_pages(self._map)
        self.content = self.layout.content
        self.noise = self.table("noise")
        stored = self.noise.reshape(len(self.noise), -1)
        self.bits = stored.view(f"u{stored.dtype.itemsize}")
        missing = self.content.n - int(np.count_nonzero(self.table("written") == 1))
        if missing:
            raise BankError(
                f"{path} is half-written: {missing:,} of {self.content.n:,} items are missing; "
                f"{layout.remedy(path)}"
            )

    def table(self, name: str) -> Array:
        """A read-only view of one of the file's datasets."""
        shape, dtype = self.content.tables[name]
        count = math.prod(shape)
        return np.frombuffer(self._map, dtype, count, self.layout.offsets[name]).reshape(shape)


class Bank:
    """A bank of noise items, opened by its path, or by the paths of consecutive parts.

    len(bank) is the number of items. bank[i] is item i, a read-only view (T, H, W), (H, W) or (L,) of the
    memory-mapped file. bank[a:b] is a read-only array (items, ...), a view if the bank is one file. An item
    is read from the disk when it is first used. All processes of a machine share one copy in the page cache.

    cache_dir: a folder on a local disk, or /dev/shm. The file is copied there once for all processes of
    the machine and checked, and the copy is read.

    Raises BankError if a file is not a whole bank of a version this maskbank knows, or if parts leave a
    gap, overlap, or differ in recipe or seed.
    """

    def __init__(self, path: Path | Sequence[Path], *, cache_dir: Path | None = None) -> None:
        given = [path] if isinstance(path, str | os.PathLike) else list(path)
        self.cache_dir = None if cache_dir is None else os.path.abspath(cache_dir)
        self.parts, self.content = in_order([Part(os.path.abspath(one), self.cache_dir) for one in given])
        self.path = ", ".join(part.path for part in self.parts)
        for part in self.parts:
            part.begin = part.content.first - self.content.first
        self._ends = np.cumsum([part.content.n for part in self.parts])

    def __len__(self) -> int:
        return self.content.n

    def __getitem__(self, index: SupportsIndex | slice) -> Array:
        if isinstance(index, slice):
            return self._slice(index)
        try:
            i = index.__index__()
        except AttributeError:
            raise TypeError(f"bank[{index!r}]: give a whole number or a slice") from None
        if not -len(self) <= i < len(self):
            raise IndexError(f"bank[{i}] is out of range: the bank has {len(self):,} items")
        i %= len(self)
        part = int(np.searchsorted(self._ends, i, "right"))
        item: Array = self.parts[part].noise[i - self._ends[part]]  # counted from the part's end
        return item

    def _slice(self, index: slice) -> Array:
        if len(self.parts) == 1:
            return self.parts[0].noise[index]
        chosen = [self[i] for i in range(len(self))[index]]
        items = np.array(chosen, self.dtype).reshape(-1, *self.recipe.size)
        items.flags.writeable = False
        return items

    def __iter__(self) -> Iterator[Array]:
        return (self[i] for i in range(len(self)))

    def _column(self, name: str) -> Array:
        columns = [part.table(name) for part in self.parts]
        return columns[0] if len(columns) == 1 else np.concatenate(columns)

    @property
    def recipe(self) -> Recipe:
        """Every parameter that decides what an item looks like, seed apart."""
        return self.content.recipe

    @property
    def kind(self) -> str:
        """What noise the bank holds: green3d, blue2d, ..."""
        return self.recipe.kind

    @property
    def seed(self) -> int:
        """The seed of all items."""
        return self.content.seed

    @property
    def first(self) -> int:
        """The index of the first item: 0, except in parts."""
        return self.content.first

    @property
    def shape(self) -> tuple[int, ...]:
        """(items, T, H, W), (items, H, W) or (items, L)."""
        return (len(self), *self.recipe.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the items' numbers."""
        return self.parts[0].noise.dtype

    @property
    def nbytes(self) -> int:
        """Size of the file, or of all files, in bytes."""
        return sum(part.layout.size for part in self.parts)

    @property
    def sigma(self) -> npt.NDArray[np.float32] | None:
        """The sigmas drawn for each item, in voxels: float32 (items, 1 or 2); None for kinds without."""
        return self._column("sigma") if self.recipe.ranges else None

    @property
    def crc32(self) -> npt.NDArray[np.uint32]:
        """zlib.crc32 of each item's bytes: uint32 (items,)."""
        return self._column("crc32")

    @property
    def fingerprint(self) -> str:
        """12 hex digits that name the bank's content. Write them into a paper or a run's log.

        Parts together have the fingerprint of the bank that `maskbank join` makes of them.
        """
        return self.content.fingerprint

    def __repr__(self) -> str:
        size = format_size(self.recipe.size)
        return f"<Bank {self.path}: {len(self):,} x {self.kind} {size} {self.dtype} {self.fingerprint}>"

    def _repr_html_(self) -> str:
        """A small picture of the first item and of a mask from it, for notebooks."""
        from maskbank.bank.thumbnail import of_item

        ratio = getattr(self.recipe, "mask_ratio", 0.9 if len(self.recipe.size) == 3 else 0.75)
        return of_item(self[0], 1 - ratio, repr(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, ([part.path for part in self.parts], self.fingerprint, self.cache_dir)


def _use_large_pages(memory: mmap.mmap) -> None:
    """Have Linux read a bank in pieces of up to 2 MB, which causes fewer page faults.

    Only where the bank takes at most a quarter of the machine's memory, so that what is read stays there.
    """
    with contextlib.suppress(OSError, AttributeError, ValueError):  # not every system has large pages
        if 4 * len(memory) <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
            memory.madvise(mmap.MADV_HUGEPAGE)


def in_order(parts: list[Part]) -> tuple[list[Part], Content]:
    """The parts, sorted by first item, and the content of the bank that they make together.

    BankError where they are not consecutive parts of one bank.
    """
    if not parts:
        raise BankError("a bank has at least one part; give a path")
    parts = sorted(parts, key=lambda part: part.content.first)
    for one, other in itertools.pairwise(parts):
        numbered = dataclasses.replace(other.content, n=one.content.n, first=one.content.first)
        if what := layout.difference(one.content, numbered):
            raise BankError(f"{other.path} is no part of the same bank as {one.path}: it has {what}")
        end, begin = one.content.first + one.content.n, other.content.first
        if begin != end:
            what = f"leave out items {end} to {begin - 1}" if begin > end else "overlap"
            raise BankError(f"{one.path} and {other.path} {what}; parts have to follow on each other")
    n = sum(part.content.n for part in parts)
    return parts, dataclasses.replace(parts[0].content, n=n)


def _reopen(paths: list[str], fingerprint: str, cache_dir: str | None) -> Bank:
    """Open a pickled bank again; BankError where its files hold another bank by now."""
    bank = Bank(paths, cache_dir=cache_dir)
    if bank.fingerprint != fingerprint:
        raise BankError(f"{bank.path} now holds bank {bank.fingerprint}; the pickled one was {fingerprint}")
    return bank
