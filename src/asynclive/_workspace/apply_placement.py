"""Put finished files into the workspace: complete beside, then replace. Blocking, no DVC."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable

from .._artifact.placement import Mode, Move, Placement
from .._fs.atomic_rename import exchange, put_back
from .._fs.change_detection import Marks, is_open_for_writing, marks_of
from .._fs.safe_open import change_mode, held


def apply_placement(placement: Placement, root: str | None = None) -> Callable[[], None]:
    """Do it; returns what takes it back, for as long as what is ``beside`` was not removed.

    Args:
        root: the directory that no link may lead out of; None: links are followed.

    Raises:
        OSError: nothing has changed.
    """
    done: list[Callable[[], None]] = []
    try:
        for move in placement.moves:
            done.append(_replace(move, root))
        for mode in placement.modes:
            done.append(_set_mode(mode, root))
    except BaseException:
        _undo(done)
        raise
    return lambda: _undo(done)


def make_parents(path: str, root: str | None = None) -> Callable[[], None]:
    """Make the directories above ``path``; returns what removes those that were missing."""
    missing: list[str] = []
    directory = os.path.dirname(path)
    while not os.path.isdir(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)

    def take_back() -> None:
        for made in missing:
            # Not made yet, or somebody else uses it by now.
            with contextlib.suppress(OSError), held(made, root) as at:
                os.rmdir(at)

    try:
        for directory in reversed(missing):
            with held(directory, root) as at:
                try:
                    os.mkdir(at)
                except FileExistsError:
                    if not stat.S_ISDIR(os.lstat(at).st_mode):  # not just made by somebody else
                        raise
    except BaseException:
        take_back()
        raise
    return take_back


def _undo(done: list[Callable[[], None]]) -> None:
    for take_back in reversed(done):
        take_back()


def _nothing() -> None:
    pass


def _replace(move: Move, root: str | None) -> Callable[[], None]:
    source, destination = move.source, move.destination
    with held(destination, root) as at:
        if move.if_free and put_back(source, at):
            return lambda: _rename_back(destination, source, root)
        try:
            there = os.lstat(at)
        except FileNotFoundError:
            if move.unless_changed is not None:
                return _nothing  # the caller removed it meanwhile
            os.rename(source, at)
            return lambda: _rename_back(destination, source, root)
        seen = marks_of(there) if move.if_free or move.unless_changed is not None else None
        if seen != move.unless_changed or _is_written_behind(at, move):
            return _nothing
        ours = os.lstat(source)
        if os.path.samestat(there, ours):
            return _nothing  # a hard link to the same file: rename would do nothing either
        mode = stat.S_IMODE(there.st_mode)
        protected = stat.S_ISDIR(there.st_mode) and not there.st_mode & stat.S_IWUSR
        if protected:  # moved to another directory, it has to be written to, for its ".."
            change_mode(at, mode | stat.S_IWUSR)
        if not _exchange_seen(source, destination, at, seen):
            return _nothing

    def take_back() -> None:
        with held(destination, root) as at:
            if seen is None:
                exchange(source, destination, at)
            elif not os.path.lexists(at) or marks_of(os.lstat(at)) != marks_of(ours):
                return  # what was written since then stays
            else:
                _exchange_seen(source, destination, at, marks_of(ours))
            if protected:
                change_mode(at, mode)

    return take_back


def _is_written_behind(at: str, move: Move) -> bool:
    if move.holding is None:
        return False
    try:
        return marks_of(os.stat(at)) != move.holding
    except OSError:
        return True


def _exchange_seen(source: str, destination: str, at: str, seen: Marks | None) -> bool:
    """Exchange; and back again, if what comes out is not what was seen there before.

    Nobody can look away while others write: what is newer may come to be between the look and
    the exchange. So what came out is looked at once more, where no name leads others to it.

    Returns:
        Whether they are exchanged.
    """
    before = os.lstat(source).st_ino
    try:
        exchange(source, destination, at)
    except FileNotFoundError:
        if seen is None or os.path.lexists(at):
            raise
        return False  # its owner has removed it meanwhile
    if seen is None:
        return True
    try:
        out = os.lstat(source)
        if marks_of(out) == seen and not is_open_for_writing(source):
            return True
    except OSError:  # it cannot be told what came out: all is as it was
        exchange(source, destination, at)
        if os.lstat(source).st_ino != before:  # but for what somebody has put there meanwhile
            exchange(source, destination, at)
        raise
    while True:
        put = out.st_ino
        try:
            exchange(source, destination, at)
        except FileNotFoundError:
            return False  # removed, likewise
        out = os.lstat(source)
        if out.st_ino == before:
            return False
        before = put  # somebody has put one more there, which is the newest


def _rename_back(destination: str, source: str, root: str | None) -> None:
    with held(destination, root) as at:
        os.rename(at, source)


def _set_mode(new: Mode, root: str | None) -> Callable[[], None]:
    with held(new.path, root) as at:
        if new.unless_changed is not None and (
            not os.path.lexists(at) or marks_of(os.lstat(at)) != new.unless_changed
        ):
            return _nothing
        before = change_mode(at, new.mode)
    if before is None or before == new.mode:
        return _nothing

    def take_back() -> None:
        with held(new.path, root) as at:
            change_mode(at, before)

    return take_back
