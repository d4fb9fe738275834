"""``asynclive log``: its options and its output."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict
from typing import Any

import click
from click.exceptions import Exit

from .._artifact.push_records import PushResult
from .._artifact.records import LoggedArtifact
from .._errors import InvalidDvcyamlError
from . import option_values as values
from .log_paths import Logged, Report, log_paths
from .option_words import use_option_names
from .output import (
    HASH,
    OutputError,
    library_logs_to_stderr,
    print_problem,
    show_click_error,
    write_json,
    write_rows,
)
from .push_command import make_push_policy, push_error_document, push_options
from .terminal_text import format_size

EXIT_CODES = """\b
Exit codes:
  0    success; for 'doctor': no problem was found
  1    an artifact was not logged or not pushed, or the repository cannot be
       opened; for 'doctor': a problem was found
  2    the command line is invalid; nothing was done
  3    success, but standard output cannot be written to
  130  interrupted (SIGINT): artifacts in flight were undone, the others stay
       logged, and 'asynclive push' goes on with those that are not pushed;
       143 after SIGTERM, 129 after SIGHUP
"""


@click.command(epilog=EXIT_CODES, short_help="Track files and directories with DVC.")
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="PATH...",
    type=click.Path(),
    callback=values.parse_paths,
)
@click.option(
    "--type",
    callback=values.parse_text,
    metavar="TYPE",
    help="Type of the artifacts, for example model or dataset. Artifacts of type model "
    "appear in the model registry.",
)
@click.option(
    "--name",
    callback=values.parse_name,
    help="Name of the entry in dvc.yaml, allowed with one PATH only.  [default: made from the stem "
    "of PATH]",
)
@click.option(
    "--desc", callback=values.parse_text, metavar="TEXT", help="Description of the artifacts."
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="LABEL",
    callback=values.parse_labels,
    help="A label. Can be given several times.",
)
@click.option(
    "--meta",
    multiple=True,
    metavar="KEY=VALUE",
    callback=values.parse_meta,
    help="Metadata. Can be given several times. VALUE is read as a YAML scalar: lr=0.1 is a "
    "number, ok=true a boolean, day=2024-05-01 a date. Any other VALUE is text. To pass a "
    "number as text, quote it twice: tag='\"1.0\"'.",
)
@click.option("--copy", is_flag=True, help="Track a copy in DIR/artifacts instead of PATH.")
@click.option("--copy-to", metavar="SUBDIR", help="Like --copy, but in DIR/artifacts/SUBDIR.")
@click.option(
    "--no-cache", is_flag=True, help="Only write the entry in dvc.yaml. Store nothing in the cache."
)
@click.option(
    "--reread",
    is_flag=True,
    help="Read every file, even if its size, inode and times are those of the last call.",
)
@click.option(
    "--dir",
    default="dvclive",
    show_default=True,
    metavar="DIR",
    type=click.Path(),
    help="Directory of the copies. They are put in DIR/artifacts.",
)
@click.option(
    "--dvcyaml",
    default="dvc.yaml",
    show_default=True,
    metavar="FILE",
    type=click.Path(),
    help="The dvc.yaml file to write entries to.",
)
@click.option("--no-dvcyaml", is_flag=True, help="Do not write entries.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of threads that copy and hash, for all PATHs together.  [default: cores + 2]",
)
@click.option(
    "--lock-timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    callback=values.parse_seconds,
    help="How long to wait while another process holds DVC's lock, or with core.autostage Git's. "
    "inf sets no limit.",
)
@click.option(
    "--push",
    is_flag=True,
    help="Push each logged artifact to a DVC remote, and return when all are there.",
)
@push_options
@click.option("--durable", is_flag=True, help="Return only when all data is on the disk (fsync).")
@click.option(
    "--progress/--no-progress",
    default=None,
    help="Show progress bars on stderr.  [default: if stderr is a terminal]",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document with the logged and the failed artifacts.",
)
@click.option("-v", "--verbose", is_flag=True, help="Print informational messages to stderr, too.")
def log(
    paths: list[str],
    copy: bool,
    copy_to: str | None,
    no_cache: bool,
    dir: str,
    dvcyaml: str,
    no_dvcyaml: bool,
    workers: int | None,
    lock_timeout: float | None,
    push: bool,
    remote: str | None,
    verify: str | None,
    max_bandwidth: int | None,
    durable: bool,
    progress: bool | None,
    as_json: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Track files and directories with DVC, and record them in dvc.yaml.

    All PATHs are logged at once. If one PATH fails, the others are logged all the same. The bytes
    are stored in DVC's cache, and PATH.dvc refers to them. With --type, --name, --desc, --label
    or --meta, an entry is written to dvc.yaml, too.

    With --push, they are also sent to a DVC remote. If that fails, they stay logged.

    Prints a table of the logged artifacts to stdout, and one line to stderr for each PATH that
    was not logged or not pushed.
    """
    if options["name"] and len(paths) > 1:
        raise click.UsageError(
            f"--name can be given with one PATH only, not with {len(paths)}. Log the paths one by "
            "one, or omit --name: each artifact is then named after its path."
        )
    if not push and (remote, verify, max_bandwidth) != (None, None, None):
        raise click.UsageError("--remote, --verify and --max-bandwidth need --push.")
    if push and no_cache:
        raise click.UsageError("--no-cache stores nothing that --push could send.")
    settings = {
        "dir": dir,
        "dvcyaml": None if no_dvcyaml else dvcyaml,
        "workers": workers,
        "lock_timeout": lock_timeout,
        "durable": durable,
        "push": make_push_policy(remote, verify, max_bandwidth) if push else None,
        "progress": progress,
    }
    options |= {"copy": copy if copy_to is None else copy_to, "cache": not no_cache}
    try:
        with library_logs_to_stderr(logging.INFO if verbose else logging.WARNING):
            report = log_paths(paths, settings, options)
    except InvalidDvcyamlError as error:
        raise click.BadParameter(use_option_names(str(error)), param_hint="'--dvcyaml'") from None
    unwritable: OutputError | None = None
    try:
        if as_json:
            write_json(_document(report, push))
        elif report.logged:
            _write_table(report, push)
    except OutputError as error:
        unwritable = error
    _print_failures(report)
    if push and report.not_entered is None:
        _print_not_pushed(report)
    if unwritable is not None:
        if not _exit_code(report, push):
            raise unwritable
        # The exit code must be that of the failed artifacts, which matter more.
        show_click_error(unwritable)
    raise Exit(_exit_code(report, push))


