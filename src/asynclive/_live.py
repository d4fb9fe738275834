"""AsyncLive: owns the tasks, and takes each artifact through request, stage, commit, record."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

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
from ._blocking import BlockingLive
from ._claims import Claims
from ._commit import GroupCommitter
from ._drain import DrainResult, drain
from ._dvcyaml import DvcYaml
from ._errors import ArtifactChangedError, InvalidDvcyamlError, NotActiveError
from ._files import AsyncFiles
from ._handle import ArtifactHandle, Call, Stage
from ._moved import restored
from ._pending import Pending
from ._pipeline import left_to_pipeline
from ._plan import ArtifactPlan
from ._record import Outcomes, Recorder
from ._repo import DvcRepository, outside_repository
from ._space import free_bytes
from ._stage import Stager, Taken
from ._statistics import AsyncLiveStatistics, Counters
from ._store import ObjectStore
from ._trash import Trash
from ._unheard import Unheard
from ._workers import FileWorkers, default_workers

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
P = ParamSpec("P")


class AsyncLive:
    """Logs artifacts with DVC: many at once, while the event loop runs on.

    Use it as an async context manager, on asyncio or trio. Inside the block any number of
    tasks may call :meth:`log_artifact`, which returns once the artifact is logged, or
    :meth:`submit`, which returns as soon as the source may be overwritten. Leaving the block
    waits for all of them; leaving it by an exception cancels them.

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
        max_pending_bytes: how much may be submitted and not logged yet, in bytes, before
            :meth:`submit` waits; an artifact that is larger goes alone. Default: half of what is
            free in the cache, so that no disk is filled by what is still to be hashed.
        max_pending: how many artifacts may be; default 1,000. What :meth:`log_artifact` logs is
            not counted: its callers wait anyway.

    Raises:
        ValueError: a bound is too small.
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
        max_pending_bytes: int | None = None,
        max_pending: int | None = None,
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
        self._claims: Claims[Call] = Claims()
        self._counters = Counters()
        self._pending = Pending(max_pending_bytes, max_pending, self._free_bytes)
        self._unheard = Unheard()
        # What was moved, logged and put where it was: it gives way to a later one.
        self._left: dict[str, tuple[int, int]] = {}
        self._in_flight: dict[Call, None] = {}
        self._entered = self._accepting = self._draining = False

    @classmethod
    def blocking(cls: Callable[P, AsyncLive], *args: P.args, **kwargs: P.kwargs) -> BlockingLive:
        """Make one for code that is not async: ``with AsyncLive.blocking() as live:``.

        Takes what AsyncLive takes. See :class:`BlockingLive`; to choose the event loop, make
        that itself: ``BlockingLive(AsyncLive(...), backend="trio")``.

        Example::

            with AsyncLive.blocking() as live:
                handle = live.submit("model.pt")
                ...  # "model.pt" may be written again
                print(handle.result().md5)
        """
        return BlockingLive(cls(*args, **kwargs))

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
            # Without the exception: the task group would wrap it in an ExceptionGroup.
            await self._owner.__aexit__(None, None, None)
        if exc is None:
            self._unheard.raise_all()
        else:
            self._unheard.tell(exc)

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
        *,
        latest_wins: bool = False,
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
            latest_wins: of several such calls for one path and name that are not in work yet,
                only the newest is logged; the others return, or raise, what it does.

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
            path, type, name, desc, labels, meta, copy, cache, latest_wins=latest_wins
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
        *,
        move: bool = False,
        wait: bool = True,
        latest_wins: bool = False,
    ) -> ArtifactHandle:
        """Log an artifact in the background: return as soon as ``path`` may be overwritten.

        Takes what :meth:`log_artifact` takes. Returns when the bytes are taken: large files are
        copied, or cloned where the file system can, into temp files of the cache, and hashed and
        committed from there. Submitting declares an order: what has the same path, copy or name is
        not refused, but logged after those that were submitted before it, whether they are logged
        or not. Each is logged with the bytes at its submission. If ``path``, tracked where it is,
        is written again meanwhile, it keeps its newer bytes; ``.dvc`` says the older ones.

        Args:
            path: and the rest up to ``cache`` as in :meth:`log_artifact`.
            move: the caller gives ``path`` up: nothing is copied before this returns, and the path
                is free then. Once it is logged, what ``dvc add`` would leave is at ``path`` again,
                unless something else is; with ``copy``, only the copy is left. If it is not
                logged, it is put back: beside, as ``{path}.unlogged``, where something else is.
            wait: wait where as much is pending as ``max_pending_bytes`` and ``max_pending`` allow.
                False: raise BackPressureError then.
            latest_wins: as in :meth:`log_artifact`: a pending one, whose bytes are taken but not
                hashed yet, is dropped for a newer one of the same path and name.

        Returns:
            A handle: ``await`` it for what was logged.

        Raises:
            BackPressureError: there is no room, and ``wait`` is False.
            AsyncLiveError: what went wrong until the bytes were taken, as :meth:`log_artifact`
                raises it. The handle raises what goes wrong later; if nobody awaits it, leaving
                the block raises it, in an ExceptionGroup.

        Cancellation: of this call cancels the artifact, as of :meth:`log_artifact`. Once it has
            returned, the handle's ``cancel`` does.

        Example::

            async with AsyncLive() as live:
                for step in range(3):
                    save(f"weights of step {step}", "model.pt")
                    await live.submit("model.pt", meta={"step": step})
        """
        await self._cancelled_along()
        call = self._accept(
            path,
            type,
            name,
            desc,
            labels,
            meta,
            copy,
            cache,
            submitted=True,
            move=move,
            wait=wait,
            latest_wins=latest_wins,
        )
        await call.release_or_cancel()
        return ArtifactHandle(call)

    async def drain(self, deadline: float | None) -> DrainResult:
        """Take nothing new, finish what fits into ``deadline``, and cancel the rest.

        For a machine that is about to be taken away. What was cancelled has left nothing, as if
        it had never been submitted; its handle raises ArtifactCancelledError.

        Args:
            deadline: in seconds; None: as long as it takes.

        Returns:
            What was logged of all that was in flight, what was not, and why.

        Raises:
            NotActiveError: called outside of the ``async with`` block.
            ValueError: ``deadline`` is negative.

        Cancellation: ends the wait. Nothing new is taken all the same.
        """
        if deadline is not None and not deadline >= 0:
            raise ValueError(f"deadline must not be negative, not {deadline}")
        await self._cancelled_along()
        if not self._draining:
            self._check_active("drain()")
        self._draining, self._accepting = True, False
        return await drain(list(self._in_flight), deadline)

    def statistics(self) -> AsyncLiveStatistics:
        """Return what waits, what is in work and what is done, at this moment.

        May be called at any time: before the block, in it, and after it. It only reads
        counters.
        """
        # Without calls in flight no thread works, and before the block there are none to ask.
        return self._counters.statistics(
            busy_workers=self._workers.busy if self._in_flight else 0,
            total_workers=self._worker_count,
        )

    async def _cancelled_along(self) -> None:
        """A task that was cancelled along with the block is to see that, not an error."""
        if not self._accepting:
            await anyio.lowlevel.checkpoint_if_cancelled()

    def _check_active(self, what: str) -> None:
        if not self._accepting:
            state = "been left" if self._entered else "not been entered"
            raise NotActiveError(
                f"{what} works inside 'async with AsyncLive() as live:'; this object "
                f"{'is being drained, or was' if self._draining else f'has {state}'}."
            )
        if os.getpid() != self._process:
            # Its threads are the parent's alone: waiting for them would never end.
            raise NotActiveError(
                "This AsyncLive object was entered by the process that this one was forked from. "
                "Make another one here, in an event loop of this process."
            )

    def _accept(
        self,
        path: Any,
        type: Any = None,
        name: Any = None,
        desc: Any = None,
        labels: Any = None,
        meta: Any = None,
        copy: Any = False,
        cache: Any = True,
        *,
        submitted: bool = False,
        move: bool = False,
        wait: bool = True,
        latest_wins: bool = False,
    ) -> Call:
        """Check a call, claim what it needs, and begin to work on it. Nothing is awaited.

        So the order of the calls is the order of the artifacts, whichever task runs first.
        """
        self._check_active("submit()" if submitted else "log_artifact()")
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
        call = Call(request, submitted, latest_wins, move, wait, watch=self._moved)
        self._pending.enter(call)
        try:
            call.earlier = self._claims.take(call)
        except BaseException:
            self._pending.leave(call)
            raise
        if latest_wins:
            for other in self._claims.same(call):
                other.supersede(call)
        self._counters.moved(None, call.stage)
        self._in_flight[call] = None
        self._tasks.start_soon(self._work_on, call)
        return call

    async def _log(self, call: Call) -> LoggedArtifact:
        """The way through."""
        await self._pending.place(call)
        if not call.submitted:
            await call.turn()  # its source is read where it is, and an earlier one may change that
        call.begin()
        request = call.request
        if self._in_pipeline and request.cache:
            owner = partial(self._repository.pipeline_owner, request.path)
            request = left_to_pipeline(request, self._root, await self._in_dvc_thread(owner))
        plan = await self._plan(request)
        await self._pending.room(call, plan.total_bytes if plan.is_read else 0)
        call.advance("staging")
        async with self._source(call, plan) as (plan, taken):
            staged = await self._stage(call, plan, taken)
            call.advance("staged")
            del plan  # of a large directory it is larger than what is needed from here on
            return await self._commit(call, staged)

    async def _plan(self, request: ArtifactRequest) -> ArtifactPlan:
        replaced = request.path if request.copy else None
        return await self._stager.plan(request, lambda: self._repository.ignore_filter(replaced))

    async def _stage(self, call: Call, plan: ArtifactPlan, taken: Taken | None) -> StagedArtifact:
        first = call.comes_first
        try:
            return await self._stager.stage(plan, taken, looks_at_copy=first)
        except ArtifactChangedError:
            if first or taken is None or call.released.is_set():
                raise
        # An earlier one has put a link to the same bytes in its place.
        await call.turn()
        return await self._stager.stage(await self._plan(plan.request), taken)

    async def _commit(self, call: Call, staged: StagedArtifact) -> LoggedArtifact:
        try:
            await call.turn()
            if call.move:
                is_last = not any(self._claims.same(call))
                staged = restored(staged, self._left.get(staged.request.path), wanted=is_last)
            tracked = await self._committer.submit(staged, lambda: call.advance("committing"))
            await self._stager.remember(tracked)
        except Exception:
            await self._stager.discard(staged)
            raise
        except BaseException:  # cancelled
            await self._stager.discard_soon(staged)
            raise
        await self._stager.discard(staged)
        if call.move and not staged.isdir and staged.files:
            self._left[staged.request.path] = staged.files[0].marks
        self._claims.remember(call.request)
        return LoggedArtifact.from_tracked(tracked)

    @asynccontextmanager
    async def _source(
        self, call: Call, plan: ArtifactPlan
    ) -> AsyncIterator[tuple[ArtifactPlan, Taken | None]]:
        """Where the bytes are to be read, and what is waited for once they are taken."""
        release = partial(self._release, call) if call.submitted else None
        if not (call.move and plan.is_read):
            yield plan, release
            return
        plan, moved = await self._stager.move_aside(plan)
        try:
            await self._release(call)
            yield plan, None
        except BaseException:
            if call.successor is None:
                await self._stager.put_back(moved)
            else:
                await self._stager.drop(moved)
            raise
        await self._stager.drop(moved)

    async def _release(self, call: Call) -> None:
        """All bytes are taken: whoever submitted it may go on."""
        call.released.set()
        if call.latest_wins:
            await call.turn()  # a newer one may take its place meanwhile
            call.begin()

    async def _serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Open the repository, run what happens in it, close it."""
        # DVC knows a repository by its path: by the one that its command sees, which is in the
        # working directory and so has no links.
        self._real_root = await self._in_dvc_thread(lambda: os.path.realpath(self._root))
        self._repository = await self._in_dvc_thread(
            lambda: DvcRepository.open(self._real_root, durable=self._durable)
        )
        try:
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
                await self._in_dvc_thread(self._repository.close)

    async def _commit_group(self, group: Sequence[StagedArtifact]) -> Outcomes:
        outcomes = await self._recorder.commit_group(group)
        self._counters.count_group(len(group))
        return outcomes

    async def _work_on(self, call: Call) -> None:
        try:
            with call.scope:
                call.logged = await self._log(call)
        except Exception as error:
            call.error = error  # the caller's own, raised there
        finally:
            self._end(call)

    def _end(self, call: Call) -> None:
        """Say how it ended, and give back what it had."""
        if call.logged is not None:
            call.successor = None
            call.advance("logged")
        elif call.error is not None:
            call.successor = None
            call.advance("failed")
            if call.submitted:
                self._unheard.add(call)
        elif call.successor is not None:
            call.advance("superseded")
        else:
            call.error = call.why_cancelled or NotActiveError(
                f"'{call.request.given}' was not logged: the block was left by an exception."
            )
            call.advance("cancelled")
        self._claims.release(call)
        self._pending.leave(call)
        del self._in_flight[call]
        if not self._in_flight and not self._accepting:
            self._idle.set()
        call.end()

    def _moved(self, call: Call, before: Stage) -> None:
        """A call has come one stage further."""
        self._counters.moved(before, call.stage)

    async def _save_hashes(self, path: str, files: Sequence[StoredFile]) -> None:
        await self._in_dvc_thread(lambda: self._repository.save_hashes(path, files))

    async def _free_bytes(self) -> int | None:
        cache_dir = self._repository.layout.cache_dir
        return await self._workers.run(partial(free_bytes, cache_dir), bulk=False)

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
