"""The README's code does what the README says, and the pages explain every public name."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import asynclive

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
QUICKSTART = PYTHON[0]


@pytest.fixture
def environment(tmp_path: Path, default_isolation: None) -> dict[str, str]:
    """``python`` and ``dvc`` are those of the running interpreter, as in an active venv."""
    scripts = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": os.pathsep.join((scripts, os.environ["PATH"]))}


def run(*command: str, cwd: Path, env: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_the_first_example_works_as_typed(tmp_path: Path, environment: dict[str, str]) -> None:
    shell = [code for language, code in BLOCKS if language == "sh"]
    set_up = next(code for code in shell if "git init" in code)
    use = next(code for code in shell if "quickstart.py" in code)
    run("sh", "-ec", set_up, cwd=tmp_path, env=environment)
    (tmp_path / "quickstart.py").write_text(QUICKSTART)

    printed = run("sh", "-ec", use, cwd=tmp_path, env=environment)

    logged, status = printed.splitlines()[0], printed.splitlines()[1:]
    dvc_file = tmp_path / "model.pt.dvc"
    # printf '\0%.0s' $(seq 1000000) | md5sum
    assert logged == f"mymodel 879f4bba57ed37c9ec5e5aedf9864698 1000000 {dvc_file}"
    assert status == ["Data and pipelines are up to date."]
    assert dvc_file.is_file()
    assert "labels:\n    - resnet\n    - imagenet\n" in (tmp_path / "dvc.yaml").read_text()


def test_the_quickstart_example_is_the_first_one_of_the_readme_and_of_the_pages() -> None:
    assert (ROOT / "examples" / "quickstart.py").read_text() == QUICKSTART
    assert f"```python\n{QUICKSTART}```" in (ROOT / "docs" / "index.md").read_text()


def test_the_readme_is_one_page() -> None:
    assert len(README.encode()) <= 7 * 1024


def test_the_readme_names_the_two_commands() -> None:
    assert "make demo" in README
    assert "make test" in README


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_error_is_explained() -> None:
    errors = {name for name in asynclive.__all__ if name.endswith("Error")}
    page = (ROOT / "docs" / "failure.md").read_text()
    explained = set(re.findall(r"^\| `(\w+Error)`", page, re.MULTILINE))
    assert explained == errors - {"AsyncLiveError"}


def test_every_statistic_is_explained_in_the_reference() -> None:
    """The reference page shows the docstrings of the record's fields and properties."""
    record = asynclive.AsyncLiveStatistics
    assert f"::: asynclive.{record.__name__}\n" in _reference("records")
    (definition,) = ast.parse(inspect.getsource(record)).body
    assert isinstance(definition, ast.ClassDef)
    explained = {
        statement.target.id
        for statement, following in pairwise(definition.body)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(following, ast.Expr)
    }
    explained |= {
        name
        for name, value in vars(record).items()
        if isinstance(value, property) and inspect.getdoc(value)
    }
    assert explained == {name for name in dir(record) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("function", "documented"),
    [
        (asynclive.AsyncLive.__init__, asynclive.AsyncLive),
        (asynclive.AsyncLive.log_artifact, asynclive.AsyncLive.log_artifact),
    ],
)
def test_every_parameter_is_explained_in_the_reference(
    function: Callable[..., Any], documented: object
) -> None:
    """The reference page shows the ``Args:`` of the docstring."""
    assert "::: asynclive.AsyncLive\n" in _reference("asynclive")
    code = function.__code__
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    docstring = inspect.getdoc(documented) or ""
    section = docstring.partition("\nArgs:\n")[2].partition("\n\n")[0]
    explained = re.findall(r"^    (\w+): \S", section, re.MULTILINE)
    assert set(names) <= set(explained)


def _reference(page: str) -> str:
    return (ROOT / "docs" / "reference" / f"{page}.md").read_text()


def test_each_test_that_the_promises_name_is_there() -> None:
    named = re.findall(r"`(test_\w+\.py)`", (ROOT / "docs" / "promises.md").read_text())
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(named) <= there
    # And every test of faults is named.
    assert {path.name for path in (ROOT / "tests" / "faults").glob("test_*.py")} <= set(named)
