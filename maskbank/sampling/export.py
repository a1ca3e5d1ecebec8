"""Masks as a .npy file, for any language or framework."""

import math
import os
import shutil
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from maskbank.checks import choice, integer
from maskbank.errors import OutputError
from maskbank.files import appearing, check_sources
from maskbank.sampling.sampler import MaskSampler

Mark = Literal["masked", "visible"]

_AT_ONCE = 4096  # masks


def export(
    path: str | os.PathLike[str],
    sampler: MaskSampler,
    n: int,
    *,
    epoch: int = 0,
    mark: Mark = "masked",
    packed: bool = False,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the masks of samples 0 to n - 1 of an epoch as a NumPy file that can be memory-mapped.

    bool (n, L), True where a token is `mark`ed, "masked" or "visible"; `packed`: uint8 (n, ceil(L / 8)) as
    numpy.packbits makes it, first token in the highest bit. The name appears when all is written and
    synced; force: replace what is there.

    Raises RecipeError for n and mark, OutputError where the file cannot be written.
    """
    name = os.path.abspath(os.fspath(path))
    integer("n", n, 1, 2**48)
    choice("mark", mark, get_args(Mark))
    if sampler.bank is not None:
        check_sources(name, (part.path for part in sampler.bank.parts))
    length = math.prod(sampler.grid)
    width = -(-length // 8) if packed else length
    with appearing(path, force, (".npy",)) as file:
        header = {"descr": "|u1" if packed else "|b1", "fortran_order": False, "shape": (n, width)}
        np.lib.format.write_array_header_1_0(file, header)
        if n * width > shutil.disk_usage(os.path.dirname(name)).free:
            raise OutputError(f"the disk of {name} is too full: the masks need {n * width:,} bytes; lower n")
        for start in range(0, n, _AT_ONCE):
            masks = sampler(np.arange(start, min(start + _AT_ONCE, n)), epoch)
            marked = masks.masked if mark == "masked" else masks.visible
            file.write((np.packbits(marked, axis=1) if packed else marked).data)
            if progress:
                progress(min(start + _AT_ONCE, n))
