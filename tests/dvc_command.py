"""Run ``dvc`` commands without the cost of importing DVC: a process that has DVC forks for each.

The import takes ten times as long as most commands. Each command still runs in a process of its
own, with the arguments, environment, working directory and umask of the test. Run as a program,
this module is that process: pickled commands on stdin, pickled results on stdout.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from importlib import import_module
from typing import BinaryIO

# A command that hangs ends after these, and the test fails.
_SECONDS = 60


@dataclass(frozen=True)
class Command:
    args: tuple[str, ...]
    cwd: str
    environment: dict[str, str]
    umask: int


@dataclass(frozen=True)
class Result:
    status: int
    """The exit status; negative: the signal that ended it."""
    stdout: bytes
    stderr: bytes


class _Server:
    """The process, as the tests see it. It ends when this process does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # one command at a time goes through the pipes
        self._pid = 0
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, command: Command) -> Result:
        with self._lock:
            # A forked test process must not share these pipes with its parent.
            if self._process is None or self._pid != os.getpid():
                self._start()
            assert self._process is not None
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            pickle.dump(command, self._process.stdin)
            self._process.stdin.flush()
            result: Result = pickle.load(self._process.stdout)
            return result

    def _start(self) -> None:
        self._pid = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        atexit.register(self._stop, self._process)

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        if self._pid != os.getpid():
            return
        with process:
            assert process.stdin is not None
            process.stdin.close()


_server = _Server()


def run_dvc(args: tuple[str, ...], cwd: str) -> str:
    """Run ``dvc`` and return its output.

    Raises:
        subprocess.CalledProcessError: it failed; the error has its output.
    """
    umask = os.umask(0)
    os.umask(umask)
    result = _server.run(Command(args, cwd, dict(os.environ), umask))
    if result.status:
        raise subprocess.CalledProcessError(
            result.status, ["dvc", *args], result.stdout, result.stderr
        )
    return result.stdout.decode()


def _serve(commands: BinaryIO, results: BinaryIO) -> None:
    while True:
        try:
            command = pickle.load(commands)
        except EOFError:
            return
        assert threading.active_count() == 1  # a fork would not take the others along
        pickle.dump(_in_child(command), results)
        results.flush()


def _in_child(command: Command) -> Result:
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        pid = os.fork()
        if not pid:
            status = 70
            try:
                signal.alarm(_SECONDS)
                os.dup2(stdout.fileno(), 1)
                os.dup2(stderr.fileno(), 2)
                status = _run(command)
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        for file in (stdout, stderr):
            file.seek(0)
        return Result(os.waitstatus_to_exitcode(status), stdout.read(), stderr.read())


def _run(command: Command) -> int:
    from dvc.cli import main

    os.environ.clear()
    os.environ.update(command.environment)
    os.chdir(command.cwd)
    os.umask(command.umask)
    return int(main(list(command.args)) or 0)


# DVC imports these when a command first needs them. Some versions lack some of them.
_LAZY = (
    *("dvc.cachemgr", "dvc.cli", "dvc.cli.parser", "dvc.data_cloud", "dvc.dvcfile", "dvc.lock"),
    *("dvc.output", "dvc.rwlock", "dvc.scm", "dvc.stage.serialize", "dvc.utils.strictyaml"),
    *("dvc.repo.add", "dvc.repo.artifacts", "dvc.repo.brancher", "dvc.repo.checkout"),
    *("dvc.repo.datasets", "dvc.repo.graph", "dvc.repo.index", "dvc.repo.metrics"),
    *("dvc.repo.open_repo", "dvc.repo.params", "dvc.repo.plots", "dvc.repo.stage"),
    *("dvc.repo.status", "dvc.repo.trie", "dvc_data.hashfile.checkout", "dvc_data.hashfile.gc"),
    *("dvc_data.hashfile.db.local", "dvc_data.hashfile.status", "dvc_data.index.checkout"),
    *("dulwich.ignore", "dulwich.index", "dulwich.worktree", "fsspec.implementations.memory"),
    *("networkx", "pygit2", "ruamel.yaml", "scmrepo.git", "scmrepo.noscm"),
)


def _import_dvc() -> None:
    for name in _LAZY:
        with contextlib.suppress(ImportError):
            import_module(name)
    gc.freeze()


if __name__ == "__main__":
    # Pickle names classes by their module: be the module that the tests import.
    sys.modules["dvc_command"] = sys.modules["__main__"]
    for _class in (Command, Result):
        _class.__module__ = "dvc_command"
    _results = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as _nothing:
        _commands = os.fdopen(os.dup(0), "rb")
        os.dup2(_nothing.fileno(), 0)
    os.dup2(2, 1)
    _import_dvc()
    _serve(_commands, _results)
