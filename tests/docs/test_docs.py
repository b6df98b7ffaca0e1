"""The documentation agrees with the code in both directions: nothing is missing, and nothing is made up."""

import json
import re
from pathlib import Path

import pytest

from bench.burst.event_grid import RETRY_SECONDS
from shared.events.event import ENVELOPE_NAMES
from shared.journal.records import State
from shared.notifications.notification import DATA_FIELDS, MAX_TEXT, TYPES
from shared.notifications.notifier import MAX_BATCH, MAX_WAITING, MAX_WAITING_DEFERRED
from shared.routing.routes_file import DEFAULT_SETTINGS, DEFAULTS_KEYS, REQUIRED_KEYS, ROUTE_KEYS
from shared.telemetry import Decision, Outcome
from tests.contracts import validate
from tests.support import ROOT
from tests.support.docs import codes, rows, section
from tools.routes.findings import Rule

ROUTES = (ROOT / "docs" / "routes.md").read_text()
HOW = (ROOT / "docs" / "how-it-works.md").read_text()
NOTIFICATIONS = (ROOT / "docs" / "notifications.md").read_text()

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_outcome_is_explained() -> None:
    explained = {codes(row[0])[0] for row in rows(section(HOW, "What happens to an event"))}
    assert explained == set(Outcome)


def test_exactly_the_keys_of_a_route_are_documented() -> None:
    table = rows(section(ROUTES, "Keys of a route"))
    assert sorted(codes(row[0])[0] for row in table) == sorted(ROUTE_KEYS)
    assert {codes(row[0])[0] for row in table if row[1] == "required"} == set(REQUIRED_KEYS) - set(DEFAULT_SETTINGS)
    assert {codes(row[0])[0]: codes(row[2])[-1] for row in table if "If not set, `" in row[2]} == DEFAULT_SETTINGS
    assert {codes(row[0])[0] for row in table if "`defaults`" in row[1]} == set(DEFAULTS_KEYS)


def test_exactly_the_existing_warnings_are_documented() -> None:
    documented = [code for row in rows(section(ROUTES, "Checking a table")) for code in codes(row[0])]
    assert sorted(documented) == sorted(rule for rule in Rule if rule is not Rule.INVALID)


def test_the_envelope_is_documented() -> None:
    text = section(ROUTES, "Names in conditions and placeholders")
    assert set(re.findall(r"`event\.(\w+)`", text)) == set(ENVELOPE_NAMES)


def test_every_state_is_in_the_diagram_and_in_the_table() -> None:
    text = section(HOW, "The journal")
    drawn = set(re.findall(r"^    (\w+) --> ", text, re.MULTILINE))
    assert drawn == set(State)
    assert {code for row in rows(text) for code in codes(row[0])} == set(State)


def test_every_field_of_a_decision_is_documented() -> None:
    documented = [code for row in rows(section(HOW, "What is logged")) for code in codes(row[0])]
    assert documented == [name for name in Decision._fields if name in documented]
    assert set(documented) == {*Decision._fields}


def test_exactly_the_existing_notifications_are_documented() -> None:
    table = [line for line in NOTIFICATIONS.splitlines() if line.startswith("| `nextstage.")]
    assert {codes(line)[0]: codes(line)[1] for line in table} == {type_: outcome for outcome, type_ in TYPES.items()}
    (example,) = (
        json.loads(text) for text in re.findall(r"^```json\n(.*?)^```", NOTIFICATIONS, re.MULTILINE | re.DOTALL)
    )
    assert list(example["data"]) == list(DATA_FIELDS)
    validate("cloudevents_batch", [example])


def test_the_limits_of_notifications_are_documented() -> None:
    bounds = {MAX_TEXT, MAX_BATCH, MAX_WAITING, MAX_WAITING_DEFERRED}
    assert {f"{bound:,}" for bound in bounds} <= set(re.findall(r"\d[\d,]*\d", NOTIFICATIONS))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_are_valid(document: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)", prose):
        linked = document.parent / target if target else document
        assert linked.exists(), f"{document.name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{document.name} links to {target}#{anchor}"


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub derives from the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_make_targets_that_the_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = "\n".join(document.read_text() for document in DOCUMENTS)
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", pages, re.MULTILINE))
    assert {"demo", "test", "test-long", "start", "ado"} <= named <= targets


def test_the_documented_retries_are_those_of_the_simulation() -> None:
    seconds = {"s": 1, "minutes": 60, "hours": 3600}
    (schedule,) = re.findall(r"\| (after 10 s or later, then .*?) \|", section(HOW, "When Event Grid delivers again"))
    documented = [
        int(number) * seconds[unit]
        for numbers, unit in re.findall(r"((?:\d+(?:, | and )?)+) (s|minutes|hours)\b", schedule)
        for number in re.findall(r"\d+", numbers)
    ]
    assert tuple(documented) == RETRY_SECONDS


def test_no_page_promises_that_a_refused_first_delivery_comes_again_at_once() -> None:
    """On Flex Consumption, it is refused with 401, which Event Grid repeats after five minutes or later."""
    promises = [
        (path.name, sentence)
        for path in DOCUMENTS
        for sentence in re.split(r"(?<=\.)\s|\|", " ".join(path.read_text().split()))
        if re.search(r"cold start|just started|woken", sentence) and re.search(r"(?<!not )after ten seconds", sentence)
    ]
    assert promises == []
