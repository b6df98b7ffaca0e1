"""The trigger against the emulator: a job has exactly one run, despite failures and repeated attempts."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.trigger_pipeline.trigger import TAG_PREFIX, Trigger, Triggered
from devstack.ado import Fault, Match, RunRecord, Served
from shared.azure_devops.client import PipelinesClient
from shared.azure_devops.runs import RunRequest
from shared.clock import utc_now
from shared.credentials import Credential, Issued, pat_authorization
from shared.errors import AnswerLost, AzureDevOpsError, CredentialRejected, Paused, Throttled
from shared.events.event import Occurrence, parse_event
from shared.http.message import HttpRequest, HttpResponse
from shared.http.transport import RequestsTransport, Transport
from shared.routing.lineage import lineage_tags
from tests.support.builders import run_completed
from tests.support.canaries import secret
from tests.support.clock import ManualClock

JOB = "job-1"
TAG = f"aml-run:{JOB}"
SETTLE_SECONDS = 30
TAGGING = Match(path=r"/tags$")
CANCELING = Match(method="PATCH", path=r"/builds/\d+$")
SEARCHING = Match(method="GET", path="/builds$")


class Killed(BaseException):
    """The process of the step is killed."""


@dataclass
class Attempts:
    """Attempts of a job's step, as Azure ML makes them."""

    served: Served
    clock: ManualClock
    pat: str
    said: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    @property
    def request(self) -> RunRequest:
        return RunRequest(self.served.organization_url, "mlops", 1, "main", {"runId": "brave_fig"})

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        return self.served.emulator.books.runs

    @property
    def live_runs(self) -> list[int]:
        return [run.id for run in self.runs if run.state == "inProgress"]

    def fire(
        self,
        request: RunRequest | None = None,
        *,
        job: str = JOB,
        wrap: Callable[[Transport], Transport] = lambda transport: transport,
        on_sleep: Callable[[], None] = lambda: None,
    ) -> Triggered:
        def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            self.clock.advance(seconds)
            on_sleep()

        transport = RequestsTransport(1)
        credential = Credential(lambda: Issued(pat_authorization(self.pat)))
        client = PipelinesClient(credential, wrap(transport), clock=self.clock, sleep=sleep)
        trigger = Trigger(
            client,
            job,
            look_back=timedelta(days=7),
            settle=timedelta(seconds=SETTLE_SECONDS),
            time_limit=timedelta(minutes=10),
            say=self.said.append,
            clock=self.clock,
            sleep=sleep,
        )
        try:
            return trigger.fire(request or self.request)
        finally:
            transport.close()

    def queue(self, *tags: str, request: RunRequest | None = None) -> int:
        """Queue a run outside of the trigger, with these tags."""
        transport = RequestsTransport(1)
        client = PipelinesClient(Credential(lambda: Issued(pat_authorization(self.pat))), transport)
        run = client.run(request or self.request, utc_now() + timedelta(seconds=30), str(uuid.uuid4()))
        transport.close()
        self.served.emulator.books.add_tags(run.id, tags)
        return run.id


@pytest.fixture
def attempts(served: Served, clock: ManualClock, pat: str) -> Attempts:
    return Attempts(served, clock, pat)


