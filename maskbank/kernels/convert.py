"""Converts float32 to a bank's types: IEEE half precision, or 256 equally likely levels."""

import functools
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from maskbank.kernels.jit import has_feature, in_llvm, inlined, kernel, machine_code
from maskbank.kernels.vectors import INTEGER, WIDTH, Vector, address, call, where

u8 = np.uint8
i32 = np.int32
f32 = np.float32

# The normal quantiles k/256 for k = 129..255, frozen: uint8 level k begins at quantile k/256.
_UPPER_QUANTILES = (
    0.009791673, 0.019584285, 0.029378776, 0.039176084, 0.04897716, 0.058782935, 0.068594374, 0.07841241,
    0.088238016, 0.09807215, 0.10791578, 0.117769875, 0.12763542, 0.1375134, 0.14740482, 0.15731068,
    0.167232, 0.17716981, 0.18712516, 0.19709909, 0.20709266, 0.21710695, 0.22714306, 0.23720211,
    0.24728522, 0.25739354, 0.2675282, 0.27769044, 0.28788143, 0.2981024, 0.30835465, 0.31863937,
    0.32895792, 0.3393116, 0.3497018, 0.3601299, 0.3705973, 0.38110545, 0.39165586, 0.40225005, 0.4128896,
    0.4235761, 0.43431115, 0.44509652, 0.45593393, 0.46682513, 0.477772, 0.48877642, 0.49984035, 0.5109658,
    0.52215487, 0.5334097, 0.5447325, 0.5561256, 0.5675913, 0.57913214, 0.59075063, 0.6024495, 0.6142313,
    0.626099, 0.63805556, 0.65010405, 0.66224766, 0.67448974, 0.68683374, 0.6992833, 0.7118422, 0.72451437,
    0.737304, 0.75021535, 0.76325303, 0.7764218, 0.7897265, 0.8031726, 0.8167654, 0.83051085, 0.84441507,
    0.85848445, 0.8727259, 0.88714653, 0.90175414, 0.91655666, 0.93156284, 0.94678175, 0.9622232, 0.9778975,
    0.9938159, 1.0099902, 1.0264331, 1.0431583, 1.0601804, 1.0775156, 1.0951806, 1.1131942, 1.1315765,
    1.1503494, 1.1695366, 1.1891644, 1.2092612, 1.2298588, 1.2509917, 1.2726986, 1.2950224, 1.3180109,
    1.3417178, 1.3662038, 1.3915375, 1.4177971, 1.4450725, 1.4734676, 1.5031029, 1.5341206, 1.5666885,
    1.6010087, 1.6373254, 1.6759397, 1.7172282, 1.7616704, 1.8098923, 1.8627318, 1.9213507, 1.9874278,
    2.0635278, 2.1538746, 2.2662268, 2.417559, 2.6600676,
)  # fmt: skip
THRESHOLDS = np.array([-x for x in reversed(_UPPER_QUANTILES)] + [0.0, *_UPPER_QUANTILES], np.float32)

HALVES = has_feature("f16c")  # the processor has an instruction that rounds to halves, as `half` does

_BINS = 1024  # of equal width, from -2.75 to 2.75; no two thresholds lie in one
_LOWEST, _HIGHEST = f32(-2.75), f32(2.747)  # in the first bin and in the last
_SCALE = f32(_BINS / 5.5)
_PLACES = ((THRESHOLDS - _LOWEST) * _SCALE).astype(i32)  # the bin of each threshold
_BELOW = np.searchsorted(_PLACES, np.arange(_BINS)).astype(i32)  # thresholds in the bins before each
_BORDERS = np.full(_BINS, np.inf, f32)  # the threshold in each bin
_BORDERS[_PLACES] = THRESHOLDS


