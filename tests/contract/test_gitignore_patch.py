"""GitignorePatch relies on private names of scmrepo and dulwich. The installed versions fit.

``make test-lowest`` runs this file with the lowest supported versions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scmrepo.git import Git

from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._dvc.tracking import gitignore_lines
from asynclive._dvc.tracking.gitignore_lines import REQUIRED, GitignorePatch, missing_names


@pytest.fixture
def scm(repo: Path) -> Iterator[Git]:
    scm = Git(str(repo))
    yield scm
    scm.close()


def test_the_installed_versions_have_each_required_name(scm: Git) -> None:
    assert missing_names() == []
    assert GitignorePatch.for_scm(scm) is not None


@pytest.mark.parametrize("name", REQUIRED)
def test_a_version_without_a_required_name_does_not_fit(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve_name(other: str) -> None:
        if other == name:
            raise AttributeError(name)

    monkeypatch.setattr(gitignore_lines, "resolve_name", resolve_name)
    assert missing_names() == [name]


def test_a_repository_opens_without_the_patch_if_a_name_is_missing(
    repo: Path, scm: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gitignore_lines, "missing_names", lambda: ["scmrepo.git:Git.dulwich"])
    assert GitignorePatch.for_scm(scm) is None
    repository = DvcRepository.open(str(repo))
    assert repository._gitignore_patch is None
    repository.close()


def test_a_name_in_a_module_that_does_not_exist_is_missing() -> None:
    required = ("scmrepo.git:Git.no_such_name", "scmrepo.no_such_module:Git", "scmrepo.git:Git")
    assert missing_names(required) == list(required[:2])


def test_the_patch_adds_the_bytes_of_scmrepo_and_gives_the_old_ones_back(
    repo: Path, scm: Git
) -> None:
    gitignore, names = repo / ".gitignore", ("a.pt", "b [1].pt")

    def add_lines() -> list[bytes]:
        gitignore.write_bytes(b"*.tmp\n/mine")
        contents = [gitignore.read_bytes()]
        for name in names:
            scm.ignore(str(repo / name))
            contents.append(gitignore.read_bytes())
        return contents

    by_scmrepo = add_lines()
    patch = GitignorePatch.for_scm(scm)
    assert patch is not None
    patch.install()
    assert add_lines() == by_scmrepo
    for name, before in zip(reversed(names), reversed(by_scmrepo[:-1]), strict=True):
        scm.ignore_remove(str(repo / name))
        assert gitignore.read_bytes() == before


def test_uninstall_gives_the_methods_of_the_class_back(scm: Git) -> None:
    before = dict(vars(scm))
    patch = GitignorePatch.for_scm(scm)
    assert patch is not None
    patch.install()
    assert scm.ignore_remove == patch.remove_entry
    assert scm._add_entry_to_gitignore == patch.add_entry
    patch.uninstall()
    assert vars(scm) == before
