"""Artifacts to push to a bucket, and checks of the objects that a push leaves there."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from invariants import Content, content, dvc_files, named_objects
from s3_proxy import S3Proxy
from s3_server import Bucket
from twin import dvc, git

PREFIX = "dvc/files/md5/"


def make_files(directory: Path, count: int, text: str = "") -> None:
    """Write ``count`` different files. ``text`` makes them differ from those of another call."""
    directory.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        (directory / f"{index:03}").write_text(f"{text}{directory.name} {index}")


def key_of(md5: str) -> str:
    """Return the key of an object in a bucket."""
    return f"{PREFIX}{md5[:2]}/{md5[2:]}"


def keys_of(repo: Path, *names: str) -> dict[str, str]:
    """Return the keys of the objects that ``.dvc`` files name, with the paths they belong to.

    Args:
        repo: the repository.
        names: the tracked paths, relative to the repository; none: all of them.
    """
    found = [repo / f"{name}.dvc" for name in names] or dvc_files(repo)
    return {key_of(md5): path for each in found for md5, path in named_objects(repo, each)}


def assert_pushed(repo: Path, bucket: Bucket, *names: str) -> None:
    """Check that the bucket has every object that ``.dvc`` files name, with the right bytes."""
    stored = bucket.objects(PREFIX)
    for key, path in keys_of(repo, *names).items():
        assert key in stored, f"{path} is not in the bucket"
        local = repo / ".dvc" / "cache" / "files" / "md5" / key.removeprefix(PREFIX)
        assert stored[key].size == local.stat().st_size, path
        if "-" not in stored[key].etag:  # that of an object in parts is no MD5 of its bytes
            assert stored[key].etag == hashlib.md5(local.read_bytes()).hexdigest(), path
        else:
            assert bucket.get(key) == local.read_bytes(), path
    assert bucket.uploads() == []


def assert_no_listing_lacks_files(repo: Path, bucket: Bucket) -> None:
    """Check that each directory whose listing is in the bucket has all of its files there."""
    stored = bucket.keys(PREFIX)
    for dvc_file in dvc_files(repo):
        listing, *files = (key_of(md5) for md5, _ in named_objects(repo, dvc_file))
        if listing in stored:
            assert not {*files} - stored, f"{dvc_file} has a listing and lacks files"


def assert_listings_last(repo: Path, proxy: S3Proxy, *names: str) -> None:
    """Check that the proxy saw the upload of each listing after the proof of its files."""
    sent = {each.key: each for each in proxy.uploads if each.succeeded}
    for name in names:
        md5, *others = (md5 for md5, _ in named_objects(repo, repo / f"{name}.dvc"))
        listing = sent[key_of(md5)]
        for file in (sent[key_of(each)] for each in others):
            assert file.answered is not None
            assert file.answered < listing.arrived, f"{file.key} was not proven before {name}"


def pull_in_clone(repo: Path, clone: Path) -> dict[str, Content | None]:
    """Commit, clone the repository and pull; return the content of each tracked path there."""
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--allow-empty", "--message=Push")
    git(clone.parent, "clone", "--quiet", str(repo), str(clone))
    local = repo / ".dvc" / "config.local"
    if local.exists():
        shutil.copy(local, clone / ".dvc" / "config.local")
    dvc(clone, "pull", "--quiet")
    tracked = [path.with_suffix("") for path in dvc_files(clone)]
    return {path.relative_to(clone).as_posix(): content(path) for path in tracked}


def assert_pulled_alike(repo: Path, clone: Path) -> None:
    """Check that DVC finds the remote in sync, and that a clone pulls each byte."""
    assert "are in sync" in dvc(repo, "status", "--cloud")
    pulled = pull_in_clone(repo, clone)
    assert pulled
    for name, found in pulled.items():
        assert found == content(repo / name), name
