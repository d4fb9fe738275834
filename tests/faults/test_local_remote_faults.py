"""A push to a directory while system calls fail, and while its process is killed.

Each object in the directory is whole and right, or not there. A listing is there only if all of its
files are. The next push completes the rest.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from failing import CALLS, nth_failing

from asynclive._artifact.push_records import PushObject, PushResult, PushUnit, RemoteDescription
from asynclive._errors import PushError
from asynclive._instrumentation.push_progress import PushCounts
from asynclive._remote.directory import object_copy
from asynclive._remote.local_remote import LocalRemote
from asynclive._remote.pusher import Pusher
from asynclive._remote.request_budget import RequestBudget

FILES = [b"", b"small", b"smaller", b"large" * 300_000]


class Place:
    """A cache with the objects of a directory, and a remote."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.remote = base / "remote" / "files" / "md5"
        listing = b"\n".join(FILES)
        self.objects = [self._make(data, "") for data in FILES]
        self.listing = self._make(listing, ".dir")

    def _make(self, data: bytes, suffix: str) -> PushObject:
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest() + suffix
        path = self.base / "cache" / md5[:2] / md5[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return PushObject(md5, len(data), f"data/{len(data)}")

    async def push(self) -> PushResult:
        description = RemoteDescription("r", "remote", "local", str(self.remote))
        cache = str(self.base / "cache")
        unit = PushUnit("data", description, cache, self.objects, self.listing)
        budget = RequestBudget(2)

        async def open_store(remote: RemoteDescription) -> LocalRemote:
            return LocalRemote(remote, budget, str(self.base / "hash cache"))

        pusher = Pusher(open_store, budget)
        try:
            return await pusher.push([unit], "store", PushCounts())
        finally:
            await pusher.aclose()

    def check(self) -> set[str]:
        """Check the remote; return the names of its objects."""
        stored = {path.parent.name + path.name: path for path in self.remote.glob("??/*")}
        for md5, path in stored.items():
            data = path.read_bytes()
            assert hashlib.md5(data, usedforsecurity=False).hexdigest() == md5.partition(".")[0]
        if self.listing.md5 in stored:
            assert {obj.md5 for obj in self.objects} <= stored.keys()
        return {*stored}

    def is_complete(self) -> bool:
        return self.check() == {obj.md5 for obj in (*self.objects, self.listing)}


@pytest.mark.long
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("call", CALLS)
def test_any_failing_system_call_leaves_whole_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    monkeypatch.setattr(object_copy, "STEP_BYTES", 2**19)
    for number in itertools.count():
        place = Place(tmp_path / str(number))
        with nth_failing(call, number, error) as fault:
            try:
                asyncio.run(place.push())
            except PushError:
                place.check()
            else:
                assert place.is_complete()
        if not fault.failed_calls:
            break
        asyncio.run(place.push())
        assert place.is_complete()


_KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from test_local_remote_faults import Place
moments = 0
def before(real):
    def wrapped(*args, **options):
        global moments
        if moments == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        moments += 1
        return real(*args, **options)
    return wrapped
for name in ("open", "write", "copy_file_range", "mkdir", "replace", "unlink", "utime", "rmdir"):
    setattr(os, name, before(getattr(os, name)))
asyncio.run(Place(Path(sys.argv[1])).push())
"""


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.long)])
def test_a_push_that_is_killed_at_any_moment_is_completed_by_the_next(
    tmp_path: Path, step: int
) -> None:
    paths = [path for path in sys.path if path]
    for moment in itertools.count(0, step):
        place = Place(tmp_path / str(moment))
        command = [sys.executable, "-c", _KILLED, str(place.base), str(moment), *paths]
        if subprocess.run(command).returncode == 0:
            assert place.is_complete()
            break
        stored = len(place.check())
        result = asyncio.run(place.push())
        assert place.is_complete()
        assert (result.objects, result.skipped) == (5 - stored, stored)
        # One that names no owner, since the kill came between two calls, stays for ten minutes.
        for temp in place.remote.glob(".asynclive-*"):
            assert [path.read_bytes() for path in temp.iterdir()] in ([], [b""])
    else:
        raise AssertionError
