"""What tests of analysis share."""

import pytest

from maskbank.analysis import measures


@pytest.fixture(autouse=True)
def few_are_reconstructed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 2 masks instead of 12 the difficulty is measured, which took half the time of a measurement."""
    monkeypatch.setattr(measures, "HARD", 2)