class TestOneAttempt:
    def test_queues_a_run_and_tags_it(self, attempts: Attempts) -> None:
        triggered = attempts.fire()
        [run] = attempts.runs
        assert (triggered.run.id, triggered.how) == (run.id, "queued")
        assert triggered.run.url.endswith(f"buildId={run.id}")
        assert run.tags == (TAG,)
        assert attempts.slept == [SETTLE_SECONDS]

    def test_its_tag_is_the_same_as_the_apps(self) -> None:
        event = parse_event(run_completed(JOB))
        assert lineage_tags(event, Occurrence(JOB, {"run_id": JOB}))[0] == f"{TAG_PREFIX}{JOB}"

    @pytest.mark.parametrize("status", [203, 400, 403, 404, 429, 500])
    def test_a_failure_to_tag_the_run_is_a_warning(self, attempts: Attempts, status: int) -> None:
        attempts.served.emulator.plan(Fault(accept=False, status=status, match=TAGGING))
        assert attempts.fire().how == "queued"
        assert any("could not be tagged" in line for line in attempts.said)

    @pytest.mark.parametrize(
        ("fault", "slept"),
        [
            (Fault(accept=False, status=429, headers={"Retry-After": "45"}), 45),
            (Fault(accept=False, drop=True), SETTLE_SECONDS),
            (Fault(accept=True, drop=True), SETTLE_SECONDS),
        ],
        ids=["throttled", "lost before it was queued", "lost after it was queued"],
    )
    def test_recovers_from_a_single_fault(self, attempts: Attempts, fault: Fault, slept: int) -> None:
        attempts.served.emulator.plan(fault)
        triggered = attempts.fire()
        assert [run.id for run in attempts.runs] == [triggered.run.id]
        assert (triggered.how == "queued") is not fault.accept
        assert attempts.slept == [SETTLE_SECONDS, pytest.approx(slept, abs=1)]

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            (Fault(accept=False, status=429, headers={"Retry-After": "3000"}), Throttled),
            (Fault(accept=False, drop=True, times=100), AnswerLost),
        ],
        ids=["a pause that is too long", "lost again and again"],
    )
    def test_fails_at_the_time_limit_if_a_fault_lasts(
        self, attempts: Attempts, fault: Fault, error: type[AzureDevOpsError]
    ) -> None:
        attempts.served.emulator.plan(fault)
        with pytest.raises(error):
            attempts.fire()
        assert attempts.runs == ()

    def test_fails_immediately_on_a_permanent_error(self, attempts: Attempts) -> None:
        attempts.pat = secret("old-pat")
        with pytest.raises(CredentialRejected):
            attempts.fire()
        assert attempts.slept == []

    def test_without_a_connection_it_retries_until_the_time_limit(self, attempts: Attempts) -> None:
        nowhere = attempts.request._replace(organization_url="http://127.0.0.1:1/contoso")
        began = attempts.clock()
        with pytest.raises(Paused, match="no connection: "):
            attempts.fire(nowhere)
        assert timedelta(minutes=9) < attempts.clock() - began <= timedelta(minutes=10)

    def test_if_the_search_fails_after_a_lost_answer_a_run_may_exist(self, attempts: Attempts) -> None:
        emulator = attempts.served.emulator
        emulator.plan(Fault(accept=True, drop=True))

        def expire() -> None:
            if len(attempts.slept) == 2:
                emulator.credentials.pats.clear()

        with pytest.raises(AnswerLost, match="the search for the run failed: HTTP 203"):
            attempts.fire(on_sleep=expire)
        assert len(attempts.runs) == 1


class TestTheNextAttempt:
    def test_finds_the_run_without_waiting(self, attempts: Attempts) -> None:
        first = attempts.fire()
        attempts.slept.clear()
        attempts.clock.advance(3 * 86_400)
        again = attempts.fire()
        assert again.run.id == first.run.id
        assert "an earlier attempt" in again.how
        assert (len(attempts.runs), attempts.slept) == (1, [])

    def test_finds_a_run_that_was_not_tagged_and_tags_it(self, attempts: Attempts) -> None:
        run_id = attempts.queue()
        assert attempts.fire().run.id == run_id
        assert attempts.runs[0].tags == (TAG,)

    def test_waits_for_a_request_that_is_still_in_progress(self, attempts: Attempts) -> None:
        def carry_out_late() -> None:
            if len(attempts.slept) == 1:
                attempts.queue()

        triggered = attempts.fire(on_sleep=carry_out_late)
        assert [run.id for run in attempts.runs] == [triggered.run.id]

    def test_adopts_the_oldest_of_several_candidates(self, attempts: Attempts) -> None:
        oldest, _ = attempts.queue(), attempts.queue()
        assert attempts.fire().run.id == oldest

    def test_prefers_the_run_with_its_tag_to_an_older_one_without(self, attempts: Attempts) -> None:
        attempts.queue()
        tagged = attempts.queue(TAG)
        assert attempts.fire().run.id == tagged

    def test_does_not_adopt_a_run_with_other_parameters_or_branch(self, attempts: Attempts) -> None:
        attempts.queue(request=attempts.request._replace(parameters={"runId": "another"}))
        attempts.queue(request=attempts.request._replace(branch="release"))
        assert attempts.fire().how == "queued"
        assert len(attempts.runs) == 3


class TestAnotherJob:
    def test_has_its_own_run(self, attempts: Attempts) -> None:
        first, second = attempts.fire(), attempts.fire(job="job-2")
        assert first.run.id != second.run.id
        assert [run.tags for run in attempts.runs] == [(TAG,), ("aml-run:job-2",)]
        assert attempts.fire().run.id == first.run.id
        assert attempts.fire(job="job-2").run.id == second.run.id

    def test_before_the_look_back_is_ignored(self, attempts: Attempts) -> None:
        attempts.queue()
        attempts.clock.advance(8 * 86_400)
        assert attempts.fire().how == "queued"


