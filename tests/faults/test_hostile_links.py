"""Links that lead out of the repository, come to be at the wrong moment, or share a file.

Nothing is written through any of them, and nothing is read that was not planned.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disk import dvc_file, look, objects, refused, tree, write
from invariants import assert_nothing_lost
from twin import dvc

from asynclive import (
    ArtifactChangedError,
    ArtifactPathError,
    AsyncLive,
    AsyncLiveError,
    CommitError,
    DvcYamlError,
)
from asynclive._fs import atomic_rename

pytestmark = pytest.mark.anyio

# What lies where the links lead: would be written to, replaced or read.
THEIRS = {
    "model.pt": "theirs",
    "model.pt.dvc": "theirs",
    "data/a": "theirs",
    "data/sub/b": "theirs",
    ".gitignore": "/theirs\n",
    "dvc.yaml": "theirs: 1\n",
    "artifacts/model.pt": "theirs",
    "artifacts/.gitignore": "/theirs\n",
}
OURS = {"model.pt": "ours", "data/a": "ours", "data/sub/b": "ours too"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the file system is looked at in threads, the same on trio


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory that nobody has written to when the test ends."""
    path = tmp_path / "outside"
    write(path, THEIRS)
    before = look(path, objects=True)
    yield path
    assert look(path, objects=True) == before


# --- Links that are there -------------------------------------------------------------------


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("source", ["model.pt", "data"])
@pytest.mark.parametrize("link", ["dvclive", "dvclive/artifacts", "dvclive/artifacts/a/b"])
async def test_a_parent_of_the_copy_that_leads_out_is_refused(
    repo: Path, outside: Path, link: str, source: str, cache: bool
) -> None:
    write(repo, OURS)
    (repo / link).parent.mkdir(parents=True, exist_ok=True)
    for target in (outside, "../" * (link.count("/") + 1) + "outside", outside / "missing"):
        with contextlib.suppress(FileNotFoundError):
            (repo / link).unlink()
        (repo / link).symlink_to(target)
        async with AsyncLive(root=repo) as live:
            with refused(repo, ArtifactPathError, match="leads out"):
                await live.log_artifact(source, type="m", copy="a/b/c", cache=cache)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("source", ["model.pt", "data"])
async def test_a_link_in_the_place_of_the_copy_or_its_dvc_file_is_replaced(
    repo: Path, outside: Path, source: str, cache: bool
) -> None:
    write(repo, OURS | {"dvclive/artifacts/keep": ""})
    (repo / "dvclive/artifacts" / source).symlink_to(outside / source)
    async with AsyncLive(root=repo) as live:
        await live.log_artifact(source, copy=True, cache=cache)
    copy = repo / "dvclive/artifacts" / source
    assert not copy.is_symlink()
    assert (copy / "a" if copy.is_dir() else copy).read_text() == "ours"
    if cache:
        assert not copy.with_name(f"{source}.dvc").is_symlink()
    assert_nothing_lost(repo)


async def test_a_gitignore_that_leads_out_is_not_written_through(repo: Path, outside: Path) -> None:
    write(repo, OURS | {"dvclive/artifacts/keep": ""})
    for directory in (repo, repo / "dvclive/artifacts"):
        (directory / ".gitignore").symlink_to(outside / ".gitignore")
    async with AsyncLive(root=repo) as live:
        for copy in (False, True):
            with refused(repo, CommitError, match="outside of git repository", objects=False):
                await live.log_artifact("model.pt", copy=copy)


async def test_a_dvc_yaml_that_leads_out_is_not_written_through(repo: Path, outside: Path) -> None:
    write(repo, OURS)
    (repo / "dvc.yaml").symlink_to(outside / "dvc.yaml")
    (repo / "sub").symlink_to(outside)
    for dvcyaml in ("dvc.yaml", "sub/dvc.yaml"):
        async with AsyncLive(root=repo, dvcyaml=dvcyaml) as live:
            with refused(repo, DvcYamlError, match="leads out", objects=False):
                await live.log_artifact("data", type="m", cache=False)


