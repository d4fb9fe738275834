"""Every error asynclive raises, in one tree.

::

    AsyncLiveError
    ├── NotActiveError             used outside its ``async with`` block
    ├── InvalidDataTypeError       path is not a str or an os.PathLike of str   (TypeError)
    ├── InvalidDvcyamlError        dvcyaml is not named "dvc.yaml"              (ValueError)
    ├── InvalidArtifactNameError   name cannot be an artifact name              (ValueError)
    ├── InvalidMetadataError       type, desc, labels or meta do not fit YAML   (ValueError)
    ├── RepositoryError            the DVC repository cannot be opened or read
    │   └── RepositoryNotFoundError  there is neither a DVC nor a Git repository
    ├── ArtifactPathError          this path cannot be logged; the message says why
    │   ├── ArtifactNotFoundError  the path does not exist                      (FileNotFoundError)
    │   └── ArtifactChangedError   the path changed while it was read
    ├── ArtifactConflictError      another call claims the same path, copy or name
    ├── BackPressureError          submit(wait=False) would have to wait
    ├── ArtifactCancelledError     the handle was cancelled; nothing was logged
    ├── LockTimeoutError           another process kept a lock too long         (TimeoutError)
    ├── DvcYamlError               dvc.yaml cannot be read, merged or replaced
    ├── StorageError               a file operation failed: disk full, read-only, no permission
    ├── CommitError                DVC cannot track the artifact, for a reason not named above
    ├── ResourceLimitError         the system refuses another thread
    ├── WorkerDiedError            the worker process was killed or stuck, or cannot be started
    ├── ExperimentError            the DVC experiment cannot be saved; the artifacts are logged
    └── PushError                  objects could not be pushed; the artifacts stay committed
        ├── RemoteNotFoundError    no remote is configured, or none of this name
        ├── RemoteAccessError      the remote cannot be reached, or refuses
        └── RemoteVerifyError      objects in the remote are not those that were sent

If another error is the cause, it is chained as ``__cause__``.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

# Control characters, except tab and newline.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

MORE_THREADS = (
    "Raise the limit on processes and threads ('ulimit -u', or the pids limit of the container), "
    "or pass fewer workers=."
)


class AsyncLiveError(Exception):
    """Base of every error raised by asynclive."""

    def __init__(self, message: str) -> None:
        # Messages contain file names. A file name need not be UTF-8, but printing or logging the
        # message fails if it is not. Escape control characters too, so that a file name cannot
        # send escape sequences to the terminal.
        message = message.encode("utf-8", "backslashreplace").decode()
        super().__init__(_CONTROL.sub(lambda match: ascii(match[0])[1:-1], message))

    def __reduce__(self) -> tuple[Any, ...]:
        # By default, pickle and copy call the class with `args`, which holds only the message.
        return _rebuild, (type(self), self.args, vars(self))


def _rebuild(
    cls: type[AsyncLiveError], args: tuple[Any, ...], attributes: dict[str, Any]
) -> AsyncLiveError:
    error = cls.__new__(cls)
    error.args = args
    vars(error).update(attributes)
    return error


class NotActiveError(AsyncLiveError, RuntimeError):
    """The object was used outside of its ``async with`` block.

    There are three cases. The block had not begun or had ended, or ``drain`` was called. The use
    was in another event loop or thread than the one that entered the block. Or it was in a forked
    child process.
    """


class InvalidDataTypeError(AsyncLiveError, TypeError):
    """``path`` is neither a str nor an ``os.PathLike`` of str.

    Message and attributes are those of DVCLive: ``name`` is the value that was passed, ``val`` its
    type.
    """

    def __init__(self, name: object, val: type[Any]) -> None:
        self.name = name
        self.val = val
        super().__init__(f"Data '{name}' has not supported type {val}")


class InvalidDvcyamlError(AsyncLiveError, ValueError):
    """``dvcyaml`` names a file that DVC does not read: its name is not ``dvc.yaml``."""

    def __init__(self, dvcyaml: object) -> None:
        self.dvcyaml = dvcyaml
        super().__init__(
            f"`dvcyaml` path must have filename 'dvc.yaml', not {dvcyaml!r}. DVC reads no other "
            "name. Use a subdirectory ('sub/dvc.yaml'), or None to write no entries."
        )


class InvalidArtifactNameError(AsyncLiveError, ValueError):
    """``name`` cannot be the name of an artifact in the model registry."""

    def __init__(self, name: str, hint: str = "") -> None:
        self.name = name
        super().__init__(
            f"Can't use {name!r} as artifact name: only letters, numbers, '_', '-' and '/' are "
            f"allowed, and the name must start and end with a letter or a number.{hint}"
        )


class InvalidMetadataError(AsyncLiveError, ValueError):
    """``type``, ``desc``, ``labels`` or ``meta`` cannot be written to dvc.yaml.

    ``field`` is the argument, with the path into its value: ``meta['optimizer']['fn']``.
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
    """There is neither a DVC nor a Git repository at ``root`` or above it."""

    def __init__(self, root: str) -> None:
        super().__init__(
            root,
            f"No DVC or Git repository at '{root}' or above it. "
            "Run 'git init' and 'dvc init' there ('dvc init --no-scm' without Git), "
            "or pass root= with the path of a repository.",
        )


