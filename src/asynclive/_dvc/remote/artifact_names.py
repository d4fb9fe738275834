"""Finds the path of an artifact by its name in dvc.yaml, as ``dvc artifacts get`` names it."""

from __future__ import annotations

import os
import posixpath
from typing import Any

from ..._dvcyaml.document import Document, DocumentError, parse
from ..._errors import DvcYamlError

PROJECT_FILE = "dvc.yaml"


def find_named_path(root: str, name: str) -> str | None:
    """Return the absolute path of an artifact; None: there is no such entry.

    Args:
        root: the DVC repository.
        name: ``name`` for an entry of the dvc.yaml in ``root``, ``dir:name`` for one in ``dir``.

    Raises:
        DvcYamlError: the file cannot be read.
    """
    directory, _, entry_name = name.rpartition(":")
    if posixpath.basename(directory) == PROJECT_FILE:
        directory = posixpath.dirname(directory)
    base = os.path.normpath(os.path.join(root, *directory.split("/")))
    path = os.path.join(base, PROJECT_FILE)
    try:
        with open(path, encoding="utf-8", newline="") as file:
            entry = _entry_of(parse(file.read()), entry_name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, DocumentError, UnicodeDecodeError) as error:
        raise DvcYamlError(path, str(error)) from error
    target = entry.get("path") if isinstance(entry, dict) else None
    if not isinstance(target, str):
        return None
    return os.path.normpath(os.path.join(base, *target.split("/")))


def _entry_of(document: Document, name: str) -> Any:
    if name not in document.unparsed or document.pieces is None:
        return document.entries.get(name)
    # Thousands of entries are not parsed, so parse the lines of this one.
    return parse(f"artifacts:\n{document.pieces.lines(name)}").entries.get(name)
