"""The command ``asynclive``, its subcommands and its exit codes.

No error is shown as a traceback. The help of the command lists the exit codes.
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
from .output import OutputError, discard_output, print_problem, show_click_error, write
from .push_command import push

_SHELLS = ("bash", "zsh", "fish")
_COMPLETE_VAR = "_ASYNCLIVE_COMPLETE"


class _MissingCommand(click.UsageError):
    """No subcommand was given; shows the help on stderr.

    click's own ``no_args_is_help`` does the same, but its exit code and its output stream depend
    on the version of click.
    """

    def show(self, file: IO[Any] | None = None) -> None:
        assert self.ctx is not None
        click.echo(self.ctx.get_help(), file=file, err=True)


class _Commands(click.Group):
    """A group of commands that raises OutputError if the reader of its output has gone.

    click would exit with 1, which means here that an artifact was not logged.
    """

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _broken_pipe_is_output_error():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _broken_pipe_is_output_error():
            return super().invoke(ctx)


@contextmanager
def _broken_pipe_is_output_error() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        discard_output(sys.stdout)
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
    """Log large artifacts with DVC, many at once, and push them.

    The result is that of 'dvc add' and 'dvc push'.
    """
    if context.invoked_subcommand is None:
        raise _MissingCommand("Missing command.", context)


@cli.command(short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print a shell script that completes asynclive's commands, options and paths.

    \b
    bash: asynclive completion bash > ~/.local/share/bash-completion/completions/asynclive
    zsh:  asynclive completion zsh > DIRECTORY/_asynclive (any directory in $fpath)
    fish: asynclive completion fish > ~/.config/fish/completions/asynclive.fish
    """
    completion_class = get_completion_class(shell)
    assert completion_class is not None  # click has one for each of _SHELLS
    # source() would first run the shell to check its version. The shell need not be installed
    # here: the script may be for another machine.
    completer = completion_class(cli, {}, "asynclive", _COMPLETE_VAR)
    write(completer.source_template % completer.source_vars())


cli.add_command(log)
cli.add_command(push)
cli.add_command(doctor)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit. ``asynclive`` and ``python -m asynclive`` call this."""
    _keep_standard_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code.

    Raises:
        SystemExit: the shell asked for completions, and click has printed them.
    """
    try:
        code = cli.main(
            arguments, prog_name="asynclive", complete_var=_COMPLETE_VAR, standalone_mode=False
        )
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        show_click_error(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print_problem("interrupted.", kind="Stopped")
        return 130
    except FileNotFoundError:  # only os.getcwd() raises this here
        print_problem("the working directory does not exist any more. Change to another directory.")
        return 1
    except OSError as error:  # click cannot print its help
        discard_output(sys.stdout)
        show_click_error(OutputError(error))
        return OutputError.exit_code
    except Exception as error:
        logging.getLogger(__name__).debug("Unexpected error", exc_info=error)
        print_problem(f"unexpected {type(error).__name__}: {error}")
        return 1


def _keep_standard_descriptors() -> None:
    """Open the null device in place of stdin, stdout and stderr that are closed.

    Otherwise the next file to be opened, such as a database of DVC, would become stdout.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is fd
