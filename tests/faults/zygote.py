"""A program that has imported everything, and forks a child for each session that is requested.

So a session costs a fork and not the import of DVC. The program runs no thread: a process with
threads must not fork. Requests and reports are pickles on standard input and output.
"""

from __future__ import annotations

# ruff: noqa: E402  # install before another module keeps a reference to a function of os
import points

points.install()

import gc
import logging
import os
import pickle
import signal
import sys
import threading
from importlib import import_module
from typing import Any, Literal

import anyio
import trio  # noqa: F401  # imported here once, not in each child
from hooks import Hooks
from scenarios import Files, Job, Report, Scenario, Victims

from asynclive import AsyncLive

# Far more than a session takes: this ends a child that hangs, and the test fails.
_SECONDS = 300


def main() -> None:
    for module in _LAZY:
        import_module(module)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # DVC prints to standard output
    gc.freeze()
    while True:
        try:
            job = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        assert threading.active_count() == 1
        pickle.dump(_forked(job), answers)
        answers.flush()


# Modules that asynclive and DVC import only when they first need them.
_LAZY = (
    *("dvc.repo", "dvc.repo.init", "dvc.repo.status", "dvc.dvcfile", "dvc.stage.serialize"),
    *("dvc.output", "dvc.cachemgr", "dvc.lock", "dvc_data.hashfile.db", "dvc.dagascii"),
    *("dvc_data.hashfile.checkout", "fsspec.implementations.memory", "ruamel.yaml", "asyncio"),
    *("aiofiles.os", "anyio._backends._asyncio", "anyio._backends._trio", "scmrepo.git"),
)


def _forked(job: Job) -> Report:
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read_fd)
        try:
            signal.alarm(_SECONDS)
            _run(job, write_fd)
        finally:
            os._exit(0)
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as pipe:
        sent = pipe.read()
    _, status = os.waitpid(pid, 0)
    report: Report = pickle.loads(sent) if sent else Report(errors=["the child sent no report"])
    report.signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return report


def _run(job: Job, write_fd: int) -> None:
    report = Report()
    logging.getLogger("asynclive").addHandler(_Collect(report.log))
    logging.getLogger("asynclive").setLevel(logging.INFO)

    def last_words(doing: str) -> None:
        points.arm(None)
        report.died = doing
        _send(report, write_fd)

    scenario = job.scenario
    in_process = job.victims is not Victims.SESSION
    hooks = Hooks(scenario.renameat2, scenario.process_files, job.alive, job.batch_target)
    hooks.install()
    os.chdir(job.root)
    if job.prepare:
        write_files(scenario.files)
        if scenario.before:
            report.errors += anyio.run(_log, job.root, scenario.before, backend=job.backend)
        write_files(scenario.changes)
    armed = points.Armed(job.target, last_words)
    if in_process:
        hooks.install_in_worker(job.target, job.victims is Victims.ALL, job.held)
    elif job.count or job.target:
        points.arm(armed)
    report.errors += anyio.run(
        _log, job.root, scenario.calls, scenario, in_process, backend=job.backend
    )
    points.arm(None)
    report.counts = armed.counts
    if not job.target:
        from dvc.repo import Repo

        with Repo(job.root) as repo:
            try:
                report.status = repo.status()
            except Exception as error:
                report.errors.append(_text(error))
            for database in (repo.state.hashes, repo.state.links):
                report.errors += [str(found.message) for found in database.check()]
    _send(report, write_fd)


def _send(report: Report, write_fd: int) -> None:
    with os.fdopen(write_fd, "wb") as pipe:
        pickle.dump(report, pipe)


async def _log(
    root: str,
    calls: tuple[dict[str, Any], ...],
    scenario: Scenario | None = None,
    in_process: bool = False,
) -> list[str]:
    """Log all calls at once, submit the scenario's versions, and return the errors."""
    errors: list[str] = []

    async def log(call: dict[str, Any]) -> None:
        try:
            await live.log_artifact(**call)
        except Exception as error:
            errors.append(_text(error))

    isolation: Literal["thread", "process"] = "process" if in_process else "thread"
    # lock_timeout=0: a killed holder has released DVC's lock, so there is nothing to wait for.
    async with (
        AsyncLive(root=root, lock_timeout=0, isolation=isolation) as live,
        anyio.create_task_group() as task_group,
    ):
        for call in calls:
            task_group.start_soon(log, call)
        handles: list[Any] = []
        for number in range(len(scenario.versions) if scenario else 0):
            assert scenario is not None
            os.replace(f"../version{number}", scenario.submit["path"])
            handles.append(await live.submit(**scenario.submit))
        for handle in handles:
            await handle
    return errors


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def write_files(files: Files) -> None:
    for name, data in files.items():
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        if data is None:
            os.unlink(name)
            continue
        with open(name, "wb") as file:
            file.write(data)


class _Collect(logging.Handler):
    def __init__(self, into: list[str]) -> None:
        super().__init__()
        self._into = into

    def emit(self, record: logging.LogRecord) -> None:
        self._into.append(record.getMessage())


if __name__ == "__main__":
    main()
