"""Commits a group: .dvc files, .gitignore and the workspace, of each artifact all or nothing."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from logging import getLogger
from typing import Any

from ..._artifact.records import StagedArtifact, TrackedArtifact
from ..._cache.cache_layout import CacheLayout
from ..._errors import AsyncLiveError, CommitError
from ..._fs.safe_open import change_mode, open_beneath
from ..._index.dvc_file_reader import DvcFileOutput
from ..._index.dvc_rules import DvcRules
from ..._index.git_index import GitIndex
from ..._index.tracked_outputs import OutputIndex
from ..._index.workspace_index import WorkspaceIndex
from ..._workspace.apply_placement import (
    apply_placement,
    make_parents,
    remove_made_parents,
    undo_placement,
)
from ..dvc_errors import as_own_error, caused, unreadable
from ..process_guard import dvc_guard
from .dvc_file_writer import DvcFiles
from .dvc_outputs import Outputs
from .fsync_committed import sync_committed

logger = getLogger(__name__)


class Committer:
    """Commits to one repository. The caller holds its lock, and is alone in DVC.

    Args:
        repo: DVC's ``Repo``.
        layout: where its bytes lie, and what waits for the disk.
        index: what DVC tracks in the workspace.
        rules: what the index asks.
        git_index: which paths Git tracks; None where there is no Git.
    """

    def __init__(
        self,
        repo: Any,
        layout: CacheLayout,
        *,
        index: WorkspaceIndex[Any],
        rules: DvcRules,
        git_index: GitIndex | None,
    ) -> None:
        self._repo = repo
        self._layout = layout
        self._sync = layout.sync
        self._index = index
        self._rules = rules
        self._git_index = git_index
        self._outputs = Outputs(repo, layout, rules, git_index)
        self._dvc_files = DvcFiles(layout)

    def commit(self, group: Sequence[StagedArtifact]) -> list[TrackedArtifact | AsyncLiveError]:
        """Track what can be tracked; the others' errors in their places."""
        results: list[TrackedArtifact | AsyncLiveError] = []
        undos: list[contextlib.ExitStack] = []
        try:
            self._rules.reset()
            tracked = self._index.refresh(self._rules)
            if self._git_index is not None:
                self._git_index.reload()
        except Exception as error:
            return [caused(unreadable(self._layout.root, error), error) for _ in group]
        try:
            with self._repo.scm_context(quiet=True):
                for staged in group:
                    result, undo = self._commit_isolated(staged, tracked)
                    results.append(result)
                    undos.append(undo)
                if self._sync.is_enabled:
                    self._sync_group(results, undos)
        except Exception as error:  # from leaving the context: core.autostage's `git add`
            for index, result in enumerate(results):
                if isinstance(result, TrackedArtifact):
                    path = result.staged.request.path
                    reason = f"it is tracked, but 'git add' of its .dvc file failed: {error}"
                    results[index] = caused(CommitError(path, reason), error)
        return results

    def _commit_isolated(
        self, staged: StagedArtifact, outputs: OutputIndex[Any]
    ) -> tuple[TrackedArtifact | AsyncLiveError, contextlib.ExitStack]:
        """Commit one artifact, or take back what was done of it and return its error.

        Also what would still take it back.
        """
        with contextlib.ExitStack() as undo:
            try:
                tracked = self._commit_one(staged, outputs, undo)
            except Exception as error:
                # It may have asked DVC for what nobody watches: an ignored directory, say.
                self._rules.forget_dvcignore()
                _take_back(staged.request.path, undo)
                return as_own_error(staged.request, error), undo
            done = undo.pop_all()
            return replace(tracked, take_back=lambda: self._untrack(tracked, done)), done

    def _untrack(self, tracked: TrackedArtifact, done: contextlib.ExitStack) -> None:
        with dvc_guard.hold():
            try:
                self._rules.reset()
                _take_back(tracked.staged.request.path, done)
            finally:
                self._repo._reset()

    def _sync_group(
        self,
        results: list[TrackedArtifact | AsyncLiveError],
        undos: Sequence[contextlib.ExitStack],
    ) -> None:
        """Wait until the group is on the disk. What may not be is taken back."""
        group = [result if isinstance(result, TrackedArtifact) else None for result in results]
        for index, error in sync_committed(self._sync, group):
            tracked = group[index]
            assert tracked is not None
            _take_back(tracked.staged.request.path, undos[index])
            results[index] = as_own_error(tracked.staged.request, error)

    def _commit_one(
        self,
        staged: StagedArtifact,
        outputs: OutputIndex[Any],
        undo: contextlib.ExitStack,
    ) -> TrackedArtifact:
        request = staged.request
        if not request.cache:
            if request.copy:
                made = make_parents(request.path, self._layout.root)
                undo.callback(remove_made_parents, made)
            _place(staged, self._layout.root, undo)
            return TrackedArtifact(staged, None, None)
        output = outputs.claim(request.path)
        while isinstance(output, DvcFileOutput):
            dvc_file = output.stage.path
            self._index.declare(dvc_file, self._rules.load_by_dvc(dvc_file))
            output = outputs.claim(request.path)
        if output is None:
            output = self._outputs.make(request, undo)
        # Until the file is written, the output says more than the file does.
        undo.callback(self._index.reread, output.stage.path, self._rules)
        said = output.stage.dumpd() if output.stage._stage_text is not None else None
        md5 = self._outputs.fill(output, staged)
        self._outputs.hide(request, output, undo)
        dvc_file = output.stage.path
        temp = self._dvc_files.write_beside(output.stage, said, undo)
        _place(staged, self._layout.root, undo)
        if output.fs_path != request.path:
            _drop_exec(staged, self._layout)
        relpath = output.stage.dvcfile.relpath
        self._dvc_files.replace(dvc_file, temp, undo)
        undo.callback(self._repo.scm_context.files_to_track.discard, relpath)
        # It is tracked: from here on nothing fails but the wait for the disk.
        self._repo.scm_context.track_file(relpath)
        self._index.record_written(dvc_file, output.stage.outs)
        return TrackedArtifact(staged, md5, dvc_file)


def _take_back(path: str, undo: contextlib.ExitStack) -> None:
    """Take back what was done of an artifact, all that can be."""
    try:
        undo.close()
    except Exception:  # why it is taken back is what its caller is told
        logger.exception("'%s' could not be taken back wholly. Log it again.", path)


def _place(staged: StagedArtifact, root: str, undo: contextlib.ExitStack) -> None:
    if staged.placement is not None:
        undo.callback(undo_placement, apply_placement(staged.placement, root))


def _drop_exec(staged: StagedArtifact, layout: CacheLayout) -> None:
    """Inside a tracked directory DVC makes a file anew and keeps no mode (``Output.set_exec``)."""
    if staged.isdir or not staged.files[0].isexec:
        return
    with open_beneath(staged.request.path, layout.root) as at:
        if stat.S_ISREG(os.lstat(at).st_mode):
            change_mode(at, layout.copy_mode)
