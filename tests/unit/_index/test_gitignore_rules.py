"""GitIgnore gives the answers of dulwich for any rules and paths, and writes as scmrepo does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dulwich.ignore
import pytest
from dulwich.ignore import IgnoreFilterManager
from dulwich.repo import Repo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scmrepo.git import Git

from asynclive._index.gitignore_rules import GitIgnore

NAMES = ["a", "b", "A", "a b", "a[1]", "!x", "#x", "a*", "b\\", "é", "dir"]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    with Repo.init(str(tmp_path)):
        yield tmp_path


def ignore_of(root: Path) -> GitIgnore:
    return GitIgnore(dulwich.ignore, Repo(str(root)))


def answer_of_dulwich(root: Path, path: str) -> bool | None:
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
    lambda lines: "".join(f"{line}\r\n" for line in lines)
)
paths = st.builds(
    lambda parts, end: "/".join(parts) + end,
    st.lists(names, min_size=1, max_size=3),
    st.sampled_from(["", "/"]),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.dictionaries(st.sampled_from(["", "a", "a/b", "dir"]), files, max_size=3),
    st.dictionaries(st.sampled_from(["", "a", "a/b", "dir"]), files, max_size=3),
    st.lists(paths, min_size=1, max_size=5),
    st.booleans(),
)
def test_every_answer_is_the_answer_of_dulwich_even_after_the_files_changed(
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
            ignore.reload()
            for path in asked:
                assert ignore.is_ignored(path) == answer_of_dulwich(Path(root), path), path


@pytest.mark.parametrize(
    "content",
    [None, "", "*.tmp\n", "/a\n", "/old", "/old\r\n", "!/a\n/b\n", "é\n", b"\xff\n", "/a\r\n"],
)
@pytest.mark.parametrize("name", ["a", "a[1]", "é", " ", "new"])
def test_a_line_is_appended_as_scmrepo_appends_it(tmp_path: Path, content: Any, name: str) -> None:
    def repository(directory: str) -> Path:
        root = tmp_path / directory
        root.mkdir()
        Repo.init(str(root)).close()
        if content is not None:
            (root / ".gitignore").write_bytes(
                content if isinstance(content, bytes) else content.encode()
            )
        return root

    ours, theirs = repository("ours"), repository("theirs")
    ignore = ignore_of(ours)
    git = Git(str(theirs))
    git._add_entry_to_gitignore(f"/{name}", str(theirs / ".gitignore"))
    git.close()
    if ignore.file(str(ours)).add(f"/{escaped(name)}"):
        assert (ours / ".gitignore").read_bytes() == (theirs / ".gitignore").read_bytes()
        assert ignore.is_ignored(name) == answer_of_dulwich(ours, name)
    else:
        assert content in ("/old", "/old\r\n", "/a\r\n", b"\xff\n") or name == "a"
        assert (ours / ".gitignore").read_bytes() != (theirs / ".gitignore").read_bytes()


def test_an_appended_line_counts_without_reading_the_file_again(tree: Path) -> None:
    ignore = ignore_of(tree)
    rules = ignore.file(str(tree))
    for name in ("a", "b"):
        assert rules.add(f"/{name}")
    assert (tree / ".gitignore").read_text() == "/a\n/b\n"
    assert ignore.is_ignored("a")
    assert ignore.is_ignored("c") is None
    assert rules.take_changed_names() == {"a", "b"}
    assert rules.take_changed_names() == set()


def test_no_line_is_appended_if_another_process_changed_the_file(tree: Path) -> None:
    ignore = ignore_of(tree)
    rules = ignore.file(str(tree))
    (tree / ".gitignore").write_text("/other\n")
    assert not rules.add("/a")
    assert (tree / ".gitignore").read_text() == "/other\n"
    ignore.forget(str(tree))
    assert ignore.file(str(tree)).add("/a")
    assert rules.take_changed_names() == {"other", "a"}


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        ("/a\n", "/a\n", set()),
        ("/a\n", "/a\n/b\n/c\n", {"b", "c"}),
        ("/a\n/b\n", "/b\n", {"a"}),
        ("/a\n", "*.tmp\n/a\n", None),
        ("*.tmp\n/a\n", "/a\n*.tmp\n", {"a"}),
        ("/a\n!/a\n", "!/a\n/a\n", {"a"}),
        ("/a\n", "/a\nb\n", None),
        ("", "/a\\[1]\n", {"a[1]"}),
    ],
)
def test_the_changed_names_are_those_in_changed_lines_of_dvc(
    tree: Path, before: str, after: str, names: set[str] | None
) -> None:
    (tree / ".gitignore").write_text(before)
    ignore = ignore_of(tree)
    rules = ignore.file(str(tree))
    assert rules.take_changed_names() == set()
    (tree / ".gitignore").write_text(after)
    assert not ignore.reload()
    assert ignore.file(str(tree)) is rules
    assert rules.take_changed_names() == names


def test_a_file_that_dulwich_must_judge_always_counts_as_changed(tree: Path) -> None:
    (tree / "rules").write_text("/a\n")
    (tree / ".gitignore").symlink_to("rules")
    ignore = ignore_of(tree)
    assert ignore.file(str(tree)).take_changed_names() is None
    assert ignore.is_ignored("a") == answer_of_dulwich(tree, "a")
    assert not ignore.file(str(tree)).add("/b")


def test_rules_outside_the_work_tree_are_read_again(tree: Path) -> None:
    ignore = ignore_of(tree)
    assert not ignore.reload()
    (tree / ".git" / "info").mkdir(exist_ok=True)
    (tree / ".git" / "info" / "exclude").write_text("*.tmp\n")
    assert ignore.reload()
    assert ignore.is_ignored("a.tmp")


def test_the_cost_of_an_answer_does_not_grow_with_the_lines(tree: Path) -> None:
    compiled: list[bytes] = []

    class CountingPattern(dulwich.ignore.Pattern):  # type: ignore[misc]
        def __init__(self, pattern: bytes, ignorecase: bool = False) -> None:
            compiled.append(pattern)
            super().__init__(pattern, ignorecase)

    (tree / ".gitignore").write_text("*.tmp\n" + "".join(f"/{n}\n" for n in range(1000)))
    with pytest.MonkeyPatch.context() as counting:
        counting.setattr(dulwich.ignore, "Pattern", CountingPattern)
        ignore = ignore_of(tree)
        assert ignore.is_ignored("7")
        assert ignore.is_ignored("7.dvc") is None
        assert ignore.is_ignored("7.tmp")
        assert ignore.is_ignored("7/below/it")
    assert len(compiled) < 5
