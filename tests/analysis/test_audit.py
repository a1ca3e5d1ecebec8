"""The audit finds each failure that is planted, and none in loaders that are right."""

import itertools
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

import maskbank
from maskbank import Bank, MaskSampler, RecipeError
from maskbank.analysis.audit import MOST_BYTES, AuditReport, audit

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]

VIDEO = (8, 14, 14)
AUDIO = (32, 8)
BATCH, BATCHES = 32, 28


class Loader:
    """Batches of what `make` gives for (epoch, number of the batch); shows what a loader's user would see."""

    def __init__(self, make: Callable[[int, int], Any], count: int = BATCHES) -> None:
        self.make, self.count = make, count
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        return (self.make(self.epoch, number) for number in range(self.count))


def ids(number: int) -> range:
    return range(number * BATCH, (number + 1) * BATCH)


def of(sampler: MaskSampler, change: Callable[[Bools], Any] = lambda visible: visible) -> Loader:
    """A loader of this sampler's masks, True where visible, changed."""
    return Loader(lambda epoch, number: change(sampler(ids(number), epoch).visible))


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bank]:
    folder = tmp_path_factory.mktemp("banks")
    recipes: dict[str, tuple[maskbank.Recipe, int]] = {
        "green3d": (maskbank.Green(size=(32, 64, 64)), 48),
        "blue3d": (maskbank.Blue(size=(32, 32, 32)), 16),
        "red3d": (maskbank.Red(size=(32, 32, 32)), 48),
        "rbn": (maskbank.RBN(size=AUDIO, mask_ratio=0.8), 480),
    }
    return {name: maskbank.generate(folder / f"{name}.h5", *given) for name, given in recipes.items()}


def failed(report: AuditReport) -> set[str]:
    assert report["ok"] is report.ok is all(finding["ok"] for finding in report["findings"])
    return {finding.name for finding in report.findings if not finding.ok}


def says(report: AuditReport, name: str) -> str:
    """What is said of a check, with its remedy if it failed."""
    (finding,) = (finding for finding in report["findings"] if finding["name"] == name)
    assert finding["ok"] or finding["remedy"]
    for text in (finding["says"], finding["remedy"]):
        assert "\n" not in text
    return f"{finding['says']} {finding['remedy']}"


# no false alarms

CLEAN: list[tuple[str, tuple[int, ...], float]] = [
    ("green3d", VIDEO, 0.9),
    ("rbn", AUDIO, 0.8),
    ("tube", VIDEO, 0.9),
    ("random", VIDEO, 0.9),
    ("random", (4, 4), 0.75),  # of 1,820 masks, chance repeats many
    ("grid", VIDEO, 0.9),
]
MORE_CLEAN: list[tuple[str, tuple[int, ...], float]] = [
    ("blue3d", VIDEO, 0.9),
    ("blue3d", VIDEO, 0.75),
    ("red3d", VIDEO, 0.9),
    ("green3d", (8, 7, 12), 0.75),
    ("random", (14, 14), 0.75),
]


@pytest.mark.parametrize(
    "name, grid, ratio, seed",
    [
        *((*given, 0) for given in CLEAN),
        *(pytest.param(*given, 0, marks=pytest.mark.full) for given in MORE_CLEAN),
        *(
            pytest.param(*given, seed, marks=pytest.mark.full)
            for given in CLEAN + MORE_CLEAN
            for seed in (1, 2)
        ),
    ],
)
def test_clean_loaders_pass(
    banks: dict[str, Bank], name: str, grid: tuple[int, ...], ratio: float, seed: int
) -> None:
    sampler = MaskSampler(banks.get(name, name), grid, ratio, seed=seed)
    rank = Loader(lambda epoch, number: sampler(np.array(ids(number)) + 10**6, epoch).visible)
    report = audit(of(sampler), grid, ranks=[rank])
    allowed = {"repeats", "epochs", "ranks", "workers"} if name == "grid" else set()  # a lattice has few
    assert failed(report) <= allowed, str(report)
    assert report["num_visible"] == sampler.num_visible
    assert report["masks"] == 3 * BATCHES * BATCH
    assert report["batches"] == 3 * BATCHES
    assert report["ones"] == "visible"
    names = [finding["name"] for finding in report["findings"]]
    assert {"counts", "polarity", "order", "repeats", "workers", "epochs", "ranks", "structure"} <= set(names)
    text = says(report, "structure")
    assert ("none, as of" in text) == (name in ("random", "tube")), text
    assert ("unlike random" in text) == (name not in ("random", "tube")), text


