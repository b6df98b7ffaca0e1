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
from shared.notifications.notifier import MAX_BATCH, MAX_WAITING, MAX_WAITING_DEFERRED, PAUSES_SECONDS
from shared.routing.routes_file import DEFAULTS_KEYS, REQUIRED_KEYS, ROUTE_KEYS
from shared.telemetry import Decision, Outcome
from tests.contracts import validate
from tests.support import ROOT
from tools.routes.findings import Rule

README = (ROOT / "README.md").read_text()
ROUTES = (ROOT / "docs" / "routes.md").read_text()
HOW = (ROOT / "docs" / "how-it-works.md").read_text()
NOTIFICATIONS = (ROOT / "docs" / "notifications.md").read_text()

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def section(text: str, heading: str) -> str:
    """The part of a document from a heading to the next of its kind."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no section '{heading}'"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


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
    text = " ".join(NOTIFICATIONS.split())
    assert f"more than {MAX_TEXT:,} characters is cut" in text
    assert f"each batch of up to {MAX_BATCH}, after three tries" in text
    assert len(PAUSES_SECONDS) + 1 == 3
    assert f"when more than {MAX_WAITING:,} wait" in text
    assert f"At most {MAX_WAITING_DEFERRED} of those wait" in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", prose):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_make_targets_that_the_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for document in DOCUMENTS for target in re.findall(r"`?make ([a-z]+)\b", document.read_text())}
    assert {"demo", "test", "start", "ado"} <= named
    assert {target for target in named if target not in {"of", "one"}} <= targets
