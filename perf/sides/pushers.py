"""The programs that bring DVC's cache to a remote, each in the working directory of a repository.

Each returns the seconds of the push. asynclive and DVC have opened the repository, and imported
their modules, before the clock starts. s5cmd and rclone are commands; they only copy the files of
the cache, without order, and do not know which ones DVC tracks.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from perf.harness.clock import PrewarmedClock
from perf.harness.object_server import BUCKET, KEY, PREFIX, REGION
from perf.harness.units import MIB

CACHE = ".dvc/cache/files/md5"
TARGET = f"{BUCKET}/{PREFIX}/files/md5"
# As many as s5cmd or asynclive keep busy; rclone's own default is 4.
RCLONE_TRANSFERS = 32


def push_asynclive(endpoint: str) -> dict[str, Any]:
    """Push all that is tracked, in a session of its own."""
    from asynclive import AsyncLive

    async def main() -> dict[str, Any]:
        async with AsyncLive() as live:
            with PrewarmedClock(256 * MIB) as clock:
                result = await live.push()
        return {"seconds": clock.seconds, "objects": result.objects}

    return asyncio.run(main())


def push_dvc(endpoint: str) -> dict[str, Any]:
    """Push all that is tracked by ``Repo.push``, as ``dvc push`` does."""
    from dvc.repo import Repo

    for name in ("dvc_s3", "s3fs", "aiobotocore.session"):
        importlib.import_module(name)
    with Repo() as repo, PrewarmedClock(256 * MIB) as clock:
        objects = repo.push()
    return {"seconds": clock.seconds, "objects": objects}


def push_s5cmd(endpoint: str) -> dict[str, Any]:
    command = [s5cmd(), "--endpoint-url", endpoint, "--log", "error"]
    return _command([*command, "cp", f"{CACHE}/", f"s3://{TARGET}/"])


def push_rclone(endpoint: str) -> dict[str, Any]:
    options = {
        "s3-provider": "Other",
        "s3-endpoint": endpoint,
        "s3-region": REGION,
        "s3-access-key-id": KEY,
        "s3-secret-access-key": KEY,
        "transfers": str(RCLONE_TRANSFERS),
        "checkers": str(RCLONE_TRANSFERS),
    }
    given = [f"--{name}={value}" for name, value in options.items()]
    command = [str(rclone()), "copy", CACHE, f":s3:{TARGET}", "--s3-no-check-bucket", "--config="]
    return _command([*command, *given])


PUSHERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "asynclive": push_asynclive,
    "dvc push": push_dvc,
    "s5cmd": push_s5cmd,
    "rclone": push_rclone,
}


def missing(side: str) -> str | None:
    """Return why a side cannot run on this machine; None if it can."""
    if side == "s5cmd" and not Path(s5cmd()).exists():
        return "s5cmd is not installed"
    if side == "rclone" and rclone() is None:
        return "rclone is not installed"
    return None


def versions() -> dict[str, str]:
    """Return the first line that each command says about its version."""
    found = {}
    for side, command in (("s5cmd", [s5cmd(), "version"]), ("rclone", [str(rclone()), "version"])):
        if not missing(side):
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[side] = done.stdout.splitlines()[0]
    return found


def rclone() -> str | None:
    """Return the path of rclone: that of its package next to Python, or that of the system."""
    return shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def s5cmd() -> str:
    """Return the path of s5cmd, which its package installs next to Python."""
    return str(Path(sys.executable).with_name("s5cmd"))


def _command(command: list[str]) -> dict[str, Any]:
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": KEY,
        "AWS_REGION": REGION,
    }
    with PrewarmedClock(256 * MIB) as clock:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        with suppress(IndexError):
            raise SystemExit(done.stderr.strip().splitlines()[-1])
        raise SystemExit(f"{command[0]} ended with {done.returncode}")
    return {"seconds": clock.seconds}
