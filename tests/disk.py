"""Describe a repository on disk completely, so that a test can compare before and after.

``look`` is for "nothing has changed": every file with its bytes, mode, inode and mtime.
``tree`` is for "these files were added": the text of every file of the workspace, by path.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from twin import git

_OBJECT = re.compile(r"\.dvc/cache/files/md5/[0-9a-f]{2}(/[0-9a-f]{30}(\.dir)?)?")
# DVC's own files in .dvc/tmp may change; asynclive's temp files there must not stay.
_OURS = re.compile(r"\.?asynclive-(unlocked-)?[0-9a-f]{16}|\.dvc\.yaml\.[0-9a-f]{16}\.[0-9]+\.tmp")

ErrorT = TypeVar("ErrorT", bound=Exception)


def _walk(base: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(base.iterdir()):
        if path.name == ".git":
            continue
        yield from _below(base, path)


def _below(base: Path, path: Path) -> Iterator[tuple[str, Path]]:
    name = path.relative_to(base).as_posix()
    in_dvc_tmp = ".dvc/tmp" in name
    if not in_dvc_tmp or "/asynclive-" in name:
        yield name, path
    if path.is_dir() and not path.is_symlink():
        for child in sorted(path.iterdir()):
            yield from _below(base, child)


def look(repo: Path, *, objects: bool) -> dict[str, str]:
    """Return every path in the repository with its description, and the status of Git.

    ``objects``: include the objects in DVC's cache. A call that is refused before it reads leaves
    them unchanged; one that is refused later may leave unreferenced objects, which ``dvc gc``
    removes.
    """
    seen = {
        name: _describe(path)
        for name, path in _walk(repo)
        if objects or not _OBJECT.fullmatch(name)
    }
    if (repo / ".git" / "HEAD").exists():
        status = git(repo, "status", "--porcelain", "--ignored", "-uall", "-z").split("\0")
        # Git ignores a part of .dvc; all of it is described above.
        seen["git status"] = "\n".join(line for line in status if line[3:8] != ".dvc/")
    return seen


def _describe(path: Path) -> str:
    info = path.lstat()
    mode = f"{stat.S_IMODE(info.st_mode):04o}"
    if stat.S_ISLNK(info.st_mode):
        return f"link to {os.readlink(path)}"
    if stat.S_ISDIR(info.st_mode):
        return f"directory {mode}"
    if not stat.S_ISREG(info.st_mode):
        return f"special {info.st_mode:o}"
    digest = hashlib.sha1(path.read_bytes()).hexdigest()
    return f"file {mode} inode {info.st_ino} mtime {info.st_mtime_ns} SHA-1 {digest}"


def tree(repo: Path) -> dict[str, str]:
    """Return the workspace: the text of each file, ``-> target`` for links, by path.

    Directories appear through their files; an empty one is ``name/``.
    """
    seen: dict[str, str] = {}
    for name, path in _walk(repo):
        if name.split("/")[0] == ".dvc":
            continue
        if path.is_symlink():
            seen[name] = f"-> {os.readlink(path)}"
        elif path.is_dir():
            if not any(path.iterdir()):
                seen[f"{name}/"] = ""
        else:
            seen[name] = path.read_text() if path.is_file() else "special"
    return seen


def objects(repo: Path) -> dict[str, bytes]:
    """Return the objects in DVC's cache by hash. Each must be complete and write-protected."""
    found: dict[str, bytes] = {}
    cache = repo / ".dvc" / "cache" / "files" / "md5"
    for path in sorted(cache.glob("??/*")):
        data = path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o444, path
        md5 = hashlib.md5(data).hexdigest()
        assert path.name.removesuffix(".dir") == md5[2:], path
        found[path.parent.name + path.name] = data
    return found


def leftovers(base: Path) -> list[str]:
    """Return the temp files and directories of asynclive, anywhere below ``base``."""
    return [str(path.relative_to(base)) for path in base.rglob("*") if _OURS.fullmatch(path.name)]


def session_files(*bases: Path) -> list[Path]:
    """Return the files in the temp directories of open sessions, without the locks of these."""
    return [
        path
        for base in bases
        for session in leftovers(base)
        for path in (base / session).rglob("*")
        if path.name != "session"
    ]


@contextmanager
def refused(
    repo: Path, error: type[ErrorT], *, match: str = "", objects: bool = True
) -> Iterator[pytest.ExceptionInfo[ErrorT]]:
    """Check that the block raises exactly this type of error and leaves the disk unchanged.

    The message must contain ``match``, literally.
    ``objects=False`` allows unreferenced objects in the cache.
    """
    before = look(repo, objects=objects)
    with pytest.raises(error) as caught:
        yield caught
    assert caught.type is error, repr(caught.value)
    assert look(repo, objects=objects) == before
    message = str(caught.value)
    # DVC 3.60 breaks a message into two lines that later versions write in one.
    assert match in message or match in " ".join(message.split())
    assert "\x1b" not in message, "colours for a terminal"


def write(repo: Path, files: dict[str, str]) -> None:
    """Write text files by path below ``repo``, with the directories they need."""
    for name, text in files.items():
        path = repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def write_numbered(repo: Path, count: int) -> list[Path]:
    """Write that many files that hold their own names, and return their paths."""
    paths = [repo / f"part-{number}.bin" for number in range(count)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


def dvc_file(text: str, name: str) -> str:
    """Return the ``.dvc`` file that ``dvc add`` writes for a file that holds ``text``."""
    md5 = hashlib.md5(text.encode()).hexdigest()
    return f"outs:\n- md5: {md5}\n  size: {len(text)}\n  hash: md5\n  path: {name}\n"


def dir_object(files: dict[str, str]) -> tuple[str, bytes]:
    """Return the hash and the bytes of the object that lists a directory with these files."""
    listing = json.dumps(
        [{"md5": md5(text), "relpath": name} for name, text in sorted(files.items())]
    ).encode()
    return f"{hashlib.md5(listing).hexdigest()}.dir", listing


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