def _print_failures(report: Report) -> None:
    if report.not_entered is not None:
        print_problem(report.not_entered)
        return
    interrupted = [failure for failure in report.failed if failure.error == "Interrupted"]
    for failure in report.failed:
        if failure not in interrupted:
            print_problem(failure.message)
    if report.signal is not None:
        print_problem(
            f"interrupted; {len(report.logged)} logged, {len(interrupted)} not logged.",
            kind="Stopped",
        )


def _print_not_pushed(report: Report) -> None:
    not_pushed = _not_pushed(report)
    # If the remote cannot be reached, all artifacts have the same error.
    for message in dict.fromkeys(str(each.push) for each in not_pushed if each.push is not None):
        print_problem(message)
    if not_pushed:
        print_problem(
            f"{len(not_pushed)} logged and not pushed: "
            f"{', '.join(repr(each.path) for each in not_pushed)}. 'asynclive push' goes on.",
            kind="Stopped" if report.signal is not None else "Error",
        )


def _not_pushed(report: Report) -> list[Logged]:
    return [logged for logged in report.logged if not isinstance(logged.push, PushResult)]


def _exit_code(report: Report, push: bool) -> int:
    if report.signal is not None:
        return 128 + report.signal
    return 1 if report.failed or (push and _not_pushed(report)) else 0


def _write_table(report: Report, push: bool) -> None:
    rows = [_row(logged.artifact) for logged in report.logged]
    if push:
        remotes = [_remote_text(logged) for logged in report.logged]
        rows = [(*row[:-1], remote, row[-1]) for row, remote in zip(rows, remotes, strict=True)]
    write_rows(
        ("Name", "Path", "Size", "Files", *(["Pushed to"] if push else []), HASH),
        rows,
        right=frozenset({"Size", "Files"}),
    )


def _row(artifact: LoggedArtifact) -> tuple[str, ...]:
    return (
        artifact.name,
        _relative_path(str(artifact.path)),
        format_size(artifact.size),
        f"{artifact.nfiles:,}",
        artifact.md5 or "not cached",
    )


def _remote_text(logged: Logged) -> str:
    return logged.push.remote if isinstance(logged.push, PushResult) else "not pushed"


def _document(report: Report, push: bool) -> dict[str, Any]:
    return {
        "logged": [
            {
                "given": logged.path,
                **asdict(logged.artifact),
                **({"push": _push_document(logged)} if push else {}),
            }
            for logged in report.logged
        ],
        "failed": [
            {
                "given": failure.path,
                "error": failure.error,
                "message": use_option_names(failure.message),
            }
            for failure in report.failed
        ],
    }


def _push_document(logged: Logged) -> dict[str, Any]:
    if isinstance(logged.push, PushResult):
        return asdict(logged.push)
    if logged.push is not None:
        return push_error_document(logged.push)
    message = f"'{logged.path}' was not pushed: the command was interrupted."
    return {"error": "Interrupted", "message": message}


def _relative_path(path: str) -> str:
    """Return ``path`` relative to the working directory, if it is below it."""
    directory = os.path.realpath(os.getcwd())
    return os.path.relpath(path, directory) if path.startswith(directory + os.sep) else path
