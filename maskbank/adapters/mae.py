"""MAE, MAE-ST, AudioMAE, CAV-MAE, MaskSpec: what replaces their random masking inside the model.

The models know no sample ids, so masks come from a stream: others in every process and rank, not
resumable, and not torch's random numbers: neither its seed nor torch.utils.checkpoint repeats them.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from maskbank.checks import check_ratio, choice, count_visible, format_size
from maskbank.errors import RecipeError
from maskbank.sampling.masks import Masks
from maskbank.sampling.sampler import MaskSampler
from maskbank.sampling.stream import MaskStream

Tensor = Any  # torch's, which type checkers need not have


class RandomMasking:
    """In place of a model's `random_masking`: model.random_masking = RandomMasking(sampler).

    samplers: one for each grid of tokens the model masks; x's number of tokens tells which. CAV-MAE takes
    two: model.random_masking_unstructured = RandomMasking(audio, frames, order=("frequency-major",
    "time-major")), with grids (64, 8) and (14, 14). order: how the model flattens a grid; one for all
    samplers, or one for each. "time-major": as the grid stands, time (of an image: height) slowest, as in
    MAE, MAE-ST and AudioMAE. "frequency-major": the grid is (time, frequency) and the model has frequency
    slowest, as CAV-MAE's and MaskSpec's audio. returns: 3 values, or 4 as MAE-ST's.

    Raises RecipeError for samplers that token counts cannot tell apart and orders that do not fit.
    """

    def __init__(
        self, *samplers: MaskSampler, order: str | Sequence[str] = "time-major", returns: int = 3
    ) -> None:
        orders = (order,) * len(samplers) if isinstance(order, str) else tuple(order)
        if not samplers or len(orders) != len(samplers):
            raise RecipeError(
                f"{len(samplers)} samplers and {len(orders)} orders: give one sampler for each grid, and one "
                "order for all or for each"
            )
        if returns not in (3, 4):
            raise RecipeError(f"returns={returns!r}: give 3, or 4 for MAE-ST, which wants ids_keep too")
        self.returns = returns
        self._sources: dict[int, _Source] = {}
        for sampler, its_order in zip(samplers, orders, strict=True):
            if sampler.baseline == "timefreq":
                raise RecipeError("timefreq has two ratios, random_masking one; use TimeFrequencyMasking")
            source = _Source(sampler, its_order)
            if source.tokens in self._sources:
                raise RecipeError(f"two samplers for {source.tokens} tokens: x cannot tell which; give one")
            self._sources[source.tokens] = source

    def __call__(self, x: Tensor, mask_ratio: float) -> tuple[Tensor, ...]:
        """x_masked, mask, ids_restore and, where 4 are returned, ids_keep.

        x: (N, L, D), any type and device. mask_ratio: int(L * (1 - mask_ratio)) tokens stay, whatever the
        sampler's own ratio; at 0 all do. x_masked: (N, kept, D) of x's type, the visible tokens, ascending;
        gradients flow through it. mask: (N, L), float32 (torch's default type), 1 = removed. ids_restore:
        int64 (N, L), the permutation that undoes [visible, removed]. ids_keep: int64 (N, kept). All on x's
        device, tokens in the model's order.

        Raises RecipeError where no sampler's grid has L tokens, where nothing would stay, or where the
        number of those that stay cannot be the same in every frame of a per_frame sampler.
        """
        tokens = _tokens(x)
        if tokens not in self._sources:
            known = [f"{format_size(s.sampler.grid)} ({s.tokens})" for s in self._sources.values()]
            raise RecipeError(
                f"x has {tokens} tokens; the samplers' grids have others: {', '.join(known)}; "
                f"give a sampler for a grid of {tokens}"
            )
        return _masked(x, self._sources[tokens], (_kept(tokens, mask_ratio),))[: self.returns]


class TimeFrequencyMasking:
    """In place of AudioMAE's `random_masking_2d`, of pretraining (models_mae) and finetuning (models_vit).

    model.random_masking_2d = TimeFrequencyMasking(MaskSampler("timefreq", grid=(64, 8), mask_ratio=(t, f)))
    masks whole rows (time) and columns (frequency), as theirs does. With a sampler of a bank, rbn for one,
    as many tokens stay, wherever the bank puts them.

    Raises RecipeError for a grid that is not (time, frequency).
    """

    def __init__(self, sampler: MaskSampler) -> None:
        if len(sampler.grid) != 2:
            raise RecipeError(f"grid={format_size(sampler.grid)}: give one of time and frequency, as (64, 8)")
        self._source = _Source(sampler, "time-major")

    def __call__(self, x: Tensor, mask_t_prob: float, mask_f_prob: float) -> tuple[Tensor, Tensor, Tensor]:
        """x_masked, mask, ids_restore, as RandomMasking has them, tokens time-major.

        x: (N, T * F, D). int(T * (1 - mask_t_prob)) * int(F * (1 - mask_f_prob)) tokens stay, ascending;
        models_vit shuffles them and returns None for mask and ids_restore, which it never reads.

        Raises RecipeError where x has other than T * F tokens, or where nothing would stay.
        """
        tokens = _tokens(x)
        rows, columns = self._source.sampler.grid
        if tokens != rows * columns:
            raise RecipeError(
                f"x has {tokens} tokens, the sampler's grid {rows}x{columns} has {rows * columns}; "
                f"give a sampler for a grid of {tokens}"
            )
        kept = _kept(rows, mask_t_prob), _kept(columns, mask_f_prob)
        x_masked, mask, ids_restore, _ = _masked(x, self._source, kept, (mask_t_prob, mask_f_prob))
        return x_masked, mask, ids_restore


class _Source:
    """Masks of a sampler's grid, of any count, in the model's order of tokens."""

    def __init__(self, sampler: MaskSampler, order: str) -> None:
        choice("order", order, ("time-major", "frequency-major"))
        self.sampler = sampler
        self.tokens = math.prod(sampler.grid)
        self._transposed = order == "frequency-major"
        self._streams: dict[tuple[int, ...], MaskStream] = {}
        if self._transposed and len(sampler.grid) != 2:
            raise RecipeError(
                f"grid={format_size(sampler.grid)} is not time x frequency; frequency-major needs two axes"
            )

    def take(self, number: int, kept: tuple[int, ...], ratios: tuple[float, float] | None = None) -> Masks:
        """Masks of `number` samples. kept: visible tokens, or visible rows and columns of these ratios."""
        count, grid = math.prod(kept), self.sampler.grid
        if count == self.tokens:
            visible = np.ones((number, count), bool)
        else:
            if kept not in self._streams:
                self._streams[kept] = self._with(count, ratios).stream()
            visible = self._streams[kept].take(number).visible
        if self._transposed:
            visible = visible.reshape(number, *grid).swapaxes(1, 2).reshape(number, -1)
            grid = grid[::-1]
        return Masks(visible, grid, count)

    def _with(self, count: int, ratios: tuple[float, float] | None) -> MaskSampler:
        if self.sampler.baseline == "timefreq" and ratios is not None:
            return self.sampler.replace(mask_ratio=ratios)
        return self.sampler if count == self.sampler.num_visible else self.sampler.replace(num_visible=count)


def _tokens(x: Tensor) -> int:
    """L of x, (N, L, D), or RecipeError."""
    if x.ndim != 3:
        raise RecipeError(f"x has shape {tuple(x.shape)}; give (samples, tokens, channels)")
    return int(x.shape[1])


def _kept(tokens: int, ratio: float) -> int:
    """How many tokens stay, counted as the peers do; all of them at 0, which is how they encode."""
    return tokens if ratio == 0 else count_visible(tokens, check_ratio(ratio))


def _ids(
    source: _Source, number: int, kept: tuple[int, ...], ratios: tuple[float, float] | None
) -> tuple[Tensor, Tensor]:
    """ids_keep, ids_restore, on the CPU."""
    masks = source.take(number, kept, ratios)
    return torch.from_numpy(masks.ids_keep), torch.from_numpy(masks.ids_restore)


_draw = torch.compiler.disable(_ids)  # compiled models step out of their graph for it


def _masked(
    x: Tensor, source: _Source, kept: tuple[int, ...], ratios: tuple[float, float] | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x_masked, mask, ids_restore, ids_keep."""
    drawn = _draw(source, len(x), kept, ratios)
    ids_keep, ids_restore = (ids.to(x.device, non_blocking=x.is_cuda) for ids in drawn)
    x_masked = torch.gather(x, 1, ids_keep.unsqueeze(-1).expand(-1, -1, x.shape[2]))
    mask = (ids_restore >= math.prod(kept)).to(torch.get_default_dtype())
    return x_masked, mask, ids_restore, ids_keep
