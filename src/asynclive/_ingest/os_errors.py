"""Translates OSErrors into the errors that the caller of an artifact gets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from .._errors import ArtifactChangedError, StorageError
from .._fs.paths import is_inside


@contextlib.contextmanager
def translate_os_errors(source: str) -> Iterator[None]:
    """Translate an OSError of the block into an error of the artifact read from ``source``.

    If a file in a directory has changed, the error names the directory too.

    Raises:
        ArtifactChangedError: a file of the source vanished.
        StorageError: for any other OSError.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        if isinstance(error.filename, str) and is_inside(error.filename, source):
            vanished = ArtifactChangedError(error.filename, "vanished")
            raise _in_directory(vanished, source) from error
        raise StorageError(source, error) from error
    except OSError as error:
        raise StorageError(source, error) from error
    except ArtifactChangedError as error:
        raise _in_directory(error, source) from error.__cause__


def _in_directory(error: ArtifactChangedError, source: str) -> ArtifactChangedError:
    return error if error.path == source else error.in_directory(source)
