"""UnawaitedErrors: its messages about calls that were not logged."""

from __future__ import annotations

from asynclive._calls.unawaited_errors import describe_unfinished


def test_a_message_names_twenty_paths_and_counts_all() -> None:
    assert describe_unfinished(["a b"]) == "Submitted artifacts that were not logged (1): 'a b'."
    message = describe_unfinished([str(number) for number in range(1200)])
    assert message.startswith("Submitted artifacts that were not logged (1,200): '0', '1', ")
    assert message.endswith("'19' and 1,180 more.")
