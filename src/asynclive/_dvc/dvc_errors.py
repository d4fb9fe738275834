"""What DVC's errors mean for the caller."""

from __future__ import annotations

import re
from logging import getLogger

from .._artifact.request import ArtifactRequest, outside_repository
from .._errors import ArtifactPathError, AsyncLiveError, CommitError, RepositoryError, StorageError

logger = getLogger(__name__)


def unreadable(root: str, error: Exception) -> RepositoryError:
    return RepositoryError(root, f"DVC cannot read its files in '{root}': {text_of(error)}")


def as_own_error(request: ArtifactRequest, error: Exception) -> AsyncLiveError:
    """The error of ours that says what DVC's error means for the caller."""
    from dvc.dvcfile import FileIsGitIgnored
    from dvc.exceptions import DvcException
    from dvc.output import OutputIsIgnoredError, OutputIsStageFileError
    from dvc.stage.exceptions import StagePathOutsideError

    path = request.path
    if isinstance(error, AsyncLiveError):
        return error
    if isinstance(error, OSError):
        return caused(StorageError(path, error), error)
    advice, text = or_copy(request), text_of(error)
    own: AsyncLiveError
    if isinstance(error, FileIsGitIgnored):
        own = ArtifactPathError(path, f"is in a place that Git ignores: {text}{advice}")
    elif isinstance(error, OutputIsIgnoredError):
        own = ArtifactPathError(
            path, f"is ignored by .dvcignore: {text}. Change that rule.{advice}"
        )
    elif isinstance(error, OutputIsStageFileError):
        own = ArtifactPathError(path, "is a DVC file itself, which DVC cannot track.")
    elif isinstance(error, StagePathOutsideError):
        own = outside_repository(request, text)
    elif isinstance(error, DvcException) and "symlinked" in str(error):
        own = ArtifactPathError(
            path, f"is, or is reached through, a symbolic link to a directory.{advice}"
        )
    else:
        own = CommitError(path, f"{type(error).__name__}: {text}")
    return caused(own, error)


def or_copy(request: ArtifactRequest) -> str:
    return "" if request.copy else " Or log a copy of it with copy=True."


def text_of(error: Exception | str) -> str:
    """What the error says, less the colours that DVC puts into it."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error))


def caused(own: AsyncLiveError, cause: Exception) -> AsyncLiveError:
    own.__cause__ = cause
    return own
