"""The refusals of a remote: what they mean for the next request, and what the user reads."""

from __future__ import annotations

import pytest

from asynclive._artifact.push_records import RemoteDescription
from asynclive._remote.remote_errors import (
    BAD_CERTIFICATE,
    NO_ANSWER,
    NO_CREDENTIALS,
    Refusal,
    access_error,
    classify,
    code_in,
)

REMOTE = RemoteDescription("store", "s3://bucket/dir", "s3", "bucket/dir/files/md5")


@pytest.mark.parametrize(
    ("code", "status", "refusal"),
    [
        ("SlowDown", 503, Refusal.BUSY),
        ("", 429, Refusal.BUSY),
        ("InternalError", 200, Refusal.TEMPORARY),
        ("", 502, Refusal.TEMPORARY),
        (NO_ANSWER, None, Refusal.TEMPORARY),
        ("RequestTimeTooSkewed", 403, Refusal.CLOCK),
        ("ExpiredToken", 400, Refusal.EXPIRED),
        ("AccessDenied", 403, Refusal.REMOTE),
        ("KMS.DisabledException", 400, Refusal.REMOTE),
        ("", 403, Refusal.REMOTE),
        ("NoSuchUpload", 404, Refusal.OBJECT),
        ("SomethingNew", 400, Refusal.OBJECT),
        ("NotImplemented", 501, Refusal.OBJECT),
    ],
)
def test_a_refusal_says_whether_to_try_again(code: str, status: int, refusal: Refusal) -> None:
    assert classify(code, status) is refusal


@pytest.mark.parametrize(
    ("code", "option", "words"),
    [
        ("NoSuchBucket", "url", ["bucket 'bucket' does not exist", "dvc remote modify store url"]),
        ("AccessDenied", "profile", ["s3://bucket/dir", "--local store profile"]),
        ("403", "profile", ["permission"]),
        ("SignatureDoesNotMatch", "access_key_id", ["--local store secret_access_key"]),
        ("PermanentRedirect", "region", ["dvc remote modify store region"]),
        ("ExpiredToken", "session_token", ["expired"]),
        ("RequestTimeTooSkewed", None, ["clock of this machine"]),
        ("SlowDown", "jobs", ["dvc remote modify store jobs"]),
        ("KMS.NotFoundException", "sse_kms_key_id", ["key"]),
        (NO_ANSWER, "endpointurl", ["does not answer"]),
        (NO_CREDENTIALS, "access_key_id", ["AWS_ACCESS_KEY_ID"]),
        (BAD_CERTIFICATE, "ssl_verify", ["certificate"]),
        ("SomethingNew", "url", ["SomethingNew"]),
    ],
)
def test_an_error_names_the_remote_the_cause_and_the_option(
    code: str, option: str | None, words: list[str]
) -> None:
    error = access_error(REMOTE, code, "the words of the server")
    assert (error.remote, error.option) == ("store", option)
    for text in ["'store'", "the words of the server", *words]:
        assert text in str(error)


def test_a_word_of_our_own_is_not_shown_as_a_code_of_the_remote() -> None:
    assert NO_ANSWER not in str(access_error(REMOTE, NO_ANSWER, "refused"))


def test_the_code_is_found_in_the_body_of_a_reply() -> None:
    body = "Client error: <?xml?><Error><Code>NoSuchBucket</Code><Message>no</Message></Error>"
    assert code_in(body) == "NoSuchBucket"
    assert code_in("connection refused") == ""
