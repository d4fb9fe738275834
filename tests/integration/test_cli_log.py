"""Run ``asynclive log``: check the logged artifacts, the output and the exit status."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disk import dvc_file, leftovers, look, md5, write
from gate import locked
from twin import dvc

import asynclive
from asynclive._cli import option_words
from asynclive._cli.main import run

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

ASYNCLIVE = [sys.executable, "-m", "asynclive"]

# Prints a line when the lock was requested in vain: all artifacts are staged and wait.
WAITS = """
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._cli.main import main

ask = DvcRepository.acquire

def acquire(repository):
    free = ask(repository)
    if not free:
        print("waits", flush=True)
    return free

DvcRepository.acquire = acquire
main()
"""

# Prints a line when it commits, and continues once it has received a signal.
COMMITS = """
import threading
from asynclive._cli import log_paths
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._cli.main import main

do, seen = DvcRepository.commit, threading.Event()

class Report(log_paths.Report):
    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "signal" and value is not None:
            seen.set()

def commit(repository, group):
    print("commits", flush=True)
    seen.wait()
    return do(repository, group)

log_paths.Report, DvcRepository.commit = Report, commit
main()
"""

# Prints a line when it is about to leave the block, and stays there.
STAYS = """
import sys
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._cli.main import main

def close(repository):
    print("leaves", flush=True)
    sys.stdin.read()

DvcRepository.close = close
main()
"""


@pytest.fixture
def repo(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the command in this repository."""
    monkeypatch.chdir(repo)
    return repo


Captured = pytest.CaptureFixture[str]


def failed(captured: Captured, *arguments: str, code: int) -> str:
    """Run the command, which must end with ``code``, and return its stderr."""
    assert run(arguments) == code
    out, err = captured.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err


def test_all_paths_are_logged_and_a_table_is_printed(repo: Path, capsys: Captured) -> None:
    write(repo, {"model.pt": "weights", "data/a.txt": "a", "data/b.txt": "bb"})

    assert run(["log", "model.pt", "data"]) == 0

    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["NAME", "PATH", "SIZE", "FILES", "MD5"]
    assert lines[1] == ["model", "model.pt", "7", "B", "1", md5("weights")]
    assert lines[2][:5] == ["data", "data", "3", "B", "2"]
    assert err == ""
    assert (repo / "model.pt.dvc").read_text() == dvc_file("weights", "model.pt")
    assert dvc(repo, "status") == "Data and pipelines are up to date.\n"
    assert not (repo / "dvc.yaml").exists()


def test_options_are_recorded_in_dvc_yaml(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})

    code = run(
        ["log", "model.pt", "--type", "model", "--name", "mymodel", "--desc", "A model"]
        + ["--label", "a", "--label", "b", "--meta", "lr=0.1", "--meta", "tag='1.0'"]
    )

    assert code == 0
    assert (repo / "dvc.yaml").read_text() == (
        "artifacts:\n  mymodel:\n    path: model.pt\n    type: model\n    desc: A model\n"
        "    labels:\n    - a\n    - b\n    meta:\n      lr: 0.1\n      tag: '1.0'\n"
    )


@pytest.mark.parametrize(
    ("options", "place"),
    [
        (["--copy"], "dvclive/artifacts/model.pt"),
        (["--copy-to", "best/one"], "dvclive/artifacts/best/one/model.pt"),
        (["--copy-to", ""], "dvclive/artifacts/model.pt"),
        (["--copy", "--dir", "runs"], "runs/artifacts/model.pt"),
    ],
)
def test_a_copy_lands_in_the_directory_of_the_option(
    repo: Path, options: list[str], place: str
) -> None:
    write(repo, {"model.pt": "weights"})
    assert run(["log", *options, "model.pt", "--durable", "--workers", "1"]) == 0
    assert (repo / place).read_text() == "weights"
    assert (repo / f"{place}.dvc").is_file()
    assert not (repo / "model.pt.dvc").exists()


def test_no_cache_writes_an_entry_only(repo: Path, capsys: Captured) -> None:
    write(repo, {"model.pt": "weights"})
    assert run(["log", "model.pt", "--no-cache", "--desc", "kept", "--dvcyaml", "dvc.yaml"]) == 0
    assert "not cached" in capsys.readouterr().out
    assert not (repo / "model.pt.dvc").exists()
    assert "desc: kept" in (repo / "dvc.yaml").read_text()


