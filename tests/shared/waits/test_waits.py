"""Tests of Waits: each task is completed exactly once, in any order and after failures, and its token is erased."""

import json
from collections import deque
from datetime import timedelta

import pytest

from shared.credentials import Secret
from shared.errors import (
    AlreadyWaiting,
    AnswerLost,
    AzureDevOpsError,
    CredentialRejected,
    CredentialUnavailable,
    InvalidWait,
    JournalUnavailable,
    PermissionDenied,
    RequestNotSent,
    RequestRefused,
    Throttled,
    WaitNotVerified,
)
from shared.journal.records import WAIT_PREFIX, Record, Selection, State, Store
from shared.telemetry import Outcome
from shared.waits.request import Task, WaitRequest
from shared.waits.task_client import Access
from shared.waits.wait import Wait
from tests.support.builders import WORKSPACE, routes, run_completed
from tests.support.clock import ManualClock
from tests.support.fakes import HANGS, LOST, LOST_UNQUEUED, FakePipelines, Reports
from tests.support.journal.wrapped_store import Call, Meanwhile, WrappedStore
from tests.support.relays import PLAIN, SETTLE, deferred, outcomes, relay_over
from tests.support.waits import EVENT, GONE, BrokenStore, Scene, a_request, a_task, the_end

OTHER_WORKSPACE = WORKSPACE.replace("workspaces/ws", "workspaces/other")
IN_ANOTHER_GROUP = WORKSPACE.replace("/resourceGroups/", "/resourceGroups/another-")


@pytest.fixture
def scene(store: Store, clock: ManualClock) -> Scene:
    return Scene(store, clock)


def register(scene: Scene, request: WaitRequest) -> Record:
    return scene.waits.register(request, scene.in_seconds(2.5))


def end(scene: Scene, **what: str) -> list[Outcome]:
    decisions = scene.waits.run_ended(the_end(**what), EVENT, scene.in_seconds())
    return [decision.outcome for decision, _ in decisions]


def wait_record(scene: Scene) -> Record:
    (record,) = scene.journal.select(Selection(route_prefix=WAIT_PREFIX), 10)
    return record


def kept(scene: Scene) -> tuple[State, bool]:
    """Return the state of the only wait, and whether its token is still stored."""
    record = wait_record(scene)
    return record.state, bool(json.loads(record.document)["sealed"])


class TestEitherOrder:
    @pytest.fixture
    def store(self, each_store: Store) -> Store:
        """Every backend instead of the default one."""
        return each_store

    @pytest.mark.parametrize(
        ("status", "result"), [("Completed", "succeeded"), ("Failed", "failed"), ("Canceled", "canceled")]
    )
    def test_one_before_the_other(self, scene: Scene, status: str, result: str) -> None:
        first, second = a_request(), a_request()
        assert register(scene, first).state is State.WAITING
        assert scene.tasks.results == {}
        assert end(scene, status=status) == [Outcome.COMPLETED]
        assert scene.tasks.results == {first.task.task_instance_id: [result]}
        assert kept(scene) == (State.COMPLETED, False)
        assert register(scene, second).state is State.WAITING
        assert scene.tasks.results[second.task.task_instance_id] == [result]

    def test_twice_each(self, scene: Scene) -> None:
        request = a_request()
        for _ in range(2):
            register(scene, request)
        end(scene)
        assert end(scene) == []
        assert register(scene, request).state is State.COMPLETED
        assert scene.tasks.results == {request.task.task_instance_id: ["succeeded"]}
        assert len(scene.tasks.lines[request.task.task_instance_id]) == 3  # one at registration, two at the end

    def test_many_tasks_for_one_run_and_one_for_another(self, scene: Scene) -> None:
        requests = [a_request() for _ in range(5)]
        other = a_request(run_id="run-2")
        for request in (*requests, other):
            register(scene, request)
        assert end(scene) == [Outcome.COMPLETED] * 5
        assert scene.tasks.results == {request.task.task_instance_id: ["succeeded"] for request in requests}

    def test_the_first_reported_end_counts(self, scene: Scene) -> None:
        end(scene, status="Failed")
        end(scene, status="Completed")
        request = a_request()
        register(scene, request)
        assert scene.tasks.results == {request.task.task_instance_id: ["failed"]}


