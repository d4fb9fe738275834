"""Exchange two paths, rename without replacing, and write notes for crash recovery. Blocks."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import stat
import sys
from typing import Any

from .file_io import create, remove_file, write_all
from .fsync import NO_SYNC, Sync

# Constants of Linux for renameat2.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2

# Suffixes while an exchange takes three renames: of the old file, and of the note that names its
# path. Both files are next to the new one.
_OLD = ".old"
_SWAP_NOTE = ".swap"


def exchange(one: str, other: str, at: str | None = None) -> None:
    """Exchange two paths.

    There are two ways:

    1. The kernel and the file system can exchange them (Linux): one atomic system call.
    2. Otherwise: three renames, undone if one fails. If the process is killed between the first
       two, nothing is at ``other`` until ``repair_swaps`` restores it.

    Args:
        one: a path in a directory of temp files.
        other: any path on the same file system.
        at: another name of ``other``, by which it is reached.

    Raises:
        OSError: they cannot be exchanged. Both are as they were.
    """
    at = at or other
    if _renameat2 is not None:
        names = os.fsencode(one), os.fsencode(at)
        if _renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
            return
        error = ctypes.get_errno()
        if error not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
            raise OSError(error, os.strerror(error), other)
    old, note = one + _OLD, one + _SWAP_NOTE
    write_note(note, other)
    try:
        os.rename(at, old)
        try:
            os.rename(one, at)
        except BaseException:
            os.rename(old, at)
            raise
        os.rename(old, one)
    finally:
        # If even the undo failed, crash recovery needs the note to restore the old file.
        if not os.path.lexists(old):
            remove_file(note)


def repair_swaps(directory: str) -> list[str]:
    """Restore the files of exchanges that were killed between their renames.

    A file that is at the original path now is not replaced.

    Args:
        directory: a directory of temp files.

    Returns:
        The paths that were restored.

    Raises:
        OSError: a file cannot be restored.
    """
    repaired = []
    for name in os.listdir(directory):
        if name.endswith(_SWAP_NOTE):
            note = os.path.join(directory, name)
            old, destination = note.removesuffix(_SWAP_NOTE) + _OLD, read_note(note)
            if os.path.lexists(old) and rename_if_free(old, destination):
                repaired.append(destination)
    return repaired


def rename_if_free(source: str, destination: str) -> bool:
    """Rename without replacing; return whether the destination was free.

    Makes the parent directory of the destination if it is missing.
    """
    os.makedirs(os.path.dirname(destination), exist_ok=True)
    if os.path.lexists(destination):
        return False
    if not stat.S_ISDIR(os.lstat(source).st_mode):
        # Link and unlink: a rename would replace a file that another process has just made.
        try:
            os.link(source, destination, follow_symlinks=False)
        except FileExistsError:
            return False
        except (OSError, NotImplementedError):
            pass  # this file system has no hard links
        else:
            os.unlink(source)
            return True
    os.rename(source, destination)
    return True


def write_note(note: str, path: str, sync: Sync = NO_SYNC) -> None:
    """Write a path to a new file, for crash recovery."""
    fd = create(note)
    try:
        # Relative to the note: the repository may be moved, or mounted elsewhere in a container.
        write_all(fd, os.fsencode(os.path.relpath(path, os.path.dirname(note))))
        sync.fd(fd)
    finally:
        os.close(fd)


def read_note(note: str) -> str:
    """Return the path in a note, absolute. An empty note gives the directory of the note."""
    with open(note, "rb") as file:
        path = os.fsdecode(file.read())
    return os.path.normpath(os.path.join(os.path.dirname(note), path))


def _load_renameat2() -> Any:
    """Return the C library's ``renameat2``, or None if it has none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    function.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    )
    return function


_renameat2 = _load_renameat2()


def can_rename_between(directory: str, other: str) -> bool:
    """Return whether a file can be renamed from one directory into the other."""
    # An unwritable directory counts as unreachable: its temp file is then made in that directory,
    # which fails before anything is tracked.
    if not os.access(other, os.W_OK | os.X_OK):
        return False
    try:
        if os.stat(directory).st_dev != os.stat(other).st_dev:
            return False
        # A rename between two mount points of one device fails too. Linux checks that before it
        # looks up the source, so the rename of a file that does not exist tells.
        os.rename(os.path.join(directory, "none"), os.path.join(other, secrets.token_hex(8)))
    except OSError as error:
        return error.errno != errno.EXDEV
    return True
