"""A commit fails after its line is added to .gitignore: the file is restored to the byte."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from backends import on_asyncio
from invariants import assert_nothing_lost

from asynclive import AsyncLive, StorageError
from asynclive._dvc.tracking import dvc_file_writer

pytestmark = pytest.mark.anyio


@on_asyncio
@pytest.mark.parametrize(
    ("before", "name"),
    [
        (None, "plain"),
        (b"", "two words"),
        (b"/other\n", "st*r"),
        (b"# no line end", "#number"),
        (b"/other\r\n*.txt\r\n", "plain"),
    ],
)
async def test_a_failed_commit_restores_gitignore_to_the_byte(
    repo: Path, monkeypatch: pytest.MonkeyPatch, before: bytes | None, name: str
) -> None:
    gitignore = repo / ".gitignore"
    if before is not None:
        gitignore.write_bytes(before)
    (repo / name).write_text("bytes")
    seen = []

    def full(path: str, *rest: Any, **options: Any) -> None:
        seen.append(gitignore.read_bytes())
        raise OSError(errno.ENOSPC, "No space left on device", path)

    async with AsyncLive(root=repo) as live:
        with monkeypatch.context() as patch:
            patch.setattr(dvc_file_writer, "write_new", full)
            with pytest.raises(StorageError):
                await live.log_artifact(name, name="n")
        assert seen != [before]  # the line had been added
        assert (gitignore.read_bytes() if gitignore.exists() else None) == before
        await live.log_artifact(name, name="n")
        assert gitignore.read_bytes() == seen[0]
    assert_nothing_lost(repo)
