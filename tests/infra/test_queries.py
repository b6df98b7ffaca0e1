"""The queries of the workbook, the alerts and the documentation use existing fields of decision records."""

import json
import logging
import re
from pathlib import Path

import pytest

from devstack.arm import sample
from devstack.host.host import EVENT_GRID_PATH
from shared import errors
from shared.telemetry import Decision, Outcome, log_decision
from tests.infra import bicep
from tests.infra.bicep import INFRA
from tests.support import ROOT
from tools.azure.event_resources import alerts
from tools.azure.plan import Plan

QUERIES = sorted((INFRA / "queries").glob("*.kql"))
ALERTS = [path for path in QUERIES if path.name.startswith("alert-")]
OPERATING = (ROOT / "docs" / "operating.md").read_text()

FIELDS = {*Decision._fields}
CAUSES = {name for name in vars(errors) if isinstance(getattr(errors, name), type)}
ORPHANS = INFRA / "queries" / "alert-orphans.kql"
NO_FUNCTIONS = INFRA / "queries" / "alert-no-functions.kql"
POISON = INFRA / "queries" / "alert-resume-poison.kql"
OTHERS = {ORPHANS, NO_FUNCTIONS, POISON}
"""The queries that do not select decision records."""
_WORKSPACE = Plan.of({"AML_WORKSPACE_ID": sample.WORKSPACE})
METRIC_ALERTS = {
    alert_id.rpartition("/")[2]: alert for alert_id, alert in alerts(_WORKSPACE, _WORKSPACE.workspaces[0], "/t").items()
}
each_query = pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
each_query_of_decisions = pytest.mark.parametrize(
    "path", [path for path in QUERIES if path not in OTHERS], ids=lambda path: path.stem
)


