"""Whole processes, side by side, in one run: maskbank against what people write by hand, and its limits."""

import argparse
import contextlib
import functools
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import unittest.mock
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PYTHON = sys.executable
MASKBANK = str(Path(PYTHON).parent / "maskbank")

# What a SciPy user writes: gaussian_filter in a process pool, h5py as the store.
SCIPY = """
import sys
from multiprocessing import Pool
import h5py, numpy as np
from scipy.ndimage import gaussian_filter

def make(i):
    rng = np.random.default_rng([0, i])
    small, large = rng.uniform(0.4, 1.5), rng.uniform(1.4, 3.0)
    white = rng.standard_normal((64, 64, 64), dtype=np.float32)
    noise = gaussian_filter(white, small, mode="wrap") - gaussian_filter(white, large, mode="wrap")
    return noise.astype(np.float16)

if __name__ == "__main__":
    n, path, workers = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    with h5py.File(path, "w") as file, Pool(workers) as pool:
        bank = file.create_dataset("noise", (n, 64, 64, 64), "f2", chunks=(1, 64, 64, 64))
        for i, item in enumerate(pool.imap(make, range(n), chunksize=8)):
            bank[i] = item
"""

# The fastest way without compiling anything: float32 FFTs in threads.
FFT = """
import sys
from concurrent.futures import ThreadPoolExecutor
import h5py, numpy as np
from scipy.fft import irfftn, rfftn

axes = np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64), np.fft.rfftfreq(64), indexing="ij", sparse=True)
squares = sum(axis**2 for axis in axes).astype(np.float32)

def make(i):
    rng = np.random.default_rng([0, i])
    small, large = rng.uniform(0.4, 1.5), rng.uniform(1.4, 3.0)
    response = np.exp(np.float32(-2 * np.pi**2 * small**2) * squares)
    response -= np.exp(np.float32(-2 * np.pi**2 * large**2) * squares)
    white = rng.standard_normal((64, 64, 64), dtype=np.float32)
    return irfftn(rfftn(white) * response, s=white.shape).astype(np.float16)

n, path, workers = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with h5py.File(path, "w") as file, ThreadPoolExecutor(workers) as pool:
    bank = file.create_dataset("noise", (n, 64, 64, 64), "f2", chunks=(1, 64, 64, 64))
    for i, item in enumerate(pool.map(make, range(n))):
        bank[i] = item
"""

# The bytes alone: as many, to a new file, past the page cache where that can be, and synced.
WRITE = """
import mmap, os, sys
n, path = int(sys.argv[1]), sys.argv[2]
piece = mmap.mmap(-1, 2**22)
piece[:] = os.urandom(2**22)
flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
try:
    fd = os.open(path, flags | os.O_DIRECT)
except OSError:
    fd = os.open(path, flags)
for k in range(-(-n * 2**19 // 2**22)):
    os.pwrite(fd, piece, k * 2**22)
os.fsync(fd)
"""

# The numbers alone: the same items, computed in as many threads and thrown away.
COMPUTE = """
import sys, threading
from maskbank.noise import Block, Maker
from maskbank.recipes import Green
n, workers, recipe = int(sys.argv[1]), int(sys.argv[2]), Green()

def work(start):
    maker, block = Maker(recipe, 0), Block(recipe, 1)
    for i in range(start, n, workers):
        maker.make(i, block)

Maker(recipe, 0).make(0, Block(recipe, 0))
threads = [threading.Thread(target=work, args=(k,)) for k in range(workers)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""

# A cycle of the processor, the width of its vectors, and the seconds of an item in one thread, minima.
CORE = """
import time
import numba
from maskbank.kernels.vectors import WIDTH
from maskbank.noise import Block, Maker
from maskbank.recipes import Green

@numba.njit
def chain(n, x):
    for _ in range(n):
        x = (x ^ (x >> 7)) * 6364136223846793005  # 5 cycles, each waiting for the one before it
    return x

def least(call, times):
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)

