"""Conflicts, and a model of it that compares a call with each other call in flight."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from layouts import request_of

from asynclive._artifact.request import ArtifactRequest
from asynclive._calls.conflicts import Conflicts
from asynclive._errors import ArtifactConflictError


@dataclass(eq=False)
class FakeCall:
    """A call, as ``Conflicts`` uses it."""

    request: ArtifactRequest
    submitted: bool = False
    latest_wins: bool = False


def make_call(*args: Any, submitted: bool = False, **values: Any) -> FakeCall:
    return FakeCall(request_of(*args, **values), submitted)


def overlap(one: str, other: str) -> bool:
    """Return whether one path is or contains the other, by their parts."""
    a, b = PurePosixPath(one), PurePosixPath(other)
    return a == b or a in b.parents or b in a.parents


# Few names, and alike: most calls conflict with one that is in flight.
paths = st.lists(st.sampled_from(["a", "ab", "b"]), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)


class ConflictsModel(RuleBasedStateMachine):
    in_flight = Bundle("in_flight")

    def __init__(self) -> None:
        super().__init__()
        self.conflicts: Conflicts[FakeCall] = Conflicts()
        self.calls_in_flight: list[FakeCall] = []
        self.named_copies: dict[str, str] = {}
        self.numbers = itertools.count()

    def conflicting_calls(self, new: ArtifactRequest) -> list[FakeCall]:
        return [
            call
            for call in self.calls_in_flight
            if overlap(new.path, call.request.path)
            or (
                (new.entry is not None and call.request.entry is not None)
                and new.name == call.request.name
            )
        ]

    def is_allowed(self, call: FakeCall) -> bool:
        new = call.request
        for other in self.conflicting_calls(new):
            if not (call.submitted or other.submitted or (call.latest_wins and other.latest_wins)):
                return False
            copies = new.copy and other.request.copy and new.path == other.request.path
            annotated = new.entry is not None and other.request.entry is not None
            if copies and annotated and new.name != other.request.name:
                return False
        if new.entry is None:
            return True
        return not new.copy or self.named_copies.get(new.path, new.name) == new.name

    @rule(
        target=in_flight,
        path=paths,
        name=st.sampled_from(["n", "m"]),
        entry=st.booleans(),
        copy=st.booleans(),
        submitted=st.booleans(),
        latest_wins=st.booleans(),
    )
    def call(
        self, path: str, name: str, entry: bool, copy: bool, submitted: bool, latest_wins: bool
    ) -> FakeCall | None:
        source = f"/from/{next(self.numbers)}" if copy else None
        new = FakeCall(
            request_of(path, name=name, entry=entry, source=source), submitted, latest_wins
        )
        if self.is_allowed(new):
            earlier = self.conflicts.claim(new)
            assert set(earlier) == set(self.conflicting_calls(new.request))
            assert len(earlier) == len(set(earlier))
            self.calls_in_flight.append(new)
            return new
        with pytest.raises(ArtifactConflictError) as caught:
            self.conflicts.claim(new)
        assert caught.value.path == new.request.source
        assert caught.value.other in str(caught.value)
        others = {other.request.source for other in self.calls_in_flight}
        assert caught.value.other in others | {new.request.path}
        return None

    @rule(ended=consumes(in_flight), logged=st.booleans())
    def end(self, ended: FakeCall | None, logged: bool) -> None:
        if ended is None:  # the call was refused
            return
        request = ended.request
        if logged:
            self.conflicts.reserve_copy(request)
            if request.copy and request.entry is not None:
                self.named_copies[request.path] = request.name
        self.conflicts.release(ended)
        self.calls_in_flight.remove(ended)

    @invariant()
    def ended_calls_leave_nothing(self) -> None:
        if not self.calls_in_flight:
            # Only the names of copies outlive a call.
            kept = {name: value for name, value in vars(self.conflicts).items() if value}
            assert kept in ({}, {"_copy_names": self.named_copies})


TestConflictsModel = ConflictsModel.TestCase


def test_a_refused_call_claims_nothing() -> None:
    conflicts: Conflicts[FakeCall] = Conflicts()
    conflicts.claim(make_call("/a", name="n", entry=True))
    with pytest.raises(ArtifactConflictError):
        conflicts.claim(make_call("/b", name="n", entry=True))
    conflicts.claim(make_call("/b", name="m", entry=True))


def test_paths_with_a_common_prefix_do_not_conflict() -> None:
    conflicts: Conflicts[FakeCall] = Conflicts()
    for path in ("/data", "/data_v2", "/dat", "/data.dvc", "/x/data"):
        conflicts.claim(make_call(path, name=path.replace("/", "-")[1:], entry=True))


def test_a_path_may_be_copied_while_it_is_logged() -> None:
    conflicts: Conflicts[FakeCall] = Conflicts()
    conflicts.claim(make_call("/model"))
    conflicts.claim(make_call("/artifacts/model", source="/model"))


def test_the_message_names_both_paths_and_the_conflict() -> None:
    conflicts: Conflicts[FakeCall] = Conflicts()
    conflicts.claim(make_call("/data"))
    with pytest.raises(ArtifactConflictError) as caught:
        conflicts.claim(make_call("/data/part"))
    assert (caught.value.path, caught.value.other) == ("/data/part", "/data")
    assert "'/data' is being logged at '/data'" in str(caught.value)


def test_the_message_offers_another_place_for_a_copy() -> None:
    conflicts: Conflicts[FakeCall] = Conflicts()
    conflicts.claim(make_call("/artifacts/net.pt", source="/run1/net.pt"))
    with pytest.raises(ArtifactConflictError, match="copy='sub/dir'") as caught:
        conflicts.claim(make_call("/artifacts/net.pt", source="/run2/net.pt"))
    assert "'/run1/net.pt' is being copied to '/artifacts/net.pt'" in str(caught.value)


def test_the_message_says_logged_if_the_other_call_makes_no_copy() -> None:
    conflicts: Conflicts[FakeCall] = Conflicts()
    conflicts.claim(make_call("/artifacts/net.pt"))
    with pytest.raises(ArtifactConflictError, match="is being logged at"):
        conflicts.claim(make_call("/artifacts/net.pt", source="/run2/net.pt"))


def test_a_logged_copy_keeps_its_name_for_the_session() -> None:
    conflicts: Conflicts[FakeCall] = Conflicts()
    first = make_call("/artifacts/net.pt", source="/run1/net.pt", name="one", entry=True)
    conflicts.claim(first)
    conflicts.reserve_copy(first.request)
    conflicts.release(first)
    with pytest.raises(ArtifactConflictError, match="the artifact 'one' of this session"):
        conflicts.claim(
            make_call("/artifacts/net.pt", source="/run2/net.pt", name="two", entry=True)
        )
    conflicts.claim(make_call("/artifacts/net.pt", source="/run2/net.pt", name="one", entry=True))


def test_a_copy_that_was_not_logged_reserves_no_name() -> None:
    conflicts: Conflicts[FakeCall] = Conflicts()
    failed = make_call("/artifacts/net.pt", source="/run1/net.pt", name="one", entry=True)
    conflicts.claim(failed)
    conflicts.release(failed)
    conflicts.claim(make_call("/artifacts/net.pt", source="/run2/net.pt", name="two", entry=True))


def test_a_submitted_call_comes_after_the_calls_it_conflicts_with() -> None:
    conflicts: Conflicts[FakeCall] = Conflicts()
    first = make_call("/data", name="n", entry=True)
    named = make_call("/other", name="m", entry=True, submitted=True)
    assert conflicts.claim(first) == []
    assert conflicts.claim(named) == []
    assert conflicts.claim(make_call("/data/part", name="m", entry=True, submitted=True)) == [
        first,
        named,
    ]
    conflicts.release(first)
    # An awaited call may come after a submitted one, but not after an awaited one.
    assert conflicts.claim(make_call("/other")) == [named]
    with pytest.raises(ArtifactConflictError):
        conflicts.claim(make_call("/other"))


def test_a_copy_under_another_name_is_refused_while_the_first_is_in_flight() -> None:
    conflicts: Conflicts[FakeCall] = Conflicts()
    one = make_call("/artifacts/a", source="/1/a", name="one", entry=True, submitted=True)
    conflicts.claim(one)
    with pytest.raises(ArtifactConflictError, match="as 'one'"):
        conflicts.claim(
            make_call("/artifacts/a", source="/2/a", name="two", entry=True, submitted=True)
        )
    conflicts.claim(
        make_call("/artifacts/a", source="/2/a", name="one", entry=True, submitted=True)
    )
