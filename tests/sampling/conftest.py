"""Banks and samplers of all kinds."""

from pathlib import Path

import pytest

import maskbank
from maskbank import (
    RBN,
    Bank,
    Blue,
    Green,
    MaskSampler,
    Purple,
    Recipe,
    Red,
)
from tests.sampling.common import BASELINES, VIDEO


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("banks")


@pytest.fixture(scope="session")
def banks(folder: Path) -> dict[str, Bank]:
    """Small banks of real noise, of 20 items: what windows and masks are taken from."""
    recipes: dict[str, tuple[Recipe, int]] = {
        "green3d": (Green(size=(9, 20, 21)), 20),
        "float32": (Red(size=(9, 20, 21), dtype="float32"), 20),
        "uint8": (Purple(size=(9, 20, 21), dtype="uint8"), 20),
        "reflect": (Green(size=(9, 20, 21), boundary="reflect"), 20),
        "blue2d": (Blue(size=(20, 21)), 20),
        "rbn": (RBN(), 20),
        "open": (RBN(boundary="open"), 20),
        "green1d": (Green(size=(90,)), 20),
        "rbn1d": (RBN(size=(75,)), 20),
    }
    return {name: maskbank.generate(folder / f"{name}.h5", *given) for name, given in recipes.items()}


@pytest.fixture(scope="session")
def green(folder: Path) -> Bank:
    """Green3D as it comes: 64x64x64, float16, default sigmas."""
    return maskbank.generate(folder / "default.h5", Green(), 64)


@pytest.fixture(scope="session")
def samplers(banks: dict[str, Bank]) -> dict[str, MaskSampler]:
    """One sampler for each way from ids to masks."""
    green3d = banks["green3d"]
    every = {
        "crop": MaskSampler(green3d, VIDEO, 0.9),
        "float32": MaskSampler(banks["float32"], VIDEO, 0.75),
        "uint8": MaskSampler(banks["uint8"], VIDEO, 0.9),
        "reflect": MaskSampler(banks["reflect"], VIDEO, 0.9),
        "per frame": MaskSampler(green3d, VIDEO, 0.9, per_frame=True),
        "num_visible": MaskSampler(green3d, "8x14x14", num_visible=333, seed=2**64 - 1),
        "turned": MaskSampler(green3d, (4, 6, 8), 0.9, flip=False, flip_time=True, transpose=True),
        "tiled": MaskSampler(green3d, (10, 30, 22), 0.9),
        "resize": MaskSampler(green3d, VIDEO, 0.9, fit="resize"),
        "window": MaskSampler(green3d, VIDEO, 0.9, normalize="window"),
        "frame": MaskSampler(green3d, VIDEO, 0.9, normalize="frame"),
        "2D on 3D": MaskSampler(banks["blue2d"], VIDEO, 0.9),
        "2D on 3D resized": MaskSampler(banks["blue2d"], VIDEO, 0.9, fit="resize"),
        "3D on 2D": MaskSampler(green3d, (14, 14), 0.75),
        "3D on 2D resized": MaskSampler(green3d, (14, 14), 0.75, fit="resize"),
        "rbn": MaskSampler(banks["rbn"], (64, 8), 0.8),
        "rbn on 3D": MaskSampler(banks["rbn"], (4, 16, 8), 0.7),
        "open": MaskSampler(banks["open"], (32, 8), 0.8),
        "1D": MaskSampler(banks["green1d"], (50,), 0.8),
        "1D resized": MaskSampler(banks["green1d"], 100, 0.8, fit="resize"),
        "rbn 1D": MaskSampler(banks["rbn1d"], "75", 0.75),
        "2D on 1D": MaskSampler(banks["blue2d"], (20,), 0.75),
        "3D on 1D": MaskSampler(banks["uint8"], (33,), 0.75),
    }
    return every | {name: MaskSampler(name.split()[0], **given) for name, given in BASELINES.items()}
