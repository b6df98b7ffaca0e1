"""Redriving: parked and abandoned events are sent again, once, by the current routes."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import pytest

from shared.errors import (
    AnswerLost,
    AzureDevOpsError,
    ClaimLost,
    DeliveryDeferred,
    JournalUnavailable,
    RequestNotSent,
    RequestRefused,
)
from shared.journal.journal import Journal
from shared.journal.records import UNROUTED, Record, State, Store, cut_remark
from shared.journal.sqlite import SqliteStore
from shared.redrive import Redrive, RedriveForecast, Redriven, awaits_redrive, forecast_redrive, may_have_run
from shared.routing.table import Match, Refusal
from shared.telemetry import Outcome
from tests.support.builders import event_text, run_completed
from tests.support.clock import ManualClock
from tests.support.fakes import LOST, LOST_UNQUEUED, url_of
from tests.support.journal.records import store_with
from tests.support.relays import LEASE, PLAIN, SETTLE, Bench, outcomes

CHANGED = "name: plain\nevent: RunCompleted\npipeline: q\nparameters: { id: '{{ run_id }}' }"
DISABLED = PLAIN + "\nenabled: false"
BY_TEAM = PLAIN + "\nonce_per: '{{ run_tags.team }}'"
OTHER = "name: other\nevent: RunCompleted\npipeline: o"
DOWN = RequestNotSent("no connection")
REFUSED = RequestRefused("HTTP 400: Unexpected parameter 'run'")
GONE = RequestRefused("HTTP 404: no such project")


def die() -> None:
    raise KeyboardInterrupt


def interrupted(
    store: Store, run: Callable[[], object], *, after: State | None = None, before: State | None = None
) -> Store:
    """Return a store that calls ``run`` once, immediately before or after a record is written in a certain state."""
    pending = [run]

    def replace_record(record: Record) -> Record | None:
        if record.state is before and pending:
            pending.pop()()
        written = store.replace(record)
        if record.state is after and pending:
            pending.pop()()
        return written

    return store_with(store, replace=replace_record)


@dataclass
class Stand(Bench):
    """A bench whose records can be parked for different reasons, and redriven with other routes."""

    @property
    def only(self) -> Record:
        (record,) = self.records
        return record

    def stored(self, record: Record) -> Record:
        """Return the record as it is stored now."""
        current = self.store.get(record.key)
        assert current is not None
        return current

    def deliver(self, raw: str, *entries: str) -> None:
        with suppress(DeliveryDeferred):
            self.relay(*entries).deliver(raw)

    def park(self, raw: str = "", *entries: str) -> Record:
        """Deliver an event that Azure DevOps refuses, and return its parked record."""
        before = {record.key for record in self.records}
        self.pipelines.plan.append(REFUSED)
        self.deliver(raw or run_completed(), *entries)
        (record,) = [record for record in self.records if record.key not in before]
        assert record.state is State.PARKED
        return record

    def park_uncertain(self, *, queued: bool) -> Record:
        """Lose the answer to a request, and then refuse the search for its run."""
        self.pipelines.plan.append(LOST if queued else LOST_UNQUEUED)
        self.deliver(run_completed())
        self.clock.advance(SETTLE)
        self.pipelines.search_error = GONE
        self.deliver(run_completed())
        self.pipelines.search_error = None
        assert self.only.state is State.PARKED
        return self.only

    def redrive(self, record: Record, *entries: str, store: Store | None = None, look: bool = True) -> Redriven:
        store = store or self.store
        journal = Journal(store, lease_seconds=LEASE, settle_seconds=SETTLE, clock=self.clock)
        return Redrive(self.relay(*entries, store=store), journal).redrive(record, look=look)

    def forecast_redrive(self, record: Record, *entries: str) -> RedriveForecast:
        return forecast_redrive(record, self.relay(*entries).decide(record.entry.event))


@pytest.fixture
def stand(store: SqliteStore, clock: ManualClock) -> Iterator[Stand]:
    with Stand.with_neighbor(store, clock) as stand:
        yield stand


class TestParked:
    def test_a_parked_record_is_sent_again_and_its_history_shows_it(self, stand: Stand) -> None:
        record = stand.park()
        (decision,) = stand.redrive(record).decisions
        assert (decision.outcome, decision.run_id, decision.run_url) == (Outcome.QUEUED, 100, url_of(100))
        assert (decision.event_id, decision.route, decision.key) == ("event-1", "plain", record.key.key)
        assert stand.only.run_id == 100
        history = [f"{step.state}: {step.note}" for step in stand.only.history]
        assert history == ["claimed: ", f"parked: {REFUSED}", "released: redriven", "claimed: ", "queued: run 100"]

    def test_the_stored_request_of_an_event_that_the_store_cut_is_sent_again(self, stand: Stand) -> None:
        record = stand.park()
        event = run_completed()[:40] + cut_remark(40, 700_000)
        stand.store.replace(record._replace(entry=record.entry._replace(event=event)))
        (decision,) = stand.redrive(stand.only, CHANGED).decisions
        assert (decision.outcome, stand.only.key) == (Outcome.QUEUED, record.key)
        (queued,) = stand.pipelines.books
        assert queued.request.to_json() == record.entry.request

    def test_an_event_that_the_store_cut_is_parked_again_with_advice_if_it_has_no_request(self, stand: Stand) -> None:
        record = stand.park()
        event = run_completed()[:40] + cut_remark(40, 700_000)
        stand.store.replace(record._replace(entry=record.entry._replace(event=event, request="")))
        (decision,) = stand.redrive(stand.only).decisions
        assert (decision.outcome, stand.only.state, stand.only.key) == (Outcome.PARKED, State.PARKED, record.key)
        assert decision.reason.startswith("the journal has only the beginning of this event")
        assert "manage.py send" in decision.reason

    def test_a_refused_event_does_not_silence_another_event_with_its_identity(self, stand: Stand) -> None:
        def of_team(event_id: str) -> str:
            data = {"experimentName": "train", "runId": f"run-{event_id}", "runTags": {"team": "blue"}}
            return event_text("RunCompleted", data, id=event_id)

        parked = stand.park(of_team("event-1"), BY_TEAM)
        stand.deliver(of_team("event-1"), BY_TEAM)
        assert stand.only == parked, "a repeated delivery of the same event is a duplicate"
        stand.deliver(of_team("event-2"), BY_TEAM)
        assert [queued.run.id for queued in stand.pipelines.books] == [100]
        (aside,) = [record for record in stand.records if record.state is State.PARKED]
        assert (aside.entry, aside.reason) == (parked.entry, parked.reason)
        assert outcomes(stand.redrive(aside, BY_TEAM)) == [Outcome.DUPLICATE]
        assert (stand.only.key, stand.only.run_id) == (parked.key, 100)

    def test_only_its_own_route_is_evaluated_in_its_current_form(self, stand: Stand) -> None:
        assert outcomes(stand.redrive(stand.park(), OTHER, CHANGED)) == [Outcome.QUEUED]
        (queued,) = stand.pipelines.books
        assert (queued.request.pipeline, queued.request.parameters) == ("q", {"id": "run-1"})
        assert json.loads(stand.only.entry.request)["pipeline"] == "q"

    def test_a_second_refusal_parks_it_again_with_the_new_reason(self, stand: Stand) -> None:
        record = stand.park()
        stand.pipelines.plan.append(RequestRefused("HTTP 400: Unexpected parameter 'id'"))
        (decision,) = stand.redrive(record, CHANGED).decisions
        assert (decision.outcome, decision.reason) == (Outcome.PARKED, "HTTP 400: Unexpected parameter 'id'")
        assert (stand.only.state, stand.only.reason) == (State.PARKED, decision.reason)

    @pytest.mark.parametrize(
        ("entry", "reason"),
        [
            (OTHER, "the route was removed, or now handles another event type"),
            (OTHER + "\nenabled: false", "the route was removed, or now handles another event type"),
            ("name: plain\nevent: ModelDeployed\npipeline: p", "no route handles RunCompleted events"),
            (DISABLED, "the route no longer matches: it is disabled"),
            (PLAIN + "\nwhen: run_id == 'x'", "the route no longer matches: when is not true: run_id == 'x'"),
        ],
    )
    def test_it_is_parked_again_if_the_route_no_longer_matches(self, stand: Stand, entry: str, reason: str) -> None:
        record, reason = stand.park(), f"tried again, but {reason}"
        (decision,) = stand.redrive(record, entry).decisions
        assert (decision.outcome, decision.reason, decision.route) == (Outcome.PARKED, reason, "plain")
        assert (stand.only.state, stand.only.reason, stand.only.key) == (State.PARKED, reason, record.key)
        assert stand.only.entry == record.entry, "the event and the request that was refused are kept"

    def test_an_event_that_the_store_has_cut_is_parked_again(self, stand: Stand) -> None:
        record = stand.park()
        record = record._replace(entry=record.entry._replace(event=record.entry.event[:50] + "... [cut]"))
        (decision,) = stand.redrive(record).decisions
        assert decision.outcome is Outcome.PARKED
        reason = "tried again, but the routes can no longer be evaluated for the event: the event is"
        assert decision.reason.startswith(reason)
        assert stand.only.key == record.key


class TestDeferred:
    """Event Grid does not deliver a parked event again, so a deferred redrive must leave a record to be redriven."""

    def test_it_is_parked_again_if_no_run_was_queued(self, stand: Stand) -> None:
        record = stand.park()
        stand.pipelines.plan.append(DOWN)
        (decision,) = stand.redrive(record).decisions
        assert (decision.outcome, decision.reason) == (Outcome.DEFERRED, "no connection")
        assert (stand.only.state, stand.only.reason) == (State.PARKED, "redriven and deferred: no connection")
        assert outcomes(stand.redrive(stand.only)) == [Outcome.QUEUED]

    def test_a_lost_answer_is_searched_for_only_after_it_has_settled(self, stand: Stand) -> None:
        record = stand.park()
        stand.pipelines.plan.append(LOST)
        assert outcomes(stand.redrive(record)) == [Outcome.DEFERRED]
        assert stand.only.state is State.UNCERTAIN
        assert awaits_redrive(stand.only)
        (early,) = stand.redrive(stand.only).decisions
        assert (early.outcome, "may still be in progress" in early.reason) == (Outcome.DEFERRED, True)
        assert (stand.only.state, stand.pipelines.searches) == (State.UNCERTAIN, 0)
        stand.clock.advance(SETTLE)
        (decision,) = stand.redrive(stand.only).decisions
        assert (decision.outcome, decision.run_id) == (Outcome.QUEUED, 100)

    def test_it_is_parked_as_uncertain_if_the_search_fails(self, stand: Stand) -> None:
        """Many attempts must not drop the steps from the history that show that the record awaits a redrive."""
        record = stand.park()
        stand.pipelines.plan.append(LOST)
        stand.redrive(record)
        stand.clock.advance(SETTLE)
        stand.pipelines.search_error = DOWN
        for _ in range(15):
            assert outcomes(stand.redrive(stand.only)) == [Outcome.DEFERRED]
            assert (stand.only.state, may_have_run(stand.only)) == (State.PARKED, True)
        stand.pipelines.search_error = None
        assert [decision.run_id for decision in stand.redrive(stand.only).decisions] == [100]

    def test_a_record_that_event_grid_still_delivers_is_not_parked(self, stand: Stand) -> None:
        stand.pipelines.plan.extend([DOWN, DOWN])
        stand.deliver(run_completed())
        assert not awaits_redrive(stand.only)
        assert outcomes(stand.redrive(stand.only)) == [Outcome.DEFERRED]
        assert stand.only.state is State.RELEASED
        stand.deliver(run_completed())
        assert [record.state for record in stand.records] == [State.QUEUED]


class TestUncertain:
    """A record was parked while a run may exist: the run must be searched for before a request is sent again."""

    def test_the_run_is_found_and_not_queued_again(self, stand: Stand) -> None:
        record = stand.park_uncertain(queued=True)
        assert may_have_run(record)
        (decision,) = stand.redrive(record, CHANGED).decisions
        assert (decision.outcome, decision.run_id) == (Outcome.QUEUED, 100)
        assert stand.only.run_id == 100

    def test_the_current_request_is_sent_if_there_is_no_run(self, stand: Stand) -> None:
        assert outcomes(stand.redrive(stand.park_uncertain(queued=False), CHANGED)) == [Outcome.QUEUED]
        assert [queued.request.pipeline for queued in stand.pipelines.books] == ["q"]

    def test_nothing_is_sent_while_the_search_is_refused(self, stand: Stand) -> None:
        record = stand.park_uncertain(queued=True)
        stand.pipelines.search_error = GONE
        reason = f"a run may have been queued, but the search for it was refused: {GONE}"
        for _ in range(2):
            (decision,) = stand.redrive(record).decisions
            assert (decision.outcome, decision.reason) == (Outcome.PARKED, reason)
            record = stand.only

    def test_the_operator_can_skip_the_search(self, stand: Stand) -> None:
        record = stand.park_uncertain(queued=False)
        assert outcomes(stand.redrive(record, CHANGED, look=False)) == [Outcome.QUEUED]
        assert (len(stand.pipelines.books), stand.pipelines.searches) == (1, 1), "only the delivery searched"

    def test_the_search_cannot_be_skipped_for_a_record_that_is_not_parked(self, stand: Stand) -> None:
        stand.pipelines.plan.append(LOST)
        stand.deliver(run_completed())
        assert outcomes(stand.redrive(stand.only, look=False)) == [Outcome.DEFERRED]
        stand.clock.advance(SETTLE)
        assert [decision.run_id for decision in stand.redrive(stand.only, look=False).decisions] == [100]

    def test_the_run_of_a_frozen_worker_that_appears_after_parking_is_found(self, stand: Stand) -> None:
        def freeze() -> None:
            """While the request is in progress, another delivery finds no run and is refused."""
            late = stand.pipelines.books.pop()
            stand.clock.advance(LEASE)
            stand.pipelines.plan.append(REFUSED)
            stand.deliver(run_completed())
            stand.pipelines.books.append(late)

        stand.pipelines.plan.append(freeze)
        stand.deliver(run_completed())
        assert (stand.only.state, len(stand.pipelines.books)) == (State.PARKED, 1)
        assert [decision.run_id for decision in stand.redrive(stand.only).decisions] == [100]


class TestAbandoned:
    """Event Grid gives up after a day. If its dead letter is lost too, only the record remains."""

    @pytest.mark.parametrize(
        ("planned", "queued", "seconds", "entry", "pipeline"),
        [
            pytest.param(DOWN, False, 0, CHANGED, "q", id="released"),
            pytest.param(LOST, True, SETTLE, PLAIN, "p", id="uncertain, with a run"),
            pytest.param(LOST_UNQUEUED, False, SETTLE, CHANGED, "q", id="uncertain, without"),
            pytest.param(LOST, True, SETTLE, DISABLED, "p", id="uncertain, with a run, refused today"),
            pytest.param(die, True, LEASE, CHANGED, "p", id="claimed, with a run"),
            pytest.param(die, False, LEASE, CHANGED, "q", id="claimed, without"),
        ],
    )
    def test_an_existing_run_is_adopted_else_the_current_route_is_evaluated(
        self,
        stand: Stand,
        planned: AzureDevOpsError | Callable[[], None],
        queued: bool,
        seconds: float,
        entry: str,
        pipeline: str,
    ) -> None:
        stand.pipelines.plan.append(planned)
        with suppress(KeyboardInterrupt):
            stand.deliver(run_completed())
        if not queued:
            stand.pipelines.books.clear()
        if seconds:
            state = stand.only.state
            assert outcomes(stand.redrive(stand.only, entry)) == [Outcome.DEFERRED]
            assert (stand.only.state, stand.pipelines.searches) == (state, 0)
            stand.clock.advance(seconds)
        assert outcomes(stand.redrive(stand.only, entry)) == [Outcome.QUEUED]
        assert [queued.request.pipeline for queued in stand.pipelines.books] == [pipeline]

    def test_a_claim_without_a_request_is_not_searched_for(self, stand: Stand) -> None:
        stand_in = interrupted(stand.store, die, before=State.PARKED)
        refusing = "name: plain\nevent: RunCompleted\npipeline: p\nparameters: { run: '{{ data.nope }}' }"
        with pytest.raises(KeyboardInterrupt):
            stand.relay(refusing, store=stand_in).deliver(run_completed())
        assert stand.only.state is State.CLAIMED
        stand.clock.advance(LEASE + SETTLE)
        assert outcomes(stand.redrive(stand.only)) == [Outcome.QUEUED]
        assert [step.state for step in stand.only.history] == [State.CLAIMED, State.CLAIMED, State.QUEUED]
        assert stand.pipelines.searches == 0

    def test_finished_records_and_other_kinds_of_records_are_not_redriven(self, stand: Stand) -> None:
        for run_id in "ab":
            stand.deliver(run_completed(run_id), PLAIN + "\ncooldown: 6h")
        reasons = {record.key.route: set[str]() for record in stand.records}
        for record in stand.records:
            redriven = stand.redrive(record)
            assert (redriven.decisions, awaits_redrive(record)) == ((), False)
            assert stand.forecast_redrive(record) == RedriveForecast(why_nothing=redriven.reason)
            reasons[record.key.route].add(redriven.reason)
        done, window = reasons.pop("plain"), reasons.popitem()[1]
        assert done == {f"it is {state}; nothing is left to do" for state in (State.QUEUED, State.SUPPRESSED)}
        assert window == {"it is not about an event; the timer sweep_waits takes care of waiting tasks"}


class TestOncePerChanged:
    def team(self, run_id: str) -> str:
        return run_completed(run_id, runTags={"team": "blue"})

    def test_events_that_are_now_one_occurrence_queue_one_run(self, stand: Stand) -> None:
        """Each event was parked on its own, because ``once_per`` could not be rendered; now it can."""
        broken = PLAIN + "\nonce_per: '{{ run_tags.tema }}'"
        for run_id in "ab":
            stand.deliver(self.team(run_id), broken)
        records = stand.records
        assert [record.state for record in records] == [State.PARKED] * 2
        redriven = [stand.redrive(record, BY_TEAM) for record in records]
        assert [outcomes(each) for each in redriven] == [[Outcome.QUEUED], [Outcome.DUPLICATE]]
        assert stand.only.state is State.QUEUED, "the old records were removed"
        assert stand.only.key.key == redriven[0].decisions[0].key not in {record.key.key for record in records}

    def test_the_request_carries_the_key_under_which_it_is_journaled(self, stand: Stand) -> None:
        record = stand.park(self.team("a"))
        stand.redrive(record, BY_TEAM + "\ncorrelation_parameter: key")
        assert stand.pipelines.books[0].request.parameters["key"] == stand.only.key.key != record.key.key

    def test_the_old_record_stays_parked_if_the_new_one_is_deferred(self, stand: Stand) -> None:
        record = stand.park(self.team("a"))
        stand.pipelines.plan.append(DOWN)
        assert outcomes(stand.redrive(record, BY_TEAM)) == [Outcome.DEFERRED]
        parked = stand.stored(record)
        assert (parked.state, parked.reason) == (State.PARKED, "redriven and deferred: no connection")
        assert outcomes(stand.redrive(parked, BY_TEAM)) == [Outcome.QUEUED]
        assert stand.only.state is State.QUEUED

    def test_the_old_record_is_unchanged_if_event_grid_still_delivers_it(self, stand: Stand) -> None:
        stand.pipelines.plan.extend([DOWN, DOWN])
        stand.deliver(self.team("a"))
        released = stand.only
        assert outcomes(stand.redrive(released, BY_TEAM)) == [Outcome.DEFERRED]
        assert stand.stored(released) == released

    def test_the_old_record_is_unchanged_if_it_was_written_in_the_meantime(self, stand: Stand) -> None:
        stale = stand.park(self.team("a"))
        changed = stand.store.replace(stale)
        stand.pipelines.plan.append(DOWN)
        assert outcomes(stand.redrive(stale, BY_TEAM)) == [Outcome.DEFERRED]
        assert stand.stored(stale) == changed

    @pytest.mark.parametrize("look", [True, False])
    @pytest.mark.parametrize("planned", [LOST, LOST_UNQUEUED, die], ids=["uncertain", "uncertain, no run", "claimed"])
    def test_an_uncertain_record_is_reconciled_under_its_old_key_first(
        self, stand: Stand, planned: AnswerLost | Callable[[], None], look: bool
    ) -> None:
        stand.pipelines.plan.append(planned)
        with suppress(KeyboardInterrupt):
            stand.deliver(self.team("a"))
        stand.clock.advance(LEASE)
        (decision,) = stand.redrive(stand.only, BY_TEAM, look=look).decisions
        assert (decision.outcome, decision.run_id, decision.key) == (Outcome.QUEUED, 100, stand.only.key.key)

    def test_an_event_that_cannot_be_rendered_now_keeps_its_key(self, stand: Stand) -> None:
        record = stand.park(self.team("a"), BY_TEAM)
        broken = PLAIN + "\nonce_per: '{{ run_tags.tema }}'"
        assert outcomes(stand.redrive(record, broken)) == [Outcome.PARKED]
        assert (stand.only.key, stand.only.state) == (record.key, State.PARKED)

    def test_a_failure_to_remove_the_old_record_does_not_hide_the_run(self, stand: Stand) -> None:
        def delete(record: Record) -> bool:
            raise JournalUnavailable("the journal is down")

        record, stuck = stand.park(self.team("a")), store_with(stand.store, delete=delete)
        assert outcomes(stand.redrive(record, BY_TEAM, store=stuck)) == [Outcome.QUEUED]
        assert outcomes(stand.redrive(record, BY_TEAM)) == [Outcome.DUPLICATE]
        assert stand.only.state is State.QUEUED


class TestCooldown:
    COOLED = PLAIN + "\ncooldown: 6h"

    def test_a_free_window_is_entered(self, stand: Stand) -> None:
        assert outcomes(stand.redrive(stand.park(), self.COOLED)) == [Outcome.QUEUED]
        stand.deliver(run_completed("b"), self.COOLED)
        assert stand.reports[-1].outcome is Outcome.SUPPRESSED

    def test_another_run_within_the_window_suppresses_it(self, stand: Stand) -> None:
        record = stand.park(run_completed("a"))
        stand.deliver(run_completed("b"), self.COOLED)
        (decision,) = stand.redrive(record, self.COOLED).decisions
        assert (decision.outcome, "run 100" in decision.reason) == (Outcome.SUPPRESSED, True)

    def test_it_is_parked_again_while_the_holder_of_the_window_is_uncertain(self, stand: Stand) -> None:
        record = stand.park(run_completed("a"))
        stand.pipelines.plan.append(LOST)
        stand.deliver(run_completed("b"), self.COOLED)
        assert outcomes(stand.redrive(record, self.COOLED)) == [Outcome.DEFERRED]
        assert stand.stored(record).state is State.PARKED


class TestUnrouted:
    """Events that could not be read or lacked data: no route could be evaluated for them."""

    def made_readable(self, stand: Stand, raw: str) -> Record:
        """Park an unreadable event, then replace it by a readable one, as if a new version could read it."""
        stand.deliver("{nonsense")
        record = stand.only
        assert (record.key.route, record.state) == (UNROUTED, State.PARKED)
        replaced = stand.store.replace(record._replace(entry=record.entry._replace(event=raw)))
        assert replaced is not None
        return replaced

    @pytest.mark.parametrize(
        "raw", ["{nonsense", event_text("RunCompleted", {"experimentName": "train"}), "x" * 100_000]
    )
    def test_an_event_that_is_still_unreadable_is_parked_again_under_its_key(self, stand: Stand, raw: str) -> None:
        stand.deliver(raw)
        record = stand.only
        (decision,) = stand.redrive(record).decisions
        assert (decision.outcome, decision.route, decision.key) == (Outcome.PARKED, None, record.key.key)
        assert (stand.only.key, stand.only.entry, stand.only.state) == (record.key, record.entry, State.PARKED)

    def test_an_event_that_is_readable_now_goes_to_every_route(self, stand: Stand) -> None:
        record = self.made_readable(stand, run_completed())
        redriven = stand.redrive(record, PLAIN, OTHER)
        assert [decision.route for decision in redriven.decisions] == ["plain", "other"]
        assert outcomes(redriven) == [Outcome.QUEUED] * 2
        assert sorted((each.key.route, each.entry.event_id) for each in stand.records) == [
            ("other", "event-1"),
            ("plain", "event-1"),
        ]

    def test_the_record_stays_while_one_route_is_deferred(self, stand: Stand) -> None:
        record = self.made_readable(stand, run_completed())
        stand.pipelines.plan.extend([None, DOWN])
        assert outcomes(stand.redrive(record, PLAIN, OTHER)) == [Outcome.QUEUED, Outcome.DEFERRED]
        current = stand.stored(record)
        assert (current.state, current.reason) == (State.PARKED, "redriven and deferred: no connection")
        assert outcomes(stand.redrive(current, PLAIN, OTHER)) == [Outcome.DUPLICATE, Outcome.QUEUED]
        assert stand.store.get(record.key) is None

    def test_a_refusal_by_a_route_is_parked_under_that_route(self, stand: Stand) -> None:
        record = self.made_readable(stand, run_completed("a;b"))
        assert outcomes(stand.redrive(record)) == [Outcome.PARKED]
        assert (stand.only.key.route, stand.only.entry.event) == ("plain", run_completed("a;b"))

    def test_an_event_that_no_route_matches_is_ignored_and_the_record_removed(self, stand: Stand) -> None:
        record = self.made_readable(stand, run_completed())
        (decision,) = stand.redrive(record, DISABLED).decisions
        assert (decision.outcome, decision.reason) == (Outcome.IGNORED, "no route matches; plain: it is disabled")
        assert stand.records == []

    def test_a_record_that_was_changed_in_the_meantime_is_not_removed(self, stand: Stand) -> None:
        stale = self.made_readable(stand, run_completed())
        stand.store.replace(stale)
        stand.redrive(stale)
        assert {record.key.route for record in stand.records} == {UNROUTED, "plain"}


class TestManyAtOnce:
    @pytest.mark.parametrize("uncertain", [False, True])
    def test_a_second_redrive_of_the_same_record_raises(self, stand: Stand, uncertain: bool) -> None:
        record = stand.park_uncertain(queued=False) if uncertain else stand.park()
        stand.redrive(record)
        with pytest.raises(ClaimLost):
            stand.redrive(record)

    @pytest.mark.parametrize("uncertain", [False, True])
    def test_eight_redrives_at_once_queue_one_run(self, stand: Stand, uncertain: bool) -> None:
        record = stand.park_uncertain(queued=False) if uncertain else stand.park()
        begin = threading.Barrier(8)

        def redrive_once(_: int) -> None:
            begin.wait()
            with suppress(ClaimLost):
                stand.redrive(record)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(redrive_once, range(8)))
        assert stand.only.state is State.QUEUED

    def test_a_redrive_that_is_overtaken_before_its_claim_reports_parked(self, stand: Stand) -> None:
        """The second redrive holds the claim when the first one wants it; then it is deferred and parks the record."""
        record = stand.park()
        stand.pipelines.plan.append(DOWN)
        store = interrupted(stand.store, lambda: stand.redrive(stand.only), after=State.RELEASED)
        first = stand.redrive(record, store=store)
        assert outcomes(first) == [Outcome.PARKED], "not a duplicate: the record is parked, and nothing was queued"
        assert (stand.only.state, stand.only.reason) == (State.PARKED, "redriven and deferred: no connection")

    def test_a_delivery_between_reopening_and_claiming_queues_the_only_run(self, stand: Stand) -> None:
        record = stand.park()
        store = interrupted(stand.store, lambda: stand.deliver(run_completed()), after=State.RELEASED)
        (decision,) = stand.redrive(record, store=store).decisions
        assert (decision.outcome, decision.run_id) == (Outcome.DUPLICATE, 100)

    def test_a_claimed_record_is_not_parked_by_another_redrive(self, stand: Stand) -> None:
        record = stand.park()

        def second() -> None:
            """Redrive again while the request of the first redrive is in progress."""
            seen.extend(outcomes(stand.redrive(stand.only)))
            assert stand.only.state is State.CLAIMED

        seen: list[Outcome] = []
        stand.pipelines.plan.append(second)
        assert outcomes(stand.redrive(record)) == [Outcome.QUEUED]
        assert seen == [Outcome.DEFERRED]

    def test_another_redrive_continues_between_the_search_and_the_request(self, stand: Stand) -> None:
        """Another redrive claims the record and sends a request after the search of the first one."""
        record = stand.park_uncertain(queued=False)
        store = interrupted(stand.store, lambda: stand.redrive(stand.only), after=State.PARKED)
        with pytest.raises(ClaimLost, match="is being redriven by another operator"):
            stand.redrive(record, store=store)

    def test_parking_again_does_not_overwrite_another_write(self, stand: Stand) -> None:
        """Immediately before the first redrive parks the deferred record, a delivery claims it and queues the run."""
        record = stand.park()
        stand.pipelines.plan.append(DOWN)
        store = interrupted(stand.store, lambda: stand.deliver(run_completed()), before=State.PARKED)
        assert outcomes(stand.redrive(record, store=store)) == [Outcome.DEFERRED]
        assert stand.only.state is State.QUEUED


class TestCrashes:
    """A redrive may crash at any point. The record then awaits a redrive, which ends with one run."""

    @pytest.mark.parametrize(
        ("after", "before", "planned", "state"),
        [
            pytest.param(State.RELEASED, None, None, State.RELEASED, id="between reopening and claiming"),
            pytest.param(State.CLAIMED, None, None, State.CLAIMED, id="between claiming and sending"),
            pytest.param(None, State.QUEUED, None, State.CLAIMED, id="between queuing and recording the run"),
            pytest.param(None, State.PARKED, DOWN, State.RELEASED, id="between a deferral and parking again"),
        ],
    )
    def test_an_interrupted_redrive_can_be_repeated(
        self,
        stand: Stand,
        after: State | None,
        before: State | None,
        planned: AzureDevOpsError | None,
        state: State,
    ) -> None:
        record = stand.park()
        stand.pipelines.plan.append(planned)
        with pytest.raises(KeyboardInterrupt):
            stand.redrive(record, store=interrupted(stand.store, die, after=after, before=before))
        assert (stand.only.state, awaits_redrive(stand.only)) == (state, True)
        stand.clock.advance(LEASE + SETTLE)
        assert [decision.run_id for decision in stand.redrive(stand.only).decisions] == [100]

    @pytest.mark.parametrize("queued", [True, False])
    @pytest.mark.parametrize("state", [State.UNCERTAIN, State.PARKED])
    def test_an_interrupted_search_can_be_repeated(self, stand: Stand, state: State, queued: bool) -> None:
        record = stand.park_uncertain(queued=queued)
        with suppress(KeyboardInterrupt):
            stand.redrive(record, store=interrupted(stand.store, die, after=state))
        stand.clock.advance(LEASE)
        if stand.only.state is not State.QUEUED:
            assert awaits_redrive(stand.only)
            assert outcomes(stand.redrive(stand.only)) == [Outcome.QUEUED]


class TestForesight:
    def test_a_match_is_foreseen(self, stand: Stand) -> None:
        record = stand.park()
        before = stand.only
        (decided,) = stand.forecast_redrive(record, CHANGED).decisions
        assert isinstance(decided, Match)
        assert (decided.key, decided.request.pipeline) == (record.key, "q")
        assert (stand.only, len(stand.reports)) == (before, 1), "nothing is done, and nothing is reported"

    def test_a_search_is_foreseen(self, stand: Stand) -> None:
        assert not stand.forecast_redrive(stand.park()).looks_first
        stand.pipelines.plan.append(LOST)
        stand.deliver(run_completed("b"))
        assert stand.forecast_redrive(stand.record()).looks_first

    def test_an_unreadable_event_is_foreseen(self, stand: Stand) -> None:
        stand.deliver("{nonsense")
        (decided,) = stand.forecast_redrive(stand.only).decisions
        assert isinstance(decided, Refusal)
        assert decided.key == stand.only.key
