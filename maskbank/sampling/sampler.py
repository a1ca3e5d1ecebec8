"""MaskSampler: a bank, a token grid, a ratio and a seed give the masks of any samples."""

import difflib
import math
import os
from typing import Any, Literal, get_args

import numpy as np

from maskbank import __version__
from maskbank.bank.reader import Bank
from maskbank.checks import boolean, check_grid, check_seed, choice, format_size
from maskbank.errors import BankError, RecipeError, warn
from maskbank.kernels.streams import WINDOWS
from maskbank.recipes import RBN
from maskbank.sampling import baselines
from maskbank.sampling.batch import Competition, compete
from maskbank.sampling.counts import check_counts
from maskbank.sampling.masks import ALL, Masks, check_ids, core
from maskbank.sampling.selection import Keys, Tokens, choices, in_views, item_of, keys, ordered, words
from maskbank.sampling.sets import items_of_sets
from maskbank.sampling.stream import MaskStream
from maskbank.sampling.windows import (
    Array,
    Bools,
    Cut,
    Float32s,
    Int64s,
    UInt64s,
    allowed_flips,
    crop,
    normalized,
    resized,
)

MASKS_VERSION = 1  # raised whenever a mask of any sampler would change: tests/golden/masks.json says

FEW_WINDOWS = 2000  # any data set repeats them within an epoch

Fit = Literal["crop", "resize"]
Normalize = Literal["window", "frame"]


