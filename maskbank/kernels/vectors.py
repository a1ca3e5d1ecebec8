"""Vectors in a function that is being compiled. The README of this folder is the introduction.

The width follows the processor that kernels are compiled for. No number depends on it: each is computed by
itself, and the width only decides how many are computed at once.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from maskbank.kernels.jit import has_feature

WIDTH = 16 if has_feature("avx512f") else 8 if has_feature("avx2") else 4  # floats in a register
REGISTERS = 32 if WIDTH == 16 else 16

INTEGER = ir.IntType(64)
_TYPES = {np.float32: ir.FloatType(), np.float16: ir.HalfType(), np.uint16: ir.IntType(16)}
_32 = ir.IntType(32)


def element(dtype: Any) -> ir.Type:
    """LLVM's type for float32, float16, uint16, uint32 or int32."""
    return _TYPES.get(dtype, _32)


class Vector:
    """Numbers of one type, float32, uint32 or int32, with the arithmetic of NumPy's arrays.

    So one function makes compiled code from Vectors, and computes the same on arrays.
    """

    def __init__(self, builder: ir.IRBuilder, value: ir.Value, dtype: Any = np.float32) -> None:
        self.builder = builder
        self.value = value
        self.dtype = dtype

    @classmethod
    def load(cls, builder: ir.IRBuilder, place: ir.Value, width: int, dtype: Any = np.float32) -> Self:
        """`width` numbers from an address of any alignment."""
        kind = ir.VectorType(element(dtype), width).as_pointer()
        return cls(builder, builder.load(builder.bitcast(place, kind), align=2), dtype)

    def store(self, place: ir.Value) -> None:
        """Compile the store to an address of any alignment."""
        pointer = self.builder.bitcast(place, self.value.type.as_pointer())
        self.builder.store(self.value, pointer, align=2)

    def shuffle(self, other: Self, places: Sequence[int]) -> Self:
        """Elements of both vectors. Numbers of the other vector's elements follow on this one's."""
        mask = ir.Constant(ir.VectorType(_32, len(places)), list(places))
        return self._new(self.builder.shuffle_vector(self.value, other.value, mask))

    def view(self, dtype: Any) -> Self:
        """The same bits."""
        kind = ir.VectorType(element(dtype), self.value.type.count)
        return self._new(self.builder.bitcast(self.value, kind), dtype)

    def astype(self, dtype: Any) -> Self:
        """The numbers, converted: integers to float32, float32 to float16, or uint32 to uint16."""
        convert = {
            (np.int32, np.float32): self.builder.sitofp,
            (np.uint32, np.float32): self.builder.uitofp,
            (np.float32, np.float16): self.builder.fptrunc,
            (np.uint32, np.uint16): self.builder.trunc,
        }[self.dtype, dtype]
        kind = ir.VectorType(element(dtype), self.value.type.count)
        return self._new(convert(self.value, kind), dtype)

    def where(self, yes: Self, no: "Self | float") -> Self:
        """yes where this one, a comparison, is true, otherwise no."""
        return yes._new(self.builder.select(self.value, yes.value, yes._operand(no)))

    def sqrt(self) -> Self:
        """The square roots."""
        kind = self.value.type
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(kind, [kind]), f"llvm.sqrt.v{kind.count}f32"
        )
        return self._new(self.builder.call(function, [self.value]))

    def _new(self, value: ir.Value, dtype: Any = None) -> Self:
        return type(self)(self.builder, value, dtype or self.dtype)

    def _operand(self, other: "Self | float") -> ir.Value:
        if isinstance(other, Vector):
            return other.value
        floats = self.dtype is np.float32
        constant = float(np.float32(other)) if floats else int(other) & 0xFFFFFFFF
        return ir.Constant(
            ir.VectorType(element(self.dtype), self.value.type.count), [constant] * self.value.type.count
        )

    def _apply(self, name: str, other: "Self | float") -> Self:
        """name: of LLVM's instruction for integers. That for floats begins with an f."""
        function = getattr(self.builder, "f" + name if self.dtype is np.float32 else name)
        return self._new(function(self.value, self._operand(other)))

    def __add__(self, other: "Self | float") -> Self:
        return self._apply("add", other)

    def __sub__(self, other: "Self | float") -> Self:
        return self._apply("sub", other)

    def __mul__(self, other: "Self | float") -> Self:
        return self._apply("mul", other)

    def __neg__(self) -> Self:
        return self._new(self.builder.fneg(self.value))

    def __xor__(self, other: "Self | int") -> Self:
        return self._apply("xor", other)

    def __and__(self, other: "Self | int") -> Self:
        return self._apply("and_", other)

    def __lshift__(self, bits: int) -> Self:
        return self._apply("shl", bits)

    def __rshift__(self, bits: int) -> Self:
        return self._apply("ashr" if self.dtype is np.int32 else "lshr", bits)

    def __lt__(self, other: "Self | float") -> Self:
        return self._compare("<", other)

    def __gt__(self, other: "Self | float") -> Self:
        return self._compare(">", other)

    def _compare(self, sign: str, other: "Self | float") -> Self:
        compare = self.builder.fcmp_ordered if self.dtype is np.float32 else self.builder.icmp_signed
        return self._new(compare(sign, self.value, self._operand(other)))


def where(condition: Any, yes: Any, no: Any) -> Any:
    """numpy.where, for arrays and Vectors; the result has the type of `yes` (NumPy 1 would widen it)."""
    if isinstance(condition, Vector):
        return condition.where(yes, no)
    return np.where(condition, yes, np.asarray(no, yes.dtype))


def sqrt(x: Any) -> Any:
    """numpy.sqrt, for arrays and Vectors."""
    return x.sqrt() if isinstance(x, Vector) else np.sqrt(x)


def call(builder: ir.IRBuilder, code: ir.Value, args: Sequence[ir.Value]) -> None:
    """Call the machine code at an address, which has no result."""
    kind = ir.FunctionType(ir.VoidType(), [arg.type for arg in args])
    builder.call(builder.inttoptr(code, kind.as_pointer()), args)


def address(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value, offset: ir.Value) -> ir.Value:
    """The address of an array's element."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [offset])
