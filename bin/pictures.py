"""The README's pictures: Figures 1 and 2 of the paper, made by maskbank itself, into .pictures/."""

import argparse
import tempfile
from pathlib import Path

import maskbank
from maskbank.analysis.drawing import Block, Row, page
from maskbank.analysis.pictures import save
from maskbank.analysis.structure import continuity

ROOT = Path(__file__).resolve().parent.parent
SEED = 1


def one(folder: Path, recipe: maskbank.Recipe, grid: tuple[int, ...], ratio: float) -> maskbank.MaskSampler:
    """Masks from a bank of one item."""
    path = folder / f"{recipe.kind}.h5"
    maskbank.generate(path, recipe, 1, seed=SEED)
    return maskbank.MaskSampler(str(path), grid, ratio, seed=SEED)


def figure1(folder: Path) -> Block:
    """Masks from 2D random, blue, green and red noise."""
    grid, ratio, size = (28, 28), 0.75, (64, 64)
    samplers = {
        "random": one(folder, maskbank.White(size=size), grid, ratio),
        "blue, σ 0.5": one(folder, maskbank.Blue(size=size, sigma=(0.5, 0.5)), grid, ratio),
        "green, σ 1 and 2": one(folder, maskbank.Green(size=size, sigma1=(1, 1), sigma2=(2, 2)), grid, ratio),
        "red, σ 2": one(folder, maskbank.Red(size=size, sigma=(2, 2)), grid, ratio),
    }
    count = f"{samplers['random'].num_visible} of {28 * 28}\nvisible"
    rows = [
        Row("noise\n28×28", [sampler.windows(0) for sampler in samplers.values()]),
        Row(f"mask\n{count}", [sampler(0).visible.reshape(grid) for sampler in samplers.values()]),
    ]
    return Block("Masks from 2D noise, at mask ratio 0.75", "", rows, list(samplers))


def figure2(folder: Path) -> Block:
    """Tube masks against those from green noise over consecutive frames, and random ones."""
    grid, ratio = (8, 14, 14), 0.9
    recipe = maskbank.Green(size=(64, 64, 64), sigma1=(1.5, 1.5), sigma2=(2, 2))
    samplers = {
        "tube": maskbank.MaskSampler("tube", grid, ratio, seed=SEED),
        "green3d": one(folder, recipe, grid, ratio),
        "random": maskbank.MaskSampler("random", grid, ratio, seed=SEED),
    }
    rows = []
    for name, sampler in samplers.items():
        mask = sampler(0).visible.reshape(1, *grid)
        words = f"{name}\n{continuity(mask, 0)[0]:.0%} stay"
        rows.append(Row(words + "\nσ 1.5 and 2" * (name == "green3d"), list(mask[0])))
    heads = [f"frame {t}" for t in range(grid[0])]
    return Block("Masks over consecutive frames, at mask ratio 0.9 of 8×14×14", "", rows, heads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / ".pictures", help="a folder")
    folder: Path = parser.parse_args().output
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as banks:
        for number, make in enumerate((figure1, figure2), 1):
            path = folder / f"figure{number}.png"
            save([page([make(Path(banks))])], str(path), force=True)
            for bank in Path(banks).glob("*.h5"):
                bank.unlink()
            print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
