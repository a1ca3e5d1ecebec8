"""Masks stay what they were when they were first released."""

import json
from pathlib import Path

from tests.golden import make_masks


def test_masks_are_those_of_the_first_release(tmp_path: Path) -> None:
    assert dict(make_masks.digests(tmp_path)) == json.loads(make_masks.FILE.read_text())
