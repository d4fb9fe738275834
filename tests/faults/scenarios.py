"""Scenarios: what a session logs while it is killed. Plain values, sent to child processes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from points import Moment

Content = bytes | dict[str, "Content"]
"""The content of a path, as in ``invariants``."""

Files = dict[str, "bytes | None"]
"""Content by path below the repository; None: removed."""


@dataclass(frozen=True)
class Scenario:
    """A workspace, the calls that log in it, and their settings.

    A session that is not killed logs ``before``. Then the files in ``changes`` are written. Then a
    session logs ``calls`` together, and is killed.
    """

    name: str
    files: Files
    calls: tuple[dict[str, Any], ...]
    before: tuple[dict[str, Any], ...] = ()
    changes: Files = field(default_factory=dict)
    kind: str = "git"
    """The kind of repository (``twin.Templates``)."""
    config: str = ""
    """Text that is appended to .dvc/config."""
    renameat2: bool = True
    process_files: int | None = None
    """Number of files from which a directory is staged in batch processes."""
    versions: tuple[Content, ...] = ()
    """Contents that appear at ``submit``'s path one after the other; each is submitted at once.
    Until then they lie next to the repository, as ``version0`` and so on."""
    submit: dict[str, Any] = field(default_factory=dict)

    def destination(self, call: dict[str, Any]) -> str:
        source = str(call["path"])
        return f"dvclive/artifacts/{source}" if call.get("copy") else source

    def old(self, call: dict[str, Any]) -> Content | None:
        """Return the content of the destination when the session started."""
        if not call.get("copy"):
            return self.new(call)
        copied = [one["path"] for one in self.before if one.get("copy")]
        return content_of(self.files, call["path"]) if call["path"] in copied else None

    def new(self, call: dict[str, Any]) -> Content:
        return content_of({**self.files, **self.changes}, call["path"])


class Victims(Enum):
    """The processes that a kill ends. The value names them in the counts."""

    SESSION = "sessions"
    """``isolation="thread"``: the program, which does all the work."""
    PROGRAM = "programs with a worker process"
    """The program alone, while its worker process is at the moment."""
    ALL = "programs together with their worker processes"
    """The program, its worker process at the moment, and its batch processes."""


@dataclass(frozen=True)
class Job:
    """A session of AsyncLive in a child process.

    The session logs the calls of the scenario. If ``prepare`` is true, the child first logs
    ``before`` and makes the changes.
    """

    scenario: Scenario
    root: str
    backend: str
    prepare: bool = False
    count: bool = False
    victims: Victims = Victims.SESSION
    """Chooses the isolation of ``calls`` too. Without ``target`` nothing is killed."""
    target: Moment | None = None
    """The moment of the kill. With a worker process it is a moment of that."""
    held: str | None = None
    """A named pipe that the worker process waits for after it has killed the program."""
    batch_target: Moment | None = None
    """The moment at which each batch process kills itself."""
    alive: str | None = None
    """A named pipe that each helper process writes to when it starts, and keeps open."""


@dataclass
class Report:
    """The report of a child about its session; its parent adds how the child ended."""

    counts: Counter[str] = field(default_factory=Counter)
    died: str = ""
    log: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    status: dict[str, Any] | None = None
    """The result of ``dvc status`` at the end; empty if all is up to date."""
    signal: int = 0
    helpers: bytes = b""
    """The bytes that its worker and batch processes wrote to ``Job.alive``."""


def content_of(files: Files, path: str) -> Content:
    """Return the content that these files give a path."""
    file = files.get(path)
    if file is not None:
        return file
    root: dict[str, Content] = {}
    for name, data in files.items():
        if data is not None and name.startswith(f"{path}/"):
            *directories, last = name[len(path) + 1 :].split("/")
            here = root
            for directory in directories:
                inner = here.setdefault(directory, {})
                assert isinstance(inner, dict)
                here = inner
            here[last] = data
    return root


def filled(text: str, size: int) -> bytes:
    """Return ``size`` bytes without repetition."""
    line = 0
    parts = []
    while line * 16 < size:
        parts.append(f"{text:.6}{line:09}\n".encode().rjust(16))
        line += 1
    return b"".join(parts)[:size]


def _tree(path: str, text: str) -> Files:
    return {
        f"{path}/{name}": f"{text} {name}".encode() * 50
        for name in ("a", "b", "empty/deep/c", "sub/d", "sub/below/e")
    }


# Larger than a small file, which is read whole. The kernel copies it in several calls.
_LARGE = 2**20 + 300_000
_MODEL = {"path": "model.bin", "copy": True, "type": "model", "name": "m", "labels": ["l"]}
_DATA = {"path": "data", "copy": True, "type": "dataset", "meta": {"epoch": 1}}
_SMALL = {"path": "small.txt", "copy": True, "desc": "a small one"}
_HERE = {"path": "here.bin", "name": "here", "meta": {"a": [1, 2]}}
_SHARDS = {"path": "shards", "name": "shards"}
_KEPT = {"path": "kept.bin", "name": "kept", "type": "model"}

_FIRST = {
    "model.bin": filled("model1", _LARGE),
    **_tree("data", "one"),
    "data/large": filled("data1", _LARGE),
    "small.txt": b"small 1",
    "here.bin": filled("here1", _LARGE),
    **_tree("shards", "s1"),
    "kept.bin": b"kept",
    # The user's file. asynclive must keep every byte of it.
    "dvc.yaml": b"# theirs\nparams:\n- p.yaml\nartifacts:\n  theirs:   # kept\n    path: mine\n",
    "p.yaml": b"a: 1\n",
    "mine": b"not tracked",
}
_SECOND = {
    "model.bin": filled("model2", _LARGE + 1000),
    "data/a": b"two",
    "data/large": filled("data2", _LARGE - 100),
    "data/new/f": b"new",
    "data/b": None,
    "small.txt": b"small 2",
    "here.bin": filled("here2", _LARGE),
    "shards/a": b"s2",
    "shards/new": b"s2 new",
}
_ALL = (_MODEL, _DATA, _SMALL, _HERE, _SHARDS)
# The same artifacts, logged before with other entries.
_OLD_MODEL = {**_MODEL, "labels": ["old"]}
_OLD_DATA = {**_DATA, "meta": {"epoch": 0}}
_LINKS = "[cache]\n    type = symlink\n"

EVERYTHING = Scenario("everything", _FIRST, _ALL, (_KEPT, _OLD_MODEL, _OLD_DATA), _SECOND)

# A lock that does not use flock. DVC offers it for file systems without flock.
HARDLINK_LOCK = Scenario(
    "with hardlink_lock", _FIRST, (_SHARDS,), (_KEPT,), config="[core]\n    hardlink_lock = true\n"
)
IN_PROCESSES = Scenario(
    "in processes", _FIRST, (_DATA, _SHARDS, _SMALL, _HERE), (_KEPT,), process_files=3
)

SCENARIOS = (
    EVERYTHING,
    Scenario("file copied", _FIRST, (_MODEL,), (_KEPT,)),
    Scenario("directory copied", _FIRST, (_DATA,), (_KEPT,)),
    Scenario("copy of a file replaced", _FIRST, (_MODEL,), (_KEPT, _OLD_MODEL), _SECOND),
    Scenario("copy of a directory replaced", _FIRST, (_DATA,), (_KEPT, _OLD_DATA), _SECOND),
    Scenario("file in place", _FIRST, (_HERE,), (_KEPT,)),
    Scenario("directory in place", _FIRST, (_SHARDS,), (_KEPT,)),
    Scenario("all new together", _FIRST, _ALL, (_KEPT,)),
    Scenario("all again after changes", _FIRST, _ALL, (_KEPT, *_ALL), _SECOND),
    Scenario("in place, links", _FIRST, (_HERE, _SHARDS), (_KEPT,), config=_LINKS),
    Scenario("no DVC there yet", _FIRST, (_SMALL, _SHARDS), kind="bare-git"),
    IN_PROCESSES,
    Scenario(
        "replaced without renameat2",
        _FIRST,
        (_MODEL, _DATA),
        (_KEPT, _OLD_MODEL, _OLD_DATA),
        _SECOND,
        renameat2=False,
    ),
    Scenario(
        "links without renameat2",
        _FIRST,
        (_HERE, _SHARDS),
        (_KEPT,),
        config=_LINKS,
        renameat2=False,
    ),
)
