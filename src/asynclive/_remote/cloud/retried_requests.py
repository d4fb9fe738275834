"""RetriedRequests: each request to one remote, with its permit, its time limit and its tries."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import Any, TypeVar

import anyio
import obstore
from obstore.exceptions import InvalidPathError

from ..._errors import RemoteAccessError
from ..remote_errors import NO_ANSWER, Refusal, RequestFailedError
from ..request_budget import RequestBudget
from .obstore_errors import REQUEST_ERRORS, Failure, is_of_this_machine, read_failure
from .refusal_advice import error_of, refusal_of
from .store_access import StoreAccess

T = TypeVar("T")

# Of a server that refuses a fifth of all requests, it refuses one request in 240 million so often.
_TRIES = 12
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
# A remote that answers no request for this many seconds is gone; one that never answered is sooner.
OUTAGE_SECONDS = 30.0
FIRST_OUTAGE_SECONDS = 6.0
# A body may take this much longer than a request without one.
_BYTES_PER_SECOND = 64 * 1024
READ_TIMEOUT = 30.0
# If a body of this size takes too long, the network may be slow. Fewer requests at a time are then
# tried, before the remote counts as gone.
_SLOW_BODY = 2**20
_SLOW_TRIES = 4


class MissingInRemoteError(Exception):
    """The remote answers that it has no object of this name."""


class RetriedRequests:
    """Makes the requests to one remote.

    obstore itself tries each request once: here a further try is signed again, waits without a
    permit, and lets the budget shrink. A request that is tried in vain ends in
    ``RemoteAccessError`` if others would fare the same, else in ``RequestFailedError``.

    Args:
        access: gives the store of obstore, with credentials and region.
        budget: gives the permits.
        read_timeout: maximum number of seconds without a byte of the reply.
        outage_seconds: see ``OUTAGE_SECONDS``.
        first_outage_seconds: the same, as long as the remote has not answered at all.
        clock: returns seconds.
    """

    def __init__(
        self,
        access: StoreAccess,
        budget: RequestBudget,
        read_timeout: float = READ_TIMEOUT,
        outage_seconds: float = OUTAGE_SECONDS,
        first_outage_seconds: float = FIRST_OUTAGE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = budget
        self._remote = access.remote
        self._access = access
        self._read_timeout = read_timeout
        self._outage_seconds = outage_seconds
        self._first_outage_seconds = first_outage_seconds
        self._clock = clock
        # When the remote last answered a request, and not that it is busy or fails.
        self._answered: float | None = None

    async def run(
        self, request: Callable[[Any], Awaitable[T]], sent_bytes: int = 0, replied_bytes: int = 0
    ) -> T:
        """Make a request until it succeeds, and return its reply.

        Args:
            request: makes it, with a store of obstore.
            sent_bytes: the bytes of its body.
            replied_bytes: the bytes of the body of its reply.

        Raises:
            OSError: a file of this machine cannot be read.
            MissingInRemoteError: there is no object of this name.
            RequestFailedError: it is refused for this object, or each try failed.
            RemoteAccessError: no other request will succeed either.
        """
        failing_since: float | None = None
        seconds = self._read_timeout + (sent_bytes + replied_bytes) / _BYTES_PER_SECOND
        for tries in count(1):
            store = await self._access.store()
            async with self.budget.request(sent_bytes):
                tried = self._clock()
                try:
                    with anyio.fail_after(seconds):
                        reply = await request(store)
                except REQUEST_ERRORS as error:
                    if is_of_this_machine(error):
                        raise
                    failure = read_failure(error)
                else:
                    self._answered = self._clock()
                    return reply
                # In the task and the permit of the request that failed.
                if failure.is_slow or refusal_of(failure) is Refusal.BUSY:
                    self.budget.slow_down()
            # No error has obstore's as its cause: that names URLs, which may hold a signature.
            if failure.is_missing:
                self._answered = self._clock()
                raise MissingInRemoteError
            if failure.is_unexplained:
                failure = await self._explain(store, failure)
            refusal = refusal_of(failure)
            if failing_since is None:
                # A large body may have been on its way for minutes before the connection broke.
                failing_since = tried if failure.is_slow else self._clock()
            if not (failure.is_slow and sent_bytes >= _SLOW_BODY and tries < _SLOW_TRIES):
                self._check_outage(failure, refusal, failing_since)
            # While the remote answers no request at all, there is nothing wrong with this one.
            is_last = tries >= _TRIES and (self._answered or 0.0) > failing_since
            await self._prepare_next(failure, refusal, tries, is_last, store)
        raise AssertionError  # the loop does not end

    def error_of(self, error: Exception) -> Exception:
        """Return the error of a request that obstore itself has tried again, in vain."""
        failure = read_failure(error)
        if refusal_of(failure) is Refusal.OBJECT:
            return _refused(failure)
        return error_of(self._remote, failure)

    async def _prepare_next(
        self, failure: Failure, refusal: Refusal, tries: int, is_last: bool, store: Any
    ) -> None:
        """Wait until another try may succeed, or raise the error that ends the request."""
        if refusal in (Refusal.BUSY, Refusal.TEMPORARY):
            if is_last:
                raise RequestFailedError(
                    f"the remote failed {tries} times ({failure.code or failure.status}"
                    f"{': ' if failure.detail else ''}{failure.detail})"
                )
            longest = min(_FIRST_PAUSE * 2 ** (tries - 1), _LONGEST_PAUSE)
            # The clients that were refused together must not come again together.
            await anyio.sleep(random.uniform(longest / 2, longest))
        elif refusal is Refusal.OBJECT:
            raise _refused(failure)
        elif tries > 2 or not await self._access.renew(store, failure, refusal):
            raise error_of(self._remote, failure)

    async def _explain(self, store: Any, failure: Failure) -> Failure:
        """Ask again in a way that has a reply with a body: a HEAD is refused without a word."""
        async with self.budget.request():
            try:
                with anyio.fail_after(self._read_timeout):
                    await list_first(store)
            except REQUEST_ERRORS as error:
                return read_failure(error)
        # The credentials are good, and may list. Without that right, S3 says of an object that is
        # not there that it is forbidden.
        return failure if failure.status == 400 else failure._replace(code="AccessDenied")

    def _check_outage(self, failure: Failure, refusal: Refusal, failing_since: float) -> None:
        """Raise the error of a remote that is gone, if it has answered nothing for too long.

        Args:
            failing_since: when the tries of one request began to fail.
        """
        if refusal not in (Refusal.BUSY, Refusal.TEMPORARY):
            return
        limit = self._outage_seconds
        if self._answered is None and failure.status in (None, 429, 503):
            limit = self._first_outage_seconds
        if self._clock() - max(failing_since, self._answered or failing_since) < limit:
            return
        if failure.code == NO_ANSWER:
            raise error_of(self._remote, failure)
        said = failure.code or failure.status
        if refusal is Refusal.TEMPORARY:
            raise RemoteAccessError(
                self._remote.name,
                f"each request has failed for {limit:.0f} s ({said}"
                f"{': ' if failure.detail else ''}{failure.detail}). Push again later.",
            )
        raise RemoteAccessError(
            self._remote.name,
            f"it asks for fewer requests ({said}) and has answered none for {limit:.0f} s. "
            f"Push again later, or run 'dvc remote modify {self._remote.name} jobs 1'.",
            option="jobs",
        )


def _refused(failure: Failure) -> RequestFailedError:
    code = failure.code or failure.status
    return RequestFailedError(f"the remote refuses it ({code}): {failure.detail}")


async def list_first(store: Any) -> None:
    """Ask for the first page of a listing."""
    # The name of an object of another program may be more than obstore can read.
    with suppress(InvalidPathError):
        async for _ in obstore.list(store, chunk_size=1):
            return
