"""What DVC tracks in a repository, by path: who owns a path, what lies around it and inside it.

The same questions ``dvc add`` asks of its graph (``dvc.repo.trie``, ``dvc.repo.graph``), but
answered for one path at a time, so that one artifact that overlaps is refused alone.
"""

from __future__ import annotations

import os
from typing import Generic, Protocol, TypeVar

from ._artifact import is_inside
from ._errors import ArtifactPathError


class TrackedStage(Protocol):
    """What is asked of DVC's ``Stage``."""

    path: str
    cmd: str | None

    @property
    def addressing(self) -> str: ...


class TrackedOutput(Protocol):
    """What is asked of DVC's ``Output``."""

    fs_path: str

    @property
    def stage(self) -> TrackedStage: ...


OutputT = TypeVar("OutputT", bound=TrackedOutput)


class OutputIndex(Generic[OutputT]):
    """Outputs and the files that declare them, found by path in O(depth)."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._outputs: dict[str, OutputT] = {}
        # Every directory above an output, and above a file that declares one, with the
        # first such path found in it.
        self._above_output: dict[str, OutputT] = {}
        self._above_declaration: dict[str, str] = {}

    def add_output(self, output: OutputT) -> None:
        self._outputs[output.fs_path] = output
        for directory in self._directories_above(output.fs_path):
            if self._above_output.setdefault(directory, output) is not output:
                break
        self.add_declaration(output.stage.path)

    def add_declaration(self, path: str) -> None:
        for directory in self._directories_above(path):
            if directory in self._above_declaration:
                break
            self._above_declaration[directory] = path

    def owner(self, path: str) -> OutputT | None:
        """The output that is ``path``, or the directory output that holds it."""
        if path in self._outputs:
            return self._outputs[path]
        for directory in self._directories_above(path):
            if directory in self._outputs:
                return self._outputs[directory]
        return None

    def claim(self, path: str) -> OutputT | None:
        """The output to update when ``path`` is logged; None: it is to be a new one.

        Raises:
            ArtifactPathError: ``path`` is an output of a stage with a command, or there are
                other outputs in it.
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
        if path in self._above_output:
            inner = self._above_output[path]
            first = (
                f"Run 'dvc remove {inner.stage.path}' first, "
                if inner.stage.cmd is None
                else "Log a copy of it with copy=True, "
            )
            raise ArtifactPathError(
                path,
                f"holds '{inner.fs_path}', which DVC tracks already by '{inner.stage.path}'. "
                f"{first}or log the parts of it that are not tracked.",
            )
        if path in self._above_declaration:
            raise ArtifactPathError(
                path,
                f"holds the DVC file '{self._above_declaration[path]}', which must not lie in a "
                "tracked directory. Move it out, or log a part of the directory.",
            )
        return None

    def _directories_above(self, path: str) -> list[str]:
        """From the parent up to the root of the repository."""
        above = []
        directory = os.path.dirname(path)
        while is_inside(directory, self._root):
            above.append(directory)
            if directory == self._root:
                break
            directory = os.path.dirname(directory)
        return above
