"""UnawaitedErrors: its messages about calls that were not logged or not pushed."""

from __future__ import annotations

import pytest

from asynclive._artifact.push_records import PushRequest
from asynclive._calls.push import Push
from asynclive._calls.unawaited_errors import UnawaitedErrors, describe_unfinished
from asynclive._errors import PushError


def test_a_message_names_twenty_paths_and_counts_all() -> None:
    assert describe_unfinished(["a b"]) == "Submitted artifacts that were not logged (1): 'a b'."
    message = describe_unfinished([str(number) for number in range(1200)])
    assert message.startswith("Submitted artifacts that were not logged (1,200): '0', '1', ")
    assert message.endswith("'19' and 1,180 more.")


@pytest.mark.anyio
async def test_the_error_of_a_push_is_forgotten_once_another_one_goes_on_in_its_place() -> None:
    unawaited = UnawaitedErrors()
    for path in ("/a", "/a", "/b"):
        push = Push(PushRequest(), 1, "name", path)
        push.fail(PushError("far", f"{path} failed"))
        unawaited.add_push(push)
    unawaited.forget_pushes("/a")
    with pytest.raises(Exception, match="not pushed") as caught:
        unawaited.raise_group()
    assert [str(error) for error in caught.value.exceptions] == [  # type: ignore[attr-defined]
        "Cannot push to the remote 'far': /b failed"
    ]
