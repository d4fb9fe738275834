"""Functions of paths. No I/O."""

from __future__ import annotations

import os


def is_utf8(path: str) -> bool:
    """Return whether a path, as ``os.fsdecode`` returns it, can be written as UTF-8."""
    return path.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in path)


def relocated(path: str, directory: str, new_directory: str) -> str:
    """Return the path that ``path`` gets when ``directory`` is renamed to ``new_directory``."""
    if directory == new_directory or not is_inside(path, directory):
        return path
    below = path[len(directory) :].lstrip(os.sep)
    return os.path.join(new_directory, below) if below else new_directory


def is_inside(path: str, directory: str) -> bool:
    """Return whether ``path`` is ``directory`` or below it; both absolute and normalised."""
    return path == directory or path.startswith(directory.rstrip(os.sep) + os.sep)
