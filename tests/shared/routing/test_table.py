"""Tests of the dispatch table: which routes match an event, why others do not, and what is refused."""

from datetime import UTC, datetime, timedelta

import pytest

from handlers import DISPATCH
from shared.azure_devops.runs import RunRequest
from shared.events.event import Occurrence, parse_event
from shared.journal.cooldown import Window
from shared.journal.records import JournalKey
from shared.routing.table import (
    Gather,
    GatheredRun,
    Match,
    NoMatch,
    Refusal,
    Resolution,
    RouteTable,
    gathers,
    journal_key,
)
from tests.support.builders import GATHERS, WORKSPACE, event_text, routes, run_completed

PLAIN = "name: plain\nevent: RunCompleted\npipeline: p"


def resolve(table: RouteTable, raw: str, gathered: GatheredRun | None = None) -> Resolution:
    event = parse_event(raw)
    meaning = DISPATCH[event.type](event)
    assert isinstance(meaning, Occurrence)
    return table.resolve(event, meaning, gathered)


def only_match(table: RouteTable, raw: str, gathered: GatheredRun | None = None) -> Match:
    (match,) = resolve(table, raw, gathered).decisions
    assert isinstance(match, Match)
    return match


def test_the_request_has_every_key_of_the_route() -> None:
    table = routes("""
name: full
event: RunCompleted
when: experiment_name == 'train'
pipeline: evaluation
pipeline_version: 4
branch: dev
allow: "[a-z0-9;/-]+"
parameters: { run: "{{ run_id }}", from: "{{ event.workspace }}/{{ data.runTags.team }}" }
variables: { ROOT: "{{ root_run_id }}" }
stages_to_skip: [slow]
""")
    assert only_match(table, run_completed("r;1", runTags={"team": "fraud"})).request == RunRequest(
        organization_url="https://dev.azure.com/contoso",
        project="mlops",
        pipeline="evaluation",
        branch="dev",
        parameters={"run": "r;1", "from": "ws/fraud"},
        variables={"ROOT": "r;1"},
        stages_to_skip=("slow",),
        pipeline_version=4,
    )


def test_decisions_are_in_table_order_and_every_other_route_has_a_reason() -> None:
    table = routes(
        PLAIN,
        "name: other-type\nevent: ModelRegistered\npipeline: p",
        "name: off\nevent: RunCompleted\npipeline: p\nenabled: false",
        "name: condition\nevent: RunCompleted\npipeline: p\nwhen: experiment_name == 'nope'",
        "name: refused\nevent: RunCompleted\npipeline: p\nparameters: { a: '{{ data.nope }}' }",
        "name: last\nevent: RunCompleted\npipeline: p",
    )
    resolution = resolve(table, run_completed())
    assert [decision.key.route for decision in resolution.decisions] == ["plain", "refused", "last"]
    assert resolution.why_not == (
        NoMatch("off", "it is disabled"),
        NoMatch("condition", "when is not true: experiment_name == 'nope'"),
    )


SINCE = datetime(2026, 11, 20, 9, 30, 15, 999, UTC)


