"""Random artifacts: their content, how they are logged, and how they change in between.

Hypothesis draws them as data only; ``Example.build`` creates the files in a repository.
"""

from __future__ import annotations

import datetime
import os
import random
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from hypothesis import strategies as st

from asynclive._stage.stage_job import SMALL_BYTES

_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-/_]*[a-zA-Z0-9])?")


@dataclass(frozen=True)
class File:
    seed: int
    """Files with the same seed and size have the same bytes."""
    size: int
    mode: int

    def write(self, path: Path) -> None:
        """Write a new file and rename it, so that a link at ``path`` is not written through."""
        fresh = path.with_name("fresh file")
        fresh.write_bytes(random.Random(self.seed).randbytes(self.size))
        fresh.chmod(self.mode)
        fresh.replace(path)


@dataclass(frozen=True)
class Link:
    """A symlink to an earlier file of the tree, to a neighbour of the tree, or out of the repo."""

    to: str
    absolute: bool = False


@dataclass(frozen=True)
class HardLink:
    """Another name for the first file of the tree."""


Node = File | Link | HardLink | None
"""None: an empty directory."""


@dataclass(frozen=True)
class Call:
    values: dict[str, Any]
    change: str
    """The change before the call: "nothing", "replaced", "added" or "removed"."""


@dataclass(frozen=True)
class Rules:
    """What the examples leave out, because DVC's result is not deterministic or is not copied."""

    cache_type: str | None

    @property
    def links(self) -> bool:
        # With a hard-linked cache, DVC makes the target of a symlink an object of the cache, and
        # the target of an untracked hard link too: test_beyond_dvclive.py.
        return "hardlink" not in (self.cache_type or "")

    @property
    def alike(self) -> bool:
        # If several new files have the same bytes, one becomes the object and the others stay as
        # they are. With DVC it is the last one in the order in which the file system lists them.
        return self.cache_type != "hardlink,copy"

    def allowed(self, file: File, number: int, index: int) -> File:
        if not self.alike:
            return replace(file, seed=100 * (number + 1) + index, size=file.size + 8)
        if self.cache_type not in (None, "copy") and file.mode & 0o111:
            # A link to an executable makes its object executable. If DVC finds the same bytes
            # elsewhere, it takes the mode back, from the executable too; asynclive does not.
            return replace(file, seed=100 * (number + 1) + file.seed, size=file.size + 8)
        return file


