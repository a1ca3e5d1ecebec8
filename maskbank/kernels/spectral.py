"""Coloured noise on a torus whose axes are powers of two: the fast way.

In the frequency domain a Gaussian is one number for each frequency, the product of one for each axis.
An item is transformed along its three axes, multiplied by

    (delta + a G1 + b G2) / gain

and transformed back, which takes half the arithmetic of filtering it, whatever the sigmas. It goes
through in three sweeps, so that little of it leaves the caches: plane by plane, where its white noise is
made and transformed along H; slab by slab, along T and W, there and back; plane by plane, back along H.
"""

import numpy as np

from maskbank.kernels.colour import draw_filters
from maskbank.kernels.convert import store
from maskbank.kernels.fourier import transform
from maskbank.kernels.jit import kernel
from maskbank.kernels.lines import WIDTH, transpose
from maskbank.kernels.philox import normals
from maskbank.kernels.streams import VOXELS

f32 = np.float32
f64 = np.float64
u64 = np.uint64

# Below, 1 - G is kept to its last digit rather than G, of which differences are then taken.
_SMALL_SIGMA = 0.8


@kernel
def _spectrum(taps, radius, axis, out, rest):
    """Fill out and rest, float64 (n,), with G and 1 - G of one axis in each slot of its transform."""
    frequencies, _, versines = axis
    n = frequencies.size
    for slot in range(n):
        total = 0.0
        for k in range(radius, 0, -1):
            total += 2.0 * taps[k] * versines[(k * frequencies[slot]) & (n - 1)]
        rest[slot] = total
        out[slot] = 1.0 - total


@kernel
def spectral_noise(
    colour, shape, t_levels, t_axis, h_levels, h_axis, w_levels, w_axis,
    seed, first, levels, stored, sigmas,
    white, plane, item, stride, slab, turned, taps, responses,
):  # fmt: skip
    """Fill stored, (count, T*H*W), with (delta w + a G1 w + b G2 w) / gain for each item, periodic.

    colour: weights, float64 (delta, a, b); ranges, float64 (2, 2), of the sigmas; stretch, float64 (3,), what
    multiplies them along T, H and W. shape: (T, H, W), all powers of two; for 2D noise H, of which nothing is
    filtered, is 1. For each axis, levels: a tuple of
    log2 places, and (frequencies int64, weights float64, 1 - cosines float64) of its transform.
    levels, stored: as `convert.store` takes them. sigmas: float32 (count, 1 or 2), filled with the draws.

    The rest is scratch, float32 but for taps and responses. Rows of W or T numbers are rounded up to
    whole vectors there. white: some planes of H*W. plane: H rows. item: T planes of H rows, `stride`
    numbers apart. slab: T rows of W, T rounded up to whole vectors; turned: W rows of T, likewise.
    """
    t_size, h_size, w_size = shape
    size = h_size * w_size
    row = (w_size + WIDTH - 1) // WIDTH * WIDTH
    column = (t_size + WIDTH - 1) // WIDTH * WIDTH
    run = white.size // size
    weights, _, stretch = colour
    longest = max(stretch[0], stretch[1], stretch[2])
    radii = np.empty((3, 2), np.int64)
    spectrum_t = np.zeros((2, 2, t_size))  # G and 1 - G, for both Gaussians
    spectrum_h = np.zeros((2, 2, h_size))
    spectrum_w = np.zeros((2, 2, w_size))
    constant = np.zeros(column, np.float32)
    factor1 = np.zeros(column, np.float32)
    factor2 = np.zeros(column, np.float32)
    for i in range(stored.shape[0]):
        number = u64(first + u64(i))
        norm = draw_filters(
            seed, number, colour, shape, True, True, sigmas[i], taps, radii, responses
        )  # fmt: skip
        for f in range(2):
            _spectrum(taps[0, f], radii[0, f], t_axis, spectrum_t[f, 0], spectrum_t[f, 1])
            _spectrum(taps[1, f], radii[1, f], h_axis, spectrum_h[f, 0], spectrum_h[f, 1])
            _spectrum(taps[2, f], radii[2, f], w_axis, spectrum_w[f, 0], spectrum_w[f, 1])
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
                _copy_rows(plane, row, white, start, w_size, w_size, h_size)
                source, start = plane, 0
            transform(item, t * stride, row, source, start, row, row, h_levels, ())
        for h in range(h_size):
            transform(slab, 0, row, item, h * row, stride, row, t_levels, ())
            transpose(turned, column, slab, row, column, row)
            transform(turned, 0, column, turned, 0, column, column, w_levels, ())
            _slab_factors(
                weights, rest1, rest2, t_axis[1], h_axis[1][h] / norm, spectrum_t, spectrum_h[:, :, h],
                constant, factor1, factor2,
            )  # fmt: skip
            for w in range(w_size):
                value1 = f32(w_axis[1][w] * spectrum_w[0, int(rest1), w])
                value2 = f32(w_axis[1][w] * spectrum_w[1, int(rest2), w])
                value0 = f32(w_axis[1][w])
                begin = u64(w * column)
                for t in range(u64(t_size)):
                    coefficient = value0 * constant[t] + value1 * factor1[t] + value2 * factor2[t]
                    turned[begin + t] *= coefficient
            transform(turned, 0, column, turned, 0, column, column, w_levels, (0,))
            transpose(slab, row, turned, column, row, column)
            transform(item, h * row, stride, slab, 0, row, row, t_levels, (0,))
        for t in range(t_size):
            transform(plane, 0, row, item, t * stride, row, row, h_levels, (0,))
            if row != w_size:
                _copy_rows(plane, w_size, plane, 0, row, w_size, h_size)  # closes the gaps
            store(plane[:size], levels, stored[i, t * size : (t + 1) * size])


@kernel
def _slab_factors(weights, rest1, rest2, slots, share, along_t, along_h, constant, factor1, factor2):
    """Fill the last three, float32, with c, e1, e2 such that, for each place t of a slab,

        slots[t] * share * (delta + a G1 + b G2) = c + e1 s1 + e2 s2

    where s is the Gaussian's number for W, or 1 minus that if `rest` is 1 rather than 0, since

        1 - G(t) G(h) G(w) = (1 - G(t)) + G(t) (1 - G(h)) + G(t) G(h) (1 - G(w))

    keeps every digit of a G that is close to 1. along_t: (2, 2, T), G and 1 - G for both Gaussians;
    along_h: (2, 2), the same for this slab.
    """
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
        constant[t] = f32(scale * c)
        factor1[t] = f32(scale * (sign1 * g1))
        factor2[t] = f32(scale * (sign2 * g2))


@kernel
def _copy_rows(dst, dst_stride, src, start, src_stride, n, rows):
    """Copy rows of n numbers, `src_stride` apart from src[start] on, to rows `dst_stride` apart."""
    for y in range(rows):
        a = u64(y * dst_stride)
        b = u64(start + y * src_stride)
        for x in range(u64(n)):
            dst[a + x] = src[b + x]
