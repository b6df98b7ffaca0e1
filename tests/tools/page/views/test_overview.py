"""The overview."""

import re
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from shared.azure_devops.runs import Run, RunRequest
from shared.journal.records import NO_EVENT, ORPHANS, Record, State, Step
from shared.queueing.orphans import Orphan
from shared.queueing.search import LostRequest
from tests.support.builders import run_completed
from tests.support.journal.files import change, event_record, journal_file
from tests.support.journal.records import NOW, record
from tests.tools.conftest import RIGHT, Desk
from tests.tools.page.conftest import Browser, admitted
from tools.page.reading.decisions import PAGE_RECORDS
from tools.page.reading.mirror import Progress
from tools.page.reading.source import Source

HOUR = timedelta(hours=1)


@pytest.fixture
def now(desk: Desk) -> datetime:
    """The time of the desk."""
    desk.clock = lambda: NOW
    return NOW


def fill(desk: Desk, *records: Record) -> None:
    journal_file(desk.folder / "journal.sqlite3", records)


def shown(text: str) -> list[str]:
    """Return the events in the list of decisions."""
    _, _, table = text.partition('id="decisions"')
    return re.findall(r'data-label="Event"[^>]*title="(event-\d+)">RunCompleted ', table)


def main_of(text: str) -> str:
    return text[text.index("<main") : text.index("</main>")]


def test_without_a_journal_the_page_says_what_to_do_next(browser: Browser, desk: Desk) -> None:
    answer = browser.get("/")
    assert answer.status_code == 200
    assert "No events in the journal yet" in answer.text
    assert "./manage.py send" in answer.text
    assert not (desk.folder / "journal.sqlite3").exists()


def test_an_empty_journal_says_the_same_until_there_is_an_event(browser: Browser, desk: Desk) -> None:
    fill(desk)
    assert "No events in the journal yet" in browser.get("/").text
    desk.park()
    text = browser.get("/").text
    assert "No events in the journal yet" not in text
    assert ">1 parked</a>" in text


def test_what_needs_a_person_comes_before_the_decisions(browser: Browser, desk: Desk, now: datetime) -> None:
    lost = (Step(NOW, State.CLAIMED, ""), Step(NOW, State.UNCERTAIN, ""), Step(NOW, State.PARKED, ""))
    entry = event_record(2)._replace().entry._replace(request="{}")
    fill(
        desk,
        event_record(1, State.PARKED, HOUR, reason="no such pipeline"),
        event_record(2, State.PARKED, 2 * HOUR, entry=entry, history=lost, reason="cannot tell"),
        event_record(3, State.RELEASED, 3 * HOUR, reason="throttled"),
        event_record(4),
        record("d" * 64, ORPHANS, state=State.WAITING, entry=NO_EVENT, document="no JSON"),
    )
    text = main_of(browser.get("/").text)
    expected = ["Needs a person", "Cannot tell: 1 ", "2 parked", "no such pipeline", "Records that cannot be read"]
    expected += ["1 not finished", "throttled", "The last day", "Latest decisions", "event-4"]
    places = [text.index(words) for words in expected]
    assert places == sorted(places)


def test_if_nothing_needs_a_person_the_page_says_so(browser: Browser, desk: Desk, now: datetime) -> None:
    fill(desk, event_record(1))
    assert "Nothing needs a person." in browser.get("/").text


FILTERS: Final = [
    ("", [1, 2, 3, 4]),
    ("route=evaluate&state=", [1, 2, 3, 4]),
    ("route=nowhere", []),
    ("state=parked", [2]),
    ("state=deferred", [3, 4]),
    ("state=queued&state=parked", [1, 2]),
    ("newer=2h", [1, 2]),
    ("older=2h", [3, 4]),
    ("text=event-3", [3]),
    ("text=+event-3+&older=1h&state=released&route=evaluate", [3]),
]


def test_a_link_names_the_filters(browser: Browser, desk: Desk, now: datetime) -> None:
    states = [State.QUEUED, State.PARKED, State.RELEASED, State.UNCERTAIN]
    fill(desk, *(event_record(number, state, number * HOUR) for number, state in enumerate(states, 1)))
    for query, expected in FILTERS:
        answer = browser.get(f"/?{query}")
        assert answer.status_code == 200
        assert shown(answer.text) == [f"event-{number}" for number in expected]
        assert ("No matching events" in answer.text) is not bool(expected)


