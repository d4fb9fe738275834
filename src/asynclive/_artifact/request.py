"""The records an artifact is handed forward in, and the checks on input; no I/O.

``ArtifactRequest`` -> ``StagedArtifact`` -> ``TrackedArtifact`` -> ``LoggedArtifact``.
Each is frozen and named by how far the artifact has come.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from .._errors import ArtifactPathError, InvalidArtifactNameError, InvalidDataTypeError
from .._fs.paths import is_inside, is_utf8, relocated
from . import metadata

# What DVC and Git read wherever it lies: an artifact of this name would be more than data.
_READ_FILES = frozenset({".gitignore", ".dvcignore", "dvc.lock"})
# Directories that a copy must not lie in, or be.
_UNFIT_DIRS = frozenset({os.pardir, ".git", ".dvc"})


@dataclass(frozen=True, slots=True)
class ArtifactRequest:
    """One call of ``log_artifact``: checked, with the values as they were at the call."""

    given: str
    """The path as the caller wrote it, for messages."""
    source: str
    """Where the bytes are: absolute, normalised, symlinks not resolved."""
    path: str
    """What gets tracked: ``source``, or the copy's destination."""
    artifacts_dir: str | None
    """Where copies go, and must stay; None when logged in place."""
    cache: bool
    name: str
    """Name of the entry; without an entry, what it would be."""
    entry: dict[str, Any] | None
    """The values for dvc.yaml, less ``path``; None: no entry is wanted."""
    type: str | None = None
    desc: str | None = None
    labels: list[str] | None = None
    meta: dict[Any, Any] | None = None

    @property
    def copy(self) -> bool:
        return self.artifacts_dir is not None

    @property
    def is_read(self) -> bool:
        """Whether any of it is read, not only recorded."""
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
) -> ArtifactRequest:
    """Check the arguments of one call and take their values. No I/O.

    Args:
        path: and the rest as in ``AsyncLive.log_artifact``.
        root: where relative paths start; absolute.
        real_root: the same directory with links resolved; what lies in ``root`` is named by it.
        artifacts_dir: where copies go; absolute.
        annotate: whether there is a dvc.yaml for an entry.

    Raises:
        InvalidDataTypeError: ``path`` is not a str or ``os.PathLike`` of str.
        ArtifactPathError: ``path`` or ``copy`` cannot name an artifact.
        InvalidArtifactNameError: ``name``, or the default made from ``path``, is none.
        InvalidMetadataError: ``type``, ``desc``, ``labels`` or ``meta`` do not fit YAML.
    """
    given = _fspath(path)
    source = relocated(os.path.normpath(os.path.join(root, given)), root, real_root)
    artifacts_dir = relocated(artifacts_dir, root, real_root)
    values = {
        "type": metadata.check_text("type", type),
        "desc": metadata.check_text("desc", desc),
        "labels": metadata.check_labels(labels),
        "meta": metadata.check_meta(meta),
    }
    # As DVCLive decides it: one truthy value asks for an entry, which then holds all that
    # are not None.
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
        raise ArtifactPathError(ascii(given), "is not a path: it cannot be encoded.")
    if not given or "\0" in given:
        raise ArtifactPathError(given, "is not a path.")
    return given


def _is_encodable(path: str) -> bool:
    """Whether the file system can have such a name."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def _check_basename(path: str, *, copied: bool) -> None:
    """Refuse what would not be an artifact where it lies, but a part of DVC or Git.

    Of the names that DVC refuses itself only a copy has to be refused here: one that is not
    cached would not come as far as DVC.
    """
    name = os.path.basename(path)
    if name in _READ_FILES or (
        copied and (name in _UNFIT_DIRS or name == "dvc.yaml" or name.endswith(".dvc"))
    ):
        raise ArtifactPathError(
            path,
            "has a name by which DVC and Git know their own files. Rename it.",
        )


def _check_utf8(path: str) -> None:
    if not is_utf8(path):
        raise ArtifactPathError(
            path, "has a name that is not UTF-8, as DVC's files have to be. Rename it."
        )


def _destination(source: str, artifacts_dir: str, copy: Any) -> str:
    """Where the copy goes: ``{dir}/artifacts[/{copy}]/<basename>``, never outside it."""
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
            or not _UNFIT_DIRS.isdisjoint(PurePath(below).parts)
        ):
            raise ArtifactPathError(
                source, f"cannot be copied to copy={copy!r}: name a directory below artifacts/."
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
    hint = (
        " Pass dir= with a directory inside of it."
        if request.copy
        else " Log a copy of it with copy=True."
    )
    return ArtifactPathError(request.path, f"is outside of the DVC repository '{root}'.{hint}")