def test_no_dvcyaml_writes_no_entry(repo: Path) -> None:
    write(repo, {"model.pt": "weights"})
    assert run(["log", "model.pt", "--no-dvcyaml", "--desc", "not kept"]) == 0
    assert (repo / "model.pt.dvc").is_file()
    assert not (repo / "dvc.yaml").exists()


def test_a_path_that_fails_does_not_stop_the_others(repo: Path, capsys: Captured) -> None:
    write(repo, {"a.bin": "a", "b.bin": "b"})

    assert run(["log", "a.bin", "gone.bin", "b.bin", "also-gone.bin"]) == 1

    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["NAME", "a", "b"]
    assert err.splitlines() == [
        f"Error: '{repo / name}' does not exist." for name in ("gone.bin", "also-gone.bin")
    ]
    assert (repo / "a.bin.dvc").is_file()
    assert (repo / "b.bin.dvc").is_file()


def test_a_path_given_twice_is_logged_once(repo: Path, capsys: Captured) -> None:
    write(repo, {"a.bin": "a"})
    assert run(["log", "a.bin", "./a.bin", str(repo / "a.bin")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_json_document_lists_logged_and_failed_paths(repo: Path, capsys: Captured) -> None:
    write(repo, {"a.bin": "weights"})

    assert (
        run(["log", "--json", "a.bin", "gone.bin", "--meta", "x=.inf", "--meta", "d=2024-05-01"])
        == 1
    )

    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "logged": [
            {
                "given": "a.bin",
                "name": "a",
                "path": str(repo / "a.bin"),
                "type": None,
                "desc": None,
                "labels": None,
                "meta": {"x": "inf", "d": "2024-05-01"},
                "md5": md5("weights"),
                "size": 7,
                "nfiles": 1,
                "dvc_file": str(repo / "a.bin.dvc"),
            }
        ],
        "failed": [
            {
                "given": "gone.bin",
                "error": "ArtifactNotFoundError",
                "message": f"'{repo / 'gone.bin'}' does not exist.",
            }
        ],
    }
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Usage: asynclive [OPTIONS] COMMAND [ARGS]..."),
        (["unknown"], "No such command 'unknown'"),
        (["--unknown"], "No such option"),
        (["log"], "Missing argument 'PATH...'"),
        (["log", ""], "'' is not a path"),
        (["log", "a.bin", "--unknown"], "No such option"),
        (["log", "a.bin", "--\x1b[31m"], "No such option"),
        (
            ["log", "a.bin", "b.bin", "--name", "both"],
            "--name can be given with one PATH only, not with 2",
        ),
        (["log", "a.bin", "--name", "no/"], "Can't use 'no/' as artifact name"),
        (["log", "a.bin", "--name", ""], "Can't use '' as artifact name"),
        (["log", "a.bin", "--meta", "lr"], "'lr' is not KEY=VALUE"),
        (["log", "a.bin", "--meta", "=1"], "'=1' is not KEY=VALUE"),
        (["log", "a.bin", "--meta", "lr=1", "--meta", "lr=2"], "'lr' is given twice"),
        (["log", "a.bin", "--meta", "\udcff=1"], "'--meta'"),
        (["log", "a.bin", "--desc", "\udcff"], "'--desc'"),
        (["log", "a.bin", "--label", "\udcff"], "'--label'"),
        (["log", "a.bin", "--workers", "-1"], "-1 is not in the range"),
        (["log", "a.bin", "--workers", "0"], "0 is not in the range"),
        (["log", "a.bin", "--workers", "two"], "'two' is not a valid integer"),
        (["log", "a.bin", "--lock-timeout", "-1"], "-1.0 is not in the range"),
        (["log", "a.bin", "--lock-timeout", "nan"], "nan"),
        (["log", "a.bin", "--dvcyaml", "other.yaml"], "must have filename 'dvc.yaml'"),
        (["log", "a.bin", "--dvcyaml", ""], "must have filename 'dvc.yaml'"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
        (["doctor", "gone"], "'gone' does not exist"),
    ],
)
def test_a_wrong_command_line_is_explained_and_does_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    arguments: list[str],
    said: str,
) -> None:
    # There is no repository here: the command fails before it would notice.
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"a.bin": "a", "b.bin": "b"})
    err = failed(capsys, *arguments, code=2)
    assert said in " ".join(err.split())
    assert "\x1b" not in err
    assert sorted(os.listdir()) == ["a.bin", "b.bin"]


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["/etc/hosts"], "Log a copy of it with --copy."),
        (["a.bin", "--copy-to", "../out"], "cannot be copied to --copy-to '../out'"),
        (
            ["a.bin", "--dvcyaml", "x.yaml"],
            "('sub/dvc.yaml'), or --no-dvcyaml to write no entries.",
        ),
    ],
)
def test_errors_name_options_instead_of_parameters(
    repo: Path, capsys: Captured, arguments: list[str], advice: str
) -> None:
    write(repo, {"a.bin": "a"})

    assert run(["log", *arguments]) in (1, 2)
    assert advice in " ".join(capsys.readouterr().err.split())


