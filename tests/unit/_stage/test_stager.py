"""Stager, on real files: which objects it stores, and which temp files it makes and removes."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest
from backends import on_asyncio
from layouts import leftovers, make_store, objects, request_of

from asynclive._artifact.plan import ArtifactPlan
from asynclive._artifact.records import StagedArtifact
from asynclive._cache import hash_cache
from asynclive._cache.hash_cache_file import publish_hashes
from asynclive._cache.object_store import ObjectStore
from asynclive._errors import ArtifactChangedError, StorageError
from asynclive._ingest import copy_and_hash, workspace_files
from asynclive._ingest.copy_and_hash import LargeFile
from asynclive._stage import stage_job
from asynclive._stage import stager as stager_module
from asynclive._stage.stager import Stager
from asynclive._workers import fairness
from asynclive._workers.file_workers import FileWorkers
from asynclive._workspace.apply_placement import apply_placement

pytestmark = pytest.mark.anyio

SMALL = 2**10  # up to here a file is small, in these tests
CHUNK = 300
STEP = 2**10


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a file of some KiB a large file of many chunks and some steps."""
    monkeypatch.setattr(stage_job, "SMALL_BYTES", SMALL)
    monkeypatch.setattr(copy_and_hash, "CHUNK_BYTES", CHUNK)
    monkeypatch.setattr(stage_job, "CHUNKS_AT_ONCE", 1)
    monkeypatch.setattr(copy_and_hash, "STEP_BYTES", STEP)
    monkeypatch.setattr(copy_and_hash, "LEAD_BYTES", 2 * STEP)
    monkeypatch.setattr(copy_and_hash, "DISK_LEAD_BYTES", 2 * STEP)
    monkeypatch.setattr(stage_job, "BATCH_FILES", 8)


def on_each_check(monkeypatch: pytest.MonkeyPatch, func: Callable[[], None]) -> None:
    """Call ``func`` instead of each check for cancellation."""
    monkeypatch.setattr(anyio.from_thread, "check_cancelled", func)


def data_of(size: int, seed: int = 0) -> bytes:
    return bytes((number * 7 + number // 251 + seed) % 256 for number in range(size))


def make_small(path: Path) -> None:
    path.write_bytes(data_of(100))


def make_large(path: Path) -> None:
    path.write_bytes(data_of(10 * STEP + 17))


def make_empty(path: Path) -> None:
    path.touch()


def make_dir(path: Path) -> None:
    """Make large, small, equal and empty files, an executable and an empty directory."""
    for name, size, seed in (
        ("large", 5 * STEP, 0),
        ("sub/large", 4 * STEP + 1, 1),
        ("sub/equal", 5 * STEP, 0),
        ("empty", 0, 0),
        ("sub/deep/empty", 0, 0),
        *((f"sub/deep/{number}", 50, number) for number in range(30)),
    ):
        below = path / name
        below.parent.mkdir(parents=True, exist_ok=True)
        below.write_bytes(data_of(size, seed))
    (path / "large").chmod(0o640)
    (path / "sub/deep/7").chmod(0o755)
    (path / "none").mkdir()
    for number, below in enumerate([*sorted(path.rglob("*"), reverse=True), path]):
        os.utime(below, ns=(10**18 + number, 10**18 + number))


KINDS = {"small": make_small, "large": make_large, "empty": make_empty, "directory": make_dir}
TYPES = [("reflink", "copy"), ("copy",), ("hardlink", "copy"), ("symlink",), ("hardlink",)]
every_kind = pytest.mark.parametrize("kind", KINDS)
every_type = pytest.mark.parametrize("types", TYPES, ids="-".join)
in_both_ways = pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])


def keep_all(root: str, dirs: list[str], files: list[str]) -> tuple[list[str], list[str]]:
    return dirs, files


