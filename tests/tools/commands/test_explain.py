"""``manage.py explain``: says of every event what the app does with it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devstack.events import sample_names, sample_text
from handlers import DISPATCH, NAMES
from shared.clock import utc_now
from shared.composition import compose, load_configuration, open_store
from shared.http.message import HttpRequest, HttpResponse
from shared.journal.records import UNROUTED, State
from shared.settings import load_settings
from shared.telemetry import Outcome
from tests.support import ROOT
from tests.support.blob_service import BlobService, serving
from tests.support.building import cloud_event_text, event_text, run_completed
from tests.support.canaries import secret
from tests.support.payloads import payloads
from tests.tools.conftest import RIGHT, TRIAGE, Desk
from tools.actions.explanation_view import document
from tools.commands.explain import Explainer
from tools.events.dead_letters import DeadLetter
from tools.installation import Installation

MORE_ROUTES = """
  - name: by-id
    event: RunCompleted
    pipeline: 42
    pipeline_version: 3
    branch: refs/tags/v1
    variables: { ROOT: "{{ root_run_id }}" }
    stages_to_skip: [slow]
    include_child_runs: true
    correlation_parameter: key
  - name: once-an-hour
    event: RunStatusChanged
    when: run_status != 'Completed' && (starts_with(run_id, 'c') || experiment_name == 'train')
    cooldown: 1h
    pipeline: triage
    parameters: { runId: "{{ run_id }}", runStatus: "{{ run_status }}", team: "{{ run_tags.team || 'none' }}" }
  - name: fails-without-owner
    event: ModelRegistered
    when: contains(model_tags.owner, 'x')
    once_per: "{{ model_name }}"
    pipeline: triage
  - { name: switched-off, event: RunCompleted, pipeline: triage, enabled: false }
