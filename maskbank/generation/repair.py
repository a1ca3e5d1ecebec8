"""Damaged or missing items of a bank, made again in place."""

import os
import threading
from collections.abc import Callable

from maskbank.bank.storage import RepairFile
from maskbank.generation.threads import check_threads, fill, maker_of


def repair(
    path: str | os.PathLike[str],
    *,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> tuple[int, int]:
    """Make damaged or missing items of a bank again, in place: (items, bytes of its header) that were.

    Afterwards the file equals the original. Stopped at any time, it is no worse than before, and the
    same again goes on. BankError where the header does not say what the bank was.
    """
    threads = check_threads(workers)
    with RepairFile(os.path.abspath(os.fspath(path))) as bank:
        header = bank.repair_header()
        damaged = int((~bank.done).sum())
        fill(bank, maker_of(bank.content), threads, progress, stop)
        bank.finish()
    return damaged, header
