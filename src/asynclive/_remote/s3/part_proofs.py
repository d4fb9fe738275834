"""Compares the replies of a remote with the parts that were sent. Plain functions."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..._artifact.push_records import VerifiedBy
from .file_parts import FilePart
from .multipart_etag import combine_md5s, is_in_parts

_MD5 = re.compile(r"[0-9a-f]{32}")


class SentPart(NamedTuple):
    """A part that the remote has."""

    etag: str
    """As the remote says it, with quotes."""
    md5: bytes
    sha256: bytes
    """Empty: the ETag is the proof."""
    is_proven: bool
    """The remote said something to compare."""


def compare_part(part: FilePart, reply: dict[str, Any]) -> SentPart | None:
    """Return the part that the remote says it has; None: its bytes are others."""
    etag = reply["ETag"]
    found, expected = etag.strip('"').lower(), part.md5.hex()
    is_comparable = _MD5.fullmatch(found) is not None
    if part.sha256:
        found, expected = reply.get("ChecksumSHA256"), to_base64(part.sha256)
        is_comparable = found is not None
    if is_comparable and found != expected:
        return None
    return SentPart(etag, part.md5, part.sha256, is_comparable)


def prove_object(parts: Sequence[SentPart], reply: dict[str, Any]) -> VerifiedBy | None:
    """Return how a reply proves the whole object; None: it has other bytes.

    ``"size"``: the reply has nothing to compare, and the size has to be asked for.
    """
    if not all(part.is_proven for part in parts):
        return "size"
    if parts[0].sha256:
        digest = hashlib.sha256(b"".join(part.sha256 for part in parts)).digest()
        found = reply.get("ChecksumSHA256")
        if found is None:
            return "size"
        # Some stores leave out the number of parts, which follows.
        return "checksum" if found.partition("-")[0] == to_base64(digest) else None
    etag = str(reply.get("ETag")).strip('"').lower()
    if not is_in_parts(etag):
        return "size"
    return "etag" if etag == combine_md5s(part.md5 for part in parts) else None


def to_base64(digest: bytes) -> str:
    """Return a hash as the headers of S3 have it."""
    return base64.b64encode(digest).decode()
