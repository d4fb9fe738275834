"""Saves the stages of a workspace for an experiment, as ``dvc commit`` does, but writes no file.

``dvc exp save`` runs ``dvc commit --force`` first: outputs and dependencies that have changed get
into the cache, .dvc files and dvc.lock. Here the cache gets them too, and the experiment gets the
new texts. The files in the workspace stay as they were logged.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from logging import getLogger
from typing import Any, NamedTuple

logger = getLogger(__name__)


class SavedStages(NamedTuple):
    """The part of an experiment that comes from the stages of the workspace."""

    hash: str
    """Identifies the state of all pipelines. DVC makes the message of the commit from it."""
    texts: dict[str, bytes]
    """The .dvc and dvc.lock files whose text differs from the workspace, by path."""


def save_stages(
    repo: Any, is_tracked: Callable[[str], bool], recorded: Collection[str], directory: str
) -> SavedStages:
    """Put the changed outputs of the workspace into the cache; return the texts that name them.

    An output that is missing or is being written stays as its file records it.

    Args:
        repo: DVC's ``Repo``. Its lock is held.
        is_tracked: tells whether the experiment holds a file.
        recorded: .dvc files of the session. They stay: the session has recorded their outputs.
        directory: an empty directory for the texts.
    """
    from dvc.dvcfile import Lockfile
    from dvc.repo.experiments.executor.base import BaseExecutor
    from dvc.stage import PipelineStage

    pipelines: dict[Any, list[Any]] = {}
    texts = _Texts(repo, directory)
    for stage in repo.index.stages:
        file = stage.dvcfile
        if isinstance(stage, PipelineStage):
            if _save(stage):
                pipelines.setdefault(file._lockfile.path, []).append(stage)
        elif is_tracked(file.path) and file.path not in recorded and not stage.is_import:
            before = _state(stage)
            if _save(stage) and _state(stage) != before:
                texts.add(type(file), file.path, [stage])
    for lock_file, stages in pipelines.items():
        if is_tracked(lock_file):
            texts.add(Lockfile, lock_file, stages)
    saved = [stage for stages in pipelines.values() for stage in stages]
    return SavedStages(BaseExecutor.hash_exp(saved), texts.found)


def top_level_files(repo: Any) -> list[str]:
    """Return the metrics, params and plots files of dvc.yaml, which an experiment always holds."""
    from dvc.repo.metrics.show import _collect_top_level_metrics
    from dvc.repo.params.show import _collect_top_level_params

    root = repo.root_dir
    names = [*_collect_top_level_metrics(repo), *_collect_top_level_params(repo)]
    paths = [os.path.join(root, name) for name in names]
    # DVC names plots relative to the working directory of the process, if that is in the repository
    fs = repo.dvcfs
    paths += [
        os.path.join(root, fs.join(fs.getcwd(), name).lstrip("/")) for name in _plot_sources(repo)
    ]
    return [*_files_of(map(os.path.normpath, paths))]


def _plot_sources(repo: Any) -> list[str]:
    sources: list[str] = repo.index._plot_sources
    return sources


def _files_of(paths: Any) -> Any:
    for path in paths:
        yield path
        for parent, directories, files in os.walk(path):
            directories[:] = sorted(name for name in directories if name != ".git")
            yield from (os.path.join(parent, name) for name in sorted(files))


class _Texts:
    """The new texts of DVC's files. DVC writes them into a directory of ours."""

    def __init__(self, repo: Any, directory: str) -> None:
        self.found: dict[str, bytes] = {}
        self._repo = repo
        self._directory = directory

    def add(self, dvc_file: Any, path: str, stages: list[Any]) -> None:
        """Let DVC write the stages into a copy of the file at ``path``; keep its text if it is new.

        Args:
            dvc_file: DVC's class of the file.
            path: the file. It may be missing.
            stages: its stages that were saved.
        """
        copy = os.path.join(self._directory, os.path.basename(path))
        before = None
        if os.path.exists(path):
            shutil.copyfile(path, copy)
            before = _read(copy)
        context = self._repo.scm_context
        to_track = set(context.files_to_track)
        try:
            for stage in stages:
                dvc_file(self._repo, copy, verify=False).dump(stage)
            text = _read(copy)
        finally:
            os.unlink(copy)
            context.files_to_track = to_track
        if text != before:
            self.found[path] = text


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _state(stage: Any) -> list[Any]:
    return [stage.md5, *((item.hash_name, item.hash_info) for item in [*stage.deps, *stage.outs])]


def _save(stage: Any) -> bool:
    """Save the stage and put its outputs into the cache; return whether its file can name them."""
    from dvc.dependency.base import DependencyDoesNotExistError
    from dvc.output import OutputDoesNotExistError

    before = [out.hash_info for out in stage.outs]
    for out in stage.outs:
        out.ignore = _do_nothing  # it would write .gitignore
    try:
        if not all(item.exists for item in [*stage.deps, *stage.outs]):
            return False
        stage.save(run_cache=False)  # the run cache would replace outputs in the workspace
        stored = [_store(out, hash_) for out, hash_ in zip(stage.outs, before, strict=True)]
    except (DependencyDoesNotExistError, OutputDoesNotExistError, FileNotFoundError):
        return False  # removed at this moment
    return all(stored)


def _store(out: Any, before: Any) -> bool:
    """Put an output into the cache; return whether the cache has it.

    Args:
        out: DVC's ``Output``, with its new hash.
        before: the hash that its file records.
    """
    if not out.use_cache:
        return True
    cache = out.cache
    verified, cache.verify = cache.verify, True  # an object of other bytes is removed again
    try:
        out.commit(relink=False)
    finally:
        cache.verify = verified
    if out.hash_info == before or not out.changed_cache():
        return True
    logger.warning(
        "'%s' was written while the experiment was saved. The experiment holds it as it was "
        "recorded before.",
        out,
    )
    return False


def _do_nothing() -> None:
    pass
