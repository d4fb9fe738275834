"""Remotes that only DVC's own classes can use: its order and its objects, our proofs."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from backends import Isolation, in_both, on_asyncio
from disk import tree, write
from http_remote import HttpRemote
from pushing import push_all
from s3_server import Bucket
from twin import dvc

from asynclive import AsyncLive
from asynclive._dvc.remote.by_dvc import dvc_store
from asynclive._errors import PushError, RemoteAccessError, RemoteVerifyError
from asynclive._instrumentation.push_progress import PushCounts

pytestmark = [pytest.mark.anyio, on_asyncio]

FILES = {"model.pt": "model", "data/a": "a", "data/sub/b": "b", "data/empty": ""}


@pytest.fixture
def http_remote() -> Iterator[HttpRemote]:
    remote = HttpRemote()
    yield remote
    remote.stop()


@pytest.fixture
def tracked(repo: Path) -> Path:
    """A repository whose outputs are not pushed yet."""
    write(repo, FILES)
    dvc(repo, "add", "--quiet", "model.pt", "data")
    return repo


@pytest.fixture
def to_http(tracked: Path, http_remote: HttpRemote) -> Path:
    dvc(tracked, "remote", "add", "-d", "web", http_remote.url)
    dvc(tracked, "remote", "modify", "web", "method", "PUT")
    return tracked


def path_of(text: str) -> str:
    md5 = hashlib.md5(text.encode()).hexdigest()
    return f"dvc/files/md5/{md5[:2]}/{md5[2:]}"


def pulled(repo: Path, tmp_path: Path) -> dict[str, str]:
    """Return the files that ``dvc pull`` gets into a copy of the repository without a cache."""
    clone = tmp_path / "clone"
    shutil.copytree(repo, clone, ignore=shutil.ignore_patterns("cache", "tmp", *FILES, "data"))
    dvc(clone, "pull", "--quiet")
    return {name: (clone / name).read_text() for name in FILES}


async def test_dvc_finds_the_objects_of_a_push_by_http(
    to_http: Path, http_remote: HttpRemote, tmp_path: Path
) -> None:
    result = await push_all(to_http)
    assert (result.objects, result.skipped, result.backend) == (5, 0, "dvc")
    assert result.verified_by == "size"
    assert http_remote.puts[-1].endswith(".dir")
    pushed, http_remote.objects = http_remote.objects, {}
    dvc(to_http, "push", "--quiet")
    assert pushed == http_remote.objects
    http_remote.puts.clear()
    again = await push_all(to_http)
    assert (again.objects, again.skipped) == (0, 5)
    assert http_remote.puts == []
    assert "in sync" in dvc(to_http, "status", "--cloud")
    assert pulled(to_http, tmp_path) == FILES


async def test_an_object_with_another_size_is_sent_again(
    to_http: Path, http_remote: HttpRemote
) -> None:
    await push_all(to_http)
    for text, harm in [("model", b"mod"), ("a", b"")]:
        http_remote.objects[path_of(text)] = harm
    http_remote.puts.clear()
    assert (await push_all(to_http)).objects == 2
    assert sorted(http_remote.puts) == sorted([path_of("model"), path_of("a")])
    assert http_remote.objects[path_of("model")] == b"model"


async def test_reading_back_finds_other_bytes_of_the_same_size(
    to_http: Path, http_remote: HttpRemote
) -> None:
    await push_all(to_http)
    http_remote.objects[path_of("model")] = b"mOdel"
    assert (await push_all(to_http)).objects == 0
    result = await push_all(to_http, verify="read")
    assert (result.objects, result.skipped, result.verified_by) == (1, 4, "read")
    assert http_remote.objects[path_of("model")] == b"model"


async def test_a_remote_that_tells_no_size_is_read_back(
    to_http: Path, http_remote: HttpRemote
) -> None:
    http_remote.tells_size = False
    assert (await push_all(to_http)).verified_by == "read"
    http_remote.objects[path_of("model")] = b"mOdel"
    again = await push_all(to_http)
    assert (again.objects, again.skipped, again.verified_by) == (1, 4, "read")


async def test_a_refused_request_names_the_remote(to_http: Path, http_remote: HttpRemote) -> None:
    http_remote.refusal = 401
    with pytest.raises(RemoteAccessError, match=r"'web'.*dvc remote modify web") as caught:
        await push_all(to_http)
    assert caught.value.remote == "web"
    http_remote.refusal = None
    assert (await push_all(to_http)).objects == 5


async def test_a_remote_that_is_gone_is_named(to_http: Path, http_remote: HttpRemote) -> None:
    http_remote.stop()
    with pytest.raises(RemoteAccessError, match=http_remote.url):
        await push_all(to_http)


async def test_one_failed_object_keeps_its_listing_back(
    to_http: Path, http_remote: HttpRemote
) -> None:
    md5 = hashlib.md5(b"a").hexdigest()
    cached = to_http / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    cached.chmod(0o644)
    cached.write_bytes(b"A")
    with pytest.raises(RemoteVerifyError) as caught:
        await push_all(to_http)
    assert [each.path for each in caught.value.failed] == ["data/a"]
    assert path_of("model") in http_remote.objects
    assert not [path for path in http_remote.objects if path.endswith(".dir")]


async def test_an_object_that_only_the_remote_has_is_enough(
    to_http: Path, http_remote: HttpRemote
) -> None:
    await push_all(to_http)
    shutil.rmtree(to_http / ".dvc/cache")
    # The listing of the directory is unknown here, and so are its files.
    assert (await push_all(to_http)).skipped == 2
    http_remote.objects.clear()
    with pytest.raises(PushError, match="dvc fetch") as caught:
        await push_all(to_http)
    assert {each.path for each in caught.value.failed} == {"model.pt", "data"}


async def test_a_cancelled_push_stops_in_the_middle_of_a_file(
    repo: Path, http_remote: HttpRemote
) -> None:
    (repo / "large.bin").write_bytes(bytes(32 * 2**20))
    dvc(repo, "add", "--quiet", "large.bin")
    dvc(repo, "remote", "add", "-d", "web", http_remote.url)
    dvc(repo, "remote", "modify", "web", "method", "PUT")
    http_remote.may_read_on.clear()
    counts = PushCounts()
    async with anyio.create_task_group() as task_group:

        async def push() -> None:
            await push_all(repo, counts=counts)

        task_group.start_soon(push)
        await anyio.to_thread.run_sync(http_remote.body_began.wait)
        task_group.cancel_scope.cancel()
        http_remote.may_read_on.set()
    assert (http_remote.objects, counts.objects_done, counts.bytes_done) == ({}, 0, 0)


@pytest.mark.parametrize(
    ("option", "value", "permission"),
    [
        ("acl", "public-read", "READ"),
        ("grant_read_acp", 'uri="http://acs.amazonaws.com/groups/global/AllUsers"', "READ_ACP"),
    ],
)
async def test_objects_in_s3_get_the_permissions_of_the_remote(
    tracked: Path, bucket: Bucket, tmp_path: Path, option: str, value: str, permission: str
) -> None:
    bucket.add_remote(tracked, **{option: value})
    result = await push_all(tracked)
    assert (result.objects, result.verified_by, result.backend) == (5, "etag", "dvc")
    for key in bucket.keys("dvc/"):
        grants = bucket.client.get_object_acl(Bucket=bucket.name, Key=key)["Grants"]
        assert permission in [grant["Permission"] for grant in grants]
    key = path_of("model")
    bucket.put(key, b"mOdel")
    assert ((await push_all(tracked)).objects, bucket.get(key)) == (1, b"model")
    assert "in sync" in dvc(tracked, "status", "--cloud")
    assert pulled(tracked, tmp_path) == FILES


@pytest.mark.parametrize("kind", ["http", "s3", "directory"])
async def test_many_objects_are_looked_for_by_listings(
    tracked: Path,
    tmp_path: Path,
    kind: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A remote by HTTP has none: each object is asked for."""
    monkeypatch.setattr(dvc_store, "MANY_OBJECTS", 2)
    if kind == "http":
        request.getfixturevalue("to_http")
    elif kind == "s3":
        request.getfixturevalue("bucket").add_remote(tracked, acl="private")
    else:
        dvc(tracked, "remote", "add", "-d", "dir", str(tmp_path / "remote"))
    assert (await push_all(tracked)).objects == 5
    again = await push_all(tracked)
    assert (again.objects, again.skipped) == (0, 5)
    if kind == "s3":
        request.getfixturevalue("bucket").put(path_of("model"), b"mOdel")
        request.getfixturevalue("bucket").delete(path_of("a"))
        assert (await push_all(tracked)).objects == 2


