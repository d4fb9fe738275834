"""PushRoom: a bound on the artifacts that are committed and not pushed yet. No I/O."""

from __future__ import annotations

import anyio

# Objects of all artifacts that wait for their push or are being pushed. Each takes up to half a
# kilobyte of memory.
MAX_OBJECTS = 200_000
# An artifact counts as so many objects at least: it also has a task.
_LEAST_OBJECTS = 100


class PushRoom:
    """The bound of one session, and the calls that wait for it, in their order.

    An artifact of more objects than the bound is pushed alone.

    Args:
        max_objects: the bound.
    """

    def __init__(self, max_objects: int = MAX_OBJECTS) -> None:
        self._max_objects = max_objects
        self._taken: dict[object, int] = {}
        self._total = 0
        # Bounded by the calls in flight.
        self._waiting: dict[anyio.Event, int] = {}

    async def take(self, owner: object, objects: int) -> None:
        """Count ``objects`` until ``give_back``; wait before that while there are too many.

        Cancellation: ends the wait; they are counted all the same.
        """
        weight = max(objects, _LEAST_OBJECTS)
        try:
            if self._waiting or not self._fits(weight):
                turn = anyio.Event()
                self._waiting[turn] = weight
                try:
                    await turn.wait()
                finally:
                    self._waiting.pop(turn, None)
        finally:
            self._taken[owner] = weight
            self._total += weight
            self._wake()

    def give_back(self, owner: object) -> None:
        """Count the objects of ``owner`` no more."""
        self._total -= self._taken.pop(owner, 0)
        self._wake()

    def _wake(self) -> None:
        """Let the first waiting call go on if there is room for it."""
        for turn, weight in self._waiting.items():
            if self._fits(weight):
                turn.set()
            return

    def _fits(self, weight: int) -> bool:
        return not self._total or self._total + weight <= self._max_objects