class TestWhichRun:
    @pytest.mark.parametrize(
        ("workspaces", "expected"),
        [
            ([None, "ws", "WS", WORKSPACE, WORKSPACE.upper(), WORKSPACE + "/"], Outcome.COMPLETED),
            (["other", OTHER_WORKSPACE, IN_ANOTHER_GROUP, "w"], None),
        ],
    )
    def test_the_workspace_of_a_wait(
        self, scene: Scene, workspaces: list[str | None], expected: Outcome | None
    ) -> None:
        for workspace in workspaces:
            register(scene, a_request(workspace=workspace))
        assert end(scene) == ([expected] * len(workspaces) if expected else [])

    def test_ends_in_several_workspaces_are_distinguished(self, scene: Scene) -> None:
        end(scene, workspace=OTHER_WORKSPACE, status="Failed")
        end(scene, workspace=WORKSPACE, status="Completed")
        request = a_request(workspace="ws")
        register(scene, request)
        assert scene.tasks.results == {request.task.task_instance_id: ["succeeded"]}

    def test_a_runs_name_in_another_case(self, scene: Scene) -> None:
        register(scene, a_request(run_id="Run-1"))
        assert end(scene, run_id="rUN-1") == [Outcome.COMPLETED]


def test_an_end_without_waits_takes_two_calls(store: Store, clock: ManualClock) -> None:
    """docs/cost.md relies on this number."""
    calls: list[str] = []

    def note(name: str, call: Call) -> Call:
        if name != "clock_offset":  # which sends nothing to a store that has answered before
            calls.append(name)
        return call

    end(Scene(WrappedStore(store, note), clock, workspace_id=WORKSPACE))
    assert calls == ["insert", "select"]


class TestRegistration:
    def test_another_run_for_the_same_task(self, scene: Scene) -> None:
        task = a_task()
        register(scene, a_request(task))
        with pytest.raises(AlreadyWaiting, match=f"{task} already waits for run run-1"):
            register(scene, a_request(task, run_id="run-2"))
        assert Wait.of(wait_record(scene)).run_id == "run-1"

    def test_another_run_for_the_same_task_at_the_same_time(
        self, scene: Scene, store: Store, clock: ManualClock
    ) -> None:
        task = a_task()
        meanwhile = Meanwhile("after get", lambda: register(scene, a_request(task, run_id="run-2")))
        with pytest.raises(AlreadyWaiting, match="already waits for run run-2"):
            register(Scene(WrappedStore(store, meanwhile), clock), a_request(task))
        assert Wait.of(wait_record(scene)).run_id == "run-2"

    def test_another_instance_of_the_task(self, scene: Scene) -> None:
        task = a_task()
        again = Task(**{name: getattr(task, name) for name in Task.__slots__} | {"job_id": a_task().job_id})
        register(scene, a_request(task))
        register(scene, a_request(again, run_id="run-2"))
        assert end(scene) == [Outcome.COMPLETED]
        assert end(scene, run_id="run-2") == [Outcome.COMPLETED]

    @pytest.mark.parametrize(
        ("error", "field"),
        [
            (CredentialRejected("HTTP 401"), "AuthToken"),
            (PermissionDenied("HTTP 403"), "AuthToken"),
            (GONE, "PlanId"),
            (RequestRefused("HTTP 400: no"), "PlanId"),
        ],
    )
    def test_a_wait_that_azure_devops_does_not_accept_is_not_stored(
        self, scene: Scene, error: AzureDevOpsError, field: str
    ) -> None:
        scene.tasks.plan("show_lines", error)
        with pytest.raises(InvalidWait) as caught:
            register(scene, a_request())
        assert set(caught.value.problems) == {field}
        assert list(scene.journal.select(Selection(), 10)) == []

    @pytest.mark.parametrize(("left", "takes"), [(4.5, 2), (0.5, 0.5)])
    def test_a_wait_that_cannot_be_verified_is_not_kept_and_the_task_can_be_run_again(
        self, scene: Scene, clock: ManualClock, left: float, takes: float
    ) -> None:
        request = a_request()
        scene.tasks.plan("show_lines", HANGS)
        began = clock()
        with pytest.raises(WaitNotVerified, match=f"could not be asked about {request.task}"):
            scene.waits.register(request, scene.in_seconds(left))
        assert clock() - began == timedelta(seconds=takes)
        assert list(scene.journal.select(Selection(), 10)) == []
        register(scene, request)
        assert end(scene) == [Outcome.COMPLETED]

    @pytest.mark.parametrize("loses_completions", [False, True])
    def test_a_completion_before_the_answer_is_checked_later(
        self, scene: Scene, clock: ManualClock, loses_completions: bool
    ) -> None:
        end(scene)
        scene.tasks.loses_completions = loses_completions
        request = a_request()
        register(scene, request)
        scene.tasks.loses_completions = False
        assert kept(scene) == (State.UNCERTAIN, True)
        assert end(scene) == [Outcome.DEFERRED], "it may still be in progress"
        clock.advance(31)
        assert end(scene) == [Outcome.COMPLETED]
        assert kept(scene) == (State.COMPLETED, False)
        assert scene.tasks.results == {request.task.task_instance_id: ["succeeded"]}


