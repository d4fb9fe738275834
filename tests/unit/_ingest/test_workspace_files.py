"""WorkspaceFiles: the cases of ``place``, by link type and kind of file."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import NamedTuple

import pytest
from layouts import make_store, request_of

from asynclive._artifact.plan import PlannedFile
from asynclive._ingest.workspace_files import Batch, WorkspaceFiles
from asynclive._workspace.source_scan import make_plan

DATA = b"data"
MD5 = hashlib.md5(DATA).hexdigest()
MTIME_NS = 10**18
MODE = 0o640
DVC_MODE = 0o644


class Case(NamedTuple):
    number: int
    types: tuple[str, ...]
    copied: bool
    isdir: bool
    expected: str
    """The same file, a link of a kind, or a copy: with DVC's mode, or that of the source."""
    file: str = "plain"
    isnew: bool = True


CASES = [
    Case(1, ("copy",), False, True, "same"),
    Case(2, ("symlink",), False, True, "same", file="link to object"),
    Case(3, ("copy",), False, False, "same"),
    Case(4, ("copy",), False, False, "copy", file="link"),
    Case(4, ("symlink",), False, False, "symlink"),
    Case(4, ("hardlink",), False, True, "hardlink"),
    Case(5, ("copy",), True, True, "copy of the source"),
    Case(6, ("hardlink", "copy"), True, True, "copy of the source", isnew=False),
    Case(7, ("copy",), True, False, "copy"),
    Case(8, ("symlink",), True, False, "symlink"),
    Case(8, ("hardlink", "copy"), True, True, "hardlink"),
]


def make_source(path: Path, case: Case, object_path: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if case.file == "link to object":
        path.symlink_to(object_path)
        return
    real = path.with_name("real") if case.file == "link" else path
    real.write_bytes(DATA)
    real.chmod(MODE)
    os.utime(real, ns=(MTIME_NS, MTIME_NS))
    if case.file == "link":
        path.symlink_to(real)


def plan_file(source: Path, root: Path) -> PlannedFile:
    plan = make_plan(
        request_of(source), str(root), lambda: lambda _, dirs, files: (dirs, files), lambda: None
    )
    return next(file for file in plan.files if file.key in ((), ("file",)))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_workspace_gets_the_file_of_the_case(tmp_path: Path, case: Case) -> None:
    store = make_store(tmp_path, *case.types)
    store.put(DATA, MD5)
    object_path = store.object_path(MD5)
    root = Path(store.layout.root)
    source = root / "data"
    path = source / "file" if case.isdir else source
    make_source(path, case, object_path)
    planned = plan_file(source, root)
    copy_root = store.workspace_temp_path() if case.copied else ""
    if case.copied and case.isdir:
        os.mkdir(copy_root)
    request = request_of(root / "copy", source=source) if case.copied else request_of(source)
    workspace, batch = WorkspaceFiles(request, case.isdir, store, copy_root), Batch()

    workspace.place(planned, MD5, case.isnew, DATA, batch)

    ((key, md5, size, _, inode, mtime_ns),) = batch.stored
    assert (key, md5, size) == (planned.key, MD5, len(DATA))
    if case.expected == "same":
        assert batch.moves == workspace.temp_paths == []
        assert (inode, mtime_ns) == planned.fingerprint
        modes = [(mode.path, mode.mode) for mode in batch.modes]
        assert modes == ([(str(path), DVC_MODE)] if case.number == 3 else [])
        return
    if case.copied:
        assert batch.moves == workspace.temp_paths == []
        new = os.path.join(copy_root, *planned.key)
    else:
        (move,) = batch.moves
        assert move.destination == str(path)
        assert workspace.temp_paths == [move.source]
        new = move.source
    found = os.stat(new)
    assert (inode, mtime_ns) == (found.st_ino, found.st_mtime_ns)
    assert Path(new).read_bytes() == DATA
    assert os.path.islink(new) == (case.expected == "symlink")
    assert os.path.samefile(new, object_path) == (case.expected in ("symlink", "hardlink"))
    if case.expected == "copy":
        assert stat.S_IMODE(found.st_mode) == DVC_MODE
    elif case.expected == "copy of the source":
        assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (MODE, MTIME_NS)
