"""The documentation is held against the code: what one knows, the other must say, and the other way round."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from handlers import NAMES
from shared.events.event import ENVELOPE_NAMES
from shared.journal.records import State
from shared.notifications.notification import DATA_FIELDS, MAX_TEXT, TYPES
from shared.notifications.notifier import MAX_BATCH, MAX_WAITING, MAX_WAITING_DEFERRED
from shared.routing.routes_file import DEFAULTS_KEYS, REQUIRED_KEYS, ROUTE_KEYS
from shared.settings import DEFAULT_JOURNAL, load_settings
from shared.telemetry import Decision, Outcome
from shared.waits.settings import DEFAULT_SWEEP_AFTER_MINUTES, DEFAULT_TIMEOUT_HOURS
from tests.contracts import validate
from tests.support import ROOT
from tests.support.docs import codes, rows, section
from tests.support.settings_read import settings_read
from tools.routes.findings import Rule

README = (ROOT / "README.md").read_text()
ROUTES = (ROOT / "docs" / "routes.md").read_text()
HOW = (ROOT / "docs" / "how-it-works.md").read_text()
NOTIFICATIONS = (ROOT / "docs" / "notifications.md").read_text()

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_setting_that_the_code_reads_is_in_the_readme_and_no_other() -> None:
    in_routes = set(re.findall(r"\$\{(\w+)\}", (ROOT / "routes.yaml").read_text()))
    assert {codes(row[0])[0] for row in rows(section(README, "Settings"))} == settings_read() | in_routes


def test_the_sample_settings_are_settings() -> None:
    values = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    known = {codes(row[0])[0] for row in rows(section(README, "Settings"))}
    azure = {"FUNCTIONS_WORKER_RUNTIME", "AzureWebJobsStorage", "PYTHON_ISOLATE_WORKER_DEPENDENCIES"}
    assert set(values) <= known | azure
    assert all(isinstance(value, str) for value in values.values())


def test_every_default_in_the_readme_is_the_codes() -> None:
    settings = load_settings({}, ROOT)
    shown = {codes(row[0])[0]: codes(row[1]) for row in rows(section(README, "Settings"))}
    assert shown["JOURNAL_LEASE_SECONDS"] == [f"{settings.lease_seconds:g}"]
    assert shown["DELIVERY_BUDGET_SECONDS"] == [f"{settings.budget_seconds:g}"]
    assert shown["JOURNAL_SETTLE_SECONDS"] == [f"{settings.settle_seconds:g}"]
    assert shown["JOURNAL_RETENTION_DAYS"] == [f"{settings.retention_days:g}"]
    assert shown["WAIT_SWEEP_AFTER_MINUTES"] == [f"{DEFAULT_SWEEP_AFTER_MINUTES}"]
    assert shown["WAIT_TIMEOUT_HOURS"] == [f"{DEFAULT_TIMEOUT_HOURS}"]
    assert shown["AZURE_RESOURCE_MANAGER_URL"] == [settings.cloud.resource_manager]
    assert shown["PYTHON_THREADPOOL_THREAD_COUNT"] == [f"{settings.worker_threads}"]
    assert shown["AZURE_DEVOPS_AUTH"] == [settings.auth]
    assert shown["JOURNAL_CONNECTION"] == [DEFAULT_JOURNAL]
    assert shown["ROUTES_FILE"] == [settings.routes_file.name]


def test_every_outcome_is_explained() -> None:
    explained = {codes(row[0])[0] for row in rows(section(README, "What comes of an event"))}
    assert explained == set(Outcome)


def test_every_route_key_is_documented_and_no_other() -> None:
    table = rows(section(ROUTES, "Keys of a route"))
    assert sorted(codes(row[0])[0] for row in table) == sorted(ROUTE_KEYS)
    assert {codes(row[0])[0] for row in table if row[1].startswith("required")} == set(REQUIRED_KEYS)
    assert {codes(row[0])[0] for row in table if "`defaults`" in row[1]} == set(DEFAULTS_KEYS)


def test_every_warning_is_documented_and_no_other() -> None:
    documented = [code for row in rows(section(ROUTES, "Checking a table")) for code in codes(row[0])]
    assert sorted(documented) == sorted(rule for rule in Rule if rule is not Rule.INVALID)


def test_every_name_of_every_event_is_documented_and_no_other() -> None:
    documented: dict[str, set[str]] = {}
    for row in rows(section(ROUTES, "What conditions and placeholders see")):
        names = {code for code in codes(row[1]) if re.fullmatch(r"[a-z][a-z_]+", code)}
        documented[codes(row[0])[0]] = names | (documented["RunCompleted"] if "the same" in row[1] else set())
    assert documented == {event: set(names) for event, names in NAMES.items()}


def test_the_envelope_is_documented() -> None:
    text = section(ROUTES, "What conditions and placeholders see")
    assert set(re.findall(r"`event\.(\w+)`", text)) == set(ENVELOPE_NAMES)


def test_every_state_is_in_the_picture_and_in_the_table() -> None:
    text = section(HOW, "The journal")
    drawn = set(re.findall(r"^    (\w+) --> ", text, re.MULTILINE))
    assert drawn == set(State)
    assert {code for row in rows(text) for code in codes(row[0])} == set(State)


def test_every_field_of_a_decision_is_documented() -> None:
    documented = [code for row in rows(section(HOW, "What is logged")) for code in codes(row[0])]
    assert documented == [field.name for field in fields(Decision) if field.name in documented]
    assert set(documented) == {field.name for field in fields(Decision)}


def test_every_notification_is_documented_and_no_other() -> None:
    table = [line for line in NOTIFICATIONS.splitlines() if line.startswith("| `nextstage.")]
    assert {codes(line)[0]: codes(line)[1] for line in table} == {type_: outcome for outcome, type_ in TYPES.items()}
    (example,) = (
        json.loads(text) for text in re.findall(r"^```json\n(.*?)^```", NOTIFICATIONS, re.MULTILINE | re.DOTALL)
    )
    assert list(example["data"]) == list(DATA_FIELDS)
    validate("cloudevents_batch", [example])


def test_the_bounds_of_notifications_are_the_codes() -> None:
    bounds = {MAX_TEXT, MAX_BATCH, MAX_WAITING, MAX_WAITING_DEFERRED}
    assert {f"{bound:,}" for bound in bounds} <= set(re.findall(r"\d[\d,]*\d", NOTIFICATIONS))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)", prose):
        linked = document.parent / target if target else document
        assert linked.exists(), f"{document.name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{document.name} links to {target}#{anchor}"


def anchors(document: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_make_targets_that_the_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for document in DOCUMENTS for target in re.findall(r"`?make ([a-z]+)\b", document.read_text())}
    assert {"demo", "test", "start", "ado"} <= named
    assert {target for target in named if target not in {"of", "one"}} <= targets
