"""Audit the masks that a training loop gets: find what goes wrong in practice, in the batches themselves."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.analysis import findings
from maskbank.analysis.findings import Bools, Finding, Int64s
from maskbank.analysis.measures import MASKS, MOST_TOKENS, Measure, compare
from maskbank.checks import check_grid, check_ratio, choice, format_size, integer
from maskbank.errors import RecipeError
from maskbank.sampling.masks import Masks

BATCHES = 200
ENOUGH = 64  # different masks, the least to judge positions
MOST_BYTES = 2**25  # of masks whose positions are judged

Array = npt.NDArray[Any]
Place = tuple[Any, ...]  # the indices and keys that lead to an array in a batch
Leaves = dict[Place, Any]


@dataclass(frozen=True)
class AuditReport:
    """What `audit` found; printed, it is a page. Fields are items, too: report["ok"].

    batches, masks, different: how many were read, and how many of the masks are different.
    num_visible: the median. ones: "masked" or "visible", what fits the counts. place: where in a batch the
    masks are. not_looked_at: {check: why}. measures: as `compare` measures them.
    """

    grid: list[int]
    batches: int
    masks: int
    different: int
    num_visible: int
    ones: str
    place: str
    findings: list[Finding]
    not_looked_at: dict[str, str]
    measures: dict[str, Measure]

    @property
    def ok(self) -> bool:
        """Whether all checks passed."""
        return all(one.ok for one in self.findings)

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __str__(self) -> str:
        grid = format_size(tuple(self.grid))
        lines = [f"{self.masks:,} masks of {grid} in {self.batches:,} batches; found in {self.place}"]
        for one in self.findings:
            mark = "ALARM" if not one.ok else "note" if one.remedy else "ok"
            lines.append(f"{mark:<6}{one.name:<11}{one.says}")
            if one.remedy:
                lines.append(f"{'':<17}-> {one.remedy}")
        lines += [f"-     {name:<11}not looked at: {why}" for name, why in self.not_looked_at.items()]
        alarms, checks = sum(not one.ok for one in self.findings), len(self.findings)
        lines.append(f"{alarms} of {checks} checks failed" if alarms else f"{checks} checks, nothing wrong")
        return "\n".join(lines)


def audit(
    loader: Iterable[Any],
    grid: tuple[int, ...] | str,
    *,
    batches: int = BATCHES,
    epochs: int = 2,
    mask: int | str | Callable[[Any], Any] | None = None,
    ones: str | None = None,
    mask_ratio: float | None = None,
    structured: bool | None = None,
    ranks: Sequence[Iterable[Any]] = (),
) -> AuditReport:
    """Check the masks that a loader gives, whatever makes them, and report what is wrong with them.

    loader: anything to iterate over: a DataLoader, a list, a generator (only one epoch of it is seen).
    grid: the tokens, (T, H, W), (H, W) or (L,). batches: the most that is read in each epoch. epochs: how
    many; set_epoch of the loader, its sampler, dataset or collate_fn is called where it exists.
    mask: where in a batch the masks are: an index, a key, or a function of the batch; None: they are
    searched. They are arrays or tensors (B, L) or (B, *grid) of bools or of 0 and 1, int64 (B, K) lists of
    tokens, or Masks. ones: what 1, True or a listed token means to the model, "masked" or "visible"; None:
    what fits. mask_ratio: the share that should be masked; None: more than one half. structured: whether
    masks should differ from random ones; None: both are right. ranks: the loaders of other ranks, made here.

    Raises RecipeError for what cannot be understood.
    """
    grid = check_grid(grid)
    batches, epochs = integer("batches", batches, 1), integer("epochs", epochs, 1)
    if ones is not None:
        choice("ones", ones, ("masked", "visible"))
    ratio = 1.0 if mask_ratio is None else check_ratio(mask_ratio)
    if isinstance(ranks, str | Mapping) or not isinstance(ranks, Sequence):
        raise RecipeError(f"ranks={ranks!r}: give a list of the loaders of other ranks")
    if structured not in (None, True, False):
        raise RecipeError(f"structured={structured!r}: give True, False, or None where both are right")
    find, tokens = _Finder(grid, mask), math.prod(grid)
    counts: list[Int64s] = []
    seen: dict[bytes, int] = {}  # every different mask, packed: its number

    def read(source: Any, epoch: int) -> list[Int64s]:
        """The masks of one epoch: for each batch their numbers, equal for equal masks."""
        if isinstance(source, str | bytes | Mapping) or not getattr(source, "__iter__", None):
            raise RecipeError(
                f"{type(source).__name__} gives no batches; give a DataLoader, or a list of them"
            )
        _set_epoch(source, epoch)
        numbers = []
        for i, batch in enumerate(itertools.islice(source, batches)):
            if len(rows := find(batch, i)):
                counts.append(rows.sum(1))
                packed = [row.tobytes() for row in np.packbits(rows, axis=1)]
                numbers.append(np.array([seen.setdefault(row, len(seen)) for row in packed]))
        return numbers

    first, owners = read(loader, 0), _set_epoch(loader, 0)
    if not first:
        raise RecipeError("the loader gave no masks; give one that has some, and a generator only once")
    others = [read(other, 0) for other in ranks]
    if not all(others):
        raise RecipeError("a loader of ranks gave no batch; give one that has some")
    once = isinstance(loader, list | tuple | np.ndarray | Iterator)
    later = [read(loader, epoch) for epoch in range(1, 1 if once else epochs)]

    share = float(np.concatenate(counts).mean() / tokens)
    # Masks are known to mean "visible"; else what fits the ratio
    ones_masked = find.means is None and abs(share - ratio) <= abs(share - (1 - ratio))
    counts = [tokens - each if ones_masked else each for each in counts]
    visible = int(np.median(np.concatenate(counts)))
    found = [
        findings.counts_differ(counts),
        findings.polarity(share, ones_masked, ones or find.means, mask_ratio),
    ]
    reason = "can be read only once, or is the same in every epoch; give what it is made from"
    missing = {
        "epochs": f"a {type(loader).__name__} {reason}" if once else "epochs=1",
        "ranks": "give their loaders, made here with rank=1, ..., as ranks=[...]",
        "positions": f"{len(seen):,} different masks are too few; raise batches",
        "structure": "there is only one mask, or no token has a neighbour",
    }
    measures: dict[str, Measure] = {}
    if 0 < visible < tokens:
        packed = np.frombuffer(b"".join(list(seen)[: max(ENOUGH, MOST_BYTES // tokens)]), np.uint8)
        many = np.unpackbits(packed.reshape(-1, -(-tokens // 8)), axis=1, count=tokens).astype(bool)
        many = many.reshape(-1, *grid) ^ ones_masked
        masks = many[: max(8, min(MASKS, MOST_TOKENS // tokens))]
        choices = findings.possible(masks, visible)
        found += [findings.order(masks), findings.repeats(first, choices), findings.workers(first)]
        if later:
            what = "later epochs were there in earlier ones"
            what += f"; set_epoch of {' and '.join(owners)} was called, as training must" if owners else ""
            remedy = "let masks depend on the epoch, by set_epoch(epoch)"
            found.append(findings.shared("epochs", first, later, choices, what, remedy))
        if others:
            what = f"{len(others) + 1} ranks were there in another rank"
            remedy = "take masks by the sample's id, or let the seed depend on the rank"
            found.append(findings.shared("ranks", first, others, choices, what, remedy))
        if len(many) >= ENOUGH and len(many) * min(visible, tokens - visible) >= 10 * tokens:
            found.append(findings.positions(many))
        measures = compare(masks, visible) if len(masks) > 1 else {}
        if "time" in measures or "space" in measures:
            found.append(findings.unlike_random(masks, measures, structured))
    else:
        missing = dict.fromkeys(missing, "nothing is masked in part")
    missing = {name: why for name, why in missing.items() if name not in {one.name for one in found}}
    means, total = "masked" if ones_masked else "visible", sum(map(len, counts))
    where = (find.says, found, missing, measures)
    return AuditReport(list(grid), len(counts), total, len(seen), visible, means, *where)


def _set_epoch(loader: Any, epoch: int) -> list[str]:
    """Call every set_epoch of a loader and of its parts. Returns the names of those that have one."""
    parts = ("dataset", "sampler", "batch_sampler", "collate_fn")
    owners = {"loader": loader} | {name: getattr(loader, name, None) for name in parts}
    called = [name for name, owner in owners.items() if callable(getattr(owner, "set_epoch", None))]
    for name in called:
        owners[name].set_epoch(epoch)
    return called


class _Finder:
    """Finds the masks in a batch: finder(batch, number) is bool (B, L), True for ones or listed tokens.

    mask: as of `audit`. means: "visible" where that is known. says: where the masks are, in words.
    """

    def __init__(self, grid: tuple[int, ...], mask: Any) -> None:
        if isinstance(mask, bool) or not (mask is None or callable(mask) or isinstance(mask, int | str)):
            raise RecipeError(f"mask={mask!r}: give the masks' index or key in a batch, or a function of it")
        self.grid, self.tokens, self.mask = grid, math.prod(grid), mask
        self.means: str | None = None
        self.says = "mask(batch)" if callable(mask) else "batch"
        self._place: Place | None = None

    def __call__(self, batch: Any, number: int) -> Bools:
        """The masks of a batch."""
        leaves = dict(_leaves(self.mask(batch) if callable(self.mask) else batch))
        if self._place is None:
            self._place = self._search(leaves)
            self.says += _path(self._place)
        rows = self._rows(leaves.get(self._place))
        if rows is None:
            raise self._refusal(f"batch {number} has no masks at {self.says}, as batch 0 has", leaves)
        return rows

    def _search(self, leaves: Leaves) -> Place:
        """Where the masks are in the first batch, or in the part of it that `mask` names."""
        start = () if self.mask is None or callable(self.mask) else (self.mask,)
        own = {place: each for place, each in leaves.items() if place[: len(start)] == start}
        if start and not own:
            raise self._refusal(f"batch 0 has no {_path(start)}", leaves)
        strict = self.mask is None
        masks = {p: rows for p, each in own.items() if (rows := self._rows(each, strict)) is not None}
        dense = [place for place in masks if self._fits(_array(own[place]))]
        varied = [place for place in dense if masks[place].any() and not masks[place].all()]  # no padding
        places = varied or dense or list(masks)
        if not places:
            raise self._refusal("no masks were found", own)
        if len(places) > 1:
            what = f"{len(places)} things look like masks of {format_size(self.grid)}"
            names = ", ".join(map(_path, places[:6]))
            raise RecipeError(f"{what}: {names}; say with mask= which (an index, a key or a function)")
        return places[0]

    def _fits(self, array: Array) -> bool:
        return bool({array.shape, array.shape[1:]} & {(self.tokens,), self.grid})

    def _rows(self, given: Any, strict: bool = False) -> Bools | None:
        """The masks as bool (B, L), or None if these are none; strict: nor what may be something else."""
        array, tokens = _array(given), self.tokens
        if isinstance(given, Masks):
            self.means = "visible"
            return array.reshape(-1, tokens) if given.grid == self.grid else None
        if self._fits(array):
            fine = array.dtype.kind in "biuf" and bool(((array == 0) | (array == 1)).all())
            return array.reshape(-1, tokens).astype(bool) if fine else None
        if array.dtype.kind not in "iu" or array.ndim != 2 or not strict < array.shape[1] < tokens:
            return None
        if array.size and (array.min() < 0 or array.max() >= tokens):
            return None
        rows = np.zeros((len(array), tokens), bool)
        np.put_along_axis(rows, array.astype(np.int64), True, 1)
        return rows if (rows.sum(1) == array.shape[1]).all() else None  # no token twice

    def _refusal(self, what: str, leaves: Leaves) -> RecipeError:
        there = []
        for place, array in [(place, _array(each)) for place, each in leaves.items()][:6]:
            text = f"{array.dtype} {array.shape}" if array.dtype != object else type(leaves[place]).__name__
            if array.size and array.dtype.kind in "iuf":
                text += f" from {array.min():g} to {array.max():g}"
            there.append(f"{_path(place)} {text}".strip())
        return RecipeError(
            f"{what}; there is {', '.join(there) or 'nothing'}; masks are (B, {self.tokens}) or (B, "
            f"{', '.join(map(str, self.grid))}) of bools or of 0 and 1, or (B, K) whole numbers, of "
            "different tokens; check the grid and the order of axes, or give mask="
        )


def _leaves(given: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """All arrays in nested tuples, lists and dicts, with the indices that lead to them."""
    if isinstance(given, Mapping | list | tuple):
        for key, each in given.items() if isinstance(given, Mapping) else enumerate(given):
            yield from _leaves(each, (*place, key))
    else:
        yield place, given


def _path(place: Place) -> str:
    return "".join(f"[{key!r}]" for key in place)


def _array(given: Any) -> Array:
    """An array or tensor of any framework and device as NumPy's; an array of objects for anything else."""
    try:
        if isinstance(given, Masks):
            return given.visible
        if hasattr(given, "detach"):
            given = given.detach().cpu()
            given = given.float() if "bfloat16" in str(given.dtype) else given
        if hasattr(given, "__array__") or isinstance(given, bool | int | float):
            return np.asarray(given)
    except (TypeError, ValueError, RuntimeError):
        pass
    return np.empty((), object)
