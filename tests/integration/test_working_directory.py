"""The working directory of the program: it may be gone, and modules in it are not imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from backends import in_both, on_asyncio
from disk import write
from invariants import assert_nothing_lost, entries
from twin import dvc

from asynclive import AsyncLive, RepositoryError
from asynclive._cli.main import run
from asynclive._stage import stage_job

pytestmark = pytest.mark.anyio

# --- The working directory is gone ------------------------------------------------------------


@pytest.fixture
def gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that a test removes."""
    if sys.platform == "win32":
        pytest.skip("Windows does not remove a working directory")
    directory = tmp_path / "gone"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


@on_asyncio
@in_both
@pytest.mark.parametrize("when", ["before the block", "in the block"])
@pytest.mark.parametrize("autostage", [False, True])
async def test_an_absolute_root_works_without_a_working_directory(
    repo: Path,
    gone: Path,
    isolation: Any,
    when: str,
    autostage: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if autostage:
        write(repo, {".dvc/config": "[core]\n    autostage = true\n"})
    monkeypatch.setattr(stage_job, "PROCESS_FILES", 1)
    write(repo, {"model": "text", "data/a": "a", "data/b": "b", "inside/a": "a"})
    if when == "before the block":
        gone.rmdir()
    async with AsyncLive(root=repo, isolation=isolation) as live:
        if when == "in the block":
            gone.rmdir()
        await live.log_artifact("model", desc="text")
        await live.log_artifact("data", desc="text", copy=True)
        await live.log_artifact("inside")
        write(repo, {"inside/a": "new"})
        await live.log_artifact("inside/a")
        await (await live.submit(repo / "model", name="submitted", copy="sub"))
    assert sorted(entries(repo)) == ["data", "model", "submitted"]
    os.chdir(repo)
    assert dvc(repo, "status") == "Data and pipelines are up to date.\n"
    assert_nothing_lost(repo)


@pytest.mark.parametrize("root", [None, "below"])
def test_a_relative_root_without_a_working_directory_is_an_error_that_names_root(
    gone: Path, root: str | None
) -> None:
    gone.rmdir()
    with pytest.raises(RepositoryError, match="Pass root= with an absolute path"):
        AsyncLive(root=root)


@on_asyncio
async def test_other_threads_see_that_the_working_directory_is_gone(
    repo: Path, gone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, {"model": "text"})
    gone.rmdir()
    getcwd = os.getcwd
    async with AsyncLive(root=repo, isolation="thread") as live:
        await live.log_artifact("model")
    assert os.getcwd is getcwd
    with pytest.raises(FileNotFoundError):
        os.getcwd()


def test_the_doctor_needs_no_working_directory(repo: Path, gone: Path) -> None:
    gone.rmdir()
    assert run(["doctor", str(repo)]) == 0


# --- Modules in the working directory, or next to the script ----------------------------------

PROGRAM = """
import sys, anyio
from asynclive import AsyncLive
from asynclive._stage import stage_job
stage_job.PROCESS_FILES = 1

async def main():
    async with AsyncLive(root={root!r}, isolation="process", save_dvc_exp=True) as live:
        await live.log_artifact("model", type="model")
        await live.log_artifact("data")

anyio.run(main)
"""


@pytest.mark.parametrize("how", ["-c", "a script", "-m"])
def test_no_module_of_the_program_replaces_one_that_dvc_imports(
    repo: Path, tmp_path: Path, how: str
) -> None:
    write(repo, {"model": "text", "data/a": "a", "data/b": "b"})
    place = tmp_path / "place"
    # This process imports none of these from there: the others would.
    names = ("git", "dvc", "dvc_data", "dulwich", "yaml", "shortuuid", "voluptuous", "pygit2")
    marker = f"import os\nos.close(os.open({str(tmp_path / 'imported')!r}, os.O_CREAT))\n1 / 0\n"
    write(place, {f"{name}.py": marker for name in names})
    program = PROGRAM.format(root=str(repo))
    write(place, {"program.py": program})
    arguments = {"-c": ["-c", program], "a script": ["program.py"], "-m": ["-m", "program"]}[how]
    done = subprocess.run(
        [sys.executable, *arguments], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "imported").exists()
    assert list(entries(repo)) == ["model"]
