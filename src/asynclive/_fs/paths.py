"""Functions of paths. No I/O but for the working directory."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


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


def import_path() -> list[str]:
    """Return the import path for another interpreter: that of this one, without the program's part.

    Python puts the directory of the script in front, or the working directory. There, a ``git.py``
    would replace the module that DVC imports. If asynclive is in that directory too, such as in an
    archive with all dependencies, it stays as the last one.
    """
    path = [each for each in sys.path if isinstance(each, str)]
    program = None
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):  # safe_path: Python 3.11
        program = next((each for each in path if each in _program_directories()), None)
        if program is not None:
            path.remove(program)
    with suppress(OSError):  # the working directory is gone, and so are its modules
        path = [os.path.abspath(each) for each in path if each]
        if program is not None and os.path.abspath(program) == _package_parent():
            path.append(os.path.abspath(program))
    return [each for each in path if os.path.isabs(each)]


def _program_directories() -> set[str]:
    """Return what Python may have put in front of ``sys.path``, for the ways to run a program."""
    main = sys.modules.get("__main__")
    file: str = getattr(main, "__file__", None) or ""
    found = {"", os.path.dirname(file)}
    with suppress(OSError):  # the working directory is gone
        found.add(os.path.dirname(os.path.realpath(file)) if file else "")
        if getattr(main, "__spec__", None) is not None:  # python -m
            found.add(os.getcwd())
    return found


def _package_parent() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
