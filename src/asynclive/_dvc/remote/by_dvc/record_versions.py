"""Writes the versions of files in a cloud-versioned remote into ``.dvc`` files, as DVC does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from logging import getLogger
from typing import Any, NamedTuple

from ...._artifact.push_records import PushUnit

logger = getLogger(__name__)


class RecordedOutput(NamedTuple):
    """An output whose files are all in the remote."""

    path: str
    md5: str
    """As of the push: an output that has changed since is left alone."""
    dvc_file: str
    scheme: str
    """The scheme of the remote."""
    infos: Mapping[str, Mapping[str, Any]]
    """By the path of a file, relative to the repository: the report of the remote about it."""

    @classmethod
    def of(cls, unit: PushUnit, found: Mapping[str, Mapping[str, Any]]) -> RecordedOutput:
        """Return the output of a unit.

        Args:
            unit: the unit.
            found: the reports about its files, by path.
        """
        md5 = (unit.listing or unit.objects[0]).md5
        infos = {obj.path: found[obj.path] for obj in unit.objects}
        return cls(unit.path, md5, unit.dvc_file, unit.remote.scheme, infos)


def record_versions(repo: Any, remote: str, outputs: Sequence[RecordedOutput]) -> None:
    """Write versions into ``.dvc`` files and dvc.lock (``dvc.repo.push._update_meta``).

    The caller holds DVC's lock and ``dvc_guard``.

    Args:
        repo: DVC's ``Repo``.
        remote: the name of the remote.
        outputs: the outputs.
    """
    from dvc.repo.index import Index
    from dvc.repo.worktree import _merge_push_meta

    for dvc_file in dict.fromkeys(output.dvc_file for output in outputs):
        if not os.path.exists(dvc_file):
            continue
        wanted = {output.path: output for output in outputs if output.dvc_file == dvc_file}
        for stage in Index.from_file(repo, dvc_file).stages:
            changed = False
            for out in stage.outs:
                output = wanted.get(out.fs_path)
                if output is None or out.hash_info.value != output.md5:
                    continue
                if out.hash_info.isdir != out.isdir():  # DVC merges what the workspace has
                    logger.warning(
                        "The versions of '%s' in the remote '%s' are not recorded, because the "
                        "workspace does not have it. Run 'dvc checkout', then push again.",
                        output.path,
                        remote,
                    )
                    continue
                _forget_versions(out)
                _merge_push_meta(out, _index_of(out, output), remote)
                changed = True
            if changed:
                stage.dump(with_files=True, update_pipeline=False)


def _forget_versions(out: Any) -> None:
    """Remove the versions of an output. DVC would keep those that are gone from the remote."""
    if out.hash_info.isdir:
        out.obj = out.get_obj()
        for _, meta, _ in out.obj:
            if meta is not None:
                meta.version_id = None
    else:
        out.meta.version_id = None


def _index_of(out: Any, output: RecordedOutput) -> Any:
    """Return DVC's index of an output in the remote (``dvc.repo.push._rebuild``)."""
    from dvc_data.hashfile.meta import Meta
    from dvc_data.index import DataIndex, DataIndexEntry

    index = DataIndex()
    _, start = out.index_key
    directories = {start} if out.hash_info.isdir else set()
    for path, info in output.infos.items():
        key = tuple(path.split(os.sep))
        directories |= {key[:end] for end in range(len(start), len(key)) if end > 0}
        index.add(DataIndexEntry(key=key, meta=Meta.from_info(info, output.scheme)))
    for key in directories:
        index.add(DataIndexEntry(key=key, meta=Meta(isdir=True)))
    return index
