"""Masks made where the model runs, by torch operations alone."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from maskbank.adapters.common import Source, as_sampler
from maskbank.bank.reader import Bank
from maskbank.checks import check_ratio, count_visible, integer
from maskbank.errors import RecipeError
from maskbank.recipes import RBN
from maskbank.sampling.stream import process_rank
from maskbank.sampling.windows import FLIP_HEIGHT, FLIP_TIME, FLIP_WIDTH, TRANSPOSE

MOST_BYTES = 2**28  # of the bank on the device, unless `items` says otherwise
BITS = 31  # of a random word


class TorchMasks(NamedTuple):
    """Masks of B samples over L tokens, tensors on the device.

    visible, masked: bool (B, L). ids_keep: int64 (B, num_visible), ascending. ids_restore: int64 (B, L),
    the permutation that undoes [visible tokens, masked tokens].
    """

    visible: Any
    masked: Any
    ids_keep: Any
    ids_restore: Any


class DeviceMasks(torch.nn.Module):  # type: ignore[misc]  # torch has no types where it is not installed
    """Makes masks in a model's forward: DeviceMasks(sampler, "cuda")(batch_size) gives TorchMasks.

    Replaces the lines of `random_masking` that draw noise and sort it. Grid, count, per_frame, flips and
    windows are the sampler's. Items and windows are drawn from torch's generator of the device: torch's
    seed decides, and the sampler's seed, ids and epochs play no part. Ranks with equal seeds draw
    differently.

    sampler: a MaskSampler; or a bank or its path, with options: the parameters of MaskSampler. If the model
    passes a mask_ratio, as DeviceMasks(...)(batch_size, mask_ratio), int(L * (1 - mask_ratio)) tokens are
    visible. device: a torch device.

    items: how many items of the bank are kept on the device, its first ones. By default, as many as fit
    into 256 MiB. `nbytes` is the number of bytes they take. Floats are kept as 256 equally likely levels: a
    mask of the same window differs from the sampler's only among values of one level. uint8 is kept as it
    is; ranks of rbn whole, as int16 (int32 beyond 32,768 positions). rank: that of torch.distributed, where
    its group is initialised; else $RANK; else 0.

    Nothing waits for the device and all shapes are static: it works in torch.compile(fullgraph=True)
    and under autocast. The items move with the model. They are not in its state_dict, and no buffer, because
    DistributedDataParallel would broadcast a buffer in each step. Raises RecipeError for baselines,
    fit="resize" and normalize="frame".
    """

    def __init__(
        self,
        sampler: Source,
        device: Any,
        *,
        items: int | None = None,
        rank: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.sampler = s = as_sampler(sampler, **options)
        bank = s.bank
        if bank is None:
            raise RecipeError(f"the baseline {s.baseline} has no items to keep on a device; give a bank")
        if s.fit != "crop" or s.normalize == "frame":
            given = "fit='resize'" if s.fit != "crop" else "normalize='frame'"
            raise RecipeError(f"{given} is not made on devices; use fit='crop' without it, or the sampler")
        self._shift = process_rank(rank) * 0x9E3779B1 % 2**BITS
        count = min(len(bank), MOST_BYTES // (math.prod(bank.recipe.size) * _type(bank).itemsize))
        self.items = count if items is None else integer("items", items, 1, len(bank))
        self._noise = torch.from_numpy(_compact(bank, self.items)).to(device)

    @property
    def nbytes(self) -> int:
        """Bytes of the bank on the device."""
        return int(self._noise.nbytes)

    def forward(self, batch_size: int, mask_ratio: float | None = None, **given: Any) -> TorchMasks:
        """Masks of so many samples. mask_ratio: int(L * (1 - mask_ratio)) tokens are visible; None for as
        many as the sampler has. For K views of each sample, ask for batch_size * K masks.

        Raises RecipeError where that number cannot be the same in every frame of a per_frame sampler, and
        for what a sampler's call takes besides: shapes would depend on data.
        """
        if isinstance(mask_ratio, list | tuple | np.ndarray | torch.Tensor):
            given["mask_ratio"] = mask_ratio
        if given:
            names = ", ".join(f"{name}=" for name in given)
            raise RecipeError(
                f"DeviceMasks takes no {names} of samples, only one mask_ratio for all; ask the sampler: "
                f"sampler(ids, {names}...)"
            )
        s, device = self.sampler, self._noise.device
        frames = s.num_visible // s.segment_count
        total = s.num_visible
        if mask_ratio is not None:
            total = count_visible(math.prod(s.grid), check_ratio(mask_ratio))
        if total % frames:
            raise RecipeError(
                f"mask_ratio={mask_ratio} leaves {total} tokens, which {frames} frames cannot share evenly"
            )
        words = torch.randint(2**BITS, (5, batch_size), device=device)
        item, *starts, last = ((words + self._shift) % 2**BITS).unbind()
        n = math.prod(s.cut.window) // s.segments
        values = self._windows(item * self.items >> BITS, starts, last).reshape(batch_size, s.segments, n)
        # in a segment no two are equal: equal values are ordered cyclically, from a random position on
        position = torch.arange(n, device=device)
        begin = (last >> 4) * n >> (BITS - 4)
        ordered = values * n + (position + begin[:, None, None]) % n
        largest = ordered.topk(total // frames, sorted=False)
        visible = ordered >= largest.values.amin(-1, keepdim=True)
        kept = largest.indices.sort(-1).values
        ids_keep = kept + torch.arange(frames, device=device)[:, None] * n
        visible = visible.expand(-1, frames, -1).flatten(1)
        masked = ~visible
        restore = torch.where(visible, visible.cumsum(-1), total + masked.cumsum(-1)) - 1
        return TorchMasks(visible, masked, ids_keep.flatten(1), restore)

    def _windows(self, item: Any, starts: list[Any], last: Any) -> Any:
        """Windows of items, int64 (B, t, h, w); what is drawn: int64 (B,), below 2**31."""
        cut = self.sampler.cut
        _, height, width = cut.size
        on = last & cut.flips
        flipped = [(on & bit) != 0 for bit in (FLIP_TIME, FLIP_HEIGHT, FLIP_WIDTH)]

        def offsets(axis: int, n: int) -> Any:
            first = starts[axis] * cut.starts(axis, n) >> BITS
            along = torch.arange(n, device=item.device)
            along = torch.where(flipped[axis][:, None], n - 1 - along, along)
            return (first[:, None] + along) % cut.size[axis] * (height * width, width, 1)[axis]

        t, h, w = cut.window
        ts, ys, xs = offsets(0, t), offsets(1, h), offsets(2, w)
        if cut.flips & TRANSPOSE:  # rows of the window then go along the width of the item
            transposed = ((on & TRANSPOSE) != 0)[:, None]
            ys, xs = torch.where(transposed, offsets(2, h), ys), torch.where(transposed, offsets(1, w), xs)
        start = (item * math.prod(cut.size))[:, None]
        where = (start + ts)[:, :, None, None] + ys[:, None, :, None] + xs[:, None, None, :]
        return self._noise.view(-1)[where].long()

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> "DeviceMasks":
        """Go where the model goes; keep the numbers, whatever fn does to those of others."""
        super()._apply(fn, recurse)
        device = fn(self._noise.new_empty(0)).device
        if device.type != "meta":
            self._noise = self._noise.to(device)
        return self

    def extra_repr(self) -> str:
        """What `repr` says of it."""
        held = f"{self.items:,} items, {self.nbytes:,} bytes on {self._noise.device}"
        return f"{held} of {self.sampler!r}"


def _type(bank: Bank) -> np.dtype[Any]:
    """What items are kept as."""
    if isinstance(bank.recipe, RBN):
        return np.dtype(np.int16 if math.prod(bank.recipe.size) <= 2**15 else np.int32)
    return np.dtype(np.uint8)


def _compact(bank: Bank, items: int) -> npt.NDArray[Any]:
    """The first items of a bank, in the type that they are kept in: (items, voxels)."""
    if bank.dtype.kind == "u":
        return bank[:items].reshape(items, -1).astype(_type(bank))
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    borders = [NormalDist().inv_cdf(part / 256) for part in range(1, 256)]
    with np.errstate(invalid="ignore"):  # some of these halves are no numbers; banks hold none
        level = np.searchsorted(borders, halves, side="right").astype(np.uint8)
    kept = np.empty((items, math.prod(bank.recipe.size)), np.uint8)
    for target, item in zip(kept, bank, strict=False):
        target[:] = level[item.astype(np.float16, copy=False).view(np.uint16).reshape(-1)]
    return kept
