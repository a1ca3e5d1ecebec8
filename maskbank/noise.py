"""Makes items from recipes. Only this module turns a recipe into numbers."""

import math
from collections.abc import Sequence
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

_FILTERS_BYTES = 2**17  # of filter taps that one call makes; more would not fit into the caches


def item(recipe: Recipe, seed: int, index: int) -> Array:
    """Item `index` of the bank of (recipe, seed): an array of recipe.size and recipe.dtype.

    RecipeError for a seed that is no integer from 0 to 2**64 - 1.
    """
    block = Block(recipe, 1)
    maker(recipe, seed).make(index, block)
    return np.asarray(block.items[0])


def sigmas(recipe: Recipe, seed: int, first: int, count: int) -> npt.NDArray[np.float32]:
    """The sigmas of items first to first + count - 1, in voxels: float32 (count, sigmas). Makes no items.

    RecipeError as for `item`.
    """
    drawn = np.empty((count, len(recipe.ranges)), np.float32)
    if recipe.ranges:
        colour.draw_all(
            np.uint64(check_seed(seed)), np.uint64(first), np.array(recipe.ranges), LEAST_GAP, drawn
        )
    return drawn


class Block:
    """Memory for items: `items`, (count, *size), as stored; and `sigmas`, float32 (count, sigmas)."""

    def __init__(self, recipe: Recipe, count: int) -> None:
        self.items: Array = _aligned(count, *recipe.size, dtype=recipe.dtype)
        self.sigmas = np.empty((count, len(recipe.ranges)), np.float32)

    def __len__(self) -> int:
        return len(self.items)

    def part(self, start: int, stop: int) -> "Block":
        """A view of items start to stop - 1."""
        part = Block.__new__(Block)
        part.items, part.sigmas = self.items[start:stop], self.sigmas[start:stop]
        return part


def maker(recipe: Recipe, seed: int) -> "Colours | Sets":
    """An object that makes items of (recipe, seed). It has memory of its own, so each thread needs one.

    RecipeError as for `item`.
    """
    number = np.uint64(check_seed(seed))
    return Sets(recipe, number) if isinstance(recipe, RBN) else Colours(recipe, number)


