"""Random rows of calls, cancellations, failures and outside changes; a model predicts the files.

After every step each artifact, ``.dvc``, entry and `.gitignore` line matches the model. The user's
own lines are unchanged, and no temp file is left. The artifact of a cancelled call is either old or
new, and ``statistics`` says which.
"""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from backends import WAYS
from cancelling import Call, submitted
from disk import look, session_files
from failing import CALLS, Fault, full, nth_failing
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from invariants import Content, assert_nothing_lost, assert_sound, content, md5_of, put
from model import (
    DVC,
    Model,
    Slot,
    State,
    check_result,
    insert_entry,
    read_dvcyaml,
    remove_entry,
    run_dvc,
    write_dvcyaml,
)
from moments import Moment, Moments, many_steps
from session_process import Process, running
from tally import SURVIVED
from twin import Templates

from asynclive import (
    ArtifactNotFoundError,
    ArtifactPathError,
    AsyncLive,
    DvcYamlError,
    StorageError,
)

SLOTS: dict[str, bool | str] = {
    "file.bin": False,
    "data/in-place": False,
    "copied": True,
    "sub.d": "sub/dir",
}
slots = st.sampled_from(sorted(SLOTS))
TEXTS = {"empty": b"", "a": b"a", "b": b"b", "small": b"small " * 9, "large": b"large " * 30_000}
texts = st.sampled_from(sorted(TEXTS))
contents = st.one_of(
    texts,
    st.dictionaries(st.sampled_from("xyz"), texts, max_size=3),
    st.fixed_dictionaries({"x": texts, "below": st.dictionaries(st.just("y"), texts, min_size=1)}),
)
entry_values = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["model", "dataset"]), "meta": st.just({"a": [1, {"b": None}]})},
        optional={"desc": st.text("a#: \n'", min_size=1), "labels": st.just(["x", "y"])},
    ),
)
# A stage, and a position in it, in percent of the moments that similar calls had in that stage.
places = st.tuples(st.sampled_from(["look", "stage", "lock", "commit"]), st.integers(0, 99))
MOMENTS = {"look": 3, "stage": 9, "lock": 1, "commit": 9}
ways = st.integers(0, 2)
FULL = [r"/\.dvc/cache/", r"/\.dvc/tmp/", r"dvc\.yaml", "/dvclive/", r"/repo/data/|/file\.bin"]
# Without calls that remove or close: their temp files stay until the session ends (test_io_errors).
FAILING = ["mkdir", "write", "rename", "replace", "link", "exchange", "copy_file_range", "chmod"]
faults = st.one_of(
    st.sampled_from(FULL).map(lambda pattern: partial(full, pattern)),
    st.builds(
        lambda call, number: partial(nth_failing, call, number, errno.EIO),
        st.sampled_from([call for call in FAILING if call in CALLS]),
        st.integers(0, 4),
    ),
)

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Values = dict[str, Any] | None
Place = tuple[str, int]
MomentCounts = dict[tuple[str, Any], dict[str, int]]
Log = Callable[[], Awaitable[Any]]

STEPS: list[st.SearchStrategy[tuple[str, dict[str, Any]]]] = []
"""The possible steps: a method of Machine and its arguments."""


def step(often: int = 1, **arguments: st.SearchStrategy[Any]) -> Callable[[F], F]:
    """Register the method as a step. ``often``: its weight among all steps."""

    def register(method: F) -> F:
        drawn = st.tuples(st.just(method.__name__), st.fixed_dictionaries(arguments))
        STEPS.extend([drawn] * often)
        return method

    return register


