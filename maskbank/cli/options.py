"""Options of several commands, and the types of their values."""

import os
import re
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

import click

from maskbank.cli import output
from maskbank.errors import BankError


class Count(click.ParamType[int]):
    """A whole number: 10000, 10_000, 10k, 1e4, 2M."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(-?\d[\d_,]*(?:\.\d+)?(?:e\d{1,2})?)([km]?)", str(value).strip().lower())
        if match:
            number = Decimal(re.sub("[_,]", "", match[1])) * {"": 1, "k": 1_000, "m": 1_000_000}[match[2]]
            if number == int(number):
                return int(number)
        return self.fail(f"{value!r} is not an integer; write for example 10000, 10k or 1e4", param, ctx)


class Share(click.ParamType[float]):
    """A share of one: 0.9 or 90%."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        try:
            return float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
        except ValueError:
            return self.fail(f"{text!r} is not a share; write for example 0.9 or 90%", param, ctx)


class BankPath(click.Path):
    """The path of a bank, or the name of a baseline where these are allowed. An error suggests a name."""

    def __init__(self, baselines: bool = False) -> None:
        super().__init__()
        self.baselines = baselines

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        names: tuple[str, ...] = ()
        if self.baselines:
            from maskbank.sampling.baselines import NAMES as names  # imports NumPy, which --help does without
        if os.path.lexists(value) or value in names:
            return value
        folder, name = os.path.split(value)
        files = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
        near = get_close_matches(name.lower(), names, 1)
        near += [one for one in files if one == f"{name}.h5"]
        near += get_close_matches(name, [one for one in files if one.endswith(".h5")], 1)
        if near:
            raise BankError(f"there is no file {value}; did you mean {os.path.join(folder, near[0])}?")
        return value


def _quiet(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    output.quiet = value


SOURCES = click.argument("banks", metavar="BANK...", nargs=-1, required=True, type=BankPath(baselines=True))
WORKERS = click.option(
    "-j", "--workers", type=int, metavar="W",
    help="Cores to use; the bytes do not depend on it.  [default: all]",
)  # fmt: skip
FORCE = click.option("--force", is_flag=True, help="Replace what is at OUT.")
QUIET = click.option(
    "-q", "--quiet", is_flag=True, expose_value=False, callback=_quiet, help="Print errors only."
)
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for programs: a list, an object for each bank."
)
SAMPLER_SEED = click.option(
    "--seed", type=int, default=0, show_default=True, metavar="S", help="The sampler's seed."
)
