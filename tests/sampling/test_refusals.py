"""What a sampler does not take, it says in one line."""

import math
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskbank import (
    Bank,
    BankError,
    MaskSampler,
)
from maskbank.sampling.export import export
from tests.sampling.common import IDS, VIDEO, check_masks, one_line, same

# refusals


@pytest.mark.parametrize(
    "ids, words",
    [
        (-1, ["-1", "0 to 2**63 - 1"]),
        ([3, -7], ["-7", "0 to 2**63 - 1"]),
        (2**63, [str(2**63), "2**63 - 1"]),
        ([1, 2**63], [str(2**63), "2**63 - 1"]),
        (2**64, ["2**63 - 1"]),
        (-(2**63) - 1, ["2**63 - 1"]),
        (np.array([2**64 - 1], np.uint64), [str(2**64 - 1), "2**63 - 1"]),
        (1.0, ["1.0", "whole numbers"]),
        ([0.0, 1.0], ["float64", "whole numbers"]),
        (math.nan, ["nan", "whole numbers"]),
        (True, ["True", "whole numbers"]),
        ([True, False], ["bool", "whole numbers"]),
        (np.True_, ["True", "whole numbers"]),
        ("7", ["7", "whole numbers"]),
        (["7"], ["whole numbers"]),
        (b"7", ["7", "whole numbers"]),
        (None, ["None", "whole numbers"]),
        ([None], ["whole numbers"]),
        ([[1, 2]], ["2 axes", "one for each sample"]),
        ([[1], [2, 3]], ["ids", "one for each sample"]),
        ({1, 2}, ["whole numbers"]),
        (slice(0, 3), ["slice", "whole numbers"]),
    ],
    ids=str,
)
def test_refused_ids(samplers: dict[str, MaskSampler], ids: Any, words: list[str]) -> None:
    sampler = samplers["crop"]
    for call in (lambda: sampler(ids), lambda: sampler.windows(ids), lambda: sampler[ids]):
        one_line(call, *words)