class ArtifactPathError(AsyncLiveError):
    """The path cannot be logged. The message says why, and what to do instead."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        self.path: str = os.fspath(path)
        super().__init__(f"'{self.path}' {reason}")


class ArtifactNotFoundError(ArtifactPathError, FileNotFoundError):
    """The path does not exist."""

    def __init__(self, path: str | os.PathLike[str], reason: str = "does not exist.") -> None:
        super().__init__(path, reason)

    def __str__(self) -> str:
        # OSError would format errno and filename, which are not set here.
        return str(self.args[0])


def advice_on_rotation(directory: str) -> str:
    """Return a sentence for a directory in which files come and go while it is logged."""
    return (
        f"If a program removes old files in '{directory}', as a trainer removes old checkpoints, "
        "log each checkpoint instead of the directory."
    )


class ArtifactChangedError(ArtifactPathError):
    """The path was written, replaced or removed while its bytes were read.

    ``path`` is the file that changed; it may lie in the directory that was logged.
    """

    def __init__(
        self, path: str | os.PathLike[str], what: str = "changed", directory: str | None = None
    ) -> None:
        self._what = what
        advice = "Log it again when no process writes to it any more."
        if directory is not None:
            advice = (
                f"Log '{directory}' again when no process writes to it any more. "
                f"{advice_on_rotation(directory)}"
            )
        super().__init__(
            path, f"{what} while it was being logged, so nothing was recorded. {advice}"
        )

    def in_directory(self, directory: str) -> ArtifactChangedError:
        """Return the same error of a file in ``directory``, which was logged."""
        return ArtifactChangedError(self.path, self._what, directory)


class ArtifactConflictError(AsyncLiveError):
    """Another artifact claims the same path, destination or name.

    ``path`` is the path of this call. ``other`` is the path of the earlier call, or of the copy
    that has another name.
    """

    def __init__(self, path: str, other: str, reason: str) -> None:
        self.path = path
        self.other = other
        super().__init__(f"Cannot log '{path}': {reason}")


class BackPressureError(AsyncLiveError):
    """``submit(..., wait=False)`` would have to wait: too much is pending.

    ``path`` is the path that was passed.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        super().__init__(
            f"Cannot submit '{path}': {reason}. Submit it later, pass wait=True, or raise "
            "max_pending= or max_pending_bytes=."
        )


class ArtifactCancelledError(AsyncLiveError):
    """The handle of the artifact was cancelled while the artifact was in flight.

    Nothing was logged: there is no copy, no ``.dvc`` file, no entry and no temp file. Awaiting
    the handle raises this error. ``path`` is the path that was passed.
    """

    def __init__(self, path: str, why: str = "its handle was cancelled.") -> None:
        self.path = path
        super().__init__(f"'{path}' was not logged: {why}")


class LockTimeoutError(AsyncLiveError, TimeoutError):
    """Another process held a lock for ``lock_timeout`` seconds.

    It is DVC's repository lock, or the lock of Git's index. The latter is needed for
    ``core.autostage`` and for ``dvc init``; ``lock`` is its path then, else None.
    """

    def __init__(self, lock_timeout: float, lock: str | None = None) -> None:
        self.lock_timeout = lock_timeout
        self.lock = lock
        held, command, stale = "DVC's repository lock", "dvc", ""
        if lock is not None:
            held, command = f"the lock of Git's index, '{lock}',", "git"
            stale = " If no git command runs, one was killed: remove that file."
        super().__init__(
            f"Another process held {held} for {lock_timeout:g} s. "
            f"Wait for that '{command}' command to end, or pass a longer lock_timeout=.{stale}"
        )

    def __str__(self) -> str:
        return str(self.args[0])