def test_errors_in_json_name_options_instead_of_parameters(repo: Path, capsys: Captured) -> None:
    assert run(["log", "--json", "/etc/hosts"]) == 1
    assert "with --copy." in json.loads(capsys.readouterr().out)["failed"][0]["message"]


def test_the_parameters_that_options_replace_exist_in_the_library() -> None:
    sources = "".join(path.read_text() for path in Path(asynclive.__file__).parent.rglob("*.py"))
    joined = re.sub(r'"\s*f?"', "", sources)
    assert [words for words, _ in option_words.REPLACEMENTS if joined.count(words) < 2] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone.bin"], "does not exist"),
        (["a.bin", "--copy-to", "../out"], "cannot be copied to"),
        (["/etc/hosts"], "is outside of the DVC repository"),
        (["."], "contains a .dvcignore file"),
        (["dvc.yaml"], "dvc.yaml"),
    ],
)
def test_an_error_of_a_path_is_one_line(
    repo: Path, capsys: Captured, arguments: list[str], said: str
) -> None:
    write(repo, {"a.bin": "a", "dvc.yaml": "artifacts: {}\n"})
    err = failed(capsys, "log", *arguments, code=1)
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_missing_repository_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere, {"a.bin": "a", "b.bin": "b"})
    monkeypatch.chdir(elsewhere)

    assert run(["log", "--json", "a.bin", "b.bin"]) == 1

    out, err = capsys.readouterr()
    assert err.startswith("Error: No DVC or Git repository at")
    assert len(err.splitlines()) == 1
    document = json.loads(out)
    assert document["logged"] == []
    assert {one["error"] for one in document["failed"]} == {"RepositoryNotFoundError"}
    assert [one["given"] for one in document["failed"]] == ["a.bin", "b.bin"]


def test_a_write_protected_cache_is_one_line(
    repo: Path, capsys: Captured, unprivileged: None
) -> None:
    write(repo, {"a.bin": "a", "b.bin": "b"})
    (repo / ".dvc" / "cache").mkdir()
    (repo / ".dvc" / "cache").chmod(0o555)
    err = failed(capsys, "log", "a.bin", "b.bin", code=1)
    (repo / ".dvc" / "cache").chmod(0o755)
    assert "Permission denied" in err
    assert len(err.splitlines()) == 1


def test_log_escapes_control_characters_in_names(repo: Path, capsys: Captured) -> None:
    names = ["red\x1b[31m.bin", "new\nline.bin", "turned\u202e.bin", "bell\x9d\x07"]
    for name in names[:3]:
        (repo / name).write_text("a")

    assert run(["log", "--no-cache", "--verbose", *names, "-v"]) == 1

    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in (out + err).splitlines())
    assert len(out.splitlines()) == 4
    assert len(err.splitlines()) == 1
    assert "red\\x1b[31m.bin" in out


def test_warnings_of_the_library_are_printed(repo: Path, capsys: Captured) -> None:
    write(repo, {"model.pt": "weights"})
    dvc(repo, "config", "cache.type", "reflink")
    code = run(["log", "model.pt"])
    err = capsys.readouterr().err
    assert code == 0
    # On a file system with reflinks there is no warning.
    assert err == "" or err.startswith("Warning: None of cache.type = reflink works")


def test_processes_log_a_directory_of_many_small_files(repo: Path) -> None:
    (repo / "data").mkdir()
    for number in range(1500):
        (repo / "data" / f"{number}.txt").write_text(str(number))
    done = command("log", "data", cwd=repo)
    assert done.returncode == 0, done.stderr
    assert "1,500" in done.stdout