def test_masked_loaders_pass_and_per_frame_ones(banks: dict[str, Bank]) -> None:
    for given in ({"per_frame": True}, {"flip": False}, {"transpose": True}, {"normalize": "frame"}):
        sampler = MaskSampler(banks["green3d"], VIDEO, 0.9, **given)
        report = audit(of(sampler, np.invert), VIDEO, ones="masked", structured=True)
        assert report["ok"], str(report)
    report = audit(of(MaskSampler("random", VIDEO, 0.9, per_frame=True)), VIDEO)
    assert report["ok"], str(report)


def test_masked_and_visible_ones_are_looked_at_alike(banks: dict[str, Bank]) -> None:
    sampler = MaskSampler(banks["green3d"], VIDEO, 0.9)
    visible, masked = audit(of(sampler), VIDEO), audit(of(sampler, np.invert), VIDEO)
    assert masked["measures"] == visible["measures"]
    assert masked["measures"]["time"]["value"] == pytest.approx(0.4, abs=0.05)
    for name in ("counts", "order", "positions", "structure"):
        assert says(masked, name) == says(visible, name)


def test_what_red_noise_does_to_positions_is_no_alarm(banks: dict[str, Bank]) -> None:
    """Its largest values lie at the borders of small windows a little more often, which many masks show."""
    sampler = MaskSampler(banks["red3d"], VIDEO, 0.9)
    many = Loader(lambda epoch, number: sampler(np.arange(2048) + 2048 * number, epoch).visible, 8)
    report = audit(many, VIDEO, epochs=1)
    assert report["ok"], str(report)
    worst = abs(float(says(report, "positions").split("z = ")[1].split()[0]))
    assert worst > 6.0, "beyond chance, though"


# every failure is found


def test_unequal_counts(banks: dict[str, Bank]) -> None:
    sampler = MaskSampler(banks["green3d"], VIDEO, 0.9)
    level = float(np.quantile(sampler.windows(range(64)), 0.9))
    thresholds = Loader(lambda epoch, number: sampler.windows(ids(number), epoch) > level)
    report = audit(thresholds, VIDEO)
    assert failed(report) == {"counts"}
    assert f"within {2 * BATCHES} of {2 * BATCHES} batches" in says(report, "counts")

    other = MaskSampler(banks["green3d"], VIDEO, num_visible=160)
    between = Loader(lambda epoch, number: (sampler, other)[number % 2](ids(number), epoch).visible)
    report = audit(between, VIDEO)
    assert failed(report) == {"counts"}
    assert "between batches, not within: 156 to 160" in says(report, "counts")


def test_polarity(banks: dict[str, Bank]) -> None:
    sampler = MaskSampler(banks["green3d"], VIDEO, 0.9)
    inverted = audit(of(sampler), VIDEO, ones="masked")  # a model that takes True as masked
    assert failed(inverted) == {"polarity"}
    assert "9.9% are 1" in says(inverted, "polarity")
    assert "invert" in says(inverted, "polarity")
    assert failed(audit(of(sampler, np.invert), VIDEO, ones="visible")) == {"polarity"}
    for change, ones in ((np.invert, "masked"), (np.copy, "visible")):
        assert audit(of(sampler, change), VIDEO, ones=ones)["ok"]
        guessed = audit(of(sampler, change), VIDEO)
        assert guessed["ok"]
        assert guessed["ones"] == ones
        assert f"ones={ones!r}" in says(guessed, "polarity")


def test_polarity_below_one_half_is_known_by_the_mask_ratio(banks: dict[str, Bank]) -> None:
    sampler = MaskSampler(banks["green3d"], (8, 7, 12), 0.4)
    masked = of(sampler, np.invert)
    assert failed(audit(masked, (8, 7, 12), ones="masked")) == {"polarity"}
    assert audit(masked, (8, 7, 12), ones="masked", mask_ratio=0.4)["ok"]
    assert failed(audit(masked, (8, 7, 12), ones="visible", mask_ratio=0.4)) == {"polarity"}
    assert audit(masked, (8, 7, 12), mask_ratio=0.4)["ones"] == "masked"
    assert audit(masked, (8, 7, 12))["ones"] == "visible"


