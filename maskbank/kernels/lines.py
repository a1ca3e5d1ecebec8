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
def _write_tap_sum(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> None:
    target, source, kernel = (cgutils.unpack_tuple(builder, args[k]) for k in (0, 3, 4))

    def pointer(argument: int, array: ir.Value, offset: ir.Value) -> ir.Value:
        return address(context, builder, signature.args[argument].types[0], array, offset)

    lines = _Lines(
        builder,
        dst=pointer(0, *target),
        add=args[1],
        src=pointer(3, *source[:2]),
        stride=source[2],
        taps=pointer(4, kernel[0], INTEGER(0)),
        radius=kernel[1],
    )
    done = lines.over(INTEGER(0), args[2], WIDTH, COUNT)
    done = lines.over(done, args[2], WIDTH, 1)
    lines.over(done, args[2], 1, 1)


class _Lines:
    """Writes the loops of `tap_sum` into a function that is being compiled."""

    def __init__(self, builder: ir.IRBuilder, **values: ir.Value) -> None:
        self.builder = builder
        self.dst = values["dst"]
        self.add = values["add"]
        self.src = values["src"]
        self.stride = values["stride"]
        self.taps = values["taps"]
        self.radius = values["radius"]

    def over(self, start: ir.Value, n: ir.Value, width: int, count: int) -> ir.Value:
        """Steps of width * count outputs from `start` while a whole one fits below n; where it stopped."""
        b = self.builder
        step = INTEGER(width * count)
        before = b.block
        head, body, done = (b.append_basic_block(name) for name in ("outputs", "step", "rest"))
        b.branch(head)
        b.position_at_end(head)
        x = b.phi(INTEGER)
        x.add_incoming(start, before)
        following = b.add(x, step)
        b.cbranch(b.icmp_signed("<=", following, n), body, done)
        b.position_at_end(body)
        self._step(x, width, count)
        x.add_incoming(following, b.block)
        b.branch(head)
        b.position_at_end(done)
        return x

    def _step(self, x: ir.Value, width: int, count: int) -> None:
        """`count` vectors of `width` outputs from x on: the pairs of taps, then the centre."""
        b = self.builder
        before = b.block
        zero = ir.Constant(ir.VectorType(ir.FloatType(), width), [0.0] * width)
        head, body, done = (b.append_basic_block(name) for name in ("taps", "pair", "store"))
        b.branch(head)
        b.position_at_end(head)
        k = b.phi(INTEGER)
        k.add_incoming(self.radius, before)
        totals = [Vector(b, b.phi(zero.type)) for _ in range(count)]
        for total in totals:
            total.value.add_incoming(zero, before)
        b.cbranch(b.icmp_signed(">", k, INTEGER(0)), body, done)
        b.position_at_end(body)
        shift = b.mul(k, self.stride)
        left, right = b.sub(x, shift), b.add(x, shift)
        tap = self._tap(k, width)
        for j, total in enumerate(totals):
            pair = self._load(self.src, left, j, width) + self._load(self.src, right, j, width)
            total.value.add_incoming((total + tap * pair).value, body)
        k.add_incoming(b.sub(k, INTEGER(1)), body)
        b.branch(head)
        b.position_at_end(done)
        centre = self._tap(INTEGER(0), width)
        for j, total in enumerate(totals):
            whole = total + centre * self._load(self.src, x, j, width)
            added = self._load(self.dst, x, j, width) + whole
            chosen = b.select(self.add, added.value, whole.value)
            Vector(b, chosen).store(self._at(self.dst, x, j, width))

    def _at(self, base: ir.Value, x: ir.Value, j: int, width: int) -> ir.Value:
        return self.builder.gep(base, [self.builder.add(x, INTEGER(width * j))])

    def _load(self, base: ir.Value, x: ir.Value, j: int, width: int) -> Vector:
        return Vector.load(self.builder, self._at(base, x, j, width), width)

    def _tap(self, k: ir.Value, width: int) -> Vector:
        one = Vector.load(self.builder, self.builder.gep(self.taps, [k]), 1)
        return one.shuffle(one, [0] * width)


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

    def square(y: ir.Value, x: ir.Value) -> None:
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

    with (
        cgutils.for_range_slice(builder, INTEGER(0), rows, step) as (y, _),
        cgutils.for_range_slice(builder, INTEGER(0), columns, step) as (x, _),
    ):
        square(y, x)
