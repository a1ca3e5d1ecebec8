"""MONAI: replaces the random masking of its masked autoencoder, for images and volumes."""

from typing import Any

import torch

from maskbank.adapters.common import Source
from maskbank.adapters.mae import RandomMasking
from maskbank.adapters.pytorch import Tensor


class Masking(RandomMasking):
    """In place of MaskedAutoEncoderViT._masking: Masking(sampler).install(model).

    sampler: for the grid img_size / patch_size, axes in the image's order. It may also be a bank, its path
    or a baseline, with options: the parameters of MaskSampler.
    """

    methods = ("_masking",)

    def __init__(self, sampler: Source, **options: Any) -> None:
        super().__init__(sampler, returns=4, **options)

    def __call__(self, x: Tensor, masking_ratio: float | None = None) -> tuple[Tensor, ...]:
        """x_masked, selected_indices, mask.

        x: (B, L, D). masking_ratio: int(L * (1 - masking_ratio)) tokens stay; with None the sampler's number.
        model.masking_ratio is not read. x_masked: (B, kept, D). selected_indices: int64 (B, kept), ascending.
        mask: int32 (B, L), 1 = removed. Raises RecipeError as RandomMasking does.
        """
        x_masked, mask, _, ids_keep = super().__call__(x, masking_ratio)
        return x_masked, ids_keep, mask.to(torch.int32)
