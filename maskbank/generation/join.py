"""Joins consecutive parts to one bank."""

import os
from collections.abc import Callable, Sequence

from maskbank.bank import check
from maskbank.bank.layout import Content, remedy
from maskbank.bank.reader import Part, in_order
from maskbank.errors import BankError
from maskbank.files import check_sources
from maskbank.generation.threads import Source
from maskbank.noise import Block, sigmas

Path = str | os.PathLike[str]


def content_and_source(
    path: Path, parts: Sequence[Path], partial: bool = False
) -> tuple[Content, Callable[[], Source]]:
    """The content and the source with which `write` makes `path` the bank of these parts.

    partial: the first part may begin after item 0; the result is then a part, too. The source compares each
    item with its checksum, and each sigma with the recipe's. BankError where parts leave a gap, overlap, do
    not belong together or, while they are copied, are damaged; OutputError where `path` is one of them.
    """
    opened, content = in_order([Part(os.path.abspath(part), None) for part in parts])
    check_sources(os.fspath(path), (part.path for part in opened))
    if content.first and not partial:
        raise BankError(
            f"the first part begins at item {content.first:,}, so a part before it is missing; add it, or "
            "make a larger part with partial=True"
        )
    return content, lambda: _Copier(opened)


class _Copier:
    """A source that copies items from parts."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts

    def make(self, first: int, block: Block) -> None:
        """Copy items first, first + 1, ... and their sigmas to `block`."""
        for part in self.parts:
            begin = part.content.first
            low, high = max(first, begin), min(first + len(block), begin + part.content.n)
            if low >= high:
                continue
            of_part, of_block = slice(low - begin, high - begin), slice(low - first, high - first)
            block.items[of_block] = part.noise[of_part]
            crcs = check.crc32()(block.items[of_block].reshape(high - low, -1).view("u1"))
            whole = crcs == part.table("crc32")[of_part].tolist()
            recipe = part.content.recipe
            if recipe.ranges:
                block.sigmas[of_block] = part.table("sigma")[of_part]
                drawn = sigmas(recipe, part.content.seed, low, high - low)
                whole &= drawn.tobytes() == block.sigmas[of_block].tobytes()
            if not whole:
                raise BankError(f"{part.path} is damaged; {remedy(part.path)}")
