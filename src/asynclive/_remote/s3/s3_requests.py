"""S3Requests: each request to one S3 remote, with its permit and its tries."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import NamedTuple, TypeVar

import anyio
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSLError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError

from ..._artifact.push_records import RemoteDescription
from ..._errors import RemoteAccessError
from ..remote_errors import (
    BAD_CERTIFICATE,
    BAD_OPTION,
    NO_ANSWER,
    NO_CREDENTIALS,
    NO_PROFILE,
    Refusal,
    RequestFailedError,
    access_error,
    classify,
)
from ..request_budget import RequestBudget
from .s3_client import S3Client, S3Connection

T = TypeVar("T")

# A body that is sent more slowly is cut off, and sent again with fewer at a time: no other limit
# ends a request whose server has stopped reading.
_SLOWEST_BYTES_PER_SECOND = 64 * 1024
# If a body of this size takes too long, the network may be slow. It is then tried so often, with
# fewer requests at a time, before the remote counts as gone.
_SLOW_BODY, _SLOW_TRIES = 2**20, 4


class Patience(NamedTuple):
    """How long a request is repeated. Pauses are in seconds, and random up to the given length."""

    tries: int = 12
    """Of a server that refuses a fifth of all requests, it refuses one in 240 million so often."""
    first_pause: float = 0.1
    longest_pause: float = 5.0
    outage: float = 30.0
    """A remote that answers no request for this many seconds is gone."""
    first_outage: float = 6.0
    """The same, as long as it has not answered at all."""


class RefusedError(RequestFailedError):
    """The remote refuses the requests for one object. ``code`` is its code."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class _Failure(NamedTuple):
    code: str
    status: int | None
    detail: str
    date: str = ""
    """The time of the remote."""
    is_slow: bool = False


class S3Requests:
    """Makes the requests to one remote.

    Args:
        connection: gives the client.
        budget: gives the permits.
        patience: how long a request is repeated.
        clock: returns seconds.
    """

    def __init__(
        self,
        connection: S3Connection,
        budget: RequestBudget,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connection = connection
        self.budget = budget
        self._patience = patience or Patience()
        self._clock = clock
        self._answered: float | None = None
        """When the remote last answered a request that was not refused for being one too many."""

    async def send(self, request: Callable[[S3Client], Awaitable[T]], sent_bytes: int = 0) -> T:
        """Make a request until it succeeds, and return the reply.

        Args:
            request: makes it, and is called within the permit. Other errors than those of botocore
                pass through.
            sent_bytes: the bytes of its body.

        Raises:
            RefusedError: it is refused for this object.
            RequestFailedError: each try failed.
            RemoteAccessError: no other request succeeds either.
        """
        failing_since: float | None = None
        seconds = self.connection.read_timeout + sent_bytes / _SLOWEST_BYTES_PER_SECOND
        for tries in count(1):
            client = None
            async with self.budget.request(sent_bytes):
                tried = self._clock()
                try:
                    client = await self.connection.client()
                    with anyio.fail_after(seconds):
                        reply = await request(client)
                except (ClientError, BotoCoreError, TimeoutError) as error:
                    failure = _read(error)
                else:
                    self._answered = self._clock()
                    return reply
                refusal = classify(failure.code, failure.status)
                if refusal is Refusal.BUSY or failure.is_slow:
                    self.budget.slow_down()
            if failing_since is None:
                # A large body may have been on its way for minutes before the connection broke.
                failing_since = tried if failure.is_slow else self._clock()
            if not (failure.is_slow and sent_bytes >= _SLOW_BODY and tries < _SLOW_TRIES):
                self._check_outage(failure, refusal, failing_since)
            await self._prepare_next(failure, refusal, tries, failing_since, client)
        raise AssertionError  # the loop does not end

    def _check_outage(self, failure: _Failure, refusal: Refusal, failing_since: float) -> None:
        """Raise the error of a remote that is gone, if it has answered nothing for too long."""
        if refusal not in (Refusal.BUSY, Refusal.TEMPORARY):
            return
        if failure.code != NO_ANSWER and refusal is not Refusal.BUSY:
            self._answered = self._clock()
        patience = self._patience
        limit = patience.first_outage if self._answered is None else patience.outage
        if self._clock() - max(failing_since, self._answered or failing_since) > limit:
            raise access_error(self.connection.remote, failure.code, failure.detail)

    async def _prepare_next(
        self,
        failure: _Failure,
        refusal: Refusal,
        tries: int,
        failing_since: float,
        client: S3Client,
    ) -> None:
        """Wait until another try may succeed, or raise the error that ends the request.

        Args:
            failing_since: when the tries of this request began to fail.
        """
        connection, patience = self.connection, self._patience
        if refusal in (Refusal.BUSY, Refusal.TEMPORARY):
            # While no request is answered at all, there is nothing wrong with this one.
            if tries >= patience.tries and (self._answered or 0.0) >= failing_since:
                raise RequestFailedError(
                    f"the remote failed {tries} times ({failure.code}): {failure.detail}"
                )
            longest = min(patience.first_pause * 2 ** (tries - 1), patience.longest_pause)
            # Requests that were refused together must not come again together.
            await asyncio.sleep(random.uniform(longest / 2, longest))
        elif refusal is Refusal.OBJECT:
            code = failure.code or str(failure.status)
            raise RefusedError(failure.code, f"the remote refuses it ({code}): {failure.detail}")
        elif not await self._may_help(failure, refusal, tries, client):
            raise access_error(connection.remote, failure.code, failure.detail)

    async def _may_help(
        self, failure: _Failure, refusal: Refusal, tries: int, client: S3Client
    ) -> bool:
        """Correct what the remote complains about; return whether another try makes sense."""
        if tries > 2:
            return False
        if refusal is Refusal.CLOCK:
            # It may have been signed, and then waited too long: the next try is signed anew.
            return self.connection.correct_clock(failure.date) or tries == 1
        if refusal is Refusal.EXPIRED and tries == 1:
            return await self.connection.renew(client)
        return False


def explain(remote: RemoteDescription, error: Exception) -> RemoteAccessError:
    """Return the error that tells the user of an error of botocore, before any request."""
    failure = _read(error)
    return access_error(remote, failure.code, failure.detail)


def _read(error: Exception) -> _Failure:
    """Return the failure that an error of botocore tells of. Its words contain no secrets."""
    if isinstance(error, ClientError):
        reply = error.response.get("Error", {})
        http = error.response.get("ResponseMetadata", {})
        return _Failure(
            str(reply.get("Code") or ""),
            http.get("HTTPStatusCode"),
            str(reply.get("Message") or ""),
            http.get("HTTPHeaders", {}).get("date", ""),
        )
    if isinstance(error, TimeoutError):
        return _Failure(NO_ANSWER, None, "it took too long", is_slow=True)
    # The words of botocore have the whole URL. Those of the network are enough.
    cause = getattr(error, "kwargs", {}).get("error")
    detail = str(cause) if cause else str(error)
    if isinstance(error, SSLError) and "certificate" in detail.lower():
        return _Failure(BAD_CERTIFICATE, None, detail)
    if isinstance(error, BotoConnectionError | HTTPClientError):
        is_slow = isinstance(error, ReadTimeoutError | ConnectTimeoutError)
        return _Failure(NO_ANSWER, None, detail, is_slow=is_slow)
    if isinstance(error, ProfileNotFound):
        return _Failure(NO_PROFILE, None, detail)
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return _Failure(NO_CREDENTIALS, None, detail)
    return _Failure(BAD_OPTION, None, detail)
