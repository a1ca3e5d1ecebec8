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
    file of clips, for which the difficulty is measured. Returns for each a `Structure`,
    to which `sampler` is added: the sampler's parameters. Raises RecipeError and BankError.
    """
    samplers = [usual_sampler(source, grid, mask_ratio, fit=fit) for source in sources]
    found = []
    for sampler in samplers:
        covariance = None if data is None else correlation_on(data, sampler.grid)
        found.append({"sampler": sampler.config, **measure_structure(sampler, covariance=covariance)})
    return found


def table(names: Sequence[str], found: Sequence[dict[str, Any]], blocks: bool = True) -> str:
    """The result of `structure_table` as text of 80 columns. blocks: use characters beyond ASCII."""
    lines: list[str] = []
    grids: dict[
        tuple[Any, ...], list[int]
    ] = {}  # banks of one grid and number of visible tokens have the same baselines
    for k, one in enumerate(found):
        grids.setdefault((*one["grid"], one["num_visible"]), []).append(k)
    for (*grid, visible), members in grids.items():
        tokens = math.prod(grid)
        head = f"structure at {format_size(tuple(grid))}, {visible:,} of {tokens:,} visible"
        lines += [head, "".ljust(NAME) + "".join(words.rjust(11) for words in COLUMNS.values())]
        spectra: list[tuple[str, str, list[float] | None]] = []
        for k in members:
            measures, spectrum = found[k]["measures"], found[k]["spectrum"]
            lines.append(_row(names[k], {name: one["value"] for name, one in measures.items()}))
            errors = {name: one["error"] for name, one in measures.items()}
            lines.append(_row(f"  {'±' if blocks else '+-'}", errors))
            name = names[k]
            for what in filter(spectrum.get, ("items", "windows", "masks")):
                spectra.append((name, what, spectrum[what]["power"]))
                spectra.append(("", "recipe's", spectrum[what].get("analytic")))
                name = ""
        measures, spectrum = found[members[0]]["measures"], found[members[0]]["spectrum"]
        for other in ("random", "tube"):
            if other not in [names[k] for k in members] and any(other in one for one in measures.values()):
                lines.append(_row(other, {name: one.get(other) for name, one in measures.items()}))
                spectra.append((other, "masks", spectrum.get("masks", {}).get(other)))
        lines += ["", f"spectra of {found[members[0]]['masks']:,} masks, from frequency 0 to the highest"]
        lines += [
            f"{shortened(name, NAME).ljust(NAME)}  {what:<9}{_spark(power, blocks)}"
            for name, what, power in spectra
            if power
        ]
        lines.append("")
    lines += textwrap.wrap(LEGEND if blocks else LEGEND.replace("±", "+-"), WIDTH)
    for name, one in zip(names, found, strict=True):
        lines += textwrap.wrap(f"{name}: {one['verdict']}", WIDTH, subsequent_indent="  ")
    return "\n".join(line.rstrip() for line in lines)


def _row(name: str, values: dict[str, float | None]) -> str:
    cells = (values.get(column) for column in COLUMNS)
    return shortened(name, NAME).ljust(NAME) + "".join(
        ("" if v is None else f"{v:.3f}").rjust(11) for v in cells
    )


def _spark(power: list[float], blocks: bool) -> str:
    """A spectrum as a line of characters; the highest bin gets the fullest one."""
    signs = " ▁▂▃▄▅▆▇█" if blocks else " .:-=+*#@"
    top = max(power)
    return "".join(signs[round(8 * value / top)] if top else " " for value in power[:32])
