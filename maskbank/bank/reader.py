"""Bank: a thin reader. Memory-mapped items, no HDF5 handle, safe over forks, threads and pickles."""

import math
import mmap
import os
from collections.abc import Iterator
from typing import Any, SupportsIndex, overload

import numpy as np
import numpy.typing as npt

from maskbank.bank import cache, layout
from maskbank.checks import format_size
from maskbank.errors import BankError
from maskbank.recipes import Recipe

Array = npt.NDArray[Any]


class Bank:
    """A bank of noise items, opened by path.

    len(bank) items; bank[i] is item i, a read-only view (T, H, W) or (H, W) into the file's memory map;
    bank[a:b] is a read-only view (items, ...). Nothing is read before it is looked at, and all processes
    of a machine share one copy in the page cache.

    cache_dir: a folder on a local disk, or /dev/shm: the file is copied there once for all processes of
    the machine, checked, and the copy is read.

    Raises BankError if the file is not a whole bank of a version this maskbank knows.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, cache_dir: str | os.PathLike[str] | None = None
    ) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self.cache_dir = None if cache_dir is None else os.path.abspath(os.fspath(cache_dir))
        self._open(self.path if self.cache_dir is None else cache.copy_of(self.path, self.cache_dir))

    def _open(self, path: str) -> None:
        self._layout = layout.read(path)
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size != self._layout.size:
                raise BankError(f"{self.path} was replaced while it was opened; open it again")
            self._map = mmap.mmap(file.fileno(), self._layout.size, access=mmap.ACCESS_READ)
        self._noise = self._table("noise")
        stored = self._noise.reshape(len(self), -1)
        self.bits = stored.view(f"u{stored.dtype.itemsize}")  # the same as unsigned integers: (items, voxels)
        missing = len(self) - int(np.count_nonzero(self._table("written") == 1))
        if missing:
            raise BankError(
                f"{self.path} is half-written: {missing:,} of {len(self):,} items are missing; "
                "make it again with --force"
            )

    def _table(self, name: str) -> Array:
        shape, dtype = self._layout.content.tables[name]
        count = math.prod(shape)
        return np.frombuffer(self._map, dtype, count, self._layout.offsets[name]).reshape(shape)

    def __len__(self) -> int:
        return self._layout.content.n

    @overload
    def __getitem__(self, index: SupportsIndex) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> Array: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Array:
        if isinstance(index, slice):
            return self._noise[index]
        try:
            place = index.__index__()
        except AttributeError:
            raise TypeError(f"bank[{index!r}]: give a whole number or a slice") from None
        if not -len(self) <= place < len(self):
            raise IndexError(f"bank[{place}] is out of range: the bank has {len(self):,} items")
        item: Array = self._noise[place]
        return item

    def __iter__(self) -> Iterator[Array]:
        return iter(self._noise)

    @property
    def recipe(self) -> Recipe:
        """Every parameter that decides what an item looks like, seed apart."""
        return self._layout.content.recipe

    @property
    def kind(self) -> str:
        """What noise the bank holds: green3d, blue2d, ..."""
        return self.recipe.kind

    @property
    def seed(self) -> int:
        """The seed of all items."""
        return self._layout.content.seed

    @property
    def first(self) -> int:
        """The index of the first item: 0, except in parts."""
        return self._layout.content.first

    @property
    def shape(self) -> tuple[int, ...]:
        """(items, T, H, W) or (items, H, W)."""
        return self._noise.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the items' numbers."""
        return self._noise.dtype

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes."""
        return self._layout.size

    @property
    def sigma(self) -> npt.NDArray[np.float32] | None:
        """The sigmas drawn for each item, in voxels: float32 (items, 1 or 2); None for white noise."""
        return self._table("sigma") if "sigma" in self._layout.offsets else None

    @property
    def crc32(self) -> npt.NDArray[np.uint32]:
        """zlib.crc32 of each item's bytes: uint32 (items,)."""
        return self._table("crc32")

    @property
    def fingerprint(self) -> str:
        """12 hex digits that name the bank's content; belongs into a paper or a run's log."""
        return self._layout.content.fingerprint

    def __repr__(self) -> str:
        size = format_size(self.recipe.size)
        return f"<Bank {self.path}: {len(self):,} x {self.kind} {size} {self.dtype} {self.fingerprint}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.fingerprint, self.cache_dir)


def _reopen(path: str, fingerprint: str, cache_dir: str | None) -> Bank:
    """Unpickle: the same bank, or a complaint."""
    bank = Bank(path, cache_dir=cache_dir)
    if bank.fingerprint != fingerprint:
        raise BankError(f"{path} now holds bank {bank.fingerprint}; the pickled one was {fingerprint}")
    return bank
