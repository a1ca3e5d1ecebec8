"""Which items of an rbn bank are one set: disjoint masks, made together (section 3.3)."""

from typing import TYPE_CHECKING

import numpy as np

from maskbank.bank.reader import Bank
from maskbank.checks import format_size
from maskbank.errors import RecipeError
from maskbank.recipes import RBN
from maskbank.sampling.selection import Keys, item_of
from maskbank.sampling.windows import Int64s, UInt64s

if TYPE_CHECKING:
    from maskbank.sampling.sampler import MaskSampler


def items_of_sets(sampler: "MaskSampler", ids: UInt64s, keys: Keys) -> tuple[Bank, Int64s]:
    """The bank, and the items of the set that each sample takes: int64 (B, K).

    Raises RecipeError where the sampler's masks of a set would overlap.
    """
    bank = sampler.bank
    recipe = bank.recipe if bank is not None else None
    if bank is None or not isinstance(recipe, RBN):
        raise RecipeError("complementary masks come in the sets of an rbn bank; give one")
    masks = recipe.masks_per_set
    skip = -bank.first % masks
    sets = (len(bank) - skip) // masks
    if sets < 1:
        raise RecipeError(f"the bank holds no whole set of {masks} masks; make at least {masks} items")
    count = sampler.num_visible
    inverted = recipe.placed < recipe.num_visible
    overlap = count < recipe.num_visible if inverted else count > recipe.num_visible
    if sampler.transpose and recipe.size[0] != recipe.size[1]:
        raise RecipeError(
            "transpose=True: transposed masks of a set overlap; complementary takes transpose=False"
        )
    if sampler.grid != recipe.size or overlap or sampler.fit != "crop":
        raise RecipeError(
            f"{count} visible tokens of {format_size(sampler.grid)}, fit={sampler.fit}: masks of a "
            f"set are disjoint where items are cropped to their own grid, {format_size(recipe.size)}, "
            f"from mask_ratio={recipe.mask_ratio:g} {'down' if inverted else 'up'}"
        )
    first = skip + item_of(ids, sets, keys[2:]) * masks
    return bank, first[:, None] + np.arange(masks)
