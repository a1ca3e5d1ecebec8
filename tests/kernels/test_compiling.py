"""What a process compiles, where nothing is compiled yet: only what it uses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import maskbank

# Numba says which functions it compiles, with those they call.
CODE = """
import sys
from numba.core import event

class Names(event.Listener):
    def on_start(self, event):
        print(event.data["dispatcher"].py_func.__qualname__)

    def on_end(self, event):
        pass

event.register("numba:compile", Names())
exec(sys.argv[1])
"""
VERIFY = "from maskbank.bank.check import verify; assert not verify({path!r}).fault"
MASK = "import maskbank; maskbank.MaskSampler({path!r}, (8, 14, 14), 0.9)([3])"
RBN = "import maskbank; maskbank.generate({path!r} + '.rbn', 'rbn', n=2)"


@pytest.mark.parametrize(
    "code, wanted, most",
    [
        pytest.param(VERIFY, {"draw_all"}, 4, id="verify"),
        pytest.param(MASK, {"crop_masks", "choose"}, 30, id="mask"),
        pytest.param(RBN, {"make_set", "rank_masks"}, 40, id="rbn", marks=pytest.mark.full),
    ],
)
def test_a_command_compiles_what_it_uses(tmp_path: Path, code: str, wanted: set[str], most: int) -> None:
    """No noise for masks or checks, and never Numba's strings, which one slice brings along."""
    bank = maskbank.generate(tmp_path / "bank.h5", "green3d", n=4, size=(8, 16, 16))
    done = subprocess.run(
        [sys.executable, "-c", CODE, code.format(path=bank.path)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = done.stdout.split()
    assert wanted <= set(names)
    assert len(names) <= most
    assert not {"spectral_noise", "direct_noise", "normals", "draw_filters"} & set(names)
    assert not [name for name in names if "unicode" in name or "str_" in name]