class Bench:
    """An artifact at ``workspace/data`` and its copy at ``workspace/out/data``."""

    def __init__(self, store: ObjectStore, workers: FileWorkers | None = None) -> None:
        self.store = store
        self.stager = Stager(store, workers or FileWorkers(3))
        self.workspace = Path(store.layout.root)
        self.source = self.workspace / "data"
        (self.workspace / "out").mkdir()

    async def plan(
        self, *, copy: bool = False, cache: bool = True, ignore: Any = keep_all
    ) -> ArtifactPlan:
        request = (
            request_of(self.workspace / "out" / "data", source=self.source, cache=cache)
            if copy
            else request_of(self.source, cache=cache)
        )
        return await self.stager.sources.plan(request, lambda: ignore)

    async def stage(self, **values: Any) -> StagedArtifact:
        return await self.stager.stage(await self.plan(**values))


def files_below(path: Path) -> Iterator[tuple[tuple[str, ...], Path]]:
    if path.is_file():
        yield (), path
    for below in path.rglob("*"):
        if below.is_file():
            yield below.relative_to(path).parts, below


def contents(path: Path) -> dict[tuple[str, ...], bytes]:
    return {key: below.read_bytes() for key, below in files_below(path)}


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def describe(path: Path) -> dict[str, tuple[int, int, bytes | None]]:
    """Return mode, mtime and bytes of every file and directory at and below ``path``."""
    return {
        str(below.relative_to(path)): (
            stat.S_IMODE(below.stat().st_mode),
            below.stat().st_mtime_ns,
            below.read_bytes() if below.is_file() else None,
        )
        for below in [path, *path.rglob("*")]
    }


# --- Objects and workspace files ------------------------------------------------------------


@every_type
@every_kind
@in_both_ways
async def test_the_bytes_of_the_source_are_stored_and_recorded_for_dvc(
    tmp_path: Path, kind: str, types: tuple[str, ...], copy: bool
) -> None:
    bench = Bench(make_store(tmp_path, *types))
    KINDS[kind](bench.source)
    before = contents(bench.source)
    staged = await bench.stage(copy=copy)
    path = Path(staged.request.path)

    assert {file.key: file.md5 for file in staged.files} == {k: md5(d) for k, d in before.items()}
    assert {file.key: file.size for file in staged.files} == {k: len(d) for k, d in before.items()}
    assert {file.key for file in staged.files if file.isexec} == {
        key for key in before if key[-1:] == ("7",)
    }
    assert (staged.nfiles, staged.size) == (len(before), sum(map(len, before.values())))
    assert staged.isdir == (kind == "directory")
    assert objects(bench.store) == {md5(data): data for data in before.values()}
    # Nothing has changed in the workspace yet.
    assert contents(bench.source) == before
    assert not copy or not path.exists()

    assert staged.placement is not None
    apply_placement(staged.placement)
    assert contents(path) == before
    for file in staged.files:
        found = path.joinpath(*file.key).stat()
        assert (file.inode, file.mtime) == (found.st_ino, found.st_mtime)
    await bench.stager.removal.discard(staged)
    assert leftovers(bench.store) == []
    assert contents(path) == before


@every_kind
@pytest.mark.parametrize("cache", [True, False], ids=["cached", "not cached"])
async def test_a_copy_of_a_directory_keeps_modes_and_times(
    tmp_path: Path, kind: str, cache: bool
) -> None:
    bench = Bench(make_store(tmp_path))
    KINDS[kind](bench.source)
    bench.source.chmod(0o750 if kind == "directory" else 0o640)
    if kind == "directory":
        (bench.source / "sub" / "deep").chmod(0o555)
    before = describe(bench.source)
    staged = await bench.stage(copy=True, cache=cache)
    assert staged.placement is not None
    apply_placement(staged.placement)
    after = describe(Path(staged.request.path))
    if kind != "directory" and cache:
        # DVC makes a single file anew: with its own mode, and the current time.
        assert after["."][0] == 0o644
        assert after["."][2] == before["."][2]
    else:
        assert after == before


