"""Which names .gitignore hides, at a cost that does not grow with the lines that DVC adds.

DVC adds a line like ``/name`` for each artifact, and dulwich matches every path against every line.
Such a line decides about one name in one directory. So this module finds it by that name, and gives
dulwich only this line and the lines of other kinds, in their order. The answer is dulwich's.
"""

from __future__ import annotations

import io
import os
import re
import stat
from typing import Any

from .._fs.file_io import write_all
from .._fs.safe_open import held

# "/name", without a wildcard that is not escaped, and without another slash.
_LITERAL = re.compile(rb"/((?:[^\\/*?\[]|\\[^/])+)", re.DOTALL)
_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def can_be_gitignored(name: str) -> bool:
    """Return whether the line that DVC writes for a name hides that name from Git.

    Git removes spaces and a carriage return from the end of a line, and a line feed ends it. A name
    with these would make a line that hides another name.
    """
    return "\n" not in name and not name.endswith((" ", "\r"))


class GitIgnore:
    """Replaces dulwich's ``IgnoreFilterManager`` of a repository.

    Args:
        dulwich: the module ``dulwich.ignore``.
        repo: dulwich's ``Repo``.

    Raises:
        AttributeError: this version of dulwich lacks an attribute that is used here.
    """

    def __init__(self, dulwich: Any, repo: Any) -> None:
        self._dulwich = dulwich
        self._repo = repo
        self._files: dict[str, IgnoreFile] = {}
        # The files that were read again since the last ``reload``.
        self._fresh_files: dict[str, IgnoreFile] = {}
        self._set_up()
        # Fail here, and not in the middle of a session, if dulwich lacks these.
        vars(dulwich.IgnoreFilter([]))["_patterns"].copy()
        self._manager._path_filters.copy()

    def reload(self) -> bool:
        """Read each file again when it is next needed.

        Returns:
            Whether rules outside the work tree changed.
        """
        self._fresh_files.clear()
        before = self._common
        self._set_up()
        return self._common != before

    def _set_up(self) -> None:
        manager = self._manager = self._dulwich.IgnoreFilterManager.from_repo(self._repo)
        self._top: str = manager._top_path
        self._ignorecase: bool = manager._ignorecase
        self._common = (
            self._ignorecase,
            [[bytes(pattern) for pattern in rules._patterns] for rules in manager._global_filters],
        )

    def is_ignored(self, path: str) -> bool | None:
        """Return dulwich's answer: None if no rule matches ``path``.

        Args:
            path: relative to the work tree; with a separator at its end it is a directory.
        """
        parts = path.replace(os.sep, "/").split("/")
        last = self._rules_of("/".join(parts[:-1]))
        if last.readable and last.ends_with(parts[-1]):
            return True  # as in Git: no other file and no earlier line can change that
        filters = {}
        for depth, name in enumerate(parts):
            directory = "/".join(parts[:depth])
            rules = self._rules_of(directory)
            if rules.readable:
                filters[directory] = rules.filter_for(name)
        # dulwich itself reads the files that are not in this mapping.
        self._manager._path_filters = filters
        answer: bool | None = self._manager.is_ignored(path)
        return answer

    def __getattr__(self, name: str) -> Any:
        """Get all other attributes from a new manager of dulwich, which reads every line."""
        return getattr(self._dulwich.IgnoreFilterManager.from_repo(self._repo), name)

    def file(self, directory: str) -> IgnoreFile:
        """Return the .gitignore of an absolute ``directory``, read since the last ``reload``."""
        return self._rules_of(self._relative(directory))

    def forget(self, directory: str | None = None) -> None:
        """Read the .gitignore of ``directory`` again: it was written to.

        None: drop all cached rules.
        """
        if directory is None:
            self._files.clear()
            self._fresh_files.clear()
        else:
            self._fresh_files.pop(self._relative(directory), None)

    def _relative(self, directory: str) -> str:
        relative = os.path.relpath(directory, self._top).replace(os.sep, "/")
        return "" if relative == os.curdir else relative

    def _rules_of(self, directory: str) -> IgnoreFile:
        rules = self._fresh_files.get(directory)
        if rules is None:
            rules = self._files.get(directory)
            if rules is None:
                path = os.path.join(self._top, directory, ".gitignore")
                rules = self._files[directory] = IgnoreFile(
                    self._dulwich, path, self._ignorecase, self._top
                )
            rules.refresh()
            self._fresh_files[directory] = rules
        return rules


