"""ArtifactHandle: what submit() returns."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import anyio.lowlevel

from .._artifact.push_records import PushResult
from .._artifact.records import LoggedArtifact
from .._errors import ArtifactCancelledError, PushError
from .call import Call, Stage
from .home_loop import HomeLoop
from .push import Push


class ArtifactHandle:
    """An artifact that is being logged: :meth:`AsyncLive.submit` returns it.

    ``await handle`` returns the :class:`LoggedArtifact`, or raises the error. Any number of tasks
    may await it, any number of times. If no task awaits it and the artifact fails, leaving the
    block raises the error.

    Example::

        async with AsyncLive() as live:
            handle = await live.submit("model.pt")
            ...  # "model.pt" may be overwritten, or deleted
            logged = await handle
    """

    __slots__ = ("_call", "_home")

    def __init__(self, call: Call, home: HomeLoop) -> None:
        self._call = call
        self._home = home

    @property
    def name(self) -> str:
        """The name of the entry in dvc.yaml; without an entry, the name it would have had."""
        return self._call.request.name

    @property
    def path(self) -> Path:
        """The tracked path, absolute; with ``copy``, the path of the copy."""
        return Path(self._call.request.path)

    @property
    def stage(self) -> Stage:
        """The stage of the artifact.

        ``"queued"``, ``"staging"`` (its files are copied and hashed), ``"staged"`` (all bytes are
        in the cache; it waits for the next group), ``"committing"``, and at the end one of
        ``"logged"``, ``"failed"``, ``"cancelled"``, ``"superseded"``.
        """
        return self._call.stage

    @property
    def done(self) -> bool:
        """Whether ``await handle`` would return, or raise, at once."""
        return self._call.is_done and self._call.last.is_done

    def cancel(self) -> None:
        """Stop logging the artifact. If it is stopped in time, nothing of it is left.

        Returns at once. If the group of the artifact is already committing, the artifact is
        logged. If it was stopped, ``await handle`` raises :class:`ArtifactCancelledError`. Further
        calls do nothing.

        Raises:
            NotActiveError: the artifact has not ended, and this is not the event loop in which it
                was submitted. (:meth:`BlockingHandle.cancel` works in every thread.)

        Example::

            async with AsyncLive() as live:
                handle = await live.submit("model.pt")
                handle.cancel()
                try:
                    await handle
                except ArtifactCancelledError as error:
                    print(error)
        """
        if not self._call.is_done:
            self._home.check("cancel()")
            self._call.cancel(ArtifactCancelledError(self._call.request.given))

    async def wait(self) -> LoggedArtifact:
        """Wait until the artifact is logged, and return its record; the same as ``await handle``.

        Raises:
            ArtifactCancelledError: the artifact was cancelled, and nothing of it is left.
            NotActiveError: the artifact has not ended, and this is not the event loop in which it
                was submitted.
            AsyncLiveError: any error that :meth:`AsyncLive.log_artifact` raises.

        Cancellation: ends the wait alone. The artifact is still logged; :meth:`cancel` stops it.

        Example::

            async with AsyncLive() as live:
                handle = await live.submit("model.pt")
                print((await handle.wait()).md5)
        """
        if self.done:
            # Not by an event of the loop of the session: this may be another loop.
            await anyio.lowlevel.checkpoint()
            return self._call.outcome()
        self._home.check("A wait for a handle")
        return await self._call.result()

    async def pushed(self) -> PushResult:
        """Wait until the artifact is logged, and its objects are in the remote and proven.

        A call that ``latest_wins`` superseded returns the push of the later call. With
        ``cache=False`` there is nothing to push, and the result counts no object.

        Raises:
            PushError: the objects could not be pushed; the artifact stays committed. Or the session
                pushes nothing: pass ``push=`` to :class:`AsyncLive`, or call
                :meth:`AsyncLive.push`.
            NotActiveError: the push has not ended, and this is not the event loop in which it was
                submitted.
            AsyncLiveError: the artifact is not logged: any error that :meth:`wait` raises.

        Cancellation: ends the wait alone. The artifact is still logged and pushed.

        Example::

            async with AsyncLive(push=True) as live:
                handle = await live.submit("model.pt")
                print((await handle.pushed()).objects)
        """
        await self.wait()
        push = self._push_of_logged()
        if push.is_done:
            return push.outcome()
        self._home.check("A wait for a push")
        return await push.result()

    def _push_of_logged(self) -> Push:
        """Return the push of an artifact that is logged.

        Raises:
            PushError: the session pushes nothing.
        """
        push = self._call.last.push
        if push is None:
            raise PushError(
                None,
                f"'{self._call.request.given}' is logged, and this session pushes nothing. Pass "
                "push=True to AsyncLive, or call live.push().",
            )
        return push

    def __await__(self) -> Generator[Any, Any, LoggedArtifact]:
        return self.wait().__await__()

    def __repr__(self) -> str:
        return f"<ArtifactHandle of '{self._call.request.given}': {self.stage}>"
