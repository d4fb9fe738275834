"""Keeps up with what DVC tracks in a workspace, at the cost of what changed since last looked.

DVC walks the workspace and parses every DVC file for each command
(``dvc.repo.index.collect_files``). Here the workspace is walked once, and then looked at again
only where a ``Watch`` reports a change. What DVC would make of a name is asked of DVC, through
``TrackingRules``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, Protocol, TypeVar

from .._fs.change_detection import Stamp, stamp_of, unless_racy
from .._fs.paths import is_inside
from .directory_listing import DVCIGNORE, GITIGNORE, list_directory
from .directory_watch import Change, UnwatchableError, Watch
from .tracked_outputs import OutputIndex, TrackedOutput

OutputT = TypeVar("OutputT", bound=TrackedOutput)
OutputT_co = TypeVar("OutputT_co", bound=TrackedOutput, covariant=True)

# What makes a directory below the root a DVC repository of its own, and none of ours.
_SUBREPO = ".dvc"


class TrackingRules(Protocol[OutputT_co]):
    """What has to be asked of DVC."""

    def reload(self) -> None:
        """All is looked at anew: forget what the rules said."""
        ...

    def outside_rules_changed(self) -> bool:
        """Whether rules that do not lie in the workspace changed since last asked."""
        ...

    def is_dvc_file(self, name: str) -> bool:
        """Whether DVC reads declarations from a file of this name."""
        ...

    def filter_visible(
        self, directory: str, dirs: list[str], files: list[str]
    ) -> tuple[list[str], list[str]]:
        """Of all names in a directory, those that neither .dvcignore nor .gitignore hides."""
        ...

    def is_hidden(self, path: str, isdir: bool) -> bool:
        """Whether .dvcignore or .gitignore hides this one."""
        ...

    def take_changed_names(self, directory: str) -> Collection[str] | None:
        """Names that the .gitignore of ``directory`` may hide or not since last asked.

        None: any name there or below.
        """
        ...

    def load(self, path: str) -> Sequence[OutputT_co] | None:
        """The local outputs that a DVC file declares; None: it declares no stage at all.

        Raises when it cannot be read.
        """
        ...


class _RescanAllError(Exception):
    """What changed decides about more than itself."""


@dataclass(slots=True)
class _Directory:
    """Names of directories end with a separator; of files, only DVC's are of interest."""

    visible: set[str]
    hidden: set[str]
    has_dvcignore: bool


