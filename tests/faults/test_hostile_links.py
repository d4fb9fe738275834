"""Links that lead out of the repository, appear at the wrong moment, or share a file.

asynclive writes through none of them, and reads only files that it has planned to read.
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
    DvcYamlError,
)
from asynclive._fs import atomic_rename

pytestmark = pytest.mark.anyio

# The files at the targets of the links. No test may write, replace or read them.
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
    return "asyncio"  # file system calls run in threads, which are the same on trio


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory outside the repository, which must be unchanged when the test ends."""
    path = tmp_path / "outside"
    write(path, THEIRS)
    before = look(path, objects=True)
    yield path
    assert look(path, objects=True) == before


# --- Links that exist before the call ------------------------------------------------------


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("source", ["model.pt", "data"])
@pytest.mark.parametrize("link", ["dvclive", "dvclive/artifacts", "dvclive/artifacts/a/b"])
async def test_a_copy_is_refused_if_a_parent_of_it_is_a_link_out_of_the_repository(
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
async def test_a_copy_replaces_a_link_at_its_path_and_at_its_dvc_file(
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


async def test_a_gitignore_outside_the_repository_is_not_written(repo: Path, outside: Path) -> None:
    write(repo, OURS | {"dvclive/artifacts/keep": ""})
    for directory in (repo, repo / "dvclive/artifacts"):
        (directory / ".gitignore").symlink_to(outside / ".gitignore")
    async with AsyncLive(root=repo) as live:
        for copy in (False, True):
            with refused(
                repo, ArtifactPathError, match="leads out of the repository", objects=False
            ):
                await live.log_artifact("model.pt", copy=copy)


async def test_a_dvc_yaml_outside_the_repository_is_not_written(repo: Path, outside: Path) -> None:
    write(repo, OURS)
    (repo / "dvc.yaml").symlink_to(outside / "dvc.yaml")
    (repo / "sub").symlink_to(outside)
    for dvcyaml in ("dvc.yaml", "sub/dvc.yaml"):
        async with AsyncLive(root=repo, dvcyaml=dvcyaml) as live:
            with refused(repo, DvcYamlError, match="leads out", objects=False):
                await live.log_artifact("data", type="m", cache=False)


@pytest.mark.parametrize("copy", [False, True])
async def test_cyclic_and_dangling_links_are_refused_by_name(repo: Path, copy: bool) -> None:
    write(repo, {"loop/a": "a", "nothing/a": "a", "pair/a": "a", "chain/a": "a"})
    os.symlink("self", repo / "loop/self")
    os.symlink("gone", repo / "nothing/link")
    os.symlink("two", repo / "pair/one")
    os.symlink("one", repo / "pair/two")
    for number in range(50):  # more links than the system follows
        os.symlink(f"l{number + 1}", repo / f"chain/l{number}")
    os.symlink("a", repo / "chain/l50")
    names = {"loop": "self", "nothing": "link", "pair": "one", "chain": "l0"}
    async with AsyncLive(root=repo) as live:
        for directory, name in names.items():
            for path in (directory, f"{directory}/{name}"):
                with refused(repo, ArtifactPathError, match=f"'{repo}/{directory}/"):
                    await live.log_artifact(path, copy=copy)


# --- Links that appear during the call -----------------------------------------------------


class Swap:
    """Replaces a directory by a link, just before a system call."""

    NAMES = ("open", "mkdir", "rename", "replace", "link", "chmod", "utime", "unlink", "truncate")

    def __init__(
        self, patch: pytest.MonkeyPatch, directory: Path, target: Path, at_call: int
    ) -> None:
        self.calls = 0
        self.is_done = False
        self._directory, self._target, self._at = directory, target, at_call
        for name in self.NAMES:
            patch.setattr(os, name, self._watched(getattr(os, name)))
        if atomic_rename._renameat2 is not None:
            patch.setattr(atomic_rename, "_renameat2", self._watched(atomic_rename._renameat2))
        self._rename, self._symlink = os.rename.__wrapped__, os.symlink  # type: ignore[attr-defined]

    def _watched(self, func: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.calls == self._at:
                self._rename(self._directory, f"{self._directory}.moved")
                self._symlink(self._target, self._directory)
                self.is_done = True
            self.calls += 1
            return func(*args, **kwargs)

        call.__wrapped__ = func  # type: ignore[attr-defined]
        return call


async def log_while_swapped(
    repo: Path, outside: Path, patch: pytest.MonkeyPatch, source: str, cache: bool, at_call: int
) -> bool:
    """Log a copy twice, with the swap in the second call; return whether the swap was made."""
    write(repo, OURS | {"dvclive/artifacts/deep/keep": ""})
    async with AsyncLive(root=repo) as live:
        await live.log_artifact(source, copy="deep", cache=cache)
        write(repo, {"data/a": "ours, new", "model.pt": "ours, new"})
        with patch.context() as watched:
            swap = Swap(watched, repo / "dvclive/artifacts/deep", outside, at_call)
            # The call either wrote to the old directory before the swap, or is refused.
            with contextlib.suppress(AsyncLiveError):
                await live.log_artifact(source, copy="deep", cache=cache)
        # When the link is gone, the session can log again.
        if swap.is_done:
            (repo / "dvclive/artifacts/deep").unlink()
            os.rename(repo / "dvclive/artifacts/deep.moved", repo / "dvclive/artifacts/deep")
        await live.log_artifact("data" if source == "model.pt" else "model.pt")
    return swap.is_done


async def sweep(
    templates: Any, tmp_path: Path, outside: Path, source: str, cache: bool, step: int
) -> int:
    at_call = 0
    while await log_while_swapped(
        templates.make("git", tmp_path / f"{at_call}"),
        outside,
        pytest.MonkeyPatch(),
        source,
        cache,
        at_call,
    ):
        at_call += step
    return at_call // step


@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("source", ["model.pt", "data"])
async def test_a_link_that_replaces_a_parent_of_the_copy_is_never_followed(
    templates: Any, tmp_path: Path, outside: Path, source: str, cache: bool, step: int
) -> None:
    assert await sweep(templates, tmp_path, outside, source, cache, step) >= 1


@pytest.mark.parametrize("size", [5, 3 * 2**20], ids=["small", "large"])
@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("replaced", ["data/sub", "data/sub/b"])
async def test_a_link_that_replaces_a_source_file_is_noticed(
    repo: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, replaced: str, copy: bool, size: int
) -> None:
    write(repo, {"data/a": "a" * size, "data/sub/b": "b" * size})
    real_open, swapped = os.open, []

    def swap_first(path: Any, *args: Any, **kwargs: Any) -> int:
        if not swapped and os.fspath(path) == str(repo / "data/sub/b"):
            swapped.append(path)
            os.rename(repo / replaced, repo / "moved")
            os.symlink(outside / replaced, repo / replaced)
        return real_open(path, *args, **kwargs)

    async with AsyncLive(root=repo) as live:
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", swap_first)
            with pytest.raises(ArtifactChangedError, match="data/sub/b"):
                await live.log_artifact("data", copy=copy)
        assert swapped
        assert b"theirs" not in objects(repo).values()
        (repo / replaced).unlink()
        os.rename(repo / "moved", repo / replaced)
        await live.log_artifact("data", copy=copy)
    assert_nothing_lost(repo)


# --- Hard links -----------------------------------------------------------------------------


def file_states(paths: list[Path]) -> list[tuple[bytes, int, int]]:
    """Return the bytes, mode and mtime of files that have other names; these must not change."""
    return [(p.read_bytes(), p.stat().st_mode, p.stat().st_mtime_ns) for p in paths]


@pytest.mark.parametrize("kind", ["copy", "hardlink", "symlink", "reflink,copy"])
@pytest.mark.parametrize("cache", [True, False])
async def test_a_copy_that_replaces_a_hard_link_does_not_change_the_other_name(
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
    before = file_states(mine)
    async with AsyncLive(root=repo) as live:
        for _ in range(2):
            await live.log_artifact("model.pt", copy=True, cache=cache)
            await live.log_artifact("data", copy=True, cache=cache)
            assert file_states(mine) == before
            assert [path.stat().st_nlink for path in mine] == [1, 1]
            write(repo, {"model.pt": "changed", "data/a": "changed"})
    assert (repo / "dvclive/artifacts/model.pt").read_text() == "changed"


@pytest.mark.parametrize("kind", ["copy", "hardlink", "symlink", "reflink,copy"])
async def test_logging_a_hard_linked_file_in_place_does_not_change_the_other_name(
    repo: Path, kind: str
) -> None:
    dvc(repo, "config", "cache.type", kind)
    write(repo, {"mine/m": "mine", "mine/x": "mine too", "data/c": "c"})
    mine = [repo / "mine/m", repo / "mine/x"]
    for path, mode in zip(mine, (0o600, 0o755), strict=True):
        path.chmod(mode)
    os.link(mine[0], repo / "model.pt")
    os.link(mine[1], repo / "data/x")
    before = file_states(mine)
    async with AsyncLive(root=repo) as live:
        await live.log_artifact("model.pt")
        await live.log_artifact("data")
        await live.log_artifact("model.pt")
    after = file_states(mine)
    assert [data for data, _, _ in after] == [data for data, _, _ in before]
    assert after[0] == before[0]
    assert_nothing_lost(repo)


async def test_a_new_version_does_not_change_the_object_of_the_old_one(repo: Path) -> None:
    dvc(repo, "config", "cache.type", "hardlink")
    write(repo, {"model.pt": "one", "data/a": "one, too", "data/b": "b"})
    async with AsyncLive(root=repo) as live:
        for path in ("model.pt", "data"):
            await live.log_artifact(path)
            await live.log_artifact(path, copy=True)
        first = objects(repo)
        # Files of the workspace are now hard links to objects. New versions replace some files.
        assert (repo / "model.pt").stat().st_nlink > 1
        for name in ("model.pt", "data/a"):
            (repo / name).unlink()
            write(repo, {name: f"two {name}"})
        for path in ("model.pt", "data"):
            await live.log_artifact(path)
            await live.log_artifact(path, copy=True)
            await live.log_artifact(path, copy=True, cache=False)
    # ``objects`` checks the mode and hash of each object.
    assert objects(repo).items() > first.items()
    assert tree(repo)["model.pt.dvc"] == dvc_file("two model.pt", "model.pt")
    assert_nothing_lost(repo)