@pytest.mark.parametrize("value", [False, True])
def test_masks_of_nothing_or_everything(value: bool) -> None:
    report = audit(Loader(lambda *_: np.full((4, 1568), value)), VIDEO)
    assert failed(report) == {"polarity"}
    assert "nothing wrong" not in str(report)


@pytest.mark.parametrize("name", ["green3d", "blue3d", "red3d", "tube"])
@pytest.mark.parametrize("axes", [(1, 2, 0), (2, 1, 0)])
def test_time_fastest(banks: dict[str, Bank], name: str, axes: tuple[int, ...]) -> None:
    sampler = MaskSampler(banks.get(name, name), VIDEO, 0.9)

    def wrong(visible: Bools) -> Array:
        return visible.reshape(-1, *VIDEO).transpose(0, *(1 + axis for axis in axes)).reshape(-1, 1568)

    report = audit(of(sampler, wrong), VIDEO)
    assert "order" in failed(report), str(report)
    assert "x T, tokens" in says(report, "order")
    assert "flatten the masks with T slowest and W fastest" in says(report, "order")


def test_height_and_width_swapped(banks: dict[str, Bank]) -> None:
    grid = (8, 7, 12)
    for name in ("green3d", "red3d"):
        sampler = MaskSampler(banks[name], grid, 0.9)

        def swapped(visible: Bools) -> Array:
            return visible.reshape(-1, *grid).swapaxes(2, 3).reshape(-1, 8 * 7 * 12)

        report = audit(of(sampler, swapped), grid)
        assert "order" in failed(report), str(report)
        assert "read as T x W x H" in says(report, "order")


def test_time_and_frequency_swapped(banks: dict[str, Bank]) -> None:
    sampler = MaskSampler(banks["rbn"], AUDIO, 0.8)
    report = audit(of(sampler, lambda v: v.reshape(-1, *AUDIO).swapaxes(1, 2).reshape(-1, 256)), AUDIO)
    assert "order" in failed(report)


def test_the_same_masks_every_epoch(banks: dict[str, Bank]) -> None:
    sampler = MaskSampler(banks["green3d"], VIDEO, 0.9)
    report = audit(Loader(lambda _, number: sampler(ids(number)).visible), VIDEO)
    assert failed(report) == {"epochs"}
    assert f"{BATCHES * BATCH} of {BATCHES * BATCH}" in says(report, "epochs")

    shuffled = Loader(lambda epoch, number: sampler(np.array(ids(number))[::-1] + 448 * epoch).visible)
    report = audit(shuffled, VIDEO)
    assert failed(report) == {"epochs"}
    assert f"448 of {BATCHES * BATCH}" in says(report, "epochs")


def test_an_epoch_that_is_set_where_the_user_would(banks: dict[str, Bank]) -> None:
    """On a loader's dataset, sampler or collate_fn; without it, the epochs are found to be alike."""
    sampler = MaskSampler(banks["green3d"], VIDEO, 0.9)

    class Wrapped:
        def __init__(self, owner: str) -> None:
            setattr(self, owner, of(sampler))

        def __iter__(self) -> Iterator[Any]:
            (owner,) = vars(self).values()
            return iter(owner)

    for owner in ("dataset", "sampler", "batch_sampler", "collate_fn"):
        report = audit(Wrapped(owner), VIDEO)
        assert report["ok"], str(report)
        assert f"set_epoch of {owner} was called, as training must" in says(report, "epochs")
    assert failed(audit(Wrapped("nothing"), VIDEO)) == {"epochs"}


@pytest.mark.parametrize("workers", [2, 3, 4, 7])
def test_workers_alike(workers: int) -> None:
    """The classic: forked workers share NumPy's global state, so each gives the same masks."""

    def loader() -> Iterator[Array]:
        states = [np.random.default_rng(0) for _ in range(workers)]
        for number in range(BATCHES):
            scores = states[number % workers].random((BATCH, 196))
            yield scores.argsort(1)[:, :49]

    report = audit(loader(), (14, 14))
    assert failed(report) == {"repeats", "workers"}
    assert f"as of {workers} workers" in says(report, "workers")
    assert "of the same place 1 batch" in says(report, "workers")


