"""zlib's CRC-32 of large buffers, with the processor's carry-less multiplication.

Every item gets a checksum when it is made, and zlib's own loop would take a tenth of that time. Here a
buffer is folded to 16 bytes with the same checksum: Gopal, Ozturk, Guilford et al., "Fast CRC computation
for generic polynomials using the PCLMULQDQ instruction", Intel 2009, with its constants for the reflected
polynomial 0xEDB88320. zlib does the rest, and everything where the processor lacks the instruction.
"""

import platform
import zlib
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from maskbank.kernels.jit import has_feature, in_llvm, kernel
from maskbank.kernels.vectors import INTEGER, address

_STEP = 64  # bytes folded at once, as four lanes of 16
_BY_64 = (0x154442BD4, 0x1C6E41596)  # x**(4 * 128 + 32) and x**(4 * 128 - 32) modulo the polynomial
_BY_16 = (0x1751997D0, 0x0CCAA009E)  # x**(128 + 32) and x**(128 - 32)

_LANE = ir.VectorType(INTEGER, 2)

FAST = platform.machine().lower() in ("x86_64", "amd64") and has_feature("pclmul")


def crc32(items: Any) -> list[int]:
    """zlib.crc32 of each item, an int. items: uint8 (items, bytes), contiguous."""
    whole = items.shape[1] // _STEP * _STEP
    if not FAST or whole < 4 * _STEP:
        return [zlib.crc32(item) for item in items]
    folded = np.empty((len(items), 2), np.uint64)
    _fold(items, folded)
    # zlib inverts the value that it starts from, so this starts at zero, as the folded bytes need it
    crcs = [zlib.crc32(last.data, 0xFFFFFFFF) for last in folded]
    if whole < items.shape[1]:
        crcs = [zlib.crc32(item, crc) for item, crc in zip(items[:, whole:], crcs, strict=True)]
    return crcs


def prepare() -> None:
    """Compile, if there is anything to compile."""
    crc32(np.zeros((0, 4 * _STEP), np.uint8))


@kernel
def _fold(items, folded):
    """Fill folded, uint64 (n, 2), with 16 bytes for each item, uint8 (n, bytes), of at least 64 bytes.

    Those 16 have the same checksum as the item's bytes without the last ones, which fill no step of 64.
    """
    for i in range(items.shape[0]):
        _lanes(items[i], items.shape[1] // _STEP * _STEP, folded[i])


def _lanes(data, size, last):
    """Fill last, uint64 (2,), from the first bytes of data, uint8 (n,): size is a multiple of 64."""


@in_llvm(_lanes)
def _write_lanes(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> None:
    byte = ir.IntType(8)
    multiply = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_LANE, [_LANE, _LANE, byte]), "llvm.x86.pclmulqdq"
    )

    def load(x: ir.Value, lane: int) -> ir.Value:
        place = address(context, builder, signature.args[0], args[0], builder.add(x, INTEGER(16 * lane)))
        return builder.load(builder.bitcast(place, _LANE.as_pointer()), align=1)

    def folded(value: ir.Value, by: tuple[int, int], following: ir.Value) -> ir.Value:
        constants = ir.Constant(_LANE, list(by))
        low = builder.call(multiply, [value, constants, byte(0x00)])
        high = builder.call(multiply, [value, constants, byte(0x11)])
        return builder.xor(builder.xor(low, high), following)

    lanes = [cgutils.alloca_once_value(builder, load(INTEGER(0), lane)) for lane in range(4)]
    ones = ir.Constant(_LANE, [0xFFFFFFFF, 0])  # zlib begins with them
    builder.store(builder.xor(builder.load(lanes[0]), ones), lanes[0])
    with cgutils.for_range_slice(builder, INTEGER(_STEP), args[1], INTEGER(_STEP)) as (x, _):
        for j, lane in enumerate(lanes):
            builder.store(folded(builder.load(lane), _BY_64, load(x, j)), lane)
    total, *others = map(builder.load, lanes)
    for lane in others:
        total = folded(total, _BY_16, lane)
    last = address(context, builder, signature.args[2], args[2], INTEGER(0))
    builder.store(total, builder.bitcast(last, _LANE.as_pointer()), align=8)