class WorkspaceIndex(Generic[OutputT]):
    """Everything DVC tracks below ``root``, by path. For one thread at a time.

    Args:
        root: the DVC repository.
        watches: report changes; the first that can. The last one always can.
    """

    def __init__(self, root: str, *watches: Watch) -> None:
        self._root = root
        self._watch, *self._other_watches = watches
        # False: something went unseen, and the next refresh looks at all.
        self._is_current = False
        self._is_full_scan = False
        self._directories: dict[str, _Directory] = {}
        self._dvc_files: dict[str, Stamp | None] = {}
        self._outputs: OutputIndex[OutputT] = OutputIndex(root)
        # Directories to visit, where they are kept and not covered by an output.
        self._pending: list[str] = []
        # Directories that could not be read, to be tried again.
        self._unreadable: set[str] = set()
        # Files that change without an event where they are listed: they are links.
        self._links: dict[str, Stamp | None] = {}
        # What makes a hidden directory a DVC repository of its own.
        self._subrepos: set[str] = set()

    def refresh(self, rules: TrackingRules[OutputT]) -> OutputIndex[OutputT]:
        """Look what changed, and return all outputs.

        Raises:
            Exception: whatever ``rules`` raises; the next call looks again.
        """
        is_current, self._is_current = self._is_current, False
        outdated = rules.outside_rules_changed()
        if not is_current or outdated or not self._apply_changes(rules):
            while not self._rescan_all(rules):
                self._watch.close()
                self._watch = self._other_watches.pop(0)
        self._is_current = True
        return self._outputs

    def record_written(self, dvc_file: str, outputs: Sequence[OutputT]) -> None:
        """We have just written this DVC file, under DVC's lock; it declares these outputs."""
        try:
            found = stamp_of(dvc_file)
        except OSError:  # it is written all the same; the next refresh looks again
            self._is_current = False
            return
        if found is None:  # removed by its owner meanwhile
            return
        directory = self._directories.get(os.path.dirname(dvc_file))
        if directory is not None:
            directory.visible.add(os.path.basename(dvc_file))
        self._dvc_files[dvc_file] = found
        self.declare(dvc_file, outputs)

    def declare(self, dvc_file: str, outputs: Sequence[OutputT] | None) -> None:
        """This DVC file, as it is known, declares these outputs."""
        try:
            self._declare(dvc_file, outputs)
        except _RescanAllError:
            self._is_current = False

    def reread(self, dvc_file: str, rules: TrackingRules[OutputT]) -> None:
        """What is known of this DVC file is not what stands in it."""
        self._dvc_files.pop(dvc_file, None)
        try:
            self._read_dvc_file(dvc_file, rules)
        except Exception:  # the next refresh finds it again, and says so
            self._is_current = False

    def close(self) -> None:
        """Watch nothing any more."""
        for watch in (self._watch, *self._other_watches):
            watch.close()

    def _apply_changes(self, rules: TrackingRules[OutputT]) -> bool:
        """False: that is not enough."""
        try:
            changes = self._watch.changes()
            if changes is None or not all(map(os.path.exists, self._subrepos)):
                return False
            for change in chain(changes, self._changed_links()):
                self._apply_change(change, rules)
            self._pending += self._unreadable
            self._scan_pending(rules)
        except (_RescanAllError, UnwatchableError):
            return False
        return True

    def _rescan_all(self, rules: TrackingRules[OutputT]) -> bool:
        """False: this workspace cannot be watched in this way."""
        rules.reload()
        self._directories.clear()
        self._links.clear()
        self._subrepos.clear()
        self._unreadable.clear()
        self._pending.clear()
        self._is_full_scan = True
        try:
            self._watch.clear()
            self._scan_directory(self._root, rules)
            self._scan_pending(rules)
            # What a file that is gone declared may have kept others from being visited.
            while lost := [path for path in self._dvc_files if not self._is_visible(path, "")]:
                for path in lost:
                    self._forget_file(path)
                self._scan_pending(rules)
        except UnwatchableError:
            return False
        finally:
            self._is_full_scan = False
        return True

    def _scan_pending(self, rules: TrackingRules[OutputT]) -> None:
        while self._pending:
            path = self._pending.pop()
            # As DVC: what is tracked as a whole is not searched for rules.
            if path in self._outputs or path in self._directories:
                continue
            if self._is_visible(path, os.sep):
                self._scan_directory(path, rules)

    def _scan_directory(self, path: str, rules: TrackingRules[OutputT]) -> None:
        try:
            self._watch.add(path)  # before it is listed, or what comes between is missed
            listing = list_directory(path, rules.is_dvc_file)
        except OSError:  # as os.walk, which DVC uses
            self._unreadable.add(path)
            return
        self._unreadable.discard(path)
        if DVCIGNORE in listing.rule_files or (path != self._root and _SUBREPO in listing.dirs):
            self._require_rescan()
        dirs, files = rules.filter_visible(path, listing.dirs, listing.dvc_files)
        visible = {f"{name}{os.sep}" for name in dirs}.union(files)
        hidden = {f"{name}{os.sep}" for name in listing.dirs}.union(listing.dvc_files) - visible
        self._directories[path] = _Directory(visible, hidden, DVCIGNORE in listing.rule_files)
        for name in hidden:
            subrepo = f"{path}{os.sep}{name}{_SUBREPO}"
            if name.endswith(os.sep) and os.path.isdir(subrepo):
                self._subrepos.add(subrepo)
        for name in listing.rule_files:
            self._note_link(f"{path}{os.sep}{name}")
        for name in files:
            self._read_dvc_file(f"{path}{os.sep}{name}", rules)
        self._pending += [f"{path}{os.sep}{name}" for name in dirs]

    def _changed_links(self) -> Iterator[Change]:
        for path, stamp in list(self._links.items()):
            if (now := stamp_of(path)) != stamp:
                self._links[path] = now
                directory, name = os.path.split(path)
                yield Change(directory, name, False, False)

    def _apply_change(self, change: Change, rules: TrackingRules[OutputT]) -> None:
        directory = self._directories.get(change.directory)
        if directory is None:
            return
        path = f"{change.directory}{os.sep}{change.name}"
        if change.is_dir:
            if change.name == _SUBREPO and change.directory != self._root:
                raise _RescanAllError
            name = f"{change.name}{os.sep}"
            self._remove_name(directory, path, name)
            if os.path.isdir(path) and not os.path.islink(path):
                self._add_name(directory, path, name, rules)
        elif change.name == DVCIGNORE:
            raise _RescanAllError
        elif change.name == GITIGNORE:
            self._apply_rule_changes(change.directory, directory, rules)
        elif rules.is_dvc_file(change.name):
            if os.path.isdir(path) or not os.path.lexists(path):
                self._remove_name(directory, path, change.name)
            elif change.name in directory.visible:
                self._read_dvc_file(path, rules, changed=change.is_write)
            elif change.name not in directory.hidden:
                self._add_name(directory, path, change.name, rules)

    def _apply_rule_changes(
        self, path: str, directory: _Directory, rules: TrackingRules[OutputT]
    ) -> None:
        names = rules.take_changed_names(path)
        if names is None:
            raise _RescanAllError
        for name in names:
            for known in (name, f"{name}{os.sep}"):
                if known in directory.visible or known in directory.hidden:
                    below = f"{path}{os.sep}{name}"
                    self._remove_name(directory, below, known)
                    self._add_name(directory, below, known, rules)

    def _add_name(
        self, directory: _Directory, path: str, name: str, rules: TrackingRules[OutputT]
    ) -> None:
        """The directory has this name now."""
        isdir = name.endswith(os.sep)
        if rules.is_hidden(path, isdir):
            directory.hidden.add(name)
            return
        directory.visible.add(name)
        if isdir:
            self._pending.append(path)
        else:
            self._read_dvc_file(path, rules)

    def _remove_name(self, directory: _Directory, path: str, name: str) -> None:
        """The directory has this name no more."""
        directory.visible.discard(name)
        directory.hidden.discard(name)
        if name.endswith(os.sep):
            self._forget_directory(path)
        else:
            self._forget_file(path)

    def _forget_directory(self, path: str) -> None:
        directory = self._directories.pop(path, None)
        if directory is None:
            return
        self._watch.remove(path)
        if directory.has_dvcignore:
            self._require_rescan()  # DVC would still go by it
        for name in directory.visible:
            below = f"{path}{os.sep}{name}"
            if name.endswith(os.sep):
                self._forget_directory(below.rstrip(os.sep))
            else:
                self._forget_file(below)

    def _forget_file(self, path: str) -> None:
        self._dvc_files.pop(path, None)
        self._links.pop(path, None)
        self._pending += [output.fs_path for output in self._outputs.retract(path)]

    def _read_dvc_file(
        self, path: str, rules: TrackingRules[OutputT], *, changed: bool = False
    ) -> None:
        found = stamp_of(path)
        if found is not None and found == self._dvc_files.get(path) and not changed:
            return
        if found is None:
            self._forget_file(path)
        self._note_link(path)
        if found is None:
            return
        stamp = unless_racy(found)
        outputs = rules.load(path)
        self._dvc_files[path] = stamp
        self._declare(path, outputs)

    def _declare(self, path: str, outputs: Sequence[OutputT] | None) -> None:
        self._pending += [output.fs_path for output in self._outputs.retract(path)]
        if outputs is None:
            return
        self._outputs.declare(path, outputs)
        for output in outputs:
            if not is_inside(path, output.fs_path):
                self._forget_directory(output.fs_path)

    def _is_visible(self, path: str, end: str) -> bool:
        directory, name = os.path.split(path)
        known = self._directories.get(directory)
        return known is not None and f"{name}{end}" in known.visible

    def _note_link(self, path: str) -> None:
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        if stat.S_ISLNK(found.st_mode) or found.st_nlink > 1:
            self._links[path] = stamp_of(path)

    def _require_rescan(self) -> None:
        if not self._is_full_scan:
            raise _RescanAllError
