"""A Dask cluster makes equal bytes, whatever happens to workers, scheduler and client."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import maskbank
from maskbank.generation import cluster as tasks
from maskbank.recipes import RBN, Green, Recipe, White
from tests.generation.conftest import SMALL_TASKS, Cluster, Command, Network, elsewhere, wait_until, written

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("default"),  # Dask's own are Dask's
]

N = 3000
RECIPE = RBN(size=(64, 64))  # small, slow items: a bank of 50 MB takes seconds of work
ARGS = ("generate", "rbn", "--n", N, "--size", "64x64", "-o", "bank.h5")


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bank that ARGS make on one machine."""
    path = tmp_path_factory.mktemp("whole") / "bank.h5"
    maskbank.generate(path, RECIPE, N)
    return path.read_bytes()


def same(folder: Path, whole: bytes) -> None:
    assert (folder / "bank.h5").read_bytes() == whole
    assert not (folder / "bank.h5.partial").exists()


def finished(run: Command, folder: Path, whole: bytes) -> None:
    run.wait()
    assert run.code == 0, run.err
    same(folder, whole)


def started(cluster: Cluster, workers: int = 3) -> Command:
    """Start ARGS on the cluster, and wait until it has begun."""
    for _ in range(workers):
        cluster.work()
    cluster.joined(workers)
    run = cluster.maskbank(*ARGS, wait=False, code=SMALL_TASKS)
    wait_until(lambda: written(cluster.folder / "bank.h5.partial"))
    return run


def test_a_cluster_makes_the_same_bytes(three: Cluster, whole: bytes) -> None:
    run = three.maskbank(*ARGS)
    assert run.code == 0, run.err
    first, last = run.lines
    assert first.startswith("maskbank: 3 Dask workers with 3 threads; dashboard http://")
    assert last.startswith("made bank.h5: 3,000 x rbn")
    same(three.folder, whole)
    again = three.maskbank(*ARGS)
    assert "nothing to do" in again.err
    (three.folder / "bank.h5").unlink()


@pytest.mark.parametrize(
    "recipe, n",
    [
        (White(size=(3, 5), dtype="float16"), 2999),  # 30 bytes: 2048 items take whole pages
        (Green(size=(7, 9, 11), dtype="uint8"), 500),
        (Green(size=(64, 64), boundary="reflect", dtype="float32"), 900),
        (RBN(size=(16, 8)), 1003),
        (RBN(size=(64, 8), init="blue"), 64),
        (White(size=(4, 4, 4)), 1),
    ],
)
def test_any_kind_and_size(three: Cluster, tmp_path: Path, recipe: Recipe, n: int) -> None:
    maskbank.generate(tmp_path / "a.h5", recipe, n, seed=5)
    maskbank.generate(tmp_path / "b.h5", recipe, n, seed=5, dask=three.address)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_client_of_ones_own_is_used_and_left_open(three: Cluster, tmp_path: Path) -> None:
    from distributed import Client

    with Client(three.address, set_as_default=False) as client:
        bank = maskbank.generate(tmp_path / "b.h5", White(size=(8, 8)), 100, dask=client)
        assert len(bank) == 100
        assert client.status == "running"


def test_parts_are_made_and_joined(three: Cluster, whole: bytes) -> None:
    for items, name in (("0:1111", "a.h5"), (f"1111:{N}", "b.h5")):
        assert three.maskbank(*ARGS[:-1], name, "--items", items).code == 0
    join = Command(three.folder, "join", "-o", "bank.h5", "a.h5", "b.h5")
    join.wait()
    assert join.code == 0, join.err
    same(three.folder, whole)
    (three.folder / "bank.h5").unlink()


