"""Translates errors on reading, merging and writing dvc.yaml into DvcYamlError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from .._errors import DvcYamlError
from .async_files import NotSyncedError
from .document import DocumentError


@contextmanager
def translate_dvcyaml_errors(path: str) -> Iterator[None]:
    """Raise errors of the block as DvcYamlError, with the cause and what the user can do."""
    fail = partial(DvcYamlError, path)
    try:
        yield
    except DocumentError as error:
        raise fail(f"{error} Repair the file, then log again.") from error
    except UnicodeDecodeError as error:
        raise fail(
            f"is not UTF-8 (at byte {error.start}). Save it as UTF-8, then log again."
        ) from error
    except IsADirectoryError as error:
        raise fail(
            "is a directory. Move it away, or pass another dvcyaml= ('sub/dvc.yaml')."
        ) from error
    except PermissionError as error:
        raise fail(
            f"cannot be read and replaced: {error.strerror}. The file must be readable, and "
            "its directory writable. Change their permissions, then log again."
        ) from error
    except NotSyncedError as error:
        raise fail(
            f"is written, but it may not be on the disk: {error.__cause__}. Fix the cause, then "
            "log again."
        ) from error.__cause__
    except OSError as error:
        raise fail(
            f"cannot be read and replaced: {error.strerror or error}. The file is unchanged. "
            "Fix the cause, then log again."
        ) from error
