"""What the search for the run of a lost request finds, and what it leaves to a person or to a later delivery."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.azure_devops.reconcile import Build
from shared.azure_devops.runs import RunRequest
from shared.errors import ClaimLost, DeliveryDeferred, RequestNotSent, RequestRefused, UnreadableRecord
from shared.journal.records import Record, State, Store
from shared.queueing.search import LostRequest
from shared.telemetry import Outcome
from tests.support.builders import run_completed
from tests.support.clock import ManualClock
from tests.support.fakes import LOST, LOST_UNQUEUED, FakePipelines
from tests.support.journal.records import store_with
from tests.support.relays import LEASE, SETTLE, Bench, deferred, outcomes

SAME = "name: same\nevent: RunCompleted\npipeline: p\nparameters: { what: anything }"
SKIPS = SAME.replace("name: same", "name: skips") + "\nstages_to_skip: [Deploy]"


@pytest.fixture
def bench(store: Store, clock: ManualClock) -> Iterator[Bench]:
    with Bench.with_neighbor(store, clock) as bench:
        yield bench


def lose(bench: Bench, *entries: str, event: str = "a", queued: bool = False) -> Record:
    """Deliver an event whose answer is lost, and let it settle. Return its record."""
    bench.pipelines.plan.append(LOST if queued else LOST_UNQUEUED)
    deferred(bench.relay(*entries), run_completed(event))
    bench.clock.advance(SETTLE)
    return bench.record()


class TestTheWindow:
    def test_a_search_that_fails_does_not_widen_it(self, bench: Bench) -> None:
        """A run that is queued after the request has settled is somebody else's."""
        until = lose(bench, SAME).lost_until
        bench.pipelines.search_error = RequestNotSent("down")
        for _ in range(3):
            bench.clock.advance(60)
            deferred(bench.relay(SAME), run_completed("a"))
            assert bench.record().lost_until == until
        bench.pipelines.search_error = None
        later = bench.pipelines.queue(RunRequest.from_json(bench.record().entry.request))
        (decision,) = bench.relay(SAME).deliver(run_completed("a")).decisions
        assert (decision.outcome, decision.run_id) == (Outcome.QUEUED, later.id + 1)
        bench.pipelines.books.pop(0)  # the bench expects each run to belong to a record

    def test_a_second_request_extends_it_before_it_is_sent(self, bench: Bench) -> None:
        until = lose(bench, SAME).lost_until
        assert until is not None
        seen: list[datetime | None] = []

        def die() -> None:
            seen.append(bench.record().lost_until)
            raise KeyboardInterrupt

        bench.pipelines.plan.append(die)
        with pytest.raises(KeyboardInterrupt):
            bench.relay(SAME).deliver(run_completed("a"))
        assert seen[0] is not None
        assert seen[0] > until
        bench.clock.advance(LEASE + SETTLE)
        (decision,) = bench.relay(SAME).deliver(run_completed("a")).decisions
        assert (decision.run_id, len(bench.pipelines.books)) == (100, 1)

    def test_a_record_of_an_earlier_version_has_one_too(self, bench: Bench) -> None:
        record = lose(bench, SAME, queued=True)._replace(lost_until=None)
        assert LostRequest.of(record).until == record.settled_at


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_clock_of_the_journal_differs(bench: Bench, hours: int) -> None:
    """The journal's times are compared with those of builds: the period of the search, and who owns a run."""
    bench.store = store_with(bench.store, clock_offset=lambda: timedelta(hours=hours))
    (first,) = bench.relay(SAME).deliver(run_completed("b")).decisions
    lose(bench, SAME, queued=True)
    (second,) = bench.relay(SAME).deliver(run_completed("a")).decisions
    assert (first.run_id, second.run_id, len(bench.pipelines.books)) == (100, 101, 2)


def test_a_record_that_cannot_be_read_is_named_in_each_delivery_that_needs_it(bench: Bench) -> None:
    """The run may belong to it. Without it, the run is adopted."""
    broken = UnreadableRecord("the record 1234 of route r cannot be read; repair or delete the record", "r", "1234")

    def unreadable(_run_ids: object) -> Iterator[Record]:
        raise broken

    lose(bench, SAME, queued=True)
    relay = bench.relay(SAME, store=store_with(bench.store, may_own=unreadable))
    reason = f"a run that was found may belong to another record: {broken}"
    for _ in range(2):
        assert deferred(relay, run_completed("a")) == f"deferred on same: {reason}"
        assert (bench.record().state, bench.record().reason) == (State.UNCERTAIN, reason)
    (decision,) = bench.relay(SAME).deliver(run_completed("a")).decisions
    assert decision.run_id == 100


