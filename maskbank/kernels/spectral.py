"""Coloured noise on a torus whose axes are powers of two: the fast way.

In the frequency domain a Gaussian is one number for each frequency, the product of one for each axis.
An item is transformed along its three axes, multiplied by

    (delta + a G1 + b G2) / gain

and transformed back, which takes half the arithmetic of filtering it, whatever the sigmas. It goes
through in three sweeps, so that little of it leaves the caches: plane by plane, where its white noise is
made and transformed along H; slab by slab, along T and W, there and back; plane by plane, back along H.
"""

from typing import Any, NamedTuple

import numpy as np

from maskbank.kernels.colour import Filters, draw_filters
from maskbank.kernels.convert import store
from maskbank.kernels.fourier import transform
from maskbank.kernels.jit import kernel
from maskbank.kernels.lines import transpose
from maskbank.kernels.philox import normals
from maskbank.kernels.streams import VOXELS
from maskbank.kernels.vectors import WIDTH

f32 = np.float32
f64 = np.float64
u64 = np.uint64

# Below, 1 - G is kept to its last digit rather than G, of which differences are then taken.
_SMALL_SIGMA = 0.8


class Axis(NamedTuple):
    """The transform along an axis of n = 2**k places."""

    levels: tuple[int, ...]  # k numbers: the length is what counts
    frequencies: Any  # int64 (n,): the frequency in each slot
    weights: Any  # float64 (n,): what makes the inverse exact
    versines: Any  # float64 (n,): 1 - cos(2 pi j / n)


class Workspace(NamedTuple):
    """Memory for the making of an item, float32. Rows of W or T numbers are rounded up to whole vectors."""

    white: Any  # some planes of H*W numbers
    plane: Any  # H rows of W numbers
    item: Any  # T such planes
    stride: int  # how far apart those are
    slab: Any  # T rows of W numbers, T rounded up to whole vectors
    transposed: Any  # W rows of T numbers, likewise
    filters: Filters


@kernel
def _spectrum(kernel, frequencies, versines, out, rest):
    """Fill out and rest, float64 (n,), with G and 1 - G of one axis in each slot of its transform."""
    taps, radius = kernel
    n = frequencies.size
    for slot in range(n):
        total = 0.0
        for k in range(radius, 0, -1):
            total += 2.0 * taps[k] * versines[(k * frequencies[slot]) & (n - 1)]
        rest[slot] = total
        out[slot] = 1.0 - total


