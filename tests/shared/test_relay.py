"""The flow of a delivery: every outcome, and exactly one run for each event whatever fails."""

import json
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import NoReturn

import pytest

from devstack.events import sample_text
from shared.azure_devops.runs import Run, RunRequest
from shared.clock import utc_now
from shared.deciding import MAX_UNREADABLE_BYTES
from shared.errors import (
    AnswerLost,
    AzureDevOpsError,
    CredentialRejected,
    CredentialUnavailable,
    DeliveryDeferred,
    JournalUnavailable,
    PermissionDenied,
    RequestNotSent,
    RequestRefused,
    RunExists,
    Throttled,
)
from shared.journal.records import JournalKey, Record, State, Store
from shared.relay import Relay
from shared.routing.table import NoMatch
from shared.telemetry import Outcome
from tests.support.builders import WORKSPACE, event_text, routes, run_completed
from tests.support.clock import ManualClock
from tests.support.fakes import HANGS, LOST, LOST_UNQUEUED, SKEW, FakePipelines, Reports, url_of
from tests.support.journal.records import store_with
from tests.support.relays import BUDGET, LEASE, PLAIN, SETTLE, Bench, deferred, outcomes, relay_over

SAME = "name: same\nevent: RunCompleted\npipeline: p\nparameters: { what: anything }"


@pytest.fixture
def bench(store: Store, clock: ManualClock) -> Iterator[Bench]:
    with Bench.with_neighbor(store, clock) as bench:
        yield bench


class TestOneRoute:
    def test_an_event_queues_its_pipeline(self, bench: Bench) -> None:
        (decision,) = bench.relay().deliver(run_completed("r-1")).decisions
        assert [queued.request.parameters for queued in bench.pipelines.books] == [{"run": "r-1"}]
        assert (decision.outcome, decision.run_id, decision.run_url) == (Outcome.QUEUED, 100, url_of(100))
        assert (decision.event_id, decision.subject, decision.route) == ("event-1", "subject", "plain")
        assert decision.event_type == "Microsoft.MachineLearningServices.RunCompleted"
        assert bench.reports == [decision]
        record = bench.record()
        assert (record.state, record.run_id, record.run_url) == (State.QUEUED, 100, url_of(100))
        assert record.entry.event == run_completed("r-1")
        assert json.loads(record.entry.request)["parameters"] == {"run": "r-1"}

    def test_a_duplicate_does_nothing_and_names_the_run(self, bench: Bench) -> None:
        relay = bench.relay()
        relay.deliver(run_completed())
        (decision,) = relay.deliver(run_completed()).decisions
        assert (decision.outcome, decision.run_id, decision.reason) == (Outcome.DUPLICATE, 100, "already queued")

    @pytest.mark.parametrize(("lease", "seconds"), [(LEASE, BUDGET), (5, 4)])
    def test_no_request_outlasts_budget_or_lease(self, bench: Bench, lease: float, seconds: float) -> None:
        bench.pipelines.plan.append(HANGS)
        began = bench.clock()
        deferred(bench.relay(lease_seconds=lease), run_completed())
        assert bench.clock() - began == timedelta(seconds=seconds)


class TestIgnored:
    @pytest.mark.parametrize(
        ("raw", "reason"),
        [
            (event_text("Other", None, eventType="com.example.landed"), "no route handles com.example.landed events"),
            (sample_text("run-status-changed-running"), "is Running, which is not final"),
            (event_text("ModelDeployed", {"serviceName": "s"}), "no route handles ModelDeployed events"),
        ],
        ids=["any event", "not final", "no route"],
    )
    def test_nothing_is_journaled(self, bench: Bench, raw: str, reason: str) -> None:
        (decision,) = bench.relay().deliver(raw).decisions
        assert (decision.outcome, decision.key) == (Outcome.IGNORED, "")
        assert reason in decision.reason
        assert bench.records == []

    def test_the_caller_gets_all_reasons_and_the_log_the_first_five(self, bench: Bench) -> None:
        entries = [f"name: r{number}\nevent: RunCompleted\npipeline: p\nenabled: false" for number in range(7)]
        delivery = bench.relay(*entries).deliver(run_completed())
        assert delivery.why_not == tuple(NoMatch(f"r{number}", "it is disabled") for number in range(7))
        (decision,) = delivery.decisions
        assert decision.reason == (
            "no route matches; r0: it is disabled; r1: it is disabled; r2: it is disabled; r3: it is disabled; "
            "r4: it is disabled; and 2 more"
        )


