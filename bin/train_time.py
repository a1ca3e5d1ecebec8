"""What masks cost at train time."""

import contextlib
import time
import unittest.mock
from collections.abc import Callable
from typing import Any

import numpy as np
from processes import Bench, line


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

    def batches(sampler: maskbank.MaskSampler, what: str = "masked", **given: Any) -> Callable[[], object]:
        numbers = count()
        return lambda: getattr(sampler(np.arange(32) + 32 * next(numbers), **given), what)

    def padded(tokens: int) -> Any:
        return np.arange(tokens) < np.random.default_rng(0).integers(tokens // 2, tokens, 32)[:, None]

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
        "green3d, 16 views of 32": lambda: per_clip(batches(video, views=16), 512),
        "green3d, padded": lambda: per_clip(batches(video, valid=padded(1568)), 32),
        "rbn, 64x8": lambda: per_clip(batches(audio), 32),
        "rbn, 16 views of 32": lambda: per_clip(batches(audio, views=16), 512),
        "rbn, padded": lambda: per_clip(batches(audio, valid=padded(512)), 32),
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
