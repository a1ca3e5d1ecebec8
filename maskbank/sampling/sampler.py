"""MaskSampler: a bank, a token grid, a ratio and a seed give the masks of any samples."""

import math
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank import __version__
from maskbank.bank.reader import Bank
from maskbank.checks import check_grid, check_ratio, check_seed, choice, count_visible, format_size, integer
from maskbank.errors import BankError, RecipeError
from maskbank.kernels.streams import WINDOWS
from maskbank.recipes import RBN
from maskbank.sampling import baselines, selection
from maskbank.sampling.masks import Bools, Int64s, Masks, UInt64s, check_ids, core
from maskbank.sampling.stream import MaskStream
from maskbank.sampling.windows import Cut, Float32s, normalized, resized

Keys = npt.NDArray[np.uint32]


class MaskSampler:
    """Makes the masks of samples: MaskSampler(bank, grid=(8, 14, 14), mask_ratio=0.9)(sample_ids, epoch=0).

    A mask is a pure function of the bank, these parameters, the epoch, the sample's id and the view; not
    of the batch, the worker or the rank. Within N consecutive ids, from a multiple of N on, each of a
    bank's N items is used once.

    bank: a Bank or the path of one; or a baseline, "random", "tube", "grid", "block" or "timefreq". grid:
    the tokens, (T, H, W) or (H, W). mask_ratio: the share that is hidden; for "timefreq" two of them, of
    rows and of columns. num_visible: how many tokens are visible, instead of the ratio. seed: 0 to
    2**64 - 1. per_frame: the same number in every frame, H * W - int(mask_ratio * H * W); always so where
    one frame's mask is repeated over time (2D banks, tube, grid, block). fit: "crop" cuts windows as large
    as the grid out of items; "resize" shrinks or stretches whole items, which loses their structure.
    normalize: None, "window" or "frame", to bring the values of each to 0 to 1. flip: flip height and
    width at random. flip_time: and time. transpose: let height and width change places at random.

    For adapters: `cut`, how windows are cut out of items (banks only); `segments`, into how many parts of
    its own a window falls, and `segment_count`, how many tokens of each are visible.

    Raises RecipeError (a ValueError) for what cannot be used.
    """

    def __init__(
        self,
        bank: Bank | str | os.PathLike[str],
        grid: tuple[int, ...] | str,
        mask_ratio: float | tuple[float, float] | None = None,
        *,
        num_visible: int | None = None,
        seed: int = 0,
        per_frame: bool = False,
        fit: str = "crop",
        normalize: str | None = None,
        flip: bool = True,
        flip_time: bool = False,
        transpose: bool = False,
    ) -> None:
        self.grid = check_grid(grid)
        self.seed = check_seed(seed)
        self.fit = fit
        self.normalize = normalize
        self.flip, self.flip_time, self.transpose = bool(flip), bool(flip_time), bool(transpose)
        choice("fit", fit, ("crop", "resize"))
        if normalize is not None:
            choice("normalize", normalize, ("window", "frame"))
        self.bank: Bank | None = None
        self.baseline: str | None = None
        if isinstance(bank, str) and bank in baselines.NAMES:
            self.baseline = bank
        else:
            self.bank = bank if isinstance(bank, Bank) else Bank(bank)
        self._repeated = self._repeats()
        self._asked_per_frame = bool(per_frame)
        self.per_frame = self._asked_per_frame or self._repeated
        self.mask_ratio, self.num_visible = self._count(mask_ratio, num_visible)
        frames = self._frames()
        self.segments = 1 if self._repeated else frames  # within each, as many are visible
        self.segment_count = self.num_visible // frames
        if self.bank is not None:
            self._prepare(self.bank)

    def _repeats(self) -> bool:
        """Whether one frame's mask is repeated over time."""
        if len(self.grid) == 2:
            return False
        if self.bank is not None:
            return len(self.bank.recipe.size) == 2
        return self.baseline in baselines.STILL

    def _frames(self) -> int:
        """How many frames have the same number of visible tokens; 1 where only the whole grid counts."""
        return self.grid[0] if self.per_frame and len(self.grid) == 3 else 1

    def _count(self, mask_ratio: Any, num_visible: Any) -> tuple[float | tuple[float, float] | None, int]:
        """The checked ratio, None where num_visible was given, and the number of visible tokens."""
        tokens, frames = math.prod(self.grid), self._frames()
        if (mask_ratio is None) == (num_visible is None):
            raise RecipeError("give either mask_ratio, the share that is hidden, or num_visible")
        if self.baseline == "timefreq":
            if num_visible is not None:
                raise RecipeError(
                    f"num_visible={num_visible!r}: timefreq takes mask_ratio, two ratios, instead"
                )
            ratios = self._two_ratios(mask_ratio)
            return ratios, math.prod(map(baselines.kept, self.grid, ratios))
        if num_visible is not None:
            count = integer("num_visible", num_visible, 1, tokens - 1)
            if count % frames:
                raise RecipeError(
                    f"num_visible={count} cannot be the same in each of {frames} frames; "
                    f"give a multiple of {frames}"
                )
            return None, count
        ratio = check_ratio(mask_ratio)
        if not self.per_frame:
            return ratio, count_visible(tokens, ratio)
        frame = tokens // frames
        kept = frame - int(ratio * frame)  # what VideoMAE's tube keeps; Algorithm 2 rounds the other way
        if not 0 < kept < frame:
            which = "masked" if kept else "visible"
            raise RecipeError(f"mask_ratio={ratio:g} leaves none of the {frame} tokens of a frame {which}")
        return ratio, kept * frames

    def _two_ratios(self, mask_ratio: Any) -> tuple[float, float]:
        if len(self.grid) != 2:
            raise RecipeError(f"grid={format_size(self.grid)}: timefreq takes a grid of two axes, as (64, 8)")
        try:
            rows, columns = mask_ratio
        except (TypeError, ValueError):
            raise RecipeError(
                f"mask_ratio={mask_ratio!r}: timefreq takes two, of rows (time) and columns, as (0.3, 0.3)"
            ) from None
        if rows == columns == 0:
            raise RecipeError("mask_ratio=(0, 0) masks nothing; give one of them above 0")
        return tuple(0.0 if ratio == 0 else check_ratio(ratio) for ratio in (rows, columns))  # type: ignore[return-value]

    def _prepare(self, bank: Bank) -> None:
        """Find out how items of the bank meet the grid."""
        size = bank.recipe.size
        flips = (
            (selection.FLIP_HEIGHT | selection.FLIP_WIDTH) * self.flip
            | selection.FLIP_TIME * self.flip_time
            | selection.TRANSPOSE * self.transpose
        )
        self.cut = Cut(
            size if len(size) == 3 else (1, *size),
            self.grid if len(size) == len(self.grid) == 3 else (1, *self.grid[-2:]),
            bank.recipe.boundary == "wrap",
            flips,
        )
        t, h, w = self.cut.window
        needed = (t, max(h, w), max(h, w)) if self.transpose else (t, h, w)
        if not self.cut.periodic and self.fit == "crop" and any(map(int.__gt__, needed, self.cut.size)):
            raise RecipeError(
                f"grid={format_size(self.grid)} is larger than the items, {format_size(size)}, which do not "
                f"tile (boundary {bank.recipe.boundary}); use a bank made with boundary wrap, or larger items"
            )
        ranks = isinstance(bank.recipe, RBN)
        bits = (math.prod(size) - 1).bit_length() if ranks else 8 * bank.dtype.itemsize
        self._rule = bank.dtype.kind == "f", bits, self.segments > 1, self.segment_count

    def __call__(self, ids: Any, epoch: int = 0, view: int = 0) -> Masks:
        """The masks of these samples: ids are B integers (or one), 0 to 2**63 - 1.

        epoch, view: 0 to 2**32 - 1. Another epoch, or another view of the same sample, has another mask.
        """
        numbers, single = check_ids(ids)
        visible = self._visible(numbers, self._keys(epoch, view))
        return Masks(visible[0] if single else visible, self.grid, self.num_visible)

    def __getitem__(self, index: int) -> Masks:
        return self(index)

    __iter__ = None  # it would never end; see `stream`

    def _keys(self, epoch: Any, view: Any) -> Keys:
        most = 2**32 - 1
        return selection.keys(self.seed, integer("epoch", epoch, 0, most), integer("view", view, 0, most))

    def _visible(self, numbers: UInt64s, keys: Keys) -> Bools:
        if self.bank is None:
            frames = self._baseline(numbers, keys)
        elif self.fit == "crop" and self.normalize != "frame":
            frames = np.empty((len(numbers), math.prod(self.cut.window)), bool)
            for part in self.bank.parts:
                core().crop_masks(
                    part.bits, part.content.first - self.bank.first, len(self.bank), tuple(self.cut),
                    self._rule, numbers, keys, frames,
                )  # fmt: skip
        else:
            drawn = selection.words(numbers, WINDOWS, keys[:2])
            items = selection.item_of(numbers, len(self.bank), keys[2:])
            frames = self._select(self._cut(self.bank, items, drawn), drawn)
        return np.tile(frames, self.grid[0]) if self._repeated else frames

    def _select(self, windows: npt.NDArray[Any], drawn: UInt64s) -> Bools:
        """The largest values of windows (B, t, h, w): bool (B, t * h * w)."""
        length = math.prod(windows.shape[1:])
        keys = selection.ordered(windows).reshape(len(windows), self.segments, length // self.segments)
        visible = np.empty(keys.shape, bool)
        begin = selection.starts(drawn, keys.shape[-1])
        core().select_all(keys, 8 * keys.dtype.itemsize, self.segment_count, begin, visible)
        return visible.reshape(len(windows), length)

    def _cut(self, bank: Bank, items: Int64s, drawn: UInt64s) -> npt.NDArray[Any]:
        """Windows of items, (B, t, h, w): of the bank's type, float32 where resized or scaled."""
        if self.fit == "crop":
            windows = np.empty((len(items), *self.cut.window), bank.dtype)
            for part in bank.parts:
                place = items - (part.content.first - bank.first)
                here = (place >= 0) & (place < part.content.n)
                windows[here] = selection.crop(part.bits, place[here], *self.cut, drawn[here]).view(
                    bank.dtype
                )
        else:
            whole = [bank[int(item)].reshape(self.cut.size) for item in items]
            windows = resized(whole, self.cut.window, self.cut.flips, drawn)
        return normalized(windows, "frame") if self.normalize == "frame" else windows

    def _baseline(self, numbers: UInt64s, keys: Keys) -> Bools:
        assert self.baseline is not None
        window = (1, *self.grid[-2:]) if self._repeated or len(self.grid) == 2 else self.grid
        if isinstance(self.mask_ratio, tuple):
            return baselines.timefreq(numbers, keys, window[1:], self.mask_ratio)
        drawn = selection.words(numbers, WINDOWS, keys[:2])
        return self._select(baselines.VALUES[self.baseline](numbers, keys, window), drawn)

    def windows(self, ids: Any, epoch: int = 0, view: int = 0) -> Float32s:
        """What the masks are taken from, for those who blend rather than mask: float32 (B, *grid).

        Before thresholding, after flips; ranks and levels as numbers; scaled where `normalize` says so.
        """
        if self.bank is None:
            raise RecipeError(f"the baseline {self.baseline} has no noise to cut windows from; give a bank")
        numbers, single = check_ids(ids)
        keys = self._keys(epoch, view)
        drawn = selection.words(numbers, WINDOWS, keys[:2])
        items = selection.item_of(numbers, len(self.bank), keys[2:])
        windows = self._cut(self.bank, items, drawn).astype(np.float32)
        if self.normalize == "window":
            windows = normalized(windows, "window")
        if len(self.grid) == 2:
            windows = windows[:, 0]
        elif self._repeated:
            windows = np.repeat(windows, self.grid[0], axis=1)
        return windows[0] if single else windows

    def complementary(self, index: int, epoch: int = 0, view: int = 0) -> Masks:
        """The K masks of one set of an rbn bank together, shifted and flipped alike, so they are disjoint.

        index: which sample; sets take turns as items do elsewhere. Returns Masks of a batch of K. Disjoint
        are the visible tokens, at the native ratio and above, on the bank's own grid; for a bank made
        with a ratio below one half, the masked ones, at the native ratio and below.
        """
        bank = self.bank
        recipe = bank.recipe if bank is not None else None
        if bank is None or not isinstance(recipe, RBN):
            raise RecipeError("complementary masks come in the sets of an rbn bank; give one")
        masks = recipe.masks_per_set
        skip = -bank.first % masks
        sets = (len(bank) - skip) // masks
        if sets < 1:
            raise RecipeError(f"the bank holds no whole set of {masks} masks; make at least {masks} items")
        inverted = recipe.placed < recipe.num_visible
        more, less = self.num_visible > recipe.num_visible, self.num_visible < recipe.num_visible
        if self.transpose and recipe.size[0] != recipe.size[1]:
            raise RecipeError(
                "transpose=True: turned masks of a set overlap; complementary takes transpose=False"
            )
        if self.grid != recipe.size or (less if inverted else more) or self.fit != "crop":
            raise RecipeError(
                f"{self.num_visible} visible tokens of {format_size(self.grid)}, fit={self.fit}: masks of a "
                f"set are disjoint where items are cropped to their own grid, {format_size(recipe.size)}, "
                f"from mask_ratio={recipe.mask_ratio:g} {'down' if inverted else 'up'}"
            )
        numbers, _ = check_ids([index])
        keys = self._keys(epoch, view)
        first = skip + selection.item_of(numbers, sets, keys[2:]) * masks
        drawn = np.repeat(selection.words(numbers, WINDOWS, keys[:2]), masks, 0)
        visible = self._select(self._cut(bank, first + np.arange(masks), drawn), drawn)
        return Masks(visible, self.grid, self.num_visible)

    def stream(self) -> MaskStream:
        """An endless iterator of single masks, for code that has no ids at hand."""
        return MaskStream(self)

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

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._parameters(),)

    def __repr__(self) -> str:
        name = f"{self.bank.kind} {self.bank.fingerprint}" if self.bank is not None else self.baseline
        count = f"{self.num_visible} of {math.prod(self.grid):,} visible"
        if self._frames() > 1:
            count += f", {self.segment_count} in each frame"
        return f"<MaskSampler: {name} on {format_size(self.grid)}, {count}, fit={self.fit}, seed={self.seed}>"


def _rebuild(parameters: dict[str, Any]) -> MaskSampler:
    return MaskSampler(**parameters)