maker, block = Maker(Green(), 0), Block(Green(), 1)
maker.make(0, block)
chain(1, 1)
print(least(lambda: chain(10**5, 1), 200) / 5e5, WIDTH, least(lambda: maker.make(1, block), 500))
"""

# The main job, saying every so many seconds in the file's journal what is done.
JOURNAL = """
import sys
from maskbank import generate
from maskbank.generation import threads
from maskbank.recipes import Green
threads.CHECKPOINT_SECONDS = float(sys.argv[3])
generate(sys.argv[2], Green(), int(sys.argv[1]), workers=2)
"""

# The bytes alone, out of the page cache, in two threads.
READ = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
fd, size = os.open(sys.argv[1], os.O_RDONLY), os.path.getsize(sys.argv[1])

def read(start):
    piece = bytearray(2**22)
    for offset in range(start * 2**22, size, 2 * 2**22):
        os.preadv(fd, [piece], offset)

with ThreadPoolExecutor(2) as pool:
    list(pool.map(read, range(2)))
"""


class Bench:
    def __init__(self, folder: str | None, repeat: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="maskbank-bench-", dir=folder))
        self.out = str(self.folder / "bank.h5")
        self.repeat = repeat
        self.memory = 0.0

    def once(self, *command: str, **environment: str) -> float:
        """Seconds of one whole process; its output file is removed outside of the measured time."""
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)[:200]} ended with {process.returncode}")
        self.memory = usage.ru_maxrss / 1024
        Path(self.out).unlink(missing_ok=True)
        return seconds

    def script(self, code: str, *args: object, **environment: str) -> float:
        path = self.folder / "peer.py"
        path.write_text(code)
        return self.once(PYTHON, str(path), *map(str, args), **environment)

    def generate(self, kind: str, n: int, workers: int, *more: str, **environment: str) -> float:
        command = (MASKBANK, "generate", kind, "-n", str(n), "-o", self.out, "-j", str(workers), *more)
        return self.once(*command, **environment)

    def medians(self, **runs: Callable[[], float]) -> dict[str, float]:
        """Medians of runs taken in turn, so that a drift of the machine's speed meets all alike."""
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(self.repeat):
            for name, run in runs.items():
                seconds[name].append(run())
        return {name: statistics.median(values) for name, values in seconds.items()}


def main_job(bench: Bench, n: int, peer_n: int, workers: int) -> None:
    print(f"{n:,} green3d items of 64x64x64, float16, {workers} workers, start to synced file")
    bench.generate("green3d", n, workers)  # warms up: compiles, and touches as much memory and disk
    bench.script(SCIPY, 16, bench.out, workers)
    scale = n / peer_n
    found = bench.medians(
        maskbank=lambda: bench.generate("green3d", n, workers),
        scipy=lambda: bench.script(SCIPY, peer_n, bench.out, workers) * scale,
        fft=lambda: bench.script(FFT, peer_n, bench.out, workers) * scale,
        write=lambda: bench.script(WRITE, n, bench.out),
        compute=lambda: bench.script(COMPUTE, n, workers),
        one=lambda: bench.generate("green3d", n, 1),
    )
    bench.generate("green3d", n, workers)
    memory = bench.memory
    ours = found["maskbank"]
    note = "" if scale == 1 else f", taken at n = {peer_n:,} and scaled by n"
    line("maskbank", f"{ours:.2f} s   {n / ours:,.0f} items/s, peak memory {memory:.0f} MB")
    line("SciPy, process pool", f"{found['scipy']:.1f} s   {found['scipy'] / ours:.1f} x{note}")
    line("float32 FFTs, threads", f"{found['fft']:.1f} s   {found['fft'] / ours:.1f} x{note}")
    line("one worker", f"{found['one']:.2f} s   {found['one'] / ours:.2f} x")
    line("limit: the bytes alone", f"{found['write']:.2f} s   {found['write'] / ours:.0%} of ours")
    line("limit: the numbers alone", f"{found['compute']:.2f} s   {found['compute'] / ours:.0%} of ours")
    core()


def core() -> None:
    """What an item costs one core, beside what its arithmetic alone would cost."""
    printed = subprocess.run([PYTHON, "-c", CORE], check=True, capture_output=True, text=True).stdout
    cycle, width, item = map(float, printed.split())
    operations = vector_operations(int(width))
    least = operations / 2 * cycle
    line("processor", f"{processor()}, {1e-9 / cycle:.1f} GHz, vectors of {width:.0f} floats")
    line("an item in one thread", f"{item * 1e3:.2f} ms")
    line(
        "limit: arithmetic",
        f"{least * 1e3:.2f} ms   {least / item:.0%} of that: {operations / 1e6:.1f} million vector "
        "operations, two a cycle",
    )


def processor() -> str:
    with contextlib.suppress(OSError, IndexError):
        found = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        return str(found[0])
    return platform.processor() or platform.machine()