def test_batches_that_come_again() -> None:
    masks = [MaskSampler("random", VIDEO, 0.9)(ids(number)).visible for number in range(9)]
    report = audit(Loader(lambda epoch, number: masks[number % 9]), VIDEO)
    assert failed(report) == {"repeats", "workers", "epochs"}
    assert "100% of the masks are those of the same place 9 batch" in says(report, "workers")


def test_one_mask_for_the_whole_batch() -> None:
    sampler = MaskSampler("random", VIDEO, 0.9)
    one = Loader(lambda epoch, number: np.repeat(sampler([number], epoch).visible, BATCH, 0), 200)
    report = audit(one, VIDEO)
    assert failed(report) == {"repeats"}
    assert "6,200 of 6,400" in says(report, "repeats")
    assert "(6,200 in their own batch)" in says(report, "repeats")


def test_a_constant_mask() -> None:
    mask = MaskSampler("random", VIDEO, 0.9)([7]).visible
    report = audit(Loader(lambda *_: np.repeat(mask, BATCH, 0)), VIDEO)
    assert failed(report) == {"repeats", "epochs"}
    assert set(report["not_looked_at"]) == {"ranks", "positions", "structure"}


def test_ranks_alike(banks: dict[str, Bank]) -> None:
    sampler = MaskSampler(banks["green3d"], VIDEO, 0.9)
    report = audit(of(sampler), VIDEO, ranks=[of(sampler)])
    assert failed(report) == {"ranks"}
    assert f"{BATCHES * BATCH} of {BATCHES * BATCH} masks of 2 ranks" in says(report, "ranks")
    half = Loader(lambda epoch, number: sampler(np.array(ids(number)) + 448, epoch).visible)
    assert failed(audit(of(sampler), VIDEO, ranks=[half])) == {"ranks"}
    other = Loader(lambda epoch, number: sampler(np.array(ids(number)) + 10**6, epoch).visible)
    report = audit(of(sampler), VIDEO, ranks=[other, other])
    assert failed(report) == {"ranks"}
    assert f"{BATCHES * BATCH} of {2 * BATCHES * BATCH:,} masks of 3 ranks" in says(report, "ranks")


def test_positions_at_reflecting_edges() -> None:
    """Noise filtered on the grid itself with SciPy's default: its corners are louder."""

    def masks(epoch: int, number: int) -> Array:
        noise = np.random.default_rng((epoch, number)).standard_normal((BATCH, *VIDEO))
        smooth = ndimage.gaussian_filter(noise, (0, 1, 1, 1), mode="reflect").reshape(BATCH, -1)
        visible = np.zeros(smooth.shape, bool)
        np.put_along_axis(visible, np.argpartition(-smooth, 156, 1)[:, :156], True, 1)
        return visible

    report = audit(Loader(masks), VIDEO)
    assert failed(report) == {"positions"}
    assert "boundary wrap" in says(report, "positions")


@pytest.mark.parametrize("levels", [*(pytest.param(few, marks=pytest.mark.full) for few in (4, 64)), 256])
def test_positions_by_ties(levels: int) -> None:
    """MAE's argsort of noise of few levels: the first of equals win."""

    def masks(epoch: int, number: int) -> Array:
        noise = np.random.default_rng((epoch, number)).integers(0, levels, (BATCH, 1568), np.uint8)
        return noise.argsort(1, kind="stable")[:, :156]

    report = audit(Loader(masks, 200), VIDEO, epochs=1)
    assert failed(report) == {"positions"}, str(report)
    assert "less often" in says(report, "positions")


def test_a_position_that_is_always_visible() -> None:
    def masks(epoch: int, number: int) -> Array:
        scores = np.random.default_rng((epoch, number)).random((BATCH, 196))
        scores[:, 0] = 0
        return scores.argsort(1)[:, :20]

    report = audit(Loader(masks), (14, 14))
    assert failed(report) == {"positions"}
    assert "(0, 0): visible in 100.0% of masks, 10.2% expected" in says(report, "positions")


def test_structure_that_was_lost_by_resizing(banks: dict[str, Bank]) -> None:
    sampler = MaskSampler(banks["green3d"], VIDEO, 0.9, fit="resize")
    small = Loader(of(sampler).make, 8)  # whole items are read
    for structured in (None, True):
        report = audit(small, VIDEO, epochs=1, structured=structured)
        assert "structure" in failed(report), str(report)
        assert failed(report) <= {"structure", "repeats"}  # 48 items, flipped in 4 ways, are all there is
        assert "fit='crop'" in says(report, "structure")


