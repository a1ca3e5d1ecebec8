"""MAE, MAE-ST, AudioMAE, CAV-MAE, MaskSpec: replaces the random masking inside the model.

The models know no sample ids, so ids are drawn from torch's generator (CPU) and the rank. So torch's seed
still decides about masks, and torch.utils.checkpoint gets the same masks when it runs a part again.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch

from maskbank.adapters.common import Adapter, Source, as_sampler
from maskbank.adapters.pytorch import Tensor, drawn_ids
from maskbank.checks import choice, format_size
from maskbank.errors import RecipeError
from maskbank.sampling.counts import FIXED, count_of_axis
from maskbank.sampling.masks import Masks
from maskbank.sampling.sampler import MaskSampler

Order = Literal["time-major", "frequency-major"]


class _Masking(Adapter):
    """Replaces a method of a model. calls: how often the model has called it."""

    methods: ClassVar[tuple[str, ...]]  # the method's names in the models
    calls = 0

    def install(self, model: Any, method: str | None = None) -> str:
        """Put this in place of the model's method. Returns a line that says what it replaced.

        model: the model, also as wrapped by DistributedDataParallel, DataParallel or torch.compile. method:
        the method's name, if it is not the usual one. Raises RecipeError where the model has no such method.
        """
        names = self.methods if method is None else (method,)
        inner = model
        while not (found := [name for name in names if _has(inner, name)]):
            wrapped = getattr(inner, "_modules", {})
            inner = wrapped.get("_orig_mod", wrapped.get("module"))
            if inner is None:
                raise RecipeError(
                    f"{type(model).__name__} has no method {' or '.join(names)}; give the model that has it, "
                    "or its name as method="
                )
        old = getattr(inner, found[0])
        setattr(inner, found[0], self)
        name = getattr(old, "__qualname__", None) or repr(old)
        return f"{type(inner).__name__}.{found[0]} is now {self!r}; it was {name}"

    def _masked(
        self,
        x: Tensor,
        sampler: MaskSampler,
        order: Order,
        kept: tuple[int, ...],
        ratios: tuple[float, float] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x_masked, mask, ids_restore, ids_keep.

        order: how the model flattens the sampler's grid. kept: how many tokens stay, or how many rows and
        columns. ratios: of rows and columns, for a sampler of timefreq.
        """
        drawn = self._draw(sampler, order, len(x), kept, ratios)
        ids_keep, ids_restore = (ids.to(x.device, non_blocking=x.is_cuda) for ids in drawn)
        x_masked = torch.gather(x, 1, ids_keep.unsqueeze(-1).expand(-1, -1, x.shape[2]))
        mask = (ids_restore >= math.prod(kept)).to(torch.get_default_dtype())
        return x_masked, mask, ids_restore, ids_keep

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # compiled models step out of their graph
    def _draw(
        self,
        sampler: MaskSampler,
        order: Order,
        number: int,
        kept: tuple[int, ...],
        ratios: tuple[float, float] | None,
    ) -> tuple[Tensor, Tensor]:
        """ids_keep, ids_restore of `number` samples, on the CPU."""
        self.calls += 1
        ids, count = drawn_ids(number), math.prod(kept)
        if count == math.prod(sampler.grid):
            visible = np.ones((number, count), bool)
        elif sampler.baseline in FIXED:  # which takes no count in a call
            timefreq = sampler.baseline == "timefreq"
            how: dict[str, Any] = {"mask_ratio": ratios} if timefreq else {"num_visible": count}
            visible = sampler.replace(**how)(ids).visible
        else:
            visible = sampler(ids, num_visible=count).visible
        if order == "frequency-major":
            visible = visible.reshape(number, *sampler.grid).swapaxes(1, 2).reshape(number, -1)
        masks = Masks(visible, sampler.grid, count)
        return torch.from_numpy(masks.ids_keep), torch.from_numpy(masks.ids_restore)


