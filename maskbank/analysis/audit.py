"""An audit of the masks that a training loop gets: what goes wrong in practice, found in the batches."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from maskbank.analysis.findings import (
    ENOUGH,
    Bools,
    Chance,
    Int64s,
    Seen,
    counts_differ,
    epochs_differ,
    have_neighbours,
    order,
    polarity,
    positions,
    ranks_differ,
    repeats,
    told_from_random,
    workers,
)
from maskbank.analysis.loader import Finder
from maskbank.analysis.measures import compare
from maskbank.checks import check_grid, check_ratio, choice, format_size, integer
from maskbank.errors import RecipeError

BATCHES = 200


class AuditReport(dict[str, Any]):
    """What `audit` found, a dict; printed, it is a page.

    Keys: grid, batches, masks, different (masks), num_visible (the median), ones ("masked" or "visible": what
    fits the counts, whatever was said), place (where in a batch the masks are); `findings`, each {"name",
    "ok", "says", "remedy"}; `not_looked_at`, {name: why}; `measures`, as in `Structure`; `ok`, whether all
    findings are.
    """

    def __str__(self) -> str:
        lines = [
            f"{self['masks']:,} masks of {format_size(tuple(self['grid']))} in {self['batches']:,} batches; "
            f"found in {self['place']}"
        ]
        for finding in self["findings"]:
            mark = "ALARM" if not finding["ok"] else "note" if finding["remedy"] else "ok"
            lines.append(f"{mark:<6}{finding['name']:<11}{finding['says']}")
            if finding["remedy"]:
                lines.append(f"{'':<17}-> {finding['remedy']}")
        lines += [f"{'-':<6}{name:<11}not looked at: {why}" for name, why in self["not_looked_at"].items()]
        alarms, checks = sum(not finding["ok"] for finding in self["findings"]), len(self["findings"])
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
    """Look at the masks that a loader gives, whatever made them, and say what is wrong with them.

    loader: anything to iterate over: a DataLoader, a list, a generator (of which only one epoch is seen).
    grid: the tokens, (T, H, W) or (H, W). batches: at most so many of each epoch. epochs: how many; where
    the loader, its sampler, dataset or collate_fn has set_epoch, it is called, and stays set. mask: where in
    a batch the masks are: an index, a key, or a function of the batch; None: they are looked for. They are
    arrays or tensors (B, L) or (B, *grid) of bools or of 0 and 1, int64 (B, K) lists of tokens, or Masks.
    ones: what 1, True or a listed token means to the model, "masked" or "visible"; None: what fits.
    mask_ratio: the share that should be masked; None: more than one half. structured: whether masks should
    differ from random ones; None: they may or may not. ranks: the loaders of other ranks, made here.

    Raises RecipeError for what cannot be understood.
    """
    grid = check_grid(grid)
    batches = integer("batches", batches, 1)
    epochs = integer("epochs", epochs, 1)
    if ones is not None:
        choice("ones", ones, ("masked", "visible"))
    ratio = 1.0 if mask_ratio is None else check_ratio(mask_ratio)
    if isinstance(loader, str | bytes | Mapping):
        raise RecipeError(
            f"{type(loader).__name__} gives no batches; give a DataLoader, or a list of batches"
        )
    if isinstance(ranks, str | Mapping) or not isinstance(ranks, Sequence):
        raise RecipeError(f"ranks={ranks!r}: give a list of the loaders of other ranks")
    if structured not in (None, True, False):
        raise RecipeError(f"structured={structured!r}: give True, False, or None where both are right")
    find = Finder(grid, mask)
    seen = Seen(grid)
    sets_epoch = _set_epoch(loader, 0)
    first = [seen.add(rows) for rows in _read(loader, batches, find)]
    if not first:
        raise RecipeError("the loader gave no masks; give one that has some, and a generator only once")
    others = [_look(other, 0, batches, find, seen) for other in ranks]
    later: list[list[Int64s]] = []
    missing: dict[str, str] = {}
    if epochs == 1:
        missing["epochs"] = "epochs=1"
    elif isinstance(loader, list | tuple | np.ndarray):
        missing["epochs"] = f"a {type(loader).__name__} is the same in every epoch; give what it is made from"
    elif isinstance(loader, Iterator):
        missing["epochs"] = f"a {type(loader).__name__} can be read only once; give what it is made from"
    else:
        later = [_look(loader, epoch, batches, find, seen) for epoch in range(1, epochs)]
    if not ranks:
        missing["ranks"] = "give their loaders, made here with rank=1, ..., as ranks=[...]"

    ones_masked = abs(seen.share - ratio) <= abs(seen.share - (1 - ratio))
    if find.means is not None:
        ones_masked = find.means == "masked"
    masks = seen.kept_masks(ones_masked)
    counts = [math.prod(grid) - c if ones_masked else c for c in seen.counts]
    visible = int(np.median(np.concatenate(counts)))
    findings = [counts_differ(counts), polarity(seen.share, ones_masked, ones or find.means, mask_ratio)]
    measures: dict[str, dict[str, float]] = {}
    if 0 < visible < math.prod(grid):
        chance = Chance(masks, visible)
        findings += [order(masks, grid), repeats(first, chance), workers(first)]
        findings += [epochs_differ(first, later, chance, sets_epoch)] if later else []
        findings += [ranks_differ(first, others, chance)] if others else []
        if seen.different >= ENOUGH and seen.different * min(visible, math.prod(grid) - visible) >= 10 * len(
            seen.totals
        ):
            findings.append(positions(seen, ones_masked))
        else:
            missing["positions"] = f"{seen.different:,} different masks are too few; raise batches"
        if len(masks) > 1 and have_neighbours(masks):
            measures = compare(masks, visible)
            findings.append(told_from_random(masks, measures, structured))
        else:
            missing["structure"] = "there is only one mask" if len(masks) == 1 else "no token has a neighbour"
    return AuditReport(
        grid=list(grid),
        batches=sum(map(len, [first, *others, *later])),
        masks=sum(map(len, seen.counts)),
        different=seen.different,
        num_visible=visible,
        ones="masked" if ones_masked else "visible",
        place=find.says,
        ok=all(finding["ok"] for finding in findings),
        findings=findings,
        not_looked_at=missing,
        measures=measures,
    )


def _read(loader: Any, batches: int, find: "Finder") -> Iterator[Bools]:
    try:
        batch_by_batch = iter(loader)
    except TypeError:
        raise RecipeError(
            f"{type(loader).__name__} gives no batches; give a DataLoader, a list of batches or a generator"
        ) from None
    for number, batch in enumerate(itertools.islice(batch_by_batch, batches)):
        rows = find(batch, number)
        if len(rows):
            yield rows


def _set_epoch(loader: Any, epoch: int) -> list[str]:
    """Call all set_epoch there are; the names of what has one."""
    called: dict[int, str] = {}
    for name in ("", "dataset", "sampler", "batch_sampler", "collate_fn"):
        owner = getattr(loader, name, None) if name else loader
        if callable(getattr(owner, "set_epoch", None)) and id(owner) not in called:
            owner.set_epoch(epoch)  # type: ignore[union-attr]
            called[id(owner)] = name or "loader"
    return list(called.values())


def _look(loader: Any, epoch: int, batches: int, find: "Finder", seen: "Seen") -> list[Int64s]:
    _set_epoch(loader, epoch)
    return [seen.add(rows) for rows in _read(loader, batches, find)]