class Machine(RuleBasedStateMachine):
    """A repository, and an AsyncLive that stays open over the steps, on a loop in a thread."""

    def __init__(
        self,
        repo: Path,
        backend: str,
        dvc: Process,
        counts: Counter[str],
        moment_counts: MomentCounts,
    ) -> None:
        super().__init__()
        self.repo = repo
        self.dvc = partial(run_dvc, dvc, repo)
        self.ways = WAYS[backend]
        self.counts = counts
        self.moment_counts = moment_counts
        self.number = 0
        self.slots = {name: Slot(repo, name, copy) for name, copy in SLOTS.items()}
        self.model = Model(list(self.slots.values()))
        for slot in self.model.slots:
            self.model.states[slot] = State(None)
            put(slot.source, b"first")
            self.model.written(slot, b"first")
        os.mkfifo(repo / "fifo")
        with ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            many_steps(patch)
            self.portal = stack.enter_context(start_blocking_portal(backend))
            self.moments: Moments = self.portal.call(Moments, patch)
            self.session = stack.enter_context(ExitStack())
            self.enter()
            self.stack = stack.pop_all()

    def teardown(self) -> None:
        self.stack.close()
        self.model.check()
        assert_nothing_lost(self.repo, removed=self.model.removed)
        assert self.moments.running == 0

    @invariant()
    def matches_the_model(self) -> None:
        self.counts["steps"] += 1
        self.model.check()
        assert_sound(self.repo, removed=self.model.removed)
        assert session_files(self.repo) == []

    def enter(self) -> None:
        live = AsyncLive(root=self.repo, workers=3)
        self.live: AsyncLive = self.session.enter_context(
            self.portal.wrap_async_context_manager(live)
        )
        self.moments.live = live

    # Calls

    @step(often=2, name=slots, values=entry_values)
    def log(self, name: str, values: Values) -> None:
        self.moments.passed.clear()
        self._call(self._logging(name, values))
        self._moment_counts(name).update(self.moments.passed)
        self._logged_or_not_found(name, values)

    @step(often=4, name=slots, values=entry_values, place=places, way=ways)
    def cancel(self, name: str, values: Values, place: Place, way: int) -> None:
        before = look(self.repo, objects=False)
        with self._count_logged() as logged:
            call, action = self.portal.call(
                self.moments.cancel_at,
                self._moment(name, place),
                _choose(self.ways, way),
                self._logging(name, values),
            )
        self.counts[f"cancelled in {place[0]}"] += bool(action)
        if call.cancelled and (place[0] != "commit" or not logged):
            assert not logged
            assert look(self.repo, objects=False) == before
        self._cancelled_or_logged(name, values, call, bool(logged))

    @step(often=2, name=slots, values=entry_values, fault=faults)
    def fail(
        self,
        name: str,
        values: Values,
        fault: Callable[[], Any],
    ) -> None:
        with fault() as armed:
            self._call(self._logging(name, values))
        self._failed_or_logged(name, values, armed)

    @step(often=2, name=slots, values=entry_values, move=st.booleans())
    def submit(self, name: str, values: Values, move: bool) -> None:
        slot = self.slots[name]
        self._call(self._submitting(slot, values, move=move))
        self._logged_or_not_found(name, values)
        self._source_moved(slot, move and self.error is None)
        self.counts["submitted"] += 1

    @step(often=2, name=slots, values=entry_values, move=st.booleans(), place=places, way=ways)
    def cancel_submitted(
        self, name: str, values: Values, move: bool, place: Place, way: int
    ) -> None:
        slot = self.slots[name]
        before = look(self.repo, objects=False)
        with self._count_logged() as logged:
            call, action = self.portal.call(
                self.moments.cancel_at,
                self._moment(name, place),
                _choose(self.ways, way),
                self._submitting(slot, values, move=move),
            )
        self.counts["cancelled in any, submitted"] += bool(action)
        if call.cancelled and not logged:
            assert look(self.repo, objects=False) == before
        self._cancelled_or_logged(name, values, call, bool(logged))
        self._source_moved(slot, move and bool(logged))

    @step(
        name=slots,
        news=st.lists(texts, min_size=2, max_size=3),
        values=entry_values,
        move=st.booleans(),
        latest_wins=st.booleans(),
    )
    def submit_one_after_the_other(
        self, name: str, news: list[str], values: Values, move: bool, latest_wins: bool
    ) -> None:
        slot = self.slots[name]
        _write(slot.source, b"", same_file=False)

        async def submit() -> Any:
            handles = []
            for new in news:
                # As programs save: write a new file and rename it. asynclive may restore an earlier
                # version at the path at any moment.
                new_file = self.repo.parent / "new"
                new_file.write_bytes(TEXTS[new])
                os.replace(new_file, slot.source)
                submit = self._submitting(slot, values, move=move, latest_wins=latest_wins)
                handles.append(await submit(awaits=False))
            return [await handle for handle in handles][-1]

        self._call(submit)
        self.model.written(slot, TEXTS[news[-1]])
        self._logged_or_not_found(name, values)
        self._source_moved(slot, move)
        self.counts["submitted one after the other"] += 1

    @step(path=st.sampled_from(["missing", "fifo"]), values=entry_values, copy=st.booleans())
    def log_an_invalid_path(self, path: str, values: Values, copy: bool) -> None:
        self._call(partial(self.live.log_artifact, path, copy=copy, **(values or {})))
        error = ArtifactNotFoundError if path == "missing" else ArtifactPathError
        assert type(self.error) is error
        self.counts["refused"] += 1

    @step(
        names=st.lists(slots, min_size=2, max_size=4, unique=True),
        values=entry_values,
        place=st.none() | places,
        way=ways,
    )
    def gather(
        self,
        names: list[str],
        values: Values,
        place: Place | None,
        way: int,
    ) -> None:
        """Log several at once, with one path that does not exist; the first may be cancelled."""
        first, *others = names
        outcomes: dict[str, Any] = {}

        async def log(name: str, log: Log) -> None:
            try:
                outcomes[name] = await log()
            except ArtifactNotFoundError as error:
                outcomes[name] = error

        async def together() -> Call | None:
            async with anyio.create_task_group() as task_group:
                for name in others:
                    task_group.start_soon(log, name, self._logging(name, values))
                task_group.start_soon(log, "missing", partial(self.live.log_artifact, "missing"))
                if place is None:
                    await log(first, self._logging(first, values))
                    return None
                moment = self._moment(first, place)
                log_first = self._logging(first, values)
                call, action = await self.moments.cancel_at(
                    moment, _choose(self.ways, way), log_first
                )
                self.counts["cancelled in any, with others in flight"] += bool(action)
                return call

        with self._count_logged() as logged:
            call = self.portal.call(together)
        assert type(outcomes.pop("missing")) is ArtifactNotFoundError
        for name in others if call else names:
            self._outcome(outcomes[name])
            self._logged_or_not_found(name, values)
        if call:
            found = sum(not isinstance(one, Exception) for one in outcomes.values())
            self._cancelled_or_logged(first, values, call, sum(logged) > found)
        self.counts["gathered"] += len(names)

    @step()
    def leave_and_enter_another(self) -> None:
        self.session.close()
        assert_nothing_lost(self.repo, removed=self.model.removed)
        self.enter()
        self.counts["entered again"] += 1

    # Changes by the user and by other programs

    @step(often=2, name=slots, new=contents, same_file=st.booleans())
    def write(self, name: str, new: Any, same_file: bool) -> None:
        slot, new = self.slots[name], _content_of(new)
        _write(slot.source, new, same_file)
        self.model.written(slot, new)
        self.counts["written"] += 1

    @step(name=slots, new=contents | st.none(), same_file=st.booleans())
    def spoil(self, name: str, new: Any, same_file: bool) -> None:
        """The user overwrites or removes a tracked path; the source of a copy stays."""
        slot, new = self.slots[name], _content_of(new)
        _write(slot.path, new, same_file)
        self.model.states[slot] = self.model.states[slot]._replace(content=new)
        if not slot.copy:
            self.model.written(slot, new)
        self.counts["spoilt"] += 1

    @step(often=2, command=st.sampled_from(["add", "remove", "status"]), name=slots)
    def run_dvc(self, command: str, name: str) -> None:
        slot = self.slots[name]
        state = self.model.states[slot]
        if command == "add" and state.content is not None:
            self.dvc("add", slot.relpath)
            self.model.states[slot] = state._replace(md5=md5_of(state.content))
        elif command == "remove" and state.md5 is not None:
            self.dvc("remove", slot.dvc_file)
            self.model.states[slot] = state._replace(md5=None)
        else:
            command = "status"
            assert set(self.dvc("status")) == self.model.modified
        self.counts[f"dvc {command}"] += 1

    @step(
        often=2,
        change=st.sampled_from(["comment", "entry", "no entry", "metrics", "params", "plots"]),
        where=st.integers(0, 99),
    )
    def edit_dvcyaml(self, change: str, where: int) -> None:
        lines = read_dvcyaml(self.repo)
        self.number += 1
        if change == "comment":
            heads = [at for at, line in enumerate(lines) if re.match(r"  [^ #]", line)]
            at = _choose([0, len(lines), *heads], where)
            comment = f"{'  ' * (at in heads)}# comment {self.number}"
            lines.insert(at, comment)
            self.model.lines.append(comment)
        elif change == "entry":
            name, entry = f"by-hand-{self.number}", {"path": "fifo", "type": "theirs"}
            insert_entry(lines, name, entry)
            self.model.by_hand[name] = entry
        elif change == "no entry":
            self._remove_entry(lines, where)
        elif f"{change}:" not in lines:
            added = [f"{change}:", f"- {change}.json"]
            at = _choose([0, len(lines)], where)
            lines[at:at] = added
            self.model.lines += added
        write_dvcyaml(self.repo, lines)
        self.counts[f"edited: {change}"] += 1

    def _remove_entry(self, lines: list[str], where: int) -> None:
        ours = {slot.key: slot for slot in self.model.slots if self.model.states[slot].entry}
        names = sorted({**self.model.by_hand, **ours})
        if not names:
            return
        name = _choose(names, where)
        remove_entry(lines, name)
        if name in ours:
            state = self.model.states[ours[name]]
            self.model.states[ours[name]] = state._replace(entry=None)
        else:
            del self.model.by_hand[name]

    # A single rule for all steps: with many rules, hypothesis disables some of them in each row.
    @rule(step=st.one_of(STEPS))
    def do(self, step: tuple[str, dict[str, Any]]) -> None:
        method, arguments = step
        getattr(self, method)(**arguments)

    # Calls and their outcomes

    def _logging(self, name: str, values: Values) -> Log:
        slot = self.slots[name]
        given = {} if values is None else {"name": slot.key, **values}
        return partial(self.live.log_artifact, slot.source, copy=slot.copy, **given)

    def _submitting(self, slot: Slot, values: Values, **options: bool) -> Any:
        given = {} if values is None else {"name": slot.key, **values}
        given = {"copy": slot.copy, **given, **options}

        async def submit(*, awaits: bool = True) -> Any:
            if awaits:
                return await submitted(self.live, slot.source, **given)
            return await self.live.submit(slot.source, **given)

        return submit

    def _source_moved(self, slot: Slot, moved: bool) -> None:
        """Record that the source of a copy was moved and logged: it is no longer at its path."""
        if moved and slot.copy:
            self.model.written(slot, None)

    def _call(self, log: Log) -> None:
        try:
            self._outcome(self.portal.call(log))
        except Exception as error:
            self._outcome(error)

    def _outcome(self, outcome: Any) -> None:
        failed = isinstance(outcome, Exception)
        self.result = None if failed else outcome
        self.error: Exception | None = outcome if failed else None

    def _moment(self, name: str, place: Place) -> Moment:
        stage, hundredths = place
        return stage, 1 + hundredths * self._moment_counts(name)[stage] // 100

    def _moment_counts(self, name: str) -> dict[str, int]:
        """Return how many moments the last similar call had in each stage."""
        source = self.model.sources[self.slots[name]]
        kind = "directory" if isinstance(source, dict) else len(source or b"") // 100_000
        return self.moment_counts.setdefault((name, kind), dict(MOMENTS))

    @contextmanager
    def _count_logged(self) -> Iterator[list[int]]:
        """Yield a list that gets the number of calls logged in the block, unless it is zero."""
        logged: list[int] = []
        before = self.live.statistics().logged
        yield logged
        if number := self.live.statistics().logged - before:
            logged.append(number)

    def _logged_or_not_found(self, name: str, values: Values) -> None:
        slot = self.slots[name]
        if self.model.sources[slot] is None:
            assert type(self.error) is ArtifactNotFoundError
            self.counts["not found"] += 1
            return
        if self.error is not None:
            raise self.error
        new = self.model.logged(slot, values)
        check_result(slot, values, new, self.result)
        self.model.states[slot] = new
        self.counts["logged"] += 1

    def _cancelled_or_logged(self, name: str, values: Values, call: Call, logged: bool) -> None:
        slot = self.slots[name]
        if not call.cancelled:
            self._outcome(call.error or call.result)
            self._logged_or_not_found(name, values)
        elif logged:
            self.model.states[slot] = self.model.logged(slot, values)
            self.counts["cancelled too late"] += 1
        else:
            self.counts["cancelled"] += 1

    def _failed_or_logged(self, name: str, values: Values, fault: Fault) -> None:
        if isinstance(self.error, StorageError | DvcYamlError):
            assert fault.failed_calls
            assert isinstance(self.error.__cause__, OSError)
            assert self.error.__cause__.errno == fault.error
            assert str(self.repo) in str(self.error)
            self.counts["failed"] += 1
        else:
            self._logged_or_not_found(name, values)


