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
from maskbank.errors import MaskbankError, RecipeError
from maskbank.recipes import COLOURS, VARIANTS, Blue, Green, Purple, Recipe, Red, White

NAN, INF = float("nan"), float("inf")


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


def test_kinds_are_five_colours_in_two_and_three_dimensions() -> None:
    """The table holds each kind under its own name, with the default size."""
    assert set(COLOURS) == {f"{c}{d}d" for c in ("white", "red", "blue", "green", "purple") for d in (2, 3)}
    for kind, (cls, size) in COLOURS.items():
        assert cls(size=size).kind == kind
        assert size == (64,) * int(kind[-2])


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
    assert recipes.fingerprint(Green(), seed=0, n=10_000) == "bce9a5e6db82"
    assert recipes.fingerprint(Red(size=(8, 9)), seed=2**64 - 1, n=1, first=5) == "e42cb80b0b15"


def test_fingerprint_is_a_sha256_of_canonical_json() -> None:
    """The contract, spelt out once more: kind, recipe, seed, first, n and the numbers' version."""
    text = (
        '{"first":2,"kind":"red2d","n":7,"numbers_version":1,"recipe":{"boundary":"wrap","dtype":"float16",'
        '"sigma":[0.4,3.0],"size":[8,9]},"seed":5}'
    )
    expected = hashlib.sha256(text.encode()).hexdigest()[:12]
    assert recipes.fingerprint(Red(size=(8, 9)), seed=5, n=7, first=2) == expected


def test_fingerprint_changes_with_everything() -> None:
    """Kind, each field of the recipe, seed, n, first: no two share a fingerprint."""
    base = Green()
    prints = [
        recipes.fingerprint(base, 0, 10),
        recipes.fingerprint(base, 1, 10),
        recipes.fingerprint(base, 0, 11),
        recipes.fingerprint(base, 0, 10, 1),
        recipes.fingerprint(Purple(), 0, 10),
        recipes.fingerprint(White(), 0, 10),
        recipes.fingerprint(Red(), 0, 10),
        recipes.fingerprint(Blue(), 0, 10),
        *(
            recipes.fingerprint(dataclasses.replace(base, **change), 0, 10)
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
        assert recipes.fingerprint(recipe, 3, 4) == recipes.fingerprint(Green(), 3, 4)
    one = made(Red, sigma=2)
    assert one == made(Red, sigma=(2.0, 2.0)) == made(Red, sigma=2.0)
    assert recipes.fingerprint(one, 0, 1) == recipes.fingerprint(made(Red, sigma=(2, 2)), 0, 1)


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
    [(1.0, 1.0501), ((0.5, 2.0), (0.5, 2.0)), ((1.0, 2.0), 1.5), (1.0, (0.5, 2.0)), ((0.5, 3), (1.0, 1.2))],
)
def test_sigmas_that_can_be_in_order_are_taken(sigma1: Any, sigma2: Any) -> None:
    """Overlapping ranges are fine."""
    made(Green, sigma1=sigma1, sigma2=sigma2)


@pytest.mark.parametrize(
    "size, words",
    [
        ((64,), ["1 axes", "(T, H, W)"]),
        ((4, 4, 4, 4), ["4 axes", "(T, H, W)"]),
        ((), ["0 axes"]),
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
        (64, ["size=64"]),
        (None, ["size=None"]),
        ("64", ["1 axes"]),
        ("64x", ["'64x'", "64x64x64"]),
        ("64x64x-1", ["'64x64x-1'", "64x64x64"]),
        ("0x4", ["size=0"]),
        ("4 4", ["'4 4'"]),
        ("", ["''"]),
    ],
)
@pytest.mark.parametrize("cls", [White, Green])
def test_bad_size_is_refused(cls: type[Recipe], size: Any, words: list[str]) -> None:
    """Two or three whole numbers, with 2**28 voxels at most."""
    message = refusal(made, cls, size=size)
    for word in words:
        assert word in message


@pytest.mark.parametrize("size", [(1, 1), (1, 1, 1)])
def test_single_voxel(size: tuple[int, ...]) -> None:
    """A difference of Gaussians is nothing there; white and red are fine."""
    differences: tuple[type[Recipe], ...] = (Blue, Green, Purple)
    for cls in differences:
        assert "x".join("1" * len(size)) in refusal(made, cls, size=size)
    others: tuple[type[Recipe], ...] = (White, Red)
    for cls in others:
        assert made(cls, size=size).size == size


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


@pytest.mark.parametrize("value", [0, -1, 10**6, 1.5, "2", None])
def test_bad_workers_are_refused(value: Any) -> None:
    """A whole number from 1 on."""
    assert f"workers={value!r}" in refusal(checks.check_workers, value)


def test_numpy_integers_are_whole_numbers() -> None:
    """And become Python's, so JSON takes them."""
    for check in (checks.check_seed, checks.check_n, checks.check_workers):
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
