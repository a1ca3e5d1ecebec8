"""Trains a small masked autoencoder once for each kind of mask, and shows what the kind changes.

Arms share seeds, data order and initial weights. Masks come from maskbank.MaskSampler alone. On a CPU each
core trains one arm. What is done is kept in the folder .pretrain: the same command goes on.
"""

import importlib
import itertools
import math
import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import joblib
import numpy as np
import torch
from pretrain_data import SAMPLES, Data, load
from pretrain_model import SMALL, VIT_SMALL, MaskedAutoencoder
from pretrain_report import COMMON, DIFFICULTY, EVERY, MEASURED, OWN, PUBLISHED, QUICK, Rows, draw, table
from tqdm import tqdm

import maskbank
from maskbank.adapters.device import DeviceMasks
from maskbank.analysis.clips import Tokens, measure, opened
from maskbank.analysis.fit import PAPER, RATIOS
from maskbank.analysis.structure import difficulty
from maskbank.checks import count_workers, format_bytes, format_size, parse_size
from maskbank.errors import MaskbankError
from maskbank.recipes import KINDS

FOLDER = Path(".pretrain").absolute()
ARMS = {3: "tube,random,blue3d,green3d,red3d,green2d", 2: "random,blue2d,rbn,green2d,red2d"}
PREDICTED = 64  # masked tokens of a sample that are predicted in a step
TESTED, PROBED = 512, 2048  # samples of a loss, and of a probe, at most
SAVED = 30  # seconds from one saved state of a training to the next


@dataclass(frozen=True)
class Settings:
    """What decides an arm's results, but for masks and seed. large: ViT-S and more tokens, in bf16."""

    task: str
    steps: int
    batch: int
    target: str
    device: str = "cpu"
    large: bool = False
    patch: tuple[int, ...] | None = None
    labels: str | None = None
    num_visible: int = 0
    probe: bool = False

    def sampler(self, arm: str, grid: tuple[int, ...], seed: int) -> maskbank.MaskSampler:
        """The masks of an arm: a baseline, a kind, or a bank's path."""
        bank: Any = arm
        if arm in KINDS:
            bank = maskbank.generate(FOLDER / f"{arm}.h5", arm, 256 if "3d" in arm else 2048)
        return maskbank.MaskSampler(bank, grid, num_visible=self.num_visible, seed=seed)


