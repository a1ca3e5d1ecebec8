"""What commands say while they work, and of how much."""

import sys
from typing import Any


class Bar:
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self, n: int, unit: str = "item") -> None:
        self.n = n
        self.unit = unit
        self.bar: Any = None

    def __enter__(self) -> "Bar":
        return self

    def show(self, done: int) -> None:
        """Say that `done` items are made."""
        if self.bar is None:
            if not sys.stderr.isatty():
                return
            from tqdm import tqdm

            self.bar = tqdm(total=self.n, unit=self.unit, smoothing=0.1, dynamic_ncols=True, leave=False)
        self.bar.update(done - self.bar.n)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


def human_bytes(n: int) -> str:
    """5243039744 -> '5.24 GB'."""
    size = float(n)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError
