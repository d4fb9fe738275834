"""usable_processors: affinity, and quotas of either version of control groups, nested or not."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from asynclive._workers import processors
from asynclive._workers.file_workers import default_workers
from asynclive._workers.processors import read_quota, usable_processors


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a machine with 64 processors that has its control groups in this directory."""
    monkeypatch.setattr(processors, "_CGROUPS", str(tmp_path / "cgroup"))
    monkeypatch.setattr(processors, "_OWN_CGROUPS", str(tmp_path / "own"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 64, raising=False)
    monkeypatch.setattr(processors._quota, "processors", math.inf)
    return tmp_path / "cgroup"


def make(groups: Path, own: str, files: dict[str, str]) -> None:
    (groups.parent / "own").write_text(own)
    for name, text in files.items():
        path = groups / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("own", "files", "count"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "1000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "100000 100000\n"}, 1),
        ("0::/../host/pod\n", {"cpu.max": "400000 100000\n"}, 4),
        ("0::/gone\n", {}, 64),
        (
            "5:memory:/x\n4:cpu,cpuacct:/docker/abc\n",
            {
                "cpu,cpuacct/cpu.cfs_quota_us": "250000\n",
                "cpu,cpuacct/cpu.cfs_period_us": "50000\n",
            },
            5,
        ),
        (
            "4:cpu:/a\n0::/\n",
            {
                "cpu/a/cpu.cfs_quota_us": "-1\n",
                "cpu/a/cpu.cfs_period_us": "100000\n",
                "cpu/cpu.cfs_quota_us": "700000\n",
                "cpu/cpu.cfs_period_us": "100000\n",
            },
            7,
        ),
        ("nonsense\n", {}, 64),
    ],
)
def test_the_smallest_quota_of_the_group_and_its_ancestors_counts(
    groups: Path, own: str, files: dict[str, str], count: int
) -> None:
    make(groups, own, files)
    read_quota()
    assert usable_processors() == count
    assert default_workers() == min(count + 2, 32)


def test_affinity_counts_without_control_groups(
    groups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_quota()
    assert usable_processors() == 64
    monkeypatch.setattr(os, "process_cpu_count", lambda: 6, raising=False)
    assert usable_processors() == 6
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert usable_processors() == 1
