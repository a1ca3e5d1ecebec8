"""Recipes: what is refused and in which words, what they are as JSON, and the fingerprint."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from maskbank import checks, recipes
from maskbank.bank.layout import Content
from maskbank.errors import MaskbankError, RecipeError
from maskbank.recipes import COLOURS, KINDS, RBN, VARIANTS, Blue, Green, Purple, Recipe, Red, White

NAN, INF = float("nan"), float("inf")


def fingerprint(recipe: Recipe, seed: int, n: int, first: int = 0) -> str:
    return Content(recipe, seed, n, first).fingerprint


def made(cls: type[Recipe], **given: Any) -> Recipe:
    return cls(**given)


def refusal(function: Callable[..., Any], *args: Any, **given: Any) -> str:
    """The one line with which something is refused."""
    with pytest.raises(RecipeError) as caught:
        function(*args, **given)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) > 20
    return message


def test_recipe_errors_are_maskbank_and_value_errors() -> None:
    """So a caller may catch either."""
    assert issubclass(RecipeError, MaskbankError)
    assert issubclass(RecipeError, ValueError)


def test_kinds_are_five_colours_in_one_to_three_dimensions() -> None:
    """The table holds each kind under its own name, with the default size."""
    assert set(COLOURS) == {
        f"{c}{d}d" for c in ("white", "red", "blue", "green", "purple") for d in (1, 2, 3)
    }
    for kind, (cls, size) in COLOURS.items():
        assert cls(size=size).kind == kind
        assert size == {1: (1024,), 2: (64, 64), 3: (64, 64, 64)}[int(kind[-2])]


def test_a_stretch_is_in_the_json_only_where_it_stretches() -> None:
    """So that the fingerprints of all banks stay what they are."""
    plain = Green(size=(8, 8, 8))
    assert "stretch" not in plain.to_dict()
    assert Green(size=(8, 8, 8), stretch=(1, 1, 1)) == Green(size=(8, 8, 8), stretch="1x1x1") == plain  # type: ignore[arg-type]
    assert fingerprint(plain, 0, 5) == fingerprint(plain.from_dict(plain.to_dict()), 0, 5)
    assert dataclasses.replace(plain, size=(8, 8)).stretch == (1.0, 1.0)
    stretched = Green(size=(8, 8, 8), stretch="2x1x1.5")  # type: ignore[arg-type]
    assert stretched.to_dict()["stretch"] == [2.0, 1.0, 1.5]
    assert recipes.from_json("green3d", json.dumps(stretched.to_dict())) == stretched
    assert fingerprint(stretched, 0, 5) != fingerprint(plain, 0, 5)
    for cls in (White, RBN):
        assert "stretch" not in {field.name for field in dataclasses.fields(cls)}


@pytest.mark.parametrize(
    "cls, given, words",
    [
        (Green, {"stretch": (2, 1)}, "give a factor for each of the 3 axes of an item, as 2x1x1"),
        (Green, {"stretch": "2x"}, "stretch='2x' is not a stretch"),
        (Green, {"stretch": (0, 1, 1)}, "is not a stretch"),
        (Green, {"stretch": (NAN, 1, 1)}, "is not a stretch"),
        (Green, {"stretch": (INF, 1, 1)}, "is not a stretch"),
        (Green, {"stretch": 2}, "is not a stretch"),
        (Green, {"stretch": (30, 1, 1)}, "stretch=30x1x1 makes sigma2=3 90 along T; for green"),
        (Blue, {"stretch": (1, 1, 0.5)}, "makes sigma=0.4 0.2 along W; for blue noise it is 0.3 to"),
        (Red, {"size": (9, 9), "stretch": (1, 0.2)}, "makes sigma=0.4 0.08 along W; for red noise"),
    ],
)  # fmt: skip
def test_a_stretch_beyond_what_kernels_can_is_refused(
    cls: type[Recipe], given: dict[str, Any], words: str
) -> None:
    assert words in refusal(cls, **given)


@pytest.mark.parametrize("cls", [White, Red, Blue, Green, Purple])
def test_defaults(cls: type[Recipe]) -> None:
    """64x64x64 halves that wrap around, with the sigmas the README gives."""
    recipe = cls()
    assert (recipe.size, recipe.dtype, recipe.boundary) == ((64, 64, 64), "float16", "wrap")
    assert (
        recipe.ranges
        == {
            "white": (),
            "red": ((0.4, 3.0),),
            "blue": ((0.4, 1.5),),
            "green": ((0.4, 1.5), (1.4, 3.0)),
            "purple": ((0.4, 1.5), (1.4, 3.0)),
        }[recipe.colour]
    )


def test_variants_are_table_a1() -> None:
    """Rows 1 to 5 of Table A.1, and section 3.2's ranges."""
    assert VARIANTS == {
        "1": {"sigma1": (0.5, 0.5), "sigma2": (2.0, 2.0)},
        "2": {"sigma1": (1.5, 1.5), "sigma2": (3.0, 3.0)},
        "3": {"sigma1": (0.5, 1.5), "sigma2": (2.0, 3.0)},
        "4": {"sigma1": (0.2, 1.7), "sigma2": (0.8, 2.3)},
        "5": {"sigma1": (0.4, 1.5), "sigma2": (1.4, 3.0)},
        "main": {"sigma1": (0.5, 2.0), "sigma2": (0.5, 2.0)},
    }


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_makes_green_and_purple(name: str) -> None:
    """Green takes a row as it stands; purple too, but for the part of variant 4 that it cannot use."""
    assert recipes.variant("green", name) == VARIANTS[name]
    made(Green, **recipes.variant("green", name))
    purple = recipes.variant("purple", name)
    made(Purple, **purple)
    expected = VARIANTS[name] if name != "4" else {"sigma1": (0.3, 1.7), "sigma2": (0.8, 2.3)}
    assert purple == expected


