"""``manage.py explain``: its explanation of an event agrees with what the app does."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devstack.events import sample_names, sample_text
from handlers import DISPATCH, NAMES
from shared.clock import utc_now
from shared.composition import compose, load_configuration
from shared.http.message import HttpRequest, HttpResponse
from shared.journal.journal import Journal
from shared.journal.records import UNROUTED, State
from shared.routing.running import announce
from shared.telemetry import Outcome
from tests.support import ROOT
from tests.support.builders import GATHERS, event_text, run_completed
from tests.support.payloads import payloads
from tests.tools.conftest import RIGHT, TRIAGE, Desk, Result
from tools.actions.explanation import Explainer
from tools.actions.explanation_view import document
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
  - name: gathers
    event: RunCompleted
    pipeline: retraining
    parameters: { run: "{{ run_id }}", count: "{{ gathered_count }}" }
    gather: { quiet: 10m, at_most: 2h, by: "{{ experiment_name || 'none' }}" }
"""
EXPECTED = {
    Outcome.QUEUED: "would queue",
    Outcome.PARKED: "would park",
    Outcome.SUPPRESSED: "would suppress",
    Outcome.GATHERED: "would gather",
    Outcome.DUPLICATE: "duplicate",
}
# Nothing is deferred here, and no task waits.
SEEN = set(Outcome) - {Outcome.DEFERRED, Outcome.COMPLETED, Outcome.CLOSED}


@pytest.fixture
def both(desk: Desk) -> "Both":
    (desk.folder / "routes.yaml").write_text((ROOT / "routes.yaml").read_text() + MORE_ROUTES)
    desk.settings = {"RESUME_STORAGE": "sqlite"}
    return Both(desk)


