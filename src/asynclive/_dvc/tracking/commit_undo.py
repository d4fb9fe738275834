"""The steps of one artifact's commit, as data from which the committer takes it back.

They pickle and print. ``PlacementUndo`` and ``MadeParents`` of the workspace are steps too.
"""

from __future__ import annotations

from typing import NamedTuple

from ..._workspace.apply_placement import MadeParents, PlacementUndo


class OutputChanged(NamedTuple):
    """The index has an output that differs from its .dvc file on disk."""

    dvc_file: str


class HiddenFromGit(NamedTuple):
    """A line of .gitignore hides ``path``."""

    path: str


class TempWritten(NamedTuple):
    """The new .dvc file lies complete at a temp path."""

    path: str


class DvcFileReplaced(NamedTuple):
    """The .dvc file was replaced."""

    path: str
    before: bytes | None
    """Its old bytes; None: it did not exist."""


class QueuedForGit(NamedTuple):
    """DVC adds the .dvc file to Git at the end of the group, if ``core.autostage`` is set."""

    relpath: str


UndoStep = (
    MadeParents
    | OutputChanged
    | HiddenFromGit
    | TempWritten
    | PlacementUndo
    | DvcFileReplaced
    | QueuedForGit
)
