"""The source of an artifact: planned where it is, or moved to a temp path first."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from .._artifact.plan import ArtifactPlan
from .._artifact.request import ArtifactRequest
from .._cache.hash_cache import HashCache
from .._cache.link_types import leaves_plain_files
from .._cache.object_store import ObjectStore
from .._ingest.batch_processes import BatchProcesses
from .._ingest.os_errors import translate_os_errors
from .._workers.fairness import checkpoint_in_thread
from .._workers.file_workers import FileWorkers
from .._workspace.moved_source import MovedSource
from .._workspace.source_scan import IgnoreFilter, check_source, make_plan
from .stage_job import are_many


class Sources:
    """Plans sources, and moves them, in worker threads.

    Args:
        store: the cache of the repository.
        workers: the threads to work in.
        hash_cache: tells whether an artifact was logged before.
        processes: is told to start processes for a directory of very many files.
        temp_dir_for: as of ``Stager``.
    """

    def __init__(
        self,
        store: ObjectStore,
        workers: FileWorkers,
        hash_cache: HashCache,
        processes: BatchProcesses,
        temp_dir_for: Callable[[str], str] | None = None,
    ) -> None:
        self._store = store
        self._workers = workers
        self._hash_cache = hash_cache
        self._processes = processes
        self._temp_dir_for = temp_dir_for

    async def plan(
        self,
        request: ArtifactRequest,
        ignore_filter: Callable[[], IgnoreFilter],
        moved: MovedSource | None = None,
    ) -> ArtifactPlan:
        """Return the files and directories of ``request.source``.

        Args:
            request: the artifact.
            ignore_filter: makes DVC's filter of ignored names; called in the worker thread.
            moved: the temp path that holds the source, if it was moved.

        Raises:
            ArtifactNotFoundError, ArtifactPathError: as ``make_plan`` does.
        """
        root, on_names = self._store.layout.root, partial(self._start_processes_ahead, request)

        def plan() -> ArtifactPlan:
            temp_path = None if moved is None else moved.temp_path
            plan = make_plan(
                request, root, ignore_filter, checkpoint_in_thread, on_names, temp_path
            )
            if request.copy and self._temp_dir_for is not None:
                with translate_os_errors(request.source):
                    temp_dir = self._temp_dir_for(request.path)
                if temp_dir != self._store.layout.workspace_tmp:
                    plan = replace(plan, temp_dir=temp_dir, is_on_other_disk=True)
            elif request.cache and self._is_on_other_disk(plan.moved_to or request.source):
                plan = replace(plan, is_on_other_disk=True)
            if moved is None or plan.has_relative_links:
                return plan
            with translate_os_errors(request.source):
                moved.move_into_session()
            return replace(plan, moved_to=moved.temp_path)

        return await self._workers.run(plan, bulk=False)

    def _is_on_other_disk(self, path: str) -> bool:
        """Return whether a link of the first type that works may not reach a path in place."""
        layout = self._store.layout
        if layout.links[:1] not in (("reflink",), ("hardlink",)):
            return False
        with translate_os_errors(path):
            return os.stat(path).st_dev != os.stat(layout.workspace_tmp).st_dev

    def _start_processes_ahead(self, request: ArtifactRequest, names: int) -> None:
        """Start batch processes if the directory will need them. Called in a worker thread."""
        if not (request.cache and are_many(names)):
            return
        plain = leaves_plain_files(self._store.layout, isdir=True)
        if plain and (request.reread or not self._hash_cache.has(request)):
            self._processes.start_ahead(self._workers.bulk_limit)

    async def move_to_temp(self, request: ArtifactRequest) -> MovedSource:
        """Rename the source to a temp path, unless it cannot be logged.

        Raises:
            ArtifactNotFoundError, ArtifactPathError: it cannot be logged; nothing has changed.
        """
        layout = self._store.layout

        def take() -> MovedSource:
            isdir = stat.S_ISDIR(check_source(request, layout.root, request.source).st_mode)
            with translate_os_errors(request.source):
                return MovedSource.move(request.source, isdir, layout.workspace_tmp, layout.sync)

        return await self._workers.run_to_end(take)

    async def restore(self, moved: MovedSource) -> None:
        """Rename the source back: its artifact was not logged."""
        await self._workers.run_to_end(moved.restore)

    async def forget(self, moved: MovedSource) -> None:
        """Remove the temp path: its artifact was logged, or a later call supersedes it."""
        await self._workers.run_to_end(moved.discard)
