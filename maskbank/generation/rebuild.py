"""Reads the line that `maskbank inspect --recipe` prints."""

import json
from typing import Any

from maskbank.bank.layout import Content
from maskbank.checks import MOST_ITEMS, check_n, check_seed, integer
from maskbank.errors import BankError
from maskbank.recipes import NUMBERS_VERSION, canonical_json, from_json


def content_of(line: str) -> Content:
    """The content of the bank that this line describes; BankError where the line was changed."""
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BankError(
            f"the recipe is not JSON ({error}); give what maskbank inspect --recipe prints"
        ) from None
    names = {"fingerprint", "first", "kind", "n", "numbers_version", "recipe", "seed"}
    if not isinstance(values, dict) or set(values) != names:
        raise BankError(
            f"the recipe must have {', '.join(sorted(names))}, as maskbank inspect --recipe prints it"
        )
    if values["numbers_version"] != NUMBERS_VERSION:
        raise BankError(
            f"the recipe has numbers version {values['numbers_version']!r}; this maskbank makes version "
            f"{NUMBERS_VERSION}"
        )
    recipe = from_json(str(values["kind"]), canonical_json(values["recipe"]))
    n = check_n(values["n"])
    first = integer("first", values["first"], 0, MOST_ITEMS - n)
    content = Content(recipe, check_seed(values["seed"]), n, first)
    if content.fingerprint != values["fingerprint"]:
        raise BankError(
            f"the recipe has fingerprint {values['fingerprint']}, but its bank would have "
            f"{content.fingerprint}: the recipe was changed; copy the line again"
        )
    return content