class TestGather:
    def test_an_event_belongs_to_its_group_and_has_a_request_as_if_it_were_alone(self) -> None:
        match = only_match(routes(GATHERS), run_completed())
        assert match.gather == Gather("train", timedelta(minutes=10), timedelta(hours=2))
        assert match.key == journal_key("gathers", WORKSPACE, "run-1")
        assert match.request.parameters == {"run": "run-1", "count": "1", "since": "2026-11-20T10:00:00Z"}
        alone = only_match(routes(GATHERS.replace(', by: "{{ experiment_name }}"', "")), run_completed())
        assert alone.gather == Gather("", timedelta(minutes=10), timedelta(hours=2))

    @pytest.mark.parametrize("more", ["", "once_per: '{{ experiment_name }}'\n"])
    def test_the_run_has_the_count_and_its_own_key(self, more: str) -> None:
        run = GatheredRun(JournalKey("gathers", "ab12"), 40, SINCE)
        match = only_match(routes(GATHERS + more + "correlation_parameter: key\n"), run_completed(), run)
        assert (match.key, match.gather) == (run.key, None)
        assert match.request.parameters == {
            "run": "run-1", "count": "40", "since": "2026-11-20T09:30:15Z", "key": "ab12",
        }  # fmt: skip

    def test_only_the_route_of_the_run_decides_on_it(self) -> None:
        run = GatheredRun(JournalKey("gathers", "ab12"), 40, SINCE)
        own, other = resolve(routes(GATHERS, GATHERS.replace("gathers", "other")), run_completed(), run).decisions
        assert isinstance(own, Match)
        assert isinstance(other, Match)
        assert (own.key, own.gather) == (run.key, None)
        assert (other.key.key, other.gather) != ("ab12", None)
        assert other.request.parameters["count"] == "1"

    def test_a_route_that_no_longer_gathers_keeps_the_key_of_the_run(self) -> None:
        run = GatheredRun(JournalKey("plain", "ab12"), 40, SINCE)
        match = only_match(routes(PLAIN + "\ncooldown: 1h"), run_completed(), run)
        assert (match.key, match.gather, match.window) == (run.key, None, Window("", timedelta(hours=1)))

    def test_an_event_without_a_time_can_be_gathered(self) -> None:
        raw = event_text("RunCompleted", {"experimentName": "train", "runId": "run-1"}, eventTime="soon")
        assert only_match(routes(GATHERS), raw).request.parameters["since"] == ""

    def test_a_disabled_route_does_not_gather(self) -> None:
        on, off, plain = routes(GATHERS, GATHERS.replace("gathers", "off") + "enabled: false", PLAIN).routes
        assert [gathers(route) for route in (on, off, plain)] == [True, False, False]


def test_child_runs_match_only_routes_that_include_them() -> None:
    table = routes(PLAIN, "name: children\nevent: RunCompleted\npipeline: p\ninclude_child_runs: true")
    resolution = resolve(table, run_completed(runType="azureml.StepRun"))
    assert [decision.key.route for decision in resolution.decisions] == ["children"]
    assert resolution.why_not == (
        NoMatch("plain", "the run is a child run; set include_child_runs: true to include it"),
    )


def test_the_correlation_parameter_carries_the_journal_key() -> None:
    match = only_match(routes(PLAIN + "\ncorrelation_parameter: key\nparameters: { a: b }"), run_completed())
    assert match.request.parameters == {"a": "b", "key": match.key.key}
    assert match.request.correlation_parameter == "key"


@pytest.mark.parametrize("length", [27, 1000])
def test_no_value_keeps_a_thread_busy(length: int) -> None:
    """With an engine that backtracks, each character doubles the time: 27 take seconds, and 1,000 never end."""
    table = routes(f"{PLAIN}\nallow: '([a-z]+[ -]?)+'\nparameters: {{ run: '{{{{ run_id }}}}' }}")
    assert only_match(table, run_completed("a" * length)).request.parameters == {"run": "a" * length}
    (refused,) = resolve(table, run_completed("a" * length + "!")).decisions
    assert isinstance(refused, Refusal)
    assert "does not match ([a-z]+[ -]?)+; if such values are safe" in refused.reason


class TestKey:
    def test_is_the_same_in_both_schemas_and_for_any_case_of_the_workspace(self) -> None:
        table = routes(PLAIN)
        first = only_match(table, run_completed("r"))
        again = only_match(table, event_text("RunCompleted", {"RunId": "r"}, id="other", topic=WORKSPACE.upper()))
        assert first.key == again.key

    def test_differs_by_route_source_and_identity(self) -> None:
        keys = {
            journal_key(route, source, identity).key
            for route in ("a", "ab")
            for source in ("s", "bs", "")
            for identity in ("i", "bi", "si", "")
        }
        assert len(keys) == 24

    def test_once_per_replaces_the_handlers_identity(self) -> None:
        table = routes(PLAIN + '\nonce_per: "{{ experiment_name }}"')
        assert only_match(table, run_completed("r-1")).key == only_match(table, run_completed("r-2")).key
        other = only_match(table, run_completed("r-1", experimentName="other"))
        assert other.key != only_match(table, run_completed("r-1")).key


