"""The command line: a module for each command. A command parses, calls one function, and prints."""

import gc
import importlib
import os
import signal
import sys
from collections.abc import Sequence

try:
    import click
except ImportError:  # the light install of training nodes, which only read banks
    sys.exit("maskbank: the command line needs click, which is not installed: pip install click tqdm")

from maskbank import __version__
from maskbank.cli import output
from maskbank.cli.signals import Stopped
from maskbank.errors import MaskbankError, RecipeError

# All commands inherit these
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

# command -> its line in `maskbank --help`; its module is loaded when it is used
COMMANDS = {
    "generate": "Make a bank of noise.",
    "inspect": "Show what is in a bank.",
    "verify": "Check that a bank is whole.",
    "repair": "Make damaged items again.",
    "join": "Join parts into one bank.",
    "rebuild": "Make a bank from its recipe's line.",
    "fit": "Choose a mask for data.",
    "preview": "Draw what is in a bank.",
    "export": "Write masks as a .npy file.",
}
GOES_ON = {"generate", "join", "rebuild", "repair"}  # if stopped, the same command goes on


class _Commands(click.Group):
    """A group that loads its commands when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            if ctx.resilient_parsing:  # a shell asks for completions
                return None
            raise click.NoSuchCommand(cmd_name, possibilities=COMMANDS, ctx=ctx)
        command: click.Command = importlib.import_module(f"maskbank.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings=SETTINGS)
@click.version_option(__version__, message="maskbank %(version)s")
def cli() -> None:
    """Banks of structured noise, and masks from them, for masked autoencoders on video and audio.

    \b
    maskbank generate green3d --n 10000 -o bank.h5
    maskbank inspect bank.h5
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run a command line: print one line for any error, and exit with a code.

    0 done; 1 failed; 2 wrong usage; 130 after Ctrl-C, 143 after SIGTERM.
    """
    given = list(sys.argv[1:] if args is None else args)
    if args is None:  # a process of its own: looking for cycles among what Numba loads takes 0.3 s
        gc.set_threshold(500_000)
    output.quiet = False
    # The linear algebra of `inspect --structure` is small: threads make it slower
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    before = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, _terminate)
        with output.prepared():
            status = _status(given)
            sys.stdout.flush()
            sys.stderr.flush()
    except KeyboardInterrupt as error:  # the command had not begun, or had said how it ended
        status = _code(error)
    if status >= 128:  # a thread may still compile, and Python would wait for it
        os._exit(status)
    signal.signal(signal.SIGTERM, before)
    if args is None:
        gc.freeze()  # Python would look for them once more, for 0.5 s
    sys.exit(status)


def _status(args: list[str]) -> int:
    """The exit code of a command line."""
    try:
        status = cli.main(args=args, prog_name="maskbank", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "maskbank"
        output.complain(f"{error.format_message().rstrip('.')} (see {where} --help)")
        return 2
    except click.ClickException as error:
        output.complain(error.format_message())
        return error.exit_code
    except MaskbankError as error:
        output.complain(str(error))
        if isinstance(error, Stopped):
            return error.code
        return 2 if isinstance(error, RecipeError) else 1
    except BrokenPipeError:  # nobody reads our output any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a failing disk
        output.complain(f"{error.filename or 'the disk'}: {error.strerror or error}")
        return 1
    except MemoryError:
        output.complain("not enough memory: use fewer workers (-j 1) or a smaller size")
        return 1
    except (click.Abort, KeyboardInterrupt) as error:
        output.complain("interrupted; run the same command again" + " to go on" * bool({*args} & GOES_ON))
        # click raises an Abort for a KeyboardInterrupt, which becomes its cause
        return _code(error.__cause__ or error)


def _code(error: BaseException) -> int:
    """The exit code after an interruption: that of `_terminate`, or of Ctrl-C."""
    return 143 if error.args == (143,) else 130


def _terminate(number: int, _frame: object) -> None:
    """End the command at once: the answer to SIGTERM while no items are being made."""
    raise KeyboardInterrupt(128 + number)