@dataclass(frozen=True)
class Example:
    base: str
    suffix: str
    tree: dict[str, Node]
    """Nodes by path; ``{"": node}`` if the artifact is not a directory."""
    named: bool
    calls: tuple[Call, ...]
    gitignore: str | None
    dvcignore: str | None

    def directory(self, number: int) -> str:
        return f"x{number}"

    def path(self, number: int) -> str:
        return f"{self.directory(number)}/{self.base}-{number}{self.suffix}"

    def values(self, number: int, call: Call) -> dict[str, Any]:
        """Return the arguments, with a name if the path gives none or one that is not unique.

        DVCLive warns then and leaves the entry out: test_artifact_names.py.
        """
        stem = Path(self.path(number)).stem
        if self.named or not (_NAME.fullmatch(stem) and stem.endswith(f"-{number}")):
            return {**call.values, "name": f"name-{number}"}
        return call.values

    def build(self, repo: Path, number: int, rules: Rules) -> None:
        root = repo / self.directory(number)
        root.mkdir()
        outside = repo.parent / "outside" / str(number)
        for place in (outside, root / "neighbour"):
            (place / "dir").mkdir(parents=True)
            (place / "dir" / "a").write_text("a")
            (place / "file").write_text(place.name)
        for name, text in ((".gitignore", self.gitignore), (".dvcignore", self.dvcignore)):
            if text is not None:
                (root / name).write_bytes(text.encode())
        path = repo / self.path(number)
        first: Path | None = None
        if "" not in self.tree:
            path.mkdir()
        for index, (name, node) in enumerate(self.tree.items()):
            place = path / name if name else path
            place.parent.mkdir(parents=True, exist_ok=True)
            if node is None:
                place.mkdir()
            elif isinstance(node, Link) and rules.links:
                kind, _, rest = node.to.partition("/")
                target = {"outside": outside, "neighbour": root / "neighbour", "in": path}[
                    kind
                ] / rest
                os.symlink(
                    target if node.absolute else os.path.relpath(target, place.parent), place
                )
            elif isinstance(node, HardLink) and first is not None and rules.links:
                os.link(first, place)
            else:
                file = node if isinstance(node, File) else File(9, 3, 0o644)
                rules.allowed(file, number, index).write(place)
                first = first or place

    def change(self, repo: Path, number: int, call: Call, rules: Rules) -> None:
        path = repo / self.path(number)
        files = [name for name, node in self.tree.items() if isinstance(node, File)]
        if call.change == "replaced" and files:
            file = rules.allowed(File(7, 20, 0o755), number, 98)
            file.write(path / files[0] if files[0] else path)
        elif call.change == "added" and "" not in self.tree:
            (path / "added").mkdir(exist_ok=True)
            rules.allowed(File(8, 20, 0o644), number, 99).write(path / "added" / "file")
        elif call.change == "removed" and "" not in self.tree:
            targets = {node.to for node in self.tree.values() if isinstance(node, Link)}
            for name in [name for name in files if f"in/{name}" not in targets][:1]:
                (path / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class Batch:
    """Examples that share a repository and a session."""

    examples: tuple[Example, ...]
    cache_type: str | None
    dir: str

    @property
    def rules(self) -> Rules:
        return Rules(self.cache_type)


# Without names that DVC or Git use themselves.
_ODD = [
    *("a", "b.txt", "a.txt", "x.tmp", "sub", "deep", ".hidden", ".gitkeep", "é", "e\u0301", "模型"),
    *(
        "*",
        "?[a]",
        "!x",
        "#y",
        "- z",
        "a: b",
        "'\"$\\",
        " lead",
        "trail ",
        "dot.",
        "a\nb",
        "~",
        "%s",
    ),
    *("${a}", "{b}", "@", "&", "=", "null", "1", "-", "n" * 200, "\t", "a\\", "[", "\u2028", "A"),
]
_names = st.sampled_from(_ODD) | st.text("ab #!*\\é.-", min_size=1, max_size=6).filter(
    lambda name: name not in (".", "..") and not name.endswith(".dvc")
)
_sizes = st.sampled_from([0, 1, 1, 5, 5, 40, 300, 5000]) | st.integers(0, 100).flatmap(
    # Around the size from which a file is staged alone; rarely, since such files take long.
    lambda n: st.just(SMALL_BYTES + n - 1 if n < 3 else n)
)
_modes = st.sampled_from([0o644, 0o644, 0o755, 0o444, 0o600, 0o640, 0o700, 0o555])
_files = st.builds(File, st.integers(0, 3), _sizes, _modes)
_links = st.builds(
    Link,
    st.sampled_from(["neighbour/file", "neighbour/dir", "outside/file", "outside/dir"]),
    st.booleans(),
)


@st.composite
def _trees(draw: st.DrawFn) -> dict[str, Node]:
    if draw(st.integers(0, 3)) == 0:
        return {"": draw(_files)}
    tree: dict[str, Node] = {}
    directories: set[str] = set()
    ways = draw(st.lists(st.lists(_names, min_size=1, max_size=3), max_size=7))
    for way in ways:
        name = "/".join(way)
        above = {str(path) for path in PurePosixPath(name).parents} - {"."}
        if name in tree or name in directories or not above.isdisjoint(tree):
            continue
        directories |= above
        kind = draw(st.integers(0, 11))
        files = [known for known, node in tree.items() if isinstance(node, File)]
        if kind == 0:
            tree[name] = None
        elif kind == 1:
            tree[name] = draw(_links)
        elif kind == 2 and files:
            tree[name] = Link(f"in/{draw(st.sampled_from(files))}", draw(st.booleans()))
        elif kind == 3 and files:
            tree[name] = HardLink()
        else:
            tree[name] = draw(_files)
    return tree


# Without "$": DVCLive writes "${" as it is, and DVC takes it for a template. The only line break
# is "\n": DVCLive does not preserve the others.
_texts = st.text("ab:é#-'\"{}[],&*!|>%@`\\ \n\t~模😀=?.01", max_size=12) | st.lists(
    st.sampled_from(["word", "a: b", "# c", "-", "longer words", "é", "1"]), max_size=40
).map(" ".join)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | _texts
    | st.dates()
    | st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1))
)
_keys = _texts | st.integers(-5, 5) | st.sampled_from(["null", "yes", "1", "<<", "=", ""])
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=6,
)
_arguments = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["model", "dataset", "", "other kind"]) | _texts,
        "desc": _texts,
        "labels": st.lists(_texts, max_size=3),
        "meta": st.dictionaries(_keys, _values, max_size=3),
        "copy": st.booleans(),
        "cache": st.sampled_from([True, True, True, False]),
    },
)
_calls = st.builds(
    Call, _arguments, st.sampled_from(["nothing", "nothing", "replaced", "added", "removed"])
)
_examples = st.builds(
    Example,
    # A path has no "$": DVCLive writes "${" into dvc.yaml as it is.
    base=_names.filter(lambda name: len(name) < 100 and "$" not in name),
    suffix=st.sampled_from(["", "", ".bin", ".pt", ".tar.gz", " "]),
    tree=_trees(),
    named=st.booleans(),
    calls=st.lists(_calls, min_size=1, max_size=3).map(tuple),
    gitignore=st.sampled_from([None, None, "# mine\n", "no-line-end", "*.log\n\n", "a\r\nb\r\n"]),
    dvcignore=st.sampled_from([None, None, None, "*.tmp\n", "sub/\n", "*.txt\n!a.txt\n"]),
)


def batches(size: int) -> st.SearchStrategy[Batch]:
    return st.builds(
        Batch,
        st.lists(_examples, min_size=size, max_size=size).map(tuple),
        st.sampled_from(
            [None, None, "copy", "symlink", "hardlink", "hardlink,copy", "reflink,symlink"]
        ),
        st.sampled_from(["dvclive", "runs/a"]),
    )
