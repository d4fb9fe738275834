"""Names with a meaning for Git, YAML, DVC or the system, and strings that cannot be a name.

A name is either tracked as by ``dvc add`` or refused. If it is tracked, Git does not list the file
and DVC finds it unchanged. If it is refused, the error says what to do, and no file has changed.
``dvc add`` itself tracks some of the refused names. Then Git lists the data, or hides another file,
or DVC reads another name than it wrote.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest
from disk import dvc_file, look, refused, tree, write
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from invariants import assert_nothing_lost, entries
from ruamel.yaml import YAML
from twin import Templates, dvc, git

from asynclive import (
    ArtifactNotFoundError,
    ArtifactPathError,
    AsyncLive,
    AsyncLiveError,
    InvalidArtifactNameError,
    RepositoryError,
    StorageError,
)
from asynclive._index.gitignore_rules import can_be_gitignored

pytestmark = pytest.mark.anyio

FINE = [
    *("a.", "a..", "...", ". .", "..a", "data.", ".hidden", "-x", "--help", "~", "$HOME", "${x}"),
    *("*", "**", "a*", "?", "[a]", "[", "]", "[!a]", "#x", "a #b", "!x", "\\", "a\\", "\\*", "\\#"),
    *("- x", "? x", "a: b", "a:", "null", "~x", "true", "1", "1.0", "0x1", "1e3", "2001-01-01"),
    *("{}", "{a}", "'", '"', "''", "&a", "*a", "|", ">", "@", "`", "%YAML", "---", "...x", "<<"),
    *("\t", "a\t", "\ta", "  a", "a\rb", "\x01", "\x1b[31m", "\x7f", "a, b", "=", "y", "No"),
    *("é", "e\u0301", "😀", "模型", "\u2028", "\u200b", "\ufeff", "\xa0", "\u202e", "%s%n", "CON"),
    *("nul.txt", "x" * 251, "é" * 125, "dvc.yml", "dvc", "git", ".gitignore~", "a.dvc.x"),
]
NOT_IN_GITIGNORE = [
    "\n",
    "a\n",
    "a\nb",
    "\n*",
    "a\n!b",
    " ",
    "a ",
    "a  ",
    "a\\ ",
    "\r",
    "a\r",
    "a\r\n",
]
NOT_IN_YAML = ["\x85", "a\x85b", "x" * 70 + "  " * 10 + "y"]
NOT_UTF8 = [os.fsdecode(name) for name in (b"\xff", b"a\xff", b"\xe9.bin", b"\xed\xa0\x80")]
GIT_DVC_FILES = [".gitignore", ".dvcignore", "dvc.lock"]
GIT_DVC_NAMES = [*GIT_DVC_FILES, "dvc.yaml", "x.dvc", ".git", ".dvc"]
ODD = [*FINE, *NOT_IN_GITIGNORE, *NOT_IN_YAML]

share_of_names = pytest.mark.parametrize(
    "names", [FINE[::7], pytest.param(FINE, marks=pytest.mark.long)], ids=["some", "all"]
)
# A pattern or a line of .gitignore that is not escaped would hide some of these.
NEIGHBOURS = {"a": "a", "b": "b", "x": "x", "ab": "ab", "sub/a": "a", "sub/x": "x"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # names do not depend on the event loop


def untracked(repo: Path) -> set[str]:
    """Return the untracked files that Git lists, without the files of DVC."""
    status = git(repo, "status", "--porcelain", "-uall", "-z").split("\0")
    return {line[3:] for line in status if line and not line.endswith((".dvc", ".gitignore"))}


def assert_named(repo: Path, name: str) -> None:
    """Check that the .dvc file of ``name`` gives this name."""
    (out,) = YAML(typ="safe", pure=True).load((repo / f"{name}.dvc").read_text())["outs"]
    assert out["path"] == name


# --- Names of artifacts ---------------------------------------------------------------------


@share_of_names
@pytest.mark.parametrize("below", ["", "/f"])
async def test_special_names_are_tracked_as_by_dvc_and_hide_no_other_file(
    templates: Templates, tmp_path: Path, names: list[str], below: str
) -> None:
    ours, theirs = (templates.make("git", tmp_path / name) for name in ("ours", "theirs"))
    for repo in (ours, theirs):
        write(repo, NEIGHBOURS | {f"{name}{below}": name for name in names})
    async with AsyncLive(root=ours) as live:
        for name in names:
            await live.log_artifact(name)
    assert untracked(ours) == set(NEIGHBOURS)
    for name in names:
        assert_named(ours, name)
    dvc(theirs, "add", "--quiet", "--", *names)
    assert tree(ours) == tree(theirs)
    assert dvc(ours, "status").strip() == "Data and pipelines are up to date."
    assert_nothing_lost(ours)


@share_of_names
async def test_special_names_are_copied_into_directories_with_special_names(
    repo: Path, names: list[str]
) -> None:
    names = [name for name in names if len(name) < 99]
    write(repo, {f"from/{name}": name for name in names})
    async with AsyncLive(root=repo) as live:
        for name in names:
            logged = await live.log_artifact(f"from/{name}", copy=name, type="m", name="n")
            assert logged.path == repo / "dvclive/artifacts" / name / name
            # DVC substitutes "${}" in dvc.yaml, so asynclive escapes it.
            escaped = name.replace("${", "\\${")
            assert entries(repo)["n"]["path"] == f"dvclive/artifacts/{escaped}/{escaped}"
    assert untracked(repo) == {f"from/{name}" for name in names} | {"dvc.yaml"}
    assert dvc(repo, "status").strip() == "Data and pipelines are up to date."
    assert_nothing_lost(repo)


@pytest.mark.parametrize("copy", [False, True, "sub"])
@pytest.mark.parametrize("below", ["", "/f"])
async def test_a_name_that_gitignore_cannot_express_is_tracked_with_a_warning(
    repo: Path, copy: Any, below: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(repo, NEIGHBOURS | {f"odd/{name}{below}": name for name in NOT_IN_GITIGNORE})
    async with AsyncLive(root=repo) as live:
        for name in NOT_IN_GITIGNORE:
            caplog.clear()
            logged = await live.log_artifact(f"odd/{name}", type="m", name="n", copy=copy)
            assert [record.args for record in caplog.records] == [(str(logged.path),)]
            assert Path(f"{logged.path}.dvc").is_file()
    assert dvc(repo, "status").strip() == "Data and pipelines are up to date."
    assert_nothing_lost(repo)


@pytest.mark.parametrize("copy", [False, True, "sub"])
async def test_no_warning_is_logged_if_another_line_of_gitignore_hides_the_name(
    repo: Path, copy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    write(repo, {f"odd/{name}": name for name in NOT_IN_GITIGNORE})
    async with AsyncLive(root=repo) as live:
        places = {False: "odd", True: "dvclive/artifacts", "sub": "dvclive/artifacts/sub"}
        write(repo, {f"{places[copy]}/.gitignore": "[!.]*\n!*.dvc\n"})
        for name in ("a ", "a\n", "a\nb"):
            await live.log_artifact(f"odd/{name}", copy=copy)
    assert caplog.records == []
    assert_nothing_lost(repo)


async def test_no_line_of_gitignore_is_needed_without_git(
    templates: Templates, tmp_path: Path
) -> None:
    repo = templates.make("no-scm", tmp_path / "base")
    write(repo, {name: name for name in NOT_IN_GITIGNORE})
    async with AsyncLive(root=repo) as live:
        for name in NOT_IN_GITIGNORE[:6]:
            await live.log_artifact(name)
            assert_named(repo, name)
    assert dvc(repo, "status").strip() == "Data and pipelines are up to date."


@pytest.mark.parametrize("kind", ["git", "no-scm"])
async def test_a_name_that_yaml_does_not_preserve_is_refused(
    templates: Templates, tmp_path: Path, kind: str
) -> None:
    repo = templates.make(kind, tmp_path / "base")
    write(repo, {name: name for name in NOT_IN_YAML})
    async with AsyncLive(root=repo) as live:
        for name in NOT_IN_YAML:
            with refused(repo, ArtifactPathError, match="YAML does not preserve", objects=False):
                await live.log_artifact(name)


async def test_a_name_that_is_not_utf8_is_refused_before_it_is_read(repo: Path) -> None:
    for name in NOT_UTF8:
        write(repo, {f"{name}/f": "f", f"files/{name}": "x"})
    async with AsyncLive(root=repo) as live:
        for name in NOT_UTF8:
            for path in (name, f"{name}/f", f"files/{name}"):
                for values in ({}, {"cache": False, "type": "m", "name": "n"}, {"copy": name}):
                    with refused(repo, ArtifactPathError, match="not UTF-8") as caught:
                        live.log_artifact(path, **values).send(None)
                    assert str(caught.value).isprintable()
                    assert name in caught.value.path
            # Without a .dvc file and an entry, the name is written nowhere, so it is allowed.
            await live.log_artifact(f"files/{name}", copy=True, cache=False)
            assert (repo / "dvclive/artifacts" / name).read_text() == "x"


@pytest.mark.parametrize("copy", ["\ud800", "a/\udfff/b", "x\ud800"])
async def test_a_name_that_no_file_system_can_store_is_refused(repo: Path, copy: str) -> None:
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo) as live:
        with refused(repo, ArtifactPathError, match="below artifacts"):
            await live.log_artifact("model.pt", copy=copy)
        with refused(repo, ArtifactPathError, match="the file system cannot encode it"):
            await live.log_artifact(copy)
        with refused(repo, InvalidArtifactNameError):
            await live.log_artifact("model.pt", name=copy)


@pytest.mark.parametrize("cache", [True, False])
async def test_a_copy_with_a_name_of_git_or_dvc_is_refused(repo: Path, cache: bool) -> None:
    for name in GIT_DVC_NAMES:
        write(repo.parent, {f"from/{name}": "*\n", f"dirs/{name}/f": "*\n"})
    write(repo, {"model.pt": "weights"})
    async with AsyncLive(root=repo) as live:
        for name in GIT_DVC_NAMES:
            for path in (f"../from/{name}", f"../dirs/{name}"):
                with refused(repo, ArtifactPathError, match="use for their own files. Rename"):
                    await live.log_artifact(path, copy=True, cache=cache)
        for copy in (".git", ".dvc", "a/.git", ".dvc/tmp", "./.git/hooks"):
            with refused(repo, ArtifactPathError, match="below artifacts"):
                await live.log_artifact("model.pt", copy=copy, cache=cache)


async def test_files_that_git_and_dvc_read_cannot_be_tracked_in_place(repo: Path) -> None:
    write(repo, {f"sub/{name}": "# mine\n" for name in GIT_DVC_FILES})
    async with AsyncLive(root=repo) as live:
        for name in GIT_DVC_FILES:
            with refused(repo, ArtifactPathError, match="use for their own files"):
                await live.log_artifact(f"sub/{name}")


async def test_paths_with_dots_are_normalised(repo: Path) -> None:
    write(repo, {"a/b/m.pt": "weights", "../m.pt": "outside", "../other/m.pt": "outside"})
    async with AsyncLive(root=repo) as live:
        for path in ("a/../a/b/m.pt", "./a//b/./m.pt", "a/b/../../../repo/a/b/m.pt"):
            assert (await live.log_artifact(path)).path == repo / "a/b/m.pt"
        for path in ("..", "../..", "/", "../m.pt", "../other", "a/../../m.pt", str(repo.parent)):
            with refused(repo, ArtifactPathError):
                await live.log_artifact(path, type="m", name="n")
        for path in ("a/b/m.pt/.", "a/b/m.pt/", "a/b/m.pt/../m.pt"):
            await live.log_artifact(path)  # as os.path.normpath does
        for path in ("a/b/m.pt/x", "a/b/m.pt\0x", "a/ b/m.pt", "a/b/M.PT", "\ta/b/m.pt"):
            with refused(repo, (ArtifactNotFoundError if "\0" not in path else ArtifactPathError)):
                await live.log_artifact(path)
    assert tree(repo)["a/b/m.pt.dvc"] == dvc_file("weights", "m.pt")


@pytest.mark.parametrize("length", [252, 253, 255, 256, 5000])
async def test_a_name_too_long_for_its_dvc_file_raises_storage_error(
    repo: Path, length: int
) -> None:
    name = "n" * length
    if length <= 255:
        write(repo, {name: "weights"})
    async with AsyncLive(root=repo) as live:
        for values in ({"copy": True}, {}, {"copy": "n" * 256}, {"type": "m"}):
            with refused(repo, StorageError, match="too long", objects=False):
                await live.log_artifact(name, **values)
        if length <= 255:
            await live.log_artifact(name, cache=False, copy=True)
    assert_nothing_lost(repo)


@pytest.mark.parametrize("names", [FINE[::9], pytest.param(FINE[::2], marks=pytest.mark.long)])
@pytest.mark.parametrize("copy", [False, True])
async def test_a_failed_call_removes_its_own_line_of_gitignore_and_no_other(
    repo: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], copy: bool
) -> None:
    replace = os.replace

    def full(source: Any, target: Any, **dirs: Any) -> None:
        if os.fspath(target).endswith(".dvc"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)
        replace(source, target, **dirs)

    monkeypatch.setattr(os, "replace", full)
    place = repo / "dvclive/artifacts" if copy else repo / "data"
    # Lines of the user: scmrepo would take one for its own, and one ends as on Windows.
    theirs = b"/a\n/x\n  /a.  \n# end\r\n/mine"
    names = [name for name in names if len(name) < 99]
    write(repo, {f"data/{name}": name for name in names})
    place.mkdir(parents=True, exist_ok=True)
    async with AsyncLive(root=repo) as live:
        for text in (None, theirs):
            if text is not None:
                (place / ".gitignore").write_bytes(text)
            for name in names:
                before = look(repo, objects=False)
                with pytest.raises(StorageError, match="No space left"):
                    await live.log_artifact(f"data/{name}", copy=copy)
                after = look(repo, objects=False)
                if text is not None:  # the bytes are restored, the mtime is not
                    assert (place / ".gitignore").read_bytes() == text
                    line = f"{place.relative_to(repo)}/.gitignore"
                    del before[line], after[line]
                assert after == before


# --- Names in a directory -------------------------------------------------------------------


@pytest.mark.parametrize("copy", [False, True])
async def test_a_directory_may_contain_any_name_that_is_utf8(repo: Path, copy: bool) -> None:
    write(repo, {f"data/{name}": name for name in ODD} | {f"data/d{name}/f": name for name in ODD})
    async with AsyncLive(root=repo) as live:
        assert (await live.log_artifact("data", copy=copy)).nfiles == 2 * len(ODD)
    assert dvc(repo, "status").strip() == "Data and pipelines are up to date."
    assert_nothing_lost(repo)


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("name", NOT_UTF8, ids=ascii)
async def test_a_directory_that_contains_a_name_not_in_utf8_fails_alone(
    repo: Path, name: str, copy: bool
) -> None:
    write(repo, {f"files/sub/{name}": "f", f"dirs/{name}/f": "f", "fine": "fine"})
    async with AsyncLive(root=repo) as live:
        for path in ("files", "dirs"):
            with refused(repo, ArtifactPathError, match="not UTF-8") as caught:
                await live.log_artifact(path, copy=copy)
            assert ascii(name)[1:-1] in str(caught.value)
            assert str(caught.value).isprintable()

        async def log(path: str) -> None:
            try:
                await live.log_artifact(path, copy=copy)
            except ArtifactPathError:
                assert path == "files"

        async with anyio.create_task_group() as tasks:
            for path in ("files", "fine"):
                tasks.start_soon(log, path)
        await live.log_artifact("files", copy=True, cache=False)
    assert (repo / "dvclive/artifacts/files/sub" / name).read_text() == "f"
    assert tree(repo)["dvclive/artifacts/fine.dvc" if copy else "fine.dvc"]
    assert_nothing_lost(repo)


@pytest.mark.parametrize("levels", [60, pytest.param(200, marks=pytest.mark.long)])
async def test_a_deep_tree_is_logged(repo: Path, levels: int) -> None:
    below = "/".join("d" * levels)
    write(repo, {f"data/{below}/f": "deep"})
    async with AsyncLive(root=repo) as live:
        assert (await live.log_artifact("data")).nfiles == 1
        await live.log_artifact("data", copy=True)
        await live.log_artifact(f"data/{below}/f", copy=below)
    assert (repo / "dvclive/artifacts/data" / below / "f").read_text() == "deep"
    assert (repo / "dvclive/artifacts" / below / "f").read_text() == "deep"
    assert_nothing_lost(repo)


async def test_a_tree_too_deep_for_a_path_is_refused(repo: Path) -> None:
    path = repo.parent / "data"
    path.mkdir()
    fd = os.open(path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=fd)
        fd, above = os.open("d" * 250, os.O_RDONLY, dir_fd=fd), fd
        os.close(above)
    os.close(fd)
    write(repo, {"fine": "fine"})
    async with AsyncLive(root=repo) as live:
        with refused(repo, StorageError, match="too long") as caught:
            await live.log_artifact(path, copy=True)
        assert caught.value.path == str(path)
        await live.log_artifact("fine", copy=True)
    assert (repo / "dvclive/artifacts/fine.dvc").is_file()
    shutil.rmtree(path)  # which pytest could not


# --- Random names ---------------------------------------------------------------------------

letters = st.one_of(
    st.sampled_from(" \t\r\n\\*?[]!#-.:'\"&|>%@`{}~$,=\x85\u2028\x7f\x01aab"),
    st.characters(codec="utf-8", exclude_characters="/\0"),
)
names = st.one_of(
    st.text(letters, min_size=1, max_size=12),
    st.binary(min_size=1, max_size=8).map(os.fsdecode),
    st.sampled_from([*FINE, *NOT_IN_GITIGNORE, *NOT_IN_YAML, *NOT_UTF8, *GIT_DVC_NAMES]),
)
# Without "\n": it splits the line in .gitignore, and the second line may show files that other
# lines hide. Without DVC's own files: broken ones would make DVC fail for every artifact.
names = names.filter(
    lambda name: (
        not {"/", "\0", "\n"} & set(name)
        and name not in (".", "..", "dvc.yaml", "dvc.lock")
        and not name.endswith(".dvc")
    )
)


async def log_each(repo: Path, directory: str, names: Iterable[str]) -> None:
    logged = set()
    async with AsyncLive(root=repo) as live:
        for name in names:
            before = tree(
                repo / directory
            )  # not mtimes: removing a line changes that of .gitignore
            try:
                await live.log_artifact(f"{directory}/{name}")
                logged.add(f"{directory}/{name}")
                assert_named(repo / directory, name)
            except ArtifactPathError:
                assert tree(repo / directory) == before
    # Git lists the names that .gitignore cannot express.
    assert not {path for path in logged if can_be_gitignored(os.path.basename(path))} & untracked(
        repo
    )
    assert_nothing_lost(repo)


def random_names(templates: Templates, base: Path, examples: int) -> None:
    repos = iter(range(examples * 100))

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),  # no shrinking: a batch is small enough to read
    )
    @given(st.lists(names, min_size=15, max_size=15, unique=True))
    def check(some: list[str]) -> None:
        repo = templates.make("git", base / str(next(repos)))
        for name in some:
            path = repo / "data" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"x") if name not in (".git", ".dvc") else path.mkdir()
        anyio.run(log_each, repo, "data", some)

    check()


def test_random_names_are_tracked_and_hidden_from_git_or_refused(
    templates: Templates, tmp_path: Path
) -> None:
    random_names(templates, tmp_path, 6)


@pytest.mark.fuzz
def test_many_random_names_are_tracked_and_hidden_from_git_or_refused(
    templates: Templates, tmp_path: Path
) -> None:
    random_names(templates, tmp_path, 140)


# --- The path of the repository -------------------------------------------------------------


async def test_a_repository_at_a_path_that_is_not_utf8_is_refused_on_entering(
    templates: Templates, tmp_path: Path
) -> None:
    repo = templates.make("git", tmp_path / os.fsdecode(b"\xff"))
    write(repo, {"model.pt": "weights"})
    before = tree(repo)
    with pytest.raises(AsyncLiveError) as caught:
        async with AsyncLive(root=repo) as live:
            await live.log_artifact("model.pt")
    assert isinstance(caught.value, (RepositoryError, ArtifactPathError))
    assert str(caught.value).isprintable()
    assert tree(repo) == before
