"""If the system has no free inotify instance or watch, asynclive finds changes by scanning."""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path
from typing import Any

import anyio
import pytest
from invariants import assert_nothing_lost
from twin import dvc

from asynclive import ArtifactPathError, AsyncLive
from asynclive._index.inotify import InotifyWatch, open_inotify

pytestmark = pytest.mark.skipif(open_inotify() is None, reason="inotify is not available")


class LimitedLibrary:
    """The C library, in which one call fails after it has succeeded ``after`` times."""

    def __init__(self, libc: Any, call: str, error: int, after: int) -> None:
        self._libc, self._call, self._error, self._left = libc, call, error, after
        self.failed = 0

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._libc, name)
        return self._fail_or(call) if name == self._call else call

    def _fail_or(self, call: Any) -> Any:
        def limited(*args: Any) -> Any:
            if self._left:
                self._left -= 1
                return call(*args)
            self.failed += 1
            ctypes.set_errno(self._error)
            return -1

        return limited


@pytest.mark.parametrize(
    ("call", "error", "after"),
    [
        # max_user_instances: reached when the repository is opened, or at the second scan.
        pytest.param("inotify_init1", errno.EMFILE, 0, id="no instance"),
        pytest.param("inotify_init1", errno.EMFILE, 1, id="no second instance"),
        # max_user_watches: reached at the root, or below it.
        pytest.param("inotify_add_watch", errno.ENOSPC, 0, id="no watch"),
        pytest.param("inotify_add_watch", errno.ENOSPC, 1, id="one watch"),
        pytest.param("inotify_add_watch", errno.ENOSPC, 2, id="two watches"),
        pytest.param("inotify_add_watch", errno.ENOMEM, 1, id="no memory"),
    ],
)
def test_changes_of_other_processes_are_found_without_inotify(
    repo: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int, after: int
) -> None:
    libraries: list[LimitedLibrary] = []

    def open_limited(watch: InotifyWatch) -> None:
        if not libraries:
            libraries.append(LimitedLibrary(watch._libc, call, error, after))
        watch._libc = libraries[0]
        real_open(watch)

    real_open = InotifyWatch._open
    monkeypatch.setattr(InotifyWatch, "_open", open_limited)
    for name in ("a/first.bin", "b/third.bin", "b/other.bin"):
        path = repo / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    (repo / "c").mkdir()
    (repo / "c" / "in.bin").write_text("in")

    async def log() -> None:
        async with AsyncLive(root=repo) as live:
            await live.log_artifact("a/first.bin", type="dataset")
            await anyio.to_thread.run_sync(dvc, repo, "add", "--quiet", "b/other.bin", "c")
            await live.log_artifact("b/third.bin", type="dataset")
            logged = await live.log_artifact("c/in.bin", type="dataset")
            assert logged.dvc_file == repo / "c.dvc"
            with pytest.raises(ArtifactPathError, match="contains"):
                await live.log_artifact("b")

    anyio.run(log)
    assert libraries[0].failed
    assert_nothing_lost(repo)
