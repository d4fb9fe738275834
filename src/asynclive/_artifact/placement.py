"""The moves and modes that wait to be applied to the workspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .._fs.change_detection import Fingerprint


@dataclass(frozen=True, slots=True)
class Move:
    """A finished file or directory, and the path it is to have."""

    source: str
    destination: str
    unless_changed: Fingerprint | None = None
    """Of what may be replaced, a link's own; anything else is newer bytes of the caller's, which
    stay. None: whatever is there is replaced."""
    unless_target_changed: Fingerprint | None = None
    """Of the file behind a link, which likewise stays if that was written."""
    if_free: bool = False
    """Put there only if nothing is, or what is ``unless_changed``. It was the caller's, and is
    not ours to remove."""


class Mode(NamedTuple):
    """A file that stays, and the permissions DVC would leave it with."""

    path: str
    mode: int
    unless_changed: Fingerprint | None = None
    """As of a move."""


@dataclass(frozen=True, slots=True)
class Placement:
    """All that one artifact changes in the workspace, besides DVC's own files."""

    moves: tuple[Move, ...] = ()
    modes: tuple[Mode, ...] = ()

    @property
    def temp_paths(self) -> list[str]:
        """What is left beside: a copy that was not placed, or what it replaced."""
        return [move.source for move in self.moves if not move.if_free]