WRONG: Final = [
    ("newer=6+hours", "&#39;6 hours&#39; is not a duration"),
    ("older=x", "&#39;x&#39; is not a duration"),
    ("newer=99999d", ""),
    ("state=noted", "&#39;noted&#39; is not a state of an event"),
    ("text=" + "x" * 100_000, "the text to search for may have at most 200 characters"),
    ("page=x", "the link to this page of the list is cut or changed"),
    ("span=year", "&#39;year&#39; is not a period"),
]


def test_a_wrong_filter_is_explained(browser: Browser, desk: Desk) -> None:
    fill(desk, event_record(1))
    for query, words in WRONG:
        answer = browser.get(f"/?{query}")
        assert answer.status_code == (400 if words else 200)
        assert words in answer.text


def test_the_pages_of_the_list_are_links(browser: Browser, desk: Desk, now: datetime) -> None:
    fill(desk, *(event_record(number, ago=number * HOUR) for number in range(PAGE_RECORDS + 3)))
    first = browser.get("/?state=queued").text
    (href,) = re.findall(r'<a href="([^"]*)" rel="next">', first)
    address = href.replace("&amp;", "&")
    assert parse_qs(urlsplit(address).query)["state"] == ["queued"]
    second = browser.get(address).text
    assert shown(second) == [f"event-{number}" for number in range(PAGE_RECORDS, PAGE_RECORDS + 3)]
    assert 'rel="next"' not in second
    assert '<a href="/?state=queued">Newest</a>' in second


def test_the_timeline_is_a_picture_and_a_table(browser: Browser, desk: Desk, now: datetime) -> None:
    fill(desk, event_record(1), event_record(2, State.PARKED, 30 * HOUR))
    for query in ("", "span=week", "by=route", "span=week&by=route"):
        text = browser.get(f"/?{query}").text
        steps = 28 if "week" in query else 24
        pictures = 2 if "route" in query else 1
        assert text.count('<rect class="hover"') == steps * pictures
        assert text.count('<th scope="row">') == steps
        assert "1 queued" in text
        assert ("1 parked" in re.findall(r"<desc[^>]*>([^<]*)", text)[0]) is ("week" in query)
        assert " style=" not in text


def test_texts_of_others_make_no_element(browser: Browser, desk: Desk, now: datetime) -> None:
    nasty = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    one = event_record(1, State.PARKED, reason=nasty, run_id=7, run_url="javascript:alert(1)")
    fill(desk, one._replace(entry=one.entry._replace(event_id=nasty, event_type=nasty, subject=nasty)))
    found: list[tuple[str, dict[str, str | None]]] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, dict(attrs)))

    Tags().feed(main_of(browser.get("/?text=script&route=%3Cb%3E").text + browser.get("/").text))
    Tags().feed(main_of(browser.get("/").text))
    assert not {tag for tag, _ in found} & {"script", "img", "b"}
    assert not any(name.startswith("on") for _, attributes in found for name in attributes)
    assert not any((attributes.get("href") or "").startswith("javascript") for _, attributes in found)


def test_an_unreadable_record_has_a_row(browser: Browser, desk: Desk, now: datetime) -> None:
    store = journal_file(desk.folder / "journal.sqlite3", [event_record(1), event_record(2, ago=HOUR)])
    change(store, "UPDATE records SET document = '' WHERE run_id = 2")
    text = browser.get("/").text
    assert shown(text) == ["event-1"]
    assert "another program has changed it" in text


def test_the_words_are_those_of_the_command(browser: Browser, desk: Desk) -> None:
    desk.park()
    (document,) = desk.run("journal", "--json").json
    text = browser.get("/").text
    assert document["reason"].split("'")[0] in text
    assert document["key"] in text
    assert document["event_id"] in text


