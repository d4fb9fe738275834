"""The DVC experiment that a session ends in: none, one of its own, or that of a dvclive.Live."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from logging import getLogger
from typing import NamedTuple, Protocol, TypeAlias

from .._artifact.records import LoggedArtifact
from .._dvcyaml.co_writer import CoWriter
from .._errors import ExperimentError
from .._fs.file_lock import FileLock
from .experiment_files import NewFiles, files_for_git, resolve_directory

logger = getLogger(__name__)


# Both are called with a Repo of DVC. The first one saves the experiment of a Live, and returns its
# SHA; the second one adds files to Git's index.
ExperimentFunctions: TypeAlias = tuple[Callable[..., str], Callable[..., None]]


class CoWriterRepository(Protocol):
    """The part of a repository that a co-writer of dvc.yaml needs. Blocks.

    Either this process or a worker process has opened the repository.
    """

    @property
    def root(self) -> str: ...

    def dvcyaml_lock(self) -> FileLock: ...

    def experiment_functions(self) -> ExperimentFunctions: ...


class Repository(CoWriterRepository, Protocol):
    """The part of a repository that an experiment needs. Blocks; call it in the thread for DVC."""

    def experiment_name(self, name: str | None) -> str: ...

    def save_experiment(
        self, name: str, message: str | None, include: Sequence[str], lock_timeout: float | None
    ) -> None: ...

    def stage_for_git(self, paths: Sequence[str], lock_timeout: float | None) -> None: ...


class WantedExperiment(NamedTuple):
    """An experiment that a worker process saves. It pickles."""

    name: str | None
    message: str | None
    is_asked_for: bool
    """Whether the caller passed ``save_dvc_exp=True``."""


class SessionExperiment:
    """No experiment, for a session that saves none. A subclass overrides the hooks it needs."""

    name: str | None = None
    co_writer: CoWriter | None = None
    """Another writer of dvc.yaml in this process; None: there is none."""

    def enter(self, repository: Repository) -> None:
        """Begin a session. Blocks; call it in the thread for DVC.

        Raises:
            AsyncLiveError: the experiment refuses this repository.
        """

    def enter_co_writer(self, repository: CoWriterRepository) -> None:
        """Begin a session whose repository a worker process has opened. Blocks.

        Like ``enter``, but only a co-writer takes part in this process.
        """

    def set_name(self, name: str | None) -> None:
        """Take the name under which the worker process saves the experiment."""

    @property
    def for_worker(self) -> WantedExperiment | None:
        """The experiment that a worker process saves; None: it saves none."""
        return None

    @property
    def files(self) -> Iterable[str]:
        """The files that the worker process must include when it saves the experiment."""
        return ()

    def add_files(self, files: Iterable[str]) -> None:
        """Include these files too. An earlier worker process may have written them."""

    @property
    def is_saved_by_worker(self) -> bool:
        """Whether a worker process saves the experiment."""
        return False

    def add_artifact(self, logged: LoggedArtifact) -> None:
        """Include the files of a logged artifact. Call it on the event loop."""

    def leave(self, *, normally: bool, lock_timeout: float | None) -> None:
        """End the session, after the last artifact. Blocks; call it in the thread for DVC.

        Args:
            normally: whether the block was left without an exception.
            lock_timeout: seconds to wait for DVC's lock; None: no limit.

        Raises:
            ExperimentError: the experiment cannot be saved. Raised only if ``normally``.
        """


class _Runner(Enum):
    """The program that runs this process, as DVC's environment variables say."""

    USER = auto()
    DVC_REPRO = auto()
    """``dvc repro``: no experiment is saved."""
    DVC_EXP_RUN = auto()
    """``dvc exp run``: DVC saves the experiment when the process has ended."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> _Runner:
        if not environment.get("DVC_ROOT"):
            return cls.USER
        return cls.DVC_EXP_RUN if environment.get("DVC_EXP_BASELINE_REV") else cls.DVC_REPRO


def is_in_exp_run(environment: Mapping[str, str]) -> bool:
    """Return whether ``dvc exp run`` runs a process of this environment."""
    return _Runner.of(environment) is _Runner.DVC_EXP_RUN


class OwnExperiment(SessionExperiment):
    """An experiment that the session itself saves when its block is left normally.

    Under ``dvc exp run``, DVC saves it when the stage has ended: it holds the files that Git's
    index has then. A run with ``--temp`` drops all others.

    Args:
        name: None: DVC makes a random name when the block is entered.
        message: of its Git commit; None: DVC's.
        paths: the files that it holds in addition to .dvc files: dvc.yaml and the copies,
            without the files that DVC tracks.
        environment: of the process; it tells whether a pipeline runs the process.
        is_asked_for: whether the caller passed ``save_dvc_exp=True``. If not, ``dvc exp run`` runs
            this process.
    """

    def __init__(
        self,
        name: str | None,
        message: str | None,
        paths: Sequence[str],
        environment: Mapping[str, str],
        *,
        is_asked_for: bool = True,
    ) -> None:
        self.name = name
        self._is_asked_for = is_asked_for
        self._message = message
        self._paths = paths
        self._runner = _Runner.of(environment)
        if self._runner is _Runner.DVC_EXP_RUN:
            self.name = environment.get("DVC_EXP_NAME")
        self._repository: Repository | None = None
        self._files = NewFiles()

    def enter(self, repository: Repository) -> None:
        if not self._is_asked_for:
            pass
        elif self._runner is _Runner.DVC_EXP_RUN:
            logger.info("Ignoring `save_dvc_exp` because `dvc exp run` is running")
        elif self._runner is _Runner.DVC_REPRO:
            logger.warning(
                "Ignoring `save_dvc_exp` because `dvc repro` is running."
                "\nUse `dvc exp run` to save experiment."
            )
        else:
            self.name = repository.experiment_name(self.name)
        self._repository = repository

    @property
    def files(self) -> Iterable[str]:
        return self._files

    def add_files(self, files: Iterable[str]) -> None:
        for path in files:
            self._files.add_path(path)

    def add_artifact(self, logged: LoggedArtifact) -> None:
        self._files.add(logged)

    def leave(self, *, normally: bool, lock_timeout: float | None) -> None:
        if self._repository is None or self._runner is _Runner.DVC_REPRO:
            return
        paths = files_for_git([*self._files, *map(resolve_directory, self._paths)])
        if self._runner is _Runner.DVC_EXP_RUN:
            try:
                self._repository.stage_for_git(paths, lock_timeout)
            except ExperimentError:
                if normally:
                    raise
                logger.exception("The experiment may lack some of the logged artifacts.")
        elif normally:
            assert self.name is not None
            self._repository.save_experiment(self.name, self._message, paths, lock_timeout)


class WorkersExperiment(OwnExperiment):
    """An experiment that a worker process saves, as seen in the caller's process.

    If a worker was killed, the next worker saves the experiment under the same name.
    """

    @property
    def for_worker(self) -> WantedExperiment:
        return WantedExperiment(self.name, self._message, self._is_asked_for)

    def set_name(self, name: str | None) -> None:
        self.name = name

    @property
    def is_saved_by_worker(self) -> bool:
        return self._runner is not _Runner.DVC_REPRO