@every_kind
async def test_an_artifact_without_cache_is_counted_and_not_read(tmp_path: Path, kind: str) -> None:
    bench = Bench(make_store(tmp_path))
    KINDS[kind](bench.source)
    before = contents(bench.source)
    plan = await bench.plan(cache=False)
    for path in [below for _, below in files_below(bench.source)]:
        path.write_bytes(b"")  # would be found if read
    staged = await bench.stager.stage(plan)
    assert (staged.nfiles, staged.size) == (len(before), sum(map(len, before.values())))
    assert (staged.files, objects(bench.store), leftovers(bench.store)) == ((), {}, [])


@in_both_ways
@pytest.mark.parametrize("types", [("reflink", "copy"), ("hardlink",)], ids="-".join)
async def test_a_copy_without_cache_stores_nothing(
    tmp_path: Path, copy: bool, types: tuple[str, ...]
) -> None:
    bench = Bench(make_store(tmp_path, *types))
    make_dir(bench.source)
    staged = await bench.stage(copy=copy, cache=False)
    assert staged.placement is not None
    apply_placement(staged.placement)
    assert objects(bench.store) == {}
    assert staged.files == ()
    assert contents(Path(staged.request.path)) == contents(bench.source)


async def test_ignored_files_are_copied_along_and_not_stored(tmp_path: Path) -> None:
    bench = Bench(make_store(tmp_path))
    make_dir(bench.source)

    def ignore(root: str, dirs: list[str], files: list[str]) -> tuple[list[str], list[str]]:
        return dirs, [name for name in files if name not in ("large", "3")]

    staged = await bench.stage(copy=True, ignore=ignore)
    assert staged.placement is not None
    apply_placement(staged.placement)
    everything = contents(bench.source)
    assert contents(bench.workspace / "out" / "data") == everything
    kept = {key: data for key, data in everything.items() if key[-1] not in ("large", "3")}
    assert {file.key for file in staged.files} == set(kept)
    assert staged.nfiles == len(kept)
    assert objects(bench.store) == {md5(data): data for data in kept.values()}


@on_asyncio
@pytest.mark.parametrize(
    "size", [SMALL, SMALL + 1, 2 * STEP - 1, 2 * STEP, 2 * STEP + 1, 3 * CHUNK * 4, 7777]
)
@pytest.mark.parametrize("step", [1, CHUNK, STEP, 10**6])
@in_both_ways
async def test_files_with_sizes_at_the_edges_of_chunks_and_steps_are_stored_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, step: int, copy: bool
) -> None:
    monkeypatch.setattr(copy_and_hash, "STEP_BYTES", step)
    bench = Bench(make_store(tmp_path))
    bench.source.write_bytes(data_of(size))
    staged = await bench.stage(copy=copy)
    assert objects(bench.store) == {md5(data_of(size)): data_of(size)}
    assert staged.placement is not None
    apply_placement(staged.placement)
    assert Path(staged.request.path).read_bytes() == data_of(size)


@pytest.mark.parametrize("placed", [False, True], ids=["copied again", "copy unchanged"])
async def test_files_that_are_ignored_now_are_copied_along_and_no_longer_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, placed: bool
) -> None:
    monkeypatch.setattr(stager_module, "MIN_CACHED_BYTES", 0)
    monkeypatch.setattr(hash_cache, "_is_settled", lambda planned, read_at_ns: True)
    bench = Bench(make_store(tmp_path))
    make_dir(bench.source)
    staged = await bench.stage(copy=True)
    assert staged.pending_hashes is not None
    assert staged.placement is not None
    if placed:
        apply_placement(staged.placement)
    publish_hashes(staged.pending_hashes, "tree.dir")
    tree = Path(bench.store.object_path("tree.dir"))
    tree.parent.mkdir()
    tree.touch()  # find_unchanged only asks whether it exists
    again = await bench.stage(copy=True)
    assert (again.tree_md5 == "tree.dir") == placed

    def ignore(root: str, dirs: list[str], files: list[str]) -> tuple[list[str], list[str]]:
        return dirs, [name for name in files if name != "large"]

    again = await bench.stage(copy=True, ignore=ignore)
    assert {file.key for file in again.files} == {
        file.key for file in staged.files if file.key[-1] != "large"
    }
    assert again.nfiles == len(again.files)
    assert again.placement is not None
    apply_placement(again.placement)
    assert contents(bench.workspace / "out" / "data") == contents(bench.source)


