"""Bound the open files by the workers, for any number of artifacts in flight."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from backends import on_asyncio

import asynclive._ingest.copy_and_hash
from asynclive import AsyncLive

pytest.importorskip("resource", reason="no limit of open files can be set here")
from limits import at_most_more_open_files

pytestmark = [pytest.mark.anyio, on_asyncio]

WORKERS = 2
# Four large files for each worker have their source, cache object and copy open. Others are open
# once: DVC's lock and state, Git's index, dvc.yaml and the like.
ALLOWED = 3 * 4 * WORKERS + 24


@pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
async def test_open_files_are_bounded_by_the_workers(
    repo: Path, monkeypatch: pytest.MonkeyPatch, copy: bool
) -> None:
    # Files of several steps, so that one starts before the previous one has ended.
    monkeypatch.setattr(asynclive._ingest.copy_and_hash, "STEP_BYTES", 2**19)
    large = [repo / f"{number}.bin" for number in range(40)]
    for number, path in enumerate(large):
        path.write_bytes(number.to_bytes(8, "little") * (5 * 2**15))
    tree = repo / "tree"
    for number in range(1_000):
        path = tree / f"{number % 20}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {number}")
    async with AsyncLive(root=repo, workers=WORKERS) as live:
        with at_most_more_open_files(ALLOWED):
            async with anyio.create_task_group() as task_group:
                for path in (tree, *large):
                    task_group.start_soon(lambda path: live.log_artifact(path, copy=copy), path)
