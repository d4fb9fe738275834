"""Replace a path that a rename does not reach, or that cannot be renamed. Blocks; no DVC.

A rename fails with EXDEV between two disks or two mounts, and for a directory of a lower layer of
overlayfs. It fails with EBUSY if the path itself is a mount point. There are two ways out:

1. Another disk or mount: the new file is copied to a temp path next to its destination first.
2. A mount point, or a directory of a lower layer: its bytes are replaced. This is not atomic, so
   the old ones are kept until it is done. If the process is killed, crash recovery restores them.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat

from .._fs.atomic_rename import read_note, write_note
from .._fs.file_io import READ, WRITE, remove_file, set_mode
from .._fs.fsync import NO_SYNC, Sync
from .._fs.kernel_copy import check_size, copy_file, copy_step
from .._fs.remove_tree import remove_tree

# Suffix of a note: a file with the prefix of temp files outside of the session's directory.
OUTSIDE_NOTE = ".outside"
# Suffixes while bytes are replaced: of the copy of the old ones, and of the note with their path.
_KEPT = ".kept"
_REPLACING = ".replacing"

_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)


def make_dir_beside(path: str, session_dir: str, at: str | None = None) -> str:
    """Make a private directory next to ``path``, from which files can be renamed to it.

    A note in the directory of the session makes crash recovery find it.

    Args:
        path: the destination; absolute.
        session_dir: a directory of temp files of the session.
        at: another name of ``path``, by which it is reached.

    Raises:
        OSError: the directory cannot be made.
    """
    token = secrets.token_hex(8)
    prefix = f".asynclive.{token}."
    directory = os.path.dirname(path)
    write_note(os.path.join(session_dir, token + OUTSIDE_NOTE), os.path.join(directory, prefix))
    name = f"{prefix}tmp"
    os.mkdir(os.path.join(os.path.dirname(at or path), name), 0o700)
    return os.path.join(directory, name)


def copy_path(source: str, target: str, sync: Sync = NO_SYNC) -> None:
    """Copy a file, a symlink or a directory to a new path, with modes and mtimes.

    Raises:
        OSError: it cannot be copied. A part of it may be at ``target``.
    """
    found = os.lstat(source)
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(source), target)
        return
    if stat.S_ISDIR(found.st_mode):
        os.mkdir(target, 0o700)
        for name in os.listdir(source):
            copy_path(os.path.join(source, name), os.path.join(target, name), sync)
    else:
        fd = os.open(source, READ | _NOFOLLOW)
        try:
            copy_file(fd, target, _do_nothing)
        finally:
            os.close(fd)
    set_mode(target, stat.S_IMODE(found.st_mode))
    os.utime(target, ns=(found.st_mtime_ns, found.st_mtime_ns))
    if stat.S_ISDIR(found.st_mode):
        sync.directory(target)
    else:
        sync.file(target)


def replace_file(temp: str, path: str, at: str | None = None, sync: Sync = NO_SYNC) -> None:
    """Rename a temp file over ``path``, or give ``path`` its bytes in another way.

    Args:
        temp: the complete new file, in a directory of temp files of the session.
        path: the file to replace; it may be missing.
        at: another name of ``path``, by which it is reached.
        sync: waits until copied bytes are on the disk.

    Raises:
        OSError: ``path`` is as it was.
    """
    at = at or path
    try:
        try:
            os.replace(temp, at)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _replace_from_beside(temp, path, at, sync)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        exchange_in_place(temp, path, at, sync)
        remove_file(temp)


def _replace_from_beside(temp: str, path: str, at: str, sync: Sync) -> None:
    near = os.path.basename(make_dir_beside(path, os.path.dirname(temp), at))
    directory = os.path.join(os.path.dirname(at), near)
    copied = os.path.join(directory, "0")
    try:
        copy_path(temp, copied, sync)
        os.replace(copied, at)
    finally:
        remove_file(copied)
        os.rmdir(directory)
    remove_file(temp)


def exchange_in_place(one: str, other: str, at: str | None = None, sync: Sync = NO_SYNC) -> None:
    """Exchange the bytes of two files, or of two directories, of which no one can be renamed.

    Args:
        one: a path in a directory of temp files.
        other: any path.
        at: another name of ``other``, by which it is reached.
        sync: waits until copied bytes are on the disk.

    Raises:
        OSError: both are as they were. EBUSY: they are of different kinds.
    """
    at = at or other
    kinds = {stat.S_IFMT(os.lstat(path).st_mode) for path in (one, at)}
    if len(kinds) > 1 or not kinds <= {stat.S_IFREG, stat.S_IFDIR}:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), other)
    kept, note = one + _KEPT, one + _REPLACING
    try:
        copy_path(at, kept, sync)
        write_note(note, other, sync)
        sync.directory(os.path.dirname(note))
        try:
            _overwrite(at, one, sync)
        except BaseException:
            _overwrite(at, kept, sync)
            raise
    except BaseException:
        remove_file(note)
        remove_tree(kept)
        raise
    remove_tree(one)
    os.rename(kept, one)
    remove_file(note)


def repair_replacements(directory: str, sync: Sync = NO_SYNC) -> list[str]:
    """Restore the bytes of paths that were being replaced when the process was killed.

    Args:
        directory: a directory of temp files.
        sync: waits until restored bytes are on the disk.

    Returns:
        The paths that were restored.

    Raises:
        OSError: a path cannot be restored. The copy of its bytes stays.
    """
    repaired = []
    for name in os.listdir(directory):
        if name.endswith(_REPLACING):
            note = os.path.join(directory, name)
            kept, path = note.removesuffix(_REPLACING) + _KEPT, read_note(note)
            if os.path.lexists(kept) and path != directory:  # an empty note: a power cut
                _overwrite(path, kept, sync)
                repaired.append(path)
            remove_file(note)
    return repaired


def _overwrite(path: str, new: str, sync: Sync) -> None:
    """Give a file or directory the bytes of another one, which stays."""
    if not os.path.lexists(path):
        copy_path(new, path, sync)
    elif os.path.isdir(path):
        for name in os.listdir(path):
            remove_tree(os.path.join(path, name))
        for name in os.listdir(new):
            copy_path(os.path.join(new, name), os.path.join(path, name), sync)
        found = os.lstat(new)
        set_mode(path, stat.S_IMODE(found.st_mode))
        os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))
        sync.directory(path)
    else:
        _overwrite_file(path, new, sync)


def _overwrite_file(path: str, new: str, sync: Sync) -> None:
    source_fd = os.open(new, READ)
    try:
        target_fd = os.open(path, WRITE | _NOFOLLOW)
        try:
            offset = 0
            while copied := copy_step(source_fd, target_fd, offset):
                offset += copied
            # At the end, so that the file is never empty.
            os.ftruncate(target_fd, offset)
            check_size(target_fd, path, os.fstat(source_fd).st_size)
            sync.fd(target_fd)
        finally:
            os.close(target_fd)
    finally:
        os.close(source_fd)


def _do_nothing() -> None:
    pass
