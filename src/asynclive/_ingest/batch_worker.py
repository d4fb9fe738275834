"""What a worker process runs: it stages small files, a batch at a time.

The plain case, which nearly all files are, it does by itself, with next to nothing imported:
what ``FileStager`` imports takes as long as some thousand files. What is not plain, or goes
wrong, it leaves for ``FileStager``, which knows every case and says what is wrong.
"""

from __future__ import annotations

import hashlib
import os
import sys

from .._fs.file_io import READ, is_object, link_new, make_dir, remove_file, write_new
from .._workers.os_priority import give_precedence
from .batch_pipe import message, receive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


Cache = tuple[str, int, int]
"""Where objects lie; their mode, and that of directories."""
PlainFile = tuple[str, int, int, int, int]
"""Its place in the artifact, with a separator before it; size, mode, inode, mtime (ns)."""
StagedPlain = tuple[str, int, int]
"""Its MD5; inode and mtime (ns) of the workspace file that holds these bytes."""


def serve() -> None:
    """Stage what is asked for on standard input, until there is no more."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    give_precedence()
    cache, worker = receive(requests)
    any_files = None
    while True:
        try:
            asked = receive(requests)
        except EOFError:
            return
        if isinstance(asked, bytes):
            if any_files is None:
                from .batch_fallback import BatchFallback

                any_files = BatchFallback(worker)
            answer: Any = any_files.stage(asked)
        else:
            answer = stage_plain(cache, *asked)
        answers.write(message(answer))
        answers.flush()


def stage_plain(
    cache: Cache, source: str, beside: str, files: list[PlainFile]
) -> list[StagedPlain | None]:
    """Put files into the cache, and their copies beside; None for each that is left.

    Args:
        cache: where they go.
        source: the artifact.
        beside: where its copy is built; empty when there is none.
        files: regular files of it, all to be cached, none to be made anew in its place.
    """
    staged: list[StagedPlain | None] = []
    for path, *file in files:
        try:
            staged.append(_stage(cache, source + path, beside and beside + path, *file))
        except Exception:  # whatever it is, it will be met again, and said
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
    """Have the cache hold an object; False: it cannot be done in the plain way."""
    cache_dir, object_mode, dir_mode = cache
    directory = f"{cache_dir}{os.sep}{md5[:2]}"
    path = f"{directory}{os.sep}{md5[2:]}"
    # Asked first, for most are new: a stat of what is not there costs an exception.
    if os.access(path, os.F_OK):
        return is_object(os.stat(path, follow_symlinks=False), len(data), object_mode)
    try:
        link_new(path, data, object_mode)
    except FileNotFoundError:
        make_dir(directory, dir_mode)
        link_new(path, data, object_mode)
    except FileExistsError:  # published by another process meanwhile
        return is_object(os.stat(path, follow_symlinks=False), len(data), object_mode)
    return True
