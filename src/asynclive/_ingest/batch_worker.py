"""The program of a batch process: stages small files, a batch at a time.

It handles the plain case, which nearly all files are, and imports next to nothing for it: the
imports of ``FileStager`` take as long as some thousand files. All other files, and those that fail,
it leaves to ``FileStager``, which knows every case and every error.
"""

from __future__ import annotations

import hashlib
import os
import sys

from .._fs.file_io import READ, is_object, link_new, make_dir, remove_file, write_new
from .._workers.os_priority import lower_priority
from .batch_pipe import message, receive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


Cache = tuple[str, int, int]
"""The cache directory, the mode of objects, and the mode of directories."""
PlainFile = tuple[str, int, int, int, int]
"""Its path in the artifact, size, mode, inode and mtime (ns)."""
StagedPlain = tuple[str, int, int]
"""Its MD5, and the inode and mtime (ns) of the workspace file that holds these bytes."""


def serve() -> None:
    """Answer the requests on standard input until it ends."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    lower_priority()
    cache, worker = receive(requests)
    fallback = None
    while True:
        try:
            request = receive(requests)
        except EOFError:
            return
        if isinstance(request, bytes):
            if fallback is None:
                from .batch_fallback import BatchFallback

                fallback = BatchFallback(worker)
            answer: Any = fallback.stage(request)
        else:
            answer = stage_plain(cache, *request)
        answers.write(message(answer))
        answers.flush()


def stage_plain(
    cache: Cache, source: str, copy_root: str, files: list[PlainFile]
) -> list[StagedPlain | None]:
    """Store files and copy them; return a record of each, or None for a file that failed.

    Args:
        cache: the cache.
        source: the path of the artifact, with a separator at its end.
        copy_root: the temp path at which the copy is built, likewise; empty if there is none.
        files: plain files of the artifact, all of them cached.
    """
    staged: list[StagedPlain | None] = []
    for path, *file in files:
        try:
            staged.append(_stage(cache, source + path, copy_root and copy_root + path, *file))
        except Exception:  # FileStager tries the file again, and raises a lasting error
            staged.append(None)
    return staged


def _stage(
    cache: Cache, source: str, target: str, size: int, mode: int, inode: int, mtime_ns: int
) -> StagedPlain | None:
    fd = os.open(source, READ)
    try:
        data = os.read(fd, size + 1)
        found = os.fstat(fd)
    finally:
        os.close(fd)
    if len(data) != size or (found.st_ino, found.st_mtime_ns, found.st_size) != (
        inode,
        mtime_ns,
        size,
    ):
        return None
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if not _store(cache, md5, data):
        return None
    if not target:
        return md5, inode, mtime_ns
    try:
        copy = write_new(target, data, mode, mtime_ns)
    except BaseException:
        remove_file(target)
        raise
    return md5, copy.st_ino, copy.st_mtime_ns


def _store(cache: Cache, md5: str, data: bytes) -> bool:
    """Store an object unless the cache has it; return False if the one in the cache is broken."""
    cache_dir, object_mode, dir_mode = cache
    directory = f"{cache_dir}{os.sep}{md5[:2]}"
    path = f"{directory}{os.sep}{md5[2:]}"
    # access before stat: most objects are new, and a stat of a missing file costs an exception.
    if os.access(path, os.F_OK):
        return is_object(os.stat(path, follow_symlinks=False), len(data), object_mode)
    try:
        link_new(path, data, object_mode)
    except FileNotFoundError:
        make_dir(directory, dir_mode)
        link_new(path, data, object_mode)
    except FileExistsError:  # another process has published it in between
        return is_object(os.stat(path, follow_symlinks=False), len(data), object_mode)
    return True
