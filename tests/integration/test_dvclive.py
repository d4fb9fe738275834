"""Log with a real ``dvclive.Live``: entries stay in dvc.yaml and are in its experiment."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import dvclive.dvc
import pytest
from backends import Isolation, in_both, on_asyncio
from disk import write
from dvclive import Live
from gate import locked
from isolated import in_worker
from ruamel.yaml import YAML
from twin import dvc, git

from asynclive import AsyncLive, DvcYamlError, ExperimentError, RepositoryError
from asynclive._dvclive.adopted_live import AdoptedLive
from asynclive._dvcyaml.async_files import AsyncFiles

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_behind")]


@pytest.fixture
def make(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Return a function that makes a Live in the repository, the working directory."""
    monkeypatch.chdir(repo)
    level = logging.getLogger("dvc").level
    lives: list[Any] = []

    def make(*, save_dvc_exp: bool = False, **settings: Any) -> Any:
        lives.append(Live(save_dvc_exp=save_dvc_exp, **settings))
        return lives[-1]

    yield make
    for live in lives:
        live._dvc_repo.close()
    logging.getLogger("dvc").setLevel(level)


def entries(dvcyaml: Path = Path("dvc.yaml")) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(dvcyaml.read_text()).get("artifacts", {}))


@in_both
async def test_entries_survive_every_write_of_dvclive(
    repo: Path, make: Callable[..., Any], isolation: Isolation
) -> None:
    write(repo, {"a.pt": "a", "b.pt": "b", "c.pt": "c", "dvc.yaml": "# mine\n"})
    kept = {
        "a": {"path": "dvclive/artifacts/a.pt", "type": "model", "meta": {"step": 1}},
        "b": {"path": "b.pt", "desc": "the ${last}", "labels": ["x"]},
        "c": {"path": "dvclive/artifacts/c.pt", "type": "model"},
    }
    kept["b"]["desc"] = "the \\${last}"  # no template for DVC
    with make() as live:
        async with AsyncLive(live=live, isolation=isolation) as async_live:
            live.log_metric("loss", 1.0)
            meta = {"step": 1}
            await async_live.log_artifact("a.pt", "model", meta=meta, copy=True)
            meta["step"] = 2
            live.next_step()
            assert entries() == {"a": kept["a"]}
            await async_live.log_artifact("b.pt", desc="the ${last}", labels=["x"])
            live.make_dvcyaml()
            assert entries() == {name: kept[name] for name in "ab"}
            live.log_artifact("c.pt", "model", copy=True)
            live.next_step()
            assert entries() == kept
        live.log_metric("loss", 0.5)
    assert entries() == kept
    assert "# mine" in Path("dvc.yaml").read_text()
    assert YAML(typ="safe").load(Path("dvc.yaml"))["metrics"] == ["dvclive/metrics.json"]


@on_asyncio
async def test_the_later_entry_of_one_name_stays(repo: Path, make: Callable[..., Any]) -> None:
    write(repo, {"a.pt": "a", "b.pt": "b"})
    with make() as live:
        async with AsyncLive(live=live) as async_live:
            live.log_artifact("a.pt", "model", name="m")
            await async_live.log_artifact("b.pt", "other", name="m")
            live.next_step()
            assert entries() == {"m": {"path": "b.pt", "type": "other"}}
            live.log_artifact("a.pt", "model", name="m")
            live.next_step()
            assert entries() == {"m": {"path": "a.pt", "type": "model"}}


@on_asyncio
@in_both
async def test_dir_and_dvcyaml_of_the_live_are_used(
    repo: Path, make: Callable[..., Any], isolation: Isolation
) -> None:
    write(repo, {"a.pt": "a", "b.pt": "b", "below/here": ""})
    with make(dir="sub/live", dvcyaml="sub/dvc.yaml") as live:
        # Relative paths start in root; those of Live do not.
        async with AsyncLive(root=repo / "below", live=live, isolation=isolation) as async_live:
            logged = await async_live.log_artifact("../a.pt", "model", copy=True)
            assert logged.path == repo / "sub" / "live" / "artifacts" / "a.pt"
            await async_live.log_artifact("../b.pt", "model")
            live.next_step()
    assert entries(repo / "sub" / "dvc.yaml") == {
        "a": {"path": "live/artifacts/a.pt", "type": "model"},
        "b": {"path": "../b.pt", "type": "model"},
    }
    assert not Path("dvc.yaml").exists()


