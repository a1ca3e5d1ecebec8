"""Finds the whole items of a bank: those that are written, with the right checksum and sigmas."""

import itertools
import os
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.bank.layout import Layout, lay_out, open_file, read_open, remedy
from maskbank.errors import RecipeError
from maskbank.files import check_system

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]

_AT_ONCE = 2**22  # bytes read at once by a thread
_RUNS_AT_ONCE = 4096
_THREADS = 4  # a disk is faster with several requests at once; checksums cost little
_MOST_RUNS = 10  # ranges of damaged items that a message names


@dataclass(frozen=True)
class Verification:
    """What `verify` found; `dataclasses.asdict` makes JSON of it. Items are counted from the file's first."""

    path: str
    kind: str
    fingerprint: str
    items: int  # of the bank
    checked: int  # number of items read: all, or the sample
    damaged: list[int]  # the checked items that are damaged or missing
    missing: int  # number of checked items that were never written
    header_bytes: int  # number of unused bytes in the header that are not zero
    bytes_read: int
    seconds: float

    @property
    def fault(self) -> str:
        """What is wrong and what to do, in one line; empty where nothing is."""
        count = f"{self.items:,} items"
        if self.checked < self.items:
            count = f"{self.checked:,} of {count}"
        faults = [f"{self.header_bytes} bytes of its header"] if self.header_bytes else []
        faults += [f"{len(self.damaged):,} of {count} ({ranges(self.damaged)})"] if self.damaged else []
        state = "unfinished" if self.missing == len(self.damaged) and not self.header_bytes else "damaged"
        return f"{self.path} is {state}: {' and '.join(faults)}; {remedy(self.path)}" if faults else ""


def verify(
    path: str | os.PathLike[str], sample: float | None = None, progress: Progress | None = None
) -> Verification:
    """Check a bank's header, journal and checksums, and compare its sigmas with those of recipe and seed.

    sample: check only a random share of the items, 0 < sample <= 1. progress: called now and then with the
    number of items that are checked, and of all to check. The result lists damage. Raises BankError where
    the file is no bank or its header cannot be read, RecipeError for a `sample` outside of these limits.
    """
    check_system()
    start = time.perf_counter()
    name = os.fspath(path)
    with open_file(name) as file:
        layout = read_open(file, name)
        content, fd = layout.content, file.fileno()
        items = np.arange(content.n)
        if sample is not None:
            if not 0.0 < sample <= 1.0:
                raise RecipeError(f"sample={sample:g} is no share of the items; give for example 0.01")
            count = max(1, round(sample * content.n))
            items = np.sort(np.random.default_rng().choice(content.n, count, replace=False))
        good = whole(fd, layout, None if sample is None else items, progress)
        header = len(header_damage(fd, layout))
        written = _rows(fd, layout, "written", 0, content.n)[items] == 1
    return Verification(
        name, content.recipe.kind, content.fingerprint, content.n, len(items), items[~good].tolist(),
        int(np.count_nonzero(~written)), header, len(items) * content.item_bytes, time.perf_counter() - start,
    )  # fmt: skip


def ranges(items: list[int]) -> str:
    """[1, 2, 3, 7] -> '1-3, 7'."""
    runs = np.split(items, np.flatnonzero(np.diff(items) != 1) + 1)
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs[:_MOST_RUNS]]
    more = len(runs) - len(texts)
    return ", ".join(texts) + (f" and {more:,} more ranges" if more else "")


def whole(fd: int, layout: Layout, items: Int64s | None = None, progress: Progress | None = None) -> Bools:
    """Which of these items (ascending; None: all) are whole: bool (items,).

    progress: as for `verify`. Items that cannot be read are not whole.
    """
    content = layout.content
    good = np.zeros(content.n if items is None else len(items), bool)
    step = max(1, _AT_ONCE // content.item_bytes) if items is None else 1

    def check(run: tuple[int, int]) -> int:
        start, stop = run
        first, count = start if items is None else int(items[start]), stop - start
        try:
            rows = {name: _rows(fd, layout, name, first, count) for name in content.tables if name != "noise"}
        except OSError:
            return count
        right = rows["written"] == 1
        if "sigma" in rows:
            from maskbank.noise import sigmas

            drawn = sigmas(content.recipe, content.seed, content.first + first, count)
            right &= (rows["sigma"].view("<u4") == drawn.view("<u4")).all(-1)
        if right.any():
            right &= rows["crc32"] == _checksums(fd, layout, first, count)
        good[start:stop] = right
        return count

    crc32()  # compiled before the threads start
    done = 0
    runs = ((start, min(start + step, len(good))) for start in range(0, len(good), step))
    with ThreadPoolExecutor(_THREADS) as pool:
        while some := list(itertools.islice(runs, _RUNS_AT_ONCE)):  # keeps the pool's queue short
            for count in pool.map(check, some):
                done += count
                if progress:
                    progress(done, len(good))
    return good


def _rows(fd: int, layout: Layout, name: str, first: int, count: int) -> npt.NDArray[Any]:
    """Rows of one of the small tables; zeros beyond the end of a file that was cut off."""
    shape, dtype = layout.content.tables[name]
    size = count * layout.content.row_bytes(name)
    data = os.pread(fd, size, layout.offset(name, first))
    return np.frombuffer(data.ljust(size, b"\0"), dtype).reshape(count, *shape[1:])


def _checksums(fd: int, layout: Layout, first: int, count: int) -> Int64s:
    """The checksums of items; -1 for an item that cannot be read or is cut off."""
    size = layout.content.item_bytes
    try:
        data = os.pread(fd, count * size, layout.offset("noise", first))
    except OSError:
        if count > 1:  # read one by one, so only the items on bad sectors are lost
            return np.concatenate([_checksums(fd, layout, first + i, 1) for i in range(count)])
        return np.array([-1])
    there = len(data) // size
    items = np.frombuffer(data, np.uint8, there * size).reshape(there, size)
    return np.array(crc32()(items) + [-1] * (count - there))


def header_damage(fd: int, layout: Layout) -> list[int]:
    """Offsets of the unused bytes between metadata and tables that are not zero.

    HDF5 checks the metadata itself by checksums when `read` reads it. Where the metadata differs from what
    this HDF5 writes, another version wrote it and may use other bytes: then the result is empty.
    """
    ours, pieces = lay_out(layout.content)
    if ours.offsets != layout.offsets or any(os.pread(fd, len(data), at) != data for at, data in pieces):
        return []
    used = [(at, at + len(data)) for at, data in pieces]
    used += [(at, layout.offset(name, layout.content.n)) for name, at in layout.offsets.items()]
    places = []
    for (_, end), (start, _) in itertools.pairwise(sorted(used)):
        gap = np.frombuffer(os.pread(fd, start - end, end), np.uint8)
        places += (end + np.flatnonzero(gap)).tolist()
    return places


@cache
def crc32() -> Callable[[Any], list[int]]:
    """What gives zlib.crc32 of items, uint8 (items, bytes): the kernel where Numba is installed."""
    try:
        from maskbank.kernels import checksum
    except ImportError:
        return lambda items: [zlib.crc32(item) for item in items]
    checksum.prepare()
    return checksum.crc32
