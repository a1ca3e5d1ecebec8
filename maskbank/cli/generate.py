"""maskbank generate KIND: parse a recipe, make its bank, say what was made."""

import re
from collections.abc import Callable
from typing import Any

import click

from maskbank.checks import check_items, check_n, check_seed, check_workers, format_size, parse_size
from maskbank.cli import SETTINGS, SuggestingGroup
from maskbank.cli.progress import Bar, say, stopping, told
from maskbank.errors import RecipeError
from maskbank.recipes import KINDS, RBN, VARIANTS, Recipe, variant

RECIPE = "Recipe"


class _Sections(click.Command):
    """A command whose help shows the recipe's options apart from those of the run."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, recipe in ((RECIPE, True), ("Run", False)):
            rows = [
                record
                for param in self.get_params(ctx)
                if isinstance(param, _RecipeOption) is recipe and (record := param.get_help_record(ctx))
            ]
            with formatter.section(title):
                formatter.write_dl(rows)


class _RecipeOption(click.Option):
    """An option that decides what an item looks like."""


class _Kinds(SuggestingGroup):
    noun = "kind"


class _Size(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    name = "size"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "TxHxW" if ctx.info_name and ctx.info_name.endswith("3d") else "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return parse_size(value)
        except RecipeError as error:
            self.fail(str(error), param, ctx)


Option = Callable[[Any], Any]


def _recipe_option(*names: str, **settings: Any) -> Option:
    return click.option(*names, cls=_RecipeOption, **settings)


class _Items(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    name = "items"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"(\d+):(\d+)", value.strip())
        if not match:
            self.fail(f"items={value} is not a range; write for example 0:5000", param, ctx)
        return int(match[1]), int(match[2])


def _range_option(name: str, default: tuple[float, float], what: str) -> Option:
    return _recipe_option(
        f"--{name}",
        nargs=2,
        type=float,
        metavar="LO HI",
        help=f"{what}, in voxels; drawn for each item.  [default: {default[0]:g} {default[1]:g}]",
    )


def _size_option(size: tuple[int, ...], what: str) -> Option:
    return _recipe_option(
        "--size", type=_Size(), default=format_size(size), show_default=True, help=f"{what} of an item."
    )


def _colour_options(kind: str) -> list[Option]:
    """What decides how an item of white or coloured noise looks."""
    cls, size = KINDS[kind]
    recipe = cls(size=size)
    options = [_size_option(size, "Voxels")]
    if "sigma1" in cls.sigma_names:
        options.append(
            _recipe_option(
                "--variant", type=click.Choice(list(VARIANTS)),
                help="Sigma ranges of the paper: a row of Table A.1, or section 3.2 (main).  [default: 5]",
            )
        )  # fmt: skip
    words = {
        "sigma": "Range of the Gaussian's sigma",
        "sigma1": "Range of the smaller sigma",
        "sigma2": "Range of the larger sigma",
    }
    for name, value in zip(cls.sigma_names, recipe.ranges, strict=True):
        options.append(_range_option(name, value, words[name]))
    return [
        *options,
        _recipe_option(
            "--boundary", type=click.Choice(cls.boundaries), default="wrap", show_default=True,
            help="Beyond an edge: wrap makes items that tile, reflect is SciPy's default.",
        ),
        _recipe_option(
            "--dtype", type=click.Choice(cls.dtypes), default="float16", show_default=True,
            help="What a voxel is stored as; uint8 is 256 equally likely levels.",
        ),
    ]  # fmt: skip


def _rbn_options() -> list[Option]:
    """What decides how an item of regularised blue noise looks."""
    default = RBN()
    return [
        _size_option(default.size, "Patches"),
        _recipe_option(
            "--mask-ratio", type=float, default=default.mask_ratio, show_default=True, metavar="R",
            help="The native ratio, masked: the one that Algorithm 1 makes masks for.",
        ),
        _recipe_option(
            "--masks-per-set", type=int, metavar="K",
            help="Masks made together, disjoint.  [default: as many as fit]",
        ),
        _recipe_option(
            "--window", type=int, multiple=True, default=default.window, metavar="WIDTH",
            help="Width of a window in which patches are kept apart; once for each.  [default: 3 and 5]",
        ),
        _recipe_option(
            "--weights", nargs=4, type=float, default=default.weights, metavar="W W W W",
            help="Of the horizontal, vertical and two diagonal neighbours.  [default: 0.4 0.4 0.1 0.1]",
        ),
        _recipe_option(
            "--init", type=click.Choice(["zeros", "white", "blue"]), default="zeros", show_default=True,
            help="What the masks start from: nothing, or thresholded noise.",
        ),
        _recipe_option(
            "--ties", type=click.Choice(["random", "first"]), default="random", show_default=True,
            help="Which of equal masks gets a patch; first is Algorithm 1 to the letter.",
        ),
        _recipe_option(
            "--boundary", type=click.Choice(RBN.boundaries), default="wrap", show_default=True,
            help="Beyond an edge: wrap makes masks that tile, open has no neighbours there.",
        ),
    ]  # fmt: skip


def _options(kind: str) -> list[Option]:
    """The options of one kind, in the order of its help."""
    return [
        *(_rbn_options() if kind == "rbn" else _colour_options(kind)),
        _recipe_option(
            "--seed", type=int, default=0, show_default=True, metavar="S", help="0 to 2**64 - 1."
        ),
        click.option("-n", "--n", "n", type=int, metavar="N", help="How many items."),
        click.option(
            "--items", type=_Items(), metavar="A:B",
            help="Only items A to B - 1 of them: a part, for maskbank join.",
        ),
        click.option(
            "-o", "--output", "output", type=click.Path(), metavar="OUT",
            help=f"The file to make.  [default: {kind}.h5]",
        ),
        click.option(
            "-j", "--workers", type=int, metavar="W",
            help="Cores to use; the bytes do not depend on it.  [default: all]",
        ),
        click.option(
            "--dask", metavar="ADDRESS",
            help="Work on a Dask cluster: its scheduler's address, or local for one on this machine.",
        ),
        click.option("--force", is_flag=True, help="Replace what is at OUT."),
    ]  # fmt: skip


@click.group(cls=_Kinds, context_settings=SETTINGS, no_args_is_help=True)
def command() -> None:
    """Make a bank of noise.

    The same command again finds the bank and leaves it. Each kind has its own options: see, for example,
    maskbank generate green3d --help.
    """


WHAT = {
    "white": "white noise w, N(0, 1); masks from it are random",
    "red": "low-pass noise G(sigma) w",
    "blue": "high-pass noise w - G(sigma) w",
    "green": "band-pass noise G(sigma1) w - G(sigma2) w",
    "purple": "band-stop noise: w less its green",
    "rbn": "regularised blue noise for spectrograms: orders of patches, from disjoint masks",
}


def _add(kind: str) -> None:
    cls, size = KINDS[kind]
    text = WHAT[cls.colour]

    def run(**options: Any) -> None:
        _generate(kind, **options)

    run.__doc__ = f"""Make a bank of {kind}: {text}.

    \b
    maskbank generate {kind} --n 1000 -o bank.h5
    """
    for option in reversed(_options(kind)):
        run = option(run)
    short = f"{len(size)}D: {text}"
    command.command(kind, cls=_Sections, short_help=short, context_settings=SETTINGS)(run)


for _kind in KINDS:
    _add(_kind)


def _recipe(kind: str, options: dict[str, Any]) -> Recipe:
    cls, default = KINDS[kind]
    if len(options["size"]) != len(default):
        raise RecipeError(
            f"size={format_size(options['size'])} has the wrong number of axes; {kind} takes {len(default)}, "
            f"as in {format_size(default)}"
        )
    given = {name: value for name, value in options.items() if value is not None}
    name = given.pop("variant", None)
    return cls(**{**(variant(cls.colour, name) if name else {}), **given})


def _generate(
    kind: str,
    n: int | None,
    items: tuple[int, int] | None,
    output: str | None,
    workers: int | None,
    dask: str | None,
    force: bool,
    seed: int,
    **options: Any,
) -> None:
    recipe = _recipe(kind, options)
    check_seed(seed)
    if n is None and items is None:
        raise RecipeError("give -n, how many items, or --items A:B for a part of them")
    first, end = check_items(items, check_n(items[1] if n is None else n)) if items else (0, check_n(n))
    if workers is not None:
        check_workers(workers)
    path = output or f"{kind}.h5"

    from maskbank.bank.layout import Content
    from maskbank.generation.generate import write

    content = Content(recipe, seed, end - first, first)
    with told(path, content), stopping() as stop, Bar(content.n) as bar:
        write(
            path, content,
            workers=workers, force=force, progress=bar.show, stop=stop, dask=dask, tell=say,
        )  # fmt: skip
