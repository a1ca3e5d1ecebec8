"""The README's tables about the structure of masks, remeasured on banks that are made for it."""

import argparse
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import maskbank
import maskbank.recipes
from maskbank.analysis.covariance import exponential
from maskbank.analysis.structure import adjacency, clustering, difficulty
from maskbank.checks import count_visible

ROOT = Path(__file__).resolve().parent.parent
SIZE = (64, 8)
NATIVE = 0.8
RATIOS = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.5)
LOW = 0.2  # cycles a patch: what lies below is what blue noise has little of
MOST_SLOW = 50  # void-and-cluster masks

Values = npt.NDArray[Any]
Masks = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class Banks:
    """Makes each bank once, and keeps its items: (N, H, W), the highest visible first."""

    def __init__(self, folder: str, items: int) -> None:
        self.folder = Path(folder)
        self.items = items
        self.made: dict[maskbank.Recipe | str, Values] = {}

    def colour(self, cls: type[maskbank.Recipe], **given: Any) -> Values:
        return self._make(cls(size=SIZE, dtype="float32", **given))

    def rbn(self, **given: Any) -> Values:
        return self._make(maskbank.RBN(size=SIZE, **{"mask_ratio": NATIVE, **given}))

    def _make(self, recipe: maskbank.Recipe) -> Values:
        if recipe not in self.made:
            path = self.folder / f"{len(self.made)}.h5"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # one mask in a set is random masking; it is a row
                bank = maskbank.generate(path, recipe, self.items)
            self.made[recipe] = np.array(bank[: self.items])
            path.unlink()
        return self.made[recipe]

    def void_and_cluster(self) -> Values:
        """Orders by the slow twin, so fewer of them."""
        name = "void and cluster"
        if name not in self.made:
            if str(ROOT) not in sys.path:
                sys.path.insert(0, str(ROOT))
            from tests.reference import void_and_cluster

            count = max(1, min(self.items // 10, MOST_SLOW))
            visible = count_visible(SIZE[0] * SIZE[1], NATIVE)
            ranks = [void_and_cluster(*SIZE, visible, seed, wrap=True, sigma=1.5) for seed in range(count)]
            self.made[name] = -np.array(ranks, np.int64)
        return self.made[name]


def threshold(values: Values, ratio: float = NATIVE) -> Masks:
    """Masks with exactly as many visible patches as the ratio asks for: the highest values."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    visible = np.zeros(flat.shape, bool)
    order = np.argsort(-flat, axis=1, kind="stable")
    np.put_along_axis(visible, order[:, : count_visible(flat.shape[1], ratio)], True, axis=1)
    return visible.reshape(values.shape)


def score(values: Values, ratio: float = NATIVE) -> float:
    """Mean S: windows 3 and 5, weights .4 .4 .1 .1, nothing beyond the edges."""
    return float(clustering(threshold(values, ratio)).mean())


def spectrum(masks: Masks) -> tuple[float, float]:
    """Of the mean power spectrum, in units of random masking's: the level at low frequencies, and the peak.

    Masks of one ratio have the same total power, and random ones spread it evenly, but for frequency 0.
    """
    powers = np.abs(np.fft.fft2(masks - masks.mean((-2, -1), keepdims=True))) ** 2
    power = powers.mean(0).reshape(-1)[1:]
    power /= power.mean()
    rows, columns = (np.fft.fftfreq(n) for n in masks.shape[-2:])
    radius = np.hypot(rows[:, None], columns[None, :]).reshape(-1)[1:]
    return float(power[radius < LOW].mean()), float(power.max())


def percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table, aligned: the first column to the left, numbers to the right."""
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    for row in (head, rule, *rows):
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        print(f"| {' | '.join(cells)} |")
    print(flush=True)


def rbn(banks: Banks) -> None:
    visible, patches = count_visible(SIZE[0] * SIZE[1], NATIVE), SIZE[0] * SIZE[1]
    slow = len(banks.void_and_cluster())
    print(f"{SIZE[0]}x{SIZE[1]}, {banks.items:,} masks a row (void-and-cluster: {slow}).")
    print("S is equation 5 with windows 3 and 5 and weights .4 .4 .1 .1, scored without wrapping.")
    print()
    native(banks, f"masks, {visible} of {patches} visible")
    ratios(banks)
    bias(banks)
    places(banks)


def native(banks: Banks, title: str) -> None:
    """Every way to make masks, at the one ratio they are made for."""
    made: dict[str, Values] = {"random": banks.colour(maskbank.White)}
    for sigma in (0.5, 1.0, 2.0):
        made[f"blue, thresholded, sigma {sigma:g}"] = banks.colour(maskbank.Blue, sigma=(sigma, sigma))
    for masks in (1, 2, 3, 5):
        made[f"Algorithm 1, open, K = {masks}"] = banks.rbn(boundary="open", masks_per_set=masks)
    made["Algorithm 1, wrap, K = 5 (default)"] = banks.rbn()
    made["wrap, K = 5, ties first"] = banks.rbn(ties="first")
    for init in ("white", "blue"):
        made[f"wrap, K = 5, init {init}"] = banks.rbn(init=init)
    made["void-and-cluster, wrap"] = banks.void_and_cluster()
    rows = []
    for name, values in made.items():
        masks_of_it = threshold(values)
        low, peak = spectrum(masks_of_it)
        beside = float(adjacency(masks_of_it).mean())
        rows.append((name, f"{score(values):.3f}", percent(beside, 1), f"{low:.2f}", f"{peak:.1f}"))
    table((title, "mean S", "with a visible 4-neighbour", "low frequencies", "highest peak"), rows)
    print(f"Low frequencies: mean power below {LOW:g} cycles a patch. Highest peak: of the mean spectrum.")
    few = len(banks.void_and_cluster())
    _, chance = spectrum(threshold(banks.colour(maskbank.White)[:few]))
    print("Both in units of random masking's power, which is 1 everywhere, but for chance: its own peak is")
    print(f"{chance:.1f} on the {few} masks that void-and-cluster has.")
    print()


def ratios(banks: Banks) -> None:
    """Mean S of one bank at every ratio, beside banks made for each."""
    rows: list[tuple[str, ...]] = [line("random", banks.colour(maskbank.White))]
    for boundary in ("wrap", "open"):
        rows.append(line(f"{boundary}: one bank, for {percent(NATIVE)}", banks.rbn(boundary=boundary)))
        each = (score(banks.rbn(mask_ratio=ratio, boundary=boundary), ratio) for ratio in RATIOS)
        rows.append((f"{boundary}: a bank for each", *(f"{s:.3f}" for s in each)))
    rows.append(line(f"void-and-cluster, for {percent(NATIVE)}", banks.void_and_cluster()))
    table(("mean S at masked", *(percent(ratio) for ratio in RATIOS)), rows)


def line(name: str, values: Values) -> tuple[str, ...]:
    return name, *(f"{score(values, ratio):.3f}" for ratio in RATIOS)


def bias(banks: Banks) -> None:
    """Whether the edges of an open grid are favoured."""
    often = threshold(banks.rbn(boundary="open"), 0.75).mean(0)
    often /= often.mean()
    columns, rows = often.mean(0)[[0, -1]], often.mean(1)[[0, -1]]
    corners = often[[0, 0, -1, -1], [0, -1, 0, -1]]
    print(
        f"Open, 75 % masked, visible relative to the mean: edge columns {columns.min():.2f} to "
        f"{columns.max():.2f}, edge rows {rows.min():.2f} to {rows.max():.2f}, "
        f"corners {corners.min():.2f} to {corners.max():.2f}."
    )


def places(banks: Banks) -> None:
    """Whether a mask's place in its set matters."""
    found = []
    for ties in ("first", "random"):
        values = banks.rbn(ties=ties)
        first, last = score(values[0::5]), score(values[4::5])
        found.append(f"{first:.3f} and {last:.3f} with ties {ties}")
    print(f"Mean S of the first and the last mask of a set of 5: {', '.join(found)}.")


VIDEO, AUDIO = (8, 14, 14), (64, 8)
HARD = 48  # masks a row, at most: difficulty takes some hundredths of a second each


def paper(banks: Banks) -> None:
    """The paper's ablations, from masks alone: difficulty, beside its reconstruction losses."""
    count = min(banks.items, HARD)
    print(f"Difficulty (see maskbank.analysis.structure), {count} masks a row, ± one standard error,")
    print("beside the paper's reconstruction loss or accuracy. No data was used, and nothing was trained.")
    print()

    def bank(recipe: maskbank.Recipe) -> maskbank.Bank:
        path = banks.folder / f"paper-{recipe.kind}-{abs(hash(recipe))}.h5"
        return maskbank.generate(path, recipe, count)

    def hard(source: Any, grid: tuple[int, ...], ratio: float) -> tuple[float, float]:
        masks = maskbank.MaskSampler(source, grid, ratio)(np.arange(count)).visible.reshape(count, *grid)
        found = difficulty(masks)
        return float(found.mean()), float(found.std(ddof=1) / np.sqrt(count))

    def rows(title: str, what: str, made: Sequence[tuple[str, Any, tuple[int, ...], float, str]]) -> None:
        found = [(name, *hard(source, grid, ratio), said) for name, source, grid, ratio, said in made]
        shown = [(name, f"{mean:.3f} ± {error:.3f}", said) for name, mean, error, said in found]
        table((title, "difficulty", what), shown)
        known = [(mean, float(said)) for _, mean, _, said in found if said]
        if what.startswith("loss"):
            print(f"Rank correlation of the {len(known)} rows that have both: {rank_correlation(known):.2f}.")
            print()

    size = (64, 64, 64)
    green = bank(maskbank.Green(size=size))
    video = [
        ("blue3d", bank(maskbank.Blue(size=size)), "0.41"),
        ("green3d", green, "0.60"),
        ("random", "random", ""),
        ("tube (the paper's random)", "tube", "0.67"),
        ("green2d, the same in all frames", bank(maskbank.Green(size=(64, 64))), "0.73"),
        ("red3d", bank(maskbank.Red(size=size)), "0.85"),
        ("grid", "grid", ""),
        ("block", "block", ""),
    ]
    rows("video, 8x14x14 at 90 %", "loss (Tables 6, 7)", [(n, s, VIDEO, 0.9, x) for n, s, x in video])
    audio = [
        ("blue2d", bank(maskbank.Blue(size=(64, 64))), "0.45"),
        ("rbn", bank(maskbank.RBN()), "0.49"),
        ("random", "random", "0.52"),
        ("green2d", bank(maskbank.Green(size=(64, 64))), "0.57"),
        ("red2d", bank(maskbank.Red(size=(64, 64))), "0.61"),
    ]
    rows("audio, 64x8 at 80 %", "loss (Tables 6, 7)", [(n, s, AUDIO, 0.8, x) for n, s, x in audio])
    accuracy = {"1": "54.3", "2": "53.3", "3": "54.4", "4": "54.3", "5": "54.5"}
    variants = []
    for name, said in accuracy.items():
        sigmas: dict[str, Any] = dict(maskbank.recipes.variant("green", name))
        variants.append((f"variant {name}", bank(maskbank.Green(size=size, **sigmas)), VIDEO, 0.9, said))
    rows("green3d, sigmas of Table A.1", "mini-SSv2, %", variants)
    losses = {0.8: "0.48", 0.85: "0.53", 0.9: "0.60"}
    rows("green3d, Table A.3", "loss", [(percent(r), green, VIDEO, r, x) for r, x in losses.items()])
    losses = {0.75: "0.47", 0.8: "0.49", 0.85: "0.53"}
    rbns = [(percent(r), bank(maskbank.RBN(mask_ratio=r)), AUDIO, r, x) for r, x in losses.items()]
    rows("rbn, Table A.4", "loss", rbns)


def red(banks: Banks) -> None:
    """Where red3d stands among masks of video: by its sigma, and by how far the data correlate."""
    lengths = ((4, 2, 2), (2, 2, 2), (1, 2, 2), (16, 2, 2), (4, 1, 1), (4, 4, 4))
    covariances = [exponential(VIDEO, each) for each in lengths]
    sources: dict[str, Any] = {
        "tube": "tube",
        "green3d": maskbank.Green(),
        "green2d": maskbank.Green(size=(64, 64)),
    }
    sources |= {"red3d, sigma 0.4 to 3": maskbank.Red()} | {
        f"red3d, sigma {sigma}": maskbank.Red(sigma=(sigma, sigma)) for sigma in (1, 1.5, 2, 3)
    }
    rows = []
    for name, source in sources.items():
        if name != "tube":
            source = maskbank.generate(banks.folder / f"red-{name}.h5", source, min(banks.items, HARD))
        masks = maskbank.MaskSampler(source, VIDEO, num_visible=160)(np.arange(min(banks.items, HARD)))
        shown = masks.visible.reshape(-1, *VIDEO)
        rows.append((name, *(f"{difficulty(shown, each).mean():.2f}" for each in covariances)))
    print("Difficulty of masks, 8x14x14 at 90 %, for data that correlate over so many tokens (time x space).")
    print()
    table(("masks", *(f"{time} x {space}" for time, space, _ in lengths)), rows)


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Spearman's, of pairs without ties."""
    one, other = (np.argsort(np.argsort(column)) for column in zip(*pairs, strict=True))
    return float(np.corrcoef(one, other)[0, 1])


def documents(parts: Sequence[str]) -> None:
    """Run the commands that bin/README.md's marks name, and put what each prints below its mark."""
    page = ROOT / "bin" / "README.md"
    commands = dict(re.findall(r"^<!-- (\w+): (.*) -->$", page.read_text(), re.MULTILINE))
    if strange := sorted(set(parts) - set(commands)):
        sys.exit(f"bin/README.md has no part {strange[0]}; it has {', '.join(commands)}")
    for name in parts or commands:
        print(f"{name}: {commands[name]}", file=sys.stderr)
        run = subprocess.run(["bash", "-ec", commands[name]], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        if run.returncode:
            sys.exit(f"{name}: exit status {run.returncode}; its figures stay as they are")
        head, mark, rest = page.read_text().partition(f"<!-- {name}: {commands[name]} -->\n")
        page.write_text(f"{head}{mark}{run.stdout}<!-- end -->{rest.partition('<!-- end -->')[2]}")


TABLES: dict[str, Callable[[Banks], None]] = {"rbn": rbn, "paper": paper, "red": red}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=[*TABLES, "documents"], help="which tables")
    parser.add_argument("parts", nargs="*", help="documents: which parts of bin/README.md (default: all)")
    parser.add_argument("--items", type=int, default=1_000, help="masks a row (default: 1000)")
    parser.add_argument("--folder", help="where to write (default: the system's folder for such things)")
    options = parser.parse_args()
    if options.items < 5:
        parser.error("--items is at least 5: one set")
    if options.what == "documents":
        documents(options.parts)
        return
    with tempfile.TemporaryDirectory(prefix="maskbank-tables-", dir=options.folder) as folder:
        TABLES[options.what](Banks(folder, options.items))


if __name__ == "__main__":
    main()
