"""VideoMAE, SIGMA, VideoMAEv2: their mask generators, which take no arguments. NumPy only.

The transforms know no sample ids, so masks come from a stream: see `maskbank.sampling.stream.MaskStream`.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.adapters.common import Adapter, Source, as_sampler

Float64s = npt.NDArray[np.float64]


class MaskingGenerator(Adapter):
    """In place of VideoMAE's and SIGMA's TubeMaskingGenerator(args.window_size, args.mask_ratio).

    source: a bank's path, a Bank, a baseline's name, or a MaskSampler whose other parameters are kept.
    window_size: (T, H, W), in tokens. mask_ratio: the share that is hidden. seed, rank: of `stream`, the
    MaskStream that masks come from; without a seed, each process and run has other ones. options: further
    parameters of MaskSampler, as transpose=True. Unless per_frame=False is among them, every frame keeps
    H * W - int(mask_ratio * H * W) tokens, as a tube does: 160 of 8x14x14 at 0.9. total_patches,
    total_masks: how many tokens there are, and how many are hidden, in every mask.

    Raises RecipeError for parameters, BankError for a bank, that cannot be used.
    """

    def __init__(
        self,
        source: Source,
        window_size: tuple[int, ...],
        mask_ratio: float,
        *,
        seed: int | None = None,
        rank: int | None = None,
        **options: Any,
    ) -> None:
        how = {"grid": window_size, "mask_ratio": mask_ratio, "per_frame": True} | options
        self.samplers = (as_sampler(source, **how),)
        self.total_patches = math.prod(self.sampler.grid)
        self.total_masks = self.total_patches - self.sampler.num_visible
        self.stream = self.sampler.stream(seed, rank=rank)

    def __call__(self) -> Float64s:
        """One mask: float64 (T * H * W,), 1 = masked, time slowest."""
        return (~next(self.stream).visible).astype(np.float64)

    def __repr__(self) -> str:
        counts = f"total patches {self.total_patches}, mask patches {self.total_masks}"
        return f"{type(self).__name__}: {counts}, {self.sampler!r}"


class MaskMapGenerator(MaskingGenerator):
    """In place of VideoMAEv2's generators, of its encoder's maps and of its decoder's.

    Parameters are those of MaskingGenerator. Replaces, in dataset/pretrain_datasets.py,
    TubeMaskingGenerator(args.window_size, args.mask_ratio); and, with the baseline "running-cell" or a bank,
    RunningCellMaskingGenerator(args.window_size, args.decoder_mask_ratio). In both maps 1 = masked: what the
    encoder does not see, what the decoder does not reconstruct. Two generators draw independently; give
    them different seeds.
    """

    def __call__(self) -> Float64s:
        """One map: float64 (T, H * W), 1 = masked."""
        return super().__call__().reshape(self.sampler.grid[0], -1)
