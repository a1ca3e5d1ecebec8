"""What `bin/pretrain` shows: a table in Markdown, and one page."""

from typing import Any

import numpy as np
from pretrain_data import Data
from scipy.stats import spearmanr

EVERY = 25  # steps whose losses are averaged
OWN, COMMON, QUICK = "own loss", "under random", "random's model"
DIFFICULTY, MEASURED, PAPER = "difficulty", "for these data", "the paper's loss"
RANKED = (OWN, QUICK, DIFFICULTY, MEASURED, PAPER)

Rows = dict[str, dict[str, list[float]]]  # arm -> column -> a value for each seed


def rows_of(found: list[dict[str, Any]], arms: list[str], predicted: Any, paper: dict[str, float]) -> Rows:
    """The rows of the table, from what the arms found and what was predicted."""
    rows: Rows = {arm: {} for arm in arms}
    for one in found:
        row, losses = rows.setdefault(one["arm"], {}), one["losses"]
        own = {OWN: losses[one["arm"]], COMMON: losses["random"]} if losses else {}
        for column, value in {**own, **one["probes"], "CPU s": one["cpu"]}.items():
            row.setdefault(column, []).append(value)
        for arm in arms if one["arm"] == "random" else []:
            rows[arm].setdefault(QUICK, []).append(losses[arm])
    for arm in arms:
        known = predicted[arm] | ({PAPER: paper[arm]} if arm in paper else {})
        rows[arm] |= {name: [value] for name, value in known.items()}
    return rows


def table(rows: Rows) -> str:
    """A line for each arm, means and standard errors over seeds; rank correlations; probes less random's."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    means = {c: {arm: float(np.mean(row[c])) for arm, row in rows.items() if c in row} for c in columns}
    lines = [["masks", *columns], ["---"] * (len(columns) + 1)]
    for arm in sorted(rows, key=lambda arm: means[columns[0]].get(arm, np.inf)):
        lines.append([arm, *(_value(rows[arm].get(c, [])) for c in columns)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines] + [""]
    for one in RANKED[:2]:
        for other in RANKED[1:]:
            both = [arm for arm in means.get(one, ()) if arm in means.get(other, ()) and one != other]
            if len(both) > 2:
                rank = spearmanr([means[one][a] for a in both], [means[other][a] for a in both]).statistic
                text.append(f"- rank correlation of {one} and {other}: {rank:.2f}, {len(both)} arms")
    for column in (c for c in columns if ", " in c and "random" in rows):
        less = {arm: list(np.subtract(row[column], rows["random"][column])) for arm, row in rows.items()}
        words = [f"{arm} {_value(less[arm], '+.1f')}" for arm in less if arm != "random"]
        text.append(f"- {column}, less that of random with the same seed: {'; '.join(words)}")
    return "\n".join(text)


def _value(values: list[float], digits: str = ".3g") -> str:
    """Mean and standard error."""
    error = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.2g}" if len(values) > 1 else ""
    return f"{np.mean(values):{digits}}{error}" if values else ""


def draw(path: str, found: list[dict[str, Any]], data: Data) -> None:
    """Curves, and the first test sample as each arm's model completes it."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    grey = colormaps["gray"].with_extremes(bad="tab:orange")
    drawn = [one for one in found if one["sample"]]
    figure = Figure((9, 3.5 + len(drawn)), layout="constrained", dpi=150)
    top, *below = figure.subfigures(1 + len(drawn), 1, height_ratios=[3.5, *[1] * len(drawn)])
    curves = top.subplots()
    for one in drawn:
        curves.plot(EVERY * np.arange(1, len(one["curve"]) + 1), one["curve"], label=one["arm"])
    curves.set(xlabel="step", ylabel="training loss", yscale="log")
    curves.legend(ncols=2)
    for part, one in zip(below, drawn, strict=True):
        part.suptitle(
            f"{one['arm']}: what is visible, and the prediction", x=0.01, ha="left", fontsize="small"
        )
        for axes, tokens in zip(part.subplots(1, 2), np.array(one["sample"]), strict=True):
            whole = data.whole(tokens)
            image = (
                whole.T[::-1] if whole.ndim == 2 else np.concatenate(list(whole[:: -(-len(whole) // 5)]), 1)
            )
            axes.imshow(image, cmap=grey, aspect="auto")
            axes.set_axis_off()
    figure.savefig(path)
