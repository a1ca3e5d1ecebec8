"""What `maskbank inspect --structure` prints: masks in rows, measures in columns, spectra, and a verdict."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

from maskbank.analysis.clips import correlation_on
from maskbank.analysis.measures import measure_structure, usual_sampler
from maskbank.bank.reader import Bank
from maskbank.checks import format_size
from maskbank.cli.output import WIDTH, shortened

COLUMNS = {
    "time": "next frame",
    "space": "beside",
    "clustering": "clustering",
    "adjacency": "adjacency",
    "difficulty": "difficulty",
    "per_frame": "per frame",
}
LEGEND = (
    "next frame, beside: how likely that neighbour of a visible token is visible; "
    "clustering: score S; adjacency: visible tokens with a visible 4-neighbour; "
    "difficulty: of reconstruction; per frame: spread of visible tokens; ±: one standard error."
)
NAME = WIDTH - 11 * len(COLUMNS)  # columns of a name


def structure_table(
    sources: Sequence[Bank | str],
    grid: tuple[int, ...] | str | None = None,
    mask_ratio: float | None = None,
    fit: Literal["crop", "resize"] = "crop",
    data: str | None = None,
) -> list[dict[str, Any]]:
    """Measure the structure of the masks of banks and baselines: what `inspect --structure --json` prints.

    sources: Banks, their paths, or names of baselines. grid, mask_ratio: as in `usual_sampler`. data: a
    file of clips, for which the difficulty is measured. Returns for each what `measure_structure` gives, and
    as `sampler` the sampler's parameters. Raises RecipeError and BankError.
    """
    samplers = [usual_sampler(source, grid, mask_ratio, fit=fit) for source in sources]
    found = []
    for sampler in samplers:
        covariance = None if data is None else correlation_on(data, sampler.grid)
        found.append({"sampler": sampler.config, **measure_structure(sampler, covariance=covariance)})
    return found


def table(names: Sequence[str], found: Sequence[dict[str, Any]], blocks: bool = True) -> str:
    """The result of `structure_table` as text of 80 columns. blocks: use characters beyond ASCII."""
    plus_minus = "±" if blocks else "+-"
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = {}  # those with the same baselines
    for name, one in zip(names, found, strict=True):
        tokens = f"{one['num_visible']:,} of {math.prod(one['grid']):,} visible"
        head = f"structure at {format_size(tuple(one['grid']))}, {tokens}"
        groups.setdefault(head, []).append((name, one))
    lines: list[str] = []
    for head, members in groups.items():
        lines += [head, "".ljust(NAME) + "".join(words.rjust(11) for words in COLUMNS.values())]
        spectra: list[tuple[str, str, list[float] | None]] = []
        for name, one in members:
            lines.append(_row(name, one["measures"], "value"))
            lines.append(_row(f"  {plus_minus}", one["measures"], "error"))
            for what in filter(one["spectrum"].get, ("items", "windows", "masks")):
                shown = one["spectrum"][what]
                spectra += [(name, what, shown["power"]), ("", "recipe's", shown.get("analytic"))]
                name = ""
        first = members[0][1]
        for other in ("random", "tube"):
            if all(name != other for name, _ in members) and any(
                other in each for each in first["measures"].values()
            ):
                lines.append(_row(other, first["measures"], other))
                spectra.append((other, "masks", first["spectrum"].get("masks", {}).get(other)))
        lines += ["", f"spectra of {first['masks']:,} masks, from frequency 0 to the highest"]
        lines += [
            f"{shortened(name, NAME).ljust(NAME)}  {what:<9}{_spark(power, blocks)}"
            for name, what, power in spectra
            if power
        ]
        lines.append("")
    lines += textwrap.wrap(LEGEND.replace("±", plus_minus), WIDTH)
    for name, one in zip(names, found, strict=True):
        lines += textwrap.wrap(f"{name}: {one['verdict']}", WIDTH, subsequent_indent="  ")
    return "\n".join(line.rstrip() for line in lines)


def _row(name: str, measures: dict[str, dict[str, float]], which: str) -> str:
    values = (measures.get(column, {}).get(which) for column in COLUMNS)
    cells = (("" if value is None else f"{value:.3f}").rjust(11) for value in values)
    return shortened(name, NAME).ljust(NAME) + "".join(cells)


def _spark(power: list[float], blocks: bool) -> str:
    """A spectrum as a line of characters; the highest bin gets the fullest one."""
    signs = " ▁▂▃▄▅▆▇█" if blocks else " .:-=+*#@"
    top = max(power)
    return "".join(signs[round(8 * value / top)] if top else " " for value in power[:32])
