"""GitIndex gives the answers of Git, and parses the index only if its bytes are not enough."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from dulwich.repo import Repo
from scmrepo.git import Git

from asynclive._errors import RepositoryError
from asynclive._index.git_index import GitIndex


def git(root: Path, *args: str) -> None:
    subprocess.run(["git", "-C", str(root), *args], check=True, capture_output=True)


class CountingRepo:
    """Counts how often the index is parsed."""

    def __init__(self, root: Path) -> None:
        self.repo = Repo(str(root))
        self.parsed = 0

    def index_path(self) -> str:
        return str(self.repo.index_path())

    def open_index(self) -> Any:
        self.parsed += 1
        return self.repo.open_index()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    return tmp_path


PATHS = ["a", "sub/a", "sub", "sub/deeper", "sub/deeper/b", "ub/a", "deeper/b", "b", "é", "x" * 90]


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_every_answer_is_the_answer_of_git(tree: Path, version: str) -> None:
    for name in ("a.dvc", "sub/a", "sub/deeper/b", "é", "x" * 90):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    git(tree, "add", ".")
    if version == "3":  # Git writes this version if it has flags to write
        (tree / "later").touch()
        git(tree, "add", "--intent-to-add", "later")
    else:
        git(tree, "update-index", "--index-version", version)
    assert (tree / ".git" / "index").read_bytes()[7] == int(version)
    index = GitIndex(Repo(str(tree)), str(tree))
    index.reload()
    scm = Git(str(tree))
    for path in PATHS:
        assert index.tracks(str(tree / path)) == scm.is_tracked(str(tree / path)), path
    scm.close()


def test_without_an_index_nothing_is_tracked(tree: Path) -> None:
    index = GitIndex(Repo(str(tree)), str(tree))
    index.reload()
    assert not index.tracks(str(tree / "a"))


def test_the_index_is_parsed_once_and_only_for_a_name_in_it(tree: Path) -> None:
    for name in ("tracked", "data.dvc", "sub/data/x"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    git(tree, "add", ".")
    repo = CountingRepo(tree)
    index = GitIndex(repo, str(tree))
    for _ in range(2):
        index.reload()
        assert not index.tracks(str(tree / "data"))
        assert not index.tracks(str(tree / "new"))
    assert repo.parsed == 0
    for _ in range(2):
        index.reload()
        assert index.tracks(str(tree / "tracked"))
    assert repo.parsed == 1
    git(tree, "rm", "--quiet", "--cached", "tracked")
    index.reload()
    assert not index.tracks(str(tree / "tracked"))


NAMES = {b"link": "split", b"sdir": "sparse", b"newe": "newe", b"1new": "1new"}


def extension(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "big") + content


@pytest.mark.parametrize("version", ["2", "4"])
@pytest.mark.parametrize("format_", ["sha1", "sha256"])
def test_an_extension_that_must_be_known_is_refused(
    tmp_path: Path, version: str, format_: str
) -> None:
    git(tmp_path, "init", "--quiet", f"--object-format={format_}")
    for name in ("a", "link", "sdir/link.py", "x" * 200):
        path = tmp_path / "y" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    git(tmp_path, "add", ".")
    git(tmp_path, "update-index", f"--index-version={version}")
    git(tmp_path, "write-tree")  # adds an extension that need not be known
    file = tmp_path / ".git" / "index"
    plain = file.read_bytes()
    assert b"TREE" in plain
    index = GitIndex(Repo(str(tmp_path)), str(tmp_path))
    index.reload()
    length = {"sha1": 20, "sha256": 32}[format_]
    end, hash_ = plain[:-length], plain[-length:]
    file.write_bytes(end + extension(b"ABCD", b"link") + hash_)
    index.reload()
    for name, what in {
        b"link": "split",
        b"sdir": "sparse",
        b"newe": "newe",
        b"1new": "1new",
    }.items():
        file.write_bytes(end + extension(name, b"content") + extension(b"ABCD", b"") + hash_)
        for _ in range(2):
            with pytest.raises(RepositoryError, match=what):
                index.reload()
    file.write_bytes(plain)
    index.reload()
    assert index.tracks(str(tmp_path / "y" / "a"))


@pytest.mark.parametrize("cut", [0, 3, 12, 100, -1, -21])
def test_a_part_of_an_index_is_refused(tree: Path, cut: int) -> None:
    for name in ("a", "b"):
        (tree / name).touch()
    git(tree, "add", ".")
    file = tree / ".git" / "index"
    file.write_bytes(file.read_bytes()[:cut])
    index = GitIndex(Repo(str(tree)), str(tree))
    with pytest.raises(RepositoryError, match="damaged"):
        index.reload()


def test_an_index_that_cannot_be_read_is_our_error(tree: Path) -> None:
    (tree / ".git" / "index").mkdir()
    with pytest.raises(RepositoryError, match="cannot be read: Is a directory") as caught:
        GitIndex(Repo(str(tree)), str(tree)).reload()
    assert isinstance(caught.value.__cause__, OSError)


def test_a_later_version_of_the_index_is_refused(tree: Path) -> None:
    (tree / "a").touch()
    git(tree, "add", ".")
    file = tree / ".git" / "index"
    file.write_bytes(b"DIRC" + bytes([0, 0, 0, 5]) + file.read_bytes()[8:])
    with pytest.raises(RepositoryError, match="has version 5"):
        GitIndex(Repo(str(tree)), str(tree)).reload()
