"""What `bin/pretrain` shows: a table in Markdown, and one page."""

import itertools
from typing import Any

import numpy as np
from pretrain_data import Data

EVERY = 25  # steps whose losses are averaged
OWN, COMMON, QUICK = "own loss", "under random", "random's model"
DIFFICULTY, MEASURED, PUBLISHED = "difficulty", "for these data", "the paper's loss"
RANKED = (OWN, QUICK, DIFFICULTY, MEASURED, PUBLISHED)
Rows = dict[str, dict[str, float]]  # by arm and column


def table(found: list[Rows]) -> str:
    """In Markdown: means and standard errors over seeds; rank correlations; probes beside random's."""
    values: dict[str, dict[str, list[float]]] = {}  # by column and arm
    for arm, row in itertools.chain.from_iterable(rows.items() for rows in found):
        for column, value in row.items():
            values.setdefault(column, {}).setdefault(arm, []).append(value)
    means = {column: {arm: float(np.mean(each[arm])) for arm in each} for column, each in values.items()}
    first = means.get(OWN) or means.get(QUICK) or means[MEASURED]
    arms = sorted({arm for each in values.values() for arm in each}, key=lambda arm: first.get(arm, np.inf))
    lines = [["masks", *values], ["---"] * (1 + len(values))]
    lines += [[arm, *(_value(each.get(arm, [])) for each in values.values())] for arm in arms]
    text = ["| " + " | ".join(line) + " |" for line in lines] + [""]
    for loss, other in itertools.combinations([c for c in RANKED if c in means], 2):
        both = [arm for arm in means[loss] if arm in means[other]]
        if len(both) > 2:
            from scipy.stats import spearmanr

            rank = spearmanr([means[loss][a] for a in both], [means[other][a] for a in both]).statistic
            text.append(f"- rank correlation of {loss} and {other}: {rank:.2f}, {len(both)} arms")
    for column, each in values.items():
        if ", " in column and "random" in each:  # a label, and how it is probed
            less = {arm: np.subtract(each[arm], each["random"]).tolist() for arm in arms if arm != "random"}
            words = "; ".join(f"{arm} {_value(less[arm], '+.1f')}" for arm in less)
            text.append(f"- {column}, less that of random with the same seed: {words}")
    return "\n".join(text)


def _value(values: list[float], digits: str = ".3g") -> str:
    """Mean and standard error."""
    error = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.2g}" if len(values) > 1 else ""
    return f"{np.mean(values):{digits}}{error}" if values else ""


def draw(path: str, found: list[dict[str, Any]], data: Data) -> None:
    """Curves; and a test sample: what is visible of it, and as each arm's model completes it."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    grey, rows = colormaps["gray"].with_extremes(bad="tab:orange"), 1 + len(found)
    figure = Figure((12, 3 + rows), layout="constrained", dpi=120)
    grid = figure.add_gridspec(rows, 3, height_ratios=[3.5, *[1] * len(found)])
    curves = figure.add_subplot(grid[0, :])
    for row, one in enumerate(found, 1):
        curves.plot(EVERY * np.arange(1, len(one["curve"]) + 1), one["curve"], label=one["arm"])
        for column, what in enumerate(("a test sample", "what is visible", "the prediction")):
            whole, axes = data.whole(np.array(one["sample"][column])), figure.add_subplot(grid[row, column])
            frames = np.concatenate([*whole[:: -(-len(whole) // 5)]], 1) if whole.ndim == 3 else whole.T[::-1]
            axes.imshow(frames, cmap=grey, aspect="auto")
            axes.set_title(f"{one['arm']}: {what}", loc="left", fontsize="small")
            axes.set_axis_off()
    curves.set(xlabel="step", ylabel="training loss", yscale="log")
    curves.legend(ncols=2)
    figure.savefig(path)
