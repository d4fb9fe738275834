"""The README's code does what the README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

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


def test_every_error_is_explained() -> None:
    errors = {name for name in asynclive.__all__ if name.endswith("Error")}
    explained = set(re.findall(r"^\| `(\w+Error)`", README, re.MULTILINE))
    assert explained == errors - {"AsyncLiveError"}


def test_every_statistic_is_in_the_table() -> None:
    record = asynclive.AsyncLiveStatistics
    table = README.partition("## Statistics")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    explained = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert explained == {name for name in dir(record) if not name.startswith("_")}


def test_every_parameter_is_in_the_tables() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)
    for function in (asynclive.AsyncLive.__init__, asynclive.AsyncLive.log_artifact):
        code = function.__code__
        names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
        assert set(names) <= set(rows)


def test_each_test_that_the_promises_name_is_there() -> None:
    named = re.findall(r"`(test_\w+\.py)`", (ROOT / "docs" / "promises.md").read_text())
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(named) <= there
    # And every test of faults is named.
    assert {path.name for path in (ROOT / "tests" / "faults").glob("test_*.py")} <= set(named)
