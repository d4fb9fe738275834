"""A remote is described as DVC's configuration of this moment has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from twin import dvc

from asynclive._artifact.push_records import RemoteDescription
from asynclive._dvc.remote.remote_description import (
    describe_remote,
    legacy_description,
    remote_path,
)
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._errors import PushError, RemoteAccessError, RemoteNotFoundError


@pytest.fixture
def repository(repo: Path) -> Iterator[DvcRepository]:
    repository = DvcRepository.open(str(repo.resolve()))
    yield repository
    repository.close()


def described(repo: Path, name: str | None = None) -> RemoteDescription:
    return describe_remote(Repo(str(repo)).config, name)


def dvc_remote(repo: Path, name: str) -> Any:
    return Repo(str(repo)).cloud.get_remote(name)


@pytest.mark.parametrize(
    ("url", "scheme", "only_dvc"),
    [
        ("s3://bucket/some/prefix", "s3", None),
        ("s3://bucket", "s3", None),
        # obstore drops or refuses such parts of a path, and DVC keeps them.
        ("s3://bucket//some", "s3", "url"),
        ("s3://bucket/some//other", "s3", "url"),
        ("s3://bucket/some/../other", "s3", "url"),
        ("s3://bucket/./some", "s3", "url"),
        ("http://localhost:1/some/dir", "http", "http"),
        ("../objects", "local", None),
    ],
)
def test_its_objects_lie_where_dvc_puts_them(
    repo: Path, url: str, scheme: str, only_dvc: str | None
) -> None:
    dvc(repo, "remote", "add", "storage", url)
    remote, theirs = described(repo, "storage"), dvc_remote(repo, "storage")
    assert (remote.name, remote.scheme, remote.only_dvc) == ("storage", scheme, only_dvc)
    assert remote.prefix == theirs.odb.path
    legacy = legacy_description(remote)
    assert legacy.prefix == theirs.legacy_odb.path == remote_path(remote) == remote_path(legacy)
    assert legacy.hash_name == theirs.legacy_odb.hash_name
    assert legacy.only_dvc
    assert legacy.key != remote.key


def test_the_default_remote_is_that_of_the_last_level_that_names_one(repo: Path) -> None:
    dvc(repo, "remote", "add", "-d", "First", "../first")
    dvc(repo, "remote", "add", "--local", "-d", "second", "../second")
    assert described(repo).name == "second"
    dvc(repo, "config", "--unset", "--local", "core.remote")
    # DVC reads names in lower case.
    assert described(repo).name == described(repo, "FIRST").name == "first"


def test_paths_of_options_are_relative_to_the_file_that_has_them(repo: Path) -> None:
    dvc(repo, "remote", "add", "storage", "s3://bucket/x")
    dvc(repo, "remote", "modify", "storage", "profile", "of the project")
    dvc(repo, "remote", "modify", "--local", "storage", "credentialpath", "secrets/aws")
    dvc(repo, "remote", "modify", "--local", "storage", "secret_access_key", "hidden")
    remote = described(repo, "storage")
    assert remote.options["credentialpath"] == str(repo / "secrets/aws")
    assert remote.options["profile"] == "of the project"
    assert "hidden" not in repr(remote)


def test_a_remote_may_lie_below_another_one(repo: Path) -> None:
    dvc(repo, "remote", "add", "server", "s3://bucket/base")
    dvc(repo, "remote", "modify", "server", "profile", "p")
    dvc(repo, "remote", "add", "images", "remote://server/images")
    remote = described(repo, "images")
    assert remote.prefix == "bucket/base/images/files/md5"
    assert remote.options["profile"] == "p"


@pytest.mark.parametrize(
    ("option", "value", "only_dvc"),
    [
        ("acl", "public-read", "acl"),
        ("version_aware", "true", "version_aware"),
        ("version_aware", "false", None),
        ("worktree", "true", "worktree"),
        ("jobs", "3", None),
    ],
)
def test_an_option_that_only_dvc_supports_is_named(
    repo: Path, option: str, value: str, only_dvc: str | None
) -> None:
    dvc(repo, "remote", "add", "storage", "s3://bucket/x")
    dvc(repo, "remote", "modify", "storage", option, value)
    remote = described(repo, "storage")
    assert remote.only_dvc == only_dvc
    assert remote.is_cloud_versioned == (only_dvc in ("version_aware", "worktree"))


def test_a_password_in_the_url_is_not_shown(repo: Path) -> None:
    dvc(repo, "remote", "add", "server", "http://user:secret@localhost/dir")
    remote = described(repo, "server")
    assert remote.url == "http://user:***@localhost/dir"
    assert "secret" in remote.prefix


def test_without_a_remote_the_error_says_how_to_add_one(repository: DvcRepository) -> None:
    with pytest.raises(RemoteNotFoundError, match="dvc remote add -d") as caught:
        repository.describe_remote(None)
    assert (caught.value.remote, caught.value.option) == (None, "core.remote")


def test_without_a_default_the_error_names_the_remotes(
    repo: Path, repository: DvcRepository
) -> None:
    dvc(repo, "remote", "add", "one", "../one")
    dvc(repo, "remote", "add", "two", "../two")
    with pytest.raises(RemoteNotFoundError, match=r"'one', 'two'.*dvc remote default"):
        repository.describe_remote(None)
    with pytest.raises(RemoteNotFoundError, match=r"'one', 'two'.*dvc remote add three") as caught:
        repository.describe_remote("three")
    assert caught.value.remote == "three"
    # The configuration may change while a session runs.
    dvc(repo, "remote", "add", "-d", "three", "../three")
    assert repository.describe_remote(None) == repository.describe_remote("three")


@pytest.mark.parametrize(
    ("url", "error", "text"),
    [
        ("remote://gone/x", RemoteNotFoundError, "remote://gone/x.*'gone'"),
        ("ssh://host/x", RemoteAccessError, "pip install dvc-ssh"),
        ("gs://bucket/x", RemoteAccessError, r"pip install 'asynclive\[gs\]'"),
    ],
)
def test_a_remote_that_dvc_cannot_use_says_why(
    repo: Path, repository: DvcRepository, url: str, error: type[PushError], text: str
) -> None:
    with (repo / ".dvc/config").open("a") as config:
        config.write(f"['remote \"odd\"']\n    url = {url}\n")
    with pytest.raises(error, match=text) as caught:
        repository.describe_remote("odd")
    assert caught.value.remote == "odd"


def test_a_configuration_that_is_not_valid_is_an_error(
    repo: Path, repository: DvcRepository
) -> None:
    with (repo / ".dvc/config").open("a") as config:
        config.write("['remote \"odd\"']\n    url = nothing://bucket/x\n")
    with pytest.raises(RemoteAccessError, match="Unsupported URL type"):
        repository.describe_remote("odd")
