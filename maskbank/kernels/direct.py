"""Coloured noise by filtering one axis after the other: any size, both boundaries.

A colour is a sum of Gaussians and of differences A - B, where A is a Gaussian or the identity, and B is a
Gaussian. Computing A w and B w first and then subtracting loses most digits where A and B are close: with a
sigma of 0.3, a unit in the last place of w is a hundred thousandth of w - G w. So a difference is one
filter. With e = a - b, the difference of the one-dimensional kernels of an axis, made in float64:

    a(H) a(W) a(T) - b(H) b(W) b(T) = (e(H) a(W) + b(H) e(W)) a(T) + b(H) b(W) e(T)
"""

from typing import Any, NamedTuple

import numpy as np

from maskbank.kernels.convert import store
from maskbank.kernels.gaussian import continue_lines, fold, plane_axes
from maskbank.kernels.jit import inlined, kernel
from maskbank.kernels.lines import tap_sum
from maskbank.kernels.philox import normals
from maskbank.kernels.streams import VOXELS

f32 = np.float32
i64 = np.int64
boolean = np.bool_
u64 = np.uint64

# Two Gaussians that are far apart are cheaper one by one, and their difference keeps its digits.
_CLOSE_GAIN = 0.25

STRIP = 128  # columns filtered along T at once: a strip of all planes stays in the first-level cache


@inlined
def _near_taps(taps, upper, near):
    """Fill near, float32 (4, R + 1): taps along H or W of the identity, G1, G2, and of A - B.

    taps: of the first three along this axis, float64 (3, R + 1). upper: which of them is A; B is the next.
    """
    for k in range(near.shape[1]):
        for f in range(3):
            near[f, k] = f32(taps[f, k])
        near[3, k] = f32(taps[upper, k] - taps[upper + 1, k])


@inlined
def _far_taps(weights, norm, paired, taps, upper, far):
    """Fill far, float32 (volumes, R + 1): for each volume of planes its taps along T times its weight.

    taps: along T, float64 (3, R + 1). upper: as for `_near_taps`. Volume v holds filter upper + v by itself;
    where A - B is one filter (paired), volumes 0 and 1 hold its two summands.
    """
    for v in range(far.shape[0]):
        f = upper + v
        for k in range(far.shape[1]):
            if paired and v == 1:
                far[v, k] = f32(weights[upper] / norm * (taps[upper, k] - taps[f, k]))
            else:
                far[v, k] = f32(weights[f] / norm * taps[f, k])


class Workspace(NamedTuple):
    """Memory for making an item."""

    plane: Any  # float32: a plane of white noise, continued along H
    rows: Any  # float32: gaussian.ROWS rows of it, continued along W, or STRIP numbers
    planes: Any  # float32 (volumes, T + 2 radius planes): filtered along H and W, continued along T
    stride: int  # how far apart those planes are
    index: Any  # int64 (2, longest axis + 2 radius): as `gaussian.fold` fills it
    near_h: Any  # float32 (4, R + 1): see `_near_taps`
    near_w: Any  # float32 (4, R + 1)
    far: Any  # float32 (volumes, R + 1): see `_far_taps`
    memory: Any  # that of `philox.normals`


@kernel
def direct_noise(colour, seed, first, storage, stored, filters, workspace):
    """Fill stored, uint8 (count, bytes), with the items of a colour from number `first` on.

    storage: that of `convert.store`. filters: as `colour.draw_filters` fills them.

    An item is filtered in two sweeps, so that little of it leaves the caches. The first makes the white noise
    and filters it along H and W, plane by plane. The second filters along T, strip by strip.
    """
    t_size, h_size, w_size = colour.shape
    size = h_size * w_size
    weights, periodic = colour.weights, colour.periodic
    plane, rows, planes, stride, index, near_h, near_w, far, memory = workspace
    volumes = planes.shape[0]
    upper = 0 if weights[0] != 0.0 else 1  # A is the identity, or G1
    lower = upper + 1
    for i in range(stored.shape[0]):
        number = u64(first + u64(i))
        taps, radii, norm = filters.taps[i], filters.radii[i], filters.gains[i]
        paired = upper == 0 or (weights[2] != 0.0 and norm < _CLOSE_GAIN)
        _near_taps(taps[1], upper, near_h)
        _near_taps(taps[2], upper, near_w)
        _far_taps(weights, norm, paired, taps[0], upper, far)
        radii_t, radii_h, radii_w = radii[0], radii[1], radii[2]
        margin = radii_h[1] if radii_h[1] > radii_h[2] else radii_h[2]
        lines = (plane, margin, h_size, w_size)
        scratch = (rows, index[1])
        # of the same types as others, so that one `plane_axes` is compiled
        none = (near_w[0], i64(-1), planes[0], i64(0))
        fold(h_size, margin, periodic, index[0])
        for t in range(t_size):
            inside = margin * w_size
            normals(seed, VOXELS, number, t * size, plane[inside : inside + size], memory)
            continue_lines(plane, h_size, margin, w_size, index[0])
            if paired:
                o1 = (radii_t[upper] + t) * stride
                o2 = (radii_t[lower] + t) * stride
                fold(w_size, radii_w[upper], periodic, index[1])
                one = (near_w[upper], radii_w[upper], planes[0], o1)
                plane_axes(lines, (near_h[3], radii_h[lower]), one, none, boolean(False), scratch)
                fold(w_size, radii_w[lower], periodic, index[1])
                one = (near_w[3], radii_w[lower], planes[0], o1)
                other = (near_w[lower], radii_w[lower], planes[1], o2)
                plane_axes(lines, (near_h[lower], radii_h[lower]), one, other, boolean(True), scratch)
            for v in range(2 if paired else 0, volumes):
                f = upper + v
                fold(w_size, radii_w[f], periodic, index[1])
                one = (near_w[f], radii_w[f], planes[v], (radii_t[f] + t) * stride)
                plane_axes(lines, (near_h[f], radii_h[f]), one, none, boolean(False), scratch)
        for v in range(volumes):
            reach = radii_t[upper + v]
            fold(t_size, reach, periodic, index[0])
            continue_lines(planes[v], t_size, reach, stride, index[0])
        strip = rows[:STRIP]
        for start in range(0, size, STRIP):
            n = STRIP if start + STRIP < size else size - start
            for t in range(t_size):
                for v in range(volumes):
                    reach = radii_t[upper + v]
                    source = (planes[v], (reach + t) * stride + start, stride)
                    tap_sum((strip, 0), v > 0, n, source, (far[v], reach))
                store(strip[:n], storage, stored[i], t * size + start)
