"""Makes the damaged or missing items of a bank again, in place."""

import os
import threading

from maskbank.bank.storage import RepairFile
from maskbank.generation.threads import Progress, Report, count_workers, maker_of, write_items


def repair(
    path: str | os.PathLike[str],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    report: Report | None = None,
    stop: threading.Event | None = None,
) -> tuple[int, int]:
    """Make damaged or missing items of a bank again, in place.

    Returns how many items and how many bytes of the header were wrong. The file then equals the original.
    A run that was stopped has made nothing worse, and the same call goes on. workers, progress, report,
    stop: as for `maskbank.generate`. Raises BankError where the header cannot be read.
    """
    threads = count_workers(workers)
    with RepairFile(path) as bank:
        header = bank.repair_header()
        damaged = int((~bank.done).sum())
        if report and damaged:
            report(f"making {damaged:,} of {bank.content.n:,} items again")
        write_items(bank, maker_of(bank.content), threads, progress, stop)
        bank.finish()
    return damaged, header
