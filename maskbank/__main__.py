"""`python -m maskbank` is `maskbank`."""

from maskbank.cli import main

main()
