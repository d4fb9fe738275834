"""The counters that a worker reports."""

from __future__ import annotations

from asynclive._isolation.messages import Numbers, add_numbers


def test_the_counters_of_two_workers_add_up() -> None:
    one = Numbers(1, 2, 3, 4, 5, {1: 2, 3: 4})
    other = Numbers(10, 20, 30, 40, 50, {3: 1, 5: 1})
    assert add_numbers(one, other) == Numbers(11, 22, 33, 44, 55, {1: 2, 3: 5, 5: 1})
