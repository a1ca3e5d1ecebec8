"""The kernels that are written in LLVM IR: each equals its Python twin bit for bit."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from maskbank.kernels import fourier, lines, vectors
from maskbank.kernels.jit import kernel

Floats = npt.NDArray[np.float32]
WIDTH = vectors.WIDTH

# Untyped: Numba infers. Called from Python these are the twins, called from a kernel the compiled code.
transform: Any = fourier.transform
tap_sum: Any = lines.tap_sum
transpose: Any = lines.transpose

SENTINEL = np.float32(-77.25)


@kernel
def compiled_transform(target, source, columns, code):  # type: ignore[no-untyped-def]
    transform(target, source, columns, code)


@kernel
def compiled_tap_sum(target, add, n, source, kernel):  # type: ignore[no-untyped-def]
    tap_sum(target, add, n, source, kernel)


@kernel
def compiled_transpose(dst, dst_stride, src, src_stride, rows, columns):  # type: ignore[no-untyped-def]
    transpose(dst, dst_stride, src, src_stride, rows, columns)


def numbers(seed: int, n: int) -> Floats:
    """Normal float32 numbers with every last digit in use."""
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


def test_sizes_are_the_powers_of_two_up_to_128() -> None:
    """What the tests below run over is all there is."""
    assert fourier.SIZES == (1, 2, 4, 8, 16, 32, 64, 128)


@pytest.mark.parametrize("n", [1, 2, 4, 8, 64, 256, 1024])
def test_circle(n: int) -> None:
    """Cosines and sines by halving angles agree with NumPy's, and are exact at the quarter turns."""
    got = np.array(fourier.circle(n))[:n]
    angles = 2.0 * np.pi * np.arange(n) / n
    assert np.abs(got - np.stack((np.cos(angles), np.sin(angles)), axis=1)).max() < 1e-15
    if n >= 4:
        quarters = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)]
        assert np.abs(got[:: n // 4] - quarters).max() < 1e-16
    assert len(fourier.circle(n)) >= n


@pytest.mark.parametrize("n", fourier.SIZES)
def test_forward_is_the_discrete_fourier_transform(n: int) -> None:
    """Each slot holds the real part or, up to its sign, the imaginary part of its frequency."""
    x = np.random.default_rng(n).standard_normal(n)
    exact = np.fft.fft(x)
    frequencies, _ = fourier.slots(n)
    values = fourier.forward(list(x))
    assert len(values) == len(frequencies) == n
    seen: dict[int, list[float]] = {}
    for k, value in zip(frequencies, values, strict=True):
        assert 0 <= k < n
        seen.setdefault(min(k, n - k), []).append(value)
    assert sorted(seen) == list(range(n // 2 + 1))
    for k, parts in seen.items():
        expected = [exact[k].real] if k in (0, n // 2) else [exact[k].real, exact[k].imag]
        assert np.abs(np.sort(np.abs(parts)) - np.sort(np.abs(expected))).max() < 1e-12, k


@pytest.mark.parametrize("n", fourier.SIZES)
def test_inverse_undoes_forward(n: int) -> None:
    """With the weights of `slots`, and nothing else."""
    x = np.random.default_rng(n).standard_normal(n)
    _, weights = fourier.slots(n)
    back = fourier.inverse([v * w for v, w in zip(fourier.forward(list(x)), weights, strict=True)])
    assert np.abs(np.array(back) - x).max() < 1e-14


@pytest.mark.parametrize("n", fourier.SIZES)
def test_a_symmetric_filter_is_one_number_for_each_slot(n: int) -> None:
    """Multiplying by a function of the frequency is the cyclic convolution with its even kernel."""
    rng = np.random.default_rng(100 + n)
    x, kernel_ = rng.standard_normal((2, n))
    kernel_ = kernel_ + np.roll(kernel_[::-1], 1)  # even
    frequencies, weights = fourier.slots(n)
    response = np.fft.fft(kernel_).real
    scaled = zip(fourier.forward(list(x)), weights, frequencies, strict=True)
    got = fourier.inverse([v * w * response[k] for v, w, k in scaled])
    exact = np.fft.ifft(np.fft.fft(x) * np.fft.fft(kernel_)).real
    assert np.abs(np.array(got) - exact).max() < 1e-12 * max(1.0, np.abs(exact).max())


@pytest.mark.parametrize("back", [False, True], ids=["forward", "back"])
@pytest.mark.parametrize("n", fourier.SIZES)
def test_compiled_transform_equals_its_twin(n: int, back: bool) -> None:
    """Bit for bit, at any offset and stride, from one array to another and in place."""
    both = (compiled_transform, fourier.compiled(n, back)), (transform, -n if back else n)
    for columns, extra, d, s in ((WIDTH, 0, 0, 0), (2 * WIDTH, 5, 3, 7), (5 * WIDTH, 48, 1, 0)):
        source = numbers(n + columns, s + n * (columns + extra) + 9)
        stride, dst_stride = columns + extra, columns + 2 * extra
        results = [np.full(d + n * dst_stride + 9, SENTINEL) for _ in range(2)]
        for (run, code), out in zip(both, results, strict=True):
            run((out, d, dst_stride), (source, s, stride), columns, code)
        assert results[0].tobytes() == results[1].tobytes()
        inside = np.zeros(results[0].size, bool)
        for j in range(n):
            inside[d + j * dst_stride : d + j * dst_stride + columns] = True
        assert (results[0][~inside] == SENTINEL).all()

        places = [source.copy(), source.copy()]
        for (run, code), place in zip(both, places, strict=True):
            run((place, s, stride), (place, s, stride), columns, code)
        assert places[0].tobytes() == places[1].tobytes()


@pytest.mark.parametrize("n", fourier.SIZES)
def test_compiled_transform_there_and_back(n: int) -> None:
    """In float32 the numbers return within a few units in the last place."""
    source = numbers(n, n * WIDTH)
    work = source.copy()
    compiled_transform((work, 0, WIDTH), (work, 0, WIDTH), WIDTH, fourier.compiled(n, False))
    exact = np.array(fourier.forward(list(source.astype(np.float64).reshape(n, WIDTH))))
    assert np.abs(work.reshape(n, WIDTH) - exact).max() < 4e-7 * np.sqrt(n) * 4.0
    work.reshape(n, WIDTH)[:] *= np.array(fourier.slots(n)[1], np.float32)[:, None]
    compiled_transform((work, 0, WIDTH), (work, 0, WIDTH), WIDTH, fourier.compiled(n, True))
    assert np.abs(work - source).max() < 2e-6


def both_tap_sums(n: int, radius: int, stride: int, add: bool, offset: int) -> tuple[Floats, Floats]:
    """What the compiled kernel and its Python twin make of the same numbers."""
    before = radius * stride
    source = numbers(n * 31 + radius, offset + 2 * before + n)
    taps = numbers(radius, radius + 3)
    start = np.where(np.arange(n + 20) < n + 10, numbers(n, n + 20), SENTINEL).astype(np.float32)
    results = start.copy(), start.copy()
    for run, out in zip((compiled_tap_sum, tap_sum), results, strict=True):
        run((out, 5), add, n, (source, offset + before, stride), (taps, radius))
    for out in results:  # nothing beyond the n outputs is touched
        assert out[:5].tobytes() == start[:5].tobytes()
        assert out[5 + n :].tobytes() == start[5 + n :].tobytes()
    return results


@pytest.mark.parametrize("n", [*range(1, 34), 47, 48, 63, 64, 65, 79, 80, 81, 127, 128, 129, 144, 191, 200])
def test_compiled_tap_sum_equals_its_twin_for_every_length(n: int) -> None:
    """Bit for bit around every border between vectors, at all radii in turn, adding or not."""
    for radius, stride, add in ((n % 21, 1, False), ((n * 5 + 3) % 21, n + n % 7, True)):
        compiled, twin = both_tap_sums(n, radius, stride, add, n % 3)
        assert compiled.tobytes() == twin.tobytes()


@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("radius", range(21))
def test_compiled_tap_sum_equals_its_twin_for_every_radius(radius: int, add: bool) -> None:
    """Bit for bit, through all three sizes of step."""
    for stride in (1, 3, 100):
        compiled, twin = both_tap_sums(83, radius, stride, add, 1)
        assert compiled.tobytes() == twin.tobytes()


def test_tap_sum_twin_is_a_symmetric_filter() -> None:
    """And the twin itself does what it says, against NumPy's convolution in float64."""
    taps = np.array([0.5, 0.25, -0.125, 2.0], np.float32)
    source = numbers(1, 50)
    out = np.ones(44, np.float32)
    tap_sum((out, 0), True, 44, (source, 3, 1), (taps, 3))
    exact = np.convolve(source.astype(np.float64), np.concatenate((taps[:0:-1], taps)), "valid") + 1.0
    assert np.abs(out - exact).max() < 1e-5


def test_tap_sum_adds_from_the_outermost_pair_to_the_centre() -> None:
    """The order is part of the contract: where it decides the result, it is the documented one."""
    big, small = 2.0**24, 1.0  # 2**24 + 1 is 2**24 in float32
    source = np.zeros(100, np.float32)
    source[48], source[49], source[50] = big, small, -big
    taps = np.ones(3, np.float32)
    for run in (compiled_tap_sum, tap_sum):
        out = np.zeros(64, np.float32)
        run((out, 0), False, 64, (source, 20, 1), (taps, 2))
        assert out[30] == 0.0  # (big + small) - big; from the centre outwards it would be 1


@pytest.mark.parametrize("rows, columns", [(16, 16), (16, 48), (64, 32), (128, 128)])
def test_compiled_transpose_equals_its_twin(rows: int, columns: int) -> None:
    """Bit for bit at any stride, and NumPy's own transposition; what lies between rows stays."""
    for dst_extra, src_extra in ((0, 0), (16, 5), (3, 48)):
        source = numbers(rows, rows * (columns + src_extra))
        results = [np.full(columns * (rows + dst_extra), SENTINEL) for _ in range(2)]
        for run, out in zip((compiled_transpose, transpose), results, strict=True):
            run(out, rows + dst_extra, source, columns + src_extra, rows, columns)
        expected = np.full((columns, rows + dst_extra), SENTINEL)
        expected[:, :rows] = source.reshape(rows, columns + src_extra)[:, :columns].T
        for out in results:
            assert out.tobytes() == expected.tobytes()


@pytest.mark.parametrize("special", [0.0, 1e-42, 3e38, np.inf])
def test_kernels_keep_special_numbers(special: float) -> None:
    """Subnormals are not flushed, infinities pass: the same in twin and kernel."""
    source = np.full(64, special, np.float32)
    taps = np.array([1.0], np.float32)
    results = [np.zeros(64, np.float32) for _ in range(2)]
    for run, out in zip((compiled_tap_sum, tap_sum), results, strict=True):
        run((out, 0), False, 64, (source, 0, 1), (taps, 0))
    assert results[0].tobytes() == results[1].tobytes() == source.tobytes()
