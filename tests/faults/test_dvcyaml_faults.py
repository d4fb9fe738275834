"""dvc.yaml cannot be used, before a call or in the middle: no artifact with an entry is logged.

Other artifacts of the same group are logged. asynclive leaves the broken file as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disk import session_files
from invariants import assert_nothing_lost, assert_sound
from logged import (
    Artifact,
    case,
    errors,
    log_all,
    write_all,
)
from ruamel.yaml import YAML

from asynclive import AsyncLive, AsyncLiveError, DvcYamlError
from asynclive._dvcyaml.dvcyaml_file import DvcYaml

pytestmark = pytest.mark.anyio


def group(repo: Path, suffix: str = "") -> list[Artifact]:
    return [
        Artifact(repo, "small", True, f"annotated-copied{suffix}"),
        Artifact(repo, "directory", True, f"annotated-directory{suffix}"),
        Artifact(repo, "small", False, f"annotated{suffix}"),
        Artifact(repo, "small", True, f"no-entry{suffix}", values={}),
        Artifact(repo, "directory", False, f"no-entry-directory{suffix}", values={}),
    ]


def replace_content(content: bytes) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        path.write_bytes(content)

    return spoil


def becomes_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def becomes_a_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def becomes_a_link_to_a_directory(path: Path) -> None:
    path.unlink()
    (path.parent / "elsewhere").mkdir(exist_ok=True)
    path.symlink_to("elsewhere")


UNUSABLE: dict[str, Callable[[Path], None]] = {
    "broken": replace_content(b"artifacts:\n  a: [\n"),
    "cut short": replace_content(b'artifacts:\n  a:\n    path: "data'),
    "a list": replace_content(b"- artifacts\n"),
    "a text": replace_content(b"artifacts\n"),
    "artifacts that are a list": replace_content(b"artifacts:\n- a\n"),
    "a key twice": replace_content(b"artifacts: {}\nartifacts: {}\n"),
    "a null byte": replace_content(b"artifacts:\n  a:\n    path: a\x00b\n"),
    "a directory": becomes_a_directory,
    "a link to a directory": becomes_a_link_to_a_directory,
}
# DVC itself reads these for every artifact, so every call fails.
UNREADABLE_BY_DVC: dict[str, Callable[[Path], None]] = {
    "not UTF-8": replace_content(b"artifacts: \xff\n"),
    "a broken pipeline": replace_content(b"stages:\n  a: [\n"),
    "a link to itself": becomes_a_link_to_itself,
}
IN_THE_MIDDLE = {name: UNREADABLE_BY_DVC[name] for name in ("not UTF-8", "a link to itself")}


async def test_artifacts_with_an_entry_are_refused_and_the_others_are_logged(repo: Path) -> None:
    artifacts, path = group(repo), repo / "dvc.yaml"
    async with AsyncLive(root=repo) as live:
        write_all(artifacts)
        assert not errors(artifacts, await log_all(live, artifacts))
        for name, spoil in (UNUSABLE | UNREADABLE_BY_DVC).items():
            with case(name):
                good = path.read_bytes()
                write_all(artifacts)
                spoil(path)
                outcomes = await log_all(live, artifacts)
                restore(path, good)
                failed = errors(artifacts, outcomes)
                check_refused(failed, artifacts, path, name)
                assert {one.name for one in artifacts if one.values} <= failed.keys()
                assert session_files(repo) == []
                assert_sound(repo)
                assert not errors(artifacts, await log_all(live, artifacts))
    assert_nothing_lost(repo)


def check_refused(
    failed: dict[str, AsyncLiveError], artifacts: list[Artifact], path: Path, spoil: str
) -> None:
    """Check that each artifact with an entry has its own error, and others only if DVC fails."""
    assert failed
    assert len({id(error) for error in failed.values()}) == len(failed)
    for artifact in artifacts:
        error = failed.get(artifact.name)
        if artifact.values and error is not None:
            assert isinstance(error, DvcYamlError)
            assert error.path == str(path)
        elif spoil not in UNREADABLE_BY_DVC:
            assert error is None


def restore(path: Path, content: bytes) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    path.write_bytes(content)


def entry_is_added(path: Path) -> None:
    path.write_text(f"{path.read_text()}  by-hand:\n    path: dvc.yaml\n")


def comment_is_added(path: Path) -> None:
    path.write_text(f"# by hand\n{path.read_text()}")


def is_moved_away(path: Path) -> None:
    path.unlink()


def is_replaced_by_a_copy(path: Path) -> None:
    other = path.with_name("other.yaml")
    shutil.copyfile(path, other)
    other.replace(path)


def becomes_private(path: Path) -> None:
    path.chmod(0o600)


EDITS: dict[str, Callable[[Path], None]] = {
    "an entry is added": entry_is_added,
    "a comment is added": comment_is_added,
    "all is deleted": replace_content(b""),
    "it is moved away": is_moved_away,
    "it is replaced by its copy": is_replaced_by_a_copy,
    "it is made private": becomes_private,
}


def edited_before_it_is_replaced(
    patch: pytest.MonkeyPatch, edit: Callable[[Path], None]
) -> list[Path]:
    """Edit dvc.yaml just before it is replaced, when all is tracked; return the edited paths."""
    replace = DvcYaml.replace
    edited: list[Path] = []

    async def edit_first(self: DvcYaml, update: Any, names: Any) -> None:
        if not edited:
            edited.append(Path(self.path))
            edit(edited[0])
        await replace(self, update, names)

    patch.setattr(DvcYaml, "replace", edit_first)
    return edited


async def test_an_edit_between_reading_and_replacing_is_kept(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts, path = group(repo), repo / "dvc.yaml"
    async with AsyncLive(root=repo) as live:
        write_all(artifacts)
        assert not errors(artifacts, await log_all(live, artifacts))
        for name, edit in EDITS.items():
            with case(name):
                write_all(artifacts)
                with monkeypatch.context() as patch:
                    edited = edited_before_it_is_replaced(patch, edit)
                    assert not errors(artifacts, await log_all(live, artifacts))
                assert edited == [path]
                text = path.read_text()
                assert ("by-hand:" in text) == (edit is entry_is_added)
                assert text.startswith("# by hand\n") == (edit is comment_is_added)
                assert (path.stat().st_mode & 0o777) == (
                    0o600 if edit is becomes_private else 0o644
                )
                path.unlink()  # the next case starts without dvc.yaml
                write_all(artifacts)
                assert not errors(artifacts, await log_all(live, artifacts))
    assert_nothing_lost(repo)


@pytest.mark.parametrize(
    "known",
    [pytest.param(False, id="new", marks=pytest.mark.long), pytest.param(True, id="logged before")],
)
async def test_artifacts_are_undone_if_dvc_yaml_breaks_before_it_names_them(
    repo: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    path = repo / "dvc.yaml"
    path.write_text("artifacts:\n  by-hand:\n    path: dvc.yaml\n")
    artifacts = group(repo)
    async with AsyncLive(root=repo) as live:
        if known:
            write_all(artifacts)
            assert not errors(artifacts, await log_all(live, artifacts))
        for number, (name, spoil) in enumerate((UNUSABLE | IN_THE_MIDDLE).items()):
            with case(name):
                if not known:  # new paths in each case
                    artifacts = group(repo, f"-{number}")
                write_all(artifacts)
                good = path.read_bytes()
                with monkeypatch.context() as patch:
                    edited = edited_before_it_is_replaced(patch, spoil)
                    outcomes = await log_all(live, artifacts)
                assert edited == [path]
                restore(path, good)
                check_refused(errors(artifacts, outcomes), artifacts, path, name)
                assert session_files(repo) == []
                assert_sound(repo)
                assert not errors(artifacts, await log_all(live, artifacts))
    assert_nothing_lost(repo)


@pytest.mark.parametrize("mode", [0o444, 0o600, 0o640])
async def test_dvc_yaml_keeps_its_mode(repo: Path, mode: int) -> None:
    artifacts, path = group(repo), repo / "dvc.yaml"
    path.write_text("artifacts: {}\n")
    path.chmod(mode)
    write_all(artifacts)
    async with AsyncLive(root=repo) as live:
        assert not errors(artifacts, await log_all(live, artifacts))
    assert path.stat().st_mode & 0o777 == mode
    assert_nothing_lost(repo)


async def test_a_dvc_yaml_of_5_mb_is_extended_and_nothing_else_in_it_changes(repo: Path) -> None:
    lines = [
        f"  model-{number}:\n    path: models/{number}.pt\n    type: model\n    desc: {'x' * 400}\n"
        for number in range(11_000)
    ]
    old = "artifacts:\n" + "".join(lines)
    assert len(old) > 5_000_000
    path = repo / "dvc.yaml"
    path.write_text(old)
    artifacts = group(repo)
    write_all(artifacts)
    async with AsyncLive(root=repo) as live:
        outcomes = await log_all(live, artifacts)
    new = path.read_text()
    assert new.startswith(old)
    added = YAML(typ="safe", pure=True).load("artifacts:\n" + new[len(old) :])["artifacts"]
    assert added.keys() == {one.name for one in artifacts if one.values}
    # A parser needs minutes for the whole file, so check the new part alone.
    path.write_text("artifacts:\n" + new[len(old) :])
    assert not errors(artifacts, outcomes)
    assert_nothing_lost(repo)