@pytest.mark.parametrize("kind", COLOURS)
def test_json_round_trip(kind: str) -> None:
    """A bank's attributes give back the recipe it was made from, and the text is canonical."""
    cls, size = COLOURS[kind]
    sigma: dict[str, Any] = dict(zip(cls.sigma_names, [(0.35, 0.7), (0.9, 2.25)], strict=False))
    for recipe in (
        cls(size=size),
        made(cls, size=(3, *size[1:]), dtype="uint8", boundary="reflect", **sigma),
    ):
        text = recipes.canonical_json(recipe.to_dict())
        again = recipes.from_json(kind, text)
        assert again == recipe
        assert type(again) is cls
        assert recipes.canonical_json(again.to_dict()) == text
        assert recipes.from_json(kind, json.dumps(recipe.to_dict(), indent=3)) == recipe
        assert " " not in text


def test_json_knows_every_field_and_no_other() -> None:
    """What decides an item is in the JSON: nothing could change without the fingerprint noticing."""
    for cls, size in COLOURS.values():
        recipe = cls(size=size)
        assert set(recipe.to_dict()) == {"size", "dtype", "boundary", *cls.sigma_names}


GREEN = Green().to_dict()


@pytest.mark.parametrize(
    "kind, text, words",
    [
        ("mauve3d", "{}", ["'mauve3d'", "green3d"]),
        ("green3d", "{", ["JSON"]),
        ("green3d", "[" * 100_000, ["JSON"]),
        ("green3d", "[1]", ["JSON object"]),
        ("green3d", "null", ["JSON object"]),
        ("green3d", json.dumps({**GREEN, "sigma3": [1, 2]}), ["'sigma3'", "sigma1, sigma2"]),
        ("green3d", json.dumps({k: v for k, v in GREEN.items() if k != "sigma2"}), ["'sigma2'"]),
        ("green3d", json.dumps({k: v for k, v in GREEN.items() if k != "size"}), ["'size'"]),
        ("green2d", json.dumps(GREEN), ["green3d", "green2d"]),
        ("white3d", json.dumps(GREEN), ["'sigma1'", "white"]),
        ("green3d", json.dumps({**GREEN, "size": "big"}), ["'big'", "64x64x64"]),
        ("green3d", json.dumps({**GREEN, "size": None}), ["None"]),
        ("green3d", json.dumps({**GREEN, "size": [64, 64.5, 64]}), ["64.5", "whole"]),
        ("green3d", json.dumps({**GREEN, "sigma1": "wide"}), ["'wide'", "two numbers"]),
        ("green3d", json.dumps({**GREEN, "sigma1": None}), ["sigma1=None", "two numbers"]),
        ("green3d", json.dumps({**GREEN, "sigma1": {"low": 1}}), ["sigma1=", "two numbers"]),
        ("green3d", json.dumps({**GREEN, "sigma1": [0.5, NAN]}), ["sigma1=nan"]),
        ("green3d", json.dumps({**GREEN, "dtype": 16}), ["16", "float16"]),
        ("green3d", json.dumps({**GREEN, "dtype": ["float16"]}), ["float16"]),
        ("green3d", json.dumps({**GREEN, "boundary": {}}), ["wrap"]),
    ],
)
def test_bad_json_is_refused(kind: str, text: str, words: list[str]) -> None:
    """Attributes of a foreign or damaged file end in one line, never in another exception."""
    message = refusal(recipes.from_json, kind, text)
    for word in words:
        assert word in message


def test_fingerprint_is_frozen() -> None:
    """Known answers: a bank that was named in a paper keeps its name."""
    assert fingerprint(Green(), seed=0, n=10_000) == "bce9a5e6db82"
    assert fingerprint(Red(size=(8, 9)), seed=2**64 - 1, n=1, first=5) == "e42cb80b0b15"


def test_fingerprint_is_a_sha256_of_canonical_json() -> None:
    """The contract, spelt out once more: kind, recipe, seed, first, n and the numbers' version."""
    text = (
        '{"first":2,"kind":"red2d","n":7,"numbers_version":1,"recipe":{"boundary":"wrap","dtype":"float16",'
        '"sigma":[0.4,3.0],"size":[8,9]},"seed":5}'
    )
    expected = hashlib.sha256(text.encode()).hexdigest()[:12]
    assert fingerprint(Red(size=(8, 9)), seed=5, n=7, first=2) == expected


