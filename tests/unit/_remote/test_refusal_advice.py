"""Tests of the errors that tell of a refusal by Google Cloud Storage or Azure."""

from __future__ import annotations

import pytest

from asynclive._artifact.push_records import RemoteDescription
from asynclive._remote.cloud.obstore_errors import Failure
from asynclive._remote.cloud.refusal_advice import error_of, refusal_of
from asynclive._remote.remote_errors import NO_ANSWER, NO_CREDENTIALS, Refusal

GS = RemoteDescription("store", "gs://bucket/dir", "gs", "bucket/dir/files/md5")
AZURE = RemoteDescription("store", "azure://container/dir", "azure", "container/dir/files/md5")


@pytest.mark.parametrize(
    ("remote", "failure", "option", "words"),
    [
        (GS, Failure(NO_CREDENTIALS, None, ""), "credentialpath", "no credentials"),
        (GS, Failure("AccessDenied", 403, "No"), "credentialpath", "AccessDenied: No"),
        (GS, Failure("", 401, ""), "credentialpath", "401"),
        (GS, Failure("NoSuchBucket", 404, ""), "url", "the bucket 'bucket' does not exist"),
        (GS, Failure(NO_ANSWER, None, "refused"), "endpointurl", "does not answer (refused)"),
        (AZURE, Failure("AuthenticationFailed", 403, ""), "account_key", "--local store"),
        (AZURE, Failure("ContainerNotFound", 404, ""), "url", "the container 'container'"),
        (AZURE, Failure(NO_ANSWER, None, ""), "account_name", "does not answer"),
        (AZURE, Failure("Odd", 409, "It is"), "url", "refuses the request (Odd: It is)"),
    ],
)
def test_a_refusal_names_the_option_of_that_kind_of_remote(
    remote: RemoteDescription, failure: Failure, option: str, words: str
) -> None:
    error = error_of(remote, failure)
    assert error.option == option
    assert words in str(error)
    assert option in str(error)


def test_a_container_that_does_not_exist_ends_the_push() -> None:
    assert refusal_of(Failure("ContainerNotFound", 404, "")) is Refusal.REMOTE
    assert refusal_of(Failure("ServerBusy", 503, "")) is Refusal.BUSY
