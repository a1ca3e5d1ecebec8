"""Which items of a bank's file are whole: written, with the checksum and the sigmas that they should have."""

import itertools
import mmap
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.bank.layout import Layout, lay_out

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]
Progress = Callable[[int], None]

_AT_ONCE = 2**22  # bytes read at once by a thread
_RUNS_AT_ONCE = 4096
_THREADS = 4  # a disk likes to be asked for several pieces at once, and checksums cost little


def whole(fd: int, layout: Layout, items: Int64s | None = None, progress: Progress | None = None) -> Bools:
    """Which of these items (ascending; None: all) are whole: bool (items,).

    progress: called now and then with the number of items looked at. What the disk cannot read is not whole.
    """
    content = layout.content
    good = np.zeros(content.n if items is None else len(items), bool)
    buffers = threading.local()
    step = max(1, _AT_ONCE // content.item_bytes)

    def check(run: tuple[int, int]) -> int:
        start, stop = run
        first, count = start if items is None else int(items[start]), stop - start
        try:
            rows = {name: _rows(fd, layout, name, first, count) for name in content.tables if name != "noise"}
        except OSError:
            return count
        right = rows["written"] == 1
        if "sigma" in rows:
            right &= (rows["sigma"].view("<u4") == _sigmas(layout, first, count).view("<u4")).all(-1)
        if not hasattr(buffers, "memory"):
            buffers.memory = mmap.mmap(-1, step * content.item_bytes)
        for i in np.flatnonzero(right):
            if i == 0 or not right[i - 1]:  # a row of items that are there
                length = int(np.argmin(np.append(right[i:], False)))
                offset = layout.offsets["noise"] + (first + int(i)) * content.item_bytes
                found = _checksums(fd, buffers.memory, offset, length, content.item_bytes)
                right[i : i + length] = rows["crc32"][i : i + length] == found
        good[start:stop] = right
        return count

    crc32()  # before any thread could need it
    done = 0
    runs = _runs(content.n, items, step)
    with ThreadPoolExecutor(_THREADS) as pool:
        while some := list(itertools.islice(runs, _RUNS_AT_ONCE)):  # or all would stand in a queue
            for count in pool.map(check, some):
                done += count
                if progress:
                    progress(done)
    return good


def _runs(n: int, items: Int64s | None, step: int) -> Iterator[tuple[int, int]]:
    """Places (start, stop) in `items` whose items follow on each other, at most `step` of them."""
    breaks = [] if items is None else (np.flatnonzero(np.diff(items) != 1) + 1).tolist()
    for begin, stop in itertools.pairwise([0, *breaks, n if items is None else len(items)]):
        for start in range(begin, stop, step):
            yield start, min(start + step, stop)


def _sigmas(layout: Layout, first: int, count: int) -> npt.NDArray[np.float32]:
    from maskbank.noise import sigmas

    return sigmas(layout.content.recipe, layout.content.seed, layout.content.first + first, count)


def _rows(fd: int, layout: Layout, name: str, first: int, count: int) -> npt.NDArray[Any]:
    """Rows of one of the small tables."""
    shape, dtype = layout.content.tables[name]
    row = dtype.itemsize * int(np.prod(shape[1:]))
    data = os.pread(fd, count * row, layout.offsets[name] + first * row)
    return np.frombuffer(data.ljust(count * row, b"\0"), dtype).reshape(count, *shape[1:])


def _checksums(fd: int, memory: mmap.mmap, offset: int, count: int, size: int) -> npt.NDArray[np.int64]:
    """The checksums of `count` items of `size` bytes from `offset` on; -1 for one that cannot be read."""
    view = memoryview(memory)[: count * size]
    try:
        have = 0
        while have < len(view):
            got = os.preadv(fd, [view[have:]], offset + have)
            if got <= 0:
                break
            have += got
    except OSError:
        if count > 1:  # one by one: only what lies on the bad place is lost
            return np.concatenate([_checksums(fd, memory, offset + i * size, 1, size) for i in range(count)])
        return np.array([-1])
    items = np.frombuffer(view, np.uint8).reshape(count, size)
    return np.array([crc32()(item) if (i + 1) * size <= have else -1 for i, item in enumerate(items)])


def header_differences(fd: int, layout: Layout) -> list[tuple[int, bytes]]:
    """Where the file's bytes outside its tables are not what a writer puts there: (offset, right byte)."""
    ours, pieces = lay_out(layout.content)
    if ours.offsets != layout.offsets:  # another writer's: right or wrong, it is not for us to say
        return []
    wrong = []
    position = 0
    for name, (shape, dtype) in layout.content.tables.items():
        start = layout.offsets[name]
        right = bytearray(start - position)
        for offset, piece in pieces:
            low, high = max(offset, position), min(offset + len(piece), start)
            if low < high:
                right[low - position : high - position] = piece[low - offset : high - offset]
        there = os.pread(fd, len(right), position).ljust(len(right), b"\0")
        for place in range(len(right)):
            if there[place] != right[place]:
                wrong.append((position + place, bytes(right[place : place + 1])))
        position = start + int(np.prod(shape)) * dtype.itemsize
    return wrong


@cache
def crc32() -> Callable[[Any], int]:
    """zlib.crc32, or the kernel that does the same faster, where Numba is installed."""
    try:
        from maskbank.kernels import checksum
    except ImportError:
        return zlib.crc32
    checksum.prepare()
    function: Callable[[Any], int] = checksum.crc32
    return function
