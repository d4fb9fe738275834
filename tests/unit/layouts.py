"""A DVC cache made without DVC, and requests."""

from __future__ import annotations

import os
from pathlib import Path

from asynclive._artifact.request import ArtifactRequest
from asynclive._cache.cache_layout import CacheLayout
from asynclive._cache.object_store import ObjectStore


def make_layout(
    base: Path,
    types: tuple[str, ...] = ("reflink", "copy"),
    links: tuple[str, ...] | None = None,
    *,
    shared: bool = False,
) -> CacheLayout:
    """A layout below ``base``, its directories made.

    ``links`` are those of ``types`` that work; here all, but reflinks few file systems have.
    ``shared`` is what ``cache.shared = group`` sets.
    """
    for name in ("cache", "cache/tmp", "workspace", "workspace/tmp"):
        os.makedirs(base / name)
    return CacheLayout(
        root=str(base / "workspace"),
        cache_dir=str(base / "cache"),
        types=types,
        links=tuple(kind for kind in types if kind != "reflink") if links is None else links,
        object_mode=0o444,
        dir_mode=0o2775 if shared else 0o755,
        file_mode=0o664 if shared else 0o644,
        umask=0o022,
        cache_tmp=str(base / "cache" / "tmp"),
        workspace_tmp=str(base / "workspace" / "tmp"),
    )


def make_store(base: Path, *types: str, shared: bool = False) -> ObjectStore:
    return ObjectStore(make_layout(base, types or ("reflink", "copy"), shared=shared))


def leftovers(store: ObjectStore) -> list[str]:
    """Return the paths in both temp directories."""
    layout = store.layout
    return [
        os.path.join(directory, name)
        for directory in (layout.cache_tmp, layout.workspace_tmp)
        for name in os.listdir(directory)
    ]


def objects(store: ObjectStore) -> dict[str, bytes]:
    """The bytes of every object in the cache, by hash."""
    cache = Path(store.layout.cache_dir)
    return {
        path.parent.name + path.name: path.read_bytes()
        for path in sorted(cache.glob("[0-9a-f][0-9a-f]/*"))
    }


def request_of(
    path: str | Path,
    *,
    source: str | Path | None = None,
    cache: bool = True,
    name: str = "n",
    entry: bool = False,
) -> ArtifactRequest:
    """A request to track ``path``; with ``source``, as a copy from there."""
    return ArtifactRequest(
        given=str(source or path),
        source=str(source or path),
        path=str(path),
        artifacts_dir=None if source is None else os.path.dirname(path),
        cache=cache,
        name=name,
        entry={} if entry else None,
    )
