"""live=: a ``dvclive.Live`` whose dvc.yaml and experiment also hold the artifacts logged here.

DVCLive writes dvc.yaml from the artifacts in its object, and drops other entries below its
directory. From the same artifacts it saves an experiment. So each artifact that is logged here is
added to that object, in DVCLive's own format. This is the one module that knows DVCLive. It does
not import it.
"""

from __future__ import annotations

import contextlib
import copy
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any, Protocol

from .._artifact.records import LoggedArtifact
from .._dvcyaml.entry_lines import Entries
from .._errors import ExperimentError, RepositoryError
from .._fs.file_lock import FileLock
from .experiment import CoWriterRepository, ExperimentFunctions, SessionExperiment
from .experiment_files import NewFiles, files_for_git, resolve_directory

logger = getLogger(__name__)

# Private names of DVCLive that this module relies on, next to the two methods.
_METHODS = ("make_dvcyaml", "save_dvc_exp")
_ATTRIBUTES = (
    "_artifacts",
    "_dvcyaml",
    "_dvc_repo",
    "_exp_name",
    "_include_untracked",
    "_inside_dvc_exp",
    "_save_dvc_exp",
)


class Live(Protocol):
    """A ``dvclive.Live``."""

    @property
    def dir(self) -> str: ...

    @property
    def dvc_file(self) -> str: ...

    def make_dvcyaml(self) -> Any: ...

    def save_dvc_exp(self) -> Any: ...


@dataclass(frozen=True)
class _Entered:
    """A session that uses the Live."""

    repository: CoWriterRepository
    dvcyaml_lock: FileLock
    saver: _Saver


class AdoptedLive(SessionExperiment):
    """A Live to which artifacts are added.

    ``enter`` wraps two methods of the object. ``make_dvcyaml`` then holds the lock of dvc.yaml.
    ``save_dvc_exp`` waits until every session that uses the Live has ended, because its experiment
    must hold their artifacts. It saves as ``AsyncLive(save_dvc_exp=True)`` does: DVC would put the
    workspace into Git's stash for a moment.

    Args:
        live: the Live.

    Raises:
        TypeError: it is no Live, or a Live of an unknown version of DVCLive.
    """

    def __init__(self, live: Any) -> None:
        if not all(callable(getattr(live, name, None)) for name in _METHODS):
            raise TypeError(f"live must be a dvclive.Live, not {type(live).__name__}")
        missing = [name for name in _ATTRIBUTES if not hasattr(live, name)]
        if missing:
            raise TypeError(
                f"The Live of this version of DVCLive has no {', '.join(missing)}. Install another "
                "version from 3.48 on."
            )
        self._live = live
        self.dir = _absolute(live.dir)
        self.dvcyaml = _absolute(live.dvc_file) if live._dvcyaml else None
        self.co_writer = self
        self._entered: _Entered | None = None

    @property
    def name(self) -> str | None:  # type: ignore[override]  # read from the Live, never set here
        name: str | None = self._live._exp_name
        return name

    def check_same(self, dir: str | None, dvcyaml: str | None) -> None:
        """Refuse arguments that contradict the Live.

        Args:
            dir: absolute; None: the caller did not pass it.
            dvcyaml: absolute, or "" for none; None: the caller did not pass it.

        Raises:
            ValueError: one of them differs from that of the Live.
        """
        if dir is not None and not _is_same(dir, self.dir):
            raise ValueError(f"dir is '{dir}', but that of live is '{self.dir}': leave it out")
        if dvcyaml is None:
            return
        if not _is_same(dvcyaml, self.dvcyaml or ""):
            raise ValueError(
                f"dvcyaml is {dvcyaml or None!r}, but that of live is {self.dvcyaml!r}: leave it "
                "out"
            )

    def enter_co_writer(self, repository: CoWriterRepository) -> None:
        self.enter(repository)

    def enter(self, repository: CoWriterRepository) -> None:
        live = self._live
        its_root = None if live._dvc_repo is None else live._dvc_repo.root_dir
        if its_root is not None and its_root != repository.root:
            raise RepositoryError(
                repository.root,
                f"live is in the DVC repository '{its_root}', not in '{repository.root}'. Make "
                "it, or pass root=, so that both are in one.",
            )
        dvcyaml_lock = repository.dvcyaml_lock()
        if not isinstance(live.make_dvcyaml, _LockedMakeDvcyaml):
            live.make_dvcyaml = _LockedMakeDvcyaml(live.make_dvcyaml, dvcyaml_lock)
        saver = live.save_dvc_exp
        if not isinstance(saver, _Saver):
            saver = live.save_dvc_exp = _Saver(live, saver, repository.experiment_functions())
        saver.enter()
        self._entered = _Entered(repository, dvcyaml_lock, saver)

    def lock(self) -> AbstractContextManager[None]:
        assert self._entered is not None
        return self._entered.dvcyaml_lock.hold()

    @contextlib.contextmanager
    def recording(self, entries: Entries) -> Iterator[Callable[[], object]]:
        with self.lock():
            artifacts = self._live._artifacts
            before = {name: artifacts[name] for name in entries if name in artifacts}
            # DVCLive makes absolute paths relative to its dvc.yaml. So both write the same entry.
            directory = Path(self._live.dvc_file).parent.absolute()
            for name, entry in entries.items():
                path = os.path.join(directory, entry["path"])
                artifacts[name] = {**copy.deepcopy(entry), "path": path}
            with contextlib.ExitStack() as undo:
                undo.callback(artifacts.update, before)
                for name in entries:
                    undo.callback(artifacts.pop, name, None)
                yield undo.pop_all

    def add_artifact(self, logged: LoggedArtifact) -> None:
        assert self._entered is not None
        self._entered.saver.files.add(logged)

    def leave(self, *, normally: bool, lock_timeout: float | None) -> None:
        entered = self._entered
        if entered is None:
            return
        must_save = entered.saver.leave(lock_timeout)
        try:
            if self._live._inside_dvc_exp:
                # DVCLive adds dvc.yaml and its directory when it ends, which may have been before.
                entered.saver.stage_for_git(filter(None, [self.dvcyaml]), lock_timeout)
            if must_save:
                entered.saver.save()
        except Exception as error:  # errors that DVCLive does not turn into warnings
            if normally:
                raise ExperimentError(self.name, str(error)) from error
            logger.exception("The experiment '%s' could not be saved.", self.name)