class Sets:
    """Makes R-BN (section 3.3). Calls in turn that take masks of the same set make that set once."""

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
    """Makes white and coloured noise (equations 1 to 4)."""

    def __init__(self, recipe: Recipe, seed: np.uint64) -> None:
        self.recipe = recipe
        self.seed = seed
        self._compiled = False
        self._storage = convert.Storage(np.dtype(recipe.dtype).itemsize, np.zeros(1, np.int64))
        self._normals = philox.memory()  # type: ignore[no-untyped-call]
        self._values = _aligned(colour.RUN)
        if isinstance(recipe, Filtered):
            axes = len(recipe.size)
            transforms = recipe.boundary == "wrap" and axes > 1 and {*recipe.size} <= {*fourier.SIZES}
            # by transforms, noise of two axes is made as a volume whose second axis has length 1
            self._colour = _colour(recipe, (0, 2) if transforms and axes == 2 else range(3 - axes, 3))
            self._filters = _filters(self._colour)
            self._workspace = self._by_transforms() if transforms else self._by_axes()
            self._kernel: Any = spectral.spectral_noise if transforms else direct.direct_noise

    def _by_transforms(self) -> spectral.Workspace:
        """To filter by Fourier transforms: for periodic noise with axes of powers of two."""
        shape = t, h, w = self._colour.shape
        longest, row, column = max(shape), _whole_vectors(w), _whole_vectors(t)
        stride = _apart(h * row)
        frequencies, weights, versines = np.zeros((3, longest), np.int64), *np.zeros((2, 3, longest))
        for axis, n in enumerate(shape):
            frequencies[axis, :n], weights[axis, :n] = fourier.slots(n)
            # 1 - cos x = 2 sin(x/2)**2
            versines[axis, :n] = [2.0 * s * s for _, s in fourier.circle(2 * n)[:n]]
        return spectral.Workspace(
            np.zeros((3, 2), np.int64), frequencies, weights, versines,
            _aligned(max(1, 4096 // (h * w)) * h * w + vectors.WIDTH), _aligned(h * row),
            _aligned(t * stride), stride, _aligned(column * row), _aligned(row * column),
            np.zeros((3, 2, 2, longest)), _aligned(3, column), self._normals,
        )  # fmt: skip

    def _by_axes(self) -> direct.Workspace:
        """To filter axis by axis: for all other noise."""
        t, h, w = self._colour.shape
        axes, taps = self._colour.axes, self._filters.taps.shape[-1]
        longest, radius, stride = self._filters.responses.shape[1], taps - 1, _apart(h * w)
        above, before = (radius if axes > 1 else 0), (radius if axes > 2 else 0)  # lines and planes added
        volumes = int(np.count_nonzero(self._colour.weights))
        return direct.Workspace(
            _aligned((h + 2 * above) * w),
            _aligned(max(min(gaussian.ROWS, h) * (w + 2 * radius + 32), direct.STRIP)),
            _aligned(volumes, (t + 2 * before) * stride), stride, np.empty((2, longest), np.int64),
            _aligned(4, taps), _aligned(4, taps), _aligned(volumes, taps), self._normals,
        )  # fmt: skip

    def make(self, first: int, block: Block) -> None:
        """Fill `block` with items first, first + 1, ... and their sigmas. An empty block only compiles."""
        if not self._compiled:
            self._compile()
        stored = block.items.reshape(len(block), math.prod(self.recipe.size)).view(np.uint8)
        if not self.recipe.ranges:
            colour.white(self.seed, np.uint64(first), self._storage, stored, self._values, self._normals)
            return
        count = len(self._filters.gains)
        for a in range(0, len(block), count):
            start = np.uint64(first + a)
            filters = self._filters._replace(sigmas=block.sigmas[a : a + count])
            colour.draw_filters(self.seed, start, self._colour, filters)
            self._filter(start, stored[a : a + count], filters)

    def _filter(self, start: np.uint64, stored: Array, filters: colour.Filters) -> None:
        self._kernel(self._colour, self.seed, start, self._storage, stored, filters, self._workspace)

    def _compile(self) -> None:
        """Compile, by calls for no items. What most recipes have in common, a second process compiles."""
        with cache.compiled_beside(self.recipe):
            if self.recipe.ranges:
                self._filter(np.uint64(0), np.empty((0, 0), np.uint8), self._filters)
            self._normals[2][0] = philox.compiled()
            self._storage.code[0] = convert.compiled(self._storage.size)
            cache.wait_for_second()
        if self.recipe.ranges:
            self.compile_filters()
        self._compiled = True

    def compile_filters(self) -> None:
        """Compile the drawing of filters, and the transforms."""
        colour.draw_filters(self.seed, np.uint64(0), self._colour, self._filters)
        if isinstance(self._workspace, spectral.Workspace):
            for codes, n in zip(self._workspace.transforms, self._colour.shape, strict=True):
                codes[:] = fourier.compiled(n, False), fourier.compiled(n, True)


def _colour(recipe: Filtered, places: Sequence[int]) -> colour.Colour:
    """The parameters of the noise, whose axes have these places among T, H and W."""
    shape, stretch = [1, 1, 1], np.ones(3)
    for place, n, factor in zip(places, recipe.size, recipe.stretch, strict=True):
        shape[place], stretch[place] = n, factor
    weights, ranges, wrap = np.array(recipe.mixture), np.array(recipe.ranges), recipe.boundary == "wrap"
    return colour.Colour(weights, ranges, LEAST_GAP, stretch, tuple(shape), 3 - min(places), wrap)


def _filters(of: colour.Colour) -> colour.Filters:
    """Memory for the filters of all items that one call makes; of no item's sigmas yet."""
    radius = max(int(4.0 * (float32(high) * max(of.stretch)) + 0.5) for _, high in of.ranges)
    count = max(1, _FILTERS_BYTES // (72 * (radius + 1)))
    return colour.Filters(
        np.empty((0, len(of.ranges)), np.float32), np.empty((count, 3, 3, radius + 1)),
        np.empty((count, 3, 3), np.int64), np.empty(count),
        np.empty((3, max(of.shape) + 2 * radius)), np.empty((3, 3)),
    )  # fmt: skip


def _whole_vectors(n: int) -> int:
    """n numbers, rounded up to whole vectors."""
    return -(-n // vectors.WIDTH) * vectors.WIDTH


def _apart(n: int) -> int:
    """The distance between planes of n numbers: an odd number of cache lines.

    So the numbers at one position in all planes spread over all sets of the cache.
    """
    return 16 * (-(-n // 16) | 1)


def _aligned(*shape: int, dtype: npt.DTypeLike = np.float32) -> Array:
    """Memory that starts at a page: direct writes need that, and vector loads need 64 bytes."""
    n = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.zeros(n + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + n].view(dtype).reshape(shape)
