"""Save a DVC experiment when the block is left, with ``save_dvc_exp=True``."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from pathlib import Path

import anyio
import pytest
from backends import Isolation, in_both, on_asyncio
from disk import write
from gate import locked
from ruamel.yaml import YAML
from twin import Templates, dvc, git

from asynclive import AsyncLive, ExperimentError, LockTimeoutError, LoggedArtifact

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_behind")]

METRICS = {
    "dvc.yaml": "metrics:\n- results/metrics.json\n",
    "results/metrics.json": '{"loss": 0.25}\n',
}


def experiments(repo: Path) -> dict[str, str]:
    """Return the refs of the experiments by name."""
    refs = git(repo, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    return {Path(ref).name: ref for ref in refs if "/exec/" not in ref}


def files(repo: Path, name: str) -> set[str]:
    """Return the files that the experiment adds to its commit."""
    return set(git(repo, "diff", "--name-only", "HEAD", experiments(repo)[name]).splitlines())


@on_asyncio
@in_both
async def test_leaving_the_block_saves_an_experiment(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolation: Isolation
) -> None:
    write(repo, METRICS | {"a.pt": "a", "data/one": "1", "uncached.pt": "u", "mine.txt": ""})
    # Outside of the repository: DVC must resolve relative names against the repository.
    write(tmp_path, {"results/metrics.json": '{"loss": "of another project"}\n'})
    monkeypatch.chdir(tmp_path)
    async with AsyncLive(
        root=repo, save_dvc_exp=True, exp_message="the message", isolation=isolation
    ) as live:
        name = live.exp_name
        assert name is not None
        await live.log_artifact("a.pt", "model", copy=True)
        await live.log_artifact("data")
        await live.log_artifact("uncached.pt", "x", copy=True, cache=False)
        assert not experiments(repo)
    assert live.exp_name == name
    assert list(experiments(repo)) == [name]
    assert files(repo, name) == {
        *("dvc.yaml", "results/metrics.json", ".gitignore", "data.dvc"),
        *("dvclive/artifacts/.gitignore", "dvclive/artifacts/a.pt.dvc"),
        "dvclive/artifacts/uncached.pt",
    }
    assert git(repo, "log", "-1", "--format=%s", experiments(repo)[name]).strip() == "the message"
    assert git(repo, "log", "--format=%s").splitlines() == ["Start"]


@on_asyncio
async def test_dvc_shows_and_applies_the_experiment(repo: Path) -> None:
    write(repo, METRICS | {"a.pt": "a"})
    async with AsyncLive(root=repo, save_dvc_exp=True, exp_name="mine") as live:
        assert live.exp_name == "mine"
        await live.log_artifact("a.pt", "model", copy=True)
    assert ",0.25" in dvc(repo, "exp", "show", "--csv").split("mine,")[1]
    git(repo, "clean", "-xdfq", "--exclude=.dvc")
    dvc(repo, "exp", "apply", "--quiet", "mine")
    assert (repo / "dvclive" / "artifacts" / "a.pt").read_text() == "a"
    dvcyaml = YAML(typ="safe").load(repo / "dvc.yaml")
    assert dvcyaml["artifacts"] == {"a": {"path": "dvclive/artifacts/a.pt", "type": "model"}}


@on_asyncio
@in_both
async def test_a_block_left_by_an_exception_saves_no_experiment(
    repo: Path, isolation: Isolation
) -> None:
    write(repo, {"a.pt": "a"})
    with contextlib.suppress(ZeroDivisionError):
        async with AsyncLive(root=repo, save_dvc_exp=True, isolation=isolation) as live:
            await live.log_artifact("a.pt")
            raise ZeroDivisionError
    assert not experiments(repo)
    assert (repo / "a.pt.dvc").exists()


@on_asyncio
@in_both
async def test_an_experiment_that_dvc_refuses_is_an_error_on_leaving(
    repo: Path, isolation: Isolation
) -> None:
    write(repo, {"a.pt": "a"})

    async def log() -> None:
        async with AsyncLive(
            root=repo, save_dvc_exp=True, exp_name="mine", isolation=isolation
        ) as live:
            await live.log_artifact("a.pt")
            write(repo, {"dvc.yaml": "metrics: [\n"})

    with pytest.raises(ExperimentError, match=r"dvc\.yaml.*artifacts are tracked anyway") as caught:
        await log()
    assert caught.value.name == "mine"
    assert not experiments(repo)
    assert (repo / "a.pt.dvc").exists()


@on_asyncio
@pytest.mark.skipif(not hasattr(Exception, "add_note"), reason="notes came with Python 3.11")
async def test_un_awaited_errors_are_raised_with_the_error_of_dvc(repo: Path) -> None:
    write(repo, {"in-git.pt": ""})
    git(repo, "add", "in-git.pt")

    async def log() -> None:
        async with AsyncLive(root=repo, save_dvc_exp=True, exp_name="mine") as live:
            await live.submit("in-git.pt")
            write(repo, {"dvc.yaml": "metrics: [\n"})

    with pytest.raises(ExperimentError) as caught:
        await log()
    assert "no task awaited was not logged" in caught.value.__notes__[0]


@on_asyncio
@in_both
async def test_entering_raises_where_no_experiment_can_be_saved(
    templates: Templates, tmp_path: Path, repo: Path, isolation: Isolation
) -> None:
    head = git(repo, "rev-parse", "HEAD").strip()
    git(repo, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/mine", head)
    nameless = templates.make("git", tmp_path / "nameless")
    for key, value in {"user.name": "", "user.email": "", "user.useConfigOnly": "true"}.items():
        git(nameless, "config", key, value)
    for root, name, says in (
        (templates.make("no-scm", tmp_path / "no-scm"), None, "an experiment: there is no Git rep"),
        (templates.make("unborn", tmp_path / "unborn"), "n", "'n': Git has no commit yet"),
        (repo, "mine", "'mine': an experiment of this name exists"),
        (repo, "a/b", "'a/b': Invalid exp name"),
        (repo, "", "'': the name is empty"),
        (nameless, "n", "'n': 'git var' failed: .*user.email"),
    ):
        with pytest.raises(ExperimentError, match=says):
            async with AsyncLive(root=root, save_dvc_exp=True, exp_name=name, isolation=isolation):
                raise AssertionError
        if isolation == "process":
            break  # DVC finds the other problems at the same point


@on_asyncio
@in_both
async def test_sessions_that_end_at_once_save_their_experiments_while_another_one_logs(
    repo: Path, isolation: Isolation
) -> None:
    write(repo, {"tracked.txt": "committed\n"})
    git(repo, "add", "tracked.txt")
    git(repo, "commit", "--quiet", "--message=A file")
    write(repo, {"tracked.txt": "changed\n"} | {f"{n}.pt": str(n) for n in range(4)})
    logged: list[LoggedArtifact] = []
    all_entered, entered, saved = anyio.Event(), 0, 0

    async def save(number: int) -> None:
        nonlocal entered, saved
        async with AsyncLive(
            root=repo, save_dvc_exp=True, exp_name=f"e{number}", isolation=isolation
        ) as live:
            await live.log_artifact(f"{number}.pt", "model", name=f"m{number}")
            entered += 1
            if entered == 4:
                all_entered.set()
            await all_entered.wait()
        saved += 1

    async with (
        AsyncLive(root=repo, isolation=isolation) as live,
        anyio.create_task_group() as task_group,
    ):
        for number in range(4):
            task_group.start_soon(save, number)
        await all_entered.wait()
        while saved < 4:
            name = f"next-{len(logged)}"
            write(repo, {f"{name}.pt": name})
            logged.append(await live.log_artifact(f"{name}.pt", "model"))
    assert set(experiments(repo)) == {f"e{number}" for number in range(4)}
    for number in range(4):
        assert {"tracked.txt", f"{number}.pt.dvc"} <= files(repo, f"e{number}")
    assert {"stash", "exec"}.isdisjoint(git(repo, "for-each-ref").split("/"))
    assert (repo / "tracked.txt").read_text() == "changed\n"
    recorded = YAML(typ="safe").load(repo / "dvc.yaml")["artifacts"]
    for artifact in logged:
        assert artifact.name in recorded
        assert artifact.md5 is not None
        assert artifact.md5 in artifact.path.with_name(f"{artifact.path.name}.dvc").read_text()


# The entry that a `dvc exp save` makes, as long as it is running.
SAVING = {"write": {"workspace": {"pid": os.getppid(), "cmd": "dvc exp save"}}}


@on_asyncio
@pytest.mark.parametrize("holder", ["a session", "dvc exp save"])
async def test_a_save_waits_for_another_one_until_lock_timeout(repo: Path, holder: str) -> None:
    write(repo, {"a.pt": "a", ".dvc/tmp/exps/rwlock": "{}"})

    async def log() -> None:
        async with AsyncLive(
            root=repo, save_dvc_exp=True, exp_name="mine", lock_timeout=0.05
        ) as live:
            await live.log_artifact("a.pt")
            if holder == "a session":
                lock.enter_context(locked(repo))
            else:
                write(repo, {".dvc/tmp/exps/rwlock": json.dumps(SAVING)})

    lock = contextlib.ExitStack()
    with lock, pytest.raises(ExperimentError, match=r"lock.*artifacts are tracked") as caught:
        await log()
    assert isinstance(caught.value.__cause__, LockTimeoutError)
    assert not experiments(repo)
    write(repo, {".dvc/tmp/exps/rwlock": "{}"})
    async with AsyncLive(root=repo, save_dvc_exp=True, exp_name="mine"):
        pass
    assert files(repo, "mine") == set()


@on_asyncio
async def test_an_experiment_names_the_logged_bytes_and_not_later_ones(
    repo: Path,
) -> None:
    write(repo, {"a.pt": "logged"})
    async with AsyncLive(root=repo, save_dvc_exp=True, exp_name="mine") as live:
        logged = await live.log_artifact("a.pt")
        (repo / "a.pt").unlink()
        write(repo, {"a.pt": "half wri"})
    assert f"md5: {logged.md5}" in git(repo, "show", f"{experiments(repo)['mine']}:a.pt.dvc")


async def test_a_name_without_an_experiment_is_refused() -> None:
    for settings in ({"exp_name": "n"}, {"exp_message": "m"}):
        with pytest.raises(ValueError, match="need save_dvc_exp=True"):
            AsyncLive(**settings)  # type: ignore[arg-type]
    assert AsyncLive().exp_name is None


STAGE = """
import asyncio, logging
from asynclive import AsyncLive

