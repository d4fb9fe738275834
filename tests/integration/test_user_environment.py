"""What DVC needs of the user is named on entering, and by the doctor: name, home, site cache."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from backends import in_both, on_asyncio
from disk import write
from unprivileged import NotPossibleError, permissions_count

from asynclive import AsyncLive, RepositoryError
from asynclive._cli.main import run
from asynclive._dvc.repository.user_environment import find_site_cache_problem

pytestmark = pytest.mark.anyio

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id without a passwd entry, as in many containers."""
    pwd = pytest.importorskip("pwd", reason="only POSIX has passwd entries")
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)

    def no_entry(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", no_entry)


async def enter(root: Path, **options: Any) -> None:
    async with AsyncLive(root=root, **options):
        pass


def problem_of(repo: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["doctor", str(repo)]) == 1
    return capsys.readouterr().err


@on_asyncio
@pytest.mark.usefixtures("nameless")
async def test_a_user_without_a_name_is_told_to_set_logname(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RepositoryError, match=r"no entry in the passwd database.* Set LOGNAME"):
        await enter(repo, isolation="thread")
    monkeypatch.setenv("LOGNAME", "any")
    await enter(repo, isolation="thread")


@pytest.mark.usefixtures("nameless")
def test_the_doctor_finds_a_user_without_a_name(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Set LOGNAME" in problem_of(repo, capsys)


@on_asyncio
@pytest.mark.usefixtures("nameless")
async def test_a_user_without_a_home_directory_is_told_to_set_home(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME", raising=False)
    for name in list(os.environ):
        if name.startswith("XDG_"):
            monkeypatch.delenv(name)
    with pytest.raises(RepositoryError, match="HOME to a directory"):
        await enter(repo, isolation="thread")


@on_asyncio
@in_both
@pytest.mark.parametrize("configured", [False, True])
async def test_a_site_cache_that_cannot_be_written_names_its_settings(
    repo: Path, tmp_path: Path, isolation: Any, configured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    if configured:
        monkeypatch.delenv("DVC_SITE_CACHE_DIR", raising=False)
        write(repo, {".dvc/config.local": f"[core]\n    site_cache_dir = {file / 'below'}\n"})
    else:
        monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(file / "below"))
    with pytest.raises(RepositoryError) as raised:
        await enter(repo, isolation=isolation)
    message = str(raised.value)
    assert f"cannot write to its site cache '{file / 'below'}' (Not a directory)" in message
    assert "DVC_SITE_CACHE_DIR" in message
    assert "core.site_cache_dir" in message
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    await enter(repo, isolation=isolation)


def test_a_site_cache_of_another_user_names_its_settings(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(site))
    enter_in_thread = partial(enter, repo, isolation="thread")
    anyio.run(enter_in_thread)
    below = [*site.rglob("*")]
    for path in below:
        path.chmod(0o500)
    says = re.escape(f"site cache '{site}'")
    try:
        with permissions_count(), pytest.raises(RepositoryError, match=says):
            anyio.run(enter_in_thread)
    except NotPossibleError as error:
        pytest.skip(str(error))
    finally:
        for path in below:
            path.chmod(0o700)


def test_the_doctor_finds_a_site_cache_that_cannot_be_written(
    repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "file"))
    assert "core.site_cache_dir" in problem_of(repo, capsys)


def test_a_writable_directory_of_this_user_in_the_site_cache_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "repo" / "mine").mkdir(parents=True)
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **_: path != str(tmp_path / "repo") and access(path, mode)
    )
    assert find_site_cache_problem(str(tmp_path)) is None
    (tmp_path / "repo" / "mine").rmdir()
    problem = find_site_cache_problem(str(tmp_path))
    assert problem is not None
    assert f"'{tmp_path / 'repo'}' is not writable" in problem