@on_asyncio
@pytest.mark.parametrize(
    ("dvcyaml", "isolation"), [(None, "thread"), (False, "thread"), (False, "process")]
)
async def test_a_live_without_dvcyaml_writes_no_entry(
    repo: Path, make: Callable[..., Any], dvcyaml: bool | None, isolation: Isolation
) -> None:
    write(repo, {"a.pt": "a"})
    with make(dvcyaml=dvcyaml) as live:
        async with AsyncLive(live=live, dvcyaml=None, isolation=isolation) as async_live:
            await async_live.log_artifact("a.pt", "model")
            live.next_step()
    assert not Path("dvc.yaml").exists()
    assert Path("a.pt.dvc").exists()


@on_asyncio
@in_both
async def test_no_entry_is_lost_while_another_thread_writes_dvc_yaml(
    repo: Path, make: Callable[..., Any], isolation: Isolation
) -> None:
    # More than one write takes.
    mine = [f"- x{number}: 1 # {'mine ' * 30}" for number in range(60)]
    names = [f"n{number}" for number in range(6 if isolation == "thread" else 10)]
    files = {f"{name}.pt": name for name in names}
    write(repo, files | {"dvc.yaml": "\n".join(["vars:", *mine, ""])})
    live = make()
    live.log_metric("loss", 1.0)
    enough = threading.Event()
    written = 0

    def write_on() -> None:
        nonlocal written
        while not enough.is_set():
            live.next_step()
            written += 1

    async with AsyncLive(live=live, isolation=isolation) as async_live:
        writer = threading.Thread(target=write_on)

        async def log(name: str) -> None:
            await async_live.log_artifact(f"{name}.pt", "model", copy=True)
            live.make_dvcyaml()  # on the event loop, which this call blocks until it has the lock
            with beside.lock():
                assert name in entries()

        beside = async_live._session.experiment
        assert isinstance(beside, AdoptedLive)
        writer.start()
        try:
            async with anyio.create_task_group() as task_group:
                for name in names:
                    task_group.start_soon(log, name)
        finally:
            enough.set()
            writer.join()
    live.end()
    assert written
    assert set(entries()) == set(names)
    text = Path("dvc.yaml").read_text()
    assert all(line.rstrip() in text for line in mine)
    assert "dvclive/metrics.json" in text


@on_asyncio
async def test_a_commit_waits_for_a_write_of_dvclive(
    repo: Path, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, {"a.pt": "a", "dvc.yaml": "# mine\nvars:\n- x: 1\n"})
    live = make()
    emptied, waited_for, go_on = threading.Event(), threading.Event(), threading.Event()
    update_dvcyaml, lock = dvclive.dvc.update_dvcyaml, AdoptedLive.lock

    def update_slowly(*args: Any) -> None:
        # DVCLive truncates the file first, so it is empty for a while.
        text = Path("dvc.yaml").read_text()
        Path("dvc.yaml").write_text("")
        emptied.set()
        assert go_on.wait(30)
        Path("dvc.yaml").write_text(text)
        update_dvcyaml(*args)

    def report_lock(adopted: AdoptedLive) -> AbstractContextManager[None]:
        waited_for.set()
        return lock(adopted)

    async with AsyncLive(live=live) as async_live:
        with monkeypatch.context() as patch:
            patch.setattr(dvclive.dvc, "update_dvcyaml", update_slowly)
            patch.setattr(AdoptedLive, "lock", report_lock)
            async with anyio.create_task_group() as task_group:
                task_group.start_soon(anyio.to_thread.run_sync, live.make_dvcyaml)
                await anyio.to_thread.run_sync(emptied.wait, 30)
                task_group.start_soon(async_live.log_artifact, "a.pt", "model")
                await anyio.to_thread.run_sync(waited_for.wait, 30)
                assert not Path("dvc.yaml").read_text()
                go_on.set()
        assert entries() == {"a": {"path": "a.pt", "type": "model"}}
        assert Path("dvc.yaml").read_text().startswith("# mine\nvars:\n- x: 1\n")


