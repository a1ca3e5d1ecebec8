"""Hugging Face transformers: masks as the arguments of its pretraining models."""

from typing import Any, Literal, get_args

import numpy as np
import torch
from torch.utils.data import default_collate

from maskbank.adapters.common import enlarged
from maskbank.adapters.pytorch import MaskedDataset, Output, Tensor
from maskbank.checks import choice
from maskbank.sampling.masks import Masks

Argument = Literal["bool_masked_pos", "noise"]


def bool_masked_pos(masks: Masks, device: Any = None, scale: int = 1) -> Tensor:
    """The argument of VideoMAE, BEiT, ViT, DINOv2 and Swin: bool (B, L), True = masked.

    masks: of a batch, for the grid (num_frames // tubelet_size, H // patch_size, W // patch_size), time
    slowest. Every sample has the same number of masked tokens, which VideoMAE needs. device: a torch device;
    None for the CPU, where the tensor shares the memory of masks.masked. scale: a token of the grid covers
    scale x scale of the model's patches: 8 for Swin, to mask squares of 32 pixels as SimMIM does.
    """
    return torch.from_numpy(enlarged(masks.masked, masks.grid, scale)).to(device)


def noise(masks: Masks, device: Any = None) -> Tensor:
    """The `noise` of ViTMAEForPreTraining, which keeps the tokens with the smallest values: float32 (B, L).

    The values are ids_restore. float32 holds them exactly (a grid has at most 2**24 tokens), so there are no
    ties, and the model's mask and ids_restore are those of `masks`. Half types would have ties. The model
    keeps int(L * (1 - config.mask_ratio)) tokens, so config.mask_ratio must be the sampler's. masks: of a
    batch, for the grid (H // patch_size, W // patch_size). device: a torch device; None for the CPU.
    """
    return torch.from_numpy(masks.ids_restore.astype(np.float32)).to(device)


class Collator:
    """A data_collator for transformers' Trainer and MaskedDataset(dataset, sampler, collator.output).

    argument: the model's argument that takes the mask: "bool_masked_pos" (VideoMAE) or "noise" (ViTMAE),
    with the values that the function of this name gives. output: what MaskedDataset adds to each sample.
    A sample of the dataset is a dict of the model's other arguments.
    """

    def __init__(self, argument: Argument) -> None:
        choice("argument", argument, get_args(Argument))
        self.argument = argument
        self.output: Output = "masked" if argument == "bool_masked_pos" else "ids_restore"

    def __call__(self, samples: list[tuple[dict[str, Any], Tensor]]) -> dict[str, Any]:
        """The model's arguments: what default_collate makes of the samples, and the masks, (B, L)."""
        masks = torch.stack([mask for _, mask in samples])
        if self.argument == "noise":
            masks = masks.to(torch.float32)
        return {**default_collate([sample for sample, _ in samples]), self.argument: masks}


def epochs(dataset: MaskedDataset) -> Any:
    """A callback for Trainer(callbacks=[...]) that sets the dataset's epoch. Needs transformers.

    Each epoch then has masks of its own.
    """
    from transformers import TrainerCallback

    class SetEpoch(TrainerCallback):  # type: ignore[misc]  # transformers need not be installed
        def on_epoch_begin(self, _args: Any, state: Any, _control: Any, **_given: Any) -> None:
            dataset.set_epoch(round(state.epoch or 0))

    return SetEpoch()
