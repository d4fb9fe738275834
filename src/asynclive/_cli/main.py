"""The command ``asynclive``: a thin shell over AsyncLive, and what it says of a repository.

Nothing here shows a traceback. Exit codes are in the help of the command.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, NoReturn

import click
from click.shell_completion import get_completion_class

from .doctor_command import doctor
from .log_command import EXIT_CODES, log
from .output import OutputError, complain, drop_output, show, write

_SHELLS = ("bash", "zsh", "fish")
_COMPLETE_VAR = "_ASYNCLIVE_COMPLETE"


class _NoCommand(click.UsageError):
    """There is no command; shows the help. As with click's own ``no_args_is_help``, of which the
    exit code, and where it prints to, depend on the version."""

    def show(self, file: IO[Any] | None = None) -> None:
        assert self.ctx is not None
        click.echo(self.ctx.get_help(), file=file, err=True)


class _Commands(click.Group):
    """Where the reader of a help has gone, that is an OutputError: click would end with 1, which
    says that an artifact was not logged."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _reader_needed():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _reader_needed():
            return super().invoke(ctx)


@contextmanager
def _reader_needed() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        drop_output(sys.stdout)
        raise OutputError(error) from error


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
)
@click.version_option(None, "--version", package_name="asynclive")
@click.pass_context
def cli(context: click.Context) -> None:
    """Log large artifacts with DVC, many at once. The result is that of 'dvc add'."""
    if context.invoked_subcommand is None:
        raise _NoCommand("Missing command.", context)


@cli.command(short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print a shell script that completes asynclive's commands, options and paths.

    \b
    bash: asynclive completion bash > ~/.local/share/bash-completion/completions/asynclive
    zsh:  asynclive completion zsh > DIRECTORY/_asynclive (any directory in $fpath)
    fish: asynclive completion fish > ~/.config/fish/completions/asynclive.fish
    """
    made = get_completion_class(shell)
    assert made is not None  # click knows all of them
    # Not source(), which asks the shell for its version first: it may be for another machine.
    completing = made(cli, {}, "asynclive", _COMPLETE_VAR)
    write(completing.source_template % completing.source_vars())


cli.add_command(log)
cli.add_command(doctor)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and end the process. What ``asynclive`` and ``python -m asynclive`` call."""
    _keep_standard_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code. Raises nothing but what completions end with."""
    try:
        code = cli.main(
            arguments, prog_name="asynclive", complete_var=_COMPLETE_VAR, standalone_mode=False
        )
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        show(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted.", kind="Stopped")
        return 130
    except FileNotFoundError:  # of all that is asked for without a name: os.getcwd()
        complain("the working directory does not exist any more. Change to another directory.")
        return 1
    except OSError as error:  # click could not print its help
        drop_output(sys.stdout)
        show(OutputError(error))
        return OutputError.exit_code
    except Exception as error:
        logging.getLogger(__name__).debug("Unexpected", exc_info=error)
        complain(f"unexpected {type(error).__name__}: {error}")
        return 1


def _keep_standard_descriptors() -> None:
    """Have 0, 1 and 2 lead nowhere where they were closed.

    Else the next file that is opened, one of DVC's databases, would be standard output.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
