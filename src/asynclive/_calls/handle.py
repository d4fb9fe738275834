"""ArtifactHandle: what submit() returns."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from .._artifact.records import LoggedArtifact
from .._errors import ArtifactCancelledError
from .call import Call, Stage


class ArtifactHandle:
    """What :meth:`AsyncLive.submit` returns: an artifact that is being logged.

    ``await handle`` gives the :class:`LoggedArtifact`, or raises why it was not logged; any
    number of tasks may, any number of times. An error that nobody has awaited is raised on
    leaving the block.

    Example::

        async with AsyncLive() as live:
            handle = await live.submit("model.pt")
            ...  # "model.pt" may be overwritten, or deleted
            logged = await handle
    """

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    @property
    def name(self) -> str:
        """The name in dvc.yaml; where no entry was wanted, the name it would have had."""
        return self._call.request.name

    @property
    def path(self) -> Path:
        """The tracked path, absolute; with ``copy`` that of the copy."""
        return Path(self._call.request.path)

    @property
    def stage(self) -> Stage:
        """How far it has come.

        ``"queued"``, ``"staging"`` (copied and hashed), ``"staged"`` (all bytes are in the cache;
        it waits for the next group), ``"committing"``, and then one of ``"logged"``, ``"failed"``,
        ``"cancelled"``, ``"superseded"``.
        """
        return self._call.stage

    @property
    def done(self) -> bool:
        """Whether ``await handle`` would return, or raise, at once."""
        return self._call.done.is_set() and self._call.last.done.is_set()

    def cancel(self) -> None:
        """Do not log it, if that can still be: nothing is left of it then.

        Returns at once. An artifact whose group is committing is logged all the same; ``await
        handle`` says which it was, by an :class:`ArtifactCancelledError`. May be called at any
        time, and more than once, in the event loop's thread.
        """
        self._call.cancel(ArtifactCancelledError(self._call.request.given))

    async def wait(self) -> LoggedArtifact:
        """Return what was logged, once it is; the same as ``await handle``.

        Raises:
            ArtifactCancelledError: it was cancelled, and nothing is left of it.
            AsyncLiveError: what :meth:`AsyncLive.log_artifact` would have raised.

        Cancellation: ends the wait. The artifact is logged all the same; ``cancel`` stops it.
        """
        return await self._call.result()

    def __await__(self) -> Generator[Any, Any, LoggedArtifact]:
        return self.wait().__await__()

    def __repr__(self) -> str:
        return f"<ArtifactHandle of '{self._call.request.given}': {self.stage}>"
