"""Philox4x32-10, and the normals made from it."""

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from maskbank.kernels import philox, streams
from maskbank.kernels.jit import kernel
from tests import reference
from tests.conftest import Share
from tests.reference import MASK

Words = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float32]

U64 = st.one_of(
    st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
)

# Random123's kat_vectors for philox4x32 with ten rounds: counter, key, result
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]

# Words at which a Box-Muller by float32 polynomials changes its branch, or has its extreme values
EDGES = sorted(
    {0, 1, 2, 3, 2**32 - 1, 2**32 - 2, 2**32 - 3}
    | {(2**k + d) % 2**32 for k in range(33) for d in (-2, -1, 0, 1, 2)}
    | {(k * 2**29 + d) % 2**32 for k in range(8) for d in (-2, -1, 0, 1, 2)}
    | {int(2**k * 0.5**0.5) + d for k in range(11, 33) for d in range(-300, 300, 37)}
)


@kernel
def one_block(c0, c1, c2, c3, k0, k1, out):  # type: ignore[no-untyped-def]
    """`philox.block` is pasted into kernels: this one hands its words out."""
    out[0], out[1], out[2], out[3] = philox.block(c0, c1, c2, c3, k0, k1)


def kernel_words(seed: int, stream: int, index: int, first: int, n: int) -> Words:
    out = np.empty((4, n), np.uint32)
    philox.words(np.uint64(seed), stream, np.uint64(index), first, n, out)
    return out


def kernel_normals(seed: int, index: int, first: int, n: int, stream: int = streams.VOXELS) -> Floats:
    out = np.empty(n, np.float32)
    untyped.normals(np.uint64(seed), stream, np.uint64(index), first, out, untyped.memory())
    return out


untyped: Any = philox  # Numba infers its types
box_muller = untyped.box_muller


@kernel
def compiled_box_muller(w, blocks, out):  # type: ignore[no-untyped-def]
    box_muller(w, blocks, out)


def kernel_radius(words: Words) -> Floats:
    found: Floats = untyped.radius(words)
    return found


def kernel_polar(words: Words, radius: float) -> tuple[Floats, Floats]:
    x, y = untyped.polar(words, np.full(words.size, radius, np.float32))
    return x, y


