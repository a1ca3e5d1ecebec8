"""Numba kernels: arrays in, arrays out, serial, without the GIL.

Every number that reaches an item is made here from IEEE additions, subtractions, multiplications,
divisions, square roots and integer operations in a fixed order, so the bytes are the same on every
machine. Kernels trust their arguments; the Python above them has checked them.
"""