@dataclass
class Pages(FakePipelines):
    """Lists one run per page. The listing fails after some pages."""

    pages_left: int = 2

    def builds(
        self, request: RunRequest, since: datetime, until: datetime, deadline: datetime
    ) -> Iterator[Sequence[Build]]:
        for page in super().builds(request, since, until, deadline):
            for number, build in enumerate(page):
                if number == self.pages_left:
                    raise RequestNotSent("no time is left")
                yield [build]


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_paging_continues_where_it_stopped(bench: Bench, hours: int) -> None:
    """The journal's clock may be another one."""
    offset = timedelta(hours=hours)
    bench.store = store_with(bench.store, clock_offset=lambda: offset)
    bench.pipelines = Pages(bench.clock, plan=bench.pipelines.plan)
    relay = bench.relay(SAME)
    record = lose(bench, SAME)
    request, claimed_at = RunRequest.from_json(record.entry.request), record.claimed_at - offset
    for number in range(4):  # of strangers
        bench.pipelines.queue(request, requester="a person")
        bench.pipelines.books[-1] = replace(bench.pipelines.books[-1], at=claimed_at + timedelta(seconds=8 * number))
    bench.pipelines.queue(request)
    bench.pipelines.books[-1] = replace(bench.pipelines.books[-1], at=claimed_at + timedelta(seconds=29))
    for _ in range(3):
        deferred(relay, run_completed("a"))
    (decision,) = relay.deliver(run_completed("a")).decisions
    assert decision.run_id == 104
    del bench.pipelines.books[:4]


class TestWhoseRun:
    @pytest.mark.parametrize("reason", ["schedule", "individualCI", "pullRequest"])
    def test_a_run_that_nobody_asked_for_is_not_ours(self, bench: Bench, reason: str) -> None:
        record = lose(bench, SAME, queued=True)
        bench.pipelines.books[0] = replace(bench.pipelines.books[0], reason=reason)
        (decision,) = bench.relay(SAME).deliver(run_completed("a")).decisions
        assert decision.run_id == 101
        assert record.run_id is None
        bench.pipelines.books.pop(0)

    def test_the_requester_is_not_compared_if_the_credential_has_changed(self, bench: Bench) -> None:
        lose(bench, SAME, queued=True)
        bench.pipelines.books[0] = replace(bench.pipelines.books[0], requester="the identity of before")
        bench.pipelines.sender = lambda: "another credential"  # type: ignore[method-assign]
        (decision,) = bench.relay(SAME).deliver(run_completed("a")).decisions
        assert decision.run_id == 100

    def test_a_live_run_is_preferred_to_a_canceled_one(self, bench: Bench) -> None:
        record = lose(bench, SAME, queued=True)
        bench.pipelines.queue(RunRequest.from_json(record.entry.request))
        bench.pipelines.books[1] = replace(bench.pipelines.books[1], at=bench.pipelines.books[0].at)
        bench.pipelines.canceled.append(100)
        (decision,) = bench.relay(SAME).deliver(run_completed("a")).decisions
        assert decision.run_id == 101


