"""UploadJournal: the uploads in parts that are open, so that a later push resumes or aborts them.

Each upload has a file of its own, and the process that sends holds a lock on it. The kernel frees
the lock of a process that was killed. The first line names the object, and is written before the
upload begins; the second has its id. Lines are appended, so a kill cuts no earlier one short.

The calls block for as long as it takes to write a few hundred bytes. There is one for each upload.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from ..._fs.file_lock import LockedFile, lock_if_free

logger = logging.getLogger(__name__)

# The processes that send one object at the same time, each with an upload of its own.
_MOST_SLOTS = 16
# An upload is not kept longer: it costs money, and some stores have removed it by then.
_KEPT_SECONDS = 7 * 24 * 3600.0
_FILE = re.compile(r"([0-9a-f]{32})-(\d{1,2})\.jsonl")


class OpenUpload(NamedTuple):
    """An upload in parts, as the journal has it. It holds no secrets."""

    remote: str
    """The name of the remote of DVC."""
    endpoint: str
    """The address of the store; empty: AWS."""
    bucket: str
    key: str
    size: int
    """The bytes of the whole object."""
    part_size: int
    uses_sha256: bool
    """The remote stores the SHA-256 of each part, since its ETags are no MD5."""
    begun: float
    """Seconds since the epoch."""
    upload_id: str | None = None
    """None: a process was killed while it began the upload, so its id is not known."""

    @property
    def md5(self) -> str:
        """The name of the object in the cache."""
        first, _, rest = self.key.rpartition("/")
        return first.rpartition("/")[2] + rest

    def is_old(self, now: float) -> bool:
        """Return whether it began too long ago to go on with it. ``now``: seconds."""
        return now - self.begun > _KEPT_SECONDS


class UploadSlot:
    """A place of the journal, held by this process alone until ``UploadJournal`` releases it."""

    def __init__(self, file: LockedFile) -> None:
        self._file = file
        self.upload = _parse(file.read())
        """The upload that a process which has ended left open. None: there is none."""

    def begin(self, upload: OpenUpload) -> None:
        """Write the record of an upload before it begins. Its id follows."""
        self.upload = upload._replace(upload_id=None)
        self._file.truncate()
        self._file.append(_line(self.upload._asdict()))

    def opened(self, upload_id: str) -> None:
        """Write the id of the upload that has begun."""
        assert self.upload is not None
        self._file.append(_line({"upload_id": upload_id}))
        self.upload = self.upload._replace(upload_id=upload_id)

    def forget(self) -> None:
        """Remove the upload: it is completed or aborted."""
        self.upload = None
        self._file.truncate()


class UploadJournal:
    """The open uploads of one repository.

    Args:
        directory: its directory for temp files; ``uploads`` is made in it when it is needed.
    """

    def __init__(self, directory: str) -> None:
        self._directory = os.path.join(directory, "uploads")

    @contextmanager
    def claim(self, endpoint: str | None, bucket: str, key: str) -> Iterator[UploadSlot]:
        """Hold a slot for one object: one with an upload to resume, if no process sends it."""
        name = _name(endpoint or "", bucket, key)
        used = sorted(slot for each, slot in self._files() if each == name)
        free = (slot for slot in range(_MOST_SLOTS) if slot not in used)
        os.makedirs(self._directory, exist_ok=True)
        for slot in (*used, *free):
            path = os.path.join(self._directory, f"{name}-{slot}.jsonl")
            file = _lock_if_allowed(path) if slot in used else lock_if_free(path)
            if file is not None:
                break
        else:
            raise OSError(f"{_MOST_SLOTS} processes send the same object")
        with _released(file) as claimed:
            yield claimed

    @contextmanager
    def claim_abandoned(self, path: str) -> Iterator[UploadSlot | None]:
        """Hold one file of ``entries``; None: another process sends, or it is gone.

        None as well: it is another user's.
        """
        file = _lock_if_allowed(path) if os.path.exists(path) else None
        if file is None:
            yield None
            return
        with _released(file) as claimed:
            yield claimed

    def entries(self) -> dict[str, OpenUpload]:
        """Return all open uploads, also those that a process sends now, by the path of the file."""
        found = {}
        for name, slot in self._files():
            path = os.path.join(self._directory, f"{name}-{slot}.jsonl")
            with suppress(OSError), open(path, "rb") as file:
                upload = _parse(file.read())
                if upload is not None:
                    found[path] = upload
        return found

    def _files(self) -> list[tuple[str, int]]:
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        matches = (_FILE.fullmatch(name) for name in names)
        return [(match[1], int(match[2])) for match in matches if match is not None]


def _lock_if_allowed(path: str) -> LockedFile | None:
    """Lock a file; None: it is locked already, or another user has made it."""
    try:
        return lock_if_free(path)
    except OSError as error:
        logger.info("An open upload is left to the user that has its journal: %s", error)
        return None


@contextmanager
def _released(file: LockedFile) -> Iterator[UploadSlot]:
    """Release a file at the end, and remove it unless it has an upload to resume."""
    slot = UploadSlot(file)
    try:
        yield slot
    finally:
        file.release(remove=slot.upload is None)


def new_upload(
    remote: str,
    endpoint: str | None,
    bucket: str,
    key: str,
    size: int,
    part_size: int,
    uses_sha256: bool,
) -> OpenUpload:
    """Return the record of an upload that begins now."""
    return OpenUpload(
        remote, endpoint or "", bucket, key, size, part_size, uses_sha256, time.time()
    )


def _name(endpoint: str, bucket: str, key: str) -> str:
    identity = "\n".join((endpoint, bucket, key)).encode(errors="surrogateescape")
    return hashlib.sha256(identity).hexdigest()[:32]


def _line(values: dict[str, object]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _parse(content: bytes) -> OpenUpload | None:
    """Return the upload of a file; None: it has none. A last line may be cut short."""
    try:
        first, *rest = content.split(b"\n")[:-1]
        upload = OpenUpload(**json.loads(first))
        for line in rest:
            upload = upload._replace(**json.loads(line))
    except (ValueError, TypeError):
        if content:
            logger.debug("An entry of the journal of uploads cannot be read: %r", content[:200])
        return None
    return upload
