"""Commits a group: .dvc files, .gitignore, the workspace. Each artifact is atomic."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from logging import getLogger
from typing import Any

from ..._artifact.records import ObjectsMissingError, StagedArtifact, TrackedArtifact
from ..._cache.cache_layout import CacheLayout
from ..._cache.object_store import ObjectStore
from ..._errors import AsyncLiveError
from ..._fs.file_io import remove_file
from ..._fs.paths import is_inside
from ..._fs.safe_open import change_mode, open_beneath
from ..._index.dvc_file_reader import DvcFileOutput
from ..._index.dvc_rules import DvcRules
from ..._index.git_index import GitIndex
from ..._index.tracked_outputs import OutputIndex
from ..._index.workspace_index import WorkspaceIndex
from ..._workspace.apply_placement import (
    MadeParents,
    PlacementUndo,
    apply_placement,
    make_parents,
    remove_made_parents,
    undo_placement,
)
from ..dvc_errors import translate_error, unreadable_error, with_cause
from .commit_undo import (
    DvcFileReplaced,
    HiddenFromGit,
    OutputChanged,
    QueuedForGit,
    TempWritten,
    UndoStep,
)
from .dvc_file_writer import DvcFiles
from .dvc_outputs import Outputs
from .fsync_committed import sync_committed
from .git_staging import GitStaging
from .legacy_outputs import placeable

logger = getLogger(__name__)


class Committer:
    """Commits to one repository. The caller holds DVC's lock and ``dvc_guard``.

    Args:
        repo: DVC's ``Repo``.
        layout: of its cache; its ``sync`` waits for the disk.
        index: the outputs that DVC tracks in the workspace.
        rules: DVC's rules, by which the index is refreshed.
        git_index: the paths that Git tracks; None without Git.
        git_staging: adds each group to Git's index; None: groups are not added.
    """

    def __init__(
        self,
        repo: Any,
        layout: CacheLayout,
        *,
        index: WorkspaceIndex[Any],
        rules: DvcRules,
        git_index: GitIndex | None,
        git_staging: GitStaging | None = None,
    ) -> None:
        self._repo = repo
        self._layout = layout
        self._sync = layout.sync
        self._index = index
        self._rules = rules
        self._git_index = git_index
        self._git_staging = git_staging
        self._store = ObjectStore(layout, "tree-")
        self._is_cache_inside = is_inside(layout.cache_dir, layout.root)
        self._outputs = Outputs(repo, self._store, rules, git_index)
        self._dvc_files = DvcFiles(layout)

    def commit(self, group: Sequence[StagedArtifact]) -> list[TrackedArtifact | AsyncLiveError]:
        """Track each artifact that can be tracked; return the others' errors in their places."""
        results: list[TrackedArtifact | AsyncLiveError] = []
        try:
            self._rules.reset()
            outputs = self._index.refresh(self._rules)
            if self._git_index is not None:
                self._git_index.reload()
        except Exception as error:
            return [with_cause(unreadable_error(self._layout.root, error), error) for _ in group]
        # Not autostage: at the end of this block it is too late to take artifacts back.
        with self._repo.scm_context(autostage=False, quiet=True):
            for staged in group:
                results.append(self._commit_or_undo(staged, outputs))
            if not self._is_cache_inside:
                self._take_back_incomplete(results)
            if self._sync.is_enabled:
                self._sync_group(results)
            if self._git_staging is not None:
                self._add_to_git(self._git_staging, results)
        return results

    def prepare(self, staged: StagedArtifact) -> tuple[Any, str]:
        """Store the listing that the commit of a directory will name.

        Nothing but the cache changes, and ``dvc gc`` removes the listing if the commit fails.

        Returns:
            The output that the index has now, or None for a new one; the hash of the output after
            the commit. If the index has another output in between, the hash may differ.

        Raises:
            AsyncLiveError: the commit would refuse the artifact.
        """
        request = staged.request
        try:
            self._rules.reset()
            output = self._index.refresh(self._rules).claim(request.path)
            if output is None or (
                isinstance(output, DvcFileOutput) and output.fs_path == request.path
            ):
                return output, self._outputs.store_listing(staged)
            # A copy of the output: that of the index must have the hash in the .dvc file.
            loaded = self._rules.load_by_dvc(output.stage.path) or ()
            copy = next(each for each in loaded if each.fs_path == output.fs_path)
            self._outputs.fill(copy, staged)
            return copy, copy.hash_info.value
        except Exception as error:
            raise translate_error(request, error) from error

    def take_back(self, tracked: TrackedArtifact) -> None:
        """Undo the commit of an artifact, all that can be undone.

        Of several artifacts, the last one of the group comes first.
        """
        self._rules.reset()
        self._undo(tracked.staged, tracked.undo)
        if self._git_staging is not None:
            try:
                self._git_staging.add(tracked.undo)
            except Exception as error:
                logger.warning(
                    "'%s' was taken back, but stays in Git's index (%s). Run 'git reset'.",
                    tracked.staged.request.path,
                    error,
                )

    def _commit_or_undo(
        self, staged: StagedArtifact, outputs: OutputIndex[Any]
    ) -> TrackedArtifact | AsyncLiveError:
        """Commit one artifact, or undo the steps that were done and return the error."""
        undo: list[UndoStep] = []
        try:
            return self._commit_one(staged, outputs, undo)
        except Exception as error:
            # DVC may have read .dvcignore files that no watch covers, in an ignored directory.
            self._rules.forget_dvcignore()
            self._undo(staged, undo)
            return translate_error(staged.request, error)
        except BaseException:
            self._undo(staged, undo)
            raise

    def _take_back_incomplete(self, results: list[TrackedArtifact | AsyncLiveError]) -> None:
        """Take back the artifacts whose objects were removed during the commit.

        Another project may share a cache outside of the repository. Its ``dvc gc`` does not hold
        our lock while it removes objects.
        """
        for index, result in reversed([*enumerate(results)]):
            if isinstance(result, TrackedArtifact) and result.md5 is not None:
                missing = self._store.missing(result.staged.object_sizes)
                if missing:
                    self._undo(result.staged, result.undo)
                    results[index] = ObjectsMissingError(result.staged.request.path, missing)

    def _sync_group(self, results: list[TrackedArtifact | AsyncLiveError]) -> None:
        """Wait until the group is on disk; take back the artifacts that may not be."""
        group = [result if isinstance(result, TrackedArtifact) else None for result in results]
        for index, error in sync_committed(self._sync, group):
            tracked = group[index]
            assert tracked is not None
            self._undo(tracked.staged, tracked.undo)
            results[index] = translate_error(tracked.staged.request, error)

    def _add_to_git(self, git: GitStaging, results: list[TrackedArtifact | AsyncLiveError]) -> None:
        """Add the group to Git's index; take back the artifacts that cannot be added."""
        try:
            git.add_group()
        except Exception as group_error:
            tracked = {
                index: result
                for index, result in enumerate(results)
                if isinstance(result, TrackedArtifact)
            }
            for index, artifact in reversed(tracked.items()):
                error = group_error
                if len(tracked) > 1 and not git.is_lock_error(group_error):
                    try:  # the other artifacts may be no reason to refuse this one
                        git.add(artifact.undo)
                        continue
                    except Exception as own_error:
                        error = own_error
                self._undo(artifact.staged, artifact.undo)
                results[index] = git.error_for(artifact.staged.request, error)
            # Those that were added may have been added with lines in .gitignore of the others.
            with contextlib.suppress(Exception):
                git.add_group()

    def _commit_one(
        self,
        staged: StagedArtifact,
        outputs: OutputIndex[Any],
        undo: list[UndoStep],
    ) -> TrackedArtifact:
        """Track one artifact; note each step in ``undo`` when it is done."""
        request = staged.request
        if not request.cache:
            if request.copy:
                undo.append(make_parents(request.path, self._layout.root))
            self._place(staged, undo)
            return TrackedArtifact(staged, None, None, undo=tuple(undo))
        # Under the lock, which `dvc gc` takes too. Staging held none.
        missing = self._store.missing(staged.object_sizes)
        if missing:
            raise ObjectsMissingError(request.path, missing)
        output = outputs.claim(request.path)
        # The index has read the .dvc file without DVC. Load it by DVC, for an output to change.
        while isinstance(output, DvcFileOutput):
            dvc_file = output.stage.path
            self._index.declare(dvc_file, self._rules.load_by_dvc(dvc_file))
            output = outputs.claim(request.path)
        if output is None:
            output = self._outputs.make(request, undo)
        undo.append(OutputChanged(output.stage.path))
        before = output.stage.dumpd() if output.stage._stage_text is not None else None
        md5 = self._outputs.fill(output, staged)
        self._outputs.hide(request, output, undo)
        dvc_file = output.stage.path
        temp = self._dvc_files.write_temp(output.stage, before, undo)
        self._place(placeable(output, staged, self._store), undo)
        if output.fs_path != request.path:
            _drop_exec(staged, self._layout)
        relpath = output.stage.dvcfile.relpath
        self._dvc_files.replace(dvc_file, temp, undo)
        undo.append(QueuedForGit(relpath))
        # The artifact is tracked. After this point only the wait for the disk can fail.
        self._repo.scm_context.track_file(relpath)
        self._index.record_written(dvc_file, output.stage.outs)
        return TrackedArtifact(staged, md5, dvc_file, output.hash_info.value, undo=tuple(undo))

    def _place(self, staged: StagedArtifact, undo: list[UndoStep]) -> None:
        if staged.placement is not None:
            undo.append(apply_placement(staged.placement, self._layout.root, self._sync))

    def _undo(self, staged: StagedArtifact, steps: Sequence[object]) -> None:
        """Undo the steps, the last one first. Log an error: the caller raises its own."""
        try:
            # The stack goes on to the earlier steps when one of them raises.
            with contextlib.ExitStack() as stack:
                for step in steps:
                    stack.callback(self._undo_step, step)
        except Exception:
            logger.exception(
                "'%s' could not be taken back completely. Log it again.", staged.request.path
            )

    def _undo_step(self, step: object) -> None:
        match step:
            case MadeParents():
                remove_made_parents(step)
            case OutputChanged(dvc_file):
                self._index.reread(dvc_file, self._rules)
            case HiddenFromGit(path):
                self._outputs.unhide(path)
            case TempWritten(path):
                remove_file(path)
            case PlacementUndo():
                undo_placement(step)
            case DvcFileReplaced(path, before):
                self._dvc_files.restore(path, before)
            case QueuedForGit(relpath):
                self._repo.scm_context.files_to_track.discard(relpath)
            case _:
                raise TypeError(f"not a step of a commit: {step!r}")


def _drop_exec(staged: StagedArtifact, layout: CacheLayout) -> None:
    """Remove the executable bit of a file inside a tracked directory.

    DVC makes such a file anew and does not keep its mode (``Output.set_exec``).
    """
    if staged.isdir or not staged.files[0].isexec:
        return
    with open_beneath(staged.request.path, layout.root) as at:
        if stat.S_ISREG(os.lstat(at).st_mode):
            change_mode(at, layout.copy_mode)
