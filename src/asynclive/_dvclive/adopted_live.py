"""A ``dvclive.Live`` beside AsyncLive: what it knows, it keeps, in dvc.yaml and its experiment.

DVCLive writes dvc.yaml from what its object knows, and drops other entries below its directory;
of what it knows it saves an experiment. So it is told, in its own terms, what is logged here.
The one module that knows DVCLive. It does not import it.
"""

from __future__ import annotations

import contextlib
import copy
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from logging import getLogger
from pathlib import Path
from typing import Any, Protocol

from .._artifact.records import LoggedArtifact
from .._dvcyaml.entry_lines import Entries
from .._errors import ExperimentError, RepositoryError
from .._fs.file_lock import FileLock
from .experiment import CoWriterRepository, SessionExperiment
from .experiment_files import NewFiles, left_to_git

logger = getLogger(__name__)

_METHODS = ("make_dvcyaml", "save_dvc_exp")
_KNOWS = ("_artifacts", "_dvcyaml", "_dvc_repo", "_exp_name", "_include_untracked", "_save_dvc_exp")


class Live(Protocol):
    """A ``dvclive.Live``."""

    @property
    def dir(self) -> str: ...

    @property
    def dvc_file(self) -> str: ...

    def make_dvcyaml(self) -> Any: ...

    def save_dvc_exp(self) -> Any: ...


class AdoptedLive(SessionExperiment):
    """A Live that is told of artifacts.

    Two of its methods are wrapped, on the object: ``make_dvcyaml`` takes its turn at dvc.yaml,
    and ``save_dvc_exp`` waits for the sessions beside it, for DVC takes the workspace apart for a
    moment when it saves an experiment.

    Args:
        live: the Live.

    Raises:
        TypeError: it is none, or one that keeps what it knows elsewhere.
    """

    def __init__(self, live: Any) -> None:
        if not all(callable(getattr(live, name, None)) for name in _METHODS):
            raise TypeError(f"live must be a dvclive.Live, not {type(live).__name__}")
        missing = [name for name in _KNOWS if not hasattr(live, name)]
        if missing:
            raise TypeError(
                f"The Live of this version of DVCLive has no {', '.join(missing)}. Install another "
                "version from 3.48 on."
            )
        self._live = live
        # What is relative in DVCLive starts in the working directory.
        self.dir = os.path.join(os.getcwd(), os.fspath(live.dir))
        self.dvcyaml: str | None = None
        if live._dvcyaml:
            self.dvcyaml = os.path.join(os.getcwd(), os.fspath(live.dvc_file))
        self.beside = self
        self._saver: _Saver | None = None

    @property
    def name(self) -> str | None:  # type: ignore[override]  # that of the Live, whatever it is
        name: str | None = self._live._exp_name
        return name

    def check_same(self, dir: str | None, dvcyaml: str | None) -> None:
        """Refuse what was asked for beside the Live, and is not what it does.

        Args:
            dir: absolute; None: it was not asked for.
            dvcyaml: absolute, or "" for none; None: it was not asked for.

        Raises:
            ValueError: says which.
        """
        if dir is not None and os.path.normpath(dir) != os.path.normpath(self.dir):
            raise ValueError(f"dir is '{dir}', but that of live is '{self.dir}': leave it out")
        if dvcyaml is None:
            return
        if os.path.normpath(dvcyaml) != os.path.normpath(self.dvcyaml or ""):
            raise ValueError(
                f"dvcyaml is {dvcyaml or None!r}, but that of live is {self.dvcyaml!r}: leave it "
                "out"
            )

    def enter_beside(self, place: CoWriterRepository) -> None:
        self.enter(place)

    def enter(self, repository: CoWriterRepository) -> None:
        live = self._live
        its_root = None if live._dvc_repo is None else live._dvc_repo.root_dir
        if its_root is not None and its_root != repository.root:
            raise RepositoryError(
                repository.root,
                f"live is in the DVC repository '{its_root}', not in '{repository.root}'. Make "
                "it, or pass root=, so that both are in one.",
            )
        self._turn = repository.dvcyaml_lock()
        if not isinstance(live.make_dvcyaml, _InTurn):
            live.make_dvcyaml = _InTurn(live.make_dvcyaml, self._turn)
        saver = live.save_dvc_exp
        if not isinstance(saver, _Saver):
            saver = live.save_dvc_exp = _Saver(live, saver)
        saver.enter()
        self._saver = saver
        self._repository = repository

    def lock(self) -> AbstractContextManager[None]:
        return self._turn.hold()

    @contextlib.contextmanager
    def recording(self, entries: Entries) -> Iterator[Callable[[], object]]:
        with self._turn.hold():
            known = self._live._artifacts
            before = {name: known[name] for name in entries if name in known}
            # So that it says what we do, relative to its dvc.yaml.
            directory = Path(self._live.dvc_file).parent.absolute()
            for name, entry in entries.items():
                path = os.path.join(directory, entry["path"])
                known[name] = {**copy.deepcopy(entry), "path": path}
            with contextlib.ExitStack() as undo:
                undo.callback(known.update, before)
                for name in entries:
                    undo.callback(known.pop, name, None)
                yield undo.pop_all

    def logged(self, logged: LoggedArtifact) -> None:
        assert self._saver is not None
        self._saver.files.add(logged)

    def leave(self, *, normally: bool) -> None:
        save = None if self._saver is None else self._saver.leave()
        if save is None:
            return
        try:
            self._repository.run_in_dvc(save)
        except Exception as error:  # what DVCLive does not warn of
            if normally:
                raise ExperimentError(self.name, str(error)) from error
            logger.exception("The experiment '%s' could not be saved.", self.name)


class _InTurn:
    """``make_dvcyaml`` of a Live, in its turn."""

    def __init__(self, make_dvcyaml: Callable[[], None], turn: FileLock) -> None:
        self._make_dvcyaml = make_dvcyaml
        self._turn = turn

    def __call__(self) -> None:
        with self._turn.hold():
            self._make_dvcyaml()


class _Saver:
    """``save_dvc_exp`` of a Live: at once, or when the last session beside it is left."""

    def __init__(self, live: Any, save: Callable[[], None]) -> None:
        self.files = NewFiles()
        self._live = live
        self._save = save
        self._lock = threading.Lock()  # protects the two below
        self._sessions = 0
        self._wanted = False

    def enter(self) -> None:
        with self._lock:
            self._sessions += 1

    def leave(self) -> Callable[[], None] | None:
        """What saves the experiment, if it was wanted, and no session is left."""
        with self._lock:
            self._sessions -= 1
            if self._sessions or not self._wanted:
                return None
            self._wanted = False
            return self._save_now

    def __call__(self) -> None:
        with self._lock:
            if self._sessions and self._live._save_dvc_exp:
                self._wanted = True
                logger.info(
                    "The experiment '%s' is saved when the block of AsyncLive is left.",
                    self._live._exp_name,
                )
                return
        self._save_now()

    def _save_now(self) -> None:
        if self._live._save_dvc_exp:
            untracked = self._live._include_untracked
            # DVCLive names its directory, and DVC would give Git the copies in it, bytes and all.
            untracked[:] = left_to_git([*untracked, *self.files])
        self._save()
