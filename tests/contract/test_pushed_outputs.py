"""A push consists of the objects that ``dvc push`` sends, and obeys what an output says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from disk import write
from twin import dvc, git

from asynclive._artifact.push_records import PushRequest, PushUnit
from asynclive._artifact.push_target import make_target
from asynclive._dvc.repository.dvc_repository import DvcRepository
from asynclive._errors import (
    ArtifactNotFoundError,
    ArtifactPathError,
    RemoteNotFoundError,
    RemoteVerifyError,
)


@pytest.fixture
def repository(repo: Path) -> Iterator[DvcRepository]:
    dvc(repo, "remote", "add", "-d", "main", "../main")
    dvc(repo, "remote", "add", "other", "../other")
    repository = DvcRepository.open(str(repo.resolve()))
    yield repository
    repository.close()


def objects_in(repo: Path, remote: str) -> set[str]:
    """Return the names of the objects in a remote, in both of DVC's layouts."""
    found = (repo.parent / remote).rglob("*")
    return {path.parent.name + path.name for path in found if path.is_file()}


def names_of(units: list[PushUnit], remote: str) -> set[str]:
    return {
        each.md5
        for unit in units
        if unit.remote.name == remote
        for each in (*unit.objects, *filter(None, [unit.listing]))
    }


def paths_of(units: list[PushUnit], repo: Path) -> list[str]:
    return sorted(str(Path(unit.path).relative_to(repo.resolve())) for unit in units)


def pushed_by(repository: DvcRepository, *targets: str) -> list[PushUnit]:
    root = repository.root
    made = tuple(make_target(target, root, root) for target in targets)
    return repository.units_to_push(PushRequest(made))


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


@pytest.fixture
def workspace(repo: Path) -> Path:
    """Outputs of every kind that DVC tracks."""
    write(
        repo,
        {
            "plain.bin": "plain",
            "data/a": "a",
            "data/sub/b": "b",
            "there.bin": "there",
            "kept.bin": "kept",
            "described.bin": "described",
            "with space.bin": "space",
            "sub/deep/x.bin": "x",
            "source.txt": "source",
        },
    )
    names = ["plain.bin", "data", "there.bin", "kept.bin", "described.bin", "with space.bin"]
    dvc(repo, "add", "--quiet", *names, "sub/deep/x.bin")
    edit(repo / "there.bin.dvc", "  path:", "  remote: other\n  path:")
    edit(repo / "kept.bin.dvc", "  path:", "  push: false\n  path:")
    edit(repo / "described.bin.dvc", "  path:", "  desc: x\n  path:")
    (repo / "dvc.yaml").write_text(
        "stages:\n"
        "  build:\n"
        "    cmd: mkdir built && cp source.txt built/one && cp source.txt cached.txt"
        " && cp source.txt uncached.txt\n"
        "    deps:\n    - source.txt\n"
        "    outs:\n    - built\n    - cached.txt:\n        remote: other\n"
        "    - uncached.txt:\n        cache: false\n"
        "artifacts:\n  model:\n    path: plain.bin\n"
    )
    dvc(repo, "repro", "--quiet")
    dvc(repo, "import-url", "--quiet", str(repo / "source.txt"), "imported.txt")
    return repo


@pytest.mark.parametrize("remote", [None, "main", "other"])
def test_all_that_dvc_pushes_is_pushed(
    workspace: Path, repository: DvcRepository, remote: str | None
) -> None:
    units = repository.units_to_push(PushRequest(remote=remote))
    dvc(workspace, "push", "--quiet", *([] if remote is None else ["-r", remote]))
    for name in ("main", "other"):
        assert names_of(units, name) == objects_in(workspace, name)
    for unit in units:
        for each in unit.objects:
            assert Path(unit.object_path(each)).stat().st_size == each.size
            if unit.listing is not None:
                assert (workspace / each.path).read_bytes() == Path(
                    unit.object_path(each)
                ).read_bytes()


def test_a_changed_lock_file_of_a_pipeline_is_noticed(
    workspace: Path, repository: DvcRepository
) -> None:
    before = names_of(repository.units_to_push(PushRequest()), "main")
    (workspace / "source.txt").write_text("another source")
    shutil.rmtree(workspace / "built")
    dvc(workspace, "repro", "--quiet")
    units = repository.units_to_push(PushRequest())
    dvc(workspace, "push", "--quiet")
    assert names_of(units, "main") == objects_in(workspace, "main") != before


@pytest.mark.parametrize(
    ("target", "pushed"),
    [
        ("plain.bin", ["plain.bin"]),
        ("plain.bin.dvc", ["plain.bin"]),
        ("data", ["data"]),
        # The whole directory: a listing whose files are not all there must never be in a remote.
        ("data/sub/b", ["data"]),
        ("built", ["built"]),
        ("dvc.yaml", ["built", "cached.txt"]),
        ("kept.bin", []),
        ("uncached.txt", []),
    ],
)
def test_a_target_is_an_output_or_a_file_that_declares_some(
    workspace: Path, repository: DvcRepository, target: str, pushed: list[str]
) -> None:
    units = pushed_by(repository, target, target)
    assert paths_of(units, workspace) == pushed


