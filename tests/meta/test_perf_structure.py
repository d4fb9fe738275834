"""The shape of ``perf``: which package imports which, and that no bench is forgotten."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from perf.benches import NAMES, load
from perf.report.markers import PARTS

ROOT = Path(__file__).resolve().parents[2]
BENCHES = {path.stem for path in (ROOT / "perf" / "benches").glob("[!_]*.py")}
# What the files of each package may import from perf.
ALLOWED = {
    "benches": ("perf.sides.", "perf.harness."),
    "sides": ("perf.sides.", "perf.harness."),
    "harness": ("perf.harness.",),
    "report": ("perf.report.", "perf.harness.results."),
}


def imports_of(path: Path) -> set[str]:
    """Return the modules, and the names in modules, that a file imports, each with a final dot."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: perf is imported by its whole name"
            names |= {f"{node.module}.{alias.name}." for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {f"{alias.name}." for alias in node.names}
    return {name for name in names if name.startswith("perf.")}


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_file_of_perf_imports_only_what_its_package_may(package: str) -> None:
    for path in (ROOT / "perf" / package).glob("[!_]*.py"):
        assert not {n for n in imports_of(path) if not n.startswith(ALLOWED[package])}, path


def test_every_bench_is_in_the_registry_under_the_name_of_its_file() -> None:
    assert len(NAMES) == len(set(NAMES))
    assert set(NAMES) == BENCHES
    assert [load(name).name for name in NAMES] == list(NAMES)


def test_every_bench_asks_a_question_and_its_table_is_on_the_page() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    for name in NAMES:
        assert load(name).description.splitlines()[0].endswith("?"), name
        assert name in PARTS
        assert f"<!-- results: {name} -->" in page