def dense_words() -> Words:
    """A hundred thousand words over the whole range, the edges, and the extremes of either end."""
    spread = np.arange(0, 2**32, 2**32 // 100_003, dtype=np.uint64)
    near = np.arange(5000, dtype=np.uint64)
    return np.unique(np.concatenate((spread, near, 2**32 - 1 - near, np.array(EDGES, np.uint64)))).astype(
        np.uint32
    )


@pytest.mark.parametrize("counter, key, expected", KNOWN, ids=["zeros", "ones", "pi"])
def test_published_vectors_twin(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    """The twin the other tests lean on is the published generator."""
    assert reference.philox4x32_10(counter, key) == expected


@pytest.mark.parametrize("counter, key, expected", KNOWN, ids=["zeros", "ones", "pi"])
def test_published_vectors_block(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    """So is the kernel's block."""
    out = np.empty(4, np.uint32)
    one_block(*map(np.uint32, counter), *map(np.uint32, key), out)
    assert tuple(map(int, out)) == expected


@pytest.mark.parametrize("counter, key, expected", KNOWN, ids=["zeros", "ones", "pi"])
def test_published_vectors_through_the_layout(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    """Seed is the key, low word first; c0 is the block, c1 the stream, c2 and c3 the item, low word first."""
    block, stream, low, high = counter
    got = kernel_words(key[0] | key[1] << 32, stream, low | high << 32, block, 1)
    assert tuple(map(int, got[:, 0])) == expected


@given(seed=U64, index=U64, stream=st.integers(0, MASK), first=st.integers(0, 2**26), n=st.integers(1, 9))
@example(seed=2**64 - 1, index=2**64 - 1, stream=2**32 - 1, first=2**26 - 1, n=1)
@example(seed=2**32, index=2**32, stream=0, first=0, n=1)
def test_words_equal_twin(seed: int, index: int, stream: int, first: int, n: int) -> None:
    """Words are those of the twin for any 64-bit seed and index, any stream, any block."""
    got = kernel_words(seed, stream, index, first, n)
    expected = [reference.words(seed, stream, index, first + j) for j in range(n)]
    assert [tuple(map(int, column)) for column in got.T] == expected


def test_twin_of_arrays_equals_twin_of_ints() -> None:
    """The vectorised use of the twin, by which whole items are checked, is the same function."""
    blocks = np.array([0, 1, 77, 2**26 - 1], np.uint64)
    for seed, index in ((0, 0), (2**64 - 1, 2**63 + 5)):
        columns = np.array(reference.words(seed, 0, index, blocks)).T.tolist()
        assert columns == [list(reference.words(seed, 0, index, int(b))) for b in blocks]


def test_radius_is_accurate_for_every_kind_of_word() -> None:
    """sqrt(-2 ln u) has a relative error near float32's own, at both extremes and in between."""
    words = dense_words()
    exact = np.sqrt(-2.0 * np.log(reference.uniform(words.astype(np.float64))))
    error = np.abs(kernel_radius(words) - exact) / exact
    assert error.max() < 4e-7, f"word {words[error.argmax()]}"


def test_radius_against_mpmath() -> None:
    """At the edges the oracle itself is beyond doubt: 40 digits."""
    words = np.array(EDGES, np.uint32)
    got = kernel_radius(words)
    with mpmath.workdps(40):
        for word, value in zip(EDGES, got, strict=True):
            exact = mpmath.sqrt(-2 * mpmath.log((mpmath.mpf(word) + 0.5) / 2**32))
            assert abs(value - exact) < 4e-7 * exact, word
            assert value > 0.0


@pytest.mark.parametrize("radius", [1.0, 6.7])
def test_polar_is_accurate_for_every_kind_of_word(radius: float) -> None:
    """Cosine and sine to float32's precision in all eight octants, on both sides of every border."""
    words = dense_words()
    angle = 2.0 * np.pi * reference.uniform(words.astype(np.float64))
    r = float(np.float32(radius))
    for got, exact in zip(kernel_polar(words, radius), (r * np.cos(angle), r * np.sin(angle)), strict=True):
        error = np.abs(got - exact)
        assert error.max() < 1.5e-7 * radius, f"word {words[error.argmax()]}"


def test_polar_keeps_digits_where_cosine_or_sine_is_tiny() -> None:
    """Close to an axis the small coordinate has a small relative error too: no cancellation."""
    words = np.array(EDGES, np.uint32)
    with mpmath.workdps(40):
        for word, x, y in zip(EDGES, *kernel_polar(words, 1.0), strict=True):
            angle = 2 * mpmath.pi * (mpmath.mpf(word) + 0.5) / 2**32
            for got, exact in ((x, mpmath.cos(angle)), (y, mpmath.sin(angle))):
                assert abs(got - exact) < 4e-7 * abs(exact), word


def test_compiled_box_muller_equals_its_twin() -> None:
    """Bit for bit, for every kind of word in each of the four places, and for any number of steps."""
    words = dense_words()
    rng = np.random.default_rng(0)
    every = np.stack([words, *(rng.permutation(words) for _ in range(3))])
    for start in range(0, words.size - philox.CHUNK, philox.CHUNK):
        w = np.ascontiguousarray(every[:, start : start + philox.CHUNK])
        blocks = philox.STEP * rng.integers(1, philox.CHUNK // philox.STEP, endpoint=True)
        results = [np.full(4 * philox.CHUNK, np.nan, np.float32) for _ in range(2)]
        for run, out in zip((compiled_box_muller, box_muller), results, strict=True):
            run(w, blocks, out)
        assert results[0].tobytes() == results[1].tobytes()
        assert np.isfinite(results[0][: 4 * blocks]).all()
        assert np.isnan(results[0][4 * blocks :]).all()


@given(seed=U64, index=U64)
def test_normals_equal_float64_twin(share: Share, seed: int, index: int) -> None:
    """Box-Muller on the twin's words in float64, in the layout's order, to within 1e-6."""
    count = share(5000, 2100)  # two runs of the kernel and a part of one
    got = kernel_normals(seed, index, 0, count)
    exact = reference.normals(seed, streams.VOXELS, index, 0, count)
    assert np.abs(got - exact).max() < 1e-6
    assert np.median(np.abs(got - exact) / np.abs(exact)) < 1e-7
    assert (np.abs(got - exact) <= 8e-7 * np.abs(exact)).all()


def test_the_largest_normal_is_what_it_should_be() -> None:
    """Word 0 gives a radius of sqrt(2 * 33 ln 2); nothing is larger, nothing is infinite or NaN."""
    assert kernel_radius(np.array([0], np.uint32))[0] == pytest.approx(math.sqrt(66 * math.log(2)), rel=1e-6)
    assert kernel_radius(dense_words()).max() < 6.764
    assert kernel_radius(np.array([2**32 - 1], np.uint32))[0] == pytest.approx((2 / 2**33) ** 0.5, rel=1e-6)


@given(first=st.integers(0, 3000), n=st.integers(1, 3000))
@example(first=0, n=1)
@example(first=1023, n=2)
@example(first=1025, n=1024)
@example(first=3, n=1)
def test_any_part_of_the_normals_equals_the_whole(first: int, n: int) -> None:
    """Numbers first..first+n-1 do not depend on where a call begins or ends."""
    whole = kernel_normals(9, 4, 0, 6000)
    assert kernel_normals(9, 4, first, n).tobytes() == whole[first : first + n].tobytes()


def test_normals_at_the_far_end_of_the_largest_item() -> None:
    """The last voxels of an item of 2**28: offsets do not overflow."""
    got = kernel_normals(1, 2**48, 2**28 - 50, 50)
    assert np.abs(got - reference.normals(1, 0, 2**48, 2**28 - 50, 50)).max() < 1e-6


@pytest.mark.parametrize(
    "of",
    [lambda i: kernel_words(7, 0, i, 0, 500), lambda i: kernel_words(i, 0, 7, 0, 500)],
    ids=["items", "seeds"],
)
def test_words_are_uniform(of: Callable[[int], Any]) -> None:
    """Chi-square over the top byte of the words of neighbouring items, and of neighbouring seeds."""
    top = np.concatenate([of(i).reshape(-1) >> 24 for i in range(50)])
    assert stats.chisquare(np.bincount(top, minlength=256)).pvalue > 1e-4
