"""bin/pretrain, on clips so small that training takes seconds; and its data."""

import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import maskbank

torch = pytest.importorskip("torch")
for name in ("matplotlib", "sklearn", "skimage"):
    pytest.importorskip(name)

BIN = Path(__file__).parent.parent / "bin"
OWN = ["clips.npy", "--patch", "2x4x4", "--batch", "8", "--steps", "60", "--arms", "random,green3d"]
GRID = (4, 4, 4)
full = pytest.mark.full


@pytest.fixture
def pretrain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program as a module, in a folder with waves that move up or down, and labels."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(BIN)
    rng = np.random.default_rng(0)
    t, y = np.arange(8)[:, None, None], np.arange(16)[:, None]
    labels = rng.integers(0, 2, 96)
    phase = rng.uniform(0, 6, 96)
    waves = [np.sin(0.4 * y + (k - 0.5) * t + p) + np.zeros(16) for k, p in zip(labels, phase, strict=True)]
    np.save("clips.npy", (127 + 100 * np.array(waves)).astype(np.uint8))
    np.save("labels.npy", labels)
    module = importlib.import_module("pretrain")
    monkeypatch.setattr(module, "FOLDER", tmp_path / ".pretrain")
    module.FOLDER.mkdir()
    torch.set_num_threads(1)
    return module


def settings(module: Any, **changes: Any) -> Any:
    given = {"steps": 12, "batch": 8, "target": "raw", "patch": (2, 4, 4), "num_visible": 8}
    return module.Settings(os.path.abspath("clips.npy"), **given | changes)