class DvcYamlError(AsyncLiveError):
    """dvc.yaml cannot be read, merged or replaced. ``path`` is the file."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        self.path: str = os.fspath(path)
        self.reason = reason
        super().__init__(f"'{self.path}' {reason}")


class StorageError(AsyncLiveError):
    """A file operation failed. ``path`` is the artifact, ``__cause__`` the OSError."""

    def __init__(self, path: str | os.PathLike[str], error: OSError) -> None:
        self.path: str = os.fspath(path)
        self.errno: int | None = error.errno
        # It is a number if a descriptor was used instead of a path.
        name = error.filename
        where = f" ('{os.fsdecode(name)}')" if isinstance(name, str | bytes) else ""
        if error.errno in (errno.EBUSY, errno.EXDEV):
            where += ", because it is a mount point or on another disk"
        super().__init__(
            f"Cannot store '{self.path}': {error.strerror or error}{where}. "
            "Nothing was recorded. Log it again when the cause is removed."
        )


class ExperimentError(AsyncLiveError):
    """The DVC experiment cannot be saved. ``name`` is its name, or None if it had no name yet.

    Artifacts that were logged before stay tracked and recorded.
    """

    def __init__(self, name: str | None, reason: str) -> None:
        self.name = name
        experiment = "an experiment" if name is None else f"the experiment '{name}'"
        super().__init__(f"Cannot save {experiment}: {reason}")


class CommitError(AsyncLiveError):
    """DVC cannot track the artifact, or its cache lacks bytes that the artifact needs.

    ``path`` is the artifact, ``__cause__`` the error of DVC, if there is one.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        self.path: str = os.fspath(path)
        super().__init__(f"Cannot track '{self.path}': {reason}")


class ResourceLimitError(AsyncLiveError):
    """The system refuses this process, or its worker process, the first thread for some work.

    With at least one thread, the work goes on with fewer. If the system refuses a process,
    :class:`WorkerDiedError` is raised; if it refuses an open file, :class:`StorageError`.
    """

    def __init__(self) -> None:
        super().__init__(f"The system refuses another thread. {MORE_THREADS}")


class WorkerDiedError(AsyncLiveError):
    """The worker process of ``isolation="process"`` ended, or could not be started.

    ``path`` is the path that was passed, or None if the block was being entered. ``status`` is
    the exit status of the process: the negative signal number if a signal killed the process,
    None if the process could not be started.
    """

    def __init__(
        self,
        path: str | None,
        how: str,
        status: int | None = None,
        advice: str | None = None,
    ) -> None:
        self.path = path
        self.status = status
        if path is None:
            advice = advice or "Enter again, or pass isolation='thread'."
            message = f"The worker process {how}. {advice}"
        else:
            advice = advice or "Log it again; a new worker process is used."
            message = (
                f"The worker process {how}. '{path}' was in flight: it is either completely logged "
                f"or not at all. {advice}"
            )
        if status == -9:
            message += " If the system killed it because memory was short, pass fewer workers=."
        super().__init__(message)


class FailedObject(NamedTuple):
    """An object that could not be pushed. See :class:`PushError`."""

    md5: str
    """Its name in the remote; that of a directory's listing ends with ``.dir``."""
    path: str
    """The path in the workspace that it belongs to, relative to the repository."""
    reason: str


class PushError(AsyncLiveError):
    """Objects could not be pushed. The artifact stays committed, and a later push goes on.

    ``remote`` is the name of the remote, None if there is none. ``option`` is the option of DVC's
    configuration that the advice is about, or None. ``failed`` holds the objects that are not
    proven, as far as they are known.
    """

    def __init__(
        self,
        remote: str | None,
        reason: str,
        *,
        option: str | None = None,
        failed: Sequence[FailedObject] = (),
    ) -> None:
        self.remote = remote
        self.option = option
        self.failed: tuple[FailedObject, ...] = tuple(failed)
        where = "" if remote is None else f" to the remote '{remote}'"
        super().__init__(f"Cannot push{where}: {reason}{_name_objects(self.failed)}")


class RemoteNotFoundError(PushError):
    """No remote is configured, or none of this name."""


class RemoteAccessError(PushError):
    """The remote cannot be reached, does not exist, or refuses the credentials or the request."""


class RemoteVerifyError(PushError):
    """Objects in the remote, or in the cache, do not have the bytes that their names promise."""


# A message names so many objects. The first ones tell which artifact is concerned.
_NAMED_OBJECTS = 3


def _name_objects(failed: Sequence[FailedObject]) -> str:
    if not failed:
        return ""
    named = "; ".join(
        f"'{each.path}' ({each.md5}): {each.reason}" for each in failed[:_NAMED_OBJECTS]
    )
    more = len(failed) - _NAMED_OBJECTS
    return f" Not pushed ({len(failed):,}): {named}{f'; and {more:,} more' if more > 0 else ''}."
