"""Digests of masks: what the masks of `CASES` have been since they were first released.

    python -m tests.golden.make_masks        writes masks.json; refuses where there is one

A test that finds other digests has found other masks. If they are meant to be others, raise
`maskbank.sampling.sampler.MASKS_VERSION`, delete masks.json and run this again.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import maskbank
from maskbank import RBN, Bank, Blue, Green, MaskSampler, Purple, Recipe, Red
from tests.sampling.common import forge

FILE = Path(__file__).parent / "masks.json"
IDS = [0, 1, 2, 3, 4, 10, 11, 12345, 2**32 - 1, 2**32, 2**63 - 1]
TIMES = [(0, 0), (1, 0), (0, 1), (2**32 - 1, 2**32 - 1)]  # epochs and views
VIDEO = (8, 14, 14)
SMALL = (4, 6, 7)

BANKS: dict[str, tuple[Recipe, int]] = {
    "green3d": (Green(size=(9, 20, 21)), 11),
    "float32": (Red(size=(9, 20, 21), dtype="float32"), 11),
    "uint8": (Purple(size=(9, 20, 21), dtype="uint8"), 11),
    "reflect": (Green(size=(9, 20, 21), boundary="reflect"), 11),
    "blue2d": (Blue(size=(20, 21)), 11),
    "rbn": (RBN(), 11),
    "open": (RBN(boundary="open"), 11),
    "inverted": (RBN(size=(8, 8), mask_ratio=0.3), 11),
    "green1d": (Green(size=(90,)), 11),
    "rbn1d": (RBN(size=(75,)), 11),
}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "crop": ("green3d", {"grid": VIDEO, "mask_ratio": 0.9}),
    "seed": ("green3d", {"grid": VIDEO, "mask_ratio": 0.9, "seed": 2**63 + 11}),
    "float32": ("float32", {"grid": VIDEO, "mask_ratio": 0.75}),
    "uint8": ("uint8", {"grid": VIDEO, "mask_ratio": 0.9, "seed": 1}),
    "reflect": ("reflect", {"grid": VIDEO, "mask_ratio": 0.9}),
    "per frame": ("green3d", {"grid": VIDEO, "mask_ratio": 0.9, "per_frame": True}),
    "num_visible": ("green3d", {"grid": VIDEO, "num_visible": 333, "seed": 2**64 - 1}),
    "unflipped": ("green3d", {"grid": VIDEO, "mask_ratio": 0.9, "flip": False}),
    "transposed": (
        "green3d",
        {"grid": (4, 6, 8), "mask_ratio": 0.9, "flip": False, "flip_time": True, "transpose": True},
    ),
    "transposed uint8": (
        "uint8",
        {"grid": (4, 6, 8), "mask_ratio": 0.8, "flip_time": True, "transpose": True},
    ),
    "tiled": ("green3d", {"grid": (10, 30, 22), "mask_ratio": 0.9}),
    "resize": ("green3d", {"grid": VIDEO, "mask_ratio": 0.9, "fit": "resize"}),
    "window": ("green3d", {"grid": VIDEO, "mask_ratio": 0.9, "normalize": "window"}),
    "frame": ("green3d", {"grid": VIDEO, "mask_ratio": 0.9, "normalize": "frame"}),
    "2D on 3D": ("blue2d", {"grid": VIDEO, "mask_ratio": 0.9}),
    "2D on 3D resized": ("blue2d", {"grid": VIDEO, "mask_ratio": 0.9, "fit": "resize", "transpose": True}),
    "3D on 2D": ("green3d", {"grid": (14, 14), "mask_ratio": 0.75}),
    "rbn": ("rbn", {"grid": (64, 8), "mask_ratio": 0.8}),
    "rbn cropped": ("rbn", {"grid": (62, 8), "mask_ratio": 0.75}),
    "rbn on 3D": ("rbn", {"grid": (4, 16, 8), "mask_ratio": 0.7}),
    "rbn open": ("open", {"grid": (32, 8), "mask_ratio": 0.8}),
    "parts": ("parts", {"grid": VIDEO, "mask_ratio": 0.9}),
    "parts by frame": ("parts", {"grid": VIDEO, "mask_ratio": 0.9, "normalize": "frame"}),
    "random": ("random", {"grid": SMALL, "mask_ratio": 0.8}),
    "random per frame": ("random", {"grid": SMALL, "mask_ratio": 0.8, "per_frame": True}),
    "tube": ("tube", {"grid": VIDEO, "mask_ratio": 0.9}),
    "grid": ("grid", {"grid": SMALL, "mask_ratio": 0.75}),
    "running-cell": ("running-cell", {"grid": (4, 6, 8), "mask_ratio": 0.5, "seed": 3}),
    "block": ("block", {"grid": SMALL, "mask_ratio": 0.6, "seed": 3}),
    "multiblock": ("multiblock", {"grid": VIDEO, "mask_ratio": 0.8}),
    "multiblock, an image": ("multiblock", {"grid": (14, 14), "mask_ratio": 0.6}),
    "inverse-block": ("inverse-block", {"grid": (14, 14), "mask_ratio": 0.8}),
    "inverse-block, long": ("inverse-block", {"grid": (64, 8), "mask_ratio": 0.8, "seed": 3}),
    "span": ("span", {"grid": (64, 8), "mask_ratio": 0.49}),
    "time": ("time", {"grid": (64, 8), "mask_ratio": 0.7}),
    "frequency": ("frequency", {"grid": (64, 8), "mask_ratio": 0.7}),
    "timefreq": ("timefreq", {"grid": (64, 8), "mask_ratio": (0.3, 0.4)}),
    "1D": ("green1d", {"grid": (50,), "mask_ratio": 0.8}),
    "1D resized": ("green1d", {"grid": (100,), "mask_ratio": 0.8, "fit": "resize"}),
    "rbn 1D": ("rbn1d", {"grid": (75,), "mask_ratio": 0.75}),
    "2D on 1D": ("blue2d", {"grid": (20,), "mask_ratio": 0.75}),
    "random 1D": ("random", {"grid": (50,), "mask_ratio": 0.8}),
    "grid 1D": ("grid", {"grid": (50,), "mask_ratio": 0.75}),
}

SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "complementary": ("rbn", {"grid": (64, 8), "mask_ratio": 0.8}),
    "complementary, few": ("open", {"grid": (64, 8), "mask_ratio": 0.9, "flip": False}),
    "complementary, inverted": ("inverted", {"grid": (8, 8), "mask_ratio": 0.2, "transpose": True}),
    "complementary 1D": ("rbn1d", {"grid": (75,), "mask_ratio": 0.8}),
}


def digests(folder: Path) -> Iterator[tuple[str, str]]:
    """Each case and its digest: of the bits of `visible`, packed, for all ids, epochs and views."""
    banks = {name: maskbank.generate(folder / f"{name}.h5", *given) for name, given in BANKS.items()}
    whole, recipe = banks["green3d"][:], BANKS["green3d"][0]
    pieces = (("head.h5", whole[:4], 0), ("tail.h5", whole[4:], 4))
    banks["parts"] = Bank([forge(folder / part, recipe, items, first).path for part, items, first in pieces])
    for name, (bank, given) in CASES.items():
        sampler = MaskSampler(banks.get(bank, bank), **given)
        yield name, _digest(sampler(IDS, epoch, view).visible for epoch, view in TIMES)
    stream = MaskSampler(banks["green3d"], VIDEO, 0.9).stream(2**63 + 11, rank=3)
    yield "seeded stream", _digest(stream.take(5).visible for _ in TIMES)
    for name, (bank, given) in SETS.items():
        sampler = MaskSampler(banks[bank], **given)
        yield name, _digest(sampler.complementary(i, *time).visible for time in TIMES for i in IDS)


def _digest(masks: Iterator[Any]) -> str:
    state = hashlib.sha256()
    for visible in masks:
        state.update(np.packbits(visible, axis=-1).tobytes())
    return state.hexdigest()[:16]


def main() -> None:
    """Write them all."""
    with tempfile.TemporaryDirectory() as folder, FILE.open("x") as file:
        json.dump(dict(digests(Path(folder))), file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