def started(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(BIN.parent)}
    return subprocess.Popen(
        [sys.executable, str(BIN / "pretrain.py"), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def here(module: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What the program prints, without processes: each imports torch."""
    monkeypatch.setattr(module, "workers_for", lambda *_: 1)
    result = CliRunner().invoke(module.main, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def results() -> dict[Path, int]:
    """The files of results, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in Path(".pretrain").rglob("run/*/output.pkl")}


class Spy:
    """Keeps what a model is given, and what it predicts."""

    def __init__(self, module: Any, monkeypatch: pytest.MonkeyPatch, stop: int | None = None) -> None:
        self.seen: list[Any] = []
        self.stop = stop
        forward = module.MaskedAutoencoder.forward

        def spy(model: Any, tokens: Any, ids_keep: Any, wanted: Any) -> Any:
            if len(self.seen) == self.stop:
                self.stop = None
                raise KeyboardInterrupt
            found = forward(model, tokens, ids_keep, wanted)
            self.seen.append((tokens, ids_keep, wanted, found.detach()))
            return found

        monkeypatch.setattr(module.MaskedAutoencoder, "forward", spy)


@pytest.mark.parametrize("target", ["raw", "normalised"])
def test_steps_have_the_banks_masks_and_lose_on_masked_tokens(
    pretrain: Any, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """Arms differ in their masks alone: they have the same samples and the same first weights."""
    spy, weights, samples = Spy(pretrain, monkeypatch), [], []
    for name, source in (("random", "random"), ("green3d", ".pretrain/green3d.h5")):
        spy.seen.clear()
        arm = pretrain.Arm(name, 3, settings(pretrain, target=target))
        weights.append([parameter.detach().clone() for parameter in arm.model.parameters()])
        (loss,) = arm.train(Path("state.pt"), 0, os.getpid())["curve"]
        sampler = maskbank.MaskSampler(source, GRID, num_visible=8, seed=3)
        everything, errors = arm.data.arrays["train"].astype(np.float32), []
        assert len(spy.seen) == 12
        for step, (tokens, ids_keep, wanted, found) in enumerate(spy.seen):
            ids = [int(np.abs(everything - each.numpy()).sum((1, 2)).argmin()) for each in tokens]
            assert np.array_equal(tokens, everything[ids])
            masks = sampler(ids, step)
            assert np.array_equal(ids_keep, masks.ids_keep)
            assert np.take_along_axis(masks.masked, wanted.numpy(), 1).all()
            assert all(len(set(row)) == 56 for row in wanted.tolist())  # all of them: fewer than 64
            hidden = np.take_along_axis(everything[ids], wanted.numpy()[..., None], 1)
            if target == "normalised":
                hidden = (hidden - hidden.mean(-1, keepdims=True)) / np.sqrt(
                    hidden.var(-1, keepdims=True) + 1e-4
                )
            errors.append(np.square(hidden - found.numpy()).mean())
        assert loss == pytest.approx(np.mean(errors), rel=1e-4)
        samples.append([tokens for tokens, *_ in spy.seen])
    assert all(map(torch.equal, *weights))
    assert all(map(torch.equal, *samples))
    assert not torch.equal(samples[0][0], samples[0][1])


def test_the_encoder_sees_visible_tokens_only(pretrain: Any) -> None:
    torch.manual_seed(0)
    model = pretrain.MaskedAutoencoder(GRID, 32)
    torch.nn.init.normal_(model.head.weight)
    ids = torch.stack([torch.randperm(64) for _ in range(3)])
    tokens, other, (keep, wanted) = torch.randn(3, 64, 32), torch.randn(3, 64, 32), ids.split([8, 56], 1)
    hidden_changed = tokens.scatter(1, wanted[..., None].expand(-1, -1, 32), other)
    visible_changed = tokens.scatter(1, keep[..., None].expand(-1, -1, 32), other)
    found = model(tokens, keep, wanted)
    assert torch.equal(model(hidden_changed, keep, wanted), found)
    assert ((model(visible_changed, keep, wanted) - found).abs().amax(-1) > 1e-4).all()
    features = model.encode(torch.ones(3, 64, 32), keep)
    assert ((features[:, 0] - features[:, 1]).abs().amax(-1) > 1e-3).all()  # by their positions
    order = torch.randperm(8)  # nothing but their positions tells tokens apart
    assert torch.allclose(model(tokens, keep[:, order], wanted), found, atol=1e-4)


def test_a_stopped_training_goes_on_where_it_was(pretrain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same steps, each once, and to the same numbers."""
    s, whole = settings(pretrain), Spy(pretrain, monkeypatch)
    expected = pretrain.Arm("green3d", 1, s)
    curve = expected.train(Path("whole.pt"), 0, os.getpid())["curve"]
    monkeypatch.setattr(pretrain, "SAVED", 0)
    parts = Spy(pretrain, monkeypatch, stop=7)
    with pytest.raises(KeyboardInterrupt):
        pretrain.Arm("green3d", 1, s).train(Path("state.pt"), 0, os.getpid())
    again = pretrain.Arm("green3d", 1, s)
    assert again.train(Path("state.pt"), 0, os.getpid())["curve"] == curve
    assert len(parts.seen) == 12
    for one, other in zip(parts.seen, whole.seen, strict=False):
        assert all(map(torch.equal, one, other))
    assert all(map(torch.equal, again.model.parameters(), expected.model.parameters()))


def test_a_worker_ends_with_the_program(pretrain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", ended)
    pretrain.Arm("random", 0, settings(pretrain)).train(Path("state.pt"), 0, os.getppid())
    with pytest.raises(SystemExit):
        pretrain.Arm("random", 0, settings(pretrain)).train(Path("state.pt"), 0, 0)


@full
def test_large_models_take_masks_from_the_device_in_half_precision(
    pretrain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of what a GPU runs but the GPU: masks of DeviceMasks, in bf16; they decide what is learned from."""
    types: list[Any] = []
    calls: list[Any] = []
    large = settings(pretrain, large=True, steps=2, batch=2, target="normalised")
    one = pretrain.Arm("green3d", 0, large)
    one.model.head.register_forward_hook(lambda module, given, result: types.append(result.dtype))
    forward, spy = pretrain.DeviceMasks.forward, Spy(pretrain, monkeypatch)

    def kept(*given: Any) -> Any:
        calls.append(forward(*given))
        return calls[-1]

    monkeypatch.setattr(pretrain.DeviceMasks, "forward", kept)
    found = one.train(Path("state.pt"), 0, os.getpid())
    assert types == [torch.bfloat16] * 2
    assert len(calls) == 2 + pretrain.EVERY
    for masks, (_, ids_keep, wanted, _) in zip(calls, spy.seen, strict=False):
        assert torch.equal(ids_keep, masks.ids_keep)
        assert masks.masked.gather(1, wanted).all()
    assert not torch.equal(calls[0].visible, calls[1].visible)
    assert one.model.embed.out_features == 384
    assert found["share"] > 0
    with torch.no_grad():
        assert 0 < one.test("green3d") < 3
    assert all(parameter.dtype == torch.float32 for parameter in one.model.parameters())


def test_probes_find_what_labels_say_and_nothing_in_shuffled_ones(pretrain: Any) -> None:
    np.save("shuffled.npy", np.random.default_rng(1).permutation(np.load("labels.npy")))
    for labels, least, most in (("labels.npy", 90, 100), ("shuffled.npy", 0, 89)):
        arm = pretrain.Arm("untrained", 0, settings(pretrain, labels=labels, probe=True))
        with torch.no_grad():
            found = arm.probes()
        assert list(found) == ["label, linear", "label, nearest"]
        assert all(least <= accuracy <= most for accuracy in found.values()), found


def test_the_table_has_means_errors_and_ranks(pretrain: Any) -> None:
    losses = {"tube": (0.6, 0.7, 0.8), "random": (0.5, 0.5, 0.5), "blue3d": (0.25, 0.25, 0.25)}
    found = [
        {arm: {"own loss": loss[seed], "digit, linear": 50 + 10 * seed + (arm == "tube")}}
        for arm, loss in losses.items()
        for seed in range(3)
    ]
    known = {"tube": {"difficulty": 0.7}, "random": {"difficulty": 0.1}, "blue3d": {"difficulty": 0.2}}
    lines = pretrain.table([*found, known]).splitlines()
    assert lines[:5] == [
        "| masks | own loss | digit, linear | difficulty |",
        "| --- | --- | --- | --- |",
        "| blue3d | 0.25 ± 0 | 60 ± 5.8 | 0.2 |",
        "| random | 0.5 ± 0 | 60 ± 5.8 | 0.1 |",
        "| tube | 0.7 ± 0.058 | 61 ± 5.8 | 0.7 |",
    ]
    assert "- rank correlation of own loss and difficulty: 0.50, 3 arms" in lines
    assert (
        lines[-1] == "- digit, linear, less that of random with the same seed: blue3d +0.0 ± 0; tube +1.0 ± 0"
    )


@full
def test_the_program_prints_draws_and_does_nothing_twice(
    pretrain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*OWN, "--seeds", "1", "--labels", "labels.npy", "-o", "page.png"]
    said = here(pretrain, monkeypatch, *command)
    for words in ("| random ", "| green3d ", "| untrained ", "own loss", "label, linear"):
        assert words in said
    assert Path("page.png").read_bytes()[:4] == b"\x89PNG"
    before = results()
    assert len(before) == 3
    assert here(pretrain, monkeypatch, *command) == said
    assert results() == before
    curves = [arm.train(Path("state.pt"), 0, os.getpid())["curve"] for arm in arms_of(pretrain)]
    assert all(curve[-1] < 0.95 * curve[0] for curve in curves)
    np.save("labels.npy", 1 - np.load("labels.npy"))  # other labels, and so other results
    here(pretrain, monkeypatch, *command, "--arms", "random")
    assert len(results()) == 5


def arms_of(module: Any) -> list[Any]:
    return [module.Arm(name, 0, settings(module, steps=60)) for name in ("random", "green3d")]


@full
def test_quick_trains_one_model_and_ranks_all_masks(pretrain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said = here(pretrain, monkeypatch, *OWN, "--seeds", "1", "--quick")
    assert len(results()) == 1
    head, _, *rows = [line.split("|") for line in said.splitlines() if line.startswith("|")]
    column = [name.strip() for name in head].index("random's model")
    assert sorted(row[1].strip() for row in rows) == ["green3d", "random"]
    assert all(0 < float(row[column]) < 1.5 for row in rows)


@full
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_goes_on(pretrain: Any, monkeypatch: pytest.MonkeyPatch, how: signal.Signals) -> None:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does."""
    command = [*OWN, "--seeds", "3", "--steps", "30"]
    run = started(*command)
    while not results():
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    run.send_signal(how)
    if how == signal.SIGKILL:
        run.wait()
        run.stdout.close()  # type: ignore[union-attr]
        run.stderr.close()  # type: ignore[union-attr]
    else:
        errors = run.communicate(timeout=60)[1]  # waits for all that have its stderr, its workers too
        assert run.returncode == 130
        assert (
            "stopped; the same command goes on" in errors.splitlines()
        )  # Python's own tracker may add lines
        assert "Traceback" not in errors
    done = results()
    assert 0 < len(done) < 6
    if how == signal.SIGKILL:
        here(pretrain, monkeypatch, *command)
    else:
        with started(*command) as run:
            said, errors = run.communicate()
        assert run.returncode == 0, errors
        assert "| green3d " in said
    now = results()
    assert len(now) == 6
    assert done.items() <= now.items()


def test_a_saved_state_is_removed_once_there_is_a_result(
    pretrain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "SAVED", 0)
    found = pretrain.run("random", 0, {"random": {}}, "", settings(pretrain), 0, os.getpid())
    assert len(found["curve"]) == 1
    assert list(pretrain.FOLDER.glob("*.pt")) == []


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--device", "cuda"], "torch finds no GPU here; use --device cpu"),
        (["--labels", "short.npy"], "holds int64 (5,); give a whole number for each of 96 samples"),
        (["--labels", "text.npy"], "text.npy is no .npy file of labels"),
        (["--labels", "one.npy"], "at least two different ones"),
        (["--batch", "100000000"], "too little memory: an arm takes about"),
        (["--arms", "tubes"], "did you mean 'tube'?"),
        (["--arms", "missing.h5"], "missing.h5"),
        (["--patch", "2x5x5"], "do not divide into patches"),
        (["--mask-ratio", "1.5"], "is not between 0 and 1"),
    ],
)
def test_bad_input_gets_one_line(pretrain: Any, arguments: list[str], words: str) -> None:
    np.save("short.npy", np.arange(5))
    np.save("one.npy", np.zeros(96, int))
    Path("text.npy").write_text("1 2 3")
    if torch.cuda.is_available() and "cuda" in arguments:
        pytest.skip("there is a GPU")
    result = CliRunner().invoke(pretrain.main, [*OWN, *arguments])
    assert result.exit_code == 1, result.output
    line = result.stderr.splitlines()[-1]
    assert words in line
    assert "Traceback" not in result.stderr


def test_labels_belong_to_own_data(pretrain: Any) -> None:
    result = CliRunner().invoke(pretrain.main, ["video", "--labels", "labels.npy"])
    assert result.exit_code == 1
    assert result.stderr == "Error: video has labels and patches; give --labels and --patch with DATA\n"


def test_systems_without_proc_count_all_memory(pretrain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS, which says neither how much memory is free nor which cores a process may use."""
    s, exists = settings(pretrain), Path.exists
    data = pretrain.load(pretrain.FOLDER, s.task, False, s.patch, None)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(Path, "exists", lambda path: str(path) != "/proc/meminfo" and exists(path))
    monkeypatch.setattr(Path, "read_text", lambda path: pytest.fail(f"read {path}"))
    assert 1 <= pretrain.workers_for(s, data) <= (os.cpu_count() or 1)
    with pytest.raises(maskbank.MaskbankError, match="too little memory"):
        pretrain.workers_for(settings(pretrain, batch=10**8), data)


def without_torch(folder: Path, **environment: str) -> list[str]:
    """The lines of bin/pretrain's stderr, but for the first, where folder/.venv lacks torch."""
    (folder / "bin").mkdir()
    for name in ("pretrain", "_venv"):
        shutil.copy(BIN / name, folder / "bin" / name)
    (folder / "pyproject.toml").touch()
    (folder / ".venv" / ".installed-plot").write_text(str(folder))
    path = f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin"
    result = subprocess.run(
        [folder / "bin" / "pretrain", "video"], capture_output=True, text=True, check=False,
        env={"PATH": path, **environment},
    )  # fmt: skip
    assert result.returncode == 1
    first, *lines = result.stderr.splitlines()
    assert first.startswith("installing torch scikit-learn scikit-image into")
    return lines


def test_without_torch_there_is_one_line(tmp_path: Path) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "ERROR: No matching distribution" >&2\nexit 1\n')
    python.chmod(0o755)
    assert without_torch(tmp_path) == [
        f"torch scikit-learn scikit-image cannot be installed into {tmp_path}/.venv; is there a network? "
        "ERROR: No matching distribution"
    ]


@full
def test_where_no_index_can_be_reached_there_is_one_line(tmp_path: Path) -> None:
    """With pip itself, in an environment of its own."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    nowhere = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": os.devnull,
    }
    (line,) = without_torch(tmp_path, **nowhere)
    assert "cannot be installed" in line
    assert "is there a network?" in line


@pytest.fixture
def made(pretrain: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the data, which makes few of them, without espeak-ng: vowels."""
    module = sys.modules["pretrain_data"]
    monkeypatch.setattr(module, "SAMPLES", {"train": 40, "test": 20})
    monkeypatch.setattr(module.shutil, "which", lambda program: None)
    return module


def spied(module: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The arguments of each call of a function of a module, from now on."""
    calls, function = [], getattr(module, name)

    def spy(*given: Any, **named: Any) -> Any:
        calls.append(given)
        return function(*given, **named)

    monkeypatch.setattr(module, name, spy)
    return calls


def test_clips_move_and_test_clips_have_other_digits_and_backgrounds(
    pretrain: Any, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, pieces = (
        spied(at, name, monkeypatch) for at, name in ((made, "_clip"), (made.skimage.transform, "rescale"))
    )
    data = made.load(pretrain.FOLDER, "video", False, None, None)
    assert data.arrays["train"].shape == (40, 512, 128)
    assert data.arrays["test"].shape == (20, 512, 128)
    count = len(made.PHOTOGRAPHS)
    for name, (train, _), (test, _) in zip(made.PHOTOGRAPHS, pieces[:count], pieces[count:], strict=True):
        photograph = getattr(made.skimage.data, name)()
        assert train.shape[1] + test.shape[1] == photograph.shape[1]
        both = np.concatenate([train, test], 1)
        assert np.array_equal(both, photograph.reshape(*both.shape, -1).mean(-1) / photograph.max())
    digits = [{clip[2].tobytes() for clip in part} for part in (clips[:40], clips[40:])]
    assert not digits[0] & digits[1]
    assert [clip[3] for clip in clips[:40]] == data.arrays["train_direction"].tolist()
    dark, light = np.zeros((160, 160)), np.full((8, 8), 16.0)
    for direction, (down, right) in enumerate(
        [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]
    ):
        ends = made._clip(np.random.default_rng(5), dark, light, direction, 64)[[0, -1]].astype(float)
        first, last = (np.argwhere(frame != frame[0, 0]).mean(0) for frame in ends)
        assert np.array_equal(np.rint((last - first) / np.abs(last - first).max()), (down, right))
    assert len(clips) == 60 + 8
    again = made.load(pretrain.FOLDER, "video", False, None, None)
    assert len(clips) == 60 + 8
    assert np.array_equal(again.arrays["train"], data.arrays["train"])


def test_test_voices_are_others(pretrain: Any, made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vowels = spied(made, "_sung", monkeypatch)
    data = made.load(pretrain.FOLDER, "audio", False, None, None)
    assert data.arrays["train"].shape == (40, 512, 64)
    assert sorted(np.unique(data.arrays["test_vowel"])) != [0]
    train, test = ({voice for _, voice, _ in part} for part in (vowels[: 8 * 40], vowels[8 * 40 :]))
    assert (len(train), len(test)) == (40, 20)
    assert not train & test


@pytest.mark.parametrize("shape, patch", [((8, 12, 16), (2, 4, 4)), ((12, 16, 3), (4, 8)), ((16, 8), (4, 4))])
def test_tokens_are_patches_and_go_together_again(
    made: Any, shape: tuple[int, ...], patch: tuple[int, ...]
) -> None:
    x = np.random.default_rng(0).random((24, *shape))
    np.save("own.npy", x)
    data = made.load(Path(), "own.npy", False, patch, None)
    grid = tuple(n // p for n, p in zip(shape, patch, strict=False))
    assert data.grid == grid
    train = x[np.arange(24) % 8 != 7]
    assert len(data.arrays["train"]) == len(train) == 21
    for k, place in enumerate(np.ndindex(grid)):
        where = tuple(slice(i * p, i * p + p) for i, p in zip(place, patch, strict=True))
        expected = np.sort((train[5][where] - train.mean()) / train.std(), axis=None)
        assert np.allclose(np.sort(data.arrays["train"][5, k]), expected, atol=2e-3)
    grey = train[5].mean(-1) if len(shape) > len(patch) else train[5]
    assert np.allclose(data.whole(data.arrays["train"][5]), (grey - train.mean()) / train.std(), atol=2e-3)
