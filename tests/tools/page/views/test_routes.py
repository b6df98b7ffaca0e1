"""The page Routes: what ``check`` and ``graph`` show, and what happened on each route."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest

from shared.clock import utc_now
from shared.journal.journal import Journal
from shared.routing.running import announce
from tests.support.builders import run_completed
from tests.tools.conftest import RIGHT, TRIAGE, Desk
from tests.tools.page.conftest import Browser
from tools.installation import Installation
from tools.page.reading.mirror import Progress
from tools.page.reading.source import Source


class Elements(HTMLParser):
    """Collects the elements of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def shown(browser: Browser) -> str:
    """Return the page with entities decoded."""
    answer = browser.get("/routes")
    assert answer.status_code == 200
    return unescape(answer.text)


def words(text: str) -> str:
    """Return the words of a page without its elements."""
    return " ".join(re.sub("<[^>]*>", " ", text).split())


def test_it_works_without_a_journal(desk: Desk, browser: Browser) -> None:
    text = shown(browser)
    assert "routes.yaml: 1 route, nothing is wrong" in text
    assert "there is no journal yet" in text
    assert '<a href="/?route=evaluate">evaluate</a>' in text
    assert not (desk.folder / "journal.sqlite3").exists()


def test_what_happened_on_each_route(desk: Desk, browser: Browser) -> None:
    desk.routes("name: evaluate\nevent: RunCompleted\npipeline: 7\nparameters: { runId: '{{ data.nope }}' }", TRIAGE)
    for run_id in ("a", "b"):
        desk.deliver(run_completed(run_id))
    text = shown(browser)
    assert '<a href="/?route=evaluate&state=parked&newer=7d">2 parked</a>' in text
    assert '<a href="/?route=triage&state=released&newer=7d">2 released</a>' in text
    assert '<a href="http://127.0.0.1:9/contoso/mlops/_build/definition?definitionId=7" rel="noopener' in text
    assert "last week: 2 parked" in text
    assert ">0 %</td>" in text
    assert '<a href="/try?sample=RunCompleted">try a sample</a>' in text


def test_records_of_other_routes_are_named(desk: Desk, browser: Browser) -> None:
    desk.routes(TRIAGE)
    desk.deliver()
    desk.deliver("{}")
    announce(Journal(desk.store), Installation(desk.folder, desk.environment).configuration.routes)
    desk.routes(RIGHT)
    text = shown(browser)
    assert '<a href="/?route=triage">triage</a>' in text
    assert '<a href="/?route=$unrouted">$unrouted</a>' in text
    assert "the app runs an" in text


def test_the_findings_have_the_words_of_check(desk: Desk, browser: Browser) -> None:
    desk.routes(
        "name: a\nevent: RunCompleted\npipeline: p\ncauses: [RunCompleted]",
        "name: b\nevent: RunStatusChanged\npipeline: p\nwhen: run_status == 'failed'",
    )
    text = shown(browser)
    for line in desk.run("check").out.splitlines():
        place, _, message = line.strip().partition(" warning: ")
        assert place in text
        assert message in text
    assert "causes: [RunCompleted]</pre>" in text
    assert '<span class="state state-warning">warning</span>' in text


def test_an_invalid_file_shows_each_problem(desk: Desk, browser: Browser) -> None:
    desk.routes("name: a\nevnt: RunCompleted\npipeline: p", RIGHT)
    text = words(shown(browser))
    assert "The app does not start with this file." in text
    assert "error routes.yaml:5:5: 'evnt': a route has no such key did you mean 'event'? evnt: RunCompleted" in text
    assert "The chain" not in text


def test_a_file_that_is_missing(desk: Desk, browser: Browser) -> None:
    (desk.folder / "routes.yaml").unlink()
    answer = browser.get("/routes")
    assert answer.status_code == 400
    assert "routes.yaml cannot be read" in answer.text


def test_a_table_without_routes(desk: Desk, browser: Browser) -> None:
    (desk.folder / "routes.yaml").write_text("version: 1\nroutes: []\n")
    assert "There is no route, so no event queues a pipeline." in shown(browser)


def test_environment_values_that_are_not_set_are_warnings(desk: Desk, browser: Browser) -> None:
    desk.routes("name: a\nevent: RunCompleted\npipeline: p\nbranch: ${NOT_SET}")
    text = shown(browser)
    assert "routes.yaml: 0 errors, 1 warning" in text
    assert '<a href="/?route=a">a</a>' in text


def test_a_copy_that_is_filled_is_shown_live(desk: Desk, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.deliver()
    for progress, is_live in ((None, False), (Progress(1200), True), (Progress(1200, utc_now()), False)):
        monkeypatch.setattr(Source, "progress", progress)
        text = shown(browser)
        assert ("Reading the journal: 1,200 records so far." in text) is is_live
        assert ("data-refresh" in text) is is_live
        assert '<a href="/?route=evaluate&state=released&newer=7d">1 released</a>' in text


def test_a_journal_that_does_not_answer(desk: Desk, browser: Browser) -> None:
    (desk.folder / "journal.sqlite3").write_bytes(b"not a journal" * 100)
    text = shown(browser)
    assert '<ul class="notes"' in text
    assert '<a href="/?route=evaluate">evaluate</a>' in text


def test_the_picture_obeys_the_policy_and_escapes_texts(desk: Desk, browser: Browser) -> None:
    attack = "</svg><script>alert(1)</script>"
    desk.routes(f"name: a\nevent: RunCompleted\npipeline: p\nwhen: run_id == '{attack}'")
    elements = Elements(browser.get("/routes").text).found
    assert [tag for tag, _ in elements if tag == "style"] == []
    assert [attributes for _, attributes in elements if "style" in attributes] == []
    assert [attributes["src"] for tag, attributes in elements if tag == "script"] == ["/static/refresh.js"]
    assert {"svg", "rect", "path", "marker"} <= {tag for tag, _ in elements}
    styles = browser.get("/routes/chain.css")
    assert styles.mimetype == "text/css"
    assert styles.text.startswith(".chain {")
