"""``asynclive doctor``: what ``_doctor`` has found, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click
from click.exceptions import Exit

from .._doctor.diagnosis import Diagnosis, diagnose
from .._doctor.file_systems import Disk
from .output import complain, write, write_json
from .terminal_text import message_shown, shown, size_shown

_WIDTH = 19


@click.command(
    epilog="Exit codes: 0 no problem was found, 1 a problem was found, 2 the command line is "
    "invalid, 3 standard output cannot be written to."
)
@click.argument(
    "directory", default=".", type=click.Path(exists=True, file_okay=False), metavar="[DIRECTORY]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(directory: str, as_json: bool) -> None:
    """Report the state and the problems of a repository.

    Looks at the repository that contains DIRECTORY (by default, the working directory): its
    cache, the link types that work, the file systems and their free space, the processes that
    hold DVC's locks, temp files of killed sessions, and installed versions. Changes nothing.
    """
    found = diagnose(directory)
    if as_json:
        write_json({"healthy": not found.problems, **asdict(found)})
    else:
        write("".join(f"{line}\n" for line in _lines(found)))
    for problem in found.problems:
        complain(problem, kind="Problem")
    raise Exit(1 if found.problems else 0)


def _lines(found: Diagnosis) -> Iterator[str]:
    for name, text in _facts(found):
        yield f"{name:<{_WIDTH}}{shown(text)}".rstrip()
    for note in found.notes:
        yield f"{'note':<{_WIDTH}}{message_shown(note)}"
    if not found.problems:
        yield ""
        yield "No problems found."


def _facts(found: Diagnosis) -> Iterator[tuple[str, str]]:
    repository = found.repository
    if repository is not None:
        yield "repository", repository.root
        yield "Git", repository.git_root or "none (core.no_scm)"
        if repository.outputs is not None:
            yield "tracked", f"{repository.outputs:,} outputs"
    if found.workspace is not None:
        reflinks = found.links.workspace_reflinks if found.links else None
        yield "workspace", _disk(found.workspace, reflinks)
    if repository is not None and repository.dvc_dir is not None:
        yield "cache", repository.cache_dir
        if found.cache is not None:
            yield "", _disk(found.cache, found.links.cache_reflinks if found.links else None)
        yield "cache.type", ",".join(repository.cache_types)
        if repository.shared:
            yield "cache.shared", repository.shared
    if found.links is not None:
        yield "links", f"{', '.join(found.links.working)}; used: {found.links.used or 'none'}"
    if repository is not None and repository.dvc_dir is not None:
        yield (
            "lock",
            "free"
            if not found.locks
            else "; ".join(
                f"{one.what}: held by process {one.pid or 'unknown'} ({one.command or 'unknown'})"
                for one in found.locks
            ),
        )
        living = sum(session.living for session in found.sessions)
        dead = [session.directory for session in found.sessions if not session.living]
        yield "sessions", f"{_sessions(living)} running, {len(dead)} killed"
        for path in dead:
            yield "", path
    for name, version in found.versions.items():
        yield name, version or "not installed"


def _sessions(directories: int) -> str:
    # Each has one in the cache and one in the workspace.
    return str((directories + 1) // 2)


def _disk(disk: Disk, reflinks: bool | None) -> str:
    parts = [
        disk.kind or "file system unknown",
        *([f"on {disk.mount}"] if disk.mount else []),
        f"{size_shown(disk.free_bytes)} of {size_shown(disk.total_bytes)} free",
    ]
    if reflinks is not None:
        parts.append("supports reflinks" if reflinks else "no reflinks")
    return ", ".join(parts)
