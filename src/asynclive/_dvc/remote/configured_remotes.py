"""ConfiguredRemotes: the remotes of DVC's configuration, which may change during a session."""

from __future__ import annotations

from typing import Any

from ..._artifact.push_records import RemoteDescription
from ..._errors import RemoteAccessError
from ..._fs.change_detection import Stamp, mark_racy, stamp_of
from ..dvc_errors import plain_text
from .remote_description import describe_remote, legacy_description


class ConfiguredRemotes:
    """The remotes of one repository. The caller holds ``dvc_guard``.

    Reading the configuration takes a few milliseconds, and each artifact needs its remote. So it is
    read again only if one of its files has changed.

    Args:
        repo: DVC's ``Repo``.
    """

    def __init__(self, repo: Any) -> None:
        self._repo = repo
        self._config: Any = None
        self._stamps: list[Stamp | None] = []
        self._described: dict[tuple[str | None, bool], RemoteDescription] = {}

    def refresh(self) -> None:
        """Read the configuration again if it has changed.

        Raises:
            RemoteAccessError: it is not valid.
        """
        from dvc.config import ConfigError

        if self._config is not None and self._stamps == self._stamps_now():
            return
        self._described.clear()
        self._repo._reset()  # otherwise DVC keeps the configuration that it has read
        self._stamps = []
        try:
            if self._config is not None:  # before it is read: a later change must be noticed
                self._stamps = [mark_racy(stamp) for stamp in self._stamps_now()]
            self._config = self._repo.config
        except ConfigError as error:
            raise RemoteAccessError(
                None, f"DVC cannot read its configuration: {plain_text(error)}"
            ) from error

    def _stamps_now(self) -> list[Stamp | None]:
        return [stamp_of(path) for path in self._config.files.values()]

    def describe(self, name: str | None, *, is_legacy: bool = False) -> RemoteDescription:
        """Return a remote, as of the last refresh.

        Args:
            name: its name; None: the default remote.
            is_legacy: whether outputs of DVC 2 go there.

        Raises:
            RemoteNotFoundError: there is none of this name, or no default remote.
            RemoteAccessError: DVC cannot use it.
        """
        key = name, is_legacy
        if key not in self._described:
            remote = describe_remote(self._config, name)
            self._described[key] = legacy_description(remote) if is_legacy else remote
        return self._described[key]
