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

from ._artifact import StagedArtifact
from ._durable import NO_SYNC, Sync
from ._errors import ArtifactChangedError, ArtifactPathError
from ._newer import Marks, marks_of
from ._place import put_back, read_note, remove_tree, write_note
from ._plan import ArtifactPlan
from ._store import remove_file

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
    aside: str
    note: str
    sync: Sync = NO_SYNC
    """What waits for the disk."""

    @classmethod
    def take(cls, plan: ArtifactPlan, directory: str, sync: Sync = NO_SYNC) -> MovedSource:
        """Move the source of a plan aside, into ``directory`` if that is on its file system.

        Where ``sync`` waits for the disk, the note is there before the source is moved.

        Raises:
            ArtifactPathError: it is a link.
            ArtifactChangedError: it is not what was planned.
            OSError: it cannot be moved; nothing has changed.
        """
        source = plan.request.source
        if os.path.islink(source):
            raise ArtifactPathError(
                source, "is a symbolic link, which is not moved. Submit the file it leads to."
            )
        token = secrets.token_hex(8)
        note = os.path.join(directory, token + _NOTE)
        try:
            write_note(note, source, sync)
            for above in sync.with_above([directory]):
                sync.directory(above)
            aside = _move(plan, directory, token)
        except BaseException:
            remove_file(note)
            raise
        moved = cls(source, aside, note, sync)
        try:
            sync.directory(os.path.dirname(aside))
        except BaseException:
            moved.put_back()
            raise
        if not plan.isdir and marks_of(os.lstat(aside)) != plan.files[0].marks:
            moved.put_back()
            raise ArtifactChangedError(source, "was replaced or written")
        return moved

    def put_back(self) -> None:
        """Have it at its old path again; beside, if something else is there.

        Where that is not possible it stays aside with its note, for whoever clears up after us.
        """
        try:
            if os.path.lexists(self.aside):
                _put_back(self.aside, self.source, self.sync)
            remove_file(self.note)
        except OSError as error:
            aside = os.path.lexists(self.aside)
            logger.error(
                "'%s' was not logged; it is at '%s', since putting it back failed: %s"
                if aside
                else "'%s' was not logged; it is back at '%s', but may not be on the disk: %s",
                self.source,
                self.aside if aside else self.source,
                error,
            )

    def drop(self) -> None:
        """It is logged, and its bytes are elsewhere; or it is back already.

        What the disk does not let go stays, to go with the session.
        """
        try:
            if not os.path.lexists(self.aside):
                remove_file(self.note)
                return
            # Or what is left of a directory, killed meanwhile, would be taken for all of it.
            done = self.note.removesuffix(_NOTE) + _DONE
            os.replace(self.note, done)
            self.sync.directory(os.path.dirname(done))
            remove_tree(self.aside)
            remove_file(done)
        except (OSError, RecursionError) as error:
            logger.warning("'%s' cannot be removed now: %s", self.aside, error)


def put_back_moved(directory: str, sync: Sync = NO_SYNC) -> None:
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


def restored(staged: StagedArtifact, over: Marks | None, *, wanted: bool) -> StagedArtifact:
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


def _move(plan: ArtifactPlan, directory: str, token: str) -> str:
    source = plan.request.source
    inside, beside = _asides(source, directory, token)
    # From another place a relative link in it would lead elsewhere.
    if not any(file.leads_to and not os.path.isabs(file.leads_to) for file in plan.files):
        try:
            os.rename(source, inside)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            return inside
    os.rename(source, beside)
    return beside


def _asides(source: str, directory: str, token: str) -> tuple[str, str]:
    """In the session's directory, and in that of the source."""
    parent, name = os.path.split(source)
    return os.path.join(directory, token + _ASIDE), os.path.join(parent, f".{name}.{token}{_ASIDE}")


def _put_back(aside: str, source: str, sync: Sync) -> str:
    """Returns where it is then."""
    for place in _places(source):
        if put_back(aside, place) or _is_back(aside, place):
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
