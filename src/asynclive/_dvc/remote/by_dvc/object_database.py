"""ObjectDatabase: the objects of a remote, by DVC's own classes. Blocks."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from inspect import iscoroutinefunction
from typing import Any

from fsspec.asyn import sync

from ...._artifact.push_records import PushObject, RemoteDescription, VerifiedBy
from ...._errors import RemoteAccessError
from ...._remote.store import UnreadableObjectError, explain_unreadable
from ...dvc_errors import plain_text
from .byte_counter import ByteCounter

# After these, no other request succeeds.
_NO_REMOTE = {
    errno.ECONNREFUSED,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENOSPC,
    errno.EROFS,
    getattr(errno, "EDQUOT", errno.ENOSPC),
    socket.EAI_NONAME,
    socket.EAI_AGAIN,
}
_REFUSED_STATUS = {401, 403, 407}
_MD5 = re.compile("[0-9a-f]{32}")


class ObjectDatabase:
    """The objects of a remote (``dvc.data_cloud.Remote.odb``). Its methods run in any threads.

    Args:
        remote: the remote. DVC's classes connect to it.

    Raises:
        Exception: ``translate`` tells the meaning.
    """

    def __init__(self, remote: RemoteDescription) -> None:
        from dvc.fs import registry
        from dvc_data.hashfile.db import get_odb

        self._remote = remote
        fs = registry[remote.scheme](**remote.options)
        fs.fs  # noqa: B018  connects, once: DVC's classes do not guard that
        options = {key: value for key, value in remote.options.items() if key != "worktree"}
        self._odb = get_odb(fs, remote.prefix, **{**options, "hash_name": remote.hash_name})
        # The directories that are made, or need not be.
        self._directories: set[str] = set()

    def path_of(self, obj: PushObject) -> str:
        """Return the path of an object, as DVC's file system names it."""
        path: str = self._odb.oid_to_path(obj.md5)
        return path

    def read_path_of(self, obj: PushObject) -> str:
        """Return the path to read an object back from."""
        return self.path_of(obj)

    def forget_listings(self) -> None:
        """Forget the listings that DVC's file systems keep."""
        self._odb.fs.fs.invalidate_cache()

    def close(self) -> None:
        """Close the connections that DVC's classes would close too late: after their session."""
        fs = self._odb.fs.fs
        session: Any = getattr(fs, "_session", None)
        if iscoroutinefunction(getattr(session, "close", None)):
            sync(fs.loop, session.close)

    def look_at(self, obj: PushObject) -> Mapping[str, Any] | None:
        """Return what the remote reports of an object; None: it does not have it."""
        try:
            info: Mapping[str, Any] = self._odb.fs.info(self.path_of(obj))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return info

    def list_prefix(self, prefix: str) -> Mapping[str, Mapping[str, Any]] | None:
        """Return the reports about all objects whose names begin so, by name.

        None: the remote has no listings.

        Args:
            prefix: the first two letters.
        """
        fs, directory = self._odb.fs, self._odb.fs.join(self._odb.path, prefix)
        try:
            return {prefix + fs.name(info["name"]): info for info in fs.ls(directory, detail=True)}
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except NotImplementedError:
            return None

    def put(self, obj: PushObject, source: str, counter: ByteCounter) -> None:
        odb, path = self._odb, self.path_of(obj)
        directory = odb.fs.parent(path)
        try:
            if directory not in self._directories:
                odb.makedirs(directory)
                self._directories.add(directory)
            # Parts go one after the other: this is one request, with one permit.
            one = {"max_concurrency": 1} if hasattr(odb.fs.fs, "max_concurrency") else {}
            odb.fs.put_file(source, path, callback=counter, **one)
            odb.protect(path)
        except FileNotFoundError as error:  # the source was there a moment ago
            raise RemoteAccessError(
                self._remote.name,
                f"'{self._remote.url}' does not exist ({plain_text(error)}). Create it, or run "
                f"'dvc remote modify {self._remote.name} url URL'.",
                option="url",
            ) from error

    def compare(self, obj: PushObject, info: Mapping[str, Any]) -> VerifiedBy | None:
        """Compare what the remote reports of an object.

        None: it does not fit. ``"read"``: only reading can tell.
        """
        size = info.get("size")
        if size is not None and obj.size >= 0 and size != obj.size:
            return None
        if self._has_md5_etags:
            etag = str(info.get("ETag", "")).strip('"').lower()
            if etag == hash_of(obj):
                return "etag"
            if _MD5.fullmatch(etag) is not None and self._remote.hash_name == "md5":
                return None
        return "read" if size is None or obj.size < 0 else "size"

    @property
    def _has_md5_etags(self) -> bool:
        """Whether the ETag of an object that was sent in one part is the MD5 of its bytes."""
        options = self._remote.options
        return (
            self._remote.scheme == "s3"
            and options.get("sse") in (None, "AES256")
            and not options.get("sse_customer_key")
        )

    def check_source(self, obj: PushObject, source: str, counter: ByteCounter) -> None:
        """Raise an error if the file does not have the bytes that its name promises.

        The remote may compare no more than the size.
        """
        md5 = _hash_file(source, self._remote.hash_name, counter)
        if md5 != hash_of(obj):
            raise UnreadableObjectError(f"its bytes in the cache have the hash {md5}")

    def read(self, obj: PushObject, counter: ByteCounter) -> str | None:
        """Return the hash of the bytes in the remote; None: it does not have the object."""
        try:
            return _hash_file(self.read_path_of(obj), self._remote.hash_name, counter, self._odb.fs)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def remove(self, obj: PushObject) -> None:
        # Not all remotes can. The next push finds that the object does not fit.
        with suppress(NotImplementedError, FileNotFoundError):
            self._odb.fs.remove(self.path_of(obj))


def hash_of(obj: PushObject) -> str:
    return obj.md5.removesuffix(".dir")


def translate(remote: RemoteDescription, error: Exception) -> Exception:
    """Return ``RemoteAccessError`` if no other request will succeed, else the error."""
    from dvc_objects.fs.errors import AuthError, ConfigError, RemoteMissingDepsError

    if isinstance(error, RemoteMissingDepsError):
        missing = " ".join(error.missing_deps)
        return RemoteAccessError(
            remote.name, f"DVC needs other packages for it. Run: pip install {missing}"
        )
    if (
        isinstance(error, AuthError | ConfigError | PermissionError)
        or (isinstance(error, OSError) and error.errno in _NO_REMOTE)
        or getattr(error, "status", None) in _REFUSED_STATUS
    ):
        return RemoteAccessError(
            remote.name,
            f"DVC cannot use '{remote.url}' ({plain_text(error) or repr(error)}). Check "
            f"its options: 'dvc config --list' shows them, 'dvc remote modify "
            f"{remote.name} OPTION VALUE' changes them.",
        )
    return error


def _hash_file(path: str, hash_name: str, counter: ByteCounter, fs: Any = None) -> str:
    """Return the hash of a file of the cache, or of the file system ``fs``.

    Raises:
        MissingObjectError: the file of the cache cannot be read.
    """
    from dvc_data.hashfile.hash import file_md5
    from dvc_objects.fs.local import localfs

    try:
        return str(file_md5(path, fs or localfs, counter, hash_name, size=0))
    except OSError as error:
        if fs is None:
            raise explain_unreadable(error) from error
        raise