def test_fingerprint_changes_with_everything() -> None:
    """Kind, each field of the recipe, seed, n, first: no two share a fingerprint."""
    base = Green()
    prints = [
        fingerprint(base, 0, 10),
        fingerprint(base, 1, 10),
        fingerprint(base, 0, 11),
        fingerprint(base, 0, 10, 1),
        fingerprint(Purple(), 0, 10),
        fingerprint(White(), 0, 10),
        fingerprint(Red(), 0, 10),
        fingerprint(Blue(), 0, 10),
        *(
            fingerprint(dataclasses.replace(base, **change), 0, 10)
            for change in (
                {"size": (64, 64)},
                {"size": (64, 64, 65)},
                {"dtype": "float32"},
                {"dtype": "uint8"},
                {"boundary": "reflect"},
                {"sigma1": (0.4, 1.4)},
                {"sigma1": (0.5, 1.5)},
                {"sigma2": (1.4, 3.1)},
                {"sigma2": (1.5, 3.0)},
            )
        ),
    ]
    assert len(set(prints)) == len(prints)
    assert all(re.fullmatch("[0-9a-f]{12}", text) for text in prints)


def test_fingerprint_does_not_depend_on_spelling() -> None:
    """The same recipe written in other types is the same recipe."""
    spelt: list[Recipe] = [
        made(Green, size="64x64x64", sigma1=(0.4, 1.5)),
        made(Green, size=[64, np.int64(64), 64], sigma1=[np.float64(0.4), 1.5]),
        made(Green, size=np.array([64, 64, 64]), sigma2=(1.4, 3)),
    ]
    for recipe in spelt:
        assert recipe == Green()
        assert fingerprint(recipe, 3, 4) == fingerprint(Green(), 3, 4)
    one = made(Red, sigma=2)
    assert one == made(Red, sigma=(2.0, 2.0)) == made(Red, sigma=2.0)
    assert fingerprint(one, 0, 1) == fingerprint(made(Red, sigma=(2, 2)), 0, 1)


@pytest.mark.parametrize("value", [0, 0.0, -1, -0.4, NAN, INF, -INF, 0.05, 64.001, 1e30])
@pytest.mark.parametrize(
    "cls, name", [(Red, "sigma"), (Blue, "sigma"), (Green, "sigma1"), (Purple, "sigma2")]
)
def test_sigma_out_of_range_is_refused(cls: type[Recipe], name: str, value: float) -> None:
    """As a single number, as LO and as HI; the message names it and what is allowed."""
    for given in (value, (value, 2.0), (2.0, value), (value, value)):
        message = refusal(made, cls, **{name: given})
        assert f"{name}={value:g}" in message
        assert "64" in message
        assert ("0.3" if cls in (Blue, Purple) else "0.1") in message


@pytest.mark.parametrize("cls, name", [(Blue, "sigma"), (Purple, "sigma1"), (Purple, "sigma2")])
def test_sigma_at_which_nothing_is_left_is_refused(cls: type[Recipe], name: str) -> None:
    """w - G w needs 0.3; red and green, which are no complements, do not."""
    message = refusal(made, cls, **{name: (0.29, 1.0)})
    assert f"{name}=0.29" in message
    assert "0.3" in message
    made(Blue, sigma=0.3)
    made(Purple, sigma1=0.3)
    made(Red, sigma=0.1)
    made(Green, sigma1=0.1)
    made(Red, sigma=64)


def test_range_in_the_wrong_order_is_refused() -> None:
    """LO above HI."""
    message = refusal(made, Red, sigma=(3.0, 0.4))
    assert "sigma" in message
    assert "3" in message
    assert "0.4" in message


@pytest.mark.parametrize(
    "value", [(), (1.0,), (1.0, 2.0, 3.0), "1 2", ("a", "b"), None, object(), 1j, [[1, 2]]]
)
def test_what_is_no_range_is_refused(value: Any) -> None:
    """Two numbers, or one."""
    assert "sigma" in refusal(made, Red, sigma=value)


@pytest.mark.parametrize("cls", [Green, Purple])
@pytest.mark.parametrize(
    "sigma1, sigma2",
    [(2.0, 1.0), (1.0, 1.0), (1.0, 1.04), ((2.0, 3.0), (0.5, 1.5)), ((1.0, 1.5), 1.0), (2.0, (0.5, 2.04))],
)
def test_sigmas_that_can_never_be_in_order_are_refused(cls: type[Recipe], sigma1: Any, sigma2: Any) -> None:
    """Rather than drawn for ever."""
    message = refusal(made, cls, sigma1=sigma1, sigma2=sigma2)
    assert "sigma1=" in message
    assert "sigma2=" in message
    assert "0.05" in message