@kernel
def spectral_noise(colour, axes, seed, first, levels, stored, sigmas, workspace):
    """Fill stored, (count, T*H*W), with the items of a periodic colour from number `first` on.

    colour: all axes are powers of two; of 2D noise T and W are the axes, and H is 1. axes: the three Axis.
    levels, stored: as `convert.store` takes them. sigmas: float32 (count, 1 or 2), filled with the draws.
    """
    t_size, h_size, w_size = colour.shape
    t_axis, h_axis, w_axis = axes
    white, plane, item, stride, slab, transposed, filters = workspace
    taps, radii = filters.taps, filters.radii
    size = h_size * w_size
    row = (w_size + WIDTH - 1) // WIDTH * WIDTH
    column = (t_size + WIDTH - 1) // WIDTH * WIDTH
    run = white.size // size
    longest = max(colour.stretch[0], colour.stretch[1], colour.stretch[2])
    spectrum_t = np.zeros((2, 2, t_size))  # G and 1 - G, for both Gaussians
    spectrum_h = np.zeros((2, 2, h_size))
    spectrum_w = np.zeros((2, 2, w_size))
    factors = np.zeros((3, column), np.float32)
    constant, factor1, factor2 = factors[0], factors[1], factors[2]
    for i in range(stored.shape[0]):
        number = u64(first + u64(i))
        norm = draw_filters(seed, number, colour, sigmas[i], filters)
        for f in range(2):
            kernel_t, kernel_h, kernel_w = (
                (taps[0, f], radii[0, f]), (taps[1, f], radii[1, f]), (taps[2, f], radii[2, f]),
            )  # fmt: skip
            _spectrum(kernel_t, t_axis.frequencies, t_axis.versines, spectrum_t[f, 0], spectrum_t[f, 1])
            _spectrum(kernel_h, h_axis.frequencies, h_axis.versines, spectrum_h[f, 0], spectrum_h[f, 1])
            _spectrum(kernel_w, w_axis.frequencies, w_axis.versines, spectrum_w[f, 0], spectrum_w[f, 1])
        rest1 = 1.0 if f64(sigmas[i, 0]) * longest < _SMALL_SIGMA else 0.0
        rest2 = 1.0 if sigmas.shape[1] == 1 or f64(sigmas[i, 1]) * longest < _SMALL_SIGMA else 0.0
        for t in range(t_size):
            if t % run == 0:
                planes = min(run, t_size - t)
                normals(seed, VOXELS, number, t * size, white[: planes * size])
            source, start = white, (t % run) * size
            if row != w_size:
                for x in range(plane.size):
                    plane[x] = f32(0.0)
                _copy_rows((plane, 0, row), (white, start, w_size), w_size, h_size)
                source, start = plane, 0
            transform((item, t * stride, row), (source, start, row), row, h_axis.levels, ())
        for h in range(h_size):
            transform((slab, 0, row), (item, h * row, stride), row, t_axis.levels, ())
            transpose(transposed, column, slab, row, column, row)
            transform((transposed, 0, column), (transposed, 0, column), column, w_axis.levels, ())
            share = h_axis.weights[h] / norm
            _slab_factors(
                colour.weights,
                (rest1, rest2),
                t_axis.weights,
                share,
                spectrum_t,
                spectrum_h[:, :, h],
                factors,
            )
            for w in range(w_size):
                value1 = f32(w_axis.weights[w] * spectrum_w[0, int(rest1), w])
                value2 = f32(w_axis.weights[w] * spectrum_w[1, int(rest2), w])
                value0 = f32(w_axis.weights[w])
                begin = u64(w * column)
                for t in range(u64(t_size)):
                    coefficient = value0 * constant[t] + value1 * factor1[t] + value2 * factor2[t]
                    transposed[begin + t] *= coefficient
            transform((transposed, 0, column), (transposed, 0, column), column, w_axis.levels, (0,))
            transpose(slab, row, transposed, column, row, column)
            transform((item, h * row, stride), (slab, 0, row), row, t_axis.levels, (0,))
        for t in range(t_size):
            transform((plane, 0, row), (item, t * stride, row), row, h_axis.levels, (0,))
            if row != w_size:
                _copy_rows((plane, 0, w_size), (plane, 0, row), w_size, h_size)  # closes the gaps
            store(plane[:size], levels, stored[i, t * size : (t + 1) * size])


@kernel
def _slab_factors(weights, rests, slots, share, along_t, along_h, factors):
    """Fill factors, float32 (3, T), with c, e1, e2 such that, for each place t of a slab,

        slots[t] * share * (delta + a G1 + b G2) = c + e1 s1 + e2 s2

    where s is the Gaussian's number for W, or 1 minus that if its rest is 1 rather than 0, since

        1 - G(t) G(h) G(w) = (1 - G(t)) + G(t) (1 - G(h)) + G(t) G(h) (1 - G(w))

    keeps every digit of a G that is close to 1. along_t: (2, 2, T), G and 1 - G for both Gaussians;
    along_h: (2, 2), the same for this slab.
    """
    rest1, rest2 = rests
    a = weights[1]
    b = weights[2]
    base = weights[0] + rest1 * a + rest2 * b
    near1 = rest1 * a
    near2 = rest2 * b
    sign1 = (1.0 - 2.0 * rest1) * a * along_h[0, 0]
    sign2 = (1.0 - 2.0 * rest2) * b * along_h[1, 0]
    h1 = along_h[0, 1]
    h2 = along_h[1, 1]
    for t in range(slots.size):
        scale = slots[t] * share
        g1 = along_t[0, 0, t]
        g2 = along_t[1, 0, t]
        c = base - near1 * (along_t[0, 1, t] + g1 * h1) - near2 * (along_t[1, 1, t] + g2 * h2)
        factors[0, t] = f32(scale * c)
        factors[1, t] = f32(scale * (sign1 * g1))
        factors[2, t] = f32(scale * (sign2 * g2))


@kernel
def _copy_rows(target, source, n, rows):
    """Copy rows of n numbers. target, source: (array, start, stride), the stride from row to row."""
    (dst, d, d_stride), (src, s, s_stride) = target, source
    for y in range(rows):
        a = u64(d + y * d_stride)
        b = u64(s + y * s_stride)
        for x in range(u64(n)):
            dst[a + x] = src[b + x]
