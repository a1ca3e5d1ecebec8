"""Counter-based random numbers: Philox4x32-10, uniforms and normals.

Philox4x32-10 is the generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC 2011. A word is a pure function of (seed, stream, item index, block number):

    key      seed, low word first
    counter  c0 block number, c1 stream, c2 and c3 item index, low word first

`maskbank.kernels.streams` is the table of streams.
"""

import functools
import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from maskbank.kernels.jit import in_llvm, inlined, machine_code, widest_vectors
from maskbank.kernels.vectors import INTEGER, WIDTH, Vector, address, call, sqrt, where

u32 = np.uint32
u64 = np.uint64

CHUNK = 256  # blocks made at once: their words and normals stay in the first-level cache
STEP = 4 * WIDTH  # blocks whose normals are computed side by side

_MASK = u64(0xFFFFFFFF)
_32 = u64(32)
_M0 = u64(0xD2511F53)
_M1 = u64(0xCD9E8D57)
_W0 = u64(0x9E3779B9)
_W1 = u64(0xBB67AE85)

_SQRT_HALF_BITS = 0x3F3504F3
_SIGN = 0x80000000


@inlined
def block(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10 of one counter (c0, c1, c2, c3) and key (k0, k1), all uint32: four uint32 words."""
    for _ in range(10):
        p = _M0 * u64(c0)
        q = _M1 * u64(c2)
        c0 = u32(u32(q >> _32) ^ c1 ^ k0)
        c1 = u32(q & _MASK)
        c2 = u32(u32(p >> _32) ^ c3 ^ k1)
        c3 = u32(p & _MASK)
        k0 = u32((u64(k0) + _W0) & _MASK)
        k1 = u32((u64(k1) + _W1) & _MASK)
    return c0, c1, c2, c3


@inlined
def words(seed, stream, index, first, count, out):
    """Fill out, uint32 (4, count or more), with the words of `count` blocks. Seed and index are uint64."""
    k0 = u32(seed & _MASK)
    k1 = u32(seed >> _32)
    c1 = u32(stream)
    c2 = u32(index & _MASK)
    c3 = u32(index >> _32)
    for j in range(count):
        out[0, j], out[1, j], out[2, j], out[3, j] = block(u32(first + j), c1, c2, c3, k0, k1)


@inlined
def uniform(word):
    """The uniform of a uint32 word, float64 in (0, 1): (word + 1/2) / 2**32, exact."""
    return (np.float64(word) + 0.5) * 2.0**-32


def radius(w):
    """sqrt(-2 ln u) for u = (w + 1/2) / 2**32: float32 (n,) from uint32 (n,), arrays or Vectors.

    x = 2**32 u is split into 2**e m with m in [sqrt(1/2), sqrt(2)); then ln u = (e - 32) ln 2 + ln m.
    Where u is close to 1, m - 1 is taken from the complement of the word, which is below 2**31 there, so
    that no digit is lost. ln(1 + f) = f - f**2 / 2 + f**3 P(f) with P of degree 7, a minimax fit of
    relative error 6e-9.
    """
    bits = (w.astype(np.float32) + 0.5).view(np.int32)
    e = (bits - _SQRT_HALF_BITS) >> 23
    f = (bits - (e << 23)).view(np.float32) - 1.0
    near_one = ((w ^ 0xFFFFFFFF).view(np.int32).astype(np.float32) + 0.5) * -(2.0**-32)
    f = where(e > 31, near_one, f)
    p = f * -0.0785957156332 + 0.128816346832
    p = p * f + -0.131287640548
    p = p * f + 0.141811945566
    p = p * f + -0.16624553485
    p = p * f + 0.200022861601
    p = p * f + -0.250008104102
    p = p * f + 0.33333316725
    z = f * f
    log = (p * f * z - z * 0.5 + f) + (e - 32).astype(np.float32) * 0.6931471805599453
    y = log * -2.0
    return sqrt(where(y > 0.0, y, 0.0))


def polar(w, r):
    """r cos a, r sin a for a = 2 pi (w + 1/2) / 2**32: float32 (n,) from uint32 (n,), arrays or Vectors.

    The nearest quarter turn is taken off the word in integers; what is left, at most an eighth of a
    turn, goes into minimax polynomials of relative error 4e-9 (sine) and 2e-10 (cosine). The number of
    quarter turns stands in the two highest bits of q.
    """
    q = w + 0x20000000
    t = ((w - (q & 0xC0000000)).view(np.int32).astype(np.float32) + 0.5) * (2.0 * math.pi / 2**32)
    z = t * t
    s = ((z * -0.00019520237011 + 0.00833220518877) * z + -0.166666555227) * z * t + t
    c = ((z * 2.44610315806e-5 + -0.001388759343) * z + 0.0416666523267) * z * z
    c = c - z * 0.5 + 1.0
    odd = (q << 1).view(np.int32) < 0
    cosine, sine = where(odd, s, c), where(odd, c, s)
    cosine = (cosine.view(np.uint32) ^ ((q + 0x40000000) & _SIGN)).view(np.float32)
    sine = (sine.view(np.uint32) ^ (q & _SIGN)).view(np.float32)
    return r * cosine, r * sine


def box_muller(w, blocks, out):
    """Fill out, float32, with four normals for each of `blocks` blocks: words w, uint32 (4, CHUNK).

    Box and Muller (1958): words 0 and 1 are radius and angle of the first two (cosine, then sine), words 2
    and 3 those of the other two. `blocks` is a multiple of STEP; out has space for CHUNK blocks.
    """
    w = w[:, :blocks]
    for k in (0, 2):
        x, y = polar(w[k + 1], radius(w[k]))
        out[k : 4 * blocks : 4], out[k + 1 : 4 * blocks : 4] = x, y


@in_llvm(box_muller)
def _write_box_muller(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> None:
    """The operations of STEP blocks side by side, so that none waits for the one before it."""
    w, out = (address(context, builder, signature.args[k], args[k], INTEGER(0)) for k in (0, 2))

    def words_of(x: ir.Value, k: int) -> Vector:
        place = builder.gep(w, [builder.add(x, INTEGER(k * CHUNK))])
        return Vector.load(builder, place, STEP, np.uint32)

    with cgutils.for_range_slice(builder, INTEGER(0), args[1], INTEGER(STEP)) as (x, _):
        four = [n for k in (0, 2) for n in polar(words_of(x, k + 1), radius(words_of(x, k)))]
        for start in range(0, STEP, WIDTH):
            part = [n.shuffle(n, range(start, start + WIDTH)) for n in four]
            for block, numbers in enumerate(_interleaved(part), start):
                numbers.store(builder.gep(out, [builder.mul(builder.add(x, INTEGER(block)), INTEGER(4))]))


def _interleaved(four: list[Vector]) -> list[Vector]:
    """The vectors (a[j], b[j], c[j], d[j]) for each j, of four vectors a, b, c and d."""
    starts = range(0, WIDTH, 4)
    pairs = [j for start in starts for j in (start, WIDTH + start, start + 1, WIDTH + start + 1)]
    halves = [j for start in starts for j in (start, start + 1, WIDTH + start, WIDTH + start + 1)]
    found: dict[int, Vector] = {}
    for k in (0, 2):  # a[k], b[k], a[k + 1], b[k + 1], and so on
        ab, cd = (x.shuffle(y, [j + k for j in pairs]) for x, y in (four[:2], four[2:]))
        for half in (0, 2):
            all_four = ab.shuffle(cd, [j + half for j in halves])
            for start in starts:
                found[start + k + half // 2] = all_four.shuffle(all_four, range(start, start + 4))
    return [found[j] for j in range(WIDTH)]


def memory():
    """The memory that `normals` takes: words, uint32 (4, CHUNK); numbers, float32 (4 * CHUNK,); its code.

    The code is int64 (1,), 0 at first. Set it to what `compiled` returns before a kernel calls `normals`.
    """
    return np.empty((4, CHUNK), np.uint32), np.empty(4 * CHUNK, np.float32), np.zeros(1, np.int64)


@inlined
def _fill(seed, stream, index, first, out, w, numbers):
    end = (first + out.size + 3) // 4
    for start in range(first // 4, end, CHUNK):
        count = CHUNK if start + CHUNK < end else end - start
        words(seed, stream, index, start, count, w)
        low = 4 * start - first
        fits = count == CHUNK and low >= 0 and low + 4 * CHUNK <= out.size
        box_muller(w, (count + STEP - 1) // STEP * STEP, out[low : low + 4 * CHUNK] if fits else numbers)
        if not fits:
            for j in range(4 * count):
                if 0 <= low + j < out.size:
                    out[low + j] = numbers[j]


@functools.cache
def compiled() -> int:
    """The address of the code that `normals` runs; 0 without the compiler.

    A kernel that contained this code would take 2 s more to compile.
    """

    def code(seed, stream, index, first, out, n, w, numbers):
        widest_vectors()
        own = numba.carray(out, (n,))
        made = numba.carray(w, (4, CHUNK)), numba.carray(numbers, (4 * CHUNK,))
        _fill(seed, stream, index, first, own, made[0], made[1])

    floats = types.CPointer(types.float32)
    numbers = (types.uint64, types.intp, types.uint64, types.intp)
    return machine_code(code, *numbers, floats, types.intp, types.CPointer(types.uint32), floats)


def normals(seed, stream, index, first, out, memory):
    """Fill out, float32 (n,), with N(0, 1): numbers first to first + n - 1 of the item.

    Block b of the stream gives numbers 4b to 4b + 3. memory: as `memory` makes it.
    """
    _fill(seed, stream, index, first, out, *memory[:2])


@in_llvm(normals)
def _write_normals(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> None:
    kinds = signature.args[4], *signature.args[5].types
    arrays = args[4], *cgutils.unpack_tuple(builder, args[5])
    starts = map(lambda *array: address(context, builder, *array, INTEGER(0)), kinds, arrays)
    out, w, numbers, code = starts
    size = context.make_array(kinds[0])(context, builder, args[4]).nitems
    call(builder, builder.load(code), [*args[:4], out, size, w, numbers])
