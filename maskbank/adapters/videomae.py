"""VideoMAE, SIGMA, VideoMAEv2: their zero-argument mask generators. NumPy only.

The transforms know no sample ids, so masks come from a stream: others in every process, DataLoader worker
and rank, not resumable.
"""

import math
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.bank.reader import Bank
from maskbank.sampling.sampler import MaskSampler

Float64s = npt.NDArray[np.float64]


class MaskingGenerator:
    """In place of VideoMAE's and SIGMA's TubeMaskingGenerator(args.window_size, args.mask_ratio).

    bank: a path, a Bank, or a baseline's name. window_size: (T, H, W), in tokens. mask_ratio: the share that
    is hidden. options: further parameters of MaskSampler, as transpose=True. Unless per_frame=False is
    among them, every frame keeps H * W - int(mask_ratio * H * W) tokens, as a tube does: 160 of 8x14x14 at
    0.9. total_patches, total_masks: how many tokens there are, and how many are hidden, in every mask.

    Raises RecipeError for parameters, BankError for a bank, that cannot be used.
    """

    def __init__(
        self,
        bank: Bank | str | os.PathLike[str],
        window_size: tuple[int, ...],
        mask_ratio: float,
        **options: Any,
    ) -> None:
        self.sampler = MaskSampler(bank, window_size, mask_ratio, **{"per_frame": True} | options)
        self.total_patches = math.prod(self.sampler.grid)
        self.total_masks = self.total_patches - self.sampler.num_visible
        self._stream = self.sampler.stream()

    def __call__(self) -> Float64s:
        """One mask: float64 (T * H * W,), 1 = masked, time slowest."""
        return next(self._stream).masked.astype(np.float64)

    def __repr__(self) -> str:
        counts = f"total patches {self.total_patches}, mask patches {self.total_masks}"
        return f"{type(self).__name__}: {counts}, {self.sampler!r}"


class MaskMapGenerator(MaskingGenerator):
    """In place of VideoMAEv2's generators, of its encoder's maps and of its decoder's.

    Parameters are those of MaskingGenerator. Replaces, in dataset/pretrain_datasets.py,
    TubeMaskingGenerator(args.window_size, args.mask_ratio) and RunningCellMaskingGenerator(args.window_size,
    args.decoder_mask_ratio). In both maps 1 = masked: what the encoder does not see, what the decoder does
    not reconstruct. Two generators draw independently.
    """

    def __call__(self) -> Float64s:
        """One map: float64 (T, H * W), 1 = masked."""
        return super().__call__().reshape(self.sampler.grid[0], -1)
