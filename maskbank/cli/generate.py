"""maskbank generate KIND: each kind is a command, with an option for each parameter of its recipe."""

import itertools
import os
import shlex
from typing import TYPE_CHECKING, Any

import click

from maskbank.checks import axis_names
from maskbank.cli.options import FORCE, QUIET, WORKERS, Count, Share
from maskbank.cli.progress import make
from maskbank.errors import MaskbankError, OutputError
from maskbank.recipes import KINDS, VARIANTS, Recipe, command_options

if TYPE_CHECKING:
    from maskbank.bank.layout import Content

WHAT = {
    "white": "white noise w, N(0, 1); masks from it are random",
    "red": "low-pass noise G(sigma) w",
    "blue": "high-pass noise w - G(sigma) w",
    "green": "band-pass noise G(sigma1) w - G(sigma2) w",
    "purple": "band-stop noise: w less green noise",
    "rbn": "regularised blue noise for spectrograms: ranks of patches, from disjoint masks",
}
_RANGE = {"nargs": 2, "type": float, "metavar": "LO HI"}
# parameter of a recipe -> help and settings of its option; the defaults are the recipe's
RECIPE_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "size": ("Size of an item.", {}),
    "variant": (
        "Sigma ranges of the paper (arXiv 2503.16311): a row of Table A.1, or section 3.2 (main).",
        {"type": click.Choice(list(VARIANTS))},
    ),
    "sigma": ("Range of the Gaussian's sigma, in voxels; drawn for each item.", _RANGE),
    "sigma1": ("Range of the smaller sigma, in voxels; drawn for each item.", _RANGE),
    "sigma2": ("Range of the larger sigma, in voxels; drawn for each item.", _RANGE),
    "stretch": ("Factors that multiply the sigmas along each axis, in the order of the size.", {}),
    "mask_ratio": (
        "The native mask ratio, at which Algorithm 1 makes the masks.", {"type": Share(), "metavar": "R"}
    ),
    "masks_per_set": ("Number of disjoint masks that are made together.", {"type": int, "metavar": "K"}),
    "window": (
        "Width of a window in which patches are kept apart; give it once for each width.",
        {"type": int, "multiple": True, "metavar": "WIDTH"},
    ),
    "weights": (
        "Weights of the horizontal, vertical and two diagonal neighbours.",
        {"nargs": 4, "type": float, "metavar": "W W W W"},
    ),
    "init": (
        "What the masks start from: nothing, or thresholded noise.",
        {"type": click.Choice(["zeros", "white", "blue"])},
    ),
    "ties": (
        "Which of equally good masks gets a patch; Algorithm 1 takes the first.",
        {"type": click.Choice(["random", "first"])},
    ),
    "boundary": ("What lies beyond an edge:", {}),
    "dtype": ("Type of a stored voxel; uint8 has 256 equally likely levels.", {}),
}  # fmt: skip
BOUNDARIES = {
    "wrap": "the other side, so items tile (wrap)",
    "reflect": "the item reflected, as in SciPy (reflect)",
    "open": "nothing (open)",
}
RUN_OPTIONS = [
    click.option(
        "-n", "--n", "n", type=Count(), metavar="N",
        help="Number of items: 10000, 10k or 1e4.  [required without --items]",
    ),
    click.option("--items", metavar="A:B", help="Make only items A to B - 1: a part, for maskbank join."),
    WORKERS,
    click.option(
        "--dask", metavar="ADDRESS",
        help="Use a Dask cluster: its scheduler's address, or local for one on this machine.",
    ),
    FORCE,
    QUIET,
]  # fmt: skip
SIZES = ("size", "stretch")  # written as 64x64x64


class _KindCommand(click.Command):
    """A command whose help shows the recipe's options apart from those of the run."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--size" in args:
            numbers = list(itertools.takewhile(str.isdigit, args[args.index("--size") + 1 :]))
            if len(numbers) > 1:
                raise click.UsageError(f"write the size as one word: --size {'x'.join(numbers)}", ctx)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, recipe in (("Recipe", True), ("Run", False)):
            rows = [
                record
                for param in self.get_params(ctx)
                if (param.name in (*RECIPE_OPTIONS, "seed")) is recipe
                and (record := param.get_help_record(ctx))
            ]
            with formatter.section(title):
                formatter.write_dl(rows)


class _Kinds(click.Group):
    """A group that also takes KIND after options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-"):
            for place, (before, kind) in enumerate(itertools.pairwise(args), 1):
                if kind in KINDS and before not in ("-o", "--output"):
                    args.insert(0, args.pop(place))
                    break
        return super().parse_args(ctx, args)


