"""``asynclive doctor``: prints the diagnosis of ``_doctor``, as text or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime

import click
from click.exceptions import Exit

from .._doctor.diagnosis import Diagnosis, diagnose
from .._doctor.file_systems import Disk
from .._doctor.lock_holders import LockHolder
from .._doctor.remote_check import RemoteCheck
from .option_values import parse_remote
from .output import print_problem, write, write_json
from .terminal_text import escape_unprintable, format_message, format_size

_WIDTH = 19


@click.command(
    epilog="Exit codes: 0 no problem was found, 1 a problem was found, 2 the command line is "
    "invalid, 3 standard output cannot be written to."
)
@click.argument(
    "directory", default=".", type=click.Path(exists=True, file_okay=False), metavar="[DIRECTORY]"
)
@click.option(
    "--remote",
    metavar="NAME",
    callback=parse_remote,
    help="Look into this DVC remote, too: whether it can be reached, which tracked objects are "
    "missing or wrong there, and which uploads are open.",
)
@click.option(
    "--abort-uploads",
    is_flag=True,
    help="With --remote: abort uploads that interrupted pushes of this repository have left open.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(directory: str, remote: str | None, abort_uploads: bool, as_json: bool) -> None:
    """Report the state and the problems of a repository.

    Looks at the repository that contains DIRECTORY (by default, the working directory): its
    cache, the link types that work, the file systems and their free space, the processes that
    hold DVC's locks, temp files of killed sessions, and installed versions. Changes nothing.
    """
    if abort_uploads and remote is None:
        raise click.UsageError("--abort-uploads needs --remote.")
    diagnosis = diagnose(directory, remote, abort_uploads=abort_uploads)
    if as_json:
        write_json({"healthy": not diagnosis.problems, **asdict(diagnosis)})
    else:
        write("".join(f"{line}\n" for line in _report_lines(diagnosis)))
    for problem in diagnosis.problems:
        print_problem(problem, kind="Problem")
    raise Exit(1 if diagnosis.problems else 0)


def _report_lines(diagnosis: Diagnosis) -> Iterator[str]:
    for name, text in _facts(diagnosis):
        yield f"{name:<{_WIDTH}}{escape_unprintable(text)}".rstrip()
    for note in diagnosis.notes:
        yield f"{'note':<{_WIDTH}}{format_message(note)}"
    if not diagnosis.problems:
        yield ""
        yield "No problems found."


def _facts(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    repository = diagnosis.repository
    if repository is not None:
        yield "repository", repository.root
        yield "Git", repository.git_root or "none (core.no_scm)"
        if repository.outputs is not None:
            yield "tracked", f"{repository.outputs:,} outputs"
    if diagnosis.workspace is not None:
        reflinks = diagnosis.links.workspace_reflinks if diagnosis.links else None
        yield "workspace", _disk_text(diagnosis.workspace, reflinks)
    if repository is not None and repository.dvc_dir is not None:
        yield "cache", repository.cache_dir
        if diagnosis.cache is not None:
            yield (
                "",
                _disk_text(
                    diagnosis.cache, diagnosis.links.cache_reflinks if diagnosis.links else None
                ),
            )
        yield "cache.type", ",".join(repository.cache_types)
        if repository.shared:
            yield "cache.shared", repository.shared
    if diagnosis.links is not None:
        yield (
            "links",
            f"{', '.join(diagnosis.links.working)}; used: {diagnosis.links.used or 'none'}",
        )
    if repository is not None and repository.dvc_dir is not None:
        yield "lock", "; ".join(map(_lock_text, diagnosis.locks)) or "free"
        living = sum(session.living for session in diagnosis.sessions)
        dead = [session.directory for session in diagnosis.sessions if not session.living]
        yield "sessions", f"{_session_count(living)} running, {len(dead)} killed"
        for path in dead:
            yield "", path
    if diagnosis.remote is not None:
        yield from _remote_facts(diagnosis.remote)
    for name, version in diagnosis.versions.items():
        yield name, version or "not installed"


def _remote_facts(check: RemoteCheck) -> Iterator[tuple[str, str]]:
    yield "remote", f"{check.name}: {check.url}" if check.url else check.name
    if check.sent_by:
        yield "", f"sent to by {check.sent_by}"
    if check.problem is None:
        yield (
            "",
            f"{check.objects:,} objects belong there: {len(check.missing):,} missing, "
            f"{len(check.wrong):,} wrong",
        )
        if check.aborted_uploads:
            yield "", f"{check.aborted_uploads:,} open uploads aborted"
        for upload in check.open_uploads:
            begun = datetime.fromtimestamp(upload.begun).isoformat(" ", "minutes")
            yield "", f"open upload: {upload.key}, {format_size(upload.size)}, begun {begun}"


def _lock_text(holder: LockHolder) -> str:
    process = f"process {holder.pid}" if holder.pid else "an unknown process"
    return f"{holder.what}: held by {process} ({holder.command or 'unknown command'})"


def _session_count(directories: int) -> str:
    # Each session has one directory in the cache and one in the workspace.
    return str((directories + 1) // 2)


def _disk_text(disk: Disk, reflinks: bool | None) -> str:
    parts = [
        disk.kind or "file system unknown",
        *([f"on {disk.mount}"] if disk.mount else []),
        f"{format_size(disk.free_bytes)} of {format_size(disk.total_bytes)} free",
    ]
    if reflinks is not None:
        parts.append("supports reflinks" if reflinks else "no reflinks")
    return ", ".join(parts)
