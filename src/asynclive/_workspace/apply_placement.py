"""Apply a placement to the workspace, and undo it. Blocks; no DVC.

Each new file is complete at a temp path before it takes its place, so a reader sees the old
file or the new one. The exception is a mount point: see ``replace_in_place``.

Every function that changes the workspace returns a frozen record of the change. Such a record
pickles, and ``undo_placement`` or ``remove_made_parents`` undoes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import replace
from typing import NamedTuple

from .._artifact.placement import Mode, Move, Placement
from .._fs.atomic_rename import can_rename_between, exchange, rename_if_free
from .._fs.change_detection import Fingerprint, fingerprint_of, is_open_for_writing
from .._fs.fsync import NO_SYNC, Sync
from .._fs.remove_tree import try_remove_tree
from .._fs.safe_open import change_mode, open_beneath
from .replace_in_place import copy_path, exchange_in_place, make_dir_beside

# --- Records of changes: tuples, since a placement may make one for each file ---------------


class RenamedIn(NamedTuple):
    """``source`` was renamed to ``destination``, where nothing was."""

    source: str
    destination: str


class Exchanged(NamedTuple):
    """``source`` and ``destination`` were exchanged; the old file is at ``source`` now."""

    source: str
    destination: str
    placed: Fingerprint | None
    """Fingerprint of the file that was put at ``destination``; the undo replaces no other file.
    None: the undo replaces any file, as the move did."""
    directory_mode: int | None
    """Mode of the old directory, if the exchange had to make it writable."""


class ModeChanged(NamedTuple):
    """The permissions of ``path`` were changed; before, they were ``mode``."""

    path: str
    mode: int


Change = RenamedIn | Exchanged | ModeChanged


class PlacementUndo(NamedTuple):
    """The changes of one placement, for ``undo_placement``.

    Valid until the temp paths of the placement are removed.
    """

    changes: tuple[Change, ...]
    """In the order in which they were made."""
    root: str | None
    dirs_beside: tuple[str, ...] = ()
    """Directories of temp files that were made next to destinations on other disks. They must be
    removed once the placement is undone, or will not be any more."""


class MadeParents(NamedTuple):
    """Directories that ``make_parents`` found missing, each one before its parent."""

    directories: tuple[str, ...]
    root: str | None


# --- Placements ------------------------------------------------------------------------------


def apply_placement(
    placement: Placement, root: str | None = None, sync: Sync = NO_SYNC
) -> PlacementUndo:
    """Make all changes of ``placement``, or none; return them for ``undo_placement``.

    Args:
        placement: the moves, then the modes.
        root: the directory that no link may lead out of; None: links are followed.
        sync: waits until copied bytes are on the disk.

    Raises:
        OSError: one of the changes failed. The workspace is as it was before the call.
    """
    changes: list[Change] = []
    dirs_beside: dict[str, str] = {}
    try:
        for move in placement.moves:
            moved = _apply_move_to_any_disk(move, root, dirs_beside, sync)
            if moved is not None:
                changes.append(moved)
        for mode in placement.modes:
            changed = _apply_mode(mode, root)
            if changed is not None:
                changes.append(changed)
    except BaseException:
        undo_placement(PlacementUndo(tuple(changes), root, tuple(dirs_beside.values())))
        raise
    return PlacementUndo(tuple(changes), root, tuple(dirs_beside.values()))


def undo_placement(undo: PlacementUndo) -> None:
    """Undo the changes, the last one first. Files written since then stay.

    Raises:
        OSError: a change cannot be undone; neither it nor those before it are.
    """
    for change in reversed(undo.changes):
        if isinstance(change, RenamedIn):
            with open_beneath(change.destination, undo.root) as at:
                os.rename(at, change.source)
        elif isinstance(change, Exchanged):
            _undo_exchange(change, undo.root)
        else:
            with open_beneath(change.path, undo.root) as at:
                change_mode(at, change.mode)
    for directory in undo.dirs_beside:
        try_remove_tree(directory)


def _undo_exchange(change: Exchanged, root: str | None) -> None:
    source, destination, placed, directory_mode = change
    with open_beneath(destination, root) as at:
        if placed is None:
            _exchange_any(source, destination, at)
        elif not os.path.lexists(at) or fingerprint_of(os.lstat(at)) != placed:
            return  # the user removed or wrote the file since then
        else:
            _exchange_if_unchanged(source, destination, at, placed)
        if directory_mode is not None:
            change_mode(at, directory_mode)


def _apply_move_to_any_disk(
    move: Move, root: str | None, dirs_beside: dict[str, str], sync: Sync
) -> RenamedIn | Exchanged | None:
    """Apply one move; if a rename does not reach the destination, copy the new file next to it.

    Args:
        move: the move.
        root: as in ``apply_placement``.
        dirs_beside: the directories of such copies, by the directory that they are in.
        sync: waits until copied bytes are on the disk.
    """
    try:
        return _apply_move(move, root, sync)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    source, destination = move.source, move.destination
    found = os.lstat(source)
    if move.unless_changed is not None and stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        return None  # a hard link cannot reach another disk: DVC keeps the file then
    top = _top_of_disk(os.path.dirname(destination), root)
    if top not in dirs_beside:
        path = os.path.join(top, os.path.basename(destination))
        with open_beneath(path, root) as at:
            dirs_beside[top] = make_dir_beside(path, os.path.dirname(source), at)
    copied = os.path.join(dirs_beside[top], os.path.basename(source))
    copy_path(source, copied, sync)
    return _apply_move(replace(move, source=copied), root, sync)


def _top_of_disk(directory: str, root: str | None) -> str:
    """Return the highest directory in ``root`` on the same disk.

    Temp files there are not in the artifact, unless the artifact has a disk of its own.
    """
    while directory != root and os.path.dirname(directory) != directory:
        parent = os.path.dirname(directory)
        if not can_rename_between(directory, parent):
            break
        directory = parent
    return directory


def _apply_move(move: Move, root: str | None, sync: Sync) -> RenamedIn | Exchanged | None:
    """Apply one move; None: the destination was left as it is.

    There are three cases:

    1. Nothing is at the destination. Rename the new file to it.
    2. The user wrote or removed the file there since it was planned, or it is the new file
       already. Leave it alone.
    3. The old file is there. Exchange both, so that the old one can be restored.
    """
    source, destination = move.source, move.destination
    with open_beneath(destination, root) as at:
        if move.if_free and rename_if_free(source, at):
            return RenamedIn(source, destination)
        try:
            old = os.lstat(at)
        except FileNotFoundError:
            if move.unless_changed is not None:
                return None  # case 2: the user removed it
            os.rename(source, at)
            return RenamedIn(source, destination)

        expected = move.unless_changed
        if (move.if_free or expected is not None) and fingerprint_of(old) != expected:
            return None  # case 2: newer bytes
        if _is_target_written(at, move):
            return None  # case 2: newer bytes behind a link
        new = os.lstat(source)
        if os.path.samestat(old, new):
            return None  # case 2: a hard link to the new file, which a rename would leave too

        # The kernel refuses to move a write-protected directory: it has to write its "..".
        directory_mode = None
        if stat.S_ISDIR(old.st_mode) and not old.st_mode & stat.S_IWUSR:
            directory_mode = stat.S_IMODE(old.st_mode)
            change_mode(at, directory_mode | stat.S_IWUSR)
        if expected is None:
            try:
                _exchange_any(source, destination, at, sync)
            except BaseException:
                if directory_mode is not None:
                    change_mode(at, directory_mode)
                raise
            return Exchanged(source, destination, None, directory_mode)
        try:
            if not _exchange_if_unchanged(source, destination, at, expected):
                return None
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return None  # a mount point, which has the same bytes already
        return Exchanged(source, destination, fingerprint_of(new), directory_mode)


def _exchange_any(source: str, destination: str, at: str, sync: Sync = NO_SYNC) -> None:
    """Exchange two paths. If one of them cannot be renamed, exchange their bytes.

    Raises:
        OSError: they are as they were. EXDEV: they are on different disks.
    """
    try:
        exchange(source, destination, at)
    except OSError as error:
        # EXDEV on one disk: a directory of a lower layer of overlayfs.
        if error.errno != errno.EBUSY and not (
            error.errno == errno.EXDEV
            and can_rename_between(os.path.dirname(source), os.path.dirname(at))
        ):
            raise
        exchange_in_place(source, destination, at, sync)


def _is_target_written(at: str, move: Move) -> bool:
    """Return whether the file behind the link at the destination has changed."""
    if move.unless_target_changed is None:
        return False
    try:
        return fingerprint_of(os.stat(at)) != move.unless_target_changed
    except OSError:
        return True


def _exchange_if_unchanged(source: str, destination: str, at: str, expected: Fingerprint) -> bool:
    """Exchange two paths if the file at the destination has the fingerprint ``expected``.

    Another process can replace or write that file between any check and the exchange. So the
    check comes after the exchange, when the old file is at ``source``, a private path, through
    which no other process can open it. There are three cases:

    1. It is the expected file, and no process has it open for writing. Keep the exchange.
    2. It cannot be examined. Exchange back, and raise the error.
    3. It is a newer file, or is open for writing. Put the newest file back to the destination.

    Args:
        source: the new file, in a directory of temp files.
        destination: the path that gets it.
        at: another name of ``destination``, by which it is reached.
        expected: the fingerprint of the file to replace.

    Returns:
        Whether they are exchanged. False: the destination has its newest file, or none.

    Raises:
        OSError: as in case 2, or the exchange failed; the destination is as it was.
    """
    new_inode = os.lstat(source).st_ino
    try:
        exchange(source, destination, at)
    except FileNotFoundError:
        if os.path.lexists(at):
            raise
        return False  # the user removed the old file after the check of the caller
    try:
        old = os.lstat(source)
        if fingerprint_of(old) == expected and not is_open_for_writing(source):
            return True  # case 1
    except OSError:  # case 2
        exchange(source, destination, at)
        if os.lstat(source).st_ino != new_inode:
            # Another process had replaced the new file. Its file is the newest: keep that.
            exchange(source, destination, at)
        raise
    _restore_newest(source, destination, at, new_inode, old.st_ino)  # case 3
    return False


def _restore_newest(
    source: str, destination: str, at: str, placed_inode: int, newest_inode: int
) -> None:
    """Exchange until the destination has the newest file that any process put there.

    Between two exchanges another process may put a still newer file at the destination. The
    exchange then takes out that file instead of the one that the last exchange put in, so one
    more exchange is needed. The loop ends when an exchange takes out the file that was put in.

    Args:
        source: where the newest file is now.
        destination: the path that gets it.
        at: another name of ``destination``, by which it is reached.
        placed_inode: the inode of the file that the last exchange put at the destination.
        newest_inode: the inode of the file at ``source``.
    """
    while True:
        try:
            exchange(source, destination, at)
        except FileNotFoundError:
            return  # the user removed the file
        taken_out = os.lstat(source).st_ino
        if taken_out == placed_inode:
            return
        placed_inode, newest_inode = newest_inode, taken_out


def _apply_mode(new: Mode, root: str | None) -> ModeChanged | None:
    """Set permissions; None: nothing has changed."""
    with open_beneath(new.path, root) as at:
        if new.unless_changed is not None and (
            not os.path.lexists(at) or fingerprint_of(os.lstat(at)) != new.unless_changed
        ):
            return None
        before = change_mode(at, new.mode)
    if before is None or before == new.mode:
        return None
    return ModeChanged(new.path, before)


# --- Directories -----------------------------------------------------------------------------


def make_parents(path: str, root: str | None = None) -> MadeParents:
    """Make the missing directories above ``path``; return them.

    Args:
        path: the file or directory that will be there; absolute.
        root: the directory that no link may lead out of; None: links are followed.

    Raises:
        OSError: one could not be made. None of them is left.
    """
    missing: list[str] = []
    directory = os.path.dirname(path)
    while not os.path.isdir(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    made = MadeParents(tuple(missing), root)
    try:
        for directory in reversed(missing):
            with open_beneath(directory, root) as at:
                try:
                    os.mkdir(at)
                except FileExistsError:
                    if not stat.S_ISDIR(os.lstat(at).st_mode):
                        raise  # otherwise another process has just made the directory
    except BaseException:
        remove_made_parents(made)
        raise
    return made


def remove_made_parents(made: MadeParents) -> None:
    """Remove the directories that ``make_parents`` made, except those in use."""
    for directory in made.directories:
        # Fails if the directory does not exist yet, or another process has put a file into it.
        with contextlib.suppress(OSError), open_beneath(directory, made.root) as at:
            os.rmdir(at)