async def test_existing_objects_are_left_alone(tmp_path: Path) -> None:
    bench = Bench(make_store(tmp_path))
    make_dir(bench.source)
    await bench.stage()
    before = {md5: os.stat(bench.store.object_path(md5)) for md5 in objects(bench.store)}
    await bench.stage()
    for md5_, found in before.items():
        assert os.stat(bench.store.object_path(md5_)).st_ino == found.st_ino


async def test_many_equal_artifacts_at_once_become_one_object(tmp_path: Path) -> None:
    store = make_store(tmp_path, "hardlink", "copy")
    bench = Bench(store)
    paths = [bench.workspace / f"{number}" for number in range(20)]
    for path in paths:
        make_large(path)

    async def stage(path: Path) -> None:
        plan = await bench.stager.sources.plan(request_of(path), lambda: keep_all)
        staged = await bench.stager.stage(plan)
        assert staged.placement is not None
        apply_placement(staged.placement)
        await bench.stager.removal.discard(staged)

    async with anyio.create_task_group() as task_group:
        for path in paths:
            task_group.start_soon(stage, path)
    ((md5_, data),) = objects(store).items()
    assert md5(data) == md5_
    assert {path.stat().st_ino for path in paths} == {os.stat(store.object_path(md5_)).st_ino}
    assert leftovers(store) == []


@pytest.mark.parametrize("types", [("hardlink", "copy"), ("symlink", "copy"), ("copy",)])
async def test_a_single_file_in_place_becomes_what_cache_type_says(
    tmp_path: Path, types: tuple[str, ...]
) -> None:
    bench = Bench(make_store(tmp_path, *types))
    make_small(bench.source)
    bench.source.chmod(0o755)
    staged = await bench.stage()
    assert staged.placement is not None
    apply_placement(staged.placement)
    obj = bench.store.object_path(staged.files[0].md5)
    assert bench.source.is_symlink() == (types[0] == "symlink")
    assert os.path.samefile(bench.source, obj) == (types[0] != "copy")
    # As DVC does, u+x is set through links.
    assert stat.S_IMODE(bench.source.stat().st_mode) == (0o744 if types[0] == "copy" else 0o544)


@pytest.mark.parametrize("make", [make_small, make_large])
async def test_a_link_in_place_becomes_a_copy_of_its_target(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    bench = Bench(make_store(tmp_path))
    real = bench.workspace / "real"
    make(real)
    bench.source.symlink_to(real)
    staged = await bench.stage()
    assert staged.placement is not None
    apply_placement(staged.placement)
    assert not bench.source.is_symlink()
    assert bench.source.read_bytes() == real.read_bytes()
    await bench.stager.removal.discard(staged)
    assert leftovers(bench.store) == []


# --- Sources that change while they are read ------------------------------------------------


def rewrite(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(1, 1))


def replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(path.read_bytes())
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    new.rename(path)


def resize(path: Path, data: bytes) -> None:
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(data)
    os.utime(path, ns=times)


def grow(path: Path) -> None:
    resize(path, path.read_bytes() + b"!")


def shrink(path: Path) -> None:
    resize(path, path.read_bytes()[:-1])


def turn_into_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def turn_into_dir(path: Path) -> None:
    path.unlink()
    path.mkdir()


def turn_into_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


CHANGES = [
    rewrite,
    replace,
    grow,
    shrink,
    Path.unlink,
    turn_into_pipe,
    turn_into_dir,
    turn_into_dangling_link,
]


@pytest.mark.parametrize("small_runs", [False, True])
@in_both_ways
async def test_a_step_of_a_large_file_ends_early_while_a_small_artifact_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_runs: bool, copy: bool
) -> None:
    monkeypatch.setattr(fairness, "MAX_YIELD_SECONDS", 0)
    monkeypatch.setattr(stage_job, "BATCH_BYTES", STEP)
    longest: dict[str, int] = {}

    def measure(step: str, done: str) -> None:
        real = getattr(LargeFile, step)

        def measured(large: LargeFile, *args: Any) -> Any:
            before = getattr(large, done)
            result = real(large, *args)
            longest[done] = max(longest.get(done, 0), getattr(large, done) - before)
            return result

        monkeypatch.setattr(LargeFile, step, measured)

    measure("_copy_step", "_copied_bytes")
    measure("_hash_step", "_hashed_bytes")
    workers = FileWorkers(3)
    bench = Bench(make_store(tmp_path), workers)
    make_large(bench.source)
    with workers.small_first.small_running() if small_runs else nullcontext():
        await bench.stage(copy=copy)
    assert longest["_copied_bytes"] == (CHUNK if small_runs else STEP)
    assert longest["_hashed_bytes"] == CHUNK or not small_runs
    assert [*objects(bench.store)] == [md5(bench.source.read_bytes())]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["small", "large"])
