"""What the engineer on call does: find what needs a person, look at it, send it again; and try an event."""

import json

from devstack.browser.chromium import Chromium
from devstack.browser.tab import Tab
from devstack.events import sample_text
from tests.support.services.operators_page import Operated

EVENT = "Event, or an array of events, as JSON"


def test_a_parked_event_is_redriven(admitted: Tab, operated: Operated) -> None:
    tab = admitted
    before = len(operated.emulator.state.books.runs)
    follow_record(tab, "Pipeline with id 12 could not be found")
    record = tab.url
    assert tab.names("heading")[0].endswith("parked")
    tab.follow("button", "Dry run of redrive")
    assert "fraud-score" in tab.text
    assert len(operated.emulator.state.books.runs) == before
    tab.follow("button", "Redrive")
    assert len(operated.emulator.state.books.runs) == before + 1
    tab.follow("link", "Back to the record")
    assert tab.url == record
    assert tab.names("heading")[0].endswith("queued")
    assert str(operated.emulator.state.books.runs[-1].id) in tab.text
    assert tab.problems == []


def test_filters_are_in_the_url_and_the_back_button_works(admitted: Tab, operated: Operated) -> None:
    tab = admitted
    tab.choose("State", "suppressed")
    tab.follow("button", "Filter")
    assert "state=suppressed" in tab.url
    assert tab.run("document.querySelector('main select[name=state]').value") == "suppressed"
    assert states(tab) == {"suppressed"}
    filtered = tab.url
    tab.choose("Route", "deploy-candidate")
    tab.follow("button", "Filter")
    assert states(tab) == set()
    tab.back()
    assert tab.url == filtered
    assert states(tab) == {"suppressed"}
    assert tab.problems == []


def test_an_event_is_evaluated_as_one_types(admitted: Tab, operated: Operated) -> None:
    tab = admitted
    tab.follow("link", "Try")
    tab.fill("textbox", EVENT, sample_text("model-registered"))
    tab.wait_for("document.querySelector('#result').innerText.includes('deploy-candidate')")
    assert "/_apis/pipelines/12/runs" in tab.text or "runs?api-version" in tab.text
    tab.fill("textbox", EVENT, '{"id": 1,')
    tab.wait_for("/line 1/i.test(document.querySelector('#result').innerText)")
    assert tab.run("document.activeElement.value") == '{"id": 1,'
    assert tab.problems == []


def test_an_event_is_evaluated_without_scripts(chromium: Chromium, operated: Operated) -> None:
    with chromium.tab() as tab:
        tab.disable_scripts()
        tab.open(operated.url)
        tab.follow("link", "Try")
        hostile = json.loads(sample_text("model-registered"))
        hostile["data"]["ModelName"] = "<img src=x onerror=alert(1)>"
        tab.fill("textbox", EVENT, json.dumps(hostile))
        tab.follow("button", "Evaluate")
        assert "modelName" in tab.text
        assert tab.run("document.querySelectorAll('main img').length") == 0
        tab.fill("textbox", EVENT, "not JSON")
        tab.follow("button", "Evaluate")
        assert "line 1" in tab.text.lower()
        assert tab.problems == []


def follow_record(tab: Tab, text: str) -> None:
    """Open the record in whose row on the overview this text is."""
    links = "[...document.querySelectorAll('main a[href^=\"/record/\"]')]"
    with tab.loading():
        tab.run(f"{links}.find(each => each.closest('tr, li')?.innerText.includes({json.dumps(text)})).click()")


def states(tab: Tab) -> set[str]:
    """Return the states in the list of decisions."""
    return set(tab.run("[...document.querySelectorAll('main table .state')].map(each => each.innerText)"))
