"""Slow twins of the kernels, written from the papers and from SciPy's definitions, never from the kernels.

Everything is in Python integers or float64, so a disagreement is the kernels' fault or this file's, and
never rounding beyond the tolerance a test states.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, special

from maskbank.recipes import Recipe

Float64s = npt.NDArray[np.float64]

MASK = 0xFFFFFFFF
VOXELS, SIGMAS = 0, 1

# What the paper's equations 1 to 3 (and ColorMAE's fourth colour) do to w, G(s1) w and G(s2) w
EQUATIONS = {"red": (0, 1, 0), "blue": (1, -1, 0), "green": (0, 1, -1), "purple": (1, -1, 1)}


def philox4x32_10(counter: tuple[Any, ...], key: tuple[int, int]) -> tuple[Any, ...]:
    """Salmon, Moraes, Dror and Shaw (2011), section 3.3: ten rounds, the key raised between them.

    The counter's words are Python ints, or uint64 arrays of values below 2**32.
    """
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(10):
        low, high = x0 * 0xD2511F53, x2 * 0xCD9E8D57
        x0, x1, x2, x3 = (high >> 32) ^ x1 ^ k0, high & MASK, (low >> 32) ^ x3 ^ k1, low & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return x0, x1, x2, x3


def words(seed: int, stream: int, index: int, block: Any) -> tuple[Any, ...]:
    """The four words of a block (or of a uint64 array of blocks), 64-bit seed and index low word first."""
    zero = block * 0
    return philox4x32_10(
        (block, zero + stream, zero + (index & MASK), zero + (index >> 32)), (seed & MASK, seed >> 32)
    )


def uniform(word: Any) -> Any:
    """(word + 1/2) / 2**32, exact in float64."""
    return (word + 0.5) / 2.0**32


def box_muller(radius_words: npt.NDArray[Any], angle_words: npt.NDArray[Any]) -> tuple[Float64s, Float64s]:
    """Box and Muller (1958): r cos a and r sin a, in float64."""
    radius = np.sqrt(-2.0 * np.log(uniform(radius_words)))
    angle = 2.0 * np.pi * uniform(angle_words)
    return radius * np.cos(angle), radius * np.sin(angle)


def normals(seed: int, stream: int, index: int, first: int, n: int) -> Float64s:
    """Numbers first..first+n-1 of an item's stream: block b gives numbers 4b to 4b+3."""
    blocks = np.arange(first // 4, (first + n + 3) // 4, dtype=np.uint64)
    w0, w1, w2, w3 = words(seed, stream, index, blocks)
    four = np.stack((*box_muller(w0, w1), *box_muller(w2, w3)), axis=1).reshape(-1)
    return four[first % 4 :][:n]


def white(size: tuple[int, ...], seed: int, index: int) -> Float64s:
    """The white noise of an item."""
    return normals(seed, VOXELS, index, 0, math.prod(size)).reshape(size)


def sigmas(recipe: Recipe, seed: int, index: int) -> npt.NDArray[np.float32]:
    """An item's sigmas: attempt a reads block a; two sigmas less than 0.05 apart are drawn again."""
    for attempt in range(10**6):
        two = words(seed, SIGMAS, index, attempt)[:2]
        drawn = [
            np.float32(low + (high - low) * uniform(word))
            for (low, high), word in zip(recipe.ranges, two, strict=False)
        ]
        if len(drawn) < 2 or float(drawn[1]) - float(drawn[0]) >= 0.05:
            return np.array(drawn, np.float32)
    raise AssertionError("no draw was accepted")


def apply(colour: str, w: Float64s, sigma: npt.NDArray[np.float32], mode: str) -> Float64s:
    """Equations 1 to 3 with scipy.ndimage's Gaussian of truncate=4, undivided."""
    delta, a, b = EQUATIONS[colour]
    total = delta * w + a * ndimage.gaussian_filter(w, float(sigma[0]), mode=mode, truncate=4.0)
    if b:
        total = total + b * ndimage.gaussian_filter(w, float(sigma[1]), mode=mode, truncate=4.0)
    return np.asarray(total)


def gain(colour: str, size: tuple[int, ...], sigma: npt.NDArray[np.float32], boundary: str) -> float:
    """2-norm of the impulse response: on the torus for wrap, unbounded for reflect."""
    if boundary == "reflect":
        radius = int(4.0 * float(max(sigma)) + 0.5)
        size = (2 * radius + 1,) * len(size)
    impulse = np.zeros(size)
    impulse[tuple(n // 2 for n in size)] = 1.0
    response = apply(colour, impulse, sigma, "wrap" if boundary == "wrap" else "constant")
    return float(np.sqrt(np.sum(response**2)))


def item(recipe: Recipe, seed: int, index: int) -> tuple[Float64s, float]:
    """An item of coloured noise in float64, and its gain."""
    drawn = sigmas(recipe, seed, index)
    norm = gain(recipe.colour, recipe.size, drawn, recipe.boundary)
    filtered = apply(recipe.colour, white(recipe.size, seed, index), drawn, recipe.boundary)
    return filtered / norm, norm


def transfer(colour: str, size: tuple[int, ...], sigma: npt.NDArray[np.float32], boundary: str) -> Float64s:
    """What the filter multiplies each coefficient by: of the FFT for wrap, of the DCT-II for reflect.

    The cosine series of the taps, at angle 2 pi k / n or, half-sample symmetric, at pi k / n.
    """
    delta, *weights = EQUATIONS[colour]
    total = np.full(size, float(delta))
    for weight, s in zip(weights, sigma, strict=False):
        radius = int(4.0 * float(s) + 0.5)
        places = np.arange(-radius, radius + 1)
        taps = np.exp(-0.5 * (places / float(s)) ** 2)
        taps /= taps.sum()
        product = np.ones(size)
        for axis, n in enumerate(size):
            angles = np.arange(n) * (2.0 * np.pi if boundary == "wrap" else np.pi) / n
            line = np.cos(np.outer(angles, places)) @ taps
            product = product * line.reshape([-1 if a == axis else 1 for a in range(len(size))])
        total = total + weight * product
    return total


def spectrum(recipe: Recipe, sigma: npt.NDArray[np.float32]) -> tuple[Float64s, npt.NDArray[np.int64]]:
    """The analytic power of each coefficient of an item, and the number of its radial shell."""
    norm = gain(recipe.colour, recipe.size, sigma, recipe.boundary)
    power = (transfer(recipe.colour, recipe.size, sigma, recipe.boundary) / norm) ** 2
    square = np.zeros(recipe.size)
    for axis, n in enumerate(recipe.size):
        frequency = np.arange(n) / (2 * n) if recipe.boundary == "reflect" else np.fft.fftfreq(n)
        square = square + frequency.reshape([-1 if a == axis else 1 for a in range(len(recipe.size))]) ** 2
    return power, np.floor(np.sqrt(square) * 32.0).astype(np.int64)


def quantiles() -> Float64s:
    """The 255 inner 256-quantiles of N(0, 1)."""
    return np.asarray(special.ndtri(np.arange(1, 256) / 256.0))