logging.basicConfig(level="INFO", filename="log", filemode="w")

async def main():
    with open("a.pt", "w") as file:
        file.write("a")
    async with AsyncLive(save_dvc_exp=True, exp_name="ignored", isolation="ISOLATION") as live:
        await live.log_artifact("a.pt", "model", copy=True)
        print(live.exp_name, file=open("name", "w"))

asyncio.run(main())
"""

TEMPORARY_STAGE = """
import asyncio
from asynclive import AsyncLive
from dvclive import Live

async def main():
    open("a.pt", "w").write("a")
    open("b.pt", "w").write("b")
    with Live() as metrics:
        async with AsyncLive(live=metrics, isolation="ISOLATION") as live:
            await live.log_artifact("b.pt", "model", copy=False)
    async with AsyncLive(isolation="ISOLATION") as live:
        await live.log_artifact("a.pt", "model", copy=True)

asyncio.run(main())
"""


@on_asyncio
@in_both
async def test_a_temporary_run_keeps_what_its_stage_logs(repo: Path, isolation: Isolation) -> None:
    """DVC removes the directory of the run, and keeps the files that Git tracks in it."""
    write(repo, {"stage.py": TEMPORARY_STAGE.replace("ISOLATION", isolation)})
    dvc(repo, "stage", "add", "--quiet", "--name=train", f"{sys.executable} stage.py")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message=A stage")
    dvc(repo, "exp", "run", "--quiet", "--temp", "--name=run")
    found = files(repo, "run")
    assert {"a.pt.dvc", "b.pt.dvc", "dvc.yaml"} <= {Path(path).name for path in found}
    assert not {"a.pt", "b.pt"} & {Path(path).name for path in found}
    dvc(repo, "exp", "apply", "--quiet", "run")
    assert (repo / "dvclive" / "artifacts" / "a.pt").read_text() == "a"
    assert (repo / "b.pt").read_text() == "b"


@on_asyncio
@in_both
async def test_a_stage_leaves_the_experiment_to_its_pipeline(
    repo: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    isolation: Isolation,
) -> None:
    write(repo, {"stage.py": STAGE.replace("ISOLATION", isolation), ".gitignore": "/log\n/name\n"})
    dvc(repo, "stage", "add", "--quiet", "--name=train", f"{sys.executable} stage.py")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message=A stage")
    dvc(repo, "exp", "run", "--quiet", "--name=run")
    assert (repo / "name").read_text() == "run\n"
    assert "Ignoring `save_dvc_exp` because `dvc exp run` is running" in (repo / "log").read_text()
    assert list(experiments(repo)) == ["run"]
    assert {"dvc.yaml", "dvclive/artifacts/a.pt.dvc", "dvclive/artifacts/.gitignore"} <= files(
        repo, "run"
    )
    assert "dvclive/artifacts/a.pt" not in files(repo, "run")
    # As in a stage of `dvc repro`.
    monkeypatch.setenv("DVC_ROOT", str(repo))
    with caplog.at_level(logging.WARNING, "asynclive"):
        async with AsyncLive(root=repo, save_dvc_exp=True, isolation=isolation) as live:
            assert live.exp_name is None
    assert "Ignoring `save_dvc_exp` because `dvc repro` is running." in caplog.text
    assert list(experiments(repo)) == ["run"]
