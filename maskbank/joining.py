"""Banks from banks: parts put together, damaged items made again, a bank rebuilt from its recipe's line."""

import json
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from maskbank.bank import check
from maskbank.bank.inplace import Mender
from maskbank.bank.layout import Content
from maskbank.bank.reader import Part, in_order, whole_of
from maskbank.checks import check_first, check_n, check_seed
from maskbank.errors import BankError
from maskbank.filling import check_threads, fill, maker_of
from maskbank.generation import write
from maskbank.recipes import NUMBERS_VERSION, canonical_json, from_json

if TYPE_CHECKING:
    from maskbank.noise import Block

Progress = Callable[[int], None]
Path = str | os.PathLike[str]


def join(
    path: Path,
    parts: Sequence[Path],
    *,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> bool:
    """Make `path` the one bank that these parts are together: whether anything had to be done.

    The file equals the one made in one go. Each item is compared with its checksum on the way. Goes on
    where an earlier run stopped. BankError where parts leave a gap, overlap, do not belong together, or
    are damaged.
    """
    opened = in_order([Part(os.path.abspath(os.fspath(part)), None) for part in parts])
    content = whole_of(opened)
    return write(
        path, content, lambda: _Copier(opened), workers=workers, force=force, progress=progress, stop=stop
    )


class _Copier:
    """Takes items out of parts."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts

    def make(self, first: int, block: "Block") -> None:
        """Fill `block` with items first, first + 1, ... and their sigmas."""
        from maskbank.noise import sigmas

        for part in self.parts:
            begin = part.content.first
            low, high = max(first, begin), min(first + len(block), begin + part.content.n)
            if low >= high:
                continue
            there, here = slice(low - begin, high - begin), slice(low - first, high - first)
            block.items[here] = part.noise[there]
            recipe = part.content.recipe
            if recipe.ranges:
                block.sigmas[here] = part.table("sigma")[there]
                drawn = sigmas(recipe, part.content.seed, low, high - low)
                if drawn.tobytes() != block.sigmas[here].tobytes():
                    raise BankError(f"{part.path} is damaged; maskbank repair makes it whole")
            for item, checksum in zip(block.items[here], part.table("crc32")[there], strict=True):
                if check.crc32()(item.reshape(-1).view("u1")) != checksum:
                    raise BankError(f"{part.path} is damaged; maskbank repair makes it whole")


def repair(
    path: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> tuple[int, int]:
    """Make damaged or missing items of a bank again, in place: (items, bytes of its header) that were.

    Afterwards the file equals the original. Stopped at any time, it is no worse than before, and the
    same again goes on. BankError where the header does not say what the bank was.
    """
    threads = check_threads(workers)
    with Mender(os.path.abspath(os.fspath(path))) as bank:
        header = bank.mend_header()
        damaged = int((~bank.done).sum())
        fill(bank, maker_of(bank.content), threads, progress, stop)
        bank.finish()
    return damaged, header


def content_of(line: str) -> Content:
    """What `maskbank inspect --recipe` printed, as the content of a bank; BankError where it was changed."""
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BankError(
            f"the recipe is not JSON ({error}); give what maskbank inspect --recipe prints"
        ) from None
    names = {"fingerprint", "first", "kind", "n", "numbers_version", "recipe", "seed"}
    if not isinstance(values, dict) or set(values) != names:
        raise BankError(
            f"the recipe has to have {', '.join(sorted(names))}, as maskbank inspect --recipe prints it"
        )
    if values["numbers_version"] != NUMBERS_VERSION:
        raise BankError(
            f"the recipe has numbers version {values['numbers_version']!r}; this maskbank makes version "
            f"{NUMBERS_VERSION}"
        )
    recipe = from_json(str(values["kind"]), canonical_json(values["recipe"]))
    content = Content(recipe, check_seed(values["seed"]), check_n(values["n"]), check_first(values["first"]))
    if content.fingerprint != values["fingerprint"]:
        raise BankError(
            f"the recipe says fingerprint {values['fingerprint']}, but it makes {content.fingerprint}: "
            "something in it was changed"
        )
    return content
