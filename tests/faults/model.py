"""Model which files must be on disk after any row of calls and outside changes; compare both."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from invariants import Content, content, entries, md5_of, named_objects
from session_process import Process

from asynclive import LoggedArtifact

# Runs DVC in a process of its own, which shares no memory with asynclive.
DVC = """
import json, os, sys
from dvc.repo import Repo

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # where DVC prints
for line in sys.stdin:
    root, command, *args = json.loads(line)
    os.chdir(root)
    with Repo(root) as repo:
        answer = getattr(repo, command)(*args)
    print(json.dumps(answer if command == "status" else None), file=answers, flush=True)
"""


class State(NamedTuple):
    """The state on disk of one artifact."""

    content: Content | None
    """The content of the tracked path; None: nothing is there."""
    md5: str | None = None
    """The MD5 in its ``.dvc`` file; None: there is no such file."""
    entry: dict[str, Any] | None = None


@dataclass(frozen=True)
class Slot:
    """An artifact that is logged again and again, in place or copied, as a file or a directory."""

    repo: Path
    name: str
    copy: bool | str

    @property
    def source(self) -> Path:
        return (self.repo.parent if self.copy else self.repo) / self.name

    @property
    def path(self) -> Path:
        if not self.copy:
            return self.source
        below = self.copy if isinstance(self.copy, str) else ""
        return self.repo / "dvclive" / "artifacts" / below / self.source.name

    @property
    def key(self) -> str:
        """The name of the artifact's entry."""
        return re.sub(r"\W", "-", self.name)

    @property
    def relpath(self) -> str:
        return self.path.relative_to(self.repo).as_posix()

    @property
    def dvc_file(self) -> str:
        return f"{self.relpath}.dvc"

    def found(self) -> State:
        """Read the artifact's state from the disk."""
        dvc_file = self.repo / self.dvc_file
        md5 = next(named_objects(self.repo, dvc_file))[0] if dvc_file.exists() else None
        return State(content(self.path), md5, entries(self.repo).get(self.key))


@dataclass
class Model:
    """The state that must be on disk: by slot, and the user's lines in dvc.yaml."""

    slots: list[Slot]
    sources: dict[Slot, Content | None] = field(default_factory=dict)
    states: dict[Slot, State] = field(default_factory=dict)
    by_hand: dict[str, Any] = field(default_factory=dict)
    """Entries of the user."""
    lines: list[str] = field(default_factory=list)
    """Comments and other lines of the user, in any order."""

    @property
    def repo(self) -> Path:
        return self.slots[0].repo

    def written(self, slot: Slot, new: Content | None) -> None:
        """Record that the user has written, or removed, the source of this slot."""
        self.sources[slot] = new
        if not slot.copy:
            self.states[slot] = self.states[slot]._replace(content=new)

    def logged(self, slot: Slot, values: dict[str, Any] | None) -> State:
        """Return the state once the slot is logged with these values; None: without an entry."""
        new = self.sources[slot]
        assert new is not None
        entry = self.states[slot].entry
        if values is not None:
            entry = {"path": slot.relpath, **values}
        return State(new, md5_of(new), entry)

    @property
    def removed(self) -> set[Path]:
        return {slot.path for slot, state in self.states.items() if state.content is None}

    @property
    def modified(self) -> set[str]:
        """The ``.dvc`` files that `dvc status` must name."""
        return {
            slot.dvc_file
            for slot, state in self.states.items()
            if state.md5 is not None
            and (state.content is None or md5_of(state.content) != state.md5)
        }

    def check(self) -> None:
        """Check that the disk holds the modelled state."""
        found = {slot: slot.found() for slot in self.slots}
        assert found == self.states
        assert {slot: content(slot.source) for slot in self.slots} == self.sources
        assert entries(self.repo) == {
            **self.by_hand,
            **{slot.key: state.entry for slot, state in found.items() if state.entry},
        }
        lines = read_dvcyaml(self.repo)
        assert [line for line in self.lines if lines.count(line) != 1] == []
        assert {path for path in self.repo.rglob(".gitignore") if ".dvc" not in path.parts} == {
            slot.path.parent / ".gitignore" for slot, state in found.items() if state.md5
        }
        for slot, state in found.items():
            gitignore = slot.path.parent / ".gitignore"
            ignored = gitignore.read_text().splitlines() if gitignore.exists() else []
            assert ignored.count(f"/{slot.path.name}") == (state.md5 is not None)


def check_result(slot: Slot, values: dict[str, Any] | None, new: State, result: Any) -> None:
    """Check that the result of the call matches the modelled state."""
    assert isinstance(result, LoggedArtifact), result
    assert (result.path, result.md5) == (slot.path, new.md5)
    assert result.dvc_file == slot.repo / slot.dvc_file
    assert result.meta == (values or {}).get("meta")
    sizes = [len(data) for data in _files(new.content)]
    assert (result.size, result.nfiles) == (sum(sizes), len(sizes))


def _files(of: Content | None) -> Iterator[bytes]:
    if isinstance(of, bytes):
        yield of
    else:
        for below in (of or {}).values():
            yield from _files(below)


def run_dvc(process: Process, repo: Path, command: str, *args: str) -> Any:
    """Run `dvc add`, `dvc remove` or `dvc status` in that process; return its answer."""
    answer = process.ask(json.dumps([str(repo), command, *args]))
    assert answer, f"dvc {command} {args} failed, see stderr"
    return json.loads(answer)


def read_dvcyaml(repo: Path) -> list[str]:
    path = repo / "dvc.yaml"
    return path.read_text().splitlines() if path.exists() else []


def write_dvcyaml(repo: Path, lines: list[str]) -> None:
    (repo / "dvc.yaml").write_text("".join(f"{line}\n" for line in lines))


def insert_entry(lines: list[str], name: str, entry: dict[str, Any]) -> None:
    """Insert an entry as the first of all artifacts."""
    if "artifacts:" not in lines:
        lines.append("artifacts:")
    at = lines.index("artifacts:") + 1
    lines[at:at] = [f"  {name}:", *(f"    {key}: {value}" for key, value in entry.items())]


def remove_entry(lines: list[str], name: str) -> None:
    """Delete the lines of an entry, and the key ``artifacts`` if it was the last one."""
    start = lines.index(f"  {name}:")
    stop = start + 1
    while stop < len(lines) and lines[stop].startswith("   "):
        stop += 1
    del lines[start:stop]
    if not any(re.match(r"  [^ #]", line) for line in lines):
        lines.remove("artifacts:")