class TestParked:
    @pytest.mark.parametrize(
        ("raw", "route", "cause", "reason", "kept"),
        [
            ("{nonsense", None, "UnreadableEvent", "not JSON", "{nonsense"),
            ("\ud800", None, "UnreadableEvent", "", "\\ud800"),
            ("x" + "ü" * 99_999, None, "UnreadableEvent", "", "x" + "ü" * (MAX_UNREADABLE_BYTES // 2 - 1)),
            (event_text("RunCompleted", {}), None, "IncompleteEvent", "'runId' is missing", None),
            (run_completed("a;b"), "plain", "UnsafeValue", "which does not match", None),
        ],
        ids=["not JSON", "not Unicode", "too long", "incomplete", "unsafe"],
    )
    def test_an_event_that_can_never_succeed_is_parked(
        self, bench: Bench, raw: str, route: str | None, cause: str, reason: str, kept: str | None
    ) -> None:
        relay = bench.relay()
        (decision,) = relay.deliver(raw).decisions
        assert (decision.outcome, decision.route, decision.cause) == (Outcome.PARKED, route, cause)
        record = bench.record()
        assert (record.state, record.entry.event, record.entry.request) == (State.PARKED, kept or raw, "")
        assert reason in record.reason
        assert outcomes(relay.deliver(raw)) == [Outcome.DUPLICATE]

    @pytest.mark.parametrize(
        "path", ["$(x).csv", "a\n##vso[task.complete]b.csv", "x" * 10_000, "\u202e\U0001f600\0.csv"]
    )
    def test_a_blob_with_a_hostile_name_is_parked_and_kept(self, bench: Bench, path: str) -> None:
        subject = f"/blobServices/default/containers/c/blobs/{path}"
        data = {"url": "https://a.blob.core.windows.net/c/x", "contentLength": 1, "eTag": "0x1"}
        raw = event_text("", data, eventType="Microsoft.Storage.BlobCreated", subject=subject)
        relay = bench.relay(
            "name: b\nevent: Microsoft.Storage.BlobCreated\npipeline: p\nvariables: { p: '{{ path }}' }"
        )
        (decision,) = relay.deliver(raw).decisions
        assert (decision.outcome, decision.cause) == (Outcome.PARKED, "UnsafeValue")
        assert bench.record().entry.event == raw
        assert outcomes(relay.deliver(raw)) == [Outcome.DUPLICATE]
        assert bench.pipelines.books == []

    def test_unreadable_events_with_the_same_beginning_have_different_keys(self, bench: Bench) -> None:
        relay = bench.relay()
        relay.deliver("x" * MAX_UNREADABLE_BYTES + "a")
        assert outcomes(relay.deliver("x" * MAX_UNREADABLE_BYTES + "b")) == [Outcome.PARKED]

    @pytest.mark.parametrize("event", [{"id": "ü", "n": [1, 2.5, None]}, ["\ud800"], 7])
    def test_an_unreadable_event_has_the_same_key_in_every_layout(self, bench: Bench, event: object) -> None:
        """The Functions host lays out JSON in its own way, in a form that depends on its version."""
        relay = bench.relay()
        assert outcomes(relay.deliver(json.dumps(event))) == [Outcome.PARKED]
        assert outcomes(relay.deliver(json.dumps(event, indent=2, ensure_ascii=False))) == [Outcome.DUPLICATE]

    def test_incomplete_events_with_another_id_or_workspace_have_different_keys(self, bench: Bench) -> None:
        relay = bench.relay()
        for envelope in ({}, {"id": "event-2"}, {"topic": WORKSPACE + "-2"}):
            raw = event_text("RunCompleted", {}, **envelope)
            assert outcomes(relay.deliver(raw)) == [Outcome.PARKED]

    def test_a_request_that_azure_devops_refuses_is_parked(self, bench: Bench) -> None:
        bench.pipelines.plan.append(RequestRefused("HTTP 400: Unexpected parameter 'run'"))
        relay = bench.relay()
        assert outcomes(relay.deliver(run_completed())) == [Outcome.PARKED]
        assert bench.record().reason == "HTTP 400: Unexpected parameter 'run'"
        assert bench.reports[0].cause == "RequestRefused"
        (again,) = relay.deliver(run_completed()).decisions
        reason = "already parked: HTTP 400: Unexpected parameter 'run'"
        assert (again.outcome, again.reason) == (Outcome.DUPLICATE, reason)


class TestDeferred:
    @pytest.mark.parametrize(
        "error",
        [
            RequestNotSent("no connection: refused"),
            CredentialUnavailable("Key Vault is down"),
            CredentialRejected("HTTP 203 asks to sign in"),
            PermissionDenied("HTTP 403: needs Queue builds"),
            Throttled("throttled for 7 s", 7),
        ],
    )
    def test_the_next_delivery_starts_again_if_no_run_was_queued(self, bench: Bench, error: AzureDevOpsError) -> None:
        bench.pipelines.plan.append(error)
        relay = bench.relay()
        assert deferred(relay, run_completed()) == f"deferred on plain: {error}"
        assert (bench.record().state, bench.record().reason) == (State.RELEASED, str(error))
        assert (bench.reports[0].outcome, bench.reports[0].cause) == (Outcome.DEFERRED, type(error).__name__)
        assert outcomes(relay.deliver(run_completed())) == [Outcome.QUEUED]
        assert (len(bench.pipelines.books), bench.pipelines.searches) == (1, 0)

    def test_a_delivery_is_deferred_while_another_holds_the_claim(self, bench: Bench) -> None:
        relay = bench.relay()
        bench.pipelines.plan.append(lambda: messages.append(deferred(relay, run_completed())))
        messages: list[str] = []
        relay.deliver(run_completed())
        assert messages == ["deferred on plain: another delivery holds the claim until 12:01:00 UTC"]

    def test_a_journal_that_does_not_answer_the_claim_defers(self, bench: Bench) -> None:
        def insert(record: Record) -> Record | None:
            raise JournalUnavailable("the journal is down")

        down = store_with(bench.store, insert=insert)
        assert deferred(bench.relay(store=down), run_completed()) == "deferred on plain: the journal is down"
        assert bench.reports[0].cause == "JournalUnavailable"


class TestDelay:
    """The time from the event to its decision. The events of these tests happened two hours earlier."""

    TWO_HOURS_MS = 7_199_876.544

    @pytest.mark.parametrize(
        ("event_time", "delay_ms"),
        [
            ("2026-11-20T10:00:00.1234567Z", TWO_HOURS_MS),
            ("2026-11-20T12:00:09Z", 0),  # a clock that is ahead of ours
            ("2026-11-20T10:00:00", None),
            ("yesterday", None),
            (None, None),
        ],
    )
    def test_decisions_and_ignored_events_have_a_delay(
        self, bench: Bench, event_time: str | None, delay_ms: float | None
    ) -> None:
        relay = bench.relay()
        for name in ("RunCompleted", "ModelDeployed"):
            relay.deliver(event_text(name, {"serviceName": "s", "runId": "run-1"}, eventTime=event_time))
        assert [(decision.outcome, decision.delay_ms) for decision in bench.reports] == [
            (Outcome.QUEUED, delay_ms),
            (Outcome.IGNORED, delay_ms),
        ]

    def test_the_delay_grows_until_a_delivery_succeeds(self, bench: Bench) -> None:
        bench.pipelines.plan.append(Throttled("throttled", 7))
        relay = bench.relay()
        deferred(relay, run_completed())
        bench.clock.advance(10)
        relay.deliver(run_completed())
        assert [decision.delay_ms for decision in bench.reports] == [self.TWO_HOURS_MS, self.TWO_HOURS_MS + 10_000]


class TestAnswerLost:
    @pytest.mark.parametrize(
        ("planned", "searches", "reason"),
        [
            ([LOST], 1, "found in Azure DevOps after the answer was lost"),
            ([LOST_UNQUEUED], 1, ""),
            ([LOST_UNQUEUED, LOST], 2, "found in Azure DevOps after the answer was lost"),
        ],
    )
    @pytest.mark.parametrize("skew", [SKEW, -SKEW], ids=["ahead", "behind"])
    def test_the_run_is_adopted_or_queued_if_there_is_none(
        self, bench: Bench, skew: timedelta, planned: list[AnswerLost], searches: int, reason: str
    ) -> None:
        """The clock of Azure DevOps may be ahead or behind."""
        bench.pipelines.skew = skew
        bench.pipelines.plan.extend(planned)
        relay = bench.relay()
        for _ in planned:
            assert "the answer was lost" in deferred(relay, run_completed())
            assert (bench.record().state, bench.reports[-1].cause) == (State.UNCERTAIN, "AnswerLost")
            assert "may still be in progress" in deferred(relay, run_completed())
            bench.clock.advance(SETTLE)
        (decision,) = relay.deliver(run_completed()).decisions
        assert (decision.outcome, decision.run_id, decision.reason) == (Outcome.QUEUED, 100, reason)
        assert (len(bench.pipelines.books), bench.pipelines.searches) == (1, searches)

    @pytest.mark.parametrize("error", [RequestNotSent("down"), Throttled("throttled", 7)])
    def test_the_record_stays_uncertain_while_the_search_fails(self, bench: Bench, error: AzureDevOpsError) -> None:
        bench.pipelines.plan.append(LOST)
        bench.pipelines.search_error = error
        relay = bench.relay()
        deferred(relay, run_completed())
        bench.clock.advance(SETTLE)
        assert deferred(relay, run_completed()) == f"deferred on plain: {error}"
        assert (bench.record().state, bench.reports[-1].cause) == (State.UNCERTAIN, type(error).__name__)
        bench.pipelines.search_error = None
        assert outcomes(relay.deliver(run_completed())) == [Outcome.QUEUED]

    def test_the_event_is_parked_if_the_search_is_refused(self, bench: Bench) -> None:
        bench.pipelines.plan.append(LOST)
        bench.pipelines.search_error = RequestRefused("HTTP 404: no such project")
        relay = bench.relay()
        deferred(relay, run_completed())
        bench.clock.advance(SETTLE)
        assert outcomes(relay.deliver(run_completed())) == [Outcome.PARKED]
        reason = "a run may have been queued, but the search for it was refused: HTTP 404: no such project"
        assert bench.record().reason == reason
        assert bench.reports[-1].cause == "RequestRefused"

    def test_an_uncertain_record_with_a_cut_request_is_parked(self, bench: Bench) -> None:
        bench.pipelines.plan.append(LOST)
        relay = bench.relay()
        deferred(relay, run_completed())
        record = bench.record()
        assert bench.store.replace(record._replace(entry=record.entry._replace(request='{"cut'))) is not None
        bench.clock.advance(SETTLE)
        assert outcomes(relay.deliver(run_completed())) == [Outcome.PARKED]
        assert "the journal has only a part of its request" in bench.record().reason

    @pytest.mark.parametrize("value", ["other", "{{ data.nope }}"], ids=["asks for another run", "refuses"])
    def test_the_search_uses_the_request_that_was_sent_not_the_changed_route(self, bench: Bench, value: str) -> None:
        """If there is no run, the same request is sent again, because it is the one in the journal."""
        changed = bench.relay(PLAIN.replace("{{ run_id }}", value) + "\nproject: another")
        without_a_run = Outcome.QUEUED if value == "other" else Outcome.PARKED
        for run_id, planned, outcome in (("a", LOST, Outcome.QUEUED), ("b", LOST_UNQUEUED, without_a_run)):
            bench.pipelines.plan.append(planned)
            deferred(bench.relay(), run_completed(run_id))
            bench.clock.advance(SETTLE)
            assert outcomes(changed.deliver(run_completed(run_id))) == [outcome]
        sent = [queued.request.parameters["run"] for queued in bench.pipelines.books]
        assert sent == (["a", "b"] if value == "other" else ["a"])


def fail(*_: object) -> NoReturn:
    raise JournalUnavailable("the journal is down")


class TestEqualRequests:
    """Without a correlation parameter, runs of one route with equal parameters are interchangeable."""

    def test_a_run_that_another_record_owns_is_not_adopted(self, bench: Bench) -> None:
        relay = bench.relay(SAME)
        bench.pipelines.plan.append(LOST_UNQUEUED)
        deferred(relay, run_completed("a"))
        bench.clock.advance(10)
        bench.pipelines.plan.append(lambda: bench.clock.advance(BUDGET - 1))
        relay.deliver(run_completed("b"))
        bench.clock.advance(SETTLE)
        (decision,) = relay.deliver(run_completed("a")).decisions
        assert (decision.outcome, decision.run_id) == (Outcome.QUEUED, 101)
        assert bench.pipelines.searches == 1, "the owner was never uncertain, so no other run was displaced"

    def test_the_oldest_of_several_matching_runs_is_adopted(self, bench: Bench) -> None:
        relay = bench.relay(SAME)
        bench.pipelines.plan.extend([LOST, LOST])
        deferred(relay, run_completed("a"))
        deferred(relay, run_completed("b"))
        bench.clock.advance(SETTLE)
        (first,) = relay.deliver(run_completed("b")).decisions
        assert first.run_id == 100
        assert first.reason.endswith("; one of 2 matching runs: 100, 101")
        (second,) = relay.deliver(run_completed("a")).decisions
        assert second.run_id == 101

    @pytest.mark.parametrize("late", [False, True], ids=["none is left", "one is left"])
    @pytest.mark.parametrize("hours", [0, 1], ids=["one clock", "the journal's clock differs"])
    def test_a_run_that_may_still_be_another_workers_answer_is_not_adopted(
        self, bench: Bench, late: bool, hours: int
    ) -> None:
        """``a`` has lost its answer. While ``b`` is being queued, ``a`` finds the run of ``b``, and waits.

        If the request of ``a`` is carried out late, ``a`` adopts that run in the end.
        """
        relay = bench.relay(SAME, store=store_with(bench.store, clock_offset=lambda: timedelta(hours=hours)))
        bench.pipelines.plan.append(LOST_UNQUEUED)
        deferred(relay, run_completed("a"))
        bench.clock.advance(SETTLE)

        def search() -> None:
            if late:
                bench.pipelines.queue(bench.pipelines.books[0].request)
            assert "which has an equal request, is being queued at this moment" in deferred(relay, run_completed("a"))

        bench.pipelines.plan.append(search)
        (decision,) = relay.deliver(run_completed("b")).decisions
        assert decision.run_id == 100
        (decision,) = relay.deliver(run_completed("a")).decisions
        assert decision.run_id == 101
        assert [queued.run.id for queued in bench.pipelines.books] == [100, 101]

    def test_the_run_of_a_frozen_worker_may_be_adopted_for_an_equal_event(self, bench: Bench) -> None:
        """``b`` freezes with its answer. ``a`` takes the claim away from it, then its run; ``b`` gets another one."""
        relay = bench.relay(SAME)
        bench.pipelines.plan.append(LOST_UNQUEUED)
        deferred(relay, run_completed("a"))
        bench.clock.advance(SETTLE)

        def freeze() -> None:
            bench.clock.advance(LEASE)
            (decision,) = relay.deliver(run_completed("a")).decisions
            assert decision.run_id == 100

        bench.pipelines.plan.append(freeze)
        assert "the claim was lost while run 100 was being queued" in deferred(relay, run_completed("b"))
        (decision,) = relay.deliver(run_completed("b")).decisions
        assert (decision.outcome, decision.run_id, bench.pipelines.canceled) == (Outcome.QUEUED, 101, [])
        (orphan,) = bench.orphans
        assert (orphan.state, orphan.reason) == (State.CLOSED, "run 100 belongs to another event with an equal request")

    def test_a_candidate_that_is_adopted_in_the_meantime_is_skipped(self, bench: Bench) -> None:
        """The store names no owners here, so only the reservation of the run detects the conflict."""
        bench.pipelines.plan.extend([LOST, LOST])
        relay = bench.relay(SAME, store=store_with(bench.store, may_own=lambda *_: iter(())))
        deferred(relay, run_completed("a"))
        deferred(relay, run_completed("b"))
        bench.clock.advance(SETTLE)
        runs = [relay.deliver(run_completed(which)).decisions[0].run_id for which in "ab"]
        assert runs == [100, 101]

    def test_the_run_of_another_route_is_not_adopted(self, bench: Bench) -> None:
        """Two routes, one pipeline, equal parameters, one lost answer."""
        relay = bench.relay(SAME, SAME.replace("name: same", "name: twin"))
        bench.pipelines.plan.extend([None, LOST_UNQUEUED])
        deferred(relay, run_completed("a"))
        bench.clock.advance(SETTLE)
        duplicate, queued = relay.deliver(run_completed("a")).decisions
        assert (duplicate.outcome, duplicate.run_id) == (Outcome.DUPLICATE, 100)
        assert (queued.outcome, queued.run_id) == (Outcome.QUEUED, 101)

    def test_a_run_with_fewer_parameters_than_another_route_sends_is_not_its_run(self, bench: Bench) -> None:
        """A run with additional parameters is ours only if these are the pipeline's defaults."""
        subset = SAME.replace("name: same", "name: subset").replace("parameters: {", "parameters: { extra: x, ")
        relay = bench.relay(SAME, subset)
        bench.pipelines.plan.extend([LOST_UNQUEUED, LOST])
        deferred(relay, run_completed("a"))
        bench.clock.advance(SETTLE)
        first, second = relay.deliver(run_completed("a")).decisions
        assert (first.run_id, second.run_id) == (101, 100)

    def test_a_run_of_a_stranger_is_not_adopted(self, bench: Bench) -> None:
        relay = bench.relay(SAME)
        relay.deliver(run_completed("first"))
        bench.pipelines.plan.append(LOST_UNQUEUED)
        deferred(relay, run_completed("a"))
        request = bench.pipelines.books[0].request
        bench.pipelines.queue(request, requester="a person")
        bench.clock.advance(SETTLE)
        (decision,) = relay.deliver(run_completed("a")).decisions
        assert decision.run_id == 102
        bench.pipelines.books.pop(1)  # the bench expects each run to belong to a record


class TestRunIdsThatBeginAnew:
    """The server was restored, or its emulator restarted: it gives the same IDs again."""

    def test_each_event_keeps_its_own_run(self, bench: Bench) -> None:
        relay = bench.relay()
        for event in ("a", "b", "c"):
            bench.pipelines.ids = count(100)
            (decision,) = relay.deliver(run_completed(event)).decisions
            assert (decision.outcome, decision.run_id) == (Outcome.QUEUED, 100)
            assert outcomes(relay.deliver(run_completed(event))) == [Outcome.DUPLICATE]
        assert len(bench.pipelines.books) == 3
        notes = [record.reason for record in bench.records]
        assert sorted("have begun again" in note for note in notes) == [False, True, True]

    @staticmethod
    def _lose_the_answer_after_ids_begin_again(bench: Bench, seconds: float) -> Relay:
        """Queue a run; after some seconds, lose the answer to the request for another one with the same ID."""
        relay = bench.relay(SAME)
        relay.deliver(run_completed("a"))
        bench.clock.advance(seconds)
        bench.pipelines.books.clear()
        bench.pipelines.ids = count(100)
        bench.pipelines.plan.append(LOST)
        deferred(relay, run_completed("b"))
        bench.clock.advance(SETTLE)
        return relay

    def test_right_after_an_earlier_run_with_the_same_id_the_app_cannot_tell(self, bench: Bench) -> None:
        """Both records may own the run, as far as the clocks are known. Sending again could double it."""
        relay = self._lose_the_answer_after_ids_begin_again(bench, 10)
        assert outcomes(relay.deliver(run_completed("b"))) == [Outcome.PARKED]
        assert len(bench.pipelines.books) == 1

    def test_the_owner_of_an_earlier_run_with_the_same_id_does_not_own_the_new_one(self, bench: Bench) -> None:
        relay = self._lose_the_answer_after_ids_begin_again(bench, 3600)
        (decision,) = relay.deliver(run_completed("b")).decisions
        assert (decision.outcome, decision.run_id) == (Outcome.QUEUED, 100)
        assert len(bench.pipelines.books) == 1


class TestOrchestrationIds:
    """Azure DevOps honors the idempotency key."""

    def test_a_lost_run_is_found_by_its_id_whatever_else_is_listed(self, bench: Bench) -> None:
        bench.pipelines.honors_ids = True
        relay = bench.relay(SAME)
        bench.pipelines.plan.append(LOST)
        deferred(relay, run_completed("a"))
        bench.pipelines.books.insert(0, replace(bench.pipelines.books[0], run=Run(7, ""), orchestration_id="another"))
        bench.clock.advance(SETTLE)
        (decision,) = relay.deliver(run_completed("a")).decisions
        assert decision.run_id == 100
        bench.pipelines.books.pop(0)

    def test_a_record_always_has_the_same_id(self, bench: Bench) -> None:
        asked: list[str] = []
        run = bench.pipelines.run

        def note(request: RunRequest, deadline: datetime, orchestration_id: str) -> Run:
            asked.append(orchestration_id)
            return run(request, deadline, orchestration_id)

        bench.pipelines.run = note  # type: ignore[method-assign]
        bench.pipelines.plan.append(LOST_UNQUEUED)
        relay = bench.relay(SAME)
        deferred(relay, run_completed("a"))
        bench.clock.advance(SETTLE)
        relay.deliver(run_completed("a"))
        relay.deliver(run_completed("b"))
        first, again, other = map(uuid.UUID, asked)
        assert (first.version, first) == (5, again)
        assert other != first

    def test_equal_events_get_their_own_runs_back(self, bench: Bench) -> None:
        bench.pipelines.honors_ids = True
        relay = bench.relay(SAME)
        bench.pipelines.plan.extend([LOST, LOST])
        deferred(relay, run_completed("a"))
        deferred(relay, run_completed("b"))
        bench.clock.advance(SETTLE)
        runs = [relay.deliver(run_completed(which)).decisions[0].run_id for which in "ba"]
        assert runs == [101, 100]

    def test_an_equal_event_does_not_take_a_run_with_another_id(self, bench: Bench) -> None:
        bench.pipelines.honors_ids = True
        relay = bench.relay(SAME)
        bench.pipelines.plan.extend([LOST, LOST_UNQUEUED])
        deferred(relay, run_completed("a"))
        deferred(relay, run_completed("b"))
        bench.clock.advance(SETTLE)
        runs = [relay.deliver(run_completed(which)).decisions[0].run_id for which in "ba"]
        assert runs == [101, 100]

    def test_a_second_request_is_refused_and_the_first_ones_run_adopted(self, bench: Bench) -> None:
        """The first request was released as certainly not carried out, which was wrong."""
        bench.pipelines.honors_ids = True
        relay = bench.relay()

        def lie() -> None:
            raise Throttled("throttled", 7)

        bench.pipelines.plan.append(lie)
        deferred(relay, run_completed())
        assert bench.record().state is State.RELEASED
        bench.clock.advance(60)
        (decision,) = relay.deliver(run_completed()).decisions
        assert (decision.outcome, decision.run_id, len(bench.pipelines.books)) == (Outcome.QUEUED, 100, 1)

    def test_a_run_that_exists_and_is_not_listed_is_searched_for_three_times(self, bench: Bench) -> None:
        bench.pipelines.plan.extend([RunExists("exists")] * 3)
        relay = bench.relay()
        for _ in range(2):
            assert "an earlier request with the same orchestration ID" in deferred(relay, run_completed())
            assert "may still be in progress" in deferred(relay, run_completed())
            bench.clock.advance(SETTLE)
        (decision,) = relay.deliver(run_completed()).decisions
        assert (decision.outcome, bench.pipelines.books) == (Outcome.PARKED, [])
        assert "its run is not listed" in decision.reason


class TestCrashedAndFrozenWorkers:
    @pytest.mark.parametrize(
        ("error", "level", "words"),
        [
            (None, logging.ERROR, "run 100 was queued too late and is being canceled: its event has run 101"),
            (RequestNotSent("down"), logging.CRITICAL, f"run 100 ({url_of(100)}) could not be canceled: down"),
        ],
    )
    def test_a_frozen_worker_cancels_its_run_if_another_was_queued(
        self, bench: Bench, caplog: pytest.LogCaptureFixture, error: AzureDevOpsError | None, level: int, words: str
    ) -> None:
        relay = bench.relay()
        bench.pipelines.cancel_error = error

        def freeze() -> None:
            """Freeze during the POST. The run appears after another delivery has searched for it."""
            late = bench.pipelines.books.pop()
            bench.clock.advance(LEASE)
            relay.deliver(run_completed())
            bench.pipelines.books.append(late)

        bench.pipelines.plan.append(freeze)
        (decision,) = relay.deliver(run_completed()).decisions
        assert (decision.outcome, decision.run_id) == (Outcome.DUPLICATE, 101)
        assert bench.record().run_id == 101
        assert bench.pipelines.canceled == ([100] if error is None else [])
        (text,) = [text for _, its_level, text in caplog.record_tuples if its_level == level]
        assert words in text
        bench.pipelines.cancel_error = None
        assert outcomes(relay.deliver(run_completed())) == [Outcome.DUPLICATE], "which learns of the orphan"
        assert bench.pipelines.canceled == [100]
        assert [orphan.state for orphan in bench.orphans] == [State.COMPLETED]

    def test_a_frozen_worker_does_not_cancel_a_run_that_was_adopted(self, bench: Bench) -> None:
        relay = bench.relay()

        def freeze() -> None:
            bench.clock.advance(LEASE)
            relay.deliver(run_completed())

        bench.pipelines.plan.append(freeze)
        (decision,) = relay.deliver(run_completed()).decisions
        assert (decision.outcome, decision.run_id, bench.pipelines.canceled) == (Outcome.DUPLICATE, 100, [])

    def test_the_run_of_a_frozen_worker_is_adopted_if_there_is_no_other_one(self, bench: Bench) -> None:
        relay = bench.relay()

        def freeze() -> None:
            bench.clock.advance(LEASE)
            bench.pipelines.search_error = RequestNotSent("down")
            deferred(relay, run_completed())

        bench.pipelines.plan.append(freeze)
        assert "the claim was lost while run 100 was being queued" in deferred(relay, run_completed())
        assert [orphan.state for orphan in bench.orphans] == [State.WAITING]
        bench.pipelines.search_error = None
        (decision,) = relay.deliver(run_completed()).decisions
        assert (decision.run_id, bench.pipelines.canceled) == (100, [])
        assert [orphan.reason for orphan in bench.orphans] == ["there is no second run"]

    def test_the_run_of_a_frozen_worker_whose_answer_is_lost_too_is_canceled(self, bench: Bench) -> None:
        relay = bench.relay()

        def freeze() -> None:
            late = bench.pipelines.books.pop()
            bench.clock.advance(LEASE)
            relay.deliver(run_completed())
            bench.pipelines.books.append(replace(late, at=bench.clock()))
            raise LOST

        bench.pipelines.plan.append(freeze)
        assert "has been taken over by another delivery" in deferred(relay, run_completed())
        (orphan,) = bench.orphans
        assert orphan.state is State.WAITING
        assert outcomes(relay.deliver(run_completed())) == [Outcome.DUPLICATE]
        assert bench.pipelines.canceled == [], "its request may still be in progress"
        bench.clock.advance(SETTLE)
        assert outcomes(relay.deliver(run_completed())) == [Outcome.DUPLICATE]
        assert bench.pipelines.canceled == [100]

    @pytest.mark.parametrize("error", [None, LOST])
    def test_the_run_of_a_frozen_worker_whose_journal_fails_is_canceled(
        self, bench: Bench, error: AzureDevOpsError | None
    ) -> None:
        """The worker cannot learn that it has lost its claim, so it assumes that after its lease."""
        relay = bench.relay()
        failing = bench.relay(store=store_with(bench.store, replace=fail))

        def freeze() -> None:
            late = bench.pipelines.books.pop()
            bench.clock.advance(LEASE)
            relay.deliver(run_completed())
            bench.pipelines.books.append(replace(late, at=bench.clock()))
            if error is not None:
                raise error

        bench.pipelines.plan.append(freeze)
        assert "the journal is down" in deferred(failing, run_completed())
        bench.clock.advance(SETTLE)
        assert outcomes(relay.deliver(run_completed())) == [Outcome.DUPLICATE]
        assert bench.pipelines.canceled == [100]

    def test_of_two_requests_that_were_both_carried_out_one_run_is_canceled(self, bench: Bench) -> None:
        """The worker that sent the first one is dead. Its run is listed late, and the second answer is lost."""
        relay = bench.relay()
        bench.pipelines.plan.extend([LOST, LOST])
        deferred(relay, run_completed())
        late = bench.pipelines.books.pop()
        bench.clock.advance(SETTLE)
        deferred(relay, run_completed())
        bench.pipelines.books.append(late)
        bench.clock.advance(SETTLE)
        (decision,) = relay.deliver(run_completed()).decisions
        assert {decision.run_id, *bench.pipelines.canceled} == {100, 101}
        assert [orphan.state for orphan in bench.orphans] == [State.COMPLETED]

    def test_they_are_left_to_an_equal_event_that_has_none(self, bench: Bench) -> None:
        relay = bench.relay(SAME)
        bench.pipelines.plan.extend([LOST, LOST, LOST_UNQUEUED, LOST_UNQUEUED])
        late = []
        for _ in range(2):
            for event in ("a", "b"):
                deferred(relay, run_completed(event))
            late += bench.pipelines.books
            bench.pipelines.books.clear()
            bench.clock.advance(SETTLE)
        bench.pipelines.books.extend(late)
        decisions = [relay.deliver(run_completed(event)).decisions[0] for event in ("a", "b")]
        assert {decision.run_id for decision in decisions} == {100, 101}
        assert bench.pipelines.canceled == []

    def test_an_orphan_that_cannot_be_written_down_is_said(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        relay = bench.relay()
        failing = bench.relay(store=store_with(bench.store, get=fail))

        def freeze() -> None:
            bench.clock.advance(LEASE)
            relay.deliver(run_completed())

        bench.pipelines.plan.append(freeze)
        assert "the journal is down" in deferred(failing, run_completed())
        assert bench.slept == [1.0] * 4
        (text,) = [text for _, level, text in caplog.record_tuples if level == logging.CRITICAL]
        assert f"run 100 ({url_of(100)}) was queued after its claim was lost" in text

    @pytest.mark.parametrize("error", [RequestNotSent("x"), RequestRefused("x"), LOST])
    def test_a_frozen_worker_without_a_run_defers(self, bench: Bench, error: AzureDevOpsError) -> None:
        relay = bench.relay()

        def freeze() -> None:
            bench.pipelines.books.clear()
            bench.clock.advance(LEASE)
            relay.deliver(run_completed())
            raise error

        bench.pipelines.plan.append(freeze)
        assert "has been taken over by another delivery" in deferred(relay, run_completed())

    def test_a_request_that_is_carried_out_as_late_as_possible_is_found(self, bench: Bench) -> None:
        """The request is sent at the end of its delivery and carried out just before it settles; its worker crashes."""

        def die() -> None:
            (queued,) = bench.pipelines.books
            late = timedelta(seconds=BUDGET + SETTLE - 1)
            bench.pipelines.books[:] = [replace(queued, at=queued.at + late)]
            raise KeyboardInterrupt

        relay = bench.relay()
        bench.pipelines.plan.append(die)
        with pytest.raises(KeyboardInterrupt):
            relay.deliver(run_completed())
        bench.clock.advance(LEASE)
        (decision,) = relay.deliver(run_completed()).decisions
        assert (decision.outcome, decision.run_id) == (Outcome.QUEUED, 100)

    def test_a_run_that_could_not_be_recorded_is_found_later(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        failures = [JournalUnavailable("the journal is down")]

        def replace_record(record: Record) -> Record | None:
            if failures:
                raise failures.pop()
            return bench.store.replace(record)

        relay = bench.relay(store=store_with(bench.store, replace=replace_record))
        assert deferred(relay, run_completed()) == "deferred on plain: the journal is down"
        assert "run 100 was queued, but the journal could not record it" in caplog.text
        bench.clock.advance(LEASE)
        (decision,) = relay.deliver(run_completed()).decisions
        assert (decision.outcome, decision.run_id) == (Outcome.QUEUED, 100)


class TestSeveralRoutes:
    TWO = (PLAIN, "name: second\nevent: RunCompleted\npipeline: q")

    def test_each_route_has_its_own_outcome(self, bench: Bench) -> None:
        delivery = bench.relay(*self.TWO).deliver(run_completed())
        assert {decision.route: decision.run_id for decision in delivery.decisions} == {"plain": 100, "second": 101}

    def test_a_failure_of_one_route_does_not_affect_the_other(self, bench: Bench) -> None:
        bench.pipelines.plan.append(RequestNotSent("down"))
        relay = bench.relay(*self.TWO)
        assert deferred(relay, run_completed()) == "deferred on plain: down"
        assert outcomes(relay.deliver(run_completed())) == [Outcome.QUEUED, Outcome.DUPLICATE]
        assert sorted(str(queued.request.pipeline) for queued in bench.pipelines.books) == ["p", "q"]

    def test_a_route_without_time_is_deferred_and_not_claimed(self, bench: Bench) -> None:
        bench.pipelines.plan.append(HANGS)
        relay = bench.relay(*self.TWO)
        assert "no time is left: earlier routes used up the time of this delivery" in deferred(relay, run_completed())
        assert bench.store.get(JournalKey("second", bench.reports[-1].key)) is None
        bench.clock.advance(SETTLE)
        assert outcomes(relay.deliver(run_completed())) == [Outcome.QUEUED, Outcome.QUEUED]


def test_two_events_of_one_monitor_run_start_one_retraining(bench: Bench) -> None:
    relay = bench.relay(
        "name: retrain\nevent: RunStatusChanged\npipeline: p\n"
        "when: monitor_threshold_breached\nonce_per: '{{ root_run_id }}'"
    )
    relay.deliver(sample_text("run-status-changed-monitor-breach"))
    assert outcomes(relay.deliver(sample_text("run-status-changed-monitor-breach.cloud"))) == [Outcome.DUPLICATE]


class TestTags:
    def test_the_run_is_tagged_with_its_origin(self, bench: Bench) -> None:
        """A route can switch the tags off."""
        bench.relay(PLAIN, PLAIN.replace("plain", "untagged") + "\ntags: false").deliver(run_completed("r-1"))
        assert bench.pipelines.tags == {100: ["aml-run:r-1", "event:event-1"]}

    @pytest.mark.parametrize("error", [LOST, HANGS])
    def test_a_failed_tag_neither_fails_the_delivery_nor_exceeds_its_budget(
        self, bench: Bench, caplog: pytest.LogCaptureFixture, error: AzureDevOpsError
    ) -> None:
        bench.pipelines.tag_error = error
        bench.pipelines.plan.append(lambda: bench.clock.advance(BUDGET - 1))
        began = bench.clock()
        assert outcomes(bench.relay().deliver(run_completed("r-1"))) == [Outcome.QUEUED]
        assert "run 100 could not be tagged with aml-run:r-1, event:event-1: the answer was lost" in caplog.text
        assert bench.clock() - began <= timedelta(seconds=BUDGET)

    def test_an_adopted_run_is_tagged_and_a_duplicate_is_not_tagged_again(self, bench: Bench) -> None:
        bench.pipelines.plan.append(LOST)
        relay = bench.relay()
        deferred(relay, run_completed("r-1"))
        assert bench.pipelines.tags == {}
        bench.clock.advance(SETTLE)
        relay.deliver(run_completed("r-1"))
        assert bench.pipelines.tags == {100: ["aml-run:r-1", "event:event-1"]}
        bench.pipelines.tags.clear()
        relay.deliver(run_completed("r-1"))
        assert bench.pipelines.tags == {}


class TestCooldown:
    COOL = PLAIN + "\ncooldown: 6h"

    def test_one_run_per_window(self, bench: Bench) -> None:
        relay = bench.relay(self.COOL)
        relay.deliver(run_completed("a"))
        (decision,) = relay.deliver(run_completed("b")).decisions
        assert decision.outcome is Outcome.SUPPRESSED
        assert decision.reason == "run 100 was queued within this cooldown, which ends at 2026-11-20 18:00:00 UTC"
        assert bench.record().state is State.SUPPRESSED
        assert outcomes(relay.deliver(run_completed("b"))) == [Outcome.DUPLICATE]
        bench.clock.advance(6 * 3600)
        assert outcomes(relay.deliver(run_completed("c"))) == [Outcome.QUEUED]

    def test_each_cooldown_key_has_its_own_window(self, bench: Bench) -> None:
        relay = bench.relay(self.COOL + "\ncooldown_key: '{{ experiment_name }}'")
        for experiment, outcome in [("x", Outcome.QUEUED), ("y", Outcome.QUEUED), ("x", Outcome.SUPPRESSED)]:
            raw = run_completed(f"{experiment}-{outcome}", experimentName=experiment)
            assert outcomes(relay.deliver(raw)) == [outcome]

    @pytest.mark.parametrize(
        ("error", "its_next"),
        [(RequestRefused("HTTP 400"), Outcome.DUPLICATE), (Throttled("throttled", 7), Outcome.SUPPRESSED)],
        ids=["parked", "released"],
    )
    def test_a_holder_without_a_run_frees_its_window(
        self, bench: Bench, error: AzureDevOpsError, its_next: Outcome
    ) -> None:
        bench.pipelines.plan.append(error)
        relay = bench.relay(self.COOL)
        with suppress(DeliveryDeferred):
            relay.deliver(run_completed("a"))
        assert outcomes(relay.deliver(run_completed("b"))) == [Outcome.QUEUED]
        assert outcomes(relay.deliver(run_completed("a"))) == [its_next]

    def test_others_are_deferred_while_the_holder_is_uncertain(self, bench: Bench) -> None:
        bench.pipelines.plan.append(LOST)
        relay = bench.relay(self.COOL)
        deferred(relay, run_completed("a"))
        assert "holds the cooldown window and has no outcome yet" in deferred(relay, run_completed("b"))
        bench.clock.advance(SETTLE)
        assert outcomes(relay.deliver(run_completed("a"))) == [Outcome.QUEUED]
        assert outcomes(relay.deliver(run_completed("b"))) == [Outcome.SUPPRESSED]

    @pytest.mark.parametrize(("planned", "run_id"), [(LOST_UNQUEUED, None), (LOST, 100)])
    def test_an_uncertain_holder_does_not_block_longer_than_its_window(
        self, bench: Bench, planned: AnswerLost, run_id: int | None
    ) -> None:
        """If the holder has a run, the run is adopted, even though another occurrence now holds the window."""
        bench.pipelines.plan.append(planned)
        relay = bench.relay(self.COOL)
        deferred(relay, run_completed("a"))
        bench.clock.advance(6 * 3600)
        assert outcomes(relay.deliver(run_completed("b"))) == [Outcome.QUEUED]
        (decision,) = relay.deliver(run_completed("a")).decisions
        assert (decision.outcome, decision.run_id) == (Outcome.QUEUED if run_id else Outcome.SUPPRESSED, run_id)

    def test_a_missing_cooldown_key_parks_the_event(self, bench: Bench) -> None:
        relay = bench.relay(self.COOL + "\ncooldown_key: '{{ run_tags.team }}'")
        assert outcomes(relay.deliver(run_completed("a"))) == [Outcome.PARKED]

    def test_one_of_many_simultaneous_occurrences_is_queued(self, each_store: Store) -> None:
        """Real threads and a real clock: 64 occurrences enter the same window at the same time, on every backend."""
        pipelines = FakePipelines(utc_now)
        relay = relay_over(each_store, pipelines, routes(self.COOL), report=Reports())
        start = threading.Barrier(16)

        def deliver(number: int) -> Outcome:
            start.wait()
            while True:
                try:
                    return relay.deliver(run_completed(f"run-{number}")).decisions[0].outcome
                except DeliveryDeferred:
                    time.sleep(0.01)

        with ThreadPoolExecutor(16) as pool:
            results = Counter(pool.map(deliver, range(64)))
        assert results == {Outcome.QUEUED: 1, Outcome.SUPPRESSED: 63}
        assert len(pipelines.books) == 1
