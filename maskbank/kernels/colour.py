"""What all coloured noise needs: the draw of its sigmas, its taps and its gain. Also white noise."""

from typing import Any, NamedTuple

import numpy as np

from maskbank.kernels.convert import store
from maskbank.kernels.gaussian import gain, gaussian_taps
from maskbank.kernels.jit import inlined, kernel
from maskbank.kernels.philox import block, normals, uniform
from maskbank.kernels.streams import SIGMAS, VOXELS

u32 = np.uint32
u64 = np.uint64
f32 = np.float32
f64 = np.float64

# On a tiny grid two Gaussians may differ by less than rounding. This bound keeps the quotient finite.
LEAST_GAIN = 1e-7

RUN = 8192  # white numbers made at once

# A recipe is refused if fewer than one draw in 2**18 has its sigmas far enough apart, so this is enough.
ATTEMPTS = 2**24


class Colour(NamedTuple):
    """The filter of a recipe's items: (delta w + a G(sigma1) w + b G(sigma2) w) / gain (equations 1 to 4)."""

    weights: Any  # float64 (3,): delta, a, b; delta is -a or 0
    ranges: Any  # float64 (1 or 2, 2): of each sigma, the lowest and the highest
    gap: float  # sigma2 - sigma1 is at least this
    stretch: Any  # float64 (3,): what multiplies the sigmas along T, H and W
    shape: tuple[int, ...]  # T, H, W
    axes: int  # of the noise: the last ones of the shape; the others have length 1 and are not filtered
    periodic: bool  # boundary wrap, otherwise reflect


class Filters(NamedTuple):
    """The filters of some items: along each axis the identity, G1 and G2. No radius is larger than R."""

    sigmas: Any  # float32 (count, 1 or 2): of G1 and, where the colour has it, of G2
    taps: Any  # float64 (some, 3, 3, R + 1), some >= count: half of each filter, then zeros
    radii: Any  # int64 (some, 3, 3)
    gains: Any  # float64 (some,), at least LEAST_GAIN
    responses: Any  # float64 (3, longest axis + 2 R): memory
    products: Any  # float64 (3, 3): memory


@inlined
def draw(seed, index, ranges, gap, out):
    """Fill out, float32 (1 or 2,), with the sigmas of item `index`: uniform in ranges, float64 (1 or 2, 2).

    Attempt a takes its two words from block a of stream SIGMAS. A draw whose two sigmas, as stored,
    are less than `gap` apart or in the wrong order is drawn again.
    """
    for attempt in range(ATTEMPTS):
        first, second, _, _ = block(
            u32(attempt),
            u32(SIGMAS),
            u32(index & u64(0xFFFFFFFF)),
            u32(index >> u64(32)),
            u32(seed & u64(0xFFFFFFFF)),
            u32(seed >> u64(32)),
        )
        out[0] = f32(ranges[0, 0] + (ranges[0, 1] - ranges[0, 0]) * uniform(first))
        if out.size > 1:
            out[1] = f32(ranges[1, 0] + (ranges[1, 1] - ranges[1, 0]) * uniform(second))
        if out.size == 1 or f64(out[1]) - f64(out[0]) >= gap:
            break


@kernel
def draw_all(seed, first, ranges, gap, out):
    """Fill out, float32 (count, sigmas), with the sigmas of items first, first + 1, ..."""
    for i in range(out.shape[0]):
        draw(seed, u64(first + u64(i)), ranges, gap, out[i])


@kernel
def white(seed, first, storage, stored, values, memory):
    """Fill stored, uint8 (count, bytes), with the white noise of items first, first + 1, ...

    storage: that of `convert.store`. values: float32 (RUN,), memory. memory: that of `philox.normals`.
    """
    voxels = stored.shape[1] // storage.size
    for i in range(stored.shape[0]):
        for start in range(0, voxels, RUN):
            n = RUN if start + RUN < voxels else voxels - start
            normals(seed, VOXELS, u64(first + u64(i)), start, values[:n], memory)
            store(values[:n], storage, stored[i], start)


@kernel
def draw_filters(seed, first, colour, filters):
    """Draw the sigmas of items first, first + 1, ..., and prepare their filters: fills `filters`.

    Where a colour has no second Gaussian, that is the identity, with weight 0. Along an axis that the noise
    does not have, all filters are the identity.
    """
    sigmas, taps, radii, gains, responses, products = filters
    for i in range(sigmas.shape[0]):
        draw(seed, u64(first + u64(i)), colour.ranges, colour.gap, sigmas[i])
        for axis in range(3):
            for f in range(3):
                sigma = 0.0
                if axis >= 3 - colour.axes and 0 < f <= sigmas.shape[1]:
                    sigma = f64(sigmas[i, f - 1]) * colour.stretch[axis]
                radii[i, axis, f] = gaussian_taps(sigma, taps[i, axis, f])
        norm = gain(colour, taps[i], radii[i], responses, products)
        gains[i] = norm if norm > LEAST_GAIN else LEAST_GAIN
