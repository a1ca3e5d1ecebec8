"""Exceptions, whose messages are one line for the user, and warnings."""

import importlib.util
import os
import sys
import warnings


class MaskbankError(Exception):
    """Base of all that maskbank raises on purpose. It says what was given, what is allowed, what to do."""


class RecipeError(MaskbankError, ValueError):
    """A parameter that cannot be used: wrong usage, exit code 2 on the command line."""


class BankError(MaskbankError):
    """A file that is not a whole, readable bank."""


class OutputError(MaskbankError):
    """A bank that cannot be written where it was asked for."""


class MissingError(MaskbankError, ImportError):
    """A library that is not installed."""


class Interrupted(MaskbankError):
    """The work was stopped by a signal or by the caller; what is done is kept."""


def check_installed(module: str, purpose: str, extra: str) -> None:
    """Raise MissingError where a module of one of maskbank's extras is not installed."""
    if importlib.util.find_spec(module) is None:
        raise MissingError(f"{purpose}, which is not installed: pip install 'maskbank[{extra}]'")


def warn(text: str) -> None:
    """Warn at the line outside the package that called it."""
    package, frame, level = os.path.dirname(__file__) + os.sep, sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)
