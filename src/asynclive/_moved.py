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
from ._errors import ArtifactChangedError, ArtifactPathError
from ._newer import Marks, marks_of
from ._place import put_back, read_note, remove_tree, write_note
from ._plan import ArtifactPlan
from ._store import remove_file

logger = getLogger(__name__)

_ASIDE = ".moved"
_NOTE = ".moved-from"
# At its old path is something else by now.
_UNLOGGED = ".unlogged"


@dataclass(frozen=True, slots=True)
class MovedSource:
    """Where a source is, and where it belongs."""

    source: str
    aside: str
    note: str

    @classmethod
    def take(cls, plan: ArtifactPlan, directory: str) -> MovedSource:
        """Move the source of a plan aside, into ``directory`` if that is on its file system.

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
        write_note(note, source)
        try:
            aside = _move(plan, directory, token)
        except BaseException:
            remove_file(note)
            raise
        moved = cls(source, aside, note)
        if not plan.isdir and marks_of(os.lstat(aside)) != plan.files[0].marks:
            moved.put_back()
            raise ArtifactChangedError(source, "was replaced or written")
        return moved

    def put_back(self) -> None:
        """Have it at its old path again; beside, if something else is there."""
        if os.path.lexists(self.aside):
            _put_back(self.aside, self.source)
        remove_file(self.note)

    def drop(self) -> None:
        """It is logged, and its bytes are elsewhere; or it is back already."""
        remove_tree(self.aside)
        remove_file(self.note)


def put_back_moved(directory: str) -> None:
    """Put back what a session that has ended had moved aside.

    Raises:
        OSError: something could not be; it stays where it is, with its note.
    """
    names = os.listdir(directory)
    for name in names:
        if name.endswith(_NOTE):
            note, token = os.path.join(directory, name), name.removesuffix(_NOTE)
            source = read_note(note)
            for aside in _asides(source, directory, token):
                if not os.path.lexists(aside):
                    continue
                if source == directory:  # the note was cut short
                    raise OSError(errno.EIO, "Nothing says where this belongs", aside)
                there = _put_back(aside, source)
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


def _put_back(aside: str, source: str) -> str:
    """Returns where it is then."""
    for place in _places(source):
        if put_back(aside, place):
            if place != source:
                logger.warning(
                    "'%s' was not logged, and something else is there by now: it is at '%s'.",
                    source,
                    place,
                )
            return place
    raise AssertionError("there is always one more")


def _places(source: str) -> Iterator[str]:
    yield source
    yield source + _UNLOGGED
    number = 2
    while True:
        yield f"{source}{_UNLOGGED}-{number}"
        number += 1
