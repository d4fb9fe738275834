"""Asks DVC which files in a workspace it reads, and what they declare.

Answers are cached. ``WorkspaceIndex`` asks again only for files that changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._fs.paths import is_inside
from .dvc_file_reader import read_dvc_file
from .gitignore_rules import GitIgnore


@dataclass(frozen=True, slots=True)
class DvcFunctions:
    """The names of DVC that this package needs. ``_dvc/repository/index_setup`` imports them."""

    project_file: str
    is_dvc_file: Callable[[str], bool]
    index_from_file: Callable[[Any, str], Any]
    ignore_filter: Callable[[Any, str], Any]


class DvcRules:
    """Implements ``TrackingRules`` by the calls of ``dvc.repo.index.collect_files``.

    Args:
        repo: DVC's ``Repo``.
        dvc: the functions and classes of DVC to use.
        has_git: whether the repository is in a Git repository.
        gitignore: the rules of Git; None: changes of these rules cannot be found.
    """

    def __init__(
        self, repo: Any, dvc: DvcFunctions, *, has_git: bool, gitignore: GitIgnore | None
    ) -> None:
        self._repo = repo
        self._dvc = dvc
        self._has_git = has_git
        self._gitignore = gitignore
        self.is_dvc_file = dvc.is_dvc_file
        self._dvcignore: Any = repo.dvcignore
        # For each dvc.yaml: its text without artifacts, and the outputs that text declares.
        self._projects: dict[str, tuple[str, list[Any] | None]] = {}
        self._rules_changed = False

    def reset(self) -> None:
        """Make DVC forget the files it read. Keep the rules whose changes are watched."""
        self._repo._reset()
        if self._dvcignore is None:
            self._dvcignore = self._dvc.ignore_filter(self._repo.fs, self._repo.root_dir)
        self._repo.dvcignore = self._dvcignore
        if self._gitignore is not None:
            self._repo.scm.dulwich.ignore_manager = self._gitignore
            self._rules_changed |= self._gitignore.reload()

    def forget_dvcignore(self) -> None:
        """Drop the .dvcignore rules: DVC may have read some in a directory that is not watched."""
        self._dvcignore = None

    def on_gitignore_written(self, directory: str) -> None:
        """Read the .gitignore of ``directory`` again: DVC has written to it."""
        if self._gitignore is not None:
            self._gitignore.forget(directory)

    def reload(self) -> None:
        if self._gitignore is not None:
            self._gitignore.forget()
        # A new filter lists the root. It reads the rules in each directory only once.
        self._dvcignore = self._dvc.ignore_filter(self._repo.fs, self._repo.root_dir)
        self._repo.dvcignore = self._dvcignore

    def outside_rules_changed(self) -> bool:
        changed, self._rules_changed = self._rules_changed, False
        if self._gitignore is not None:
            directory, top = self._repo.root_dir, self._repo.scm.root_dir
            while directory != top and is_inside(directory, top):
                directory = os.path.dirname(directory)
                changed |= self.take_changed_names(directory) != set()
        return changed

    def filter_visible(
        self, directory: str, dirs: list[str], files: list[str]
    ) -> tuple[list[str], list[str]]:
        dirs, files = self._repo.dvcignore(directory, dirs, files)
        hidden = self._repo.scm.is_ignored
        return (
            # For Git's rules, a path with a separator at its end is a directory.
            [name for name in dirs if not hidden(os.path.join(directory, name, ""))],
            [name for name in files if not hidden(os.path.join(directory, name))],
        )

    def is_hidden(self, path: str, isdir: bool) -> bool:
        dvcignore, scm = self._repo.dvcignore, self._repo.scm
        if isdir:
            return bool(dvcignore.is_ignored_dir(path) or scm.is_ignored(os.path.join(path, "")))
        return bool(dvcignore.is_ignored_file(path) or scm.is_ignored(path))

    def take_changed_names(self, directory: str) -> set[str] | None:
        if self._gitignore is None:
            return None if self._has_git else set()
        return self._gitignore.file(directory).take_changed_names()

    def load(self, path: str) -> list[Any] | None:
        if os.path.basename(path) != self._dvc.project_file:
            output = read_dvc_file(path)
            return self.load_by_dvc(path) if output is None else [output]
        # DVC takes seconds to read a dvc.yaml with thousands of artifacts, and each group of
        # artifacts changes the file. So DVC reads the file only if its other keys changed.
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if "stages" not in text:
            return None
        rest = _without_artifacts(text)
        cached = self._projects.get(path)
        if cached is None or cached[0] != rest:
            cached = self._projects[path] = (rest, self.load_by_dvc(path))
        return cached[1]

    def load_by_dvc(self, path: str) -> list[Any] | None:
        """Do the same as ``load``, but return only outputs of DVC's class ``Output``."""
        stages = self._dvc.index_from_file(self._repo, path).stages
        if not stages:
            return None
        return [out for stage in stages for out in stage.outs if out.protocol == "local"]


# The key ``artifacts`` and all lines that are indented below it.
_ARTIFACTS = re.compile(r"^artifacts:.*\n(?:(?:[ #].*)?\n)*", re.MULTILINE)


def _without_artifacts(text: str) -> str:
    """Return a dvc.yaml without its artifacts; unchanged if stages may refer to them."""
    rest = _ARTIFACTS.sub("", text)
    return text if "*" in rest else rest
