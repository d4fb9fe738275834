"""Reads the errors of obstore. Their texts hold URLs and replies, so they are never shown whole."""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

from obstore.exceptions import BaseError

from ..remote_errors import BAD_CERTIFICATE, NO_ANSWER, NO_CREDENTIALS, code_in

# obstore has one class for most errors. Its text is the only place that has the status and the
# body of the reply: "... status code: 503 Service Unavailable: <body>", then a dump of the error.
_STATUS = re.compile(r"status code: (\d{3})")
_DUMP = "\n\nDebug source:"
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_OS_WORDS = re.compile(r'(?:message|error): "([^"]*)"')
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(?:Other\(\s*OtherError\(\s*)?(\w+)")
_REGION = re.compile(r"<Region>([\w-]+)</Region>")
_TOO_LONG = "it took too long"
_TIMES = re.compile(r"<(RequestTime|ServerTime)>([^<]*)</")


REQUEST_ERRORS = (BaseError, OSError)  # a time-out is an OSError
"""The errors of a request, by obstore and by its time limit."""


class Failure(NamedTuple):
    """A request that did not succeed."""

    code: str
    """The code of the reply, or a word of ``remote_errors``. Empty if there is none."""
    status: int | None
    """The status of the reply. None: there was no reply."""
    detail: str
    """The words of the remote, or of the system. They contain no secrets."""
    is_slow: bool = False
    """Whether the time for an answer is over."""
    region: str | None = None
    """The region of the bucket, where the reply says it."""

    @property
    def is_missing(self) -> bool:
        """Tell whether the remote answers that it has no such object."""
        return self.status == 404 and self.code in ("", "NoSuchKey", "BlobNotFound")

    @property
    def is_unexplained(self) -> bool:
        """Tell whether the reply has no body, as those to HEAD, and none that explains itself."""
        return not self.code and self.status in (301, 307, 400, 401, 403)


def is_of_this_machine(error: Exception) -> bool:
    """Tell whether an error concerns a file that obstore reads, and not the remote.

    obstore raises FileNotFoundError for both.
    """
    return (
        isinstance(error, OSError)
        and not isinstance(error, TimeoutError)
        and not str(error).startswith("Object at location")
    )


def read_failure(error: Exception) -> Failure:
    """Return the failure that an error of obstore, or a time-out, tells of."""
    if isinstance(error, TimeoutError):
        return Failure(NO_ANSWER, None, _TOO_LONG, is_slow=True)
    said, _, dump = str(error).partition(_DUMP)
    if "token request" in said:
        return Failure(NO_CREDENTIALS, None, "")
    status = _STATUS.search(said)
    if status is not None:
        code = code_in(said)
        message = _MESSAGE.search(said)
        # Azure adds an id and the time, in lines of their own.
        detail = _explain(said, "" if message is None else message[1].partition("\n")[0])
        region = _REGION.search(said)
        return Failure(code, int(status[1]), detail, region=None if region is None else region[1])
    if isinstance(error, FileNotFoundError):
        return Failure("", 404, "")
    if "without LOCATION" in said:
        return Failure("PermanentRedirect", 301, "")
    certificate = _CERTIFICATE.search(dump)
    if certificate is not None:
        return Failure(BAD_CERTIFICATE, None, certificate[1])
    if "credential" in said.lower() or "InstanceCredential" in dump:
        return Failure(NO_CREDENTIALS, None, "")
    if "kind: Timeout" in dump:
        return Failure(NO_ANSWER, None, _TOO_LONG, is_slow=True)
    words = _OS_WORDS.findall(dump)
    return Failure(NO_ANSWER, None, words[-1] if words else "")


def _explain(said: str, message: str) -> str:
    """Return the message of a reply; for a skewed clock, say how far it is off."""
    times = dict(_TIMES.findall(said))
    try:
        ours = datetime.strptime(times["RequestTime"], "%Y%m%dT%H%M%SZ")
        theirs = datetime.strptime(times["ServerTime"], "%Y-%m-%dT%H:%M:%SZ")
    except (KeyError, ValueError):
        return message
    seconds = (ours - theirs).total_seconds()
    side = "ahead of" if seconds > 0 else "behind"
    return f"the clock of this machine is {abs(seconds) / 60:.0f} minutes {side} its clock"
