"""Real Fourier transforms along one axis, many columns at once, as straight-line code.

A periodic filter with a symmetric kernel multiplies the Fourier coefficient of frequency k, its real and
its imaginary part alike, by one real number. So neither the order of the coefficients nor the sign of the
imaginary parts matters. The transform runs in place, and the filter looks up the frequency of each slot.

The algorithm is decimation in frequency. Of n real numbers x, the sums x[j] + x[j + n/2] hold the even
frequencies, as a real transform of half the length; the differences hold the odd ones, as a complex
transform of a quarter of the length after a rotation (Sorensen, Jones, Heideman and Burrus,
"Real-valued fast Fourier transform algorithms", IEEE TASSP 35, 1987).

It is written once, for anything that can be added, subtracted, negated and multiplied by a number. With
NUMBA_DISABLE_JIT=1 it runs on NumPy arrays. Otherwise it runs on terms, which are then compiled in an order
that suits the processor's registers. The order changes no number.
"""

import functools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils

from maskbank.kernels.jit import in_llvm, machine_code
from maskbank.kernels.vectors import INTEGER, REGISTERS, WIDTH, Vector, address, call

LONGEST = 128  # straight-line code grows like n log n
SIZES = tuple(2**k for k in range(LONGEST.bit_length()))

Values = Sequence[Any]


def circle(n: int) -> list[tuple[float, float]]:
    """(cos, sin) of 2 pi j / n for j = 0..n-1, n a power of two: by halving angles and adding them.

    Only IEEE operations, so every machine gets the same, within a few units in the last place of float64.
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
    """For each slot of a transform of n numbers: its frequency, and the weight that makes the inverse exact.

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
    """The product of two complex numbers. The second is a constant, and cheap if a multiple of 1/8 turn."""
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


@functools.cache
def compiled(n: int, back: bool) -> int:
    """The address of the code that `transform` runs for n numbers; without the compiler n, or -n for back.

    A kernel does not contain this code: thousands of instructions, which are compiled once for each n.
    """
    if numba.config.DISABLE_JIT:
        return -n if back else n
    levels, direction = (0,) * (n.bit_length() - 1), (0,) * back  # the compiler knows their lengths

    def code(target, target_stride, source, source_stride, columns):
        _columns(target, target_stride, source, source_stride, columns, levels, direction)

    numbers = types.CPointer(types.float32)
    return machine_code(code, numbers, types.intp, numbers, types.intp, types.intp)


def transform(target, source, columns, code):
    """Transform `columns` columns of n numbers each, forward or back: code is what `compiled` gives.

    target, source: (array, start, stride), float32, contiguous. Number j of column x is
    array[start + j * stride + x]; its coefficient goes to that place in the target, which may be the source.
    columns is a multiple of WIDTH.
    """
    (dst, d, d_stride), (src, s, s_stride) = target, source
    n = abs(code)
    rows = [src[s + j * s_stride : s + j * s_stride + columns].copy() for j in range(n)]
    for j, row in enumerate(inverse(rows) if code < 0 else forward(rows)):
        dst[d + j * d_stride : d + j * d_stride + columns] = row


@in_llvm(transform)
def _write_transform(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> None:
    places = []
    for kind, place in zip(signature.args[:2], args[:2], strict=True):
        array, start, stride = cgutils.unpack_tuple(builder, place)
        places += [address(context, builder, kind.types[0], array, start), stride]
    call(builder, args[3], [*places, args[2]])


def _columns(target, target_stride, source, source_stride, columns, levels, back):
    """The code of a transform of 2**len(levels) numbers; back is (0,) or (). target, source: addresses."""


@in_llvm(_columns)
def _write_columns(_context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> None:
    levels, back = (signature.args[k].count for k in (5, 6))
    n, rule = 2**levels, inverse if back else forward
    dst, dst_stride, src, src_stride, columns = args[:5]
    with cgutils.for_range_slice(builder, INTEGER(0), columns, INTEGER(WIDTH)) as (x, _):

        def at(base: ir.Value, stride: ir.Value, j: int) -> ir.Value:
            return builder.gep(base, [builder.add(x, builder.mul(stride, INTEGER(j)))])

        def load(j: int) -> Vector:
            return Vector.load(builder, at(src, src_stride, j), WIDTH)

        terms: list[_Term] = []
        inputs = [_Term(terms, load, j) for j in range(n)]
        slots = {term: j for j, term in enumerate(rule(inputs))}
        waiting: list[_Term] = []
        for group in [*_groups(inputs, terms[n:])] or [inputs]:  # a transform of one number has no groups
            for term in group:
                term.compile()
            waiting += [term for term in group if term in slots]
            if all(term.value for term in inputs):  # in place, a store may overwrite what is yet to be loaded
                for term in waiting:
                    term.compile().store(at(dst, dst_stride, slots[term]))
                waiting = []


class _Term:
    """A vector that is compiled later, and once: what an operation makes of other terms or numbers."""

    def __init__(self, terms: list["_Term"], operation: Callable[..., Vector], *operands: Any) -> None:
        self.operation = operation
        self.operands = operands
        self.value: Vector | None = None
        self.terms = terms
        terms.append(self)

    def sources(self) -> list["_Term"]:
        """The terms it is made from."""
        return [operand for operand in self.operands if isinstance(operand, _Term)]

    def compile(self) -> Vector:
        """Its vector; what it is made from is compiled when it is first used."""
        if self.value is None:
            values = [x.compile() if isinstance(x, _Term) else x for x in self.operands]
            self.value = self.operation(*values)
        return self.value

    def __add__(self, other: "_Term") -> "_Term":
        return _Term(self.terms, operator.add, self, other)

    def __sub__(self, other: "_Term") -> "_Term":
        return _Term(self.terms, operator.sub, self, other)

    def __neg__(self) -> "_Term":
        return _Term(self.terms, operator.neg, self)

    def __mul__(self, number: float) -> "_Term":
        return _Term(self.terms, operator.mul, self, number)


def _groups(inputs: list[_Term], terms: list[_Term]) -> Iterator[list[_Term]]:
    """The terms in groups. A group needs no more values of earlier groups than there are registers.

    In the algorithm's own order, all n values are needed from one level of the transform to the next, so
    each would be moved to memory and back at every level.
    """
    made = set(inputs)
    while terms:
        known: dict[_Term, set[_Term]] = {}  # the earlier values that a term is made from
        for term in terms:
            if all(source in made or source in known for source in term.sources()):
                needed = set().union(*({s} if s in made else known[s] for s in term.sources()))
                if len(needed) <= REGISTERS:
                    known[term] = needed
        whole: dict[_Term, set[_Term]] = {}  # of each value, the set of all values of its group
        for needed in known.values():
            if not needed <= whole.get(next(iter(needed)), set()):
                joined = needed.union(*(whole.get(value, set()) for value in needed))
                whole |= dict.fromkeys(joined, joined)
        groups: dict[int, list[_Term]] = {}
        for term, needed in known.items():
            groups.setdefault(id(whole[next(iter(needed))]), []).append(term)
        yield from groups.values()
        made.update(known)
        terms = [term for term in terms if term not in known]