class IgnoreFile:
    """One .gitignore, which may be missing."""

    def __init__(self, dulwich: Any, path: str, ignorecase: bool, root: str | None = None) -> None:
        self.path = path
        self.root = root
        self._dulwich = dulwich
        self._ignorecase = ignorecase
        self._changed_names: set[str] | None = set()
        self._was_read = False
        self._clear()

    def _clear(self) -> None:
        self.readable = True
        self._content = bytearray()
        self._is_plain = True
        # For each name with a line like ``/name``: the number of patterns before the line, and the
        # line.
        self._literals: dict[bytes, tuple[int, bytes]] = {}
        self._filter: Any = self._dulwich.IgnoreFilter([], self._ignorecase, self.path)

    def take_changed_names(self) -> set[str] | None:
        """Return the names in this directory whose rules changed since the last call.

        None: the rules for any path below may have changed.
        """
        names, self._changed_names = self._changed_names, set()
        return names if self.readable else None

    def refresh(self) -> None:
        """Read the file, and parse only the lines that are new."""
        content = _read(self.path)
        if content is None:
            self.readable = False
            return
        if not self.readable:
            self._clear()
            self._changed_names = None
        if content != self._content:
            self._changed_names = _union(self._changed_names, self._update(content))
        if not self._was_read:
            self._changed_names = set()  # no answer was based on the rules before this read
        self._was_read = True

    def _update(self, content: bytes) -> set[str] | None:
        """Replace the content, and return the names whose rules changed; None: any name."""
        if self._ends_a_line() and content.startswith(self._content):
            names = self._append(content[len(self._content) :])
        else:
            patterns, literals = self._patterns, self._literals
            self._clear()
            self._append(content)
            # If the other lines are unchanged, a line of DVC decides only about its own name.
            names = None
            if self._patterns == patterns:
                names = {os.fsdecode(name) for name, _ in literals.items() ^ self._literals.items()}
        return None if self._ignorecase else names

    def filter_for(self, name: str) -> Any:
        """Return dulwich's filter without the lines for other names; None if no line is left."""
        literal = self._literals.get(self._key(os.fsencode(name)))
        if literal is None:
            return self._filter if self._patterns else None
        before, line = literal
        reduced = self._dulwich.IgnoreFilter([line], self._ignorecase, self.path)
        reduced._patterns[:0] = self._patterns[:before]
        reduced._patterns += self._patterns[before:]
        return reduced

    def ends_with(self, name: str) -> bool:
        """Return whether a line of DVC hides ``name`` and only lines of DVC come after it."""
        literal = self._literals.get(self._key(os.fsencode(name)))
        return literal is not None and literal[0] == len(self._patterns)

    def add(self, entry: str) -> bool:
        """Append the line that scmrepo would append; return False if scmrepo must do it."""
        line = entry.encode() + b"\n"
        if os.linesep != "\n" or not (self.readable and self._is_plain and self._ends_a_line()):
            return False
        if self._content.startswith(line) or b"\n" + line in self._content:
            return False
        with held(self.path, self.root) as safe_path:
            # O_NOFOLLOW: the file was no symlink when it was read, and may have become one.
            fd = os.open(safe_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NOFOLLOW, 0o666)
        try:
            if os.fstat(fd).st_size != len(self._content):
                return False  # another process has written to it
            write_all(fd, line)
        finally:
            os.close(fd)
        self._changed_names = _union(self._changed_names, self._append(line))
        return True

    @property
    def _patterns(self) -> list[Any]:
        patterns: list[Any] = self._filter._patterns
        return patterns

    def _append(self, content: bytes) -> set[str] | None:
        """Parse lines at the end of the file, and return the names they match; None: any name."""
        self._content += content
        self._is_plain = self._is_plain and _is_plain(content)
        names: set[str] | None = set()
        for line in self._dulwich.read_ignore_patterns(io.BytesIO(content)):
            literal = _LITERAL.fullmatch(line)
            if literal is None:
                self._filter.append_pattern(line)
                names = None
                continue
            name = _ESCAPED.sub(rb"\1", literal[1])
            self._literals[self._key(name)] = (len(self._patterns), line)
            if names is not None:
                names.add(os.fsdecode(name))
        return names

    def _ends_a_line(self) -> bool:
        return not self._content or self._content.endswith(b"\n")

    def _key(self, name: bytes) -> bytes:
        return name.lower() if self._ignorecase else name


def _union(one: set[str] | None, other: set[str] | None) -> set[str] | None:
    return None if one is None or other is None else one | other


def _read(path: str) -> bytes | None:
    """Return the content, empty if the file is missing; None if dulwich must judge the file."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return None
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError:
        return None


def _is_plain(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\r" not in content