class TestCompletion:
    @pytest.mark.parametrize(
        ("lost", "words"), [(LOST, "had already ended"), (LOST_UNQUEUED, "was completed with 'succeeded'")]
    )
    def test_a_lost_answer_is_checked_once_it_has_settled(
        self, scene: Scene, clock: ManualClock, lost: AnswerLost, words: str
    ) -> None:
        request = a_request()
        register(scene, request)
        scene.tasks.plan("complete", lost)
        assert end(scene) == [Outcome.DEFERRED]
        assert end(scene) == [Outcome.DEFERRED]  # it may still be in progress
        clock.advance(31)
        assert end(scene) == [Outcome.COMPLETED]
        assert scene.tasks.results == {request.task.task_instance_id: ["succeeded"]}
        assert words in wait_record(scene).reason

    def test_a_check_that_fails_is_repeated(self, scene: Scene, clock: ManualClock) -> None:
        register(scene, a_request())
        scene.tasks.plan("complete", LOST)
        scene.tasks.plan("has_ended", RequestNotSent("no connection"))
        end(scene)
        clock.advance(31)
        assert end(scene) == [Outcome.DEFERRED]
        assert wait_record(scene).state is State.UNCERTAIN
        assert end(scene) == [Outcome.COMPLETED]

    @pytest.mark.parametrize(
        "error",
        [
            RequestNotSent("no connection"),
            Throttled("HTTP 429", 30),
            PermissionDenied("HTTP 403"),
            CredentialRejected("HTTP 401"),
            CredentialUnavailable("no token"),
        ],
    )
    def test_temporary_errors_are_retried(self, scene: Scene, error: AzureDevOpsError) -> None:
        register(scene, a_request())
        scene.tasks.plan("complete", error)
        assert end(scene) == [Outcome.DEFERRED]
        assert kept(scene) == (State.RELEASED, True)
        assert end(scene) == [Outcome.COMPLETED]

    @pytest.mark.parametrize(
        ("error", "levels"), [(GONE, set()), (RequestRefused("HTTP 400: no such event"), {"ERROR"})]
    )
    def test_a_refusal_closes_the_wait_and_is_an_error_unless_the_plan_is_gone(
        self, scene: Scene, caplog: pytest.LogCaptureFixture, error: AzureDevOpsError, levels: set[str]
    ) -> None:
        register(scene, a_request())
        scene.tasks.plan("complete", error)
        assert end(scene) == [Outcome.CLOSED]
        assert kept(scene) == (State.CLOSED, False)
        assert end(scene) == []
        assert {record.levelname for record in caplog.records} & {"WARNING", "ERROR"} == levels

    def test_lines_and_decision_contain_the_reason(self, scene: Scene) -> None:
        request = a_request()
        register(scene, request)
        end(scene, status="Failed")
        expected = [
            "nextstage: Azure ML run run-1 is Failed, so this task has failed",
            f"nextstage: https://ml.azure.com/runs/run-1?wsid={WORKSPACE}",
        ]
        introduction = "nextstage: waiting for Azure ML run run-1; no agent is occupied"
        assert scene.tasks.lines[request.task.task_instance_id] == [introduction, *expected]
        assert scene.tasks.logs[request.task.task_instance_id] == expected
        (decision,) = scene.reports
        reason = f"{request.task} was completed with 'failed', because run run-1 is Failed"
        assert (decision.event_id, decision.route, decision.key, decision.reason) == (
            "event-1",
            None,
            request.task.key,
            reason,
        )

    def test_the_first_reported_end_counts_even_if_a_later_event_completes_the_task(self, scene: Scene) -> None:
        request = a_request()
        register(scene, request)
        scene.tasks.plan("complete", RequestNotSent("no connection"))
        assert end(scene, status="Failed") == [Outcome.DEFERRED]
        assert end(scene, status="Completed") == [Outcome.COMPLETED]
        assert scene.tasks.results == {request.task.task_instance_id: ["failed"]}

    @pytest.mark.parametrize(
        ("call", "left", "lease", "takes", "outcome"),
        [
            ("show_lines", 25, 60, 3, Outcome.COMPLETED),
            ("show_lines", 4, 60, 2, Outcome.COMPLETED),
            ("write_log", 25, 60, 3, Outcome.COMPLETED),
            ("complete", 25, 60, 6, Outcome.DEFERRED),
            ("complete", 2, 60, 2, Outcome.DEFERRED),
            ("complete", 25, 5, 4, Outcome.DEFERRED),
        ],
    )
    def test_a_hanging_call_ends_with_its_share_or_lease_and_leaves_time_for_the_next(
        self, store: Store, clock: ManualClock, call: str, left: float, lease: float, takes: float, outcome: Outcome
    ) -> None:
        scene = Scene(store, clock, lease_seconds=lease)
        register(scene, a_request())
        scene.tasks.plan(call, HANGS)
        began = clock()
        ((decision, _),) = scene.waits.run_ended(the_end(), EVENT, scene.in_seconds(left))
        assert (decision.outcome, clock() - began) == (outcome, timedelta(seconds=takes))

    def test_no_time_is_left(self, scene: Scene) -> None:
        register(scene, a_request())
        ((decision, _),) = scene.waits.run_ended(the_end(), EVENT, scene.clock())
        assert decision.outcome is Outcome.DEFERRED
        assert wait_record(scene).state is State.WAITING

    @pytest.mark.parametrize("completed", [False, True])
    def test_the_claim_of_a_dead_worker_is_taken_over_after_its_lease(
        self, scene: Scene, clock: ManualClock, completed: bool
    ) -> None:
        request = a_request()
        scene.journal.take(register(scene, request), send_by=scene.in_seconds())
        if completed:
            scene.tasks.complete(request.task, Access(request.token), "succeeded", scene.in_seconds())
        assert end(scene) == [Outcome.DEFERRED]
        clock.advance(61)
        assert end(scene) == [Outcome.COMPLETED]
        assert scene.tasks.results == {request.task.task_instance_id: ["succeeded"]}

    def test_a_frozen_worker_changes_nothing_after_its_lease(self, scene: Scene, clock: ManualClock) -> None:
        request = a_request()
        register(scene, request)
        outcomes: list[Outcome] = []

        def freeze() -> None:
            clock.advance(61)
            outcomes.extend(end(scene))

        scene.tasks.plan("complete", freeze)
        assert end(scene) == [Outcome.DEFERRED]
        assert outcomes == [Outcome.COMPLETED]
        assert scene.tasks.results == {request.task.task_instance_id: ["succeeded"]}


