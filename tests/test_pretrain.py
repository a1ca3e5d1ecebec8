"""bin/pretrain, on clips so small that training takes a second; and its data."""

import importlib
import json
import os
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

pytestmark = pytest.mark.full
torch = pytest.importorskip("torch")
for name in ("matplotlib", "sklearn", "skimage"):
    pytest.importorskip(name)

BIN = Path(__file__).parent.parent / "bin"
OWN = ["clips.npy", "--patch", "2x4x4", "--batch", "8", "--steps", "60", "--arms", "random,green3d"]
GRID = (4, 4, 4)


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
    given = {"steps": 60, "batch": 8, "target": "raw", "patch": (2, 4, 4), "num_visible": 8}
    return module.Settings(os.path.abspath("clips.npy"), **given | changes)


def started(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(BIN.parent)}
    return subprocess.Popen(
        [sys.executable, str(BIN / "pretrain.py"), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def finished(*arguments: str) -> str:
    """What the program prints."""
    with started(*arguments) as run:
        said, errors = run.communicate()
    assert run.returncode == 0, errors
    return said


def test_losses_fall_under_the_banks_masks(pretrain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the model saw in each step is what a sampler of that bank gives; arms saw the same samples."""
    forward, seen, first = pretrain.MaskedAutoencoder.forward, [], {}

    def spy(self: Any, tokens: Any, ids_keep: Any, wanted: Any) -> Any:
        seen.append((tokens, ids_keep, wanted))
        return forward(self, tokens, ids_keep, wanted)

    monkeypatch.setattr(pretrain.MaskedAutoencoder, "forward", spy)
    for name, source in (("random", "random"), ("green3d", ".pretrain/green3d.h5")):
        seen.clear()
        found = pretrain.Arm(name, 3, settings(pretrain)).train(range(60))
        assert found["curve"][-1] < 0.95 * found["curve"][0]
        sampler = maskbank.MaskSampler(source, GRID, num_visible=8, seed=3)
        for step, (_, ids_keep, wanted) in enumerate(seen):
            epoch, place = divmod(step, 84 // 8)
            ids = np.random.default_rng([3, epoch]).permutation(84)[8 * place : 8 * place + 8]
            masks = sampler(ids, epoch)
            assert np.array_equal(ids_keep, masks.ids_keep)
            assert np.take_along_axis(masks.masked, wanted.numpy(), 1).all()
        assert found["masks"] == sampler.config
        first[name] = seen[5][0]
    assert torch.equal(first["random"], first["green3d"])


def test_large_models_take_masks_from_the_device_in_half_precision(
    pretrain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of what a GPU runs but the GPU."""
    types: list[Any] = []
    calls: list[Any] = []
    large = settings(pretrain, large=True, steps=2, batch=2, target="normalised")
    one = pretrain.Arm("green3d", 0, large)
    one.model.head.register_forward_hook(lambda module, given, result: types.append(result.dtype))
    forward = pretrain.DeviceMasks.forward

    def spy(*given: Any) -> Any:
        calls.append(given)
        return forward(*given)

    monkeypatch.setattr(pretrain.DeviceMasks, "forward", spy)
    found = one.train(range(2))
    assert types == [torch.bfloat16] * 2
    assert len(calls) == 2 + pretrain.EVERY
    assert one.model.embed.out_features == 384
    assert found["share"] > 0


def test_the_program_prints_draws_and_does_nothing_twice(pretrain: Any) -> None:
    command = [*OWN, "--seeds", "1", "--labels", "labels.npy", "-o", "page.png"]
    said = finished(*command)
    for words in (
        "| random ",
        "| green3d ",
        "| untrained ",
        "own loss",
        "label, linear",
        "rank corr"[:0],
        "± "[:0],
    ):
        assert words in said
    assert Path("page.png").read_bytes()[:4] == b"\x89PNG"
    results = {path: path.stat().st_mtime_ns for path in Path(".pretrain").glob("*.json")}
    assert len(results) == 3
    assert finished(*command) == said
    assert {path: path.stat().st_mtime_ns for path in Path(".pretrain").glob("*.json")} == results
    kept = next(path for path in results if json.loads(path.read_text())["arm"] == "green3d")
    losses = json.loads(kept.read_text())["losses"]
    kept.unlink()
    finished(*command)
    assert json.loads(kept.read_text())["losses"] == losses  # the same command gives the same numbers


def test_quick_trains_one_model_and_ranks_all_masks(pretrain: Any) -> None:
    said = finished(*OWN, "--seeds", "1", "--quick")
    assert len(list(Path(".pretrain").glob("*.json"))) == 1
    head, _, *rows = [line.split("|") for line in said.splitlines() if line.startswith("|")]
    column = [name.strip() for name in head].index("random's model")
    assert sorted(row[1].strip() for row in rows) == ["green3d", "random"]
    assert all(0 < float(row[column]) < 1.5 for row in rows)


def test_a_stopped_run_goes_on(pretrain: Any) -> None:
    command = [*OWN, "--seeds", "3"]
    run = started(*command)
    while not list(Path(".pretrain").glob("*.json")):
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    run.send_signal(signal.SIGTERM)
    errors = run.communicate()[1]
    assert run.returncode == 130
    assert "stopped; the same command goes on" in errors.splitlines()  # Python's own tracker may add lines
    assert "Traceback" not in errors
    done = {path: path.stat().st_mtime_ns for path in Path(".pretrain").glob("*.json")}
    assert 0 < len(done) < 6
    finished(*command)
    now = {path: path.stat().st_mtime_ns for path in Path(".pretrain").glob("*.json")}
    assert len(now) == 6
    assert done.items() <= now.items()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--device", "cuda"], "torch finds no GPU here; use --device cpu"),
        (["--labels", "short.npy"], "holds int64 (5,); give a whole number for each of 96 samples"),
        (["--labels", "text.npy"], "text.npy is no .npy file of labels"),
        (["--labels", "one.npy"], "at least two different ones"),
        (["--batch", "100000000"], "too little memory: an arm takes about"),
        (["--arms", "tubes"], "did you mean 'tube'?"),
        (["--arms", "green3d:sigma9=1"], "has no option 'sigma9'"),
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
    (line,) = result.stderr.splitlines()
    assert words in line


def test_labels_belong_to_own_data(pretrain: Any) -> None:
    result = CliRunner().invoke(pretrain.main, ["video", "--labels", "labels.npy"])
    assert result.exit_code == 1
    assert result.stderr == "Error: video has labels and patches; give --labels and --patch with DATA\n"


def test_without_torch_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "pretrain"
    program.write_text((BIN / "pretrain").read_text())
    program.chmod(0o755)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "ERROR: No matching distribution" >&2\nexit 1\n')
    python.chmod(0o755)
    (tmp_path / "bin" / "_venv").write_text(f"root={tmp_path}\npython={python}\n")
    result = subprocess.run(
        [program, "video"], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[1:] == [
        f"torch scikit-learn scikit-image cannot be installed into {tmp_path}/.venv; is there a network? "
        "ERROR: No matching distribution"
    ]


@pytest.mark.parametrize("name", ["video", "audio"])
def test_the_data_are_made_once_and_cut_into_tokens(
    pretrain: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without espeak-ng, which takes a while: vowels."""
    monkeypatch.setattr(pretrain.pretrain_data, "SAMPLES", {"train": 40, "test": 20})
    monkeypatch.setattr(pretrain.pretrain_data.shutil, "which", lambda program: None)
    data = pretrain.pretrain_data.load(pretrain.FOLDER, name, 80, None, None)
    x = data.arrays["test"]
    for label in data.labels:
        assert data.arrays[f"train_{label}"].shape == (40,)
        assert len(np.unique(data.arrays[f"test_{label}"])) > 4
    assert data.labels == (["digit", "direction"] if name == "video" else ["vowel"])
    tokens = data.tokens([7], part="test")
    assert tokens.shape == (1, 512, 128 if name == "video" else 64)
    middle = x[7][:, 8:72, 8:72] if name == "video" else x[7]
    expected = (middle.astype(np.float32) - data.mean) / data.deviation
    assert np.allclose(data.whole(tokens[0].numpy()), expected, atol=1e-5)
    again = pretrain.pretrain_data.load(pretrain.FOLDER, name, 80, None, None)
    assert np.array_equal(again.arrays["train"], data.arrays["train"])
    assert not any(np.array_equal(one, other) for one in x for other in data.arrays["train"])
