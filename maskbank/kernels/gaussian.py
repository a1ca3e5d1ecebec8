"""Separable Gaussian filters: taps, gains, and the passes over one axis after the other.

The Gaussian is that of scipy.ndimage.gaussian_filter with truncate=4: radius int(4 sigma + 1/2), taps
exp(-k**2 / (2 sigma**2)) divided by their sum.
"""

import numpy as np

from maskbank.kernels.jit import inlined, kernel
from maskbank.kernels.lines import tap_sum

f32 = np.float32
f64 = np.float64
u64 = np.uint64

_LN2_HIGH = 0.693145751953125  # 16 significant bits: n * _LN2_HIGH is exact
_LN2_LOW = 1.42860682030941723212e-6


@inlined
def exp(x):
    """The exponential of a float64 x in [-700, 0], by a Taylor polynomial of degree 13; within 2 ulp."""
    n = int(x / 0.6931471805599453 - 0.5)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    total = 1.0
    for k in range(13, 0, -1):
        total = 1.0 + r * total / k
    for _ in range(-n):
        total *= 0.5
    return total


@inlined
def gaussian_taps(sigma, taps):
    """Fill taps, float64 (R + 1,), with half of the normalised Gaussian, then zeros. Returns its radius.

    sigma: in voxels; with 0.0 the identity. No radius is larger than R.
    """
    radius = int(4.0 * sigma + 0.5)
    for k in range(radius + 1, taps.size):
        taps[k] = 0.0
    total = 0.0
    for k in range(radius, 0, -1):
        taps[k] = exp(-0.5 * k * k / (sigma * sigma))
        total += 2.0 * taps[k]
    total += 1.0
    taps[0] = 1.0
    for k in range(radius + 1):
        taps[k] /= total
    return radius


@inlined
def gain(colour, taps, radii, responses, products):
    """2-norm of the impulse response of an item's filter, delta + a G1 + b G2.

    With a periodic boundary, the response on the torus of the filtered axes; otherwise the unbounded one.
    colour, taps, radii: as in `maskbank.kernels.colour`, of one item. responses, products: memory.

    The response is separable. For each axis this takes the responses of the identity, G1 and G2, folded onto
    the torus or centred, and their inner products with each other.
    """
    delta, a, b = colour.weights[0], colour.weights[1], colour.weights[2]
    for p in range(3):
        for q in range(3):
            products[p, q] = 1.0
    for axis in range(3):
        reach = radii[axis, 1] if radii[axis, 1] > radii[axis, 2] else radii[axis, 2]
        length = colour.shape[axis] if colour.periodic else 2 * reach + 1
        centre = 0 if colour.periodic else reach
        for f in range(3):
            for j in range(length):
                responses[f, j] = 0.0
            for k in range(-radii[axis, f], radii[axis, f] + 1):
                responses[f, (centre + k) % length] += taps[axis, f, k if k > 0 else -k]
        for p in range(3):
            for q in range(p, 3):
                total = 0.0
                for j in range(length):
                    total += responses[p, j] * responses[q, j]
                products[p, q] *= total
    square = delta * delta + a * a * products[1, 1] + b * b * products[2, 2]
    square += 2.0 * (delta * a * products[0, 1] + delta * b * products[0, 2] + a * b * products[1, 2])
    return np.sqrt(square if square > 0.0 else 0.0)


@kernel
def fold(n, margin, periodic, index):
    """Fill index[0..n + 2 margin - 1], int64: index[j] is the place in 0..n-1 for place j - margin.

    The continuation is cyclic if periodic, otherwise reflected about the edges of the axis, repeatedly where
    the kernel is longer than the axis: scipy.ndimage's modes 'wrap' and 'reflect'.
    """
    for j in range(n + 2 * margin):
        place = (j - margin) % (n if periodic else 2 * n)
        index[j] = place if place < n else 2 * n - 1 - place


@inlined
def _copy(dst, d, src, s, n):
    d = u64(d)
    s = u64(s)
    for x in range(u64(n)):
        dst[d + x] = src[s + x]


@kernel
def continue_lines(buffer, n, margin, width, index):
    """Continue n lines of `width` numbers by `margin` lines on either side.

    The first margin begins at buffer[0]; index as `fold` fills it.
    """
    inside = margin * width
    for j in range(margin):
        _copy(buffer, j * width, buffer, inside + index[j] * width, width)
        k = margin + n + j
        _copy(buffer, k * width, buffer, inside + index[k] * width, width)


ROWS = 8  # rows filtered one after the other along each axis, so that none is read before it is stored


@kernel
def plane_axes(plane, along_h, first, second, add, scratch):
    """Filter one plane along H, and the result along W with one filter or two.

    plane: (values, margin, H, W), values float32: `margin` lines, then H lines of W numbers, then `margin`
    lines more, filled by `continue_lines`. along_h: (taps, radius), float32, half of a symmetric kernel.
    first, second: (taps, radius, out, o), such a kernel along W and where the result goes, out[o:], H*W
    numbers. The first is added to what stands there if `add`; there is no second one if its radius is
    negative. scratch: (rows, index); index is `fold` of W with the larger radius as margin.
    """
    values, margin, h_size, w_size = plane
    taps1, radius1, out1, o1 = first
    taps2, radius2, out2, o2 = second
    rows, index = scratch
    reach = radius1 if radius1 > radius2 else radius2
    # a row starts at a multiple of 64 bytes, behind space for its continuation to the left
    before = (reach + 15) // 16 * 16
    stride = (before + w_size + reach + 15) // 16 * 16
    line = u64(w_size)
    wide = u64(reach)
    for top in range(0, h_size, ROWS):
        count = ROWS if top + ROWS < h_size else h_size - top
        for i in range(count):
            source = (values, (margin + top + i) * w_size, w_size)
            tap_sum((rows, i * stride + before), False, w_size, source, along_h)
        for i in range(count):
            start = u64(i * stride + before)
            for j in range(wide):
                rows[start - wide + j] = rows[start + u64(index[j])]
                rows[start + line + j] = rows[start + u64(index[wide + line + j])]
        for i in range(count):
            source = (rows, i * stride + before, 1)
            target = (top + i) * w_size
            tap_sum((out1, o1 + target), add, w_size, source, (taps1, radius1))
            if radius2 >= 0:
                tap_sum((out2, o2 + target), False, w_size, source, (taps2, radius2))
