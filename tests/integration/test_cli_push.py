"""Run ``asynclive push`` and ``asynclive log --push`` with a directory as the remote."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from disk import md5, write
from twin import dvc

from asynclive import PushResult
from asynclive._cli.main import run

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

Captured = pytest.CaptureFixture[str]

# Prints a line when it is about to send the first object, and waits until it is cancelled.
SENDS = """
import anyio
from asynclive._remote.local_remote import LocalRemote
from asynclive._cli.main import main

async def send(store, obj, source, on_bytes):
    print("sends", flush=True)
    await anyio.sleep_forever()

LocalRemote.send = send
main()
"""


@pytest.fixture
def remote(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the command in this repository, whose default remote is the returned directory."""
    monkeypatch.chdir(repo)
    path = repo.parent / "storage"
    dvc(repo, "remote", "add", "--quiet", "--default", "storage", str(path))
    return path


def stored(remote: Path) -> set[str]:
    """Return the MD5s of the objects in the remote."""
    objects = remote / "files" / "md5"
    return {path.parent.name + path.name for path in objects.glob("??/*")}


def document(captured: Captured, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Return the JSON document of the command, which must end with ``code``."""
    assert run([*arguments, "--json"]) == code
    printed: dict[str, Any] = json.loads(captured.readouterr().out)
    return printed


def test_log_push_sends_each_artifact_and_names_the_remote(
    repo: Path, remote: Path, capsys: Captured
) -> None:
    write(repo, {"model.pt": "weights", "data/a.txt": "a", "data/b.txt": "bb"})

    assert run(["log", "model.pt", "data", "--push"]) == 0

    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["NAME", "PATH", "SIZE", "FILES", "PUSHED", "TO", "MD5"]
    assert lines[1] == ["model", "model.pt", "7", "B", "1", "storage", md5("weights")]
    assert lines[2][5] == "storage"
    assert err == ""
    assert stored(remote) == {md5("weights"), md5("a"), md5("bb"), lines[2][6]}
    assert "in sync" in dvc(repo, "status", "--cloud")


def test_log_push_in_json_has_the_result_of_each_push(
    repo: Path, remote: Path, capsys: Captured
) -> None:
    write(repo, {"model.pt": "weights"})
    (logged,) = document(capsys, "log", "model.pt", "--push", "--remote", "storage")["logged"]
    assert set(logged["push"]) == {field.name for field in fields(PushResult)}
    assert (logged["push"]["remote"], logged["push"]["objects"]) == ("storage", 1)


def test_a_log_whose_push_fails_stays_logged(repo: Path, remote: Path, capsys: Captured) -> None:
    write(repo, {"a.bin": "a", "b.bin": "b"})
    remote.write_text("not a directory")

    assert run(["log", "a.bin", "b.bin", "--push"]) == 1

    out, err = capsys.readouterr()
    assert out.count("not pushed") == 2
    assert "Cannot push to the remote 'storage'" in err
    assert err.splitlines()[-1] == (
        "Error: 2 logged and not pushed: 'a.bin', 'b.bin'. 'asynclive push' goes on."
    )
    assert (repo / "a.bin.dvc").is_file()
    remote.unlink()
    assert run(["push"]) == 0
    assert stored(remote) == {md5("a"), md5("b")}


def test_log_push_in_json_has_the_error_of_a_push(
    repo: Path, remote: Path, capsys: Captured
) -> None:
    write(repo, {"a.bin": "a"})
    remote.write_text("not a directory")
    (logged,) = document(capsys, "log", "a.bin", "--push", code=1)["logged"]
    assert logged["push"]["error"].endswith("Error")
    assert logged["push"]["remote"] == "storage"


def test_push_sends_all_that_is_tracked_and_checks_the_rest(
    repo: Path, remote: Path, capsys: Captured
) -> None:
    write(repo, {"model.pt": "weights", "data/a.txt": "a"})
    assert run(["log", "model.pt", "data"]) == 0
    capsys.readouterr()

    assert run(["push"]) == 0

    head, row = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["REMOTE", "OBJECTS", "SENT", "THERE", "ALREADY", "RESUMED", "VERIFIED", "BY"]
    assert row[:2] == ["storage", "3"]
    assert "in sync" in dvc(repo, "status", "--cloud")
    again = document(capsys, "push")
    assert set(again) == {field.name for field in fields(PushResult)}
    assert (again["objects"], again["skipped"], again["backend"]) == (0, 3, "local")


@pytest.mark.parametrize("target", ["model.pt", "best"])
def test_push_takes_paths_and_names(
    repo: Path, remote: Path, capsys: Captured, target: str
) -> None:
    write(repo, {"model.pt": "weights", "other.pt": "other"})
    assert run(["log", "model.pt", "--name", "best"]) == 0
    assert run(["log", "other.pt"]) == 0
    capsys.readouterr()
    assert document(capsys, "push", target, "--verify", "read")["verified_by"] == "read"
    assert stored(remote) == {md5("weights")}


def test_push_takes_paths_relative_to_the_working_directory(
    repo: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, {"models/a.pt": "a"})
    assert run(["log", "models/a.pt"]) == 0
    monkeypatch.chdir(repo / "models")
    assert run(["push", "a.pt", "--max-bandwidth", "1G"]) == 0
    assert stored(remote) == {md5("a")}


@pytest.mark.parametrize("arguments", [["push"], ["log", "a.bin", "--push"]])
def test_without_a_remote_the_error_says_how_to_add_one(
    repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, arguments: list[str]
) -> None:
    monkeypatch.chdir(repo)
    write(repo, {"a.bin": "a"})
    if arguments == ["push"]:
        assert run(["log", "a.bin"]) == 0
        capsys.readouterr()

    assert run(arguments) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert "dvc remote add" in err
    assert len(err.splitlines()) == 1
    assert (repo / "a.bin.dvc").exists() == (arguments == ["push"])


def test_a_failed_push_in_json_names_the_error_and_the_remote(
    repo: Path, remote: Path, capsys: Captured
) -> None:
    write(repo, {"a.bin": "a"})
    assert run(["log", "a.bin"]) == 0
    capsys.readouterr()
    found = document(capsys, "push", "--remote", "gone", code=1)
    assert (found["error"], found["remote"], found["failed"]) == ("RemoteNotFoundError", "gone", [])


def test_a_target_that_is_not_tracked_is_an_error(
    repo: Path, remote: Path, capsys: Captured
) -> None:
    write(repo, {"a.bin": "a"})
    assert run(["push", "a.bin"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "not tracked" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["push", ""], "'' is neither a path nor a name"),
        (["push", "--verify", "twice"], "'twice' is not one of"),
        (["push", "--max-bandwidth", "0"], "'0' is not a number of bytes"),
        (["push", "--max-bandwidth", "fast"], "'fast' is not a number of bytes"),
        (["push", "--remote", ""], "'' is not the name of a remote"),
        (["log", "a.bin", "--remote", "storage"], "need --push"),
        (["log", "a.bin", "--verify", "read"], "need --push"),
        (["log", "a.bin", "--push", "--no-cache"], "--no-cache stores nothing"),
    ],
)
def test_a_wrong_command_line_is_explained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)  # there is no repository here
    assert run(arguments) == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["push"], "Stopped: interrupted; everything stays committed"),
        (["log", "a.bin", "--push"], "Stopped: 1 logged and not pushed: 'a.bin'."),
    ],
)
def test_ctrl_c_in_a_push_names_the_artifacts_and_the_next_push_goes_on(
    repo: Path, remote: Path, arguments: list[str], said: str
) -> None:
    write(repo, {"a.bin": "a"})
    if arguments == ["push"]:
        assert run(["log", "a.bin"]) == 0
    with subprocess.Popen(
        [sys.executable, "-c", SENDS, *arguments],
        cwd=repo,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "sends\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    last = err.splitlines()[-1]
    assert last.startswith(said)
    assert last.endswith("'asynclive push' goes on.")
    assert (repo / "a.bin.dvc").is_file()
    assert stored(remote) == set()
    assert run(["push"]) == 0
    assert stored(remote) == {md5("a")}


def test_dvc_pulls_the_pushed_directory(repo: Path, remote: Path) -> None:
    write(repo, {"data/a.txt": "a", "data/b.txt": "bb"})
    assert run(["log", "data", "--push"]) == 0
    shutil.rmtree(repo / ".dvc" / "cache")
    shutil.rmtree(repo / "data")
    dvc(repo, "pull", "--quiet")
    assert (repo / "data" / "b.txt").read_text() == "bb"
