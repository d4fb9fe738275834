"""Who goes first, where threads would take the processors from one another. No I/O."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from anyio import from_thread

# So long a step of bulk work waits for small artifacts, at most: it is never starved (seconds).
COURTESY = 0.05
# So long an artifact counts as small: one that waits for DVC's lock does not hold up the others.
PATIENCE = 0.1


class WaitedForFirst:
    """Work that a caller waits for goes first: what nobody waits for stands still meanwhile.

    Two threads that hash take as much of two cores as they get, and a snapshot beside them twice
    as long. What goes first waits for nothing that stands still.
    """

    def __init__(self) -> None:
        self._first = 0
        self._none = anyio.Event()

    def __enter__(self) -> None:
        self._first += 1

    def __exit__(self, *_: object) -> None:
        self._first -= 1
        if not self._first:
            self._none.set()
            self._none = anyio.Event()

    async def given(self) -> None:
        """Wait until nobody goes first."""
        while self._first:
            await self._none.wait()


class SmallFirst:
    """Small artifacts go before the next step of a large one, which would take their processor.

    A large one waits for those under way, not for those that come meanwhile, and not for long.
    """

    def __init__(self) -> None:
        self._under_way: dict[anyio.Event, float] = {}

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Meanwhile a small artifact is under way."""
        done = anyio.Event()
        self._under_way[done] = anyio.current_time()
        try:
            yield
        finally:
            del self._under_way[done]
            done.set()

    def is_asked(self) -> bool:
        """Whether a small artifact is under way. From any thread."""
        return bool(self._under_way)

    async def shown(self) -> None:
        """Wait for what is small, before a step of what is large."""
        if not self._under_way:
            return
        lately = anyio.current_time() - PATIENCE
        with anyio.move_on_after(COURTESY):
            for done in [done for done, since in self._under_way.items() if since > lately]:
                await done.wait()


class _Turn(threading.local):
    began_at = 0.0


_turn = _Turn()


# So long a thread may go on before an event loop that wakes up has to wait noticeably (seconds).
_TURN = 0.001


def give_way() -> None:
    """Let another thread have the interpreter, in a long stretch of Python that never waits.

    Python takes it from a thread only after 5 ms, during which an event loop that wakes up
    stands still. Merely letting it go is no help, since it is taken back before another thread is
    awake: this sleeps for the shortest time there is, some 100 microseconds, once a millisecond.
    """
    if time.perf_counter() - _turn.began_at > _TURN:
        time.sleep(1e-6)
        _turn.began_at = time.perf_counter()


def checkpoint_in_thread() -> None:
    """In a thread that walks and compares: stop if cancelled, and let the event loop run."""
    from_thread.check_cancelled()
    give_way()
