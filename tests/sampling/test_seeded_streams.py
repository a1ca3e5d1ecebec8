"""Streams with a seed: the same launch has the same masks, and every worker, rank and epoch its own."""

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from maskbank import Bank, BankError, MaskSampler, RecipeError
from maskbank.sampling.stream import MaskStream, first_id
from tests import reference
from tests.sampling.common import same


@pytest.fixture(scope="module")
def sampler(banks: dict[str, Bank]) -> MaskSampler:
    return MaskSampler(banks["green3d"], (4, 14, 14), 0.9)


def drawn(stream: MaskStream, count: int = 3) -> list[bytes]:
    return [next(stream).visible.tobytes() for _ in range(count)]


def test_the_seed_and_the_rank_decide(sampler: MaskSampler, monkeypatch: pytest.MonkeyPatch) -> None:
    first = drawn(sampler.stream(3))
    assert drawn(sampler.stream(seed=3, rank=0)) == first
    others = [sampler.stream(4), sampler.stream(3, rank=1), sampler.stream(3 + 2**32), sampler.stream()]
    monkeypatch.setenv("RANK", "2")
    others.append(sampler.stream(3))
    assert len({mask for masks in [first, *map(drawn, others)] for mask in masks}) == 18


def test_batches_and_single_masks_are_one_sequence(sampler: MaskSampler) -> None:
    one, other = sampler.stream(7), sampler.stream(7)
    batch = one.take(5)
    assert [row.tobytes() for row in batch.visible] == drawn(other, 5)
    same(one.take(2), sampler(range(first_id(7, 0, 0, 0) + 5, first_id(7, 0, 0, 0) + 7)))


def test_first_ids_are_philoxs() -> None:
    """Below 2**62, so that ids never leave their range."""
    for seed, rank, worker, times in ((0, 0, 0, 0), (2**64 - 1, 3, 16, 99), (2**32, 0, 1, 0)):
        words = reference.philox4x32_10((rank, 10, worker, times), (seed & 2**32 - 1, seed >> 32))
        assert first_id(seed, rank, worker, times) == (words[0] + words[1] * 2**32) // 4 < 2**62


COPIES: list[Callable[[MaskStream], MaskStream]] = [
    copy.deepcopy, copy.copy, lambda stream: pickle.loads(pickle.dumps(stream)),
]  # fmt: skip


@pytest.mark.parametrize("copied", COPIES)
def test_copies_go_on_by_themselves(copied: Callable[[MaskStream], MaskStream], sampler: MaskSampler) -> None:
    for before in (0, 4):
        stream, alone = sampler.stream(5), sampler.stream(5)
        assert drawn(stream, before) == drawn(alone, before)
        twin = copied(stream)
        expected = drawn(alone)
        assert drawn(twin) == expected
        assert drawn(stream) == expected


def test_a_run_goes_on(sampler: MaskSampler) -> None:
    stream = sampler.stream(5, rank=2)
    fresh = stream.state_dict()
    drawn(stream, 4)
    state = pickle.loads(pickle.dumps(stream.state_dict()))
    expected = drawn(stream)
    later = sampler.stream(5, rank=2)
    later.load_state_dict(state)
    assert drawn(later) == expected
    later.load_state_dict(fresh)
    assert drawn(later) == drawn(sampler.stream(5, rank=2))
    other_rank = sampler.stream(5, rank=0)
    other_rank.load_state_dict(state)  # only one rank writes a checkpoint
    assert drawn(other_rank, 1) not in (expected[:1], drawn(sampler.stream(5, rank=0), 1))


def test_what_cannot_be_resumed_is_refused(sampler: MaskSampler) -> None:
    with pytest.raises(RecipeError, match="without a seed cannot be resumed; make it with seed="):
        sampler.stream().state_dict()
    state = sampler.stream(5).state_dict()
    for other in (sampler.stream(6), sampler.stream()):
        with pytest.raises(BankError, match="the checkpoint's stream has seed=5"):
            other.load_state_dict(state)
    with pytest.raises(BankError, match="num_visible"):
        sampler.replace(mask_ratio=0.5).stream(5).load_state_dict(state)
    for wrong in (-1, 2**64, 1.5, "3"):
        with pytest.raises(RecipeError, match="seed="):
            sampler.stream(wrong)  # type: ignore[arg-type]


LAUNCH = """
import json, multiprocessing, sys
sys.modules["numba"] = None
import maskbank

def work(queue, name, stream):
    queue.put([name, [next(stream).visible.tobytes().hex() for _ in range(3)]])

if __name__ == "__main__":
    context, launches = multiprocessing.get_context(sys.argv[2]), []
    for seed in sys.argv[3:]:
        stream = maskbank.MaskSampler(sys.argv[1], (4, 14, 14), 0.9).stream(int(seed))
        queue, found = context.Queue(), []
        for epoch in range(2):
            workers = [context.Process(target=work, args=(queue, f"{epoch} {k}", stream)) for k in range(2)]
            for worker in workers:
                worker.start()
            found += [queue.get() for _ in workers]
            for worker in workers:
                worker.join()
            work(queue, f"main {epoch}", stream)
            found.append(queue.get())
        launches.append(sorted(found))
    print(json.dumps(launches))
"""


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.full)])
def test_launches_repeat_and_processes_differ(start: str, banks: dict[str, Bank], tmp_path: Any) -> None:
    script = tmp_path / "launch.py"  # a file, so that spawned processes find it
    script.write_text(LAUNCH)
    command = [sys.executable, script, banks["green3d"].path, start]
    [first] = json.loads(subprocess.check_output([*command, "1"]))
    second, other = json.loads(subprocess.check_output([*command, "1", "2"]))
    assert first == second
    every = [mask for launch in (first, other) for _, masks in launch for mask in masks]
    assert len(every) == 2 * 6 * 3
    assert len(set(every)) == len(every)
