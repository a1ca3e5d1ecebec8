"""What all adapters need: samplers from their arguments, and a common repr."""

import os
from typing import Any

import numpy.typing as npt

from maskbank.bank.reader import Bank
from maskbank.checks import format_size, integer
from maskbank.errors import RecipeError
from maskbank.sampling.sampler import MaskSampler

Source = MaskSampler | Bank | str | os.PathLike[str]


def as_sampler(source: Any, **options: Any) -> MaskSampler:
    """The given sampler with these options changed, or a new one of a bank, its path or a baseline.

    options: parameters of MaskSampler. A new sampler needs grid and mask_ratio (or num_visible). Raises
    RecipeError for any other source and for wrong parameters.
    """
    if not isinstance(source, MaskSampler | Bank | str | os.PathLike):
        raise RecipeError(
            f"{type(source).__name__} is no MaskSampler; give one, as maskbank.MaskSampler(bank, grid, 0.9), "
            "or a bank's path with grid= and mask_ratio="
        )
    if isinstance(source, MaskSampler):
        return source.replace(**options) if options else source
    return MaskSampler(source, **{"grid": None, **options})


def enlarged(marks: npt.NDArray[Any], grid: tuple[int, ...], scale: int) -> npt.NDArray[Any]:
    """Marks of tokens (..., L), each repeated `scale` times in height and width: (..., L * scale**2)."""
    if integer("scale", scale, 1, 2**10) == 1:
        return marks
    if len(grid) < 2:
        raise RecipeError(
            f"scale={scale}: a grid of {format_size(grid)} has no height and width; leave it out"
        )
    tokens = marks.reshape(*marks.shape[:-1], *grid)
    return tokens.repeat(scale, -2).repeat(scale, -1).reshape(*marks.shape[:-1], -1)


class Adapter:
    """Holds samplers and names them in its repr. samplers: all of them; sampler: the first."""

    samplers: tuple[MaskSampler, ...]

    @property
    def sampler(self) -> MaskSampler:
        """The only sampler, or the first."""
        return self.samplers[0]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(map(repr, self.samplers))}>"
