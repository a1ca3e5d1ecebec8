"""maskbank inspect BANK...: what is in a bank, from its header and sigmas alone."""

import json
from typing import Any, Literal

import click
import numpy as np

from maskbank.bank.reader import Bank
from maskbank.checks import axis_names, format_bytes, format_size
from maskbank.cli.options import JSON, SOURCES, Share
from maskbank.cli.output import WIDTH, after_a_while, aligned, has_blocks, shortened, show
from maskbank.errors import RecipeError
from maskbank.recipes import canonical_json
from maskbank.sampling.baselines import NAMES


@click.command()
@SOURCES
@JSON
@click.option(
    "--recipe", "as_recipe", is_flag=True, help="Print one line of JSON: all that is needed to make it again."
)
@click.option("--structure", "as_structure", is_flag=True, help="Measure the structure of its masks.")
@click.option(
    "--grid", metavar="TxHxW", help="With --structure: the model's tokens.  [default: 8x14x14, 14x14, 500]"
)
@click.option(
    "--mask-ratio", type=Share(), metavar="R",
    help="With --structure: the share that is masked.  [default: 0.9, 0.75, 0.8]",
)  # fmt: skip
@click.option(
    "--fit", type=click.Choice(["crop", "resize"]), default="crop",
    help="With --structure: crop items, or resize whole ones.",
)  # fmt: skip
@click.option(
    "--data", metavar="FILE",
    help="With --structure: measure the difficulty for these clips, as maskbank fit reads them.",
)  # fmt: skip
def command(
    banks: tuple[str, ...],
    as_json: bool,
    as_recipe: bool,
    as_structure: bool,
    grid: str | None,
    mask_ratio: float | None,
    fit: Literal["crop", "resize"],
    data: str | None,
) -> None:
    """Show what is in a bank. Several banks stand side by side.

    The command reads the header and the sigmas only, so it takes the same time for any size. With --structure
    it measures a few hundred masks, compares them with random and tube masks, and says whether structure
    reaches the model. BANK can then also be a baseline: random, tube, grid, block, ...
    """
    if (grid or mask_ratio is not None or fit != "crop" or data) and not as_structure:
        raise click.UsageError("--grid, --mask-ratio, --fit and --data go with --structure")
    opened = [source if source in NAMES else Bank(source) for source in banks]
    if as_recipe:
        for source in opened:
            if isinstance(source, str):
                raise RecipeError(f"{source} is a baseline, which has no recipe")
            show(canonical_json(source.content.facts | {"fingerprint": source.fingerprint}))
        return
    found = []
    if as_structure:
        from maskbank.cli.structure_table import structure_table
        from maskbank.cli.structure_table import table as structure_lines

        with after_a_while("measuring a few hundred masks"):
            found = structure_table(opened, grid, mask_ratio, fit, data)
    if as_json:
        facts = [describe(source) for source in opened]
        for fact, one in zip(facts, found, strict=False):
            fact["structure"] = one
        show(json.dumps(facts, indent=2))
        return
    show(table([rows(source) for source in opened], list(banks)))
    if as_structure:
        show("\n" + structure_lines(list(banks), found, has_blocks()))


def describe(bank: Bank | str) -> dict[str, Any]:
    """All facts of a bank or of a baseline, for programs."""
    if isinstance(bank, str):
        return {"kind": bank}
    facts = bank.content.facts | {
        "path": bank.path,
        "items": len(bank),
        "shape": list(bank.shape),
        "dtype": str(bank.dtype),
        "bytes": bank.nbytes,
        "fingerprint": bank.fingerprint,
    }
    if drawn := _drawn(bank):
        facts["sigma"] = drawn
    return facts


def _drawn(bank: Bank) -> dict[str, dict[str, float]]:
    """The smallest, median and largest draw of each sigma that the kind has."""
    columns = () if bank.sigma is None else bank.sigma.T
    return {
        name: {"min": float(one.min()), "median": float(np.median(one)), "max": float(one.max())}
        for name, one in zip(bank.recipe.sigma_names, columns, strict=True)
    }


def rows(bank: Bank | str) -> dict[str, str]:
    """The lines of the table for one bank, or for a baseline."""
    if isinstance(bank, str):
        return {"kind": "a baseline, without a bank"}
    axes = " x ".join(axis_names(len(bank.recipe.size)))
    lines = {
        "kind": bank.kind,
        "items": f"{len(bank):,}" + (f" from {bank.first:,}" if bank.first else ""),
        "item": f"{format_size(bank.recipe.size)} ({axes})",
        "dtype": str(bank.dtype),
        "on disk": f"{format_bytes(bank.nbytes)} ({bank.nbytes:,} bytes)",
        "seed": str(bank.seed),
        "fingerprint": bank.fingerprint,
    }
    for key, value in bank.recipe.to_dict().items():
        if key not in ("size", "dtype"):
            between = " to " if key in bank.recipe.sigma_names else ", "
            text = between.join(f"{one:g}" for one in value) if isinstance(value, list) else str(value)
            lines[f"recipe: {key}"] = text
    for name, drawn in _drawn(bank).items():
        lines[f"drawn: {name}"] = " … ".join(f"{one:.3f}" for one in drawn.values())
    return lines


def table(columns: list[dict[str, str]], names: list[str]) -> str:
    """A line for each fact; banks side by side, or below each other where they do not fit into a line."""
    keys = list(dict.fromkeys(key for column in columns for key in column))
    # Drawn sigmas stand below the recipes of all banks
    keys.sort(key=lambda key: key.startswith("drawn"))
    most = WIDTH - 2 - max(map(len, keys)) if len(names) == 1 else WIDTH
    head = ["bank", *(shortened(name, most) for name in names)]
    lines = aligned([head] + [[key, *(column.get(key, "") for column in columns)] for key in keys])
    if len(names) > 1 and max(map(len, lines)) > WIDTH:
        half = len(names) // 2
        return f"{table(columns[:half], names[:half])}\n\n{table(columns[half:], names[half:])}"
    if any(key.startswith("drawn") for key in keys):
        lines.append(" " * max(map(len, keys)) + "  (smallest … median … largest, in voxels)")
    return "\n".join(lines)
