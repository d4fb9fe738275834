"""Wait for DVC's lock without blocking the loop, at most for ``lock_timeout``."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import anyio
import pytest
from differences import differs_from_dvclive
from disk import dvc_file, md5, objects, refused, tree, write
from gate import locked
from twin import Templates

from asynclive import ArtifactNotFoundError, AsyncLive, LockTimeoutError, LoggedArtifact

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("nothing_left_behind"),
    differs_from_dvclive("blocks for 3 seconds, then warns"),
]

LOGGED = {
    "model.pt.dvc": dvc_file("weights", "model.pt"),
    ".gitignore": "/model.pt\n",
    "dvc.yaml": "artifacts:\n  model:\n    path: model.pt\n    type: m\n",
}


@pytest.mark.parametrize("lock_timeout", [60.0, None])
async def test_a_call_waits_for_the_lock_while_the_loop_runs_on(
    repo: Path, templates: Templates, lock_timeout: float | None
) -> None:
    other = templates.make("git", repo.parent / "second")
    write(repo, {"model.pt": "weights"})
    write(other, {f"{number}.pt": "other" for number in range(5)})
    before = tree(repo)
    results: list[LoggedArtifact] = []
    turns = itertools.count()

    with locked(repo) as gate:
        async with (
            AsyncLive(root=repo, lock_timeout=lock_timeout) as live,
            AsyncLive(root=other, workers=1) as beside,
            anyio.create_task_group() as task_group,
            anyio.create_task_group() as turning,
        ):

            async def log() -> None:
                results.append(await live.log_artifact("model.pt", type="m"))

            async def turn() -> None:
                while True:
                    next(turns)
                    await anyio.lowlevel.checkpoint()

            task_group.start_soon(log)
            turning.start_soon(turn)
            # Whole calls begin and end in between, in threads and in DVC.
            for number in range(5):
                start = next(turns)
                await beside.log_artifact(f"{number}.pt")
                assert next(turns) > start + 1
            assert results == []
            assert tree(repo) == before
            turning.cancel_scope.cancel()
            gate.open()
    assert [logged.md5 for logged in results] == [md5("weights")]
    assert tree(repo) == before | LOGGED


@pytest.mark.parametrize("lock_timeout", [0, 0.05])
@pytest.mark.parametrize("values", [{}, {"copy": True}, {"cache": False}, {"copy": "a/b"}])
async def test_a_call_fails_after_lock_timeout_and_leaves_nothing(
    repo: Path, values: dict[str, Any], lock_timeout: float
) -> None:
    write(repo, {"data/a": "a", "data/b": "b"})
    async with AsyncLive(root=repo, lock_timeout=lock_timeout) as live:
        with locked(repo):
            with refused(repo, LockTimeoutError, match="lock_timeout", objects=False) as caught:
                await live.log_artifact("data", type="m", **values)
            assert isinstance(caught.value, TimeoutError)
            assert caught.value.lock_timeout == lock_timeout
        logged = await live.log_artifact("data", type="m", **values)
    path = logged.path.relative_to(repo).as_posix()
    assert tree(repo)["dvc.yaml"] == f"artifacts:\n  data:\n    path: {path}\n    type: m\n"


async def test_each_waiting_call_fails_and_can_be_repeated(repo: Path) -> None:
    names = [f"{number}.pt" for number in range(20)]
    write(repo, dict.fromkeys(names, "weights"))
    before = tree(repo)
    errors: list[LockTimeoutError] = []
    async with AsyncLive(root=repo, lock_timeout=0.05) as live:

        async def log(name: str) -> None:
            try:
                await live.log_artifact(name)
            except LockTimeoutError as error:
                errors.append(error)

        async def log_all() -> None:
            async with anyio.create_task_group() as task_group:
                for name in names:
                    task_group.start_soon(log, name)

        with locked(repo):
            await log_all()
        assert len({id(error) for error in errors}) == len(names)
        assert tree(repo) == before
        await log_all()
        assert len(errors) == len(names)
    assert {name for name in tree(repo) if name.endswith(".dvc")} == {f"{n}.dvc" for n in names}
    assert objects(repo) == {md5("weights"): b"weights"}


async def test_entering_and_leaving_do_not_need_the_lock(repo: Path) -> None:
    before = tree(repo)
    with locked(repo):
        async with AsyncLive(root=repo, lock_timeout=0):
            pass
    assert tree(repo) == before


async def test_a_refusal_needs_no_lock(repo: Path) -> None:
    with locked(repo):
        async with AsyncLive(root=repo, lock_timeout=None) as live:
            with refused(repo, ArtifactNotFoundError):
                await live.log_artifact("missing.pt", copy=True)


async def test_a_call_waits_for_a_hardlink_lock_too(repo: Path) -> None:
    write(repo, {"model.pt": "weights", ".dvc/config": "[core]\n    hardlink_lock = true\n"})
    before = tree(repo)
    with locked(repo, hardlink=True) as gate:
        async with AsyncLive(root=repo, lock_timeout=0.05) as live:
            with refused(repo, LockTimeoutError, objects=False):
                await live.log_artifact("model.pt", type="m")
        async with (
            AsyncLive(root=repo, lock_timeout=None) as live,
            anyio.create_task_group() as task_group,
        ):
            begun = anyio.Event()

            async def log() -> None:
                begun.set()
                await live.log_artifact("model.pt", type="m")

            task_group.start_soon(log)
            await begun.wait()
            gate.open()
    assert tree(repo) == before | LOGGED


@pytest.mark.parametrize("lock_timeout", [-1, -0.001])
def test_a_negative_lock_timeout_is_refused_at_construction(lock_timeout: float) -> None:
    with pytest.raises(ValueError, match="lock_timeout must not be negative"):
        AsyncLive(lock_timeout=lock_timeout)
