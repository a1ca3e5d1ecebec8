"""How long banks take to make: beside what people write by hand, beside limits, and from the first run on."""

import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from processes import MASKBANK, PYTHON, Bench, line, processor, row
from programs import COMPUTE, CORE, FFT, JOURNAL, READ, SCIPY, WRITE

from maskbank.errors import check_installed


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
    note = "" if scale == 1 else f" (at n = {peer_n:,}, scaled)"
    row("program", "seconds, and how much longer than maskbank")
    row("---", "---")
    row(f"`maskbank generate green3d --n {n}`", f"{ours:.1f}")
    row(
        f"`scipy.ndimage.gaussian_filter` in a process pool, h5py{note}",
        f"{found['scipy']:.0f}, {found['scipy'] / ours:.1f} x",
    )
    row(f"float32 FFTs in threads, h5py{note}", f"{found['fft']:.0f}, {found['fft'] / ours:.1f} x")
    row("maskbank with one worker", f"{found['one']:.1f}, {found['one'] / ours:.1f} x")
    row(
        "limit: the same bytes written and synced, nothing computed",
        f"{found['write']:.1f}, {found['write'] / ours:.2f} x",
    )
    row(
        "limit: the same items computed, nothing written",
        f"{found['compute']:.1f}, {found['compute'] / ours:.2f} x",
    )
    core()
    row("peak memory", f"{memory:.0f} MB")


def core() -> None:
    """What an item costs one core, beside what its arithmetic alone would cost."""
    printed = subprocess.run([PYTHON, "-c", CORE], check=True, capture_output=True, text=True).stdout
    cycle, width, item = map(float, printed.split())
    operations = vector_operations(int(width))
    least = operations / 2 * cycle
    row("an item in one thread, the least of 500", f"{item * 1e3:.2f} ms")
    row(
        "limit: its arithmetic, two vector operations a cycle",
        f"{least * 1e3:.2f} ms, {least / item:.2f} x: {operations / 1e6:.1f} million",
    )
    row("processor", f"{processor()}, {1e-9 / cycle:.1f} GHz, vectors of {width:.0f} floats")


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


def first(bench: Bench) -> None:
    """The first run after an install, which compiles, and the first one of another size."""
    print("first runs, with an empty cache of kernels: n = 16, two workers, whole processes")
    seconds: dict[str, list[float]] = {}

    def measure(what: str, cache: str, *more: str) -> None:
        wall = bench.generate("green3d", 16, 2, *more, NUMBA_CACHE_DIR=cache)
        seconds.setdefault(what, []).append(wall)
        seconds.setdefault(what + ", CPU", []).append(bench.cpu)

    for k in range(bench.repeat):
        cache = str(bench.folder / f"cache-{k}")
        measure("first run ever, 64x64x64", cache)
        measure("then another power of two, 32x64x64", cache, "--size", "32x64x64")
        measure("then 64x64x64 again", cache)
    row("run", "seconds")
    row("---", "---")
    for what, values in seconds.items():
        row(what, f"{statistics.median(values):.1f}")


def starts(bench: Bench) -> None:
    """What a command costs before it does anything."""
    print("starting")
    bank = str(bench.folder / "small.h5")
    bench.once(MASKBANK, "generate", "green3d", "-n", "1000", "-o", bank)
    found = bench.medians(
        3,
        imports=lambda: bench.once(PYTHON, "-c", "import numpy, h5py, click"),
        help=lambda: bench.once(MASKBANK, "--help"),
        inspect=lambda: bench.once(MASKBANK, "inspect", bank),
        later=lambda: bench.generate("green3d", 16, 2),
    )
    line("n = 16", f"{found['later']:.2f} s")
    line("import numpy, h5py, click", f"{found['imports']:.3f} s")
    line("maskbank --help", f"{found['help']:.3f} s   {found['help'] / found['imports']:.2f} x that")
    line("maskbank inspect", f"{found['inspect']:.3f} s   {found['inspect'] / found['imports']:.2f} x that")


def memory(bench: Bench) -> None:
    print("100,000 green3d items of 16x16x16")
    seconds = bench.generate("green3d", 100_000, 2, "--size", "16x16x16")
    line("maskbank", f"{seconds:.2f} s, peak memory {bench.memory:.0f} MB")


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
    journal = bench.medians(
        3,
        kept=lambda: bench.script(JOURNAL, n, bench.out, 1.0),
        not_kept=lambda: bench.script(JOURNAL, n, bench.out, 3600.0),
    )
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
    check_installed("distributed", "a cluster needs Dask", "dask")
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
        two=lambda: bench.generate("rbn", 2, 2, "--size", "512x512"),
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
    line("one set of 512x512", f"{found['set']:.2f} s; two items of it {found['two']:.2f} s")


def kinds(bench: Bench) -> None:
    """Milliseconds of one core for an item, for each kind and type; the smallest of several runs."""
    from maskbank.noise import Block, maker
    from maskbank.recipes import COLOURS

    print("one core, milliseconds an item, computed only")
    for kind, (cls, size) in COLOURS.items():
        row = []
        for changes in ({}, {"dtype": "float32"}, {"dtype": "uint8"}, {"boundary": "reflect"}):
            recipe = cls(size=size, **changes)
            count = max(1, 2**18 // int(np.prod(size)))
            source, block = maker(recipe, 0), Block(recipe, count)
            source.make(0, block)
            seconds = []
            for _ in range(20):
                start = time.perf_counter()
                source.make(0, block)
                seconds.append(time.perf_counter() - start)
            row.append(f"{'/'.join(changes.values()) or 'float16'} {min(seconds) / count * 1e3:.3f}")
        line(kind, "   ".join(row))
