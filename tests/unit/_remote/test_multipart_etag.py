"""The ETag of an object in parts, for the part sizes that other programs use."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclive._remote.s3.multipart_etag import (
    MAX_PARTS,
    MIB,
    grow_part_size,
    guess_part_sizes,
    has_multipart_etag,
    multipart_etag,
)

OWN = 8 * MIB


def etag_of(content: bytes, part_size: int) -> str:
    parts = [content[i : i + part_size] for i in range(0, len(content), part_size)]
    md5s = b"".join(hashlib.md5(part).digest() for part in parts)
    return f"{hashlib.md5(md5s).hexdigest()}-{len(parts)}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "object"
    path.write_bytes(os.urandom(3 * MIB + 1))
    return path


@pytest.mark.parametrize("part_size", [MIB, 2 * MIB, 3 * MIB, 3 * MIB + 1, 4 * MIB])
def test_it_is_the_md5_of_the_md5s_of_the_parts(path: Path, part_size: int) -> None:
    content = path.read_bytes()
    assert multipart_etag(str(path), len(content), part_size) == etag_of(content, part_size)


def test_a_file_has_its_etag_for_any_usual_part_size(path: Path) -> None:
    content = path.read_bytes()
    for part_size in (MIB, 2 * MIB, 3 * MIB):
        etag = etag_of(content, part_size).upper()
        assert has_multipart_etag(str(path), len(content), etag, OWN)


def test_other_bytes_have_another_etag(path: Path) -> None:
    content = path.read_bytes()
    etag = etag_of(content, MIB)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert not has_multipart_etag(str(path), len(content), etag, OWN)


def test_reading_stops_when_the_check_says_so(path: Path) -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        multipart_etag(str(path), path.stat().st_size, MIB, stop)


@pytest.mark.parametrize("part_mib", [5, 8, 16, 50, 64, 100, 512])
@pytest.mark.parametrize("size", [1000 * MIB, 4567 * MIB + 89, 700_000_000])
def test_the_part_sizes_of_other_programs_are_guessed(size: int, part_mib: int) -> None:
    count = -(-size // (part_mib * MIB))
    assert part_mib * MIB in guess_part_sizes(size, f"{'0' * 32}-{count}", OWN)


def test_the_part_size_that_grew_for_10000_parts_is_guessed() -> None:
    size = 600_000 * MIB
    for part_size in (grow_part_size(size, 5 * MIB), -(-size // MAX_PARTS), 64 * MIB):
        count = -(-size // part_size)
        assert part_size in guess_part_sizes(size, f"{'0' * 32}-{count}", OWN)


def test_an_md5_is_no_etag_of_parts() -> None:
    assert guess_part_sizes(1000, "0" * 32, OWN) == []
    assert guess_part_sizes(1000, "0x8DC", OWN) == []
    assert guess_part_sizes(1000, f"{'0' * 32}-0", OWN) == []


@given(size=st.integers(1, 2**45), part_size=st.integers(5 * MIB, 2**32))
def test_no_object_has_more_than_10000_parts(size: int, part_size: int) -> None:
    grown = grow_part_size(size, part_size)
    assert grown >= part_size
    assert -(-size // grown) <= MAX_PARTS


@given(
    size=st.integers(1, 2**43),
    count=st.integers(0, 99_999),
)
def test_each_guess_gives_the_number_of_parts(size: int, count: int) -> None:
    guesses = guess_part_sizes(size, f"{'0' * 32}-{count}", OWN)
    assert all(-(-size // guess) == count for guess in guesses)
    assert len(guesses) <= 4
