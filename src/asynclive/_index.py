"""Keeps up with what DVC tracks in a workspace, at the cost of what changed since last looked.

DVC walks the workspace and parses every DVC file for each command
(``dvc.repo.index.collect_files``). Here a directory is listed again only when its mtime says
so, and a DVC file is parsed again only when its stamp does. What DVC would make of a name is
asked of DVC, through ``Declarations``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from ._outputs import OutputIndex, TrackedOutput

OutputT = TypeVar("OutputT", bound=TrackedOutput)
OutputT_co = TypeVar("OutputT_co", bound=TrackedOutput, covariant=True)

# A change within the tick of the file system's clock leaves the mtime as it was. What is
# younger than this when looked at is looked at again (Git's "racy" entries).
_RACY_NS = 50_000_000
# Ignore rules decide what is walked at all: when one of these changes, all is looked at anew.
_RULES = (".gitignore", ".dvcignore")

Stamp = tuple[int, int, int]
"""Inode, size and mtime (ns)."""


class Declarations(Protocol[OutputT_co]):
    """What has to be asked of DVC."""

    def is_dvc_file(self, name: str) -> bool:
        """Whether DVC reads declarations from a file of this name."""
        ...

    def kept(
        self, directory: str, dirs: list[str], files: list[str]
    ) -> tuple[list[str], list[str]]:
        """The names that neither .dvcignore nor .gitignore hides."""
        ...

    def load(self, path: str) -> Sequence[OutputT_co] | None:
        """The local outputs that a DVC file declares; None: it declares no stage at all.

        Raises when it cannot be read.
        """
        ...


@dataclass(slots=True)
class _Directory:
    stamp: Stamp
    subdirs: list[str] = field(default_factory=list)
    dvc_files: list[str] = field(default_factory=list)
    rules: list[tuple[str, Stamp]] = field(default_factory=list)


@dataclass(slots=True)
class _DvcFile(Generic[OutputT]):
    stamp: Stamp
    outputs: Sequence[OutputT] | None


class WorkspaceIndex(Generic[OutputT]):
    """Everything DVC tracks below ``root``, by path. For one thread at a time."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._directories: dict[str, _Directory] = {}
        self._dvc_files: dict[str, _DvcFile[OutputT]] = {}
        self._outputs: OutputIndex[OutputT] = OutputIndex(root)

    def refresh(self, declarations: Declarations[OutputT]) -> OutputIndex[OutputT]:
        """Look what changed, and return all outputs.

        Raises:
            Exception: whatever ``declarations`` raises; the next call looks again.
        """
        if self._rules_changed():
            self._directories.clear()
        known_rules = self._rules()
        directories, dvc_files = self._walk(declarations)
        first = not self._directories
        self._directories = directories
        if not first and self._rules().keys() != known_rules.keys():
            # A rule file that is new applies to directories that were not listed anew.
            self._directories = {}
            directories, dvc_files = self._walk(declarations)
            self._directories = directories
        if dvc_files.keys() != self._dvc_files.keys() or any(
            self._dvc_files[path] is not dvc_file for path, dvc_file in dvc_files.items()
        ):
            self._outputs = OutputIndex(self._root)
            for path, dvc_file in dvc_files.items():
                if dvc_file.outputs is not None:
                    self._outputs.add_declaration(path)
                for output in dvc_file.outputs or ():
                    self._outputs.add_output(output)
            self._dvc_files = dvc_files
        return self._outputs

    def wrote(self, dvc_file: str, outputs: Sequence[OutputT]) -> None:
        """We have just written this DVC file, under DVC's lock; it declares these outputs."""
        found = _stamp(dvc_file)
        if found is None:  # removed by its owner meanwhile
            return
        self._dvc_files[dvc_file] = _DvcFile(found, outputs)
        for output in outputs:
            self._outputs.add_output(output)
        directory = self._directories.get(os.path.dirname(dvc_file))
        if directory is not None:
            # Our own line in .gitignore hides nothing but what is tracked.
            directory.rules = list(_rules_in(os.path.dirname(dvc_file)))

    def forget(self, dvc_file: str) -> None:
        """What is known of this DVC file is not what stands in it."""
        self._dvc_files.pop(dvc_file, None)

    def _walk(
        self, declarations: Declarations[OutputT]
    ) -> tuple[dict[str, _Directory], dict[str, _DvcFile[OutputT]]]:
        directories: dict[str, _Directory] = {}
        dvc_files: dict[str, _DvcFile[OutputT]] = {}
        output_paths: set[str] = set()
        pending = [self._root]
        while pending:
            path = pending.pop()
            directory = self._look_at(path, declarations)
            if directory is None:
                continue
            directories[path] = directory
            for name in directory.dvc_files:
                file_path = f"{path}{os.sep}{name}"
                dvc_file = self._read(file_path, declarations)
                if dvc_file is not None:
                    dvc_files[file_path] = dvc_file
                    output_paths.update(output.fs_path for output in dvc_file.outputs or ())
            # As DVC: what is tracked as a whole is not searched for declarations.
            pending += [
                below
                for name in directory.subdirs
                if (below := f"{path}{os.sep}{name}") not in output_paths
            ]
        return directories, dvc_files

    def _rules(self) -> dict[str, Stamp]:
        return dict(rule for directory in self._directories.values() for rule in directory.rules)

    def _rules_changed(self) -> bool:
        return any(_stamp(path) != stamp for path, stamp in self._rules().items())

    def _look_at(self, path: str, declarations: Declarations[OutputT]) -> _Directory | None:
        found = _stamp(path)
        if found is None:
            return None
        known = self._directories.get(path)
        if known is not None and known.stamp == found:
            return known
        now = time.time_ns()
        dirs: list[str] = []
        files: list[str] = []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir():
                        if not entry.is_symlink():
                            dirs.append(entry.name)
                    elif declarations.is_dvc_file(entry.name):
                        files.append(entry.name)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None  # as os.walk, which DVC uses
        dirs, files = declarations.kept(path, dirs, files)
        if now - found[2] < _RACY_NS:
            found = (found[0], found[1], -1)
        return _Directory(found, dirs, files, list(_rules_in(path)))

    def _read(self, path: str, declarations: Declarations[OutputT]) -> _DvcFile[OutputT] | None:
        found = _stamp(path)
        if found is None:
            return None
        known = self._dvc_files.get(path)
        if known is not None and known.stamp == found:
            return known
        now = time.time_ns()
        outputs = declarations.load(path)
        if now - found[2] < _RACY_NS:
            found = (found[0], found[1], -1)
        return _DvcFile(found, outputs)


def _rules_in(directory: str) -> Iterator[tuple[str, Stamp]]:
    for name in _RULES:
        path = os.path.join(directory, name)
        found = _stamp(path)
        if found is not None:
            yield path, found


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
