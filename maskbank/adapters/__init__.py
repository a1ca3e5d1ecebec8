"""Adapters: each module replaces one line in the code of a family of models.

A module is imported when it is first used, as `maskbank.adapters.mae`. Most of them need torch.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any


def __getattr__(name: str) -> Any:
    if name not in __dir__():
        raise AttributeError(f"maskbank.adapters has no {name!r}; there are {', '.join(__dir__())}")
    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return [module.name for module in iter_modules(__path__)]
