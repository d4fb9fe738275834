"""Claims: against a model that compares a call with every other one."""

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
class Caller:
    """A call, as far as claims look at it."""

    request: ArtifactRequest
    submitted: bool = False
    latest_wins: bool = False


def calling(*args: Any, submitted: bool = False, **values: Any) -> Caller:
    return Caller(request_of(*args, **values), submitted)


def meet(one: str, other: str) -> bool:
    """Whether one path is or holds the other, by their parts."""
    a, b = PurePosixPath(one), PurePosixPath(other)
    return a == b or a in b.parents or b in a.parents


# Few names, close to one another: most calls meet one that is in flight.
paths = st.lists(st.sampled_from(["a", "ab", "b"]), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)


class ClaimsModel(RuleBasedStateMachine):
    in_flight = Bundle("in_flight")

    def __init__(self) -> None:
        super().__init__()
        self.claims: Conflicts[Caller] = Conflicts()
        self.held: list[Caller] = []
        self.named_copies: dict[str, str] = {}
        self.numbers = itertools.count()

    def meeting(self, new: ArtifactRequest) -> list[Caller]:
        return [
            call
            for call in self.held
            if meet(new.path, call.request.path)
            or (
                (new.entry is not None and call.request.entry is not None)
                and new.name == call.request.name
            )
        ]

    def may_go(self, call: Caller) -> bool:
        new = call.request
        for other in self.meeting(new):
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
    ) -> Caller | None:
        source = f"/from/{next(self.numbers)}" if copy else None
        new = Caller(
            request_of(path, name=name, entry=entry, source=source), submitted, latest_wins
        )
        if self.may_go(new):
            earlier = self.claims.take(new)
            assert set(earlier) == set(self.meeting(new.request))
            assert len(earlier) == len(set(earlier))
            self.held.append(new)
            return new
        with pytest.raises(ArtifactConflictError) as caught:
            self.claims.take(new)
        assert caught.value.path == new.request.source
        assert caught.value.other in str(caught.value)
        others = {other.request.source for other in self.held}
        assert caught.value.other in others | {new.request.path}
        return None

    @rule(ended=consumes(in_flight), logged=st.booleans())
    def end(self, ended: Caller | None, logged: bool) -> None:
        if ended is None:  # it was refused
            return
        request = ended.request
        if logged:
            self.claims.remember(request)
            if request.copy and request.entry is not None:
                self.named_copies[request.path] = request.name
        self.claims.release(ended)
        self.held.remove(ended)

    @invariant()
    def nothing_is_kept_of_calls_that_ended(self) -> None:
        if not self.held:
            # The names of copies are all that outlives a call.
            kept = {name: value for name, value in vars(self.claims).items() if value}
            assert kept in ({}, {"_named_copies": self.named_copies})


TestClaimsModel = ClaimsModel.TestCase


def test_a_refused_call_claims_nothing() -> None:
    claims: Conflicts[Caller] = Conflicts()
    claims.take(calling("/a", name="n", entry=True))
    with pytest.raises(ArtifactConflictError):
        claims.take(calling("/b", name="n", entry=True))
    claims.take(calling("/b", name="m", entry=True))


def test_paths_of_one_name_and_names_of_one_prefix_do_not_meet() -> None:
    claims: Conflicts[Caller] = Conflicts()
    for path in ("/data", "/data_v2", "/dat", "/data.dvc", "/x/data"):
        claims.take(calling(path, name=path.replace("/", "-")[1:], entry=True))


def test_a_copy_may_be_taken_from_a_path_that_is_being_logged() -> None:
    claims: Conflicts[Caller] = Conflicts()
    claims.take(calling("/model"))
    claims.take(calling("/artifacts/model", source="/model"))


def test_the_message_names_both_and_how_they_meet() -> None:
    claims: Conflicts[Caller] = Conflicts()
    claims.take(calling("/data"))
    with pytest.raises(ArtifactConflictError) as caught:
        claims.take(calling("/data/part"))
    assert (caught.value.path, caught.value.other) == ("/data/part", "/data")
    assert "'/data' is being logged at '/data'" in str(caught.value)


def test_the_message_offers_another_place_to_a_copy_that_meets_a_copy() -> None:
    claims: Conflicts[Caller] = Conflicts()
    claims.take(calling("/artifacts/net.pt", source="/run1/net.pt"))
    with pytest.raises(ArtifactConflictError, match="copy='sub/dir'") as caught:
        claims.take(calling("/artifacts/net.pt", source="/run2/net.pt"))
    assert "'/run1/net.pt' is being copied to '/artifacts/net.pt'" in str(caught.value)


def test_the_message_says_of_the_other_call_what_that_one_does() -> None:
    claims: Conflicts[Caller] = Conflicts()
    claims.take(calling("/artifacts/net.pt"))
    with pytest.raises(ArtifactConflictError, match="is being logged at"):
        claims.take(calling("/artifacts/net.pt", source="/run2/net.pt"))


def test_a_copy_keeps_its_name_for_the_session() -> None:
    claims: Conflicts[Caller] = Conflicts()
    first = calling("/artifacts/net.pt", source="/run1/net.pt", name="one", entry=True)
    claims.take(first)
    claims.remember(first.request)
    claims.release(first)
    with pytest.raises(ArtifactConflictError, match="the artifact 'one' of this session"):
        claims.take(calling("/artifacts/net.pt", source="/run2/net.pt", name="two", entry=True))
    claims.take(calling("/artifacts/net.pt", source="/run2/net.pt", name="one", entry=True))


def test_a_copy_that_was_not_logged_leaves_no_name() -> None:
    claims: Conflicts[Caller] = Conflicts()
    failed = calling("/artifacts/net.pt", source="/run1/net.pt", name="one", entry=True)
    claims.take(failed)
    claims.release(failed)
    claims.take(calling("/artifacts/net.pt", source="/run2/net.pt", name="two", entry=True))


def test_a_submitted_call_comes_after_those_it_meets() -> None:
    claims: Conflicts[Caller] = Conflicts()
    first = calling("/data", name="n", entry=True)
    named = calling("/other", name="m", entry=True, submitted=True)
    assert claims.take(first) == []
    assert claims.take(named) == []
    assert claims.take(calling("/data/part", name="m", entry=True, submitted=True)) == [
        first,
        named,
    ]
    claims.release(first)
    # What waits for its caller may come after what was submitted, not meet its own kind.
    assert claims.take(calling("/other")) == [named]
    with pytest.raises(ArtifactConflictError):
        claims.take(calling("/other"))


def test_a_copy_under_another_name_is_refused_while_the_first_is_on_its_way() -> None:
    claims: Conflicts[Caller] = Conflicts()
    one = calling("/artifacts/a", source="/1/a", name="one", entry=True, submitted=True)
    claims.take(one)
    with pytest.raises(ArtifactConflictError, match="as 'one'"):
        claims.take(calling("/artifacts/a", source="/2/a", name="two", entry=True, submitted=True))
    claims.take(calling("/artifacts/a", source="/2/a", name="one", entry=True, submitted=True))
