"""I-JEPA: a collator in place of its MaskCollator, with one context and several targets for each sample."""

import math
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from maskbank.adapters.common import Source, as_sampler
from maskbank.adapters.vjepa import Collated, Steps
from maskbank.checks import format_size, integer
from maskbank.errors import RecipeError


class MaskCollator(Steps):
    """In place of I-JEPA's MaskCollator: MaskCollator(context, targets, npred=4).

    The npred targets of a sample are the visible tokens of npred masks of `targets`. They may overlap, as
    I-JEPA's blocks do. The context is the visible tokens of a mask of `context`, chosen among the tokens that
    are in no target. All lists have exactly their sampler's number of tokens, so none is cut to equal the
    others. Both samplers have the same grid, into which npred targets and the context must fit.

    Masks are a function of the samplers, the rank and the number of the call. rank and options are as for
    `maskbank.adapters.vjepa.MaskCollator`. Samplers may also be banks, paths or baselines.

    Raises RecipeError where the grids differ, or where the grid may have too few tokens.
    """

    def __init__(
        self, context: Source, targets: Source, npred: int = 4, *, rank: int | None = None, **options: Any
    ) -> None:
        self.samplers = context, targets = as_sampler(context, **options), as_sampler(targets, **options)
        self.npred = integer("npred", npred, 1, 2**10)
        if context.grid != targets.grid:
            raise RecipeError(
                f"context has the grid {format_size(context.grid)}, targets {format_size(targets.grid)}; an "
                "image has one: give that"
            )
        tokens = math.prod(context.grid)
        if npred * targets.num_visible + context.num_visible > tokens:
            raise RecipeError(
                f"{npred} targets of {targets.num_visible} tokens and a context of {context.num_visible} may "
                f"need more than the {tokens} of the grid; give samplers of fewer visible tokens"
            )
        super().__init__(rank, self.npred + 1)

    def __call__(self, batch: list[Any]) -> Collated:
        """(batch, masks_enc, masks_pred) of a list of B samples.

        batch: as default_collate makes it. masks_enc: a list of one tensor, int64 (B, context tokens).
        masks_pred: a list of npred tensors, int64 (B, target tokens). All indices ascend.
        """
        context, targets = self.samplers
        ids, step, view = np.arange(len(batch)), self.step(), self.first_view
        shown = targets(ids, step, view, views=self.npred)
        among = context(
            ids, step, view + self.npred, valid=~shown.visible.any(1), num_visible=context.num_visible
        )
        masks_pred = [one.contiguous() for one in torch.from_numpy(shown.ids_keep).unbind(1)]
        return default_collate(batch), [torch.from_numpy(among.ids_keep)], masks_pred
