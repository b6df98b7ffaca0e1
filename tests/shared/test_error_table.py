"""Every answer that Azure DevOps may give: the outcome, the state of the record and the number of runs.

The tests use the emulator over a socket, and cover every row of the error table in docs/how-it-works.md.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from devstack.ado import Emulator, Fault, Match, load_declaration, serve
from devstack.ado.errors import ApiError
from shared.azure_devops.client import PipelinesClient
from shared.credentials import pat_authorization, pat_from_environment
from shared.errors import DeliveryDeferred
from shared.http.transport import RequestsTransport
from shared.journal.records import JournalKey, Record, State, Store
from shared.telemetry import Decision, Outcome
from tests.contracts import validate
from tests.support.builders import routes, run_completed
from tests.support.canaries import leaks, secret
from tests.support.clock import ManualClock
from tests.support.fakes import SKEW, Reports
from tests.support.polling import wait_until
from tests.support.relays import SETTLE, relay_over

SIGN_IN = "https://app.vssps.visualstudio.com/_signin?realm=dev.azure.com"
HTML = "<!DOCTYPE html><html><title>Sign in</title></html>"


def wrapped(key: str) -> dict[str, object]:
    return ApiError(500, "Microsoft.Azure.Pipelines.WebApi", key, "said").body


@dataclass
class Scene:
    """A relay, a journal, and the emulator to which the relay sends its requests."""

    clock: ManualClock
    store: Store
    emulator: Emulator
    organization_url: str
    transport: RequestsTransport
    pats: list[str] = field(default_factory=lambda: [secret("pat")])
    reports: Reports = field(default_factory=Reports)
    budget_seconds: float = 25
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        credential = pat_from_environment(lambda: self.pats[0])
        self.client = PipelinesClient(credential, self.transport, clock=self.clock, sleep=self.slept.append)

    def deliver(self, *, event: str = "run-1", pipeline: str = "11", organization_url: str | None = None) -> Outcome:
        """Deliver the event that run ``event`` has completed, and return the outcome of the only route."""
        url = organization_url or self.organization_url
        table = routes(
            f"name: route\nevent: RunCompleted\npipeline: {pipeline}\norganization_url: {url}\n"
            "parameters: { runId: '{{ run_id }}', experimentName: train }\ntags: false"
        )
        relay = relay_over(
            self.store, self.client, table, self.clock, report=self.reports, budget_seconds=self.budget_seconds
        )
        with suppress(DeliveryDeferred):
            relay.deliver(run_completed(event))
        return self.decision.outcome

    @property
    def decision(self) -> Decision:
        return self.reports[-1]

    @property
    def record(self) -> Record:
        record = self.store.get(JournalKey("route", self.decision.key))
        assert record is not None
        return record

    @property
    def runs(self) -> int:
        return len(self.emulator.books.runs)

    @property
    def posts(self) -> int:
        return sum(request.method == "POST" for request in self.emulator.books.requests)

    @property
    def gets(self) -> int:
        return len(self.emulator.books.requests) - self.posts


@pytest.fixture
def scene(clock: ManualClock, store: Store) -> Iterator[Scene]:
    emulator = Emulator(load_declaration(), pats={secret("pat")}, clock=lambda: clock() + SKEW)
    transport = RequestsTransport(4)
    with serve(emulator) as served:
        yield Scene(clock, store, emulator, served.organization_url, transport)
        transport.close()
    for request in emulator.books.requests:
        assert request.headers["X-TFS-FedAuthRedirect"] == "Suppress"
        assert request.headers["Accept"] == "application/json"
        assert request.headers["User-Agent"].startswith("nextstage/")
        if request.path.endswith("/runs"):
            validate("ado_run_request", request.body)


class TestQueued:
    def test_200_with_an_id_is_queued(self, scene: Scene) -> None:
        assert scene.deliver() is Outcome.QUEUED
        (run,) = scene.emulator.books.runs
        assert (run.pipeline_name, run.template_parameters["runId"]) == ("model-evaluation", "run-1")
        assert (scene.record.state, scene.record.run_id) == (State.QUEUED, run.id)
        assert f"buildId={run.id}" in scene.record.run_url
        assert (scene.deliver(), scene.posts) == (Outcome.DUPLICATE, 1)

    def test_200_with_retry_after_closes_the_gate_and_is_not_repeated(self, scene: Scene) -> None:
        scene.emulator.plan(Fault(accept=True, headers={"Retry-After": "40"}))
        assert scene.deliver() is Outcome.QUEUED
        assert scene.deliver() is Outcome.DUPLICATE
        assert scene.deliver(event="run-2") is Outcome.DEFERRED
        assert "asked for a pause, which ends in 40 s" in scene.decision.reason
        assert (scene.runs, scene.posts, scene.record.state) == (1, 1, State.RELEASED)
        scene.clock.advance(40)
        assert (scene.deliver(event="run-2"), scene.runs) == (Outcome.QUEUED, 2)

    def test_a_request_that_was_held_does_not_close_the_gate(self, scene: Scene) -> None:
        scene.emulator.plan(Fault(accept=True, headers={"X-RateLimit-Delay": "12.5"}))
        assert scene.deliver() is scene.deliver(event="run-2") is Outcome.QUEUED


@pytest.mark.parametrize(
    ("status", "body", "outcome", "reason"),
    [
        (203, HTML, Outcome.DEFERRED, "HTTP 203 asks to sign in: Sign in; the PAT or token is wrong"),
        (302, HTML, Outcome.DEFERRED, "HTTP 302 asks to sign in: Sign in"),
        (401, {"message": "TF400813: no"}, Outcome.DEFERRED, "HTTP 401 asks to sign in: TF400813: no"),
        (401, "VS403463: no", Outcome.DEFERRED, "HTTP 401 asks to sign in: VS403463: no"),
        (403, {"message": "TF215106: no"}, Outcome.DEFERRED, "TF215106: no; grant the app's identity"),
        (400, {"message": "Unexpected parameter 'x'"}, Outcome.PARKED, "HTTP 400: Unexpected parameter 'x'"),
        (404, {"message": "no such pipeline"}, Outcome.PARKED, "HTTP 404: no such pipeline"),
        (409, {"message": "conflict"}, Outcome.PARKED, "HTTP 409: conflict"),
        (404, "The controller was not found", Outcome.PARKED, "HTTP 404: The controller was not found"),
        (500, wrapped("PipelineNotFoundException"), Outcome.PARKED, "HTTP 500: said"),
        (500, wrapped("PipelineValidationException"), Outcome.PARKED, "HTTP 500: said"),
        (500, wrapped("DefinitionNotFoundException"), Outcome.PARKED, "HTTP 500: said"),
        (500, wrapped("DefinitionDisabledException"), Outcome.PARKED, "HTTP 500: said"),
        (500, wrapped("RunNotFoundException"), Outcome.PARKED, "HTTP 500: said"),
        (500, wrapped("AccessDeniedException"), Outcome.DEFERRED, "HTTP 500: said; grant the app's identity"),
        (400, wrapped("VssVersionOutOfRangeException"), Outcome.DEFERRED, "said; set AZURE_DEVOPS_API_VERSION"),
    ],
)
def test_answers_after_which_no_run_exists_release_or_park_the_record(
    scene: Scene, status: int, body: object, outcome: Outcome, reason: str
) -> None:
    """A secret that has not changed is not sent twice. The next delivery starts again, or finds the record parked."""
    headers = {"Location": SIGN_IN} if status == 302 else {}
    scene.emulator.plan(Fault(accept=False, status=status, headers=headers, body=body))
    assert scene.deliver() is outcome
    assert reason in scene.record.reason
    is_released = outcome is Outcome.DEFERRED
    assert (scene.record.state, scene.runs, scene.posts) == (State.RELEASED if is_released else State.PARKED, 0, 1)
    assert (scene.deliver(), scene.posts) == ((Outcome.QUEUED, 2) if is_released else (Outcome.DUPLICATE, 1))


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 200])
def test_a_credential_that_an_answer_quotes_is_not_recorded(scene: Scene, status: int) -> None:
    sent = pat_authorization(secret("pat")).value
    body = {"message": f"Bad gateway. Authorization: {sent} ({secret('pat')})", "id": None}
    scene.emulator.plan(Fault(accept=False, status=status, body=body if status != 200 else str(body)))
    scene.deliver()
    assert "Bad gateway. Authorization: Basic *** (***)" in scene.record.reason
    assert leaks(f"{scene.record} {scene.decision}") == []


class TestCredentialRejected:
    def test_a_changed_secret_is_sent_once(self, scene: Scene) -> None:
        scene.emulator.plan(Fault(accept=False, status=203, body=HTML))
        scene.pats[:] = [secret("old")]
        scene.client._credential.authorization()
        scene.pats[:] = [secret("pat")]
        assert scene.deliver() is Outcome.QUEUED
        assert (scene.runs, scene.posts) == (1, 2)

    def test_a_rotated_pat_is_picked_up_without_a_restart(self, scene: Scene) -> None:
        assert scene.deliver() is Outcome.QUEUED
        scene.emulator.credentials.pats.clear()
        scene.emulator.credentials.pats.add(secret("new"))
        scene.pats[:] = [secret("new")]
        assert (scene.deliver(event="run-2"), scene.runs) == (Outcome.QUEUED, 2)

    def test_a_second_rejection_defers(self, scene: Scene) -> None:
        scene.pats[:] = [secret("wrong")]
        scene.client._credential.authorization()
        scene.pats[:] = [secret("wrong-too")]
        assert scene.deliver() is Outcome.DEFERRED
        assert (scene.record.state, scene.runs, scene.posts) == (State.RELEASED, 0, 2)

    def test_a_missing_secret_defers_with_a_reason(self, scene: Scene) -> None:
        scene.pats[:] = [""]
        assert scene.deliver() is Outcome.DEFERRED
        assert scene.decision.reason == "AZURE_DEVOPS_EXT_PAT is empty; set it to a PAT that may queue builds"
        assert (scene.record.state, scene.posts) == (State.RELEASED, 0)


@pytest.mark.parametrize(
    ("pipeline", "reason", "posts"),
    [
        ("15", "experimentName", 1),
        ("99", "HTTP 404: ", 1),
        ("model-evaluatoin", "is named 'model-evaluatoin'; did you mean 'model-evaluation'?", 0),
        ("\\model-evaluation", "did you mean", 0),
    ],
    ids=["undeclared parameters", "unknown id", "unknown name", "wrong folder"],
)
def test_requests_that_the_emulator_refuses_are_parked(scene: Scene, pipeline: str, reason: str, posts: int) -> None:
    assert scene.deliver(pipeline=pipeline) is Outcome.PARKED
    assert reason in scene.record.reason
    assert (scene.runs, scene.posts) == (0, posts)


def test_a_version_that_the_server_does_not_support_defers(scene: Scene) -> None:
    scene.client = PipelinesClient(
        scene.client._credential, scene.transport, api_version="9.9", clock=scene.clock, sleep=scene.slept.append
    )
    assert scene.deliver() is Outcome.DEFERRED
    assert "version of 9.9 is out of range for this server" in scene.record.reason
    assert scene.record.reason.endswith("; set AZURE_DEVOPS_API_VERSION to a version that the server supports")
    assert (scene.record.state, scene.runs, scene.decision.cause) == (State.RELEASED, 0, "VersionNotSupported")


class TestThrottled:
    @pytest.mark.parametrize(
        "headers", [{"Retry-After": "30"}, {}, {"Retry-After": "Mon, 01 Jan 2024 00:00:00 +99999999999999999"}]
    )
    def test_the_gate_closes_and_nothing_is_sent_until_it_opens(self, scene: Scene, headers: dict[str, str]) -> None:
        scene.emulator.plan(Fault(accept=False, status=429, headers=headers, body={"message": "TF400733"}))
        assert scene.deliver() is Outcome.DEFERRED
        assert "HTTP 429, throttled for 30 s: TF400733" in scene.decision.reason
        assert (scene.record.state, scene.runs) == (State.RELEASED, 0)
        scene.clock.advance(29)
        assert scene.deliver() is Outcome.DEFERRED
        assert (scene.posts, scene.record.state) == (1, State.RELEASED)
        scene.clock.advance(1)
        assert scene.deliver() is Outcome.QUEUED
        assert scene.runs == 1

    def test_another_organizations_gate_stays_open(self, scene: Scene) -> None:
        scene.emulator.plan(Fault(accept=False, status=429))
        assert scene.deliver() is Outcome.DEFERRED
        elsewhere = scene.organization_url.replace("127.0.0.1", "localhost")
        assert scene.deliver(event="run-2", organization_url=elsewhere) is Outcome.QUEUED


class TestPaused:
    def test_after_five_lost_answers_nothing_is_sent_for_5_seconds(self, scene: Scene) -> None:
        scene.emulator.plan(*[Fault(accept=False, drop=True)] * 5)
        events = [f"run-{number}" for number in range(5)]
        assert [scene.deliver(event=event) for event in events] == [Outcome.DEFERRED] * 5
        assert scene.deliver(event="another") is Outcome.DEFERRED
        assert (scene.decision.cause, scene.posts) == ("Paused", 5)
        assert scene.decision.reason.startswith("paused for 5 s, because the last 5 requests had no answer (latest: ")
        scene.clock.advance(5)
        assert scene.deliver(event="another") is Outcome.QUEUED
        assert scene.runs == 1


class TestNotSent:
    @pytest.mark.parametrize(
        ("url", "reason", "budget_seconds", "slept"),
        [
            ("http://127.0.0.1:1/contoso", "no connection: POST .*ConnectionRefusedError", 25, [0.25, 0.5, 1]),
            ("http://127.0.0.1:1/contoso", "ConnectionRefusedError", 0.4, []),
            ("https://127.0.0.1:{port}/contoso", "SSL", 25, [0.25, 0.5, 1]),
            # The resolver refuses a label of 64 characters without using the network.
            (f"https://{'a' * 64}.invalid/contoso", "no connection", 25, [0.25, 0.5, 1]),
        ],
        ids=["no connection", "short budget", "TLS", "name not found"],
    )
    def test_a_failed_connection_is_retried_within_the_budget(
        self, scene: Scene, url: str, reason: str, budget_seconds: float, slept: list[float]
    ) -> None:
        scene.budget_seconds = budget_seconds
        port = urlsplit(scene.organization_url).port
        assert scene.deliver(organization_url=url.format(port=port)) is Outcome.DEFERRED
        assert re.search(reason, scene.decision.reason)
        assert (scene.record.state, scene.runs, scene.slept) == (State.RELEASED, 0, slept)


class TestAnswerLost:
    @pytest.mark.parametrize("accept", [True, False], ids=["queued", "not-queued"])
    @pytest.mark.parametrize(
        "answer",
        [
            {"drop": True},
            {"status": 500, "body": {"message": "oops"}},
            {"status": 502, "body": HTML},
            {"status": 503, "body": {"message": "down"}},
            {"status": 503, "headers": {"Retry-After": "7"}},
            {"status": 200, "body": HTML},
            {"status": 302, "headers": {"Location": "https://proxy.invalid/blocked"}},
            {"status": 504, "body": ""},
            {"status": 200, "body": "{ cut off"},
            {"status": 200, "body": {"no": "id"}},
            {"status": 200, "body": {"id": 2**63}},
        ],
        ids=[
            *("reset", "500", "502", "503 without a pause", "503 with a pause", "a page"),
            *("redirect to a proxy", "504", "unreadable 200", "200 without id", "200 with no id"),
        ],
    )
    def test_the_record_is_uncertain_until_settled_and_then_has_one_run(
        self, scene: Scene, answer: dict[str, object], accept: bool
    ) -> None:
        scene.emulator.plan(Fault(accept=accept, **answer))  # type: ignore[arg-type]
        assert scene.deliver() is Outcome.DEFERRED
        assert (scene.record.state, scene.runs) == (State.UNCERTAIN, int(accept))
        scene.clock.advance(SETTLE - 1)
        assert (scene.deliver(), scene.posts) == (Outcome.DEFERRED, 1)
        scene.clock.advance(1)
        assert scene.deliver() is Outcome.QUEUED
        assert (scene.runs, scene.record.state) == (1, State.QUEUED)
        assert scene.record.run_id == scene.emulator.books.runs[0].id
        assert scene.posts == (1 if accept else 2)

    def test_an_orchestration_that_exists_has_a_run_which_is_adopted(self, scene: Scene) -> None:
        exists = {"status": 400, "body": wrapped("RunOrchestrationExistsException")}
        scene.emulator.plan(Fault(accept=True, **exists))  # type: ignore[arg-type]
        assert (scene.deliver(), scene.runs, scene.posts) == (Outcome.QUEUED, 1, 1)
        assert scene.record.run_id == scene.emulator.books.runs[0].id

    def test_an_orchestration_that_exists_without_a_listed_run(self, scene: Scene) -> None:
        exists = {"status": 400, "body": wrapped("RunOrchestrationExistsException")}
        scene.emulator.plan(Fault(accept=False, **exists))  # type: ignore[arg-type]
        assert (scene.deliver(), scene.record.state) == (Outcome.DEFERRED, State.UNCERTAIN)
        scene.clock.advance(SETTLE)
        assert (scene.deliver(), scene.runs, scene.posts) == (Outcome.QUEUED, 1, 2)

    @pytest.mark.parametrize("when", ["delay_after_seconds", "delay_before_seconds"])
    def test_a_read_timeout_ends_with_one_run(self, scene: Scene, when: str) -> None:
        """The run is also found if the server carries out the request after the client has given up."""
        scene.budget_seconds = 0.6
        scene.emulator.plan(Fault(accept=True, **{when: 1.0}))  # type: ignore[arg-type]
        assert scene.deliver() is Outcome.DEFERRED
        assert "the answer was lost: POST" in scene.decision.reason
        assert (scene.record.state, scene.runs) == (State.UNCERTAIN, int(when == "delay_after_seconds"))
        wait_until(lambda: scene.runs == 1)
        scene.budget_seconds = 25
        scene.clock.advance(SETTLE)
        assert (scene.deliver(), scene.runs) == (Outcome.QUEUED, 1)

    def test_the_record_stays_uncertain_while_the_search_fails(self, scene: Scene) -> None:
        scene.emulator.plan(
            Fault(accept=True, drop=True),
            Fault(accept=False, status=500, match=Match(method="GET", path="build/builds")),
        )
        assert scene.deliver() is Outcome.DEFERRED
        scene.clock.advance(SETTLE)
        assert scene.deliver() is Outcome.DEFERRED
        assert "during a lookup, so no run was queued" in scene.decision.reason
        assert scene.record.state is State.UNCERTAIN
        assert (scene.deliver(), scene.runs) == (Outcome.QUEUED, 1)

    def test_the_run_is_found_on_a_later_page(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shared.azure_devops.runs.PAGE_SIZE", 2)
        for event in ("a", "b", "c"):
            scene.deliver(event=event)
        scene.emulator.plan(Fault(accept=True, drop=True))
        assert scene.deliver() is Outcome.DEFERRED
        scene.clock.advance(SETTLE)
        # Two pages, and the app's own identity.
        assert (scene.deliver(), scene.runs, scene.gets) == (Outcome.QUEUED, 4, 3)


class TestPipelineNames:
    @pytest.mark.parametrize("name", ["Model-Evaluation", "\\mlops\\model-evaluation"])
    def test_a_name_is_looked_up_once(self, scene: Scene, name: str) -> None:
        for event in ("a", "b", "c"):
            assert scene.deliver(event=event, pipeline=name) is Outcome.QUEUED
        assert (scene.gets, scene.runs) == (1, 3)

    def test_a_name_is_found_on_a_later_page(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shared.azure_devops.runs.PAGE_SIZE", 2)
        assert (scene.deliver(pipeline="model-evaluation"), scene.gets) == (Outcome.QUEUED, 3)

    def test_an_ambiguous_name_needs_a_folder(self, scene: Scene) -> None:
        value = [{"id": number, "name": "Same", "folder": f"\\{number}"} for number in (1, 2)]
        scene.emulator.plan(
            Fault(accept=False, status=200, body={"value": value}, match=Match(method="GET", path="_apis/pipelines"))
        )
        assert scene.deliver(pipeline="same") is Outcome.PARKED
        assert "are named 'same': \\1\\same, \\2\\same; write the name with its folder" in scene.record.reason

    def test_a_list_that_cannot_be_read_defers(self, scene: Scene) -> None:
        scene.emulator.plan(Fault(accept=False, status=500, match=Match(method="GET", path="_apis/pipelines")))
        assert scene.deliver(pipeline="model-evaluation") is Outcome.DEFERRED
        assert (scene.record.state, scene.posts) == (State.RELEASED, 0)
        assert scene.deliver(pipeline="model-evaluation") is Outcome.QUEUED

    def test_a_pipeline_that_was_deleted_and_created_again_is_found(self, scene: Scene) -> None:
        assert scene.deliver(pipeline="model-evaluation") is Outcome.QUEUED
        for key in scene.client._pipeline_ids:
            scene.client._pipeline_ids[key] = 98  # the ID of the old pipeline
        assert scene.deliver(event="b", pipeline="model-evaluation") is Outcome.QUEUED
        assert [run.pipeline_id for run in scene.emulator.books.runs] == [11, 11]

    def test_a_deleted_pipeline_is_parked(self, scene: Scene) -> None:
        scene.emulator.plan(Fault(accept=False, status=404, body={"message": "pipeline 11 not found"}))
        assert scene.deliver(pipeline="model-evaluation") is Outcome.PARKED
        assert (scene.record.reason, scene.posts) == ("HTTP 404: pipeline 11 not found", 1)
