"""GitIgnore: dulwich's own answers, for any rules and paths; and scmrepo's own bytes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dulwich.ignore
import pytest
from dulwich.ignore import IgnoreFilterManager
from dulwich.repo import Repo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scmrepo.git import Git

from asynclive._gitignore import GitIgnore

NAMES = ["a", "b", "A", "a b", "a[1]", "!x", "#x", "a*", "b\\", "é", "dir"]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    with Repo.init(str(tmp_path)):
        yield tmp_path


def ignore_of(root: Path) -> GitIgnore:
    return GitIgnore(dulwich.ignore, Repo(str(root)))


def dulwichs_answer(root: Path, path: str) -> bool | None:
    return IgnoreFilterManager.from_repo(Repo(str(root))).is_ignored(path)


def escaped(name: str) -> str:
    return "".join(f"\\{char}" if char in "\\[]!*#?" else char for char in name)


names = st.sampled_from(NAMES)
lines = st.one_of(
    names.map(lambda name: f"/{escaped(name)}"),
    names.map(lambda name: f"/{name}"),
    st.builds(
        "".join,
        st.lists(
            st.sampled_from(
                ["a", "b", "A", "/", "*", "**", "?", "[ab]", "[", "!", "#", "\\", " ", "\\ ", "é"]
            ),
            max_size=6,
        ),
    ),
)
files = st.lists(lines, max_size=6).map("\n".join) | st.lists(lines, max_size=6).map(
    lambda found: "".join(f"{line}\r\n" for line in found)
)
paths = st.builds(
    lambda parts, end: "/".join(parts) + end,
    st.lists(names, min_size=1, max_size=3),
    st.sampled_from(["", "/"]),
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.dictionaries(st.sampled_from(["", "a", "a/b", "dir"]), files, max_size=3),
    st.dictionaries(st.sampled_from(["", "a", "a/b", "dir"]), files, max_size=3),
    st.lists(paths, min_size=1, max_size=5),
    st.booleans(),
)
def test_every_answer_is_dulwichs_also_after_the_files_changed(
    before: dict[str, str], after: dict[str, str], asked: list[str], ignorecase: bool
) -> None:
    with tempfile.TemporaryDirectory() as root, Repo.init(root) as repo:
        config = repo.get_config()
        config.set((b"core",), b"ignorecase", ignorecase)
        config.write_to_path()
        for directory in ("a/b", "dir"):
            os.makedirs(os.path.join(root, directory))
        ignore = ignore_of(Path(root))
        for contents in (before, after):
            for directory in ("", "a", "a/b", "dir"):
                path = Path(root, directory, ".gitignore")
                path.unlink(missing_ok=True)
                if directory in contents:
                    path.write_bytes(contents[directory].encode())
            ignore.renew()
            for path in asked:
                assert ignore.is_ignored(path) == dulwichs_answer(Path(root), path), path
