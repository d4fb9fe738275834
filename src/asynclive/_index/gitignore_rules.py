"""What .gitignore hides, at a cost that does not grow with the lines DVC adds to it.

DVC adds a line like ``/name`` for each artifact, and dulwich matches every path against every
line. Such a line decides one name in one directory and nothing else, so here it is found by
that name; dulwich is shown it together with the other lines, in their order, and answers.
"""

from __future__ import annotations

import io
import os
import re
import stat
from typing import Any

from .._fs.file_io import write_all
from .._fs.safe_open import held

# "/name": no wildcard but an escaped one, and no further slash.
_LITERAL = re.compile(rb"/((?:[^\\/*?\[]|\\[^/])+)", re.DOTALL)
_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def can_be_gitignored(name: str) -> bool:
    """Whether the line that DVC writes for a name is one that hides it from Git.

    A line ends at a line end, and Git takes spaces and a carriage return off its end: it would
    hide something else.
    """
    return "\n" not in name and not name.endswith((" ", "\r"))


class GitIgnore:
    """Stands in for dulwich's ``IgnoreFilterManager`` of a repository.

    Args:
        dulwich: the module ``dulwich.ignore``.
        repo: dulwich's ``Repo``.

    Raises:
        AttributeError: this version of dulwich is built in another way.
    """

    def __init__(self, dulwich: Any, repo: Any) -> None:
        self._dulwich = dulwich
        self._repo = repo
        self._files: dict[str, IgnoreFile] = {}
        self._filter_of: dict[str, IgnoreFile] = {}
        self._set_up()
        vars(dulwich.IgnoreFilter([]))["_patterns"].copy()
        self._manager._path_filters.copy()

    def reload(self) -> bool:
        """Look again at every file from now on; whether rules outside of the tree changed."""
        self._filter_of.clear()
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
        """As dulwich answers it: None where no rule speaks of ``path``.

        Args:
            path: relative to the work tree; with a separator at its end it is a directory.
        """
        parts = path.replace(os.sep, "/").split("/")
        last = self._rules_of("/".join(parts[:-1]))
        if last.readable and last.ends_with(parts[-1]):
            return True  # as Git: no other file, and no line above, has a say
        filters = {}
        for depth, name in enumerate(parts):
            directory = "/".join(parts[:depth])
            rules = self._rules_of(directory)
            if rules.readable:
                filters[directory] = rules.filter_for(name)
        # What is not in it, dulwich reads itself.
        self._manager._path_filters = filters
        answer: bool | None = self._manager.is_ignored(path)
        return answer

    def __getattr__(self, name: str) -> Any:
        """What else a manager is asked, dulwich's own answers, by every line."""
        return getattr(self._dulwich.IgnoreFilterManager.from_repo(self._repo), name)

    def file(self, directory: str) -> IgnoreFile:
        """The .gitignore of an absolute ``directory``, as it is now."""
        return self._rules_of(self._relative(directory))

    def forget(self, directory: str | None = None) -> None:
        """The .gitignore of ``directory`` was written to: look at it again.

        None: whatever was known of any was not enough.
        """
        if directory is None:
            self._files.clear()
            self._filter_of.clear()
        else:
            self._filter_of.pop(self._relative(directory), None)

    def _relative(self, directory: str) -> str:
        relative = os.path.relpath(directory, self._top).replace(os.sep, "/")
        return "" if relative == os.curdir else relative

    def _rules_of(self, directory: str) -> IgnoreFile:
        rules = self._filter_of.get(directory)
        if rules is None:
            rules = self._files.get(directory)
            if rules is None:
                path = os.path.join(self._top, directory, ".gitignore")
                rules = self._files[directory] = IgnoreFile(
                    self._dulwich, path, self._ignorecase, self._top
                )
            rules.refresh()
            self._filter_of[directory] = rules
        return rules


class IgnoreFile:
    """One .gitignore, there or not."""

    def __init__(self, dulwich: Any, path: str, ignorecase: bool, root: str | None = None) -> None:
        self.path = path
        self.root = root
        self._dulwich = dulwich
        self._ignorecase = ignorecase
        self._changed_names: set[str] | None = set()
        self._known = False
        self._clear()

    def _clear(self) -> None:
        self.readable = True
        self._content = bytearray()
        self._is_plain = True
        # How many of the patterns come before it, and the line, by the name that it hides.
        self._literals: dict[bytes, tuple[int, bytes]] = {}
        self._filter: Any = self._dulwich.IgnoreFilter([], self._ignorecase, self.path)

    def take_changed_names(self) -> set[str] | None:
        """Names in this directory that may be hidden or not since last asked; None: any below."""
        news, self._changed_names = self._changed_names, set()
        return news if self.readable else None

    def refresh(self) -> None:
        """Read the file, and understand of it only what is new."""
        content = _read(self.path)
        if content is None:
            self.readable = False
            return
        if not self.readable:
            self._clear()
            self._changed_names = None
        if content != self._content:
            self._changed_names = _joined(self._changed_names, self._take_in(content))
        if not self._known:
            self._changed_names = set()  # nobody has gone by what it said before
        self._known = True

    def _take_in(self, content: bytes) -> set[str] | None:
        """Go by ``content`` from now on; the names it tells of otherwise than before."""
        if self._ends_a_line() and content.startswith(self._content):
            names = self._append(content[len(self._content) :])
        else:
            patterns, literals = self._patterns, self._literals
            self._clear()
            self._append(content)
            # Where the other lines are as they were, one of DVC's tells of its name alone.
            names = None
            if self._patterns == patterns:
                names = {os.fsdecode(name) for name, _ in literals.items() ^ self._literals.items()}
        return None if self._ignorecase else names

    def filter_for(self, name: str) -> Any:
        """dulwich's filter, less the lines that cannot decide ``name``; None: no line is left."""
        literal = self._literals.get(self._key(os.fsencode(name)))
        if literal is None:
            return self._filter if self._patterns else None
        before, line = literal
        reduced = self._dulwich.IgnoreFilter([line], self._ignorecase, self.path)
        reduced._patterns[:0] = self._patterns[:before]
        reduced._patterns += self._patterns[before:]
        return reduced

    def ends_with(self, name: str) -> bool:
        """Whether a line of DVC's hides ``name``, and none but such lines come after it."""
        literal = self._literals.get(self._key(os.fsencode(name)))
        return literal is not None and literal[0] == len(self._patterns)

    def add(self, entry: str) -> bool:
        """Add a line as scmrepo would; False: it is for scmrepo to say what becomes of it."""
        line = entry.encode() + b"\n"
        if os.linesep != "\n" or not (self.readable and self._is_plain and self._ends_a_line()):
            return False
        if self._content.startswith(line) or b"\n" + line in self._content:
            return False
        with held(self.path, self.root) as at:
            # It was no link when it was read.
            fd = os.open(at, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NOFOLLOW, 0o666)
        try:
            if os.fstat(fd).st_size != len(self._content):
                return False  # another process has written to it
            write_all(fd, line)
        finally:
            os.close(fd)
        self._changed_names = _joined(self._changed_names, self._append(line))
        return True

    @property
    def _patterns(self) -> list[Any]:
        patterns: list[Any] = self._filter._patterns
        return patterns

    def _append(self, content: bytes) -> set[str] | None:
        """Understand what was added to the end of the file; the names it tells of; None: any."""
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


def _joined(one: set[str] | None, other: set[str] | None) -> set[str] | None:
    return None if one is None or other is None else one | other


def _read(path: str) -> bytes | None:
    """The file, empty where there is none; None: whether it counts is dulwich's to say."""
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