@in_both_ways
async def test_a_file_that_changed_since_it_was_planned_is_refused(
    tmp_path: Path, kind: str, change: Callable[[Path], None], copy: bool
) -> None:
    bench = Bench(make_store(tmp_path))
    bench.source.mkdir()
    KINDS[kind](bench.source / "file")
    make_small(bench.source / "other")
    plan = await bench.plan(copy=copy)
    change(bench.source / "file")
    with pytest.raises(ArtifactChangedError, match="while it was being logged") as caught:
        await bench.stager.stage(plan)
    assert caught.value.path == str(bench.source / "file")
    assert leftovers(bench.store) == []


@pytest.mark.parametrize("change", [rewrite, grow, shrink])
@pytest.mark.parametrize("cache", [True, False], ids=["cached", "not cached"])
@in_both_ways
async def test_a_large_file_that_changes_while_it_is_read_is_refused_and_not_stored(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    copy: bool,
    cache: bool,
) -> None:
    if not (copy or cache):
        return
    bench = Bench(make_store(tmp_path))
    make_large(bench.source)
    plan = await bench.plan(copy=copy, cache=cache)
    checks = 0

    def change_in_the_middle() -> None:
        nonlocal checks
        checks += 1
        if checks == 12:
            change(bench.source)

    on_each_check(monkeypatch, change_in_the_middle)
    with pytest.raises(ArtifactChangedError):
        await bench.stager.stage(plan)
    assert checks >= 12
    assert objects(bench.store) == {}
    assert leftovers(bench.store) == []


@pytest.mark.parametrize("change", [rewrite, grow, shrink])
@in_both_ways
async def test_a_small_file_that_changes_while_it_is_read_is_refused_and_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], copy: bool
) -> None:
    bench = Bench(make_store(tmp_path))
    make_small(bench.source)
    plan = await bench.plan(copy=copy)
    read = os.read
    changed = False

    def read_and_change(fd: int, count: int) -> bytes:
        nonlocal changed
        data = read(fd, count)
        if not changed and len(data) == 100:
            changed = True
            change(bench.source)
        return data

    monkeypatch.setattr(os, "read", read_and_change)
    with pytest.raises(ArtifactChangedError):
        await bench.stager.stage(plan)
    assert changed
    assert objects(bench.store) == {}
    assert leftovers(bench.store) == []


async def test_a_large_file_replaced_while_it_is_read_is_stored_as_it_was_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Programs that save write to a temp file and rename it: the bytes read are of one version.
    bench = Bench(make_store(tmp_path, "hardlink", "copy"))
    bench.source.mkdir()
    make_large(bench.source / "file")
    old = (bench.source / "file").read_bytes()
    plan = await bench.plan(copy=True)
    checks = 0

    def replace_in_the_middle() -> None:
        nonlocal checks
        checks += 1
        if checks == 12:
            make_small(bench.source / "new")
            (bench.source / "new").rename(bench.source / "file")

    on_each_check(monkeypatch, replace_in_the_middle)
    staged = await bench.stager.stage(plan)
    assert objects(bench.store) == {md5(old): old}
    assert staged.files[0].md5 == md5(old)


