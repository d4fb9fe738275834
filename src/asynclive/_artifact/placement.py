"""The changes of the workspace that wait until the artifact is committed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .._fs.change_detection import Fingerprint


@dataclass(frozen=True, slots=True)
class Move:
    """A complete file or directory at a temp path, and the path that it will get."""

    source: str
    destination: str
    unless_changed: Fingerprint | None = None
    """Fingerprint of the file that may be replaced; of a symlink, its own. Any other file has newer
    bytes of the user, and stays. None: replace any file."""
    unless_target_changed: Fingerprint | None = None
    """If that file is a symlink: the fingerprint of its target. If the target was written, the
    link stays too. None: do not check."""
    if_free: bool = False
    """Move only if the destination is free, or has the file ``unless_changed``. The source belongs
    to the user, and must not be removed like a temp file."""


class Mode(NamedTuple):
    """A file that stays, and the permissions that DVC would give it."""

    path: str
    mode: int
    unless_changed: Fingerprint | None = None
    """As in ``Move``."""


@dataclass(frozen=True, slots=True)
class Placement:
    """All changes of the workspace for one artifact, except of .dvc files and .gitignore."""

    moves: tuple[Move, ...] = ()
    modes: tuple[Mode, ...] = ()

    @property
    def temp_paths(self) -> list[str]:
        """The paths to remove at the end: each has the new file, or the old one it replaced."""
        return [move.source for move in self.moves if not move.if_free]
