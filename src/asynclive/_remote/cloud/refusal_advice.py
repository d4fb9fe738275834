"""The refusals of Google Cloud Storage and Azure. ``remote_errors`` has those of S3, and the codes
that all of them share.
"""

from __future__ import annotations

from ..._artifact.push_records import RemoteDescription
from ..._errors import RemoteAccessError
from ..remote_errors import NO_ANSWER, NO_CREDENTIALS, Refusal, access_error, classify
from .obstore_errors import Failure

_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"}
# By scheme: the options that name the credentials, and the host.
_CREDENTIALS = {
    "gs": ("credentialpath", "credentialpath FILE"),
    "azure": ("account_key", "account_key KEY"),
}
_HOST = {"gs": ("endpointurl", "endpointurl URL"), "azure": ("account_name", "account_name NAME")}


def refusal_of(failure: Failure) -> Refusal:
    """Return what a failure means for the next request."""
    if failure.code in _NO_BUCKET:
        return Refusal.REMOTE
    return classify(failure.code, failure.status)


def error_of(remote: RemoteDescription, failure: Failure) -> RemoteAccessError:
    """Return the error that says what failed, and which option of DVC to change."""
    if remote.scheme == "s3":
        return access_error(remote, failure.code, failure.detail)
    bucket = remote.prefix.partition("/")[0]
    if failure.code == NO_CREDENTIALS or failure.status in (401, 403):
        reason = "it gets no credentials that it accepts"
        option, value = _CREDENTIALS[remote.scheme]
        command = f"dvc remote modify --local {remote.name} {value}"
    elif failure.code == NO_ANSWER:
        reason = "it does not answer"
        option, value = _HOST[remote.scheme]
        command = f"dvc remote modify {remote.name} {value}"
    else:
        kind = "container" if remote.scheme == "azure" else "bucket"
        is_absent = failure.code in _NO_BUCKET
        reason = f"the {kind} '{bucket}' does not exist" if is_absent else "it refuses the request"
        option, command = "url", f"dvc remote modify {remote.name} url URL"
    said = ": ".join(filter(None, (_reply_code(failure), failure.detail)))
    return RemoteAccessError(
        remote.name, f"{reason}{f' ({said})' if said else ''}. Run '{command}'.", option=option
    )


def _reply_code(failure: Failure) -> str:
    return "" if failure.status is None else failure.code or str(failure.status)
