"""The vectors of kernels follow the processor they are compiled for, and no number follows the vectors."""

import json
from pathlib import Path
from typing import Any

import numba
import pytest

from maskbank.kernels.jit import has_feature
from tests.conftest import printed_by
from tests.golden import make

# Modules take the width when they are imported, so it is set before them. On one core there is no second
# process, which would compile for this processor's own width.
CODE = """
import json, sys
from maskbank.kernels import cache, vectors
cache.count_cores = lambda: 1
vectors.WIDTH, vectors.REGISTERS = int(sys.argv[1]), 32 if sys.argv[1] == "16" else 16
from tests.golden.make import checksum
print(json.dumps({name: checksum(name) for name in sys.argv[2:]}))
"""


def test_only_features_that_kernels_are_compiled_for_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(**settings: Any) -> bool:
        for name, value in settings.items():
            monkeypatch.setattr(numba.config, name, value)
        return has_feature("pclmul")

    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)
    assert not asked(CPU_NAME="generic", CPU_FEATURES="")
    assert not asked(CPU_NAME="generic", CPU_FEATURES=None)
    assert asked(CPU_NAME="generic", CPU_FEATURES="+sse4.2,+pclmul")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert not asked()


@pytest.mark.full  # the generic processor of test_determinism.py has other vectors, too
@pytest.mark.parametrize("width", [4, 8, 16])
def test_every_width_makes_the_same_bytes(width: int, tmp_path: Path) -> None:
    """Compiled anew: axes shorter than a vector, and as long as the longest ones; all three dtypes."""
    names = ["green3d-2x8x4-float32-wrap", "green3d-64x64x64-float16-wrap", "green3d-4x5x6-float16-reflect"]
    printed = printed_by("-c", CODE, width, *names, NUMBA_CACHE_DIR=str(tmp_path))
    golden = json.loads(make.FILE.read_text())
    assert json.loads(printed) == {name: golden[name] for name in names}
