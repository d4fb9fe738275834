"""The settings of one session: checked, resolved and frozen. They pickle, for a worker process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from .._artifact.push_policy import PushPolicy
from .._calls.back_pressure import check_bounds
from .._dvclive.adopted_live import AdoptedLive
from .._errors import InvalidDvcyamlError, RepositoryError
from .._workers.file_workers import default_workers


class Default(str):
    """A default value. Identity distinguishes it from an equal value that the caller passed."""

    __slots__ = ()


DEFAULT_DIR = Default("dvclive")
DEFAULT_DVCYAML = Default("dvc.yaml")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where and how a session works: the checked arguments of ``AsyncLive``.

    Raises:
        ValueError: a value is out of its range.
    """

    root: str
    """Absolute and normalized: relative paths of calls start here."""
    artifacts_dir: str
    """Absolute: copies go here. Not normalized if it leads up from ``root``: that may be a link."""
    dvcyaml: str | None
    """Absolute, as ``artifacts_dir``; None: no dvc.yaml is written."""
    workers: int | None = None
    """None: as many as ``total_workers`` says."""
    lock_timeout: float | None = 60.0
    """Seconds; None: no limit."""
    leave_timeout: float | None = 60.0
    """Seconds; None: no limit."""
    durable: bool = False
    max_pending_bytes: int | None = None
    max_pending: int | None = None
    push: PushPolicy | None = None
    """None: artifacts are not pushed."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")
        for name in ("lock_timeout", "leave_timeout"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds >= 0:
                raise ValueError(f"{name} must not be negative, not {seconds}")
        check_bounds(self.max_pending_bytes, self.max_pending)

    @property
    def total_workers(self) -> int:
        """The number of worker threads. The default is sure once the engine is made."""
        return default_workers() if self.workers is None else self.workers

    @property
    def experiment_paths(self) -> list[str]:
        """The paths that an experiment holds next to the .dvc files."""
        return [self.artifacts_dir, *filter(None, [self.dvcyaml])]


def make_settings(
    dir: str | os.PathLike[str],
    root: str | os.PathLike[str] | None,
    dvcyaml: str | os.PathLike[str] | bool | None,
    adopted: AdoptedLive | None,
    workers: int | None,
    **values: Any,
) -> Settings:
    """Return the settings of a session from the arguments of ``AsyncLive``.

    Args:
        dir: see ``AsyncLive``; so are ``root``, ``dvcyaml`` and ``workers``.
        adopted: the ``dvclive.Live`` whose directory and dvc.yaml are taken, if there is one.
        values: the other fields of :class:`Settings`.

    Raises:
        InvalidDvcyamlError: ``dvcyaml`` has another name.
        RepositoryError: the working directory was removed, and ``root`` is not absolute.
        ValueError: a value is out of its range, or contradicts the ``dvclive.Live``.
    """
    # normpath, not abspath: AsyncLive is also made on a running event loop, and with an absolute
    # root this needs no system call.
    start = "" if root is None else os.fspath(root)
    if not os.path.isabs(start):
        try:
            start = os.path.join(os.getcwd(), start)
        except OSError as error:
            raise RepositoryError(
                start or os.curdir,
                "The working directory was removed. Pass root= with an absolute path, or change to "
                "another directory.",
            ) from error
    start = os.path.normpath(start)
    directory, dvcyaml_path = _below(start, os.fspath(dir)), _dvcyaml_path(start, dvcyaml)
    if adopted is not None:
        adopted.check_same(
            None if dir is DEFAULT_DIR else directory,
            None if dvcyaml is DEFAULT_DVCYAML else dvcyaml_path or "",
        )
        directory, dvcyaml_path = adopted.dir, adopted.dvcyaml
    return Settings(
        root=start,
        artifacts_dir=os.path.join(directory, "artifacts"),
        dvcyaml=dvcyaml_path,
        workers=workers,
        **values,
    )


def _dvcyaml_path(root: str, dvcyaml: Any) -> str | None:
    if dvcyaml is None or dvcyaml is False:
        return None
    path = "dvc.yaml" if dvcyaml is True else os.fspath(dvcyaml)
    if not isinstance(path, str) or os.path.basename(path) != "dvc.yaml":
        raise InvalidDvcyamlError(dvcyaml)
    return _below(root, path)


def _below(root: str, path: str) -> str:
    # Not normalized together: if root is a link, ".." leads up from the directory behind it.
    return os.path.join(root, os.path.normpath(path)) if path != os.curdir else root
