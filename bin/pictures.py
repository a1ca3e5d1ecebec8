"""The README's pictures, made by maskbank, into .pictures/: masks, and Figures 1 to 3 of the paper."""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import maskbank
from maskbank.analysis.drawing import Block, Row, page, save_figure
from maskbank.analysis.structure import DIRECTIONS, clumped, continuity

ROOT = Path(__file__).resolve().parent.parent
SEED = 1
VIDEO, AUDIO = (8, 14, 14), (64, 8)
Source = maskbank.Recipe | str


def sampler(folder: Path, source: Source, grid: tuple[int, ...], ratio: float) -> maskbank.MaskSampler:
    """The masks of a baseline, or of a new bank."""
    if isinstance(source, str):
        return maskbank.MaskSampler(source, grid, ratio, seed=SEED)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        bank = maskbank.generate(Path(own) / "bank.h5", source, 5, seed=SEED)
        return maskbank.MaskSampler(bank, grid, ratio, seed=SEED)


def over_time(samplers: dict[str, maskbank.MaskSampler], title: str) -> Block:
    """A mask of each sampler, frame by frame, and the share of visible tokens that stay visible."""
    rows = []
    for name, one in samplers.items():
        mask = one(0).visible.reshape(VIDEO)
        first, _, rest = name.partition(", ")
        words = f"{first}\n{continuity(mask[None], 0)[0]:.0%} of the visible\nstay visible\n{rest}"
        rows.append(Row(words.strip(), list(mask)))
    return Block(title, rows, [f"frame {t}" for t in range(VIDEO[0])])


def audio_row(name: str, one: maskbank.MaskSampler) -> Row:
    """A mask of a sampler, and the share of its visible patches beside a visible one."""
    mask = one(0).visible.reshape(AUDIO)
    return Row(f"{name}\n{clumped(mask).sum() / mask.sum():.0%} in clumps", [mask], True)


def masks(folder: Path) -> list[Block]:
    """Masks for video and for audio, from baselines and from banks."""
    typical = maskbank.Green(sigma1=(0.95, 0.95), sigma2=(2.2, 2.2))  # the middle of the default ranges
    video: dict[str, Source] = {"random": "random", "tube": "tube", "green3d": typical}
    audio: dict[str, Source] = {
        "random": "random",
        "green2d": maskbank.Green(size=(64, 64)),
        "blue2d": maskbank.Blue(size=(64, 64)),
        "rbn": maskbank.RBN(),
    }
    of_video = {name: sampler(folder, source, VIDEO, 0.9) for name, source in video.items()}
    rows = [audio_row(name, sampler(folder, source, AUDIO, 0.8)) for name, source in audio.items()]
    return [
        over_time(of_video, "Masks for video: 8×14×14 tokens, 90 % masked"),
        Block("Masks for audio: 64×8 tokens, 80 % masked", rows, spectrogram=True),
    ]


def figure1(folder: Path) -> list[Block]:
    """2D random, blue, green and red noise and the masks from it."""
    grid, size = (28, 28), (64, 64)
    recipes = {
        "random": maskbank.White(size=size),
        "blue, σ 0.5": maskbank.Blue(size=size, sigma=(0.5, 0.5)),
        "green, σ 1 and 2": maskbank.Green(size=size, sigma1=(1, 1), sigma2=(2, 2)),
        "red, σ 2": maskbank.Red(size=size, sigma=(2, 2)),
    }
    samplers = [sampler(folder, recipe, grid, 0.75) for recipe in recipes.values()]
    rows = [
        Row("noise\n28×28", [one.windows(0) for one in samplers]),
        Row(f"mask\n{samplers[0].num_visible} of {28 * 28}\nvisible",
            [one(0).visible.reshape(grid) for one in samplers]),
    ]  # fmt: skip
    return [Block("Masks from 2D noise, at mask ratio 0.75", rows, list(recipes))]


def figure2(folder: Path) -> list[Block]:
    """Tube masks against those from green noise over consecutive frames, and random ones."""
    recipe = maskbank.Green(sigma1=(1.5, 1.5), sigma2=(2, 2))
    samplers = {
        "tube": sampler(folder, "tube", VIDEO, 0.9),
        "green3d, σ 1.5 and 2": sampler(folder, recipe, VIDEO, 0.9),
        "random": sampler(folder, "random", VIDEO, 0.9),
    }
    return [over_time(samplers, "Masks over consecutive frames, at mask ratio 0.9 of 8×14×14")]


def figure3(folder: Path) -> list[Block]:
    """The four directions of a window of 5, and a mask before and after regularisation."""
    steps = np.arange(-2, 3)
    windows = np.zeros((len(DIRECTIONS), 5, 5), bool)
    for window, (down, right) in zip(windows, DIRECTIONS, strict=True):
        window[2 + down * steps, 2 + right * steps] = True
    heads = [f"d{k}, weight {weight:g}" for k, weight in enumerate(maskbank.RBN().weights, 1)]
    sources: dict[str, Source] = {"before": maskbank.Blue(size=(64, 64)), "after": maskbank.RBN()}
    rows = [audio_row(name, sampler(folder, source, AUDIO, 0.8)) for name, source in sources.items()]
    directions = Row("window\n5×5", list(windows))
    title = "A mask from blue noise, and one after regularisation, at mask ratio 0.8 of 64×8"
    return [
        Block("The directions in which a patch's score counts visible ones", [directions], heads),
        Block(title, rows, spectrogram=True),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / ".pictures", help="a folder")
    output: Path = parser.parse_args().output
    output.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for make in (masks, figure1, figure2, figure3):
            path = output / f"{make.__name__}.png"
            save_figure(str(path), True, page, make(Path(folder)))
            print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
