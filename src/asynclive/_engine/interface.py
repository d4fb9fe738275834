"""The Engine protocol: the methods that a session calls, and the callbacks of an engine.

Two classes implement it: ``LocalEngine`` works in threads of this process, ``ProcessEngine`` hands
the calls to a worker process. ``tests/integration/test_engines.py`` runs the same tests on both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import anyio.abc

from .._calls.call import Call
from .._calls.push import Push
from .._dvclive.experiment import SessionExperiment
from .._instrumentation.statistics import Counters
from .settings import Settings


class Listener(NamedTuple):
    """The callbacks of a session. Calls and pushes report changes of their stages themselves."""

    on_committed: Callable[[Call, str | None], None]
    """The artifact is tracked, under this MD5, and recorded."""
    on_ended: Callable[[Call], None]
    """The call has ended. Its waiters resume after this."""
    adopt_push: Callable[[str, str], Push]
    """Return the push of a path that an earlier session committed and did not push, to the remote
    of a name. The engine works on it, and leaving the block waits for it."""


class Engine(Protocol):
    """Takes calls through plan, stage, commit and record. Used on the event loop alone."""

    @property
    def real_root(self) -> str:
        """The root without symlinks, once ``serve`` has started."""
        ...

    @property
    def busy_workers(self) -> int:
        """The number of threads that work at this moment."""
        ...

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Open the repository, work on the calls, and close it when cancelled.

        Raises:
            AsyncLiveError: the repository cannot be opened, or cannot be closed in order.
        """
        ...

    def accept(self, call: Call) -> None:
        """Start to work on a call, after those accepted before. Awaits nothing.

        Raises:
            AsyncLiveError: the call is refused, and nothing was started.
        """
        ...

    def accept_push(self, push: Push) -> None:
        """Start to work on a push of ``AsyncLive.push``. Awaits nothing.

        ``Call.push`` is another one: the engine works on it as soon as the policy says.
        """
        ...

    def start_events(self) -> None:
        """Report progress and commits from now on: there is a consumer of events."""
        ...

    def stop_accepting(self) -> None:
        """Take note that no further call comes: every call in flight is now awaited."""
        ...

    def begin_leaving(self, *, hurry: bool) -> None:
        """Take note that the block is being left. From now on, an engine may limit its waits.

        Args:
            hurry: whether the deadline of the caller has passed.
        """
        ...

    def leave_normally(self) -> None:
        """Take note that the block ended without an exception. Called before cancellation."""
        ...


MakeEngine = Callable[[Settings, Counters, Listener, SessionExperiment], Engine]
"""Makes the engine of a session. It is called in a thread, because it imports DVC."""