def test_structure_that_is_not_there() -> None:
    loader = of(MaskSampler("random", VIDEO, 0.9))
    assert failed(audit(loader, VIDEO, structured=True)) == {"structure"}
    guessed = audit(loader, VIDEO)
    assert guessed["ok"]
    assert "if structure was meant, it is lost" in says(guessed, "structure")
    assert "note  structure" in str(guessed)
    meant = audit(loader, VIDEO, structured=False)
    assert "meant" not in says(meant, "structure")


# what loaders give


def forms(sampler: MaskSampler) -> dict[str, tuple[Callable[[int, int], Any], dict[str, Any]]]:
    """What a batch may be, and what must be said of it."""

    def visible(epoch: int, number: int) -> Bools:
        return sampler(ids(number), epoch).visible

    def keep(epoch: int, number: int) -> Array:
        return sampler(ids(number), epoch).ids_keep

    clips = np.zeros((BATCH, 3, 4, 4), np.float32)
    labels = np.arange(BATCH)
    return {
        "bools": (visible, {}),
        "grids": (lambda *at: visible(*at).reshape(-1, *VIDEO), {}),
        "float": (lambda *at: visible(*at).astype(np.float32), {}),
        "uint8": (lambda *at: visible(*at).astype(np.uint8), {}),
        "ids_keep": (keep, {}),
        "Masks": (lambda epoch, number: sampler(ids(number), epoch), {}),
        "tuple": (lambda *at: (clips, labels, visible(*at)), {}),
        "nested": (lambda *at: ([clips, labels], {"mask": visible(*at)}), {}),
        "dict": (lambda *at: {"pixel_values": clips, "bool_masked_pos": ~visible(*at)}, {}),
        "padding": (lambda *at: {"attention": np.ones((BATCH, 1568)), "mask": visible(*at)}, {}),
        "index": (lambda *at: (visible(*at), ~visible(*at)), {"mask": 1}),
        "key": (lambda *at: {"a": visible(*at), "b": ~visible(*at)}, {"mask": "b"}),
        "function": (lambda *at: [clips, [keep(*at)], [keep(*at)]], {"mask": lambda b: b[1][0]}),
        "key of more": (lambda *at: {"a": [clips, visible(*at)], "b": ~visible(*at)}, {"mask": "a"}),
        "dense before listed": (lambda *at: (clips, keep(*at), visible(*at)), {}),
    }


FORMS = sorted(forms(MaskSampler("tube", VIDEO, 0.9)))


@pytest.mark.parametrize("name", FORMS)
def test_forms(name: str) -> None:
    make, given = forms(MaskSampler("tube", VIDEO, 0.9))[name]
    report = audit(Loader(make, 4), VIDEO, **given)
    assert report["ok"], str(report)
    assert report["num_visible"] == 160
    assert report["measures"]["time"]["value"] == 1.0
    assert report["place"].startswith("mask(batch)" if name == "function" else "batch")


def test_single_masks() -> None:
    sampler = MaskSampler("tube", VIDEO, 0.9)
    for single in (lambda v: v[0], lambda v: v[0].reshape(VIDEO)):
        report = audit(of(sampler, single), VIDEO)
        assert report["ok"], str(report)
        assert report["masks"] == 2 * BATCHES


def test_a_generator_is_read_once() -> None:
    report = audit(iter(of(MaskSampler("tube", VIDEO, 0.9))), "8x14x14")
    assert report["ok"]
    assert report["masks"] == BATCHES * BATCH
    assert "only once" in report["not_looked_at"]["epochs"]
    assert "epochs     not looked at" in str(report)


def test_no_more_batches_are_taken_than_asked_for() -> None:
    taken: list[int] = []

    def make(epoch: int, number: int) -> Bools:
        taken.append(number)
        return MaskSampler("tube", VIDEO, 0.9)(ids(number), epoch).visible

    report = audit(Loader(make, 10**9), VIDEO, batches=3, epochs=3)
    assert taken == [0, 1, 2] * 3
    assert report["batches"] == 9


