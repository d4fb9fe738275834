"""Which untracked files an experiment holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from .._artifact.records import LoggedArtifact


class NewFiles:
    """What was written for Git to track, beside the artifacts. It may not track it yet."""

    def __init__(self) -> None:
        self._paths: dict[str, None] = {}

    def add(self, logged: LoggedArtifact) -> None:
        """Note the .dvc file of an artifact, and the .gitignore that hides the artifact."""
        if logged.dvc_file is not None:
            self.add_path(os.fspath(logged.dvc_file))
            self.add_path(os.fspath(logged.dvc_file.with_name(".gitignore")))

    def add_path(self, path: str) -> None:
        self._paths[path] = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)


def _without_links(path: str) -> str:
    """As DVC and Git have it, who know their repository by its real path."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def left_to_git(paths: Iterable[str]) -> list[str]:
    """Those that exist, and the files of those that are directories, less what DVC keeps.

    DVC would give Git all that lies in a directory, hidden or not.
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
        below = {*names, *files}
        names[:] = sorted(name for name in names if f"{name}.dvc" not in below)
        for name in sorted(files):
            if f"{name}.dvc" not in below:
                yield os.path.join(parent, name)
