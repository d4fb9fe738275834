"""How long does it take until everything is in the remote, and what does that cost?

    python -m perf push                                   # every case: most of an hour
    python -m perf push --case small-10k --case large-4
    python -m perf push --scale 0.01 --pairs 1            # does the bench itself work?

The remote is a server of S3 on this machine: that of rclone, else s3rver, which the bench installs
with npm, else that of moto. Its objects lie in memory where that is possible. Each run has a fresh
repository and an empty server. All is logged, and lies in the cache, before the clock starts.
s5cmd and rclone take part where they are installed.

- ``nothing-new`` and ``one-new`` push a repository whose 1,000 artifacts are in the remote already
- ``overlap`` logs, pushes, and does both in one session, with the lag of the event loop
- ``memory`` pushes 100,000 files in this process
- ``killed`` kills all processes when half of a file is sent; the next push has to send the rest
- ``bandwidth`` pushes with ``max_bandwidth``

Each case has a result file of its own, ``push-<case>.json``.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perf.harness import object_server
from perf.harness.bench import Bench, Job
from perf.harness.byte_relay import relaying
from perf.harness.object_server import ObjectServer
from perf.harness.push_steps import STEPS, run_and_kill
from perf.harness.ratios import ratio
from perf.harness.repository import Repository
from perf.harness.sources import Sources, make, place
from perf.harness.turns import Run, spreads, take_turns_in_repositories
from perf.harness.units import MIB
from perf.harness.workload import large_files, scaled, small_files
from perf.sides.pushers import PUSHERS, missing, versions

ALL = tuple(PUSHERS)
OURS, DVC = "asynclive", "dvc push"
TOGETHER = ("log", "push", "log and push")
PREFIX = "push-"
BANDWIDTH = 20 * MIB


@dataclass(frozen=True)
class Case:
    """A case: its title, its sides, and the goals of asynclive by the name of a number."""

    title: str
    sides: tuple[str, ...]
    goals: dict[str, float]
    pairs: int | None = None
    server: str | None = None
    """The only server that has all that the case needs."""


CASES = {
    "small-10k": Case(
        "10,000 files of 16 KiB", ALL, {"times_faster_than_dvc": 2.5, "times_s5cmd": 1.3}
    ),
    "large-4": Case("4 files of 64 MiB", ALL, {"times_faster_than_dvc": 1.5}),
    "nothing-new": Case("nothing new, 1,000 artifacts tracked", (OURS, DVC), {"seconds": 0.3}),
    "one-new": Case("one new file, 1,000 artifacts tracked", (OURS, DVC), {"seconds": 0.5}),
    "overlap": Case(
        "10,000 files of 16 KiB, logged and pushed",
        TOGETHER,
        {"times_the_slower": 1.2, "lag_p99_ms": 5.0},
    ),
    "memory": Case("100,000 files of 16 bytes", (OURS,), {"above_mib": 200.0}, pairs=1),
    "killed": Case(
        "one file of 400 MiB, killed at half", (OURS, DVC), {"resent_share": 0.6}, server="moto"
    ),
    "bandwidth": Case("4 files of 64 MiB at 20 MiB/s", (OURS,), {"off_share": 0.1}),
}


class Push(Bench):
    name = "push"
    cases = tuple(CASES)
    sides = ALL
    short_scale = 0.1
    can_choose_cases = True
    can_choose_sides = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--server", choices=("rclone", "s3rver", "moto"), help="(default: rclone)"
        )

    def results(self, args: Namespace) -> list[str]:
        return [f"{PREFIX}{case}" for case in args.case or self.cases]

    def is_full(self, args: Namespace, result: str) -> bool:
        return super().is_full(args, result) and args.server is None

    def space_bytes(self, args: Namespace, result: str) -> int:
        # The sources, the cache, and the remote.
        return int(3 * 512 * MIB * max(args.scale, 0.1))

    def run(self, job: Job) -> dict[str, Any]:
        case = CASES[job.result.removeprefix(PREFIX)]
        kind = case.server or job.args.server or object_server.default_kind()
        object_server.install(kind, job.work_dir)
        chosen = [side for side in case.sides if not job.args.side or side in job.args.side]
        sides = [side for side in chosen if not missing(side)]
        for side in chosen:
            if reason := missing(side):
                print(f"  {side} sits out: {reason}")
        failures: dict[str, str | None] = {}
        pairs = min(job.pairs, case.pairs or job.pairs)

        def run(repository: Repository, side: str) -> Run:
            with object_server.running(kind, job.work_dir) as server:
                return self._run_side(job, repository, server, side)

        runs = take_turns_in_repositories(
            job.work_dir, sides, pairs, run, _describe, failures=failures
        )
        return {
            "case": job.result.removeprefix(PREFIX),
            "title": case.title,
            "scale": job.scale,
            "pairs": pairs,
            "server": kind,
            "programs": versions(),
            "goals": case.goals,
            "sides": describe_sides(runs, failures),
            "compared": compare(runs),
        }

    def measure(self, **given: Any) -> dict[str, Any]:
        step = given.pop("step")
        if step == "push":
            return PUSHERS[given["side"]](given["endpoint"])
        return STEPS[step](**given)

    def failures(self, document: dict[str, Any]) -> list[str]:
        return [side for side, each in document["sides"].items() if each["failure"]]

    def summary(self, document: dict[str, Any]) -> str:
        return f"{document['title']}: {document['compared'] or 'no ratios from so few pairs'}"

    def _run_side(self, job: Job, repository: Repository, server: ObjectServer, side: str) -> Run:
        with (repository.path / ".dvc" / "config").open("a") as config:
            config.write(object_server.remote_config(server.endpoint))
        runs = {
            "nothing-new": self._push_tracked,
            "one-new": self._push_tracked,
            "overlap": self._log_and_push,
            "memory": self._push_in_this_memory,
            "killed": self._push_twice,
            "bandwidth": self._push_slowly,
        }
        case = job.result.removeprefix(PREFIX)
        return runs.get(case, self._push_files)(job, repository, server, side)

    def _push_files(self, job: Job, repository: Repository, server: ObjectServer, side: str) -> Run:
        sources = _sources(job)
        self._log(job, repository, sources)
        run = self._step(repository, "push", side=side, endpoint=server.endpoint)
        _check(server, sources, side)
        return run

    def _push_tracked(
        self, job: Job, repository: Repository, server: ObjectServer, side: str
    ) -> Run:
        sources = _sources(job)
        self._log(job, repository, sources)
        self._step(repository, "push", side=side, endpoint=server.endpoint)
        if job.result == f"{PREFIX}one-new":
            new = Sources("new.bin", 64)
            (repository.path / new.name).write_bytes(b"a new artifact" * 5)
            self._step(repository, "log", names=[new.name])
            sources = [*sources, new]
        run = self._step(repository, "push", side=side, endpoint=server.endpoint)
        _check(server, sources, side)
        return run

    def _log_and_push(
        self, job: Job, repository: Repository, server: ObjectServer, side: str
    ) -> Run:
        sources = _sources(job)
        if side == "push":
            self._log(job, repository, sources)
        else:
            self._place(job, repository, sources)
        names = [source.name for source in sources]
        run = self._step(repository, "overlap", what=side, names=names, scale=job.scale)
        if side != "log":
            _check(server, sources, side)
        return run

    def _push_in_this_memory(
        self, job: Job, repository: Repository, server: ObjectServer, side: str
    ) -> Run:
        self._log(job, repository, _sources(job))
        run = self._step(repository, "memory")
        return {**run, "above_mib": run["peak_mib"] - run["start_mib"]}

    def _push_twice(self, job: Job, repository: Repository, server: ObjectServer, side: str) -> Run:
        sources = _sources(job)
        self._log(job, repository, sources)
        size = sources[0].size
        with relaying(server.port, stop_after=size // 2) as relay:
            _point_at(repository, server.endpoint, relay.endpoint)
            given = {"side": side, "endpoint": relay.endpoint}
            run_and_kill(self.name, {"step": "push", **given}, repository, relay.stopped)
            # On the same port: an upload belongs to the address of its server.
            relay.count_anew()
            run = self._step(repository, "push", **given)
        _check(server, sources, side)
        return {
            "seconds": run["seconds"],
            "resent_share": relay.sent_bytes / size,
            "open_uploads": server.open_uploads(),
        }

    def _push_slowly(
        self, job: Job, repository: Repository, server: ObjectServer, side: str
    ) -> Run:
        sources = _sources(job)
        self._log(job, repository, sources)
        with relaying(server.port) as relay:
            _point_at(repository, server.endpoint, relay.endpoint)
            run = self._step(repository, "limited", bytes_per_second=BANDWIDTH)
            rate = relay.sent_bytes / (relay.last_at - relay.first_at)
        return {**run, "mib_per_second": rate / MIB, "off_share": abs(rate / BANDWIDTH - 1)}

    def _log(self, job: Job, repository: Repository, sources: list[Sources]) -> None:
        self._place(job, repository, sources)
        self._step(repository, "log", names=[source.name for source in sources])

    def _place(self, job: Job, repository: Repository, sources: list[Sources]) -> None:
        made = make(sources, job.work_dir / f"sources-{job.result}-{job.scale:g}", job.result)
        place(sources, made, repository.path, in_place=True)

    def _step(self, repository: Repository, step: str, **given: Any) -> Run:
        return repository.run(self.name, step=step, **given)


def _sources(job: Job) -> list[Sources]:
    """Return what a case pushes, at the scale of the job."""
    case, scale = job.result.removeprefix(PREFIX), job.scale
    if case in ("small-10k", "overlap"):
        return small_files(10_000)(scale)
    if case == "memory":
        return [Sources("dataset", 16, scaled(100_000, scale), isdir=True)]
    if case in ("nothing-new", "one-new"):
        return [Sources(f"artifact-{i:04}.bin", 16) for i in range(scaled(1_000, scale))]
    count, mib = {"large-4": (4, 64), "killed": (1, 400), "bandwidth": (4, 64)}[case]
    return large_files(count, mib)(scale)


def describe_sides(
    runs: dict[str, list[Run]], failures: dict[str, str | None]
) -> dict[str, dict[str, Any]]:
    """Return the numbers of each side, and why one has none."""
    return {
        side: {"failure": failures.get(side), **(spreads(each) if each else {})}
        for side, each in runs.items()
    }


def compare(runs: dict[str, list[Run]]) -> dict[str, Any]:
    """Return the ratios that the goals are about; none from fewer than three pairs."""
    seconds = {side: [run["seconds"] for run in each] for side, each in runs.items()}
    found = {}
    if OURS in seconds:
        for side in ("s5cmd", "rclone"):
            if seconds.get(side):
                found[f"times_{side}"] = ratio(seconds[OURS], seconds[side])
        if seconds.get(DVC):
            found["times_faster_than_dvc"] = ratio(seconds[DVC], seconds[OURS])
    if all(seconds.get(what) for what in TOGETHER):
        alone = map(max, seconds["log"], seconds["push"])
        found["times_the_slower"] = ratio(seconds["log and push"], list(alone))
    return {name: times for name, times in found.items() if times}


def _check(server: ObjectServer, sources: list[Sources], side: str) -> None:
    """Fail if an object is missing in the server, or one of another size."""
    objects, size = server.count()
    least = sum(source.size for source in sources)
    expected = sum(source.objects for source in sources)
    if objects != expected or size < least:
        raise SystemExit(f"{side}: {objects} objects of {size} bytes, not {expected} of {least}")


def _point_at(repository: Repository, before: str, endpoint: str) -> None:
    config: Path = repository.path / ".dvc" / "config"
    config.write_text(config.read_text().replace(before, endpoint))


def _describe(side: str, run: Run) -> str:
    numbers = "  ".join(f"{name} {value:.3f}" for name, value in run.items())
    return f"{side:<12} {numbers}"


BENCH = Push()
