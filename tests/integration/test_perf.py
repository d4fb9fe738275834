"""The benches work, at a tiny scale, and the pages show the committed results."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perf.benches import loop_lag, push
from perf.harness import child_process, results, training
from perf.harness.byte_relay import relaying
from perf.harness.ratios import ratio
from perf.harness.sources import make
from perf.report import markers

PERF = markers.ROOT / "perf"


def run(*arguments: object, cwd: Path) -> str:
    """Run ``python -m perf`` from any directory; return its output."""
    done = subprocess.run(
        [*child_process.COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=child_process.with_python_path(os.environ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def measure(bench: str, repo: Path, **given: Any) -> dict[str, Any]:
    """Measure one run of a bench in a repository, as its parent does."""
    environment = child_process.with_python_path(os.environ)
    return child_process.run_child(bench, given, repo, environment)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of one workload, from one pair at a tiny scale."""
    directory = tmp_path_factory.mktemp("measured")
    tiny = ("--scale", "0.0005", "--pairs", "1", "--case", "mix-copy")
    sides = ("--side", "asynclive", "--side", "floor")
    run("workloads", *tiny, *sides, "--out", directory, cwd=directory)
    return directory


def test_a_tiny_workload_is_measured_written_and_not_measured_again(measured: Path) -> None:
    (path,) = measured.glob("*.json")
    assert path.name == "workload-mix-copy.json"
    document = json.loads(path.read_text())
    assert document["machine"]["dvc"]
    assert set(document["sides"]) == {"asynclive", "floor"}
    for side in document["sides"].values():
        assert side["failure"] is None
        assert side["seconds"]["min"] == side["seconds"]["max"] == side["seconds"]["median"]
        assert len(side["runs"]) == 1
    # No ratio is made from one pair, and a scaled run does not count as full.
    assert document["sides"]["asynclive"]["times_the_floor"] is None
    assert document["full"] is False
    assert results.directory(full=False) == PERF / "results" / "short"

    before = path.read_bytes()
    only = ("--workload", "mix-copy", "--scale", "0.0005")
    said = run("workloads", *only, "--resume", "--out", measured, cwd=measured)
    assert "workload-mix-copy: in" in said
    assert path.read_bytes() == before


def test_a_ratio_is_made_from_three_pairs_with_its_spread() -> None:
    assert ratio((4.0, 6.0, 9.0), (2.0, 2.0, 3.0)) == {"median": 3.0, "min": 2.0, "max": 3.0}
    assert ratio((4.0, 6.0), (2.0, 2.0)) is None


