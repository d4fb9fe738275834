"""AsyncLive: what its users call. An engine, in threads or in a process, does the work."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.to_thread

from .._artifact.records import LoggedArtifact
from .._artifact.request import ArtifactRequest, make_request
from .._calls.back_pressure import check_bounds
from .._calls.call import Call, Stage
from .._calls.drain import DrainResult, drain
from .._calls.handle import ArtifactHandle
from .._calls.observer import Observer
from .._calls.unawaited_errors import UnawaitedErrors
from .._dvclive.adopted_live import AdoptedLive, Live
from .._dvclive.experiment import OwnExperiment, SessionExperiment, WorkersExperiment
from .._engine.interface import Listener
from .._errors import InvalidDvcyamlError, NotActiveError
from .._instrumentation.event_hub import QUEUED_EVENTS, EventHub, EventStream, OnEvent
from .._instrumentation.sampler import Sampler
from .._instrumentation.statistics import AsyncLiveStatistics, Counters
from .._progress.display import make_progress
from .._workers.file_workers import default_workers
from .blocking_live import BlockingLive
from .engine_choice import isolation_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from .._engine.local_engine import LocalEngine
    from .._isolation.process_engine import ProcessEngine

P = ParamSpec("P")


class _Default(str):
    """Told apart from what a caller gives."""


_DIR = _Default("dvclive")
_DVCYAML = _Default("dvc.yaml")


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
        isolation: where the work is done: in one worker process, started on entering, which has
            the interpreter to itself and a lower priority (``"process"``), or in threads of this
            process (``"thread"``). In a process, Python that runs all the time, as a training loop
            does, is not held up, and does not hold up the work. Everything else is the same; only
            a ``__cause__`` that is not asynclive's or Python's own exception is one that says its
            type and message. Default: what ``ASYNCLIVE_ISOLATION`` in the environment says, else
            a process; threads where there is no interpreter to start, because this program embeds
            Python or was frozen.
        on_event: called on the event loop with each :class:`ArtifactEvent`, so it must be quick. An
            error of it is logged once, at error level, and it is called again for the next event:
            the artifacts are logged all the same.
        progress: whether to show a bar for each artifact in flight, and one for all, on stderr; at
            the end there is a line that sums them up. Where stderr is no terminal, only a line
            now and then. Default: where stderr is a terminal, and in a notebook.
        live: a ``dvclive.Live``, whose ``dir`` and ``dvcyaml`` are taken. What is logged here
            stays in dvc.yaml whatever it writes there, and its experiment holds the ``.dvc``
            files. An experiment that it is to save while the block runs (``live.end()``) is
            saved when the block is left.
        save_dvc_exp: save a DVC experiment of the workspace, as ``dvc exp save`` does, when the
            block is left without an exception. Ignored in a DVC pipeline, as by DVCLive.
        exp_name: its name; must be new. Default: a random one. See :attr:`exp_name`.
        exp_message: of its Git commit. Default: DVC's.

    Raises:
        ValueError: an argument (or ``ASYNCLIVE_ISOLATION``) is out of its range, or contradicts
            another; or a process is asked for, and there is no interpreter to start.
        TypeError: ``on_event`` cannot be called, or is an async function: use :meth:`events`;
            or ``progress`` is neither a bool nor None; or ``live`` is no ``dvclive.Live``.
        ExperimentError: on entering: no experiment can be saved here, or not by this name. On
            leaving: DVC refused, or the worker process that was to save it was killed; what was
            logged is tracked and recorded.
        InvalidDvcyamlError: ``dvcyaml`` has another name.
        RepositoryNotFoundError: on entering: neither a DVC nor a Git repository. (In a Git
            repository without DVC, DVC is initialised, as DVCLive does.)
        RepositoryError: on entering: DVC cannot open its repository.
        StorageError: on entering: there is no room for temp files.
        WorkerDiedError: on entering: the worker process has ended, or cannot be started.

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
        dir: str | os.PathLike[str] = _DIR,
        *,
        root: str | os.PathLike[str] | None = None,
        dvcyaml: str | os.PathLike[str] | bool | None = _DVCYAML,
        workers: int | None = None,
        lock_timeout: float | None = 60.0,
        durable: bool = False,
        max_pending_bytes: int | None = None,
        max_pending: int | None = None,
        isolation: Literal["thread", "process"] | None = None,
        on_event: OnEvent | None = None,
        progress: bool | None = None,
        live: Live | None = None,
        save_dvc_exp: bool = False,
        exp_name: str | None = None,
        exp_message: str | None = None,
    ) -> None:
        # normpath, not abspath: construction is allowed on a running event loop, and a root
        # that is absolute already needs no look at the file system.
        directory = "" if root is None else os.fspath(root)
        if not os.path.isabs(directory):
            directory = os.path.join(os.getcwd(), directory)
        self._root = os.path.normpath(directory)
        directory = os.path.join(self._root, os.fspath(dir))
        self._dvcyaml_path = _dvcyaml_path(self._root, dvcyaml)
        self._isolation = isolation_of(isolation, os.environ)
        self._experiment = SessionExperiment()
        if not save_dvc_exp and (exp_name is not None or exp_message is not None):
            raise ValueError("exp_name and exp_message need save_dvc_exp=True")
        if live is not None:
            if save_dvc_exp:
                raise ValueError("save_dvc_exp is for live to say: pass it to dvclive.Live")
            adopted = self._experiment = AdoptedLive(live)
            adopted.check_same(
                None if dir is _DIR else directory,
                None if dvcyaml is _DVCYAML else self._dvcyaml_path or "",
            )
            directory, self._dvcyaml_path = adopted.dir, adopted.dvcyaml
        self._artifacts_dir = os.path.normpath(os.path.join(directory, "artifacts"))
        if save_dvc_exp:
            kind = WorkersExperiment if self._isolation == "process" else OwnExperiment
            self._experiment = kind(
                exp_name,
                exp_message,
                [self._artifacts_dir, *filter(None, [self._dvcyaml_path])],
                os.environ,
            )
        if workers is not None and workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        if lock_timeout is not None and lock_timeout < 0:
            raise ValueError(f"lock_timeout must not be negative, not {lock_timeout}")
        self._worker_count = workers or default_workers()
        self._counters = Counters()
        check_bounds(max_pending_bytes, max_pending)
        self._settings = {
            "dir": directory,
            "root": self._root,
            "dvcyaml": self._dvcyaml_path,
            "workers": self._worker_count,
            "lock_timeout": lock_timeout,
            "durable": durable,
            "max_pending_bytes": max_pending_bytes,
            "max_pending": max_pending,
        }
        self._hub = EventHub(on_event)
        self._progress = make_progress(progress)
        if self._progress is not None:
            self._hub.listen(self._progress.take)
        self._sampler = Sampler(
            lambda: self._hub.wanted, lambda sample: self._owner.start_soon(sample)
        )
        self._observer = Observer(self._hub, self._sampler)
        self._unheard = UnawaitedErrors()
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

    if not TYPE_CHECKING:  # who checks types is told by them

        def __enter__(self):
            # As for a Live. Python alone would say that there is no such method.
            raise TypeError(
                "Use 'async with AsyncLive(...)' instead of 'with', or, in code that is not async, "
                "'with AsyncLive.blocking(...)'."
            )

        def __exit__(self, *_):
            raise AssertionError("never entered")

    async def __aenter__(self) -> Self:
        if self._entered:
            raise NotActiveError("An AsyncLive object can be entered once; make another one.")
        self._entered = True
        self._process = os.getpid()
        self._idle = anyio.Event()
        self._cause: BaseException | None = None
        # Owns every task of this object. Its only direct child is the engine's, which owns the
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
            alone.__cause__ = alone.__cause__ or self._cause
            if alone is error:
                raise
            raise alone from alone.__cause__
        self._accepting = True
        if self._hub.wanted:
            self._engine.watch()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._accepting = False
        self._engine.stop_taking()
        try:
            if exc is None and self._in_flight:
                await self._idle.wait()
            self._engine.left_normally = exc is None
        finally:
            self._owner.cancel_scope.cancel()
            try:
                # Without the exception: the task group would wrap it in an ExceptionGroup.
                await self._owner.__aexit__(None, None, None)
            except BaseException as error:
                alone = _unwrapped(error)
                self._unheard.tell(alone)
                if alone is error:
                    raise
                raise alone from alone.__cause__
            finally:
                self._hub.close()
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
            WorkerDiedError: the worker process was killed. What it left is put right before this
                is raised, by another one, which takes the next calls.

        Cancellation: before the commit of the group it belongs to has begun, nothing is left:
            no copy, no .dvc file, no entry. After that the artifact is logged completely, and
            the cancellation takes effect then. Which it was is said by :meth:`statistics`, which
            counts the one as ``cancelled`` and the other as ``logged``, and in the log at info
            level. (Objects without a name may stay in the cache until ``dvc gc``.) The space of
            much that was copied is free soon after, at the latest when the block is left, and
            so is that of a copy that was replaced.
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
            move: the caller gives ``path`` up: it is renamed, and free when this returns. Nothing
                is copied before, and no file of a directory looked at: the handle raises what is
                wrong with one, and waits for room for its bytes. Once it is logged, what ``dvc
                add`` would leave is at ``path`` again, unless something else is; with ``copy``,
                only the copy is left. If it is not logged, it is put back: beside, as
                ``{path}.unlogged``, where something else is.
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

    @property
    def exp_name(self) -> str | None:
        """The name of the DVC experiment that the block ends in.

        That of ``live``, where one was given, or of ``dvc exp run``; where a random one is made,
        from entering on. None: none is saved.
        """
        return self._experiment.name

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
        self._engine.stop_taking()
        return await drain(list(self._in_flight), deadline)

    def statistics(self) -> AsyncLiveStatistics:
        """Return what waits, what is in work and what is done, at this moment.

        May be called at any time: before the block, in it, and after it. It only reads
        counters. What a worker process counts (files, bytes, groups, busy workers) is as it has
        said last: a tenth of a second ago at most, and never behind what it has said of a call.
        What it refuses at once, as a conflict, counts as failed.
        """
        # Without calls in flight no thread works, and before the block there are none to ask.
        return self._counters.statistics(
            busy_workers=self._engine.busy_workers if self._in_flight else 0,
            total_workers=self._worker_count,
        )

    def events(self, *, bound: int = QUEUED_EVENTS) -> EventStream:
        """Iterate over what happens from now on, beside any number of others who do.

        Ends when the block is left, once what is queued has been read. So the task that reads
        must be owned by a task group *around* the block: one inside it would wait for that task,
        which waits for the block to be left. May be asked for before the block is entered, and
        ends at once after it was left.

        Args:
            bound: how many events wait for a consumer that is slow, at most; default 1,024. A
                sample (:class:`ArtifactStaging`) takes the place of an unread one of its artifact.
                Where there is no room all the same, the oldest sample is dropped; where there is
                none, the oldest event. An :class:`EventsDropped` before the next event says how
                many of each. Artifacts never wait for a consumer.

        Raises:
            ValueError: ``bound`` is less than 1.

        Cancellation: of the iteration loses no event. A stream that is dropped, or closed with
            ``aclose``, costs nothing any more.

        Example::

            import anyio

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
        if self._accepting:
            self._engine.watch()
        return stream

    async def _serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Have the engine work, and show what it does."""
        limiter = anyio.CapacityLimiter(1)  # for the thread that imports, or writes to a terminal
        self._engine = await anyio.to_thread.run_sync(self._make_engine, limiter=limiter)
        if self._progress is None:
            await self._serve_engine(task_status)
            return
        await anyio.to_thread.run_sync(self._progress.start, limiter=limiter)
        try:
            await self._serve_engine(task_status)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._progress.close, limiter=limiter)

    async def _serve_engine(self, task_status: anyio.abc.TaskStatus[None]) -> None:
        try:
            await self._engine.serve(task_status=task_status)
        except BaseException as error:
            # trio 0.26 drops it on the way to who starts this.
            self._cause = _unwrapped(error).__cause__
            raise

    def _make_engine(self) -> LocalEngine | ProcessEngine:
        """In a thread: it imports most of what there is to import."""
        listener = Listener(self._committed, self._ended)
        if self._isolation == "process":
            from .._isolation.process_engine import ProcessEngine

            return ProcessEngine(self._settings, self._counters, listener, self._experiment)
        from .._engine.local_engine import LocalEngine

        return LocalEngine(self._settings, self._counters, listener, self._experiment)

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
            real_root=self._engine.real_root,
            artifacts_dir=self._artifacts_dir,
            annotate=self._dvcyaml_path is not None,
            type=type,
            name=name,
            desc=desc,
            labels=labels,
            meta=meta,
            copy=copy,
            cache=cache,
        )
        return self._accept_request(
            request,
            submitted=submitted,
            latest_wins=latest_wins,
            move=move,
            waits_for_room=wait,
        )

    def _accept_request(self, request: ArtifactRequest, **options: Any) -> Call:
        """The part of it that a worker process does again, for calls that are checked."""
        call = Call(request, watch=self._moved, **options)
        self._engine.accept(call)
        self._counters.moved(None, call.stage)
        self._in_flight[call] = None
        self._observer.begin(call)
        return call

    def _moved(self, call: Call, before: Stage) -> None:
        """A call has come one stage further."""
        self._counters.moved(before, call.stage)
        self._observer.moved(call)

    def _committed(self, call: Call, md5: str | None) -> None:
        """A call's artifact is tracked and recorded. The engine says so."""
        self._observer.committed(call, md5)

    def _ended(self, call: Call) -> None:
        """A call has ended; who waits for it is told after this. The engine says so."""
        if call.submitted and call.stage == "failed":
            self._unheard.add(call)
        del self._in_flight[call]
        if not self._in_flight and not self._accepting:
            self._idle.set()


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
