"""Reads clips one at a time, from arrays and from files of arrays, video or sound; cuts them into tokens."""

import math
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskbank.analysis.covariance import Correlation, Grid, estimate
from maskbank.analysis.media import media_files, media_shape, read_media
from maskbank.checks import format_size
from maskbank.errors import MaskbankError, RecipeError, check_installed, warn
from maskbank.sampling.windows import Array, Float32s, Float64s

PATCHES = {3: (2, 16, 16), 2: (16, 16), 1: (16,)}  # by the axes of a clip: VideoMAE's, MAE's and AudioMAE's
CHANNELS = 4  # images (N, H, W, C) have at most so many
PIXELS = 16  # read of each token; more change a difficulty by less than 0.004
CLIPS = 256  # read by default; their standard errors show that they are enough
HUGE = 1e15  # float32 cannot add up squares of larger values
FEW = 8  # clips; with fewer, errors are rough
EPSILON = 1e-6  # added to the variance of a patch, as MAE does


@dataclass(frozen=True)
class Clips:
    """Clips of one array: their number, the shape of each, and `read`, which yields those at some indices."""

    name: str
    count: int
    shape: tuple[int, ...]
    read: Callable[[Sequence[int]], Iterator[Array]]


def opened(data: Any) -> list[Clips]:
    """Open data: an array, the name of a file, or several names. All clips have one shape.

    Raises RecipeError for arrays that cannot hold clips, MaskbankError for files that cannot be read.
    """
    names = data if isinstance(data, list | tuple) else [data]
    if names and all(isinstance(name, str | os.PathLike) for name in names):
        sources = [_file(os.fspath(name)) for name in names]
        for other in sources[1:]:
            if other.shape != sources[0].shape:
                raise RecipeError(
                    f"{other.name} holds clips of {format_size(other.shape)}, {sources[0].name} of "
                    f"{format_size(sources[0].shape)}; give clips of one shape"
                )
        return sources
    if not hasattr(data, "shape") or not hasattr(data, "dtype"):
        try:
            data = np.asarray(data)
        except ValueError:
            raise RecipeError("clips differ in shape; give one array (N, ...), or files of arrays") from None
    return [_array("clips", data)]


def _file(path: str) -> Clips:
    """The clips of a file: FILE, or FILE:NAME where it holds several arrays."""
    name = ""
    if not os.path.exists(path) and ":" in path:
        path, name = path.rsplit(":", 1)
    if not os.path.exists(path):
        raise MaskbankError(f"there is no file {path}")
    if files := media_files(path):
        return _media(path, files)
    suffix = os.path.splitext(path)[1].lower()
    readers = {".npz": _npz, ".h5": _hdf5, ".hdf5": _hdf5}
    if os.path.isdir(path) or suffix not in (".npy", *readers):
        raise MaskbankError(
            f"{path} is no .npy, .npz or .h5 file, and no video or sound; save the clips as one array"
        )
    try:
        if suffix == ".npy":
            return _array(path, np.load(path, mmap_mode="r"))
        return readers[suffix](path, name)
    except RecipeError:  # a ValueError, too
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise MaskbankError(f"{path} cannot be read as an array: {error}") from None


def _media(path: str, files: list[str]) -> Clips:
    """The clips of video or sound files: one of each file."""
    check_installed("av", "video and sound files need PyAV", "media")
    shape = media_shape(files[0])
    other = next((name for name in files if media_shape(name) != shape), None)
    if other is not None:
        raise MaskbankError(f"{path} holds both video and sound, as {files[0]} and {other}; take one of them")
    return Clips(path, len(files), shape, lambda some: (read_media(files[i]) for i in some))


