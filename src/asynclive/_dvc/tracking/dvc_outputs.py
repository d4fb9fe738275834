"""DVC's ``Output`` of a staged artifact: makes it, fills in its hash, hides it from Git."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from logging import getLogger
from typing import Any

from ..._artifact.records import StagedArtifact
from ..._artifact.request import ArtifactRequest
from ..._cache.object_store import ObjectStore
from ..._errors import ArtifactPathError, CommitError
from ..._index.dvc_rules import DvcRules
from ..._index.git_index import GitIndex
from ..._index.gitignore_rules import can_be_gitignored
from ..._workers.fairness import yield_gil
from ..._workspace.apply_placement import make_parents
from ..dvc_errors import copy_advice
from ..process_guard import mute_logger
from .commit_undo import HiddenFromGit, UndoStep
from .dvc_state import FILES_PER_YIELD
from .legacy_outputs import HASH_NAME as LEGACY_HASH_NAME
from .legacy_outputs import LegacyOutputs

logger = getLogger(__name__)


class Outputs:
    """Changes the outputs of one repository. The caller holds DVC's lock.

    Args:
        repo: DVC's ``Repo``.
        store: its cache.
        rules: DVC's rules, which must hear of each .gitignore that was written.
        git_index: the paths that Git tracks; None without Git.
    """

    def __init__(
        self,
        repo: Any,
        store: ObjectStore,
        rules: DvcRules,
        git_index: GitIndex | None,
    ) -> None:
        self._repo = repo
        self._root = store.layout.root
        self._store = store
        self._legacy = LegacyOutputs(store, repo.cache.legacy.path)
        self._rules = rules
        self._git_index = git_index

    def make(self, request: ArtifactRequest, undo: list[UndoStep]) -> Any:
        """Return a new ``Output`` for a path that DVC does not track (``get_or_create_stage``)."""
        from dvc.utils import resolve_paths

        if request.path == self._root:
            raise ArtifactPathError(
                request.path, "is the DVC repository itself. Log the directories in it."
            )
        # For a copy, resolve the .dvc file: the copy may replace a link to a directory, and DVC
        # refuses such a link.
        target = f"{request.path}.dvc" if request.copy else request.path
        _, directory, _ = resolve_paths(self._repo, target)
        dvc_file, name = f"{request.path}.dvc", os.path.basename(request.path)
        if request.copy:
            undo.append(make_parents(request.path, self._root))
        stage = self._repo.stage.create(
            single_stage=True, validate=False, fname=dvc_file, wdir=directory, outs=[name]
        )
        return stage.outs[0]

    def fill(self, output: Any, staged: StagedArtifact) -> str:
        """Set the hash and size of the output to those of the artifact (``Output.add``).

        An artifact inside a tracked directory changes the listing of that directory.

        Returns:
            The hash of the artifact itself.
        """
        from dvc_data.hashfile import load

        request = staged.request
        is_inside = output.fs_path != request.path
        if is_inside and output.hash_info and not output.hash_info.isdir:
            raise ArtifactPathError(
                request.path, f"lies in '{output}', which is tracked as a file."
            )
        listing = self._load_listing(request, output) if is_inside else None
        if output.hash_name == LEGACY_HASH_NAME:
            if listing is not None:
                return self._legacy.keep_inside(output, staged, listing)
            kept = self._legacy.keep(output, staged)
            if kept is not None:
                return kept
        output.update_legacy_hash_name(force=True)
        # DVC 3.60, the lowest supported version, has no such method.
        versioned = getattr(output, "_get_versioned_meta", lambda: None)()
        meta, hash_info, tree = self._describe(output.cache, staged)
        md5: str = hash_info.value
        if is_inside:
            if tree is None:
                tree = load(output.cache, hash_info)
            meta, tree = output.apply(request.path, tree, meta)
            self._add_tree(output.cache, tree)
            hash_info = tree.hash_info
        # Without the object: the index would keep it as long as the session lasts. DVC loads it
        # from the cache when it needs it.
        output.obj, output.hash_info, output.meta, output.files = None, hash_info, meta, None
        if versioned:
            output.merge_version_meta(*versioned)
        return md5

    def store_listing(self, staged: StagedArtifact) -> str:
        """Return the hash of an artifact that is an output; store its listing, if it has one."""
        _, hash_info, _ = self._describe(self._repo.cache.repo, staged)
        return str(hash_info.value)

    def _load_listing(self, request: ArtifactRequest, output: Any) -> Any:
        """Return the listing of the tracked directory that contains the artifact; None: a new one.

        DVC fetches a listing that is not in the cache from the remote (``Output.get_dir_cache``).

        Raises:
            CommitError: it cannot be had, or is damaged.
        """
        if not output.hash_info:
            return None
        dvc_file, md5 = output.stage.path, output.hash_info.value
        path = output.cache.oid_to_path(md5)
        if _is_damaged(path, md5):
            raise CommitError(
                request.path,
                f"the object '{path}', which lists the files of '{output.fs_path}', is damaged. "
                f"Remove it, run 'dvc fetch {dvc_file}', and log it again.",
            )
        with mute_logger("dvc.data_cloud"):  # the error says what its warning says
            listing = output.get_dir_cache()
        if listing is None:
            remote = output.remote or self._repo.config["core"].get("remote")
            why, advice = "there is no remote", "Add one ('dvc remote add -d'), then run"
            if remote:
                why, advice = f"DVC cannot fetch it from the remote '{remote}'", "To get it, run"
            raise CommitError(
                request.path,
                f"the object {md5}, which lists the files of '{output.fs_path}', is not in the "
                f"cache, and {why}. {advice} 'dvc fetch {dvc_file}', and log it again. "
                f"'{dvc_file}' is unchanged.",
            )
        return listing

    def _describe(self, cache: Any, staged: StagedArtifact) -> tuple[Any, Any, Any]:
        """Return DVC's ``Meta`` and ``HashInfo`` of the artifact, and the ``Tree`` if it is new."""
        from dvc_data.hashfile.hash_info import HashInfo
        from dvc_data.hashfile.meta import Meta
        from dvc_data.hashfile.tree import Tree

        if not staged.isdir:
            (file,) = staged.files
            return Meta(size=file.size, isexec=file.isexec), HashInfo("md5", file.md5), None
        meta = Meta(size=staged.size, nfiles=staged.nfiles, isdir=True)
        if staged.tree_md5 is not None and self._store.has_listing(staged.tree_md5):
            return meta, HashInfo("md5", staged.tree_md5), None
        tree = Tree()
        for number, (key, hashed) in enumerate(staged.hashed_files):
            tree.add(key, None, HashInfo("md5", hashed.md5))
            if number % FILES_PER_YIELD == 0:
                yield_gil()
        self._digest_and_add(cache, tree)
        return meta, tree.hash_info, tree

    def _digest_and_add(self, cache: Any, tree: Any) -> None:
        """Hash the listing and store it.

        ``digest`` writes it to DVC's memory file system, which lasts as long as the process. So it
        is removed from there.
        """
        tree.digest()
        memory, path = tree.fs, tree.path
        try:
            self._add_tree(cache, tree)
        finally:
            memory.remove(path)

    def _add_tree(self, cache: Any, tree: Any) -> None:
        """Store the listing of a directory (``add_update_tree``)."""
        from dvc_data.hashfile.db import add_update_tree

        # DVC would write a temp file among the objects, and a kill would leave it there. DVC does
        # not write an object that is in the cache already.
        with tree.fs.open(tree.path, "rb") as file:
            self._store.put(file.read(), tree.oid)
        self._store.sync_names([tree.oid])
        try:
            add_update_tree(cache, tree)
        except sqlite3.Error:
            pass  # save_group meets the same error when it writes to the state, and warns

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
        """Add a line to .gitignore, as ``Output.ignore`` does, but without reading Git's index."""
        context, path = self._repo.scm_context, output.fs_path
        if (
            self._git_index is not None
            and not can_be_gitignored(os.path.basename(path))
            and not context.scm.is_ignored(path)
        ):
            # DVC tracks such a file too, without a warning. But `git add` would add its bytes.
            logger.warning(
                "Git does not ignore %r: no line of .gitignore can express its name. Rename it, or "
                "log the directory that holds it, before you run 'git add'.",
                path,
            )
        before = len(context.ignored_paths)
        context.ignore(path)
        if len(context.ignored_paths) > before:
            # Popped: otherwise DVC removes the line too when an exception leaves the context.
            undo.append(HiddenFromGit(context.ignored_paths.pop()))

    def unhide(self, path: str) -> None:
        """Remove the line of .gitignore that ``hide`` has added for ``path``."""
        try:
            self._repo.scm_context.ignore_remove(path)
        finally:
            self._rules.on_gitignore_written(os.path.dirname(path))


def _is_damaged(path: str, md5: str) -> bool:
    """Return whether the object at ``path``, if there is one, has other bytes than it should."""
    try:
        with open(path, "rb") as file:
            found = hashlib.md5(file.read(), usedforsecurity=False).hexdigest()
    except FileNotFoundError:
        return False
    return found != md5.removesuffix(".dir")