@pytest.mark.parametrize(
    "sigma1, sigma2",
    [
        ((0.3, 0.3), (0.35, 0.3500000001)),  # as float32 0.04999998 apart
        (0.3, 0.35),
        ((0.3, 0.3000000001), 0.35),
        ((0.3, 0.3), (0.35, 0.35000000895)),  # one draw in millions rounds up
    ],
)
def test_sigmas_that_float32_never_tells_apart_are_refused(sigma1: Any, sigma2: Any) -> None:
    """Draws are float32; also where a file holds such a recipe."""
    message = refusal(made, Green, sigma1=sigma1, sigma2=sigma2)
    assert "hardly ever lies 0.05 below" in message
    forged = Green().to_dict() | {
        name: list(value) if isinstance(value, tuple) else [value, value]
        for name, value in (("sigma1", sigma1), ("sigma2", sigma2))
    }
    assert refusal(recipes.from_json, "green3d", json.dumps(forged)) == message


def test_sigmas_that_float32_just_tells_apart_are_taken() -> None:
    made(Green, sigma1=0.3, sigma2=(0.35, 0.3500001))
    made(Green, sigma1=0.3, sigma2=(0.35, 0.3501))
    made(Green, sigma1=(1.0, 2.0), sigma2=(1.0, 1.0521))  # 0.2 % of all pairs


@pytest.mark.parametrize("cls", [Green, Purple])
def test_a_variant_gives_the_sigmas_and_is_not_stored(cls: type[Recipe]) -> None:
    for name in VARIANTS:
        recipe = made(cls, size=(8, 8), variant=name)
        assert recipe == made(cls, size=(8, 8), **recipes.variant(cls.colour, name))
        assert "variant" not in recipe.to_dict()
        assert recipes.from_json(recipe.kind, json.dumps(recipe.to_dict())) == recipe
        assert dataclasses.replace(recipe, size=(9, 9)).ranges == recipe.ranges
    for name in ("sigma1", "sigma2"):
        message = refusal(made, cls, variant="1", **{name: 2.0})
        assert f"variant sets sigma1 and sigma2; give it or {name}, not both" in message
    assert "1, 2, 3, 4, 5 or main" in refusal(made, cls, variant="6")


@pytest.mark.parametrize(
    "sigma1, sigma2",
    [(1.0, 1.0501), ((0.5, 2.0), (0.5, 2.0)), ((1.0, 2.0), 1.5), (1.0, (0.5, 2.0)), ((0.5, 3), (1.0, 1.2))],
)
def test_sigmas_that_can_be_in_order_are_taken(sigma1: Any, sigma2: Any) -> None:
    """Overlapping ranges are fine."""
    made(Green, sigma1=sigma1, sigma2=sigma2)


@pytest.mark.parametrize(
    "size, words",
    [
        ((4, 4, 4, 4), ["size=(4, 4, 4, 4)", "(T, H, W)"]),
        ((), ["size=()", "(T, H, W)"]),
        ((0, 64, 64), ["size=0", "1 to"]),
        ((64, -3), ["size=-3", "1 to"]),
        ((2**28 + 1, 1), [str(2**28 + 1)]),
        ((2**14, 2**15), ["16384x32768", "268,435,456"]),
        ((1024, 1024, 1024), ["1024x1024x1024", "268,435,456"]),
        ((10**30, 2), ["1" + "0" * 30]),
        ((64, 64.0), ["64.0", "whole"]),
        ((64, "64"), ["'64'", "whole"]),
        ((64, True), ["True", "whole"]),
        ((64, None), ["None", "whole"]),
        (64.0, ["size=64.0", "(L,)"]),
        (True, ["True", "whole"]),
        (0, ["size=0", "1 to"]),
        (None, ["size=None"]),
        ("64x", ["'64x'", "64x64x64"]),
        ("64x64x-1", ["'64x64x-1'", "64x64x64"]),
        ("0x4", ["size=0"]),
        ("4 4", ["'4 4'"]),
        ("", ["''"]),
    ],
)
@pytest.mark.parametrize("cls", [White, Green])
def test_bad_size_is_refused(cls: type[Recipe], size: Any, words: list[str]) -> None:
    """One to three whole numbers, with 2**28 voxels at most."""
    message = refusal(made, cls, size=size)
    for word in words:
        assert word in message


HUGE = 10**5000  # Python writes no whole number of more than 4,300 digits


@pytest.mark.parametrize(
    "cls, given",
    [
        (Green, {"size": (HUGE, 4)}),
        (Green, {"size": "4" * 5000 + "x4"}),
        (Green, {"sigma1": (HUGE, HUGE)}),
        (Green, {"sigma2": HUGE}),
        (Green, {"stretch": (HUGE, 1, 1)}),
        (RBN, {"size": (HUGE, 4)}),
        (RBN, {"mask_ratio": HUGE}),
        (RBN, {"masks_per_set": HUGE}),
        (RBN, {"masks_per_set": -HUGE}),
        (RBN, {"window": (3, HUGE)}),
        (RBN, {"window": (3, 5, 7.5, HUGE)}),
        (RBN, {"weights": (HUGE, 1, 1, 1)}),
    ],
)
def test_numbers_of_thousands_of_digits_are_refused(cls: type[Recipe], given: dict[str, Any]) -> None:
    """In one short line, as any other number that is too large."""
    message = refusal(made, cls, **given)
    assert f"{next(iter(given))}" in message
    assert len(message) < 300


