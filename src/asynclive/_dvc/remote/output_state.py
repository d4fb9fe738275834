"""OutputState: the state of an output of DVC for a push."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..._index.dvc_file_reader import DvcFileOutput
from .remote_description import LEGACY_HASH_NAME


class FileState(NamedTuple):
    """A file that an output names itself, as of a cloud-versioned remote."""

    key: str
    """Its path in the output, with slashes; empty if the output is the file."""
    md5: str
    size: int
    remote: str | None
    version: str | None


class OutputState(NamedTuple):
    """The state of an output for a push, read while no other thread uses DVC."""

    path: str
    md5: str
    dvc_file: str
    """The file that declares it."""
    size: int | None = None
    """Of a file. None: it is unknown, or the output is a directory."""
    remote: str | None = None
    """The remote that its ``.dvc`` file names."""
    is_legacy: bool = False
    files: tuple[FileState, ...] = ()
    """The files that it names, if it has been in a cloud-versioned remote."""

    @property
    def isdir(self) -> bool:
        return self.md5.endswith(".dir")


def state_of(output: Any) -> OutputState | None:
    """Return the state of an output; None: ``dvc push`` does not push it."""
    if isinstance(output, DvcFileOutput):
        size = None if output.md5.endswith(".dir") else output.size
        return OutputState(output.fs_path, output.md5, output.stage.path, size)
    if not (output.is_in_repo and output.use_cache and output.can_push and output.hash_info):
        return None
    stage = output.stage
    # dvc import: another repository has it. import-url of a versioned object: its source has it.
    if stage.is_repo_import or stage.is_versioned_import:
        return None
    md5: str = output.hash_info.value
    return OutputState(
        output.fs_path,
        md5,
        stage.path,
        None if output.hash_info.isdir else output.meta.size,
        output.remote,
        output.hash_name == LEGACY_HASH_NAME,
        _files_of(output),
    )


def _files_of(output: Any) -> tuple[FileState, ...]:
    """Return the files that an output names itself."""
    if output.files is not None:
        return tuple(
            FileState(
                file["relpath"],
                file["md5"],
                file.get("size", -1),
                file.get("remote"),
                file.get("version_id"),
            )
            for file in output.files
        )
    meta = output.meta
    if output.hash_info.isdir or meta.version_id is None:
        return ()
    return (FileState("", output.hash_info.value, meta.size, meta.remote, meta.version_id),)
