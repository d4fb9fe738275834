"""Refuses what cannot fit: from its size, before its first byte is copied.

What other files in the making will still take counts as taken. Only what is sure not to fit is
refused; where a file system says nothing of its space, or less than it has, the disk itself says
when it is full. No DVC, no event loop; called from worker threads.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass

# Below, asking for the space costs more than copying does, and there is always some room.
MIN_CHECKED_BYTES = 8 * 2**20


@dataclass(eq=False, slots=True)
class Reservation:
    """What is still to be written of one file, to each of some file systems."""

    devices: tuple[int, ...]
    """Of each new file, so that one file system may be in it twice."""
    remaining_bytes: int
    """For each of them. Its owner takes off what it has written."""


class DiskSpace:
    """The space that files in the making will take, on all file systems together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # between asking what is free and reserving it
        self._reservations: set[Reservation] = set()

    def reserve(self, paths: Sequence[str], size: int) -> Reservation:
        """Reserve ``size`` bytes for each of the new files ``paths``, until ``release``.

        Raises:
            OSError: they do not fit (ENOSPC); says how much is needed and free.
        """
        checked = paths if size >= MIN_CHECKED_BYTES else ()
        devices = {path: os.stat(os.path.dirname(path)).st_dev for path in checked}
        reservation = Reservation(tuple(devices.values()), size)
        with self._lock:
            for path, device in devices.items():
                needed = size * reservation.devices.count(device)
                self._check(os.path.dirname(path), device, needed)
            self._reservations.add(reservation)
        return reservation

    def release(self, reservation: Reservation) -> None:
        """Nothing more of it will be written."""
        with self._lock:
            self._reservations.discard(reservation)

    def check(self, directory: str, size: int) -> None:
        """Raise as ``reserve`` does if ``size`` bytes below ``directory`` do not fit."""
        if size >= MIN_CHECKED_BYTES:
            device = os.stat(directory).st_dev
            with self._lock:
                self._check(directory, device, size)

    def _check(self, directory: str, device: int, needed: int) -> None:
        free = free_bytes(directory)
        if free is None:
            return
        promised = sum(
            one.remaining_bytes * one.devices.count(device) for one in self._reservations
        )
        if needed > free - promised:
            others = f", of which {promised:,} are for others in the making" if promised else ""
            raise OSError(
                errno.ENOSPC,
                f"{needed:,} bytes are needed, and {free:,} are free{others}",
                directory,
            )


def free_bytes(directory: str) -> int | None:
    """What can be written to its file system; None: it does not say."""
    found = shutil.disk_usage(directory)
    if not found.total:
        return None
    # What a file system keeps back, it keeps for root.
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return found.total - found.used if is_root else found.free