def test_json_with_numbers_of_thousands_of_digits_is_refused() -> None:
    text = json.dumps(GREEN).replace("64", "6" * 5000, 1)
    assert len(refusal(recipes.from_json, "green3d", text)) < 300


@pytest.mark.parametrize("size", [(1,), (1, 1), (1, 1, 1)])
def test_single_voxel(size: tuple[int, ...]) -> None:
    """A difference of Gaussians is nothing there; white and red are fine."""
    differences: tuple[type[Recipe], ...] = (Blue, Green, Purple)
    for cls in differences:
        assert "x".join("1" * len(size)) in refusal(made, cls, size=size)
    others: tuple[type[Recipe], ...] = (White, Red)
    for cls in others:
        assert made(cls, size=size).size == size


@pytest.mark.parametrize("size", [500, np.int64(500), (500,), [500], "500", np.array([500])], ids=repr)
def test_a_single_axis(size: Any) -> None:
    """Given as a number or as a size of one axis; the same recipe, of a 1D kind."""
    recipe = made(Green, size=size)
    assert recipe == Green(size=(500,))
    assert recipe.kind == "green1d"
    assert recipes.recipe_for("green1d", size=size) == recipe
    assert recipes.recipe_for("rbn", size=size) == RBN(size=(500,))
    assert recipes.recipe_for("rbn").size == (64, 8)


def test_largest_size_is_taken() -> None:
    """2**28 voxels exactly."""
    assert made(Green, size=(2**14, 2**14)).size == (2**14, 2**14)
    assert made(White, size=(2**28, 1)).size == (2**28, 1)


def test_size_in_words() -> None:
    """As the command line has it, and back."""
    assert checks.parse_size("8x14x14") == (8, 14, 14)
    assert checks.parse_size(" 8X14 ") == (8, 14)
    assert checks.parse_size("64×8") == (64, 8)
    assert checks.format_size((8, 14, 14)) == "8x14x14"


@pytest.mark.parametrize("value", ["float64", "half", "", "FLOAT16", None, 16, np.float16, ["float16"], {}])
def test_bad_dtype_is_refused(value: Any) -> None:
    """The message lists the three there are."""
    message = refusal(made, Green, dtype=value)
    for word in ("dtype=", repr(value), "float16", "float32", "uint8"):
        assert word in message


@pytest.mark.parametrize("value", ["mirror", "Wrap", "", None, 0])
def test_bad_boundary_is_refused(value: Any) -> None:
    """The message lists the two there are."""
    message = refusal(made, Red, boundary=value)
    for word in ("boundary=", repr(value), "wrap", "reflect"):
        assert word in message


@pytest.mark.parametrize("value", ["6", "0", "Main", "", 1, None])
def test_bad_variant_is_refused(value: Any) -> None:
    """The message lists the six there are."""
    message = refusal(recipes.variant, "green", value)
    for word in ("variant=", repr(value), "1, 2, 3, 4, 5 or main"):
        assert word in message


@pytest.mark.parametrize("value", [-1, 2**64, 10**40, 0.0, 1.5, "0", None, True, NAN, [1]])
def test_bad_seed_is_refused(value: Any) -> None:
    """0 to 2**64 - 1, whole."""
    message = refusal(checks.check_seed, value)
    assert f"seed={value!r}" in message
    assert "whole number" in message or f"0 to {2**64 - 1}" in message


@pytest.mark.parametrize("value", [0, -5, 2**48 + 1, 10**40, 1.0, "3", None, False, INF])
def test_bad_n_is_refused(value: Any) -> None:
    """1 to 2**48, whole."""
    message = refusal(checks.check_n, value)
    assert f"n={value!r}" in message
    assert "whole number" in message or f"1 to {2**48}" in message


@pytest.mark.parametrize("value", [0, -1, 10**6, 1.5, "2", True])
def test_bad_workers_are_refused(value: Any) -> None:
    """A whole number from 1 on."""
    assert f"workers={value!r}" in refusal(checks.count_workers, value)


def test_numpy_integers_are_whole_numbers() -> None:
    """And become Python's, so JSON takes them."""
    for check in (checks.check_seed, checks.check_n, checks.count_workers):
        assert type(check(np.uint64(7))) is int
    assert checks.check_seed(np.uint64(2**64 - 1)) == 2**64 - 1
    assert checks.check_seed(2**64 - 1) == 2**64 - 1
    assert checks.check_n(2**48) == 2**48


def test_recipes_are_frozen_and_hashable() -> None:
    """A recipe that has been checked stays what it is."""
    recipe = Green()
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.dtype = "uint8"  # type: ignore[misc]
    assert hash(recipe) == hash(Green())
    assert recipe != Purple()