def half(values):
    """The bits of the nearest halves, ties to even: uint32 (n,) from float32 (n,), arrays or Vectors.

    Above 2**-14 the exponent is rebased by 112, and the 13 bits that go are rounded. Below, halves are
    multiples of 2**-24, and so are the last places of floats in [1/2, 1): adding 1/2 rounds.
    """
    bits = values.view(np.uint32)
    size = bits & 0x7FFFFFFF
    normal = (size - 0x37FFF001 + ((size >> 13) & 1)) >> 13
    small = (size.view(np.float32) + 0.5).view(np.uint32) - 0x3F000000
    rounded = where(size > 0x387FFFFF, normal, small)
    rounded = where(size < 0x477FF000, rounded, 0x7C00)
    rounded = where(size < 0x7F800001, rounded, 0x7E00)
    return rounded ^ ((bits >> 16) & 0x8000)


def round_to_halves(values, out):
    """Fill out, uint16 (n,), with the bits of the halves nearest to values, float32 (n,)."""
    out[:] = half(np.asarray(values, np.float32))


@in_llvm(round_to_halves)
def _write_round_to_halves(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> None:
    size = context.make_array(signature.args[0])(context, builder, args[0]).nitems
    whole = builder.sub(size, builder.urem(size, INTEGER(WIDTH)))
    for start, stop, step in ((INTEGER(0), whole, WIDTH), (whole, size, 1)):
        with cgutils.for_range_slice(builder, start, stop, INTEGER(step)) as (x, _):
            source, target = (address(context, builder, signature.args[k], args[k], x) for k in (0, 1))
            numbers = Vector.load(builder, source, step)
            halves = numbers.astype(np.float16) if HALVES else half(numbers).astype(np.uint16)
            halves.store(target)


@kernel
def to_levels(values, out):
    """The number of thresholds at or below each value: uint8 (n,) of float32 (n,)."""
    for j in range(values.size):
        x = values[j]
        x = x if x > _LOWEST else _LOWEST
        x = x if x < _HIGHEST else _HIGHEST
        place = np.uint64(i32((x - _LOWEST) * _SCALE))
        count = _BELOW[place] + (i32(1) if _BORDERS[place] <= x else i32(0))
        out[j] = u8(count)


_STORED = {4: np.float32, 2: np.uint16, 1: np.uint8}  # by the bytes of a number; Numba has no float16


@inlined
def convert(values, out, size):
    """Convert values, float32 (n,), to numbers of `size` bytes: float32, uint16 for halves, or uint8 (n,)."""
    if size == 4:
        for j in range(values.size):  # an assignment of arrays would take 4 s to compile
            out[j] = values[j]
    elif size == 2:
        round_to_halves(values, out)
    else:
        to_levels(values, out)


class Storage(NamedTuple):
    """How numbers are stored."""

    size: int  # bytes of a number: 4 for float32, 2 for halves, 1 for levels
    code: Any  # int64 (1,): what `compiled` returns for this size; set before a kernel is called


@functools.cache
def compiled(size: int) -> int:
    """The address of the code that `store` runs for numbers of `size` bytes; 0 without the compiler.

    Kernels do not contain this code, so they are compiled once for all dtypes.
    """

    def code(values, n, out):
        convert(numba.carray(values, (n,)), numba.carray(out, (n,)), size)

    kind = numba.from_dtype(np.dtype(_STORED[size]))
    return machine_code(code, types.CPointer(types.float32), types.intp, types.CPointer(kind))


def store(values, storage, out, start):
    """Store values, float32 (n,), as numbers `start`, `start` + 1, ... of out, uint8 (bytes,)."""
    convert(values, out.view(_STORED[storage.size])[start : start + len(values)], storage.size)


@in_llvm(store)
def _write_store(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> None:
    size, code = cgutils.unpack_tuple(builder, args[1])
    source, code, out = (
        address(context, builder, kind, array, offset)
        for kind, array, offset in (
            (signature.args[0], args[0], INTEGER(0)),
            (signature.args[1].types[1], code, INTEGER(0)),
            (signature.args[2], args[2], builder.mul(args[3], size)),
        )
    )
    n = context.make_array(signature.args[0])(context, builder, args[0]).nitems
    call(builder, builder.load(code), [source, n, out])