@pytest.mark.parametrize("name", ["epoch", "view"])
@pytest.mark.parametrize("value", [-1, 2**32, 1.0, "0", None, True, [1]], ids=str)
def test_refused_epochs_and_views(samplers: dict[str, MaskSampler], name: str, value: Any) -> None:
    words = [f"{name}={value!r}", f"0 to {2**32 - 1}" if type(value) is int else "whole number"]
    for call in (samplers["crop"], samplers["random"], samplers["crop"].windows):
        one_line(lambda call=call: call(1, **{name: value}), *words)  # type: ignore[misc]


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"mask_ratio": 0}, ["mask_ratio=0", "between 0 and 1"]),
    ({"mask_ratio": 1}, ["mask_ratio=1", "between 0 and 1"]),
    ({"mask_ratio": 1.5}, ["mask_ratio=1.5", "between 0 and 1"]),
    ({"mask_ratio": -0.1}, ["mask_ratio=-0.1", "between 0 and 1"]),
    ({"mask_ratio": 90}, ["mask_ratio=90", "between 0 and 1"]),
    ({"mask_ratio": math.nan}, ["mask_ratio=nan", "between 0 and 1"]),
    ({"mask_ratio": math.inf}, ["mask_ratio=inf", "between 0 and 1"]),
    ({"mask_ratio": 10**400}, ["mask_ratio=inf", "between 0 and 1"]),
    ({"mask_ratio": "most"}, ["'most'", "0.9"]),
    ({"mask_ratio": (0.3, 0.3)}, ["(0.3, 0.3)", "0.9"]),
    ({"mask_ratio": 0.9999}, ["0.9999", "1568", "visible"]),
    ({"mask_ratio": 1e-17}, ["1e-17", "1568", "masked"]),
    ({"mask_ratio": None}, ["mask_ratio", "num_visible"]),
    ({"mask_ratio": 0.9, "num_visible": 156}, ["mask_ratio", "num_visible", "either"]),
    ({"mask_ratio": None, "num_visible": 0}, ["num_visible=0", "1 to 1567"]),
    ({"mask_ratio": None, "num_visible": 1568}, ["num_visible=1568", "1 to 1567"]),
    ({"mask_ratio": None, "num_visible": -5}, ["num_visible=-5", "1 to 1567"]),
    ({"mask_ratio": None, "num_visible": 156.0}, ["num_visible=156.0", "whole number"]),
    ({"mask_ratio": None, "num_visible": True}, ["num_visible=True", "whole number"]),
    ({"mask_ratio": None, "num_visible": 156, "per_frame": True}, ["=156", "8 frames", "multiple of 8"]),
    ({"mask_ratio": 0.001, "per_frame": True}, ["0.001", "196", "masked"]),
    ({"grid": (8, 1, 1), "mask_ratio": 0.9, "per_frame": True}, ["0.9", "frame"]),
    ({"grid": ()}, ["()", "(T, H, W), (H, W) or (L,)"]),
    ({"grid": (1, 2, 3, 4)}, ["(1, 2, 3, 4)", "(T, H, W), (H, W) or (L,)"]),
    ({"grid": 14.0}, ["14.0", "(T, H, W), (H, W) or (L,)"]),
    ({"grid": None}, ["None", "(T, H, W), (H, W) or (L,)"]),
    ({"grid": "8by14"}, ["'8by14'", "(T, H, W), (H, W) or (L,)"]),
    ({"grid": (8, 0, 14)}, ["grid=0", "1 to"]),
    ({"grid": (8, -1, 14)}, ["grid=-1", "1 to"]),
    ({"grid": (8, 14.0, 14)}, ["grid=14.0", "whole number"]),
    ({"grid": (8, True, 14)}, ["grid=True", "whole number"]),
    ({"grid": (1, 1)}, ["1 token"]),
    ({"grid": (8192, 8192)}, ["8192x8192", "16,777,216"]),
    ({"seed": -1}, ["seed=-1", f"0 to {2**64 - 1}"]),
    ({"seed": 2**64}, [f"seed={2**64}", f"0 to {2**64 - 1}"]),
    ({"seed": 1.0}, ["seed=1.0", "whole number"]),
    ({"seed": None}, ["seed=None", "whole number"]),
    ({"fit": "stretch"}, ["fit='stretch'", "crop or resize"]),
    ({"fit": None}, ["fit=None", "crop or resize"]),
    ({"normalize": "all"}, ["normalize='all'", "window or frame"]),
    ({"normalize": True}, ["normalize=True", "window or frame"]),
    ({"per_frame": "no"}, ["per_frame='no'", "neither True nor False"]),
    ({"flip": 1}, ["flip=1", "neither True nor False"]),
    ({"flip_time": None}, ["flip_time=None", "neither True nor False"]),
    ({"transpose": "False"}, ["transpose='False'", "neither True nor False"]),
]  # fmt: skip


@pytest.mark.parametrize("change, words", REFUSED, ids=[str(change)[:50] for change, _ in REFUSED])
def test_refused_parameters(banks: dict[str, Bank], change: dict[str, Any], words: list[str]) -> None:
    parameters: dict[str, Any] = {"grid": VIDEO, "mask_ratio": 0.9} | change
    sources: list[Any] = [banks["green3d"], "random"]
    for bank in sources:
        one_line(lambda bank=bank: MaskSampler(bank, **parameters), *words)  # type: ignore[misc]


def test_items_that_do_not_tile_have_to_be_large_enough(banks: dict[str, Bank]) -> None:
    """Anything not wrap, along any axis, turned windows included; resizing is free."""
    for name, fits, larger in (
        ("reflect", [(9, 20, 21), (20, 21)], [(10, 20, 21), (9, 21, 21), (9, 20, 22), (21, 21), (20, 22)]),
        ("open", [(64, 8), (5, 64, 8)], [(65, 8), (64, 9), (8, 14, 14)]),
    ):
        bank = banks[name]
        size = "x".join(map(str, bank.recipe.size))
        for grid in fits:
            check_masks(MaskSampler(bank, grid, 0.75)(range(5)), MaskSampler(bank, grid, 0.75).num_visible)
        for grid in larger:
            words = ["x".join(map(str, grid)), size, f"boundary {bank.recipe.boundary}", "wrap"]
            one_line(lambda bank=bank, grid=grid: MaskSampler(bank, grid, 0.75), *words)  # type: ignore[misc]
            MaskSampler(bank, grid, 0.75, fit="resize")(range(3))
            MaskSampler(banks["rbn" if name == "open" else "green3d"], grid, 0.75)(range(3))
    one_line(lambda: MaskSampler(banks["reflect"], (9, 20, 21), 0.75, transpose=True), "9x20x21")
    MaskSampler(banks["reflect"], (9, 20, 20), 0.75, transpose=True)(range(9))
    one_line(lambda: MaskSampler(banks["open"], (9, 8), 0.75, transpose=True), "9x8", "64x8")