def test_a_target_may_be_the_name_of_an_artifact(
    workspace: Path, repository: DvcRepository
) -> None:
    entries = "".join(f"  entry-{number}:\n    path: {number}.bin\n" for number in range(50))
    (workspace / "sub/dvc.yaml").write_text(f"artifacts:\n{entries}  deep:\n    path: deep/x.bin\n")
    edit(workspace / "sub/dvc.yaml", "path: 20.bin", "path: deep/x.bin")
    for name, path in [
        ("model", "plain.bin"),
        ("sub:deep", "sub/deep/x.bin"),
        ("sub/dvc.yaml:entry-20", "sub/deep/x.bin"),
    ]:
        units = pushed_by(repository, name)
        assert paths_of(units, workspace) == [path]


def test_a_target_that_is_not_tracked_is_refused(
    workspace: Path, repository: DvcRepository
) -> None:
    root = str(workspace.resolve())
    for target, error, text in [
        ("source.txt", ArtifactPathError, "not tracked by DVC. Log it first"),
        ("sub", ArtifactPathError, "outputs in it are"),
        ("gone.bin", ArtifactNotFoundError, "does not exist, and no artifact is named 'gone.bin'"),
        ("nowhere:gone", ArtifactNotFoundError, "no artifact is named 'nowhere:gone'"),
        ("sub/dvc.yaml:gone", ArtifactNotFoundError, "no artifact is named"),
    ]:
        with pytest.raises(error, match=text):
            pushed_by(repository, target)
    # A path-like object is never a name.
    with pytest.raises(ArtifactNotFoundError, match=r"does not exist\.$"):
        repository.units_to_push(PushRequest((make_target(Path("model"), root, root),)))


def test_an_output_of_another_repository_is_not_pushed(
    workspace: Path, repository: DvcRepository, tmp_path: Path
) -> None:
    git(workspace, "add", "--all")
    git(workspace, "commit", "--quiet", "--message", "all")
    origin = tmp_path / "origin"
    shutil.copytree(workspace, origin)
    dvc(workspace, "import", "--quiet", str(origin), "plain.bin", "-o", "of-origin.bin")
    units = repository.units_to_push(PushRequest())
    assert "of-origin.bin" not in paths_of(units, workspace)
    assert pushed_by(repository, "of-origin.bin") == []


def test_an_output_names_a_remote_that_is_not_configured(
    workspace: Path, repository: DvcRepository
) -> None:
    dvc(workspace, "remote", "remove", "other")
    with pytest.raises(RemoteNotFoundError, match=r"'(there.bin|cached.txt)' names it.*'main'"):
        repository.units_to_push(PushRequest())


def test_without_a_default_remote_outputs_that_name_one_are_pushed(
    workspace: Path, repository: DvcRepository
) -> None:
    dvc(workspace, "config", "--unset", "core.remote")
    (unit,) = pushed_by(repository, "there.bin")
    assert unit.remote.name == "other"
    with pytest.raises(RemoteNotFoundError, match="dvc remote default"):
        repository.units_to_push(PushRequest())


def test_objects_that_are_not_in_the_cache_have_no_size(
    workspace: Path, repository: DvcRepository
) -> None:
    shutil.rmtree(workspace / ".dvc/cache/files/md5")
    units = {Path(unit.path).name: unit for unit in repository.units_to_push(PushRequest())}
    assert units["plain.bin"].objects[0].size == len("plain")  # the .dvc file has it
    # Without its listing, nothing is known of a directory but the name of that.
    assert units["data"].objects == ()
    assert units["data"].listing is not None
    assert units["data"].listing.size == -1


def test_a_damaged_listing_is_refused(workspace: Path, repository: DvcRepository) -> None:
    (unit,) = pushed_by(repository, "data")
    assert unit.listing is not None
    listing = Path(unit.object_path(unit.listing))
    entries = json.loads(listing.read_text())
    listing.chmod(0o644)
    listing.write_text(json.dumps(entries[:1]))
    with pytest.raises(RemoteVerifyError, match="dvc fetch") as caught:
        repository.units_to_push(PushRequest())
    assert [failed.path for failed in caught.value.failed] == ["data"]


def test_outputs_of_dvc_2_go_to_its_layout(workspace: Path, repository: DvcRepository) -> None:
    text = b"a\r\n"
    md5 = "60b725f10c9c85c70d97880dfe8191b3"  # of b"a\n", as DVC 2 hashed text
    cached = workspace / ".dvc/cache" / md5[:2] / md5[2:]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(text)
    (workspace / "old.txt").write_bytes(text)
    (workspace / "old.txt.dvc").write_text(f"outs:\n- md5: {md5}\n  size: 3\n  path: old.txt\n")
    units = repository.units_to_push(PushRequest())
    (old,) = [unit for unit in units if unit.path.endswith("old.txt")]
    assert old.remote.only_dvc
    dvc(workspace, "push", "--quiet")
    assert (Path(old.remote.prefix) / md5[:2] / md5[2:]).read_bytes() == text
    assert names_of(units, "main") == objects_in(workspace, "main")
