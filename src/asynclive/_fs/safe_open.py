"""Open a directory without following symlinks, and address files through its descriptor.

Otherwise a symlink that replaces a directory, between a check and a write, could redirect the
write out of the repository. So the directory is opened from the repository's directory on,
component by component, and none of them may be a symlink. Blocks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from .file_io import set_mode
from .paths import is_inside

_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
# O_PATH also opens a directory without read permission.
_DIRECTORY: int = (
    getattr(os, "O_PATH", os.O_RDONLY)
    | getattr(os, "O_DIRECTORY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | _NOFOLLOW
)
# Linux: each open descriptor has a path here, which every system call accepts.
_DESCRIPTORS = "/proc/self/fd"


@contextlib.contextmanager
def open_beneath(path: str, root: str | None) -> Iterator[str]:
    """Yield another name of ``path``, which addresses it through its opened directory.

    If the platform has no paths of descriptors, yield ``path`` itself after the check. A symlink
    that is swapped in later is then followed.

    Args:
        path: an absolute path; it need not exist.
        root: the directory that symlinks in ``path`` must not lead out of. None: yield ``path``
            without any check.

    Raises:
        OSError: a symlink leads out of ``root``, or the directory cannot be opened. Errors of the
            block name ``path`` instead of the descriptor.
    """
    if root is None:
        yield path
        return
    directory, name = os.path.split(path)
    fd = _open_inside(directory, root)
    if fd is None:
        yield path
        return
    prefix = f"{_DESCRIPTORS}/{fd}/"
    try:
        yield prefix + name
    except OSError as error:
        for attribute in ("filename", "filename2"):
            failed = getattr(error, attribute, None)
            if isinstance(failed, str) and failed.startswith(prefix):
                setattr(error, attribute, os.path.join(directory, failed[len(prefix) :]))
        raise
    finally:
        _close(fd)


def change_mode(path: str, mode: int) -> int | None:
    """Change the permissions of a file or directory, but never of another one through a link.

    Returns:
        The permissions that it had. None: nothing was changed, since it is a symlink or a file
        with several hard links, or the file system refused.
    """
    if not hasattr(os, "fchmod"):  # Windows
        before = stat.S_IMODE(os.stat(path).st_mode)
        return before if set_mode(path, mode) else None
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
        if before != mode and not set_mode(path, mode, fd):
            return None
        return before
    finally:
        _close(fd)


def _close(fd: int) -> None:
    """Close; ignore errors, since they do not undo the work done through the descriptor."""
    with contextlib.suppress(OSError):
        os.close(fd)


def _open_inside(directory: str, root: str) -> int | None:
    """Open a directory in ``root``; None: the platform has no paths of descriptors.

    There are two cases:

    1. No component below ``root`` is a symlink. Open them one after another.
    2. A symlink leads to another directory in ``root``. Resolve it, then open as in case 1.
    """
    if os.path.exists(_DESCRIPTORS) and is_inside(directory, root):
        try:
            return _open_each_component(directory, root)
        except OSError as error:
            # ELOOP or ENOTDIR: a component is a symlink (case 2). If it is a file, case 2 raises.
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
    real, real_root = os.path.realpath(directory), os.path.realpath(root)
    if not is_inside(real, real_root):
        raise OSError(errno.ELOOP, f"A symbolic link in this path leads out of '{root}'", directory)
    return _open_each_component(real, real_root) if os.path.exists(_DESCRIPTORS) else None


def _open_each_component(directory: str, root: str) -> int:
    """Open ``root``, then each component below it; raise if one is a symlink."""
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
