"""Run DVCLive in a process of its own: it changes loggers, and works in the current directory.

The process stays alive for the session, because importing DVC takes longer than most cases. It
also asks DVC itself about a repository, so that no state in asynclive's memory can influence the
answer. Run as a script, this module is that process: pickled requests
``(method, args)`` on stdin, pickled replies ``(value, traceback)`` on stdout.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO


@dataclass(frozen=True)
class Outcome:
    """The outcome of one call of ``log_artifact``."""

    refused: str | None
    """Why it was not tracked: the exception, or the warning DVCLive makes of it; else None."""
    messages: tuple[str, ...]
    """The log messages of the call, at info level and above."""


@dataclass(frozen=True)
class DvcFacts:
    """The answers of DVC about a repository."""

    status: dict[str, Any]
    links: dict[str, str]
    """The paths DVC remembers having linked, each ``current`` or ``stale``."""


class Reference:
    """The process, seen from the tests."""

    def __init__(self, stderr: Path) -> None:
        self._stderr = stderr
        with stderr.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def open(self, cwd: Path, env: dict[str, str], settings: dict[str, Any]) -> None:
        """Make a ``Live`` in ``cwd``."""
        self._call("open", cwd, env, settings)

    def log(self, path: Any, values: dict[str, Any]) -> Outcome:
        return self._call("log", path, values)  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the ``Live``."""
        self._call("close")

    def dvc(self, cwd: Path, method: str, *args: Any, **kwargs: Any) -> None:
        """Call a method of DVC's ``Repo``, in ``cwd``."""
        self._call("dvc", cwd, method, args, kwargs)

    def facts(self, root: Path) -> DvcFacts:
        return self._call("facts", root)  # type: ignore[no-any-return]

    def stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _call(self, method: str, *args: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump((method, args), self._process.stdin)
            self._process.stdin.flush()
            value, error = pickle.load(self._process.stdout)
        except (EOFError, OSError) as exc:
            raise RuntimeError(f"the reference ended:\n{self._stderr.read_text()}") from exc
        if error is not None:
            raise RuntimeError(f"the reference failed in {method}{args}:\n{error}")
        return value


class _Server:
    def __init__(self) -> None:
        import logging

        import dvclive.live
        from dvc import repo

        self._live_class = dvclive.live.Live
        self._repo_class = repo.Repo
        self._live: Any = None
        self._env: dict[str, str] = {}
        self._messages: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: self._messages.append(record.getMessage())  # type: ignore[method-assign]
        dvclive.live.logger.addHandler(handler)
        dvclive.live.logger.setLevel(logging.INFO)

    def open(self, cwd: Path, env: dict[str, str], settings: dict[str, Any]) -> None:
        os.chdir(cwd)
        os.environ.update(env)
        self._env = env
        if isinstance(settings.get("dvcyaml"), os.PathLike):
            # DVCLive 3.48 takes no path here; later versions begin with this conversion.
            settings["dvcyaml"] = os.fspath(settings["dvcyaml"])
        self._live = self._live_class(save_dvc_exp=False, **settings)
        self._live.__enter__()

    def log(self, path: Any, values: dict[str, Any]) -> Outcome:
        self._messages.clear()
        refused = None
        try:
            self._live.log_artifact(path, **values)
        except Exception as exc:
            refused = f"{type(exc).__name__}: {exc}"
        for message in self._messages:
            if message.startswith("Error in cache"):
                refused = message
        return Outcome(refused, tuple(self._messages))

    def close(self) -> None:
        try:
            self._live.__exit__(None, None, None)
            if self._live._dvc_repo is not None:
                self._live._dvc_repo.close()
        finally:
            self._live = None
            for name in self._env:
                del os.environ[name]
            os.chdir("/")

    def dvc(self, cwd: Path, method: str, args: Any, kwargs: Any) -> None:
        back = Path.cwd()
        os.chdir(cwd)
        try:
            with self._repo_class() as repo:
                getattr(repo, method)(*args, **kwargs)
        finally:
            os.chdir(back)

    def facts(self, root: Path) -> DvcFacts:
        os.chdir(root)
        try:
            with self._repo_class() as repo:
                links = {
                    path: "current" if _is_current(root / path, repo.state.links[path]) else "stale"
                    for path in repo.state.links
                }
                return DvcFacts(status=repo.status(), links=links)
        finally:
            os.chdir("/")


def _is_current(path: Path, saved: tuple[int, str]) -> bool:
    from dvc_data.hashfile.utils import get_mtime_and_size
    from dvc_objects.fs import LocalFileSystem
    from dvc_objects.fs.system import inode

    if not os.path.lexists(path):
        return False
    mtime, _ = get_mtime_and_size(str(path), LocalFileSystem())
    return (inode(str(path)), mtime) == tuple(saved)


def _serve(requests: BinaryIO, replies: BinaryIO) -> None:
    server = _Server()
    while True:
        try:
            method, args = pickle.load(requests)
        except EOFError:
            return
        try:
            reply = (getattr(server, method)(*args), None)
        except BaseException:
            reply = (None, traceback.format_exc())
        pickle.dump(reply, replies)
        replies.flush()


if __name__ == "__main__":
    # Pickle names classes by their module, so this must be the module that the tests import.
    sys.modules["reference"] = sys.modules["__main__"]
    for _class in (Outcome, DvcFacts):
        _class.__module__ = "reference"
    _replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of DVC and DVCLive must not get between the replies
    _serve(sys.stdin.buffer, _replies)
