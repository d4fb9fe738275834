"""The answers of an object storage that are not success: what to do, and what to tell the user.

The codes are those of S3. Both ways to S3 use them: single requests, and uploads in parts.
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from .._artifact.push_records import RemoteDescription
from .._errors import RemoteAccessError


class RequestFailedError(Exception):
    """The remote refused the requests for one object, or did not answer after all tries."""


class Refusal(enum.Enum):
    """What a refused request means for the next one."""

    BUSY = enum.auto()
    """The remote asks for fewer requests. The same one succeeds later."""
    TEMPORARY = enum.auto()
    """It failed at the remote or on the way. The same one succeeds later."""
    CLOCK = enum.auto()
    """It was signed with a time that is far from the remote's."""
    EXPIRED = enum.auto()
    """Its credentials have expired. New ones may succeed."""
    REMOTE = enum.auto()
    """No other request to this remote succeeds either."""
    OBJECT = enum.auto()
    """It concerns this object alone."""


NO_ANSWER = "NoAnswer"
"""In place of a code: the connection was refused, cut off, or too slow."""
NO_CREDENTIALS = "NoCredentials"
"""In place of a code: there is nothing to sign a request with."""
NO_PROFILE = "NoProfile"
"""In place of a code: the profile is in no file of AWS."""
BAD_OPTION = "BadOption"
"""In place of a code: a setting cannot be used."""
BAD_CERTIFICATE = "BadCertificate"
"""In place of a code: the certificate of the remote is not accepted."""

