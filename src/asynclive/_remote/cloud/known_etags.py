"""KnownEtags: the ETags of the objects in parts whose bytes were compared.

Such an ETag is not in the name of the object. Computing it reads the whole file, which a push with
nothing new must not do.

It is only a cache: users may delete it at any time. The file has a line for each object, and lines
are only appended, so several processes may write to it. Blocks; no DVC.
"""

from __future__ import annotations

import contextlib
import hashlib
import os

from ..._artifact.push_records import VerifiedBy
from ..._fs.file_io import write_all

_APPEND: int = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)

_PROOFS: dict[str, VerifiedBy] = {"etag": "etag", "checksum": "checksum"}
Known = tuple[str, VerifiedBy]
"""The ETag of an object, and how the object was proven."""


class KnownEtags:
    """The ETags of one remote.

    Args:
        state_dir: the directory of cached proofs.
        identity: the address of the remote, with the prefix.
    """

    def __init__(self, state_dir: str, identity: str) -> None:
        name = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:32]
        self._path = os.path.join(state_dir, f"etags-{name}")
        self._known: dict[str, Known] | None = None

    def proof_of(self, md5: str, etag: str) -> VerifiedBy | None:
        """Return how an object with this ETag was proven; None: it was not."""
        if self._known is None:
            self._known = self._load()
        known = self._known.get(md5)
        return known[1] if known is not None and known[0] == etag else None

    def add(self, md5: str, etag: str, proof: VerifiedBy) -> None:
        """Keep the ETag of a proven object. Errors are ignored: it is then computed again."""
        if self.proof_of(md5, etag) == proof or self._known is None:
            return
        self._known[md5] = etag, proof
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
            fd = os.open(self._path, _APPEND, 0o600)
            try:
                write_all(fd, f"{md5} {etag} {proof}\n".encode())
            finally:
                os.close(fd)

    def _load(self) -> dict[str, Known]:
        found: dict[str, Known] = {}
        # Latin-1, which decodes any bytes. A line that a kill has cut short names no proof.
        with contextlib.suppress(OSError), open(self._path, encoding="latin-1") as lines:
            for line in lines:
                md5, etag, proof = (*line.split(), "", "", "")[:3]
                if proof in _PROOFS:
                    found[md5] = etag, _PROOFS[proof]
        return found
