"""Frozen banks: whole files as they were when their format was released, each named for its command.

    python -m tests.golden.make_banks        makes those that are missing; never writes over one

Later versions must open them, find nothing wrong in them, and make them again byte for byte. Add a command
for what is new; never change or remove one.
"""

import shlex
from pathlib import Path

from maskbank.cli import main

FOLDER = Path(__file__).parent / "banks"

# name of the file -> options of maskbank generate
COMMANDS = {
    "white2d": "white2d -n 3 --size 6x10 --seed 1",
    "red2d": "red2d -n 3 --size 6x10 --seed 2",
    "blue2d": "blue2d -n 3 --size 6x10 --seed 3",
    "green2d": "green2d -n 3 --size 6x10 --seed 4",
    "purple2d": "purple2d -n 3 --size 6x10 --seed 5",
    "white3d": "white3d -n 3 --size 4x6x5 --seed 6",
    "red3d": "red3d -n 3 --size 4x6x5 --seed 7",
    "blue3d": "blue3d -n 3 --size 4x6x5 --seed 8",
    "green3d": "green3d -n 3 --size 4x6x5 --seed 9",
    "purple3d": "purple3d -n 3 --size 4x6x5 --seed 10",
    "rbn": "rbn -n 5",
    "by-fourier": "green3d -n 2 --size 4x8x8 --seed 18446744073709551615",
    "float32": "blue2d -n 2 --size 8x8 --dtype float32 --sigma 0.5 0.5",
    "uint8-reflect": "green2d -n 2 --size 7x9 --dtype uint8 --boundary reflect --variant main",
    "part": "purple2d -n 9 --size 6x5 --sigma1 0.5 1 --sigma2 2 3 --items 5:8",
    "stretched": "green3d -n 2 --size 4x8x8 --stretch 0.5x1x2 --seed 12",
    "rbn-open": "rbn -n 4 --size 6x7 --mask-ratio 0.75 --masks-per-set 3 --window 3 --window 7 "
    "--weights 1 0.5 0.25 0 --init blue --ties first --boundary open --seed 11",
    "rbn-inverted": "rbn -n 2 --size 5x4 --mask-ratio 0.4 --init white",
    "white1d": "white1d -n 3 --size 21 --seed 13",
    "red1d": "red1d -n 3 --size 21 --seed 14 --boundary reflect",
    "blue1d": "blue1d -n 3 --size 21 --seed 15 --dtype uint8",
    "green1d": "green1d -n 3 --size 21 --seed 16 --stretch 1.5",
    "purple1d": "purple1d -n 3 --size 21 --seed 17 --dtype float32",
    "rbn-1d": "rbn -n 4 --size 21 --mask-ratio 0.7",
}


def make(name: str, path: Path) -> None:
    """Run the command of a frozen bank with another output."""
    try:
        main(["generate", *shlex.split(COMMANDS[name]), "-o", str(path)])
    except SystemExit as end:
        if end.code:
            raise


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in COMMANDS:
        path = FOLDER / f"{name}.h5"
        if not path.exists():
            make(name, path)
