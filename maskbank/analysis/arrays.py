"""Types of arrays, and of what has a value for each axis."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
UInt8s = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Grid = tuple[int, ...]
Floats = tuple[float, ...]
