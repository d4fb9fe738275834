"""``asynclive push``: its options, its session and its output. ``asynclive log`` shares options."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import anyio
import click
from click.exceptions import Exit

from .._api.async_live import AsyncLive
from .._artifact.push_policy import PushPolicy
from .._artifact.push_records import PushResult
from .._errors import AsyncLiveError, PushError
from .._instrumentation.events import ArtifactEvent, PushProgress
from . import option_values as values
from .interruption import cancel_on_signal
from .option_words import use_option_names
from .output import library_logs_to_stderr, print_problem, write_json, write_rows
from .terminal_text import format_size

_SENT = "Sent"

Command = Callable[..., None]


def push_options(command: Command) -> Command:
    """Add the options that say where and how to push."""
    for option in (
        click.option(
            "--max-bandwidth",
            metavar="SIZE",
            callback=values.parse_size,
            help="Maximum number of bytes sent in a second, for example 20M for 20 MiB.",
        ),
        click.option(
            "--verify",
            type=click.Choice(("store", "read", "size")),
            help="How each object in the remote is proven: by the size and checksum that the "
            "remote reports, by reading it back, or by its size alone.  [default: store]",
        ),
        click.option(
            "--remote",
            metavar="NAME",
            callback=values.parse_remote,
            help="Name of the DVC remote to push to.  [default: the default remote]",
        ),
    ):
        command = option(command)
    return command


def make_push_policy(
    remote: str | None, verify: str | None, max_bandwidth: int | None
) -> PushPolicy:
    """Return the policy that the options mean. The command reports errors of pushes itself."""
    return PushPolicy(
        remote=remote,
        verify=None if verify == "size" else "read" if verify == "read" else "store",
        max_bandwidth=max_bandwidth,
        on_error="keep",
    )


@dataclass(slots=True)
class PushReport:
    """The outcome of the command."""

    result: PushResult | None = None
    error: AsyncLiveError | None = None
    signal: int | None = None
    """The signal that interrupted the push."""
    progress: PushProgress | None = None
    """How far the push has come."""

    def on_event(self, event: ArtifactEvent) -> None:
        if isinstance(event, PushProgress):
            self.progress = event


@click.command(
    epilog="The exit codes are those of 'log'.",
    short_help="Push tracked artifacts to a DVC remote.",
)
@click.argument("targets", nargs=-1, metavar="[PATH|NAME]...", callback=values.parse_targets)
@push_options
@click.option(
    "--progress/--no-progress",
    default=None,
    help="Show a progress bar on stderr.  [default: if stderr is a terminal]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document with the result.")
@click.option("-v", "--verbose", is_flag=True, help="Print informational messages to stderr, too.")
def push(
    targets: Sequence[str],
    remote: str | None,
    verify: str | None,
    max_bandwidth: int | None,
    progress: bool | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Push tracked artifacts to a DVC remote.

    Without arguments, pushes all that DVC tracks in the workspace. PATH is a tracked path, and
    NAME the name of an artifact in dvc.yaml. Objects that are in the remote already are checked,
    and sent again if they are wrong. After an interruption, the same command goes on.

    Prints the result to stdout, and an error to stderr.
    """
    policy = make_push_policy(remote, verify, max_bandwidth)
    with library_logs_to_stderr(logging.INFO if verbose else logging.WARNING):
        report = anyio.run(_push, targets, policy, progress)
    if as_json:
        write_json(_document(report))
    elif report.result is not None:
        _write_table(report.result)
    if report.signal is not None:
        print_problem(_interrupted_message(report), kind="Stopped")
        raise Exit(128 + report.signal)
    if report.error is not None:
        print_problem(str(report.error))
        raise Exit(1)


async def _push(targets: Sequence[str], policy: PushPolicy, progress: bool | None) -> PushReport:
    report = PushReport()
    work = anyio.CancelScope()
    session = AsyncLive(
        # A session with a policy also pushes the artifacts that earlier sessions left. Here the
        # caller names the artifacts, so a policy is passed only to limit the bandwidth.
        push=None if policy.max_bandwidth is None else policy,
        progress=progress,
        # This command has no event loop to keep free, and a worker process would cost more time
        # than a push that finds nothing new.
        isolation="thread",
        on_event=report.on_event,
    )
    async with anyio.create_task_group() as watch:
        await watch.start(cancel_on_signal, work, report)
        try:
            with work:
                async with session as live:
                    report.result = await live.push(
                        *targets, remote=policy.remote, verify=policy.verify
                    )
        except AsyncLiveError as error:
            report.error = error
        watch.cancel_scope.cancel()
    return report


def _interrupted_message(report: PushReport) -> str:
    text = "interrupted; everything stays committed"
    if report.progress is not None and report.progress.objects_total:
        done, total = report.progress.objects_done, report.progress.objects_total
        text += f", {done:,} of {total:,} objects are in the remote"
    return f"{text}. The next 'asynclive push' goes on."


def _write_table(result: PushResult) -> None:
    write_rows(
        ("Remote", "Objects", _SENT, "There already", "Resumed", "Verified by"),
        [
            (
                result.remote,
                f"{result.objects:,}",
                format_size(result.bytes),
                f"{result.skipped:,}",
                format_size(result.resumed_bytes),
                result.verified_by,
            )
        ],
        right=frozenset({"Objects", _SENT, "There already", "Resumed"}),
    )


def _document(report: PushReport) -> dict[str, Any]:
    if report.result is not None:
        return asdict(report.result)
    if report.error is None:
        return {"error": "Interrupted", "message": _interrupted_message(report)}
    return push_error_document(report.error)


def push_error_document(error: Exception) -> dict[str, Any]:
    """Return an error as JSON; that of a push with the objects that failed."""
    document: dict[str, Any] = {
        "error": type(error).__name__,
        "message": use_option_names(str(error)),
    }
    if isinstance(error, PushError):
        failed = [each._asdict() for each in error.failed]
        document |= {"remote": error.remote, "option": error.option, "failed": failed}
    return document
