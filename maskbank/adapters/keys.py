"""WebDataset, Mosaic streaming, files by name: an id for samples that have a string instead of an index."""

import hashlib
from typing import Any

from maskbank.errors import RecipeError


def sample_id(key: Any) -> int:
    """The id of a sample that is known by a key, 0 to 2**63 - 1: sampler(sample_id(sample["__key__"])).

    key: a string, encoded as UTF-8, or bytes. The id is the first 8 bytes of the key's SHA-256, read as a
    little-endian number, without its lowest bit: the same on every machine and in every run. Two of a
    million keys have the same id, and so the same masks, with a probability of 5e-8.

    Ids of keys are scattered, so items of a bank are drawn rather than used once each. Raises RecipeError
    for what is neither a string nor bytes.
    """
    if not isinstance(key, str | bytes):
        raise RecipeError(f"key={key!r}: give a string or bytes; a whole number is an id as it is")
    data = key.encode() if isinstance(key, str) else key
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "little") >> 1
