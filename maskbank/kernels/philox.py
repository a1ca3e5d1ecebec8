"""Counter-based random numbers: Philox4x32-10, uniforms and normals.

Philox4x32-10 is the generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC 2011. A word is a pure function of (seed, stream, item index, block number):

    key      seed, low word first
    counter  c0 block number, c1 stream, c2 and c3 item index, low word first

`maskbank.kernels.streams` is the table of streams.
"""

import numpy as np

from maskbank.kernels.jit import inlined, kernel, widest_vectors

u32 = np.uint32
u64 = np.uint64
i32 = np.int32
f32 = np.float32

CHUNK = 256  # blocks made at once: their words and normals stay in the first-level cache

_MASK = u64(0xFFFFFFFF)
_32 = u64(32)
_M0 = u64(0xD2511F53)
_M1 = u64(0xCD9E8D57)
_W0 = u64(0x9E3779B9)
_W1 = u64(0xBB67AE85)

_HALF = f32(0.5)
_ONE = f32(1.0)
_TWO_TO_MINUS_32 = f32(2.0**-32)
_LN2 = f32(0.6931471805599453)
_TURN = f32(2.0 * 3.141592653589793 / 2**32)
_SQRT_HALF_BITS = i32(0x3F3504F3)


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


@kernel
def words(seed, stream, index, first, w0, w1, w2, w3):
    """Fill w0..w3, uint32 (n,), with the words of blocks first..first+n-1. Seed and index are uint64."""
    k0 = u32(seed & _MASK)
    k1 = u32(seed >> _32)
    c1 = u32(stream)
    c2 = u32(index & _MASK)
    c3 = u32(index >> _32)
    for j in range(w0.size):
        a, b, c, d = block(u32(first + j), c1, c2, c3, k0, k1)
        w0[j] = a
        w1[j] = b
        w2[j] = c
        w3[j] = d


@inlined
def uniform(word):
    """The uniform of a uint32 word, float64 in (0, 1): (word + 1/2) / 2**32, exact."""
    return (np.float64(word) + 0.5) * 2.0**-32


@kernel
def _radius(w, out):
    """out = sqrt(-2 ln u) for u = (w + 1/2) / 2**32: float32 (n,) from uint32 (n,).

    x = 2**32 u is split into 2**e m with m in [sqrt(1/2), sqrt(2)); then ln u = (e - 32) ln 2 + ln m.
    Where u is close to 1, m - 1 is taken from the complement of the word, so that no digit is lost.
    ln(1 + f) = f - f**2 / 2 + f**3 P(f) with P of degree 7, a minimax fit of relative error 6e-9.
    """
    widest_vectors()
    for j in range(w.size):
        bits = np.float32(f32(w[j]) + _HALF).view(np.int32)
        e = i32((bits - _SQRT_HALF_BITS) >> i32(23))
        f = np.int32(bits - i32(e << i32(23))).view(np.float32) - _ONE
        near_one = -((f32(u32(~w[j])) + _HALF) * _TWO_TO_MINUS_32)
        f = near_one if e == i32(32) else f
        p = f32(-0.0785957156332)
        p = p * f + f32(0.128816346832)
        p = p * f + f32(-0.131287640548)
        p = p * f + f32(0.141811945566)
        p = p * f + f32(-0.16624553485)
        p = p * f + f32(0.200022861601)
        p = p * f + f32(-0.250008104102)
        p = p * f + f32(0.33333316725)
        z = f * f
        log = (p * f * z - _HALF * z + f) + f32(i32(e - i32(32))) * _LN2
        y = f32(-2.0) * log
        out[j] = np.sqrt(y if y > f32(0.0) else f32(0.0))


@kernel
def _polar(w, r, x, y):
    """x, y = r cos a, r sin a for a = 2 pi (w + 1/2) / 2**32: float32 (n,) from uint32 (n,), float32 (n,).

    The nearest quarter turn is taken off the word in integers; what is left, at most an eighth of a
    turn, goes into minimax polynomials of relative error 4e-9 (sine) and 2e-10 (cosine).
    """
    widest_vectors()
    for j in range(w.size):
        quarter = u32(u32(w[j] + u32(0x20000000)) >> u32(30))
        t = (f32(np.int32(w[j] - u32(quarter << u32(30)))) + _HALF) * _TURN
        z = t * t
        s = ((f32(-0.00019520237011) * z + f32(0.00833220518877)) * z + f32(-0.166666555227)) * z * t + t
        c = ((f32(2.44610315806e-5) * z + f32(-0.001388759343)) * z + f32(0.0416666523267)) * z * z
        c = c - _HALF * z + _ONE
        odd = (quarter & u32(1)) != u32(0)
        cosine = s if odd else c
        sine = c if odd else s
        cosine = -cosine if (u32(quarter + u32(1)) & u32(2)) != u32(0) else cosine
        sine = -sine if (quarter & u32(2)) != u32(0) else sine
        x[j] = r[j] * cosine
        y[j] = r[j] * sine


@kernel
def normals(seed, stream, index, first, out):
    """Fill out, float32 (n,), with N(0, 1): numbers first to first + n - 1 of the item.

    Block b of the stream gives numbers 4b to 4b + 3 by Box and Muller (1958): words 0 and 1 are radius
    and angle of the first two (cosine, then sine), words 2 and 3 those of the other two.
    """
    w = np.empty((4, CHUNK), np.uint32)
    x = np.empty((5, CHUNK), np.float32)
    woven = np.empty(4 * CHUNK, np.float32)
    four = u64(4)
    begin = first // 4
    end = (first + out.size + 3) // 4
    for start in range(begin, end, CHUNK):
        count = min(CHUNK, end - start)
        words(seed, stream, index, start, w[0, :count], w[1, :count], w[2, :count], w[3, :count])
        _radius(w[0, :count], x[4])
        _polar(w[1, :count], x[4], x[0], x[1])
        _radius(w[2, :count], x[4])
        _polar(w[3, :count], x[4], x[2], x[3])
        for j in range(u64(count)):
            o = four * j
            woven[o] = x[0, j]
            woven[o + u64(1)] = x[1, j]
            woven[o + u64(2)] = x[2, j]
            woven[o + u64(3)] = x[3, j]
        low = max(4 * start, first)
        high = min(4 * (start + count), first + out.size)
        a = u64(low - first)
        b = u64(low - 4 * start)
        for j in range(u64(high - low)):
            out[a + j] = woven[b + j]