@pytest.mark.parametrize("kind", ["small", "large"])
async def test_a_file_replaced_before_its_link_could_take_its_place_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    bench = Bench(make_store(tmp_path, "symlink"))
    KINDS[kind](bench.source)
    plan = await bench.plan()
    link_type = workspace_files.link_type

    def replace_first(*args: Any, **kwargs: Any) -> str | None:
        replace(bench.source)
        return link_type(*args, **kwargs)

    monkeypatch.setattr(workspace_files, "link_type", replace_first)
    with pytest.raises(ArtifactChangedError):
        await bench.stager.stage(plan)
    assert not bench.source.is_symlink()


# --- Errors and cancellation ----------------------------------------------------------------


@pytest.mark.usefixtures("unprivileged")
@pytest.mark.parametrize("kind", ["small", "large"])
@in_both_ways
async def test_a_file_without_read_permission_is_a_storage_error(
    tmp_path: Path, kind: str, copy: bool
) -> None:
    bench = Bench(make_store(tmp_path))
    KINDS[kind](bench.source)
    bench.source.chmod(0)
    with pytest.raises(StorageError, match="Permission denied") as caught:
        await bench.stage(copy=copy)
    assert caught.value.errno == errno.EACCES
    assert caught.value.path == str(bench.source)
    assert leftovers(bench.store) == []


@pytest.mark.parametrize("kind", ["small", "large", "directory"])
@in_both_ways
async def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, copy: bool
) -> None:
    bench = Bench(make_store(tmp_path))
    KINDS[kind](bench.source)
    plan = await bench.plan(copy=copy)
    write, copy_range = os.write, getattr(os, "copy_file_range", None)
    written = 0

    def count(size: int) -> None:
        nonlocal written
        written += size
        if written > 60:
            raise OSError(errno.ENOSPC, "No space left on device")

    def write_until_full(fd: int, data: bytes) -> int:
        count(len(data))
        return write(fd, data)

    def copy_until_full(source: int, target: int, size: int, *offsets: int) -> int:
        count(size)
        assert copy_range is not None
        return copy_range(source, target, size, *offsets)

    monkeypatch.setattr(os, "write", write_until_full)
    if copy_range is not None:
        monkeypatch.setattr(os, "copy_file_range", copy_until_full)
    with pytest.raises(StorageError, match="No space left") as caught:
        await bench.stager.stage(plan)
    assert caught.value.errno == errno.ENOSPC
    assert leftovers(bench.store) == []


@pytest.mark.parametrize("types", [("reflink", "copy"), ("symlink",), ("hardlink",)], ids="-".join)
@pytest.mark.parametrize(
    ("kind", "copy"),
    [
        *((kind, copy) for kind in ("small", "large", "empty") for copy in (False, True)),
        ("directory", True),
    ],
)
async def test_a_stage_cancelled_anywhere_leaves_nothing_but_objects(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    types: tuple[str, ...],
    copy: bool,
) -> None:
    await cancel_anywhere(tmp_path, monkeypatch, kind, types, copy)


@pytest.mark.parametrize(
    "types",
    [("reflink", "copy"), ("symlink",), ("hardlink",)],
    ids="-".join,
)
async def test_a_stage_of_a_directory_in_place_cancelled_anywhere_leaves_nothing_but_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, types: tuple[str, ...]
) -> None:
    await cancel_anywhere(tmp_path, monkeypatch, "directory", types, copy=False)


