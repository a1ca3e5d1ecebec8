"""V-JEPA and V-JEPA 2: collators in place of theirs.

Replace `mask_collator = MaskCollator(cfgs_mask=..., ...)` in app/vjepa/train.py. Give one sampler for each
entry of cfgs_mask: the predictor has as many mask tokens. The grid is (frames // tubelet_size, height //
patch_size, width // patch_size).
"""

import multiprocessing
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import default_collate

from maskbank.adapters.common import Adapter, Source, as_sampler
from maskbank.adapters.pytorch import indices
from maskbank.checks import format_size
from maskbank.errors import RecipeError
from maskbank.sampling.sampler import MaskSampler
from maskbank.sampling.stream import process_rank

Samplers = Source | Sequence[Source]
Collated = tuple[Any, list[Any], list[Any]]


class Steps(Adapter):
    """Counts calls, in all worker processes together, from 0."""

    def __init__(self, rank: int | None, samplers: int) -> None:
        self.rank = process_rank(rank)
        self.first_view = self.rank * samplers
        # made for spawn, it goes to workers of every start method
        self._counter = multiprocessing.get_context("spawn").Value("q", -1)

    def step(self) -> int:
        """Skip the masks of one call, for a run that goes on. Returns the number of that call."""
        with self._counter.get_lock():
            self._counter.value += 1
            return int(self._counter.value)

    def _collate(
        self, batch: list[Any], samplers: tuple[MaskSampler, ...], place: int, step: int
    ) -> Collated:
        """A batch and its masks. place: the first sampler's place among all samplers."""
        ids, views = np.arange(len(batch)), enumerate(samplers, self.first_view + place)
        lists = [indices(sampler(ids, epoch=step, view=view)) for view, sampler in views]
        return default_collate(batch), [kept for kept, _ in lists], [hidden for _, hidden in lists]


class MaskCollator(Steps):
    """In place of V-JEPA's MaskCollator: MaskCollator([sampler, another]), or with one sampler alone.

    Called with a list of B samples, it gives (batch, masks_enc, masks_pred). The batch is made by
    default_collate. The others are lists with a tensor for each sampler: int64 (B, num_visible), the tokens
    that the encoder sees, and int64 (B, L - num_visible), all other tokens, to predict; both ascending.

    Masks are a function of the samplers, the rank and the number of the call. All workers count calls
    together, and their timing decides which batch gets which number, as in V-JEPA. rank: None for that of
    torch.distributed, so make the collator after its group is initialised; else $RANK; else 0. A sampler may
    also be a bank, its path or a baseline, with options: the parameters of MaskSampler, for all.
    """

    def __init__(self, samplers: Samplers, *, rank: int | None = None, **options: Any) -> None:
        self.samplers = _checked(samplers, options)
        super().__init__(rank, len(self.samplers))

    def __call__(self, batch: list[Any]) -> Collated:
        """(batch, masks_enc, masks_pred) of a list of samples."""
        return self._collate(batch, self.samplers, 0, self.step())


class MultiMaskCollator(Steps):
    """In place of V-JEPA 2's MaskCollator: MultiMaskCollator({16: samplers, 64: others}), by frames per clip.

    It is called with a list of samples (buffer, label, clip_indices). The length of clip_indices[-1] is a
    clip's number of frames. It gives a list of (batch, masks_enc, masks_pred), each as from `MaskCollator`,
    for each number of frames that the samples have, in the order of the mapping. Other parameters are those
    of MaskCollator.
    """

    def __init__(self, samplers: Mapping[int, Samplers], *, rank: int | None = None, **options: Any) -> None:
        if not isinstance(samplers, Mapping) or not samplers:
            raise RecipeError("samplers: give them by frames per clip, as {16: [sampler], 64: [another]}")
        self.groups = {frames: _checked(several, options) for frames, several in samplers.items()}
        self.samplers = tuple(sampler for several in self.groups.values() for sampler in several)
        super().__init__(rank, len(self.samplers))

    def __call__(self, batch: list[Any]) -> list[Collated]:
        """(batch, masks_enc, masks_pred) for each number of frames that the samples have."""
        step, place, collated = self.step(), 0, []
        groups: dict[int, list[Any]] = {frames: [] for frames in self.groups}
        for sample in batch:
            frames = len(sample[-1][-1])
            if frames not in groups:
                known = ", ".join(map(str, groups))
                raise RecipeError(f"a clip has {frames} frames; there are samplers for {known}: add some")
            groups[frames].append(sample)
        for frames, samplers in self.groups.items():
            if groups[frames]:
                collated.append(self._collate(groups[frames], samplers, place, step))
            place += len(samplers)
        return collated


def _checked(samplers: Any, options: dict[str, Any]) -> tuple[MaskSampler, ...]:
    several = isinstance(samplers, Sequence) and not isinstance(samplers, str)
    given = tuple(samplers) if several else (samplers,)
    checked = tuple(as_sampler(source, **options) for source in given)
    if not checked:
        raise RecipeError("samplers is empty; give one for each entry of cfgs_mask")
    grids = dict.fromkeys(format_size(sampler.grid) for sampler in checked)
    if len(grids) > 1:
        different = " and ".join(grids)
        raise RecipeError(f"samplers of one collator have the grids {different}; a clip has one: give that")
    return checked
