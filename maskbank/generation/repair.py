"""Damaged or missing items of a bank, made again in place."""

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
    """Make damaged or missing items of a bank again, in place: (items, bytes of its header) that were wrong.

    Afterwards the file equals the original. Stopped at any time, it is no worse than before, and the same
    call goes on. progress, report, stop: as of `maskbank.generate`. BankError where the header does not say
    what the bank was.
    """
    threads = count_workers(workers)
    with RepairFile(os.path.abspath(os.fspath(path))) as bank:
        header = bank.repair_header()
        damaged = int((~bank.done).sum())
        if report and damaged:
            report(f"making {damaged:,} of {bank.content.n:,} items again")
        write_items(bank, maker_of(bank.content), threads, progress, stop)
        bank.finish()
    return damaged, header