class RandomMasking(_Masking):
    """In place of a model's `random_masking`: RandomMasking(sampler).install(model).

    samplers: one for each grid of tokens that the model masks; the number of tokens of x chooses. CAV-MAE
    takes two: RandomMasking(audio, frames, order=("frequency-major", "time-major")), with grids (64, 8) and
    (14, 14). Each may also be a bank, its path or a baseline, with options. order: how the model flattens a
    grid; one for all samplers, or one for each. "time-major": time (of an image: height) varies slowest, as
    in MAE, MAE-ST and AudioMAE. "frequency-major": the grid is (time, frequency), and frequency varies
    slowest, as in the audio of CAV-MAE and MaskSpec. returns: 3 values, or 4 for MAE-ST. options: parameters
    of MaskSampler, for all samplers.

    Raises RecipeError for two samplers of the same number of tokens, and for orders that do not fit.
    """

    methods: ClassVar[tuple[str, ...]] = ("random_masking", "random_masking_unstructured")

    def __init__(
        self,
        *samplers: Source,
        order: Order | Sequence[Order] = "time-major",
        returns: Literal[3, 4] = 3,
        **options: Any,
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
        self.samplers = tuple(as_sampler(source, **options) for source in samplers)
        self._sources: dict[int, tuple[MaskSampler, Order]] = {}
        for sampler, its_order in zip(self.samplers, orders, strict=True):
            if sampler.baseline == "timefreq":
                raise RecipeError("timefreq has two ratios, random_masking one; use TimeFrequencyMasking")
            choice("order", its_order, get_args(Order))
            if its_order == "frequency-major" and len(sampler.grid) != 2:
                grid = format_size(sampler.grid)
                raise RecipeError(f"grid={grid} is not time x frequency; frequency-major needs two axes")
            tokens = math.prod(sampler.grid)
            if tokens in self._sources:
                raise RecipeError(f"two samplers for {tokens} tokens: x cannot choose; give one")
            self._sources[tokens] = sampler, its_order

    def __call__(self, x: Tensor, mask_ratio: float | None = None) -> tuple[Tensor, ...]:
        """x_masked, mask, ids_restore and, where 4 are returned, ids_keep.

        x: (N, L, D), any type and device. mask_ratio: int(L * (1 - mask_ratio)) tokens stay, whatever the
        sampler's own ratio is; at 0 all stay; with None the sampler's own number. x_masked: (N, kept, D) of
        x's type, the visible tokens, ascending; gradients flow through it. mask: (N, L), float32 (torch's
        default type), 1 = removed. ids_restore: int64 (N, L), the permutation that undoes [visible, removed].
        ids_keep: int64 (N, kept). All are on x's device, with tokens in the model's order.

        Raises RecipeError where no sampler's grid has L tokens, where no token would stay, or where a
        per_frame sampler cannot keep the same number in every frame.
        """
        tokens = _tokens(x)
        if tokens not in self._sources:
            known = [f"{format_size(s.grid)} ({math.prod(s.grid)})" for s in self.samplers]
            raise RecipeError(
                f"x has {tokens} tokens; the samplers' grids have others: {', '.join(known)}; "
                f"give a sampler for a grid of {tokens}"
            )
        sampler, order = self._sources[tokens]
        kept = sampler.num_visible if mask_ratio is None else count_of_axis(tokens, mask_ratio)
        return self._masked(x, sampler, order, (kept,))[: self.returns]


class TimeFrequencyMasking(_Masking):
    """In place of AudioMAE's `random_masking_2d`, in pretraining (models_mae) and fine-tuning (models_vit).

    TimeFrequencyMasking(MaskSampler("timefreq", grid=(64, 8), mask_ratio=(t, f))).install(model) masks whole
    rows (time) and columns (frequency), as theirs does. With a sampler of a bank, for example rbn, the same
    number of tokens stays, at the bank's positions. sampler, options: as for RandomMasking.

    Raises RecipeError for a grid that is not (time, frequency).
    """

    methods = ("random_masking_2d",)

    def __init__(self, sampler: Source, **options: Any) -> None:
        self.samplers = (as_sampler(sampler, **options),)
        grid = self.sampler.grid
        if len(grid) != 2:
            raise RecipeError(f"grid={format_size(grid)}: give one of time and frequency, as (64, 8)")

    def __call__(self, x: Tensor, mask_t_prob: float, mask_f_prob: float) -> tuple[Tensor, Tensor, Tensor]:
        """x_masked, mask, ids_restore, as those of RandomMasking, tokens time-major.

        x: (N, T * F, D). int(T * (1 - mask_t_prob)) * int(F * (1 - mask_f_prob)) tokens stay, ascending.
        models_vit's own shuffles them and returns None for mask and ids_restore, which the model never reads.

        Raises RecipeError where x does not have T * F tokens, or where no token would stay.
        """
        tokens = _tokens(x)
        rows, columns = self.sampler.grid
        if tokens != rows * columns:
            raise RecipeError(
                f"x has {tokens} tokens, the sampler's grid {rows}x{columns} has {rows * columns}; "
                f"give a sampler for a grid of {tokens}"
            )
        ratios = mask_t_prob, mask_f_prob
        kept = count_of_axis(rows, mask_t_prob), count_of_axis(columns, mask_f_prob)
        return self._masked(x, self.sampler, "time-major", kept, ratios)[:3]


def _has(module: Any, name: str) -> bool:
    """Whether a method of this name is the module's own; wrappers that forward to it have none."""
    return callable(getattr(type(module), name, None)) or callable(getattr(module, "__dict__", {}).get(name))


def _tokens(x: Tensor) -> int:
    """L of x, (N, L, D), or RecipeError."""
    if x.ndim != 3:
        raise RecipeError(f"x has shape {tuple(x.shape)}; give (samples, tokens, channels)")
    return int(x.shape[1])