async def cancel_anywhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    types: tuple[str, ...],
    copy: bool,
) -> None:
    bench = Bench(make_store(tmp_path, *types), FileWorkers(2))
    KINDS[kind](bench.source)
    before = describe(bench.source)
    plan = await bench.plan(copy=copy)
    real_check = anyio.from_thread.check_cancelled
    cancel_at = checks = 0

    lock = threading.Lock()  # a large file is copied in one thread and hashed in another

    def cancel_when_due() -> None:
        nonlocal checks
        with lock:
            checks += 1
            is_time = checks == cancel_at
        if is_time:
            anyio.from_thread.run_sync(scope.cancel)
        real_check()

    on_each_check(monkeypatch, cancel_when_due)
    while True:
        cancel_at, checks = cancel_at + 1, 0
        with anyio.CancelScope() as scope:
            staged = await bench.stager.stage(plan)
            if not scope.cancel_called:
                break
            await bench.stager.removal.discard(staged)  # cancelled too late to be noticed
        assert leftovers(bench.store) == []
        assert describe(bench.source) == before
        for md5_, data in objects(bench.store).items():
            assert md5(data) == md5_
    assert cancel_at > 1
    await bench.stager.removal.discard(staged)
    assert leftovers(bench.store) == []


async def test_one_file_that_fails_leaves_nothing_of_the_others(tmp_path: Path) -> None:
    bench = Bench(make_store(tmp_path))
    make_dir(bench.source)
    plan = await bench.plan(copy=True)
    (bench.source / "sub" / "large").write_bytes(b"changed")
    with pytest.raises(ArtifactChangedError):
        await bench.stager.stage(plan)
    assert leftovers(bench.store) == []


@pytest.mark.parametrize("types", [("symlink",), ("hardlink", "copy"), ("copy",)], ids="-".join)
async def test_one_file_in_place_that_fails_leaves_nothing_of_the_others(
    tmp_path: Path, types: tuple[str, ...]
) -> None:
    bench = Bench(make_store(tmp_path, *types), FileWorkers(1))
    make_large(bench.workspace / "real")
    bench.source.mkdir()
    (bench.source / "link").symlink_to(bench.workspace / "real")  # large files go first
    make_small(bench.source / "other")
    plan = await bench.plan()
    (bench.source / "other").write_bytes(b"changed")
    with pytest.raises(ArtifactChangedError):
        await bench.stager.stage(plan)
    assert leftovers(bench.store) == []


@in_both_ways
async def test_a_staged_artifact_can_be_pickled(tmp_path: Path, copy: bool) -> None:
    bench = Bench(make_store(tmp_path, "symlink"))
    make_dir(bench.source)
    staged = await bench.stage(copy=copy)
    assert pickle.loads(pickle.dumps(staged)) == staged


async def test_an_os_error_of_the_look_up_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "out/data")

    monkeypatch.setattr(stager_module, "MIN_CACHED_BYTES", 0)
    monkeypatch.setattr(stager_module, "find_unchanged", refused)
    bench = Bench(make_store(tmp_path))
    make_small(bench.source)
    with pytest.raises(StorageError, match="Permission denied"):
        await bench.stage()


async def test_discarding_a_staged_artifact_leaves_nothing(tmp_path: Path) -> None:
    for number, types in enumerate(TYPES):
        bench = Bench(make_store(tmp_path / str(number), *types))
        make_dir(bench.source)
        before = describe(bench.source)
        for copy in (False, True):
            await bench.stager.removal.discard(await bench.stage(copy=copy))
        assert leftovers(bench.store) == []
        assert describe(bench.source) == before


@pytest.mark.parametrize("exists", [False, True], ids=["new", "replaced"])
async def test_a_write_protected_directory_is_copied_and_can_be_discarded(
    tmp_path: Path, exists: bool
) -> None:
    bench = Bench(make_store(tmp_path))
    make_dir(bench.source)
    destination = bench.workspace / "out" / "data"
    if exists:
        make_dir(destination)
    protected = [bench.source, bench.source / "sub", bench.source / "sub" / "deep"]
    for path in protected:
        path.chmod(0o555)
    before = describe(bench.source)
    try:
        await bench.stager.removal.discard(await bench.stage(copy=True))
        assert leftovers(bench.store) == []
        staged = await bench.stage(copy=True)
        assert staged.placement is not None
        apply_placement(staged.placement)
        assert describe(destination) == before
        await bench.stager.removal.discard(staged)
        assert leftovers(bench.store) == []
    finally:
        for path in protected:  # or pytest could not remove them
            path.chmod(0o755)
