"""UploadJournal: one file for each open upload, held by the process that sends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asynclive._fs import file_lock
from asynclive._remote.s3.upload_journal import OpenUpload, UploadJournal, new_upload

KEY = "dvc/files/md5/ab/cdef"
UPLOAD = new_upload("storage", "http://localhost", "bucket", KEY, 100, 10, uses_sha256=False)


@pytest.fixture
def journal(tmp_path: Path) -> UploadJournal:
    return UploadJournal(str(tmp_path))


def files(tmp_path: Path) -> list[str]:
    return os.listdir(tmp_path / "uploads")


def leave_open(journal: UploadJournal, upload_id: str = "id") -> None:
    with journal.claim("http://localhost", "bucket", KEY) as slot:
        slot.begin(UPLOAD)
        slot.opened(upload_id)


def test_an_upload_that_is_left_open_is_found_again(journal: UploadJournal) -> None:
    leave_open(journal)
    with journal.claim("http://localhost", "bucket", KEY) as slot:
        assert slot.upload == UPLOAD._replace(upload_id="id")
    assert [*journal.entries().values()] == [UPLOAD._replace(upload_id="id")]


@pytest.mark.usefixtures("unprivileged")
def test_an_upload_of_another_user_is_left_alone(journal: UploadJournal, tmp_path: Path) -> None:
    leave_open(journal)
    [path] = (tmp_path / "uploads").iterdir()
    path.chmod(0o444)
    with journal.claim("http://localhost", "bucket", KEY) as slot:
        assert slot.upload is None
    with journal.claim_abandoned(str(path)) as abandoned:
        assert abandoned is None
    assert files(tmp_path) == [path.name]


def test_an_upload_that_is_forgotten_leaves_no_file(journal: UploadJournal, tmp_path: Path) -> None:
    leave_open(journal)
    with journal.claim("http://localhost", "bucket", KEY) as slot:
        slot.forget()
    assert files(tmp_path) == []
    assert journal.entries() == {}


def test_other_buckets_and_endpoints_have_other_files(journal: UploadJournal) -> None:
    leave_open(journal)
    for endpoint, bucket in (("http://localhost", "other"), (None, "bucket")):
        with journal.claim(endpoint, bucket, KEY) as slot:
            assert slot.upload is None


def test_a_file_that_a_kill_cut_short_has_the_upload_without_its_id(
    journal: UploadJournal, tmp_path: Path
) -> None:
    leave_open(journal)
    [path] = (tmp_path / "uploads").iterdir()
    lines = path.read_bytes()
    for cut in range(len(lines)):
        path.write_bytes(lines[:cut])
        first_line = lines.index(b"\n") + 1
        expected = UPLOAD if cut >= first_line else None
        with journal.claim_abandoned(str(path)) as slot:
            assert slot is not None
            assert slot.upload == expected
            slot.upload = UPLOAD  # keep the file


def test_two_at_once_have_two_files(journal: UploadJournal, tmp_path: Path) -> None:
    with journal.claim("e", "b", KEY) as one, journal.claim("e", "b", KEY) as two:
        one.begin(UPLOAD)
        two.begin(UPLOAD)
        assert len(files(tmp_path)) == 2


def test_an_abandoned_upload_comes_before_a_new_file(
    journal: UploadJournal, tmp_path: Path
) -> None:
    with journal.claim("http://localhost", "bucket", KEY) as slot:
        slot.begin(UPLOAD)
        leave_open(journal, "second")
        slot.forget()
    with journal.claim("http://localhost", "bucket", KEY) as slot:
        assert slot.upload == UPLOAD._replace(upload_id="second")


_HOLD = """
import sys
from asynclive._remote.s3.upload_journal import UploadJournal
with UploadJournal(sys.argv[1]).claim("http://localhost", "bucket", sys.argv[2]) as slot:
    print(slot.upload.upload_id, flush=True)
    sys.stdin.read()
"""


def test_a_file_is_free_once_its_process_is_killed(journal: UploadJournal, tmp_path: Path) -> None:
    leave_open(journal)
    [path] = journal.entries()
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path), KEY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "id\n"
        with journal.claim_abandoned(path) as taken:
            assert taken is None
        with journal.claim("http://localhost", "bucket", KEY) as slot:
            assert slot.upload is None
        holder.kill()
    with journal.claim("http://localhost", "bucket", KEY) as slot:
        assert slot.upload == UPLOAD._replace(upload_id="id")


def test_it_works_where_there_are_no_file_locks(
    journal: UploadJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_lock, "fcntl", None)
    leave_open(journal)
    with journal.claim("http://localhost", "bucket", KEY) as slot:
        assert slot.upload == UPLOAD._replace(upload_id="id")
        slot.forget()
    assert files(tmp_path) == []


def test_a_file_that_its_holder_removes_is_not_locked_by_the_next(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    first = file_lock.lock_if_free(path)
    assert first is not None
    assert file_lock.lock_if_free(path) is None
    first.release(remove=True)
    second = file_lock.lock_if_free(path)
    assert second is not None
    assert os.path.exists(path)
    second.release()


def test_files_of_others_are_left_alone(journal: UploadJournal, tmp_path: Path) -> None:
    leave_open(journal)
    (tmp_path / "uploads" / "notes.txt").write_text("mine")
    (tmp_path / "uploads" / f"{'0' * 32}-0.jsonl").write_text("no json\n")
    assert len(journal.entries()) == 1


def test_an_entry_tells_the_name_of_its_object() -> None:
    assert UPLOAD.md5 == "abcdef"
    assert isinstance(UPLOAD, OpenUpload)
