"""What all coloured noise has in common: the draw of its sigmas, its taps and its gain; white noise."""

import numpy as np

from maskbank.kernels.convert import store
from maskbank.kernels.gaussian import gain, gaussian_taps
from maskbank.kernels.jit import kernel
from maskbank.kernels.philox import block, normals, uniform
from maskbank.kernels.streams import SIGMAS, VOXELS

u32 = np.uint32
u64 = np.uint64
f32 = np.float32
f64 = np.float64

GAP = 0.05  # recipes.LEAST_GAP: not imported, since kernels compiled before would not notice a change

# Below this nothing of the difference is left in the numbers of a tiny grid; keeps the quotient finite.
LEAST_GAIN = 1e-7

RUN = 8192  # white numbers made at once


@kernel
def draw(seed, index, ranges, out):
    """Fill out, float32 (1,) or (2,), with the sigmas of item `index`: uniform in ranges, float64 (2, 2).

    Attempt a takes its two words from block a of stream SIGMAS. A draw whose two sigmas, as stored,
    are less than GAP apart or in the wrong order is drawn again.
    """
    attempt = 0
    while True:
        first, second, _, _ = block(
            u32(attempt),
            u32(SIGMAS),
            u32(index & u64(0xFFFFFFFF)),
            u32(index >> u64(32)),
            u32(seed & u64(0xFFFFFFFF)),
            u32(seed >> u64(32)),
        )
        out[0] = f32(ranges[0, 0] + (ranges[0, 1] - ranges[0, 0]) * uniform(first))
        if out.size == 1:
            return
        out[1] = f32(ranges[1, 0] + (ranges[1, 1] - ranges[1, 0]) * uniform(second))
        if f64(out[1]) - f64(out[0]) >= GAP:
            return
        attempt += 1


@kernel
def draw_all(seed, first, ranges, out):
    """Fill out, float32 (count, sigmas), with the sigmas of items first, first + 1, ..."""
    for i in range(out.shape[0]):
        draw(seed, u64(first + u64(i)), ranges, out[i])


@kernel
def white(seed, first, levels, stored):
    """Fill stored, (count, voxels) for `convert.store`, with the white noise of items first, first + 1..."""
    values = np.empty(min(stored.shape[1], RUN), np.float32)
    for i in range(stored.shape[0]):
        for start in range(0, stored.shape[1], RUN):
            n = min(RUN, stored.shape[1] - start)
            normals(seed, VOXELS, u64(first + u64(i)), start, values[:n])
            store(values[:n], levels, stored[i, start : start + n])


@kernel
def draw_filters(seed, number, colour, shape, volume, periodic, sigmas, taps, radii, responses):
    """Draw an item's sigmas and prepare its filter; its gain, that of `gaussian.gain`.

    colour: weights, ranges and stretch, as the kernels of noise take them. shape: the extents of the axes;
    the first one is none unless `volume`. Fills sigmas, float32 (1,) or (2,); taps, float64 (3, 2, radius +
    1), with half of both Gaussians along each axis; and radii, int64 (3, 2). A second Gaussian that is not
    there is the identity, with weight 0.
    """
    weights, ranges, stretch = colour
    draw(seed, number, ranges, sigmas)
    for axis in range(3):
        radii[axis, 0] = gaussian_taps(f64(sigmas[0]) * stretch[axis], taps[axis, 0])
        radii[axis, 1] = 0
        taps[axis, 1, 0] = 1.0
        if sigmas.size == 2:
            radii[axis, 1] = gaussian_taps(f64(sigmas[1]) * stretch[axis], taps[axis, 1])
    first = 0 if volume else 1
    return max(gain(first, shape, periodic, weights, taps, radii, responses), LEAST_GAIN)
