"""The benches work, at a tiny scale, and the READMEs say what the results say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PERF = ROOT / "perf"


def run(module: str, *arguments: object, cwd: Path) -> str:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of one workload, from one pair at a tiny scale."""
    directory = tmp_path_factory.mktemp("measured")
    tiny = ("--scale", "0.0005", "--pairs", "1", "--workload", "mix-copy")
    sides = ("--side", "asynclive", "--side", "floor")
    run("perf.benches.workloads", *tiny, *sides, "--out", directory, cwd=directory)
    return directory


def test_a_run_is_written_with_its_machine_and_every_side(measured: Path) -> None:
    (path,) = measured.glob("*.json")
    document = json.loads(path.read_text())
    assert path.name == "workload-mix-copy.json"
    assert document["machine"]["dvc"]
    assert set(document["sides"]) == {"asynclive", "floor"}
    for side in document["sides"].values():
        assert side["failure"] is None
        assert side["seconds"]["min"] == side["seconds"]["max"] == side["seconds"]["median"]
        assert len(side["runs"]) == 1


def test_no_ratio_is_made_from_one_pair(measured: Path) -> None:
    document = json.loads((measured / "workload-mix-copy.json").read_text())
    assert document["sides"]["asynclive"]["times_the_floor"] is None


def test_a_scaled_run_does_not_count_as_full(measured: Path) -> None:
    from perf.harness import results

    assert json.loads((measured / "workload-mix-copy.json").read_text())["full"] is False
    assert results.directory(full=False) == PERF / "results" / "short"


def test_a_result_that_is_there_is_not_measured_again(measured: Path) -> None:
    before = (measured / "workload-mix-copy.json").read_bytes()
    only = ("--workload", "mix-copy", "--scale", "0.0005")
    said = run("perf.benches.workloads", *only, "--resume", "--out", measured, cwd=measured)
    assert "workload-mix-copy: in" in said
    assert (measured / "workload-mix-copy.json").read_bytes() == before


def test_a_ratio_is_made_from_three_pairs_with_its_spread() -> None:
    from perf.harness.turns import Series, ratio

    slow = Series("dvclive", [{"seconds": seconds} for seconds in (4.0, 6.0, 9.0)])
    fast = Series("asynclive", [{"seconds": seconds} for seconds in (2.0, 2.0, 3.0)])
    assert ratio(slow, fast) == {"median": 3.0, "min": 2.0, "max": 3.0}


@pytest.mark.parametrize("side", ["asynclive", "threads"])
def test_the_loop_lag_is_measured_while_artifacts_are_logged(
    repo: Path, tmp_path: Path, side: str
) -> None:
    from perf.benches import loop_lag
    from perf.harness.sources import make

    made = make(loop_lag.sources_at(0.0005), tmp_path / "sources", "seed")
    given = ("--run", f"{side}-trio", "--sources", made, "--scale", "0.0005")
    one: dict[str, Any] = json.loads(run("perf.benches.loop_lag", *given, cwd=repo))
    assert sum(one["counts"]) == one["sleeps"] > 0
    assert 0 <= one["p50"] <= one["p99"] <= one["max"]


def test_what_an_isolation_costs_is_measured(tmp_path: Path) -> None:
    run(
        "perf.benches.isolation",
        "--scale",
        "0.001",
        "--pairs",
        "1",
        "--out",
        tmp_path,
        cwd=tmp_path,
    )
    measured = json.loads((tmp_path / "isolation.json").read_text())["isolations"]
    assert set(measured) == {"thread", "process"}
    assert measured["process"]["step_mean"]["median"] > 0


def test_the_cost_of_one_artifact_is_measured_each_way(repo: Path) -> None:
    one = json.loads(run("perf.benches.scaling", "--run", "asynclive", "10", "1000", cwd=repo))
    assert set(one) == {
        "first",
        "new_one_by_one",
        "known_one_by_one",
        "new_gathered",
        "known_gathered",
    }


def test_a_stall_is_measured_and_the_logged_bytes_are_looked_at(repo: Path, tmp_path: Path) -> None:
    for side in ("copy", "asynclive", "naive"):
        given = ("--run", side, "--given", "1000000", "3", "2", "0")
        one = json.loads(run("perf.benches.training_stall", *given, cwd=repo))
        assert one["step_ms"]["median"] <= one["step_ms"]["max"]
        assert one["blocked_ms"]["max"] > 0
        assert sum(one["bytes"].values()) == 3
        if side != "naive":
            assert one["bytes"] == {"right": 3}


def test_a_directory_is_looked_at_file_by_file(repo: Path) -> None:
    given = ("--run", "asynclive", "--given", 30 * 16 * 1024, "2", "1", "1")
    assert json.loads(run("perf.benches.training_stall", *given, cwd=repo))["bytes"] == {"right": 2}


@pytest.mark.parametrize(
    ("numbers", "judgement"),
    [([3, 3], "right"), ([3, 2], "torn"), ([2, 2], "wrong"), ([3], "torn"), ([], "none")],
)
def test_a_checkpoint_is_judged_by_the_numbers_in_it(
    tmp_path: Path, numbers: list[int], judgement: str
) -> None:
    import struct

    from perf.harness import training

    (tmp_path / "object").write_bytes(
        b"".join(training._MARK_BYTES + struct.pack("<f", number) + b"-" for number in numbers)
    )
    assert training.judge([tmp_path / "object"], 3, stamps=2) == judgement
    assert training.judge([], 3, stamps=2) == "none"


def test_tables_are_made_from_a_result_and_say_so_where_there_is_none(measured: Path) -> None:
    from perf.report.markers import filled

    text = "before\n<!-- results: {} -->\nold\n<!-- end -->\nafter\n"
    table = filled(text.format("workloads"), measured)
    assert "old" not in table
    assert "| the directory, 4 x 256 MiB" in table
    assert "Not measured yet." in filled(text.format("scaling"), measured)


@pytest.mark.parametrize("readme", ["README.md", "perf/README.md", "docs/power-cut.md"])
def test_the_readme_says_what_the_committed_results_say(readme: str) -> None:
    from perf.harness import results
    from perf.report.markers import filled

    text = (ROOT / readme).read_text()
    assert filled(text, results.FULL) == text, "run: python -m perf.report.markers"


def test_pictures_are_drawn_from_what_there_is(measured: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra: make .venv/.bench-installed")
    from perf.report.plots import draw_all

    drawn = draw_all(measured)
    assert [path.name for path in drawn] == ["workloads.png"]
    assert all(1_000 < path.stat().st_size < 100_000 for path in drawn)


def test_committed_results_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra: make .venv/.bench-installed")
    from perf.report.plots import draw_all

    for path in (PERF / "results").glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert all(path.stat().st_size < 100_000 for path in draw_all(tmp_path))
