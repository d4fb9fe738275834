"""A directory as a remote of a repository, and sessions that push to it."""

from __future__ import annotations

import hashlib
from pathlib import Path


class DirectoryRemote:
    """A directory next to a repository, which DVC knows as a remote.

    Args:
        repo: the repository.
        name: the name of the remote.
        default: whether it is the default remote.
    """

    def __init__(self, repo: Path, name: str = "store", *, default: bool = True) -> None:
        self.path = repo.with_name(f"{repo.name}-{name}")
        with (repo / ".dvc" / "config").open("a") as config:
            if default:
                config.write(f"[core]\n    remote = {name}\n")
            config.write(f"['remote \"{name}\"']\n    url = {self.path}\n")

    @property
    def objects(self) -> dict[str, bytes]:
        """The objects by MD5. Each must have the bytes that its name promises."""
        directory = self.path / "files" / "md5"
        found = {}
        for path in directory.glob("??/*"):
            name = path.parent.name + path.name
            found[name] = path.read_bytes()
            assert hashlib.md5(found[name]).hexdigest() == name.removesuffix(".dir")
        return found

    def has_listing(self) -> bool:
        return any(name.endswith(".dir") for name in self.objects)
