"""Enforce file permissions for root, as for any other user."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# linux/capability.h
_VERSION_3 = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1 << 1, 1 << 2


class NotPossibleError(Exception):
    """File permissions do not apply to root here; the message says why that cannot be changed."""


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Set(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


@contextmanager
def permissions_count() -> Iterator[None]:
    """Enforce file permissions in this thread, and in threads that it starts in the block.

    Raises:
        NotPossibleError: this is root, and not on Linux.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    if not sys.platform.startswith("linux"):
        raise NotPossibleError("root can give up its exemption on Linux only")
    libc = ctypes.CDLL(None, use_errno=True)
    # Each thread has its own capabilities: running threads keep theirs.
    header, sets = _Header(_VERSION_3, 0), (_Set * 2)()
    _call(libc.capget, ctypes.byref(header), sets)
    before = sets[0].effective
    sets[0].effective &= ~(_DAC_OVERRIDE | _DAC_READ_SEARCH)
    _call(libc.capset, ctypes.byref(header), sets)
    try:
        yield
    finally:
        sets[0].effective = before
        _call(libc.capset, ctypes.byref(header), sets)


def _call(function: object, *args: object) -> None:
    assert callable(function)
    if function(*args):
        raise NotPossibleError(os.strerror(ctypes.get_errno()))
