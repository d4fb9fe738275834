"""Translates DVC's errors into those of asynclive."""

from __future__ import annotations

import os
import re

from .._artifact.request import ArtifactRequest, outside_repository
from .._errors import ArtifactPathError, AsyncLiveError, CommitError, RepositoryError, StorageError


def unreadable_error(root: str, error: Exception) -> RepositoryError:
    """Return the error for .dvc or dvc.yaml files, or a Git index, that DVC cannot read."""
    if isinstance(error, RepositoryError):
        return RepositoryError(error.root, str(error))
    return RepositoryError(root, f"DVC cannot read its files in '{root}': {plain_text(error)}")


def translate_error(request: ArtifactRequest, error: Exception) -> AsyncLiveError:
    """Return the error of asynclive that replaces DVC's ``error``; its cause is ``error``."""
    from dvc.dvcfile import FileIsGitIgnored
    from dvc.exceptions import DvcException
    from dvc.output import OutputIsIgnoredError, OutputIsStageFileError
    from dvc.stage.exceptions import StagePathOutsideError

    path = request.path
    if isinstance(error, AsyncLiveError):
        return error
    if isinstance(error, OSError):
        return with_cause(StorageError(path, error), error)
    advice, text = copy_advice(request), plain_text(error)
    own: AsyncLiveError
    if isinstance(error, FileIsGitIgnored):
        rule = (
            f"'git check-ignore -v {path}.dvc' shows the rule, which may be outside of the project."
        )
        own = ArtifactPathError(path, f"is in a place that Git ignores: {text}. {rule}{advice}")
    elif isinstance(error, OutputIsIgnoredError):
        own = ArtifactPathError(
            path, f"is ignored by .dvcignore: {text}. Change that rule.{advice}"
        )
    elif isinstance(error, OutputIsStageFileError):
        own = ArtifactPathError(path, "is a DVC file itself, which DVC cannot track.")
    elif "is outside of git repository" in text:  # the artifact is inside of DVC's repository
        gitignore = os.path.join(os.path.dirname(path), ".gitignore")
        own = ArtifactPathError(
            path,
            f"cannot be hidden from Git: '{gitignore}' is a link that leads out of the "
            "repository. Git reads no such link. Replace it by a file.",
        )
    elif isinstance(error, StagePathOutsideError):
        own = outside_repository(request, text)
    elif isinstance(error, DvcException) and "symlinked" in str(error):
        own = ArtifactPathError(
            path, f"is, or is reached through, a symbolic link to a directory.{advice}"
        )
    else:
        own = CommitError(path, f"{type(error).__name__}: {text}")
    return with_cause(own, error)


def copy_advice(request: ArtifactRequest) -> str:
    """Return a sentence that advises ``copy=True``, unless the caller passed it."""
    return "" if request.copy else " Or log a copy of it with copy=True."


def plain_text(error: Exception | str) -> str:
    """Return the text of the error without DVC's escape sequences for colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error))


def with_cause(own: AsyncLiveError, cause: Exception) -> AsyncLiveError:
    """Return ``own`` with its cause set, as ``raise own from cause`` sets it."""
    own.__cause__ = cause
    return own
