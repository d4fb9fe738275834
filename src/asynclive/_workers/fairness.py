"""Scheduling order between artifacts: awaited work first, small artifacts before large ones.

Threads of the same priority share the processors evenly; these classes make some of them wait.
No I/O.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from anyio import from_thread

# The longest that one step of bulk work waits for small artifacts (seconds). The bound keeps bulk
# work from starving.
MAX_YIELD_SECONDS = 0.05
# An artifact counts as small for this long (seconds). Without the bound, a small artifact that
# waits for DVC's lock would hold up every large one.
SMALL_FOR_SECONDS = 0.1


class WaitedForFirst:
    """Makes background work pause while a caller waits for its own work.

    Enter it, as often as needed, around work that a caller waits for. Without the pause, two
    threads that hash use two cores fully, and a snapshot that runs next to them takes twice as
    long. Work inside the block must not wait for work that pauses.
    """

    def __init__(self) -> None:
        self._waited_for = 0
        self._none_left = anyio.Event()

    def __enter__(self) -> None:
        self._waited_for += 1

    def __exit__(self, *_: object) -> None:
        self._waited_for -= 1
        if not self._waited_for:
            self._none_left.set()
            self._none_left = anyio.Event()

    async def yield_to_waited_for(self) -> None:
        """Wait until no block of this object is entered."""
        while self._waited_for:
            await self._none_left.wait()


class SmallFirst:
    """Makes each step of a large artifact wait for the small artifacts that run at that moment.

    Without the wait the step would compete with them for a processor. A step does not wait for
    small artifacts that start later, and never longer than ``MAX_YIELD_SECONDS``.
    """

    def __init__(self) -> None:
        # When each small artifact started. Bounded by the number of calls in flight.
        self._started_at: dict[anyio.Event, float] = {}

    @contextmanager
    def small_running(self) -> Iterator[None]:
        """Count a small artifact as running for the duration of the block."""
        done = anyio.Event()
        self._started_at[done] = anyio.current_time()
        try:
            yield
        finally:
            del self._started_at[done]
            done.set()

    def is_small_running(self) -> bool:
        """Return whether a small artifact runs. Thread-safe."""
        return bool(self._started_at)

    async def yield_to_small(self) -> None:
        """Wait for the small artifacts that run now; call it before a step of a large one."""
        if not self._started_at:
            return
        oldest = anyio.current_time() - SMALL_FOR_SECONDS
        with anyio.move_on_after(MAX_YIELD_SECONDS):
            for done in [done for done, since in self._started_at.items() if since > oldest]:
                await done.wait()


class _GilHold(threading.local):
    """When this thread last took the interpreter's lock after a sleep."""

    since = 0.0


_gil_hold = _GilHold()


# A thread that holds the interpreter's lock for longer delays the event loop noticeably (seconds).
_MAX_GIL_HOLD_SECONDS = 0.001


def yield_gil() -> None:
    """Let another thread take the interpreter's lock, at most once a millisecond.

    Call it in long loops of Python that never wait. CPython takes the lock from a thread only
    after 5 ms, and the event loop stands still for that time. Releasing the lock without a sleep
    does not help: this thread takes it back before another one is awake. So this sleeps for the
    shortest time there is, about 100 microseconds.
    """
    if time.perf_counter() - _gil_hold.since > _MAX_GIL_HOLD_SECONDS:
        time.sleep(1e-6)
        _gil_hold.since = time.perf_counter()


def checkpoint_in_thread() -> None:
    """Raise if the call was cancelled, and let the event loop run. Call it in worker threads."""
    from_thread.check_cancelled()
    yield_gil()