def _choose(choices: Sequence[T], number: int) -> T:
    return choices[number % len(choices)]


def _content_of(texts: Any) -> Content | None:
    """Return the content from the drawn names of texts; so hypothesis draws no large values."""
    if isinstance(texts, dict):
        return {name: _content_of(below) or b"" for name, below in texts.items()}
    return None if texts is None else TEXTS[texts]


def _write(path: Path, new: Any, same_file: bool) -> None:
    """Write the content; if ``same_file``, into the existing file, as some programs do."""
    if same_file and isinstance(new, bytes) and path.is_file() and content(path) is not None:
        path.write_bytes(new)
    else:
        put(path, new)


def run(
    templates: Templates, tmp_path: Path, backend: str, *, rows: int, steps: int
) -> Counter[str]:
    """Run this number of rows of steps; the rows are the same in each run."""
    counts: Counter[str] = Counter()
    moment_counts: MomentCounts = {}

    def make() -> Machine:
        counts["repositories"] += 1
        repo = templates.make("git", tmp_path / str(counts["repositories"]))
        return Machine(repo, backend, process, counts, moment_counts)

    with running(DVC) as process:
        run_state_machine_as_test(
            make,
            settings=settings(
                max_examples=rows,
                stateful_step_count=steps,
                deadline=None,
                phases=[Phase.generate],
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        process.end()
    SURVIVED[f"steps in random rows, on {backend}"] += counts["steps"]
    SURVIVED[f"calls cancelled in random rows, on {backend}"] += sum(
        number for count, number in counts.items() if count.startswith("cancelled in ")
    )
    return counts


def test_short_random_rows_of_steps_match_the_model(
    templates: Templates, tmp_path: Path, anyio_backend: str
) -> None:
    counts = run(templates, tmp_path, anyio_backend, rows=6, steps=20)
    assert counts["steps"] > 100
    assert counts["logged"]
    assert counts["cancelled"]


@pytest.mark.long
def test_long_random_rows_of_steps_match_the_model(
    templates: Templates, tmp_path: Path, anyio_backend: str
) -> None:
    counts = run(templates, tmp_path, anyio_backend, rows=20, steps=60)
    assert counts["steps"] > 1000
    assert [count for count, number in counts.items() if number == 0] == []
    assert counts.keys() > {f"cancelled in {stage}" for stage in MOMENTS}
    assert counts.keys() > {"failed", "refused", "dvc add", "dvc remove", "edited: no entry"}