# In processes.


def command(*arguments: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([*ASYNCLIVE, *arguments], cwd=cwd, text=True, check=False, **options)


def test_the_command_has_a_version_and_help(repo: Path, capsys: Captured) -> None:
    done = command("--version", cwd=repo)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("asynclive, version ")
    assert run(["log", "-h"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: asynclive log [OPTIONS] PATH...")
    assert "Exit codes:" in out


def test_the_command_alone_prints_its_help(repo: Path) -> None:
    alone, asked = command(cwd=repo), command("--help", cwd=repo)
    # On stderr and with an error code, so that a script that lacks the subcommand stops.
    assert (alone.returncode, alone.stdout, alone.stderr) == (2, "", asked.stdout)
    assert (asked.returncode, asked.stderr) == (0, "")


def closed() -> None:
    os.close(1)


def gone() -> None:
    read, write = os.pipe()
    os.close(read)
    os.dup2(write, 1)


def full() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a /dev/full")
@pytest.mark.parametrize(
    ("option", "output", "said"),
    [
        ("log", closed, "Error: Cannot write to standard output: it is closed.\n"),
        ("log", gone, ""),
        ("log", full, "Error: Cannot write to standard output: No space left on device.\n"),
        ("doctor", full, "Error: Cannot write to standard output: No space left on device.\n"),
        ("--help", full, "Error: Cannot write to standard output: No space left on device.\n"),
        *((option, gone, "") for option in ("log --json", "doctor", "--help", "--version")),
        *((option, gone, "") for option in ("log --help", "completion bash")),
    ],
)
def test_an_output_that_fails_is_reported_and_the_artifacts_stay_logged(
    repo: Path, option: str, output: Callable[[], None], said: str
) -> None:
    write(repo, {"a.bin": "a"})
    logs = option in ("log", "log --json")
    arguments = [*option.split(), *(["a.bin"] if logs else [])]
    done = command(*arguments, cwd=repo, stdout=None, preexec_fn=output)
    assert (done.returncode, done.stderr) == (3, said)
    assert (repo / "a.bin.dvc").exists() == logs


@pytest.mark.parametrize("arguments", [[], ["log", "a.bin", "gone.bin"]])
def test_a_closed_pipe_ends_the_output_silently(repo: Path, arguments: list[str]) -> None:
    """As in ``asynclive log a.bin 2>&1 | head -1``."""
    write(repo, {"a.bin": "a"})

    def all_gone() -> None:
        gone()
        os.dup2(1, 2)

    done = command(*arguments, cwd=repo, stdout=None, stderr=None, preexec_fn=all_gone)
    assert done.returncode == (1 if arguments else 2)
    assert (repo / "a.bin.dvc").exists() == bool(arguments)


def test_errors_without_a_stderr_are_dropped(repo: Path) -> None:
    done = command("log", "gone.bin", cwd=repo, stderr=None, preexec_fn=lambda: os.close(2))
    assert (done.returncode, done.stdout) == (1, "")


def started(program: str, repo: Path, *paths: str, **options: Any) -> subprocess.Popen[str]:
    """Start ``asynclive log`` of these paths in a program that reports how far it is."""
    return subprocess.Popen(
        [sys.executable, "-c", program, "log", *paths],
        cwd=repo,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_undoes_the_artifacts_in_flight(
    repo: Path, number: signal.Signals, code: int
) -> None:
    write(repo, {"a.bin": "a", "b.bin": "b"})
    before = look(repo, objects=False)
    with locked(repo), started(WAITS, repo, "a.bin", "b.bin", "--copy") as process:
        assert said(process) == "waits\n"
        process.send_signal(number)
        out, err = process.communicate()
    assert process.returncode == code
    assert [line for line in out.splitlines() if line != "waits"] == []
    assert err == "Stopped: interrupted; 0 logged, 2 not logged.\n"
    after = look(repo, objects=False)
    assert after == {**before, **{name: after[name] for name in after if ".dvc/" in name}}


def test_an_artifact_interrupted_in_its_commit_is_reported_as_logged(
    repo: Path,
) -> None:
    write(repo, {"a.bin": "a"})
    with started(COMMITS, repo, "a.bin") as process:
        assert said(process) == "commits\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130
    assert err == "Stopped: interrupted; 1 logged, 0 not logged.\n"
    assert out.splitlines()[1].split()[:2] == ["a", "a.bin"]
    assert (repo / "a.bin.dvc").is_file()


def test_a_second_signal_ends_the_command_at_once(repo: Path) -> None:
    write(repo, {"a.bin": "a"})
    with started(STAYS, repo, "a.bin", "gone.bin") as process:
        assert said(process) == "leaves\n"
        process.send_signal(signal.SIGINT)  # all calls are done, so the command has nothing to undo
        process.send_signal(signal.SIGTERM)
        assert process.wait() in (
            -signal.SIGINT,
            -signal.SIGTERM,
        )  # the signal that arrives second decides
    assert leftovers(repo) != []
    assert run(["log", "a.bin"]) == 0
    # The fixture checks that no temp file is left.


def test_an_ignored_signal_stays_ignored(repo: Path) -> None:
    """As ``nohup`` does."""
    write(repo, {"a.bin": "a"})

    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with locked(repo) as gate, started(WAITS, repo, "a.bin", preexec_fn=ignore) as process:
        assert said(process) == "waits\n"
        process.send_signal(signal.SIGHUP)
        gate.open()
        process.communicate()
    assert process.returncode == 0
    assert (repo / "a.bin.dvc").is_file()


def test_the_lock_is_awaited_as_long_as_the_option_says(repo: Path, capsys: Captured) -> None:
    write(repo, {"a.bin": "a"})
    with locked(repo):
        err = failed(capsys, "log", "a.bin", "--lock-timeout", "0", code=1)
    assert "Another process held DVC's repository lock for 0 s" in err


@pytest.mark.parametrize("columns", [160, 40])
def test_the_table_fits_the_terminal(repo: Path, columns: int) -> None:
    pty = pytest.importorskip("pty", reason="pseudo-terminals are not for this system")
    names = [f"a-checkpoint-with-a-long-name-{number}.bin" for number in range(3)]
    write(repo, {f"some/directory/{name}": "a" for name in names})
    ours, theirs = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    with os.fdopen(ours, "rb", buffering=0) as screen:
        done = command("log", "some/directory/" + names[0], cwd=repo, stdout=theirs, env=env)
        os.close(theirs)
        text = screen.read(65536).decode()
    assert (done.returncode, done.stderr) == (0, "")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    head = lines[0].split()
    assert head == (["Name"] if columns > 100 else []) + ["Path", "Size"] + (
        ["Files", "MD5"] if columns > 100 else ["MD5"]
    )
    assert max(map(len, lines)) <= columns
    assert (md5("a") in text) == (columns > 100)
    assert md5("a")[:8] in text


def test_progress_is_shown_on_stderr_on_request(repo: Path, capsys: Captured) -> None:
    write(repo, {"a.bin": "a"})
    assert run(["log", "a.bin", "--json", "--progress"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["failed"] == []
    assert "1 of 1" in err or "1 logged" in err
    assert run(["log", "a.bin", "--no-progress"]) == 0
    assert capsys.readouterr().err == ""


def test_bash_completes_options_and_commands(repo: Path, tmp_path: Path) -> None:
    script = tmp_path / "asynclive"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m asynclive "$@"\n')
    script.chmod(0o755)
    made = command("completion", "bash", cwd=repo)
    assert (made.returncode, made.stderr) == (0, "")
    ask = made.stdout + (
        "\nCOMP_WORDS=(asynclive log --wor)\nCOMP_CWORD=2\n_asynclive_completion asynclive\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    try:
        done = subprocess.run(
            ["bash", "-c", ask], capture_output=True, text=True, env={**os.environ, "PATH": path}
        )
    except FileNotFoundError:
        pytest.skip("bash is not installed")
    assert done.stdout == "--workers\n", done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_completions(shell: str, capsys: Captured) -> None:
    assert run(["completion", shell]) == 0
    assert "_ASYNCLIVE_COMPLETE" in capsys.readouterr().out


def test_the_command_is_an_entry_point() -> None:
    pyproject = Path(__file__).resolve().parents[2] / "pyproject.toml"
    assert '\n[project.scripts]\nasynclive = "asynclive._cli.main:main"\n' in pyproject.read_text()