def test_recipes_take_keywords_only() -> None:
    """No one can confuse the order of parameters."""
    green: Any = Green
    with pytest.raises(TypeError):
        green((8, 8))


# Regularised blue noise


def test_rbn_defaults() -> None:
    """As for AudioMAE, and Table A.2's windows and weights; as many masks in a set as fit."""
    recipe = RBN()
    assert recipe.to_dict() == {
        "size": [64, 8],
        "dtype": "uint16",
        "boundary": "wrap",
        "mask_ratio": 0.8,
        "masks_per_set": 5,
        "window": [3, 5],
        "weights": [0.4, 0.4, 0.1, 0.1],
        "init": "zeros",
        "ties": "random",
    }
    assert recipe.kind == "rbn"
    assert KINDS["rbn"] == (RBN, (64, 8))
    assert set(KINDS) == {*COLOURS, "rbn"}
    assert (recipe.num_visible, recipe.placed) == (102, 102)
    assert recipe.ranges == ()


@pytest.mark.parametrize(
    "size, ratio, visible, placed, masks",
    [
        ((64, 8), 0.9, 51, 51, 10),
        ((64, 8), 0.5, 256, 256, 2),
        ((64, 8), 0.3, 358, 154, 3),
        ((64, 8), 0.01, 506, 6, 85),
        ((64, 8), 0.998, 1, 1, 512),
        ((5, 3), 0.5, 7, 7, 2),
        ((5, 3), 0.46, 8, 7, 2),
        ((1, 2), 0.5, 1, 1, 2),
    ],
)
def test_rbn_counts(size: tuple[int, ...], ratio: float, visible: int, placed: int, masks: int) -> None:
    """V as Algorithm 2 counts it; the fewer of visible and masked are placed; all masks share the grid."""
    recipe = RBN(size=size, mask_ratio=ratio, window=(1,))
    assert (recipe.num_visible, recipe.placed, recipe.masks_per_set) == (visible, placed, masks)
    assert RBN(size=size, mask_ratio=ratio, window=(1,), masks_per_set=1).masks_per_set == 1
    message = refusal(made, RBN, size=size, mask_ratio=ratio, window=1, masks_per_set=masks + 1)
    assert f"masks_per_set={masks + 1}" in message
    assert f"{masks} is the largest that fits" in message
    assert f"each has {placed} of {size[0] * size[1]}" in message
    assert ("masked patch" if visible > placed else "visible patch") in message


def test_rbn_json_round_trip() -> None:
    """With every field other than its default."""
    other = {
        "size": (300, 256), "dtype": "uint32", "boundary": "open", "mask_ratio": 0.3, "masks_per_set": 2,
        "window": (1, 7, 255), "weights": (1.0, 0.25, 0.0, 0.1), "init": "blue", "ties": "first",
    }  # fmt: skip
    assert set(other) == {field.name for field in dataclasses.fields(RBN)}
    for recipe in (RBN(), made(RBN, **other)):
        text = recipes.canonical_json(recipe.to_dict())
        again = recipes.from_json("rbn", text)
        assert again == recipe
        assert type(again) is RBN
        assert recipes.canonical_json(again.to_dict()) == text
    for name, value in other.items():
        assert getattr(again, name) == value != getattr(RBN(), name)


@pytest.mark.parametrize(
    "kind, changes, words",
    [
        ("rbn", {"sigma": [1, 2]}, ["'sigma'", "masks_per_set"]),
        ("green2d", {}, ["'init'", "sigma1"]),
        ("rbn", {"window": None}, ["window=None"]),
        ("rbn", {"window": "wide"}, ["window", "'w'"]),
        ("rbn", {"weights": {"a": 1}}, ["weights"]),
        ("rbn", {"weights": None}, ["weights=None", "four"]),
        ("rbn", {"mask_ratio": None}, ["mask_ratio=None", "0.9"]),
        ("rbn", {"mask_ratio": [0.8]}, ["mask_ratio=", "0.8"]),
        ("rbn", {"masks_per_set": 2.0}, ["masks_per_set=2.0", "whole"]),
        ("rbn", {"masks_per_set": "2"}, ["masks_per_set='2'", "whole"]),
        ("rbn", {"refine": 0}, ["unknown 'refine'"]),
        ("rbn", {"init": ["white"]}, ["zeros"]),
        ("rbn", {"ties": {}}, ["random"]),
        ("rbn", {"size": [8, 8, 8]}, ["8x8x8", "64x8"]),
    ],
)
def test_bad_rbn_json_is_refused(kind: str, changes: dict[str, Any], words: list[str]) -> None:
    """One line, never another exception."""
    message = refusal(recipes.from_json, kind, json.dumps({**RBN().to_dict(), **changes}))
    for word in words:
        assert word in message


