"""Audit the masks that a training loop gets, in the batches themselves."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskbank.analysis import findings
from maskbank.analysis.findings import Finding
from maskbank.analysis.measures import MASKS, MOST_TOKENS, Measure, compare
from maskbank.checks import check_grid, check_ratio, choice, format_size, integer
from maskbank.errors import RecipeError
from maskbank.sampling.masks import Masks
from maskbank.sampling.windows import Array, Bools, Int64s

ENOUGH = 64  # different masks; fewer are too few to judge positions
MOST_BYTES = 2**25  # positions are judged by no more masks than fit into this, one byte a token

Place = tuple[Any, ...]  # the indices and keys that lead to an array in a batch


@dataclass(frozen=True)
class AuditReport:
    """What `audit` found. `print` shows it as a page. Fields can also be read as items: report["ok"]."""

    grid: list[int]
    batches: int  # read, in all epochs and ranks
    masks: int  # in these batches
    different: int  # how many different masks these are
    num_visible: int  # the median
    ones: str  # "masked" or "visible", whichever fits the counts
    place: str  # where the masks are in a batch
    findings: list[Finding]
    not_looked_at: dict[str, str]  # {check: why}
    measures: dict[str, Measure]  # as `compare` gives them
    __getitem__ = object.__getattribute__

    @property
    def ok(self) -> bool:
        """Whether all checks passed."""
        return all(one.ok for one in self.findings)

    def __str__(self) -> str:
        grid = format_size(tuple(self.grid))
        lines = [f"{self.masks:,} masks of {grid} in {self.batches:,} batches; found in {self.place}"]
        for one in self.findings:
            mark = "ALARM" if not one.ok else "note" if one.remedy else "ok"
            remedy = f"\n{'':<17}-> {one.remedy}" * bool(one.remedy)
            lines.append(f"{mark:<6}{one.name:<11}{one.says}{remedy}")
        lines += [f"-     {name:<11}not looked at: {why}" for name, why in self.not_looked_at.items()]
        alarms, checks = sum(not one.ok for one in self.findings), len(self.findings)
        lines.append(f"{alarms} of {checks} checks failed" if alarms else f"{checks} checks, nothing wrong")
        return "\n".join(lines)


def audit(
    loader: Iterable[Any],
    grid: tuple[int, ...] | str,
    *,
    batches: int = 200,
    epochs: int = 2,
    mask: int | str | Callable[[Any], Any] | None = None,
    ones: str | None = None,
    mask_ratio: float | None = None,
    structured: bool | None = None,
    ranks: Sequence[Iterable[Any]] = (),
) -> AuditReport:
    """Check the masks that a loader gives, whatever makes them, and report what is wrong with them.

    loader: a DataLoader, a list, a generator (read for one epoch only), or anything else to iterate over.
    grid: the tokens, (T, H, W), (H, W) or (L,). batches: how many to read in each epoch, at most. epochs: how
    many to read; set_epoch of the loader, its sampler, dataset or collate_fn is called where it exists.
    mask: an index or a key of the masks in a batch, or a function of the batch; None: search for them. Masks
    are arrays or tensors (B, L) or (B, *grid) of bools or of 0 and 1, int64 (B, K) lists of tokens, or
    `Masks`. ones: what 1, True or a listed token means to the model, "masked" or "visible"; None: whichever
    fits. mask_ratio: the share that should be masked; None: more than one half. structured: whether masks
    should differ from random ones; None: both are right. ranks: the loaders of other ranks, made here.

    Raises RecipeError where an argument or a batch cannot be understood.
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
    seen: dict[bytes, int] = {}  # each different mask, as packed bits, and its number

    def read(source: Any, epoch: int, which: str = "the loader") -> list[Int64s]:
        """Read the masks of one epoch. Returns their numbers, batch by batch; equal masks have equal ones."""
        if isinstance(source, str | bytes | Mapping) or not getattr(source, "__iter__", None):
            raise RecipeError(f"{type(source).__name__} gives no batches; give a DataLoader or a list")
        _set_epoch(source, epoch)
        numbers = []
        for i, batch in enumerate(itertools.islice(source, batches)):
            if len(rows := find(batch, i)):
                counts.append(rows.sum(1))
                packed = [row.tobytes() for row in np.packbits(rows, axis=1)]
                numbers.append(np.array([seen.setdefault(row, len(seen)) for row in packed]))
        if not numbers and epoch == 0:
            raise RecipeError(f"{which} gave no masks; give one that has some, and a generator only once")
        return numbers

    first, owners = read(loader, 0), _set_epoch(loader, 0)
    others = [read(other, 0, "a loader of ranks") for other in ranks]
    once = isinstance(loader, list | tuple | np.ndarray | Iterator)
    later = [read(loader, epoch) for epoch in range(1, 1 if once else epochs)]

    share = float(np.concatenate(counts).mean() / tokens)
    # True means "visible" in `Masks`; elsewhere, whichever fits the ratio
    ones_masked = find.means is None and abs(share - ratio) <= abs(share - (1 - ratio))
    counts = [tokens - each if ones_masked else each for each in counts]
    visible, means = int(np.median(np.concatenate(counts))), "masked" if ones_masked else "visible"
    found = [findings.counts_differ(counts), findings.polarity(share, means, ones or find.means, mask_ratio)]
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
            what = "later epochs repeat earlier ones"
            what += f"; set_epoch of {' and '.join(owners)} was called, as training must" if owners else ""
            remedy = "let masks depend on the epoch, by set_epoch(epoch)"
            found.append(findings.shared("epochs", first, later, choices, what, remedy))
        if others:
            what = f"{len(others) + 1} ranks repeat those of another rank"
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
    read_in_all = (len(counts), sum(map(len, counts)), len(seen))
    return AuditReport(list(grid), *read_in_all, visible, means, find.says, found, missing, measures)