class TestCorrelation:
    """With a parameter whose value is unique to the job."""

    def request(self, attempts: Attempts, key: str) -> RunRequest:
        parameters = {"runId": "brave_fig", "correlation": key}
        return attempts.request._replace(parameters=parameters, correlation_parameter="correlation")

    def test_the_parameter_alone_identifies_the_run(self, attempts: Attempts) -> None:
        mine = attempts.queue("aml-run:somebody", request=self.request(attempts, "mine"))
        assert attempts.fire(self.request(attempts, "mine")).run.id == mine

    def test_no_other_run_is_adopted(self, attempts: Attempts) -> None:
        attempts.queue()
        attempts.queue(request=self.request(attempts, "other"))
        assert attempts.fire(self.request(attempts, "mine")).how == "queued"


class TestAtTheSameTime:
    """Two attempts of the same step: on a node that was considered lost, and on its replacement."""

    def other_posts(self, attempts: Attempts, when: str) -> Callable[[Transport], Transport]:
        def wrap(transport: Transport) -> Transport:
            def send(request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
                is_run = request.method == "POST" and "/runs?" in request.url
                if is_run and when == "before":
                    attempts.queue()
                answer = transport(request, authorization, timeout_seconds)
                if is_run and when == "after":
                    attempts.queue()
                return answer

            return send

        return wrap

    def test_the_later_run_is_canceled(self, attempts: Attempts) -> None:
        triggered = attempts.fire(wrap=self.other_posts(attempts, "before"))
        assert attempts.live_runs == [triggered.run.id] == [attempts.runs[0].id]
        assert f"run {attempts.runs[1].id} is canceled" in triggered.how
        assert attempts.fire().run.id == triggered.run.id, "the next attempt must not adopt the canceled run"

    def test_the_earlier_run_stays(self, attempts: Attempts) -> None:
        triggered = attempts.fire(wrap=self.other_posts(attempts, "after"))
        assert (triggered.run.id, triggered.how) == (attempts.runs[0].id, "queued")
        assert attempts.runs[0].state == "inProgress"

    def test_a_failure_to_cancel_the_orphan_is_a_warning(self, attempts: Attempts) -> None:
        attempts.served.emulator.plan(Fault(accept=False, status=403, match=CANCELING))
        triggered = attempts.fire(wrap=self.other_posts(attempts, "before"))
        first, second = attempts.runs
        assert triggered.run.id == first.id
        assert any(f"run {second.id} is an orphan" in line for line in attempts.said)

    def test_if_the_last_search_fails_the_run_stays(self, attempts: Attempts) -> None:
        def fail_last_search() -> None:
            # The search after the wait succeeds. The search after the run is queued fails.
            plan = Fault(accept=False, status=403, match=SEARCHING)
            attempts.served.emulator.plan(Fault(accept=True, match=SEARCHING, headers={"X": "y"}), plan)

        assert attempts.fire(on_sleep=fail_last_search).how == "queued"
        assert any("it is unknown whether it is the only one" in line for line in attempts.said)


FAULTS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "lost after it was queued": {"accept": True, "drop": True},
    "lost before it was queued": {"accept": False, "drop": True},
    "500 after it was queued": {"accept": True, "status": 500},
    "throttled": {"accept": False, "status": 429, "headers": {"Retry-After": "7"}},
}
ATTEMPT = st.tuples(st.sampled_from(sorted(FAULTS)), st.integers(1, 8), st.sampled_from(["before", "after"]))


@given(plan=st.lists(ATTEMPT, max_size=5))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_job_has_one_run_even_if_its_step_is_killed_repeatedly(
    attempts: Attempts, plan: list[tuple[str, int, str]]
) -> None:
    """Each attempt meets a fault and is killed at some request, right before or right after Azure DevOps acts on it."""
    attempts.clock.advance(8 * 86_400)  # past the look-back, to ignore the runs of earlier examples
    before = len(attempts.runs)
    request = attempts.request._replace(parameters={"runId": f"run-{before}"})
    for fault, at, when in plan:
        if (given_fault := FAULTS[fault]) is not None:
            attempts.served.emulator.plan(Fault(**given_fault))
        try:
            attempts.fire(request, wrap=partial(killing, at=at, when=when))
        except Killed:
            attempts.clock.advance(5)
        attempts.served.emulator.faults.clear()
    triggered = attempts.fire(request)
    assert [run.id for run in attempts.runs[before:]] == [triggered.run.id]
    assert attempts.runs[-1].state == "inProgress"


def killing(transport: Transport, *, at: int, when: str) -> Transport:
    """Return a transport that kills the process at request number ``at``."""
    count = 0

    def send(request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        nonlocal count
        count += 1
        if count == at and when == "before":
            raise Killed
        try:
            return transport(request, authorization, timeout_seconds)
        finally:
            if count == at:
                raise Killed

    return send
