"""Reads the listing of a directory from the cache: the objects that must be in the remote."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence

from ..._artifact.push_records import PushObject
from ..._errors import FailedObject, RemoteVerifyError
from ..._workers.fairness import yield_gil

# Files to process before other threads may take the GIL: about 0.5 ms of work.
_FILES_PER_YIELD = 128


def read_listed_objects(cache_dir: str, md5: str, label: str, remote: str) -> Sequence[PushObject]:
    """Return the objects of the files in a directory; none if its listing is not in the cache.

    In the latter case the push can only find the listing in the remote, or fail: it names the
    listing, which cannot be read.

    Args:
        cache_dir: the directory of the objects.
        md5: the name of the listing.
        label: the path of the directory, for messages.
        remote: the name of the remote, for the error.

    Raises:
        RemoteVerifyError: the listing is damaged.
    """
    try:
        with open(_object_path(cache_dir, md5), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return ()
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != md5.removesuffix(".dir"):
        reason = (
            "its object in the cache is damaged. Remove it, then run 'dvc fetch' or log it again"
        )
        raise RemoteVerifyError(
            remote,
            "the listing of a directory cannot be trusted.",
            failed=[FailedObject(md5, label, reason)],
        )
    objects = []
    for number, entry in enumerate(json.loads(data)):
        name = entry["md5"]
        path = f"{label}{os.sep}{entry['relpath'].replace('/', os.sep)}"
        objects.append(PushObject(name, size_of(cache_dir, name), path))
        if number % _FILES_PER_YIELD == 0:
            yield_gil()
    return objects


def size_of(cache_dir: str, md5: str) -> int:
    """Return the bytes of an object in the cache; -1: it is not there."""
    try:
        return os.stat(_object_path(cache_dir, md5)).st_size
    except OSError:
        return -1


def _object_path(cache_dir: str, md5: str) -> str:
    return f"{cache_dir}{os.sep}{md5[:2]}{os.sep}{md5[2:]}"
