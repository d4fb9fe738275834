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

from ..._fs.file_io import write_all

_APPEND: int = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)


class KnownEtags:
    """The ETags of one remote.

    Args:
        state_dir: the directory of cached proofs.
        identity: the address of the remote, with the prefix.
    """

    def __init__(self, state_dir: str, identity: str) -> None:
        name = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:32]
        self._path = os.path.join(state_dir, f"etags-{name}")
        self._etags: dict[str, str] | None = None

    def has(self, md5: str, etag: str) -> bool:
        """Tell whether an object with this ETag was proven."""
        if self._etags is None:
            self._etags = self._load()
        return self._etags.get(md5) == etag

    def add(self, md5: str, etag: str) -> None:
        """Keep the ETag of a proven object. Errors are ignored: it is then computed again."""
        if self.has(md5, etag) or self._etags is None:
            return
        self._etags[md5] = etag
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
            fd = os.open(self._path, _APPEND, 0o600)
            try:
                write_all(fd, f"{md5} {etag}\n".encode())
            finally:
                os.close(fd)

    def _load(self) -> dict[str, str]:
        etags: dict[str, str] = {}
        # Latin-1, which decodes any bytes. A line that a kill has cut short fits no ETag.
        with contextlib.suppress(OSError), open(self._path, encoding="latin-1") as lines:
            for line in lines:
                md5, _, etag = line.rstrip("\n").partition(" ")
                etags[md5] = etag
        return etags
