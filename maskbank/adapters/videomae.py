"""VideoMAE, SIGMA, VideoMAEv2: their mask generators, which take no arguments. NumPy only.

The transforms know no sample ids, so masks come from a stream: see `maskbank.sampling.stream.MaskStream`.
"""

import math
from typing import Any

import numpy as np

from maskbank.adapters.common import Adapter, Source, as_sampler
from maskbank.sampling.windows import Float64s


class MaskingGenerator(Adapter):
    """In place of VideoMAE's and SIGMA's TubeMaskingGenerator(args.window_size, args.mask_ratio).

    source: a bank's path, a Bank, a baseline's name, or a MaskSampler, which keeps its other parameters.
    window_size: (T, H, W), in tokens. mask_ratio: the share of masked tokens. seed, rank: those of `stream`,
    the MaskStream that gives the masks; without a seed, each process and run has other masks. options:
    further parameters of MaskSampler, as transpose=True. Every frame keeps H * W - int(mask_ratio * H * W)
    tokens, as a tube does (160 in all of 8x14x14 at 0.9), unless per_frame=False is given. total_patches,
    total_masks: the number of all tokens and of masked tokens in every mask.

    Raises RecipeError for parameters and BankError for a bank that cannot be used.
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
    """In place of VideoMAEv2's generators of maps for its encoder and for its decoder.

    Parameters are those of MaskingGenerator. In dataset/pretrain_datasets.py it replaces
    TubeMaskingGenerator(args.window_size, args.mask_ratio). With the baseline "running-cell" or a bank, it
    also replaces RunningCellMaskingGenerator(args.window_size, args.decoder_mask_ratio). In both maps 1 is
    masked: the encoder does not see the token, the decoder does not reconstruct it. Two generators draw
    independently; give them different seeds.
    """

    def __call__(self) -> Float64s:
        """One map: float64 (T, H * W), 1 = masked."""
        return super().__call__().reshape(self.sampler.grid[0], -1)
