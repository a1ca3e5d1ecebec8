"""The inner loop of every filter: a weighted sum of shifted lines, in vector registers.

Numba vectorises only the innermost loop. Here that would be the one over taps, whose length is known
only at run time, so plain Numba reads and writes the output once for each tap. `tap_sum` therefore
exists twice: as the Python below, which says what it computes and is what runs with
NUMBA_DISABLE_JIT=1, and as the same arithmetic in LLVM's intermediate language, where 64 outputs stay
in registers while the taps go by. One compiled loop serves all radii. Vectors of 16 floats are cut by
LLVM to what the machine has; no result depends on that, since each output is a sum of its own.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

WIDTH = 16  # floats in a vector
COUNT = 4  # vectors in flight

_FLOAT = ir.FloatType()
_INT = ir.IntType(64)


def tap_sum(dst, d, add, n, src, s, stride, taps, radius):
    """Filter n neighbouring outputs with a symmetric kernel.

    For x in 0..n-1:

        dst[d + x] = (dst[d + x] if add) + taps[0] * src[s + x]
                     + sum over k = 1..radius of taps[k] * (src[s + x - k * stride] + src[s + x + k * stride])

    summed from the outermost pair to the centre, small to large. dst, src, taps: float32, one-dimensional,
    contiguous; the rest integers. dst and src do not overlap.
    """
    for x in range(n):
        total = np.float32(0.0)
        for k in range(radius, 0, -1):
            pair = np.float32(src[s + x - k * stride] + src[s + x + k * stride])
            total = np.float32(total + np.float32(taps[k] * pair))
        total = np.float32(total + np.float32(taps[0] * src[s + x]))
        dst[d + x] = np.float32(dst[d + x] + total) if add else total


@overload(tap_sum, inline="always")
def _compiled_tap_sum(dst, d, add, n, src, s, stride, taps, radius):
    def call(dst, d, add, n, src, s, stride, taps, radius):
        _tap_sum(dst, d, add, n, src, s, stride, taps, radius)

    return call


@intrinsic
def _tap_sum(_typing, dst, _d, _add, _n, src, _s, _stride, taps, _radius):
    size = types.intp
    signature = types.void(dst, size, types.boolean, size, src, size, size, taps, size)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        def pointer(array: int, offset: int | None = None) -> ir.Value:
            data = context.make_array(signature.args[array])(context, builder, args[array]).data
            return data if offset is None else builder.gep(data, [args[offset]])

        loop = _Lines(
            builder,
            dst=pointer(0, 1),
            add=args[2],
            src=pointer(4, 5),
            stride=args[6],
            taps=pointer(7),
            radius=args[8],
        )
        done = loop.over(_INT(0), args[3], WIDTH, COUNT)
        done = loop.over(done, args[3], WIDTH, 1)
        loop.over(done, args[3], 1, 1)
        return context.get_dummy_value()

    return signature, generate


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
        step = _INT(width * count)
        before = b.block
        head, body, done = (b.append_basic_block(name) for name in ("outputs", "step", "rest"))
        b.branch(head)
        b.position_at_end(head)
        x = b.phi(_INT)
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
        nothing = spread(b, _FLOAT(0.0), width)
        head, body, done = (b.append_basic_block(name) for name in ("taps", "pair", "store"))
        b.branch(head)
        b.position_at_end(head)
        k = b.phi(_INT)
        k.add_incoming(self.radius, before)
        totals = [b.phi(nothing.type) for _ in range(count)]
        for total in totals:
            total.add_incoming(nothing, before)
        b.cbranch(b.icmp_signed(">", k, _INT(0)), body, done)
        b.position_at_end(body)
        shift = b.mul(k, self.stride)
        left, right = b.sub(x, shift), b.add(x, shift)
        tap = spread(b, b.load(b.gep(self.taps, [k])), width)
        for j, total in enumerate(totals):
            pair = b.fadd(self._load(self.src, left, j, width), self._load(self.src, right, j, width))
            total.add_incoming(b.fadd(total, b.fmul(tap, pair)), body)
        k.add_incoming(b.sub(k, _INT(1)), body)
        b.branch(head)
        b.position_at_end(done)
        centre = spread(b, b.load(self.taps), width)
        for j, total in enumerate(totals):
            whole = b.fadd(total, b.fmul(centre, self._load(self.src, x, j, width)))
            added = b.fadd(self._load(self.dst, x, j, width), whole)
            store_vector(b, b.select(self.add, added, whole), self._at(self.dst, x, j, width), width)

    def _at(self, base: ir.Value, x: ir.Value, j: int, width: int) -> ir.Value:
        return self.builder.gep(base, [self.builder.add(x, _INT(width * j))])

    def _load(self, base: ir.Value, x: ir.Value, j: int, width: int) -> ir.Value:
        return load_vector(self.builder, self._at(base, x, j, width), width)


def load_vector(builder: ir.IRBuilder, place: ir.Value, width: int) -> ir.Value:
    """Compile the load of `width` floats from an address of any alignment."""
    return builder.load(_as_vector(builder, place, width), align=4)


def store_vector(builder: ir.IRBuilder, value: ir.Value, place: ir.Value, width: int) -> None:
    """Compile the store of `width` floats to an address of any alignment."""
    builder.store(value, _as_vector(builder, place, width), align=4)


def _as_vector(builder: ir.IRBuilder, place: ir.Value, width: int) -> ir.Value:
    return builder.bitcast(place, ir.VectorType(_FLOAT, width).as_pointer()) if width > 1 else place


def spread(builder: ir.IRBuilder, value: ir.Value, width: int) -> ir.Value:
    """Compile a vector that holds `value` in every place."""
    if width == 1:
        return value
    nothing = ir.Constant(ir.VectorType(_FLOAT, width), ir.Undefined)
    one = builder.insert_element(nothing, value, ir.IntType(32)(0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
    return builder.shuffle_vector(one, nothing, everywhere)


def transpose(dst, dst_stride, src, src_stride, rows, columns):
    """dst[x * dst_stride + y] = src[y * src_stride + x] for y below rows and x below columns.

    float32, contiguous, dst apart from src; rows and columns are multiples of WIDTH.
    """
    for y in range(rows):
        dst[y : columns * dst_stride : dst_stride] = src[y * src_stride : y * src_stride + columns]


@overload(transpose)
def _compiled_transpose(dst, dst_stride, src, src_stride, rows, columns):
    def call(dst, dst_stride, src, src_stride, rows, columns):
        for y in range(0, rows, WIDTH):
            for x in range(0, columns, WIDTH):
                _transpose_square(dst, x * dst_stride + y, dst_stride, src, y * src_stride + x, src_stride)

    return call


@intrinsic
def _transpose_square(_typing, dst, _d, _dst_stride, src, _s, _src_stride):
    """WIDTH x WIDTH numbers: each step exchanges the off-diagonal blocks of blocks twice as large."""
    size = types.intp
    signature = types.void(dst, size, size, src, size, size)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        def place(array: int, row: int) -> ir.Value:
            data = context.make_array(signature.args[array])(context, builder, args[array]).data
            step = builder.mul(args[array + 2], _INT(row))
            return builder.gep(data, [builder.add(args[array + 1], step)])

        lines = [load_vector(builder, place(3, row), WIDTH) for row in range(WIDTH)]
        block = 1
        while block < WIDTH:
            for i in range(WIDTH):
                if i & block:
                    continue
                upper, lower = lines[i], lines[i + block]
                left = [WIDTH + x - block if x & block else x for x in range(WIDTH)]
                right = [WIDTH + x if x & block else x + block for x in range(WIDTH)]
                lines[i] = _shuffle(builder, upper, lower, left)
                lines[i + block] = _shuffle(builder, upper, lower, right)
            block *= 2
        for row, line in enumerate(lines):
            store_vector(builder, line, place(0, row), WIDTH)
        return context.get_dummy_value()

    return signature, generate


def _shuffle(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, places: list[int]) -> ir.Value:
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)
    return builder.shuffle_vector(a, b, mask)
