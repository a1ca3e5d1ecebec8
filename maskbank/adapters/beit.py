"""BEiT, iBOT, DINOv2, SimMIM, MMPretrain: their mask generators of images. NumPy only.

The transforms know no sample ids, so masks come from a stream: see `maskbank.sampling.stream.MaskStream`.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.adapters.common import Adapter, Source, as_sampler, enlarged
from maskbank.checks import check_grid, integer
from maskbank.errors import RecipeError


class MaskingGenerator(Adapter):
    """In place of BEiT's and DINOv2's class of this name, and of SimMIM's MaskGenerator.

    source: a bank's path, a Bank, a baseline's name, or a MaskSampler, which keeps its other parameters.
    input_size: tokens along a side, or (H, W). num_masking_patches: the number of masked tokens in each mask;
    None if each call gives it, as DINOv2's collate does. scale: a token covers scale x scale of the model's
    patches: 8 for SimMIM's squares of 32 pixels and Swin's patches of 4. dtype: bool as in DINOv2; int as in
    the others. seed, rank: those of `stream`, the MaskStream that gives the masks; without a seed, each
    process and run has other masks. options: further parameters of MaskSampler.

    Raises RecipeError for parameters and BankError for a bank that cannot be used.
    """

    def __init__(
        self,
        source: Source,
        input_size: int | tuple[int, ...],
        num_masking_patches: int | None = None,
        *,
        scale: int = 1,
        dtype: npt.DTypeLike = bool,
        seed: int | None = None,
        rank: int | None = None,
        **options: Any,
    ) -> None:
        grid = check_grid((input_size, input_size) if hasattr(input_size, "__index__") else input_size)
        if len(grid) < 2:
            raise RecipeError(f"input_size={input_size}: an image has height and width; give (14, 14) or 14")
        self.num_patches = math.prod(grid)
        self.num_masking_patches = num_masking_patches
        count = self.num_patches // 2
        if num_masking_patches is not None:
            count = self._checked(num_masking_patches, 1)
        self.scale, self.dtype = integer("scale", scale, 1, 2**10), np.dtype(dtype)
        how = {"grid": grid, "num_visible": self.num_patches - count} | options
        self.samplers = (as_sampler(source, **how),)
        self.stream = self.sampler.stream(seed, rank=rank)

    def __call__(self, num_masking_patches: int | None = None) -> npt.NDArray[Any]:
        """One mask with exactly this number of masked tokens: (H * scale, W * scale), True or 1 = masked."""
        count = self.num_masking_patches if num_masking_patches is None else num_masking_patches
        if count is None:
            raise RecipeError(
                "num_masking_patches is given neither to the generator nor to the call; give it"
            )
        masked = np.zeros(self.num_patches, bool)
        if self._checked(count, 0):
            (masked,) = self.stream.take(1, num_visible=self.num_patches - count).masked
        *time, height, width = self.sampler.grid
        large = enlarged(masked, self.sampler.grid, self.scale).astype(self.dtype)
        return large.reshape(*time, height * self.scale, width * self.scale)

    def _checked(self, count: Any, low: int) -> int:
        return integer("num_masking_patches", count, low, self.num_patches - 1)


class MaskTransform:
    """In place of MMPretrain's BEiTMaskGenerator and SimMIMMaskGenerator, in the pipeline of a config.

    Write dict(type="maskbank.adapters.beit.MaskTransform", source="bank.h5", input_size=14,
    num_masking_patches=75) there. Parameters are those of MaskingGenerator without dtype. For SimMIM they
    are input_size=6, num_masking_patches=22 and scale=8.
    """

    def __init__(self, source: Source, input_size: Any, num_masking_patches: int, **options: Any) -> None:
        self.generator = MaskingGenerator(source, input_size, num_masking_patches, dtype=int, **options)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """The results with "mask", int64 (H * scale, W * scale), 1 = masked."""
        results["mask"] = self.generator()
        return results

    def __repr__(self) -> str:
        return f"MaskTransform: {self.generator!r}"
