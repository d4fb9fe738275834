"""The one module that imports DVC. Synchronous; called in one worker thread at a time.

DVC's classes write DVC's files. What asynclive does itself is the work that needs no lock,
before (the bytes are in the cache) and the questions that DVC can only answer for all
targets at once (who overlaps, what Git tracks). It follows ``dvc.repo.add`` and
``dvc.output.Output.add``, whose order of events it keeps.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import sqlite3
import stat
import threading
import warnings
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from logging import getLogger
from typing import Any

from ._appended import Appended
from ._artifact import ArtifactRequest, StagedArtifact, StoredFile, TrackedArtifact, is_inside
from ._commit_sync import sync_committed
from ._databases import OpenDatabases
from ._declarations import Dvc, WorkspaceDeclarations
from ._durable import Sync
from ._dvc_import import logger_muted, process_settings_kept
from ._dvcfile import DvcFileOutput
from ._dvctext import DvcText, is_plain
from ._errors import (
    ArtifactPathError,
    AsyncLiveError,
    CommitError,
    RepositoryError,
    RepositoryNotFoundError,
    StorageError,
)
from ._gitignore import GitIgnore, can_be_said
from ._gitindex import GitIndex
from ._held import change_mode, held
from ._index import WorkspaceIndex
from ._inotify import open_inotify
from ._lockuse import LockUse
from ._outputs import OutputIndex
from ._place import make_parents
from ._plan import IgnoreFilter
from ._session import Session, reaches, remove_dead_sessions
from ._store import CacheLayout, ObjectStore, remove_file, write_new
from ._watch import ByStamps, Watch
from ._workers import give_way

logger = getLogger(__name__)

# DVC keeps state for the whole process (the umask, its memory file system, its ignore
# caches) and guards none of it: only one thread is in DVC at a time, whatever the number
# of AsyncLive objects and event loops.
_DVC = threading.Lock()


def _after_fork() -> None:
    """A forked child has none of the threads: one that was in DVC would never come out."""
    global _DVC
    _DVC = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

# How many files of a directory are seen to at a time, before others get their turn: about half a
# millisecond's worth.
_AT_A_TIME = 32

_StateRow = tuple[str, Any, "dict[str, Any] | None"]
"""A path, its ``HashInfo`` and its stat record; None: as it is."""


class DvcRepository:
    """One DVC repository, opened.

    Args:
        watches: how changes in the workspace are found, in the order in which it is tried;
            None: as this system can.
        durable: as in ``open``.
    """

    def __init__(
        self, repo: Any, watches: Sequence[Watch] | None = None, *, durable: bool = False
    ) -> None:
        self._repo = repo
        self._numbers = itertools.count()
        sync = self._sync = Sync(repo.root_dir if durable else None)
        with contextlib.ExitStack() as undo:
            undo.callback(repo.close)
            self.session = _start_session(repo, sync)
            undo.callback(self.session.close)
            self.layout = _read_layout(repo, self.session, sync)
            self._store = ObjectStore(self.layout, "tree-")
            self._lock_use = LockUse(os.path.join(repo.tmp_dir, "asynclive.lock-use"))
            self._declarations = _declarations(repo)
            self._index: WorkspaceIndex[Any] = WorkspaceIndex(
                self.layout.root, *(_watches() if watches is None else watches)
            )
            self._git_index = _git_index(repo)
            self._text = _dvc_text()
            self._databases = OpenDatabases()
            self._databases.hold(_state_databases(repo))
            undo.pop_all()

    @classmethod
    def open(cls, root: str, *, durable: bool = False) -> DvcRepository:
        """Open the repository at or above ``root``; in a Git repository without one, make it.

        What dead sessions left in it is removed.

        Args:
            root: where it is looked for, upwards.
            durable: whether what is written has to be on the disk before the next step is taken.

        Raises:
            RepositoryNotFoundError: there is none, and no Git repository.
            RepositoryError: there is one, and DVC cannot open it.
            StorageError: the disk refused.
        """
        with _DVC, process_settings_kept():
            repo = _open_repo(root)
        # Before anything is written, for it may be what fills the disk; and while others of this
        # process go on, for it may be much.
        _remove_dead_sessions(repo)
        with _DVC, process_settings_kept():
            return cls(repo, durable=durable)

    def close(self) -> None:
        """Remove this session's temp files and let the repository go."""
        with _DVC:
            self.session.close()
            self._index.close()
            self._repo.close()
            self._databases.close()

    def ignore_filter(self, replaced: str | None = None) -> IgnoreFilter:
        """DVC's ignore rules as they are now. Safe in any thread: it shares nothing.

        Args:
            replaced: a copy that is to be replaced. What lies in it now has no say.
        """
        from dvc.ignore import DvcIgnoreFilter

        fs = self._repo.fs
        if replaced is not None:
            fs = copy(fs)
            fs.exists = lambda path: not is_inside(path, replaced) and self._repo.fs.exists(path)
        ignore: IgnoreFilter = DvcIgnoreFilter(fs, self._repo.root_dir)
        return ignore

    def acquire(self) -> bool:
        """Take DVC's repository lock if it is free at this moment; whether it was.

        Raises:
            StorageError: its file cannot be made or opened.
        """
        from dvc.lock import HardlinkLock, LockError

        if self._lock_use.break_seconds():
            return False
        lock = self._repo.lock
        try:
            if isinstance(lock, HardlinkLock):
                lock.lock(timeout=timedelta(microseconds=1))  # 0 would mean DVC's own 3 s
            else:
                lock._do_lock()  # lock() would sleep and retry in this thread
        except LockError:
            return False
        except OSError as error:
            raise StorageError(lock.lockfile, error) from error
        # Whatever of DVC's runs inside must not take the lock again (dvc.repo.lock_repo).
        self._repo._lock_depth += 1
        self._lock_use.taken()
        return True

    def break_seconds(self) -> float:
        """For how long all sessions are to leave the lock free, for `dvc` commands to find it."""
        return self._lock_use.break_seconds()

    def release(self) -> None:
        """Give DVC's lock back, once no thread is in DVC any more.

        A commit may still be at work though its task is gone: native cancellation of every
        task, as some programs end, goes through shields.
        """
        with _DVC:
            self._repo._lock_depth -= 1
            self._lock_use.freed()
            self._repo.lock.unlock()

    def pipeline_owner(self, path: str) -> tuple[str, bool] | None:
        """The stage that ``path`` is an output of: its address, and whether it runs a command."""
        with _DVC:
            try:
                self._declarations.reset()
                owner = self._read_outputs().owner(path)
            except Exception as error:
                raise self._unreadable(error) from error
            return None if owner is None else (owner.stage.addressing, owner.stage.cmd is not None)

    def commit(self, group: Sequence[StagedArtifact]) -> list[TrackedArtifact | AsyncLiveError]:
        """Track every artifact of the group that can be; the others' errors in their places.

        The caller holds DVC's lock. An artifact with an error has left nothing behind.
        """
        with _DVC:
            try:
                return self._commit(group)
            finally:
                self._repo._reset()

    def _commit(self, group: Sequence[StagedArtifact]) -> list[TrackedArtifact | AsyncLiveError]:
        results: list[TrackedArtifact | AsyncLiveError] = []
        undos: list[contextlib.ExitStack] = []
        try:
            self._declarations.reset()
            outputs = self._read_outputs()
            if self._git_index is not None:
                self._git_index.renew()
        except Exception as error:
            return [_caused(self._unreadable(error), error) for _ in group]
        try:
            with self._repo.scm_context(quiet=True):
                for staged in group:
                    result, undo = self._commit_isolated(staged, outputs)
                    results.append(result)
                    undos.append(undo)
                if self._sync.wanted:
                    self._sync_group(results, undos)
        except Exception as error:  # from leaving the context: core.autostage's `git add`
            for index, result in enumerate(results):
                if isinstance(result, TrackedArtifact):
                    path = result.staged.request.path
                    reason = f"it is tracked, but 'git add' of its .dvc file failed: {error}"
                    results[index] = _caused(CommitError(path, reason), error)
        with _state_optional():
            self._save_state([result for result in results if isinstance(result, TrackedArtifact)])
        return results

    def _unreadable(self, error: Exception) -> RepositoryError:
        root = self.layout.root
        return RepositoryError(root, f"DVC cannot read its files in '{root}': {_text(error)}")

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
                self._declarations.forget_dvcignore()
                _take_back(staged.request.path, undo)
                return _as_own_error(staged.request, error), undo
            done = undo.pop_all()
            return replace(tracked, take_back=lambda: self._untrack(tracked, done)), done

    def _untrack(self, tracked: TrackedArtifact, done: contextlib.ExitStack) -> None:
        with _DVC:
            try:
                self._declarations.reset()
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
            results[index] = _as_own_error(tracked.staged.request, error)

    def _commit_one(
        self,
        staged: StagedArtifact,
        outputs: OutputIndex[Any],
        undo: contextlib.ExitStack,
    ) -> TrackedArtifact:
        request = staged.request
        if not request.cache:
            if request.copy:
                undo.callback(make_parents(request.path, self.layout.root))
            _place(staged, self.layout.root, undo)
            return TrackedArtifact(staged, None, None)
        output = outputs.claim(request.path)
        while isinstance(output, DvcFileOutput):
            dvc_file = output.stage.path
            self._index.declare(dvc_file, self._declarations.load_by_dvc(dvc_file))
            output = outputs.claim(request.path)
        if output is None:
            output = self._new_output(request, undo)
        # Until the file is written, the output says more than the file does.
        undo.callback(self._index.reread, output.stage.path, self._declarations)
        said = output.stage.dumpd() if output.stage._stage_text is not None else None
        md5 = self._fill(output, staged)
        if output.use_scm_ignore:
            if self._git_index is not None and self._git_index.tracks(output.fs_path):
                raise ArtifactPathError(
                    output.fs_path,
                    f"is already tracked by Git. Run 'git rm -r --cached {output.fs_path}' and "
                    f"commit, then log it again.{_or_copy(request)}",
                )
            self._ignore(output, undo)
        dvc_file = output.stage.path
        temp = self._write_beside(output.stage, said, undo)
        _place(staged, self.layout.root, undo)
        if output.fs_path != request.path:
            _drop_exec(staged, self.layout)
        relpath = output.stage.dvcfile.relpath
        before = _read(dvc_file)
        with held(dvc_file, self.layout.root) as at:
            os.replace(temp, at)
            undo.callback(self._put_back, dvc_file, before)
        undo.callback(self._repo.scm_context.files_to_track.discard, relpath)
        # It is tracked: from here on nothing fails but the wait for the disk.
        self._repo.scm_context.track_file(relpath)
        self._index.wrote(dvc_file, output.stage.outs)
        return TrackedArtifact(staged, md5, dvc_file)

    def _new_output(self, request: ArtifactRequest, undo: contextlib.ExitStack) -> Any:
        """DVC's ``Output`` for a path it does not track yet (``get_or_create_stage``)."""
        from dvc.utils import resolve_paths

        if request.path == self.layout.root:
            raise ArtifactPathError(
                request.path, "is the DVC repository itself. Log the directories in it."
            )
        # Of a copy, ask for the .dvc file itself: what it replaces may be a link to a directory.
        asked = f"{request.path}.dvc" if request.copy else request.path
        _, directory, _ = resolve_paths(self._repo, asked)
        dvc_file, name = f"{request.path}.dvc", os.path.basename(request.path)
        if request.copy:
            undo.callback(make_parents(request.path, self.layout.root))
        stage = self._repo.stage.create(
            single_stage=True, validate=False, fname=dvc_file, wdir=directory, outs=[name]
        )
        return stage.outs[0]

    def _fill(self, output: Any, staged: StagedArtifact) -> str:
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
                    if number % _AT_A_TIME == 0:
                        give_way()
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

    def _ignore(self, output: Any, undo: contextlib.ExitStack) -> None:
        """Hide the output from Git (``Output.ignore``), less its look into Git's index."""
        context, path = self._repo.scm_context, output.fs_path
        if (
            self._git_index is not None
            and not can_be_said(os.path.basename(path))
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
            undo.callback(self._declarations.wrote_gitignore, os.path.dirname(path))
            undo.callback(context.ignore_remove, context.ignored_paths.pop())

    def _write_beside(self, stage: Any, said: Any, undo: contextlib.ExitStack) -> str:
        """Write the text of the .dvc file (``Stage.dump``) to a temp file.

        DVC would write into the file itself; a crash there would leave half of it.

        Args:
            said: what the stage said when the file was written or read, where there is one.
        """
        from dvc.stage.serialize import to_single_stage_file

        text = self._text.update(said, stage._stage_text, stage.dumpd())
        if text is None:
            text = self._text.dump(to_single_stage_file(stage))
        _check_names_come_back(stage, text)
        stage._stage_text = text  # what DVC would find in the file next time
        try:
            mode = os.stat(stage.path).st_mode & 0o777
        except FileNotFoundError:
            mode = 0o666 & ~self.layout.umask
        temp = self._write_temp(text.encode(), mode)
        undo.callback(remove_file, temp)
        return temp

    def _write_temp(self, content: bytes, mode: int) -> str:
        temp = f"{self.layout.workspace_tmp}{os.sep}dvc-{next(self._numbers)}"
        try:
            # Nobody else can look into the directory of temp files.
            write_new(temp, content, mode, sync=self._sync)
        except BaseException:
            remove_file(temp)
            raise
        return temp

    def _put_back(self, dvc_file: str, content: bytes | None) -> None:
        """Have a .dvc file hold what it held before; None: it was not there."""
        if content is None:
            remove_file(dvc_file)
            return
        temp = self._write_temp(content, os.stat(dvc_file).st_mode & 0o777)
        try:
            with held(dvc_file, self.layout.root) as at:
                os.replace(temp, at)
        finally:
            remove_file(temp)

    def _read_outputs(self) -> OutputIndex[Any]:
        return self._index.refresh(self._declarations)

    def save_hashes(self, path: str, files: Sequence[StoredFile]) -> None:
        """Tell DVC's state of files that will lie in ``path``, while others are still staged.

        It needs no lock: what it says of a file that does not come to be there is never asked.
        """
        with _DVC, _state_optional():
            self._save_rows(_file_rows(path, files))

    def _save_rows(self, rows: Iterator[_StateRow]) -> None:
        state = self._repo.state
        some = list(itertools.islice(rows, _AT_A_TIME))
        if not some:
            return
        with state.hashes.transact():  # one for all of them
            while some:
                state.save_many(some, self._repo.fs)
                give_way()
                some = list(itertools.islice(rows, _AT_A_TIME))

    def _save_state(self, group: Sequence[TrackedArtifact]) -> None:
        """Tell DVC what it would have learnt by hashing, so that nothing is read again."""
        from dvc_data.hashfile.utils import to_nanoseconds

        state = self._repo.state
        links: list[tuple[str, str]] = []
        for tracked in group:
            staged, path = tracked.staged, tracked.staged.request.path
            if tracked.md5 is None or staged.tree_md5 is not None:
                continue  # not DVC's, or known to it already
            if staged.isdir:
                links.append((path, _mtimes_token(path, staged.files)))
            elif self.layout.links:
                links.append((path, str(to_nanoseconds(staged.files[0].mtime))))
        self._save_rows(self._state_rows(group))
        if not links:
            return
        # As State.set_link, which takes a transaction of its own for each.
        with state.links.transact():
            for path, mtime in links:
                with contextlib.suppress(FileNotFoundError):  # removed by its owner meanwhile
                    inode = os.lstat(path).st_ino
                    state.links[os.path.relpath(path, state.root_dir)] = (inode, mtime)

    def _state_rows(self, group: Sequence[TrackedArtifact]) -> Iterator[_StateRow]:
        """One row a file, made when it is asked for: a large directory has many."""
        from dvc_data.hashfile.hash_info import HashInfo

        for tracked in group:
            staged, path = tracked.staged, tracked.staged.request.path
            if tracked.md5 is None:
                continue
            if not staged.hashes_saved:
                yield from _file_rows(path, staged.files)
            if not staged.isdir:
                # Its object too, which a link may have made executable, so that DVC
                # would no longer take it for protected.
                object_path = self._repo.cache.local.oid_to_path(tracked.md5)
                yield object_path, HashInfo("md5", tracked.md5), None


def outside_repository(request: ArtifactRequest, root: str) -> ArtifactPathError:
    hint = (
        " Pass dir= with a directory inside of it."
        if request.copy
        else " Log a copy of it with copy=True."
    )
    return ArtifactPathError(request.path, f"is outside of the DVC repository '{root}'.{hint}")


def _open_repo(root: str) -> Any:
    """As DVCLive does (``dvclive.dvc.get_dvc_repo``), from ``root``."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import Git, SCMError
    from scmrepo.exceptions import SCMError as GitSCMError

    # What the first commit needs, so that no caller waits for the import.
    with warnings.catch_warnings():  # it changes the filters of the process
        import_module("ruamel.yaml")
    import_module("fsspec.implementations.memory")
    if not os.path.isdir(root):
        raise RepositoryError(root, f"'{root}' is not a directory. Pass root= with one that is.")
    try:
        try:
            return Repo(root)
        except (NotDvcRepoError, SCMError):
            try:
                git = Git(root)
            except GitSCMError as error:
                raise RepositoryNotFoundError(root) from error
            # Fails where Git cannot work, before DVC has made anything.
            git.list_submodules()
            with logger_muted("dvc.repo.init"):
                return Repo.init(git.root_dir)
    except AsyncLiveError:
        raise
    except OSError as error:
        raise StorageError(root, error) from error
    except Exception as error:  # DVC's, scmrepo's, and those of Git's libraries below it
        raise RepositoryError(
            root, f"DVC cannot open its repository at '{root}': {_text(error)}"
        ) from error


def _remove_dead_sessions(repo: Any) -> None:
    from dvc.lock import HardlinkLock

    # Who configures that says that other locks do not hold here: no session can be told dead.
    if not isinstance(repo.lock, HardlinkLock):
        remove_dead_sessions([repo.cache.local.path, *_tmp_dirs(repo)])


def _tmp_dirs(repo: Any) -> list[str]:
    """Where temp files may be that are renamed into the workspace: the places Git is not to see."""
    return [repo.tmp_dir, os.path.join(os.path.dirname(repo.tmp_dir), "cache")]


def _start_session(repo: Any, sync: Sync) -> Session:
    cache, (tmp_dir, other_dir) = repo.cache.local, _tmp_dirs(repo)
    try:
        cache.makedirs(cache.path)
        sync.mount(cache.path)
        _sync_settings(sync, repo)
        # DVC's own may be on another disk, for DVC renames nothing from there.
        if not reaches(tmp_dir, repo.root_dir):
            cache.makedirs(other_dir)
            if reaches(other_dir, repo.root_dir):
                tmp_dir = other_dir
        return Session.start(cache.path, tmp_dir)
    except OSError as error:
        raise StorageError(cache.path, error) from error


def _read_layout(repo: Any, session: Session, sync: Sync) -> CacheLayout:
    from dvc_objects.fs.generic import test_links
    from dvc_objects.fs.utils import umask

    cache = repo.cache.local
    types = list(cache.cache_types)
    beside = os.path.join(session.workspace_tmp, "0")
    try:
        links = test_links(types, cache.fs, session.cache_tmp, repo.fs, beside)
    except OSError as error:
        raise StorageError(cache.path, error) from error
    if not links:  # DVC says so at each `dvc add`, which tracks the file all the same
        logger.warning(
            "None of cache.type = %s works between the cache '%s' and '%s': files are tracked, and "
            "stay in the workspace as they are. Run 'dvc config cache.type reflink,copy'.",
            ",".join(types),
            cache.path,
            repo.root_dir,
        )
    return CacheLayout(
        root=repo.root_dir,
        cache_dir=cache.path,
        types=tuple(cache.cache_types),
        links=tuple(links),
        object_mode=cache.CACHE_MODE,
        dir_mode=cache._dir_mode,
        file_mode=cache._file_mode,
        umask=umask,
        cache_tmp=session.cache_tmp,
        workspace_tmp=session.workspace_tmp,
        sync=sync,
    )


def _sync_settings(sync: Sync, repo: Any) -> None:
    """What DVC leaves of its own in a repository that was just made: it may be ours."""
    from dvc.ignore import DvcIgnore

    for name in ("config", ".gitignore"):
        with contextlib.suppress(FileNotFoundError):
            sync.file(os.path.join(repo.dvc_dir, name))
    with contextlib.suppress(FileNotFoundError):
        sync.file(os.path.join(repo.root_dir, DvcIgnore.DVCIGNORE_FILE))
    for directory in sync.with_above([repo.dvc_dir]):
        sync.directory(directory)


def _watches() -> list[Watch]:
    """In the order in which they are tried."""
    from dvc.dvcfile import is_valid_filename

    inotify = open_inotify()
    by_stamps = ByStamps(is_valid_filename)
    return [by_stamps] if inotify is None else [inotify, by_stamps]


def _state_databases(repo: Any) -> list[str]:
    """None where DVC keeps no state, or keeps it in another way."""
    caches = [getattr(repo.state, name, None) for name in ("hashes", "links")]
    return [os.path.join(cache.directory, "cache.db") for cache in caches if cache is not None]


def _dvc_text() -> DvcText:
    from dvc.utils.serialize import dumps_yaml

    return DvcText(dumps_yaml)


def _declarations(repo: Any) -> WorkspaceDeclarations:
    from dvc.dvcfile import PROJECT_FILE, is_valid_filename
    from dvc.ignore import DvcIgnoreFilter
    from dvc.repo.index import Index
    from dvc.scm import NoSCM

    has_git = not isinstance(repo.scm, NoSCM)
    return WorkspaceDeclarations(
        repo,
        Dvc(PROJECT_FILE, is_valid_filename, Index.from_file, DvcIgnoreFilter),
        has_git=has_git,
        gitignore=_gitignore(repo) if has_git else None,
    )


def _git_index(repo: Any) -> GitIndex | None:
    from dvc.scm import NoSCM

    if isinstance(repo.scm, NoSCM):
        return None
    return GitIndex(repo.scm.dulwich.repo, repo.scm.root_dir)


def _gitignore(repo: Any) -> GitIgnore | None:
    """In the place of dulwich's answers and scmrepo's lines; None: they are made differently."""
    import dulwich.ignore
    import scmrepo.git

    scm = repo.scm
    try:
        escape, add_by_scmrepo = scmrepo.git.GitWildMatchPattern.escape, scm._add_entry_to_gitignore
        gitignore_of, remove_by_scmrepo = scm._get_gitignore, scm.ignore_remove
        gitignore = GitIgnore(dulwich.ignore, scm.dulwich.repo)
    except AttributeError:
        return None
    appended = Appended()

    def add(entry: str, path: str) -> None:
        directory = os.path.dirname(path)
        with appended.adding(path):
            if not gitignore.file(directory).add(escape(entry)):
                add_by_scmrepo(entry, path)
                gitignore.forget(directory)

    def remove(ignored: str) -> Any:
        # scmrepo would empty the file before it writes the other lines.
        _, path = gitignore_of(ignored)
        if not appended.take_back(path):
            return remove_by_scmrepo(ignored)
        return path if os.path.exists(path) else None

    scm._add_entry_to_gitignore, scm.ignore_remove = add, remove
    return gitignore


@contextlib.contextmanager
def _state_optional() -> Iterator[None]:
    """DVC's state is a cache, on a disk of its own: what it cannot be told, it reads again."""
    try:
        yield
    except Exception as error:
        logger.warning(
            "DVC's state cannot be written to (%s). What was logged is tracked all the same; the "
            "next 'dvc status' reads it once more.",
            _text(error),
        )


def _take_back(path: str, undo: contextlib.ExitStack) -> None:
    """Take back what was done of an artifact, all that can be."""
    try:
        undo.close()
    except Exception:  # why it is taken back is what its caller is told
        logger.exception("'%s' could not be taken back wholly. Log it again.", path)


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _place(staged: StagedArtifact, root: str, undo: contextlib.ExitStack) -> None:
    if staged.placement is not None:
        undo.callback(staged.placement.apply(root))


def _check_names_come_back(stage: Any, text: str) -> None:
    """Refuse a name that is another one when it is read from the .dvc file."""
    from dvc.utils.serialize import parse_yaml

    names = [output.def_path for output in stage.outs]
    if all(map(is_plain, names)):
        return
    for output, said in zip(stage.outs, parse_yaml(text, stage.path)["outs"], strict=True):
        if said["path"] != output.def_path:
            raise ArtifactPathError(
                output.fs_path,
                "has a name that YAML does not give back as it is: a control character, or a row "
                "of spaces in a long one. Rename it.",
            )


def _drop_exec(staged: StagedArtifact, layout: CacheLayout) -> None:
    """Inside a tracked directory DVC makes a file anew and keeps no mode (``Output.set_exec``)."""
    if staged.isdir or not staged.files[0].isexec:
        return
    with held(staged.request.path, layout.root) as at:
        if stat.S_ISREG(os.lstat(at).st_mode):
            change_mode(at, layout.copy_mode)


def _digest(tree: Any, store: Any) -> None:
    """Hash the tree and store it, without leaving it in DVC's process-wide memory file system."""
    tree.digest()
    memory, path = tree.fs, tree.path
    try:
        store()
    finally:
        memory.remove(path)


def _file_rows(path: str, files: Sequence[StoredFile]) -> Iterator[_StateRow]:
    from dvc_data.hashfile.hash_info import HashInfo

    for file in files:
        info = {"ino": file.inode, "mtime": file.mtime, "size": file.size}
        yield os.sep.join((path, *file.key)), HashInfo("md5", file.md5), info


def _mtimes_token(path: str, files: Sequence[StoredFile]) -> str:
    """What tells DVC whether a directory was changed (``_tokenize_mtimes``), some files at a time.

    DVC makes one JSON object of all paths and mtimes, sorted by path.
    """
    digest = hashlib.md5(b"{", usedforsecurity=False)
    mtimes = sorted((os.sep.join((path, *file.key)), file.mtime) for file in files)
    for start in range(0, len(mtimes), _AT_A_TIME):
        some = json.dumps(dict(mtimes[start : start + _AT_A_TIME]))[1:-1]
        digest.update((", " if start else "").encode() + some.encode())
        give_way()
    digest.update(b"}")
    return digest.hexdigest()


def _as_own_error(request: ArtifactRequest, error: Exception) -> AsyncLiveError:
    """The error of ours that says what DVC's error means for the caller."""
    from dvc.dvcfile import FileIsGitIgnored
    from dvc.exceptions import DvcException
    from dvc.output import OutputIsIgnoredError, OutputIsStageFileError
    from dvc.stage.exceptions import StagePathOutsideError

    path = request.path
    if isinstance(error, AsyncLiveError):
        return error
    if isinstance(error, OSError):
        return _caused(StorageError(path, error), error)
    or_copy, text = _or_copy(request), _text(error)
    own: AsyncLiveError
    if isinstance(error, FileIsGitIgnored):
        own = ArtifactPathError(path, f"is in a place that Git ignores: {text}{or_copy}")
    elif isinstance(error, OutputIsIgnoredError):
        own = ArtifactPathError(
            path, f"is ignored by .dvcignore: {text}. Change that rule.{or_copy}"
        )
    elif isinstance(error, OutputIsStageFileError):
        own = ArtifactPathError(path, "is a DVC file itself, which DVC cannot track.")
    elif isinstance(error, StagePathOutsideError):
        own = outside_repository(request, text)
    elif isinstance(error, DvcException) and "symlinked" in str(error):
        own = ArtifactPathError(
            path, f"is, or is reached through, a symbolic link to a directory.{or_copy}"
        )
    else:
        own = CommitError(path, f"{type(error).__name__}: {text}")
    return _caused(own, error)


def _or_copy(request: ArtifactRequest) -> str:
    return "" if request.copy else " Or log a copy of it with copy=True."


def _text(error: Exception) -> str:
    """What the error says, less the colours that DVC puts into it."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error))


def _caused(own: AsyncLiveError, cause: Exception) -> AsyncLiveError:
    own.__cause__ = cause
    return own