_BUSY = {"SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "Throttling"}
_BUSY |= {
    "ThrottlingException",
    "RequestLimitExceeded",
    "TooManyRequests",
    "BandwidthLimitExceeded",
}
_TEMPORARY = {"InternalError", "InternalServerError", "RequestTimeout", "OperationAborted"}
# These two come from a body that was cut off or damaged on its way.
_TEMPORARY |= {NO_ANSWER, "IncompleteBody", "BadDigest"}
_CLOCK = {"RequestTimeTooSkewed", "RequestExpired"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
# These end the push of one object: of its name, its size, or its upload.
_OBJECT = {"NoSuchKey", "NoSuchUpload", "InvalidPart", "InvalidPartOrder", "EntityTooLarge"}
_OBJECT |= {"EntityTooSmall", "KeyTooLongError", "PreconditionFailed", "InvalidObjectState"}


def classify(code: str, status: int | None = None) -> Refusal:
    """Return what a refusal means.

    Args:
        code: S3's code of the error, or one of the words of this module; may be empty.
        status: the status of the HTTP reply, for codes that are not known.
    """
    for codes, refusal in (
        (_BUSY, Refusal.BUSY),
        (_TEMPORARY, Refusal.TEMPORARY),
        (_CLOCK, Refusal.CLOCK),
        (_EXPIRED, Refusal.EXPIRED),
        (_OBJECT, Refusal.OBJECT),
    ):
        if code in codes:
            return refusal
    if code in _ADVICE or code.startswith("KMS."):
        return Refusal.REMOTE
    if status in (429, 503):
        return Refusal.BUSY
    if status == 408 or (status is not None and status >= 500 and status != 501):
        return Refusal.TEMPORARY
    if status in (301, 307, 401, 403):
        return Refusal.REMOTE
    return Refusal.OBJECT


class _Advice(NamedTuple):
    reason: str
    """What failed. ``{bucket}`` and ``{url}`` are filled in."""
    option: str | None
    """DVC's option to change."""
    values: tuple[str, ...] = ()
    """The options and values of ``dvc remote modify``, each one a command."""
    instead: str = ""
    """Another way out, a sentence."""


_SECRET = ("--local {name} access_key_id ID", "--local {name} secret_access_key KEY")
_REFUSED = _Advice("it refuses the credentials", "access_key_id", _SECRET)
_REGION = _Advice("the bucket '{bucket}' is in another region", "region", ("{name} region REGION",))
_DENIED = _Advice(
    "the credentials have no permission for '{url}'",
    "profile",
    ("--local {name} profile PROFILE",),
    "Or allow them to list, read and write these objects.",
)
_KMS = _Advice(
    "the key that encrypts the objects cannot be used",
    "sse_kms_key_id",
    ("{name} sse_kms_key_id KEY",),
)
_EXPIRED_ADVICE = _Advice(
    "its credentials have expired",
    "session_token",
    ("--local {name} session_token TOKEN",),
    "Or log in again, if a profile gives them.",
)
_CLOCK_ADVICE = _Advice(
    "it refuses requests because its clock and that of this machine are far apart",
    None,
    instead="Set the clock of this machine.",
)
_BUSY_ADVICE = _Advice("it asks for fewer requests, again and again", "jobs", ("{name} jobs 4",))
_FAILING = _Advice("it fails again and again", None, instead="Push later.")
_ADVICE = {
    **dict.fromkeys(_BUSY, _BUSY_ADVICE),
    **dict.fromkeys(_TEMPORARY, _FAILING),
    NO_ANSWER: _Advice(
        "it does not answer",
        "endpointurl",
        ("{name} endpointurl URL",),
        "Or check the network, and push again: it goes on where it was.",
    ),
    NO_CREDENTIALS: _Advice(
        "no credentials are found",
        "access_key_id",
        _SECRET,
        "Or set a profile, or the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    ),
    NO_PROFILE: _Advice(
        "its profile is not in the configuration of AWS",
        "profile",
        ("--local {name} profile PROFILE",),
    ),
    BAD_OPTION: _Advice(
        "one of its options, or a setting of AWS, cannot be used",
        "endpointurl",
        ("{name} endpointurl URL",),
        "Or change the setting that the message names.",
    ),
    BAD_CERTIFICATE: _Advice(
        "its certificate is not accepted", "ssl_verify", ("{name} ssl_verify CA_FILE",)
    ),
    "NoSuchBucket": _Advice(
        "the bucket '{bucket}' does not exist",
        "url",
        ("{name} url URL",),
        "Or create the bucket.",
    ),
    "InvalidBucketName": _Advice(
        "'{bucket}' cannot be the name of a bucket", "url", ("{name} url URL",)
    ),
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "AccountProblem": _DENIED,
    "403": _DENIED,  # the reply to HEAD has no body, and no better code
    "InvalidAccessKeyId": _REFUSED,
    "SignatureDoesNotMatch": _REFUSED,
    "InvalidSecurity": _REFUSED,
    "CredentialsNotSupported": _REFUSED,
    "InvalidToken": _Advice(
        "it refuses the token of the credentials",
        "session_token",
        ("--local {name} session_token TOKEN",),
    ),
    "301": _REGION,
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "InvalidEncryptionAlgorithmError": _Advice(
        "it does not know this way to encrypt", "sse", ("{name} sse AES256",)
    ),
    **dict.fromkeys(_EXPIRED, _EXPIRED_ADVICE),
    **dict.fromkeys(_CLOCK, _CLOCK_ADVICE),
}
_OTHER = _Advice("it refuses the request", "url", ("{name} url URL",))


def access_error(remote: RemoteDescription, code: str, detail: str = "") -> RemoteAccessError:
    """Return the error that says what failed, and which option of DVC to change.

    Args:
        code: as for ``classify``.
        detail: the words of the remote, or of the network.
    """
    advice = _KMS if code.startswith("KMS.") else _ADVICE.get(code, _OTHER)
    names = {"bucket": remote.prefix.partition("/")[0], "url": remote.url, "name": remote.name}
    said = ": ".join(filter(None, ("" if code in _OWN_WORDS else code, detail.strip())))
    commands = " and ".join(f"'dvc remote modify {each.format(**names)}'" for each in advice.values)
    sentences = [
        f"{advice.reason.format(**names)}{f' ({said})' if said else ''}.",
        f"Run {commands}." if commands else "",
        advice.instead,
    ]
    return RemoteAccessError(remote.name, " ".join(filter(None, sentences)), option=advice.option)


_OWN_WORDS = {NO_ANSWER, NO_CREDENTIALS, NO_PROFILE, BAD_OPTION, BAD_CERTIFICATE}


def code_in(text: str) -> str:
    """Return S3's code in the body of a reply that a text contains; empty if it has none."""
    found = re.search(r"<Code>([\w.]+)</Code>", text)
    return found[1] if found else ""