def test_the_page() -> None:
    sampler = MaskSampler("tube", VIDEO, 0.9)
    page = str(audit(of(sampler), VIDEO, ones="masked"))
    assert page.startswith("1,792 masks of 8x14x14 in 56 batches; found in batch\n")
    assert "\nALARM polarity" in page
    assert "\nok    counts     160 visible tokens in every mask\n" in page
    assert page.endswith("1 of 8 checks failed")
    assert len(page.splitlines()) < 20
    assert str(audit(of(sampler), VIDEO)).endswith("8 checks, nothing wrong")


def test_no_frameworks_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "matplotlib", "jax"):
        monkeypatch.setitem(sys.modules, name, None)
    audit([MaskSampler("random", (4, 4), 0.5)(range(9)).visible], (4, 4))


# refusals

PERMUTATION = np.tile(np.arange(1568), (4, 1))


@pytest.mark.parametrize(
    "batch, given, words",
    [
        (
            [np.zeros((4, 3, 16, 32)), "name"],
            {},
            ["no masks were found", "[0] float64 (4, 3, 16, 32)", "str"],
        ),
        ([np.zeros((4, 1568)), np.ones((4, 8, 14, 14))], {}, ["2 things look like", "[0], [1]", "mask="]),
        (np.zeros((4, 14, 14, 8)), {}, ["the order of axes", "(4, 14, 14, 8)"]),
        (np.full((4, 1568), 0.5), {}, ["float64 (4, 1568) from 0.5 to 0.5", "0 and 1"]),
        (np.full((4, 1568), np.nan), {}, ["nan", "0 and 1"]),
        (PERMUTATION, {}, ["int64 (4, 1568) from 0 to 1567", "tokens"]),
        (np.full((4, 3), 1568), {"mask": lambda b: b}, ["from 1568 to 1568", "tokens"]),
        (np.full((4, 3), -1), {"mask": lambda b: b}, ["from -1 to -1"]),
        (np.zeros((0, 1568), bool), {}, ["gave no masks"]),
        (np.zeros((4, 156), int), {"mask": lambda b: b}, ["different tokens"]),
        (np.zeros((4, 1568)), {"ranks": 5}, ["ranks=5", "list of the loaders"]),
        (np.zeros((4, 1568)), {"structured": "yes"}, ["structured='yes'"]),
        ({"a": 1}, {"mask": "b"}, ["batch 0 has no ['b']", "['a'] int64"]),
        ((1, 2), {"mask": 5}, ["batch 0 has no [5]"]),
        ((), {}, ["no masks were found", "nothing"]),
        (np.zeros((4, 1568)), {"mask": 1.5}, ["mask=1.5", "index", "key", "function"]),
        (np.zeros((4, 1568)), {"mask": True}, ["mask=True"]),
        (np.zeros((4, 1568)), {"ones": "kept"}, ["ones='kept'", "masked or visible"]),
        (np.zeros((4, 1568)), {"batches": 0}, ["batches=0"]),
        (np.zeros((4, 1568)), {"epochs": 0}, ["epochs=0"]),
        (np.zeros((4, 1568)), {"mask_ratio": 1.5}, ["mask_ratio=1.5"]),
    ],
)
def test_refusals(batch: Any, given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        audit([batch], VIDEO, **given)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


def test_loaders_that_are_none() -> None:
    for loader, words in [
        ([], "no masks"),
        ("bank.h5", "str gives no batches"),
        ({"a": np.zeros((4, 1568), bool)}, "dict gives no batches"),
        (7, "int gives no batches"),
        (MaskSampler("random", VIDEO, 0.9), "MaskSampler gives no batches"),
    ]:
        with pytest.raises(RecipeError, match=words):
            audit(loader, VIDEO)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="a loader of ranks"):
        audit(of(MaskSampler("random", VIDEO, 0.9)), VIDEO, ranks=[[]])
    with pytest.raises(RecipeError, match="grid"):
        audit([np.zeros((2, 4))], (1, 1, 2, 2))


def test_what_a_list_cannot_tell_is_not_looked_at() -> None:
    sampler = MaskSampler("random", VIDEO, 0.9)
    batches = [sampler(ids(number)).visible for number in range(10)]
    report = audit([*batches, batches[0][:0]], VIDEO)  # the last one is empty
    assert "same in every epoch" in report["not_looked_at"]["epochs"]
    assert report["batches"] == 10
    assert report["ok"], str(report)


