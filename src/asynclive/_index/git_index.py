"""Which paths Git tracks, at a cost that hardly grows with their number."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Protocol

from .._errors import RepositoryError

Stamp = tuple[int, int, int]

# A reader that does not know an extension must not use the index, unless the name of the extension
# begins with a capital letter. DVC's Git libraries refuse these; the values say what to do.
_REFUSED = {
    b"link": "is split: a part of it is in another file. Run 'git config core.splitIndex false' "
    "and 'git update-index --no-split-index'.",
    b"sdir": "is sparse: it does not name all files. Run 'git sparse-checkout reapply "
    "--no-sparse-index'.",
}
# Lengths in an index entry, in bytes: times, mode and size; flags; flags of version 3 and later.
_STAT, _FLAGS, _MORE_FLAGS = 40, 2, 2
_HAS_MORE_FLAGS = 0x4000
_LENGTH = 0x0FFF
_HEADER = 12
_NEWEST_VERSION = 4


class DulwichRepo(Protocol):
    """The methods of dulwich's ``Repo`` that are used here."""

    def index_path(self) -> str: ...

    def open_index(self) -> Any: ...


class GitIndex:
    """The index of a Git repository.

    ``Git.is_tracked`` parses the index file for each question. This class searches the bytes of the
    file for the name first. A name that is not found is not tracked, and Git hardly ever tracks an
    artifact.
    """

    def __init__(self, repo: DulwichRepo, root: str) -> None:
        self._repo = repo
        self._root = root
        self._data = b""
        self._names: frozenset[str] | None = None

    def reload(self) -> None:
        """Read the index file again, and parse it later if it changed.

        Raises:
            RepositoryError: DVC cannot use this index; the message says what to do.
        """
        path = self._repo.index_path()
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            self._data, self._names = b"", None
            return
        except OSError as error:
            raise RepositoryError(
                self._root, f"Git's index '{path}' cannot be read: {error.strerror or error}."
            ) from error
        if data != self._data or not data:
            self._check(data)
            self._data, self._names = data, None

    def tracks(self, path: str) -> bool:
        """Return whether Git tracks the absolute ``path``, or a path below it.

        Raises:
            Exception: dulwich cannot read the index.
        """
        name = os.path.relpath(path, self._root)
        if self._names is None and not self._may_track(os.fsencode(name.replace(os.sep, "/"))):
            return False
        if self._names is None:
            self._names = frozenset(self._read())
        return name in self._names

    def _check(self, data: bytes) -> None:
        """Check that the bytes of an index are all that there is to read."""
        path = self._repo.index_path()
        version = int.from_bytes(data[4:8], "big")
        if data[:4] == b"DIRC" and version > _NEWEST_VERSION:
            raise RepositoryError(
                self._root,
                f"DVC cannot read Git's index '{path}': it has version {version}. Run 'git "
                f"update-index --index-version {_NEWEST_VERSION}'.",
            )
        # Repositories with SHA-256 have longer hashes. Older versions of dulwich know SHA-1 alone.
        format_ = getattr(self._repo, "object_format", None)
        try:
            names = [*_extensions(data, getattr(format_, "oid_length", 20))]
        except (ValueError, IndexError):
            raise RepositoryError(
                self._root,
                f"Git's index '{path}' is damaged. Remove it, then run 'git reset'.",
            ) from None
        for name in names:
            if name in _REFUSED:
                raise RepositoryError(
                    self._root, f"DVC cannot read Git's index '{path}': it {_REFUSED[name]}"
                )
            if not b"A" <= name[:1] <= b"Z":
                raise RepositoryError(
                    self._root,
                    f"DVC cannot read Git's index '{path}': it has the extension {name!r}. Turn "
                    "off the feature of Git that needs it.",
                )

    def _may_track(self, name: bytes) -> bool:
        """Return False if Git certainly does not track the name."""
        data = self._data
        if data[:4] != b"DIRC" or data[4:8] != b"\0\0\0\2":
            return bool(data)  # versions from 3 on abbreviate names, or add flags before them
        for end in b"\0/":
            start = -1
            while (start := data.find(name + bytes([end]), start + 1)) >= 0:
                # In an entry, 12 bits of length come before the name, and a zero byte ends it.
                length = int.from_bytes(data[start - 2 : start], "big") & _LENGTH
                if length == min(data.find(b"\0", start) - start, _LENGTH):
                    return True
        return False

    def _read(self) -> set[str]:
        """Return the paths that Git tracks and their directories, relative to the root."""
        names: set[str] = set()
        for raw in self._repo.open_index():
            path = os.fsdecode(raw).replace("/", os.sep)
            while path and path not in names:
                names.add(path)
                path = os.path.dirname(path)
        return names


def _extensions(data: bytes, hash_length: int) -> Iterator[bytes]:
    """Yield the names of the extensions of an index (gitformat-index).

    Raises:
        ValueError, IndexError: it is no index, or a part of one.
    """
    version = int.from_bytes(data[4:8], "big")
    if data[:4] != b"DIRC" or not version:
        raise ValueError("not an index")
    position = _HEADER
    to_flags = _STAT + hash_length
    for _ in range(int.from_bytes(data[8:12], "big")):
        at = position + to_flags
        flags = data[at] << 8 | data[at + 1]
        name = at + _FLAGS + (_MORE_FLAGS if flags & _HAS_MORE_FLAGS else 0)
        if version == 4:  # the name begins with a number: how much of the last name to drop
            while data[name] & 0x80:
                name += 1
            position = data.index(b"\0", name + 1) + 1
        else:
            length = flags & _LENGTH
            end = name + length if length < _LENGTH else data.index(b"\0", name)
            position += (end - position + 8) & ~7  # at least one zero byte, and up to eight
    last = len(data) - hash_length
    while position < last:
        yield data[position : position + 4]
        position += 8 + int.from_bytes(data[position + 4 : position + 8], "big")
    if position != last:
        raise ValueError("cut off")
