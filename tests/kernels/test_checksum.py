"""The checksum equals zlib's, with and without the processor's help."""

import zlib

import numpy as np
import pytest

from maskbank.kernels import checksum

BYTES = np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8)


@pytest.mark.parametrize("fast", [True, False])
def test_crc32_is_zlibs_for_any_length_and_place(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksum, "FAST", fast and checksum.FAST)
    for start in (0, 1, 7, 64):
        for n in [*range(300), 1023, 1024, 1025, 4095, 4096, 4900]:
            data = BYTES[start : start + n]
            assert checksum.crc32(data) == zlib.crc32(data.tobytes()), (start, n)


@pytest.mark.parametrize("value", [0, 1, 255])
def test_crc32_of_constant_bytes(value: int) -> None:
    data = np.full(2**16 + 17, value, np.uint8)
    assert checksum.crc32(data) == zlib.crc32(data.tobytes())


def test_every_bit_counts() -> None:
    data = BYTES[:1024].copy()
    seen = {checksum.crc32(data)}
    for bit in range(0, 8192, 13):
        data[bit // 8] ^= 1 << (bit % 8)
        seen.add(checksum.crc32(data))
    assert len(seen) == 1 + len(range(0, 8192, 13))
