"""Makes the damaged or missing items of a bank again, in place."""

import os
import threading
from collections.abc import Callable

from maskbank.bank.storage import RepairFile
from maskbank.checks import count_workers
from maskbank.generation.threads import Report, maker_of, write_items


def repair(
    path: str | os.PathLike[str],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    report: Report | None = None,
    stop: threading.Event | None = None,
) -> tuple[int, int, int]:
    """Make damaged or missing items of a bank again, in place.

    Returns how many items were wrong, of how many, and how many bytes of the header. The file then equals
    the original. A run that was stopped has made nothing worse, and the same call goes on. progress: called
    with the number of items that are whole, and of all. workers, report, stop: as for `maskbank.generate`.
    Raises BankError where the header cannot be read.
    """
    threads = count_workers(workers)
    with RepairFile(path) as bank:
        header = bank.repair_header()
        n, damaged = bank.content.n, int((~bank.done).sum())
        if report and damaged:
            report(f"making {damaged:,} of {n:,} items again")
        show = None if progress is None else lambda done: progress(done, n)
        write_items(bank, maker_of(bank.content), threads, show, stop)
        bank.finish()
    return damaged, n, header