class TestWhatTheListDoesNotShow:
    def test_skipped_stages_belong_to_the_request(self, bench: Bench) -> None:
        """Both answers are lost. Each event gets the run that skips what its own route skips."""
        relay = bench.relay(SAME, SKIPS)
        bench.pipelines.plan.extend([LOST, LOST])
        deferred(relay, run_completed("a"))
        bench.pipelines.books.reverse()
        bench.clock.advance(SETTLE)
        whole, partly = relay.deliver(run_completed("a")).decisions
        assert (whole.route, whole.run_id, partly.route, partly.run_id) == ("same", 100, "skips", 101)

    def test_a_timeline_that_shows_no_stages_leaves_the_decision_to_a_person(self, bench: Bench) -> None:
        lose(bench, SKIPS, queued=True)
        bench.pipelines.skipped_stages = lambda *_: None  # type: ignore[method-assign]
        (decision,) = bench.relay(SKIPS).deliver(run_completed("a")).decisions
        assert decision.outcome is Outcome.PARKED
        assert "cannot tell whether one of these runs was queued for it: 100 (https://" in decision.reason
        assert "redrive KEY --adopt RUN_ID" in decision.reason

    @pytest.mark.parametrize("default", ["x", "y"])
    def test_additional_parameters_must_be_the_defaults(self, bench: Bench, default: str) -> None:
        bench.pipelines.defaults = {"extra": default}
        record = lose(bench, SAME)
        request = RunRequest.from_json(record.entry.request)
        bench.pipelines.queue(request._replace(parameters={**request.parameters, "extra": "x"}))
        bench.pipelines.books[0] = replace(bench.pipelines.books[0], at=record.claimed_at)
        (decision,) = bench.relay(SAME).deliver(run_completed("a")).decisions
        assert decision.run_id == (100 if default == "x" else 101)
        if default == "y":
            bench.pipelines.books.pop(0)

    def test_a_preview_that_is_refused_leaves_the_decision_to_a_person(self, bench: Bench) -> None:
        def refuse(request: RunRequest, parameters: Mapping[str, str], deadline: datetime) -> bool:
            raise RequestRefused("HTTP 400: no preview")

        record = lose(bench, SAME)
        request = RunRequest.from_json(record.entry.request)
        bench.pipelines.queue(request._replace(parameters={**request.parameters, "extra": "x"}))
        bench.pipelines.books[0] = replace(bench.pipelines.books[0], at=record.claimed_at)
        bench.pipelines.adds_nothing = refuse  # type: ignore[method-assign]
        assert outcomes(bench.relay(SAME).deliver(run_completed("a"))) == [Outcome.PARKED]
        assert outcomes(bench.relay(SAME).deliver(run_completed("a"))) == [Outcome.DUPLICATE]
        assert len(bench.pipelines.books) == 1, "it is never sent again"

    @pytest.mark.parametrize("listed", [None, {"what": None}, {"what": "any  thing"}])
    def test_parameters_in_a_form_that_is_not_known(self, bench: Bench, listed: dict[str, Any] | None) -> None:
        class Changed(FakePipelines):
            def builds(
                self, request: RunRequest, since: datetime, until: datetime, deadline: datetime
            ) -> Iterator[Sequence[Build]]:
                for page in super().builds(request, since, until, deadline):
                    yield [replace(build, parameters=listed) for build in page]

        bench.pipelines = Changed(bench.clock)
        route = SAME.replace("anything", "any thing")
        lose(bench, route, queued=True)
        (decision,) = bench.relay(route).deliver(run_completed("a")).decisions
        assert decision.outcome is Outcome.PARKED
        assert len(bench.pipelines.books) == 1

    def test_a_run_with_the_orchestration_id_of_another_record_is_that_records(self, bench: Bench) -> None:
        """Both answers are lost, one run is queued, and the list shows no parameters, but whose plan it is."""

        class Hidden(FakePipelines):
            def builds(
                self, request: RunRequest, since: datetime, until: datetime, deadline: datetime
            ) -> Iterator[Sequence[Build]]:
                for page in super().builds(request, since, until, deadline):
                    yield [replace(build, parameters=None) for build in page]

        bench.pipelines = Hidden(bench.clock, honors_ids=True, plan=deque([LOST, LOST_UNQUEUED]))
        relay = bench.relay(SAME)
        for event in ("a", "b"):
            deferred(relay, run_completed(event))
        bench.clock.advance(SETTLE)
        for event, run_id in (("b", 101), ("a", 100)):
            (decision,) = relay.deliver(run_completed(event)).decisions
            assert (decision.outcome, decision.run_id) == (Outcome.QUEUED, run_id)

    def test_such_a_run_is_not_adopted_for_an_equal_request(self, bench: Bench) -> None:
        """Both answers are lost, and one run is queued. Both records would name it, because their routes differ."""
        bench.pipelines = FakePipelines(bench.clock, honors_ids=True, plan=deque([LOST, LOST_UNQUEUED]))
        relays = [bench.relay(SAME), bench.relay(SAME.replace("name: same", "name: other"))]
        for relay in relays:
            deferred(relay, run_completed("a"))
        bench.clock.advance(SETTLE)
        for relay, run_id in zip(reversed(relays), (101, 100), strict=True):
            (decision,) = relay.deliver(run_completed("a")).decisions
            assert (decision.outcome, decision.run_id) == (Outcome.QUEUED, run_id)


