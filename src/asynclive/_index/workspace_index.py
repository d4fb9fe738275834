"""An index of all outputs that DVC tracks in a workspace. An update costs only what changed.

For each command DVC walks the workspace and parses every DVC file
(``dvc.repo.index.collect_files``). This index walks the workspace once. After that it checks only
the names for which a ``Watch`` reports a change. It asks DVC about each name, through
``TrackingRules``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, Protocol, TypeVar

from .._fs.change_detection import Stamp, mark_racy, stamp_of
from .._fs.paths import is_inside
from .directory_listing import DVCIGNORE, GITIGNORE, list_directory
from .directory_watch import Change, UnwatchableError, Watch
from .tracked_outputs import OutputIndex, TrackedOutput

OutputT = TypeVar("OutputT", bound=TrackedOutput)
OutputT_co = TypeVar("OutputT_co", bound=TrackedOutput, covariant=True)

# A directory below the root that has this directory is a DVC repository of its own. It does not
# belong to the index.
_SUBREPO = ".dvc"


class TrackingRules(Protocol[OutputT_co]):
    """The questions about a workspace that DVC answers."""

    def reload(self) -> None:
        """Drop cached rules: the whole workspace is scanned again."""
        ...

    def outside_rules_changed(self) -> bool:
        """Return whether rules outside the workspace changed since the last call."""
        ...

    def is_dvc_file(self, name: str) -> bool:
        """Return whether DVC reads declarations from a file of this name."""
        ...

    def filter_visible(
        self, directory: str, dirs: list[str], files: list[str]
    ) -> tuple[list[str], list[str]]:
        """Return the names in a directory that neither .dvcignore nor .gitignore hides.

        Args:
            directory: absolute.
            dirs: the names of all directories in it.
            files: the names of all DVC files in it.
        """
        ...

    def is_hidden(self, path: str, isdir: bool) -> bool:
        """Return whether .dvcignore or .gitignore hides ``path``."""
        ...

    def take_changed_names(self, directory: str) -> Collection[str] | None:
        """Return the names whose rules changed in the .gitignore of ``directory``.

        The changes since the last call count. None: the rules for any path below may have changed.
        """
        ...

    def load(self, path: str) -> Sequence[OutputT_co] | None:
        """Return the local outputs that a DVC file declares; None if it declares no stage.

        Raises:
            Exception: the file cannot be read.
        """
        ...


class _RescanAllError(Exception):
    """A change may affect other paths: the whole workspace must be scanned again."""


@dataclass(slots=True)
class _Directory:
    """The names of directories and DVC files in one directory.

    The name of a directory ends with a separator.
    """

    visible: set[str]
    hidden: set[str]
    has_dvcignore: bool


class WorkspaceIndex(Generic[OutputT]):
    """All outputs that DVC tracks below ``root``. Not thread-safe.

    Args:
        root: the DVC repository.
        watches: the first one that can watch the workspace is used. The last one must be able to.
    """

    def __init__(self, root: str, *watches: Watch) -> None:
        self._root = root
        self._watch, *self._other_watches = watches
        # False: a change may be missing. The next refresh scans the whole workspace.
        self._is_current = False
        # True during such a scan.
        self._is_full_scan = False
        self._directories: dict[str, _Directory] = {}
        self._dvc_files: dict[str, Stamp | None] = {}
        self._outputs: OutputIndex[OutputT] = OutputIndex(root)
        # Directories to scan, if they are visible and no output contains them.
        self._pending: list[str] = []
        # Directories that could not be read. The next refresh tries again.
        self._unreadable: set[str] = set()
        # Symlinks and files with other names: they can change without an event in their directory.
        self._links: dict[str, Stamp | None] = {}
        # The .dvc directories in hidden directories. If one vanishes, DVC may no longer hide its
        # parent, and the whole workspace is scanned.
        self._subrepos: set[str] = set()

    @property
    def outputs(self) -> OutputIndex[OutputT]:
        """All outputs as of the last refresh, and those that we have written since."""
        return self._outputs

    def refresh(self, rules: TrackingRules[OutputT]) -> OutputIndex[OutputT]:
        """Apply the changes since the last call, and return all outputs.

        Raises:
            Exception: an error of ``rules``. The next call scans the whole workspace.
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
        """Add a DVC file that we have just written under DVC's lock, and its outputs."""
        try:
            stamp = stamp_of(dvc_file)
        except OSError:  # the file is written, so the artifact is logged: do not fail here
            self._is_current = False
            return
        if stamp is None:  # the user has removed the file
            return
        directory = self._directories.get(os.path.dirname(dvc_file))
        if directory is not None:
            directory.visible.add(os.path.basename(dvc_file))
        self._dvc_files[dvc_file] = stamp
        self.declare(dvc_file, outputs)

    def declare(self, dvc_file: str, outputs: Sequence[OutputT] | None) -> None:
        """Replace the outputs of a DVC file that is in the index."""
        try:
            self._declare(dvc_file, outputs)
        except _RescanAllError:
            self._is_current = False

    def reread(self, dvc_file: str, rules: TrackingRules[OutputT]) -> None:
        """Read a DVC file again: the index has outputs that are not in the file."""
        self._dvc_files.pop(dvc_file, None)
        try:
            self._read_dvc_file(dvc_file, rules)
        except Exception:  # the next refresh reads the file again and raises the error
            self._is_current = False

    def close(self) -> None:
        """Close all watches."""
        for watch in (self._watch, *self._other_watches):
            watch.close()

    def _apply_changes(self, rules: TrackingRules[OutputT]) -> bool:
        """Apply the reported changes; return False if the whole workspace must be scanned."""
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
        """Scan the whole workspace; return False if the watch cannot watch it."""
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
            # A DVC file that vanished may have hidden directories from the scan: they were part of
            # its output. Remove the file, then scan them.
            while missing := [path for path in self._dvc_files if not self._is_visible(path, "")]:
                for path in missing:
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
            # DVC, too, does not search a tracked directory for DVC files.
            if path in self._outputs or path in self._directories:
                continue
            if self._is_visible(path, os.sep):
                self._scan_directory(path, rules)

    def _scan_directory(self, path: str, rules: TrackingRules[OutputT]) -> None:
        try:
            self._watch.add(path)  # before the listing: no change in between is missed
            listing = list_directory(path, rules.is_dvc_file)
        except OSError:  # skip it, as os.walk does, which DVC uses
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
        """Yield a change for each link whose target has another stamp."""
        for path, stamp in list(self._links.items()):
            if (new_stamp := stamp_of(path)) != stamp:
                self._links[path] = new_stamp
                directory, name = os.path.split(path)
                yield Change(directory, name, False, False)

    def _apply_change(self, change: Change, rules: TrackingRules[OutputT]) -> None:
        directory = self._directories.get(change.directory)
        if directory is None:
            return
        path = f"{change.directory}{os.sep}{change.name}"
        # 1. A directory. A .dvc in it makes its parent a repository of its own, or no longer one.
        if change.is_dir:
            if change.name == _SUBREPO and change.directory != self._root:
                raise _RescanAllError
            name = f"{change.name}{os.sep}"
            self._remove_name(directory, path, name)
            if os.path.isdir(path) and not os.path.islink(path):
                self._add_name(directory, path, name, rules)
        # 2. Rules. DVC applies a .dvcignore to all paths below, a .gitignore often to one name.
        elif change.name == DVCIGNORE:
            raise _RescanAllError
        elif change.name == GITIGNORE:
            self._apply_rule_changes(change.directory, directory, rules)
        # 3. A DVC file. All other files do not matter.
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
            for listed in (name, f"{name}{os.sep}"):
                if listed in directory.visible or listed in directory.hidden:
                    below = f"{path}{os.sep}{name}"
                    self._remove_name(directory, below, listed)
                    self._add_name(directory, below, listed, rules)

    def _add_name(
        self, directory: _Directory, path: str, name: str, rules: TrackingRules[OutputT]
    ) -> None:
        """Add a name to a directory, as visible or hidden."""
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
        """Remove a name from a directory, and all outputs that it declares."""
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
            self._require_rescan()  # DVC's ignore filter has cached its rules
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
        """Read a DVC file, unless its stamp is in the index and it was not ``changed``."""
        stamp = stamp_of(path)
        if stamp is not None and stamp == self._dvc_files.get(path) and not changed:
            return
        if stamp is None:
            self._forget_file(path)
        self._note_link(path)
        if stamp is None:
            return
        stamp = mark_racy(stamp)
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
        """Return whether the index has the path; ``end`` is a separator for a directory."""
        parent, name = os.path.split(path)
        directory = self._directories.get(parent)
        return directory is not None and f"{name}{end}" in directory.visible

    def _note_link(self, path: str) -> None:
        """Remember a file that can change without an event in its directory."""
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        if stat.S_ISLNK(status.st_mode) or status.st_nlink > 1:
            self._links[path] = stamp_of(path)

    def _require_rescan(self) -> None:
        """Raise _RescanAllError, unless the whole workspace is being scanned."""
        if not self._is_full_scan:
            raise _RescanAllError
