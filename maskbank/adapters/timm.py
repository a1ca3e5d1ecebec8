"""timm: its PatchDropout, which drops the tokens that a mask hides instead of random ones.

The models know no sample ids, so ids are drawn from torch's generator, as in `maskbank.adapters.mae`.
"""

from typing import Any

import torch

from maskbank.adapters.common import Adapter, Source, as_sampler
from maskbank.adapters.pytorch import Tensor, drawn_ids, indices
from maskbank.checks import boolean, integer
from maskbank.errors import RecipeError


class PatchDropout(Adapter, torch.nn.Module):  # type: ignore[misc]  # torch has no types where it is not installed
    """In place of timm's: model.patch_drop = PatchDropout(sampler, model.num_prefix_tokens).

    sampler: for the grid of patches. It decides how many stay, where timm keeps max(1, int(L * (1 - prob))).
    It may also be a bank, its path or a baseline, with options: the parameters of MaskSampler.
    num_prefix_tokens: class and register tokens, which come first and always stay. indices: also return
    keep_indices, as timm's PatchDropoutWithIndices does; Eva needs that.
    """

    def __init__(
        self, sampler: Source, num_prefix_tokens: int = 1, *, indices: bool = False, **options: Any
    ) -> None:
        super().__init__()
        self.samplers = (as_sampler(sampler, **options),)
        self.num_prefix_tokens = integer("num_prefix_tokens", num_prefix_tokens, 0, 2**16)
        self.indices = boolean("indices", indices)

    def forward(self, x: Tensor) -> Tensor:
        """In training, the prefix tokens and the visible ones, ascending; in evaluation, x.

        x: (B, num_prefix_tokens + L, D). With `indices`, a tuple: the tokens and keep_indices. These are
        int64 (B, num_visible), counted from the first patch, or None in evaluation. Raises RecipeError where
        x has another number of tokens.
        """
        if not self.training:
            return (x, None) if self.indices else x
        first = self.num_prefix_tokens
        kept = self._draw(len(x), x.shape[1] - first).to(x.device, non_blocking=x.is_cuda)
        x = torch.gather(x, 1, kept.unsqueeze(-1).expand(-1, -1, x.shape[2]))
        return (x, kept[:, first:] - first) if self.indices else x

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # compiled models step out of their graph
    def _draw(self, number: int, tokens: int) -> Tensor:
        """Indices of what stays, int64 (number, num_prefix_tokens + num_visible), on the CPU."""
        masks = self.sampler(drawn_ids(number))
        if masks.visible.shape[1] != tokens:
            raise RecipeError(
                f"x has {tokens} patches beside {self.num_prefix_tokens} prefix tokens, the sampler's grid "
                f"{masks.visible.shape[1]}; give a sampler for the model's grid"
            )
        return indices(masks, self.num_prefix_tokens)[0]
