"""Makes a Git commit of the workspace. Git's index, HEAD and the workspace stay as they are.

A private copy of the index is brought up to date by Git's own program. It knows every format of the
index, filters, sparse checkouts and submodules. It is the program that ``git commit`` runs, and
each object that it adds has the bytes that ``git commit -a`` would give it. No hook runs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

# Variables that Git sets for its hooks: they name another repository, index or kind of pathspec.
_LOCAL_VARIABLES = frozenset(
    {
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"),
        *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE"),
        *("GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS"),
        "GIT_ICASE_PATHSPECS",
    }
)
_SETTINGS = (
    "core.splitIndex=false",  # else the copy writes a shared index into the repository
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.safecrlf=false",  # a file that another system will read differently is no error
    "i18n.commitEncoding=UTF-8",
    "core.filesRefLockTimeout=10000",  # milliseconds
)
# A file may be truncated and written again while Git reads it, and a signal for the whole job
# ends Git too. Nothing has changed then, so the same command is run again.
_ATTEMPTS = 4
_SUBMODULE = "160000"


class GitError(Exception):
    """Git refused, or its program is not there."""


class WorkspaceCommit:
    """The commit that is being made: a private index, with the workspace's files.

    Blocks.

    Args:
        root: the root of the Git repository.
        index_file: its index. It may be missing.
        directory: an empty directory for the copy of the index.
    """

    def __init__(self, root: str, index_file: str, directory: str) -> None:
        self._root = root
        self._index = os.path.join(directory, "index")
        # With its mtime: Git reads a file again if it is not older than the index.
        if os.path.exists(index_file):
            shutil.copy2(index_file, self._index)
        entries = [entry.split("\t", 1) for entry in self._lines("ls-files", "-z", "--stage")]
        if any(not meta.endswith(" 0") for meta, _ in entries):
            raise GitError("a merge has conflicts. Resolve them, then run 'git add'")
        self._modes = {path: meta.split(" ", 1)[0] for meta, path in entries}

    def __contains__(self, path: str) -> bool:
        """Return whether Git tracks the absolute ``path``."""
        return self._relative(path) in self._modes

    def update(self) -> None:
        """Take the files that Git tracks from the workspace; drop those that are missing."""
        self._git("add", "--update")

    def drop(self, path: str) -> None:
        """Leave out one file that Git tracks."""
        if path in self:
            self._git("update-index", "--force-remove", "--", self._relative(path))

    def add(self, paths: Iterable[str]) -> None:
        """Add files from the workspace, whether Git ignores them or not.

        Args:
            paths: absolute. Those outside of the repository, inside a submodule, or neither a file
                nor a link, are left out.
        """
        submodules = {path for path, mode in self._modes.items() if mode == _SUBMODULE}
        found = []
        for path in map(_real_directory, paths):
            relative = self._relative(path)
            parents = {parent.as_posix() for parent in Path(relative).parents}
            if relative.startswith("../") or submodules & {relative, *parents}:
                continue
            if os.path.islink(path) or os.path.isfile(path):
                found.append(relative)
        self._git(
            *("update-index", "--add", "--replace", "--ignore-skip-worktree-entries"),
            *("-z", "--stdin"),
            stdin=os.fsencode("".join(f"{path}\0" for path in found)),
        )

    def replace(self, texts: Mapping[str, bytes]) -> None:
        """Give files, by their absolute paths, other bytes than those in the workspace."""
        for path, text in texts.items():
            relative = self._relative(path)
            blob = self._git("hash-object", "-w", "--stdin", "--path", relative, stdin=text)
            entry = f"{self._modes.get(relative, '100644')},{blob.strip()},{relative}"
            self._git("update-index", "--add", "--cacheinfo", entry)

    def write(self, parent: str, message: str) -> str:
        """Write the commit; return its SHA. No reference leads to it."""
        tree = self._git("write-tree").strip()
        command = ("commit-tree", "-p", parent, "-F", "-", tree)
        return self._git(*command, stdin=message.encode()).strip()

    def set_ref(self, ref: str, sha: str, *, force: bool) -> bool:
        """Let ``ref`` lead to a commit; return False if it exists and may not be replaced."""
        old = () if force else ("",)  # empty: it must not exist
        try:
            self._git("update-ref", ref, sha, *old)
        except GitError:
            if force or not self._git("for-each-ref", ref):
                raise
            return False
        return True

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self._root).replace(os.sep, "/")

    def _lines(self, *args: str) -> list[str]:
        return self._git(*args).split("\0")[:-1]

    def _git(self, *args: str, stdin: bytes = b"") -> str:
        return run_git(self._root, *args, index=self._index, stdin=stdin)


def check_identity(root: str) -> None:
    """Check that Git's program is there, and knows whom to name as the author of a commit.

    Raises:
        GitError: it is not, or does not.
    """
    for identity in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
        run_git(root, "var", identity)


def run_git(root: str, *args: str, index: str | None = None, stdin: bytes = b"") -> str:
    """Run Git in the repository at ``root``; return its output.

    Args:
        root: its working directory.
        args: its arguments.
        index: its index; None: that of the repository.
        stdin: its standard input.

    Raises:
        GitError: it failed, or is not there.
    """
    import subprocess  # few sessions save an experiment

    environment = {k: v for k, v in os.environ.items() if k not in _LOCAL_VARIABLES}
    if index is not None:
        environment["GIT_INDEX_FILE"] = index
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    for _ in range(1 if index is None else _ATTEMPTS):
        try:
            done = subprocess.run(
                ["git", *settings, *args],
                cwd=root,
                env=environment,
                input=stdin,
                capture_output=True,
                start_new_session=True,  # Ctrl-C in the terminal is for the user's program
                check=False,
            )
        except OSError as error:
            raise GitError(f"Git's program 'git' cannot be started: {error}") from error
        if done.returncode == 0:
            return os.fsdecode(done.stdout)
        if index is not None:
            Path(f"{index}.lock").unlink(missing_ok=True)  # left by a Git that was killed
    text = " ".join(os.fsdecode(done.stderr).split()) or f"its exit status is {done.returncode}"
    raise GitError(f"'git {args[0]}' failed: {text}")


def _real_directory(path: str) -> str:
    """Return ``path`` with the links of its directory resolved: Git goes through none."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