def test_a_mask_of_which_nothing_is_masked_is_an_unequal_count() -> None:
    masks = MaskSampler("random", VIDEO, 0.9)(range(16)).visible
    masks[3] = True
    report = audit([masks] * 3, VIDEO, epochs=1)
    assert "counts" in failed(report)


def test_a_tube_of_random_frames_is_no_structure() -> None:
    sampler = MaskSampler("tube", VIDEO, 0.9)
    report = audit([sampler(ids(number)).visible for number in range(10)], VIDEO, structured=True)
    assert failed(report) == {"structure"}
    assert "tube masks, repeated over time" in says(report, "structure")


def test_later_batches_that_differ() -> None:
    mask = MaskSampler("random", VIDEO, 0.9)(range(4)).visible
    with pytest.raises(RecipeError, match=r"batch 1 has no masks at batch\['m'\].* float64 \(2, 3\)"):
        audit([{"m": mask}, {"m": np.zeros((2, 3))}], VIDEO)
    with pytest.raises(RecipeError, match=r"batch 1 has no masks at batch\[1\], as batch 0 has"):
        audit([(1, mask), (1,)], VIDEO)
    with pytest.raises(RecipeError, match=r"batch 1 has no masks at batch\['m'\]"):
        audit([{"m": mask}, 5], VIDEO)


@pytest.mark.parametrize("grid", [(1, 1, 8), (1, 4), (1, 7, 7), (2, 1, 1), (3, 1, 5)])
@pytest.mark.parametrize("count", [1, 2, 70])
def test_tiny_grids_and_few_masks(grid: tuple[int, ...], count: int) -> None:
    rng = np.random.default_rng(0)
    tokens = math.prod(grid)
    for kept in {1, tokens - 1}:
        masks = rng.permuted(np.tile(np.arange(tokens) < kept, (count, 1)), axis=1)
        assert str(audit([masks, masks], grid))
        assert str(audit(iter([masks]), grid))


def test_an_audit_takes_seconds() -> None:
    sampler = MaskSampler("tube", VIDEO, 0.9)
    masks = [sampler(range(128), epoch).visible for epoch in range(200)]
    report = audit(iter(masks), VIDEO)  # more than are looked at for positions
    assert report["masks"] == report["different"] == 25_600 > MOST_BYTES // 1568


# PyTorch


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_torch_loaders(banks: dict[str, Bank]) -> None:
    torch = pytest.importorskip("torch")
    from maskbank.adapters.pytorch import MaskedDataset, Output

    sampler = MaskSampler(banks["green3d"], VIDEO, 0.9)
    outputs: tuple[Output, ...] = ("masked", "visible", "ids_keep")
    for output, workers in itertools.product(outputs, (0, 2)):
        dataset = MaskedDataset(torch.zeros(512, 3), sampler, output)
        loader = torch.utils.data.DataLoader(dataset, batch_size=16, shuffle=True, num_workers=workers)
        ones = "masked" if output == "masked" else "visible"
        report = audit(loader, VIDEO, ones=ones, structured=True)
        assert report["ok"], str(report)
        assert "set_epoch of dataset was called" in says(report, "epochs")

    class Classic(torch.utils.data.Dataset):  # type: ignore[name-defined,misc]
        """Draws its masks from NumPy's global generator, as many do; a worker seeds it, or nobody does."""

        def __len__(self) -> int:
            return 512

        def __getitem__(self, index: int) -> Any:
            return torch.zeros(3), torch.from_numpy(np.random.rand(1568).argsort() < 156)  # noqa: NPY002

    def same(worker: int) -> None:
        np.random.seed(0)  # noqa: NPY002

    loader = torch.utils.data.DataLoader(Classic(), batch_size=8, num_workers=4, worker_init_fn=same)
    report = audit(loader, VIDEO)
    assert failed(report) == {"repeats", "workers", "epochs"}, str(report)
    assert "as of 4 workers" in says(report, "workers")

    for dtype in (torch.bool, torch.bfloat16, torch.float16, torch.int64):
        masks = torch.from_numpy(sampler(range(64)).masked).to(dtype)
        assert audit([(torch.zeros(64, 3), masks)], VIDEO, epochs=1)["num_visible"] == 156
