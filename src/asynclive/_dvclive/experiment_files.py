"""Which untracked files an experiment holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from .._artifact.records import LoggedArtifact


class NewFiles:
    """Files that were written for Git to track. Git may not track them yet."""

    def __init__(self) -> None:
        self._paths: dict[str, None] = {}

    def add(self, logged: LoggedArtifact) -> None:
        """Add the .dvc file of an artifact, and the .gitignore that hides the artifact."""
        if logged.dvc_file is not None:
            self.add_path(os.fspath(logged.dvc_file))
            self.add_path(os.fspath(logged.dvc_file.with_name(".gitignore")))

    def add_path(self, path: str) -> None:
        self._paths[path] = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)


def resolve_directory(path: str) -> str:
    """Return ``path`` with the symlinks of its directory resolved.

    DVC and Git know their repository by its real path.
    """
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def files_for_git(paths: Iterable[str]) -> list[str]:
    """Return the existing files of ``paths``, and the files in its directories, for Git to track.

    Files that DVC tracks are left out: DVC would give Git every file of a directory, whether
    .gitignore hides it or not.
    """
    files: dict[str, None] = {}
    for path in paths:
        if os.path.isdir(path):
            files.update(dict.fromkeys(_files_in(path)))
        elif os.path.lexists(path):
            files[path] = None
    return list(files)


def _files_in(directory: str) -> Iterator[str]:
    for parent, names, files in os.walk(directory):
        entries = {*names, *files}
        names[:] = sorted(name for name in names if f"{name}.dvc" not in entries)
        for name in sorted(files):
            if f"{name}.dvc" not in entries:
                yield os.path.join(parent, name)
