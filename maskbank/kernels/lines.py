"""The inner loops of filters: a weighted sum of shifted lines, and the transposition of a plane.

The README of this folder says why they are written in LLVM IR.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from maskbank.kernels.jit import in_llvm
from maskbank.kernels.vectors import INTEGER, WIDTH, Vector, address

COUNT = 4 if WIDTH == 16 else 8  # vectors in flight


def tap_sum(target, add, n, source, kernel):
    """Filter n neighbouring outputs with a symmetric kernel.

    For x in 0..n-1:

        dst[d + x] = (dst[d + x] if add) + taps[0] * src[s + x]
                     + sum over k = 1..radius of taps[k] * (src[s + x - k * stride] + src[s + x + k * stride])

    summed from the outermost pair to the centre, small to large. target: (dst, d). source: (src, s, stride).
    kernel: (taps, radius). dst, src, taps: float32, one-dimensional, contiguous; the rest integers. dst and
    src do not overlap.
    """
    (dst, d), (src, s, stride), (taps, radius) = target, source, kernel
    for x in range(n):
        total = np.float32(0.0)
        for k in range(radius, 0, -1):
            pair = np.float32(src[s + x - k * stride] + src[s + x + k * stride])
            total = np.float32(total + np.float32(taps[k] * pair))
        total = np.float32(total + np.float32(taps[0] * src[s + x]))
        dst[d + x] = np.float32(dst[d + x] + total) if add else total


@in_llvm(tap_sum)
def _write_tap_sum(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> None:
    target, source, kernel = (cgutils.unpack_tuple(b, args[k]) for k in (0, 3, 4))
    (add, n), stride, radius = args[1:3], source[2], kernel[1]

    def pointer(argument: int, array: ir.Value, offset: ir.Value) -> ir.Value:
        return address(context, b, signature.args[argument].types[0], array, offset)

    dst, src, taps = pointer(0, *target), pointer(3, *source[:2]), pointer(4, kernel[0], INTEGER(0))

    def at(base: ir.Value, x: ir.Value, j: int, width: int) -> ir.Value:
        return b.gep(base, [b.add(x, INTEGER(width * j))])

    def load(base: ir.Value, x: ir.Value, j: int, width: int) -> Vector:
        return Vector.load(b, at(base, x, j, width), width)

    def tap(k: ir.Value, width: int) -> Vector:
        one = Vector.load(b, b.gep(taps, [k]), 1)
        return one.shuffle(one, [0] * width)

    def filtered(x: ir.Value, width: int, count: int) -> None:
        """Write `count` vectors of `width` outputs from x on: the pairs of taps, then the centre."""
        before = b.block
        zero = ir.Constant(ir.VectorType(ir.FloatType(), width), [0.0] * width)
        head, body, done = (b.append_basic_block(name) for name in ("taps", "pair", "store"))
        b.branch(head)
        b.position_at_end(head)
        k = b.phi(INTEGER)
        k.add_incoming(radius, before)
        totals = [Vector(b, b.phi(zero.type)) for _ in range(count)]
        for total in totals:
            total.value.add_incoming(zero, before)
        b.cbranch(b.icmp_signed(">", k, INTEGER(0)), body, done)
        b.position_at_end(body)
        shift = b.mul(k, stride)
        left, right = b.sub(x, shift), b.add(x, shift)
        factor = tap(k, width)
        for j, total in enumerate(totals):
            pair = load(src, left, j, width) + load(src, right, j, width)
            total.value.add_incoming((total + factor * pair).value, body)
        k.add_incoming(b.sub(k, INTEGER(1)), body)
        b.branch(head)
        b.position_at_end(done)
        centre = tap(INTEGER(0), width)
        for j, total in enumerate(totals):
            whole = total + centre * load(src, x, j, width)
            added = load(dst, x, j, width) + whole
            Vector(b, b.select(add, added.value, whole.value)).store(at(dst, x, j, width))

    start = INTEGER(0)
    for width, count in ((WIDTH, COUNT), (WIDTH, 1), (1, 1)):  # steps, while a whole one fits below n
        before = b.block
        head, body, done = (b.append_basic_block(name) for name in ("outputs", "step", "rest"))
        b.branch(head)
        b.position_at_end(head)
        x = b.phi(INTEGER)
        x.add_incoming(start, before)
        following = b.add(x, INTEGER(width * count))
        b.cbranch(b.icmp_signed("<=", following, n), body, done)
        b.position_at_end(body)
        filtered(x, width, count)
        x.add_incoming(following, b.block)
        b.branch(head)
        b.position_at_end(done)
        start = x


def transpose(dst, dst_stride, src, src_stride, rows, columns):
    """dst[x * dst_stride + y] = src[y * src_stride + x] for y below rows and x below columns.

    float32, contiguous, dst apart from src; rows and columns are multiples of WIDTH.
    """
    for y in range(rows):
        dst[y : columns * dst_stride : dst_stride] = src[y * src_stride : y * src_stride + columns]


@in_llvm(transpose)
def _write_transpose(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> None:
    """Squares of WIDTH x WIDTH: each step exchanges the off-diagonal blocks of blocks twice as large."""
    rows, columns = args[4:]
    step = INTEGER(WIDTH)

    def place(array: int, row: ir.Value, column: ir.Value) -> ir.Value:
        start = builder.add(builder.mul(row, args[array + 1]), column)
        return address(context, builder, signature.args[array], args[array], start)

    with (
        cgutils.for_range_slice(builder, INTEGER(0), rows, step) as (y, _),
        cgutils.for_range_slice(builder, INTEGER(0), columns, step) as (x, _),
    ):
        numbers = [builder.add(y, INTEGER(row)) for row in range(WIDTH)]
        lines = [Vector.load(builder, place(2, row, x), WIDTH) for row in numbers]
        block = 1
        while block < WIDTH:
            for i in range(WIDTH):
                if i & block:
                    continue
                upper, lower = lines[i], lines[i + block]
                left = [WIDTH + x - block if x & block else x for x in range(WIDTH)]
                right = [WIDTH + x if x & block else x + block for x in range(WIDTH)]
                lines[i] = upper.shuffle(lower, left)
                lines[i + block] = upper.shuffle(lower, right)
            block *= 2
        for row, line in enumerate(lines):
            line.store(place(0, builder.add(x, INTEGER(row)), y))
