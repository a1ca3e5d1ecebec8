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
            items = np.array([BYTES[start : start + n], BYTES[99 : 99 + n]])
            for some in (items, items[:1], items[:0]):
                assert checksum.crc32(some) == [zlib.crc32(item.tobytes()) for item in some], (start, n)


@pytest.mark.parametrize("value", [0, 1, 255])
def test_crc32_of_constant_bytes(value: int) -> None:
    data = np.full(2**16 + 17, value, np.uint8)
    assert checksum.crc32(data[None]) == [zlib.crc32(data.tobytes())]


def test_every_bit_counts() -> None:
    data = BYTES[:1024].copy()
    seen = {*checksum.crc32(data[None])}
    for bit in range(0, 8192, 13):
        data[bit // 8] ^= 1 << (bit % 8)
        seen.update(checksum.crc32(data[None]))
    assert len(seen) == 1 + len(range(0, 8192, 13))
