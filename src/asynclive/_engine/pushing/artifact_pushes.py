"""ArtifactPushes: takes pushes from their request to their outcome."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from logging import getLogger
from typing import Any, NamedTuple, Protocol, TypeVar

import anyio

from ..._artifact.push_policy import PushPolicy
from ..._artifact.push_records import PushRequest, PushResult, PushUnit, RemoteDescription
from ..._artifact.push_target import PushTarget
from ..._artifact.records import StagedArtifact, TrackedArtifact
from ..._calls.call import Call
from ..._calls.push import Push
from ..._errors import ArtifactPathError, PushError, RemoteNotFoundError
from ..._workers.shared_hops import SharedHops
from ..._workers.thread_start import run_in_any_thread
from .pending_pushes import PendingPush, PendingPushes
from .push_room import PushRoom
from .push_service import PushService

T = TypeVar("T")
ArtifactT = TypeVar("ArtifactT", StagedArtifact, TrackedArtifact)

logger = getLogger(__name__)

# Threads that find units, and write or remove files of pending pushes. DVC runs in one of them at a
# time; the other one reads the listing of a directory.
_THREADS = 2
# The most functions in one hop to such a thread, and the most files of their artifacts: some
# milliseconds.
_HOP_CALLS, _HOP_FILES = 32, 1000
# How often objects are stored and pushed again that `dvc gc` keeps removing before the commit.
_MAX_PUSHES = 5


class OutputSource(Protocol):
    """The repository, as pushes use it. It blocks; safe in any worker thread."""

    def describe_remote(self, name: str | None) -> RemoteDescription:
        """Return the description of a remote.

        Raises:
            RemoteNotFoundError: there is none of this name, or no default remote.
        """
        ...

    def units_to_push(self, request: PushRequest) -> Sequence[PushUnit]:
        """Return the outputs of the targets of a request.

        Raises:
            ArtifactPathError: a target is not tracked.
        """
        ...

    def unit_of_tracked(self, tracked: TrackedArtifact, remote: str | None) -> PushUnit | None:
        """Return the output of an artifact; None: its ``.dvc`` file says that it is not pushed."""
        ...

    def unit_of_staged(self, staged: StagedArtifact, remote: str | None) -> PushUnit | None:
        """Return the same for the output after the commit of the artifact."""
        ...


class _Work(NamedTuple):
    """What a push sends. Found in a thread."""

    remote: str
    """The name of the remote, if there are no units."""
    units: Sequence[PushUnit]
    pushed: Callable[[], object]
    """Called in a thread once the units are pushed: they are pending no more."""


class ArtifactPushes:
    """The pushes of one engine. Used on the event loop of the session.

    Args:
        policy: that of the session; None: it pushes only if it is asked to.
        source: finds remotes and outputs.
        service: sends.
        pending: notes the artifacts that are not pushed yet.
        adopt: returns the push of a path that an earlier session committed, to a remote.
        start_soon: starts a task of the engine.
    """

    def __init__(
        self,
        policy: PushPolicy | None,
        source: OutputSource,
        service: PushService,
        pending: PendingPushes,
        adopt: Callable[[str, str], Push],
        start_soon: Callable[..., object],
    ) -> None:
        self._policy = policy
        self._source = source
        self._service = service
        self._pending = pending
        self._adopt = adopt
        self._start_soon = start_soon
        limiter = anyio.CapacityLimiter(_THREADS)

        async def run(func: Callable[[], None], _: int) -> None:
            await run_in_any_thread(func, limiter)

        self._hops: SharedHops[Any] = SharedHops(run, _THREADS, _HOP_CALLS, _HOP_FILES)
        self._room = PushRoom()
        self._remote = ""  # the name of the remote of the policy, once it is known
        # Held from the listing of a directory to the commit of an artifact in it: two artifacts
        # would each push a listing without the other one.
        self._inside_directory = anyio.Lock()
        # By call: the output that was pushed before its commit.
        self._pushed_first: dict[Call, PushUnit] = {}

    async def enter(self) -> None:
        """Look the remote of the policy up, before any artifact is logged.

        Go on with the pushes of sessions that have ended.

        Raises:
            RemoteNotFoundError: there is no such remote.
        """
        if self._policy is None:
            return
        describe = partial(self._source.describe_remote, self._policy.remote)
        self._remote = (await self._in_thread(describe)).name
        for pending in await self._in_thread(self._pending.take_over):
            push = self._adopt(pending.path, pending.remote)
            self._start(push, partial(self._find_pending, pending))

    def accept(self, push: Push) -> None:
        """Start to work on a push of ``AsyncLive.push``. Awaits nothing."""
        self._start(push, partial(self._find_requested, push.request))

    @asynccontextmanager
    async def before_commit(
        self, call: Call, staged: StagedArtifact, restore: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[None]:
        """Push a staged artifact if the policy says so; the block commits it.

        Args:
            call: the call.
            staged: its artifact.
            restore: stores objects again that were removed from the cache; returns whether there
                were any.

        Raises:
            PushError: its objects could not be pushed.

        Cancellation: cancels the push, and waits until it has ended.
        """
        push = call.push
        if push is None or self._policy is None or self._policy.when != "before_commit":
            yield
            return
        find = partial(
            self._in_thread,
            partial(_in_its_remote, self._source.unit_of_staged, staged, push.request.remote),
            staged.nfiles,
        )
        async with AsyncExitStack() as stack:
            with _ending(push):
                push.begin()
                unit = await find()
                if unit is not None and unit.path != staged.request.path:
                    await stack.enter_async_context(self._inside_directory)
                    unit = await find()
                push.complete(await self._push_restoring(push, unit, find, restore))
            if unit is not None:
                self._pushed_first[call] = unit
            try:
                yield
            except BaseException:
                self._pushed_first.pop(call, None)
                raise

    async def after_commit(self, call: Call, tracked: TrackedArtifact) -> None:
        """Push a tracked artifact as soon as its call has ended.

        Wait while too many artifacts are not pushed yet.

        Cancellation: ends the wait alone, and is not raised: the artifact is committed.
        """
        push = call.push
        if push is None or self._policy is None:
            return
        if self._policy.when == "before_commit":
            first = self._pushed_first.pop(call, None)
            if first is None:
                return
            if _md5_of(first) == tracked.output_md5 and not first.remote.is_cloud_versioned:
                return
            # Another process has changed the listing of the directory in between, or the .dvc file
            # must name the versions of its files.
            push = self._adopt(tracked.staged.request.path, self._remote)
        try:
            await self._note(tracked)
            await self._room.take(push, tracked.staged.nfiles)
        except anyio.get_cancelled_exc_class():
            pass
        find = partial(self._find_artifact, tracked, push.request)
        self._start(push, find, tracked.staged.nfiles, call.wait_until_done)

    async def _note(self, tracked: TrackedArtifact) -> None:
        pending = self._pending_of(tracked)
        if pending is not None:
            with anyio.CancelScope(shield=True):
                await self._in_thread(partial(self._pending.add, pending))

    def _pending_of(self, tracked: TrackedArtifact) -> PendingPush | None:
        if tracked.output_md5 is None:
            return None
        return PendingPush(tracked.staged.request.path, tracked.output_md5, self._remote)

    async def _push_restoring(
        self,
        push: Push,
        unit: PushUnit | None,
        find: Callable[[], Awaitable[PushUnit | None]],
        restore: Callable[[], Awaitable[bool]],
    ) -> PushResult:
        """Push a unit; store and push objects again that ``dvc gc`` has removed in between."""
        for _ in range(_MAX_PUSHES - 1):
            try:
                return await self._send(push, self._remote, () if unit is None else (unit,))
            except PushError:
                if not await restore():
                    raise
                unit = await find()
        return await self._send(push, self._remote, () if unit is None else (unit,))

    async def _send(self, push: Push, remote: str, units: Sequence[PushUnit]) -> PushResult:
        return await self._service.push(units, push.request.verify, push.progress, remote)

    def _start(
        self,
        push: Push,
        find: Callable[[], _Work],
        files: int = _HOP_FILES,
        wait: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        scope = anyio.CancelScope()
        push.bind_work(scope.cancel)
        self._start_soon(self._work_on, push, partial(self._in_thread, find, files), wait, scope)

    async def _work_on(
        self,
        push: Push,
        find: Callable[[], Awaitable[_Work]],
        wait: Callable[[], Awaitable[None]] | None,
        scope: anyio.CancelScope,
    ) -> None:
        """Push, and resume the waiters whatever happens."""
        try:
            with _ending(push), scope:
                if wait is not None:
                    await wait()
                push.begin()
                work = await find()
                del find  # it holds the staged files, which the units repeat
                result = await self._send(push, work.remote, work.units)
                with anyio.CancelScope(shield=True):
                    await self._in_thread(work.pushed)
                push.complete(result)
        except Exception:
            pass  # the waiters of the push get it
        finally:
            self._room.give_back(push)

    async def _in_thread(self, func: Callable[[], T], files: int = 1) -> T:
        """Run a function that concerns so many files in a thread."""
        result: T = await self._hops.call(func, files)
        return result

    # The methods from here on block.

    def _find_requested(self, request: PushRequest) -> _Work:
        units = self._source.units_to_push(request)
        try:
            remote = self._source.describe_remote(request.remote).name
        except RemoteNotFoundError:
            if not units:
                raise
            remote = ""  # every output names its own
        return _Work(remote, units, partial(self._forget_pending, units, remote))

    def _find_artifact(self, tracked: TrackedArtifact, request: PushRequest) -> _Work:
        pending = self._pending_of(tracked)
        if pending is None:
            return _Work(self._remote, (), _do_nothing)
        unit = _in_its_remote(self._source.unit_of_tracked, tracked, request.remote)
        units = () if unit is None else (unit,)
        return _Work(self._remote, units, partial(self._pending.remove, pending))

    def _find_pending(self, pending: PendingPush) -> _Work:
        """Find the output of a pending push; none if its ``.dvc`` file says something else now."""
        forget = partial(self._pending.remove, pending)
        target = PushTarget(pending.path, pending.path, may_be_name=False)
        try:
            units = self._source.units_to_push(PushRequest((target,), pending.remote))
            units = units or self._source.units_to_push(PushRequest((target,)))
        except (ArtifactPathError, RemoteNotFoundError) as error:
            logger.info("A push of an earlier session is dropped: %s", error)
            units = ()
        return _Work(
            pending.remote, [unit for unit in units if _md5_of(unit) == pending.md5], forget
        )

    def _forget_pending(self, units: Sequence[PushUnit], remote: str) -> None:
        self._pending.remove_pushed({unit.path: _md5_of(unit) for unit in units}, remote)


@contextmanager
def _ending(push: Push) -> Iterator[None]:
    """End the push when the block ends, whatever happens."""
    try:
        yield
    except Exception as error:
        push.fail(error)
        raise
    finally:
        if not push.is_done:
            push.abandon(push.cancellation or _dropped(push))


def _in_its_remote(
    find: Callable[[ArtifactT, str | None], PushUnit | None],
    artifact: ArtifactT,
    remote: str | None,
) -> PushUnit | None:
    """Return the output of an artifact, for the remote that its ``.dvc`` file names if it does.

    ``dvc push -r`` leaves such an output out, and so does ``find``.
    """
    return find(artifact, remote) or find(artifact, None)


def _md5_of(unit: PushUnit) -> str:
    """Return the hash of an output, as in its ``.dvc`` file."""
    return unit.objects[0].md5 if unit.listing is None else unit.listing.md5


def _do_nothing() -> None:
    pass


def _dropped(push: Push) -> PushError:
    return PushError(
        push.request.remote,
        f"'{push.name}' was not pushed: the push was cancelled, or the block was left by an "
        "exception. Objects that are in the remote stay there.",
    )