def test_rbn_fingerprint_is_frozen() -> None:
    """A known answer, and the text it comes from."""
    text = (
        '{"first":0,"kind":"rbn","n":10000,"numbers_version":1,"recipe":{"boundary":"wrap","dtype":"uint16",'
        '"init":"zeros","mask_ratio":0.8,"masks_per_set":5,"size":[64,8],"ties":"random",'
        '"weights":[0.4,0.4,0.1,0.1],"window":[3,5]},"seed":0}'
    )
    assert fingerprint(RBN(), 0, 10_000) == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert fingerprint(RBN(), 0, 10_000) == "aca805234014"


def test_rbn_fingerprint_changes_with_every_field_and_with_no_spelling() -> None:
    base = RBN()
    changes: list[dict[str, Any]] = [
        {"size": (8, 64)}, {"boundary": "open"}, {"mask_ratio": 0.81}, {"masks_per_set": 4},
        {"window": (3,)}, {"weights": (0.4, 0.4, 0.1, 0.2)}, {"init": "white"}, {"init": "blue"},
        {"ties": "first"},
    ]  # fmt: skip
    prints = [fingerprint(dataclasses.replace(base, **change), 0, 10) for change in ({}, *changes)]
    assert len(set(prints)) == len(prints)
    spelt: list[dict[str, Any]] = [
        {"size": "64x8"}, {"size": np.array([64, 8])}, {"dtype": "uint16"}, {"masks_per_set": np.int64(5)},
        {"mask_ratio": np.float64(0.8)}, {"window": [5, 3]}, {"window": np.array([3, 5])},
        {"weights": np.array([0.4, 0.4, 0.1, 0.1])}, {"weights": [0.4, 0.4, 0.1, 0.1]},
    ]  # fmt: skip
    for given in spelt:
        assert made(RBN, **given) == base
        assert fingerprint(made(RBN, **given), 0, 10) == prints[0]
    assert made(RBN, window=5) == RBN(window=(5,))
    assert made(RBN, weights=(1, 1, 0, 0)) == RBN(weights=(1.0, 1.0, 0.0, 0.0))


@pytest.mark.parametrize(
    "weights, whole",
    [
        ((0.4, 0.4, 0.1, 0.1), (4, 4, 1, 1)),
        ((4, 4, 1, 1), (4, 4, 1, 1)),
        ((1, 1, 1, 1), (1, 1, 1, 1)),
        ((0.25, 0.25, 0.25, 0.25), (1, 1, 1, 1)),
        ((1e6, 1e6, 0, 0), (1, 1, 0, 0)),
        ((1e-9, 0, 0, 0), (1, 0, 0, 0)),
        ((0.37, 0.41, 0.11, 0.11), (37, 41, 11, 11)),
        ((0.1, 0.2, 0.3, 0.7), (1, 2, 3, 7)),
        ((1.5, 0, 0, 1), (3, 0, 0, 2)),
    ],
)
def test_rbn_weights_become_whole_numbers(weights: tuple[float, ...], whole: tuple[int, ...]) -> None:
    """The smallest of the same proportions, as they are written in decimals."""
    assert RBN(weights=weights).whole_weights == whole