@pytest.mark.parametrize("copy", [False, True])
async def test_loops_and_links_to_nothing_are_refused_by_name(repo: Path, copy: bool) -> None:
    write(repo, {"loop/a": "a", "nothing/a": "a", "pair/a": "a", "chain/a": "a"})
    os.symlink("self", repo / "loop/self")
    os.symlink("gone", repo / "nothing/link")
    os.symlink("two", repo / "pair/one")
    os.symlink("one", repo / "pair/two")
    for number in range(50):  # more than the system follows
        os.symlink(f"l{number + 1}", repo / f"chain/l{number}")
    os.symlink("a", repo / "chain/l50")
    names = {"loop": "self", "nothing": "link", "pair": "one", "chain": "l0"}
    async with AsyncLive(root=repo) as live:
        for directory, name in names.items():
            for path in (directory, f"{directory}/{name}"):
                with refused(repo, ArtifactPathError, match=f"'{repo}/{directory}/"):
                    await live.log_artifact(path, copy=copy)


# --- Links that come to be ------------------------------------------------------------------


class Swap:
    """Puts a link in the place of a directory, just before one of the system's calls."""

    NAMES = ("open", "mkdir", "rename", "replace", "link", "chmod", "utime", "unlink", "truncate")

    def __init__(self, patch: pytest.MonkeyPatch, directory: Path, target: Path, at: int) -> None:
        self.calls = 0
        self.done = False
        self._directory, self._target, self._at = directory, target, at
        for name in self.NAMES:
            patch.setattr(os, name, self._watched(getattr(os, name)))
        if atomic_rename._renameat2 is not None:
            patch.setattr(atomic_rename, "_renameat2", self._watched(atomic_rename._renameat2))
        self._rename, self._symlink = os.rename.__wrapped__, os.symlink  # type: ignore[attr-defined]

    def _watched(self, func: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.calls == self._at:
                self._rename(self._directory, f"{self._directory}.aside")
                self._symlink(self._target, self._directory)
                self.done = True
            self.calls += 1
            return func(*args, **kwargs)

        call.__wrapped__ = func  # type: ignore[attr-defined]
        return call


async def log_while_swapped(
    repo: Path, outside: Path, patch: pytest.MonkeyPatch, source: str, cache: bool, at: int
) -> bool:
    """Log a copy again; whether there was such a moment."""
    write(repo, OURS | {"dvclive/artifacts/deep/keep": ""})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact(source, copy="deep", cache=cache)
        write(repo, {"data/a": "ours, new", "model.pt": "ours, new"})
        with patch.context() as watched:
            swap = Swap(watched, repo / "dvclive/artifacts/deep", outside, at)
            # Either it was done before, in the directory that was there; or it is refused.
            with contextlib.suppress(AsyncLiveError):
                await live.log_artifact(source, copy="deep", cache=cache)
        # Once the link is gone, the session is none the worse for it.
        if swap.done:
            (repo / "dvclive/artifacts/deep").unlink()
            os.rename(repo / "dvclive/artifacts/deep.aside", repo / "dvclive/artifacts/deep")
        await live.log_artifact("data" if source == "model.pt" else "model.pt")
    return swap.done


async def sweep(
    templates: Any, tmp_path: Path, outside: Path, source: str, cache: bool, step: int
) -> int:
    at = 0
    while await log_while_swapped(
        templates.make("git", tmp_path / f"{at}"),
        outside,
        pytest.MonkeyPatch(),
        source,
        cache,
        at,
    ):
        at += step
    return at // step


@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("source", ["model.pt", "data"])
async def test_a_link_swapped_in_for_a_parent_of_the_copy_is_never_followed(
    templates: Any, tmp_path: Path, outside: Path, source: str, cache: bool, step: int
) -> None:
    assert await sweep(templates, tmp_path, outside, source, cache, step) >= 1


@pytest.mark.parametrize("size", [5, 3 * 2**20], ids=["small", "large"])
@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("what", ["data/sub", "data/sub/b"])
async def test_a_link_swapped_in_for_what_is_read_is_noticed(
    repo: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, what: str, copy: bool, size: int
) -> None:
    write(repo, {"data/a": "a" * size, "data/sub/b": "b" * size})
    real_open, swapped = os.open, []

    def swap_first(path: Any, *args: Any, **kwargs: Any) -> int:
        if not swapped and os.fspath(path) == str(repo / "data/sub/b"):
            swapped.append(path)
            os.rename(repo / what, repo / "aside")
            os.symlink(outside / what, repo / what)
        return real_open(path, *args, **kwargs)

    async with AsyncLive(root=repo) as live:
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", swap_first)
            with pytest.raises(ArtifactChangedError, match="data/sub/b"):
                await live.log_artifact("data", copy=copy)
        assert swapped
        assert b"theirs" not in objects(repo).values()
        (repo / what).unlink()
        os.rename(repo / "aside", repo / what)
        await live.log_artifact("data", copy=copy)
    assert_nothing_lost(repo)


# --- Hard links -----------------------------------------------------------------------------


def shared(paths: list[Path]) -> list[tuple[bytes, int, int]]:
    """What must not change of files that are known by other names too."""
    return [(p.read_bytes(), p.stat().st_mode, p.stat().st_mtime_ns) for p in paths]


@pytest.mark.parametrize("kind", ["copy", "hardlink", "symlink", "reflink,copy"])
@pytest.mark.parametrize("cache", [True, False])
async def test_a_copy_in_the_place_of_a_hard_link_leaves_the_other_name_alone(
    repo: Path, kind: str, cache: bool
) -> None:
    dvc(repo, "config", "cache.type", kind)
    write(repo, OURS | {"mine/m": "mine", "mine/a": "mine too", "dvclive/artifacts/data/c": "c"})
    mine = [repo / "mine/m", repo / "mine/a"]
    for path, mode in zip(mine, (0o600, 0o444), strict=True):
        path.chmod(mode)
    os.link(mine[0], repo / "dvclive/artifacts/model.pt")
    os.link(mine[1], repo / "dvclive/artifacts/data/a")
    (repo / "dvclive/artifacts/data").chmod(0o555)
    before = shared(mine)
    async with AsyncLive(root=repo) as live:
        for _ in range(2):
            await live.log_artifact("model.pt", copy=True, cache=cache)
            await live.log_artifact("data", copy=True, cache=cache)
            assert shared(mine) == before
            assert [path.stat().st_nlink for path in mine] == [1, 1]
            write(repo, {"model.pt": "changed", "data/a": "changed"})
    assert (repo / "dvclive/artifacts/model.pt").read_text() == "changed"


@pytest.mark.parametrize("kind", ["copy", "hardlink", "symlink", "reflink,copy"])
async def test_a_file_in_place_that_has_another_name_leaves_that_alone(
    repo: Path, kind: str
) -> None:
    dvc(repo, "config", "cache.type", kind)
    write(repo, {"mine/m": "mine", "mine/x": "mine too", "data/c": "c"})
    mine = [repo / "mine/m", repo / "mine/x"]
    for path, mode in zip(mine, (0o600, 0o755), strict=True):
        path.chmod(mode)
    os.link(mine[0], repo / "model.pt")
    os.link(mine[1], repo / "data/x")
    before = shared(mine)
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model.pt")
        await live.log_artifact("data")
        await live.log_artifact("model.pt")
    after = shared(mine)
    assert [data for data, _, _ in after] == [data for data, _, _ in before]
    assert after[0] == before[0]
    assert_nothing_lost(repo)


async def test_an_object_of_another_version_is_not_written_through_its_links(repo: Path) -> None:
    dvc(repo, "config", "cache.type", "hardlink")
    write(repo, {"model.pt": "one", "data/a": "one, too", "data/b": "b"})
    async with AsyncLive(root=repo) as live:
        for path in ("model.pt", "data"):
            await live.log_artifact(path)
            await live.log_artifact(path, copy=True)
        first = objects(repo)
        # Files of the workspace are objects now; other versions take the place of some of them.
        assert (repo / "model.pt").stat().st_nlink > 1
        for name in ("model.pt", "data/a"):
            (repo / name).unlink()
            write(repo, {name: f"two {name}"})
        for path in ("model.pt", "data"):
            await live.log_artifact(path)
            await live.log_artifact(path, copy=True)
            await live.log_artifact(path, copy=True, cache=False)
    # ``objects`` looks at mode and hash of each.
    assert objects(repo).items() > first.items()
    assert tree(repo)["model.pt.dvc"] == dvc_file("two model.pt", "model.pt")
    assert_nothing_lost(repo)
