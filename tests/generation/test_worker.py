"""A cluster's tasks, run without a cluster: they take whole pages, and write only to the client's file."""

import math
import os
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maskbank
from maskbank.bank.layout import Content, lay_out
from maskbank.bank.writer import Writer
from maskbank.errors import Interrupted
from maskbank.files import ALIGNMENT
from maskbank.generation import cluster, threads, worker
from maskbank.recipes import Green, White

RECIPE = Green(size=(3, 5, 7), dtype="uint8")  # 105 bytes: 4096 items take whole pages
N = 9000


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 70))
def test_what_is_missing_is_found(done: list[bool], length: int) -> None:
    spans = list(threads.cut(threads.missing(np.array(done)), length))
    assert [i for start, stop in spans for i in range(start, stop)] == [
        i for i, one in enumerate(done) if not one
    ]
    for start, stop in spans:
        assert start < stop
        assert start // length == (stop - 1) // length  # within one block


@settings(deadline=None)
@given(
    size=st.sampled_from([(1, 1, 1), (1, 8, 8), (3, 5, 7), (16, 16, 16), (64, 64)]),
    dtype=st.sampled_from(["uint8", "float16", "float32"]),
    n=st.integers(1, 20_000),
    workers=st.integers(1, 300),
    pace=st.sampled_from([0.0, 1e-6, 1e-3, 10.0]),
    done=st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 3000)), max_size=3),
)
def test_tasks_take_whole_pages_and_all_that_is_missing_once(
    size: tuple[int, ...], dtype: str, n: int, workers: int, pace: float, done: list[tuple[int, int]]
) -> None:
    content = Content(White(size=size, dtype=dtype), 0, n)
    there = np.zeros(n, bool)
    for start, length in done:
        there[start : start + length] = True
    writer = types.SimpleNamespace(content=content, done=there, mark=lambda: (0, b""))
    run = cluster._Run(None, writer, threading.Event())  # type: ignore[arg-type]
    run.threads, run.pace = {"": workers}, pace
    offset = lay_out(content)[0].offsets["noise"]
    asked = np.zeros(n, int)
    pages: set[int] = set()
    for spans in run._work():
        mine = set()
        for start, stop in spans:
            asked[start:stop] += 1
            first, last = (offset + i * content.item_bytes for i in (start, stop))
            mine |= set(range(first // ALIGNMENT, -(-last // ALIGNMENT)))
        assert not mine & pages, "two tasks write to one page"
        pages |= mine
    assert (asked == ~there).all()


@pytest.mark.parametrize("twice", [False, True])
def test_tasks_make_what_one_machine_makes(tmp_path: Path, twice: bool) -> None:
    maskbank.generate(tmp_path / "a.h5", RECIPE, N, seed=3)
    with Writer(tmp_path / "b.h5", Content(RECIPE, 3, N)) as writer:
        mark = writer.mark()
        made = []
        for start in range(0, N, 4096):
            for _ in range(1 + twice):
                task = worker.make_items(writer.partial, mark, [(start, min(start + 4096, N))])
            made += task.pieces
        for piece in made:
            writer.record(*piece)
        writer.publish()
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.filterwarnings("default")  # Dask's own are Dask's
def test_tasks_of_a_cluster_in_this_process_make_what_one_machine_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One task for each page of the file, a few at a time."""
    distributed = pytest.importorskip("distributed")
    maskbank.generate(tmp_path / "a.h5", RECIPE, N, seed=3)
    monkeypatch.setattr(cluster, "_FIRST_BYTES", 1)
    done: list[int] = []
    lines: list[str] = []
    with distributed.Client(processes=False, n_workers=2, dashboard_address=":0") as client:
        maskbank.generate(
            tmp_path / "b.h5", RECIPE, N, seed=3, dask=client, progress=done.append, report=lines.append
        )
        assert client.status == "running"
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, N)
    assert "2 Dask workers" in lines[0]


def test_a_task_writes_only_to_the_file_that_has_the_mark(tmp_path: Path) -> None:
    with Writer(tmp_path / "b.h5", Content(RECIPE, 3, 100)) as writer:
        item, random = writer.mark()
        assert item == 99
        assert worker.make_items(writer.partial, (item, random), []).pieces == []
        wrong = (item, bytes(4) if random != bytes(4) else b"abcd")
        before = Path(writer.partial).read_bytes()
        for path, mark, words in [
            (writer.partial, wrong, "not the client's file"),
            (str(tmp_path / "none"), (item, random), "No such file"),
            (str(tmp_path), (item, random), "is a folder"),
            ("/dev/null", (item, random), "is a device"),
        ]:
            for spans in ([], [(0, 10)]):
                with pytest.raises(maskbank.OutputError, match=f"worker {os.uname().nodename}: .*{words}"):
                    worker.make_items(path, mark, spans)
        assert Path(writer.partial).read_bytes() == before


def test_a_failure_names_the_host_and_the_way_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Writer(tmp_path / "b.h5", Content(White(size=(64, 64)), 3, 100)) as writer:
        mark = writer.mark()

        def full(fd: int, data: bytes, offset: int) -> int:
            raise OSError(28, "No space left on device")

        for name, fault, words in (
            ("pwrite", full, "No space left on device; .*run the same command again"),
            ("fdatasync", lambda _: 1 / 0, "ZeroDivisionError"),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(os, name, fault)
                with pytest.raises(maskbank.OutputError, match=f"worker {os.uname().nodename}: .*{words}"):
                    worker.make_items(writer.partial, mark, [(0, 10)])
        assert (
            sum(len(crcs) for _, crcs, _ in worker.make_items(writer.partial, mark, [(0, 10)]).pieces) == 10
        )


def test_a_file_that_takes_the_name_meanwhile_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does so between the first opening and the second one, for direct writes."""
    with Writer(tmp_path / "b.h5", Content(White(size=(64, 64)), 3, 100)) as writer:
        mark = writer.mark()
        real, other = os.open, tmp_path / "other"
        other.write_bytes(bytes(Path(writer.partial).stat().st_size))

        def late(path: str, flags: int, *more: int) -> int:
            if flags & os.O_DIRECT and path == writer.partial and other.exists():
                other.replace(path)
            return real(path, flags, *more)

        monkeypatch.setattr(os, "open", late)
        worker.make_items(writer.partial, mark, [(0, 10)])
        monkeypatch.undo()
        assert not other.exists()
        assert not any(Path(writer.partial).read_bytes())


def test_a_task_ends_when_its_items_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    with Writer(tmp_path / "b.h5", Content(White(size=(64, 64)), 3, 1000)) as writer:
        mark = writer.mark()
        for name in ("pwrite", "fdatasync"):
            real = getattr(os, name)

            def recorded(*args: object, name: str = name, real: object = real) -> object:
                result = real(*args)  # type: ignore[operator]
                calls.append(name)
                return result

            monkeypatch.setattr(os, name, recorded)
        assert worker.make_items(writer.partial, mark, [(0, 900)]).pieces
        monkeypatch.undo()
    assert calls[-1] == "fdatasync"
    assert "pwrite" in calls


def test_force_begins_a_file_of_its_own(tmp_path: Path) -> None:
    """Tasks of a killed run may still write to the old one."""
    path = tmp_path / "b.h5"
    with Writer(path, Content(RECIPE, 3, 100)) as writer:
        mark = writer.mark()
    with open(writer.partial, "rb") as old, Writer(path, Content(RECIPE, 4, 100), force=True) as new:
        assert not os.path.samestat(os.fstat(old.fileno()), os.stat(new.partial))
        with pytest.raises(maskbank.OutputError, match="not the client"):
            worker.make_items(new.partial, mark, [])


@pytest.mark.parametrize("signalled", [True, False])
def test_workers_that_a_signal_ended_are_no_error(
    signalled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One to a whole group of processes ends the workers, which the client then cannot reach."""
    stop = threading.Event()

    def find_workers(*_: object) -> None:
        if signalled:
            stop.set()
        raise maskbank.OutputError("worker 1 cannot load this maskbank")

    monkeypatch.setattr(cluster._Run, "find_workers", find_workers)
    client = types.SimpleNamespace(status="running", cancel=lambda tasks: None)
    error, words = (Interrupted, "0 of 100 items") if signalled else (maskbank.OutputError, "cannot load")
    with Writer(tmp_path / "b.h5", Content(RECIPE, 3, 100)) as writer, pytest.raises(error, match=words):
        cluster.write_items_on(client, writer, stop=stop)


def test_what_a_worker_made_counts_when_the_worker_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask calls a future lost, though the client has its result already."""
    distributed = pytest.importorskip("distributed")

    class Future:
        status = "lost"

        def __init__(self, function: Callable[..., Any], *args: Any, **_: Any) -> None:
            self.made = function(*args)

    class Completed:
        def __init__(self, **_: Any) -> None:
            self.ready: list[tuple[Future, Any]] = []

        def add(self, future: Future) -> None:
            self.ready.append((future, future.made))

        def has_ready(self) -> bool:
            return bool(self.ready)

        def next_batch(self, block: bool) -> list[tuple[Future, Any]]:
            assert not block
            ready, self.ready = self.ready, []
            return ready

    monkeypatch.setattr(distributed, "as_completed", Completed)
    client = types.SimpleNamespace(
        status="running", loop=None, cancel=lambda tasks: None, submit=Future,
        run=lambda function, *args, **_: {"worker": function(*args)},
        scheduler=types.SimpleNamespace(ncores=None), sync=lambda *_, **__: {"worker": 1},
    )  # fmt: skip
    with Writer(tmp_path / "a.h5", Content(RECIPE, 3, 100)) as writer:
        cluster.write_items_on(client, writer)
        writer.publish()
    maskbank.generate(tmp_path / "b.h5", RECIPE, 100, seed=3)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_without_dask_one_line_says_how_to_install_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['distributed'] = None; from maskbank.cli import main; "
        "main(['generate', 'white2d', '-n', '3', '--dask', 'local'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "pip install 'maskbank[dask]'" in result.stderr
    assert not list(tmp_path.iterdir())


def test_sizes_of_pages() -> None:
    for size, expected in [((64, 64, 64), 1), ((64, 8), 4), ((1, 8, 8), 32), ((3, 5), 2048)]:
        content = Content(White(size=size), 0, 1)
        assert threads.whole_pages(content) == expected
        assert expected * content.item_bytes % ALIGNMENT == 0
        assert math.gcd(content.item_bytes, ALIGNMENT) * expected == ALIGNMENT