@pytest.mark.parametrize(
    "given, words",
    [
        ({"masks_per_set": 6}, ["masks_per_set=6", "5 is the largest"]),
        ({"masks_per_set": 2**48}, ["masks_per_set=281474976710656", "5 is the largest"]),
        ({"masks_per_set": 0}, ["masks_per_set=0", "1 to"]),
        ({"masks_per_set": -2}, ["masks_per_set=-2", "1 to"]),
        ({"masks_per_set": 2.5}, ["masks_per_set=2.5", "whole"]),
        ({"masks_per_set": True}, ["masks_per_set=True", "whole"]),
        ({"mask_ratio": 0.3, "masks_per_set": 4}, ["masks_per_set=4", "3 is the largest", "masked"]),
        ({"window": (4,)}, ["window=4", "even", "odd"]),
        ({"window": (3, 2)}, ["window=2", "even"]),
        ({"window": 0}, ["window=0", "1 to"]),
        ({"window": (3, -5)}, ["window=-5", "1 to"]),
        ({"window": 65}, ["window=65", "64x8", "at most 64"]),
        ({"window": (3, 10**9 + 1)}, ["window=1000000001"]),
        ({"window": (3, 5, 3)}, ["window=(3, 3, 5)", "twice"]),
        ({"window": ()}, ["window=()", "no window"]),
        ({"window": 3.0}, ["window=3.0"]),
        ({"window": (3.0,)}, ["window=3.0", "whole"]),
        ({"window": "3"}, ["window='3'", "whole"]),
        ({"window": len}, ["window=", "whole"]),
        ({"weights": (0.4, -0.1, 0.1, 0.1)}, ["weights=-0.1", "0 or more"]),
        ({"weights": (0.4, NAN, 0.1, 0.1)}, ["weights=nan", "0 or more"]),
        ({"weights": (INF, 0.1, 0.1, 0.1)}, ["weights=inf"]),
        ({"weights": (1e7, 0.1, 0.1, 0.1)}, ["weights=1e+07"]),
        ({"weights": (0, 0, 0, 0)}, ["weights", "all zero", "above 0"]),
        ({"weights": (0.4, 0.4, 0.1)}, ["(0.4, 0.4, 0.1)", "four"]),
        ({"weights": (1,) * 5}, ["(1.0, 1.0, 1.0, 1.0, 1.0)", "four"]),
        ({"weights": ()}, ["()", "four"]),
        ({"weights": 1.0}, ["weights=1.0", "four"]),
        ({"weights": ("a", 1, 1, 1)}, ["'a'", "four"]),
        ({"weights": (0.1234567, 0.4, 0.1, 0.1)}, ["0.1234567", "digits", "0.4 0.4 0.1 0.1"]),
        ({"weights": (1 / 3, 1 / 3, 1 / 6, 1 / 6)}, ["0.3333", "digits"]),
        ({"weights": (1e6, 1, 1, 1)}, ["1000000.0", "digits"]),
        ({"weights": (5e-324, 1, 1, 1)}, ["5e-324", "digits"]),
        *(
            ({"mask_ratio": ratio}, [f"mask_ratio={ratio:g}", "between 0 and 1"])
            for ratio in (0.0, 1.0, 1, -0.2, 80, NAN, INF, -INF)
        ),
        ({"mask_ratio": "most"}, ["mask_ratio='most'", "0.9"]),
        ({"mask_ratio": None}, ["mask_ratio=None", "0.9"]),
        ({"mask_ratio": 0.999}, ["mask_ratio=0.999", "none of 512", "visible", "0.998"]),
        ({"size": (2, 3), "window": 1, "mask_ratio": 0.9}, ["mask_ratio=0.9", "none of 6", "visible"]),
        ({"mask_ratio": 1e-17}, ["mask_ratio=1e-17", "none of 512", "masked"]),
        ({"size": (1, 1), "window": 1}, ["1 token", "larger"]),
        ({"dtype": "uint32"}, ["dtype=uint32", "leave it out"]),
        ({"size": (512, 512), "dtype": "uint16"}, ["dtype=uint16", "leave it out"]),
        ({"dtype": "float16"}, ["dtype='float16'", "uint16 or uint32"]),
        ({"size": (8, 64, 8)}, ["8x64x8", "H x W", "64x8"]),
        ({"size": "8x8x8"}, ["8x8x8", "H x W"]),
        ({"size": (1025, 1024)}, ["1025x1024", "1,048,576"]),
        ({"size": (8, 8, 8, 8)}, ["size=(8, 8, 8, 8)", "(H, W)"]),
        ({"size": (64,), "weights": (0, 1, 1, 1)}, ["first weight", "along one axis"]),
        ({"size": (0, 8)}, ["size=0", "1 to"]),
        ({"boundary": "reflect"}, ["'reflect'", "wrap or open"]),
        ({"init": "red"}, ["init='red'", "zeros, white or blue"]),
        ({"ties": "last"}, ["ties='last'", "random or first"]),
    ],
    ids=str,
)
def test_bad_rbn_is_refused(given: dict[str, Any], words: list[str]) -> None:
    """The message says what was given and what is allowed."""
    message = refusal(made, RBN, **given)
    for word in words:
        assert word in message, message


def test_rbn_limits_are_taken() -> None:
    """The last values before a refusal."""
    assert RBN(size=(1024, 1024)).dtype == "uint32"
    assert RBN(size=(256, 256)).dtype == "uint16"
    assert RBN(size=(256, 257)).dtype == "uint32"
    assert made(RBN, size=2**20).dtype == "uint32"
    assert RBN(window=(63,)).window == (63,)
    assert RBN(window=(1,)).window == (1,)
    assert RBN(mask_ratio=0.998).num_visible == 1
    assert RBN(mask_ratio=1e-9).placed == 1


@pytest.mark.parametrize(
    "recipe",
    [
        Green(),
        Red(size=(500,), sigma=(0.1, 1 / 3), dtype="uint8", boundary="reflect"),
        Purple(size=(8, 9, 10), stretch=(2, 1, 1.5), variant="2"),
        RBN(),
        RBN(mask_ratio=0.9, masks_per_set=5),
        RBN(size=(1, 4), mask_ratio=0.5, window=(1, 3), weights=(1, 0.5, 0, 0), ties="first", init="blue"),
    ],
)
def test_command_options_make_the_recipe_again(recipe: Recipe) -> None:
    from maskbank.cli.generate import command

    words = recipes.command_options(recipe)
    assert bool(words) == (recipe not in (Green(), RBN()))
    kind = command.get_command(None, recipe.kind)  # type: ignore[arg-type]
    assert kind is not None
    given = kind.make_context(recipe.kind, [*words, "-n", "1"]).params
    options = {
        k: v for k, v in given.items() if v not in (None, ()) and k in recipe.to_dict() | {"stretch": 1}
    }
    assert recipes.recipe_for(recipe.kind, **options) == recipe
