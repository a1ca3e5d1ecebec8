"""recipe + n -> bank: on this machine's cores, or on a Dask cluster. Reports progress, never prints."""

import os
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from maskbank.checks import check_items, check_n, check_seed
from maskbank.generation.threads import Progress, Source, check_threads, fill, maker_of
from maskbank.recipes import Recipe

if TYPE_CHECKING:
    from maskbank.bank.layout import Content
    from maskbank.bank.reader import Bank


def generate(
    path: str | os.PathLike[str],
    recipe: Recipe,
    n: int,
    *,
    seed: int = 0,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    dask: Any = None,
) -> "Bank":
    """Make `path` the bank of the first n items of (recipe, seed), and open it.

    workers: threads; None for one on each core. The bytes do not depend on it. force: replace whatever
    is at `path`. progress: called now and then with the number of items done so far. dask: a cluster to
    work on, all of whose workers see `path`: the address of its scheduler, a distributed.Client, or
    "local" for `workers` processes on this machine. Where `path` already is this bank, nothing is done;
    where an earlier run stopped, this one goes on.

    Raises RecipeError for a parameter that cannot be used, OutputError where the bank cannot be written.
    """
    from maskbank.bank.reader import Bank

    make(path, recipe, n, seed=seed, workers=workers, force=force, progress=progress, dask=dask)
    return Bank(path)


def make(
    path: str | os.PathLike[str],
    recipe: Recipe,
    n: int,
    *,
    seed: int = 0,
    items: tuple[int, int] | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    dask: Any = None,
) -> bool:
    """`generate`, without opening the bank: whether anything had to be made.

    items: (a, b) for a part that holds items a to b - 1 only. stop: once it is set, the items in hand
    are finished and synced, and Interrupted is raised.
    """
    from maskbank.bank.layout import Content

    first, end = check_items(items, check_n(n)) if items is not None else (0, check_n(n))
    return write(
        path, Content(recipe, check_seed(seed), end - first, first),
        workers=workers, force=force, progress=progress, stop=stop, dask=dask,
    )  # fmt: skip


def write(
    path: str | os.PathLike[str],
    content: "Content",
    source: Callable[[], Source] | None = None,
    *,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    dask: Any = None,
    tell: Callable[[str], None] | None = None,
) -> bool:
    """Make `path` the bank of this content, its items coming from `source`, or computed if there is none.

    tell: called with what a user of a cluster wants to know.
    """
    from maskbank.bank.writer import Writer, is_there

    threads = check_threads(workers)
    if not force and is_there(os.fspath(path), content):
        return False
    if content.recipe.caution:
        warnings.warn(content.recipe.caution, stacklevel=3)
    if dask is None:
        with Writer(path, content, force=force) as writer:
            fill(writer, source or maker_of(content), threads, progress, stop)
            writer.publish()
        return True
    from maskbank.generation import distributed
    from maskbank.generation.cluster import cluster

    with cluster(dask, workers, stop) as client, Writer(path, content, force=force) as writer:
        distributed.fill(writer, client, progress, stop, tell)
        writer.publish()
    return True
