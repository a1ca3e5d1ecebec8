"""Real Fourier transforms along one axis, many columns at once, as straight-line code.

A periodic filter with a symmetric kernel multiplies the Fourier coefficient of frequency k, its real
and its imaginary part alike, by one real number. So the order in which coefficients come out does not
matter, nor the sign of the imaginary parts: the transform runs in place and the filter looks up which
frequency stands in which slot.

The algorithm is decimation in frequency. Of n real numbers x, the sums x[j] + x[j + n/2] hold the even
frequencies, as a real transform of half the length; the differences hold the odd ones, as a complex
transform of a quarter of the length after a rotation (Sorensen, Jones, Heideman and Burrus,
"Real-valued fast Fourier transform algorithms", IEEE TASSP 35, 1987).

It is written once, over anything that can be added, subtracted, negated and multiplied by a number:
NumPy arrays, which is what runs with NUMBA_DISABLE_JIT=1, or vectors of a function that is being
compiled, which gives code without loops or look-ups in which all but loads and stores happens in
registers.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from maskbank.kernels.lines import WIDTH, load_vector, spread, store_vector

LONGEST = 128  # straight-line code grows like n log n
SIZES = tuple(2**k for k in range(LONGEST.bit_length()))

Values = Sequence[Any]


def circle(n: int) -> list[tuple[float, float]]:
    """(cos, sin) of 2 pi j / n for j = 0..n-1, n a power of two: by halving angles and adding them.

    Only IEEE operations, so the same on every machine; within a few units in the last place of float64.
    """
    points = [(1.0, 0.0)]
    c, s = -1.0, 0.0  # half a turn
    while len(points) < n:
        # new points half-way between the old ones, and as far beyond the last as that is from the first
        points = [q for a, b in points for q in ((a, b), (a * c - b * s, a * s + b * c))]
        c, s = (
            (0.0, 1.0) if len(points) == 2 else (math.sqrt((1.0 + c) / 2.0), s / math.sqrt(2.0 * (1.0 + c)))
        )
    return points


def slots(n: int) -> tuple[list[int], list[float]]:
    """For each slot of a transform of n numbers: its frequency, and what makes the inverse exact.

    inverse([v * weight for v, weight in zip(forward(x), weights)]) == x, but for rounding.
    """
    placed = _real([0.0] * n)
    return [k % n for k, _, _ in placed], [weight for _, weight, _ in placed]


def forward(x: Values) -> list[Any]:
    """The transform of n = 2**k values: n coefficients, in the order of `slots`."""
    return [value for _, _, value in _real(x)]


def _real(x: Values) -> list[tuple[int, float, Any]]:
    """(frequency, weight, coefficient) for real x."""
    n = len(x)
    if n == 1:
        return [(0, 1.0, x[0])]
    half, quarter = n // 2, n // 4
    sums = [x[j] + x[j + half] for j in range(half)]
    differences = [x[j] - x[j + half] for j in range(half)]
    even = [(2 * k, 0.5 * weight, value) for k, weight, value in _real(sums)]
    if n == 2:
        return [*even, (1, 0.5, differences[0])]
    points = circle(n)
    rotated = [_rotate((differences[j], differences[j + quarter]), points[j]) for j in range(quarter)]
    odd = []
    for k, (re, im) in _complex(rotated):
        odd += [(4 * k + 1, 0.5 / quarter, re), (4 * k + 1, 0.5 / quarter, im)]
    return even + odd


def _complex(z: list[tuple[Any, Any]]) -> list[tuple[int, tuple[Any, Any]]]:
    """(frequency, coefficient) for complex z."""
    n = len(z)
    if n == 1:
        return [(0, z[0])]
    half = n // 2
    points = circle(n)
    sums = [(z[j][0] + z[j + half][0], z[j][1] + z[j + half][1]) for j in range(half)]
    differences = [
        _rotate((z[j][0] - z[j + half][0], z[j][1] - z[j + half][1]), points[j]) for j in range(half)
    ]
    return [(2 * k, v) for k, v in _complex(sums)] + [(2 * k + 1, v) for k, v in _complex(differences)]


def inverse(y: Values) -> list[Any]:
    """The inverse of `forward`, for coefficients that carry the weights of `slots`."""
    n = len(y)
    if n == 1:
        return [y[0]]
    half, quarter = n // 2, n // 4
    sums = inverse(y[:half])
    if n == 2:
        return [sums[0] + y[1], sums[0] - y[1]]
    points = circle(n)
    z = _complex_inverse([(y[half + 2 * j], y[half + 2 * j + 1]) for j in range(quarter)])
    rotated = [_rotate(z[j], (points[j][0], -points[j][1])) for j in range(quarter)]
    differences = [re for re, _ in rotated] + [im for _, im in rotated]
    return [sums[j] + differences[j] for j in range(half)] + [sums[j] - differences[j] for j in range(half)]


def _complex_inverse(z: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    n = len(z)
    if n == 1:
        return z
    half = n // 2
    points = circle(n)
    a = _complex_inverse(z[:half])
    b = [_rotate(v, (c, -s)) for v, (c, s) in zip(_complex_inverse(z[half:]), points, strict=False)]
    return [(a[j][0] + b[j][0], a[j][1] + b[j][1]) for j in range(half)] + [
        (a[j][0] - b[j][0], a[j][1] - b[j][1]) for j in range(half)
    ]


def _rotate(z: tuple[Any, Any], by: tuple[float, float]) -> tuple[Any, Any]:
    """The product of two complex numbers, the second one known: cheap where it is a multiple of 1/8 turn."""
    (re, im), (c, s) = z, by
    if s == 0.0 and c == 1.0:
        return z
    if abs(c) < 1e-9:
        return (-im, re) if s > 0.0 else (im, -re)
    if abs(c - s) < 1e-9:
        return (re - im) * c, (re + im) * c
    if abs(c + s) < 1e-9:
        return (re + im) * c, (im - re) * c
    return re * c - im * s, re * s + im * c


def transform(dst, d, dst_stride, src, s, src_stride, columns, levels, back):
    """Transform `columns` columns of 2**len(levels) numbers each, forward, or back if back is (0,).

    Number j of column x is src[s + j * src_stride + x]; its coefficient goes to dst[d + j * dst_stride + x].
    float32, contiguous; columns is a multiple of WIDTH. levels and back are tuples whose lengths, known
    while the kernel is compiled, say what code to write.
    """
    n = 2 ** len(levels)
    rows = [src[s + j * src_stride : s + j * src_stride + columns].copy() for j in range(n)]
    for j, row in enumerate(inverse(rows) if len(back) else forward(rows)):
        dst[d + j * dst_stride : d + j * dst_stride + columns] = row


@overload(transform)
def _compiled_transform(dst, d, dst_stride, src, s, src_stride, columns, levels, back):
    def call(dst, d, dst_stride, src, s, src_stride, columns, levels, back):
        _transform(dst, d, dst_stride, src, s, src_stride, columns, levels, back)

    return call


@intrinsic
def _transform(_typing, dst, _d, _dst_stride, src, _s, _src_stride, _columns, levels, back):
    size = types.intp
    signature = types.void(dst, size, size, src, size, size, size, levels, back)
    rule = inverse if len(back) else forward
    n = 2 ** len(levels)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        def pointer(array: int, offset: int) -> ir.Value:
            data = context.make_array(signature.args[array])(context, builder, args[array]).data
            return builder.gep(data, [args[offset]])

        builder.function.attributes.add("noinline")  # thousands of instructions, compiled once
        target, source = pointer(0, 1), pointer(3, 4)
        integer = ir.IntType(64)
        before = builder.block
        head, body, done = (builder.append_basic_block(name) for name in ("columns", "transform", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        x = builder.phi(integer)
        x.add_incoming(integer(0), before)
        builder.cbranch(builder.icmp_signed("<", x, args[6]), body, done)
        builder.position_at_end(body)

        def place(base: ir.Value, stride: ir.Value, j: int) -> ir.Value:
            return builder.gep(base, [builder.add(x, builder.mul(stride, integer(j)))])

        values = [_Vector(builder, load_vector(builder, place(source, args[5], j), WIDTH)) for j in range(n)]
        for j, value in enumerate(rule(values)):
            store_vector(builder, value.value, place(target, args[2], j), WIDTH)
        x.add_incoming(builder.add(x, integer(WIDTH)), body)
        builder.branch(head)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, generate


class _Vector:
    """A vector of a function that is being compiled, for arithmetic in Python's signs."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder = builder
        self.value = value

    def __add__(self, other: "_Vector") -> "_Vector":
        return _Vector(self.builder, self.builder.fadd(self.value, other.value))

    def __sub__(self, other: "_Vector") -> "_Vector":
        return _Vector(self.builder, self.builder.fsub(self.value, other.value))

    def __neg__(self) -> "_Vector":
        return _Vector(self.builder, self.builder.fneg(self.value))

    def __mul__(self, number: float) -> "_Vector":
        constant = ir.FloatType()(float(np.float32(number)))
        return _Vector(self.builder, self.builder.fmul(self.value, spread(self.builder, constant, WIDTH)))
