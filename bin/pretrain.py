"""Trains a small masked autoencoder once for each kind of mask, and shows what the kind changes.

Arms share seeds, data order and initial weights. Masks come from maskbank.MaskSampler alone. On a CPU each
core trains one arm. What is done is kept in the folder .pretrain: the same command goes on.
"""

import hashlib
import json
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pretrain_data
import torch
from pretrain_model import SMALL, VIT_SMALL, MaskedAutoencoder, moments, pick
from pretrain_report import DIFFICULTY, EVERY, MEASURED, PUBLISHED, draw, table
from tqdm import tqdm

import maskbank
from maskbank.adapters.device import DeviceMasks
from maskbank.analysis.clips import Tokens, measure, opened
from maskbank.analysis.fit import IMAGES, PAPER, RATIOS
from maskbank.analysis.structure import difficulty
from maskbank.checks import check_ratio, count_visible, format_bytes, format_size, parse_size
from maskbank.errors import MaskbankError
from maskbank.recipes import KINDS, recipe_for

FOLDER = Path(".pretrain").absolute()
ARMS = {3: "tube,random,blue3d,green3d,red3d,green2d", 2: "random,blue2d,rbn,green2d,red2d"}
PREDICTED = 64  # masked tokens of a sample that are predicted in a step
Job = tuple[str, int, list[str], Path]  # arm, seed, masks to test it under, file of results
TESTED, PROBED = 512, 2048  # samples of a loss, and of a probe, at most


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

    def data(self) -> pretrain_data.Data:
        return pretrain_data.load(FOLDER, self.task, 128 if self.large else 80, self.patch, self.labels)

    def sampler(self, arm: str, grid: tuple[int, ...], seed: int) -> maskbank.MaskSampler:
        """The masks of an arm: a baseline, a bank's path, or a kind with options, as red3d:sigma=0.5x1."""
        kind, *options = arm.split(":")
        bank: Any = arm
        if kind in KINDS:
            pairs = (option.partition("=") for option in options)
            numbers = {name: tuple(map(float, value.split("x"))) for name, _, value in pairs}
            recipe = recipe_for(kind, **{name: v * 2 if len(v) == 1 else v for name, v in numbers.items()})
            bank = maskbank.generate(FOLDER / f"{arm}.h5", recipe, 256 if len(recipe.size) == 3 else 2048)
        return maskbank.MaskSampler(bank, grid, num_visible=self.num_visible, seed=seed)