def test_a_task_that_the_routes_leave_no_time_for_is_told_with_the_next_delivery(
    scene: Scene, store: Store, clock: ManualClock
) -> None:
    pipelines = FakePipelines(clock, plan=deque([HANGS]))
    relay = relay_over(store, pipelines, routes(PLAIN), clock, report=Reports(), waits=scene.waits)
    register(scene, a_request())
    assert "no time was left to complete task" in deferred(relay, run_completed())
    clock.advance(SETTLE)
    assert outcomes(relay.deliver(run_completed())) == [Outcome.QUEUED, Outcome.COMPLETED]


class TestTheAppsOwnIdentity:
    @pytest.mark.parametrize(
        ("changes", "identity"),
        [
            ({}, True),
            ({"plan_url": "https://dev.azure.com/fabrikam"}, False),
            ({"hub_name": "checks"}, False),
            ({"hub_name": "gates"}, False),
            ({"hub_name": "rm"}, False),
        ],
        ids=["own organization", "another organization", "checks", "gates", "rm"],
    )
    def test_for_which_tasks(self, scene: Scene, changes: dict[str, str], identity: bool) -> None:
        request = a_request(a_task(**changes))
        register(scene, request)
        end(scene)
        (access,) = scene.tasks.accesses
        assert (access.token, access.identity) == (request.token, identity)

    def test_a_token_that_no_key_decrypts(self, scene: Scene, store: Store, clock: ManualClock) -> None:
        register(scene, a_request())
        rotated = Scene(store, clock)
        rotated.waits._seal._read_keys = lambda: [Secret("A" * 43 + "=")]
        assert end(rotated) == [Outcome.COMPLETED]
        (access,) = rotated.tasks.accesses
        assert (access.token, access.identity) == (None, False), "nothing proves what the record says"


class TestTheJournalDoesNotAnswer:
    def test_when_the_run_ends(self, scene: Scene, clock: ManualClock) -> None:
        register(scene, a_request())
        broken = Scene(BrokenStore(), clock)  # type: ignore[arg-type]
        assert end(broken) == [Outcome.DEFERRED]
        assert broken.reports[0].key == ""

    def test_when_a_task_registers(self, clock: ManualClock) -> None:
        with pytest.raises(JournalUnavailable):
            register(Scene(BrokenStore(), clock), a_request())  # type: ignore[arg-type]
