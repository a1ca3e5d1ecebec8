"""Makes items from recipes. Only this module turns a recipe into numbers."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from maskbank.checks import check_seed
from maskbank.errors import MissingError
from maskbank.files import ALIGNMENT
from maskbank.recipes import LEAST_GAP, RBN, Blue, Filtered, Recipe, White, float32

try:
    from maskbank.kernels import (
        cache,
        colour,
        convert,
        direct,
        fourier,
        gaussian,
        philox,
        rbn,
        spectral,
        vectors,
    )
except ModuleNotFoundError as error:
    raise MissingError(
        f"making noise needs {error.name}, which is not installed: pip install numba"
    ) from None

Array = npt.NDArray[Any]
Filter = Callable[[np.uint64, Array, Array], None]  # first item, items, sigmas

_FILTERS_BYTES = 2**17  # of filter taps that one call makes; more would not fit into the caches


def item(recipe: Recipe, seed: int, index: int) -> Array:
    """Item `index` of the bank of (recipe, seed): an array of recipe.size and recipe.dtype."""
    block = Block(recipe, 1)
    maker(recipe, seed).make(index, block)
    return np.asarray(block.items[0])


def sigmas(recipe: Recipe, seed: int, first: int, count: int) -> npt.NDArray[np.float32]:
    """The sigmas drawn for `count` items from `first` on, float32 (count, sigmas). Makes no items."""
    drawn = np.empty((count, len(recipe.ranges)), np.float32)
    if recipe.ranges:
        colour.draw_all(np.uint64(check_seed(seed)), np.uint64(first), _ranges(recipe), LEAST_GAP, drawn)
    return drawn


class Block:
    """Memory for items: `items`, (count, *size), as stored; and `sigmas`, float32 (count, sigmas)."""

    def __init__(self, recipe: Recipe, count: int) -> None:
        self.items: Array = _aligned((count, *recipe.size), np.dtype(recipe.dtype))
        self.sigmas = np.empty((count, len(recipe.ranges)), np.float32)

    def __len__(self) -> int:
        return len(self.items)

    def part(self, start: int, stop: int) -> "Block":
        """A view of items start to stop - 1."""
        part = Block.__new__(Block)
        part.items, part.sigmas = self.items[start:stop], self.sigmas[start:stop]
        return part


def maker(recipe: Recipe, seed: int) -> "Colours | Sets":
    """An object that makes items of (recipe, seed). It has memory of its own, so each thread needs one."""
    number = np.uint64(check_seed(seed))
    return Sets(recipe, number) if isinstance(recipe, RBN) else Colours(recipe, number)


class Sets:
    """Makes R-BN. Several calls can take the masks of one set, which is made once."""

    def __init__(self, recipe: RBN, seed: np.uint64) -> None:
        self.recipe = recipe
        self.seed = seed
        patches = math.prod(recipe.size)
        wrap = recipe.boundary == "wrap"
        grid = (1, *recipe.size)[-2:]
        self._around = rbn.neighbourhood(grid, recipe.window, recipe.whole_weights, wrap)  # type: ignore[no-untyped-call]
        inverted = recipe.placed < recipe.num_visible
        self._rule = rbn.Rule(recipe.masks_per_set, recipe.placed, inverted, recipe.ties == "first")
        self._order = np.arange(patches)
        self._owners = np.zeros(patches, np.int32)
        self._number = -1
        self._before = np.zeros((0, patches), np.uint8)
        if recipe.init != "zeros":
            self._before = np.zeros((recipe.masks_per_set, patches), np.uint8)
            cls = White if recipe.init == "white" else Blue
            start = cls(size=recipe.size, dtype="float32", boundary="wrap" if wrap else "reflect")
            self._start = Block(start, 1)
            self._starter = Colours(start, seed)

    def make(self, first: int, block: Block) -> None:
        """Fill `block` with items first, first + 1, ... An empty block only compiles."""
        stored = block.items.reshape(len(block), math.prod(self.recipe.size))
        done = 0
        while True:
            number, mask = divmod(first + done, self.recipe.masks_per_set)
            count = min(self.recipe.masks_per_set - mask, len(block) - done)
            self._make_set(number, self._rule if len(block) else self._rule._replace(masks=0))
            rbn.rank_masks(
                self.seed, np.uint64(first + done), mask, self._rule, self._around, self._order,
                self._owners, stored[done : done + count],
            )  # fmt: skip
            done += count
            if done == len(block):
                return

    def _make_set(self, number: int, rule: rbn.Rule) -> None:
        if number == self._number:
            return
        if self.recipe.init != "zeros":
            self._starter.make(0, self._start.part(0, 0))  # compiles, also for an empty set
            self._threshold(number, rule.masks)
        rbn.make_set(
            self.seed, np.uint64(number), rule, self._before, self._around, self._order, self._owners
        )
        self._number = number if rule.masks else -1

    def _threshold(self, number: int, masks: int) -> None:
        """Start the masks of a set from the highest values of white or blue noise (section 3.3)."""
        self._before[:] = 0
        for k, mask in enumerate(self._before[:masks]):
            self._starter.make(number * len(self._before) + k, self._start)
            mask[np.argsort(-self._start.items.reshape(-1), kind="stable")[: self.recipe.placed]] = 1


class Colours:
    """Makes white and coloured noise."""

    def __init__(self, recipe: Recipe, seed: np.uint64) -> None:
        self.recipe = recipe
        self.seed = seed
        self._compiled = False
        self._storage = convert.Storage(np.dtype(recipe.dtype).itemsize, np.zeros(1, np.int64))
        self._memory = philox.memory()  # type: ignore[no-untyped-call]
        self._values = _aligned(colour.RUN)
        if recipe.ranges:
            self._colour, self._filters = self._mixture()
            shape = self._colour.shape
            transforms = recipe.boundary == "wrap" and len(recipe.size) > 1 and {*shape} <= {*fourier.SIZES}
            self._codes = np.zeros((3, 2), np.int64)  # of the transforms, when they are compiled
            self._filter = self._by_transforms() if transforms else self._by_axes()
            self._lengths = self._colour.shape if transforms else ()

    def _mixture(self) -> tuple[colour.Colour, colour.Filters]:
        """The parameters of the noise, and memory for the filters of all items that one call makes."""
        recipe = self.recipe
        axes = len(recipe.size)
        shape = (1, 1, *recipe.size)[-3:]
        stretch = np.ones(3)
        if isinstance(recipe, Filtered):
            stretch[-axes:] = recipe.stretch
        radius = max(int(4.0 * (float32(high) * max(stretch)) + 0.5) for _, high in recipe.ranges)
        count = max(1, _FILTERS_BYTES // (48 * (radius + 1)))
        wrap = recipe.boundary == "wrap"
        return (
            colour.Colour(np.array(recipe.mixture), _ranges(recipe), LEAST_GAP, stretch, shape, axes, wrap),
            colour.Filters(
                np.empty((count, 3, 2, radius + 1)), np.empty((count, 3, 2), np.int64), np.empty(count),
                np.empty((3, max(shape) + 2 * radius)), np.empty((3, 3)),
            ),
        )  # fmt: skip

    def _by_transforms(self) -> Filter:
        """Filter by Fourier transforms: for periodic noise with axes of powers of two.

        Noise of two axes is made as a volume whose second axis has length 1.
        """
        t, h, w = self._colour.shape
        if self._colour.axes == 2:
            t, h = h, t
            self._colour.stretch[:2] = self._colour.stretch[1], 1.0
        made = self._colour = self._colour._replace(shape=(t, h, w), axes=3)
        row, column = _whole_vectors(w), _whole_vectors(t)
        stride, longest = _apart(h * row), max(t, h, w)
        memory = spectral.Workspace(
            _axes(self._codes, t, h, w),
            _aligned(max(1, 4096 // (h * w)) * h * w + vectors.WIDTH), _aligned(h * row),
            _aligned(t * stride), stride, _aligned(column * row), _aligned(row * column),
            np.zeros((3, 2, 2, longest)), _aligned((3, column)), self._memory,
        )  # fmt: skip

        def make(start: np.uint64, stored: Array, sigmas: Array) -> None:
            spectral.spectral_noise(
                made, self.seed, start, self._storage, stored, sigmas, self._filters, memory
            )

        return make

    def _by_axes(self) -> Filter:
        """Filter axis by axis: for all other noise."""
        t, h, w = self._colour.shape
        axes, taps = self._colour.axes, self._filters.taps.shape[-1]
        longest, radius, stride = self._filters.responses.shape[1], taps - 1, _apart(h * w)
        above, before = (radius if axes > 1 else 0), (radius if axes > 2 else 0)  # lines and planes added
        volumes = len(self.recipe.ranges) + int(self.recipe.mixture[0])
        memory = direct.Workspace(
            _aligned((h + 2 * above) * w),
            _aligned(max(min(gaussian.ROWS, h) * (w + 2 * radius + 32), direct.STRIP)),
            _aligned((volumes, (t + 2 * before) * stride)), stride, np.empty((2, longest), np.int64),
            _aligned((4, taps)), _aligned((4, taps)), _aligned((3, taps)), np.empty(3, np.int64),
            self._memory,
        )  # fmt: skip

        def make(start: np.uint64, stored: Array, _sigmas: Array) -> None:
            direct.direct_noise(self._colour, self.seed, start, self._storage, stored, self._filters, memory)

        return make

    def make(self, first: int, block: Block) -> None:
        """Fill `block` with items first, first + 1, ... and their sigmas. An empty block only compiles."""
        size = math.prod(self.recipe.size)
        stored = block.items.reshape(len(block), size).view(np.uint8)
        if not self._compiled:
            self._compile(stored[:0], block.sigmas[:0])
        if not self.recipe.ranges:
            colour.white(self.seed, np.uint64(first), self._storage, stored, self._values, self._memory)
            return
        count = len(self._filters.gains)
        for a in range(0, len(block), count):
            start, sigmas = np.uint64(first + a), block.sigmas[a : a + count]
            colour.draw_filters(self.seed, start, self._colour, sigmas, self._filters)
            self._filter(start, stored[a : a + count], sigmas)

    def _compile(self, stored: Array, sigmas: Array) -> None:
        """Compile, by calls for no items. What most recipes have in common, a second process compiles."""
        with cache.compiled_beside(self.recipe):
            if self.recipe.ranges:
                self._filter(np.uint64(0), stored, sigmas)
            self._memory[2][0] = philox.compiled()
            self._storage.code[0] = convert.compiled(self._storage.size)
            cache.wait_for_second()
        if self.recipe.ranges:
            self.compile_filters()
        self._compiled = True

    def compile_filters(self) -> None:
        """Compile the drawing of filters, and the transforms."""
        none = np.empty((0, len(self.recipe.ranges)), np.float32)
        colour.draw_filters(self.seed, np.uint64(0), self._colour, none, self._filters)
        for axis, n in enumerate(self._lengths):
            self._codes[axis] = fourier.compiled(n, False), fourier.compiled(n, True)


def _whole_vectors(n: int) -> int:
    """n numbers, rounded up to whole vectors."""
    return -(-n // vectors.WIDTH) * vectors.WIDTH


def _apart(n: int) -> int:
    """The distance between planes of n numbers: an odd number of cache lines.

    So the numbers at one position in all planes spread over all sets of the cache.
    """
    return 16 * (-(-n // 16) | 1)


def _axes(codes: Array, *shape: int) -> spectral.Axes:
    """The tables of the transforms along axes of 2**k voxels."""
    made = spectral.Axes(
        codes, np.zeros((3, max(shape)), np.int64), np.zeros((3, max(shape))), np.zeros((3, max(shape))),
    )  # fmt: skip
    for axis, n in enumerate(shape):
        made.frequencies[axis, :n], made.weights[axis, :n] = fourier.slots(n)
        # 1 - cos x = 2 sin(x/2)**2
        made.versines[axis, :n] = [2.0 * s * s for _, s in fourier.circle(2 * n)[:n]]
    return made


def _ranges(recipe: Recipe) -> Array:
    given = recipe.ranges
    return np.array(given if len(given) == 2 else (*given, (0.0, 0.0)), np.float64)


def _aligned(shape: int | tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> Array:
    """Memory that starts at a page: direct writes need that, and vector loads need 64 bytes."""
    size = math.prod(shape) if isinstance(shape, tuple) else shape
    n = size * np.dtype(dtype).itemsize
    raw = np.zeros(n + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + n].view(dtype).reshape(shape)
