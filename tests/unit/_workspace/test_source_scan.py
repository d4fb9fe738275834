"""make_plan: real trees are planned as DVC collects them."""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dvc.fs import localfs
from dvc.ignore import DvcIgnoreFilter
from dvc_data.hashfile.build import build
from dvc_data.hashfile.db.local import LocalHashFileDB
from hypothesis import example, given
from hypothesis import strategies as st
from layouts import request_of

from asynclive._artifact.plan import ArtifactPlan
from asynclive._artifact.request import ArtifactRequest
from asynclive._errors import (
    ArtifactNotFoundError,
    ArtifactPathError,
    StorageError,
)
from asynclive._workspace.source_scan import IgnoreFilter, make_plan

Key = tuple[str, ...]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A repository for ignore rules; copies go to ``out``."""
    (tmp_path / "out").mkdir()
    return tmp_path


def plan_request(
    base: Path,
    request: ArtifactRequest,
    *,
    rules: Callable[[], IgnoreFilter] | None = None,
    checkpoint: Callable[[], None] = lambda: None,
) -> ArtifactPlan:
    rules = rules or (lambda: DvcIgnoreFilter(localfs, str(base)))
    return make_plan(request, str(base), rules, checkpoint)


def plan_of(base: Path, name: str = "data", *, copy: bool = False) -> ArtifactPlan:
    path = base / name
    return plan_request(
        base, request_of(base / "out" / path.name, source=path) if copy else request_of(path)
    )


def keys(plan: ArtifactPlan) -> set[Key]:
    return {file.key for file in plan.files}


def tracked(plan: ArtifactPlan) -> set[Key]:
    return {file.key for file in plan.tracked}


def collected_by_dvc(base: Path, path: Path) -> set[Key]:
    """Return the keys of the files that ``dvc add path`` would hash."""
    store = LocalHashFileDB(localfs, str(base / "cache"))
    ignore = DvcIgnoreFilter(localfs, str(base))
    _, _, tree = build(store, str(path), localfs, "md5", dry_run=True, ignore=ignore)
    return {key for key, *_ in tree}


def make_tree(path: Path, tree: Any) -> None:
    """Make a file of a str, a link of a str that starts with an arrow, a directory of a dict."""
    if isinstance(tree, dict):
        path.mkdir()
        for name, below in tree.items():
            make_tree(path / name, below)
    elif tree.startswith("->"):
        path.symlink_to(tree[2:])
    else:
        path.write_text(tree)


# --- Files ----------------------------------------------------------------------------------


def test_a_file_is_planned_with_its_stat_record(base: Path) -> None:
    path = base / "data"
    path.write_bytes(b"12345")
    path.chmod(0o750)
    plan = plan_of(base)
    found = path.stat()
    (file,) = plan.files
    assert (plan.isdir, plan.dirs, plan.total_bytes) == (False, (), 5)
    assert (file.key, file.size, file.mode) == ((), 5, 0o750)
    assert file.fingerprint == (found.st_ino, found.st_mtime_ns)
    assert (file.ctime_ns, file.nlink) == (found.st_ctime_ns, 1)
    assert (file.islink, file.tracked) == (False, True)


def test_a_link_to_a_file_has_the_stat_record_of_its_target(base: Path) -> None:
    (base / "real").write_bytes(b"12345")
    os.link(base / "real", base / "second")
    (base / "data").symlink_to("real")
    (file,) = plan_of(base).files
    assert file.islink
    assert (file.size, file.inode, file.nlink) == (5, (base / "real").stat().st_ino, 2)


@pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
def test_a_link_in_a_directory_is_planned_with_its_target(base: Path, copy: bool) -> None:
    make_tree(base / "data", {"a": "12345", "l": "->a", "d": {"m": "->../a"}})
    files = {file.key: file for file in plan_of(base, copy=copy).files}
    assert {file.fingerprint for file in files.values()} == {files[("a",)].fingerprint}
    assert {key: file.link_target for key, file in files.items()} == {
        ("a",): None,
        ("l",): "a",
        ("d", "m"): "../a",
    }
    assert {key for key, file in files.items() if file.islink} == {("l",), ("d", "m")}


def test_the_ignore_rules_are_not_loaded_for_a_file(base: Path) -> None:
    (base / "data").touch()

    def ignore() -> Any:
        pytest.fail("asked for")

    plan = plan_of(base)
    assert plan_request(base, plan.request, rules=ignore) == plan


# --- Trees, next to DVC ---------------------------------------------------------------------

TREES: dict[str, tuple[dict[str, Any], str]] = {
    "empty": ({}, ""),
    "files at every level": ({"a": "1", "d": {"b": "2", "e": {"c": "3"}}}, ""),
    "empty directories": ({"a": "1", "d": {"e": {}}}, ""),
    "odd names": ({" ": "1", "a\nb": "2", "é": "3", "~": {"*": "4"}, "a'b\\": "5"}, ""),
    "links to files": ({"a": "1", "l": "->a", "d": {"l": "->../a"}}, ""),
    "a link to a directory": ({"d": {"a": "1"}, "l": "->d", "up": {"l": "->../d"}}, ""),
    "ignored files": ({"a": "1", "b.tmp": "2", "d": {"c.tmp": "3", "e": "4"}}, "*.tmp"),
    "an ignored directory": ({"a": "1", "no": {"b": "2", "d": {"c": "3"}}}, "no/"),
    "an exception to a rule": ({"a.tmp": "1", "d": {"b.tmp": "2"}}, "*.tmp\n!b.tmp"),
    "a rule with a path": ({"a": "1", "d": {"a": "2"}}, "data/a\nout/data/a"),
    "everything ignored": ({"a": "1", "d": {"b": "2"}}, "*\n!data\n!out"),
    "an ignored dangling link": ({"a": "1", "no": "->nowhere"}, "no"),
    "a repository in it": ({"a": "1", "r": {".dvc": {"config": ""}, "b": "2"}}, ""),
    "git repositories in it": ({"a": "1", "r": {".git": {"HEAD": "x"}, "b": "2"}}, ""),
    "a git submodule in it": ({"a": "1", "r": {".git": "gitdir: x", "b": "2"}}, ""),
    "a .dvc file in it": ({"a": "1", "x.dvc": "outs: []"}, ""),
}
each_tree = pytest.mark.parametrize(("tree", "rules"), TREES.values(), ids=TREES)


def expected_of_dvc(base: Path, *, copy: bool) -> set[Key] | None:
    """Return the keys that DVC collects, of a copy by ``shutil`` or in place; None: it refuses."""
    path = base / "data"
    try:
        if copy:
            path = base / "out" / "data"
            shutil.copytree(base / "data", path)
        return collected_by_dvc(base, path)
    except Exception:
        return None
    finally:
        # make_plan must run before the copy exists.
        shutil.rmtree(base / "out" / "data", ignore_errors=True)


@each_tree
@pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
def test_the_tracked_files_are_those_that_dvc_collects(
    base: Path, tree: dict[str, Any], rules: str, copy: bool
) -> None:
    make_tree(base / "data", tree)
    (base / ".dvcignore").write_text(rules)
    if copy and tree.get("no") == "->nowhere":  # copytree follows it
        with pytest.raises(ArtifactPathError, match=r"'.*/data/no'"):
            plan_of(base, copy=True)
        return
    plan = plan_of(base, copy=copy)
    assert plan.isdir
    assert tracked(plan) == expected_of_dvc(base, copy=copy)


@each_tree
def test_the_copied_files_are_those_that_copytree_copies(
    base: Path, tree: dict[str, Any], rules: str
) -> None:
    make_tree(base / "data", tree)
    (base / ".dvcignore").write_text(rules)
    if tree.get("no") == "->nowhere":
        return
    plan = plan_of(base, copy=True)
    copied = base / "out" / "data"
    shutil.copytree(base / "data", copied)
    paths = {path.relative_to(copied).parts: path for path in [copied, *copied.rglob("*")]}
    assert keys(plan) == {key for key, path in paths.items() if path.is_file()}
    assert {d.key for d in plan.dirs} == {key for key, path in paths.items() if path.is_dir()}
    for directory in plan.dirs:
        found = paths[directory.key].stat()
        assert (directory.mode, directory.mtime_ns) == (
            stat.S_IMODE(found.st_mode),
            found.st_mtime_ns,
        )
    order = [directory.key for directory in plan.dirs]
    assert all(key[:-1] in order[:index] for index, key in enumerate(order) if key)


names = st.sampled_from(["a", "b", "c.tmp", "no"])
# Links lead out of the tree: copytree itself would not end in a loop of links.
leaves = st.sampled_from(["1", "2", "->nowhere", "->{elsewhere}/a", "->{elsewhere}"])
trees = st.recursive(
    st.dictionaries(names, leaves, max_size=3),
    lambda inner: st.dictionaries(names, leaves | inner, max_size=4),
    max_leaves=6,
)
all_rules = st.lists(
    st.sampled_from(["*.tmp", "no/", "no", "a", "!a", "/data/b", "b/a", "!no/a", "out/data/a/"]),
    max_size=3,
).map("\n".join)


def filled_in(tree: Any, elsewhere: str) -> Any:
    if isinstance(tree, dict):
        return {name: filled_in(below, elsewhere) for name, below in tree.items()}
    return tree.format(elsewhere=elsewhere)


@given(trees, all_rules, st.booleans())
@example({"a": "->nowhere"}, "a", True)
def test_any_tree_is_tracked_or_refused_as_by_dvc(tree: Any, rules: str, copy: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory).resolve()
        (base / "out").mkdir()
        make_tree(base / "elsewhere", {"a": "3", "b": {"a": "4", "no": "5"}})
        make_tree(base / "data", filled_in(tree, str(base / "elsewhere")))
        (base / ".dvcignore").write_text(rules)
        try:
            planned = tracked(plan_of(base, copy=copy))
        except ArtifactPathError:
            planned = None
        assert planned == expected_of_dvc(base, copy=copy)


def test_an_ignored_link_to_itself_does_not_matter(base: Path) -> None:
    make_tree(base / "data", {"a": "1", "no": "->no"})
    (base / ".dvcignore").write_text("no")
    assert collected_by_dvc(base, base / "data") == {("a",)}
    assert tracked(plan_of(base)) == {("a",)}


def test_ignored_files_are_skipped_in_place_and_copied_with_a_copy(
    base: Path,
) -> None:
    make_tree(base / "data", {"a": "1", "b.tmp": "2", "no": {"c": "3"}})
    (base / ".dvcignore").write_text("*.tmp\nno/")
    assert keys(plan_of(base)) == {("a",)}
    plan = plan_of(base, copy=True)
    assert keys(plan) == {("a",), ("b.tmp",), ("no", "c")}
    assert tracked(plan) == {("a",)}


def test_an_ignored_pipe_in_place_does_not_matter(base: Path) -> None:
    make_tree(base / "data", {"a": "1"})
    os.mkfifo(base / "data" / "no")
    (base / ".dvcignore").write_text("no")
    assert tracked(plan_of(base)) == {("a",)}


@pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
def test_a_dvcignore_inside_is_refused_as_by_dvc(base: Path, copy: bool) -> None:
    make_tree(base / "data", {"a": "1", "d": {".dvcignore": ""}})
    assert expected_of_dvc(base, copy=copy) is None
    with pytest.raises(ArtifactPathError, match=r"'.*/data/d/\.dvcignore'"):
        plan_of(base, copy=copy)


def test_links_out_of_the_tree_are_followed_for_a_copy(base: Path) -> None:
    make_tree(base / "elsewhere", {"b": "2", "d": {"c": "3"}})
    make_tree(base / "data", {"a": "1", "l": "->../elsewhere", "f": "->../elsewhere/b"})
    assert keys(plan_of(base)) == {("a",), ("f",)}
    assert keys(plan_of(base, copy=True)) == {("a",), ("f",), ("l", "b"), ("l", "d", "c")}


def test_no_file_in_a_copy_of_a_repository_is_tracked(base: Path) -> None:
    # dvc.ignore: DVC skips it in its own repository (DvcIgnoreFilter._update_sub_repo).
    make_tree(base / "data", {".dvc": {"config": ""}, "a": "1"})
    plan = plan_of(base, copy=True)
    assert keys(plan) == {("a",), (".dvc", "config")}
    assert tracked(plan) == set()


def test_two_links_to_one_directory_are_no_loop(base: Path) -> None:
    make_tree(base / "data", {"d": {"a": "1"}, "l": "->d", "m": "->d"})
    assert keys(plan_of(base, copy=True)) == {("d", "a"), ("l", "a"), ("m", "a")}


# --- Refusals -------------------------------------------------------------------------------


def make_socket(path: Path) -> None:
    # An address has at most 107 bytes, so bind it relative to its directory.
    before = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(before)


SPECIAL: dict[str, Callable[[Path], None]] = {"named pipe": os.mkfifo, "socket": make_socket}
in_both_ways = pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])


@in_both_ways
@pytest.mark.parametrize("kind", SPECIAL)
def test_a_special_file_is_refused_at_once(base: Path, kind: str, copy: bool) -> None:
    SPECIAL[kind](base / "data")
    with pytest.raises(ArtifactPathError, match=f"is a {kind}"):
        plan_of(base, copy=copy)


@in_both_ways
@pytest.mark.parametrize("kind", SPECIAL)
def test_a_special_file_in_a_directory_is_refused_naming_it(
    base: Path, kind: str, copy: bool
) -> None:
    make_tree(base / "data", {"a": "1", "d": {}})
    SPECIAL[kind](base / "data" / "d" / "x")
    with pytest.raises(ArtifactPathError, match=f"contains a {kind} .*/data/d/x"):
        plan_of(base, copy=copy)


def test_a_device_is_refused(base: Path) -> None:
    with pytest.raises(ArtifactPathError, match="is a character device"):
        plan_of(base, "/dev/null")


@in_both_ways
def test_a_missing_path_is_not_found(base: Path, copy: bool) -> None:
    with pytest.raises(ArtifactNotFoundError, match=r"data' does not exist\.") as caught:
        plan_of(base, copy=copy)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_a_path_below_a_file_is_not_found(base: Path) -> None:
    (base / "file").touch()
    with pytest.raises(ArtifactNotFoundError):
        plan_of(base, "file/data")


@in_both_ways
@pytest.mark.parametrize("below", ["", "d/"])
def test_a_link_to_nothing_is_refused_naming_it(base: Path, below: str, copy: bool) -> None:
    make_tree(base / "data", {"d": {"l": "->nowhere"}}) if below else make_tree(
        base / "data", "->nowhere"
    )
    link = base / "data" / "d" / "l" if below else base / "data"
    with pytest.raises(ArtifactPathError, match=f"does not exist: '{link}'") as caught:
        plan_of(base, copy=copy)
    assert type(caught.value) is ArtifactPathError


@in_both_ways
@pytest.mark.parametrize("tree", ["->data", {"l": "->l"}], ids=["itself", "inside"])
def test_a_link_to_itself_is_refused(base: Path, tree: Any, copy: bool) -> None:
    make_tree(base / "data", tree)
    with pytest.raises(ArtifactPathError, match=r"contains a loop of symbolic links: '.*/data"):
        plan_of(base, copy=copy)


@pytest.mark.parametrize(
    ("target", "found"),
    [(".", "d/l"), ("..", "d/l"), ("../..", "d/l/data"), ("../../data", "d/l")],
)
def test_a_link_to_a_parent_directory_is_refused_for_a_copy_only(
    base: Path, target: str, found: str
) -> None:
    make_tree(base / "data", {"d": {"a": "1", "l": f"->{target}"}})
    assert keys(plan_of(base)) == {("d", "a")}
    refusal = f"contains a loop of symbolic links: '{base}/data/{found}'"
    with pytest.raises(ArtifactPathError, match=refusal):
        plan_of(base, copy=True)


@pytest.mark.parametrize(
    ("source", "artifacts"),
    [("data", "."), ("data", "data/sub"), ("data/sub/data", ".")],
    ids=["is", "lies in", "holds"],
)
def test_a_copy_that_overlaps_its_source_through_a_link_is_refused(
    base: Path, source: str, artifacts: str
) -> None:
    (base / "data" / "sub" / "data").mkdir(parents=True)
    (base / "out").rmdir()
    (base / "out").symlink_to(base / artifacts)
    with pytest.raises(ArtifactPathError, match="one contains the other"):
        plan_of(base, source, copy=True)


def test_a_copy_that_a_link_leads_out_of_its_directory_is_refused(base: Path) -> None:
    (base / "data").touch()
    (base / "elsewhere").mkdir()
    (base / "out" / "sub").symlink_to(base / "elsewhere")
    request = request_of(base / "out" / "sub" / "data", source=base / "data")
    request = dataclasses.replace(request, artifacts_dir=str(base / "out"))
    with pytest.raises(ArtifactPathError, match=r"leads out of '.*/out'"):
        plan_request(base, request)


def test_a_copy_that_a_link_leads_out_of_the_repository_is_refused(base: Path) -> None:
    (base / "repo").mkdir()
    (base / "repo" / "data").touch()
    (base / "repo" / "out").symlink_to(base / "out")
    with pytest.raises(ArtifactPathError, match=r"leads out of '.*/repo'"):
        plan_of(base / "repo", copy=True)


def test_the_scan_can_be_stopped_at_each_directory(base: Path) -> None:
    make_tree(base / "data", {"a": {}, "b": {"c": {}}})
    plan = plan_of(base)
    asked = 0

    class Stopped(Exception):  # noqa: N818
        pass

    def checkpoint() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise Stopped

    with pytest.raises(Stopped):
        plan_request(base, plan.request, checkpoint=checkpoint)
    asked = -10
    plan_request(base, plan.request, checkpoint=checkpoint)
    assert asked == -6


def test_the_error_names_a_file_that_is_removed_during_the_scan(base: Path) -> None:
    make_tree(base / "data", {"a": "1"})

    def rules(root: str, dirs: list[str], files: list[str]) -> tuple[list[str], list[str]]:
        (base / "data" / "a").unlink()
        return dirs, files

    plan = plan_of(base)
    with pytest.raises(
        ArtifactNotFoundError, match=r"changed while it was scanned: '.*/data/a' was removed"
    ):
        plan_request(base, plan.request, rules=lambda: rules)


@pytest.mark.usefixtures("unprivileged")
@in_both_ways
def test_a_directory_that_may_not_be_read_is_a_storage_error(base: Path, copy: bool) -> None:
    make_tree(base / "data", {"d": {"a": "1"}})
    (base / "data" / "d").chmod(0)
    try:
        with pytest.raises(StorageError, match="Permission denied"):
            plan_of(base, copy=copy)
    finally:
        (base / "data" / "d").chmod(0o700)