# As long as this file exists.
REFUSE = """
import os
from asynclive._dvcyaml.async_files import AsyncFiles

def refuse(self, *args, replace_blocking=AsyncFiles.replace_blocking):
    if os.path.exists({flag!r}):
        raise PermissionError(13, "Permission denied")
    return replace_blocking(self, *args)

AsyncFiles.replace_blocking = refuse
"""


@on_asyncio
@in_both
async def test_an_entry_that_was_not_recorded_is_withdrawn_from_the_live(
    repo: Path,
    make: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    isolation: Isolation,
) -> None:
    write(repo, {"a.pt": "a", "b.pt": "b", "c.pt": "c"})
    flag = tmp_path / "refused"
    flag.touch()
    code = REFUSE.format(flag=str(flag))
    in_worker(monkeypatch, code)
    monkeypatch.setattr(
        AsyncFiles, "replace_blocking", AsyncFiles.replace_blocking
    )  # and removed again
    exec(code, {})
    with make() as live:
        live.log_artifact("a.pt", "model", name="m")
        async with AsyncLive(live=live, isolation=isolation) as async_live:
            for path, name in (("b.pt", "m"), ("c.pt", "n")):
                with pytest.raises(DvcYamlError):
                    await async_live.log_artifact(path, "model", name=name)
            flag.unlink()
            live.next_step()
            assert entries() == {"m": {"path": "a.pt", "type": "model"}}
            await async_live.log_artifact("c.pt", "model", name="n")
    assert set(entries()) == {"m", "n"}


@on_asyncio
@in_both
async def test_two_sessions_share_one_live(
    repo: Path, make: Callable[..., Any], isolation: Isolation
) -> None:
    write(repo, {"a.pt": "a", "b.pt": "b"})
    with make(save_dvc_exp=True, exp_name="both") as live:
        async with (
            AsyncLive(live=live) as one,
            AsyncLive(live=live, isolation=isolation) as other,
        ):
            await one.log_artifact("a.pt", "model", copy=True)
            live.end()  # within its own block: no effect
            await other.log_artifact("b.pt", "model", copy=True)
        assert experiment("both") is None
    files = experiment("both")
    assert files is not None
    assert {f"dvclive/artifacts/{name}.pt.dvc" for name in "ab"} <= set(files)


