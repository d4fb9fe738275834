"""What DVC makes of the files in a workspace, as far as it depends on what changed there."""

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
    """What is taken from DVC, which ``_repo`` imports."""

    project_file: str
    is_dvc_file: Callable[[str], bool]
    index_from_file: Callable[[Any, str], Any]
    ignore_filter: Callable[[Any, str], Any]


class DvcRules:
    """The questions of ``WorkspaceIndex``, asked as ``dvc.repo.index.collect_files`` asks them.

    Args:
        repo: DVC's ``Repo``.
        has_git: whether it lies in a Git repository.
        gitignore: what Git ignores in it; None: it is not known what of that changed.
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
        # What DVC's project files say beside their artifacts, and what that declares.
        self._projects: dict[str, tuple[str, list[Any] | None]] = {}
        self._rules_changed = False

    def reset(self) -> None:
        """DVC forgets what it read; but for the rules of which it is known what changed."""
        self._repo._reset()
        if self._dvcignore is None:
            self._dvcignore = self._dvc.ignore_filter(self._repo.fs, self._repo.root_dir)
        self._repo.dvcignore = self._dvcignore
        if self._gitignore is not None:
            self._repo.scm.dulwich.ignore_manager = self._gitignore
            self._rules_changed |= self._gitignore.reload()

    def forget_dvcignore(self) -> None:
        """DVC has asked for rules where nobody sees them change."""
        self._dvcignore = None

    def on_gitignore_written(self, directory: str) -> None:
        """DVC has written to its .gitignore."""
        if self._gitignore is not None:
            self._gitignore.forget(directory)

    def reload(self) -> None:
        if self._gitignore is not None:
            self._gitignore.forget()
        # Made anew, it lists the root; what lies in a directory it asks only once.
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
            # Git's rules know a directory by the separator at the end.
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
            plain = read_dvc_file(path)
            return self.load_by_dvc(path) if plain is None else [plain]
        # With thousands of artifacts it takes DVC seconds to read it, and each group adds some.
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if "stages" not in text:
            return None
        rest = _beside_artifacts(text)
        known = self._projects.get(path)
        if known is None or known[0] != rest:
            known = self._projects[path] = (rest, self.load_by_dvc(path))
        return known[1]

    def load_by_dvc(self, path: str) -> list[Any] | None:
        """As ``load``, but every output is DVC's ``Output``."""
        stages = self._dvc.index_from_file(self._repo, path).stages
        if not stages:
            return None
        return [out for stage in stages for out in stage.outs if out.protocol == "local"]


# The key and all that is indented below it.
_ARTIFACTS = re.compile(r"^artifacts:.*\n(?:(?:[ #].*)?\n)*", re.MULTILINE)


def _beside_artifacts(text: str) -> str:
    """A dvc.yaml less its artifacts; all of it where stages may refer to them."""
    rest = _ARTIFACTS.sub("", text)
    return text if "*" in rest else rest
