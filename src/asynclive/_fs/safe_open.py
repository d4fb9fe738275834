"""A path held open: what is put there goes where it was looked for, whatever links come to be.

A link that is swapped in for a directory, between the look at it and the use, would lead a write
to wherever the link says. So the directory is opened from the repository's own, one name after
another and none of them a link, and is named by what was opened. Blocking.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from .paths import is_inside

_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
# O_PATH: a directory that may be searched and not read can be opened too.
_DIRECTORY: int = (
    getattr(os, "O_PATH", os.O_RDONLY)
    | getattr(os, "O_DIRECTORY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | _NOFOLLOW
)
# Linux: an open directory has a name, which every system call takes.
_OPEN = "/proc/self/fd"


@contextlib.contextmanager
def open_beneath(path: str, root: str | None) -> Iterator[str]:
    """Yield another name of ``path``, by the directory that holds it now.

    Where open directories have no names, it is ``path`` itself, and a link that comes to be on
    the way from now on is followed.

    Args:
        path: it need not exist; absolute.
        root: the directory that links on the way must not lead out of; None: they may.

    Raises:
        OSError: a link leads out of ``root``, or the directory cannot be opened.
    """
    if root is None:
        yield path
        return
    directory, name = os.path.split(path)
    fd = _open_inside(directory, root)
    if fd is None:
        yield path
        return
    prefix = f"{_OPEN}/{fd}/"
    try:
        yield prefix + name
    except OSError as error:
        for attribute in ("filename", "filename2"):
            shown = getattr(error, attribute, None)
            if isinstance(shown, str) and shown.startswith(prefix):
                setattr(error, attribute, os.path.join(directory, shown[len(prefix) :]))
        raise
    finally:
        _close(fd)


def change_mode(path: str, mode: int) -> int | None:
    """Give a file or directory these permissions, and no other that can be had by its name.

    Returns:
        What it had; None: it is left as it is, for it is a link, or a file with other names.
    """
    if not hasattr(os, "fchmod"):  # Windows
        before = stat.S_IMODE(os.stat(path).st_mode)
        os.chmod(path, mode)
        return before
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | _NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):  # the latter on some BSDs
            return None
        raise
    try:
        found = os.fstat(fd)
        if not stat.S_ISDIR(found.st_mode) and found.st_nlink > 1:
            return None
        before = stat.S_IMODE(found.st_mode)
        if before != mode:
            os.fchmod(fd, mode)
        return before
    finally:
        _close(fd)


def _close(fd: int) -> None:
    """What was done by way of it is done: that its closing fails does not say otherwise."""
    with contextlib.suppress(OSError):
        os.close(fd)


def _open_inside(directory: str, root: str) -> int | None:
    """Open a directory in ``root``; None: it would have no name."""
    if os.path.exists(_OPEN) and is_inside(directory, root):
        try:
            return _open_each_component(directory, root)
        except OSError as error:
            # Where the last name is a file, it is said below.
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
    # Links that lead to another place of the repository may stand on the way.
    real, real_root = os.path.realpath(directory), os.path.realpath(root)
    if not is_inside(real, real_root):
        raise OSError(errno.ELOOP, f"A link on the way leads out of '{root}'", directory)
    return _open_each_component(real, real_root) if os.path.exists(_OPEN) else None


def _open_each_component(directory: str, root: str) -> int:
    """Open a directory by its names below ``root``, none of which may be a link."""
    fd = os.open(root, _DIRECTORY & ~_NOFOLLOW)
    below = os.path.relpath(directory, root)
    for name in below.split(os.sep) if below != os.curdir else ():
        try:
            inner = os.open(name, _DIRECTORY, dir_fd=fd)
        except OSError as error:
            error.filename = directory
            raise
        finally:
            os.close(fd)
        fd = inner
    return fd
