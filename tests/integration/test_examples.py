"""The programs in examples/ run, and print what they promise."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from disk import md5
from gate import locked
from invariants import entries
from twin import dvc

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

pytestmark = pytest.mark.usefixtures("default_isolation")


def run(*command: str, cwd: Path, **env: str) -> str:
    # pytest-xdist sets COLUMNS, the width of the terminal.
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=cwd,
        env={**environment, **env},
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
    large = r"^  checkpoint-0 +1 +1,048,576  [0-9a-f]{32} +\d+\.\d\d +([\d,]+|-)$"
    directory = r"^  anyio +\d+ +[\d,]+  [0-9a-f]{32}\.dir +\d+\.\d\d +([\d,]+|-)$"
    assert re.search(large, printed, re.MULTILINE)
    assert re.search(directory, printed, re.MULTILINE)
    assert re.search(r"^  all 54 at once ", printed, re.MULTILINE)
    assert "dvc.yaml: 54 entries under artifacts:" in printed
    assert "Data and pipelines are up to date." in printed
    assert list(temp.iterdir()) == []


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed: pip install torch"
)
def test_a_pytorch_training_logs_its_checkpoints(repo: Path) -> None:
    given = ("--steps", "12", "--every", "3")
    printed = run(str(EXAMPLES / "train_async.py"), *given, cwd=repo)

    lines = re.findall(
        r"^{'step': (\d+), 'loss': .*}  [\d,]+ bytes  ([0-9a-f]{32})$", printed, re.M
    )
    assert [step for step, _ in lines] == ["3", "6", "9", "12"]
    assert len({digest for _, digest in lines}) == 4
    assert entries(repo)["sine"]["meta"]["step"] == 12
    assert f"md5: {lines[-1][1]}" in (repo / "checkpoint.pt.dvc").read_text()
    assert (repo / "dvclive/plots/metrics/train/loss.tsv").is_file()
    assert "dvclive/metrics.json" in (repo / "dvc.yaml").read_text()
    assert "up to date" in dvc(repo, "status")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_shards_are_logged_as_they_are_made(repo: Path, backend: str) -> None:
    given = ("--shards", "8", "--records", "10", "--backend", backend)
    printed = run(str(EXAMPLES / "prepare_shards.py"), *given, cwd=repo)

    shards = {f"part-{number:04}-jsonl" for number in range(8)}
    assert set(re.findall(r"^(\S+): [\d,]+ bytes, [0-9a-f]{32}$", printed, re.M)) == shards
    assert set(entries(repo)) == shards
    assert "8 shards of" in printed
    assert "up to date" in dvc(repo, "status")


def test_a_sync_loop_and_two_trainers_log_their_checkpoints(repo: Path) -> None:
    printed = run(str(EXAMPLES / "sync_loop.py"), cwd=repo)

    assert re.findall(r"^{'step': (\d+)}", printed, re.M) == ["10", "20", "30"]
    assert printed.endswith("9 checkpoints logged\n")
    assert {name: each["path"] for name, each in entries(repo).items()} == {
        "loop": "loop.ckpt",
        "lightning": "lightning/last.ckpt",
        "transformers": "dvclive/artifacts/transformers/checkpoint-300",
    }
    assert md5("weights of epoch 2") in (repo / "lightning/last.ckpt.dvc").read_text()
    for step in (100, 200, 300):
        copy = repo / f"dvclive/artifacts/transformers/checkpoint-{step}"
        assert (copy / "model.safetensors").read_text() == f"weights of step {step}"
    assert "up to date" in dvc(repo, "status")


def preempt(repo: Path, *given: str, steps: int) -> str:
    """Run the example, send SIGTERM after ``steps`` checkpoints, and return the later output."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(EXAMPLES / "preempted.py"), *given],
        cwd=repo,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step "):
            steps -= 1
        if not steps:
            break
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    return printed


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to catch")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_preempted_training_logs_its_last_checkpoint(repo: Path, backend: str) -> None:
    printed = preempt(repo, "--backend", backend, steps=3)

    assert "not logged" not in printed
    step = entries(repo)["preempted"]["meta"]["step"]
    assert step >= 30
    assert f"{step // 10} logged in total\n" in printed
    assert "up to date" in dvc(repo, "status")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to catch")
def test_a_preempted_training_names_the_checkpoints_it_had_no_time_for(repo: Path) -> None:
    with locked(repo):  # another process holds DVC's lock: no group can commit
        printed = preempt(repo, "--notice", "0", steps=3)

    assert printed.count("not logged: 'preempted.ckpt' was not logged: the deadline") >= 3
    assert printed.endswith("0 logged in total\n")
    assert not (repo / "preempted.ckpt.dvc").exists()


def test_checkpoints_are_pushed_while_the_training_goes_on(repo: Path) -> None:
    dvc(repo, "remote", "add", "--quiet", "--default", "storage", str(repo.parent / "storage"))

    printed = run(str(EXAMPLES / "push_checkpoints.py"), "--steps", "3", cwd=repo)

    *pushed, total = printed.splitlines()
    assert len(pushed) == 3
    assert total == "3 objects sent in total"
    for line in pushed:
        digest, _, said = line.partition(" ")
        assert said == "pushed to storage, verified by checksum"
        objects = repo.parent / "storage" / "files" / "md5"
        assert (objects / digest[:2] / digest[2:]).is_file()
