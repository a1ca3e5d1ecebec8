"""Golden checksums: what the items of `CASES` have been since they were first released.

    python -m tests.golden.make              writes items.json; refuses where there is one
    python -m tests.golden.make NAME...      prints the checksums of these cases, as JSON

A test that finds other checksums has found other numbers. If they are meant to be others, raise
`recipes.NUMBERS_VERSION`, delete items.json and run this again.
"""

import json
import sys
import zlib
from pathlib import Path

from maskbank import noise
from maskbank.recipes import COLOURS, RBN, Blue, Green, Purple, Recipe, Red

FILE = Path(__file__).parent / "items.json"
SEED = 2**63 + 11  # the high words of seed and item count, too
INDEX = 2**40 + 3

_PLACES = [
    # by Fourier transforms
    ("wrap", (64, 64), ("float16", "float32", "uint8")),
    ("wrap", (2, 8, 4), ("float32",)),
    ("wrap", (64, 64, 64), ("float16",)),
    # axis after axis
    ("wrap", (8, 14, 14), ("float16", "float32", "uint8")),
    ("wrap", (9, 21), ("float16", "float32", "uint8")),
    ("reflect", (4, 5, 6), ("float16", "float32", "uint8")),
    ("reflect", (8, 8), ("float16", "float32", "uint8")),
    ("reflect", (3, 40, 150), ("float16",)),
    ("wrap", (500,), ("float16", "float32", "uint8")),
    ("wrap", (1024,), ("float16",)),
    ("reflect", (33,), ("float16", "float32", "uint8")),
]

CASES: dict[str, Recipe] = {
    f"{kind}-{'x'.join(map(str, size))}-{dtype}-{boundary}": COLOURS[kind][0](
        size=size, dtype=dtype, boundary=boundary
    )
    for boundary, size, dtypes in _PLACES
    for dtype in dtypes
    for kind, (_, default) in COLOURS.items()
    if len(default) == len(size)
} | {
    "green3d-64x64x64-float16-wrap-stretch-2x1x1": Green(stretch=(2, 1, 1)),
    "blue3d-8x14x14-float16-wrap-stretch-1.5x1x2": Blue(size=(8, 14, 14), stretch=(1.5, 1, 2)),
    "purple2d-64x64-float32-wrap-stretch-1x3": Purple(size=(64, 64), dtype="float32", stretch=(1, 3)),
    "green2d-9x21-float16-wrap-stretch-0.9x2": Green(size=(9, 21), stretch=(0.9, 2)),
    "red3d-4x5x6-uint8-reflect-stretch-4x1x0.5": Red(
        size=(4, 5, 6), dtype="uint8", boundary="reflect", stretch=(4, 1, 0.5)
    ),
    "rbn-64x8-uint16-wrap": RBN(),
    "rbn-64x8-uint16-open-first": RBN(mask_ratio=0.75, boundary="open", ties="first"),
    "rbn-64x8-uint16-wrap-inverted": RBN(mask_ratio=0.3, weights=(1, 1, 1, 1)),
    "rbn-8x8-uint16-open-blue": RBN(
        size=(8, 8), boundary="open", init="blue", masks_per_set=3, window=(3, 5, 7)
    ),
    "rbn-8x8-uint16-wrap-white-inverted": RBN(
        size=(8, 8), mask_ratio=0.4, init="white", weights=(0.37, 0.41, 0.11, 0.11)
    ),
    "rbn-260x256-uint32-wrap": RBN(size=(260, 256)),
    "green1d-500-float16-wrap-stretch-2.5": Green(size=(500,), stretch=(2.5,)),
    "rbn-500-uint16-wrap": RBN(size=(500,)),
    "rbn-60-uint16-open-blue-inverted": RBN(size=(60,), mask_ratio=0.3, boundary="open", init="blue"),
}


def checksum(name: str) -> str:
    """CRC-32 of an item's bytes and its sigmas'."""
    recipe = CASES[name]
    block = noise.Block(recipe, 1)
    noise.maker(recipe, SEED).make(INDEX, block)
    return f"{zlib.crc32(block.sigmas.tobytes(), zlib.crc32(block.items.tobytes())):08x}"


def main(names: list[str]) -> None:
    """Print the cases named, or write them all."""
    if names:
        print(json.dumps({name: checksum(name) for name in names}))
        return
    with FILE.open("x") as file:
        json.dump({name: checksum(name) for name in CASES}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1:])