def test_a_copy_says_how_far_it_is(browser: Browser, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(desk)
    for progress, words in [
        (Progress(1200), "Reading the journal: 1,200 records so far."),
        (Progress(problem="no answer"), "The journal could not be read: no answer. It is tried again."),
        (Progress(3, NOW), "Copied from the journal"),
    ]:
        monkeypatch.setattr(Source, "progress", progress)
        text = browser.get("/").text
        assert words in text
        assert ("No events in the journal yet" in text) is bool(progress.as_of)


def test_a_delivered_event_appears(browser: Browser, desk: Desk) -> None:
    desk.deliver(run_completed())
    assert 'title="event-1">RunCompleted ' in browser.get("/").text


def test_the_numbers_come_first_and_lead_to_their_lists(browser: Browser, desk: Desk, now: datetime) -> None:
    lost = LostRequest(event_record(1).key, RunRequest("https://dev.azure.com/x", "p", 7), "", NOW - HOUR, NOW)
    orphan = Orphan(lost, Run(77, "https://dev.azure.com/x/77")).to_json()
    fill(
        desk,
        event_record(1),
        *(event_record(number, State.PARKED, HOUR) for number in (2, 3)),
        record("d" * 64, ORPHANS, state=State.WAITING, entry=NO_EVENT, document=orphan),
    )
    text = main_of(browser.get("/").text)
    numbers = re.findall(r"<strong>(\d+)</strong> ([a-z ]+)<", text)
    assert numbers == [("2", "parked"), ("0", "cannot tell"), ("1", "orphans"), ("0", "not finished")]
    assert [text.count(f'id="{target}"') for target in re.findall('href="#([^"]*)"', text)] == [1, 1]
    assert '<a href="https://dev.azure.com/x/77" rel="noopener noreferrer">77</a>' in text


def test_a_redrive_that_was_interrupted_needs_a_person(browser: Browser, desk: Desk, now: datetime) -> None:
    parked = (Step(NOW, State.PARKED, "refused"), Step(NOW, State.UNCERTAIN, "the answer was lost"))
    fill(desk, event_record(1, State.UNCERTAIN, HOUR, history=parked), event_record(2, State.RELEASED, HOUR))
    text = main_of(browser.get("/").text)
    assert "Nothing needs a person" not in text
    assert "1 of them come again only if you redrive them" in text


def test_deferred_events_come_again_without_a_person(browser: Browser, desk: Desk, now: datetime) -> None:
    fill(desk, event_record(2, State.RELEASED, HOUR))
    text = main_of(browser.get("/").text)
    assert "Nothing needs a person" in text
    assert "only if you redrive them" not in text


def test_a_deferred_event_says_when_it_comes_again(desk: Desk) -> None:
    desk.settings = {"RESUME_STORAGE": "sqlite"}
    desk.deliver()
    text = main_of(admitted(desk).get("/").text)
    oldest, _, latest = text.partition('id="decisions"')
    assert re.findall(r"refused; comes again at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC<", oldest)
    assert "comes again" not in latest


def test_settings_and_routes_that_cannot_be_used_need_a_person(browser: Browser, desk: Desk, now: datetime) -> None:
    fill(desk, event_record(1))
    words = "An app with the settings and routes.yaml of this machine does not start"
    for routes, is_usable in (
        (RIGHT + "\nproject: '${NOT_SET_HERE}'", True),
        ("name: x\nevent: Nope\npipeline: 1", False),
        (None, False),
    ):
        if routes is None:
            (desk.folder / "routes.yaml").unlink()
        else:
            desk.routes(routes)
        text = browser.get("/").text
        assert (words in text, "Nothing needs a person." in text) == (not is_usable, is_usable)
    desk.routes(RIGHT)
    for settings in ('{"Values": {"JOURNAL_RETENTION_DAYS": "soon"}}', "{"):
        desk.file(settings, "local.settings.json")
        assert words in browser.get("/").text, "what the page reads from is still there"


def test_texts_of_others_do_not_change_the_order_of_letters(browser: Browser, desk: Desk, now: datetime) -> None:
    turned = "good\u202edab\u2066"
    one = event_record(1, State.PARKED, reason=turned)
    fill(desk, one._replace(entry=one.entry._replace(event_id=turned, event_type=turned, subject=turned)))
    text = browser.get(f"/?text={quote(turned)}").text
    assert text.count(r"good\u202edab\u2066") > 3
    assert text.count(turned) == 1
    assert f'type="search" size="24" value="{turned}"' in text


def test_a_journal_that_is_deleted_is_not_an_empty_one(browser: Browser, desk: Desk) -> None:
    desk.park()
    assert browser.get("/").status_code == 200
    for file in desk.folder.glob("journal.sqlite3*"):
        file.unlink()
    answer = browser.get("/")
    assert answer.status_code == 503
    assert "was deleted or replaced" in answer.text
    for place in ("record", "try"):
        answer = browser.get(f"/{place}/deploy/{'0' * 64}")
        assert answer.status_code == 400
        assert "does not exist" in answer.text


def test_an_event_that_is_not_found_may_have_arrived(browser: Browser, desk: Desk) -> None:
    desk.park()
    assert "An event that no route matches leaves no record." in browser.get("/?text=nowhere").text
