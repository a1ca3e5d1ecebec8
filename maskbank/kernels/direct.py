"""Coloured noise by filtering one axis after the other: any size, both boundaries."""

import numpy as np

from maskbank.kernels.colour import draw_filters
from maskbank.kernels.convert import store
from maskbank.kernels.gaussian import complement_taps, continue_lines, fold, plane_axes
from maskbank.kernels.jit import kernel
from maskbank.kernels.lines import tap_sum
from maskbank.kernels.philox import VOXELS, normals

f32 = np.float32
u64 = np.uint64

# Where two Gaussians are both close to the identity, their difference is that of their complements.
# Elsewhere the direct difference is as exact and cheaper; see gaussian.py.
_SMALL_SIGMA = 0.8
_SMALL_GAIN = 0.15

STRIP = 128  # columns filtered along T at once: a strip of all planes stays in the first-level cache


@kernel
def direct_noise(
    weights, ranges, shape, volume, periodic, seed, first, levels, stored, sigmas,
    plane, rows, planes, stride, part, index, taps, responses,
):  # fmt: skip
    """Fill stored, (count, T*H*W), with (delta w + a G1 w + b G2 w) / gain for each item.

    weights: float64 (delta, a, b). ranges: float64 (2, 2), the sigmas' ranges. shape: (T, H, W), where
    T is an axis of the noise if `volume`, else 1. periodic: wrap, or reflect. levels, stored: as `store`
    takes them. sigmas: float32 (count, 1 or 2), filled with the draws. The rest is scratch, float32 but
    for index, int64 (2, longest axis + 2 radius), taps, float64 (3, radius + 1) and responses, float64.

    An item goes through in two sweeps, so that little of it leaves the caches: plane by plane along H
    and W, its white noise made on the way, and strip by strip along T.
    """
    delta, weight1, weight2 = weights
    t_size, h_size, w_size = shape
    size = h_size * w_size
    filters = sigmas.shape[1]
    near = np.empty((2, taps.shape[1]), np.float32)  # taps along H and W
    far = np.empty((2, taps.shape[1]), np.float32)  # taps along T, with the weight
    scale = np.empty(2, np.float32)
    for i in range(stored.shape[0]):
        number = u64(first + u64(i))
        radii, norm = draw_filters(
            seed, number, ranges, shape, volume, periodic, weights, sigmas[i], taps, responses
        )  # fmt: skip
        close = filters == 2 and delta == 0.0 and norm < _SMALL_GAIN and sigmas[i, 0] < _SMALL_SIGMA
        for f in range(filters):
            scale[f] = _scaled_taps(
                taps, f, radii[f], (weight1 if f == 0 else weight2) / norm,
                close or (delta != 0.0 and f == 0), volume, near[f], far[f],
            )  # fmt: skip
        margin = max(radii)
        fold(h_size, margin, periodic, index[0])
        for t in range(t_size):
            inside = margin * w_size
            normals(seed, VOXELS, number, t * size, plane[inside : inside + size])
            continue_lines(plane, 0, h_size, margin, w_size, index[0])
            with_rest = close or delta != 0.0
            if with_rest:
                for x in range(t * size, (t + 1) * size):
                    part[x] = f32(0.0)
            for f in range(filters):
                rest = close or (delta != 0.0 and f == 0)
                reach = radii[f] if volume else 0
                fold(w_size, radii[f], periodic, index[1])
                plane_axes(
                    plane, margin, h_size, w_size, near[f], radii[f], rest, scale[f],
                    rows, index[1], planes[f], (reach + t) * stride, part, t * size,
                )  # fmt: skip
        for f in range(filters):
            reach = radii[f] if volume else 0
            fold(t_size, reach, periodic, index[0])
            continue_lines(planes[f], 0, t_size, reach, stride, index[0])
        strip = rows[:STRIP]
        for start in range(0, size, STRIP):
            n = min(STRIP, size - start)
            for t in range(t_size):
                here = t * size + start
                if with_rest:
                    for x in range(n):
                        strip[x] = part[here + x]
                for f in range(filters):
                    reach = radii[f] if volume else 0
                    source = (reach + t) * stride + start
                    add = with_rest or f > 0
                    tap_sum(strip, 0, add, n, planes[f], source, stride, far[f], reach)
                store(strip[:n], levels, stored[i, here : here + n])


@kernel
def _scaled_taps(taps, f, radius, weight, rest, volume, near, far):
    """Fill near and far, float32, with filter f's taps along H and W, and along T times its weight.

    Where `rest`, the filter is the complement and the weight is negated, since delta w + a G w is
    (delta + a) w - a (1 - G) w, and the weights of w itself add up to nothing. Returns the weight.
    """
    used = taps[f]
    if rest:
        complement_taps(taps[f], radius, taps[2])
        used = taps[2]
        weight = -weight
    for k in range(radius + 1):
        near[k] = f32(used[k])
        far[k] = f32(weight * used[k])
    if not volume:
        far[0] = f32(0.0) if rest else f32(weight)
    return f32(weight)
