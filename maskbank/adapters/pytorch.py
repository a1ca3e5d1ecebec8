"""PyTorch: a dataset whose samples come with their masks, and masks as lists of indices."""

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, IterableDataset

from maskbank.adapters.common import Source, as_sampler
from maskbank.checks import choice, integer
from maskbank.errors import RecipeError
from maskbank.sampling.masks import Masks
from maskbank.sampling.stream import first_id, process_rank

Tensor = Any  # torch's, which type checkers need not have
Output = Literal["masked", "visible", "ids_keep", "ids_restore"]
OUTPUTS = get_args(Output)


class MaskedDataset(Dataset):  # type: ignore[misc]  # torch has no types where it is not installed
    """A map-style dataset that returns each sample with its mask.

    Replaces `DataLoader(dataset, ...)` by `DataLoader(MaskedDataset(dataset, sampler), ...)`.

    Item i is (dataset[i], mask): the mask of sample id i, a tensor that shares memory with NumPy's array.
    output: "masked" or "visible", bool (L,); "ids_keep", int64 (num_visible,); "ids_restore", int64 (L,);
    or a tuple of these names, for (dataset[i], one, another, ...). The default collate makes them (B, ...).
    view: 0 to 2**32 - 1; each view gives another mask of the same sample. sampler: a MaskSampler; or a bank,
    its path or a baseline, with options: the parameters of MaskSampler.

    Ids are indices of `dataset`. So a run that goes on with other batches, workers or ranks has the same
    masks. Raises RecipeError for a dataset without indices.
    """

    def __init__(
        self,
        dataset: Any,
        sampler: Source,
        output: Output | tuple[Output, ...] = "masked",
        view: int = 0,
        **options: Any,
    ) -> None:
        if isinstance(dataset, IterableDataset) or not all(
            hasattr(dataset, name) for name in ("__getitem__", "__len__")
        ):
            raise RecipeError(
                f"{type(dataset).__name__} has no indices to be the samples' ids (map-style datasets do: "
                "dataset[i], len(dataset)); where samples come as a stream, take masks from sampler.stream()"
            )
        self.dataset, self.sampler = dataset, as_sampler(sampler, **options)
        self.outputs: tuple[Output, ...] = (output,) if isinstance(output, str) else tuple(output)
        for name in self.outputs:
            choice("output", name, OUTPUTS)
        self.view = integer("view", view, 0, 2**32 - 1)
        self._epoch = torch.zeros((), dtype=torch.int64, device="cpu").share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Take the masks of this epoch from now on, in all workers, also in persistent ones.

        epoch: 0 to 2**32 - 1. Call it before iterating over a loader, as that of DistributedSampler.
        """
        self._epoch.fill_(integer("epoch", epoch, 0, 2**32 - 1))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        number = self._id(index)
        return (self.dataset[index], *self._masks(number))

    def __getitems__(self, indices: list[int]) -> list[tuple[Any, ...]]:
        """The same for many indices. torch's loader calls this, so a batch takes one call of the sampler."""
        numbers = [self._id(index) for index in indices]
        several = getattr(self.dataset, "__getitems__", None)
        samples = several(indices) if several else [self.dataset[index] for index in indices]
        return list(zip(samples, *self._masks(numbers), strict=True))

    def __repr__(self) -> str:
        return f"<MaskedDataset: {len(self):,} samples, {', '.join(self.outputs)} of {self.sampler!r}>"

    def _id(self, index: Any) -> int:
        number, count = integer("index", index, -(2**63), 2**63 - 1), len(self)
        if not -count <= number < count:
            raise IndexError(f"index {number} is out of range: the dataset has {count:,} samples")
        return number % count

    def _masks(self, ids: int | list[int]) -> list[Any]:
        masks = self.sampler(ids, epoch=int(self._epoch), view=self.view)
        return [torch.from_numpy(getattr(masks, name)) for name in self.outputs]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._epoch.share_memory_()  # a deep copy is not shared yet; a worker's copy is


def indices(masks: Masks, num_prefix: int = 0, device: Any = None) -> tuple[Any, Any]:
    """Lists of the indices of visible and of masked tokens, ascending, for models that take such lists.

    int64 (B, num_prefix + visible) and (B, masked). num_prefix: number of class and register tokens, which
    come before the grid's tokens and are always visible; 1 for lightly's random_token_mask. device: a torch
    device; None for the CPU.

    Raises RecipeError where samples have different numbers of visible or of masked tokens.
    """
    integer("num_prefix", num_prefix, 0, 2**16)
    lists = []
    for name in ("visible", "masked"):
        here: npt.NDArray[np.bool_] = getattr(masks, name)
        counts = np.unique(here.sum(-1))
        if len(counts) > 1:
            raise RecipeError(
                f"samples have {counts[0]} to {counts[-1]} {name} tokens; lists of indices need the same "
                "number in each: give num_visible= and as many valid tokens, or take masks.masked"
            )
        lists.append(here.nonzero()[-1].reshape(*here.shape[:-1], counts[0] if counts.size else 0))
    prefix = np.broadcast_to(np.arange(num_prefix), (*lists[0].shape[:-1], num_prefix))
    kept = np.concatenate([prefix, lists[0] + num_prefix], -1)
    return torch.from_numpy(kept).to(device), torch.from_numpy(lists[1] + num_prefix).to(device)


def drawn_ids(count: int) -> npt.NDArray[np.int64]:
    """`count` consecutive ids. The first depends on torch's generator (CPU) and the rank."""
    drawn = int(torch.randint(2**62, (), dtype=torch.int64, device="cpu"))
    first = first_id(drawn, process_rank(), 0, 0)
    return np.arange(first, first + count)
