"""ArtifactPushes: takes pushes from their request to their outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

import anyio

from ..._artifact.push_policy import PushPolicy
from ..._artifact.push_records import PushRequest, PushUnit, RemoteDescription
from ..._artifact.records import TrackedArtifact
from ..._calls.call import Call
from ..._calls.push import Push
from ..._errors import PushError
from .push_service import PushService


class OutputSource(Protocol):
    """The repository, as pushes use it. It blocks, in the thread for DVC."""

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

    def unit_of(self, tracked: TrackedArtifact, request: PushRequest) -> PushUnit | None:
        """Return the output of an artifact; None: its ``.dvc`` file says that it is not pushed."""
        ...


_Find = Callable[[], tuple[str, Sequence[PushUnit]]]
"""Returns the name of the remote and the units of a push. Blocks, in the thread for DVC."""


class ArtifactPushes:
    """The pushes of one engine.

    Args:
        policy: that of the session; None: it pushes only if it is asked to.
        source: finds remotes and outputs.
        in_dvc_thread: runs a function in the thread for DVC, and returns its result.
        service: sends.
        start_soon: starts a task of the engine.
    """

    def __init__(
        self,
        policy: PushPolicy | None,
        source: OutputSource,
        in_dvc_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
        service: PushService,
        start_soon: Callable[..., object],
    ) -> None:
        self._policy = policy
        self._source = source
        self._in_dvc_thread = in_dvc_thread
        self._service = service
        self._start_soon = start_soon
        self._remote = ""  # the name of the remote of the policy, once it is known

    async def check_remote(self) -> None:
        """Look the remote of the policy up, before any artifact is logged.

        Raises:
            RemoteNotFoundError: there is none.
        """
        if self._policy is not None:
            describe = partial(self._source.describe_remote, self._policy.remote)
            self._remote = (await self._in_dvc_thread(describe)).name

    def accept(self, push: Push) -> None:
        """Start to work on a push of ``AsyncLive.push``. Awaits nothing."""
        self._start(push, partial(self._find_requested, push.request))

    def start(self, call: Call, tracked: TrackedArtifact) -> None:
        """Push a tracked artifact as soon as its call has ended. Awaits nothing."""
        if call.push is not None:
            find = partial(self._find_artifact, tracked, call.push.request)
            self._start(call.push, find, call.wait_until_done)

    def _start(
        self, push: Push, find: _Find, wait: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        scope = anyio.CancelScope()
        push.bind_work(scope.cancel)
        self._start_soon(self._work_on, push, find, wait, scope)

    async def _work_on(
        self,
        push: Push,
        find: _Find,
        wait: Callable[[], Awaitable[None]] | None,
        scope: anyio.CancelScope,
    ) -> None:
        """Push, and resume the waiters whatever happens."""
        try:
            with scope:
                if wait is not None:
                    await wait()
                push.begin()
                remote, units = await self._in_dvc_thread(find)
                push.complete(
                    await self._service.push(units, push.request.verify, push.progress, remote)
                )
        except Exception as error:  # raised to the caller alone
            push.fail(error)
        finally:
            if not push.is_done:
                push.abandon(push.cancellation or _dropped(push))

    # These two block, in the thread for DVC.

    def _find_requested(self, request: PushRequest) -> tuple[str, Sequence[PushUnit]]:
        remote = self._source.describe_remote(request.remote)
        return remote.name, self._source.units_to_push(request)

    def _find_artifact(
        self, tracked: TrackedArtifact, request: PushRequest
    ) -> tuple[str, Sequence[PushUnit]]:
        unit = None if tracked.md5 is None else self._source.unit_of(tracked, request)
        return self._remote, () if unit is None else (unit,)


def _dropped(push: Push) -> PushError:
    return PushError(
        push.request.remote,
        f"'{push.name}' was not pushed: the push was cancelled, or the block was left by an "
        "exception. Objects that are in the remote stay there.",
    )