class Arm:
    """One model, trained with one kind of mask and one seed."""

    def __init__(self, arm: str, seed: int, s: Settings) -> None:
        self.arm, self.seed, self.s, self.data = arm, seed, s, s.data()
        self.data.samples = {part: x.to(s.device) for part, x in self.data.samples.items()}
        torch.manual_seed(seed)
        sizes = VIT_SMALL if s.large else SMALL
        self.model = MaskedAutoencoder(self.data.grid, self.data.values, sizes).to(s.device)

    def train(self, steps: Any) -> dict[str, Any]:
        """Train: the curve of losses, the share of a step that masks take, and which masks they were."""
        s, data, losses = self.s, self.data, []
        sampler, count = s.sampler(self.arm, data.grid, self.seed), len(data.samples["train"])
        on_device = DeviceMasks(sampler, s.device) if s.large and sampler.bank else None
        rate = 6e-4 if s.large else 2e-3
        optimizer = torch.optim.AdamW(self.model.parameters(), rate, betas=(0.9, 0.95), weight_decay=0.05)
        start = time.perf_counter()
        for step in steps:
            epoch, place = divmod(step, max(count // s.batch, 1))
            ids = np.random.default_rng([self.seed, epoch]).permutation(count)[place * s.batch :][: s.batch]
            masks = on_device(len(ids)) if on_device else sampler(ids, epoch)
            warm_up, cosine = (step + 1) / (0.08 * s.steps), 0.5 * (1 + math.cos(math.pi * step / s.steps))
            optimizer.param_groups[0]["lr"] = rate * min(warm_up, cosine + 0.01)
            rng = np.random.default_rng([self.seed, epoch, place])
            loss = self.loss(data.tokens(ids, rng), masks, step)[0].mean()
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
        share = (time.perf_counter() - middle) / EVERY / ((middle - start) / s.steps)
        return {"curve": curve, "share": share, "masks": sampler.config}

    def split(self, masks: Any, seed: int, count: int) -> tuple[Any, Any]:
        """The visible tokens, and some of the masked ones: int64 (B, V) and (B, count)."""
        keep, masked = (torch.as_tensor(x, device=self.s.device) for x in (masks.ids_keep, masks.masked))
        order = torch.rand(masked.shape, generator=torch.Generator().manual_seed(int(seed))).to(self.s.device)
        count = min(count, masked.shape[1] - keep.shape[1])
        return keep, order.masked_fill(~masked, -1.0).topk(count).indices

    def loss(self, tokens: Any, masks: Any, seed: int) -> tuple[Any, Any]:
        """Squared error of each sample, and the targets."""
        keep, wanted = self.split(masks, seed, PREDICTED)
        target = pick(tokens, wanted)
        if self.s.target == "normalised":
            mean, deviation = moments(target)
            target = (target - mean) / deviation
        with torch.autocast(torch.device(self.s.device).type, torch.bfloat16, enabled=self.s.large):
            found = self.model(tokens, keep, wanted)
        return (found.float() - target).square().mean((1, 2)), target

    def batches(self, part: str, most: int) -> Iterator[tuple[Any, Any]]:
        """Numbers and tokens of the first samples."""
        for ids in torch.arange(min(most, len(self.data.samples[part]))).split(self.s.batch):
            yield ids.numpy(), self.data.tokens(ids, part=part)

    def test(self, arm: str) -> float:
        """The loss on test samples under an arm's masks, as a share of the targets' variance."""
        sampler = self.s.sampler(arm, self.data.grid, 99)
        found = [self.loss(x, sampler(ids), ids[0]) for ids, x in self.batches("test", TESTED)]
        errors, targets = (torch.cat(each) for each in zip(*found, strict=True))
        return float(errors.mean() / targets.var())

    def features(self, part: str) -> Any:
        """Mean and spread of the encoder's features over a chessboard of tokens: (N, 2 * width)."""
        board = torch.from_numpy(np.flatnonzero(np.indices(self.data.grid).sum(0) % 2 == 0)).to(self.s.device)
        found = [self.model.encode(x, board.expand(len(x), -1)) for _, x in self.batches(part, PROBED)]
        return torch.cat([torch.cat([each.mean(1), each.std(1)], 1) for each in found]).cpu().numpy()

    def probes(self) -> dict[str, float]:
        """Accuracy on test labels, in percent, of a linear probe and of 15 nearest neighbours."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.preprocessing import StandardScaler

        found, scaler = {}, StandardScaler().fit(self.features("train"))
        x, test_x = (scaler.transform(self.features(part)) for part in ("train", "test"))
        linear, nearest = LogisticRegression(C=0.05, max_iter=200), KNeighborsClassifier(15, metric="cosine")
        for label in self.data.labels:
            y, test_y = (self.data.arrays[f"{part}_{label}"] for part in ("train", "test"))
            for name, probe in {f"{label}, linear": linear, f"{label}, nearest": nearest}.items():
                found[name] = 100 * probe.fit(x, y[: len(x)]).score(test_x, test_y[: len(test_x)])
        return found

    def reconstruct(self) -> Any:
        """A varied test sample twice, (2, L, values): masked tokens NaN, and masked tokens predicted."""
        _, some = next(self.batches("test", TESTED))
        tokens = some[some.std((1, 2)).argmax()][None]
        keep, hidden = self.split(self.s.sampler(self.arm, self.data.grid, 99)([0]), 0, tokens.shape[1])
        mean, deviation = moments(pick(tokens, hidden)) if self.s.target == "normalised" else (0.0, 1.0)
        both = tokens.repeat(2, 1, 1)
        both[0, hidden[0]] = math.nan
        both[1, hidden[0]] = (self.model(tokens, keep, hidden) * deviation + mean)[0]
        return both.cpu().numpy()


def run(place: int, arm: str, seed: int, under: list[str], path: Path, s: Settings) -> None:
    """Train one arm, if there are masks to test it under; test it; keep what is found."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a worker without a word
    begun, one = time.process_time(), Arm(arm, seed, s)
    found: dict[str, Any] = {"arm": arm, "seed": seed, "sample": None}
    if under:
        name = f"{arm}, seed {seed}"
        found |= one.train(tqdm(range(s.steps), name, leave=False, disable=None, position=place))
    with torch.no_grad():
        found["losses"] = {name: one.test(name) for name in under}
        found["probes"] = one.probes() if s.probe else {}
        if under and not seed:
            found["sample"] = one.reconstruct().round(3).tolist()
    found["cpu"] = time.process_time() - begun
    path.with_suffix(".partial").write_text(json.dumps(found))
    path.with_suffix(".partial").replace(path)


def run_all(jobs: list[Job], s: Settings, workers: int) -> list[dict[str, Any]]:
    """Run the jobs that are not done, so many at a time: what all of them found."""
    os.environ["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // workers))  # of each
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    todo = [job for job in jobs if not job[-1].exists()]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        each = [pool.submit(run, 1 + k % workers, *job, s) for k, job in enumerate(todo)]
        try:
            for future in tqdm(as_completed(each), "arms", len(each), unit="arm", disable=None):
                future.result()
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    return [json.loads(job[-1].read_text()) for job in jobs]


def jobs_of(arms: list[str], seeds: int, s: Settings, grid: tuple[int, ...], quick: bool) -> list[Job]:
    """What is to be done, each with a file of results that is named after all that decides them."""
    jobs: list[Job] = []
    changed = os.path.getmtime(s.task) if os.path.exists(s.task) else 0
    for seed in range(seeds):
        for arm in ["random"] if quick else [*arms, *["untrained"] * s.probe]:
            tested = ["random", *(arms if arm == "random" else [arm])]
            under = [] if arm == "untrained" else list(dict.fromkeys(tested))
            masks = [s.sampler(name, grid, seed).config for name in under]
            key = hashlib.sha256(json.dumps([astuple(s), changed, arm, seed, masks]).encode()).hexdigest()
            jobs.append((arm, seed, under, FOLDER / f"{key[:12]}.json"))
    return jobs


def workers_for(s: Settings, data: pretrain_data.Data) -> int:
    """How many arms are trained at a time, by cores and free memory; MaskbankError where it is too little."""
    width, depth = (VIT_SMALL if s.large else SMALL)[:2]
    seen, both = s.num_visible, s.num_visible + PREDICTED
    kept = 30 * width * (depth * seen + 2 * both) + 12 * (depth * seen**2 + 4 * both**2)
    need = 4 * 10**8 + 4 * s.batch * (3 * math.prod(data.grid) * data.values + kept)
    if s.device == "cpu":
        free, most = 1024 * int(Path("/proc/meminfo").read_text().split()[7]), len(os.sched_getaffinity(0))
    else:
        need += sum(x.nbytes for x in data.samples.values())
        free, most = torch.cuda.mem_get_info()[0], 4
    if need > free:
        raise MaskbankError(
            f"too little memory: an arm takes about {format_bytes(need)}, and {format_bytes(free)} are free; "
            f"give a smaller --batch than {s.batch}, larger patches or shorter clips"
        )
    return min(most, int(free // need))


def predict(arms: list[str], s: Settings, data: pretrain_data.Data) -> dict[str, dict[str, float]]:
    """Each arm's difficulty, with the usual covariance and with that of these data, said before training."""
    some = data.tokens(np.arange(min(256, len(data.samples["train"])))).numpy()
    clips = np.stack([data.whole(each) for each in some])
    found = measure(opened(clips), Tokens(clips.shape[1:], data.patch, s.target == "normalised"), len(clips))
    rows = {}
    for arm in arms:
        masks = s.sampler(arm, data.grid, 3)(range(12)).visible.reshape(-1, *data.grid)
        each = {DIFFICULTY: difficulty(masks), MEASURED: difficulty(masks, found.values)}
        rows[arm] = {name: float(values.mean()) for name, values in each.items()}
        paper = PAPER[len(data.grid)] if s.task in ("video", "audio") else {}
        rows[arm] |= {PUBLISHED: paper[arm]} if arm in paper else {}
    lengths = " x ".join(f"{n:.1f}" for n in found.lengths)
    order = sorted(arms, key=lambda arm: rows[arm][MEASURED])
    click.echo(
        f"{format_size(data.grid)} tokens, {s.num_visible} visible; they correlate over {lengths} (to 1/e); "
        f"before training, easiest first: {', '.join(order)}", err=True,
    )  # fmt: skip
    return rows


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("task", metavar="video|audio|DATA")
@click.option("--arms", help="Baselines, kinds with options, banks: tube,green3d,red3d:sigma=0.5x1,my.h5.")
@click.option("--steps", type=click.IntRange(1), help="Of each arm.  [default: 300; 10000 with cuda]")
@click.option("--seeds", type=click.IntRange(1), default=2, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Samples of a step.")
@click.option(
    "--target", type=click.Choice(["raw", "normalised"]), help="[default: raw, on a GPU normalised]"
)
@click.option("--mask-ratio", type=float, help="[default: 0.9 for video, 0.8, 0.75 for images]")
@click.option("--patch", help="DATA: values of a token, as 2x16x16.")
@click.option("--labels", type=click.Path(exists=True), help="DATA: a .npy of whole numbers, one a sample.")
@click.option("--no-probe", is_flag=True, help="Losses only.")
@click.option("--quick", is_flag=True, help="Train with random masks alone; test under every arm's masks.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("-o", "--output", type=click.Path(), help="The page.  [default: .pretrain/TASK.png]")
def main(task: str, quick: bool, **given: Any) -> None:
    """Train a small masked autoencoder once for each kind of mask; print a table, draw a page.

    \b
    bin/pretrain audio --arms random,rbn,blue2d --seeds 3
    bin/pretrain clips.npy --patch 2x16x16 --arms tube,green3d
    """
    cuda, made = given["device"] == "cuda", task in ("video", "audio")
    FOLDER.mkdir(exist_ok=True)
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
        data = s.data()
        grid, images = data.grid, data.samples["train"].ndim == 4
        video, cells = len(grid) == 3, math.prod(grid[1:])
        ratio = check_ratio(given["mask_ratio"] or (RATIOS[3] if video else IMAGES if images else RATIOS[2]))
        per_frame = (cells - int(ratio * cells)) * grid[0]  # as many as a tube shows
        visible = per_frame if video else count_visible(math.prod(grid), ratio)
        s = replace(s, num_visible=visible, probe=bool(data.labels) and not given["no_probe"] and not quick)
        workers, arms = workers_for(s, data), (given["arms"] or ARMS[len(grid)]).split(",")
        predicted = predict(arms, s, data)
        found = run_all(jobs_of(arms, given["seeds"], s, grid, quick), s, workers)
    except MaskbankError as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on", err=True)
        sys.exit(130)
    shares = [one["share"] for one in found if "share" in one]
    click.echo(
        f"{table(found, predicted)}\n- losses are shares of the variance of {s.target} targets, after "
        f"{s.steps:,} steps of {s.batch}; masks took {np.median(shares):.2%} of a step"
    )
    page = given["output"] or str(FOLDER / f"{Path(task).stem}.png")
    draw(page, found, data)
    click.echo(f"made {page}", err=True)


if __name__ == "__main__":
    main()
