"""``durable=True``: a call that returned survives a power cut, and no name survives without bytes.

A power cut may happen after each sync, rename or link. The tests build each state that it may
leave, and check the files.
"""

from __future__ import annotations

import errno
import itertools
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest
from backends import Isolation, on_asyncio
from disk import tree, write
from gate import locked
from invariants import assert_nothing_lost, assert_sound, content, entries
from power_cut import PowerCuts, RemoteCuts, State, iterate
from tally import SURVIVED
from twin import Templates, dvc
from worker_agent import Agents

from asynclive import ArtifactCancelledError, AsyncLive, DvcYamlError, StorageError
from asynclive._ingest import batch_processes
from asynclive._stage import stage_job
from asynclive._workspace import session_owner
from asynclive._workspace.crash_recovery import remove_dead_sessions

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="/proc names the file that is synced"
    ),
]

long = pytest.mark.long

LARGE = 2**20 + 1
"""Larger than a small file, which is read whole."""


@pytest.fixture
def repo_with_files(repo: Path) -> Path:
    """A repository with an artifact of each kind."""
    write(repo, {"file": "a file", "sub/deep/file": "one below", "other": "another"})
    write(repo, {"data/a": "one", "data/b": "one", "data/below/c": "two", "data/below/empty": ""})
    (repo / "data" / "none").mkdir()
    write(repo, {"tracked/x": "x", "tracked/y": "y"})
    write(repo, {"large": "0123456789abcdef" * (LARGE // 16 + 1)})
    return repo


Body = Callable[[AsyncLive], Awaitable[Any]]


async def _file(live: AsyncLive) -> None:
    await live.log_artifact("file", type="model", name="file")


async def _file_below(live: AsyncLive) -> None:
    await live.log_artifact("sub/deep/file")


async def _copy(live: AsyncLive) -> None:
    await live.log_artifact("file", type="model", copy="new/below")


async def _large(live: AsyncLive) -> None:
    await live.log_artifact("large", type="model")
    await live.log_artifact("large", name="copy", copy=True)


async def _directory(live: AsyncLive) -> None:
    await live.log_artifact("data", type="dataset")


async def _directory_copied(live: AsyncLive) -> None:
    await live.log_artifact("data", type="dataset", copy=True)


async def _not_cached(live: AsyncLive) -> None:
    await live.log_artifact("data", type="dataset", copy=True, cache=False)


async def _again(live: AsyncLive) -> None:
    for _ in range(2):
        await live.log_artifact("file", type="model", copy=True)
        await live.log_artifact("data", type="dataset", copy=True)
        await live.log_artifact("data", type="dataset")


async def _inside(live: AsyncLive) -> None:
    await live.log_artifact("tracked")
    await live.log_artifact("tracked/x", name="x")


async def _gathered(live: AsyncLive) -> None:
    async with anyio.create_task_group() as tasks:
        for path in ("file", "sub/deep/file", "other", "data", "tracked"):
            tasks.start_soon(live.log_artifact, path, "model", path.replace("/", "-"))
        tasks.start_soon(live.log_artifact, "large", "model", "large", None, None, None, True)


async def _submitted(live: AsyncLive) -> None:
    for path, copy in (("large", False), ("data", True), ("large", True)):
        await (await live.submit(path, type="model", name="name", copy=copy))


async def _moved(live: AsyncLive) -> None:
    for path in ("file", "large", "data"):
        await (await live.submit(path, type="model", move=True))


async def _moved_for_a_copy(live: AsyncLive) -> None:
    for path in ("file", "large", "data"):
        await (await live.submit(path, type="model", move=True, copy=True))


BODIES: list[Body] = [
    _file,
    _file_below,
    _copy,
    _large,
    _directory,
    _directory_copied,
    _not_cached,
    _again,
    _inside,
    _gathered,
    _submitted,
    _moved,
    _moved_for_a_copy,
]
each_body = pytest.mark.parametrize(
    "body",
    [
        pytest.param(body, marks=() if body in (_file, _directory_copied, _inside) else long)
        for body in BODIES
    ],
    ids=[body.__name__[1:] for body in BODIES],
)
# Each of them writes in another way.
IN_WORKER = (_directory_copied, _large, _inside, _gathered, _moved, _moved_for_a_copy)


@each_body
async def test_a_power_cut_at_any_moment_leaves_a_sound_repository_and_all_that_was_logged(
    body: Body, repo_with_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        cuts = PowerCuts(repo_with_files, patch)
        async with AsyncLive(
            root=repo_with_files, dir=repo_with_files / "dvclive", durable=True
        ) as live:
            await body(live)
            assert cuts.surviving() == cuts.current()

    check_states(cuts.states, tmp_path, "thread")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            body, marks=() if body in (_directory_copied, _moved) else long, id=body.__name__[1:]
        )
        for body in IN_WORKER
    ],
)
async def test_a_power_cut_while_a_worker_process_writes_leaves_all_that_was_logged(
    body: Body, repo_with_files: Path, tmp_path: Path, agents: Agents
) -> None:
    cuts = RemoteCuts(repo_with_files, agents)
    async with AsyncLive(
        root=repo_with_files, dir=repo_with_files / "dvclive", durable=True, isolation="process"
    ) as live:
        await body(live)
        assert cuts.surviving() == cuts.current()
    check_states(cuts.states, tmp_path, "process")


def check_states(states: dict[Any, State], tmp_path: Path, isolation: Isolation) -> None:
    assert len(states) > 3
    for path in iterate(states, tmp_path):
        assert_sound(path)
        SURVIVED[f"states that a power cut may leave, isolation={isolation!r}"] += 1


@on_asyncio
@pytest.mark.parametrize(
    ("how", "isolation"),
    [("logged", "thread"), ("copied", "thread"), ("restored", "thread"), ("restored", "process")],
)
async def test_a_moved_source_survives_a_power_cut_at_any_moment(
    how: str,
    isolation: Isolation,
    repo_with_files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    agents: Agents,
) -> None:
    """It is at its old path, or logged, or the next session restores it."""
    paths = ("file", "large", "data")
    moved = {path: content(repo_with_files / path) for path in paths}
    with monkeypatch.context() as patch:
        cuts: PowerCuts | RemoteCuts
        if isolation == "thread":
            cuts = PowerCuts(repo_with_files, patch, tmp=True)
        else:
            cuts = RemoteCuts(repo_with_files, agents, tmp=True)
        async with AsyncLive(
            root=repo_with_files,
            dir=repo_with_files / "dvclive",
            durable=True,
            isolation=isolation,
        ) as live:
            for path in paths:
                with locked(repo_with_files) if how == "restored" else nullcontext():
                    handle = await live.submit(path, move=True, copy=how == "copied")
                    assert not (repo_with_files / path).exists()
                    if how == "restored":
                        handle.cancel()
                        with pytest.raises(ArtifactCancelledError):
                            await handle
                        continue
                await handle
    # The host has booted, and the record of the session has survived: recovery need not wait.
    booted = session_owner.this_process()._replace(boot="the next")
    monkeypatch.setattr(session_owner, "this_process", lambda: booted)
    monkeypatch.setattr(session_owner, "_seconds_since_boot", lambda: 90)
    monkeypatch.setattr(session_owner, "_seconds_silent", lambda directory: 100)
    for path in iterate(cuts.states, tmp_path):
        remove_dead_sessions([str(path / ".dvc" / "tmp")])
        for name, old in moved.items():
            destination = path / "dvclive" / "artifacts" / name if how == "copied" else path / name
            logged = destination.with_name(f"{name}.dvc")
            survivor = destination if logged.exists() and destination.exists() else path / name
            assert content(survivor) == old
        assert_sound(path)
        SURVIVED[f"states that a power cut may leave, isolation={isolation!r}"] += 1


async def test_a_call_without_durable_syncs_nothing(
    repo_with_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = PowerCuts(repo_with_files, monkeypatch, keep=False)
    async with AsyncLive(root=repo_with_files, dir=repo_with_files / "dvclive") as live:
        for body in (_file, _copy, _large, _directory_copied, _inside, _moved):
            await body(live)
    assert cuts.syncs == []
    assert cuts.surviving() != cuts.current()


@long
@pytest.mark.parametrize("types", ["copy", "hardlink", "symlink", "hardlink,copy"])
async def test_links_and_their_targets_are_both_synced(
    types: str, repo_with_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dvc(repo_with_files, "config", "cache.type", types)
    with monkeypatch.context() as patch:
        cuts = PowerCuts(repo_with_files, patch)
        async with AsyncLive(
            root=repo_with_files, dir=repo_with_files / "dvclive", durable=True
        ) as live:
            await live.log_artifact("file", type="model")
            await live.log_artifact("data", type="dataset")
            await live.log_artifact("data", name="copy", copy=True)
            assert cuts.surviving() == cuts.current()
    for path in iterate(cuts.states, tmp_path):
        assert_sound(path)
        SURVIVED["states that a power cut may leave, isolation='thread'"] += 1


async def test_a_durable_call_syncs_what_another_session_has_written_but_not_synced(
    repo_with_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = PowerCuts(repo_with_files, monkeypatch, keep=False)
    for durable in (False, True):
        async with AsyncLive(
            root=repo_with_files, dir=repo_with_files / "dvclive", durable=durable
        ) as live:
            await live.log_artifact("large", type="model", copy=True)
            await live.log_artifact("data", type="dataset", copy=True)
            await live.log_artifact("file", type="model")
            survived = cuts.surviving() == cuts.current()
            assert survived == durable


async def test_a_durable_call_syncs_unchanged_files_that_it_does_not_read_again(
    repo_with_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "asynclive._cache.hash_cache._TICK_NS", 0
    )  # trust hashes of files that were just written
    for number in range(3):
        write(repo_with_files, {f"known/{number}": str(number) * (LARGE // 2)})
    cuts = PowerCuts(repo_with_files, monkeypatch, keep=False)
    for durable in (False, True):
        async with AsyncLive(
            root=repo_with_files, dir=repo_with_files / "dvclive", durable=durable
        ) as live:
            for copy in (False, True):
                await live.log_artifact("known", name="known", copy=copy)
                await live.log_artifact("large", name="large", copy=copy)
            assert live.statistics().files_unchanged == (8 if durable else 0)
            survived = cuts.surviving() == cuts.current()
            assert survived == durable


async def test_a_new_dvc_repository_survives_a_power_cut(
    templates: Templates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = templates.make("bare-git", tmp_path / "base")
    write(repo, {"file": "a file"})
    cuts = PowerCuts(repo, monkeypatch, keep=False)
    async with AsyncLive(root=repo, durable=True) as live:
        await live.log_artifact("file", type="model")
        assert cuts.surviving() == cuts.current()


async def test_worker_processes_sync_an_object_before_they_name_it(
    repo_with_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_job, "PROCESS_FILES", 1)
    log = tmp_path / "log"
    monkeypatch.setattr(batch_processes, "_COMMAND", _RECORDING + batch_processes._COMMAND)
    monkeypatch.setenv("ASYNCLIVE_TEST_LOG", str(log))
    cuts = PowerCuts(repo_with_files, monkeypatch, keep=False)
    (repo_with_files / "data" / "unlike").write_bytes(b"three")

    async with AsyncLive(root=repo_with_files, durable=True) as live:
        await live.log_artifact("data", type="dataset")
        calls = [line.split(maxsplit=2) for line in log.read_text().splitlines()]
        named = [(inode, path) for kind, inode, path in calls if kind == "name"]
        assert len(named) == 4  # one, two, three and nothing
        for inode, path in named:
            synced = calls.index(["sync", inode, "-"])
            assert synced < calls.index(["name", inode, path])
            cuts.synced(int(inode), Path(path))
        objects = cuts.surviving()[".dvc"]
        assert objects == cuts.current()[".dvc"]


_RECORDING = """
import os
log = os.open(os.environ["ASYNCLIVE_TEST_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def recorded(kind, real):
    def call(*args, **options):
        path, target = args[0], args[1] if len(args) > 1 else "-"
        inode = os.stat(path).st_ino
        result = real(*args, **options)
        os.write(log, f"{kind} {inode} {target}\\n".encode())
        return result
    return call
os.fsync = recorded("sync", os.fsync)
os.link = recorded("name", os.link)
os.replace = recorded("name", os.replace)
"""


@on_asyncio
@pytest.mark.parametrize("tracked", [False, True], ids=["new", "tracked"])
@pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
@pytest.mark.parametrize(
    "path",
    ["file", *(pytest.param(path, marks=long) for path in ("large", "data", "sub/deep/file"))],
)
async def test_a_failed_sync_raises_in_its_call_and_commits_nothing(
    path: str, copy: bool, tracked: bool, repo_with_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = repo_with_files / path / "a" if path == "data" else repo_with_files / path
    text = written.read_text()
    cuts = PowerCuts(repo_with_files, monkeypatch, keep=False)
    async with AsyncLive(
        root=repo_with_files, dir=repo_with_files / "dvclive", durable=True
    ) as live:

        async def log() -> None:
            await live.log_artifact(path, type="model", name="name", copy=copy)

        if tracked:
            await log()
        for failed in itertools.count():
            written.write_text(
                text + " " * failed
            )  # new bytes, so that there is an object to store
            before = tree(repo_with_files)
            cuts.fail_at = len(cuts.syncs) + failed
            try:
                await log()
            except (StorageError, DvcYamlError) as refused:
                error = refused
            else:
                break
            assert isinstance(error.__cause__, OSError)
            assert error.__cause__.errno == errno.EIO
            # Exception: dvc.yaml is already replaced, but may not survive a power cut.
            assert "is written" in str(error) or tree(repo_with_files) == before
        assert len(cuts.syncs) <= cuts.fail_at  # no failed sync was ignored
        assert failed > 6
        temp = [path.name for path in (repo_with_files / ".dvc" / "tmp").glob("asynclive-*/*")]
        assert temp == ["session"]  # the lock of the session
    assert entries(repo_with_files).keys() == {"name"}
    assert_nothing_lost(repo_with_files)
    SURVIVED["syncs failed with EIO"] += failed
