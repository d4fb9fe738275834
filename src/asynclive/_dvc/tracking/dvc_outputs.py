"""DVC's ``Output`` of what was staged: made or found, hidden from Git, and its hash filled in."""

from __future__ import annotations

import os
import sqlite3
from logging import getLogger
from typing import Any

from ..._artifact.records import StagedArtifact
from ..._artifact.request import ArtifactRequest
from ..._cache.cache_layout import CacheLayout
from ..._cache.object_store import ObjectStore
from ..._errors import ArtifactPathError
from ..._index.dvc_rules import DvcRules
from ..._index.git_index import GitIndex
from ..._index.gitignore_rules import can_be_gitignored
from ..._workers.fairness import yield_gil
from ..._workspace.apply_placement import make_parents
from ..dvc_errors import copy_advice
from .commit_undo import HiddenFromGit, UndoStep
from .dvc_state import AT_A_TIME

logger = getLogger(__name__)


class Outputs:
    """Works on the outputs of one repository, while its lock is held.

    Args:
        repo: DVC's ``Repo``.
        layout: where its bytes lie.
        rules: what is to be told of a .gitignore that was written.
        git_index: which paths Git tracks; None where there is no Git.
    """

    def __init__(
        self,
        repo: Any,
        layout: CacheLayout,
        rules: DvcRules,
        git_index: GitIndex | None,
    ) -> None:
        self._repo = repo
        self._root = layout.root
        self._store = ObjectStore(layout, "tree-")
        self._rules = rules
        self._git_index = git_index

    def make(self, request: ArtifactRequest, undo: list[UndoStep]) -> Any:
        """DVC's ``Output`` for a path it does not track yet (``get_or_create_stage``)."""
        from dvc.utils import resolve_paths

        if request.path == self._root:
            raise ArtifactPathError(
                request.path, "is the DVC repository itself. Log the directories in it."
            )
        # Of a copy, ask for the .dvc file itself: what it replaces may be a link to a directory.
        asked = f"{request.path}.dvc" if request.copy else request.path
        _, directory, _ = resolve_paths(self._repo, asked)
        dvc_file, name = f"{request.path}.dvc", os.path.basename(request.path)
        if request.copy:
            undo.append(make_parents(request.path, self._root))
        stage = self._repo.stage.create(
            single_stage=True, validate=False, fname=dvc_file, wdir=directory, outs=[name]
        )
        return stage.outs[0]

    def fill(self, output: Any, staged: StagedArtifact) -> str:
        """Give the output the hash and size of what was staged (``Output.add``)."""
        from dvc_data.hashfile import load
        from dvc_data.hashfile.hash_info import HashInfo
        from dvc_data.hashfile.meta import Meta
        from dvc_data.hashfile.tree import Tree

        request = staged.request
        inner = output.fs_path != request.path
        if inner and output.hash_info and not output.hash_info.isdir:
            raise ArtifactPathError(
                request.path, f"lies in '{output}', which is tracked as a file."
            )
        # Hashes of DVC 2 (md5-dos2unix) are never made any more.
        output.update_legacy_hash_name(force=True)
        # Newer than DVC 3.60, which the lowest supported version is.
        versioned = getattr(output, "_get_versioned_meta", lambda: None)()
        obj: Any = None
        if staged.isdir:
            meta = Meta(size=staged.size, nfiles=staged.nfiles, isdir=True)
            hash_info = HashInfo("md5", staged.tree_md5)
            if staged.tree_md5 is None:
                obj = Tree()
                for number, file in enumerate(staged.files):
                    obj.add(file.key, None, HashInfo("md5", file.md5))
                    if number % AT_A_TIME == 0:
                        yield_gil()
                _digest(obj, lambda: self._add_tree(output.cache, obj))
                hash_info = obj.hash_info
        else:
            (file,) = staged.files
            meta = Meta(size=file.size, isexec=file.isexec)
            hash_info = HashInfo("md5", file.md5)
        md5: str = hash_info.value
        if inner:
            if obj is None:
                obj = load(output.cache, hash_info)
            meta, obj = output.apply(request.path, obj, meta)
            self._add_tree(output.cache, obj)
            hash_info = obj.hash_info
        # Not the object: the index would keep it as long as the session lasts, and DVC loads it
        # from the cache where it needs it.
        output.obj, output.hash_info, output.meta, output.files = None, hash_info, meta, None
        if versioned:
            output.merge_version_meta(*versioned)
        return md5

    def _add_tree(self, cache: Any, tree: Any) -> None:
        """Store the listing of a directory (``add_update_tree``)."""
        from dvc_data.hashfile.db import add_update_tree

        # DVC would write a temp file among the objects, which a kill leaves there. What is in the
        # cache, it takes as it is.
        with tree.fs.open(tree.path, "rb") as file:
            self._store.put(file.read(), tree.oid)
        self._store.sync_names([tree.oid])
        try:
            add_update_tree(cache, tree)
        except sqlite3.Error:
            pass  # DVC's state is told last; all of the group will tell it, and the user be told

    def hide(self, request: ArtifactRequest, output: Any, undo: list[UndoStep]) -> None:
        """Hide the output from Git, which must not track it (``Output.ignore``)."""
        if not output.use_scm_ignore:
            return
        if self._git_index is not None and self._git_index.tracks(output.fs_path):
            raise ArtifactPathError(
                output.fs_path,
                f"is already tracked by Git. Run 'git rm -r --cached {output.fs_path}' and "
                f"commit, then log it again.{copy_advice(request)}",
            )
        self._ignore(output, undo)

    def _ignore(self, output: Any, undo: list[UndoStep]) -> None:
        """As ``Output.ignore``, less its look into Git's index."""
        context, path = self._repo.scm_context, output.fs_path
        if (
            self._git_index is not None
            and not can_be_gitignored(os.path.basename(path))
            and not context.scm.is_ignored(path)
        ):
            # Tracked as by DVC all the same; the bytes would go into Git, so it is said.
            logger.warning(
                "Git sees %r, for no line of .gitignore can say its name. Rename it, or log the "
                "directory that holds it, before you run 'git add'.",
                path,
            )
        before = len(context.ignored_paths)
        context.ignore(path)
        if len(context.ignored_paths) > before:
            # Or DVC removes the line itself if a later artifact of the group fails.
            undo.append(HiddenFromGit(context.ignored_paths.pop()))

    def unhide(self, path: str) -> None:
        """Remove the line of .gitignore that ``hide`` has added for ``path``."""
        try:
            self._repo.scm_context.ignore_remove(path)
        finally:
            self._rules.on_gitignore_written(os.path.dirname(path))


def _digest(tree: Any, store: Any) -> None:
    """Hash the tree and store it, without leaving it in DVC's process-wide memory file system."""
    tree.digest()
    memory, path = tree.fs, tree.path
    try:
        store()
    finally:
        memory.remove(path)