class Both:
    """The command and the running app, on one journal and at one moment, so that a clock change defers nothing."""

    PIPELINES = ("model-evaluation", "model-deployment", "smoke-test", "retraining", "triage")

    def __init__(self, desk: Desk) -> None:
        self._calls: list[dict[str, Any]] = []
        now = utc_now()
        self._explainer = Explainer(Installation(desk.folder, desk.environment), None, now)
        configuration = load_configuration(desk.environment, desk.folder, NAMES)
        self._relay = compose(
            configuration, DISPATCH, store=desk.store, transport=self._send, report=lambda _: None, clock=lambda: now
        ).relay
        self.seen = Counter[str]()

    def _send(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        """Answer as Azure DevOps would, and record each request for a run in the format of ``explain``."""
        if request.method == "GET":
            found = [{"folder": "\\", "name": name, "id": 11 + n} for n, name in enumerate(self.PIPELINES)]
            return HttpResponse(200, {}, json.dumps({"value": found}).encode())
        if request.body is not None and "/runs?" in request.url:
            url = request.url
            for n, name in enumerate(self.PIPELINES):
                url = url.replace(f"/pipelines/{11 + n}/", f"/pipelines/{{id of {name}}}/")
            headers = {**request.headers(authorization), "Authorization": "Basic ***"}
            self._calls.append({"method": "POST", "url": url, "headers": headers, "body": json.loads(request.body)})
        return HttpResponse(200, {}, json.dumps({"id": len(self._calls)}).encode())

    def agree(self, raw: str) -> None:
        """Explain an event, deliver it, and compare the two."""
        explained = document(self._explainer.explain(DeadLetter("", "", "-", raw)), "Basic")
        before = len(self._calls)
        delivery = self._relay.deliver(raw)
        following = [each for each in explained["routes"] if each["key"] is not None]
        if not following:
            (decision,) = delivery.decisions
            assert (decision.outcome, decision.reason) == (Outcome.IGNORED, explained["why_nothing"])
        else:
            assert [(each["route"], each["key"], each["outcome"]) for each in following] == [
                (decision.route or UNROUTED, decision.key, EXPECTED[decision.outcome])
                for decision in delivery.decisions
            ]
            held = [each["because"] for each in following if each["outcome"] == "would gather"]
            assert held == [each.reason for each in delivery.decisions if each.outcome is Outcome.GATHERED]
        queued = [each["calls"][-1] for each in following if each["outcome"] == "would queue"]
        assert queued == self._calls[before:]
        why_not = {
            each["route"]: each["reason"] for each in explained["routes"] if each["asked"] and each["key"] is None
        }
        assert why_not == {each.route: each.reason for each in delivery.why_not}
        self.seen.update(decision.outcome for decision in delivery.decisions)
        for each in explained["routes"]:
            if each["condition"] is not None:
                answer = each["condition"]["answer"]
                assert not each["matches"] or answer == "true"
                assert not each["reason"].startswith("when is not true") or answer == "false"


texts = st.sampled_from(["train", "calm_1", "x y"]) | st.integers(0, 999).map("run_{}".format)
tags = st.dictionaries(st.sampled_from(["stage", "owner", "team", "mlflow.parentRunId"]), texts, max_size=3)
keys = ("experimentName", "ModelName", "ModelVersion", "serviceName", "modelIds", "DataDriftName")
data = {
    "runId": texts | st.just("$(x)"),
    "runStatus": st.sampled_from(["Failed", "completed", "Canceled", "Running"]),
    "DriftCoefficient": st.floats(0, 1) | texts,
    "runTags": tags,
    "ModelTags": tags,
}
deliverable = st.builds(
    event_text,
    st.sampled_from([*sorted(NAMES), *["RunStatusChanged"] * 5]),
    st.fixed_dictionaries(dict.fromkeys(keys, texts) | data),
)


class TestAgreesWithTheApp:
    def test_on_all_samples_twice(self, both: Both) -> None:
        """The samples include cooldowns and duplicates."""
        for name in sample_names() * 2:
            both.agree(sample_text(name))
        assert set(both.seen) == SEEN

    def test_on_generated_events(self, both: Both) -> None:
        @settings(max_examples=500, database=None, suppress_health_check=list(HealthCheck))
        @given(payloads | deliverable)
        def check(raw: str) -> None:
            both.agree(raw)

        check()
        assert set(both.seen) == SEEN, "the generators should reach every outcome"


def test_the_complete_text(desk: Desk) -> None:
    """The only test of the text layout; all others check the JSON."""
    nested = "run_tags.team && (experiment_name == 'a' || length(run_tags.team) > `9`)"
    desk.routes(
        RIGHT + "\nwhen: experiment_name == 'train' && run_tags.team != 'risk'\ncooldown: 6h",
        "name: by-id\nevent: RunCompleted\npipeline: 42\npipeline_version: 3\nvariables: { ROOT: '{{ run_id }}' }\n"
        "parameters: { stage: test }\nstages_to_skip: [a, b]\ntags: false\ncorrelation_parameter: key\n"
        "cooldown: 1h30m\ncooldown_key: '{{ run_tags.long }}'",
        TRIAGE + f"\nwhen: {nested}",
        "name: fails\nevent: RunCompleted\npipeline: 7\nwhen: length(run_tags.owner) > `1`",
        "name: off\nevent: RunCompleted\npipeline: 7\nenabled: false",
        "name: deployed\nevent: ModelDeployed\npipeline: 7",
    )
    desk.file(run_completed(runTags={"team": "fraud", "long": "x" * 300}))
    result = desk.process("explain", "event.json")
    routes = desk.run("explain", "event.json", "--json").json[0]["routes"]
    (evaluate_get, evaluate_post), (by_id_post,) = (_http(route["calls"]) for route in routes[:2])
    refused = next(route["reason"] for route in routes if route["route"] == "fails")
    assert (result.code, result.err) == (1, "")
    assert (
        result.out
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

{evaluate_get}

{evaluate_post}

    key       {routes[0]["key"]}
    journal   no record: this occurrence is new on this route
    outcome   would queue
  by-id: matches
    run       42 in contoso/mlops on main, version 3
              stage = "test"
              key = "{routes[1]["key"]}"
              variable ROOT = "run-1"  from {{{{ run_id }}}}
              without the stages a, b
              at most one run in 1h30m for "{"x" * 159}…

{by_id_post}

    key       {routes[1]["key"]}
    journal   no record: this occurrence is new on this route
    outcome   would queue
  triage: when is not true: {nested}
    when      false        {nested}
              true           run_tags.team
                               run_tags.team is "fraud"
              false          (experiment_name == 'a' || length(run_tags.team) > `9`)
              false            experiment_name == 'a'
                                 experiment_name is "train"
              false            length(run_tags.team) > `9`
                                 run_tags.team is "fraud"
                                 length(run_tags.team) is 5
  fails: refused: {refused}
    when      failed       length(run_tags.owner) > `1`
                             run_tags.owner is null
                             {refused}
    key       {routes[3]["key"]}
    journal   no record: this occurrence is new on this route
    outcome   would park
  off: it is disabled
  not checked: deployed (for ModelDeployed)

"""
    )
    assert not (desk.folder / "journal.sqlite3").exists(), "explaining must not create a journal"


def test_the_calls_name_the_configured_version_of_the_rest_api(desk: Desk) -> None:
    desk.routes(RIGHT)
    desk.settings = {"AZURE_DEVOPS_API_VERSION": "7.0"}
    desk.file(run_completed())
    (route,) = desk.run("explain", "event.json", "--json").json[0]["routes"]
    assert [call["url"].rpartition("api-version=")[2] for call in route["calls"]] == ["7.0", "7.0"]


def _http(calls: list[dict[str, Any]]) -> Iterator[str]:
    """The calls in text form."""
    for call in calls:
        lines = [f"{call['method']} {call['url']}", *(f"{name}: {value}" for name, value in call["headers"].items())]
        lines += [] if call["body"] is None else ["", json.dumps(call["body"])]
        yield "\n".join(f"      {line}".rstrip() for line in lines)


class TestEvents:
    def test_standard_input_with_an_array_and_refused_events(self, desk: Desk) -> None:
        desk.routes(RIGHT, "name: triage\nevent: ModelDeployed\npipeline: triage")
        file = desk.file(f"[{run_completed('$(x)')}, {event_text('ModelDeployed', {})}, 7]")
        with file.open() as stdin:
            result = desk.finish(desk.start("explain", "--json", stdin=stdin))
        assert (result.code, result.err) == (1, "")
        found = [
            (event["event"]["type"].rpartition(".")[2], *(each["route"] for each in event["routes"] if each["refused"]))
            for event in result.json
        ]
        assert found == [("RunCompleted", "evaluate"), ("ModelDeployed", UNROUTED), ("", UNROUTED)]
        assert {event["file"] for event in result.json} == {"standard input"}
        assert "$(x)" in result.json[0]["routes"][0]["reason"]
        lines = desk.run("explain", file).out.splitlines()
        assert {"  not checked: triage (for ModelDeployed)", f"{file}: (unreadable)"} <= set(lines)

    def test_dead_letters_say_why_event_grid_gave_up(self, desk: Desk) -> None:
        letter = json.loads(run_completed()) | {"deadLetterReason": "MaxDeliveryAttemptsExceeded"}
        desk.file(json.dumps([letter]), "letters/a.json")
        desk.file("{", "letters/b.json")
        result = desk.run("explain", "letters")
        assert (result.code, result.out.splitlines()[1]) == (
            1,
            "  given up by Event Grid: MaxDeliveryAttemptsExceeded",
        )
        assert result.err.startswith("manage.py: b.json is not JSON")


def test_a_folder_without_events(desk: Desk) -> None:
    (desk.folder / "letters").mkdir()
    assert desk.run("explain", "letters") == Result(0, "", "no events were found\n")


def test_a_route_that_gathers_without_a_resume_queue(desk: Desk) -> None:
    """The app does not start, but what the event leads to is known all the same."""
    desk.routes(GATHERS)
    needs = "routes.yaml: 'gather' needs a resume queue"
    for arguments, words in [((), "would gather"), (("--json",), '"outcome": "would gather"')]:
        result = desk.run("explain", desk.file(run_completed()), *arguments)
        assert (result.code, result.err.count("\n")) == (0, 1)
        assert result.err.startswith(needs)
        assert "so the app does not start with these settings; set RESUME_STORAGE" in result.err
        assert words in result.out
    desk.settings = {"RESUME_STORAGE": "sqlite"}
    assert desk.run("explain", "event.json").err == ""


class TestJournal:
    def test_an_app_with_other_routes(self, desk: Desk) -> None:
        theirs = load_configuration(desk.environment, desk.folder, NAMES).routes
        announce(Journal(desk.store), theirs)
        event = desk.file(run_completed())
        assert desk.run("explain", event).err == ""
        desk.routes(RIGHT, TRIAGE)
        told = desk.run("explain", event)
        assert (told.code, told.err.count("\n")) == (0, 1)
        assert told.err.startswith(
            f"the app runs an older routes.yaml (digest {theirs.digest}, 1 route) than this one "
        )
        assert desk.run("explain", event, "--routes", desk.folder / "routes.yaml").err == "", "another file is meant"

    def explained(self, desk: Desk, raw: str = "") -> dict[str, Any]:
        desk.file(raw or run_completed())
        result = desk.run("explain", "event.json", "--json")
        assert result.code == 0
        (route,) = result.json[0]["routes"]
        assert isinstance(route, dict)
        return route

    def test_a_run_that_was_queued(self, busy_desk: Desk) -> None:
        busy_desk.deliver()
        (record,) = busy_desk.records
        found = self.explained(busy_desk)
        assert (found["outcome"], found["journal"]["record"]["state"]) == ("duplicate", "queued")
        assert found["because"] == f"already queued: run 501 {record.run_url}"
        busy_desk.clock = lambda: record.history[-1].at + timedelta(hours=2)
        text = busy_desk.run("explain", "event.json").out
        assert f"    journal   queued, for 2h: run 501 {record.run_url}\n" in text
        assert f"    outcome   duplicate  {found['because']}\n" in text

    def test_a_deferred_event_is_claimed_again_and_a_parked_one_is_a_duplicate(self, desk: Desk) -> None:
        desk.deliver()
        assert self.explained(desk)["outcome"] == "would queue"
        desk.park("run-2")
        assert self.explained(desk, run_completed("run-2"))["outcome"] == "duplicate"

    def test_a_request_whose_answer_was_lost(self, busy_desk: Desk) -> None:
        busy_desk.plan(accept=True, drop=True)
        busy_desk.deliver()
        (record,) = busy_desk.records
        assert record.state is State.UNCERTAIN
        busy_desk.clock = lambda: record.settled_at - timedelta(milliseconds=1)
        found = self.explained(busy_desk)
        assert found["outcome"] == "would defer"
        assert found["because"].startswith("a request whose answer was lost may still be in progress until")
        busy_desk.clock = lambda: record.settled_at
        assert self.explained(busy_desk)["outcome"] == "would look"

    def test_a_cooldown(self, busy_desk: Desk) -> None:
        busy_desk.routes(RIGHT + "\ncooldown: 6h")
        busy_desk.deliver()
        found = self.explained(busy_desk, run_completed("run-2"))
        assert found["outcome"] == "would suppress"
        assert found["because"].startswith("run 501 was queued within this cooldown, which ends at")
        assert found["journal"] == {"record": None, "in_the_way": found["because"]}
        assert len(busy_desk.records) == 2, "explaining must not create a cooldown window"

    def test_a_cooldown_whose_holder_is_at_work(self, desk: Desk) -> None:
        desk.routes(RIGHT + "\ncooldown: 6h")
        desk.deliver()
        (record,) = [each for each in desk.records if not each.key.route.startswith("$")]
        assert desk.store.replace(record._replace(state=State.CLAIMED)) is not None
        found = self.explained(desk, run_completed("run-2"))
        assert found["outcome"] == "would defer"
        assert "holds the cooldown window and has no outcome yet" in found["because"]

    @pytest.mark.parametrize(
        "connection", ["sqlite:.", "AccountName=a;AccountKey=Y2FuYXJ5LWtleQ==;TableEndpoint=http://127.0.0.1:9/a"]
    )
    def test_a_journal_that_does_not_answer(self, desk: Desk, connection: str) -> None:
        desk.settings = {"JOURNAL_CONNECTION": connection}
        desk.file(run_completed())
        result = desk.run("explain", "event.json", "event.json")
        assert result.code == 1
        assert result.out.count("    journal   not known\n    outcome   not known\n") == 2
        assert (result.err.count("\n"), "journal" in result.err) == (1, True)

    @pytest.mark.parametrize(("auth", "scheme"), [("identity", "Bearer"), ("pat", "Basic")])
    def test_the_credential_is_masked(self, desk: Desk, auth: str, scheme: str) -> None:
        desk.settings = {"AZURE_DEVOPS_AUTH": auth}
        assert self.explained(desk)["calls"][1]["headers"]["Authorization"] == f"{scheme} ***"


def test_another_table_one_route_and_a_limit(desk: Desk) -> None:
    desk.routes(TRIAGE, RIGHT)
    (desk.folder / "routes.yaml").rename("other.yaml")
    desk.routes(RIGHT)
    desk.file(f"[{run_completed('a')}, {run_completed('b')}, {run_completed('c')}]")
    arguments = ("explain", "event.json", "--routes", "other.yaml", "--json", "--route", "triage", "--limit")
    result = desk.run(*arguments, "2")
    assert [[each["route"] for each in event["routes"]] for event in result.json] == [["triage"]] * 2
    assert result.err == "only the first 2 events were read; use --limit to read more\n"
    assert desk.run(*arguments, "3").err == ""


def test_a_value_that_is_nested_deeply(desk: Desk) -> None:
    deep = '{"a": ' * 500 + "1" + "}" * 500
    desk.routes(RIGHT + "\nwhen: data.runProperties.x == 'a' || run_id")
    file = desk.file(run_completed(runProperties={"x": "DEEP"}).replace('"DEEP"', deep))
    (route,) = desk.run("explain", file, "--json").json[0]["routes"]
    first, second = route["condition"]["parts"]
    assert (first["answer"], json.dumps(first["seen"]["data.runProperties.x"])) == ("false", deep)
    assert second["seen"] == {"run_id": "run-1"}
    assert "data.runProperties.x is " in desk.run("explain", file).out
