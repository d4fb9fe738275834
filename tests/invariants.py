"""Check the invariants of the files on disk, which hold after any cancel, kill, error or full disk.

The checks use neither DVC nor asynclive. They read the files alone.
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
"""The content of a path: the bytes of a file, or the entries of a directory by name."""


def assert_sound(repo: Path, *, removed: Collection[Path] = ()) -> None:
    """Check that no file is half written, and that each path and object that is named exists.

    Temp files may be left. ``removed``: paths that the user has removed; entries may name them.
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
        exists = path.exists() or path.is_symlink() or path in removed
        assert exists, f"the entry {name} names {path}, which does not exist"


def assert_nothing_lost(repo: Path, *, removed: Collection[Path] = ()) -> None:
    """Check that the files are sound and that no temp file of a session is left."""
    assert_sound(repo, removed=removed)
    assert leftovers(repo) == []


def assert_one_of(path: Path, *states: Content | None) -> None:
    """Check that ``path`` holds exactly one of these contents; None: nothing."""
    found = content(path)
    assert any(found == state for state in states), f"{path} is neither old nor new: {found!r:.200}"


def content(path: Path) -> Content | None:
    """Return the content of ``path``, following links; None if nothing is there."""
    if path.is_dir():
        return {child.name: content(child) or b"" for child in path.iterdir()}
    return path.read_bytes() if path.is_file() else None


def put(path: Path, new: Content | None) -> None:
    """Write this content to ``path``, after removing the old content."""
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
    """Return the artifacts of dvc.yaml by name; dvc.yaml must parse."""
    path = repo / "dvc.yaml"
    document = _loaded(path.read_text()) if path.exists() else None
    artifacts: Mapping[str, Any] = (document or {}).get("artifacts") or {}
    return artifacts


@lru_cache(maxsize=64)
def _loaded(text: str) -> Any:
    """Parse the text; cached, since many checks read the same text again."""
    return YAML(typ="safe", pure=True).load(text)


def md5_of(state: Content) -> str:
    """Return the MD5 that a .dvc file gives for this content."""
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
    """Return the paths in the temp directories of sessions that are open or were killed."""
    return sorted(
        str(path)
        for found in leftovers(repo)
        for path in [repo / found, *(repo / found).rglob("*")]
    )


def dvc_files(repo: Path) -> list[Path]:
    return [path for path in repo.rglob("*.dvc") if path.is_file() and ".dvc" not in path.parts]


def named_objects(repo: Path, dvc_file: Path) -> Iterator[tuple[str, str]]:
    """Yield each object that a .dvc file names; for a directory also those in its listing."""
    (out,) = _loaded(dvc_file.read_text())["outs"]
    md5 = out["md5"]
    yield md5, out["path"]
    if md5.endswith(".dir"):
        for entry in json.loads(object_path(repo, md5).read_bytes()):
            yield entry["md5"], entry["relpath"]


def object_path(repo: Path, md5: str) -> Path:
    return repo / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
