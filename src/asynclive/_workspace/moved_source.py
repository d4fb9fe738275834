"""Move a source to a temp path until it is logged, and restore it if it is not.

For ``submit(..., move=True)``. A note next to the temp path names the original path. If this
process is killed, the next session reads the note and restores the source. Blocks; no DVC.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from logging import getLogger

from .._artifact.records import StagedArtifact
from .._errors import ArtifactPathError
from .._fs.atomic_rename import read_note, rename_if_free, write_note
from .._fs.change_detection import Fingerprint
from .._fs.file_io import remove_file
from .._fs.fsync import NO_SYNC, Sync
from .._fs.remove_tree import remove_tree
from .replace_in_place import copy_path, make_dir_beside

logger = getLogger(__name__)

# Suffixes: of the moved source; of its note; of the note once the source is logged, when the
# temp path may be removed; of a source whose original path was taken before it was restored.
_MOVED = ".moved"
_NOTE = ".moved-from"
_DONE = ".moved-done"
_UNLOGGED = ".unlogged"


@dataclass(frozen=True, slots=True)
class MovedSource:
    """A source at a temp path. The temp path follows from the path of the note."""

    source: str
    """The original path."""
    note: str
    """The note, in the directory of the session."""
    sync: Sync = NO_SYNC
    """Waits until renames are on the disk."""

    @classmethod
    def move(cls, source: str, isdir: bool, directory: str, sync: Sync = NO_SYNC) -> MovedSource:
        """Rename a source to a temp path, after its note is written.

        The temp path of a file is in ``directory``, if that is on the same file system. That of a
        directory is next to the source: a relative link in it would lead elsewhere from
        ``directory``, and no scan has looked for such links yet.

        Args:
            source: the file or directory.
            isdir: whether it is a directory.
            directory: the temp directory of the session.
            sync: if enabled, the note is on the disk before the source is renamed.

        Raises:
            ArtifactPathError: the source is a symbolic link.
            OSError: the source cannot be renamed. Nothing has changed.
        """
        if os.path.islink(source):
            raise ArtifactPathError(
                source, "is a symbolic link, which cannot be moved. Submit the file it points to."
            )
        moved = cls(source, os.path.join(directory, secrets.token_hex(8) + _NOTE), sync)
        in_session, next_to_source = moved._temp_paths
        try:
            write_note(moved.note, source, sync)
            for above in sync.with_parents([directory]):
                sync.directory(above)
            moves = [in_session, next_to_source][isdir:]
            if not any(_rename_within_file_system(source, temp_path) for temp_path in moves):
                _copy_next_to(source, next_to_source, directory, sync)
        except BaseException as error:
            if os.path.lexists(next_to_source):  # copied, but the source cannot be removed
                moved.restore()
            remove_file(moved.note)
            if isinstance(error, OSError) and error.errno == errno.EBUSY:
                raise ArtifactPathError(
                    source, "is a mount point, which cannot be moved. Submit it without move=True."
                ) from error
            raise
        try:
            sync.directory(os.path.dirname(moved.temp_path))
        except BaseException:
            moved.restore()
            raise
        return moved

    def move_into_session(self) -> None:
        """Move a directory on into the session's directory, if that is on the same file system.

        The user does not see it there. Call this only if no relative link leads out of it.

        Raises:
            OSError: it cannot be renamed.
        """
        in_session, next_to_source = self._temp_paths
        if self.temp_path == next_to_source and _rename_within_file_system(
            next_to_source, in_session
        ):
            self.sync.directory(os.path.dirname(in_session))
            self.sync.directory(os.path.dirname(next_to_source))

    @property
    def temp_path(self) -> str:
        """The path where the source is now."""
        in_session, next_to_source = self._temp_paths
        return in_session if os.path.lexists(in_session) else next_to_source

    @property
    def _temp_paths(self) -> tuple[str, str]:
        directory, name = os.path.split(self.note)
        return _temp_paths(self.source, directory, name.removesuffix(_NOTE))

    def restore(self) -> None:
        """Rename the source to its original path, or next to that if it is taken.

        If that fails, log an error. The temp path and its note stay, and the next session tries
        again.
        """
        temp_path = self.temp_path
        try:
            if os.path.lexists(temp_path):
                _rename_back(temp_path, self.source, self.sync)
            remove_file(self.note)
        except OSError as error:
            if os.path.lexists(temp_path):
                logger.error(
                    "'%s' was not logged. It is at '%s', because restoring it failed: %s",
                    self.source,
                    temp_path,
                    error,
                )
            else:
                logger.error(
                    "'%s' was not logged. It was restored, but may not be on the disk yet: %s",
                    self.source,
                    error,
                )

    def discard(self) -> None:
        """Remove the temp path, if the source is still there: it is logged.

        If that fails, log a warning: the end of the session removes it.
        """
        temp_path = self.temp_path
        try:
            if not os.path.lexists(temp_path):
                remove_file(self.note)
                return
            # Rename the note first: if a kill interrupts the removal of a directory, the next
            # session must remove the rest of it, and not restore it as if it were complete.
            done = self.note.removesuffix(_NOTE) + _DONE
            os.replace(self.note, done)
            self.sync.directory(os.path.dirname(done))
            remove_tree(temp_path)
            remove_file(done)
        except (OSError, RecursionError) as error:
            logger.warning("'%s' cannot be removed now: %s", temp_path, error)


def restore_moved_sources(directory: str, sync: Sync = NO_SYNC) -> None:
    """Restore the moved sources of a session that has ended; remove those that are logged.

    Args:
        directory: the temp directory of that session.
        sync: waits until renames are on the disk.

    Raises:
        OSError: a source cannot be restored. It stays at its temp path, with its note.
    """
    for name in os.listdir(directory):
        suffix = next((one for one in (_NOTE, _DONE) if name.endswith(one)), None)
        if suffix is None:
            continue
        note, token = os.path.join(directory, name), name.removesuffix(suffix)
        source = read_note(note)
        for temp_path in _temp_paths(source, directory, token):
            if not os.path.lexists(temp_path):
                continue
            if suffix == _DONE:
                remove_tree(temp_path)
                continue
            if source == directory:  # a kill or a power cut left the note empty
                raise OSError(errno.EIO, "The note with its original path is empty", temp_path)
            restored = _rename_back(temp_path, source, sync)
            logger.warning(
                "Restored '%s': its session ended before the artifact was logged.", restored
            )
        remove_file(note)


def decide_on_restored(
    staged: StagedArtifact, over: Fingerprint | None, *, wanted: bool
) -> StagedArtifact:
    """Change what happens to a moved source when its artifact is committed.

    The last move of such an artifact puts the source back to its original path, if that is free.

    Args:
        staged: the artifact; returned unchanged if it has no such move.
        over: the file that an earlier version of the artifact left at that path. The source
            replaces this file too. None: it replaces nothing.
        wanted: False: drop the move, because a later version of the artifact will be there.
    """
    placement = staged.placement
    if placement is None or not placement.moves or not placement.moves[-1].if_free:
        return staged
    *moves, last = placement.moves
    last = replace(last, unless_changed=over)
    moves = [*moves, last] if wanted else moves
    return replace(staged, placement=replace(placement, moves=tuple(moves)))


def _rename_within_file_system(source: str, destination: str) -> bool:
    """Rename; return False if the destination is on another file system.

    Also if the source is a directory of a lower layer of overlayfs.
    """
    try:
        os.rename(source, destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _copy_next_to(source: str, temp_path: str, session_dir: str, sync: Sync) -> None:
    """Move a directory that cannot be renamed, as one of a lower layer of overlayfs.

    It is copied completely before the first of its files is removed.
    """
    directory = make_dir_beside(temp_path, session_dir)
    try:
        copied = os.path.join(directory, "0")
        copy_path(source, copied, sync)
        os.rename(copied, temp_path)
    finally:
        remove_tree(directory)
    remove_tree(source)


def _temp_paths(source: str, directory: str, token: str) -> tuple[str, str]:
    """Return both possible temp paths: in the session's directory, and next to the source."""
    parent, name = os.path.split(source)
    return os.path.join(directory, token + _MOVED), os.path.join(parent, f".{name}.{token}{_MOVED}")


def _rename_back(temp_path: str, source: str, sync: Sync) -> str:
    """Rename to the original path, or the next free name; return that path."""
    for path in _restore_paths(source):
        if rename_if_free(temp_path, path) or _finish_rename(temp_path, path):
            sync.directory(os.path.dirname(path))
            if path != source:
                logger.warning(
                    "'%s' was not logged, and another file is at that path now. It is at '%s'.",
                    source,
                    path,
                )
            return path
    raise AssertionError("there is always one more path")


def _finish_rename(temp_path: str, path: str) -> bool:
    """Finish a ``rename_if_free`` that was killed between its link and its unlink.

    Returns:
        Whether both paths named the same file. ``temp_path`` is then removed.
    """
    if not os.path.lexists(path) or not os.path.samestat(os.lstat(temp_path), os.lstat(path)):
        return False
    os.unlink(temp_path)
    return True


def _restore_paths(source: str) -> Iterator[str]:
    yield source
    yield source + _UNLOGGED
    number = 2
    while True:
        yield f"{source}{_UNLOGGED}-{number}"
        number += 1
