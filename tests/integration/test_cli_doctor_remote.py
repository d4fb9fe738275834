"""Run ``asynclive doctor --remote``: it finds missing and wrong objects, and changes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from directory_remote import DirectoryRemote
from disk import look, md5, write
from s3_server import Bucket

from asynclive._cli.main import run
from asynclive._remote.s3.upload_journal import UploadJournal, new_upload

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def repo(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(repo)
    return repo


@pytest.fixture
def remote(repo: Path) -> DirectoryRemote:
    """Make a remote that has two objects of a directory, a listing and a file."""
    remote = DirectoryRemote(repo, "storage")
    write(repo, {"model.pt": "weights", "data/a.txt": "a", "data/b.txt": "bb"})
    assert run(["log", "model.pt", "data", "--push"]) == 0
    return remote


def check(captured: Captured, *options: str, code: int = 0) -> dict[str, Any]:
    """Return the JSON report about the remote of the command, which must end with ``code``."""
    captured.readouterr()
    assert run(["doctor", "--json", "--remote", *options]) == code
    document: dict[str, Any] = json.loads(captured.readouterr().out)
    assert len(document["problems"]) == code
    report: dict[str, Any] = document["remote"]
    return report


def object_in(remote: DirectoryRemote, text: str) -> Path:
    digest = md5(text)
    return remote.path / "files" / "md5" / digest[:2] / digest[2:]


def test_a_remote_that_has_everything_is_healthy(
    repo: Path, remote: DirectoryRemote, capsys: Captured
) -> None:
    before = look(repo, objects=True)

    found = check(capsys, "storage")

    assert (found["name"], found["objects"], found["sent_by"]) == ("storage", 4, "asynclive")
    assert (found["missing"], found["wrong"], found["problem"]) == ([], [], None)
    assert look(repo, objects=True) == before
    assert run(["doctor", "--remote", "storage"]) == 0
    out = capsys.readouterr().out
    assert f"remote             storage: {remote.path}\n" in out
    assert "4 objects belong there: 0 missing, 0 wrong\n" in out


def test_missing_and_wrong_objects_are_named_and_left_alone(
    repo: Path, remote: DirectoryRemote, capsys: Captured
) -> None:
    object_in(remote, "weights").unlink()
    damaged = object_in(remote, "bb")
    damaged.chmod(0o644)
    damaged.write_text("cc")

    capsys.readouterr()
    assert run(["doctor", "--json", "--remote", "storage"]) == 1

    out, err = capsys.readouterr()
    found = json.loads(out)["remote"]
    assert [each[:2] for each in found["missing"]] == [[md5("weights"), "model.pt"]]
    assert [each[:2] for each in found["wrong"]] == [[md5("bb"), "data/b.txt"]]
    assert "1 objects are missing in the remote 'storage', of 'model.pt'" in err
    assert damaged.read_text() == "cc"
    assert run(["push"]) == 0
    assert check(capsys, "storage")["wrong"] == []


def test_objects_that_are_not_in_the_cache_are_looked_for(
    repo: Path, remote: DirectoryRemote, capsys: Captured
) -> None:
    object_in(remote, "weights").unlink()
    shutil.rmtree(repo / ".dvc" / "cache" / "files" / "md5" / md5("weights")[:2])
    shutil.rmtree(repo / ".dvc" / "cache" / "files" / "md5" / md5("a")[:2])

    found = check(capsys, "storage", code=1)

    assert [each[1] for each in found["missing"]] == ["model.pt"]
    assert found["wrong"] == []


def test_objects_of_a_cloud_versioned_remote_are_looked_for(
    repo: Path, bucket: Bucket, capsys: Captured
) -> None:
    bucket.client.put_bucket_versioning(
        Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"}
    )
    bucket.add_remote(repo, "versions", version_aware="true")
    write(repo, {"model.pt": "weights", "data/a.txt": "a"})
    assert run(["log", "model.pt", "data", "--push"]) == 0

    found = check(capsys, "versions")

    assert (found["missing"], found["wrong"]) == ([], [])
    assert "version_aware" in found["sent_by"]


def test_a_remote_that_is_not_configured_is_a_problem(
    repo: Path, remote: DirectoryRemote, capsys: Captured
) -> None:
    assert "dvc remote add gone" in check(capsys, "gone", code=1)["problem"]


def test_a_bucket_that_does_not_exist_is_a_problem(
    repo: Path, bucket: Bucket, capsys: Captured
) -> None:
    bucket.add_remote(repo, "s3", url="s3://no-such-bucket/path")
    assert "no-such-bucket" in check(capsys, "s3", code=1)["problem"]


def test_open_uploads_are_listed_and_aborted_on_request(
    repo: Path, bucket: Bucket, capsys: Captured
) -> None:
    bucket.add_remote(repo, "s3")
    key = f"files/md5/ab/{30 * 'c'}"
    client = bucket.client
    upload_id = client.create_multipart_upload(Bucket=bucket.name, Key=key)["UploadId"]
    journal = UploadJournal(str(repo / ".dvc" / "tmp" / "asynclive"))
    with journal.claim(bucket.endpoint, bucket.name, key) as slot:
        slot.begin(new_upload("s3", bucket.endpoint, bucket.name, key, 100, 10, False))
        slot.opened(upload_id)

    found = check(capsys, "s3")
    assert [upload["key"] for upload in found["open_uploads"]] == [key]
    assert len(bucket.uploads()) == 1

    found = check(capsys, "s3", "--abort-uploads")
    assert (found["open_uploads"], found["aborted_uploads"]) == ([], 1)
    assert bucket.uploads() == []


def test_aborting_uploads_needs_the_name_of_a_remote(capsys: Captured) -> None:
    assert run(["doctor", "--abort-uploads"]) == 2
    assert "--abort-uploads needs --remote" in capsys.readouterr().err
