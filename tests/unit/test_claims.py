"""Claims: against a model that compares a call with every other one."""

from __future__ import annotations

import itertools
from pathlib import PurePosixPath

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from layouts import request_of

from asynclive._artifact import ArtifactRequest
from asynclive._claims import Claims
from asynclive._errors import ArtifactConflictError


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
        self.claims = Claims()
        self.held: list[ArtifactRequest] = []
        self.named_copies: dict[str, str] = {}
        self.numbers = itertools.count()

    def may_go(self, new: ArtifactRequest) -> bool:
        if any(meet(new.path, other.path) for other in self.held):
            return False
        if new.entry is None:
            return True
        if any(new.name == other.name and other.entry is not None for other in self.held):
            return False
        return not new.copy or self.named_copies.get(new.path, new.name) == new.name

    @rule(
        target=in_flight,
        path=paths,
        name=st.sampled_from(["n", "m"]),
        entry=st.booleans(),
        copy=st.booleans(),
    )
    def call(self, path: str, name: str, entry: bool, copy: bool) -> ArtifactRequest | None:
        source = f"/from/{next(self.numbers)}" if copy else None
        new = request_of(path, name=name, entry=entry, source=source)
        if self.may_go(new):
            self.claims.take(new)
            self.held.append(new)
            return new
        with pytest.raises(ArtifactConflictError) as caught:
            self.claims.take(new)
        assert caught.value.path == new.source
        assert caught.value.other in str(caught.value)
        assert caught.value.other in {other.source for other in self.held} | {new.path}
        return None

    @rule(ended=consumes(in_flight), logged=st.booleans())
    def end(self, ended: ArtifactRequest | None, logged: bool) -> None:
        if ended is None:  # it was refused
            return
        if logged:
            self.claims.remember(ended)
            if ended.copy and ended.entry is not None:
                self.named_copies[ended.path] = ended.name
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
    claims = Claims()
    claims.take(request_of("/a", name="n", entry=True))
    with pytest.raises(ArtifactConflictError):
        claims.take(request_of("/b", name="n", entry=True))
    claims.take(request_of("/b", name="m", entry=True))


def test_paths_of_one_name_and_names_of_one_prefix_do_not_meet() -> None:
    claims = Claims()
    for path in ("/data", "/data_v2", "/dat", "/data.dvc", "/x/data"):
        claims.take(request_of(path, name=path.replace("/", "-")[1:], entry=True))


def test_a_copy_may_be_taken_from_a_path_that_is_being_logged() -> None:
    claims = Claims()
    claims.take(request_of("/model"))
    claims.take(request_of("/artifacts/model", source="/model"))


def test_the_message_names_both_and_how_they_meet() -> None:
    claims = Claims()
    claims.take(request_of("/data"))
    with pytest.raises(ArtifactConflictError) as caught:
        claims.take(request_of("/data/part"))
    assert (caught.value.path, caught.value.other) == ("/data/part", "/data")
    assert "'/data' is being logged at '/data'" in str(caught.value)


def test_the_message_offers_another_place_to_a_copy_that_meets_a_copy() -> None:
    claims = Claims()
    claims.take(request_of("/artifacts/net.pt", source="/run1/net.pt"))
    with pytest.raises(ArtifactConflictError, match="copy='sub/dir'") as caught:
        claims.take(request_of("/artifacts/net.pt", source="/run2/net.pt"))
    assert "'/run1/net.pt' is being copied to '/artifacts/net.pt'" in str(caught.value)


def test_the_message_says_of_the_other_call_what_that_one_does() -> None:
    claims = Claims()
    claims.take(request_of("/artifacts/net.pt"))
    with pytest.raises(ArtifactConflictError, match="is being logged at"):
        claims.take(request_of("/artifacts/net.pt", source="/run2/net.pt"))


def test_a_copy_keeps_its_name_for_the_session() -> None:
    claims = Claims()
    first = request_of("/artifacts/net.pt", source="/run1/net.pt", name="one", entry=True)
    claims.take(first)
    claims.remember(first)
    claims.release(first)
    with pytest.raises(ArtifactConflictError, match="the artifact 'one' of this session"):
        claims.take(request_of("/artifacts/net.pt", source="/run2/net.pt", name="two", entry=True))
    claims.take(request_of("/artifacts/net.pt", source="/run2/net.pt", name="one", entry=True))


def test_a_copy_that_was_not_logged_leaves_no_name() -> None:
    claims = Claims()
    failed = request_of("/artifacts/net.pt", source="/run1/net.pt", name="one", entry=True)
    claims.take(failed)
    claims.release(failed)
    claims.take(request_of("/artifacts/net.pt", source="/run2/net.pt", name="two", entry=True))
