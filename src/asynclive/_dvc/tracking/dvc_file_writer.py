"""Writes .dvc files to a temp path, then renames them: a crash leaves the old or the new file."""

from __future__ import annotations

import itertools
import os
from typing import Any

from ..._cache.cache_layout import CacheLayout
from ..._errors import ArtifactPathError
from ..._fs.file_io import remove_file, write_new
from ..._fs.safe_open import open_beneath
from ..._index.dvc_file_text import DvcText, is_plain
from ..._workspace.replace_in_place import replace_file
from .commit_undo import DvcFileReplaced, TempWritten, UndoStep


class DvcFiles:
    """Writes the .dvc files of one repository, while its lock is held."""

    def __init__(self, layout: CacheLayout) -> None:
        from dvc.utils.serialize import dumps_yaml

        self._layout = layout
        self._text = DvcText(dumps_yaml)
        self._numbers = itertools.count()

    def write_temp(self, stage: Any, before: Any, undo: list[UndoStep]) -> str:
        """Write the text of the .dvc file (``Stage.dump``) to a temp file; return its path.

        DVC writes into the file itself, so that a crash may leave half of it.

        Args:
            stage: DVC's ``Stage``.
            before: the stage as data (``dumpd``) when its file was written or read last; None:
                there is no such file.
            undo: gets a step for the temp file.
        """
        from dvc.stage.serialize import to_single_stage_file

        text = self._text.update(before, stage._stage_text, stage.dumpd())
        if text is None:
            text = self._text.dump(to_single_stage_file(stage))
        _check_names_survive_yaml(stage, text)
        stage._stage_text = text  # as if DVC had read the file
        try:
            mode = os.stat(stage.path).st_mode & 0o777
        except FileNotFoundError:
            mode = 0o666 & ~self._layout.umask
        temp = self._write_temp(text.encode(), mode)
        undo.append(TempWritten(temp))
        return temp

    def replace(self, dvc_file: str, temp: str, undo: list[UndoStep]) -> None:
        """Replace the .dvc file by the temp file."""
        before = _read(dvc_file)
        with open_beneath(dvc_file, self._layout.root) as at:
            replace_file(temp, dvc_file, at, self._layout.sync)
            undo.append(DvcFileReplaced(dvc_file, before))

    def restore(self, dvc_file: str, content: bytes | None) -> None:
        """Give a .dvc file its old bytes back; None: it did not exist."""
        if content is None:
            remove_file(dvc_file)
            return
        temp = self._write_temp(content, os.stat(dvc_file).st_mode & 0o777)
        try:
            with open_beneath(dvc_file, self._layout.root) as at:
                replace_file(temp, dvc_file, at, self._layout.sync)
        finally:
            remove_file(temp)

    def _write_temp(self, content: bytes, mode: int) -> str:
        temp = f"{self._layout.workspace_tmp}{os.sep}dvc-{next(self._numbers)}"
        try:
            # No other user can open the directory of temp files.
            write_new(temp, content, mode, sync=self._layout.sync)
        except BaseException:
            remove_file(temp)
            raise
        return temp


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _check_names_survive_yaml(stage: Any, text: str) -> None:
    """Refuse a name that is a different one when DVC reads it from the .dvc file."""
    from dvc.utils.serialize import parse_yaml

    names = [output.def_path for output in stage.outs]
    if all(map(is_plain, names)):
        return
    for output, entry in zip(stage.outs, parse_yaml(text, stage.path)["outs"], strict=True):
        if entry["path"] != output.def_path:
            raise ArtifactPathError(
                output.fs_path,
                "has a name that YAML does not preserve: it has a control character, or several "
                "spaces in a row in a long name. Rename it.",
            )
