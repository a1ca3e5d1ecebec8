"""WebDataset, Mosaic streaming, files by name: ids for samples that have a string instead of an index."""

import hashlib
from typing import Any

from maskbank.errors import RecipeError


def sample_id(key: Any) -> int:
    """The id, 0 to 2**63 - 1, of a sample that has a key: sampler(sample_id(sample["__key__"])).

    key: a string, encoded as UTF-8, or bytes. The id is the first 8 bytes of the key's SHA-256, read as a
    little-endian number, without its lowest bit: the same on every machine and in every run. Among a million
    keys, the probability that two have the same id, and so the same masks, is 5e-8.

    Ids of keys are scattered, so items of a bank are drawn at random instead of used once each. Raises
    RecipeError for a key that is neither a string nor bytes.
    """
    if not isinstance(key, str | bytes):
        raise RecipeError(f"key={key!r}: give a string or bytes; a whole number is an id as it is")
    data = key.encode() if isinstance(key, str) else key
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "little") >> 1
