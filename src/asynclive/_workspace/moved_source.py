"""A source that its caller gave up: aside until it is logged, and back again if it is not.

A note beside it says where it belongs, so that nothing is lost when we are killed: whoever clears
up after us puts it back. Blocking, no DVC.
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

logger = getLogger(__name__)

_ASIDE = ".moved"
_NOTE = ".moved-from"
# The note's name once it is logged: what is aside is no longer its caller's.
_DONE = ".moved-done"
# At its old path is something else by now.
_UNLOGGED = ".unlogged"


@dataclass(frozen=True, slots=True)
class MovedSource:
    """Where a source is, and where it belongs."""

    source: str
    note: str
    sync: Sync = NO_SYNC
    """What waits for the disk."""

    @classmethod
    def move(cls, source: str, isdir: bool, directory: str, sync: Sync = NO_SYNC) -> MovedSource:
        """Move a source aside: a file into ``directory`` if that is on its file system.

        A directory stays in its own until it is known what the links in it say. Where ``sync``
        waits for the disk, the note is there before the source is moved.

        Raises:
            ArtifactPathError: it is a link.
            OSError: it cannot be moved; nothing has changed.
        """
        if os.path.islink(source):
            raise ArtifactPathError(
                source, "is a symbolic link, which is not moved. Submit the file it leads to."
            )
        moved = cls(source, os.path.join(directory, secrets.token_hex(8) + _NOTE), sync)
        inside, beside = moved._asides
        try:
            write_note(moved.note, source, sync)
            for above in sync.with_parents([directory]):
                sync.directory(above)
            if isdir or not _rename(source, inside):
                os.rename(source, beside)
        except BaseException:
            remove_file(moved.note)
            raise
        try:
            sync.directory(os.path.dirname(moved.temp_path))
        except BaseException:
            moved.restore()
            raise
        return moved

    def move_into_session(self) -> None:
        """Have a directory out of its user's sight too, if that is on its file system.

        Raises:
            OSError: it cannot be moved.
        """
        inside, beside = self._asides
        if self.temp_path == beside and _rename(beside, inside):
            self.sync.directory(os.path.dirname(inside))
            self.sync.directory(os.path.dirname(beside))

    @property
    def temp_path(self) -> str:
        """Where it is."""
        inside, beside = self._asides
        return inside if os.path.lexists(inside) else beside

    @property
    def _asides(self) -> tuple[str, str]:
        directory, name = os.path.split(self.note)
        return _asides(self.source, directory, name.removesuffix(_NOTE))

    def restore(self) -> None:
        """Have it at its old path again; beside, if something else is there.

        Where that is not possible it stays aside with its note, for whoever clears up after us.
        """
        aside = self.temp_path
        try:
            if os.path.lexists(aside):
                _put_back(aside, self.source, self.sync)
            remove_file(self.note)
        except OSError as error:
            is_aside = os.path.lexists(aside)
            logger.error(
                "'%s' was not logged; it is at '%s', since putting it back failed: %s"
                if is_aside
                else "'%s' was not logged; it is back at '%s', but may not be on the disk: %s",
                self.source,
                aside if is_aside else self.source,
                error,
            )

    def discard(self) -> None:
        """It is logged, and its bytes are elsewhere; or it is back already.

        What the disk does not let go stays, to go with the session.
        """
        aside = self.temp_path
        try:
            if not os.path.lexists(aside):
                remove_file(self.note)
                return
            # Or what is left of a directory, killed meanwhile, would be taken for all of it.
            done = self.note.removesuffix(_NOTE) + _DONE
            os.replace(self.note, done)
            self.sync.directory(os.path.dirname(done))
            remove_tree(aside)
            remove_file(done)
        except (OSError, RecursionError) as error:
            logger.warning("'%s' cannot be removed now: %s", aside, error)


def restore_moved_sources(directory: str, sync: Sync = NO_SYNC) -> None:
    """Put back what a session that has ended had moved aside.

    Raises:
        OSError: something could not be; it stays where it is, with its note.
    """
    for name in os.listdir(directory):
        suffix = next((one for one in (_NOTE, _DONE) if name.endswith(one)), None)
        if suffix is None:
            continue
        note, token = os.path.join(directory, name), name.removesuffix(suffix)
        source = read_note(note)
        for aside in _asides(source, directory, token):
            if not os.path.lexists(aside):
                continue
            if suffix == _DONE:
                remove_tree(aside)
                continue
            if source == directory:  # the note was cut short
                raise OSError(errno.EIO, "Nothing says where this belongs", aside)
            there = _put_back(aside, source, sync)
            logger.warning("Put back '%s': a session had ended before it was logged.", there)
        remove_file(note)


def decide_on_restored(
    staged: StagedArtifact, over: Fingerprint | None, *, wanted: bool
) -> StagedArtifact:
    """Say what is to become of the source once it is tracked where it was.

    Args:
        staged: an artifact whose last move has its source at its path again.
        over: the file there that an earlier one has left, and that gives way.
        wanted: False: a later one will be there, and it is dropped.
    """
    placement = staged.placement
    if placement is None or not placement.moves or not placement.moves[-1].if_free:
        return staged
    *moves, last = placement.moves
    last = replace(last, unless_changed=over)
    moves = [*moves, last] if wanted else moves
    return replace(staged, placement=replace(placement, moves=tuple(moves)))


def _rename(source: str, inside: str) -> bool:
    """Whether it is ``inside`` now; False: that is on another file system."""
    try:
        os.rename(source, inside)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _asides(source: str, directory: str, token: str) -> tuple[str, str]:
    """In the session's directory, and in that of the source."""
    parent, name = os.path.split(source)
    return os.path.join(directory, token + _ASIDE), os.path.join(parent, f".{name}.{token}{_ASIDE}")


def _put_back(aside: str, source: str, sync: Sync) -> str:
    """Returns where it is then."""
    for place in _places(source):
        if rename_if_free(aside, place) or _is_back(aside, place):
            sync.directory(os.path.dirname(place))
            if place != source:
                logger.warning(
                    "'%s' was not logged, and something else is there by now: it is at '%s'.",
                    source,
                    place,
                )
            return place
    raise AssertionError("there is always one more")


def _is_back(aside: str, place: str) -> bool:
    """Whether both are names of one file: somebody was killed between making one and removing
    the other. Then it has one name again."""
    if not os.path.lexists(place) or not os.path.samestat(os.lstat(aside), os.lstat(place)):
        return False
    os.unlink(aside)
    return True


def _places(source: str) -> Iterator[str]:
    yield source
    yield source + _UNLOGGED
    number = 2
    while True:
        yield f"{source}{_UNLOGGED}-{number}"
        number += 1
