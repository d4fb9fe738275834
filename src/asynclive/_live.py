"""AsyncLive: owns the tasks, and takes each artifact through request, stage, commit, record."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from logging import getLogger
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.to_thread

from ._artifact import (
    ArtifactRequest,
    LoggedArtifact,
    StagedArtifact,
    StoredFile,
    is_inside,
    make_request,
    relocated,
)
from ._claims import Claims
from ._commit import GroupCommitter
from ._dvcyaml import DvcYaml
from ._errors import ArtifactCancelledError, AsyncLiveError, InvalidDvcyamlError, NotActiveError
from ._files import AsyncFiles
from ._handle import ArtifactHandle, Call
from ._hub import QUEUED_EVENTS, EventHub, EventStream, OnEvent
from ._observer import Observer
from ._progress import make_progress
from ._record import Outcomes, Recorder
from ._repo import DvcRepository, outside_repository
from ._sampler import Sampler
from ._stage import Stager
from ._statistics import AsyncLiveStatistics, Counters
from ._store import ObjectStore
from ._trash import Trash
from ._workers import FileWorkers, default_workers

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

logger = getLogger(__name__)


class AsyncLive:
    """Logs artifacts with DVC: many at once, while the event loop runs on.

    Use it as an async context manager, on asyncio or trio. Inside the block any number of
    tasks may call :meth:`log_artifact`. Leaving the block waits for the calls in flight;
    leaving it by an exception cancels them.

    Args:
        dir: where copies go, to ``{dir}/artifacts``; made when first needed.
        root: where relative paths start and the DVC repository is looked for, upwards.
            Default: the working directory now.
        dvcyaml: the file that artifacts are recorded in; must be named ``dvc.yaml``. None or
            False: none is written.
        workers: how many threads copy and hash, at most, over all artifacts together; one of
            them is kept for small artifacts. For directories of very many small files, each
            of the others has a process to do it. Default: two more than the process has cores.
        lock_timeout: seconds to wait for another process that holds DVC's repository lock;
            None: for ever.
        durable: what a call has done survives a power cut once it has returned: the objects, the
            ``.dvc`` file, ``.gitignore``, ``dvc.yaml`` and a copy are fsynced with their
            directories, each before what names it. Costs as much as the disk takes. Default:
            as DVC, which leaves it to the system, for up to half a minute or so. Of a source that
            is logged in place only its object is synced, not the source.
        on_event: called on the event loop with each :class:`ArtifactEvent`, so it must be quick. An
            error of it is logged once, at error level, and it is called again for the next event:
            the artifacts are logged all the same.
        progress: whether to show a bar for each artifact in flight, and one for all, on stderr; at
            the end there is a line that sums them up. Where stderr is no terminal, only a line
            now and then. Default: where stderr is a terminal, and in a notebook.

    Raises:
        TypeError: ``on_event`` cannot be called, or is an async function: use :meth:`events`;
            or ``progress`` is neither a bool nor None.
        InvalidDvcyamlError: ``dvcyaml`` has another name.
        RepositoryNotFoundError: on entering: neither a DVC nor a Git repository. (In a Git
            repository without DVC, DVC is initialised, as DVCLive does.)
        RepositoryError: on entering: DVC cannot open its repository.
        StorageError: on entering: there is no room for temp files.

    Temp files are in ``.dvc/tmp`` and in the cache, and gone when the block is left. If the
    process is killed, the next AsyncLive removes them on entering, and says so in its log;
    those of other processes that live stay, which a lock on a file tells apart.

    Example::

        async with AsyncLive() as live:
            logged = await live.log_artifact("model.pt", type="model", name="mymodel")
            print(logged.md5, logged.size)
    """

    def __init__(
        self,
        dir: str | os.PathLike[str] = "dvclive",
        *,
        root: str | os.PathLike[str] | None = None,
        dvcyaml: str | os.PathLike[str] | bool | None = "dvc.yaml",
        workers: int | None = None,
        lock_timeout: float | None = 60.0,
        durable: bool = False,
        on_event: OnEvent | None = None,
        progress: bool | None = None,
    ) -> None:
        # normpath, not abspath: construction is allowed on a running event loop, and a root
        # that is absolute already needs no look at the file system.
        directory = "" if root is None else os.fspath(root)
        if not os.path.isabs(directory):
            directory = os.path.join(os.getcwd(), directory)
        self._root = os.path.normpath(directory)
        self._artifacts_dir = os.path.normpath(
            os.path.join(self._root, os.fspath(dir), "artifacts")
        )
        self._dvcyaml_path = _dvcyaml_path(self._root, dvcyaml)
        if workers is not None and workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        if lock_timeout is not None and lock_timeout < 0:
            raise ValueError(f"lock_timeout must not be negative, not {lock_timeout}")
        self._worker_count = workers or default_workers()
        self._lock_timeout = lock_timeout
        self._durable = durable
        self._claims = Claims()
        self._counters = Counters()
        self._hub = EventHub(on_event)
        self._progress = make_progress(progress)
        if self._progress is not None:
            self._hub.listen(self._progress.take)
        self._sampler = Sampler(
            lambda: self._hub.wanted, lambda sample: self._tasks.start_soon(sample)
        )
        self._observer = Observer(self._hub, self._sampler)
        self._in_flight = 0
        self._entered = self._accepting = False

    async def __aenter__(self) -> Self:
        if self._entered:
            raise NotActiveError("An AsyncLive object can be entered once; make another one.")
        self._entered = True
        self._process = os.getpid()
        self._workers = FileWorkers(self._worker_count)
        # DVC's classes know no threads: one is in them at a time.
        self._dvc_limiter = anyio.CapacityLimiter(1)
        self._idle = anyio.Event()
        # Owns every task of this object. Its only direct child is _serve, which owns the
        # others and closes the repository once they have ended.
        self._owner = anyio.create_task_group()
        await self._owner.__aenter__()
        try:
            await self._owner.start(self._serve)
        except BaseException as error:
            self._owner.cancel_scope.cancel()
            await self._owner.__aexit__(None, None, None)
            self._hub.close()
            alone = _unwrapped(error)
            if alone is error:
                raise
            raise alone from alone.__cause__
        self._accepting = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._accepting = False
        try:
            if exc is None and self._in_flight:
                await self._idle.wait()
        finally:
            self._owner.cancel_scope.cancel()
            try:
                # Without the exception: the task group would wrap it in an ExceptionGroup.
                await self._owner.__aexit__(None, None, None)
            finally:
                self._hub.close()

    async def log_artifact(
        self,
        path: str | os.PathLike[str],
        type: str | None = None,
        name: str | None = None,
        desc: str | None = None,
        labels: list[str] | None = None,
        meta: dict[str, Any] | None = None,
        copy: bool | str = False,
        cache: bool = True,
    ) -> LoggedArtifact:
        """Track a file or directory with DVC, and record it in dvc.yaml.

        The bytes go to the DVC cache and ``{path}.dvc`` points at them, as ``dvc add`` leaves
        it. If any of ``type``, ``name``, ``desc``, ``labels``, ``meta`` is given, an entry
        under ``artifacts:`` holds all of them that are not None, and replaces one of the same
        name. ``type="model"`` puts it in the model registry. When the call returns, all of
        this is on disk.

        Args:
            path: an existing file or directory, relative to ``root``.
            type: for example ``"model"`` or ``"dataset"``.
            name: name of the entry: letters, digits, ``-``, ``_`` and ``/``. Default: made
                from the stem of ``path``.
            desc: a description.
            labels: a list of str.
            meta: values that YAML holds, under keys of str; copied at the call. As for all
                text here: at most a million characters, and 10,000 values.
            copy: copy ``path`` to ``{dir}/artifacts/<basename>`` first and track the copy,
                replacing what was there. A str names a directory below ``artifacts``.
            cache: False: leave the bytes where they are, only record the entry.

        Returns:
            What was logged.

        Raises:
            NotActiveError: called outside of the ``async with`` block, or in a forked child.
            InvalidDataTypeError: ``path`` is not a str or ``os.PathLike`` of str.
            InvalidArtifactNameError: ``name`` is not valid, or none can be made.
            InvalidMetadataError: a value does not fit YAML; says which.
            ArtifactConflictError: a call in flight has the same path, copy or name.
            ArtifactNotFoundError: ``path`` does not exist.
            ArtifactChangedError: ``path`` was written while it was read.
            ArtifactPathError: ``path`` cannot be logged; says why and what to do.
            LockTimeoutError: another process held DVC's lock for ``lock_timeout``.
            DvcYamlError: dvc.yaml cannot be read or replaced.
            StorageError: the disk refused, or it is larger than the free space.
            CommitError: DVC refused.

        Cancellation: before the commit of the group it belongs to has begun, nothing is left:
            no copy, no .dvc file, no entry. After that the artifact is logged completely, and
            the cancellation takes effect then. Which it was is said by :meth:`statistics`, which
            counts the one as ``cancelled`` and the other as ``logged``, and in the log at info
            level. (Objects without a name may stay in the cache until ``dvc gc``.) The space of
            much that was copied is free soon after, at the latest when the block is left.
        """
        await self._cancelled_along()
        call = self._accept(
            path, type, name, desc, labels, meta, copy=copy, cache=cache, submitted=False
        )
        return await call.result_or_cancel()

    async def submit(
        self,
        path: str | os.PathLike[str],
        type: str | None = None,
        name: str | None = None,
        desc: str | None = None,
        labels: list[str] | None = None,
        meta: dict[str, Any] | None = None,
        copy: bool | str = False,
        cache: bool = True,
    ) -> ArtifactHandle:
        """Log an artifact in the background: return as soon as ``path`` may be overwritten.

        Takes what :meth:`log_artifact` takes. ``await`` the handle for what was logged.

        Raises:
            as :meth:`log_artifact`, for what goes wrong until then; the handle raises the rest.

        Cancellation: of this call cancels the artifact. Once it has returned, the handle's
            ``cancel`` does.
        """
        await self._cancelled_along()
        call = self._accept(
            path, type, name, desc, labels, meta, copy=copy, cache=cache, submitted=True
        )
        await call.release_or_cancel()
        return ArtifactHandle(call)

    def statistics(self) -> AsyncLiveStatistics:
        """Return what waits, what is in work and what is done, at this moment.

        May be called at any time: before the block, in it, and after it. It only reads
        counters.
        """
        # Without calls in flight nothing waits or works, and before the block there is nobody
        # to ask.
        return self._counters.statistics(
            in_flight=self._in_flight,
            staged=self._committer.waiting if self._in_flight else 0,
            busy_workers=self._workers.busy if self._in_flight else 0,
            total_workers=self._worker_count,
        )

    def events(self, *, bound: int = QUEUED_EVENTS) -> EventStream:
        """Iterate over what happens from now on, beside any number of others who do.

        Ends when the block is left, once what is queued has been read. So the task that reads
        must be owned by a task group *around* the block: one inside it would wait for that task,
        which waits for the block to be left. May be asked for before the block is entered, and
        ends at once after it was left.

        Args:
            bound: how many events wait for a consumer that is slow, at most. A sample
                (:class:`ArtifactStaging`) takes the place of an unread one of the same artifact.
                Where there is no room all the same, the oldest sample is dropped; where there is
                none, the oldest event. An :class:`EventsDropped` before the next event says how
                many of each. Artifacts never wait for a consumer.

        Raises:
            ValueError: ``bound`` is less than 1.

        Cancellation: of the iteration loses no event. A stream that is dropped, or closed with
            ``aclose``, costs nothing any more.

        Example::

            async def watch(events):
                async for event in events:
                    print(event)

            async with anyio.create_task_group() as task_group, AsyncLive() as live:
                task_group.start_soon(watch, live.events())
                await live.log_artifact("model.pt")
        """
        if bound < 1:
            raise ValueError(f"bound must be at least 1, not {bound}")
        stream = self._hub.stream(bound)
        self._sampler.wake()
        return stream

    async def _cancelled_along(self) -> None:
        """A task that was cancelled along with the block is to see that, not an error."""
        if not self._accepting:
            await anyio.lowlevel.checkpoint_if_cancelled()

    def _accept(
        self,
        path: Any,
        type: Any,
        name: Any,
        desc: Any,
        labels: Any,
        meta: Any,
        *,
        copy: Any,
        cache: Any,
        submitted: bool,
    ) -> Call:
        """Check a call, claim what it needs, and begin to work on it. Nothing is awaited.

        So the order of the calls is the order of the artifacts, whichever task runs first.
        """
        if not self._accepting:
            raise NotActiveError(
                "log_artifact() and submit() work inside 'async with AsyncLive() as live:'; this "
                f"object has {'been left' if self._entered else 'not been entered'}."
            )
        if os.getpid() != self._process:
            # Its threads are the parent's alone: waiting for them would never end.
            raise NotActiveError(
                "This AsyncLive object was entered by the process that this one was forked from. "
                "Make another one here, in an event loop of this process."
            )
        request = make_request(
            path,
            root=self._root,
            real_root=self._real_root,
            artifacts_dir=self._artifacts_dir,
            annotate=self._dvcyaml is not None,
            type=type,
            name=name,
            desc=desc,
            labels=labels,
            meta=meta,
            copy=copy,
            cache=cache,
        )
        repository_root = self._repository.layout.root
        if not is_inside(request.path, repository_root):
            raise outside_repository(request, repository_root)
        self._claims.take(request)
        call = Call(request, submitted)
        self._in_flight += 1
        self._observer.begin(call)
        self._tasks.start_soon(self._work_on, call)
        return call

    async def _log(self, call: Call) -> LoggedArtifact:
        """The way through."""
        request = call.request
        if self._in_pipeline:
            request = await self._left_to_pipeline(request)
        replaced = request.path if request.copy else None
        plan = await self._stager.plan(request, lambda: self._repository.ignore_filter(replaced))
        call.progress.bytes_total, call.progress.files_total = plan.total_bytes, len(plan.files)
        call.advance("staging")
        with self._counters.one("staging"):
            staged = await self._stager.stage(plan, call.progress)
        del plan  # of a large directory it is larger than what is needed from here on
        call.progress.size, call.progress.nfiles = staged.size, staged.nfiles
        call.advance("staged")
        call.released.set()
        with self._counters.one("submitted"):
            try:
                tracked = await self._committer.submit(staged, lambda: call.advance("committing"))
                self._observer.committed(call, tracked.md5)
                await self._stager.remember(tracked)
            except Exception:
                await self._stager.discard(staged)
                raise
            except BaseException:  # cancelled
                await self._stager.discard_soon(staged)
                raise
            await self._stager.discard(staged)
        self._claims.remember(request)
        return LoggedArtifact.from_tracked(tracked)

    async def _serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Open the repository, run what happens in it, close it."""
        # DVC knows a repository by its path: by the one that its command sees, which is in the
        # working directory and so has no links.
        self._real_root = await self._in_dvc_thread(lambda: os.path.realpath(self._root))
        self._repository = await self._in_dvc_thread(
            lambda: DvcRepository.open(self._real_root, durable=self._durable)
        )
        try:
            if self._progress is not None:
                await self._in_dvc_thread(self._progress.start)
            # As DVC tells a stage's command that it runs in a pipeline.
            self._in_pipeline = bool(os.environ.get("DVC_ROOT"))
            self._dvcyaml = None
            if self._dvcyaml_path is not None:
                dvcyaml_path = relocated(self._dvcyaml_path, self._root, self._real_root)
                files = AsyncFiles(self._dvc_limiter, self._repository.layout.sync)
                await files.prepare()
                self._dvcyaml = DvcYaml(
                    dvcyaml_path,
                    files,
                    self._repository.session.temp_for,
                    self._repository.layout.root,
                )
            store = ObjectStore(self._repository.layout)
            trash = Trash(self._workers, lambda free: self._tasks.start_soon(free))
            self._stager = Stager(store, self._workers, self._counters, self._save_hashes, trash)
            self._recorder = Recorder(self._repository, self._dvcyaml, self._in_dvc_thread)
            self._committer = GroupCommitter(
                acquire=lambda: self._in_dvc_thread(self._repository.acquire),
                commit=self._commit_group,
                release=lambda: self._in_dvc_thread(self._repository.release),
                break_seconds=lambda: self._in_dvc_thread(self._repository.break_seconds),
                lock_timeout=self._lock_timeout,
            )
            try:
                async with anyio.create_task_group() as self._tasks:
                    self._tasks.start_soon(self._committer.run)
                    task_status.started()
            finally:
                await self._workers.run_to_end(self._stager.close)
        finally:
            with anyio.CancelScope(shield=True):
                try:
                    await self._in_dvc_thread(self._repository.close)
                finally:
                    if self._progress is not None:
                        await self._in_dvc_thread(self._progress.close)

    async def _commit_group(self, group: Sequence[StagedArtifact]) -> Outcomes:
        outcomes = await self._recorder.commit_group(group)
        self._counters.count_group(len(group))
        return outcomes

    async def _work_on(self, call: Call) -> None:
        try:
            with call.scope:
                call.logged = await self._log(call)
                self._counters.logged += 1
                call.advance("logged")
        except Exception as error:
            call.error = error  # the caller's own, raised there
            self._counters.failed += 1
            call.advance("failed")
        finally:
            if call.logged is None and call.error is None:
                self._counters.cancelled += 1
                call.error = self._why_cancelled(call)
                call.advance("cancelled")
            self._claims.release(call.request)
            self._in_flight -= 1
            if not self._in_flight and not self._accepting:
                self._idle.set()
            call.end()

    def _why_cancelled(self, call: Call) -> AsyncLiveError:
        """Seen only by who was not cancelled himself."""
        if call.scope.cancel_called:
            return ArtifactCancelledError(call.request.given)
        return NotActiveError(
            f"'{call.request.given}' was not logged: the block was left by an exception."
        )

    async def _left_to_pipeline(self, request: ArtifactRequest) -> ArtifactRequest:
        """Inside ``dvc repro`` a stage's outputs are the pipeline's to track; DVCLive's wording."""
        if not request.cache:
            return request
        shown = request.path.removeprefix(self._root + os.sep) if request.copy else request.given
        owner = await self._in_dvc_thread(lambda: self._repository.pipeline_owner(request.path))
        if not owner:
            logger.warning(
                "To track '%s' automatically in the DVC pipeline, add it as an output of the "
                "pipeline stage.",
                shown,
            )
            return request
        address, has_command = owner
        if not has_command:
            logger.warning(
                "To track '%s' automatically in the DVC pipeline:"
                "\n1. Run `dvc remove %s` to stop tracking it outside the pipeline."
                "\n2. Add it as an output of the pipeline stage.",
                shown,
                address,
            )
            return request
        logger.info(
            "Skipping `dvc add %s` because it is already being tracked automatically as an "
            "output of the DVC pipeline.",
            shown,
        )
        return replace(request, cache=False)

    async def _save_hashes(self, path: str, files: Sequence[StoredFile]) -> None:
        await self._in_dvc_thread(lambda: self._repository.save_hashes(path, files))

    async def _in_dvc_thread(self, func: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(func, limiter=self._dvc_limiter)


def _dvcyaml_path(root: str, dvcyaml: Any) -> str | None:
    if dvcyaml is None or dvcyaml is False:
        return None
    path = "dvc.yaml" if dvcyaml is True else os.fspath(dvcyaml)
    if not isinstance(path, str) or os.path.basename(path) != "dvc.yaml":
        raise InvalidDvcyamlError(dvcyaml)
    return os.path.normpath(os.path.join(root, path))


def _unwrapped(error: BaseException) -> BaseException:
    """The one error in the groups that nested task groups put around it."""
    while isinstance(error, BaseException) and len(getattr(error, "exceptions", ())) == 1:
        error = error.exceptions[0]  # type: ignore[attr-defined]  # BaseExceptionGroup, 3.11
    return error