def vector_operations(width: int) -> float:
    """About how many operations on whole vectors make a green3d item of 64x64x64."""
    from llvmlite import ir

    from maskbank.kernels import fourier, philox
    from maskbank.kernels.vectors import Vector

    kind = ir.FunctionType(ir.VoidType(), [ir.VectorType(ir.FloatType(), width)])
    function = ir.Function(ir.Module(), kind, "operations")
    block = function.append_basic_block()
    rules: Any = fourier, philox  # kernels are untyped

    def count(rule: Callable[[Vector], object]) -> int:
        before = len(block.instructions)
        rule(Vector(ir.IRBuilder(block), function.args[0]))
        return len(block.instructions) - before

    voxels, columns = 64**3, 64**2
    words = voxels / 4 * 10 * 8 * 2  # ten rounds of 8 operations on 64 bits for each block of four words
    pair = count(lambda x: rules[1].polar(x.view(np.uint32), rules[1].radius(x.view(np.uint32))))
    line_of_64 = count(lambda x: rules[0].forward([x] * 64)) + count(lambda x: rules[0].inverse([x] * 64))
    filtering = 6 * voxels
    return (words + voxels / 2 * pair + 3 * columns * line_of_64 + filtering + voxels) / width


def memory(bench: Bench) -> None:
    print("100,000 green3d items of 16x16x16")
    seconds = bench.generate("green3d", 100_000, 2, "--size", "16x16x16")
    line("maskbank", f"{seconds:.2f} s, peak memory {bench.memory:.0f} MB")


def starts(bench: Bench) -> None:
    print("starting")
    cache = str(bench.folder / "cache")
    first = bench.generate("green3d", 16, 2, NUMBA_CACHE_DIR=cache)
    line("n = 16, first run ever", f"{first:.1f} s")
    bench.repeat, before = 9, bench.repeat
    bank = str(bench.folder / "kept.h5")
    subprocess.run(
        [MASKBANK, "generate", "green3d", "-n", "1000", "-o", bank], check=True, capture_output=True
    )
    found = bench.medians(
        imports=lambda: bench.once(PYTHON, "-c", "import numpy, h5py, click"),
        help=lambda: bench.once(MASKBANK, "--help"),
        inspect=lambda: bench.once(MASKBANK, "inspect", bank),
        later=lambda: bench.generate("green3d", 16, 2, NUMBA_CACHE_DIR=cache),
    )
    bench.repeat = before
    line("n = 16, later", f"{found['later']:.2f} s")
    line("import numpy, h5py, click", f"{found['imports']:.3f} s")
    line("maskbank --help", f"{found['help']:.3f} s   {found['help'] / found['imports']:.2f} x that")
    line("maskbank inspect", f"{found['inspect']:.3f} s   {found['inspect'] / found['imports']:.2f} x that")


def survival(bench: Bench) -> None:
    """What it costs to check a bank of 10,000 items, to go on with it, and to keep the journal."""
    print("10,000 green3d items of 64x64x64, in the page cache: checked, gone on with, journalled")
    n, kept = 10_000, str(bench.folder / "kept.h5")
    again = (MASKBANK, "generate", "green3d", "-n", str(n), "-o", kept)
    bench.once(*again)
    size = os.path.getsize(kept)

    def go_on() -> float:
        os.rename(kept, kept + ".partial")  # all there but its name, as if killed before the last step
        return bench.once(*again)

    bench.script(READ, kept)
    found = bench.medians(
        read=lambda: bench.script(READ, kept),
        verify=lambda: bench.once(MASKBANK, "verify", kept),
        start=lambda: bench.once(MASKBANK, "verify", kept, "--sample", "0.01%"),
        go_on=go_on,
        none=lambda: bench.generate("green3d", 1, 2),
    )
    os.unlink(kept)
    bench.script(JOURNAL, n, bench.out, 1.0)
    bench.repeat, before = 3 * bench.repeat, bench.repeat
    journal = bench.medians(
        kept=lambda: bench.script(JOURNAL, n, bench.out, 1.0),
        not_kept=lambda: bench.script(JOURNAL, n, bench.out, 3600.0),
    )
    bench.repeat = before
    verify, alone = found["verify"], found["verify"] - found["start"]
    line(
        "verify",
        f"{verify:.2f} s   {size / verify / 1e9:.1f} GB/s; without its start {size / alone / 1e9:.1f}",
    )
    line("limit: reading the bytes", f"{found['read']:.2f} s   {found['read'] / verify:.0%} of that")
    line(
        "going on, all items there",
        f"{found['go_on']:.2f} s   {found['go_on'] - found['none']:.2f} s beyond n = 1",
    )
    share = journal["kept"] / journal["not_kept"] - 1
    line("the journal", f"{journal['kept']:.2f} s, without {journal['not_kept']:.2f} s   {share:+.1%}")


