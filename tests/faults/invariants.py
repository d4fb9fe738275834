"""What holds on disk at every moment, whatever was cancelled, killed, refused or full.

Read without DVC and without asynclive: the files alone have to say it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from disk import dir_object, leftovers
from ruamel.yaml import YAML

Content = bytes | dict[str, "Content"]
"""What a path holds: bytes of a file, or a directory's entries by name."""


def assert_sound(repo: Path, *, removed: Collection[Path] = ()) -> None:
    """Nothing is half written, and nothing names what is not there. Temp files may be left.

    ``removed``: what the user has removed, whatever names it.
    """
    tracked = {path.with_suffix(""): path for path in dvc_files(repo)}
    for dvc_file in tracked.values():
        for md5, relpath in named_objects(repo, dvc_file):
            assert object_path(repo, md5).is_file(), f"{dvc_file} names {md5} ({relpath}): gone"
    for path in (repo / ".dvc" / "cache" / "files" / "md5").glob("??/*"):
        md5 = path.parent.name + path.name
        assert hashlib.md5(path.read_bytes()).hexdigest() == md5.removesuffix(".dir"), path
    for name, entry in entries(repo).items():
        path = repo / entry["path"]
        there = path.exists() or path.is_symlink() or path in removed
        assert there, f"the entry {name} names {path}: not there"


def assert_nothing_lost(repo: Path, *, removed: Collection[Path] = ()) -> None:
    """As ``assert_sound``, and no temp file of a session is anywhere."""
    assert_sound(repo, removed=removed)
    assert leftovers(repo) == []


def assert_one_of(path: Path, *states: Content | None) -> None:
    """What lies at ``path`` is wholly one of these; None: nothing."""
    found = content(path)
    assert any(found == state for state in states), f"{path} is neither old nor new: {found!r:.200}"


def content(path: Path) -> Content | None:
    """What lies at ``path``, links followed."""
    if path.is_dir():
        return {child.name: content(child) or b"" for child in path.iterdir()}
    return path.read_bytes() if path.is_file() else None


def put(path: Path, new: Content | None) -> None:
    """Have this lie at ``path``, as if nothing had been there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if isinstance(new, bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(new)
    elif new is not None:
        path.mkdir(parents=True)
        for name, below in new.items():
            put(path / name, below)


def entries(repo: Path) -> Mapping[str, Any]:
    """The artifacts of dvc.yaml, which parses, by name."""
    path = repo / "dvc.yaml"
    document = _loaded(path.read_text()) if path.exists() else None
    artifacts: Mapping[str, Any] = (document or {}).get("artifacts") or {}
    return artifacts


@lru_cache(maxsize=64)
def _loaded(text: str) -> Any:
    """For each look at what has not changed, parsed once."""
    return YAML(typ="safe", pure=True).load(text)


def md5_of(state: Content) -> str:
    """The MD5 that a .dvc file has of it."""
    if isinstance(state, bytes):
        return hashlib.md5(state).hexdigest()
    return dir_object(dict(_files(state)))[0]


def _files(state: Mapping[str, Content], above: str = "") -> Iterator[tuple[str, str]]:
    for name, below in state.items():
        if isinstance(below, bytes):
            yield above + name, below.decode()
        else:
            yield from _files(below, f"{above}{name}/")


def temp_files(repo: Path) -> list[str]:
    """What lies in the directories of sessions that are open, or were left."""
    return sorted(
        str(path)
        for found in leftovers(repo)
        for path in [repo / found, *(repo / found).rglob("*")]
    )


def dvc_files(repo: Path) -> list[Path]:
    return [path for path in repo.rglob("*.dvc") if path.is_file() and ".dvc" not in path.parts]


def named_objects(repo: Path, dvc_file: Path) -> Iterator[tuple[str, str]]:
    """Each object that a .dvc file names, of a directory those in its listing too."""
    (out,) = _loaded(dvc_file.read_text())["outs"]
    md5 = out["md5"]
    yield md5, out["path"]
    if md5.endswith(".dir"):
        for entry in json.loads(object_path(repo, md5).read_bytes()):
            yield entry["md5"], entry["relpath"]


def object_path(repo: Path, md5: str) -> Path:
    return repo / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
