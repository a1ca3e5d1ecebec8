"""Compiled kernels are saved by one process at a time, and loaded for the same arguments only."""

import fcntl
from types import SimpleNamespace
from typing import Any

import pytest

from maskbank.kernels import jit
from maskbank.kernels.cache import FOLDER

pytestmark = pytest.mark.skipif(not jit.KEPT or FOLDER is None, reason="no kernels are kept here")


class Kept:
    """A cache that holds one kernel, whatever is asked for, and notes what is saved under the lock."""

    def __init__(self, *args: str) -> None:
        self.found = SimpleNamespace(signature=SimpleNamespace(args=args))
        self.saved: list[str] = []

    def load_overload(self, _sig: Any, _context: Any) -> Any:
        return self.found

    def save_overload(self, sig: str, _data: Any) -> None:
        with open(f"{FOLDER}/lock", "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.saved.append(sig)


def test_a_kernel_kept_for_other_arguments_is_not_loaded() -> None:
    kept = Kept("float32", "int64")
    cache = jit._ForgivingCache(kept)
    assert cache.load_overload(("float32", "int64"), None) is kept.found
    assert cache.load_overload(("uint16", "int64"), None) is None


def test_a_kernel_is_saved_under_a_lock() -> None:
    kept = Kept()
    jit._ForgivingCache(kept).save_overload("one", None)
    assert kept.saved == ["one"]


def test_kernels_are_saved_where_there_are_no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[str] = []
    cache = jit._ForgivingCache(SimpleNamespace(save_overload=lambda sig, _data: saved.append(sig)))

    def refuse(*_args: Any) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    cache.save_overload("one", None)
    assert saved == ["one"]
