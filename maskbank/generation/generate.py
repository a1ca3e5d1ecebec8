"""From a recipe and n to a bank: on this machine's cores, or on a Dask cluster. It never prints."""

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from maskbank.checks import MOST_ITEMS, check_items, check_n, check_seed, count_workers
from maskbank.errors import RecipeError, warn
from maskbank.generation.threads import Progress, Report, Source, maker_of, write_items
from maskbank.recipes import RBN, Recipe, recipe_for

if TYPE_CHECKING:
    from maskbank.bank.layout import Content
    from maskbank.bank.reader import Bank


def generate(
    path: str | os.PathLike[str],
    recipe: Recipe | str,
    n: int | None = None,
    *,
    seed: int = 0,
    items: tuple[int, int] | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    report: Report | None = None,
    stop: threading.Event | None = None,
    dask: Any = None,
    **options: Any,
) -> "Bank":
    """Make `path` the bank of the first n items of (recipe, seed), and open it.

    recipe: a recipe, or a kind's name, as "green3d", with its `options`: size=, sigma1=, variant=, ...
    items: (a, b) makes a part that holds only items a to b - 1; n may then be left out. workers: threads;
    None for one on each core. The bytes do not depend on it. force: replace whatever is at `path`.
    progress: called with the number of items done: once before the work begins, then now and then.
    report: called with single lines of text about the work. stop: once it is set, the items in hand are
    finished and synced, and Interrupted is raised. dask: a cluster whose workers all see `path`: the
    address of its scheduler, a distributed.Client, or "local" for `workers` processes on this machine.

    Where `path` already is this bank, nothing is done; where an earlier run stopped, this one goes on.
    Raises RecipeError for a parameter that cannot be used, OutputError where the bank cannot be written.
    """
    from maskbank.bank.reader import Bank

    write(
        path, content_for(recipe, n, seed=seed, items=items, **options),
        workers=workers, force=force, progress=progress, report=report, stop=stop, dask=dask,
    )  # fmt: skip
    return Bank(path)


def content_for(
    recipe: Any,
    n: int | None,
    *,
    seed: int = 0,
    items: Any = None,
    **options: Any,
) -> "Content":
    """The content of a bank from the arguments of `generate`, checked; RecipeError for one that is wrong."""
    from maskbank.bank.layout import Content

    if isinstance(recipe, str):
        recipe = recipe_for(recipe, **options)
    elif not isinstance(recipe, Recipe):
        given = f"the class {recipe.__name__}" if isinstance(recipe, type) else f"a {type(recipe).__name__}"
        raise RecipeError(f"recipe is {given}; give a recipe, as maskbank.Green(), or a kind, as 'green3d'")
    elif options:
        raise RecipeError(f"{min(options)}= goes with a kind's name; a recipe has its options already")
    if items is None:
        if n is None:
            raise RecipeError("n is missing: give the number of items, or items=(a, b) for a part")
        first, end = 0, check_n(n)
    else:
        first, end = check_items(items, MOST_ITEMS if n is None else check_n(n))
    return Content(recipe, check_seed(seed), end - first, first)


def write(
    path: str | os.PathLike[str],
    content: "Content",
    source: Callable[[], Source] | None = None,
    *,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    report: Report | None = None,
    stop: threading.Event | None = None,
    dask: Any = None,
) -> bool:
    """Make `path` the bank of this content: whether anything had to be done. Arguments as of `generate`.

    source: gives each worker its source of items; None for one that computes them.
    """
    from maskbank.bank.writer import Writer, is_there

    threads = count_workers(workers)
    if not force and is_there(os.fspath(path), content):
        return False
    if isinstance(content.recipe, RBN) and content.recipe.masks_per_set == 1:
        warn(
            "masks_per_set=1 is random masking: with one mask there is no choice between masks; "
            f"up to {content.recipe.most_masks} fit"
        )
    with ExitStack() as stack:
        if dask is not None:
            from maskbank.generation.cluster import connect, write_items_on

            client = stack.enter_context(connect(dask, workers, stop))
        elif source is None:
            from maskbank.kernels.cache import compiled_beside

            stack.enter_context(compiled_beside(content.recipe))  # before Numba is loaded here
            source = maker_of(content)  # says that Numba is missing, before anything is touched
        writer = stack.enter_context(Writer(path, content, force=force))
        if report and writer.done.any():
            report(f"going on: {writer.done.sum():,} of {content.n:,} items are made")
        if source:
            write_items(writer, source, threads, progress, stop)
        else:
            write_items_on(client, writer, progress, report, stop)
        writer.publish()
    return True