"""
EXPECTED = {
    Outcome.QUEUED: "would queue",
    Outcome.PARKED: "would park",
    Outcome.SUPPRESSED: "would suppress",
    Outcome.DUPLICATE: "duplicate",
}
# Nothing is deferred here, and no task waits.
SEEN = set(Outcome) - {Outcome.DEFERRED, Outcome.COMPLETED, Outcome.CLOSED}


@dataclass
class AzureDevOps:
    """Answers as Azure DevOps would, and keeps what it was asked."""

    asked: list[tuple[HttpRequest, str]] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=lambda: count(1))
    pipelines: dict[str, int] = field(
        default_factory=lambda: {
            name: number
            for number, name in enumerate(
                ["model-evaluation", "model-deployment", "smoke-test", "retraining", "triage"], 11
            )
        }
    )

    def __call__(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        self.asked.append((request, authorization))
        if request.method == "GET":
            found = [{"folder": "\\", "name": name, "id": number} for name, number in self.pipelines.items()]
            return HttpResponse(200, {}, json.dumps({"value": found}).encode())
        return HttpResponse(200, {}, json.dumps({"id": next(self.ids)}).encode())

    @contextmanager
    def calls(self) -> Iterator[list[dict[str, Any]]]:
        """The runs that are asked for meanwhile, as ``explain`` shows a call."""
        made: list[dict[str, Any]] = []
        before = len(self.asked)
        yield made
        for request, authorization in self.asked[before:]:
            if request.body is not None and "/runs?" in request.url:
                url = request.url
                for name, number in self.pipelines.items():
                    url = url.replace(f"/pipelines/{number}/", f"/pipelines/{{id of {name}}}/")
                headers = {**request.headers(authorization), "Authorization": "Basic ***"}
                made.append(
                    {"method": request.method, "url": url, "headers": headers, "body": json.loads(request.body)}
                )


@pytest.fixture
def both(desk: Desk) -> "Both":
    (desk.folder / "routes.yaml").write_text((ROOT / "routes.yaml").read_text() + MORE_ROUTES)
    return Both(desk)


class Both:
    """The command and the running app, on one journal, at one moment: a clock that is set meanwhile defers nothing."""

    def __init__(self, desk: Desk) -> None:
        self.ado = AzureDevOps()
        self._installation = Installation(desk.folder, desk.environment)
        store = open_store(load_settings(desk.environment, desk.folder))
        configuration = load_configuration(desk.environment, desk.folder, NAMES)
        self._now = utc_now()
        self._relay = compose(
            configuration, DISPATCH, store=store, transport=self.ado, report=lambda _: None, clock=lambda: self._now
        ).relay
        self.seen: dict[str, int] = {}

    def agree(self, raw: str) -> None:
        """Explain an event, deliver it, and hold the one against the other."""
        explained = Explainer(self._installation, None, self._now).explain(DeadLetter("", "", "-", raw))
        told = document(explained, "Basic")
        with self.ado.calls() as calls:
            delivery = self._relay.deliver(raw)
        following = [each for each in told["routes"] if each["key"] is not None]
        if not following:
            (decision,) = delivery.decisions
            assert (decision.outcome, decision.reason) == (Outcome.IGNORED, told["why_nothing"])
        else:
            assert [(each["route"], each["key"], each["outcome"]) for each in following] == [
                (decision.route or UNROUTED, decision.key, EXPECTED[decision.outcome])
                for decision in delivery.decisions
            ]
        queued = [each for each in following if each["outcome"] == "would queue"]
        assert [each["calls"][-1] for each in queued] == calls
        assert {each["route"]: each["reason"] for each in told["routes"] if each["asked"] and each["key"] is None} == {
            why_not.route: why_not.reason for why_not in delivery.why_not
        }
        self._check_conditions(told)
        for decision in delivery.decisions:
            self.seen[decision.outcome] = self.seen.get(decision.outcome, 0) + 1

    @staticmethod
    def _check_conditions(told: dict[str, Any]) -> None:
        for each in told["routes"]:
            if each["condition"] is not None:
                answer = each["condition"]["answer"]
                assert not each["matches"] or answer == "true"
                assert not each["reason"].startswith("when is not true") or answer == "false"


class TestItSaysWhatTheAppDoes:
    @pytest.mark.parametrize("name", sample_names())
    def test_of_every_sample_event(self, both: Both, name: str) -> None:
        both.agree(sample_text(name))
        both.agree(sample_text(name))

    def test_of_all_samples_one_after_the_other(self, both: Both) -> None:
        """Now there are cooldowns and duplicates among them."""
        for name in sample_names() * 2:
            both.agree(sample_text(name))
        assert set(both.seen) == SEEN

    def test_of_a_thousand_generated_ones(self, both: Both) -> None:
        @settings(max_examples=1_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(payloads | deliverable | deliverable_status_changes)
        def check(raw: str) -> None:
            both.agree(raw)

        check()
        assert min(both.seen[outcome] for outcome in SEEN) >= 5, both.seen


texts = st.sampled_from(["train", "other", "calm_1", "x y", "$(x)", "é;", "Failed", "Completed", "Canceled", "Running"])
tags = st.dictionaries(st.sampled_from(["stage", "owner", "team", "mlflow.parentRunId"]), texts | st.none(), max_size=3)


def events(names: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Events that get as far as the routes, more often than not."""
    return st.builds(
        lambda build, name, data: build(name, {key: value for key, value in data.items() if value is not None}),
        st.sampled_from([event_text, cloud_event_text]),
        names,
        st.fixed_dictionaries(
            {
                "runId": texts | st.integers(0, 999).map("run_{}".format),
                "runStatus": st.sampled_from(["Failed", "completed", "Canceled", "Running"]),
                "experimentName": texts | st.none(),
                "runTags": tags | st.none(),
                "ModelName": texts,
                "ModelVersion": st.integers(1, 99) | texts,
                "ModelTags": tags,
                "serviceName": texts,
                "modelIds": texts,
                "DriftCoefficient": st.floats(0, 1) | texts,
                "DataDriftName": texts,
            }
        ),
    )


deliverable = events(st.sampled_from(sorted(NAMES)))
deliverable_status_changes = events(st.just("RunStatusChanged"))


