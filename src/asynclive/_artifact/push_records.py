"""The records of a push: objects, where they go, and the outcome."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from .push_policy import Verify
from .push_target import PushTarget

VerifiedBy = Literal["read", "checksum", "etag", "size"]
"""How an object in a remote was proven, the strongest proof first.

``"read"``: its bytes were read back, and their MD5 is its name. ``"checksum"``: a checksum of its
bytes was compared. ``"etag"``: an ETag that is computed from its bytes was compared. ``"size"``:
only its size was compared.
"""


class PushObject(NamedTuple):
    """One object of DVC's cache. A tuple, since there is one for each file."""

    md5: str
    """Its name in the cache and in the remote; that of a directory's listing ends with ``.dir``."""
    size: int
    """In bytes; -1: it is unknown, because the object is not in the cache. The remote may have it,
    which a checksum can prove."""
    path: str
    """The path in the workspace that it belongs to, for messages. Relative to the repository."""

    @property
    def known_size(self) -> int:
        """Its size in bytes; 0: it is unknown."""
        return max(self.size, 0)

    def fits(self, size: int) -> bool:
        """Return whether it can have this size."""
        return self.size in (size, -1)


@dataclass(frozen=True, slots=True)
class RemoteDescription:
    """A remote of DVC's configuration."""

    name: str
    url: str
    """As configured, for messages."""
    scheme: str
    """``"s3"``, ``"gs"``, ``"azure"``, ``"local"``, or another scheme of DVC."""
    prefix: str
    """Where the objects lie: without the scheme, it begins with the bucket (a container, for Azure)
    and ends with ``files/md5``. An absolute path for a local directory."""
    options: Mapping[str, Any] = field(repr=False, default_factory=dict)
    """DVC's options of the remote, with resolved paths. They may hold secrets."""
    only_dvc: str | None = None
    """Why asynclive does not send to it itself: the option or the scheme that only DVC's own
    classes support. None: it does."""
    hash_name: str = "md5"
    """DVC's name for the kind of hash that names the objects. That of DVC 2, ``"md5-dos2unix"``, is
    not the MD5 of the bytes of a text file."""

    @property
    def key(self) -> tuple[str, str]:
        """Identifies a place of objects. One remote has two if there are outputs of DVC 2."""
        return self.name, self.prefix

    @property
    def is_cloud_versioned(self) -> bool:
        """Whether files lie in it under their paths, with versions that ``.dvc`` files name."""
        return bool(self.options.get("version_aware") or self.options.get("worktree"))


@dataclass(frozen=True, slots=True)
class PushUnit:
    """One output of DVC: its files, and the listing that goes last."""

    path: str
    """The path of the output, absolute."""
    remote: RemoteDescription
    cache_dir: str
    """The directory of the objects."""
    objects: Sequence[PushObject] = field(repr=False)
    """The files. The listing is not among them."""
    listing: PushObject | None = None
    """The object of a directory's listing. None: the output is a file."""
    dvc_file: str = ""
    """The file that declares the output."""
    versions: Mapping[str, str] = field(repr=False, default_factory=dict)
    """For a cloud-versioned remote: the versions that the ``.dvc`` file names, by the paths of the
    objects."""

    def object_path(self, obj: PushObject) -> str:
        """Return the path of an object in the cache."""
        return os.path.join(self.cache_dir, obj.md5[:2], obj.md5[2:])


@dataclass(frozen=True, slots=True)
class PushRequest:
    """What a caller of ``push`` asks for. It pickles, for a worker process."""

    targets: tuple[PushTarget, ...] | None = None
    """None: all that DVC tracks, or the artifact of the call that the push belongs to."""
    remote: str | None = None
    """The name of a remote. None: the default remote."""
    verify: Verify | None = "store"


@dataclass(frozen=True, slots=True)
class PushResult:
    """The outcome of a push: every object is in the remote, and proven.

    ``await handle.pushed()`` and ``await live.push()`` return it.
    """

    remote: str
    """The name of the remote. If outputs name several, their names with ``", "`` between them."""
    objects: int
    """The number of objects that this push sent."""
    bytes: int
    """The bytes of these objects."""
    skipped: int
    """The number of objects that were in the remote already, and are proven."""
    resumed_bytes: int
    """The bytes that an earlier push had sent, and that were not sent again. ``bytes`` includes
    them."""
    verified_by: VerifiedBy
    """The weakest proof among all objects."""
    backend: str
    """The way to the remote: ``"obstore"`` (with large files to S3 in parts), ``"local"`` for a
    directory, or ``"dvc"`` for DVC's own classes. Several are joined as in ``remote``; empty if
    there was nothing to push."""
    seconds: float
    """The time from the first look into the remote to the last proof."""
