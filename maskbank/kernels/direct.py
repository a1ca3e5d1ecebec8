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
def _near_taps(taps, radii, upper, near):
    """Fill near, float32 (4, radius + 1): taps along H or W of the identity, G1, G2, and of A - B.

    taps: of both Gaussians along this axis, float64 (2, radius + 1); radii: int64 (2,). upper: A and B are
    the identity and G1 (0), or G1 and G2 (1).
    """
    for f in range(4):
        for k in range(near.shape[1]):
            near[f, k] = f32(0.0)
    near[0, 0] = f32(1.0)
    for f in range(2):
        for k in range(radii[f] + 1):
            near[1 + f, k] = f32(taps[f, k])
    for k in range(radii[upper] + 1):
        near[3, k] = f32(_minuend(taps, radii, upper, k) - taps[upper, k])


@inlined
def _minuend(taps, radii, upper, k):
    """Tap k of A: of the identity or of G1."""
    if upper == 0:
        return 1.0 if k == 0 else 0.0
    return taps[0, k] if k <= radii[0] else 0.0


@inlined
def _far_taps(colour, norm, paired, taps, radii, far, reach):
    """Fill the taps along T. Returns how many volumes of planes there are.

    taps: of both Gaussians along T, float64 (2, radius + 1); radii: int64 (2,). far, float32 (3, radius + 1),
    and reach, int64 (3,): for each volume its taps times its weight, and their radius.
    """
    weights = colour.weights
    delta = weights[0]
    upper = 0 if delta != 0.0 else 1
    for v in range(3):
        for k in range(far.shape[1]):
            far[v, k] = f32(0.0)
    if paired:
        weight = (delta if delta != 0.0 else weights[1]) / norm
        for k in range(radii[upper] + 1):
            a = _minuend(taps, radii, upper, k)
            far[0, k] = f32(weight * a)
            far[1, k] = f32(weight * (a - taps[upper, k]))
        reach[0] = radii[0] if upper == 1 else 0
        reach[1] = radii[upper]
        volumes = 2
        alone = 1 if delta != 0.0 and weights[2] != 0.0 else 2
    else:
        volumes = 0
        alone = 0
    while alone < 2 and weights[1 + alone] != 0.0:
        weight = weights[1 + alone] / norm
        for k in range(radii[alone] + 1):
            far[volumes, k] = f32(weight * taps[alone, k])
        reach[volumes] = radii[alone]
        volumes += 1
        alone += 1
    return volumes


class Workspace(NamedTuple):
    """Memory for making an item."""

    plane: Any  # float32: a plane of white noise, continued along H
    rows: Any  # float32: gaussian.ROWS rows of it, continued along W, or STRIP numbers
    planes: Any  # float32 (volumes, T + 2 radius planes): filtered along H and W, continued along T
    stride: int  # how far apart those planes are
    index: Any  # int64 (2, longest axis + 2 radius): as `gaussian.fold` fills it
    near_h: Any  # float32 (4, R + 1): see `_near_taps`
    near_w: Any  # float32 (4, R + 1)
    far: Any  # float32 (3, R + 1): see `_far_taps`
    reach: Any  # int64 (3,)
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
    plane, rows, planes, stride, index, near_h, near_w, far, reach, memory = workspace
    for i in range(stored.shape[0]):
        number = u64(first + u64(i))
        taps, radii, norm = filters.taps[i], filters.radii[i], filters.gains[i]
        close = weights[0] == 0.0 and weights[2] != 0.0 and norm < _CLOSE_GAIN
        paired = weights[0] != 0.0 or close
        upper = 0 if weights[0] != 0.0 else 1  # in near: the identity, or G1
        lower = upper + 1
        _near_taps(taps[1], radii[1], upper, near_h)
        _near_taps(taps[2], radii[2], upper, near_w)
        volumes = _far_taps(colour, norm, paired, taps[0], radii[0], far, reach)
        upper_w = 0 if upper == 0 else radii[2, 0]
        lower_h, lower_w = radii[1, upper], radii[2, upper]
        margin = radii[1, 0] if radii[1, 0] > radii[1, 1] else radii[1, 1]
        lines = (plane, margin, h_size, w_size)
        scratch = (rows, index[1])
        # of the same types as others, so that one `plane_axes` is compiled
        none = (near_w[0], i64(-1), planes[0], i64(0))
        fold(h_size, margin, periodic, index[0])
        for t in range(t_size):
            inside = margin * w_size
            normals(seed, VOXELS, number, t * size, plane[inside : inside + size], memory)
            continue_lines(plane, h_size, margin, w_size, index[0])
            done = 0
            if paired:
                o1 = (reach[0] + t) * stride
                o2 = (reach[1] + t) * stride
                fold(w_size, upper_w, periodic, index[1])
                one = (near_w[upper], upper_w, planes[0], o1)
                plane_axes(lines, (near_h[3], lower_h), one, none, boolean(False), scratch)
                fold(w_size, lower_w, periodic, index[1])
                one = (near_w[3], lower_w, planes[0], o1)
                other = (near_w[lower], lower_w, planes[1], o2)
                plane_axes(lines, (near_h[lower], lower_h), one, other, boolean(True), scratch)
                done = 2
            for v in range(done, volumes):
                f = 2 if v == volumes - 1 and weights[2] != 0.0 else 1
                radius_h, radius_w = radii[1, f - 1], radii[2, f - 1]
                fold(w_size, radius_w, periodic, index[1])
                one = (near_w[f], radius_w, planes[v], (reach[v] + t) * stride)
                plane_axes(lines, (near_h[f], radius_h), one, none, boolean(False), scratch)
        for v in range(volumes):
            fold(t_size, reach[v], periodic, index[0])
            continue_lines(planes[v], t_size, reach[v], stride, index[0])
        strip = rows[:STRIP]
        for start in range(0, size, STRIP):
            n = STRIP if start + STRIP < size else size - start
            for t in range(t_size):
                for v in range(volumes):
                    source = (planes[v], (reach[v] + t) * stride + start, stride)
                    tap_sum((strip, 0), v > 0, n, source, (far[v], reach[v]))
                store(strip[:n], storage, stored[i], t * size + start)
