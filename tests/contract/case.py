"""Describe the cases of the contract as data: a repository and steps. ``Parity`` plays them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from twin import git


class Log:
    """Call ``log_artifact``. ``path`` may be a function of the repository's path."""

    def __init__(self, path: Any, **values: Any) -> None:
        self._path = path
        self.values = values

    def path(self, repo: Path) -> Any:
        return self._path(repo) if callable(self._path) else self._path


class Together:
    """Call ``log_artifact`` for all of these at once; DVCLive does one after the other."""

    def __init__(self, *logs: Log) -> None:
        self.logs = logs


class Do:
    """Change the repository: call ``function(repo)``."""

    def __init__(self, function: Callable[[Path], object]) -> None:
        self.function = function


class Dvc:
    """Call a method of DVC's ``Repo``, as the ``dvc`` command would while the library runs."""

    def __init__(self, method: str, *args: Any, **kwargs: Any) -> None:
        self.method, self.args, self.kwargs = method, args, kwargs


class Git(Do):
    """Run a ``git`` command."""

    def __init__(self, *args: str) -> None:
        super().__init__(lambda repo: git(repo, *args))


class Again:
    """Leave the block and enter a new one."""


Step = Log | Together | Do | Dvc | Again


def _nothing(repo: Path) -> None:
    pass


@dataclass(frozen=True)
class Case:
    """One comparison. Steps before the first call of a block happen before it is entered."""

    name: str
    setup: Callable[[Path], object]
    steps: tuple[Step, ...]
    kind: str = "git"
    """The template, see ``twin.Templates``."""
    root: str = "."
    """Where the library works, below the repository."""
    dvc_root: str = "."
    """Where DVC's root is, below the repository."""
    live: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of ``Live`` and ``AsyncLive``."""
    env: Callable[[Path], dict[str, str]] = lambda repo: {}
    reference: Literal["dvclive", "dvc add"] = "dvclive"
    """The side to compare with; ``dvc add`` where DVCLive cannot log the artifact and DVC can."""
    messages: bool = False
    """Compare the log messages, too."""
    refused: bool = False
    """Both refuse the last ``Log``."""
    mtimes: bool = False
    """Compare mtimes below ``{dir}``, too."""
    dirty: bool = False
    """``dvc status`` reports changes afterwards, on both sides."""
    check: Callable[[Path], object] = _nothing
    """A further check of asynclive's side, where asynclive promises more than DVCLive."""


def logs_of(step: Step) -> tuple[Log, ...]:
    if isinstance(step, Together):
        return step.logs
    return (step,) if isinstance(step, Log) else ()


def blocks(steps: tuple[Step, ...]) -> Iterator[tuple[list[Step], list[Step]]]:
    """Split at ``Again``, and each block into the steps before its first call and the rest."""
    block: list[Step] = []
    for step in (*steps, Again()):
        if not isinstance(step, Again):
            block.append(step)
            continue
        first = next(i for i, step in enumerate(block) if logs_of(step))
        yield block[:first], block[first:]
        block = []
