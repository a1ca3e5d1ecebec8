"""The command line: one module for a command. A command parses, makes one call, and prints."""

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from difflib import get_close_matches

import click

from maskbank import __version__
from maskbank.errors import MaskbankError, RecipeError

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

# command -> what `maskbank --help` says of it; its module is loaded when it is used
COMMANDS = {
    "generate": "Make a bank of noise.",
    "inspect": "Tell what is in a bank.",
    "verify": "Check that a bank is whole.",
    "repair": "Make what is damaged again.",
    "join": "Put parts of a bank together.",
    "rebuild": "Make a bank from its recipe's line.",
    "fit": "Choose a mask for data.",
    "preview": "Draw what is in a bank.",
    "export": "Write masks as a .npy file.",
}


GOES_ON = {"generate", "join", "rebuild", "repair"}  # keep what they did when they are stopped


class SuggestingGroup(click.Group):
    """A group that, for an unknown command, names the nearest one."""

    noun = "command"

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command named first, or a usage error that names one like it."""
        name = args[0]
        names = self.list_commands(ctx)
        if name not in names and not name.startswith("-"):
            near = get_close_matches(name.lower(), names, 1, 0.5)
            hint = f"; did you mean {near[0]}?" if near else f"; there is {', '.join(names)}"
            raise click.UsageError(f"unknown {self.noun} {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)


class _Commands(SuggestingGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"maskbank.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings=SETTINGS)
@click.version_option(__version__, message="maskbank %(version)s")
def cli() -> None:
    """Banks of structured noise masks for masked autoencoders on video and audio.

    \b
    maskbank generate green3d --n 10000 -o bank.h5
    maskbank inspect bank.h5
    """


def main(args: Sequence[str] | None = None) -> None:
    """The entry point: exit codes, and one line for whatever goes wrong.

    0 done; 1 failed; 2 wrong usage; 130 after Ctrl-C, 143 after SIGTERM.
    """
    signal.signal(signal.SIGTERM, _terminate)
    # what little linear algebra there is, in `inspect --structure`, only loses time to threads
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        status = cli.main(args=args, prog_name="maskbank", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        status = 2
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "maskbank"
        _complain(f"{error.format_message().rstrip('.')} (see {where} --help)")
        status = 2
    except click.ClickException as error:
        _complain(error.format_message())
        status = error.exit_code
    except RecipeError as error:
        _complain(str(error))
        status = 2
    except MaskbankError as error:
        _complain(str(error))
        status = getattr(error, "code", 1)  # that of the signal that stopped it
    except BrokenPipeError:  # the reader of our output has left; say nothing more to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:  # a disk that fails where nothing else could be said of it
        _complain(f"{error.filename or 'the disk'}: {error.strerror or error}")
        status = 1
    except MemoryError:
        _complain("not enough memory: use fewer workers (-j 1) or a smaller size")
        status = 1
    except (click.Abort, KeyboardInterrupt) as error:
        again = bool({*(sys.argv[1:] if args is None else args)} & GOES_ON)
        _complain("interrupted; run the same command again" + " to go on" * again)
        # not sys.exit: where Ctrl-C came in the middle of an import, Python would end by the signal after all
        sys.stdout.flush()
        # click makes an Abort of it, and keeps what it was as the cause
        os._exit(143 if isinstance(error.__cause__ or error, _Terminated) else 130)
    sys.exit(status if isinstance(status, int) else 0)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, while nothing is at work that would rather finish what it has in hand."""


def _terminate(_number: int, _frame: object) -> None:
    raise _Terminated


def _complain(text: str) -> None:
    click.echo("maskbank: " + " ".join(text.split()), err=True)
