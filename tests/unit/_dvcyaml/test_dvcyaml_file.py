"""DvcYaml on real files, alone and with a co-writer."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from documents import INDENTED, MODEL, STAGES, load

from asynclive._dvcyaml.async_files import AsyncFiles
from asynclive._dvcyaml.dvcyaml_file import DvcYaml, Update
from asynclive._dvcyaml.merge_entries import merge
from asynclive._errors import DvcYamlError
from asynclive._fs.file_lock import FileLock


@pytest.fixture(params=["asyncio", "trio"], scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    directory = tmp_path / "repo"
    directory.mkdir()
    return directory / "dvc.yaml"


class OtherWriter:
    """A co-writer that never writes. It keeps the groups of entries that were recorded."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(str(path))
        self.recorded: list[dict[str, Any]] = []

    def lock(self) -> AbstractContextManager[None]:
        return self._lock.hold()

    @contextmanager
    def recording(self, entries: dict[str, Any]) -> Iterator[Callable[[], None]]:
        with self._lock.hold():
            yield lambda: self.recorded.append(dict(entries))


@pytest.fixture(params=["alone", "with a co-writer"])
async def dvcyaml(
    path: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> DvcYaml:
    if request.param == "alone":
        return open_dvcyaml(path)
    return open_dvcyaml(path, OtherWriter(tmp_path_factory.mktemp("lock") / "lock"))


def open_dvcyaml(path: Path, co_writer: OtherWriter | None = None) -> DvcYaml:
    numbers = itertools.count()
    return DvcYaml(
        str(path),
        AsyncFiles(anyio.CapacityLimiter(2)),
        lambda target: f"{target}.{next(numbers)}.tmp",
        co_writer=co_writer,
    )


A: dict[str, Any] = {"a": {"path": "a"}}
B: dict[str, Any] = {"b": {"path": "b"}}


def temp_of(update: Update) -> Path:
    assert update.temp is not None
    return Path(update.temp)


@pytest.mark.anyio
async def test_prepare_leaves_dvc_yaml_unchanged_and_replace_replaces_it(
    dvcyaml: DvcYaml, path: Path
) -> None:
    path.write_text(STAGES)
    update = await dvcyaml.prepare({"net": MODEL}, 0o600)
    assert path.read_text() == STAGES
    assert temp_of(update).name == "dvc.yaml.0.tmp"
    assert temp_of(update).read_text() == STAGES + INDENTED
    await dvcyaml.replace(update, ["net"])
    assert path.read_text() == STAGES + INDENTED
    assert os.listdir(path.parent) == ["dvc.yaml"]


@pytest.mark.anyio
async def test_a_new_dvc_yaml_gets_the_given_mode_and_an_old_one_keeps_its_mode(
    dvcyaml: DvcYaml, path: Path
) -> None:
    await dvcyaml.replace(await dvcyaml.prepare(A, 0o664), A)
    assert stat.S_IMODE(path.stat().st_mode) == 0o664
    path.chmod(0o640)
    await dvcyaml.replace(await dvcyaml.prepare(B, 0o664), B)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert load(path.read_text()) == {"artifacts": {**A, **B}}


@pytest.mark.anyio
async def test_entries_that_are_not_named_are_not_written(dvcyaml: DvcYaml, path: Path) -> None:
    await dvcyaml.replace(await dvcyaml.prepare({**A, **B}, 0o644), ["b"])
    assert load(path.read_text()) == {"artifacts": B}
    assert os.listdir(path.parent) == ["dvc.yaml"]


@pytest.mark.anyio
async def test_without_any_entry_nothing_is_written(dvcyaml: DvcYaml, path: Path) -> None:
    await dvcyaml.replace(await dvcyaml.prepare({**A, **B}, 0o644), [])
    assert os.listdir(path.parent) == []


@pytest.mark.anyio
async def test_an_edit_between_the_steps_is_kept(dvcyaml: DvcYaml, path: Path) -> None:
    path.write_text("a: 1\n")
    update = await dvcyaml.prepare(A, 0o644)
    path.write_text("# edited\na: 2\n")
    await dvcyaml.replace(update, A)
    assert path.read_text() == "# edited\na: 2\nartifacts:\n  a:\n    path: a\n"
    assert os.listdir(path.parent) == ["dvc.yaml"]


@pytest.mark.anyio
async def test_a_file_that_appears_or_vanishes_between_the_steps_is_noticed(
    dvcyaml: DvcYaml, path: Path
) -> None:
    update = await dvcyaml.prepare(A, 0o644)
    path.write_text("new: 1\n")
    await dvcyaml.replace(update, A)
    assert load(path.read_text()) == {"new": 1, "artifacts": A}
    update = await dvcyaml.prepare(B, 0o644)
    path.unlink()
    await dvcyaml.replace(update, B)
    assert load(path.read_text()) == {"artifacts": B}


@pytest.mark.anyio
async def test_an_edit_right_after_the_replacement_is_kept(dvcyaml: DvcYaml, path: Path) -> None:
    # The edit has the same length and follows at once: only the mtime differs.
    for _ in range(20):
        await dvcyaml.replace(await dvcyaml.prepare(A, 0o644), A)
        path.write_text("artifacts:\n  a:\n    path: b\n")
        await dvcyaml.replace(await dvcyaml.prepare(B, 0o644), B)
        assert load(path.read_text()) == {"artifacts": {"a": {"path": "b"}, **B}}
        path.unlink()


@pytest.mark.parametrize("dvcyaml", ["alone"], indirect=True)
@pytest.mark.anyio
async def test_a_file_that_we_wrote_is_not_read_again(
    dvcyaml: DvcYaml, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.utime not in os.supports_fd:
        pytest.skip("this platform cannot set the time of an open file")
    await dvcyaml.replace(await dvcyaml.prepare(A, 0o644), A)
    read: list[str] = []
    read_text = AsyncFiles.read_text

    async def counted(self: AsyncFiles, path: str) -> Any:
        read.append(path)
        return await read_text(self, path)

    monkeypatch.setattr(AsyncFiles, "read_text", counted)
    await dvcyaml.replace(await dvcyaml.prepare(B, 0o644), B)
    assert read == []
    path.chmod(0o600)
    await dvcyaml.replace(await dvcyaml.prepare({"c": {"path": "c"}}, 0o644), ["c"])
    assert read == [str(path)]
    assert load(path.read_text()) == {"artifacts": {**A, **B, "c": {"path": "c"}}}


@pytest.mark.anyio
async def test_an_equal_entry_that_is_removed_between_the_steps_is_written_again(
    dvcyaml: DvcYaml, path: Path
) -> None:
    path.write_text(merge(None, A))
    update = await dvcyaml.prepare(A, 0o644)
    assert update.temp is None
    path.write_text("x: 1\n")
    await dvcyaml.replace(update, A)
    assert load(path.read_text()) == {"x": 1, "artifacts": A}


@pytest.mark.anyio
async def test_a_file_that_already_has_the_entries_is_not_touched(
    dvcyaml: DvcYaml, path: Path
) -> None:
    path.write_text("artifacts: {a: {path: 'a'}}")
    before = path.stat()
    await dvcyaml.replace(await dvcyaml.prepare(A, 0o644), A)
    assert path.stat() == before


@pytest.mark.anyio
async def test_an_edit_that_breaks_the_file_between_the_steps_is_an_error_and_stays(
    dvcyaml: DvcYaml, path: Path
) -> None:
    update = await dvcyaml.prepare(A, 0o644)
    path.write_text("a: [")
    with pytest.raises(DvcYamlError):
        await dvcyaml.replace(update, A)
    assert path.read_text() == "a: ["
    assert os.listdir(path.parent) == ["dvc.yaml"]


@pytest.mark.anyio
async def test_discard_leaves_nothing_and_can_be_repeated(dvcyaml: DvcYaml, path: Path) -> None:
    update = await dvcyaml.prepare(A, 0o644)
    await dvcyaml.discard(update)
    await dvcyaml.discard(update)
    assert os.listdir(path.parent) == []


@pytest.mark.anyio
async def test_a_missing_directory_is_made_and_discard_removes_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sub" / "dir" / "dvc.yaml"
    dvcyaml = open_dvcyaml(path)
    await dvcyaml.discard(await dvcyaml.prepare(A, 0o644))
    assert os.listdir(tmp_path) == []
    await dvcyaml.replace(await dvcyaml.prepare({**A, **B}, 0o644), A)
    assert load(path.read_text()) == {"artifacts": A}


@pytest.mark.anyio
@pytest.mark.parametrize("dangling", [False, True])
async def test_a_symlink_stays_and_its_target_is_replaced(
    dangling: bool, dvcyaml: DvcYaml, path: Path, tmp_path: Path
) -> None:
    target = tmp_path / "elsewhere.yaml"
    if not dangling:
        target.write_text("x: 1\n")
    path.symlink_to(target)
    await dvcyaml.replace(await dvcyaml.prepare(A, 0o644), A)
    assert path.is_symlink()
    assert load(target.read_text())["artifacts"] == A
    assert sorted(os.listdir(tmp_path)) == ["elsewhere.yaml", "repo"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: 1\nb: [\n", r"line 3.*Repair the file"),
        (b"- a\n", "not a mapping, at its top level.*Repair the file"),
        (b"a: \xff\n", r"not UTF-8 \(at byte 3\)\. Save it as UTF-8"),
        (None, "is a directory. Move it away"),
    ],
)
async def test_an_unusable_file_is_an_error_that_names_it_and_says_what_to_do(
    content: bytes | None, reason: str, dvcyaml: DvcYaml, path: Path
) -> None:
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(DvcYamlError, match=reason) as caught:
        await dvcyaml.prepare(A, 0o644)
    assert caught.value.path == str(path)
    assert caught.value.__cause__ is not None
    assert os.listdir(path.parent) == ["dvc.yaml"]
    assert content is None or path.read_bytes() == content


@pytest.mark.anyio
async def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DvcYamlError, match="Not a directory"):
        await open_dvcyaml(tmp_path / "file" / "sub" / "dvc.yaml").prepare(A, 0o644)


@pytest.mark.anyio
@pytest.mark.usefixtures("unprivileged")
async def test_a_read_only_directory_is_an_error_that_says_what_to_do(
    dvcyaml: DvcYaml, path: Path
) -> None:
    path.parent.chmod(0o500)
    try:
        with pytest.raises(DvcYamlError, match="Change their permissions"):
            await dvcyaml.prepare(A, 0o644)
    finally:
        path.parent.chmod(0o700)


@pytest.mark.anyio
async def test_a_directory_removed_between_the_steps_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "dvc.yaml"
    dvcyaml = open_dvcyaml(path)
    update = await dvcyaml.prepare(A, 0o644)
    temp_of(update).unlink()
    path.parent.rmdir()
    with pytest.raises(DvcYamlError, match="No such file"):
        await dvcyaml.replace(update, A)
    assert os.listdir(tmp_path) == []


@pytest.mark.anyio
@pytest.mark.parametrize("checkpoints", [*range(25), 50, 100])
async def test_after_cancellation_the_file_is_old_or_new_and_nothing_else_is_left(
    checkpoints: int, tmp_path: Path
) -> None:
    path = tmp_path / "sub" / "dvc.yaml"
    dvcyaml = open_dvcyaml(path)

    async def write(scope: anyio.CancelScope) -> None:
        update = None
        with scope:
            try:
                update = await dvcyaml.prepare({**A, **B}, 0o644)
                await dvcyaml.replace(update, A)
            finally:
                if update is not None and not path.exists():
                    await dvcyaml.discard(update)

    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()
        group.start_soon(write, scope)
        for _ in range(checkpoints):
            await anyio.lowlevel.checkpoint()
        scope.cancel()
    if path.exists():
        assert load(path.read_text()) == {"artifacts": A}
        assert os.listdir(path.parent) == ["dvc.yaml"]
    else:
        assert os.listdir(tmp_path) == []


def test_entry_paths_are_relative_to_the_file_as_in_dvclive(tmp_path: Path) -> None:
    from dvclive.utils import rel_path

    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    dvcyaml = open_dvcyaml(tmp_path / "sub" / "dvc.yaml")
    for given_path, expected in [
        ("sub/a.pt", "a.pt"),
        ("a.pt", "../a.pt"),
        ("link/a.pt", "../link/a.pt"),
        ("sub", "."),
        ("sub/x/../b", "b"),
    ]:
        full = str(tmp_path / given_path)
        assert dvcyaml.entry_path(full) == expected == rel_path(full, str(tmp_path / "sub"))


@pytest.mark.anyio
async def test_a_co_writer_learns_of_recorded_entries_and_of_no_others(
    path: Path, tmp_path: Path
) -> None:
    co_writer = OtherWriter(tmp_path / "lock")
    dvcyaml = open_dvcyaml(path, co_writer)
    await dvcyaml.replace(await dvcyaml.prepare({**A, **B}, 0o644), ["b"])
    assert co_writer.recorded == [B]
    update = await dvcyaml.prepare(A, 0o644)
    path.write_text("not: [closed\n")
    with pytest.raises(DvcYamlError):
        await dvcyaml.replace(update, A)
    assert co_writer.recorded == [B]
    path.write_text("edited: 1\n")
    await dvcyaml.replace(await dvcyaml.prepare(A, 0o644), A)
    assert co_writer.recorded == [B, A]
    assert load(path.read_text()) == {"edited": 1, "artifacts": A}
