"""AsyncLive: the methods that users call. A session and its engine do the work."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

from .._artifact.push_policy import PushPolicy, VerifyOrPolicy, choose_verify, make_policy
from .._artifact.push_records import PushRequest, PushResult
from .._artifact.push_target import make_target
from .._artifact.records import LoggedArtifact
from .._artifact.request import make_request
from .._calls.call import Call, CallOptions
from .._calls.drain import DrainResult
from .._calls.handle import ArtifactHandle
from .._dvclive.adopted_live import AdoptedLive, Live
from .._dvclive.experiment import (
    OwnExperiment,
    SessionExperiment,
    WorkersExperiment,
    is_in_exp_run,
)
from .._engine.session import Session
from .._engine.settings import DEFAULT_DIR, DEFAULT_DVCYAML, Settings, make_settings
from .._instrumentation.event_hub import QUEUED_EVENTS, EventHub, EventStream, OnEvent
from .._instrumentation.statistics import AsyncLiveStatistics
from .._progress.display_choice import make_progress
from .blocking_live import BlockingLive
from .engine_choice import Isolation, choose_isolation, engine_maker
from .interpreter_exit import EXIT_HOOK

if TYPE_CHECKING:
    from typing_extensions import Self

P = ParamSpec("P")


class AsyncLive:
    """Log artifacts with DVC: many at once, while the event loop keeps running.

    Use it as an async context manager, on asyncio or trio. Inside the block, any number of tasks of
    the same event loop may use the object. :meth:`log_artifact` returns once the artifact is
    logged, and :meth:`submit` as soon as the source may be overwritten.

    Leaving the block waits for all artifacts, also by ``sys.exit(0)``. Leaving it by another
    exception cancels them, and a warning in the log names those that were submitted. Any task of
    the loop may leave the block.

    Args:
        dir: directory of the copies, ``{dir}/artifacts``. It is made when it is first needed.
        root: directory in which relative paths start, and from which the DVC repository is
            searched upwards. Default: the current working directory.
        dvcyaml: path of the file that records artifacts; it must be named ``dvc.yaml``. None or
            False: no file is written.
        workers: maximum number of threads that copy and hash, over all artifacts together. One
            of them is reserved for small artifacts. To stage a directory of very many small
            files, each other thread hands them to an extra process. Default: the number of
            processors that this process may use, plus two, at most 32. CPU affinity and the quota
            of a container count. In a container with little memory, pass 2.
        lock_timeout: seconds to wait while another process holds DVC's repository lock. With
            ``core.autostage``, the same limit holds for the lock of Git's index. None: no limit.
        leave_timeout: seconds that leaving the block waits for a worker process that does not
            answer, because it was stopped or its machine is overloaded. A worker that answers but
            makes no progress, because its disk is stuck, gets ten times as long; a push whose bytes
            move makes progress. Then it is killed: its artifacts raise WorkerDiedError, its pushes
            PushError, and the next session clears up. After an exception, or a :meth:`drain` that
            left outcomes unknown, both limits are 10 seconds at most. None: no limit. A thread
            cannot be killed, so ``isolation="thread"`` has no limit.
        durable: make each logged artifact survive a power cut. The objects, the ``.dvc`` file,
            ``.gitignore``, ``dvc.yaml`` and a copy are fsynced with their directories, each before
            a file that names it. This costs as much time as the disk takes. If the
            source is logged in place, its object is fsynced, and the source itself is not.
            Default: False. As with DVC, the operating system then writes the bytes to disk at a
            time of its choice, within about half a minute.
        max_pending_bytes: maximum number of bytes that are submitted and not yet logged; beyond
            it :meth:`submit` waits. A larger artifact waits until no other artifact is pending.
            Default: half of the free space of the cache, so that pending artifacts cannot fill a
            disk.
        max_pending: maximum number of artifacts that are submitted and not yet logged. Default:
            1,000. Calls of :meth:`log_artifact` do not count: their callers wait anyway.
        isolation: ``"process"``: the work runs in one worker process with lower priority, so that
            your event loop and the logging do not slow each other down. ``"thread"``: the work
            runs in threads of this process. Results and errors are the same. One difference: in a
            worker process, a ``__cause__`` that is neither an exception of Python nor of
            asynclive is replaced by an exception that states its type and message. Default: the
            value of ``ASYNCLIVE_ISOLATION``, else a process; threads if this program embeds Python
            or was frozen, and so has no interpreter to start. Processes run ``sys.executable``,
            which must start within 8 seconds; ``ASYNCLIVE_START_TIMEOUT`` sets another limit.
        on_event: function that is called on the event loop with each :class:`ArtifactEvent`; it
            must return quickly. If it raises, the first error is logged at error level, the
            artifacts are logged all the same, and it is called again for the next event.
        progress: show a bar on stderr for each artifact in flight and one for all of them, and a
            summary line at the end. If stderr is not a terminal, only a line is printed now and
            then. Default: True in a terminal and in a notebook.
        live: a ``dvclive.Live`` whose ``dir`` and ``dvcyaml`` are adopted. Entries of asynclive
            stay in dvc.yaml when the ``Live`` writes it, and its experiment holds the ``.dvc``
            files. If it saves its experiment inside the block (``live.end()``), the experiment is
            saved when the block is left.
        save_dvc_exp: save a DVC experiment of the workspace, as ``dvc exp save`` does, when the
            block is left without an exception. Nothing in the workspace changes, and other
            sessions can log at the same time. Ignored in a DVC pipeline, as DVCLive does.
        exp_name: name of the experiment; it must be new. Default: a random name; see
            :attr:`exp_name`.
        exp_message: message of the Git commit of the experiment. Default: DVC's message.
        push: push each logged artifact to a DVC remote. True: to the default remote. A str: to the
            remote of this name. A :class:`PushPolicy` says more. Leaving the block waits for the
            pushes; if an exception ends the block, they are stopped. A push that fails undoes
            nothing: the artifact stays committed. If no task awaits :meth:`ArtifactHandle.pushed`,
            leaving the block raises its error. The next session with ``push`` goes on with the
            pushes that were stopped, failed or killed. While more than 200,000 objects wait to be
            pushed, calls return later.

    Raises:
        ValueError: an argument, or a variable of the environment named above, is out of its range
            or contradicts another one. Or a process is asked for, and there is no interpreter to
            start.
        TypeError: ``on_event`` cannot be called, or is an async function (use :meth:`events`);
            ``progress`` is neither a bool nor None; ``live`` is not a ``dvclive.Live``.
        ExperimentError: on entering: no experiment can be saved here, or not under this name. On
            leaving: DVC or Git refused to save it, other processes held DVC's lock for
            ``lock_timeout`` seconds, or the worker process that saves it was killed. The logged
            artifacts are tracked and recorded.
        InvalidDvcyamlError: ``dvcyaml`` has another name.
        RepositoryNotFoundError: on entering: there is neither a DVC nor a Git repository. (In a
            Git repository without DVC, DVC is initialised, as DVCLive does.)
        RemoteNotFoundError: on entering: ``push`` names no remote of DVC's configuration, or there
            is no default remote.
        RepositoryError: the working directory was removed, and ``root`` is not absolute. On
            entering: DVC cannot open its repository, or cannot read Git's index.
        PushError: on leaving: an artifact could not be pushed, and no task awaited its push.
        LockTimeoutError: on entering: DVC must be initialised first, and another process held the
            lock of Git's index for ``lock_timeout`` seconds.
        StorageError: on entering: temp files cannot be made.
        ResourceLimitError: on entering: the system refuses a thread.
        WorkerDiedError: on entering: the worker process ended, or cannot be started. On leaving,
            its calls raise it: see ``leave_timeout``.

    Temp files are in ``.dvc/tmp`` and in the cache. Leaving the block removes them. If the process
    is killed, the next AsyncLive removes them on entering, and logs that. Temp files of other
    living processes stay: each holds a lock on a file that names it.

    Example::

        async with AsyncLive() as live:
            logged = await live.log_artifact("model.pt", type="model", name="mymodel")
            print(logged.md5, logged.size)
    """

    def __init__(
        self,
        dir: str | os.PathLike[str] = DEFAULT_DIR,
        *,
        root: str | os.PathLike[str] | None = None,
        dvcyaml: str | os.PathLike[str] | bool | None = DEFAULT_DVCYAML,
        workers: int | None = None,
        lock_timeout: float | None = 60.0,
        leave_timeout: float | None = 60.0,
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
        push: bool | str | PushPolicy | None = None,
    ) -> None:
        adopted = None if live is None else AdoptedLive(live)
        settings = make_settings(
            *(dir, root, dvcyaml, adopted, workers),
            lock_timeout=lock_timeout,
            leave_timeout=leave_timeout,
            durable=durable,
            max_pending_bytes=max_pending_bytes,
            max_pending=max_pending,
            push=make_policy(push),
        )
        where = choose_isolation(isolation, os.environ)
        experiment = _make_experiment(settings, adopted, where, save_dvc_exp, exp_name, exp_message)
        hub, display = EventHub(on_event), make_progress(progress)
        if display is not None:
            hub.listen(display.on_event)
        self._session = Session(settings, experiment, engine_maker(where), hub, display)

    @classmethod
    def blocking(cls: Callable[P, AsyncLive], *args: P.args, **kwargs: P.kwargs) -> BlockingLive:
        """Return a context manager for code that is not async.

        It takes the arguments of :class:`AsyncLive`. See :class:`BlockingLive`; that class also
        lets you choose the event loop: ``BlockingLive(AsyncLive(...), backend="trio")``.

        Example::

            with AsyncLive.blocking() as live:
                handle = live.submit("model.pt")
                ...  # "model.pt" may be written again
                print(handle.result().md5)
        """
        return BlockingLive(cls(*args, **kwargs))

    # Hidden from type checkers: they should report "with AsyncLive()" as an error themselves.
    if not TYPE_CHECKING:

        def __enter__(self):
            # Without this method, Python would only say that there is no such method.
            raise TypeError(
                "Use 'async with AsyncLive(...)' instead of 'with', or, in code that is not async, "
                "'with AsyncLive.blocking(...)'."
            )

        def __exit__(self, *_):
            raise AssertionError("never entered")

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        EXIT_HOOK.add(self._session)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._session.__aexit__(exc_type, exc, traceback)
        finally:
            EXIT_HOOK.remove_ended()

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
        reread: bool = False,
    ) -> LoggedArtifact:
        """Track a file or directory with DVC, and record it in dvc.yaml.

        The bytes go to the DVC cache and ``{path}.dvc`` points at them, as after ``dvc add``. If
        any of ``type``, ``name``, ``desc``, ``labels``, ``meta`` is given, an entry under
        ``artifacts:`` holds those that are not None, and replaces an entry of the same name.
        ``type="model"`` adds the artifact to the model registry. When the call returns, all of
        this is on disk.

        Args:
            path: path of an existing file or directory, relative to ``root``.
            type: type of the artifact, for example ``"model"`` or ``"dataset"``.
            name: name of the entry: letters, digits, ``-``, ``_`` and ``/``. Default: made from
                the stem of ``path``.
            desc: description of the artifact.
            labels: list of str.
            meta: dict with str keys and values that YAML can hold; it is copied at the call. The
                limits of each of these arguments are a million characters and 10,000 values.
            copy: copy ``path`` to ``{dir}/artifacts/<basename>`` first, track the copy, and
                replace an earlier copy. A str names a directory below ``artifacts``.
            cache: False: leave the bytes in place, and only record the entry.
            latest_wins: of several calls with ``latest_wins=True`` for one path and name that are
                still pending, log only the newest. The others return or raise its outcome.
            reread: read every file, even if its size, inode and times are those of the last call.
                Pass it if bytes may change without a new mtime. A program that sets the old mtime
                does so. So does a write through a memory map by another host or another user, or
                in a directory of 3,000 files or more. Other memory maps are noticed on Linux.

        Returns:
            The record of the logged artifact.

        Raises:
            NotActiveError: the call is outside of the ``async with`` block or after :meth:`drain`.
                Or it is in another event loop or thread than the one that entered the block, or in
                a forked child.
            InvalidDataTypeError: ``path`` is not a str or ``os.PathLike`` of str.
            InvalidArtifactNameError: ``name`` is not valid, or none can be made.
            InvalidMetadataError: a value does not fit YAML; the error names it.
            ArtifactConflictError: a call in flight has the same path, copy or name.
            ArtifactNotFoundError: ``path`` does not exist.
            ArtifactChangedError: ``path`` was written while it was read.
            ArtifactPathError: ``path`` cannot be logged; the error says why and what to do.
            LockTimeoutError: another process held DVC's lock, or that of Git's index, for
                ``lock_timeout`` seconds.
            DvcYamlError: dvc.yaml cannot be read or replaced.
            StorageError: the disk refused, or the artifact is larger than the free space.
            RepositoryError: Git's index became one that DVC cannot read.
            CommitError: DVC refused, or its cache lacks bytes that the artifact needs.
            PushError: with ``when="before_commit"``, the objects could not be pushed.
            ResourceLimitError: the system refuses the first thread.
            WorkerDiedError: the worker process was killed. Before this is raised, a new worker
                process has repaired the repository; it takes the next calls.

        Cancellation: before the commit of the group of this artifact begins, nothing is left: no
            copy, no .dvc file, no entry. After that the artifact is logged completely, and the
            cancellation takes effect then. :meth:`statistics` counts the first case as
            ``cancelled``, the second as ``logged``; the log says the same at info level. (Objects
            that no ``.dvc`` file names may stay in the cache until ``dvc gc``.) The space of large
            copies, and of a copy that was replaced, is freed soon after, at the latest when the
            block is left.

        Example::

            async with AsyncLive() as live:
                logged = await live.log_artifact("model.pt", type="model", labels=["best"])
                print(logged.name, logged.md5)
        """
        await self._session.raise_if_cancelled()
        call = self._accept(
            "log_artifact()",
            CallOptions(latest_wins=latest_wins),
            *(path, type, name, desc, labels, meta, copy, cache, reread),
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
        reread: bool = False,
    ) -> ArtifactHandle:
        """Log an artifact in the background: return as soon as ``path`` may be overwritten.

        The call returns once the bytes are copied. Files larger than 1 MiB are copied into temp
        files of the cache (or cloned, if the file system can), and hashed and committed from there
        later; smaller files are hashed before the call returns. Calls of
        ``submit`` for the same path, copy or name are not refused. They are logged one after
        another, in the order of the calls, each with the bytes at its call. An earlier call that
        fails does not stop a later one. If ``path`` is tracked in place and is written again before
        it is logged, the file keeps its newer bytes, and ``.dvc`` names the older ones.

        Args:
            path: see :meth:`log_artifact`.
            type: see :meth:`log_artifact`.
            name: see :meth:`log_artifact`.
            desc: see :meth:`log_artifact`.
            labels: see :meth:`log_artifact`.
            meta: see :meth:`log_artifact`.
            copy: see :meth:`log_artifact`.
            cache: see :meth:`log_artifact`.
            move: give ``path`` up: it is renamed to a temp path, and is free when this returns. The
                call copies nothing. It does not check the files of a directory either: awaiting
                the handle raises their errors. Their bytes wait for ``max_pending_bytes`` in the
                background. Once the artifact is logged, ``path`` holds the file or
                directory that ``dvc add`` would leave, unless another file was put there in
                between; with ``copy``, only the copy is left. If the artifact is not logged, the
                source is renamed back, or to ``{path}.unlogged`` if another file is at ``path``.
            wait: wait while ``max_pending_bytes`` or ``max_pending`` is reached. False: raise
                BackPressureError instead.
            latest_wins: see :meth:`log_artifact`. A pending artifact, whose bytes are copied but
                not hashed yet, is dropped for a newer one of the same path and name.
            reread: see :meth:`log_artifact`.

        Returns:
            A handle; ``await`` it for the record of the logged artifact.

        Raises:
            BackPressureError: ``max_pending`` or ``max_pending_bytes`` is reached, and ``wait`` is
                False.
            AsyncLiveError: an error that came before the bytes were copied, as from
                :meth:`log_artifact`. The handle raises later errors. If no task awaits the handle,
                leaving the block raises them in an ExceptionGroup.

        Cancellation: cancels the artifact, as for :meth:`log_artifact`. Once this has returned,
            :meth:`ArtifactHandle.cancel` cancels the artifact.

        Example::

            async with AsyncLive() as live:
                for step in range(3):
                    save(f"weights of step {step}", "model.pt")
                    await live.submit("model.pt", meta={"step": step})
        """
        await self._session.raise_if_cancelled()
        call = self._accept(
            "submit()",
            CallOptions(submitted=True, latest_wins=latest_wins, move=move, waits=wait),
            *(path, type, name, desc, labels, meta, copy, cache, reread),
        )
        await call.release_or_cancel()
        return ArtifactHandle(call, self._session.home)

    async def push(
        self,
        *artifacts: str | os.PathLike[str] | LoggedArtifact,
        remote: str | None = None,
        verify: VerifyOrPolicy = "policy",
    ) -> PushResult:
        """Push tracked artifacts to a DVC remote, as ``dvc push`` does, and prove each object.

        It works with and without ``push=``, and while other artifacts are being logged: it pushes
        those that are committed. It holds no lock of DVC while bytes move. Objects that are in the
        remote already, and are proven, are not sent again.

        Args:
            artifacts: tracked paths, relative to ``root``; names of artifacts in dvc.yaml; or
                records of logged artifacts. A str that is both a tracked path and a name means the
                path. Default: all that DVC tracks in the workspace.
            remote: the name of a remote. Default: that of the policy, else the default remote.
            verify: see :attr:`PushPolicy.verify`. Default: as the policy says.

        Returns:
            The result, once every object is in the remote and proven.

        Raises:
            NotActiveError: the call is outside of the ``async with`` block, or in another event
                loop.
            ValueError: ``verify`` is not known, or ``remote`` is empty.
            InvalidDataTypeError: an artifact is none of these types.
            ArtifactPathError: a path or name is not tracked.
            RemoteNotFoundError: no remote is configured, or none of this name.
            RemoteAccessError: the remote cannot be reached, or refuses.
            RemoteVerifyError: objects in the remote are not those that were sent.
            PushError: objects could not be pushed for another reason.

        Cancellation: cancels the push, and waits until it has ended. Objects that are in the remote
            stay there. The next push sends the rest.

        Example::

            async with AsyncLive() as live:
                logged = await live.log_artifact("model.pt")
                result = await live.push(logged)
                print(result.objects, result.skipped)
        """
        if remote is not None and not remote:
            raise ValueError("remote must name a remote, and not be empty")
        await self._session.raise_if_cancelled()
        self._session.check_active("push()")
        settings, real_root = self._session.settings, self._session.engine.real_root
        policy = settings.push
        targets = tuple(make_target(each, settings.root, real_root) for each in artifacts)
        request = PushRequest(
            targets or None,
            remote or (None if policy is None else policy.remote),
            choose_verify(verify, policy),
        )
        push = self._session.accept_push(request, ", ".join(target.given for target in targets))
        return await push.result_or_cancel()

    @property
    def exp_name(self) -> str | None:
        """The name of the DVC experiment that is saved when the block is left; None: none is.

        With ``live`` or under ``dvc exp run`` it is the name of that experiment. A random name is
        made when the block is entered.
        """
        return self._session.experiment.name

    async def drain(self, deadline: float | None) -> DrainResult:
        """Refuse new calls, finish the artifacts that fit into ``deadline``, and cancel the rest.

        Use it when the machine is about to be taken away. A cancelled artifact leaves nothing, as
        if it had never been submitted; its handle raises ArtifactCancelledError. A cancelled push
        leaves its artifact committed; :attr:`DrainResult.not_pushed` names it.

        Returns at most 3 seconds after the deadline, even if a disk or the worker process does not
        answer. :attr:`DrainResult.unknown` then names the artifacts whose outcome is not known.

        Args:
            deadline: seconds; None: no limit.

        Returns:
            The outcomes of all artifacts and pushes that were in flight.

        Raises:
            NotActiveError: the call is outside of the ``async with`` block, or in another event
                loop.
            ValueError: ``deadline`` is negative.

        Cancellation: ends the wait. New calls are refused all the same.

        Example::

            async with AsyncLive() as live:
                await live.submit("model.pt")
                result = await live.drain(25)
                print(result.logged, result.not_logged)
        """
        if deadline is not None and not deadline >= 0:
            raise ValueError(f"deadline must not be negative, not {deadline}")
        await self._session.raise_if_cancelled()
        return await self._session.drain(deadline)

    def statistics(self) -> AsyncLiveStatistics:
        """Return counters of waiting, running and ended work at this moment.

        May be called at any time: before the block, in it, and after it. It only reads counters.
        The counters of a worker process (files, bytes, groups, busy workers) are at most a tenth
        of a second old. When a call returns, they include its work. A call that the worker
        process refuses at once, such as a conflict, counts as failed.

        Example::

            async with AsyncLive() as live:
                await live.log_artifact("model.pt")
                print(live.statistics().bytes_staged)
        """
        return self._session.statistics()

    def events(self, *, bound: int = QUEUED_EVENTS) -> EventStream:
        """Return an async iterator over the events from now on.

        Any number of iterators may run at once; each gets every event. An iterator ends after the
        block is left, once its queued events are read. So the task that iterates must belong to a
        task group *around* the block. A task group inside the block would wait for that task, and
        the task would wait for the end of the block. The iterator may be made before the block is
        entered. Made after the block, it ends at once.

        Args:
            bound: maximum number of events that are queued for a slow consumer; default 1,024. A
                sample (:class:`ArtifactStaging`) replaces an unread sample of its artifact. If the
                queue is full all the same, the oldest sample is dropped, or, without samples, the
                oldest event. An :class:`EventsDropped` before the next event says how many of each
                were dropped. Artifacts never wait for a consumer.

        Raises:
            ValueError: ``bound`` is less than 1.
            NotActiveError: the block was entered in another event loop. Iterating there raises it
                too.

        Cancellation: a cancelled iteration loses no event. An iterator that is dropped, or closed
            with ``aclose``, costs nothing.

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
        return self._session.stream(bound)

    def _accept(
        self,
        method: str,
        options: CallOptions,
        path: Any,
        type: Any,
        name: Any,
        desc: Any,
        labels: Any,
        meta: Any,
        copy: Any,
        cache: Any,
        reread: Any,
    ) -> Call:
        """Check the arguments of one call, and let the session work on it. Awaits nothing."""
        self._session.check_active(method)
        settings = self._session.settings
        request = make_request(
            path,
            root=settings.root,
            real_root=self._session.engine.real_root,
            artifacts_dir=settings.artifacts_dir,
            annotate=settings.dvcyaml is not None,
            type=type,
            name=name,
            desc=desc,
            labels=labels,
            meta=meta,
            copy=copy,
            cache=cache,
            reread=reread,
        )
        return self._session.accept(request, options)


def _make_experiment(
    settings: Settings,
    adopted: AdoptedLive | None,
    isolation: Isolation,
    save: bool,
    name: str | None,
    message: str | None,
) -> SessionExperiment:
    """Return the experiment that the block ends in.

    Raises:
        ValueError: the arguments contradict each other.
    """
    if not save and (name is not None or message is not None):
        raise ValueError("exp_name and exp_message need save_dvc_exp=True")
    if adopted is not None and save:
        raise ValueError("save_dvc_exp is not allowed with live=: pass it to dvclive.Live")
    if adopted is not None:
        return adopted
    if not save and not is_in_exp_run(os.environ):
        return SessionExperiment()
    kind = WorkersExperiment if isolation == "process" else OwnExperiment
    return kind(name, message, settings.experiment_paths, os.environ, is_asked_for=save)
