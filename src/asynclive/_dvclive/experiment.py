"""The DVC experiment that a session ends in: none, one of its own, or that of a dvclive.Live."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import getLogger
from typing import NamedTuple, Protocol, TypeVar

from .._artifact.records import LoggedArtifact
from .._dvcyaml.co_writer import CoWriter
from .._fs.file_lock import FileLock
from .experiment_files import NewFiles, _without_links, left_to_git

T = TypeVar("T")

logger = getLogger(__name__)


class CoWriterRepository(Protocol):
    """What a co-writer of dvc.yaml needs of a repository, whichever process opened it. Blocks."""

    @property
    def root(self) -> str: ...

    def dvcyaml_lock(self) -> FileLock: ...

    def run_in_dvc(self, func: Callable[[], T]) -> T: ...


class Repository(CoWriterRepository, Protocol):
    """What is asked of the repository. All of it blocks, in the thread for DVC."""

    def experiment_name(self, name: str | None) -> str: ...

    def save_experiment(self, name: str, message: str | None, include: Sequence[str]) -> None: ...

    def stage_for_git(self, paths: Sequence[str]) -> None: ...


class WantedExperiment(NamedTuple):
    """An experiment that a worker process saves. It pickles."""

    name: str | None
    message: str | None


class SessionExperiment:
    """None, for a session that saves none: what the others do more than this."""

    name: str | None = None
    beside: CoWriter | None = None
    """Who else writes dvc.yaml."""

    def enter(self, repository: Repository) -> None:
        """Blocks, in the thread for DVC. May refuse, in the words of an error of ours."""

    def enter_beside(self, place: CoWriterRepository) -> None:
        """As ``enter``, for a ``beside``, where a worker process has the repository. Blocks."""

    def named(self, name: str | None) -> None:
        """So it is called by the worker process that saves it."""

    @property
    def for_worker(self) -> WantedExperiment | None:
        """The experiment that a worker process saves; None: it saves none."""
        return None

    @property
    def files(self) -> Iterable[str]:
        """What a worker process is to know of when it saves it."""
        return ()

    def include(self, files: Iterable[str]) -> None:
        """Have it hold these too, which another worker process may have written."""

    @property
    def is_workers(self) -> bool:
        """Whether a worker process is to save it."""
        return False

    def logged(self, logged: LoggedArtifact) -> None:
        """An artifact was logged. On the event loop."""

    def leave(self, *, normally: bool) -> None:
        """Nothing is logged any more. Blocks, in the thread for DVC.

        Args:
            normally: the block was not left by an exception.

        Raises:
            ExperimentError: it cannot be saved; only if ``normally``.
        """


class OwnExperiment(SessionExperiment):
    """One that the session saves on its own, when its block is left normally.

    Args:
        name: None: a random one is made on entering.
        message: of its Git commit; None: DVC's.
        paths: what is to be in it beside .dvc files: dvc.yaml, and the directory of the copies,
            less those that DVC keeps.
        environment: of the process, which tells whether a pipeline runs it.
    """

    def __init__(
        self,
        name: str | None,
        message: str | None,
        paths: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self._message = message
        self._paths = paths
        self._in_pipeline = bool(environment.get("DVC_ROOT"))
        self._run_by_dvc = self._in_pipeline and bool(environment.get("DVC_EXP_BASELINE_REV"))
        if self._run_by_dvc:
            self.name = environment.get("DVC_EXP_NAME")
        self._repository: Repository | None = None
        self._files = NewFiles()

    def enter(self, repository: Repository) -> None:
        if self._run_by_dvc:
            logger.info("Ignoring `save_dvc_exp` because `dvc exp run` is running")
        elif self._in_pipeline:
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

    def include(self, files: Iterable[str]) -> None:
        for path in files:
            self._files.add_path(path)

    def logged(self, logged: LoggedArtifact) -> None:
        self._files.add(logged)

    def leave(self, *, normally: bool) -> None:
        if self._repository is None or not normally:
            return
        paths = left_to_git([*self._files, *map(_without_links, self._paths)])
        if self._run_by_dvc:
            self._repository.stage_for_git(paths)
        elif not self._in_pipeline:
            assert self.name is not None
            self._repository.save_experiment(self.name, self._message, paths)


class WorkersExperiment(OwnExperiment):
    """One that a worker process saves: what is known of it where the caller is.

    A worker that takes the place of one that was killed saves it by the same name.
    """

    @property
    def for_worker(self) -> WantedExperiment:
        return WantedExperiment(self.name, self._message)

    def named(self, name: str | None) -> None:
        self.name = name

    @property
    def is_workers(self) -> bool:
        return self._run_by_dvc or not self._in_pipeline