class TestAsAProcess:
    def test_everything_is_told(self, desk: Desk) -> None:
        desk.routes(
            RIGHT + "\nwhen: experiment_name == 'train' && run_tags.team != 'risk'\ncooldown: 6h",
            TRIAGE + "\nenabled: false",
        )
        (desk.folder / "event.json").write_text(run_completed(runTags={"team": "fraud"}))
        ended = desk.process("explain", "event.json")
        assert (ended.code, ended.err) == (0, "")
        key = desk.run("explain", desk.folder / "event.json", "--json").json[0]["routes"][0]["key"]
        body = (
            '{"resources": {"repositories": {"self": {"refName": "refs/heads/main"}}}, '
            '"templateParameters": {"runId": "run-1", "experimentName": "train"}}'
        )
        assert (
            ended.out
            == f"""\
event.json: RunCompleted event-1, subject
  evaluate: matches
    when      true         experiment_name == 'train' && run_tags.team != 'risk'
              true           experiment_name == 'train'
                               experiment_name is "train"
              true           run_tags.team != 'risk'
                               run_tags.team is "fraud"
    run       model-evaluation in contoso/mlops on main
              runId = "run-1"  from {{{{ run_id }}}}
              experimentName = "train"  from {{{{ experiment_name }}}}
              at most one run in 6h
              tagged aml-run:run-1, event:event-1

      GET http://127.0.0.1:9/contoso/mlops/_apis/pipelines?$top=1000&api-version=7.1
      Accept: application/json
      User-Agent: nextstage/0.1.0
      X-TFS-FedAuthRedirect: Suppress
      Authorization: Basic ***

      POST http://127.0.0.1:9/contoso/mlops/_apis/pipelines/{{id of model-evaluation}}/runs?api-version=7.1
      Accept: application/json
      User-Agent: nextstage/0.1.0
      X-TFS-FedAuthRedirect: Suppress
      Authorization: Basic ***
      Content-Type: application/json
      Content-Length: {len(body)}

      {body}

    key       {key}
    journal   nothing: this occurrence was never seen on this route
    outcome   would queue
  triage: it is disabled

"""
        )
        assert not (desk.folder / "journal.sqlite3").exists(), "looking makes no journal"

    def test_a_route_that_says_everything(self, desk: Desk) -> None:
        desk.routes(
            "name: all\nevent: RunCompleted\npipeline: 42\npipeline_version: 3\nvariables: { ROOT: '{{ run_id }}' }\n"
            "parameters: { stage: test }\nstages_to_skip: [a, b]\ntags: false\ncorrelation_parameter: key\n"
            "cooldown: 1h30m\ncooldown_key: '{{ experiment_name }}'\nwhen: length(run_tags.owner) > `1`"
        )
        (desk.folder / "event.json").write_text(run_completed())
        ended = desk.run("explain", desk.folder / "event.json")
        assert "all: refused, as 'length(run_tags.owner) > `1`' cannot be evaluated on this event" in ended.out
        assert "  run_tags.owner is null\n" in ended.out
        (desk.folder / "event.json").write_text(run_completed(runTags={"owner": "x" * 300}))
        ended = desk.run("explain", desk.folder / "event.json")
        key = desk.run("explain", desk.folder / "event.json", "--json").json[0]["routes"][0]["key"]
        lines = ended.out.splitlines()
        assert f'run_tags.owner is "{"x" * 159}…' in [line.strip() for line in lines]
        start = lines.index("    run       42 in contoso/mlops on main, version 3")
        assert lines[start + 1 : start + 6] == [
            '              stage = "test"',
            f'              key = "{key}"',
            '              variable ROOT = "run-1"  from {{ run_id }}',
            "              without the stages a, b",
            '              at most one run in 1h30m for "train"',
        ]
        assert lines[start + 6] == ""
        assert lines[start + 7].startswith("      POST http://127.0.0.1:9/contoso/mlops/_apis/pipelines/42/runs?")

    def test_a_container_of_dead_letters(self, desk: Desk) -> None:
        letter = json.loads(run_completed()) | {"deadLetterReason": "MaxDeliveryAttemptsExceeded"}
        with serving(BlobService({"eg/1.json": json.dumps([letter]).encode()})) as service:
            ended = desk.process("explain", service.signed_url)
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.startswith("eg/1.json: RunCompleted event-1, subject\n  given up by Event Grid: MaxDelivery")

    def test_why_a_route_does_not_match(self, desk: Desk) -> None:
        when = "run_tags.team && (experiment_name == 'a' || length(run_tags.team) > `9`)"
        desk.routes(f"{RIGHT}\nwhen: {when}")
        (desk.folder / "event.json").write_text(run_completed(runTags={"team": "fraud"}))
        ended = desk.process("explain", "event.json")
        assert ended.code == 0
        assert ended.out.splitlines()[1:-1] == [
            f"  nothing follows: no route matches; evaluate: when is not true: {when}",
            f"  evaluate: when is not true: {when}",
            f"    when      false        {when}",
            "              true           run_tags.team",
            '                               run_tags.team is "fraud"',
            "              false          (experiment_name == 'a' || length(run_tags.team) > `9`)",
            "              false            experiment_name == 'a'",
            '                                 experiment_name is "train"',
            "              false            length(run_tags.team) > `9`",
            '                                 run_tags.team is "fraud"',
            "                                 length(run_tags.team) is 5",
        ]

    def test_standard_input_an_array_and_what_is_refused(self, desk: Desk) -> None:
        desk.routes(RIGHT, "name: triage\nevent: ModelDeployed\npipeline: triage")
        events = f"[{run_completed('$(x)')}, {event_text('ModelDeployed', {})}, 7]"
        process = desk.start("explain", stdin=-1)
        out, err = process.communicate(events, timeout=60)
        assert (process.returncode, err) == (1, "")
        lines = out.splitlines()
        assert lines[0] == "standard input: RunCompleted event-1, subject"
        assert lines[1].startswith("  evaluate: refused, as parameter 'runId': 'run_id' is '$(x)'; '$(' never passes")
        assert "    outcome   would park" in lines
        assert "  not asked: triage (for ModelDeployed)" in lines
        assert (
            "  $unrouted: refused, as the data of a ModelDeployed event is incomplete: 'serviceName' is missing"
            in lines
        )
        assert "standard input: (unreadable)" in lines

    def test_dead_letters_say_why_event_grid_gave_up(self, desk: Desk) -> None:
        letter = json.loads(run_completed()) | {"deadLetterReason": "MaxDeliveryAttemptsExceeded"}
        (desk.folder / "letters").mkdir()
        (desk.folder / "letters" / "a.json").write_text(json.dumps([letter]))
        (desk.folder / "letters" / "b.json").write_text("{")
        ended = desk.process("explain", "letters")
        assert ended.code == 1, "one could not be read"
        assert ended.out.splitlines()[1] == "  given up by Event Grid: MaxDeliveryAttemptsExceeded"
        assert ended.err.startswith("manage.py: b.json is not JSON")
        assert desk.run("explain", desk.folder / "letters", "--json").json[0]["dead_letter_reason"] == (
            "MaxDeliveryAttemptsExceeded"
        )

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["nowhere.json"], 2, "manage.py: there is no file or folder nowhere.json"),
            (["broken.json"], 1, "manage.py: broken.json is not JSON (Expecting"),
            (["text.json"], 1, "manage.py: text.json holds neither an event nor an array of events"),
            (
                ["event.json", "--route", "evaluat"],
                2,
                "manage.py: there is no route 'evaluat'; did you mean 'evaluate'?",
            ),
            (["event.json", "--routes", "no.yaml"], 2, "manage.py: the routes cannot be read:"),
            ([], 1, "manage.py: standard input is not JSON"),
        ],
    )
    def test_what_is_wrong_is_one_clear_line(self, desk: Desk, arguments: list[str], code: int, message: str) -> None:
        (desk.folder / "broken.json").write_text('{"id": ')
        (desk.folder / "text.json").write_text('"text"')
        (desk.folder / "event.json").write_text(run_completed())
        ended = desk.process("explain", *arguments)
        assert (ended.code, ended.out) == (code, "")
        assert ended.err.startswith(message)
        assert len(ended.err.splitlines()) == 1

    def test_a_person_at_a_terminal_who_names_nothing_is_asked_to(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        ended = desk.run("explain")
        assert (ended.code, ended.out) == (2, "")
        assert (
            ended.err == "manage.py: say which event to explain: EVENT.json, or '-' and the event on standard input\n"
        )


class TestWhatTheJournalSays:
    def explained(self, desk: Desk, *options: str, raw: str = "") -> dict[str, Any]:
        (desk.folder / "event.json").write_text(raw or run_completed())
        ended = desk.run("explain", desk.folder / "event.json", "--json", *options)
        assert ended.code in {0, 1}
        (route,) = [each for each in ended.json[0]["routes"] if each["asked"]]
        assert isinstance(route, dict)
        return route

    def test_a_run_that_was_queued(self, busy_desk: Desk) -> None:
        busy_desk.deliver()
        found = self.explained(busy_desk)
        assert (found["outcome"], found["journal"]["record"]["state"]) == ("duplicate", "queued")
        assert found["because"].startswith("queued before: run 501 http://")
        text = busy_desk.process("explain", "event.json").out
        assert "    journal   queued, for 0s: run 501 http://" in text
        assert "    outcome   duplicate  queued before: run 501 http://" in text

    def test_what_was_deferred_is_claimed_anew(self, desk: Desk) -> None:
        desk.deliver()
        found = self.explained(desk)
        assert (found["outcome"], found["journal"]["record"]["state"]) == ("would queue", "released")

    def test_what_was_parked_is_a_duplicate(self, desk: Desk) -> None:
        desk.park()
        assert self.explained(desk)["outcome"] == "duplicate"

    def test_a_request_whose_answer_was_lost(self, busy_desk: Desk) -> None:
        busy_desk.settings = {"JOURNAL_SETTLE_SECONDS": "60"}
        busy_desk.plan(accept=True, drop=True)
        busy_desk.deliver()
        (record,) = busy_desk.records
        assert record.state is State.UNCERTAIN
        found = self.explained(busy_desk)
        assert found["outcome"] == "would defer"
        assert found["because"].startswith("a request whose answer was lost may be under way until")
        explainer = Explainer(Installation(busy_desk.folder, busy_desk.environment), None, record.settled_at)
        (route,) = explainer.explain(DeadLetter("", "", "-", run_completed())).routes
        assert route.outcome == "would look"

    def test_a_cooldown(self, busy_desk: Desk) -> None:
        busy_desk.routes(RIGHT + "\ncooldown: 6h")
        busy_desk.deliver()
        found = self.explained(busy_desk, raw=run_completed("run-2"))
        assert found["outcome"] == "would suppress"
        assert found["because"].startswith("run 501 was queued within this cooldown, which ends at")
        assert found["journal"] == {"record": None, "in_the_way": found["because"]}
        assert len(busy_desk.records) == 2, "asking has made no window"

    def test_one_that_is_at_work_in_the_window(self, desk: Desk) -> None:
        desk.routes(RIGHT + "\ncooldown: 6h")
        desk.deliver()
        window, record = sorted(desk.records, key=lambda each: not each.key.route.startswith("$"))
        assert window.document == record.key.key
        store = open_store(load_settings(desk.environment, desk.folder))
        assert store.replace(replace(record, state=State.CLAIMED)) is not None
        found = self.explained(desk, raw=run_completed("run-2"))
        assert found["outcome"] == "would defer"
        assert "holds the cooldown window and is at work" in found["because"]

    @pytest.mark.parametrize(
        "connection",
        ["sqlite:FOLDER", "AccountName=a;AccountKey=Y2FuYXJ5LWtleQ==;TableEndpoint=http://127.0.0.1:9/a"],
    )
    def test_a_journal_that_does_not_answer(self, desk: Desk, connection: str) -> None:
        desk.settings = {"JOURNAL_CONNECTION": connection.replace("FOLDER", str(desk.folder))}
        (desk.folder / "event.json").write_text(run_completed())
        ended = desk.process("explain", "event.json", "event.json")
        assert ended.code == 1
        assert ended.out.count("    journal   not known\n    outcome   not known\n") == 2
        assert len(ended.err.splitlines()) == 1
        assert "journal" in ended.err

    def test_a_token_is_named_as_one(self, desk: Desk) -> None:
        desk.settings = {"AZURE_DEVOPS_AUTH": "identity"}
        (call, _) = self.explained(desk)["calls"]
        assert call["headers"]["Authorization"] == "Bearer ***"


class TestOptions:
    def test_another_table_and_one_route_of_it(self, desk: Desk) -> None:
        other = desk.folder / "other.yaml"
        desk.routes(TRIAGE, RIGHT)
        (desk.folder / "routes.yaml").rename(other)
        desk.routes(RIGHT)
        (desk.folder / "event.json").write_text(run_completed())
        ended = desk.run("explain", desk.folder / "event.json", "--routes", other, "--json", "--route", "triage")
        (event,) = ended.json
        assert [each["route"] for each in event["routes"]] == ["triage"]

    def test_a_limit(self, desk: Desk) -> None:
        (desk.folder / "events.json").write_text(f"[{run_completed('a')}, {run_completed('b')}, {run_completed('c')}]")
        ended = desk.run("explain", desk.folder / "events.json", "--limit", "2", "--json")
        assert len(ended.json) == 2
        assert ended.err == "only the first 2 events are explained; --limit explains more\n"
        assert desk.run("explain", desk.folder / "events.json", "--limit", "3", "--json").err == ""

    def test_nothing_secret_is_shown(self, desk: Desk) -> None:
        (desk.folder / "event.json").write_text(run_completed())
        ended = desk.run("explain", desk.folder / "event.json", "--json")
        assert secret("pat") not in ended.out
        assert ended.json[0]["routes"][0]["calls"][1]["headers"]["Authorization"] == "Basic ***"