def cluster(bench: Bench) -> None:
    """A Dask cluster of two workers of one thread, which is there already, against two threads."""
    print("green3d on a Dask cluster of this machine: two workers of one thread")
    file = bench.folder / "scheduler.json"
    processes = []

    def dask(*args: str) -> None:
        processes.append(
            subprocess.Popen(
                [PYTHON, "-m", "dask", *args, "--host", "127.0.0.1", "--no-dashboard"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=bench.folder,
            )
        )  # fmt: skip

    dask("scheduler", "--port", "0", "--scheduler-file", str(file))
    try:
        while not (file.exists() and file.stat().st_size):
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        for _ in range(2):
            dask("worker", address, "--nthreads", "1", "--no-nanny")
        there = ("--dask", address)

        def generate(n: int, *more: str) -> float:
            return bench.once(MASKBANK, "generate", "green3d", "-n", str(n), "-o", bench.out, *more)

        generate(1000, *there)
        for n, size in ((10_000, "64x64x64"), (1_000_000, "1x8x8"), (10_000_000, "1x8x8")):
            size_of = ("--size", size)
            found = bench.medians(
                threads=functools.partial(generate, n, "-j", "2", *size_of),
                cluster=functools.partial(generate, n, *there, *size_of),
            )
            here, far = found["threads"], found["cluster"]
            line(
                f"{n:,} x {size}",
                f"{far:.2f} s, threads {here:.2f} s: {here / far:.2f} of their speed, "
                f"{(far - here) / n * 1e6:+.1f} microseconds an item; client {bench.memory:.0f} MB",
            )
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def rbn(bench: Bench) -> None:
    """Regularised blue noise: whole processes, and the plain Python twin of the tests for a few items."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from maskbank.recipes import RBN
    from tests.reference import rbn_item

    print("rbn, 64x8 at 80 % masked")
    bench.generate("rbn", 10, 2)  # compiles
    found = bench.medians(
        few=lambda: bench.generate("rbn", 10, 2),
        many=lambda: bench.generate("rbn", 10_000, 2),
        large=lambda: bench.generate("rbn", 10_000, 2, "--size", "64x64"),
        set=lambda: bench.generate("rbn", 5, 2, "--size", "512x512"),
        one=lambda: bench.generate("rbn", 10_000, 1),
    )
    start = time.perf_counter()
    for index in range(3):
        rbn_item(RBN(), 0, index)
    plain = (time.perf_counter() - start) / 3 * 10_000
    few, many = found["few"], found["many"]
    line("10 items", f"{few:.2f} s")
    line("10,000 items", f"{many:.2f} s   {many / few:.2f} x that; with one worker {found['one']:.2f} s")
    line("the same in plain Python", f"{plain:,.0f} s   {plain / many:,.0f} x, taken at n = 3 and scaled")
    patches = 10_000 * 64 * 64 / (found["large"] - few)
    line(
        "10,000 items of 64x64",
        f"{found['large']:.2f} s   {patches / 1e6:.1f} million patches a second",
    )
    line("one set of 512x512", f"{found['set']:.2f} s")


def tube() -> object:
    """VideoMAE's way: one shuffled frame, repeated over time."""
    masked = int(0.9 * 196)
    frame = np.hstack([np.zeros(196 - masked), np.ones(masked)])
    np.random.shuffle(frame)  # noqa: NPY002
    return np.tile(frame, (8, 1)).flatten()


def per_clip(make: Callable[[], object], clips: int = 1) -> float:
    """Microseconds per clip of a loop of one second, after a short one that warms up."""
    for seconds in (0.2, 1.0):
        calls, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            make()
            calls += 1
        elapsed = time.perf_counter() - start
    return elapsed / calls / clips * 1e6


def masks(bench: Bench) -> None:
    """Masks at train time, in one thread, beside what training loops do without a bank."""
    from itertools import count

    import maskbank
    from maskbank.sampling import selection

    def batches(sampler: maskbank.MaskSampler, what: str = "masked") -> Callable[[], object]:
        numbers = count()
        return lambda: getattr(sampler(np.arange(32) + 32 * next(numbers)), what)

    print("masks at train time, one thread, microseconds per clip, batches of 32, 10,000-item banks")
    green, rbn = str(bench.folder / "green.h5"), str(bench.folder / "rbn.h5")
    maskbank.generate(green, maskbank.Green(), 10_000)
    maskbank.generate(rbn, maskbank.RBN(), 10_000)
    with open(green, "rb") as file:
        while file.read(2**24):  # into the page cache
            pass
    start = time.perf_counter()
    bank = maskbank.Bank(green)
    opening = (time.perf_counter() - start) * 1e3
    video = maskbank.MaskSampler(bank, (8, 14, 14), 0.9)
    audio = maskbank.MaskSampler(rbn, (64, 8), 0.8)
    rows: dict[str, Callable[[], float]] = {
        "tube, NumPy, 8x14x14": lambda: per_clip(tube),
        "green3d, 8x14x14": lambda: per_clip(batches(video), 32),
        "green3d, ids_restore, too": lambda: per_clip(batches(video, "ids_restore"), 32),
        "rbn, 64x8": lambda: per_clip(batches(audio), 32),
    }
    with contextlib.suppress(ImportError):
        import torch

        def argsort(tokens: int, ratio: float) -> object:
            order = torch.argsort(torch.rand(32, tokens), dim=1)
            restore = torch.argsort(order, dim=1)
            mask = torch.ones(32, tokens)
            mask[:, : int(tokens * (1 - ratio))] = 0
            return torch.gather(mask, 1, restore)

        torch.set_num_threads(1)
        rows["argsort, torch, 1568"] = lambda: per_clip(lambda: argsort(1568, 0.9), 32)
        rows["argsort, torch, 512"] = lambda: per_clip(lambda: argsort(512, 0.8), 32)

    def without_numba() -> float:
        with unittest.mock.patch("maskbank.sampling.sampler.core", return_value=selection):
            return per_clip(batches(video), 32)

    rows["green3d, without Numba"] = without_numba
    found = bench.medians(**rows)
    for name, microseconds in found.items():
        line(
            name,
            f"{microseconds:.1f}   {found['tube, NumPy, 8x14x14'] / microseconds:.1f} x faster than tube",
        )
    line("opening the bank", f"{opening:.1f} ms")


def kinds(bench: Bench) -> None:
    """Milliseconds of one core for an item, for each kind and type; the smallest of several runs."""
    from maskbank.noise import Block, Maker
    from maskbank.recipes import COLOURS

    print("one core, milliseconds an item, computed only")
    for kind, (cls, size) in COLOURS.items():
        row = []
        for changes in ({}, {"dtype": "float32"}, {"dtype": "uint8"}, {"boundary": "reflect"}):
            recipe = cls(size=size, **changes)
            count = max(1, 2**18 // int(np.prod(size)))
            maker, block = Maker(recipe, 0), Block(recipe, count)
            maker.make(0, block)
            seconds = []
            for _ in range(20):
                start = time.perf_counter()
                maker.make(0, block)
                seconds.append(time.perf_counter() - start)
            row.append(f"{'/'.join(changes.values()) or 'float16'} {min(seconds) / count * 1e3:.3f}")
        line(kind, "   ".join(row))


def line(what: str, text: str) -> None:
    print(f"  {what:<26}{text}", flush=True)


PARTS = {
    "memory": memory, "starts": starts, "survival": survival, "rbn": rbn, "masks": masks, "kinds": kinds,
    "cluster": cluster,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["main", *list(PARTS)[:-2]],
                        help=f"main, {', '.join(PARTS)} (default: all but kinds and cluster)")  # fmt: skip
    parser.add_argument("-n", type=int, default=10_000, help="items of the main job")
    parser.add_argument("--peer-n", type=int, default=1_000, help="items for the slower programs")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3, help="runs of which the median is taken")
    parser.add_argument("--folder", help="where to write (default: the system's folder for such things)")
    options = parser.parse_args()
    bench = Bench(options.folder, options.repeat)
    try:
        for what in options.what:
            if what == "main":
                main_job(bench, options.n, options.peer_n, options.workers)
            elif what in PARTS:
                PARTS[what](bench)
            else:
                parser.error(f"unknown benchmark {what!r}; there is main, {', '.join(PARTS)}")
    finally:
        shutil.rmtree(bench.folder)


if __name__ == "__main__":
    main()