def test_a_bank_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("not a bank")
    for path in (tmp_path / "nothing.h5", str(tmp_path / "nothing.h5"), tmp_path / "text.h5", tmp_path):
        with pytest.raises(BankError) as caught:
            MaskSampler(path, VIDEO, 0.9)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_bank_is_given_by_path_too(banks: dict[str, Bank], samplers: dict[str, MaskSampler]) -> None:
    for path in (banks["green3d"].path, Path(banks["green3d"].path), os.path.relpath(banks["green3d"].path)):
        same(MaskSampler(path, VIDEO, 0.9)(IDS), samplers["crop"](IDS))


@pytest.mark.parametrize(
    "given, meant",
    [("Tube", "tube"), ("tubes", "tube"), ("RANDOM", "random"), ("running-cells", "running-cell")],
)
def test_a_misspelt_baseline_is_recognised(given: str, meant: str) -> None:
    one_line(lambda: MaskSampler(given, VIDEO, 0.75), repr(given), f"did you mean {meant!r}?", "timefreq")


def test_a_file_named_like_a_baseline_is_a_bank(
    banks: dict[str, Bank], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tubes").symlink_to(banks["green3d"].path)
    assert MaskSampler("tubes", VIDEO, 0.9).bank is not None
    with pytest.raises(BankError, match="nothing"):
        MaskSampler("nothing", VIDEO, 0.9)


@pytest.mark.parametrize("mark", ["mask", "Visible", None, True, ("masked",)])
def test_an_export_marks_what_is_named(mark: Any, tmp_path: Path) -> None:
    sampler = MaskSampler("tube", VIDEO, 0.9)
    one_line(lambda: export(tmp_path / "m.npy", sampler, 3, mark=mark), f"mark={mark!r}", "masked or visible")
    assert not list(tmp_path.iterdir())
    export(tmp_path / "m.npy", sampler, 3, mark="visible")
    np.testing.assert_array_equal(np.load(tmp_path / "m.npy"), sampler(range(3)).visible)


def test_a_single_mask_has_no_length() -> None:
    sampler = MaskSampler("tube", VIDEO, 0.9)
    assert len(sampler([0])) == 1
    with pytest.raises(TypeError, match="a single mask has no length; its grid 8x14x14"):
        len(sampler(0))


def test_a_grid_of_pixels_is_noticed(banks: dict[str, Bank]) -> None:
    """At the caller's line; not where items are as large as the grid, or resized."""
    with pytest.warns(UserWarning, match=r"grid=16x70x70 is larger.*9x20x21.*repeat 3\.5 times.*not pixels"):
        sampler = MaskSampler(banks["green3d"], (16, 70, 70), 0.9)
    with pytest.warns(UserWarning, match="larger than the items") as caught:
        sampler.replace(num_visible=5)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pickle.loads(pickle.dumps(sampler))  # in every worker of a loader
        MaskSampler(banks["green3d"], (9, 20, 21), 0.9)
        MaskSampler(banks["blue2d"], (99, 20, 21), 0.9)


@pytest.mark.parametrize(
    "name, given, windows",
    [
        ("open", {"grid": (64, 8)}, 20 * 4),
        ("open", {"grid": (62, 8), "flip": False}, 20 * 3),
        ("open", {"grid": (20, 6)}, None),
        ("reflect", {"grid": (8, 20, 20)}, 20 * 2 * 2 * 4),
        ("blue2d", {"grid": (20, 21), "fit": "resize"}, 20 * 4),
        ("rbn", {"grid": (62, 8)}, None),
        ("green3d", {"grid": (14, 14)}, None),
    ],
)
def test_a_bank_of_few_windows_is_noticed(
    name: str, given: dict[str, Any], windows: int | None, banks: dict[str, Bank]
) -> None:
    """Items times places times flips."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if windows is None:
            MaskSampler(banks[name], mask_ratio=0.8, **given)
            return
    with pytest.warns(UserWarning, match=f"only {windows:,} different windows"):
        sampler = MaskSampler(banks[name], mask_ratio=0.8, **given)
    assert len({window.tobytes() for window in sampler.windows(range(4000))}) == windows
