"""DVC finds a file that was sent in parts, and a file that DVC sent in parts is proven."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from backends import on_asyncio
from object_storages import describe, ignore_bytes, key_of, open_storage
from s3_server import Bucket
from twin import dvc, git

from asynclive._artifact.push_policy import PushPolicy
from asynclive._artifact.push_records import PushObject
from asynclive._remote.s3.multipart_etag import MIB

pytestmark = [pytest.mark.anyio, on_asyncio]


def track(repo: Path, bucket: Bucket, size: int) -> tuple[PushObject, Path]:
    """Track a file with DVC; return its object, and the path of that in the cache."""
    (repo / "model.pt").write_bytes(os.urandom(MIB) * (size // MIB))
    bucket.add_remote(repo)
    dvc(repo, "add", "model.pt")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "model")
    [source] = [path for path in (repo / ".dvc/cache/files/md5").rglob("*") if path.is_file()]
    return PushObject(source.parent.name + source.name, size, "model.pt"), source


async def test_dvc_pulls_a_file_that_was_sent_in_parts(
    repo: Path, bucket: Bucket, tmp_path: Path
) -> None:
    obj, source = track(repo, bucket, 12 * MIB)
    policy = PushPolicy(part_size=5 * MIB)
    async with open_storage(describe(bucket), tmp_path / "state", policy=policy) as store:
        await store.send(obj, str(source), ignore_bytes)
    assert bucket.objects()[key_of(obj)].etag.endswith("-3")
    assert "in sync" in dvc(repo, "status", "-c")
    git(tmp_path, "clone", "-q", str(repo), "clone")
    bucket.add_remote(tmp_path / "clone")
    dvc(tmp_path / "clone", "pull")
    assert (tmp_path / "clone/model.pt").read_bytes() == (repo / "model.pt").read_bytes()


async def test_a_file_that_dvc_sent_in_parts_is_proven(
    repo: Path, bucket: Bucket, tmp_path: Path
) -> None:
    obj, source = track(repo, bucket, 101 * MIB)
    dvc(repo, "push")
    assert bucket.objects()[key_of(obj)].etag.endswith("-3")
    async with open_storage(describe(bucket), tmp_path / "state") as store:
        assert await store.find([obj], "store", lambda _: str(source)) == {obj.md5: "etag"}
    shutil.rmtree(repo)
