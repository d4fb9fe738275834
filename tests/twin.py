"""Make twin repositories, which differ in nothing but their path."""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

from dvc_command import run_dvc

# Long before the mtime of any file that a test writes.
_OLD = 1_000_000_000


def git(repo: Path, *args: str) -> str:
    """Run ``git`` in ``repo`` and return its output."""
    done = subprocess.run(
        ["git", "-c", "core.quotepath=false", *args],
        cwd=repo,
        check=True,
        capture_output=True,
    )
    return os.fsdecode(done.stdout)  # file names need not be UTF-8


def dvc(repo: Path, *args: str) -> str:
    """Run the ``dvc`` command in ``repo`` and return its output."""
    return run_dvc(args, str(repo))


def settle(base: Path) -> None:
    """Give each file and directory under ``base`` an old mtime of its own, equal in twins."""
    for path in sorted(base.rglob("*"), reverse=True):
        if path.is_symlink() or {".git", ".dvc"} & set(path.relative_to(base).parts):
            continue
        seconds = _OLD + zlib.crc32(str(path.relative_to(base)).encode()) % 1_000_000
        os.utime(path, (seconds, seconds))


def is_old(seconds: float) -> bool:
    """Whether this mtime is one that ``settle`` gave."""
    return seconds < _OLD + 1_000_000


class Templates:
    """Empty repositories by kind. ``make`` copies one to ``base/repo``.

    - ``git``: Git and DVC, committed
    - ``unborn``: Git and DVC, no commit yet
    - ``bare-git``: Git without DVC, one commit
    - ``no-scm``: DVC without Git
    - ``subdir``: Git at ``repo``, DVC at ``repo/project``
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: set[str] = set()

    def make(self, kind: str, base: Path) -> Path:
        """Return ``base/repo``, a fresh repository of this kind."""
        template = self._directory / kind
        if kind not in self._made:
            template.mkdir()
            _KINDS[kind](template)
            self._made.add(kind)
        base.mkdir(parents=True)
        shutil.copytree(template, base / "repo", symlinks=True)
        return base / "repo"


def _init_git(repo: Path) -> None:
    git(repo, "init", "--quiet", "--initial-branch=main", "--template=")
    for key, value in {
        "user.name": "Twin",
        "user.email": "twin@example.com",
        "commit.gpgsign": "false",
    }.items():
        git(repo, "config", key, value)


def _commit(repo: Path) -> None:
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--allow-empty", "--message=Start")


def _init_dvc(root: Path, *args: str) -> None:
    dvc(root, "init", "--quiet", *args)
    # DVC tells repositories apart, and finds their shared state again, by their path and by
    # the age of a file in here: each copy makes its own.
    shutil.rmtree(root / ".dvc" / "tmp", ignore_errors=True)


def _git(repo: Path) -> None:
    _init_git(repo)
    _init_dvc(repo)
    _commit(repo)


def _unborn(repo: Path) -> None:
    _init_git(repo)
    _init_dvc(repo)


def _bare_git(repo: Path) -> None:
    _init_git(repo)
    _commit(repo)


def _no_scm(repo: Path) -> None:
    _init_dvc(repo, "--no-scm")


def _subdir(repo: Path) -> None:
    _init_git(repo)
    (repo / "project").mkdir()
    _init_dvc(repo / "project", "--subdir")
    _commit(repo)


_KINDS: dict[str, Callable[[Path], None]] = {
    "git": _git,
    "unborn": _unborn,
    "bare-git": _bare_git,
    "no-scm": _no_scm,
    "subdir": _subdir,
}