class TestMoreThanWasSent:
    """A listed run has more than the request names."""

    WITH_VARIABLE = SAME.replace("name: same", "name: verbose") + "\nvariables: { system.debug: 'true' }"
    WITH_VERSION = SAME.replace("name: same", "name: pinned") + "\npipeline_version: 3"

    def test_a_variable_of_another_routes_request(self, bench: Bench) -> None:
        relay = bench.relay(SAME, self.WITH_VARIABLE)
        bench.pipelines.plan.extend([LOST_UNQUEUED, LOST])
        deferred(relay, run_completed("a"))
        bench.clock.advance(SETTLE)
        plain, verbose = relay.deliver(run_completed("a")).decisions
        assert (plain.run_id, verbose.run_id, len(bench.pipelines.books)) == (101, 100, 2)

    def test_a_variable_that_nobody_has_sent(self, bench: Bench) -> None:
        record = lose(bench, SAME, queued=True)
        request = RunRequest.from_json(record.entry.request)
        bench.pipelines.books[0] = replace(bench.pipelines.books[0], request=request._replace(variables={"x": "y"}))
        assert outcomes(bench.relay(SAME).deliver(run_completed("a"))) == [Outcome.PARKED]

    def test_the_version_of_another_routes_request(self, bench: Bench) -> None:
        relay = bench.relay(SAME, self.WITH_VERSION)
        bench.pipelines.plan.extend([LOST_UNQUEUED, LOST])
        deferred(relay, run_completed("a"))
        bench.clock.advance(SETTLE)
        with suppress(DeliveryDeferred):
            relay.deliver(run_completed("a"))
        found = {record.key.route: (record.state, record.run_id) for record in bench.records}
        assert found == {"same": (State.PARKED, None), "pinned": (State.QUEUED, 100)}

    @pytest.mark.parametrize("listed", [None, "True", True, "11/20/2026 10:00:00", '{ "a": 1 }'])
    def test_a_default_that_is_not_listed_as_it_is(self, bench: Bench, listed: Any) -> None:
        """A preview with what the list shows differs from one without, although it is the default."""

        class Changed(FakePipelines):
            def builds(
                self, request: RunRequest, since: datetime, until: datetime, deadline: datetime
            ) -> Iterator[Sequence[Build]]:
                for page in super().builds(request, since, until, deadline):
                    yield [replace(build, parameters={**(build.parameters or {}), "extra": listed}) for build in page]

        bench.pipelines = Changed(bench.clock, defaults={"extra": "the default"})
        lose(bench, SAME, queued=True)
        assert outcomes(bench.relay(SAME).deliver(run_completed("a"))) == [Outcome.PARKED]
        assert len(bench.pipelines.books) == 1

    def test_a_server_that_does_not_say_who_the_app_is(self, bench: Bench) -> None:
        bench.pipelines.requester = lambda *_: None  # type: ignore[method-assign]
        lose(bench, SAME, queued=True)
        assert outcomes(bench.relay(SAME).deliver(run_completed("a"))) == [Outcome.PARKED]


class TestAdoptionByAPerson:
    def park(self, bench: Bench) -> Record:
        lose(bench, SKIPS, queued=True)
        bench.pipelines.skipped_stages = lambda *_: None  # type: ignore[method-assign]
        bench.relay(SKIPS).deliver(run_completed("a"))
        return bench.record()

    def test_the_record_gets_the_run(self, bench: Bench) -> None:
        result = bench.queueing.recovery.adopt(self.park(bench), 100, bench.soon)
        assert (result.outcome, result.run_id) == (Outcome.QUEUED, 100)
        assert (bench.record().state, bench.record().run_id) == (State.QUEUED, 100)
        assert outcomes(bench.relay(SKIPS).deliver(run_completed("a"))) == [Outcome.DUPLICATE]

    def test_only_once(self, bench: Bench) -> None:
        record = self.park(bench)
        bench.queueing.recovery.adopt(record, 100, bench.soon)
        with pytest.raises(ClaimLost):
            bench.queueing.recovery.adopt(record, 100, bench.soon)

    def test_not_a_run_that_does_not_exist(self, bench: Bench) -> None:
        with pytest.raises(RequestRefused, match="there is no run 7 in project mlops"):
            bench.queueing.recovery.adopt(self.park(bench), 7, bench.soon)

    def test_not_the_run_of_another_record(self, bench: Bench) -> None:
        record = self.park(bench)
        bench.relay(SAME).deliver(run_completed("b"))
        with pytest.raises(RequestRefused, match=r"run 101 belongs to the record [0-9a-f]{12} of same"):
            bench.queueing.recovery.adopt(record, 101, bench.soon)

    def test_not_the_run_of_another_pipeline(self, bench: Bench) -> None:
        record = self.park(bench)
        bench.pipelines.pipeline_id = lambda *_: 2  # type: ignore[method-assign]
        with pytest.raises(RequestRefused, match="run 100 is one of another pipeline, not of p"):
            bench.queueing.recovery.adopt(record, 100, bench.soon)

    def test_not_while_a_delivery_is_at_work(self, bench: Bench) -> None:
        def adopt() -> None:
            with pytest.raises(ClaimLost, match="another delivery holds the claim"):
                bench.queueing.recovery.adopt(bench.records[0], 100, bench.soon)

        bench.pipelines.plan.append(adopt)
        assert outcomes(bench.relay(SAME).deliver(run_completed("a"))) == [Outcome.QUEUED]