class Arm:
    """One model, trained with one kind of mask and one seed."""

    def __init__(self, arm: str, seed: int, s: Settings) -> None:
        self.arm, self.seed, self.s, self.begun = arm, seed, s, time.process_time()
        self.data = load(FOLDER, s.task, s.large, s.patch, s.labels)
        self.samples = {part: torch.from_numpy(self.data.arrays[part]).to(s.device) for part in SAMPLES}
        torch.manual_seed(seed)
        values, sizes = self.samples["train"].shape[2], VIT_SMALL if s.large else SMALL
        self.model = MaskedAutoencoder(self.data.grid, values, sizes).to(s.device)

    def train(self, saved: Path, place: int, program: int) -> dict[str, Any]:
        """Train, from the saved state on: the curve of losses, and the share of a step that masks take."""
        s, count, losses = self.s, len(self.samples["train"]), []
        sampler = s.sampler(self.arm, self.data.grid, self.seed)
        on_device = DeviceMasks(sampler, s.device) if s.large and sampler.bank else None
        rate = 6e-4 if s.large else 2e-3
        optimizer = torch.optim.AdamW(self.model.parameters(), rate, betas=(0.9, 0.95), weight_decay=0.05)
        if saved.exists():
            self.model, optimizer, losses, cpu = torch.load(saved, s.device, weights_only=False)
            self.begun -= cpu
        start = due = time.perf_counter()
        first, name = len(losses), f"{self.arm}, seed {self.seed}"
        steps = tqdm(range(first, s.steps), name, s.steps, False, initial=first, disable=None, position=place)
        for step in steps:
            if program not in (os.getpid(), os.getppid()):
                os._exit(1)  # it was killed, and its workers end with it
            if time.perf_counter() > due + SAVED:
                due, state = time.perf_counter(), (self.model, optimizer, losses)
                torch.save((*state, time.process_time() - self.begun), saved.with_suffix(".new"))
                saved.with_suffix(".new").replace(saved)
            ids = np.random.default_rng([self.seed, step]).choice(count, min(s.batch, count), replace=False)
            torch.manual_seed(self.seed << 32 | step)
            masks = on_device(len(ids)) if on_device else sampler(ids, step)
            warm_up, cosine = (step + 1) / (0.08 * s.steps), 0.5 * (1 + math.cos(math.pi * step / s.steps))
            optimizer.param_groups[0]["lr"] = rate * min(warm_up, cosine + 0.01)
            _, found, target = self.predict(self.samples["train"][ids], masks)
            loss = (found - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.detach())
        curve = [float(torch.stack(losses[k : k + EVERY]).mean()) for k in range(0, s.steps, EVERY)]
        middle = time.perf_counter()
        for epoch in range(EVERY):
            masks = on_device(s.batch) if on_device else sampler(range(s.batch), epoch)
        assert masks.visible.any()  # waits for a GPU
        share = (time.perf_counter() - middle) / EVERY / ((middle - start) / (s.steps - first))
        return {"curve": curve, "share": share}

    def predict(self, tokens: Any, masks: Any, most: int = PREDICTED) -> tuple[Any, Any, Any]:
        """Masked tokens, at most so many of a sample: ids (B, N), predictions and targets (B, N, values)."""
        keep, masked = (torch.as_tensor(x, device=self.s.device) for x in (masks.ids_keep, masks.masked))
        order, tokens = torch.rand(masked.shape, device=self.s.device), tokens.float()
        wanted = order.masked_fill(~masked, -1.0).topk(min(most, masked.shape[1] - keep.shape[1])).indices
        target = torch.take_along_dim(tokens, wanted[..., None], 1)
        if self.s.target == "normalised":
            target = torch.layer_norm(target, target.shape[-1:], eps=1e-4)
        with torch.autocast(torch.device(self.s.device).type, torch.bfloat16, enabled=self.s.large):
            return wanted, self.model(tokens, keep, wanted).float(), target

    def test(self, arm: str) -> float:
        """The loss on test samples under an arm's masks, as a share of the targets' variance."""
        sampler = self.s.sampler(arm, self.data.grid, 99)
        torch.manual_seed(0)
        batches = self.samples["test"][:TESTED].split(self.s.batch)
        each = [self.predict(x, sampler(range(len(x)), k))[1:] for k, x in enumerate(batches)]
        found, target = (torch.cat(parts) for parts in zip(*each, strict=True))
        return float((found - target).square().mean() / target.var())

    def probes(self) -> dict[str, float]:
        """Accuracy in percent of two probes, by spread and mean of features over a chessboard of tokens."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        board = torch.from_numpy(np.flatnonzero(np.indices(self.data.grid).sum(0) % 2 == 0)).to(self.s.device)
        x: dict[str, Any] = {}
        for part, samples in self.samples.items():
            batches = samples[:PROBED].split(self.s.batch)
            found = [self.model.encode(each.float(), board.expand(len(each), -1)) for each in batches]
            x[part] = torch.cat([torch.cat(torch.std_mean(each, 1), 1) for each in found]).cpu().numpy()
        linear, nearest = LogisticRegression(C=0.05, max_iter=200), KNeighborsClassifier(15, metric="cosine")
        probes, result = {"linear": linear, "nearest": nearest}, {}
        labels = [part.removeprefix("train_") for part in self.data.arrays if part.startswith("train_")]
        for label, (name, probe) in itertools.product(labels, probes.items()):
            y = {part: self.data.arrays[f"{part}_{label}"][:PROBED] for part in x}
            fitted = make_pipeline(StandardScaler(), probe).fit(x["train"], y["train"])
            result[f"{label}, {name}"] = 100 * fitted.score(x["test"], y["test"])
        return result

    def reconstruct(self) -> list[Any]:
        """A varied test sample: as it is; with masked tokens NaN; with masked tokens predicted."""
        some = self.samples["test"][:TESTED].float()
        tokens = some[some.std((1, 2)).argmax()][None]
        masks = self.s.sampler(self.arm, self.data.grid, 99)([0])
        hidden, found, _ = self.predict(tokens, masks, tokens.shape[1])
        if self.s.target == "normalised":
            deviation, mean = torch.std_mean(tokens[:, hidden[0]], -1, keepdim=True)
            found = found * deviation + mean
        shown = tokens.repeat(3, 1, 1)
        shown[1, hidden[0]], shown[2, hidden[0]] = math.nan, found[0]
        return list(shown.cpu().numpy().round(3).tolist())


def run(arm: str, seed: int, masks: dict[str, Any], content: str, s: Settings, *where: int) -> dict[str, Any]:
    """Train one arm, if there are masks to test it under; test it. where: place of its bar, main process."""
    one, saved = Arm(arm, seed, s), FOLDER / f"{joblib.hash((arm, seed, masks, content, s))}.pt"
    found: dict[str, Any] = {"arm": arm, **(one.train(saved, *where) if masks else {})}
    with torch.no_grad():
        losses = {name: one.test(name) for name in masks}
        rows = {name: {QUICK: loss} for name, loss in losses.items()} if arm == "random" else {}
        own = {OWN: losses[arm], COMMON: losses["random"]} if masks else {}
        rows[arm] = own | rows.get(arm, {}) | (one.probes() if s.probe else {})
        if masks and not seed:
            found["sample"] = one.reconstruct()
    rows[arm]["CPU s"] = time.process_time() - one.begun
    saved.unlink(missing_ok=True)
    return found | {"rows": rows}


def run_all(arms: list[str], seeds: int, s: Settings, data: Data, quick: bool) -> list[dict[str, Any]]:
    """Run every arm with every seed, or take what was kept of it: what all of them found."""
    workers, content = workers_for(s, data), joblib.hash(data.arrays)
    kept, jobs = joblib.Memory(FOLDER, verbose=0).cache(run, ignore=["*"]), []
    trained = ["random"] if quick else [*arms, *["untrained"] * s.probe]
    for place, (seed, arm) in enumerate(itertools.product(range(seeds), trained)):
        under = {"random": ["random", *arms], "untrained": []}.get(arm, ["random", arm])
        masks = {name: s.sampler(name, data.grid, seed).config for name in under}
        jobs.append(joblib.delayed(kept)(arm, seed, masks, content, s, 1 + place % workers, os.getpid()))
    results = joblib.Parallel(workers, return_as="generator")(jobs)
    return list(tqdm(results, "arms", len(jobs), unit="arm", disable=None))


def workers_for(s: Settings, data: Data) -> int:
    """How many arms are trained at a time, by cores and free memory; MaskbankError where it is too little."""
    (width, _, depth), _ = VIT_SMALL if s.large else SMALL
    both = s.num_visible + PREDICTED
    need = 4 * 10**8 + 4 * s.batch * (30 * width * (depth * s.num_visible + 2 * both) + 50 * both**2)
    need += sum(array.nbytes for array in data.arrays.values())
    linux, most = Path("/proc/meminfo"), count_workers(None)  # other systems do not say how much is free
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if s.device == "cuda":
        free, most = torch.cuda.mem_get_info()[0], 4
    elif linux.exists():
        free = 1024 * int(linux.read_text().split()[7])
    if need > free:
        raise MaskbankError(
            f"too little memory: an arm takes about {format_bytes(need)}, and {format_bytes(free)} are free; "
            f"give a smaller --batch than {s.batch}, fewer samples or larger patches"
        )
    return int(min(most, free // need))


def foretell(arms: list[str], s: Settings, data: Data) -> Rows:
    """Each arm's difficulty, with the usual covariance and with that of these data, said before training."""
    clips = np.stack([data.whole(tokens) for tokens in data.arrays["train"][:256]])
    tokens = Tokens(clips.shape[1:], data.patch, s.target == "normalised")
    found, rows = measure(opened(clips), tokens, len(clips)), {}
    paper = PAPER[len(data.grid)] if s.task in ("video", "audio") else {}
    for arm in arms:
        masks = s.sampler(arm, data.grid, 3)(range(12)).visible.reshape(-1, *data.grid)
        rows[arm] = {DIFFICULTY: difficulty(masks).mean()}
        rows[arm] |= {MEASURED: difficulty(masks, found.values[0]).mean()}
        rows[arm] |= {PUBLISHED: paper[arm]} if arm in paper else {}
    far = " x ".join(f"{n:.1f}" for n in found.lengths[0])
    said = f"{format_size(data.grid)} tokens, {s.num_visible} visible, which correlate over {far} (to 1/e)"
    click.echo(f"{said}; before training:\n{table([rows])}", err=True)
    return rows


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("task", metavar="video|audio|DATA")
@click.option("--arms", help="Baselines, kinds and banks: tube,green3d,my.h5.")
@click.option("--steps", type=click.IntRange(1), help="Of each arm.  [default: 300; cuda: 10000]")
@click.option("--seeds", type=click.IntRange(1), default=2, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Samples of a step.")
@click.option("--target", type=click.Choice(["raw", "normalised"]), help="[default: raw; cuda: normalised]")
@click.option("--mask-ratio", type=float, help="[default: 0.9 for video, else 0.8]")
@click.option("--patch", help="DATA: values of a token, as 2x16x16.")
@click.option("--labels", type=click.Path(exists=True), help="DATA: a .npy of whole numbers, one a sample.")
@click.option("--no-probe", is_flag=True, help="Losses only.")
@click.option("--quick", is_flag=True, help="Train with random masks alone; test under every arm's masks.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("-o", "--output", type=click.Path(), help="The page.  [default: .pretrain/TASK.png]")
def main(task: str, quick: bool, **given: Any) -> None:
    """Train a small masked autoencoder once for each kind of mask; print a table, draw a page."""
    cuda, made = given["device"] == "cuda", task in ("video", "audio")
    FOLDER.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if cuda and not torch.cuda.is_available():
            raise MaskbankError("--device cuda: torch finds no GPU here; use --device cpu")
        if made and (given["labels"] or given["patch"]):
            raise MaskbankError(f"{task} has labels and patches; give --labels and --patch with DATA")
        s = Settings(
            task if made else os.path.abspath(task), given["steps"] or (10_000 if cuda else 300),
            given["batch"], given["target"] or ("normalised" if cuda else "raw"), given["device"], cuda,
            parse_size(given["patch"]) if given["patch"] else None, given["labels"],
        )  # fmt: skip
        data = load(FOLDER, s.task, s.large, s.patch, s.labels)
        video, ratio = len(data.grid) == 3, given["mask_ratio"] or RATIOS[len(data.grid)]
        visible = maskbank.MaskSampler("tube" if video else "random", data.grid, ratio).num_visible
        probe = len(data.arrays) > 2 and not (given["no_probe"] or quick)
        s = replace(s, num_visible=visible, probe=probe)
        arms = list(dict.fromkeys((given["arms"] or ARMS[len(data.grid)]).split(",")))
        foretold = foretell(arms, s, data)
        found = run_all(arms, given["seeds"], s, data, quick)
    except (MaskbankError, MemoryError) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on", err=True)
        sys.exit(130)
    share = np.median([one["share"] for one in found if "share" in one])
    said = f"losses are shares of the variance of {s.target} targets, after {s.steps:,} steps of {s.batch}"
    rows = [*(one["rows"] for one in found), foretold]
    click.echo(f"{table(rows)}\n- {said}; masks took {share:.2%} of a step")
    page = given["output"] or str(FOLDER / f"{Path(task).stem}.png")
    draw(page, [one for one in found if "sample" in one], data)
    click.echo(f"made {page}", err=True)


if __name__ == "__main__":
    importlib.import_module("pretrain").main()  # other processes know its functions by this name
