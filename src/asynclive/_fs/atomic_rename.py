"""Exchange two paths, rename without replacing, and leave notes for recovery."""

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

_AT_FDCWD = -100


_RENAME_EXCHANGE = 2


# Beside the new path, while a swap takes three renames: the old one, and where it belongs.
_ASIDE = ".old"


_SWAP = ".swap"


def exchange(one: str, other: str, at: str | None = None) -> None:
    """Swap two paths. At once on Linux; elsewhere in three renames, undone if one fails.

    If we are killed between two of them, ``repair_swaps`` puts ``other`` back.

    Args:
        one: in a directory of temp files.
        other: anywhere.
        at: another name of ``other``, to go by.
    """
    at = at or other
    if _renameat2 is not None:
        names = os.fsencode(one), os.fsencode(at)
        if _renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
            return
        error = ctypes.get_errno()
        if error not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
            raise OSError(error, os.strerror(error), other)
    aside, note = one + _ASIDE, one + _SWAP
    write_note(note, other)
    try:
        os.rename(at, aside)
        try:
            os.rename(one, at)
        except BaseException:
            os.rename(aside, at)
            raise
        os.rename(aside, one)
    finally:
        # Where not even the undoing was possible, it is what tells where the rest belongs.
        if not os.path.lexists(aside):
            remove_file(note)


def repair_swaps(directory: str) -> list[str]:
    """Put back what swaps that did not end have left aside in a directory of temp files.

    Whatever is in its place by now stays.

    Returns:
        What was put back.

    Raises:
        OSError: something could not be.
    """
    repaired = []
    for name in os.listdir(directory):
        if name.endswith(_SWAP):
            note = os.path.join(directory, name)
            aside, destination = note.removesuffix(_SWAP) + _ASIDE, read_note(note)
            if os.path.lexists(aside) and rename_if_free(aside, destination):
                repaired.append(destination)
    return repaired


def rename_if_free(aside: str, destination: str) -> bool:
    """Give ``aside`` its name again, unless there is something of that name."""
    os.makedirs(os.path.dirname(destination), exist_ok=True)
    if os.path.lexists(destination):
        return False
    if not stat.S_ISDIR(os.lstat(aside).st_mode):
        try:  # a rename would replace what comes to be there just now
            os.link(aside, destination, follow_symlinks=False)
        except FileExistsError:
            return False
        except (OSError, NotImplementedError):
            pass  # no hard links here
        else:
            os.unlink(aside)
            return True
    os.rename(aside, destination)
    return True


def write_note(note: str, path: str, sync: Sync = NO_SYNC) -> None:
    """Write down a path for whoever clears up after us."""
    fd = create(note)
    try:
        # As seen from here: a repository may be moved, or be in another place in a container.
        write_all(fd, os.fsencode(os.path.relpath(path, os.path.dirname(note))))
        sync.fd(fd)
    finally:
        os.close(fd)


def read_note(note: str) -> str:
    with open(note, "rb") as file:
        path = os.fsdecode(file.read())
    return os.path.normpath(os.path.join(os.path.dirname(note), path))


def _load_renameat2() -> Any:
    """The C library's ``renameat2``, or None where there is none."""
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
    """Whether a file can be renamed from one directory into the other."""
    # What may not be written to is found before anything is tracked, by trying to.
    if not os.access(other, os.W_OK | os.X_OK):
        return False
    try:
        if os.stat(directory).st_dev != os.stat(other).st_dev:
            return False
        # The same device at two mount points will not do. Linux says so before it looks for the
        # file, of which there is none.
        os.rename(os.path.join(directory, "none"), os.path.join(other, secrets.token_hex(8)))
    except OSError as error:
        return error.errno != errno.EXDEV
    return True
