"""Whole processes, side by side, in one run: maskbank against what people write by hand, and its limits."""

import argparse
import shutil

import making
import train_time
from processes import Bench

from maskbank.errors import MissingError

PARTS = {
    "first": making.first, "memory": making.memory, "starts": making.starts, "survival": making.survival,
    "rbn": making.rbn, "masks": train_time.masks, "kinds": making.kinds, "cluster": making.cluster,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["main", *list(PARTS)[:-2]],
                        help=f"main, {', '.join(PARTS)} (default: all but kinds and cluster)")  # fmt: skip
    parser.add_argument("-n", type=int, default=10_000, help="items of the main job")
    parser.add_argument("--peer-n", type=int, default=1_000, help="items for the slower programs")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3, help="runs of which the median is taken")
    parser.add_argument("--folder", help="where to write (default: the system's folder for such things)")
    options = parser.parse_args()
    bench = Bench(options.folder, options.repeat)
    try:
        for what in options.what:
            if what == "main":
                making.main_job(bench, options.n, options.peer_n, options.workers)
            elif what in PARTS:
                PARTS[what](bench)
            else:
                parser.error(f"unknown benchmark {what!r}; there is main, {', '.join(PARTS)}")
    except MissingError as error:
        raise SystemExit(f"{error}") from None
    finally:
        shutil.rmtree(bench.folder)


if __name__ == "__main__":
    main()
