"""WorkerWatch: when a worker counts as one that does not answer, or makes no progress."""

from __future__ import annotations

from asynclive._isolation.messages import Beat, Released
from asynclive._isolation.worker_watch import HURRY_SECONDS, STALL_FACTOR, WorkerWatch


def seconds_until_failure(watch: WorkerWatch, *messages: object) -> tuple[int, str | None]:
    """Count seconds, each with these messages, until the worker has failed, or a thousand."""
    for seconds in range(1, 1001):
        for message in messages:
            watch.hear(message)
        how = watch.count(1)
        if how is not None:
            return seconds, how
    return 1000, None


def test_a_worker_that_does_not_answer_fails_after_the_timeout() -> None:
    assert seconds_until_failure(WorkerWatch(60, 5)) == (
        60,
        "did not answer for 60 s, so it was killed",
    )


def test_a_worker_that_answers_and_makes_no_progress_gets_longer() -> None:
    assert seconds_until_failure(WorkerWatch(20, 5), Beat(0.0)) == (
        20 * STALL_FACTOR,
        "made no progress for 200 s, so it was killed",
    )


def test_a_worker_may_wait_for_the_lock_of_dvc() -> None:
    assert seconds_until_failure(WorkerWatch(10, 500), Beat(0.0))[0] == 510
    assert seconds_until_failure(WorkerWatch(10, None), Beat(0.0)) == (1000, None)


def test_a_worker_that_sends_a_beat_each_second_answers() -> None:
    assert seconds_until_failure(WorkerWatch(0, None), Beat(0.0)) == (1000, None)


def test_messages_and_processor_time_are_progress() -> None:
    assert seconds_until_failure(WorkerWatch(10, 0), Released(1)) == (1000, None)
    watch = WorkerWatch(10, 0)
    for second in range(1000):
        watch.hear(Beat(second * 0.5))
        assert watch.count(1) is None


def test_bytes_that_a_push_has_sent_are_progress() -> None:
    watch = WorkerWatch(10, 0)
    for second in range(1000):
        watch.hear(Beat(0.0, pushed_bytes=second * 100))
        assert watch.count(1) is None
    assert seconds_until_failure(watch, Beat(0.0, pushed_bytes=5))[0] == 10 * STALL_FACTOR


def test_in_a_hurry_both_limits_are_short() -> None:
    for messages in [(), (Beat(0.0),)]:
        watch = WorkerWatch(None, None)
        watch.hurry()
        assert seconds_until_failure(watch, *messages)[0] == HURRY_SECONDS


def test_without_a_timeout_nothing_fails() -> None:
    assert seconds_until_failure(WorkerWatch(None, 1)) == (1000, None)


def test_another_worker_starts_from_zero() -> None:
    watch = WorkerWatch(10, 0)
    assert watch.count(9) is None
    watch.begin()
    assert watch.count(9) is None