@pytest.mark.long
def test_another_checkout_of_asynclive_takes_turns_with_the_present_one(tmp_path: Path) -> None:
    package = tmp_path / "src" / "asynclive"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import sys\nsys.stderr.write(__file__)\n")
    environment = child_process.with_python_path(os.environ, package.parent)
    command = [sys.executable, "-c", "import asynclive"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == str(package / "__init__.py")

    given = ("--pairs", "1", "--against", package.parent, "--out", tmp_path)
    run("import_time", *given, cwd=tmp_path)
    document = json.loads((tmp_path / "import_time.json").read_text())
    assert list(document["sides"]) == ["dvclive", "asynclive", "against"]
    assert document["full"] is False


@pytest.mark.long
@pytest.mark.parametrize("side", ["asynclive", "threads"])
def test_the_loop_lag_is_measured_while_artifacts_are_logged(
    repo: Path, tmp_path: Path, side: str
) -> None:
    made = make(loop_lag.sources_at(0.0005), tmp_path / "sources", "seed")
    one = measure("loop_lag", repo, side=f"{side}-trio", sources=made, scale=0.0005)
    assert sum(one["counts"]) == one["sleeps"] > 0
    assert 0 <= one["p50"] <= one["p99"] <= one["max"]


@pytest.mark.long
def test_what_an_isolation_costs_is_measured(tmp_path: Path) -> None:
    run("isolation", "--scale", "0.001", "--pairs", "1", "--out", tmp_path, cwd=tmp_path)
    measured = json.loads((tmp_path / "isolation.json").read_text())["isolations"]
    assert set(measured) == {"thread", "process"}
    assert measured["process"]["step_mean"]["median"] > 0


@pytest.mark.long
def test_the_cost_of_one_artifact_is_measured_each_way(repo: Path) -> None:
    one = measure("scaling", repo, side="asynclive", tracked=10, untracked=1000)
    assert set(one) == {
        "first",
        "new_one_by_one",
        "known_one_by_one",
        "new_gathered",
        "known_gathered",
    }


@pytest.mark.long
def test_a_stall_is_measured_and_the_logged_bytes_are_judged(repo: Path, tmp_path: Path) -> None:
    checkpoints = {"size": 1_000_000, "count": 3, "every": 2, "isdir": False}
    for side in ("copy", "asynclive", "naive"):
        one = measure("training_stall", repo, side=side, **checkpoints)
        assert one["step_ms"]["median"] <= one["step_ms"]["max"]
        assert one["blocked_ms"]["max"] > 0
        assert sum(one["bytes"].values()) == 3
        if side != "naive":
            assert one["bytes"] == {"right": 3}


@pytest.mark.long
def test_a_checkpoint_that_is_a_directory_is_judged_file_by_file(repo: Path) -> None:
    checkpoints = {"size": 30 * 16 * 1024, "count": 2, "every": 1, "isdir": True}
    one = measure("training_stall", repo, side="asynclive", **checkpoints)
    assert one["bytes"] == {"right": 2}


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [
        ("memory", "--files", "10", "--mib", "1"),
        ("durable", "--scale", "0.005", "--pairs", "1"),
        ("chunk_size", "--scale", "0.001", "--pairs", "1"),
    ],
    ids=lambda command: command[0],
)
def test_a_bench_writes_its_result_and_its_table(command: tuple[str, ...], tmp_path: Path) -> None:
    run(*command, "--out", tmp_path, cwd=tmp_path)
    assert json.loads((tmp_path / f"{command[0]}.json").read_text())["full"] is False
    assert "| --- |" in markers.PARTS[command[0]](tmp_path)


@pytest.mark.parametrize(
    ("numbers", "judgement"),
    [([3, 3], "right"), ([3, 2], "torn"), ([2, 2], "wrong"), ([3], "torn"), ([], "none")],
)
def test_a_checkpoint_is_judged_by_the_numbers_in_it(
    tmp_path: Path, numbers: list[int], judgement: str
) -> None:
    (tmp_path / "object").write_bytes(
        b"".join(training._MARK_BYTES + struct.pack("<f", number) + b"-" for number in numbers)
    )
    assert training.judge([tmp_path / "object"], 3, stamps=2) == judgement
    assert training.judge([], 3, stamps=2) == "none"


def test_tables_are_made_from_a_result_and_say_so_where_there_is_none(tmp_path: Path) -> None:
    name = "workload-dir-10k.json"
    (tmp_path / name).write_bytes((PERF / "results" / name).read_bytes())
    text = "before\n<!-- results: {} -->\nold\n<!-- end -->\nafter\n"
    table = markers.filled(text.format("workloads"), tmp_path)
    assert "old" not in table
    assert "| 10,000 files of 16 KiB in a directory, in place |" in table
    assert "Not measured yet." in markers.filled(text.format("scaling"), tmp_path)


@pytest.mark.parametrize("page", markers.pages(), ids=lambda page: page.name)
def test_a_page_shows_what_the_committed_results_say(page: Path) -> None:
    text = page.read_text()
    assert markers.filled(text, results.FULL) == text, "run: python -m perf report"


def test_a_missed_goal_is_listed_and_one_that_is_met_is_not(tmp_path: Path) -> None:
    name = "workload-dir-10k.json"
    document = json.loads((PERF / "results" / name).read_text())
    ours, goals = document["sides"]["asynclive"], document["goals"]
    ours["times_the_floor"]["median"] = goals["floor"] + 0.01
    ours["times_faster_than_dvclive"]["median"] = goals["dvclive"]
    (tmp_path / name).write_text(json.dumps(document))
    assert markers.PARTS["missed-goals"](tmp_path).splitlines()[2:] == [
        "| 10,000 files of 16 KiB in a directory, in place: times the floor | 1.31 | ≤ 1.3 |"
    ]


def _push_document(case: str, runs: dict[str, list[dict[str, float]]], **goals: float) -> str:
    sides = push.describe_sides(runs, {"rclone": "it failed"})
    compared = push.compare(runs)
    return json.dumps({"title": case, "goals": goals, "sides": sides, "compared": compared})


