"""After logging, DVC has every hash in its cache: no DVC command reads the bytes again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from backends import on_asyncio

from asynclive import AsyncLive

pytestmark = [pytest.mark.anyio, on_asyncio]

# Runs `dvc status` and prints the files it opened.
_STATUS = """
import json, sys
opened = set()
sys.addaudithook(lambda event, args: event == "open" and opened.add(str(args[0])))
from dvc.cli import main
status = main(["status", "--quiet"])
print(json.dumps([status, sorted(opened)]))
"""


def read_by_status(repo: Path) -> tuple[int, set[str]]:
    """Return the exit status of `dvc status` (0: up to date) and the artifact files it read.

    These are files and cache objects, without the objects that list a directory and DVC's own
    files.
    """
    done = subprocess.run(
        [sys.executable, "-c", _STATUS], cwd=repo, check=True, stdout=subprocess.PIPE
    )
    status, opened = json.loads(done.stdout)
    # DVC opens some files by a path relative to the working directory.
    paths = {os.path.relpath(os.path.join(repo, name), repo) for name in opened}
    return status, {
        path
        for path in paths
        if (path.endswith(".bin") or "cache/files" in path) and not path.endswith(".dir")
    }


def make_sources(base: Path) -> list[Path]:
    """Write a small file, a large one, and a directory with both."""
    sizes = {"small.bin": 10, "large.bin": 3 * 2**20, "data/small.bin": 11, "data/large.bin": 2**21}
    for name, size in sizes.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
    return [base / "small.bin", base / "large.bin", base / "data"]


async def test_dvc_status_reads_no_artifact_after_logging(repo: Path, tmp_path: Path) -> None:
    in_place, copied = make_sources(repo), make_sources(tmp_path / "sources")
    async with AsyncLive(root=repo) as live:
        for path in in_place:
            await live.log_artifact(path, type="model")
        for path in copied:
            await live.log_artifact(path, type="model", name=f"copy-{path.stem}", copy=True)
    assert read_by_status(repo) == (0, set())
    # The check would notice a read: DVC reads a file with another mtime.
    os.utime(repo / "dvclive/artifacts/data/large.bin", (1, 1))
    assert read_by_status(repo) == (0, {"dvclive/artifacts/data/large.bin"})


async def test_dvc_status_reads_no_artifact_that_was_logged_again(
    repo: Path, tmp_path: Path
) -> None:
    in_place, copied = make_sources(repo), make_sources(tmp_path / "sources")
    async with AsyncLive(root=repo) as live:
        for changed in (False, False, True):
            if changed:
                make_sources(repo)
                make_sources(tmp_path / "sources")
            for path in in_place:
                await live.log_artifact(path)
            for path in copied:
                await live.log_artifact(path, copy=True)
    assert read_by_status(repo) == (0, set())
