"""Banks of structured noise masks for masked autoencoders on video and audio."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from maskbank.analysis.audit import audit
    from maskbank.analysis.fit import fit
    from maskbank.bank.reader import Bank
    from maskbank.errors import BankError, MaskbankError, OutputError, RecipeError
    from maskbank.generation.generate import generate
    from maskbank.recipes import RBN, Blue, Green, Purple, Recipe, Red, White
    from maskbank.sampling.masks import Masks
    from maskbank.sampling.sampler import MaskSampler

# Loaded when first used: `import maskbank` stays as cheap as the standard library.
_PLACES = {
    "RBN": "maskbank.recipes",
    "Bank": "maskbank.bank.reader",
    "BankError": "maskbank.errors",
    "Blue": "maskbank.recipes",
    "Green": "maskbank.recipes",
    "MaskSampler": "maskbank.sampling.sampler",
    "MaskbankError": "maskbank.errors",
    "Masks": "maskbank.sampling.masks",
    "OutputError": "maskbank.errors",
    "Purple": "maskbank.recipes",
    "Recipe": "maskbank.recipes",
    "RecipeError": "maskbank.errors",
    "Red": "maskbank.recipes",
    "White": "maskbank.recipes",
    "audit": "maskbank.analysis.audit",
    "fit": "maskbank.analysis.fit",
    "generate": "maskbank.generation.generate",
}

__all__ = [
    "RBN",
    "Bank",
    "BankError",
    "Blue",
    "Green",
    "MaskSampler",
    "MaskbankError",
    "Masks",
    "OutputError",
    "Purple",
    "Recipe",
    "RecipeError",
    "Red",
    "White",
    "audit",
    "fit",
    "generate",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'maskbank' has no attribute {name!r}")
    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
