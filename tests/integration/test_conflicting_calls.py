"""Refuse the second of two calls in flight for one thing: their callers declared no order.

DVC's lock, held by another process, keeps the first call in flight.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from backends import on_asyncio
from differences import differs_from_dvclive
from disk import dvc_file, refused, tree, write
from gate import locked
from twin import Templates

from asynclive import ArtifactConflictError, ArtifactNotFoundError, AsyncLive, LoggedArtifact

pytestmark = [
    pytest.mark.anyio,
    on_asyncio,
    pytest.mark.usefixtures("nothing_left_behind"),
    differs_from_dvclive("lets one call overwrite the other silently"),
]

FILES = {
    "a/model.pt": "one",
    "b/model.pt": "two",
    "other.pt": "other",
    "data/x": "x",
    "data/sub/y": "y",
    "data_v2": "longer",
    "dvclive/artifacts/kept/z": "z",
}

Call = tuple[str, dict[str, Any]]

# One of each kind. tests/unit/_calls/test_conflicts.py compares all of them with a model.
CONFLICTS: dict[str, tuple[Call, Call]] = {
    "one path, written in two ways": (("other.pt", {}), ("data/../other.pt", {})),
    "one destination, not cached": (
        ("a/model.pt", {"copy": "sub/dir", "cache": False}),
        ("b/model.pt", {"copy": "./sub//dir", "cache": False}),
    ),
    "a path deep in the other": (("data", {}), ("data/sub/y", {})),
    "a path around the other": (("data/sub/y", {}), ("data", {})),
    "a destination in the other": (("data", {"copy": True}), ("other.pt", {"copy": "data/sub"})),
    "a path around the other's destination": (
        ("data", {"copy": "kept"}),
        ("dvclive/artifacts/kept", {}),
    ),
    "one name, not cached": (
        ("a/model.pt", {"name": "m", "cache": False}),
        ("other.pt", {"name": "m", "cache": False}),
    ),
    "one name by default, made valid": (
        ("data_v2", {"type": "m"}),
        ("other.pt", {"name": "data_v2"}),
    ),
}

TOGETHER: dict[str, tuple[Call, Call]] = {
    "paths that begin alike": (("data", {}), ("data_v2", {})),
    "siblings": (("data/x", {}), ("data/sub/y", {})),
    "one source and its copy": (("a/model.pt", {}), ("a/model.pt", {"copy": True})),
    "one source, two copies": (("data", {"copy": "one"}), ("data", {"copy": "two"})),
    "one default name, not annotated": (("a/model.pt", {}), ("b/model.pt", {})),
    "one default name, one annotated": (("a/model.pt", {"type": "m"}), ("b/model.pt", {})),
}


class InFlight:
    """A started call and its result."""

    def __init__(self, live: AsyncLive, call: Call) -> None:
        self._live, self._call = live, call
        self.started = anyio.Event()
        self.logged: LoggedArtifact | None = None

    async def __call__(self) -> None:
        path, values = self._call
        # Setting an event does not switch tasks, so the call below begins first.
        self.started.set()
        self.logged = await self._live.log_artifact(path, **values)


@pytest.mark.parametrize("case", CONFLICTS)
async def test_the_second_call_is_refused_and_names_the_first(
    repo: Path, templates: Templates, case: str
) -> None:
    (first_path, first_values), (path, values) = CONFLICTS[case]
    write(repo, FILES)
    with locked(repo) as gate:
        async with AsyncLive(root=repo) as live, anyio.create_task_group() as task_group:
            first = InFlight(live, (first_path, first_values))
            task_group.start_soon(first)
            await first.started.wait()
            before = tree(repo)
            with pytest.raises(ArtifactConflictError) as caught:
                live.log_artifact(path, **values).send(None)  # at once, before any I/O
            assert caught.value.path == str((repo / path).resolve())
            assert caught.value.other == str(repo / first_path)
            assert str(repo / first_path) in str(caught.value)
            assert tree(repo) == before
            gate.open()
        # The first call is not disturbed, and the second has left no file.
        assert first.logged is not None
    fresh = templates.make("git", repo.parent / "alone")
    assert tree(repo) == await only(fresh, (first_path, first_values))


async def only(repo: Path, call: Call) -> dict[str, str]:
    """Return the files of a fresh repository after this call alone."""
    write(repo, FILES)
    async with AsyncLive(root=repo) as live:
        await live.log_artifact(call[0], **call[1])
    return tree(repo)


@pytest.mark.parametrize("case", [case for case in CONFLICTS if "around" not in case])
async def test_calls_one_after_the_other_are_both_logged(repo: Path, case: str) -> None:
    write(repo, FILES)
    async with AsyncLive(root=repo) as live:
        for path, values in CONFLICTS[case]:
            logged = await live.log_artifact(path, **values)
            assert logged.path.exists()


@pytest.mark.parametrize("case", TOGETHER)
async def test_calls_that_share_nothing_are_logged_together(repo: Path, case: str) -> None:
    write(repo, FILES)
    with locked(repo) as gate:
        async with AsyncLive(root=repo) as live, anyio.create_task_group() as task_group:
            calls = [InFlight(live, call) for call in TOGETHER[case]]
            for call in calls:
                task_group.start_soon(call)
                await call.started.wait()
            gate.open()
    after = tree(repo)
    for call in calls:
        assert call.logged is not None
        assert call.logged.dvc_file is not None
        assert call.logged.dvc_file.relative_to(repo).as_posix() in after


async def test_a_claim_ends_with_its_call_after_any_outcome(repo: Path) -> None:
    write(repo, FILES)
    before = tree(repo)
    async with AsyncLive(root=repo) as live:
        for _ in range(2):
            with refused(repo, ArtifactNotFoundError):
                await live.log_artifact("late.pt", name="m", copy=True)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await live.log_artifact("other.pt", name="m")
        assert tree(repo) == before
        write(repo, {"late.pt": "late"})
        await live.log_artifact("late.pt", name="m", copy=True)
        await live.log_artifact("other.pt", name="m")
    assert tree(repo) == before | {
        "late.pt": "late",
        "dvclive/artifacts/late.pt": "late",
        "dvclive/artifacts/late.pt.dvc": dvc_file("late", "late.pt"),
        "dvclive/artifacts/.gitignore": "/late.pt\n",
        "other.pt.dvc": dvc_file("other", "other.pt"),
        ".gitignore": "/other.pt\n",
        "dvc.yaml": "artifacts:\n  m:\n    path: other.pt\n",
    }


async def test_a_gather_logs_all_but_the_conflicting_call(repo: Path) -> None:
    write(repo, FILES)
    before = tree(repo)
    logged: list[str] = []
    refusals: list[ArtifactConflictError] = []

    async with AsyncLive(root=repo) as live:

        async def log(path: str) -> None:
            try:
                await live.log_artifact(path, copy=True)
                logged.append(path)
            except ArtifactConflictError as error:
                refusals.append(error)

        async with anyio.create_task_group() as task_group:
            for path in ("a/model.pt", "b/model.pt", "other.pt", "data_v2"):
                task_group.start_soon(log, path)
    (refusal,) = refusals
    # Trio starts tasks in any order: the second call names the first.
    assert {refusal.path, refusal.other} == {str(repo / "a/model.pt"), str(repo / "b/model.pt")}
    assert sorted(logged) == sorted(
        [Path(refusal.other).relative_to(repo).as_posix(), "data_v2", "other.pt"]
    )
    text = Path(refusal.other).read_text()
    after = tree(repo)
    ignored = after.pop("dvclive/artifacts/.gitignore")
    assert sorted(ignored.splitlines()) == ["/data_v2", "/model.pt", "/other.pt"]
    copies = {"model.pt": text, "other.pt": "other", "data_v2": "longer"}
    assert after == before | {
        f"dvclive/artifacts/{name}": text for name, text in copies.items()
    } | {f"dvclive/artifacts/{name}.dvc": dvc_file(text, name) for name, text in copies.items()}
