"""Translates OSErrors into the errors that the caller of an artifact gets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from .._errors import ArtifactChangedError, StorageError
from .._fs.paths import is_inside


@contextlib.contextmanager
def translate_os_errors(source: str) -> Iterator[None]:
    """Translate an OSError of the block into an error of the artifact read from ``source``.

    Raises:
        ArtifactChangedError: a file of the source vanished.
        StorageError: for any other OSError.
    """
    try:
        yield
    except FileNotFoundError as error:
        if isinstance(error.filename, str) and is_inside(error.filename, source):
            raise ArtifactChangedError(error.filename, "vanished") from error
        raise StorageError(source, error) from error
    except OSError as error:
        raise StorageError(source, error) from error
