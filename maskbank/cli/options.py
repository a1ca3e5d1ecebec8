"""Options that several commands share."""

import click

WORKERS = click.option("-j", "--workers", type=int, metavar="W", help="Cores to use.  [default: all]")
FORCE = click.option("--force", is_flag=True, help="Replace what is at OUT.")
