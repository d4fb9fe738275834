"""Every error asynclive raises, in one tree.

::

    AsyncLiveError
    ├── NotActiveError             used before entering the block or after leaving it
    ├── InvalidDataTypeError       path is not a str or an os.PathLike of str   (TypeError)
    ├── InvalidDvcyamlError        dvcyaml is not named "dvc.yaml"              (ValueError)
    ├── InvalidArtifactNameError   name cannot be an artifact name              (ValueError)
    ├── InvalidMetadataError       type, desc, labels or meta do not fit YAML   (ValueError)
    ├── RepositoryError            the DVC repository cannot be opened or read
    │   └── RepositoryNotFoundError  there is neither a DVC nor a Git repository
    ├── ArtifactPathError          this path cannot be logged; says why and what to do
    │   ├── ArtifactNotFoundError  it does not exist                            (FileNotFoundError)
    │   └── ArtifactChangedError   it changed while it was read
    ├── ArtifactConflictError      another call claims the same path, copy or name
    ├── ArtifactCancelledError     its handle was cancelled; nothing is left of it
    ├── LockTimeoutError           another process kept DVC's lock too long     (TimeoutError)
    ├── DvcYamlError               dvc.yaml cannot be read, merged or replaced
    ├── StorageError               the disk refused: full, read-only, no permission
    └── CommitError                DVC refused, for a reason not named above

The cause, where there is one, is chained as ``__cause__``.
"""

from __future__ import annotations

import os
import re
from typing import Any

# All but tabs and line ends.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class AsyncLiveError(Exception):
    """Base of every error raised by asynclive."""

    def __init__(self, message: str) -> None:
        # A file name need not be UTF-8, but whoever prints or logs the message needs it to be;
        # and no name is to give orders to his terminal.
        message = message.encode("utf-8", "backslashreplace").decode()
        super().__init__(_CONTROL.sub(lambda found: ascii(found[0])[1:-1], message))

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle and copy would call the class with `args`, which is the message alone.
        return _rebuilt, (type(self), self.args, vars(self))


def _rebuilt(
    cls: type[AsyncLiveError], args: tuple[Any, ...], attributes: dict[str, Any]
) -> AsyncLiveError:
    error = cls.__new__(cls)
    error.args = args
    vars(error).update(attributes)
    return error


class NotActiveError(AsyncLiveError, RuntimeError):
    """The object was used outside its ``async with`` block."""


class InvalidDataTypeError(AsyncLiveError, TypeError):
    """``path`` is neither a str nor an ``os.PathLike`` of str.

    ``name`` is what was given and ``val`` its type, as in DVCLive.
    """

    def __init__(self, name: object, val: type[Any]) -> None:
        self.name = name
        self.val = val
        super().__init__(f"Data '{name}' has not supported type {val}")


class InvalidDvcyamlError(AsyncLiveError, ValueError):
    """``dvcyaml`` names a file that DVC would not read."""

    def __init__(self, dvcyaml: object) -> None:
        self.dvcyaml = dvcyaml
        super().__init__(
            f"`dvcyaml` path must have filename 'dvc.yaml', not {dvcyaml!r}. DVC reads no other "
            "name; use a subdirectory ('sub/dvc.yaml'), or None to write no entries."
        )


class InvalidArtifactNameError(AsyncLiveError, ValueError):
    """``name`` cannot be the name of an artifact in the model registry."""

    def __init__(self, name: str, hint: str = "") -> None:
        self.name = name
        super().__init__(
            f"Can't use {name!r} as artifact name: only letters, numbers, '_', '-' and '/' are "
            f"allowed, and it must start and end with a letter or a number.{hint}"
        )


class InvalidMetadataError(AsyncLiveError, ValueError):
    """``type``, ``desc``, ``labels`` or ``meta`` cannot be written to dvc.yaml.

    ``field`` says which, with the way into it: ``meta['optimizer']['fn']``.
    """

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        super().__init__(f"{field} {reason}")


class RepositoryError(AsyncLiveError):
    """The DVC repository at ``root`` cannot be opened or read; ``__cause__`` is DVC's error."""

    def __init__(self, root: str, reason: str) -> None:
        self.root = root
        super().__init__(reason)


class RepositoryNotFoundError(RepositoryError):
    """No DVC repository at or above ``root``, and no Git repository to make one in."""

    def __init__(self, root: str) -> None:
        super().__init__(
            root,
            f"No DVC or Git repository at '{root}' or above it. "
            "Run 'git init' and 'dvc init' there ('dvc init --no-scm' without Git), "
            "or pass root= with the path of one.",
        )


class ArtifactPathError(AsyncLiveError):
    """This path cannot be logged. The message says why, and what to do instead."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        self.path = os.fspath(path)
        super().__init__(f"'{self.path}' {reason}")


class ArtifactNotFoundError(ArtifactPathError, FileNotFoundError):
    """The path does not exist."""

    def __init__(self, path: str | os.PathLike[str], reason: str = "does not exist.") -> None:
        super().__init__(path, reason)

    def __str__(self) -> str:
        # OSError would format errno and filename, which are not set here.
        return str(self.args[0])


class ArtifactChangedError(ArtifactPathError):
    """The path was written, replaced or removed while its bytes were read."""

    def __init__(self, path: str | os.PathLike[str], what: str = "changed") -> None:
        super().__init__(
            path,
            f"{what} while it was being logged, so nothing was recorded. "
            "Log it again once nothing writes to it.",
        )


class ArtifactConflictError(AsyncLiveError):
    """Another artifact claims the same path, destination or name.

    ``path`` is the path of this call, ``other`` that of the first one.
    """

    def __init__(self, path: str, other: str, reason: str) -> None:
        self.path = path
        self.other = other
        super().__init__(f"Cannot log '{path}': {reason}")


class ArtifactCancelledError(AsyncLiveError):
    """The artifact was cancelled while it was in flight, and nothing is left of it.

    Raised to who awaits a handle that was cancelled. ``path`` is the path as it was given.
    """

    def __init__(self, path: str, why: str = "its handle was cancelled.") -> None:
        self.path = path
        super().__init__(f"'{path}' was not logged: {why}")


class LockTimeoutError(AsyncLiveError, TimeoutError):
    """DVC's repository lock was held by another process for ``lock_timeout`` seconds."""

    def __init__(self, lock_timeout: float) -> None:
        self.lock_timeout = lock_timeout
        super().__init__(
            f"Another process held DVC's repository lock for {lock_timeout:g} s. "
            "Wait for that 'dvc' command to end, or pass a longer lock_timeout=."
        )

    def __str__(self) -> str:
        return str(self.args[0])


class DvcYamlError(AsyncLiveError):
    """dvc.yaml cannot be read, merged or replaced. ``path`` is the file."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        self.path = os.fspath(path)
        self.reason = reason
        super().__init__(f"'{self.path}' {reason}")


class StorageError(AsyncLiveError):
    """The file system refused. ``path`` is the artifact, ``__cause__`` the OSError."""

    def __init__(self, path: str | os.PathLike[str], error: OSError) -> None:
        self.path = os.fspath(path)
        self.errno = error.errno
        where = f" ('{error.filename}')" if error.filename is not None else ""
        super().__init__(
            f"Cannot store '{self.path}': {error.strerror or error}{where}. "
            "Nothing of it was recorded; log it again once the cause is gone."
        )


class CommitError(AsyncLiveError):
    """DVC refused to track the artifact. ``path`` is the artifact, ``__cause__`` DVC's error."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        self.path = os.fspath(path)
        super().__init__(f"Cannot track '{self.path}': {reason}")
