"""ColorMAE: its masking generator, with a bank instead of its files of noise.

The model knows no sample ids, so ids are drawn from torch's generator, as in `maskbank.adapters.mae`.
"""

import torch

from maskbank.adapters.common import Adapter, Source, as_sampler
from maskbank.adapters.pytorch import Tensor, drawn_ids
from maskbank.checks import count_visible


class ColorMasking(Adapter):
    """In place of ColorMAE's class of this name, with a bank's path instead of an .npz file's.

    In models/colormae.py it replaces `from .utils.masking_generator import ColorMasking`. W: tokens along a
    side. mask_ratio: the share of masked tokens. data_path: the path of a bank, a Bank, a baseline's name,
    or a MaskSampler, which keeps its other parameters. A config's schedule of colours works as before,
    through `change_color_pattern`.

    loaded_color: the bank's colour ("green", "rbn", ...) or the baseline's name; ColorMAE's hook compares it
    with the config's. device: where tensors are made: a GPU if the machine has one, as in ColorMAE.

    Raises RecipeError for parameters and BankError for a bank that cannot be used.
    """

    def __init__(self, W: int, mask_ratio: float, data_path: Source) -> None:
        self.W = W
        self.mask_ratio = mask_ratio
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.change_color_pattern(data_path)

    def change_color_pattern(self, data_path: Source) -> None:
        """Take masks from another bank from now on."""
        sampler = as_sampler(data_path, grid=(self.W, self.W), mask_ratio=self.mask_ratio)
        self.samplers = (sampler,)
        self.loaded_color = sampler.baseline if sampler.bank is None else sampler.bank.recipe.colour

    def extract_windows(self, B: int) -> Tensor:
        """B windows, float32 (B, W, W), whose largest values are the visible tokens.

        They hold ranks instead of noise: W * W for the first visible token, down to 1. So there are no ties.
        """
        ranks = self.W * self.W - self._restore(B).to(self.device)
        return ranks.to(torch.float32).reshape(B, self.W, self.W)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # compiled models step out of their graph
    def _restore(self, number: int) -> Tensor:
        """ids_restore, int64 (number, L), on the CPU."""
        return torch.from_numpy(self.sampler(drawn_ids(number)).ids_restore)

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