def experiment(name: str) -> list[str] | None:
    """Return the files that the experiment adds to its commit; None: no such experiment."""
    refs = git(Path(), "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    found = [ref for ref in refs if ref.endswith(f"/{name}")]
    if not found:
        return None
    return sorted(git(Path(), "diff", "--name-only", "HEAD", found[0]).splitlines())


OURS = sorted(
    [
        *(".gitignore", "dvc.yaml", "in-place.pt.dvc", "dir/.gitignore", "dir/data.dvc"),
        *("dvclive/artifacts/.gitignore", "dvclive/artifacts/copied.pt.dvc"),
        *("dvclive/artifacts/uncached.pt", "dvclive/metrics.json", "dvclive/params.yaml"),
        "dvclive/plots/metrics/loss.tsv",
    ]
)


@on_asyncio
@pytest.mark.parametrize("end", ["after", "within", "within and an error"])
@in_both
async def test_the_experiment_of_the_live_holds_the_artifacts(
    repo: Path, make: Callable[..., Any], end: str, isolation: Isolation
) -> None:
    files = {"copied.pt": "c", "in-place.pt": "i", "uncached.pt": "u", "dir/data/file": "f"}
    write(repo, files)
    live = make(save_dvc_exp=True, exp_name="mine")
    live.log_param("lr", 0.1)
    live.log_metric("loss", 1.0)
    try:
        async with AsyncLive(live=live, isolation=isolation) as async_live:
            assert async_live.exp_name == "mine"
            await async_live.log_artifact("copied.pt", "model", copy=True)
            live.next_step()
            if end != "after":
                live.end()
                assert experiment("mine") is None  # not yet: more artifacts follow
            await async_live.log_artifact("in-place.pt")
            await async_live.log_artifact("uncached.pt", "x", copy=True, cache=False)
            await async_live.log_artifact("dir/data", "dataset")
            if end == "within and an error":
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    if end == "after":
        live.end()
    assert experiment("mine") == OURS
    if end == "after":
        assert_applied(repo, "mine", files)


@on_asyncio
@in_both
async def test_an_experiment_that_a_live_cannot_save_is_an_error_in_the_block_and_else_a_warning(
    repo: Path,
    make: Callable[..., Any],
    isolation: Isolation,
    caplog: pytest.LogCaptureFixture,
) -> None:
    live = make(save_dvc_exp=True, exp_name="mine")

    async def leave_locked(*, end_inside: bool) -> None:
        async with AsyncLive(live=live, isolation=isolation, lock_timeout=0.0):
            if end_inside:
                live.end()
                lock.enter_context(locked(repo))

    with contextlib.ExitStack() as lock:
        with pytest.raises(ExperimentError, match="'mine': Another process held DVC's") as caught:
            await leave_locked(end_inside=True)
        assert caught.value.name == "mine"
    await leave_locked(end_inside=False)
    with locked(repo):
        live.end()
    assert "Cannot save the experiment 'mine': Another process held DVC's" in caplog.text
    live.end()
    assert experiment("mine") is not None


def assert_applied(repo: Path, name: str, files: dict[str, str]) -> None:
    """Check that ``dvc exp show`` lists it and ``dvc exp apply`` restores its artifacts."""
    assert name in dvc(repo, "exp", "show", "--csv")
    git(repo, "clean", "-xdfq", "--exclude=.dvc")
    assert not Path("dvc.yaml").exists()
    dvc(repo, "exp", "apply", "--quiet", name)
    back = {
        "copied.pt": "dvclive/artifacts/copied.pt",
        "uncached.pt": "dvclive/artifacts/uncached.pt",
    }
    for path, text in files.items():
        assert Path(back.get(path, path)).read_text() == text
    assert set(entries()) == {"copied", "uncached", "data"}
    assert "up to date" in dvc(repo, "status")


@in_both
async def test_a_live_of_another_repository_is_refused(
    repo: Path, make: Callable[..., Any], tmp_path: Path, isolation: Isolation
) -> None:
    other = tmp_path / "other"
    shutil.copytree(repo, other)
    live = make()
    with pytest.raises(RepositoryError, match="live is in the DVC repository"):
        async with AsyncLive(root=other, live=live, isolation=isolation):
            raise AssertionError
    live.next_step()


async def test_settings_that_contradict_the_live_are_refused(
    repo: Path, make: Callable[..., Any]
) -> None:
    live = make()
    for settings, says in {
        ("dir", "elsewhere"): "dir is '.*elsewhere', but that of live is '.*dvclive'",
        ("dvcyaml", "sub/dvc.yaml"): "dvcyaml is '.*sub/dvc.yaml', but that of live",
        ("dvcyaml", None): "dvcyaml is None, but that of live is",
        ("save_dvc_exp", True): "save_dvc_exp is not allowed with live=",
        ("exp_name", "n"): "exp_name and exp_message need save_dvc_exp",
    }.items():
        with pytest.raises(ValueError, match=says):
            AsyncLive(live=live, **dict([settings]))  # type: ignore[arg-type]
    AsyncLive("dvclive", dvcyaml="dvc.yaml", live=live)
    AsyncLive(repo / "dvclive", dvcyaml=repo / "dvc.yaml", live=live)


async def test_an_object_that_is_no_live_is_refused() -> None:
    class Fake:
        def make_dvcyaml(self) -> None: ...
        def save_dvc_exp(self) -> None: ...

    with pytest.raises(TypeError, match=r"live must be a dvclive\.Live, not str"):
        AsyncLive(live="dvclive")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"has no _artifacts, .*Install another version"):
        AsyncLive(live=Fake())  # type: ignore[arg-type]
