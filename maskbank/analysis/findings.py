"""What an audit remembers of masks, and what it finds in them: one function for each finding."""

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.analysis import measures, structure
from maskbank.errors import RecipeError

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]
Finding = dict[str, Any]

REPEATED = 0.01  # of the masks: a larger share is no chance
BIASED = 0.15  # relative deviation of positions, root mean square: red noise in small windows has half of it
SURE = 6.0  # standard errors of what is the worst of many
FAINT = 0.02  # correlation of neighbours below measures.CLEAR, and yet there
ENOUGH = 64  # different masks, to speak about positions
FURTHEST = 64  # batches apart, of which repetitions are looked for
LAGS = (1, 2, 3)  # tokens apart, whose correlation tells the order of axes
CLEARER = 1.5  # factor of structure, and
LEAST_STRUCTURE = 5e-4  # more of it, that another order of axes must show


class Seen:
    """What is remembered of masks: counts, sums, and some of them."""

    def __init__(self, grid: tuple[int, ...]) -> None:
        self.grid = grid
        tokens = math.prod(grid)
        self.counts: list[Int64s] = []  # of ones, for each batch
        self.totals = np.zeros(tokens, np.int64)  # of ones at each position, in different masks
        self.leans: list[npt.NDArray[np.float64]] = []  # to the last positions, of different masks
        self.different = 0
        self._hashes: set[int] = set()
        self._kept: list[Bools] = []
        self._most = max(8, min(measures.MASKS, measures.MOST_TOKENS // tokens))
        self._every = 1  # one in so many is kept
        self._places = (np.arange(tokens) - (tokens - 1) / 2) / tokens

    def add(self, rows: Bools) -> Int64s:
        """Take in the masks of a batch; a number for each, equal for equal ones."""
        self.counts.append(rows.sum(1))
        numbers = [hash(row.tobytes()) for row in np.packbits(rows, axis=1)]
        new = [i for i, number in enumerate(numbers) if number not in self._hashes]
        new = list({numbers[i]: i for i in reversed(new)}.values())[::-1]
        self._hashes.update(numbers)
        if new:
            fresh = rows[new]
            self._kept += [row.copy() for row in fresh[-self.different % self._every :: self._every]]
            while len(self._kept) > 2 * self._most:
                self._kept, self._every = self._kept[::2], 2 * self._every
            self.different += len(new)
            self.totals += fresh.sum(0)
            self.leans.append(fresh @ self._places)
        return np.array(numbers, np.int64)

    @property
    def share(self) -> float:
        """Of ones among all tokens."""
        counts = np.concatenate(self.counts)
        return float(counts.mean() / len(self.totals))

    def kept_masks(self, ones_masked: bool) -> Bools:
        """Some of the different masks, over all batches: bool (N, *grid), True where visible."""
        places = np.linspace(0, len(self._kept) - 1, min(len(self._kept), self._most)).astype(int)
        masks = np.stack([self._kept[place] for place in places]).reshape(-1, *self.grid)
        return ~masks if ones_masked else masks


class Chance:
    """How often masks of their kind would be the same by chance."""

    def __init__(self, masks: Bools, visible: int) -> None:
        tokens, frames = masks[0].size, masks.shape[1] if masks.ndim == 4 else 1
        if frames > 1 and (masks == masks[:, :1]).all():  # repeated over time: only one frame is free
            tokens, visible = tokens // frames, visible // frames
        log = math.lgamma(tokens + 1) - math.lgamma(visible + 1) - math.lgamma(tokens - visible + 1)
        self.masks = math.exp(min(log, 700.0))  # that there are

    def share(self, drawn: int) -> float:
        """Of all masks that there are: those among `drawn`."""
        return -math.expm1(drawn * math.log1p(-1 / self.masks)) if self.masks > 1 else 1.0

    def different(self, drawn: int) -> float:
        """How many of `drawn` are different."""
        return self.masks * self.share(drawn) if self.masks < 1e15 else float(drawn)

    def allows(self, repeated: int, drawn: int, expected: float) -> bool:
        """Whether so many of `drawn` may be repeated."""
        return repeated <= REPEATED * drawn + 2 * expected


def _finding(name: str, ok: bool, says: str, remedy: str = "") -> Finding:
    return {"name": name, "ok": bool(ok), "says": says, "remedy": remedy}


def counts_differ(counts: list[Int64s]) -> Finding:
    """Whether all masks show as many tokens."""
    low, high = (int(f(np.concatenate(counts))) for f in (np.min, np.max))
    uneven = sum(int(each.min()) != int(each.max()) for each in counts)
    if low == high:
        return _finding("counts", True, f"{low:,} visible tokens in every mask")
    where = f"within {uneven:,} of {len(counts):,} batches" if uneven else "between batches, not within"
    return _finding(
        "counts", False, f"visible tokens differ {where}: {low:,} to {high:,}",
        "make as many visible as the mask ratio says, the largest values, instead of cutting at a threshold",
    )  # fmt: skip


def polarity(share: float, ones_masked: bool, ones: str | None, mask_ratio: float | None) -> Finding:
    """Whether what 1 is said to mean fits the share of ones."""
    guess = "masked" if ones_masked else "visible"
    target = "more than half" if mask_ratio is None else f"{mask_ratio:.3g}"
    says = f"{share:.1%} are 1, or listed"
    hidden = share if (ones or guess) == "masked" else 1 - share
    if share in (0.0, 1.0):
        return _finding("polarity", False, f"{says}: nothing is masked in part", "check mask= and the grid")
    if ones is None:
        return _finding(
            "polarity", True, f"{says}: taken as {guess}, for {target} should be masked",
            f"make sure that the model, too, takes 1 as {guess}; say it with ones={guess!r}",
        )  # fmt: skip
    fits = hidden > 0.5 if mask_ratio is None else abs(hidden - mask_ratio) <= abs(1 - hidden - mask_ratio)
    says += f", and mean {ones}: {hidden:.1%} are masked"
    if fits:
        return _finding("polarity", True, says)
    return _finding(
        "polarity", False, f"{says}, though {target} should be",
        "invert the masks; or, if so many are meant, say it with mask_ratio=",
    )  # fmt: skip


def order(masks: Bools, grid: tuple[int, ...]) -> Finding:
    """Whether the tokens, read with their axes in another order, show more structure."""
    names = "THW"[-len(grid) :]
    read = {}
    for axes in itertools.permutations(range(len(grid))):
        flat = masks.reshape(len(masks), *(grid[axis] for axis in axes))
        read[axes] = flat.transpose(0, *(1 + axes.index(axis) for axis in range(len(grid))))
    found = {axes: _correlation(each) for axes, each in read.items()}
    stated = tuple(range(len(grid)))
    best = max(found, key=lambda axes: found[axes])

    def text(axes: tuple[int, ...]) -> str:
        along = [
            f"{names[axis]} {_next(read[axes], axis):.2f}" for axis in range(len(grid)) if grid[axis] > 1
        ]
        return f"{' x '.join(names[axis] for axis in axes)} (next token visible, too: {', '.join(along)})"

    # what chance does, and that tokens of a frame shun each other where their number is fixed
    least = max(LEAST_STRUCTURE, 20 / masks.size, 6 / math.prod(grid[-2:]) ** 2)
    if found[best] > CLEARER * found[stated] and found[best] > found[stated] + least:
        return _finding(
            "order", False, f"read as {text(best)} there is far more structure than as {text(stated)}",
            f"flatten the masks with {names[0]} slowest and {names[-1]} fastest, as the model's tokens are",
        )  # fmt: skip
    return _finding("order", True, f"no order of axes shows clearly more structure than {text(stated)}")


def _correlation(masks: Bools) -> float:
    """The sum over axes and lags of the squared correlation of tokens."""
    share = masks.mean()
    variance = share * (1 - share)
    centred = masks.astype(np.float32) - np.float32(share)
    total = 0.0
    for axis in range(1, masks.ndim):
        line = np.moveaxis(centred, axis, 0)
        for lag in LAGS:
            if lag < len(line) and variance > 0:
                total += float((line[lag:] * line[:-lag]).mean() / variance) ** 2
    return total


def repeats(first: list[Int64s], chance: Chance) -> Finding:
    """Whether masks of an epoch come again more often than by chance."""
    numbers = np.concatenate(first)
    count = len(numbers)
    different = len(set(numbers.tolist()))
    repeated = count - different
    expected = count - chance.different(count)
    says = f"{repeated:,} of {count:,} masks of an epoch were there before"
    if chance.allows(repeated, count, expected):
        return _finding("repeats", True, says)
    within = sum(len(each) - len(set(each.tolist())) for each in first)
    return _finding(
        "repeats", False, f"{says} ({within:,} in their own batch); {different:,} are different",
        "draw a mask for each sample of its own; of few masks, use a larger bank or set",
    )  # fmt: skip


def workers(first: list[Int64s]) -> Finding:
    """Whether batches come again, mask for mask, at a regular distance."""
    count = len(first)
    width = max(map(len, first))
    grid = np.zeros((count, width), np.int64)
    there = np.zeros((count, width), bool)
    for row, mine, numbers in zip(grid, there, first, strict=True):
        row[: len(numbers)], mine[: len(numbers)] = numbers, True
    alike = {}
    for apart in range(1, min(FURTHEST, count - 1) + 1):
        both = there[apart:] & there[:-apart]
        alike[apart] = float((grid[apart:] == grid[:-apart])[both].mean()) if both.any() else 0.0
    worst = max(alike, key=lambda apart: alike[apart]) if alike else 0
    different = len(set(np.concatenate(first).tolist()))
    # of a few masks, some meet by chance
    if not worst or alike[worst] <= 10 * REPEATED + 3 / different:
        says = f"at most {alike.get(worst, 0.0):.1%} of masks come again at the same place of a later batch"
        return _finding("workers", True, says)
    says = f"{alike[worst]:.0%} of the masks are those of the same place {worst} batch(es) before"
    if worst == 1 and alike[1] < 1:
        runs = 1 + (count - 1) * (1 - alike[1])  # of batches that are alike, as long as there are workers
        says += f", as of {max(2, math.ceil(count / runs - 1e-6))} workers with the same random numbers"
    return _finding(
        "workers", False, says,
        "take masks by the sample's id, or seed each worker differently (worker_init_fn); NumPy's global "
        "generator is the same in all forked workers",
    )  # fmt: skip


def _shared(mine: list[Int64s], before: list[Int64s], chance: Chance) -> tuple[int, int, bool]:
    """How many of these masks, and of how many, were among others; and whether that is fine."""
    old = set(np.concatenate(before).tolist())
    numbers = np.concatenate(mine).tolist()
    shared = sum(number in old for number in numbers)
    count = len(numbers)
    return shared, count, chance.allows(shared, count, count * chance.share(len(old)))


def epochs_differ(
    first: list[Int64s], later: list[list[Int64s]], chance: Chance, sets_epoch: list[str]
) -> Finding:
    """Whether masks of later epochs were there in earlier ones."""
    before = list(first)
    shared, count, fine = 0, 0, True
    for each in later:
        if each:
            found = _shared(each, before, chance)
            shared, count, fine = shared + found[0], count + found[1], fine and found[2]
            before += each
    says = f"{shared:,} of {count:,} masks of later epochs were there in earlier ones"
    if sets_epoch:
        says += f"; set_epoch of {' and '.join(sets_epoch)} was called, as training must"
    if not count:
        return _finding("epochs", False, "the loader gave no batch in a second epoch", "give one that can")
    remedy = "let masks depend on the epoch, by set_epoch(epoch)"
    return _finding("epochs", fine, says, "" if fine else remedy)


def ranks_differ(first: list[Int64s], others: list[list[Int64s]], chance: Chance) -> Finding:
    """Whether masks of other ranks were there in another rank."""
    before = list(first)
    shared, count, fine = 0, 0, True
    for each in others:
        if not each:
            raise RecipeError("a loader of ranks gave no batch; give one that has some")
        found = _shared(each, before, chance)
        shared, count, fine = shared + found[0], count + found[1], fine and found[2]
        before += each
    says = f"{shared:,} of {count:,} masks of {len(others) + 1} ranks were there in another rank"
    remedy = "take masks by the sample's id, or let the seed depend on the rank"
    return _finding("ranks", fine, says, "" if fine else remedy)


def positions(seen: Seen, ones_masked: bool) -> Finding:
    """Whether some positions are visible more often than others, beyond chance and beyond a little."""
    count = seen.different
    totals = count - seen.totals if ones_masked else seen.totals
    often = totals / count
    share = float(often.mean())
    variance = share * (1 - share) / count
    z = (often - share) / math.sqrt(variance)
    excess = float(((often - share) ** 2).mean()) - variance
    bias = math.sqrt(max(0.0, excess)) / share
    lean = np.concatenate(seen.leans) * (-1.0 if ones_masked else 1.0)
    spread = float(lean.std(ddof=1))
    slope = float(lean.mean()) / spread * math.sqrt(count) if spread > 0 else 0.0
    half = len(often) // 2
    tilt = float(often[len(often) - half :].mean() / max(1e-12, often[:half].mean())) - 1
    leans = abs(slope) > SURE and abs(tilt) > 0.01
    worst = int(np.abs(z).argmax())
    place = ", ".join(map(str, np.unravel_index(worst, seen.grid)))
    says = (
        f"positions differ by {bias:.1%} beyond chance (chi-square {float((z**2).mean()):.2f} each); most, "
        f"({place}): visible in {often[worst]:.1%} of masks, {share:.1%} expected, z = {z[worst]:.1f}"
    )
    if leans:
        says += f"; the later half {abs(tilt):.1%} {'more' if tilt > 0 else 'less'} often, z = {slope:.1f}"
    if leans or (bias > BIASED and abs(z[worst]) > SURE):
        return _finding(
            "positions", False, says,
            "cut windows at random from noise that tiles (boundary wrap), and break ties at random",
        )  # fmt: skip
    return _finding("positions", True, says)


def have_neighbours(masks: Bools) -> bool:
    """Whether tokens have neighbours whose likeness can be measured."""
    return any(not math.isnan(structure.correlation(masks, axis)[0]) for axis in range(masks.ndim - 1))


def _next(masks: Bools, axis: int) -> float:
    """How likely the next token is visible, too; NaN where there is none."""
    each = structure.continuity(masks, axis)
    each = each[~np.isnan(each)]
    return float(each.mean()) if len(each) else math.nan


def told_from_random(masks: Bools, found: dict[str, dict[str, float]], structured: bool | None) -> Finding:
    """Whether neighbours are more, or less, alike than in random masks of the same count."""
    told, apart, peer = [], False, "random"
    if structure.repeated(masks):
        peer = "tube"
        told.append("T 1, repeated over time")
        masks = masks[:, 0]
    for name, axis in zip("THW"[-len(masks.shape[1:]) :], range(masks.ndim - 1), strict=True):
        value, error, chance = structure.correlation(masks, axis)
        if not math.isnan(value):
            apart |= abs(value) > max(measures.SURE * error, FAINT)
            told.append(f"{name} {_next(masks, axis):.3f} ({chance:.3f})")
    says = f"next token visible, too (by chance): {', '.join(told)}"
    if "difficulty" in found:
        difficulty = found["difficulty"]
        says += f"; difficulty {difficulty['value']:.2f} (of random masks {difficulty['random']:.2f})"
    if measures.differs(masks):
        return _finding("structure", True, f"unlike random masks: {says}")
    lost = (
        "of a bank, use fit='crop' (resizing steps over the noise's wavelength) or sigmas nearer to 1 token"
    )
    what = "hardly any, too faint to matter" if apart else f"none, as of {peer} masks"
    if structured or (apart and structured is None):
        return _finding("structure", False, f"{what}: {says}", lost)
    note = "" if structured is False else f"if structure was meant, it is lost: {lost}"
    return _finding("structure", True, f"{what}: {says}", note)
