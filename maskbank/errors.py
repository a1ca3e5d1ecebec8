"""What can go wrong, as exceptions whose message is one line for the user."""


class MaskbankError(Exception):
    """Base of everything maskbank raises on purpose: says what was given, what is allowed, what to do."""


class RecipeError(MaskbankError, ValueError):
    """A parameter that cannot be used: wrong usage, exit code 2 on the command line."""


class BankError(MaskbankError):
    """A file that is not a whole, readable bank."""


class OutputError(MaskbankError):
    """A bank that cannot be written where it was asked for."""


class Interrupted(MaskbankError):
    """The work was stopped by a signal, or by whoever asked for it; what is done is kept."""
