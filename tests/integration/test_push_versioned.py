"""Cloud-versioned remotes: files lie under their paths, and .dvc files name their versions."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import anyio
import pytest
from backends import Isolation, in_both, on_asyncio
from disk import write
from pushing import push_all
from s3_proxy import Hold, S3Proxy, always, is_upload
from s3_server import Bucket
from twin import Templates, dvc

from asynclive import AsyncLive
from asynclive._dvc.remote.by_dvc.record_versions import RecordedOutput
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._errors import PushError, RemoteAccessError

pytestmark = [pytest.mark.anyio, on_asyncio]

FILES = {"model.pt": "model", "sub/data/a": "a", "sub/data/x/b": "b", "sub/data/x/same": "a"}
DVC_FILES = ("model.pt.dvc", "sub/data.dvc")
_VERSION = re.compile(r"version_id: (\S+)")


@pytest.fixture(params=["version_aware", "worktree"])
def option(request: pytest.FixtureRequest, bucket: Bucket) -> str:
    bucket.client.put_bucket_versioning(
        Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"}
    )
    return str(request.param)


@pytest.fixture
def tracked(repo: Path, bucket: Bucket, option: str) -> Path:
    track(repo)
    bucket.add_remote(repo, **{option: "true"})
    return repo


def track(repo: Path) -> None:
    write(repo, FILES)
    dvc(repo, "add", "--quiet", "model.pt", "sub/data")


def texts_of(repo: Path) -> list[str]:
    return [(repo / name).read_text() for name in DVC_FILES]


def without_versions(texts: list[str]) -> list[str]:
    return [_VERSION.sub("version_id:", text) for text in texts]


def versions_in(bucket: Bucket) -> dict[str, list[str]]:
    """Return the versions of each key, the oldest first."""
    found: dict[str, list[str]] = {}
    listed = bucket.client.list_object_versions(Bucket=bucket.name, Prefix="dvc/")
    for each in reversed(listed.get("Versions", [])):
        found.setdefault(each["Key"], []).append(each["VersionId"])
    return found


async def test_the_dvc_files_are_those_that_dvc_push_leaves(
    tracked: Path, templates: Templates, tmp_path: Path, bucket: Bucket, option: str
) -> None:
    twin = templates.make("git", tmp_path / "twin")
    track(twin)
    bucket.add_remote(twin, prefix="theirs", **{option: "true"})
    dvc(twin, "push", "--quiet")
    result = await push_all(tracked)
    assert (result.objects, result.verified_by, result.backend) == (4, "etag", "dvc")
    texts = texts_of(tracked)
    assert without_versions(texts) == without_versions(texts_of(twin))
    versions = versions_in(bucket)
    assert sorted(versions) == [f"dvc/{name}" for name in sorted(FILES)]
    assert {bucket.get(f"dvc/{name}") for name in FILES} == {b"model", b"a", b"b"}
    recorded = {version for text in texts for version in _VERSION.findall(text)}
    assert recorded == {version for (version,) in versions.values()}
    # Nothing is left to do.
    again = await push_all(tracked)
    assert (again.objects, again.skipped) == (0, 4)
    assert "up to date" in dvc(tracked, "push")
    assert (texts_of(tracked), versions_in(bucket)) == (texts, versions)
    clone = tmp_path / "clone"
    shutil.copytree(tracked, clone, ignore=shutil.ignore_patterns("cache", "tmp", "model.pt"))
    shutil.rmtree(clone / "sub/data")
    dvc(clone, "pull", "--quiet")
    assert {name: (clone / name).read_text() for name in FILES} == FILES


async def test_a_changed_file_gets_a_version_and_the_others_keep_theirs(
    tracked: Path, bucket: Bucket
) -> None:
    await push_all(tracked)
    before = versions_in(bucket)
    (tracked / "sub/data/a").unlink()
    (tracked / "sub/data/a").write_text("A")
    dvc(tracked, "add", "--quiet", "sub/data")
    result = await push_all(tracked)
    assert (result.objects, result.skipped) == (1, 3)
    after = versions_in(bucket)
    assert len(after["dvc/sub/data/a"]) == 2
    assert {**after, "dvc/sub/data/a": before["dvc/sub/data/a"]} == before
    assert after["dvc/sub/data/a"][-1] in texts_of(tracked)[1]
    assert before["dvc/sub/data/a"][-1] not in texts_of(tracked)[1]
    assert "up to date" in dvc(tracked, "push")


async def test_a_version_that_is_gone_is_sent_again(tracked: Path, bucket: Bucket) -> None:
    await push_all(tracked)
    key = "dvc/model.pt"
    (version,) = versions_in(bucket)[key]
    bucket.client.delete_object(Bucket=bucket.name, Key=key, VersionId=version)
    assert (await push_all(tracked)).objects == 1
    (new,) = versions_in(bucket)[key]
    assert new != version
    assert new in texts_of(tracked)[0]


async def test_reading_back_reads_the_version_of_the_dvc_file(
    tracked: Path, bucket: Bucket
) -> None:
    await push_all(tracked)
    bucket.put("dvc/model.pt", b"of another branch")
    result = await push_all(tracked, verify="read")
    assert (result.objects, result.skipped, result.verified_by) == (0, 4, "read")


async def test_dvc_works_while_files_are_sent(
    tracked: Path, bucket: Bucket, proxy: S3Proxy, option: str
) -> None:
    """DVC's lock is free until the versions are written. Bytes of that time are not recorded."""
    bucket.add_remote(tracked, endpoint=proxy.endpoint, **{option: "true"})
    hold = Hold()
    proxy.rule = always(hold, is_upload)
    async with anyio.create_task_group() as task_group:

        async def push() -> None:
            await push_all(tracked)

        task_group.start_soon(push)
        await anyio.to_thread.run_sync(hold.wait_until_reached)
        (tracked / "model.pt").unlink()
        (tracked / "model.pt").write_text("new model")
        dvc(tracked, "add", "--quiet", "model.pt")
        added = texts_of(tracked)[0]
        hold.open()
    texts = texts_of(tracked)
    assert texts[0] == added
    assert "version_id" in texts[1]
    await push_all(tracked)
    assert "version_id" in texts_of(tracked)[0]
    assert bucket.get("dvc/model.pt") == b"new model"