@click.group(cls=_Kinds, no_args_is_help=True)
def command() -> None:
    """Make a bank of noise.

    For video take green3d, for spectrograms rbn. Each kind has its own options: see, for example, maskbank
    generate green3d --help. If the bank is there already, it is left as it is. Below, w is white noise, and
    G(sigma) is a Gaussian filter.
    """


def _recipe_option(name: str, recipe: Recipe) -> Any:
    """The option for a parameter of a recipe; its help ends with the default."""
    text, settings = RECIPE_OPTIONS[name]
    settings = dict(settings)
    value = getattr(recipe, name)
    default = {"variant": "5", "masks_per_set": "as many as fit"}.get(name, str(value))
    if isinstance(value, tuple):
        default = ("x" if name in SIZES else " ").join(f"{number:g}" for number in value)
    if name in SIZES:
        settings["metavar"] = "x".join(axis_names(len(recipe.size))) + "|L" * (recipe.kind == "rbn")
    if name in ("boundary", "dtype"):
        settings["type"] = click.Choice(recipe.boundaries if name == "boundary" else recipe.dtypes)
    if name == "boundary":
        text = f"{text} {', or '.join(BOUNDARIES[boundary] for boundary in recipe.boundaries)}."
    option = "--" + name.replace("_", "-")
    return click.option(option, help=f"{text}  [default: {default}]", **settings)


def _add(kind: str) -> None:
    """Add the command of a kind."""
    cls, size = KINDS[kind]
    recipe = cls(size=size)
    text = WHAT[cls.colour]

    def run(
        n: int | None, items: str | None, output: str, workers: int | None, dask: str | None, force: bool,
        seed: int, **options: Any,
    ) -> None:  # fmt: skip
        from maskbank.generation.generate import content_for

        given = {name: value for name, value in options.items() if value not in (None, ())}
        content = content_for(kind, n, seed=seed, items=items, **given)
        try:
            make(output, content, workers=workers, dask=dask, force=force)
        except OutputError as error:
            raise OutputError(f"{error}{_how_to_grow(output, content)}") from None

    run.__doc__ = f"""Make a bank of {kind}: {text}.

    \b
    maskbank generate {kind} --n 1000 -o bank.h5
    """
    names = [
        name for name in RECIPE_OPTIONS if hasattr(recipe, name) and not (name == "dtype" and kind == "rbn")
    ]
    output = click.option(
        "-o", "--output", type=click.Path(), default=f"{kind}.h5", show_default=True, metavar="OUT",
        help="The file to make.",
    )  # fmt: skip
    seed = click.option("--seed", type=int, default=0, show_default=True, metavar="S", help="0 to 2**64 - 1.")
    for option in reversed([*(_recipe_option(name, recipe) for name in names), seed, output, *RUN_OPTIONS]):
        run = option(run)
    short = f"{len(size)}D: {text}"
    command.command(kind, cls=_KindCommand, short_help=short)(run)


def _how_to_grow(path: str, content: "Content") -> str:
    """If `path` holds the first of these items: the commands that make the others and join them."""
    from maskbank.bank.reader import Bank

    try:
        there = Bank(path).content
    except (MaskbankError, OSError):
        return ""
    same = (there.recipe, there.seed, there.first) == (content.recipe, content.seed, 0)
    if not same or content.first or there.n >= content.n:
        return ""
    stem, suffix = os.path.splitext(path)
    more, whole = f"{stem}-more{suffix}", f"{stem}-whole{suffix}"
    words = ["maskbank", "generate", content.recipe.kind, *command_options(content.recipe)]
    words += ["--seed", str(content.seed), "--items", f"{there.n}:{content.n}", "-o", more]
    part, join = shlex.join(words), shlex.join(["maskbank", "join", "-o", whole, path, more])
    return f". It holds the first {there.n:,} of these items; make the others and join them: {part} && {join}"


for _kind in KINDS:
    _add(_kind)