class MaskSampler:
    """Makes the masks of samples: MaskSampler(bank, grid=(8, 14, 14), mask_ratio=0.9)(sample_ids, epoch=0).

    A mask is a pure function of the bank, these parameters, the epoch, the sample's id and the view; not
    of the batch, the worker or the rank. In each aligned block of N ids, each of a bank's N items is used
    once.

    bank: a Bank or the path of one; or a baseline, "random", "tube", "grid", "running-cell", "block",
    "multiblock", "inverse-block", "span", "time", "frequency" or "timefreq". grid: the tokens, (T, H, W),
    (H, W) or (L,). mask_ratio: the share that is hidden; for "timefreq" two of them, of rows and of columns.
    num_visible: how many tokens are visible, instead of it. seed: 0 to 2**64 - 1. per_frame: the same number
    in every frame, H * W - int(mask_ratio * H * W); always so for running-cell, and where one frame's mask is
    repeated over time (2D banks, tube, grid and blocks). fit: "crop" cuts windows as large as the grid out of
    items; "resize" shrinks or stretches whole items, which loses their structure. normalize: None, "window"
    or "frame", to bring the values of each to 0 to 1. flip: flip height and width, or the only axis, at
    random. flip_time: and time. transpose: let height and width change places at random.

    For adapters: `cut`, how windows are cut out of items (banks only); `segments`, into how many equal parts
    a window is divided, each with its own count, and `segment_count`, how many tokens of each are visible.

    Raises RecipeError (a ValueError) for what cannot be used. Warns where items repeat within the grid, and
    where the bank has few different windows.
    """

    def __init__(
        self,
        bank: Bank | str | os.PathLike[str],
        grid: tuple[int, ...] | int | str,
        mask_ratio: float | tuple[float, float] | None = None,
        *,
        num_visible: int | None = None,
        seed: int = 0,
        per_frame: bool = False,
        fit: Fit = "crop",
        normalize: Normalize | None = None,
        flip: bool = True,
        flip_time: bool = False,
        transpose: bool = False,
    ) -> None:
        self.grid = check_grid(grid)
        self.seed = check_seed(seed)
        choice("fit", fit, get_args(Fit))
        if normalize is not None:
            choice("normalize", normalize, get_args(Normalize))
        self.fit, self.normalize = fit, normalize
        self.flip, self.flip_time = boolean("flip", flip), boolean("flip_time", flip_time)
        self.transpose = boolean("transpose", transpose)
        source = _source(bank)
        self.bank: Bank | None = source if isinstance(source, Bank) else None
        self.baseline: str | None = source if isinstance(source, str) else None
        still = self.baseline in baselines.STILL if self.bank is None else len(self.bank.recipe.size) == 2
        self._repeated = still and len(self.grid) == 3  # one frame's mask, over time
        self._asked_per_frame = boolean("per_frame", per_frame)
        self.per_frame = self._asked_per_frame or self._repeated or self.baseline == "running-cell"
        self.mask_ratio, self.num_visible = check_counts(
            self.baseline, self.grid, self.per_frame, mask_ratio, num_visible
        )
        self._frames = self.grid[0] if self.per_frame and len(self.grid) == 3 else 1
        self.segments = 1 if self._repeated else self._frames
        self.segment_count = self.num_visible // self._frames
        self._window = (1, 1, *self.grid[self._repeated :])[-3:]
        self._length = math.prod(self._window)
        self._from_items = self.bank is not None and fit == "crop" and normalize != "frame"
        tokens = np.full((1, self.segments), self.segment_count), ALL  # of all samples alike
        self._own: Competition = tokens, self.num_visible, self.num_visible / math.prod(self.grid)
        if self.bank is not None:
            self._prepare(self.bank)

    def _prepare(self, bank: Bank) -> None:
        """Find out how items of the bank meet the grid."""
        size = bank.recipe.size
        if len(size) == 1 < len(self.grid):
            raise RecipeError(
                f"grid={format_size(self.grid)} has more axes than the items of {bank.kind}, "
                f"{format_size(size)}; give a grid of one axis, as {size[0]}, or a bank of more axes"
            )
        if self.transpose and len(self.grid) == 1:
            raise RecipeError("transpose=True: a grid of one axis has no height and width; flip reverses it")
        flips = allowed_flips(self.flip, self.flip_time, self.transpose)
        item = (1, 1, *size)[-3:]
        self.cut = Cut(item, self._window, bank.recipe.boundary == "wrap", flips)
        t, h, w = self._window
        needed = (t, max(h, w), max(h, w)) if self.transpose else self._window
        if not self.cut.periodic and self.fit == "crop" and any(map(int.__gt__, needed, item)):
            raise RecipeError(
                f"grid={format_size(self.grid)} is larger than the items, {format_size(size)}, which do not "
                f"tile (boundary {bank.recipe.boundary}); use a bank made with boundary wrap, or larger items"
            )
        ranks = isinstance(bank.recipe, RBN)
        bits = (math.prod(size) - 1).bit_length() if ranks else 8 * bank.dtype.itemsize
        self._rule = *self.cut, len(bank), bank.dtype.kind == "f", bits
        repeats = max(n / extent for n, extent in zip(self._window, item, strict=True))
        if self.fit == "crop" and repeats > 1:
            warn(
                f"grid={format_size(self.grid)} is larger than the items, {format_size(size)}, which repeat "
                f"{repeats:.3g} times along an axis; take a bank of larger items, or check that the grid "
                "counts tokens, not pixels, in the order (T, H, W)"
            )
        elif (windows := len(bank) * self.cut.windows(self.fit)) < FEW_WINDOWS:
            warn(
                f"this bank has only {windows:,} different windows of {format_size(self.grid)}, so masks "
                "repeat; take more items, or larger ones that tile (boundary wrap)"
            )

    def __call__(
        self,
        ids: Any,
        epoch: int = 0,
        view: int = 0,
        *,
        views: int | None = None,
        valid: Any = None,
        mask_ratio: Any = None,
        num_visible: Any = None,
    ) -> Masks:
        """The masks of these samples: ids are B integers (or one), 0 to 2**63 - 1.

        epoch, view: 0 to 2**32 - 1. Another epoch, or another view of the same sample, has another mask.
        views: 1 to 65,536; Masks of (B, views, L), whose k-th are those of view + k. valid: bool (B, L), or
        (L,) for one id, the same for all views; False where there is no token, as padding: it is never
        visible and never masked. mask_ratio or num_visible: instead of the sampler's, a number, or one for
        each sample.

        The window of a sample stays the same: valid and counts decide only which tokens can be visible, and
        how many are. Of n valid tokens int(n * (1 - mask_ratio)) are visible, or num_visible exactly.
        With per_frame (see the class), each frame keeps n - int(mask_ratio * n) of its own n valid tokens.
        Where one frame's mask is repeated over time, the same values decide in each frame.

        Raises RecipeError; where one sample is the reason, with its place in the batch and its id.
        """
        checked, single = check_ids(ids)
        tokens, total, share = self._own
        if valid is not None or mask_ratio is not None or num_visible is not None:
            tokens, total, share = compete(self, checked, single, valid, mask_ratio, num_visible)
        visible = self._visible(checked, keys(self.seed, epoch, view, views), tokens, share)
        if views is not None:
            visible = visible.reshape(len(checked), views, visible.shape[1])
        there = None if valid is None else tokens[1]
        if single:
            visible, there = visible[0], None if there is None else there[0]
        return Masks(visible, self.grid, total, there)

    def __getitem__(self, index: int) -> Masks:
        return self(index)

    __iter__ = None  # it would never end; see `stream`

    def _visible(self, ids: UInt64s, keys: Keys, tokens: Tokens, share: Any) -> Bools:
        """Which tokens are visible: bool (B * K, L), of ids (B,) and keys (4, K).

        share: of all tokens, how many are visible; one number or float64 (B,).
        """
        bank, mask_ratio = self.bank, self.mask_ratio
        if bank is not None and self._from_items:
            frames = np.empty((len(ids) * keys.shape[1], tokens[1].shape[1] or self._length), bool)
            for part in bank.parts:
                core().crop_masks(part.bits, part.begin, self._rule, ids, keys, *tokens, frames)
        else:
            if keys.shape[1] > 1:
                share = np.repeat(share, keys.shape[1]) if np.ndim(share) else share
                ids, keys = in_views(ids, keys)
            if isinstance(mask_ratio, tuple):
                return baselines.timefreq(ids, keys, self.grid, mask_ratio)
            if bank is None:
                values = baselines.VALUES[str(self.baseline)](ids, keys, self.grid, share)
                frames = self._largest(values, words(ids, WINDOWS, keys[:2]), tokens)
            else:
                frames = self._largest(*self._windows(bank, ids, keys), tokens)
        return np.tile(frames, self.grid[0]) if self._repeated and not tokens[1].shape[1] else frames

    def _largest(self, values: Array, drawn: UInt64s, tokens: Tokens) -> Bools:
        """Where the largest values of windows (B, t, h, w) are: bool (B, t * h * w), or (B, L)."""
        values = ordered(values).reshape(len(drawn), self._length)
        visible = np.empty((len(drawn), tokens[1].shape[1] or self._length), bool)
        core().select_all(values, 8 * values.dtype.itemsize, choices(drawn), *tokens, visible)
        return visible

    def _windows(self, bank: Bank, ids: UInt64s, keys: Keys) -> tuple[Array, UInt64s]:
        """The windows of samples, as `_cut` makes them, and the words drawn for them."""
        drawn = words(ids, WINDOWS, keys[:2])
        return self._cut(bank, item_of(ids, len(bank), keys[2:]), drawn), drawn

    def _cut(self, bank: Bank, items: Int64s, drawn: UInt64s) -> Array:
        """Windows of items, (B, t, h, w): of the bank's type, float32 where resized or scaled."""
        if self.fit == "resize":
            whole = [bank[int(item)].reshape(self.cut.size) for item in items]
            windows: Array = resized(whole, self.cut, drawn)
        else:
            windows = np.empty((len(items), *self._window), bank.dtype)
            for part in bank.parts:
                stored = items - part.begin
                here = (stored >= 0) & (stored < part.content.n)
                windows[here] = crop(part.bits, stored[here], self.cut, drawn[here]).view(bank.dtype)
        return normalized(windows, "frame") if self.normalize == "frame" else windows

    def windows(self, ids: Any, epoch: int = 0, view: int = 0) -> Float32s:
        """The values that masks are made from, for code that blends rather than masks: float32 (B, *grid).

        They are flipped, not thresholded. Ranks and levels are given as numbers; all are scaled to 0 to 1
        where `normalize` is set.
        """
        if self.bank is None:
            raise RecipeError(f"the baseline {self.baseline} has no noise to cut windows from; give a bank")
        checked, single = check_ids(ids)
        windows, _ = self._windows(self.bank, checked, keys(self.seed, epoch, view))
        windows = windows.astype(np.float32)
        if self.normalize == "window":
            windows = normalized(windows, "window")
        if self._repeated:
            windows = np.repeat(windows, self.grid[0], axis=1)
        windows = windows.reshape(len(checked), *self.grid)
        return windows[0] if single else windows

    def complementary(self, ids: Any, epoch: int = 0, view: int = 0) -> Masks:
        """The K masks of one set of an rbn bank (section 3.3): Masks of (B, K, L), or (K, L).

        They are shifted and flipped alike.

        ids: which samples, or which one; in each aligned block of as many ids as there are sets, each set is
        used once. The visible tokens of a set are disjoint, at the native ratio and above, on the bank's own
        grid. For a bank made with a ratio below one half, the masked ones are, at the native ratio and below.
        """
        checked, single = check_ids(ids)
        drawn_by = keys(self.seed, epoch, view)
        bank, items = items_of_sets(self, checked, drawn_by)
        drawn = np.repeat(words(checked, WINDOWS, drawn_by[:2]), items.shape[1], 0)
        visible = self._largest(self._cut(bank, items.reshape(-1), drawn), drawn, self._own[0])
        visible = visible.reshape(*items.shape, visible.shape[1])
        return Masks(visible[0] if single else visible, self.grid, self.num_visible)

    def stream(self, seed: int | None = None, *, rank: int | None = None) -> MaskStream:
        """An endless iterator of single masks, for code that has no ids at hand: see `MaskStream`."""
        return MaskStream(self, seed, rank)

    def replace(self, **changes: Any) -> "MaskSampler":
        """The same with other parameters: sampler.replace(grid=(16, 14, 14)). Cheap: it shares the bank."""
        given = self._parameters()
        if "mask_ratio" in changes or "num_visible" in changes:
            del given["mask_ratio"], given["num_visible"]
        return MaskSampler(**given | changes)

    def _parameters(self) -> dict[str, Any]:
        return {
            "bank": self.bank if self.bank is not None else self.baseline,
            "grid": self.grid,
            "mask_ratio": self.mask_ratio,
            "num_visible": self.num_visible if self.mask_ratio is None else None,
            "seed": self.seed,
            "per_frame": self._asked_per_frame,
            "fit": self.fit,
            "normalize": self.normalize,
            "flip": self.flip,
            "flip_time": self.flip_time,
            "transpose": self.transpose,
        }

    @property
    def config(self) -> dict[str, Any]:
        """Everything that decides the masks, flat, for a run's log: the bank by its kind and fingerprint."""
        ratio = self.mask_ratio
        return self._parameters() | {
            "bank": self.baseline if self.bank is None else self.bank.kind,
            "fingerprint": None if self.bank is None else self.bank.fingerprint,
            "grid": format_size(self.grid),
            "mask_ratio": " ".join(map(str, ratio)) if isinstance(ratio, tuple) else ratio,
            "num_visible": self.num_visible,
            "per_frame": self.per_frame,
            "masks_version": MASKS_VERSION,
            "maskbank": __version__,
        }

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint. A sampler has no state but its parameters: a run resumes by its epoch alone."""
        return self.config

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Check that a run goes on with the masks it began with; BankError says what differs."""
        mine = self.config
        differ = [key for key in mine if key != "maskbank" and state.get(key) != mine[key]]
        if differ:
            what = ", ".join(f"{key} {state.get(key)!r}, now {mine[key]!r}" for key in differ)
            raise BankError(f"the checkpoint was made with other masks: {what}")

    def __repr__(self) -> str:
        name = f"{self.bank.kind} {self.bank.fingerprint}" if self.bank is not None else self.baseline
        ratio = "" if self.mask_ratio is None else f"mask_ratio={self.mask_ratio}, "
        count = f"{ratio}{self.num_visible} of {math.prod(self.grid):,} visible"
        if self._frames > 1:
            count += f", {self.segment_count} in each frame"
        return f"<MaskSampler: {name} on {format_size(self.grid)}, {count}, fit={self.fit}, seed={self.seed}>"


def _source(bank: Any) -> Bank | str:
    """The bank, opened, or the name of a baseline."""
    if isinstance(bank, Bank) or (isinstance(bank, str) and bank in baselines.NAMES):
        return bank
    if isinstance(bank, str) and bank.replace("-", "").isalpha() and not os.path.exists(bank):
        near = difflib.get_close_matches(bank.lower(), baselines.NAMES, 1)
        if near:
            raise RecipeError(
                f"bank={bank!r} is neither a file nor a baseline; did you mean {near[0]!r}? "
                f"Baselines are {', '.join(baselines.NAMES)}"
            )
    return Bank(bank)