@pytest.mark.parametrize(
    ("lines", "run_id", "reason", "identity"),
    [
        ("parameters: { a: '{{ data.nope }}' }", "r", "parameter 'a': 'data.nope' has no value in this event", "r"),
        ("variables: { V: '{{ run_id }}' }", "a;b", "variable 'V': 'run_id' is 'a;b', which does not match", "a;b"),
        ("when: contains(run_tags.team, 'x')", "r", "cannot be evaluated on this event", "r"),
        ("once_per: '{{ run_tags.nope }}'", "r", "once_per: 'run_tags.nope' has no value in this event", "r"),
        ("cooldown: 1h\ncooldown_key: '{{ data.nope }}'", "r", "cooldown_key: 'data.nope' has no value", "r"),
        ("gather: { quiet: 1m, at_most: 1h, by: '{{ data.nope }}' }", "r", "gather.by: 'data.nope' has no value", "r"),
        ("once_per: x\nparameters: { a: '{{ data.nope }}' }", "r", "parameter 'a'", "x"),
        ("once_per: x\nvariables: { a: '{{ data.nope }}' }", "r", "variable 'a'", "x"),
    ],
)
def test_a_refusal_has_the_key_that_a_valid_request_would_have(
    lines: str, run_id: str, reason: str, identity: str
) -> None:
    (refusal,) = resolve(routes(f"{PLAIN}\n{lines}"), run_completed(run_id)).decisions
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason
    assert refusal.key == journal_key("plain", WORKSPACE, identity)


class TestCooldownAndTags:
    @pytest.mark.parametrize(
        ("lines", "window"),
        [
            ("", None),
            ("cooldown: 6h", Window("", timedelta(hours=6))),
            ("cooldown: 6h\ncooldown_key: '{{ run_id }}'", Window("r", timedelta(hours=6))),
        ],
    )
    def test_one_window_for_the_route_or_one_for_each_key(self, lines: str, window: Window | None) -> None:
        assert only_match(routes(f"{PLAIN}\n{lines}"), run_completed("r")).window == window

    @pytest.mark.parametrize(
        ("name", "data", "tags"),
        [
            ("RunCompleted", {"runId": "r"}, ("aml-run:r", "event:event-1")),
            ("ModelRegistered", {"modelName": "m", "modelVersion": 3}, ("model:m:3", "event:event-1")),
            ("ModelDeployed", {"serviceName": "s", "modelIds": "a:1,b:2"}, ("model:a:1", "model:b:2", "event:event-1")),
            ("DatasetDriftDetected", {"runId": "r", "driftCoefficient": 1}, ("aml-run:r", "event:event-1")),
            ("RunCompleted", {"runId": "a,b;c\n"}, ("aml-run:a_b_c", "event:event-1")),
            ("RunCompleted", {"runId": "x" * 500}, ("aml-run:" + "x" * 392, "event:event-1")),
        ],
    )
    def test_tags_say_where_a_run_comes_from(self, name: str, data: dict[str, object], tags: tuple[str, ...]) -> None:
        table = routes(f"name: plain\nevent: {name}\npipeline: p")
        assert only_match(table, event_text(name, data)).tags == tags

    def test_the_tags_of_a_large_deployment_are_bounded(self) -> None:
        """Found by a security test: an event with 0.9 MB of model ids led to a request of 1.8 MB."""
        table = routes("name: plain\nevent: ModelDeployed\npipeline: p")
        models = [f"model-{number}:{number}" for number in range(60_000)]
        tags = only_match(table, event_text("ModelDeployed", {"serviceName": "s", "modelIds": ",".join(models)})).tags
        assert tags == (*(f"model:{model}" for model in models[:20]), "models:60000", "event:event-1")

    def test_no_tags(self) -> None:
        assert only_match(routes(PLAIN + "\ntags: false"), run_completed()).tags == ()


def test_no_route_of_the_type() -> None:
    resolution = resolve(routes(PLAIN), event_text("ModelDeployed", {"serviceName": "s"}))
    assert (resolution.decisions, resolution.why_not) == ((), ())