def _absolute(path: str | os.PathLike[str]) -> str:
    """Return the absolute path. Relative paths of DVCLive start in the working directory.

    Raises:
        RepositoryError: the working directory was removed.
    """
    path = os.fspath(path)
    try:
        return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    except OSError as error:
        raise RepositoryError(
            path,
            f"The working directory was removed, and '{path}' of live starts in it. Make the "
            "dvclive.Live with absolute paths, or change to another directory, and pass root=.",
        ) from error


def _is_same(path: str, other: str) -> bool:
    """Return whether two paths are one place. Blocks only if their names differ."""
    path, other = os.path.normpath(path), os.path.normpath(other)
    return path == other or os.path.realpath(path) == os.path.realpath(other)


class _LockedMakeDvcyaml:
    """``make_dvcyaml`` of a Live, while it holds the lock of dvc.yaml."""

    def __init__(self, make_dvcyaml: Callable[[], None], dvcyaml_lock: FileLock) -> None:
        self._make_dvcyaml = make_dvcyaml
        self._dvcyaml_lock = dvcyaml_lock

    def __call__(self) -> None:
        with self._dvcyaml_lock.hold():
            self._make_dvcyaml()


class _Saver:
    """``save_dvc_exp`` of a Live: saves now, or when the last session that uses the Live ends.

    Args:
        live: the Live.
        save_dvc_exp: its method.
        functions: save an experiment without a change of the workspace, and add files to Git.
    """

    def __init__(
        self, live: Any, save_dvc_exp: Callable[[], None], functions: ExperimentFunctions
    ) -> None:
        self.files = NewFiles()
        self._live = live
        self._save_dvc_exp = save_dvc_exp
        self._save_experiment, self._stage_for_git = functions
        self._lock_timeout: float | None = 60.0
        self._lock = threading.Lock()  # protects the two below
        self._sessions = 0
        self._is_save_pending = False

    def enter(self) -> None:
        """Count one more session."""
        with self._lock:
            self._sessions += 1

    def leave(self, lock_timeout: float | None) -> bool:
        """Count one session less; return whether the caller must call ``save`` now."""
        with self._lock:
            self._lock_timeout = lock_timeout
            self._sessions -= 1
            if self._sessions or not self._is_save_pending:
                return False
            self._is_save_pending = False
            return True

    def __call__(self) -> None:
        with self._lock:
            if self._sessions and self._live._save_dvc_exp:
                self._is_save_pending = True
                logger.info(
                    "The experiment '%s' is saved when the block of AsyncLive is left.",
                    self._live._exp_name,
                )
                return
        try:
            self.save()
        except ExperimentError as error:  # DVCLive warns of all errors of DVC
            logger.warning("%s", error)

    def stage_for_git(self, others: Iterable[str], lock_timeout: float | None) -> None:
        """Add the files of the logged artifacts, and others, to Git's index."""
        paths = files_for_git([*self.files, *map(resolve_directory, others)])
        self._stage_for_git(self._live._dvc_repo, paths, lock_timeout)

    def save(self) -> None:
        """Save the experiment, with the files of the logged artifacts."""
        if not self._live._save_dvc_exp:
            return
        untracked = self._live._include_untracked
        # DVCLive includes its whole directory. DVC would then give Git the bytes of the copies in
        # it.
        untracked[:] = files_for_git([*untracked, *self.files])
        experiments = self._live._dvc_repo.experiments
        experiments.save = self._save  # DVCLive calls it
        try:
            self._save_dvc_exp()
        finally:
            del experiments.save

    def _save(
        self, name: str, include_untracked: Sequence[str], force: bool, message: str | None
    ) -> str:
        """Save an experiment, in the place of ``dvc.repo.experiments.Experiments.save``."""
        return self._save_experiment(
            self._live._dvc_repo,
            name,
            message,
            [os.path.abspath(path) for path in include_untracked],
            lock_timeout=self._lock_timeout,
            force=force,
            recorded=[*self.files],
        )
