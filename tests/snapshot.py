"""A repository as lines of text, complete and free of its own path, so that twins can be compared.

Left out, by name, and why:

- ``.git``: but for its configuration; its index and status are asked of Git.
- ``.dvc/tmp``: locks and DVC's own scratch.
- ``{dir}/metrics.json``, ``params.yaml``, ``report.md``, ``report.html``: DVCLive's other work,
  which asynclive does not do; in ``dvc.yaml`` the ``metrics`` and ``params`` that name them;
  and ``{dir}`` itself where it is empty then, because DVCLive makes it in any case.
- a ``dvc.yaml`` that holds nothing then: DVCLive writes one although nothing is annotated.
- directories of the cache that hold no object: DVC makes them with the first one, asynclive on
  entering, because it tries there which links work.
- mtimes, unless asked for: where ``cache.type`` allows it, asynclive leaves a file where DVC
  puts a fresh copy of the same bytes.
- the cache, when asked for: an artifact that was refused may leave objects that nothing names.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference import Reference
from ruamel.yaml import YAML
from twin import git, is_old

_EXTRAS = ("metrics.json", "params.yaml", "report.md", "report.html")
_SHOWN_BYTES = 100


@dataclass(frozen=True)
class Snapshot:
    lines: list[str]
    stale_links: set[str]
    """Paths that changed since DVC remembered linking them. Apart from the lines, because
    asynclive may leave fewer of them: it leaves more files alone."""


def take_snapshot(
    base: Path,
    *,
    root: Path,
    dvc_root: Path,
    live_dir: str,
    mtimes: bool,
    cache: bool,
    reference: Reference,
) -> Snapshot:
    """Return ``base`` as lines: its tree, then what Git and DVC say.

    ``root`` is where the library worked, ``dvc_root`` where the DVC repository is.
    """
    tree = _Tree(base, root, live_dir, mtimes=mtimes)
    if not cache:
        tree.drop(dvc_root / ".dvc" / "cache")
    lines = list(tree.lines())
    # The tree comes first: asking DVC may touch modes of the cache.
    if (base / "repo" / ".git").is_dir():
        lines += _git_lines(base / "repo", tree)
    facts = reference.facts(dvc_root)
    lines += _data_lines("dvc status", facts.status)
    lines += [f"dvc link state: {path!r}" for path in sorted(facts.links)]
    return Snapshot(lines, {path for path, state in facts.links.items() if state == "stale"})


class _Tree:
    def __init__(self, base: Path, root: Path, live_dir: str, *, mtimes: bool) -> None:
        self._base = base
        self._mtimes = mtimes
        self._live_dir = Path(os.path.normpath(root / live_dir))
        self.extras = {self._live_dir / name for name in _EXTRAS}
        self._paths = list(self._walk(base))
        self._yaml = {
            path: data
            for path in self._paths
            if path.name == "dvc.yaml" and (data := self._load_yaml(path)) is not None
        }
        self.dropped = self.extras | {path for path, data in self._yaml.items() if not data}
        self._drop_empty_live_dir(root)
        self._drop_empty_cache_dirs()
        self._first: dict[int, Path] = {}
        # Cache objects first: a workspace file is then said to be the object, not the reverse.
        for path in sorted(self._paths, key=lambda path: ("files" not in path.parts, path)):
            if path.is_file() and not path.is_symlink():
                self._first.setdefault(path.stat().st_ino, path)

    def _walk(self, directory: Path) -> Iterator[Path]:
        for path in sorted(directory.iterdir()):
            if path.name == "tmp" and directory.name == ".dvc":
                continue
            if path.name == ".git":
                yield path / "config"
                continue
            yield path
            if path.is_dir() and not path.is_symlink():
                yield from self._walk(path)

    def _drop_empty_live_dir(self, root: Path) -> None:
        directory = self._live_dir
        while directory != root and root in directory.parents:
            if directory not in self._paths or any(
                path.parent == directory and path not in self.dropped for path in self._paths
            ):
                break
            self.dropped.add(directory)
            directory = directory.parent

    def _drop_empty_cache_dirs(self) -> None:
        for path in reversed(self._paths):
            if (
                path.is_dir()
                and {path.name, path.parent.name} & {"cache", "files"}
                and all(below in self.dropped for below in path.iterdir())
            ):
                self.dropped.add(path)

    def _load_yaml(self, path: Path) -> Any:
        try:
            data = YAML(typ="safe").load(path.read_text()) or {}
        except Exception:
            return None
        for key in ("metrics", "params"):
            kept = [
                item
                for item in data.get(key, [])
                if not isinstance(item, str)
                or Path(os.path.normpath(path.parent / item)) not in self.extras
            ]
            if kept:
                data[key] = kept
            else:
                data.pop(key, None)
        return data

    def drop(self, directory: Path) -> None:
        self.dropped |= {path for path in self._paths if directory in (path, *path.parents)}

    def lines(self) -> Iterator[str]:
        for path in self._paths:
            if path not in self.dropped:
                yield from self._entry(path)

    def _entry(self, path: Path) -> Iterator[str]:
        name = str(path.relative_to(self._base))
        info = path.lstat()
        mode = f"{stat.S_IMODE(info.st_mode):04o}"
        if stat.S_ISLNK(info.st_mode):
            yield f"{name!r}: symlink to {self._relative(os.readlink(path))!r}"
        elif stat.S_ISDIR(info.st_mode):
            yield f"{name!r}: directory {mode}{self._mtime(path, info)}"
        elif not stat.S_ISREG(info.st_mode):
            yield f"{name!r}: special {stat.S_IFMT(info.st_mode):o}"
        else:
            first = self._first[info.st_ino]
            links = f" links={info.st_nlink}" if info.st_nlink > 1 else ""
            if first != path:
                links += f" same as {str(first.relative_to(self._base))!r}"
            yield f"{name!r}: file {mode}{links}{self._mtime(path, info)}"
            if path in self._yaml:
                yield from _data_lines(f"  {name}", self._yaml[path])
            else:
                yield from (f"  {name}: {line}" for line in self._content(path))

    def _mtime(self, path: Path, info: os.stat_result) -> str:
        if not self._mtimes or self._live_dir not in path.parents:
            return ""
        return f" mtime={info.st_mtime:.0f}" if is_old(info.st_mtime) else " mtime=now"

    def _content(self, path: Path) -> Iterator[str]:
        data = path.read_bytes()
        if len(data) > _SHOWN_BYTES and not path.name.endswith((".dvc", ".dir", ".gitignore")):
            yield f"{len(data)} bytes, SHA-1 {hashlib.sha1(data).hexdigest()}"
            return
        data = data.replace(os.fsencode(self._base), b"<base>")
        for line in data.splitlines(keepends=True):
            yield repr(line)

    def _relative(self, target: str) -> str:
        return target.replace(str(self._base), "<base>")


def _git_lines(repo: Path, tree: _Tree) -> Iterator[str]:
    dropped = {str(path.relative_to(repo)) for path in tree.dropped if repo in path.parents}
    status = git(repo, "status", "--porcelain", "--ignored", "--untracked-files=all", "-z")
    for line in sorted(status.split("\0")):
        if line and line[3:] not in dropped and ".dvc/tmp/" not in line:
            yield f"git status: {line!r}"
    for line in git(repo, "ls-files", "--stage", "-z").split("\0"):
        if line:
            yield f"git index: {line!r}"


def _data_lines(title: str, data: Any) -> Iterator[str]:
    text = json.dumps(_ordered(data), indent=1, default=repr, ensure_ascii=False)
    yield from (f"{title}: {line}" for line in text.splitlines())


def _ordered(data: Any) -> Any:
    """Mappings are compared without their order, and with the types of their keys."""
    if isinstance(data, dict):
        return {repr(key): _ordered(data[key]) for key in sorted(data, key=repr)}
    if isinstance(data, list):
        return [_ordered(item) for item in data]
    return data
