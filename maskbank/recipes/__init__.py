"""Recipes: all parameters that decide what an item looks like, except the seed; checked when made."""

import dataclasses
import difflib
import inspect
import json
from typing import Any

from maskbank.checks import format_size, shown
from maskbank.errors import RecipeError
from maskbank.recipes.base import Filtered, Range, Recipe, float32
from maskbank.recipes.colours import LEAST_GAP, VARIANTS, Blue, Green, Purple, Red, White, variant
from maskbank.recipes.rbn import RBN

__all__ = [
    "COLOURS", "KINDS", "LEAST_GAP", "NUMBERS_VERSION", "RBN", "VARIANTS", "Blue", "Filtered", "Green",
    "Purple", "Range", "Recipe", "Red", "White", "canonical_json", "command_options", "float32", "from_json",
    "recipe_for", "variant",
]  # fmt: skip

NUMBERS_VERSION = 1  # raised whenever any byte of any item would change

# The one table of kinds: name -> (recipe class, default size)
COLOURS: dict[str, tuple[type[Recipe], tuple[int, ...]]] = {
    f"{cls.colour}{len(size)}d": (cls, size)
    for size in ((1024,), (64, 64), (64, 64, 64))
    for cls in (White, Red, Blue, Green, Purple)
}
KINDS: dict[str, tuple[type[Recipe], tuple[int, ...]]] = {**COLOURS, "rbn": (RBN, (64, 8))}
_KINDS = f"this version knows {', '.join(KINDS)}"


def recipe_for(kind: str, **options: Any) -> Recipe:
    """A recipe from the name of a kind, such as "green3d", and options of its class."""
    if kind not in KINDS:
        near = difflib.get_close_matches(kind.lower(), KINDS, 1)
        raise RecipeError(
            f"unknown kind {shown(kind)}; " + (f"did you mean {near[0]!r}?" if near else _KINDS)
        )
    cls, size = KINDS[kind]
    names = list(inspect.signature(cls).parameters)
    if strange := sorted(options.keys() - set(names)):
        raise RecipeError(f"{kind} has no option {shown(strange[0])}; it has {', '.join(names)}")
    recipe = cls(**{"size": size, **options})
    if recipe.kind != kind:
        raise RecipeError(
            f"size={format_size(recipe.size)} has the wrong number of axes; {kind} takes {len(size)}, as in "
            f"{format_size(size)}"
        )
    return recipe


def from_json(kind: str, text: str) -> Recipe:
    """The recipe of a bank, from its `kind` and `recipe` attributes."""
    if kind not in KINDS:
        raise RecipeError(f"unknown kind {shown(kind)}; {_KINDS}")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"recipe is not JSON ({error})") from None
    if not isinstance(values, dict):
        raise RecipeError("recipe is not a JSON object")
    recipe = KINDS[kind][0].from_dict(values)
    if recipe.kind != kind:
        raise RecipeError(f"recipe is of kind {recipe.kind}, not {kind}")
    return recipe


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def command_options(recipe: Recipe) -> list[str]:
    """The options of `maskbank generate` that give this recipe; the defaults of its kind are left out."""
    cls, size = KINDS[recipe.kind]
    usual = {field.name: field.default for field in dataclasses.fields(cls)} | {"size": size}
    if isinstance(recipe, RBN):  # these two follow from the others
        usual |= {"dtype": recipe.dtype, "masks_per_set": recipe.most_masks}
    words = []
    for name in recipe.to_dict():
        value = getattr(recipe, name)
        if value == usual[name]:
            continue
        option = "--" + name.replace("_", "-")
        values = [str(one).removesuffix(".0") for one in (value if isinstance(value, tuple) else [value])]
        if name in ("size", "stretch"):
            values = ["x".join(values)]
        words += [w for one in values for w in (option, one)] if name == "window" else [option, *values]
    return words
