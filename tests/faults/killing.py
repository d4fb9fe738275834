"""Kill sessions of AsyncLive at chosen moments, and check the files that they leave on disk."""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from disk import leftovers
from invariants import assert_nothing_lost, assert_one_of, assert_sound, entries
from points import Moment
from scenarios import Job, Report, Scenario, Victims
from tally import SURVIVED
from twin import Templates, dvc

BACKENDS = ("asyncio", "trio")

each_kill = pytest.mark.parametrize("victims", Victims, ids=lambda victims: victims.name.lower())


class Zygote:
    """A process that forks one session after another (``zygote.py``)."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def run(self, job: Job) -> Report:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump(job, self._process.stdin)
        self._process.stdin.flush()
        report: Report = pickle.load(self._process.stdout)
        return report


@contextmanager
def zygote() -> Iterator[Zygote]:
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("zygote.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        yield Zygote(process)


class Helpers:
    """The worker and batch processes of a session. Each holds a pipe open as long as it lives.

    Args:
        path: where to make the pipe.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def end(self) -> bytes:
        """Wait until all of them have ended; return ``+`` for each that started, ``-`` if killed.

        A process that has not opened the pipe yet cannot open it any more, and ends.
        """
        written = b""
        try:
            while True:
                try:
                    some = os.read(self._fd, 100)
                except BlockingIOError:  # a process has the pipe open and has written nothing new
                    readable = select.select([self._fd], [], [], _SECONDS)[0]
                    assert readable, "a helper process does not end"
                    continue
                if not some:
                    return written
                written += some
        finally:
            os.close(self._fd)


# Far more than a helper process needs to end: the test fails instead of hanging.
_SECONDS = 300


