"""Banks of structured noise, and masks from them, for masked autoencoders on video and audio."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers, which do not run the code below
    from maskbank.analysis.audit import audit as audit
    from maskbank.analysis.fit import fit as fit
    from maskbank.bank.reader import Bank as Bank
    from maskbank.errors import BankError as BankError
    from maskbank.errors import MaskbankError as MaskbankError
    from maskbank.errors import OutputError as OutputError
    from maskbank.errors import RecipeError as RecipeError
    from maskbank.generation.generate import generate as generate
    from maskbank.recipes import RBN as RBN
    from maskbank.recipes import Blue as Blue
    from maskbank.recipes import Green as Green
    from maskbank.recipes import Purple as Purple
    from maskbank.recipes import Recipe as Recipe
    from maskbank.recipes import Red as Red
    from maskbank.recipes import White as White
    from maskbank.sampling.masks import Masks as Masks
    from maskbank.sampling.priorities import select as select
    from maskbank.sampling.sampler import MaskSampler as MaskSampler

__version__ = "0.1.0"

# Loaded when first used: `import maskbank` is then as cheap as the standard library.
_NAMES = {
    "analysis.audit": "audit",
    "analysis.fit": "fit",
    "bank.reader": "Bank",
    "errors": "BankError MaskbankError OutputError RecipeError",
    "generation.generate": "generate",
    "recipes": "RBN Blue Green Purple Recipe Red White",
    "sampling.masks": "Masks",
    "sampling.priorities": "select",
    "sampling.sampler": "MaskSampler",
}
_MODULES = {name: f"maskbank.{module}" for module, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'maskbank' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
