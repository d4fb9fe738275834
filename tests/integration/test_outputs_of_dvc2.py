"""Log outputs that DVC 2 tracked: they keep their hashes as long as DVC 3 would keep them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from backends import on_asyncio
from disk import refused
from twin import Templates, dvc

from asynclive import AsyncLive, CommitError

pytestmark = [pytest.mark.anyio, on_asyncio]

CRLF = b"a,b\r\n1,2\r\n" * 100
FILES = {
    "text.csv": CRLF,
    "data/binary": bytes(range(256)) * 4,
    "data/sub/text": b"line\r\n" * 50,
    "data/sub/empty": b"",
    # DVC looks at each chunk of 1 MiB anew: only the second one is text.
    "data/sub/mixed": bytes(2**20) + CRLF,
}


def md5_of_dvc2(data: bytes) -> str:
    chunks = [data[start : start + 2**20] for start in range(0, len(data), 2**20)]
    return hashlib.md5(
        b"".join(
            chunk if b"\0" in chunk[:512] else chunk.replace(b"\r\n", b"\n") for chunk in chunks
        )
    ).hexdigest()


def cache_of(repo: Path) -> Path:
    """Return the cache in the layout of DVC 2."""
    return Path(dvc(repo, "cache", "dir").strip())


def put(repo: Path, md5: str, data: bytes) -> None:
    path = cache_of(repo) / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o444)


def objects_of_dvc2(repo: Path) -> dict[str, bytes]:
    return {path.parent.name + path.name: path.read_bytes() for path in cache_of(repo).glob("??/*")}


def track_by_dvc2(repo: Path) -> None:
    """Leave the files, the .dvc files and the cache that DVC 2 leaves."""
    for name, data in FILES.items():
        path = repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        put(repo, md5_of_dvc2(data), data)
    md5 = md5_of_dvc2(CRLF)
    (repo / "text.csv.dvc").write_text(
        f"outs:\n- md5: {md5}\n  size: {len(CRLF)}\n  path: text.csv\n"
    )
    inside = {name[5:]: data for name, data in FILES.items() if name.startswith("data/")}
    entries = [{"md5": md5_of_dvc2(data), "relpath": name} for name, data in sorted(inside.items())]
    listing = json.dumps(entries, sort_keys=True).encode()
    md5 = hashlib.md5(listing).hexdigest() + ".dir"
    put(repo, md5, listing)
    (repo / "data.dvc").write_text(
        f"outs:\n- md5: {md5}\n  size: {sum(map(len, inside.values()))}\n"
        f"  nfiles: {len(inside)}\n  path: data\n"
    )
    (repo / ".gitignore").write_text("/text.csv\n/data\n")
    assert dvc(repo, "status", "--json").strip() == "{}"


def keep(repo: Path) -> None:
    pass


def change(repo: Path) -> None:
    (repo / "text.csv").write_bytes(b"c,d\r\n")
    (repo / "data" / "new").write_bytes(b"\0new")


def convert_line_ends(repo: Path) -> None:
    """Change bytes, but not the MD5 of DVC 2."""
    for name in ("text.csv", "data/sub/text"):
        (repo / name).write_bytes(FILES[name].replace(b"\r\n", b"\n"))


def forget_objects(repo: Path) -> None:
    """Leave an empty cache, as in a clone of the repository."""
    shutil.rmtree(cache_of(repo))


def dvc_files(repo: Path) -> dict[str, str]:
    return {name: (repo / name).read_text() for name in ("text.csv.dvc", "data.dvc")}


@pytest.mark.parametrize("cache", ["its own", "external"])
@pytest.mark.parametrize("before", [keep, change, convert_line_ends, forget_objects])
@pytest.mark.parametrize("path", ["text.csv", "data"])
async def test_the_dvc_file_is_that_of_dvc_add(
    templates: Templates, tmp_path: Path, before: Callable[[Path], None], path: str, cache: str
) -> None:
    repos = ours, twin = [templates.make("git", tmp_path / name) for name in ("ours", "twin")]
    for repo in repos:
        if cache == "external":
            dvc(repo, "cache", "dir", str(repo.parent / "cache"))
        track_by_dvc2(repo)
        before(repo)
    dvc(twin, "add", path)
    async with AsyncLive(root=ours) as live:
        logged = await live.log_artifact(path)
    assert dvc_files(ours) == dvc_files(twin)
    assert logged.md5 is not None
    assert logged.md5 in (ours / f"{path}.dvc").read_text()
    if before is not change:  # else DVC leaves a listing that nothing names
        assert objects_of_dvc2(ours) == objects_of_dvc2(twin)
    assert dvc(ours, "status", "--json") == dvc(twin, "status", "--json")


@pytest.mark.parametrize("cache_type", ["copy", "hardlink", "symlink"])
@pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
@pytest.mark.parametrize("path", ["text.csv", "data"])
async def test_no_link_leads_to_an_object_that_nothing_names(
    repo: Path, path: str, copy: bool, cache_type: str
) -> None:
    track_by_dvc2(repo)
    dvc(repo, "config", "cache.type", cache_type)
    source: Path | str = path
    async with AsyncLive(root=repo, dir=".", isolation="thread") as live:
        if copy:
            await live.log_artifact(path, copy=True)
            # Now the copy is an output of DVC 2 itself.
            track_copy_by_dvc2(repo, path)
            source = repo / path
        await live.log_artifact(source, copy=copy)
    dvc(repo, "gc", "-w", "-f")
    assert dvc(repo, "status", "--json").strip() == "{}"
    for name, data in FILES.items():
        assert (repo / name).read_bytes() == data
        if copy and name.startswith(path):
            assert (repo / "artifacts" / name).read_bytes() == data


def track_copy_by_dvc2(repo: Path, path: str) -> None:
    text = (repo / f"{path}.dvc").read_text()
    (repo / "artifacts" / f"{path}.dvc").write_text(text)


@pytest.mark.parametrize("path", ["data/binary", "data/sub/text", "data/sub"])
async def test_an_unchanged_path_inside_keeps_the_listing(repo: Path, path: str) -> None:
    track_by_dvc2(repo)
    before = dvc_files(repo)
    async with AsyncLive(root=repo) as live:
        logged = await live.log_artifact(path, type="t")
    assert dvc_files(repo) == before
    assert dvc(repo, "status", "--json").strip() == "{}"
    if path == "data/sub/text":
        assert logged.md5 == md5_of_dvc2(FILES[path])


async def test_a_changed_path_inside_is_refused_until_the_directory_is_logged(
    repo: Path,
) -> None:
    track_by_dvc2(repo)
    (repo / "data" / "new").write_bytes(b"new")
    async with AsyncLive(root=repo) as live:
        with refused(repo, CommitError, match="Log that directory once", objects=False):
            await live.log_artifact("data/new")
        await live.log_artifact("data")
        (repo / "data" / "newer").write_bytes(b"newer")
        await live.log_artifact("data/newer")
    assert {"  nfiles: 6", "  hash: md5"} <= set((repo / "data.dvc").read_text().splitlines())
    assert dvc(repo, "status", "--json").strip() == "{}"
