"""Save to one path in a loop that does not wait: each artifact holds its own bytes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from backends import on_asyncio
from cancelling import settled
from disk import leftovers, objects
from gate import locked
from twin import Templates, dvc

from asynclive import (
    ArtifactCancelledError,
    ArtifactConflictError,
    AsyncLive,
    LoggedArtifact,
)
from perf.harness.loop_filesystem import NotPossibleError, mounted

pytestmark = pytest.mark.anyio

STEPS = 25
# Large, so that a snapshot is taken first and hashed later; and of more than one step.
SIZE = 3 * 2**19


@pytest.fixture(scope="module", params=["here", "xfs", "btrfs"])
def disk(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Yield a directory here, and on file systems that share blocks."""
    where = tmp_path_factory.mktemp("disk")
    if request.param == "here":
        yield where
        return
    with contextlib.ExitStack() as stack:
        try:
            point = stack.enter_context(mounted(request.param, 512 * 2**20, where))
        except NotPossibleError as error:
            pytest.skip(str(error))
        yield point


@pytest.fixture
def loop_repo(templates: Templates, disk: Path, request: pytest.FixtureRequest) -> Path:
    return templates.make("git", disk / f"base-{abs(hash(request.node.name))}")


def bytes_of(step: int) -> bytes:
    return hashlib.sha256(b"%d" % step).digest() * (SIZE // 32)


def md5_of(step: int) -> str:
    return hashlib.md5(bytes_of(step)).hexdigest()


def save_in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def save_by_rename(path: Path, data: bytes) -> None:
    temp = path.with_name("temp")
    temp.write_bytes(data)
    temp.replace(path)


def save_piecewise(path: Path, data: bytes) -> None:
    """Write in pieces, as programs do that seek: the file is never empty."""
    if not path.exists():
        path.touch()
    with path.open("r+b") as file:
        for start in range(0, len(data), 2**18):
            file.write(data[start : start + 2**18])
        file.truncate()


@on_asyncio
@pytest.mark.parametrize(
    ("save", "copy"),
    [(save_in_place, False), (save_by_rename, False), (save_piecewise, True)],
    ids=["in place", "by rename", "piecewise, copied"],
)
async def test_every_checkpoint_of_a_loop_holds_its_own_bytes(
    loop_repo: Path, save: object, copy: bool
) -> None:
    assert callable(save)
    repo, path = loop_repo, loop_repo / "model.ckpt"
    handles = []
    async with AsyncLive(root=repo) as live:
        for step in range(STEPS):
            save(path, bytes_of(step))
            handles.append(await live.submit("model.ckpt", "model", meta={"step": step}, copy=copy))
        save(path, b"a last one that nobody logs")
    logged = [await handle for handle in handles]
    assert [one.md5 for one in logged] == [md5_of(step) for step in range(STEPS)]
    found = objects(repo)  # objects() compares each object with its name
    assert {md5_of(step) for step in range(STEPS)} <= set(found)
    assert path.read_bytes() == b"a last one that nobody logs"
    tracked = repo / "dvclive" / "artifacts" / "model.ckpt" if copy else path
    assert md5_of(STEPS - 1) in (tracked.parent / "model.ckpt.dvc").read_text()
    assert f"step: {STEPS - 1}" in (repo / "dvc.yaml").read_text()
    if copy:
        assert tracked.read_bytes() == bytes_of(STEPS - 1)
    assert ("up to date" in dvc(repo, "status")) == copy
    assert leftovers(repo) == []


@on_asyncio
@pytest.mark.parametrize("link", ["hardlink", "symlink", "copy", "reflink,copy"])
@pytest.mark.parametrize("save", [save_in_place, save_by_rename, Path.unlink])
async def test_newer_bytes_stay_whatever_cache_type_says(
    repo: Path, link: str, save: object, anyio_backend: str
) -> None:
    assert callable(save)
    dvc(repo, "config", "cache.type", link)
    path = repo / "model.ckpt"
    path.write_bytes(bytes_of(1))
    async with AsyncLive(root=repo) as live:
        with locked(repo) as gate:
            handle = await live.submit(path)
            if save is Path.unlink:
                path.unlink()
            else:
                save(path, b"newer")
            await settled()
            gate.open()
            assert (await handle).md5 == md5_of(1)
    if save is Path.unlink:
        assert not path.exists()
    else:
        assert (path.is_symlink(), path.stat().st_nlink) == (False, 1)
        assert path.read_bytes() == b"newer"
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert objects(repo)[md5_of(1)] == bytes_of(1)
    # DVC reports that the file has changed.
    assert "up to date" not in dvc(repo, "status")
    dvc(repo, "checkout", "--force")
    assert path.read_bytes() == bytes_of(1)


@on_asyncio
@pytest.mark.parametrize("link", ["hardlink", "symlink"])
async def test_a_file_that_was_not_written_again_is_linked(repo: Path, link: str) -> None:
    dvc(repo, "config", "cache.type", link)
    (repo / "large").write_bytes(bytes_of(1))
    (repo / "small").write_bytes(b"small")
    async with AsyncLive(root=repo) as live:
        for name in ("large", "small"):
            await live.submit(name)
    for name in ("large", "small"):
        found = (repo / name).lstat()
        assert stat.S_ISLNK(found.st_mode) == (link == "symlink")
        assert (repo / name).stat().st_nlink == (2 if link == "hardlink" else 1)
    assert "up to date" in dvc(repo, "status")


@on_asyncio
async def test_a_file_that_a_writer_has_open_is_not_replaced_by_a_link(repo: Path) -> None:
    dvc(repo, "config", "cache.type", "hardlink")
    path = repo / "memory.npy"
    path.write_bytes(bytes_of(1))
    with path.open("r+b") as writer:
        async with AsyncLive(root=repo) as live:
            assert (await (await live.submit(path))).md5 == md5_of(1)
        writer.write(b"newer")
    assert path.read_bytes()[:5] == b"newer"
    assert objects(repo)[md5_of(1)] == bytes_of(1)


@on_asyncio
async def test_a_directory_written_again_keeps_its_newer_files(repo: Path) -> None:
    dvc(repo, "config", "cache.type", "hardlink")
    data = repo / "data"
    data.mkdir()
    for number in range(6):
        (data / str(number)).write_bytes(bytes_of(number) if number < 3 else b"%d" % number)
    async with AsyncLive(root=repo) as live:
        with locked(repo) as gate:
            handle = await live.submit("data")
            for number in (0, 3):
                (data / str(number)).write_bytes(b"newer")
            for number in (1, 4):
                (data / str(number)).unlink()
            gate.open()
            assert (await handle).nfiles == 6
    assert {path.name: path.stat().st_nlink for path in data.iterdir()} == {
        "0": 1,
        "2": 2,
        "3": 1,
        "5": 2,
    }
    assert (data / "0").read_bytes() == (data / "3").read_bytes() == b"newer"
    dvc(repo, "checkout", "--force")
    assert (data / "0").read_bytes() == bytes_of(0)
    assert (data / "4").read_bytes() == b"4"


async def test_the_next_version_is_logged_though_an_earlier_one_fails(repo: Path) -> None:
    (repo / "a").write_text("one")
    async with AsyncLive(root=repo) as live:
        with locked(repo) as gate:
            first = await live.submit("a", name="net")
            (repo / "a").write_text("two")
            second = await live.submit("a", name="net")
            (repo / "a").write_text("three")
            third = await live.submit("a", name="net")
            second.cancel()
            with pytest.raises(ArtifactCancelledError):
                await second
            gate.open()
            assert (await third).md5 == hashlib.md5(b"three").hexdigest()
            assert first.done
            assert (await first).md5 == hashlib.md5(b"one").hexdigest()
        assert live.statistics().logged == 2


async def test_artifacts_that_meet_are_logged_in_order_of_submission(repo: Path) -> None:
    """Artifacts meet by a path in the other, by a destination or by a name."""
    data = repo / "data"
    data.mkdir()
    (data / "x").write_text("one")
    (repo / "other").write_text("other")
    ended: list[str] = []

    async def note(name: str, handle: object) -> None:
        await handle  # type: ignore[misc]
        ended.append(name)

    async with AsyncLive(root=repo) as live, anyio.create_task_group() as task_group:
        with locked(repo) as gate:
            all_of_it = await live.submit("data", name="n")
            (data / "x").write_text("two")
            inner = await live.submit("data/x")
            other = await live.submit("other", name="n")
            for name, handle in (("inner", inner), ("data", all_of_it), ("other", other)):
                task_group.start_soon(note, name, handle)
            gate.open()
    assert ended[0] == "data"
    assert set(ended) == {"data", "inner", "other"}
    assert "path: other" in (repo / "dvc.yaml").read_text()
    assert (await inner).md5 == hashlib.md5(b"two").hexdigest()
    assert "up to date" in dvc(repo, "status")


async def test_copies_to_one_destination_are_made_in_order_of_submission(repo: Path) -> None:
    for run in ("1", "2", "1"):
        (repo / run).mkdir(exist_ok=True)
        (repo / run / "net.pt").write_bytes(bytes_of(int(run)))
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("1/net.pt", copy=True)
        with locked(repo) as gate:
            await live.submit("2/net.pt", copy=True)
            # This source was logged before, but its copy will be replaced.
            last = await live.submit("1/net.pt", copy=True)
            gate.open()
            await last
    assert (repo / "dvclive" / "artifacts" / "net.pt").read_bytes() == bytes_of(1)
    assert "up to date" in dvc(repo, "status")


async def test_two_awaited_calls_for_one_path_are_still_refused(repo: Path) -> None:
    (repo / "a").write_text("one")
    async with AsyncLive(root=repo) as live, anyio.create_task_group() as task_group:
        with locked(repo) as gate:
            task_group.start_soon(live.log_artifact, "a")
            await settled()
            with pytest.raises(ArtifactConflictError):
                await live.log_artifact("a")
            handle = await live.submit("a")
            logged: list[LoggedArtifact] = []

            async def log() -> None:
                logged.append(await live.log_artifact("a"))

            with pytest.raises(ArtifactConflictError):  # the first call is still in flight
                await log()
            gate.open()
            await handle
            await log()
            assert logged == [await handle]


@on_asyncio
async def test_submit_leaves_the_same_files_as_log_artifact(repo: Path) -> None:
    """Compare the files of both ways to log."""
    for way in ("log", "submit"):
        (repo / way).mkdir()
        (repo / way / "file").write_bytes(bytes_of(1))
        os.chmod(repo / way / "file", 0o755)
        (repo / way / "dir").mkdir()
        for number in range(3):
            (repo / way / "dir" / str(number)).write_bytes(bytes_of(2)[: SIZE * number // 2])
    async with AsyncLive(root=repo) as live:
        for name in ("file", "dir"):
            for copy in (False, f"copy-{name}"):
                one = await live.log_artifact(f"log/{name}", copy=copy and f"log/{copy}")
                other = await (await live.submit(f"submit/{name}", copy=copy and f"submit/{copy}"))
                assert (one.md5, one.size, one.nfiles) == (other.md5, other.size, other.nfiles)
    seen = {}
    for way in ("log", "submit"):
        seen[way] = [
            (str(path.relative_to(base)), path.stat().st_mode, path.is_file() and path.read_bytes())
            for base in (repo / way, repo / "dvclive" / "artifacts" / way)
            for path in sorted(base.rglob("*"))
        ]
    assert seen["log"] == seen["submit"]
    assert "up to date" in dvc(repo, "status")
