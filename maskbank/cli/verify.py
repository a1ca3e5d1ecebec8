"""maskbank verify BANK...: check that banks are whole."""

import json
from dataclasses import asdict
from typing import Any

import click

from maskbank.bank.check import verify
from maskbank.checks import format_bytes
from maskbank.cli.options import JSON, QUIET, BankPath, Share
from maskbank.cli.output import complain, say, show
from maskbank.cli.progress import bar
from maskbank.errors import BankError


@click.command()
@click.argument("banks", metavar="BANK...", nargs=-1, required=True, type=BankPath())
@click.option(
    "--sample", type=Share(), metavar="SHARE", help="Check a random share of the items only, as 1%."
)
@JSON
@QUIET
def command(banks: tuple[str, ...], sample: float | None, as_json: bool) -> int:
    """Check that banks are whole: header, layout, every checksum, and the sigmas of recipe and seed.

    The command names the damaged items, if any, and then ends with exit code 1.

    \b
    maskbank verify green3d.h5
    """
    results = [_verify(bank, sample, as_json) for bank in banks]
    if as_json:
        show(json.dumps(results, indent=2))
    return int(any(result["fault"] for result in results))


def _verify(bank: str, sample: float | None, as_json: bool) -> dict[str, Any]:
    """Verify a bank. Returns the result, and prints it unless it is for programs."""
    try:
        with bar(wait=f"checking {bank}") as show_done:
            found = verify(bank, sample, show_done)
    except BankError as error:
        result: dict[str, Any] = {"path": bank, "fault": str(error)}
    else:
        result = asdict(found) | {"fault": found.fault}
    if as_json:
        return result
    if result["fault"]:
        complain(result["fault"])
        return result
    what = f"{found.kind}, fingerprint {found.fingerprint}, {format_bytes(found.bytes_read)}"
    what += f" in {found.seconds:.1f} s"
    if found.checked < found.items:
        text = f"{bank} has no damage in the {found.checked:,} of {found.items:,} items looked at: {what}"
    else:
        text = f"{bank} is whole: {found.items:,} items of {what}"
    say(text, result=True)
    return result
