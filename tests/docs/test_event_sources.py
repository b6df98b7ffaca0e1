"""docs/event-sources.md agrees with the code."""

import re

from devstack.events import sample_names, sample_text
from handlers import DISPATCH, NAMES
from shared.deciding import decide
from shared.events.event import parse_event
from shared.routing.routes_file import load_routes
from tests.support import ROOT
from tests.support.builders import ENVIRONMENT
from tests.support.docs import codes, rows, section
from tools.azure.sources import DOMAIN_TOPIC, KEYS, STORAGE, read_sources

PAGE = (ROOT / "docs" / "event-sources.md").read_text()


def test_the_examples_are_valid() -> None:
    examples = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    found = [source for example in examples for source in read_sources(example)]
    assert [source.resource.type for source in found] == [STORAGE] * 3


def test_the_entry_for_new_data_delivers_what_the_default_route_takes() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", section(PAGE, "New data"), re.DOTALL)
    ((_, wanted),) = read_sources(example)
    assert wanted["includedEventTypes"] == ["Microsoft.Storage.BlobCreated"]
    text = (ROOT / "routes.yaml").read_text().replace("enabled: false", "enabled: true")
    table = load_routes(text, source="routes.yaml", names=NAMES, environment=ENVIRONMENT)
    for name in (each for each in sample_names() if each.startswith("blob-")):
        event = parse_event(sample_text(name))
        is_in_folder = event.subject.startswith(wanted["subjectBeginsWith"])
        is_delivered = is_in_folder and event.subject.endswith(wanted["subjectEndsWith"])
        matches = [each.key.route for each in decide(sample_text(name), DISPATCH, table).decisions]
        assert matches == ["retrain-on-new-data"] * is_delivered, name


def test_exactly_the_keys_of_an_entry_are_documented() -> None:
    assert [codes(row[0])[0] for row in rows(section(PAGE, "The keys of an entry"))] == list(KEYS)


def test_a_topic_in_a_domain_has_the_documented_form() -> None:
    assert "`<id of the domain>/topics/<name>`" in PAGE
    assert DOMAIN_TOPIC.endswith("/domains/topics")


def test_an_ignored_event_costs_a_hundred_times_as_much_as_a_dropped_one() -> None:
    cost = (ROOT / "docs" / "cost.md").read_text()
    totals = next(row for row in rows(section(cost, "A million events")) if "total" in row[0])
    (price,) = re.findall(r"\| `event_grid` \| ([\d.]+) \|", cost)
    assert f"${price}" in PAGE
    assert 80 < float(totals[-1].strip("*")) / float(price) < 125
