"""The programs in examples/ run, and show what they promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(*command: str, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_quickstart_logs_its_model(repo: Path) -> None:
    printed = run(str(EXAMPLES / "quickstart.py"), cwd=repo)

    assert printed.startswith("mymodel ")
    assert (repo / "model.pt.dvc").is_file()
    assert "mymodel:" in (repo / "dvc.yaml").read_text()
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "status"], cwd=repo, capture_output=True, text=True
    )
    assert status.stdout == "Data and pipelines are up to date.\n"


def test_the_demo_logs_all_at_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    temp = tmp_path / "temp"
    temp.mkdir()

    printed = run(str(EXAMPLES / "demo.py"), "--small", cwd=tmp_path, TMPDIR=str(temp))

    assert str(temp) in printed
    large = r"^  checkpoint-0 +1 +1,048,576  [0-9a-f]{32} +\d+\.\d\d +(\d+|-)$"
    directory = r"^  anyio +\d+ +[\d,]+  [0-9a-f]{32}\.dir +\d+\.\d\d +(\d+|-)$"
    assert re.search(large, printed, re.MULTILINE)
    assert re.search(directory, printed, re.MULTILINE)
    assert re.search(r"^  all 54 at once ", printed, re.MULTILINE)
    assert "dvc.yaml: 54 entries under artifacts:" in printed
    assert "Data and pipelines are up to date." in printed
    assert list(temp.iterdir()) == []
