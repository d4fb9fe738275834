"""The outputs that DVC tracks in a repository, by path: owners and overlaps.

``dvc add`` gets the same answers from its graph (``dvc.repo.trie``, ``dvc.repo.graph``). This index
answers for one path at a time, so that an artifact that overlaps an output is refused alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from .._errors import ArtifactPathError
from .._fs.paths import is_inside


class TrackedStage(Protocol):
    """The attributes of DVC's ``Stage`` that are used here."""

    path: str
    cmd: str | None

    @property
    def addressing(self) -> str: ...


class TrackedOutput(Protocol):
    """The attributes of DVC's ``Output`` that are used here."""

    fs_path: str

    @property
    def stage(self) -> TrackedStage: ...


OutputT = TypeVar("OutputT", bound=TrackedOutput)


class OutputIndex(Generic[OutputT]):
    """Outputs and the files that declare them. Each operation costs O(depth of the path)."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._declared: dict[str, tuple[OutputT, ...]] = {}
        # The outputs of each path. In a valid workspace there is one.
        self._outputs: dict[str, list[OutputT]] = {}
        # The outputs and the declaring files below each directory, in the order they were added.
        self._outputs_below: dict[str, dict[str, None]] = {}
        self._declarations_below: dict[str, dict[str, None]] = {}

    def __contains__(self, path: str) -> bool:
        """Return whether ``path`` itself is an output."""
        return path in self._outputs

    def declare(self, declaration: str, outputs: Sequence[OutputT]) -> None:
        """Replace the outputs that the file ``declaration`` declares."""
        self.retract(declaration)
        self._declared[declaration] = tuple(outputs)
        for directory in self._directories_above(declaration):
            self._declarations_below.setdefault(directory, {})[declaration] = None
        for output in outputs:
            self._outputs.setdefault(output.fs_path, []).append(output)
            for directory in self._directories_above(output.fs_path):
                self._outputs_below.setdefault(directory, {})[output.fs_path] = None

    def retract(self, declaration: str) -> Sequence[OutputT]:
        """Remove the outputs that the file ``declaration`` declares, and return them."""
        if declaration not in self._declared:
            return ()
        outputs = self._declared.pop(declaration)
        for output in outputs:
            path = output.fs_path
            self._outputs[path] = [other for other in self._outputs[path] if other is not output]
            if not self._outputs[path]:
                del self._outputs[path]
                self._remove_below(self._outputs_below, path)
        self._remove_below(self._declarations_below, declaration)
        return outputs

    def owner(self, path: str) -> OutputT | None:
        """Return the output at ``path``, or the directory output that contains it."""
        if path in self._outputs:
            return self._outputs[path][-1]
        for directory in self._directories_above(path):
            if directory in self._outputs:
                return self._outputs[directory][-1]
        return None

    def all_outputs(self) -> list[OutputT]:
        """Return all outputs, by the files that declare them."""
        return [output for outputs in self._declared.values() for output in outputs]

    def at(self, path: str) -> Sequence[OutputT]:
        """Return the owner of ``path``, or the outputs that the file ``path`` declares."""
        owner = self.owner(path)
        return self._declared.get(path, ()) if owner is None else (owner,)

    def first_below(self, path: str) -> OutputT | None:
        """Return an output in the directory ``path``; None: there is none."""
        below = self._outputs_below.get(path)
        return self._outputs[next(iter(below))][-1] if below else None

    def claim(self, path: str) -> OutputT | None:
        """Return the output to update when ``path`` is logged; None if a new one must be made.

        Raises:
            ArtifactPathError: ``path`` is an output of a stage with a command, or contains other
                outputs or a DVC file.
        """
        owner = self.owner(path)
        if owner is not None:
            if owner.stage.cmd is not None:
                raise ArtifactPathError(
                    path,
                    f"overlaps with an output of stage '{owner.stage.addressing}', which DVC "
                    "tracks. Run the pipeline, or log a copy of it with copy=True.",
                )
            return owner
        inner = self.first_below(path)
        if inner is not None:
            first = (
                f"Run 'dvc remove {inner.stage.path}' first, "
                if inner.stage.cmd is None
                else "Log a copy of it with copy=True, "
            )
            raise ArtifactPathError(
                path,
                f"contains '{inner.fs_path}', which DVC tracks by '{inner.stage.path}'. "
                f"{first}or log the parts of it that are not tracked.",
            )
        if path in self._declarations_below:
            declaration = next(iter(self._declarations_below[path]))
            raise ArtifactPathError(
                path,
                f"contains the DVC file '{declaration}', but DVC allows none in a tracked "
                "directory. Move it out, or log a part of the directory.",
            )
        return None

    def _remove_below(self, below: dict[str, dict[str, None]], path: str) -> None:
        for directory in self._directories_above(path):
            paths = below[directory]
            del paths[path]
            if not paths:
                del below[directory]

    def _directories_above(self, path: str) -> list[str]:
        """Return the directories from the parent up to the root of the repository."""
        above = []
        directory = os.path.dirname(path)
        while is_inside(directory, self._root):
            above.append(directory)
            if directory == self._root:
                break
            directory = os.path.dirname(directory)
        return above
