"""What `maskbank inspect --structure` says of banks: numbers with small bars, and a sentence for each."""

import math
from typing import Any

from maskbank.analysis.clips import correlation_on
from maskbank.analysis.measures import measure_structure
from maskbank.sampling.sampler import MaskSampler

_BARS = " ▁▂▃▄▅▆▇█"
_PARTS = " ▏▎▍▌▋▊▉"
SPECTRA = (  # what the line says, of what, and which numbers
    ("spectrum of items, 0 to highest", "items", "power"),
    ("the recipe's", "items", "analytic"),
    ("spectrum of windows", "windows", "power"),
    ("the recipe's", "windows", "analytic"),
    ("spectrum of masks", "masks", "power"),
)
MEASURES = {
    "time": "visible in the next frame, too",
    "space": "visible beside, in its frame, too",
    "clustering": "clustering score S",
    "adjacency": "with a visible 4-neighbour",
    "difficulty": "difficulty of reconstruction",
    "per_frame": "visible tokens of a frame, spread",
}
_SHARES = ("time", "space", "adjacency", "difficulty")  # those that lie between 0 and 1


def structure(sampler: MaskSampler, data: str | None = None) -> dict[str, Any]:
    """The measures of a sampler, with its parameters, for programs. data: a file of clips, for difficulty."""
    covariance = None if data is None else correlation_on(data, sampler.grid)
    return {"sampler": sampler.config, **measure_structure(sampler, covariance=covariance)}


def table(names: list[str], found: list[dict[str, Any]]) -> str:
    """Reports of several banks side by side."""
    lines: list[list[str]] = [["structure", *names, "random", "tube"]]
    lines.append(["at", *(_where(one) for one in found), "", ""])
    for name, words in MEASURES.items():
        if not any(name in one["measures"] for one in found):
            continue
        cells = [words]
        for one in found:
            measure = one["measures"].get(name)
            cells.append(
                f"{_bar(name, measure['value'])}{measure['value']:.3f} ± {measure['error']:.3f}"
                if measure
                else ""
            )
        first = next(one["measures"][name] for one in found if name in one["measures"])
        cells += [
            f"{_bar(name, first[other])}{first[other]:.3f}" if other in first else ""
            for other in ("random", "tube")
        ]
        lines.append(cells)
    for words, what, key in SPECTRA:
        cells = [_spark(one["spectrum"].get(what, {}).get(key)) for one in found]
        if any(cells):
            others = found[0]["spectrum"].get("masks", {}) if what == "masks" else {}
            lines.append([words, *cells, *(_spark(others.get(other)) for other in ("random", "tube"))])
    kept = [k for k, column in enumerate(zip(*lines, strict=True)) if any(column[1:])]
    lines = [[line[k] for k in kept] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    looked = ", ".join(sorted({f"{one['masks']:,}" for one in found}))
    text.append(f"{looked} masks looked at; ± is one standard error; random and tube as for the first bank")
    text += [f"{name}: {one['verdict']}" for name, one in zip(names, found, strict=True)]
    return "\n".join(text)


def _where(one: dict[str, Any]) -> str:
    tokens = math.prod(one["grid"])
    return f"{'x'.join(map(str, one['grid']))}, {one['num_visible']:,} of {tokens:,} visible"


def _bar(name: str, share: float) -> str:
    """A share of one as five blocks; nothing for what is no share."""
    if name not in _SHARES or math.isnan(share):
        return ""
    eighths = round(min(max(share, 0.0), 1.0) * 40)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_PARTS[rest] if rest else "")).ljust(5) + " "


def _spark(power: list[float] | None) -> str:
    """A spectrum as a line of blocks, its highest bin full."""
    if not power:
        return ""
    top = max(power)
    return "".join(_BARS[round(8 * value / top)] if top else " " for value in power[:32])