def test_a_push_is_compared_with_the_other_programs_and_its_goals(tmp_path: Path) -> None:
    files = {
        "asynclive": [{"seconds": 4.0}] * 3,
        "dvc push": [{"seconds": 8.0}] * 3,
        "s5cmd": [{"seconds": 2.0}] * 3,
        "rclone": [],
    }
    (tmp_path / "push-small-10k.json").write_text(
        _push_document("files", files, times_faster_than_dvc=2.5, times_s5cmd=2.0)
    )
    both = {
        "log": [{"seconds": 3.0, "lag_p99_ms": 1.0}] * 3,
        "push": [{"seconds": 4.0, "lag_p99_ms": 1.0}] * 3,
        "log and push": [{"seconds": 5.0, "lag_p99_ms": 9.0}] * 3,
    }
    (tmp_path / "push-overlap.json").write_text(
        _push_document("both", both, times_the_slower=1.2, lag_p99_ms=5.0)
    )

    assert markers.PARTS["push"](tmp_path).splitlines()[2:] == [
        "| files | asynclive | 4.00 (4.00 to 4.00) | **2.00** (2.00 to 2.00) times s5cmd; "
        "**2.00** (2.00 to 2.00) times faster than `dvc push` |",
        "| files | dvc push | 8.00 (8.00 to 8.00) |  |",
        "| files | s5cmd | 2.00 (2.00 to 2.00) |  |",
        *(
            f"| both | {side} | {seconds:.2f} ({seconds:.2f} to {seconds:.2f}) | "
            "lag of the event loop, p99: 1.00 (1.00 to 1.00) ms |"
            for side, seconds in (("log", 3), ("push", 4))
        ),
        "| both | log and push | 5.00 (5.00 to 5.00) | lag of the event loop, p99: 9.00 (9.00 to "
        "9.00) ms; **1.25** (1.25 to 1.25) times the slower of the two |",
    ]
    assert markers.PARTS["missed-goals"](tmp_path).splitlines()[2:] == [
        "| push, files: times faster than dvc | 2.00 | ≥ 2.5 |",
        "| push, both: times the slower | 1.25 | ≤ 1.2 |",
        "| push, both: lag p99 ms | 9.00 | ≤ 5 |",
    ]


@pytest.mark.long
def test_a_push_is_measured_in_each_case(tmp_path: Path) -> None:
    only = ("--scale", "0.01", "--pairs", "1", "--server", "moto", "--side", "asynclive")
    run("push", *only, "--side", "dvc push", "--out", tmp_path, cwd=tmp_path)
    for case in set(push.CASES) - {"overlap"}:
        document = json.loads((tmp_path / f"push-{case}.json").read_text())
        assert document["full"] is False
        assert document["sides"]["asynclive"]["seconds"]["median"] > 0
    assert "| --- |" in markers.PARTS["push"](tmp_path)


def test_a_relay_counts_bytes_and_stops_at_half() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        relaying(server.getsockname()[1], stop_after=100) as relay,
        socket.create_connection(("127.0.0.1", relay.port)) as client,
    ):
        passed, _ = server.accept()
        with passed:
            client.sendall(bytes(60))
            assert passed.recv(60, socket.MSG_WAITALL) == bytes(60)
            passed.sendall(b"answer")
            assert client.recv(6, socket.MSG_WAITALL) == b"answer"
            assert not relay.stopped.is_set()
            client.sendall(bytes(60))
            assert relay.stopped.wait(60)
            assert relay.sent_bytes == 120


@pytest.mark.parametrize("name", ["speed_short", "readme-speed"])
def test_a_short_table_has_three_rows(name: str) -> None:
    rows = markers.PARTS[name](results.FULL).splitlines()
    assert sum(row.startswith("| ") for row in rows) == 2 + 3


@pytest.mark.long
def test_pictures_are_drawn_from_what_there_is(measured: Path) -> None:
    from perf.report.plots import draw_all

    drawn = draw_all(measured)
    assert [path.name for path in drawn] == ["workloads.png"]
    assert all(1_000 < path.stat().st_size < 100_000 for path in drawn)


def test_committed_results_can_be_drawn(tmp_path: Path) -> None:
    from perf.report.plots import draw_all

    for path in (PERF / "results").glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert all(path.stat().st_size < 100_000 for path in draw_all(tmp_path))
