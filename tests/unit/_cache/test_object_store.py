"""ObjectStore: bytes are stored under their hash, atomically, by any number of threads."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from layouts import leftovers, make_layout, make_store, objects

from asynclive._cache import object_store
from asynclive._cache.object_store import ObjectStore
from asynclive._fs import file_io
from asynclive._fs.file_io import create, write_all

DATA = b"some bytes"
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return make_store(tmp_path)


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def publish(store: ObjectStore, data: bytes = DATA, md5: str = MD5) -> bool:
    """Publish through a temp file, as for a large file."""
    temp = store.temp_path()
    fd = create(temp)
    write_all(fd, data)
    os.close(fd)
    return store.publish(temp, md5, len(data))


def put(store: ObjectStore, data: bytes = DATA, md5: str = MD5) -> bool:
    return store.put(data, md5)


in_both_ways = pytest.mark.parametrize("into", [put, publish])
Into = Callable[..., bool]


@in_both_ways
def test_bytes_are_stored_at_the_path_where_dvc_looks_for_their_hash(
    store: ObjectStore, into: Into
) -> None:
    assert not store.has(MD5, len(DATA))
    assert into(store) is True
    path = store.object_path(MD5)
    assert path == f"{store.layout.cache_dir}/{MD5[:2]}/{MD5[2:]}"
    assert objects(store) == {MD5: DATA}
    assert store.has(MD5, len(DATA))
    assert leftovers(store) == []


@in_both_ways
@pytest.mark.parametrize("shared", [False, True], ids=["private", "cache.shared group"])
def test_objects_are_write_protected_and_directories_as_configured(
    tmp_path: Path, into: Into, shared: bool
) -> None:
    store = make_store(tmp_path, shared=shared)
    umask = os.umask(0o077)
    try:
        into(store)
    finally:
        os.umask(umask)
    path = store.object_path(MD5)
    assert mode(path) == 0o444
    assert mode(os.path.dirname(path)) == (0o2775 if shared else 0o755)


@in_both_ways
def test_an_existing_object_stays(store: ObjectStore, into: Into) -> None:
    into(store)
    before = os.stat(store.object_path(MD5))
    assert into(store) is False
    after = os.stat(store.object_path(MD5))
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert leftovers(store) == []


def damage_size(path: str) -> None:
    os.chmod(path, 0o644)
    with open(path, "ab") as file:
        file.write(b"!")
    os.chmod(path, 0o444)


def unprotect(path: str) -> None:
    os.chmod(path, 0o644)


def replace_by_link(path: str) -> None:
    os.rename(path, f"{path}.real")
    os.symlink(f"{path}.real", path)


@in_both_ways
@pytest.mark.parametrize("damage", [damage_size, unprotect, replace_by_link])
def test_an_object_that_was_touched_is_replaced(
    store: ObjectStore, into: Into, damage: Callable[[str], None]
) -> None:
    into(store)
    path = store.object_path(MD5)
    damage(path)
    assert not store.has(MD5, len(DATA))
    assert into(store) is True
    assert objects(store)[MD5] == DATA
    assert mode(path) == 0o444
    assert not os.path.islink(path)


@in_both_ways
def test_an_object_made_executable_through_a_link_to_it_stays(
    store: ObjectStore, into: Into
) -> None:
    # As DVC leaves an object that an executable file links to.
    into(store)
    os.chmod(store.object_path(MD5), 0o544)
    assert store.has(MD5, len(DATA))
    assert into(store) is False


@in_both_ways
def test_many_threads_that_put_the_same_bytes_leave_one_object(
    store: ObjectStore, into: Into
) -> None:
    # Each thread makes a hard link to the object right after its put, as `cache.type hardlink`
    # does. All of them must be links to the same object.
    threads = 16
    start = threading.Barrier(threads)

    def work(number: int) -> list[bool]:
        new = []
        for turn in range(20):
            data = b"%d" % turn
            md5 = hashlib.md5(data).hexdigest()
            start.wait(timeout=60)
            new.append(into(store, data, md5))
            os.link(store.object_path(md5), f"{store.layout.root}/{turn}-{number}")
        return new

    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(work, range(threads)))
    assert [sum(turn) for turn in zip(*results, strict=True)] == [1] * 20
    for turn in range(20):
        md5 = hashlib.md5(b"%d" % turn).hexdigest()
        assert objects(store)[md5] == b"%d" % turn
        assert os.stat(store.object_path(md5)).st_nlink == threads + 1
    assert leftovers(store) == []


def test_two_stores_on_one_cache_share_its_objects(tmp_path: Path) -> None:
    one = make_store(tmp_path)
    other = ObjectStore(one.layout)
    assert one.put(DATA, MD5) is True
    assert other.put(DATA, MD5) is False


def test_temp_paths_are_all_different(store: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: store.temp_path(), range(1000)))
    assert len(set(paths)) == 1000


@pytest.fixture(params=[True, False], ids=["without a name first", "renamed"])
def either_way(request: pytest.FixtureRequest, store: ObjectStore) -> bool:
    """Whether objects are written without a name (Linux), or to a temp file that is renamed."""
    unnamed = bool(request.param)
    if unnamed and not store._unnamed:
        pytest.skip("this system has no files without a name")
    store._unnamed = unnamed
    return unnamed


def test_an_object_is_stored_with_the_mode_of_the_cache(
    store: ObjectStore, either_way: bool
) -> None:
    assert store.put(DATA, MD5) is True
    assert store._unnamed is either_way
    assert stat.S_IMODE(os.stat(store.object_path(MD5)).st_mode) == 0o444
    assert os.stat(store.object_path(MD5)).st_nlink == 1
    assert store.put(DATA, MD5) is False
    assert leftovers(store) == []


def test_a_touched_object_is_replaced_in_either_way(store: ObjectStore, either_way: bool) -> None:
    store.put(DATA, MD5)
    path = store.object_path(MD5)
    os.chmod(path, 0o644)
    Path(path).write_bytes(b"spoilt")
    assert store.put(DATA, MD5) is True
    assert objects(store) == {MD5: DATA}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o444
    assert leftovers(store) == []


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.ENOENT])
def test_without_support_for_nameless_files_objects_are_renamed(
    store: ObjectStore, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not store._unnamed:
        pytest.skip("this system has no files without a name")

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(object_store.os, "link", refuse)
    assert store.put(DATA, MD5) is True
    assert not store._unnamed
    assert objects(store) == {MD5: DATA}
    assert leftovers(store) == []


@pytest.mark.parametrize("failing", ["write", "fstat", "link", "replace"])
def test_a_put_that_fails_leaves_neither_temp_nor_object(
    store: ObjectStore, failing: str, either_way: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if failing == ("replace" if either_way else "link"):
        pytest.skip("not used this way")

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(object_store.os, failing, fail)
        with pytest.raises(OSError, match="No space left"):
            store.put(DATA, MD5)
    assert leftovers(store) == []
    assert objects(store) == {}
    assert store.put(DATA, MD5) is True


def test_a_put_that_is_interrupted_leaves_neither_temp_nor_object(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cancelled(BaseException):
        pass

    def cancel(*args: object) -> None:
        raise Cancelled

    with monkeypatch.context() as patch:
        patch.setattr(file_io, "write_all", cancel)
        with pytest.raises(Cancelled):
            store.put(DATA, MD5)
    assert leftovers(store) == []
    assert objects(store) == {}


def test_a_directory_that_another_process_just_made_is_used(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir

    def mkdir_second(path: str, mode: int) -> None:
        mkdir(path, mode)  # the other process's
        mkdir(path, mode)

    monkeypatch.setattr(object_store.os, "mkdir", mkdir_second)
    assert store.put(DATA, MD5) is True
    assert objects(store) == {MD5: DATA}


@pytest.mark.parametrize(
    ("types", "shared", "expected"),
    [
        (("reflink", "copy"), False, 0o644),
        (("copy",), False, 0o644),
        (("reflink", "copy"), True, 0o644),
        (("copy",), True, 0o664),
        (("hardlink", "copy"), True, 0o644),
    ],
)
def test_a_copy_out_of_the_cache_has_the_mode_dvc_gives_it(
    tmp_path: Path, types: tuple[str, ...], shared: bool, expected: int
) -> None:
    assert make_layout(tmp_path, types, shared=shared).copy_mode == expected
