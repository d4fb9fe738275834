"""Descriptions of the buckets of tests, and objects to send there."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from s3_server import Bucket

from asynclive._artifact.push_policy import PushPolicy
from asynclive._artifact.push_records import PushObject, RemoteDescription, VerifiedBy
from asynclive._remote.open_store import open_store
from asynclive._remote.request_budget import RequestBudget
from asynclive._remote.store import RemoteStore


def describe(bucket: Bucket, **options: Any) -> RemoteDescription:
    """Describe a bucket as a remote of DVC. An option that is None is left out."""
    found = {**bucket.options(), **options}
    found = {name: value for name, value in found.items() if value is not None}
    url = str(found["url"])
    path = url.partition("://")[2]
    return RemoteDescription("storage", url, "s3", f"{path}/files/md5", found)


def make_object(cache: Path, content: bytes, listing: bool = False) -> PushObject:
    """Write an object into a directory, under its name in the cache."""
    md5 = hashlib.md5(content).hexdigest() + (".dir" if listing else "")
    (cache / md5).write_bytes(content)
    return PushObject(md5, len(content), f"{md5}.txt")


def key_of(obj: PushObject) -> str:
    return f"dvc/files/md5/{obj.md5[:2]}/{obj.md5[2:]}"


def ignore_bytes(_sent: int) -> None:
    """Stand in for the counter of sent bytes."""


async def find(
    store: RemoteStore, objects: Sequence[PushObject], cache: Path
) -> Mapping[str, VerifiedBy | None]:
    """Look for objects, as a push that proves them by the store does."""
    return await store.find(objects, "store", lambda obj: str(cache / obj.md5))


@asynccontextmanager
async def open_storage(
    remote: RemoteDescription,
    state_dir: Path,
    budget: RequestBudget | None = None,
    policy: PushPolicy | None = None,
) -> AsyncIterator[RemoteStore]:
    """Open a store, and close it at the end."""
    store = await open_store(
        remote, budget or RequestBudget(), policy or PushPolicy(), str(state_dir)
    )
    try:
        yield store
    finally:
        await store.aclose()