@each_query_of_decisions
def test_it_selects_decision_records(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table, where, extend = path.read_text().splitlines()[:3]
    assert (table, extend) == ("traces", "| extend decision = parse_json(message)")
    (beginning,) = re.findall(r"\| where message startswith '(.*)'", where)
    with caplog.at_level(logging.INFO):
        log_decision(Decision("id", "type", "subject", None, Outcome.IGNORED))
    assert caplog.messages[0].startswith(beginning)
    assert set(json.loads(caplog.messages[0])) == FIELDS


@each_query_of_decisions
def test_it_uses_existing_fields(path: Path) -> None:
    text = path.read_text()
    used = set(re.findall(r"\bdecision\.(\w+)", text))
    assert used
    assert used <= FIELDS
    assert not re.search(r"\bdecision\s*\[", text), "write decision.field; this test cannot read decision[...]"


@each_query_of_decisions
def test_its_outcomes_and_causes_exist(path: Path) -> None:
    text = path.read_text()
    for field, known in (("outcome", set(Outcome)), ("cause", CAUSES)):
        compared = re.findall(rf"tostring\(decision\.{field}\) (?:==|in) (\([^)]*\)|\"[^\"]*\")", text)
        assert {value for group in compared for value in re.findall(r'"([^"]*)"', group)} <= known


@each_query
def test_dynamic_values_are_converted_for_comparisons(path: Path) -> None:
    """The language service accepts dynamic values there; test_kusto.py runs it."""
    for operand in re.findall(r"([\w.()]+) (?:==|!=|in|has|startswith|>=?|<=?) ", path.read_text()):
        assert not operand.startswith("decision."), f"{operand} is dynamic; use tostring() or todouble()"


def test_only_second_runs_are_critical() -> None:
    """Severity 4 of Application Insights is Python's CRITICAL; the alert on orphans selects nothing else."""
    assert "| where severityLevel == 4\n" in ORPHANS.read_text()
    critical = {
        path.relative_to(ROOT).as_posix()
        for folder in ("shared", "handlers")
        for path in (ROOT / folder).rglob("*.py")
        if ".critical(" in path.read_text()
    }
    assert critical == {"shared/queueing/orphans.py", "shared/queueing/recovery.py"}


def test_an_app_without_functions_is_found_by_its_exception_and_by_its_answers() -> None:
    """The reason is exported as an exception, not as a trace. tests/runtime/test_start.py shows its message."""
    text = NO_FUNCTIONS.read_text()
    assert text.splitlines()[0] == "union traces, exceptions, requests"
    named = set(re.findall(r'"(Invalid\w+)"', text))
    assert named == {each.__name__ for each in errors.ConfigurationError.__subclasses__()}
    assert f'(resultCode == "404" and url has "{EVENT_GRID_PATH}")' in text


def test_the_alert_on_deferred_events_sees_more_than_its_limit() -> None:
    """A rule with a shorter window would forget an event that nothing tries again."""
    (window,) = re.findall(
        r"alert-resume-late\.kql'\)\n(?:.*\n){1,3}?    window: '(\w+)'", bicep.read("modules/alerts.bicep")
    )
    assert window == "P1D"
    assert "since < ago(30m)" in (INFRA / "queries" / "alert-resume-late.kql").read_text()


def test_the_query_for_start_failures_is_the_same_everywhere() -> None:
    """Nothing that sends an operator to the log leaves out the exceptions."""
    for place in ("docs/operating.md", "tools/azure/connecting.py"):
        asked = re.findall(r".{0,40}where severityLevel >= 3", (ROOT / place).read_text())
        assert asked, place
        assert all(each.endswith("union traces, exceptions | where severityLevel >= 3") for each in asked), place


def test_whatever_dies_has_its_row() -> None:
    section = OPERATING.split("## When something dies")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    assert {len(row) for row in rows} == {4}
    died = " ".join(row[0] for row in rows[1:])
    for row in rows[1:]:
        if "host" in row[0] or "storage" in row[0] or "third time" in row[0]:
            assert "platform starts" in row[2] or "another instance" in row[2], "the host does not come back on its own"
    for word in ("worker", "host", "SIGTERM", "storage", "functionTimeout", "third time", "routes.yaml"):
        assert word in died, word


def test_the_query_for_one_event_shows_every_field() -> None:
    text = (INFRA / "queries" / "one-event.kql").read_text()
    assert set(re.findall(r"\bdecision\.(\w+)", text)) == FIELDS


def test_every_query_is_used_and_exists() -> None:
    loaded = {
        Path(name).name
        for path in bicep.every_file()
        for name in re.findall(r"loadTextContent\('([^']+)'\)", bicep.read(path))
    }
    assert loaded | {"one-event.kql"} == {path.name for path in QUERIES}


def test_every_alert_rule_has_its_query() -> None:
    rules = re.findall(r"name: '([\w-]+)'\n.*?query: loadTextContent\('\.\./queries/([\w-]+)\.kql'\)",
                       bicep.read("modules/alerts.bicep"), re.DOTALL)  # fmt: skip
    assert rules
    assert [f"alert-{name}" for name, _ in rules] == [query for _, query in rules]
    assert {query for _, query in rules} == {path.stem for path in ALERTS}
    assert f"| `alert_rules` | {len(rules)} |" in (ROOT / "docs" / "cost.md").read_text()


def test_every_alert_has_its_runbook() -> None:
    names = re.findall(r"(?m)^    name: '([\w-]+)'", bicep.read("modules/alerts.bicep"))
    rules = [f"nextstage-{name}" for name in names] + [name.rpartition("-")[0] for name in METRIC_ALERTS]
    headings = re.findall(r"(?m)^### `([\w-]+)`", OPERATING)
    assert len(rules) == 11
    assert sorted(headings) == sorted(rules)
    for part in re.split(r"(?m)^### ", OPERATING)[1:]:
        text = re.split(r"(?m)^## ", part)[0]
        assert re.findall(r"(?m)^\*\*([\w ]+)\.\*\*", text) == ["Means", "Look at", "Do"], part[:40]


@each_query
def test_the_documented_query_is_the_deployed_one(path: Path) -> None:
    blocks = re.findall(r"```kusto\n(.*?)```", OPERATING, re.DOTALL)
    if path in ALERTS or path.name == "one-event.kql":
        assert path.read_text() in blocks
    assert set(blocks) <= {query.read_text() for query in QUERIES}


def test_metrics_exist_in_event_grid() -> None:
    """Metrics of ``Microsoft.EventGrid/systemTopics``. Source: monitoring data reference of Azure Event Grid."""
    known = {"DeadLetteredCount", "DeliveryAttemptFailCount", "DeliverySuccessCount", "DroppedEventCount"}
    criteria = [each for alert in METRIC_ALERTS.values() for each in alert["properties"]["criteria"]["allOf"]]
    assert {each["metricName"] for each in criteria} == known