def test_a_cluster_of_this_machine(tmp_path: Path, whole: bytes) -> None:
    run = Command(tmp_path, *ARGS, "--dask", "local", "-j", 2)
    run.wait()
    assert run.code == 0, run.err
    assert run.lines[0].startswith("maskbank: 2 Dask workers with 2 threads; dashboard http://")
    assert len(run.lines) == 2, run.err
    same(tmp_path, whole)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_whole_group_ends_it_and_the_same_goes_on(
    tmp_path: Path, whole: bytes, number: int, code: int
) -> None:
    """As Ctrl-C in a terminal, which the local workers get, too."""
    process = subprocess.Popen(
        [sys.executable, "-c", SMALL_TASKS, *map(str, ARGS), "--dask", "local"], cwd=tmp_path,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    wait_until(lambda: written(tmp_path / "bank.h5.partial"))
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "run the same command again to go on" in err.splitlines()[-1]
    assert len(err.splitlines()) == 4, err
    went_on(tmp_path, whole)


def went_on(folder: Path, whole: bytes, *more: object) -> None:
    """The same command again keeps what is done."""
    done = written(folder / "bank.h5.partial")
    assert 0 < done < N
    inode = (folder / "bank.h5.partial").stat().st_ino
    run = Command(folder, *ARGS, *more)
    run.wait()
    assert run.code == 0, run.err
    assert (folder / "bank.h5").stat().st_ino == inode
    same(folder, whole)


def test_killed_workers_are_replaced(cluster: Cluster, whole: bytes) -> None:
    """kill -9 at random moments, with others joining."""
    random_ = random.Random(7)
    run = started(cluster)
    for _ in range(12):
        time.sleep(random_.uniform(0.0, 0.3))
        if run.process.poll() is not None:
            break
        cluster.work()
        victim = cluster.workers.pop(random_.randrange(len(cluster.workers)))
        victim.kill()
        victim.wait()
    finished(run, cluster.folder, whole)


def test_all_workers_die_and_others_come(cluster: Cluster, whole: bytes) -> None:
    run = started(cluster)
    for worker in cluster.workers:
        worker.kill()
    time.sleep(1.0)
    assert run.process.poll() is None
    cluster.work()
    finished(run, cluster.folder, whole)


def test_a_stopped_worker_is_given_up_after_dasks_worker_ttl(cluster: Cluster, whole: bytes) -> None:
    run = started(cluster)
    cluster.workers[0].send_signal(signal.SIGSTOP)
    start = time.monotonic()
    run.wait()
    assert run.code == 0, run.err
    assert time.monotonic() - start < 60
    same(cluster.folder, whole)


@pytest.mark.parametrize("then", ["threads", "cluster"])
def test_a_lost_scheduler_ends_the_run_and_the_same_goes_on(
    cluster: Cluster, whole: bytes, then: str
) -> None:
    run = started(cluster)
    cluster.scheduler.kill()
    run.wait()
    assert run.code == 1, run.err
    assert len(run.lines) == 2, run.err
    assert "connection to the Dask scheduler is lost" in run.err
    assert "run the same command again to go on" in run.err
    if then == "cluster":
        cluster.start()
        cluster.work()
    went_on(cluster.folder, whole, *(("--dask", cluster.address) if then == "cluster" else ()))


@pytest.mark.parametrize("then", ["threads", "cluster"])
def test_a_killed_client_is_gone_on_with(cluster: Cluster, whole: bytes, then: str) -> None:
    run = started(cluster)
    run.process.kill()
    run.wait()
    went_on(cluster.folder, whole, *(("--dask", cluster.address) if then == "cluster" else ()))


def test_begun_with_threads_finished_on_a_cluster(three: Cluster, whole: bytes) -> None:
    run = Command(three.folder, *ARGS, "-j", 1)
    wait_until(lambda: written(three.folder / "bank.h5.partial"))
    run.process.kill()
    run.wait()
    went_on(three.folder, whole, "--dask", three.address)
    (three.folder / "bank.h5").unlink()


def test_force_leaves_workers_of_another_run_nothing_to_write_to(cluster: Cluster, whole: bytes) -> None:
    """Tasks of a killed client go on for a while; the file that they have open is not the new one."""
    run = started(cluster)
    run.process.kill()
    run.wait()
    partial = cluster.folder / "bank.h5.partial"
    before = partial.stat().st_ino
    with open(partial, "rb") as kept:  # so that its inode number is not used again
        forced = Command(cluster.folder, *ARGS, "--seed", 1, "--force")
        forced.wait()
        assert forced.code == 0
        assert os.fstat(kept.fileno()).st_nlink == 0
    assert (cluster.folder / "bank.h5").stat().st_ino != before


# hosts with addresses of their own


def test_over_a_network_with_a_host_that_is_cut_off(tmp_path: Path, network: Network, whole: bytes) -> None:
    """A scheduler and three workers, each on a host; one worker is killed, and one no longer answers."""
    cluster = Cluster(tmp_path, network.address(0), network.within(0))
    try:
        for k in (1, 2, 3):
            cluster.work(host=network.address(k), within=network.within(k))
        cluster.joined(3)
        run = cluster.maskbank(*ARGS, wait=False, code=SMALL_TASKS)
        wait_until(lambda: written(tmp_path / "bank.h5.partial"))
        network.cut(1)
        cluster.workers[1].kill()
        run.wait()
        assert run.code == 0, run.err
        assert "3 Dask workers" in run.err
        same(tmp_path, whole)
    finally:
        cluster.close()


# what is lost or does not answer


def test_a_file_that_is_removed_meanwhile_is_missed(cluster: Cluster) -> None:
    run = started(cluster)
    (cluster.folder / "bank.h5.partial").unlink()
    run.wait(60)
    assert run.code == 1
    assert "No such file" in run.lines[-1]
    assert "Traceback" not in run.err


def test_a_scheduler_that_dies_before_a_worker_has_come(cluster: Cluster) -> None:
    run = cluster.maskbank(*ARGS, wait=False)
    wait_until(lambda: (cluster.folder / "bank.h5.partial").exists())
    time.sleep(0.5)
    cluster.scheduler.kill()
    run.wait(60)
    assert run.code == 1
    assert "connection to the Dask scheduler is lost" in run.err


def test_ctrl_c_beside_a_scheduler_that_does_not_answer(cluster: Cluster) -> None:
    run = started(cluster)
    cluster.scheduler.send_signal(signal.SIGSTOP)
    time.sleep(1.0)
    run.process.send_signal(signal.SIGINT)
    run.wait(60)
    assert run.code == 130, run.err
    assert "are done and kept; run the same command again to go on" in run.err
    assert len(run.lines) == 2, run.err


def test_a_scheduler_that_accepts_and_says_nothing(cluster: Cluster) -> None:
    cluster.scheduler.send_signal(signal.SIGSTOP)
    start = time.monotonic()
    run = cluster.maskbank(*ARGS)
    assert run.code == 1
    assert len(run.lines) == 1, run.err
    assert "no Dask scheduler answers" in run.err
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("seconds", [0.8, 1.2, 1.6, 2.0])
def test_a_signal_while_a_local_cluster_starts(
    seconds: float, number: int, code: int, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "maskbank", *map(str, ARGS), "--dask", "local"], cwd=tmp_path,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    time.sleep(seconds)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 4, err


# workers that cannot take part


def refused(cluster: Cluster, *words: str) -> None:
    """The run ends before it begins, with one line."""
    cluster.joined(len(cluster.workers))
    run = cluster.maskbank(*ARGS)
    assert run.code == 1, run.err
    lines = run.lines
    assert len(lines) == 2, run.err
    for word in words:
        assert word in lines[1]
    assert not (cluster.folder / "bank.h5.partial").exists()


def test_a_worker_that_sees_no_such_path(cluster: Cluster, namespaces: None) -> None:
    cluster.work()
    cluster.work("--local-directory", "/tmp", within=elsewhere(cluster.folder, "node7", hidden(cluster)))
    refused(
        cluster, "worker node7", str(cluster.folder / "bank.h5.partial"), "No such file",
        "give a path that all workers see",
    )  # fmt: skip


def hidden(cluster: Cluster) -> str:
    return f"mount -t tmpfs none {cluster.folder} && cd /"


def test_a_worker_that_cannot_write(cluster: Cluster, namespaces: None) -> None:
    read_only = f"mount --bind {cluster.folder} {cluster.folder} && mount -o remount,ro,bind {cluster.folder}"
    cluster.work(
        "--local-directory", "/tmp", within=elsewhere(cluster.folder, "node8", f"{read_only} && cd /")
    )
    refused(cluster, "worker node8", "cannot write", "Read-only file system")


def test_a_worker_with_a_file_of_its_own_under_that_name(cluster: Cluster, namespaces: None) -> None:
    """It even is the beginning of the same bank, but on that machine's own disk."""
    there = cluster.folder / "there"
    there.mkdir()
    begun = Command(there, *ARGS)
    wait_until(lambda: written(there / "bank.h5.partial"))
    begun.process.kill()
    begun.wait()
    within = elsewhere(cluster.folder, "node9", f"mount --bind {there} {cluster.folder} && cd /")
    cluster.work("--local-directory", "/tmp", within=within)
    refused(cluster, "worker node9", "not the client's file")


def test_a_worker_with_other_numbers(cluster: Cluster) -> None:
    preload = cluster.folder / "newer.py"
    preload.write_text("from maskbank.bank import layout\nlayout.NUMBERS_VERSION = 2\n")
    cluster.work("--preload", str(preload))
    refused(cluster, "numbers version 1; this maskbank makes version 2")


def test_a_worker_without_maskbank(cluster: Cluster) -> None:
    preload = cluster.folder / "without.py"
    preload.write_text("import sys\nsys.modules['maskbank'] = None\n")
    cluster.work("--preload", str(preload))
    refused(cluster, "cannot load this maskbank", "1 of 1")


def test_a_late_worker_that_cannot_write_ends_the_run_and_the_same_goes_on_without_it(
    cluster: Cluster, whole: bytes, namespaces: None
) -> None:
    run = started(cluster, 1)
    cluster.work("--local-directory", "/tmp", within=elsewhere(cluster.folder, "node7", hidden(cluster)))
    run.wait()
    assert run.code == 1, run.err
    assert len(run.lines) == 2, run.err
    assert "worker node7: " in run.err
    assert "give a path that all workers see" in run.err
    cluster.workers.pop().kill()
    cluster.joined(1)
    went_on(cluster.folder, whole, "--dask", cluster.address)


def test_one_waits_for_workers(cluster: Cluster, whole: bytes) -> None:
    run = cluster.maskbank(*ARGS, wait=False)
    time.sleep(2.0)
    assert run.process.poll() is None
    cluster.work("--nthreads", "2")
    run.wait()
    assert run.code == 0
    assert "0 Dask workers with 0 threads; waiting for some to join" in run.err
    same(cluster.folder, whole)


# bad input


def test_nobody_answers(tmp_path: Path) -> None:
    start = time.monotonic()
    run = Command(tmp_path, *ARGS, "--dask", "tcp://127.0.0.1:9")
    assert run.wait().count("\n") == 1
    assert run.code == 1
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in run.err
    assert time.monotonic() - start < 60
    assert not list(tmp_path.iterdir())


def test_addresses_of_something_else(cluster: Cluster, tmp_path: Path) -> None:
    from distributed import Client

    cluster.work()
    cluster.joined(1)
    with Client(cluster.address, set_as_default=False) as client:
        (worker,) = client.nthreads()
    for address, words in (
        (worker, f"no Dask scheduler answers at {worker}"),
        (cluster.address.replace("tcp:", "tls:"), "no Dask scheduler answers at tls:"),
        ("x..y:80", "no Dask scheduler answers at x..y:80"),
    ):
        run = Command(tmp_path, *ARGS, "--dask", address)
        assert run.wait().count("\n") == 1, run.err
        assert run.code == 1
        assert words in run.err


@pytest.mark.parametrize("address", ["nonsense", "tcp://nowhere", "", "foo://127.0.0.1:8786"])
def test_what_is_no_address(tmp_path: Path, address: str) -> None:
    run = Command(tmp_path, *ARGS, "--dask", address)
    assert run.wait().count("\n") == 1
    assert run.code == 2
    assert "is no address" in run.err


def test_workers_go_with_a_local_cluster(three: Cluster) -> None:
    run = three.maskbank(*ARGS, "-j", 2)
    assert run.code == 2
    assert "workers=2 goes with dask=local" in run.err


# the load


def test_the_scheduler_holds_few_tasks_whatever_n(
    three: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client

    most = 0
    with Client(three.address, set_as_default=False) as client:
        submit = client.submit

        def counted(*args: object, **settings: object) -> object:
            nonlocal most
            future = submit(*args, **settings)
            most = max(most, len(client.futures))
            return future

        monkeypatch.setattr(client, "submit", counted)
        monkeypatch.setattr(tasks, "_FIRST_BYTES", 2**20)
        monkeypatch.setattr(tasks, "_TASK_SECONDS", 1e-4)
        maskbank.generate(tmp_path / "b.h5", White(size=(1, 8, 8)), 50_000, dask=client)
    assert 3 <= most <= 40  # of some 800
    bank = maskbank.Bank(tmp_path / "b.h5")
    maskbank.generate(tmp_path / "a.h5", White(size=(1, 8, 8)), 50_000)
    assert np.array_equal(bank[:], maskbank.Bank(tmp_path / "a.h5")[:])
