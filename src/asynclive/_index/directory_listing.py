"""What of a directory decides what DVC tracks, and how to tell that a file changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

GITIGNORE, DVCIGNORE = RULES = (".gitignore", ".dvcignore")

# A change within the tick of the file system's clock leaves the mtime as it was. What is
# younger than this when looked at is looked at again (Git's "racy" entries).
_RACY_NS = 50_000_000

Stamp = tuple[int, int, int]
"""Inode, size and mtime (ns)."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The names in a directory, less the files that are none of DVC's."""

    dirs: list[str]
    dvc_files: list[str]
    rules: list[str]
    """The files that hide names."""


def list_directory(path: str, is_dvc_file: Callable[[str], bool]) -> Listing:
    """List it, as DVC walks: a link to a directory is nothing.

    Raises:
        OSError: it is not a directory, or cannot be read.
    """
    found = Listing([], [], [])
    with os.scandir(path) as entries:
        for entry in entries:
            name = entry.name
            if entry.is_dir():
                if not entry.is_symlink():
                    found.dirs.append(name)
            elif is_dvc_file(name):
                found.dvc_files.append(name)
            elif name in RULES:
                found.rules.append(name)
    return found


def stamp_of(path: str) -> Stamp | None:
    """None: there is no such file."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def unless_racy(stamp: Stamp | None) -> Stamp | None:
    """The stamp of what is read after this; one that nothing has, where it may not tell."""
    if stamp is None or time.time_ns() - stamp[2] >= _RACY_NS:
        return stamp
    return (*stamp[:2], -1)


def is_racy(stamp: Stamp) -> bool:
    return stamp[2] == -1