@dataclass
class Killing:
    """The sessions of one scenario, each in a new repository below ``base``.

    ``victims``: the processes that a kill ends. They choose the isolation of the session that is
    killed, and of the next one.
    """

    zygote: Zygote
    templates: Templates
    base: Path
    scenario: Scenario
    victims: Victims = Victims.SESSION
    _made: int = 0

    def count(self, backend: str) -> Report:
        """Run a session without a kill; the report says how many moments each stage has.

        It runs in threads: a worker process has the same stages.
        """
        repo = self.fresh()
        job = self.job(repo, backend, prepare=True, count=True, victims=Victims.SESSION)
        report = self.zygote.run(job)
        assert report.signal == 0
        self.check_complete(repo, report)
        return report

    def kill(self, backend: str, moment: Moment) -> tuple[Path, Report]:
        """Kill a session at this moment, and check the files that it leaves."""
        repo = self.fresh()
        stage, number = moment
        while True:
            helpers = self.helpers(repo)
            job = self.job(repo, backend, prepare=True, target=(stage, number), alive=helpers.path)
            report = self.zygote.run(job)
            report.helpers = helpers.end()
            if report.signal == signal.SIGKILL:
                break
            # Threads run in parallel, so a stage has more moments in one session than in another.
            # If a session ends before the moment, try an earlier one; each stage has moment 0.
            assert (report.signal, report.errors) == (0, [])
            assert number > 0, f"the session never reached the stage {stage}"
            number //= 2
            repo = self.fresh()
        if self.victims is Victims.PROGRAM:  # then the worker has undone the rest
            assert leftovers(repo) == []
        self.check_killed(repo)
        SURVIVED[f"{self.victims.value} killed by SIGKILL"] += 1
        return repo, report

    def kill_at(self, moments: Iterable[Moment]) -> None:
        """Kill a session at each moment, on the two backends in turn; a next session follows.

        With a worker process, at a third of the moments: it works with the same engine.
        """
        chosen = list(moments)
        if self.victims is Victims.PROGRAM:
            chosen = chosen[::3]
        elif self.victims is Victims.ALL:
            chosen = chosen[::-3]
        for moment, backend in zip(chosen, cycle(BACKENDS), strict=False):
            repo, _ = self.kill(backend, moment)
            self.next_session(repo, backend)
        assert "up to date" in dvc(repo, "status")

    def next_session(self, repo: Path, backend: str) -> Report:
        """Log the same calls in another process; check that all is logged and no temp file left."""
        report = self.zygote.run(self.job(repo, backend))
        assert report.signal == 0
        self.check_complete(repo, report)
        return report

    def job(self, repo: Path, backend: str, **options: Any) -> Job:
        return Job(self.scenario, str(repo), backend, **{"victims": self.victims, **options})

    def helpers(self, repo: Path) -> Helpers:
        return Helpers(repo.parent / "alive")

    def fresh(self) -> Path:
        self._made += 1
        repo = self.templates.make(self.scenario.kind, self.base / str(self._made))
        if self.scenario.config:
            with (repo / ".dvc" / "config").open("a") as config:
                config.write(self.scenario.config)
        return repo

    def check_killed(self, repo: Path) -> None:
        """Check every promise for the moment after a kill."""
        # Between two of three renames a path is empty while its entry exists. The next session
        # repairs that, or the worker process that has outlived its program.
        repaired = self.scenario.renameat2 or self.victims is Victims.PROGRAM
        free = () if repaired else (None,)
        exist = [(repo / self.scenario.destination(call)).exists() for call in self.scenario.calls]
        if not free or all(exist):
            assert_sound(repo)
        self._check_kept(repo)
        for call in self.scenario.calls:
            if free and not call.get("copy"):
                continue  # a file in the directory may be missing for the same reason
            old, new = self.scenario.old(call), self.scenario.new(call)
            assert_one_of(repo / self.scenario.destination(call), old, new, *free)
            if call.get("copy"):
                assert_one_of(repo / call["path"], new)

    def check_complete(self, repo: Path, report: Report) -> None:
        """Check that every artifact is logged, and that no temp file is left."""
        assert report.errors == []
        assert report.status == {}
        assert_nothing_lost(repo)
        self._check_kept(repo)
        for call in self.scenario.calls:
            path = repo / self.scenario.destination(call)
            assert_one_of(path, self.scenario.new(call))
            assert path.with_name(path.name + ".dvc").is_file()
            rules = (path.parent / ".gitignore").read_text().splitlines()
            assert rules.count(f"/{path.name}") == 1, rules
            self._check_entry(repo, call)

    def _check_kept(self, repo: Path) -> None:
        """Check that no earlier entry or file is lost, of ours or of the user."""
        theirs = self.scenario.files["dvc.yaml"]
        assert theirs is not None
        found = (repo / "dvc.yaml").read_bytes()
        assert found.startswith(theirs)
        for name, entry in entries(repo).items():
            if name != "theirs":
                dvc_file = repo / f"{entry['path']}.dvc"
                assert dvc_file.is_file(), f"{name} names an untracked path"
        paths = [call["path"] for call in self.scenario.calls]
        for call in self.scenario.before:
            if call["path"] not in paths:
                self._check_entry(repo, call)
                path = repo / self.scenario.destination(call)
                assert_one_of(path, self.scenario.new(call))
            assert (repo / f"{self.scenario.destination(call)}.dvc").is_file()

    def _check_entry(self, repo: Path, call: dict[str, Any]) -> None:
        name = call.get("name") or Path(call["path"]).stem
        values = {key: call[key] for key in ("type", "desc", "labels", "meta") if key in call}
        assert entries(repo)[name] == {"path": self.scenario.destination(call), **values}


def spread(counts: Mapping[str, int], most: int) -> list[Moment]:
    """Return at most ``most`` moments of each stage: the first, the last, and some in between."""
    return [(stage, number) for stage in sorted(counts) for number in _some(counts[stage], most)]


def _some(count: int, most: int) -> list[int]:
    if most == 1:
        return [count // 2]
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})
