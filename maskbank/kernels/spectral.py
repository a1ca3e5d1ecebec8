"""Coloured noise on a torus whose axes are powers of two: the fast way.

In the frequency domain a Gaussian is one number for each frequency, the product of one for each axis.
An item is transformed along its three axes, multiplied by

    (delta + a G1 + b G2) / gain

and transformed back. That takes half the arithmetic of filtering it, whatever the sigmas. There are three
sweeps, so that little of the item leaves the caches. The first makes the white noise and transforms it along
H, plane by plane. The second transforms along T and W, multiplies and transforms back, slab by slab. The
third transforms back along H, plane by plane.
"""

from typing import Any, NamedTuple

import numpy as np

from maskbank.kernels.convert import store
from maskbank.kernels.fourier import transform
from maskbank.kernels.jit import inlined, kernel, widest_vectors
from maskbank.kernels.lines import transpose
from maskbank.kernels.philox import normals
from maskbank.kernels.streams import VOXELS
from maskbank.kernels.vectors import WIDTH

f32 = np.float32
f64 = np.float64
u64 = np.uint64

# For smaller sigmas, 1 - G is computed to its last digit, and differences of Gaussians are taken from it.
_SMALL_SIGMA = 0.8


class Workspace(NamedTuple):
    """The transforms along T, H and W, each of 2**k places, n at most; and memory for making an item.

    The memory is float32. Rows of W or T numbers are rounded up to whole vectors.
    """

    transforms: Any  # int64 (3, 2): what `fourier.transform` runs, forward and back
    frequencies: Any  # int64 (3, n): the frequency in each slot
    weights: Any  # float64 (3, n): as `fourier.slots` gives them
    versines: Any  # float64 (3, n): 1 - cos(2 pi j / 2**k)
    white: Any  # some planes of H*W numbers, and one vector more
    plane: Any  # H rows of W numbers
    item: Any  # T such planes
    stride: int  # how far apart those are
    slab: Any  # T rows of W numbers, T rounded up to whole vectors
    transposed: Any  # W rows of T numbers, likewise
    spectra: Any  # float64 (3, 2, 2, n): along each axis, of both Gaussians, G and 1 - G in each slot
    factors: Any  # (3, T), T rounded up to whole vectors
    memory: Any  # that of `philox.normals`


@kernel
def spectral_noise(colour, seed, first, storage, stored, filters, workspace):
    """Fill stored, uint8 (count, bytes), with the items of a periodic colour from number `first` on.

    colour: all axes are powers of two; of 2D noise T and W are the axes, and H is 1. storage: that of
    `convert.store`. filters: as `colour.draw_filters` fills them.
    """
    widest_vectors()
    t_size, h_size, w_size = colour.shape
    transforms, frequencies, weights, versines, white, plane, item, stride = workspace[:8]
    slab, transposed, spectra, factors, memory = workspace[8:]
    sigmas, taps, radii, gains, _, _ = filters
    size = h_size * w_size
    row = (w_size + WIDTH - 1) // WIDTH * WIDTH
    column = (t_size + WIDTH - 1) // WIDTH * WIDTH
    run = white.size // size
    longest = 0.0
    for axis in range(3):
        longest = colour.stretch[axis] if colour.stretch[axis] > longest else longest
    for i in range(stored.shape[0]):
        number = u64(first + u64(i))
        for axis in range(3):
            n = colour.shape[axis]
            for f in range(2):
                for slot in range(n):
                    total = 0.0
                    for k in range(radii[i, axis, 1 + f], 0, -1):
                        place = (k * frequencies[axis, slot]) & (n - 1)
                        total += 2.0 * taps[i, axis, 1 + f, k] * versines[axis, place]
                    spectra[axis, f, 0, slot] = 1.0 - total
                    spectra[axis, f, 1, slot] = total
        rest1 = 1 if f64(sigmas[i, 0]) * longest < _SMALL_SIGMA else 0
        rest2 = 1 if sigmas.shape[1] == 1 or f64(sigmas[i, 1]) * longest < _SMALL_SIGMA else 0
        for t in range(t_size):
            if t % run == 0:
                planes = run if t + run < t_size else t_size - t
                normals(seed, VOXELS, number, t * size, white[: planes * size], memory)
            # where W is no multiple of a vector, the last vector of a row reaches into the next: harmless
            source = (white, (t % run) * size, w_size)
            transform((item, t * stride, row), source, row, transforms[1, 0])
        for h in range(h_size):
            transform((slab, 0, row), (item, h * row, stride), row, transforms[0, 0])
            transpose(transposed, column, slab, row, column, row)
            transform((transposed, 0, column), (transposed, 0, column), column, transforms[2, 0])
            share = weights[1, h] / gains[i]
            _slab_factors(colour.weights, (rest1, rest2), weights[0], share, t_size, h, spectra, factors)
            for w in range(w_size):
                value0 = f32(weights[2, w])
                value1 = f32(weights[2, w] * spectra[2, 0, rest1, w])
                value2 = f32(weights[2, w] * spectra[2, 1, rest2, w])
                begin = u64(w * column)
                for t in range(u64(t_size)):
                    coefficient = value0 * factors[0, t] + value1 * factors[1, t] + value2 * factors[2, t]
                    transposed[begin + t] *= coefficient
            transform((transposed, 0, column), (transposed, 0, column), column, transforms[2, 1])
            transpose(slab, row, transposed, column, row, column)
            transform((item, h * row, stride), (slab, 0, row), row, transforms[0, 1])
        for t in range(t_size):
            transform((plane, 0, row), (item, t * stride, row), row, transforms[1, 1])
            if row != w_size:
                for y in range(h_size):  # closes the gaps
                    for x in range(w_size):
                        plane[y * w_size + x] = plane[y * row + x]
            store(plane[:size], storage, stored[i], t * size)


@inlined
def _slab_factors(weights, rests, slots, share, n, h, spectra, factors):
    """Fill factors with c, e1, e2 such that, for each of the n places t of slab h,

        slots[t] * share * (delta + a G1 + b G2) = c + e1 s1 + e2 s2

    where s is the Gaussian's number for W, or 1 minus that if its rest is 1 rather than 0, since

        1 - G(t) G(h) G(w) = (1 - G(t)) + G(t) (1 - G(h)) + G(t) G(h) (1 - G(w))

    keeps every digit of a G that is close to 1.
    """
    rest1, rest2 = f64(rests[0]), f64(rests[1])
    a = weights[1]
    b = weights[2]
    base = weights[0] + rest1 * a + rest2 * b
    near1 = rest1 * a
    near2 = rest2 * b
    sign1 = (1.0 - 2.0 * rest1) * a * spectra[1, 0, 0, h]
    sign2 = (1.0 - 2.0 * rest2) * b * spectra[1, 1, 0, h]
    h1 = spectra[1, 0, 1, h]
    h2 = spectra[1, 1, 1, h]
    for t in range(n):
        scale = slots[t] * share
        g1 = spectra[0, 0, 0, t]
        g2 = spectra[0, 1, 0, t]
        c = base - near1 * (spectra[0, 0, 1, t] + g1 * h1) - near2 * (spectra[0, 1, 1, t] + g2 * h2)
        factors[0, t] = f32(scale * c)
        factors[1, t] = f32(scale * (sign1 * g1))
        factors[2, t] = f32(scale * (sign2 * g2))
