"""ColorMAE: its masking generator, on a bank instead of a tensor of ready noise.

The model knows no sample ids, so masks come from a stream: others in every process and rank, not resumable.
"""

import os
from typing import Any

import torch

from maskbank.bank.reader import Bank
from maskbank.checks import count_visible
from maskbank.sampling.sampler import MaskSampler
from maskbank.sampling.stream import MaskStream

Tensor = Any  # torch's, which type checkers need not have


class ColorMasking:
    """In place of ColorMAE's class of this name; a bank's path stands where that of an .npz stood.

    Replaces, in models/colormae.py, `from .utils.masking_generator import ColorMasking`. W: tokens of a
    side. mask_ratio: the share that is hidden. data_path: the path of a bank, a Bank, a baseline's name, or
    a MaskSampler whose other parameters are kept. The schedule of colours in a config works as before,
    through `change_color_pattern`.

    loaded_color: the bank's colour ("green", "rbn", ...) or the baseline's name, which their hook compares
    with the config's. device: where tensors are made, a GPU where there is one, as theirs.

    Raises RecipeError for parameters, BankError for a bank, that cannot be used.
    """

    def __init__(
        self, W: int, mask_ratio: float, data_path: str | os.PathLike[str] | Bank | MaskSampler
    ) -> None:
        self.W = W
        self.mask_ratio = mask_ratio
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.change_color_pattern(data_path)

    def change_color_pattern(self, data_path: str | os.PathLike[str] | Bank | MaskSampler) -> None:
        """Go on with another bank."""
        how: dict[str, Any] = {"grid": (self.W, self.W), "mask_ratio": self.mask_ratio}
        given = data_path
        sampler = given.replace(**how) if isinstance(given, MaskSampler) else MaskSampler(given, **how)
        self.loaded_color = sampler.baseline if sampler.bank is None else sampler.bank.recipe.colour
        self._stream = sampler.stream()

    def extract_windows(self, B: int) -> Tensor:
        """B windows, float32 (B, W, W), whose largest values are the visible tokens.

        They hold no noise but its outcome: numbers from W * W down to 1, visible tokens first, without the
        ties of noise in few bits.
        """
        ranks = self.W * self.W - _draw(self._stream, B).to(self.device)
        return ranks.to(torch.float32).reshape(B, self.W, self.W)

    def color_noise_mask(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """mask, ids_restore, ids_keep from windows (B, W, W): their largest values are visible.

        mask: (B, L), float32 (torch's default type), 1 = removed. ids_restore: int64 (B, L). ids_keep: int64
        (B, int(L * (1 - mask_ratio))), ascending for windows of `extract_windows`. L = W * W, height slowest.
        """
        values = window.flatten(1)
        kept = count_visible(values.shape[1], self.mask_ratio)
        ids_shuffle = torch.argsort(values, dim=1, descending=True)
        ids_restore = torch.argsort(ids_shuffle, dim=1)
        mask = (ids_restore >= kept).to(torch.get_default_dtype())
        return mask, ids_restore, ids_shuffle[:, :kept]


def _ids_restore(stream: MaskStream, number: int) -> Tensor:
    """int64 (number, L), on the CPU."""
    return torch.from_numpy(stream.take(number).ids_restore)


_draw = torch.compiler.disable(_ids_restore)  # compiled models step out of their graph for it
