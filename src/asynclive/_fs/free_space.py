"""Refuse a file that cannot fit on its disk, before its first byte is copied.

The bytes that other files in progress still need count as used. If a file system does not report
its free space, nothing is refused, and a full disk raises its own error. Blocks; no DVC.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass

# Smaller files are not checked: the system call would cost more than the copy.
MIN_CHECKED_BYTES = 8 * 2**20


@dataclass(eq=False, slots=True)
class Reservation:
    """The bytes that one source still needs, in each new file made of it."""

    devices: tuple[int, ...]
    """The device of each new file; two files may be on one device."""
    remaining_bytes: int
    """For each new file. The owner subtracts the bytes it has written."""


class DiskSpace:
    """The reservations of all files in progress. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects the reservations, from the check to the change
        self._reservations: set[Reservation] = set()

    def reserve(
        self, paths: Sequence[str], size: int, apparent_size: int | None = None
    ) -> Reservation:
        """Reserve ``size`` bytes for each of the new files ``paths``, until ``release``.

        Args:
            paths: the new files; they may exist already.
            size: the bytes that each will take.
            apparent_size: the size that the files will have, if they have holes.

        Raises:
            OSError: they do not fit (ENOSPC). The message has the needed and the free bytes.
        """
        checked = paths if size >= MIN_CHECKED_BYTES else ()
        devices = {path: os.stat(os.path.dirname(path)).st_dev for path in checked}
        reservation = Reservation(tuple(devices.values()), size)
        with self._lock:
            for path, device in devices.items():
                needed = size * reservation.devices.count(device)
                self._check(os.path.dirname(path), device, needed, apparent_size)
            self._reservations.add(reservation)
        return reservation

    def release(self, reservation: Reservation) -> None:
        """Drop a reservation: its files are complete or removed."""
        with self._lock:
            self._reservations.discard(reservation)

    def check(self, directory: str, size: int, apparent_size: int | None = None) -> None:
        """Raise as ``reserve`` does if ``size`` bytes do not fit below ``directory``."""
        if size >= MIN_CHECKED_BYTES:
            device = os.stat(directory).st_dev
            with self._lock:
                self._check(directory, device, size, apparent_size)

    def _check(
        self, directory: str, device: int, needed: int, apparent_size: int | None = None
    ) -> None:
        free = free_bytes(directory)
        if free is None:
            return
        reserved = sum(
            one.remaining_bytes * one.devices.count(device) for one in self._reservations
        )
        if needed > free - reserved:
            others = f", of which {reserved:,} are reserved for other files" if reserved else ""
            apparent = ""
            if apparent_size is not None:
                apparent = f" (the apparent size, with holes, is {apparent_size:,})"
            raise OSError(
                errno.ENOSPC,
                f"{needed:,} bytes are needed{apparent}, and {free:,} are free{others}",
                directory,
            )


def free_bytes(directory: str) -> int | None:
    """Return the free bytes of the file system of ``directory``; None: it does not report them."""
    found = shutil.disk_usage(directory)
    if not found.total:
        return None
    # Only root may use the blocks that a file system reserves.
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return found.total - found.used if is_root else found.free