def _npz(path: str, name: str) -> Clips:
    """One array of an archive. Each clip is decompressed when it is read."""
    with np.load(path) as archive:
        chosen = _one(path, name, archive.files)
        member = f"{chosen}.npy"
        with archive.zip.open(member) as file:
            np.lib.format.read_magic(file)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            start = file.tell()
        _check(path, shape, dtype)
        if fortran:
            return _array(path, archive[chosen])
    size = math.prod(shape[1:]) * dtype.itemsize

    def read(indices: Sequence[int]) -> Iterator[Array]:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            for i in indices:
                file.seek(start + i * size)
                yield np.frombuffer(file.read(size), dtype).reshape(shape[1:])

    return Clips(path, shape[0], shape[1:], read)


def _hdf5(path: str, name: str) -> Clips:
    """One dataset of an HDF5 file, FILE:DATASET."""
    import h5py

    names: list[str] = []
    with h5py.File(path, "r", locking=False) as file:
        file.visititems(lambda key, value: names.append(key) if isinstance(value, h5py.Dataset) else None)
        chosen = _one(path, name.strip("/"), names)
        shape, dtype = file[chosen].shape, file[chosen].dtype
    _check(path, shape, dtype)

    def read(indices: Sequence[int]) -> Iterator[Array]:
        with h5py.File(path, "r", locking=False) as file:
            for i in indices:
                yield file[chosen][i]

    return Clips(f"{path}:{chosen}", shape[0], tuple(shape[1:]), read)


def _one(path: str, name: str, names: list[str]) -> str:
    """The array called `name`, or the only one."""
    if name in names:
        return name
    if not name and len(names) == 1:
        return names[0]
    there = ", ".join(names[:10]) or "no array"
    raise MaskbankError(f"{path} holds {there}; name one of them, as {path}:{names[0] if names else 'NAME'}")


def _array(name: str, array: Any) -> Clips:
    _check(name, array.shape, array.dtype)
    return Clips(name, len(array), tuple(array.shape[1:]), lambda some: (np.asarray(array[i]) for i in some))