async def test_an_output_that_has_changed_since_is_left_alone(tracked: Path) -> None:
    texts = texts_of(tracked)
    repository = DvcRepository.open(str(tracked.resolve()))
    try:
        path = str(tracked.resolve() / "model.pt")
        infos = {"model.pt": {"type": "file", "size": 5, "VersionId": "1", "ETag": "2"}}
        other = RecordedOutput(path, "of other bytes", f"{path}.dvc", "s3", infos)
        gone = RecordedOutput(f"{path}2", "of other bytes", f"{path}2.dvc", "s3", infos)
        repository.record_versions(60, "storage", [other, gone])
    finally:
        repository.close()
    assert texts_of(tracked) == texts


async def test_a_failed_file_keeps_its_output_unrecorded(tracked: Path, bucket: Bucket) -> None:
    texts = texts_of(tracked)
    cached = tracked / ".dvc/cache/files/md5/92/eb5ffee6ae2fec3ad71c777531578f"  # of "b"
    cached.chmod(0o644)
    cached.write_text("B")
    with pytest.raises(PushError) as caught:
        await push_all(tracked)
    assert [failed.path for failed in caught.value.failed] == ["sub/data/x/b"]
    now = texts_of(tracked)
    assert (now[0] != texts[0], now[1]) == (True, texts[1])
    assert "dvc/sub/data/x/b" not in bucket.objects()


async def test_a_worktree_that_is_not_version_aware_is_refused(
    tracked: Path, bucket: Bucket
) -> None:
    bucket.add_remote(tracked, worktree="true", version_aware="false")
    with pytest.raises(RemoteAccessError, match="version_aware true"):
        await push_all(tracked)


@in_both
async def test_a_session_records_the_versions_of_its_artifacts(
    tracked: Path,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    isolation: Isolation,
) -> None:
    monkeypatch.chdir(tracked)
    write(tracked, {"new.pt": "new", "more/c": "c"})
    async with AsyncLive(push=True, isolation=isolation) as live:
        handles = [await live.submit("new.pt"), await live.submit("more")]
        assert [(await handle.pushed()).objects for handle in handles] == [1, 1]
        # The next commit finds the file as it is now.
        (tracked / "new.pt").unlink()
        (tracked / "new.pt").write_text("newer")
        assert (await (await live.submit("new.pt")).pushed()).objects == 1
    versions = versions_in(bucket)
    assert versions["dvc/new.pt"][-1] in (tracked / "new.pt.dvc").read_text()
    assert versions["dvc/more/c"][-1] in (tracked / "more.dvc").read_text()
    assert len(versions["dvc/new.pt"]) == 2
