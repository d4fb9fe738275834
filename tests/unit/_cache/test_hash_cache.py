"""The file of cached hashes: any names and numbers are read back, or none are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclive._cache import hash_cache_file
from asynclive._cache.hash_cache_file import CachedHash, publish_hashes

numbers = st.integers(min_value=0, max_value=2**63 - 1)
# Names as os.fsdecode returns them, with surrogates.
names = st.binary(min_size=1, max_size=8).map(os.fsdecode)
keys = st.lists(names, max_size=3).map(tuple)
records = st.builds(
    CachedHash, numbers, numbers, numbers, numbers, st.just("0" * 32), numbers, numbers
)
SUBJECT: dict[str, Any] = {"version": 1, "source": "/\udcff", "copy": True}


@given(files=st.dictionaries(keys, records, max_size=20), isdir=st.booleans())
def test_written_hashes_are_read_back(
    tmp_path_factory: Any, files: dict[tuple[str, ...], CachedHash], isdir: bool
) -> None:
    base = tmp_path_factory.mktemp("known")
    temp, path = str(base / "temp"), str(base / "below" / "path")
    total = len(files) if isdir else None
    record = hash_cache_file.prepare(temp, path, SUBJECT, files.items(), total)
    assert record is not None
    publish_hashes(record, "md5.dir")
    assert not os.path.exists(temp)
    assert hash_cache_file.read(path, SUBJECT) == ("md5.dir" if isdir else None, files)
    assert hash_cache_file.read(path, {**SUBJECT, "copy": False}) == (None, {})


def test_the_hash_of_a_tree_is_cached_only_with_all_of_its_files(tmp_path: Path) -> None:
    temp, path = str(tmp_path / "temp"), str(tmp_path / "path")
    file = (("a",), CachedHash(1, 2, 3, 4, "md5", 5, 6))
    record = hash_cache_file.prepare(temp, path, SUBJECT, [file], total=2)
    assert record is not None
    publish_hashes(record, "md5.dir")
    assert hash_cache_file.read(path, SUBJECT) == (None, dict([file]))


def test_a_stopped_write_leaves_nothing(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop() -> None:
        assert [path.name for path in tmp_path.iterdir()] == ["temp"]
        raise StopError

    file = (("a",), CachedHash(1, 2, 3, 4, "md5", 5, 6))
    temp, path = str(tmp_path / "temp"), str(tmp_path / "path")
    with pytest.raises(StopError):
        hash_cache_file.prepare(temp, path, SUBJECT, [file], 1, stop)
    assert list(tmp_path.iterdir()) == []


def test_reading_and_writing_can_be_stopped_every_few_hundred_files(tmp_path: Path) -> None:
    known = CachedHash(1, 2, 3, 4, "md5", 5, 6)
    files = [((str(number),), known) for number in range(1000)]
    temp, path = str(tmp_path / "temp"), str(tmp_path / "path")
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1

    record = hash_cache_file.prepare(temp, path, SUBJECT, files, 1000, look)
    assert record is not None
    assert looks == 4
    publish_hashes(record, "md5.dir")
    assert hash_cache_file.read(path, SUBJECT, look) == ("md5.dir", dict(files))
    assert looks == 9


def test_if_the_temp_file_cannot_be_written_there_are_no_hashes(tmp_path: Path) -> None:
    temp = str(tmp_path / "missing" / "temp")
    assert hash_cache_file.prepare(temp, str(tmp_path / "path"), SUBJECT, [], None) is None


def test_if_a_directory_is_at_the_path_the_hashes_are_not_published(tmp_path: Path) -> None:
    (tmp_path / "path").mkdir()
    record = hash_cache_file.prepare(
        str(tmp_path / "temp"), str(tmp_path / "path"), SUBJECT, [], None
    )
    assert record is not None
    publish_hashes(record, None)
    assert {path.name for path in tmp_path.iterdir()} == {"path", "temp"}
