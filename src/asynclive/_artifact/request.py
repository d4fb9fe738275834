"""Check the arguments of one call and make an ArtifactRequest of them. No I/O.

Each later step of an artifact makes the next frozen record, named after the progress:
``ArtifactRequest`` -> ``ArtifactPlan`` -> ``StagedArtifact`` -> ``TrackedArtifact`` ->
``LoggedArtifact``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from .._errors import ArtifactPathError, InvalidArtifactNameError, InvalidDataTypeError
from .._fs.paths import is_inside, is_utf8, relocated
from . import metadata

# Files that DVC and Git read in every directory: they would interpret such an artifact.
_READ_FILES = frozenset({".gitignore", ".dvcignore", "dvc.lock"})
# Directories that a copy must not be, or be in.
_RESERVED_DIRS = frozenset({os.pardir, ".git", ".dvc"})


@dataclass(frozen=True, slots=True)
class ArtifactRequest:
    """One call of ``log_artifact``: its checked arguments, as they were at the call."""

    given: str
    """The argument ``path``, for messages."""
    source: str
    """The path of the bytes: absolute, normalised, symlinks not resolved."""
    path: str
    """The path that DVC tracks: ``source``, or the destination of the copy."""
    artifacts_dir: str | None
    """The directory that the copy must be in; None if the artifact is logged in place."""
    cache: bool
    name: str
    """The name of the entry in dvc.yaml. Without an entry, the name that it would have."""
    entry: dict[str, Any] | None
    """The values of the entry in dvc.yaml, without ``path``. None: no entry."""
    type: str | None = None
    desc: str | None = None
    labels: list[str] | None = None
    meta: dict[Any, Any] | None = None
    reread: bool = False
    """Whether each file is read, even if it seems to be unchanged since it was logged."""

    @property
    def copy(self) -> bool:
        return self.artifacts_dir is not None

    @property
    def is_read(self) -> bool:
        """Whether bytes of the source are read. Otherwise the call only writes its entry."""
        return self.cache or self.copy


def make_request(
    path: Any,
    *,
    root: str,
    real_root: str,
    artifacts_dir: str,
    annotate: bool = True,
    type: Any = None,
    name: Any = None,
    desc: Any = None,
    labels: Any = None,
    meta: Any = None,
    copy: Any = False,
    cache: bool = True,
    reread: bool = False,
) -> ArtifactRequest:
    """Check the arguments of one call and copy their values.

    Args:
        path: this and all arguments not listed here are those of ``AsyncLive.log_artifact``.
        root: the directory of relative paths; absolute.
        real_root: ``root`` with symlinks resolved. Paths in ``root`` are returned below it.
        artifacts_dir: the directory of copies; absolute.
        annotate: whether the session writes a dvc.yaml.

    Raises:
        InvalidDataTypeError: ``path`` is not a str or ``os.PathLike`` of str.
        ArtifactPathError: ``path`` or ``copy`` cannot be the path of an artifact.
        InvalidArtifactNameError: ``name``, or the default made from ``path``, is no valid name.
        InvalidMetadataError: YAML cannot express ``type``, ``desc``, ``labels`` or ``meta``.
    """
    given = _fspath(path)
    # A relative path that leads up starts in the real directory, as in a working directory.
    source = relocated(os.path.normpath(os.path.join(real_root, given)), root, real_root)
    artifacts_dir = os.path.normpath(relocated(artifacts_dir, root, real_root))
    values = {
        "type": metadata.check_text("type", type),
        "desc": metadata.check_text("desc", desc),
        "labels": metadata.check_labels(labels),
        "meta": metadata.check_meta(meta),
    }
    # As in DVCLive: one truthy value asks for an entry, which then has all values that are not
    # None.
    annotated = annotate and any((name, *values.values()))
    copied = isinstance(copy, str) or bool(copy)
    tracked = _destination(source, artifacts_dir, copy) if copied else source
    if cache or copied:
        _check_basename(tracked, copied=copied)
    if cache or annotated:
        _check_utf8(tracked)
    return ArtifactRequest(
        given=given,
        source=source,
        path=tracked,
        artifacts_dir=artifacts_dir if copied else None,
        cache=bool(cache),
        name=_name(name, source, required=annotated),
        entry={k: v for k, v in values.items() if v is not None} if annotated else None,
        reread=bool(reread),
        **values,  # type: ignore[arg-type]  # the checks above give each its type
    )


def _fspath(path: Any) -> str:
    try:
        given = os.fspath(path)
    except TypeError:
        given = None
    if not isinstance(given, str):
        raise InvalidDataTypeError(path, path.__class__)
    if not _is_encodable(given):
        raise ArtifactPathError(ascii(given), "is not a path: the file system cannot encode it.")
    if not given or "\0" in given:
        raise ArtifactPathError(given, "is not a path: it is empty or has a null character.")
    return given


def _is_encodable(path: str) -> bool:
    """Return whether the file system can have this path."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def _check_basename(path: str, *, copied: bool) -> None:
    """Refuse a file name that DVC or Git would interpret.

    DVC itself refuses some of these names. A copy must be checked here as well, since one that is
    not cached never reaches DVC.
    """
    name = os.path.basename(path)
    if name in _READ_FILES or (
        copied and (name in _RESERVED_DIRS or name == "dvc.yaml" or name.endswith(".dvc"))
    ):
        raise ArtifactPathError(
            path,
            "has a name that DVC and Git use for their own files. Rename it.",
        )


def _check_utf8(path: str) -> None:
    if not is_utf8(path):
        raise ArtifactPathError(
            path, "has a name that is not UTF-8, which DVC's files cannot contain. Rename it."
        )


def _destination(source: str, artifacts_dir: str, copy: Any) -> str:
    """Return the path of the copy, ``{dir}/artifacts[/{copy}]/<basename>``.

    Raises:
        ArtifactPathError: ``copy`` leads out of ``artifacts``, or one path contains the other.
    """
    below = ""
    if copy is not True:
        try:
            below = os.fspath(copy)
        except TypeError:
            raise ArtifactPathError(
                source, f"cannot be copied: copy must be a bool or a str, not {copy!r}."
            ) from None
        if (
            not isinstance(below, str)
            or "\0" in below
            or not _is_encodable(below)
            or os.path.isabs(below)
            or not _RESERVED_DIRS.isdisjoint(PurePath(below).parts)
        ):
            raise ArtifactPathError(
                source,
                f"cannot be copied to copy={copy!r}: it must name a directory below artifacts/.",
            )
    basename = os.path.basename(source)
    if not basename:
        raise ArtifactPathError(source, "cannot be copied: it is the root directory.")
    destination = os.path.normpath(os.path.join(artifacts_dir, below, basename))
    if is_inside(source, destination) or is_inside(destination, source):
        raise ArtifactPathError(
            source,
            f"cannot be copied to '{destination}': one contains the other. "
            "Log it in place, without copy.",
        )
    return destination


def _name(name: Any, source: str, *, required: bool) -> str:
    if name:
        return metadata.check_name(name)
    stem = Path(source).stem
    made = metadata.make_name(stem)
    if made is not None:
        return made
    if required:
        raise InvalidArtifactNameError(stem, f" Pass name= for '{source}'.")
    return stem


def outside_repository(request: ArtifactRequest, root: str) -> ArtifactPathError:
    """Return the error for a path that is not in the repository at ``root``."""
    hint = (
        " Pass dir= with a directory inside of it."
        if request.copy
        else " Log a copy of it with copy=True."
    )
    return ArtifactPathError(request.path, f"is outside of the DVC repository '{root}'.{hint}")
