"""Set up repositories before anything is logged."""

from __future__ import annotations

import configparser
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from case import Do, Log

Setup = Callable[[Path], object]


def files(
    contents: dict[str, str | bytes], *, exec: tuple[str, ...] = (), read_only: tuple[str, ...] = ()
) -> Setup:
    """Write files by path below the repository; a path that ends in ``/`` is an empty directory."""

    def setup(repo: Path) -> None:
        for name, content in contents.items():
            path = repo / name
            if name.endswith("/"):
                path.mkdir(parents=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        for name in exec:
            (repo / name).chmod(0o755)
        for name in read_only:
            (repo / name).chmod(0o444)

    return setup


def links(targets: dict[str, str], *, absolute: bool = False) -> Setup:
    """Make symlinks by path; ``absolute`` makes the targets absolute, from the repository."""

    def setup(repo: Path) -> None:
        for name, target in targets.items():
            (repo / name).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(str(repo / target) if absolute else target, repo / name)

    return setup


def config(section: str, dvc_root: str = ".", **options: str) -> Setup:
    """Set options in ``.dvc/config``."""

    def setup(repo: Path) -> None:
        path = repo / dvc_root / ".dvc" / "config"
        parser = configparser.RawConfigParser()
        parser.read(path)
        if not parser.has_section(section):
            parser.add_section(section)
        for name, value in options.items():
            parser.set(section, name, value)
        with path.open("w") as file:
            parser.write(file)

    return setup


def cache_type(kind: str) -> Setup:
    return config("cache", type=kind)


def both(*setups: Setup) -> Setup:
    """Run these setups one after the other."""

    def setup(repo: Path) -> None:
        for each in setups:
            each(repo)

    return setup


def remove(*names: str) -> Setup:
    """Remove files and directories; an object in the cache keeps its own name."""

    def step(repo: Path) -> None:
        for name in names:
            path = repo / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    return step


def replace(contents: dict[str, str | bytes]) -> Setup:
    """Replace files, as a program does that saves and renames."""

    def step(repo: Path) -> None:
        for name, content in contents.items():
            fresh = repo / f"{name}.fresh"
            fresh.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(content.encode() if isinstance(content, str) else content)
            fresh.replace(repo / name)

    return step


def noise(count: int, seed: int = 0) -> bytes:
    """Return ``count`` bytes that do not compress, the same in each run."""
    return random.Random(seed).randbytes(count)


NESTED: dict[str, str | bytes] = {
    "data/a.txt": "a\n",
    "data/b.bin": b"\x00\xff" * 40,
    "data/sub/c.txt": "c\n",
    "data/sub/deep/d.txt": "d\n",
    "data/z": "no newline",
}
"""A directory with subdirectories."""

MODEL = files({"model.bin": "weights\n"})
"""One file."""

FILES = files({"model.bin": "weights\n", "run.sh": "#!\n"}, exec=("run.sh",))
"""A file and an executable one."""

TREE = both(FILES, files(NESTED))
"""Two files and a directory."""

ALL = (
    Log("model.bin", type="model"),
    Log("run.sh", copy=True),
    Log("data", type="dataset"),
    Do(replace({"data/sub/c.txt": "changed"})),
    Log("data/sub/c.txt"),
    Log("data", copy=True),
)
"""A file in place, an executable copied, a directory, a file inside, a directory copied."""
