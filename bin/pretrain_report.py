"""What `bin/pretrain` shows: a table in Markdown, and one page."""

import itertools
from typing import Any

import numpy as np
from pretrain_data import Data
from scipy.stats import spearmanr

EVERY = 25  # steps whose losses are averaged
OWN, COMMON, QUICK = "own loss", "under random", "random's model"
DIFFICULTY, MEASURED, PUBLISHED = "difficulty", "for these data", "the paper's loss"
RANKED = (OWN, QUICK, DIFFICULTY, MEASURED, PUBLISHED)


def table(found: list[dict[str, Any]], predicted: dict[str, dict[str, float]]) -> str:
    """In Markdown: means and standard errors over seeds; rank correlations; probes beside random's."""
    rows: dict[str, dict[str, list[float]]] = {arm: {} for arm in predicted}
    for one in found:
        arm, losses = one["arm"], one["losses"]
        own: dict[str, float] = {OWN: losses[arm], COMMON: losses["random"]} if losses else {}
        values: list[tuple[str, dict[str, float]]] = [(arm, own | one["probes"] | {"CPU s": one["cpu"]})]
        values += [(other, {QUICK: losses[other]}) for other in predicted if arm == "random"]
        for name, more in values:
            for column, value in more.items():
                rows.setdefault(name, {}).setdefault(column, []).append(value)
    for arm, known in predicted.items():
        rows[arm] |= {column: [value] for column, value in known.items()}
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    means = {c: {arm: float(np.mean(row[c])) for arm, row in rows.items() if c in row} for c in columns}
    lines = [["masks", *columns], ["---"] * (len(columns) + 1)]
    for arm in sorted(rows, key=lambda arm: means[columns[0]].get(arm, np.inf)):
        lines.append([arm, *(_value(rows[arm].get(c, [])) for c in columns)])
    text = ["| " + " | ".join(line) + " |" for line in lines] + [""]
    for loss, other in itertools.combinations([c for c in RANKED if c in means], 2):
        both = [arm for arm in means[loss] if arm in means[other]]
        if len(both) > 2 and loss in RANKED[:2]:
            rank = spearmanr([means[loss][a] for a in both], [means[other][a] for a in both]).statistic
            text.append(f"- rank correlation of {loss} and {other}: {rank:.2f}, {len(both)} arms")
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
