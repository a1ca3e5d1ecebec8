"""kill -9 at any moment, then the same command again."""

import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import maskbank
from maskbank.bank import layout
from maskbank.recipes import Green, Recipe, White
from tests.bank.calls import Calls, plain
from tests.bank.hostile import command_line
from tests.bank.processes import Ended, Warm, claimed, digest, noted
from tests.conftest import Share

# smaller pieces and more journal than usual, so there is more that could go wrong
OFTEN = {
    "maskbank.generation.threads:CHECKPOINT_SECONDS": 0.005,
    "maskbank.generation.threads:_WRITE_BYTES": 2**18,
    "maskbank.generation.threads:_CACHE_BYTES": 2**16,
    "maskbank.generation.threads:_PROGRESS_SECONDS": 0.005,
}
N = 2000


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Banks of uninterrupted runs, and parts of one."""
    folder = tmp_path_factory.mktemp("originals")
    for name, (recipe, _) in KINDS.items():
        maskbank.generate(folder / f"{name}.h5", recipe, N)
    recipe, _ = KINDS["green2d"]
    for name, items in PARTS.items():
        maskbank.generate(folder / name, recipe, N, items=items)
    return folder


KINDS: dict[str, tuple[Recipe, list[str]]] = {
    "white3d": (White(size=(16, 16, 16)), ["white3d", "--size", "16x16x16"]),
    "green2d": (Green(size=(48, 48)), ["green2d", "--size", "48x48"]),
}
PARTS = {"1.h5": (0, 1), "2.h5": (1, 751), "3.h5": (751, N)}


def whole_or_absent(path: Path, original: Path) -> None:
    """Only a whole bank has the final name."""
    if path.exists():
        assert digest(path) == digest(original)


class Victim:
    """A command that is killed at some moment and run again."""

    def __init__(self, warm: Warm, folder: Path, args: list[str], original: Path) -> None:
        self.warm, self.folder, self.args, self.original = warm, folder, args, original
        self.path = folder / "bank.h5"
        self.partial = folder / "bank.h5.partial"
        self.log = folder / "log"

    def run(self, **settings: object) -> Ended:
        self.log.unlink(missing_ok=True)
        settings = {"settings": OFTEN, "log": str(self.log), "cwd": str(self.folder), **settings}
        return self.warm.maskbank(*self.args, **settings)

    def again(self) -> tuple[int, int]:
        """Run the same command again: (items kept, items made)."""
        whole_or_absent(self.path, self.original)
        published = self.path.exists()
        kept = claimed(self.partial) if self.partial.exists() and not published else set()
        ended = self.run()
        assert ended.code == 0, ended
        assert digest(self.path) == digest(self.original)
        made = noted(self.log)
        assert not kept & set(made)
        assert sorted(made) == ([] if published else sorted(set(range(N)) - kept))
        return len(kept), len(made)


def campaign(victim: Victim, kills: int, seed: int, prepare: Callable[[], None] = lambda: None) -> int:
    """Kill at random moments. Returns how many kills met a run that had items recorded and items to do."""
    random_ = random.Random(seed)
    prepare()
    length = victim.run().seconds
    middle = 0
    for _ in range(kills):
        for path in (victim.path, victim.partial):
            path.unlink(missing_ok=True)
        prepare()
        ended = victim.run(signals=[(random_.uniform(0, 1.1 * length), signal.SIGKILL)])
        assert ended.code in (-signal.SIGKILL, 0)
        kept, made = victim.again()
        middle += 0 < kept < N and made > 0
    return middle


@pytest.mark.parametrize("kind", list(KINDS))
def test_generate_goes_on_after_kill_9_at_any_moment(
    kind: str, warm: Warm, originals: Path, quick_path: Path, share: Share
) -> None:
    args = ["generate", *KINDS[kind][1], "-n", str(N), "-o", "bank.h5"]
    kills = share(100)
    middle = campaign(Victim(warm, quick_path, args, originals / f"{kind}.h5"), kills, 1)
    assert middle >= kills // 25  # runs start late on a busy machine, so most kills come early


def test_join_goes_on_after_kill_9_at_any_moment(
    warm: Warm, originals: Path, quick_path: Path, share: Share
) -> None:
    args = ["join", "-o", "bank.h5", *(str(originals / name) for name in PARTS)]
    campaign(Victim(warm, quick_path, args, originals / "green2d.h5"), share(50), 2)


def test_repair_goes_on_after_kill_9_at_any_moment(
    warm: Warm, originals: Path, quick_path: Path, share: Share
) -> None:
    """A kill at any moment damages nothing: items that were whole still are, byte for byte."""
    original = originals / "green2d.h5"
    path, log = quick_path / "bank.h5", quick_path / "log"
    expected = original.read_bytes()
    places = layout.read(original).offsets
    size = layout.read(original).content.item_bytes
    random_ = random.Random(3)
    items = sorted(random_.sample(range(N), N // 2))
    hurt = bytearray(expected)
    for item in items:
        offset = random_.choice(
            [places["noise"] + item * size + random_.randrange(size), places["crc32"] + 4 * item,
             places["written"] + item, places["sigma"] + 8 * item]
        )  # fmt: skip
        hurt[offset] ^= 1 + random_.randrange(255)

    def repair(**settings: object) -> Ended:
        log.unlink(missing_ok=True)
        return warm.maskbank("repair", path, settings=OFTEN, log=str(log), **settings)

    path.write_bytes(hurt)
    length = repair().seconds
    assert sorted(noted(log)) == items
    assert path.read_bytes() == expected
    for _ in range(share(50)):
        path.write_bytes(hurt)
        ended = repair(signals=[(random_.uniform(0, 1.1 * length), signal.SIGKILL)])
        assert ended.code in (-signal.SIGKILL, 0)
        wrong = np.flatnonzero(np.fromfile(path, "u1") != np.frombuffer(expected, "u1"))
        touched = set(((wrong[wrong >= places["noise"]] - places["noise"]) // size).tolist())
        assert touched <= set(items)
        assert repair().code == 0
        assert set(noted(log)) <= set(items)
        assert path.read_bytes() == expected


SMALL = Green(size=(16, 16))
SMALL_ARGS = ["green2d", "--size", "16x16", "-n", "200", "-j", "2"]
QUICKLY = {"maskbank.generation.threads:_PROGRESS_SECONDS": 0.002}  # the default adds a tenth of a second


def test_kill_9_at_every_call_of_every_command(warm: Warm, quick_path: Path, share: Share) -> None:
    """Before and after each call that a command makes on its files, so at every moment that matters."""
    path, original = quick_path / "bank.h5", quick_path / "original.h5"
    maskbank.generate(original, SMALL, 200)
    for k, items in enumerate(((0, 64), (64, 200))):
        maskbank.generate(quick_path / f"{k}.h5", SMALL, 200, items=items)
    hurt = bytearray(original.read_bytes())
    for item in range(0, 200, 7):
        hurt[layout.read(original).offsets["noise"] + 512 * item] ^= 5

    def empty() -> None:
        for old in (path, Path(f"{path}.partial")):
            old.unlink(missing_ok=True)

    def damaged() -> None:
        path.write_bytes(hurt)

    every: dict[str, tuple[list[str], Callable[[], None]]] = {
        "generate": (["generate", *SMALL_ARGS, "-o", str(path)], empty),
        "join": (["join", "-o", str(path), str(quick_path / "0.h5"), str(quick_path / "1.h5")], empty),
        "repair": (["repair", str(path)], damaged),
    }
    random_ = random.Random(4)
    cases: list[tuple[str, int, bool]] = []
    for command, (args, prepare) in every.items():
        prepare()
        with Calls(plain) as calls:
            assert command_line(*args) == ""
        assert len(calls.names) > 10
        these = [(command, k, after) for k in range(len(calls.names)) for after in (False, True)]
        cases += random_.sample(these, share(len(these)))
    for command, at, after in cases:
        args, prepare = every[command]
        prepare()
        ended = warm.maskbank(*args, die=[at, after], settings=QUICKLY)
        assert ended.code in (-signal.SIGKILL, 0)  # threads may make a call less
        if command != "repair":
            whole_or_absent(path, original)
        assert warm.maskbank(*args, settings=QUICKLY).code == 0, (command, at, after)
        assert digest(path) == digest(original), (command, at, after)


def test_what_was_killed_may_be_killed_again_and_again(
    warm: Warm, originals: Path, quick_path: Path, share: Share
) -> None:
    """One bank, killed until it is done. Each run only adds items."""
    args = ["generate", *KINDS["green2d"][1], "-n", str(N), "-o", "bank.h5"]
    victim = Victim(warm, quick_path, args, originals / "green2d.h5")
    random_ = random.Random(5)
    before: set[int] = set()
    made = 0
    for _ in range(share(200)):
        if victim.run(signals=[(random_.uniform(0.01, 0.1), signal.SIGKILL)]).code == 0:
            break
        made += len(noted(victim.log))
        now = claimed(victim.partial) if victim.partial.exists() else before
        assert before <= now or victim.path.exists()
        before = now
    if not victim.path.exists():
        victim.again()
    assert digest(victim.path) == digest(victim.original)


# Ctrl-C and SIGTERM

SLOW = {"slow": 0.02, "settings": {"maskbank.generation.threads:CHECKPOINT_SECONDS": 99.0,
                                   "maskbank.generation.threads:_WRITE_BYTES": 2**16,
                                   "maskbank.generation.threads:_CACHE_BYTES": 2**14}}  # fmt: skip
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
STOPPED = [
    ("generate", signal.SIGINT, 130),
    ("join", signal.SIGINT, 130),
    ("repair", signal.SIGTERM, 143),
    *(
        pytest.param(*given, marks=pytest.mark.full)
        for given in (
            ("generate", signal.SIGTERM, 143),
            ("join", signal.SIGTERM, 143),
            ("repair", signal.SIGINT, 130),
        )
    ),
]


def commands(folder: Path, originals: Path, command: str) -> list[str]:
    path = str(folder / "bank.h5")
    if command == "join":
        return ["join", "-o", path, *(str(originals / name) for name in PARTS), "-j", "2"]
    if command == "repair":
        original = originals / "green2d.h5"
        shutil.copy(original, path)
        places = layout.read(original).offsets
        with open(path, "r+b") as file:
            file.seek(places["noise"])
            file.write(bytes(layout.read(original).size - places["noise"]))
        return ["repair", path, "-j", "2"]
    return ["generate", *KINDS["green2d"][1], "-n", str(N), "-o", path, "-j", "2"]


@pytest.mark.parametrize(("command", "number", "code"), STOPPED)
def test_a_signal_keeps_what_is_in_hand_and_says_how_to_go_on(
    command: str, number: int, code: int, warm: Warm, originals: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    args = commands(tmp_path, originals, command)
    ended = warm.maskbank(*args, log=str(log), signals=[(0.5, number)], **SLOW)
    line = ended.line(code)
    assert "items are done and kept; run the same command again to go on" in line
    assert ended.seconds < 5.0
    made = set(noted(log))
    assert 0 < len(made) < N
    path = tmp_path / "bank.h5"
    if command != "repair":
        assert not path.exists()
        assert claimed(f"{path}.partial") == made  # though the journal was not due for a long time
        assert f"{len(made):,} of {N:,}" in line
    log.unlink()
    again = warm.maskbank(*args, log=str(log))
    assert again.code == 0
    assert set(noted(log)) == set(range(N)) - made
    assert digest(path) == digest(originals / "green2d.h5")


@pytest.mark.parametrize(("command", "number", "code"), STOPPED)
def test_a_second_signal_leaves_at_once(
    command: str, number: int, code: int, warm: Warm, originals: Path, tmp_path: Path
) -> None:
    args = commands(tmp_path, originals, command)
    slow = {**SLOW, "slow": 20.0}
    ended = warm.maskbank(*args, log=str(tmp_path / "log"), signals=[(0.4, number), (0.6, number)], **slow)
    assert ended.code == code
    assert ended.seconds < 10.0  # not the 20 seconds that an item takes
    assert ended.err.count("\n") <= 3  # the lines "making", "stopping" and the last one
    again = warm.maskbank(*args)
    assert again.code == 0
    assert digest(tmp_path / "bank.h5") == digest(originals / "green2d.h5")


def test_signals_at_random_moments(warm: Warm, originals: Path, quick_path: Path, share: Share) -> None:
    """Also while modules are loaded, space is reserved and the file is renamed."""
    random_ = random.Random(6)
    args = commands(quick_path, originals, "generate")
    path = quick_path / "bank.h5"
    length = warm.maskbank(*args).seconds
    for k in range(share(60)):
        path.unlink(missing_ok=True)
        number, code = SIGNALS[k % 2]
        ended = warm.maskbank(*args, signals=[(random_.uniform(0, 1.1 * length), number)])
        # the interpreter is forked, so a signal may come before the command has begun to listen
        assert ended.code in (code, 0, -number, 1), ended
        if ended.code == 1:
            assert "KeyboardInterrupt" in ended.err
        whole_or_absent(path, originals / "green2d.h5")
        assert (ended.code == 0) == path.exists() or ended.code == code
        assert warm.maskbank(*args).code == 0
        assert digest(path) == digest(originals / "green2d.h5")
    assert os.listdir(quick_path) == ["bank.h5"]