def _check(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise RecipeError where an array cannot hold clips."""
    if not any(word in str(dtype) for word in ("int", "float", "bool")):
        raise RecipeError(f"{name} holds {dtype}; clips are arrays of numbers")
    if not 2 <= len(shape) <= 5 or 0 in shape:
        raise RecipeError(
            f"{name} has the shape {tuple(shape)}; clips are (N, T, H, W), (N, T, H, W, C), (N, H, W), "
            "(N, H, W, C), spectrograms (N, T, F) or signals (N, L)"
        )


def patch_for(shape: tuple[int, ...], patch: Any = None) -> tuple[int, ...]:
    """The given patch, or the usual one for clips of this shape; RecipeError where it does not fit."""
    if patch is None:
        axes = len(shape) - (len(shape) == 4 or (len(shape) == 3 and shape[-1] <= CHANNELS))
        return PATCHES[axes]
    extents = tuple(patch)
    if not 1 <= len(extents) <= 3 or any(not hasattr(n, "__index__") or n < 1 for n in extents):
        raise RecipeError(f"patch={patch!r} is no patch; give 1 to 3 whole numbers, as (2, 16, 16)")
    if len(shape) - len(extents) not in (0, 1):
        raise RecipeError(
            f"patch={format_size(extents)} has {len(extents)} axes, the clips have {len(shape)}: "
            f"{format_size(shape)}; a patch has an axis for each of theirs, the channels left out"
        )
    if len(extents) == 2 < len(shape) and shape[-1] > CHANNELS:
        warn(f"the last axis, {shape[-1]}, is taken for channels; if it is the width, give a patch of 3 axes")
    return tuple(int(n) for n in extents)


def grid_of(shape: tuple[int, ...], patch: tuple[int, ...]) -> Grid:
    """How many tokens a clip has along each axis, or RecipeError where patches do not fit."""
    extents = shape[: len(patch)]
    if any(n % p or n < p for n, p in zip(extents, patch, strict=True)):
        fitting = format_size(tuple(max(n // p, 1) * p for n, p in zip(extents, patch, strict=True)))
        raise RecipeError(
            f"clips of {format_size(extents)} do not divide into patches of {format_size(patch)}; "
            f"crop or resize them to {fitting}, or give another patch"
        )
    return tuple(n // p for n, p in zip(extents, patch, strict=True))


class Tokens:
    """Cuts clips into tokens and keeps some pixels of each: tokens(clip) is (pixels, *grid)."""

    def __init__(self, shape: tuple[int, ...], patch: tuple[int, ...], normalised: bool) -> None:
        self.grid = grid_of(shape, patch)
        self.normalised = normalised
        extents = (*patch, shape[-1] if len(shape) > len(patch) else 1)
        self._split = (*(n for pair in zip(self.grid, patch, strict=True) for n in pair), extents[-1])
        pixels = math.prod(extents)
        rng = np.random.default_rng(0)
        chosen = np.sort(rng.permutation(pixels)[:PIXELS]) if pixels > PIXELS else np.arange(pixels)
        self._chosen = np.unravel_index(chosen, extents)
        self.pixels = len(chosen)  # that are kept of each token

    def __call__(self, clip: Array) -> Float32s:
        """float32 (pixels, *grid); where normalised, each patch has mean 0 and deviation 1.

        Mean and deviation are those over all its pixels and channels, as in MAE's norm_pix_loss.
        """
        last = len(self._split) - 1
        patches = clip.reshape(self._split).transpose(*range(1, last, 2), last, *range(0, last, 2))
        out = patches[self._chosen].astype(np.float32)
        if self.normalised:
            inside, every = tuple(range(len(self._chosen))), patches.astype(np.float32)
            out = (out - every.mean(inside)) / np.sqrt(every.var(inside) + EPSILON)
        return out


def measure(
    sources: list[Clips], tokens: Tokens, most: int, progress: Callable[[int, int], None] | None = None
) -> Correlation:
    """The correlation of the tokens of at most so many clips, evenly spaced over the sources.

    RecipeError where a clip holds NaN, infinite or huge values, or nothing varies.
    """
    count = sum(source.count for source in sources)
    chosen = [i * count // min(most, count) for i in range(min(most, count))]
    if len(chosen) < FEW:
        warn(f"{len(chosen)} clips are few: the errors are rough; a few hundred are enough")

    def cut() -> Iterator[Float32s]:
        first = done = 0  # clips of the sources before, and clips that are measured
        for source in sources:
            here = [i - first for i in chosen if first <= i < first + source.count]
            for i, clip in zip(here, source.read(here), strict=True):
                if not np.isfinite(clip).all() or np.abs(clip).max() > HUGE:
                    what = f"clip {first + i} holds NaN, infinite or huge values"
                    raise RecipeError(f"{what}; leave it out, or scale it")
                yield tokens(clip)
                done += 1
                if progress is not None:
                    progress(done, len(chosen))
            first += source.count

    return estimate(cut(), tokens.grid, tokens.pixels)


def patch_on(shape: tuple[int, ...], grid: Grid) -> tuple[int, ...]:
    """The patch that cuts clips of this shape into a grid of tokens, or RecipeError."""
    fits = len(grid) <= 3 and len(shape) - len(grid) in (0, 1)
    if not fits or any(n % g for n, g in zip(shape, grid, strict=False)):
        raise RecipeError(
            f"clips of {format_size(shape)} do not divide into {format_size(grid)} tokens; "
            "give others, or another grid"
        )
    return tuple(n // g for n, g in zip(shape, grid, strict=False))


def correlation_on(data: Any, grid: Grid) -> Float64s:
    """The correlation of clips that are cut into this grid: float64 (2 T, 2 H, 2 W), as in `covariance`.

    RecipeError where they do not divide into the grid.
    """
    sources = opened(data)
    shape = sources[0].shape
    return np.asarray(measure(sources, Tokens(shape, patch_on(shape, grid), False), CLIPS).values[0])