async def test_a_bucket_that_does_not_exist_is_named(tracked: Path, bucket: Bucket) -> None:
    bucket.add_remote(tracked, url="s3://no-such-bucket/dvc", acl="private")
    with pytest.raises(RemoteAccessError, match="s3://no-such-bucket/dvc"):
        await push_all(tracked)


@pytest.mark.parametrize("shared", [False, True])
async def test_a_directory_gets_the_objects_and_modes_of_dvc(
    tracked: Path, tmp_path: Path, shared: bool
) -> None:
    trees = []
    for name in ("ours", "theirs"):
        dvc(tracked, "remote", "add", "--force", "-d", "dir", str(tmp_path / name))
        if shared:
            dvc(tracked, "remote", "modify", "dir", "shared", "group")
        if name == "ours":
            assert (await push_all(tracked)).objects == 5
        else:
            dvc(tracked, "push", "--quiet")
        trees.append(tree(tmp_path / name))
    assert trees[0] == trees[1]


async def test_outputs_of_dvc_2_are_pushed_to_their_layout(repo: Path, tmp_path: Path) -> None:
    text, md5 = b"a\r\n", "60b725f10c9c85c70d97880dfe8191b3"  # the MD5 of b"a\n"
    cached = repo / ".dvc/cache" / md5[:2] / md5[2:]
    cached.parent.mkdir(parents=True)
    for path in (cached, repo / "old.txt"):
        path.write_bytes(text)
    (repo / "old.txt.dvc").write_text(f"outs:\n- md5: {md5}\n  size: 3\n  path: old.txt\n")
    dvc(repo, "remote", "add", "-d", "dir", str(tmp_path / "remote"))
    stored = tmp_path / "remote" / md5[:2] / md5[2:]
    for expected in (1, 0):
        result = await push_all(repo, verify="read")
        assert (result.objects, stored.read_bytes()) == (expected, text)
    assert "in sync" in dvc(repo, "status", "--cloud")
    stored.chmod(0o644)
    stored.write_bytes(b"b\r\n")
    assert (await push_all(repo, verify="read")).objects == 1


@in_both
async def test_a_session_pushes_to_any_remote_of_dvc(
    to_http: Path,
    http_remote: HttpRemote,
    monkeypatch: pytest.MonkeyPatch,
    isolation: Isolation,
) -> None:
    monkeypatch.chdir(to_http)
    write(to_http, {"new.pt": "new"})
    async with AsyncLive(push=True, isolation=isolation) as live:
        handle = await live.submit("new.pt")
        pushed = await handle.pushed()
        assert (pushed.objects, pushed.backend, pushed.remote) == (1, "dvc", "web")
        rest = await live.push()
        assert (rest.objects, rest.skipped) == (5, 1)
    assert "in sync" in dvc(to_http, "status", "--cloud")
    assert http_remote.objects[path_of("new")] == b"new"