def _set_epoch(loader: Any, epoch: int) -> list[str]:
    """Call set_epoch of a loader and of its parts. Returns the names of those that have it."""
    parts = ("dataset", "sampler", "batch_sampler", "collate_fn")
    owners = {"loader": loader} | {name: getattr(loader, name, None) for name in parts}
    called = [name for name, owner in owners.items() if callable(getattr(owner, "set_epoch", None))]
    for name in called:
        owners[name].set_epoch(epoch)
    return called


class _Finder:
    """Finds the masks in a batch: finder(batch, number) is bool (B, L), True for ones or listed tokens.

    mask: as in `audit`. means: "visible" for `Masks`, else None. says: where the masks are, in words.
    """

    def __init__(self, grid: tuple[int, ...], mask: Any) -> None:
        if isinstance(mask, bool) or not (mask is None or callable(mask) or isinstance(mask, int | str)):
            raise RecipeError(f"mask={mask!r}: give the masks' index or key in a batch, or a function of it")
        self.grid, self.tokens, self.mask = grid, math.prod(grid), mask
        self.means: str | None = None
        self.says = "mask(batch)" if callable(mask) else "batch"
        self._place: Place | None = None

    def __call__(self, batch: Any, number: int) -> Bools:
        leaves = dict(_leaves(self.mask(batch) if callable(self.mask) else batch))
        if self._place is None:
            self._place = self._search(leaves)
            self.says += _path(self._place)
        rows = self._rows(leaves.get(self._place))
        if rows is None:
            raise self._refusal(f"batch {number} has no masks at {self.says}, as batch 0 has", leaves)
        return rows

    def _search(self, leaves: dict[Place, Any]) -> Place:
        """Where the masks are in the first batch, or in the part of it that `mask` names."""
        start = () if self.mask is None or callable(self.mask) else (self.mask,)
        own = {place: each for place, each in leaves.items() if place[: len(start)] == start}
        if start and not own:
            raise self._refusal(f"batch 0 has no {_path(start)}", leaves)
        strict = self.mask is None
        masks = {p: rows for p, each in own.items() if (rows := self._rows(each, strict)) is not None}
        dense = [place for place in masks if _array(own[place]).size == masks[place].size]  # no lists
        varied = [place for place in dense if masks[place].any() and not masks[place].all()]  # no padding
        places = varied or dense or list(masks)
        if not places:
            raise self._refusal("no masks were found", own)
        if len(places) > 1:
            what = f"{len(places)} things look like masks of {format_size(self.grid)}"
            names = ", ".join(map(_path, places[:6]))
            raise RecipeError(f"{what}: {names}; say with mask= which (an index, a key or a function)")
        return places[0]

    def _rows(self, given: Any, strict: bool = False) -> Bools | None:
        """The masks as bool (B, L), or None where `given` holds none.

        strict: None also for lists of one token, which may be labels.
        """
        array, tokens = _array(given), self.tokens
        if isinstance(given, Masks):
            self.means = "visible"
            return array.reshape(-1, tokens) if given.grid == self.grid else None
        if {array.shape, array.shape[1:]} & {(tokens,), self.grid}:
            fine = array.dtype.kind in "biuf" and bool(((array == 0) | (array == 1)).all())
            return array.reshape(-1, tokens).astype(bool) if fine else None
        if array.dtype.kind not in "iu" or array.ndim != 2 or not strict < array.shape[1] < tokens:
            return None
        if array.size and (array.min() < 0 or array.max() >= tokens):
            return None
        rows = np.zeros((len(array), tokens), bool)
        np.put_along_axis(rows, array.astype(np.int64), True, 1)
        return rows if (rows.sum(1) == array.shape[1]).all() else None  # no token twice

    def _refusal(self, what: str, leaves: dict[Place, Any]) -> RecipeError:
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
    """Everything in nested tuples, lists and dicts, with the indices and keys that lead to it."""
    if isinstance(given, Mapping | list | tuple):
        for key, each in given.items() if isinstance(given, Mapping) else enumerate(given):
            yield from _leaves(each, (*place, key))
    else:
        yield place, given


def _path(place: Place) -> str:
    return "".join(f"[{key!r}]" for key in place)


def _array(given: Any) -> Array:
    """An array or tensor of any framework and device as a NumPy array; anything else as one of objects."""
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
