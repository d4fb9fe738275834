"""The tree of errors: it matches the docstring, and the messages say all that they must."""

from __future__ import annotations

import builtins
import copy
import errno
import inspect
import pickle
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynclive import _errors
from asynclive._errors import (
    ArtifactCancelledError,
    ArtifactChangedError,
    ArtifactConflictError,
    ArtifactNotFoundError,
    ArtifactPathError,
    AsyncLiveError,
    BackPressureError,
    CommitError,
    DvcYamlError,
    ExperimentError,
    FailedObject,
    InvalidArtifactNameError,
    InvalidDataTypeError,
    InvalidDvcyamlError,
    InvalidMetadataError,
    LockTimeoutError,
    NotActiveError,
    PushError,
    RemoteAccessError,
    RemoteNotFoundError,
    RemoteVerifyError,
    RepositoryError,
    RepositoryNotFoundError,
    ResourceLimitError,
    StorageError,
    WorkerDiedError,
)

# One error of each class, and a text that its message must contain.
EXAMPLES: list[tuple[AsyncLiveError, str]] = [
    (AsyncLiveError("all of them"), "all of them"),
    (NotActiveError("was left"), "was left"),
    (InvalidDataTypeError(7, int), "Data '7' has not supported type <class 'int'>"),
    (InvalidDvcyamlError("a/b.yaml"), "'a/b.yaml'"),
    (InvalidArtifactNameError("a b", " For example: 'a-b'."), "'a b'"),
    (InvalidMetadataError("meta['fn']", "is a function."), "meta['fn'] is a function."),
    (RepositoryError("/repo", "cannot be opened"), "cannot be opened"),
    (RepositoryNotFoundError("/repo"), "'/repo'"),
    (ArtifactPathError(Path("/a"), "is a socket."), "'/a' is a socket."),
    (ArtifactNotFoundError("/a"), "'/a' does not exist."),
    (ArtifactChangedError("/a", "vanished"), "'/a' vanished while"),
    (ArtifactConflictError("/a", "/b", "'/b' is first."), "Cannot log '/a': '/b' is first."),
    (ExperimentError("exp", "it exists"), "exp"),
    (BackPressureError("a.pt", "2 artifacts are pending"), "submit 'a.pt': 2 artifacts"),
    (ArtifactCancelledError("a.pt"), "'a.pt' was not logged: its handle was cancelled."),
    (LockTimeoutError(60.0), "60 s"),
    (DvcYamlError(Path("/dvc.yaml"), "is no mapping."), "'/dvc.yaml' is no mapping."),
    (StorageError("/a", OSError(errno.ENOSPC, "No space left", "/c")), "No space left ('/c')"),
    (CommitError("/a", "DVC says no."), "Cannot track '/a': DVC says no."),
    (ResourceLimitError(), "refuses another thread"),
    (
        WorkerDiedError("/a", "was killed by SIGKILL", -9),
        "was killed by SIGKILL. '/a' was in flight",
    ),
    (
        PushError("far", "no.", failed=[FailedObject("aa", "a.pt", "gone")]),
        "Cannot push to the remote 'far': no. Not pushed (1): 'a.pt' (aa): gone.",
    ),
    (RemoteNotFoundError(None, "there is no default remote."), "Cannot push: there is no"),
    (RemoteAccessError("far", "it refuses.", option="region"), "'far': it refuses."),
    (RemoteVerifyError("far", "the size differs."), "'far': the size differs."),
]
each = pytest.mark.parametrize(
    ("error", "named"), EXAMPLES, ids=[type(error).__name__ for error, _ in EXAMPLES]
)


def drawn_tree() -> Iterator[tuple[str, str, str | None]]:
    """Yield each error of the tree in the docstring: its name, its parent and its built-in base."""
    above: list[tuple[int, str]] = []
    for line in (_errors.__doc__ or "").splitlines():
        match = re.fullmatch(r" {4}([│├└─ ]*)(\w+Error)\b(.*)", line)
        if match is None:
            continue
        depth, name = len(match[1]), match[2]
        while above and above[-1][0] >= depth:
            above.pop()
        base = re.search(r"\((\w+)\)$", match[3])
        yield name, above[-1][1] if above else "Exception", base[1] if base else None
        above.append((depth, name))


def real_tree() -> Iterator[tuple[str, str, str | None]]:
    for name, error in vars(_errors).items():
        if inspect.isclass(error) and issubclass(error, AsyncLiveError):
            parent, *others = error.__bases__
            yield name, parent.__name__, others[0].__name__ if others else None


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    drawn = set(drawn_tree())
    assert ("ArtifactNotFoundError", "ArtifactPathError", "FileNotFoundError") in drawn
    # The drawing leaves RuntimeError out: callers have no reason to catch it.
    real = {
        (name, parent, None if base == "RuntimeError" else base)
        for name, parent, base in real_tree()
    }
    assert drawn == real


def test_each_error_has_an_example_here() -> None:
    assert {type(error).__name__ for error, _ in EXAMPLES} == {name for name, *_ in real_tree()}


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (NotActiveError, RuntimeError),
        (InvalidDataTypeError, TypeError),
        (InvalidDvcyamlError, ValueError),
        (InvalidArtifactNameError, ValueError),
        (InvalidMetadataError, ValueError),
        (ArtifactNotFoundError, FileNotFoundError),
        (LockTimeoutError, TimeoutError),
    ],
)
def test_an_error_can_be_caught_as_its_builtin_base(
    error: type[AsyncLiveError], builtin: type[Exception]
) -> None:
    assert issubclass(error, builtin)
    others = {base for base in error.__mro__ if base.__module__ == builtins.__name__}
    assert others == {*builtin.__mro__}


@each
def test_an_error_says_what_failed_and_on_what(error: AsyncLiveError, named: str) -> None:
    assert named in str(error)
    assert named in traceback.format_exception_only(type(error), error)[-1]
    assert str(error) == error.args[0]


@each
def test_the_path_of_an_error_is_a_str(error: AsyncLiveError, named: str) -> None:
    assert type(getattr(error, "path", "")) is str


def test_a_conflict_names_both_artifacts() -> None:
    error = ArtifactConflictError("/a", "/b", "why")
    assert (error.path, error.other) == ("/a", "/b")


def test_an_error_survives_pickling_and_copying() -> None:
    for error, _ in EXAMPLES:
        for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(same) is type(error)
            assert (str(same), vars(same)) == (str(error), vars(error))


def test_a_storage_error_keeps_the_errno() -> None:
    error = StorageError("/a", OSError(errno.EROFS, "Read-only file system"))
    assert error.errno == errno.EROFS
    assert "Read-only file system. " in str(error)


def test_a_storage_error_without_an_errno_has_the_text_of_the_cause() -> None:
    assert "odd failure" in str(StorageError("/a", OSError("odd failure")))
