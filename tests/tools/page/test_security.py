"""Attacks on the page: by other websites in the operator's browser, by other users, and by what events contain."""

import base64
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import cycle, product
from urllib.parse import quote, urlsplit

from werkzeug.wrappers import Response

from devstack.http_server import serving
from shared.journal.records import UNROUTED, Entry, JournalKey, Record, State, Step
from tests.support.builders import run_completed
from tests.support.canaries import leaks, secret
from tests.support.journal.records import NOW
from tests.tools.conftest import Desk
from tests.tools.page.conftest import ORIGIN, PORT, Browser, admitted, open_page
from tools.page.security import FORM_FIELD, MAX_BODY_BYTES, Session

EVIL = "http://evil.example"
FOREIGN_HOSTS = (
    "evil.example", f"evil.example:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}", f"127.0.0.1.evil:{PORT}", "a b", "",
    f"[::1]:{PORT}", f"0.0.0.0:{PORT}", f"localhost.:{PORT}", f"127.0.0.1:{PORT}@evil.example",
)  # fmt: skip
FOREIGN_FORMS: tuple[dict[str, str], ...] = (
    {}, {"Origin": "null"}, {"Origin": EVIL}, {"Origin": f"http://127.0.0.1:{PORT + 1}"}, {"Origin": ""},
    {"Origin": f"https://127.0.0.1:{PORT}"}, {"Origin": f"http://localhost:{PORT}"},
    {"Referer": f"{EVIL}/{ORIGIN}/"}, {"Referer": f"http://127.0.0.1:{PORT}@evil.example/"},
    {"Origin": EVIL, "Referer": f"{ORIGIN}/due"},
)  # fmt: skip
WRONG_TOKENS = ("", "x", "ä", Session.new().form_token)
COOKIE = f"nextstage-page-{PORT}"
TAG, HANDLER = "x-evil", "onevil"
SCRIPT = f"""</script></textarea></title>--><{TAG} {HANDLER}=1>'\"><{TAG} {HANDLER}='a()'>{{{{ 7*'7' }}}}]]>"""
NAME = SCRIPT.replace("/", "")
"""The same for names in an address, which end at a slash."""


def addresses(browser: Browser, desk: Desk) -> Iterator[str]:
    """Yield an address for each rule of the application that can be read, and each record."""
    app = browser.client.application
    adapter = app.url_map.bind(f"127.0.0.1:{PORT}")
    for rule in app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()):
            continue
        if rule.arguments == {"route", "key"}:
            yield from (adapter.build(rule.endpoint, record.key._asdict()) for record in desk.records)
        else:
            yield adapter.build(rule.endpoint, {"filename": "page.css"} if rule.arguments else {})


def changes(browser: Browser, desk: Desk) -> Iterator[str]:
    """Yield an address for each rule that takes forms, and each record."""
    app = browser.client.application
    adapter = app.url_map.bind(f"127.0.0.1:{PORT}")
    for rule in app.url_map.iter_rules():
        if "POST" in (rule.methods or ()):
            for values in [record.key._asdict() for record in desk.records] if rule.arguments else [{}]:
                yield adapter.build(rule.endpoint, values, method="POST")


def journal(desk: Desk) -> list[str]:
    """Return all tables of the journal's file with all that they contain."""
    with closing(sqlite3.connect(desk.folder / "journal.sqlite3")) as connection:
        return [*connection.iterdump(), str(connection.execute("PRAGMA user_version").fetchone())]


class TestAdmission:
    def test_the_token_of_the_first_url_becomes_a_cookie_that_only_our_pages_send(self, desk: Desk) -> None:
        browser = open_page(desk)
        assert browser.get("/").status_code == 403
        answer = browser.get(browser.page.url.removeprefix(ORIGIN))
        assert (answer.status_code, answer.location) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert re.fullmatch(rf"{COOKIE}=\w{{64}}; HttpOnly; Path=/; SameSite=Strict", cookie)
        assert browser.page.session.token not in cookie
        assert browser.get("/").status_code == 200

    def test_a_wrong_token_or_cookie_admits_nobody(self, desk: Desk) -> None:
        browser = open_page(desk)
        for token in ("", "a", "ä", "x" * 3000):
            answer = browser.client.get("/", base_url=ORIGIN, query_string={"token": token})
            assert answer.status_code == 403
            assert "Set-Cookie" not in answer.headers
            for value in (token.encode("ascii", "replace").decode(), browser.page.session.token, Session.new().cookie):
                browser.client.set_cookie(COOKIE, value, domain="127.0.0.1")
                assert browser.get("/").status_code == 403

    def test_each_session_has_its_own_secrets(self) -> None:
        secrets = [value for one in (Session.new(), Session.new()) for value in (one.token, one.cookie, one.form_token)]
        assert len(set(secrets)) == 6
        assert min(map(len, secrets)) >= 43

    def test_a_browser_without_cookie_learns_nothing_and_causes_no_reading(self, desk: Desk) -> None:
        desk.deliver()
        browser = open_page(desk)
        before = journal(desk)
        for address in [*addresses(browser, desk), "/nope", "/static/refresh.js"]:
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
                answer = browser.client.open(address, method=method, base_url=ORIGIN)
                assert answer.status_code == 403, (method, address)
                assert "evaluate" not in answer.text.replace(address, "")
                assert str(desk.folder) not in answer.text
        assert "journal" not in vars(browser.page.installation)
        assert journal(desk) == before

    def test_the_refusal_says_how_to_get_in_and_keeps_the_link(self, desk: Desk) -> None:
        """A link of another site comes without the cookie; the same link on our own page comes with it."""
        answer = open_page(desk).get("/?route=a%22b&state=parked")
        assert "Open the address that the terminal shows" in answer.text
        assert f'<a href="{ORIGIN}/?route=a&#34;b&amp;state=parked">' in answer.text
        other = open_page(desk).client.get("/", base_url=ORIGIN, environ_overrides={"PATH_INFO": "//evil.example/"})
        assert f'<a href="{ORIGIN}/' in other.text

    def test_the_token_redirects_nowhere_else(self, desk: Desk) -> None:
        browser = open_page(desk)
        for path in ("//evil.example/", "/routes", "/nope"):
            query, environ = {"token": browser.page.session.token}, {"PATH_INFO": path}
            answer = browser.client.get("/", base_url=ORIGIN, query_string=query, environ_overrides=environ)
            assert answer.status_code == 403
            assert answer.location is None


class TestOtherSites:
    def test_another_name_that_points_to_this_machine_is_refused(self, browser: Browser) -> None:
        """DNS rebinding: the browser believes that our server is the other site, and sends its Host."""
        for host in FOREIGN_HOSTS:
            headers = {"Host": host, "Cookie": f"{COOKIE}={browser.page.session.cookie}"}
            for query in ({}, {"token": browser.page.session.token}):
                answer = browser.client.get("/", headers=headers, query_string=query)
                assert answer.status_code in {400, 403}, host
                assert "nav" not in answer.text, host
                assert "Set-Cookie" not in answer.headers, host

    def test_localhost_is_a_name_of_the_page(self, desk: Desk) -> None:
        browser = open_page(desk)
        base = f"http://localhost:{PORT}"
        browser.client.get("/", base_url=base, query_string={"token": browser.page.session.token})
        assert browser.client.get("/", base_url=base).status_code == 200

    def test_a_form_of_another_site_changes_nothing(self, browser: Browser, desk: Desk) -> None:
        desk.deliver()
        before, targets = journal(desk), ["/", *changes(browser, desk)]
        data = {FORM_FIELD: browser.page.session.form_token, "confirm": "yes"}
        for headers, address in product(FOREIGN_FORMS, targets):
            answer = browser.client.post(address, base_url=ORIGIN, headers=headers, data=data)
            refused = (answer.status_code, "Nothing was changed" in answer.text)
            assert refused == (403, True), (address, headers)
        assert journal(desk) == before

    def test_a_form_without_the_token_of_the_session_changes_nothing(self, browser: Browser, desk: Desk) -> None:
        desk.deliver()
        before, targets = journal(desk), ["/", *changes(browser, desk)]
        query = {FORM_FIELD: browser.page.session.form_token}  # only the body counts
        for token, address in product(({}, *({FORM_FIELD: text} for text in WRONG_TOKENS)), targets):
            data, headers = {"confirm": "yes", **token}, {"Origin": ORIGIN}
            answer = browser.client.post(address, base_url=ORIGIN, headers=headers, data=data, query_string=query)
            assert (answer.status_code, "Nothing was changed" in answer.text) == (403, True), (address, token)
        assert journal(desk) == before

    def test_a_form_of_ours_is_taken_also_without_origin(self, browser: Browser) -> None:
        data = {FORM_FIELD: browser.page.session.form_token}
        for headers in ({"Origin": ORIGIN}, {"Referer": f"{ORIGIN}/due?x=1"}):
            assert browser.client.post("/", base_url=ORIGIN, headers=headers, data=data).status_code == 405

    def test_reading_changes_nothing(self, browser: Browser, desk: Desk) -> None:
        """Every address is requested as a link or an image of another site would, with all that a form would send."""
        desk.settings = {"RESUME_STORAGE": "sqlite"}
        desk.deliver()
        desk.park("run-2")
        browser = admitted(desk)
        before = journal(desk)
        fields = {"confirm": "yes", FORM_FIELD: browser.page.session.form_token, "key": desk.records[0].key.key}
        for address in addresses(browser, desk):
            for method in ("GET", "HEAD"):
                answer = browser.client.open(
                    address, method=method, base_url=ORIGIN, query_string=fields, buffered=True
                )
                assert answer.status_code < 500, address
        assert [address for address in changes(browser, desk) if browser.get(address).status_code >= 500] == []
        assert journal(desk) == before

    def test_every_answer_has_the_headers(self, browser: Browser, desk: Desk) -> None:
        desk.deliver()
        for address in [*addresses(browser, desk), "/nope"]:
            headers = browser.get(address).headers
            assert headers["Content-Security-Policy"].split("; ") == [
                "default-src 'none'", "style-src 'self'", "script-src 'self'", "connect-src 'self'", "img-src 'self'",
                "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'",
            ]  # fmt: skip
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "same-origin"
            assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert headers["Cache-Control"] == "no-store"
            assert not [name for name, _ in headers if name.startswith("Access-Control-")]


class TestSize:
    def test_an_event_of_10_mb_gets_a_page_that_says_so(self, browser: Browser) -> None:
        answer = browser.post("/try", {"event": "x" * 10_000_000})
        assert answer.status_code == 413
        assert "<h1>Too large</h1>" in answer.text
        assert f"The form is larger than {MAX_BODY_BYTES // 2**20} MB, so it was not read." in answer.text
        assert "manage.py explain FILE" in answer.text


@dataclass
class Seen(HTMLParser):
    """What a browser makes of a page: its elements and their attributes."""

    html: str
    tags: set[str] = field(default_factory=set)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


def evil_records() -> Iterator[Record]:
    """Yield records that contain scripts in all places, in several states."""
    envelope = dict.fromkeys(("id", "subject", "topic", "eventType", "eventTime", "dataVersion", SCRIPT), SCRIPT)
    names = ("runId", "experimentName", "runType", "runStatus", "modelName", "modelVersion", "workspace", SCRIPT)
    tags = {SCRIPT: SCRIPT, "mlflow.rootRunId": SCRIPT}
    data = {**dict.fromkeys(names, SCRIPT), "runTags": tags, "runProperties": tags, "modelTags": tags}
    request = {"organization_url": SCRIPT, "project": SCRIPT, "pipeline": SCRIPT, "parameters": {SCRIPT: SCRIPT}}
    events = (
        json.dumps({**envelope, "data": data}),
        run_completed(SCRIPT, experimentName=SCRIPT, runTags=tags),
        SCRIPT,
    )
    states = cycle((State.PARKED, State.QUEUED, State.RELEASED, State.UNCERTAIN, State.GATHERED))
    for number, (event, route) in enumerate(product(events, ("evaluate", NAME, UNROUTED)), start=1):
        state = next(states)
        steps = (Step(NOW, State.CLAIMED, SCRIPT), Step(NOW, state, SCRIPT))
        yield Record(
            JournalKey(route, f"{number:064x}" if number % 2 else f"{number}{NAME}"), state,
            Entry(SCRIPT, SCRIPT, SCRIPT, event, json.dumps(request) if number % 3 else SCRIPT),
            NOW, NOW, NOW, run_id=number, run_url="javascript:onevil()" if number % 2 else SCRIPT,
            reason=f"{SCRIPT} 7 (javascript:onevil()), 8 (javascript:onevil())", history=steps,
            routes=SCRIPT, sender=SCRIPT,
        )  # fmt: skip


def test_nothing_in_an_event_becomes_an_element_or_a_script(desk: Desk) -> None:
    desk.clock = lambda: NOW
    desk.settings = {"RESUME_STORAGE": "sqlite"}
    store = desk.store
    for record in evil_records():
        assert store.insert(record) is not None
    browser = admitted(desk)
    queries = ("/waits?all", "/?route", "/?state", "/?text", "/?newer", "/?older", "/due?route", "/try?sample")
    for address in (*addresses(browser, desk), *(f"{query}={quote(SCRIPT)}" for query in queries)):
        answer = browser.get(address)
        if answer.status_code == 303:
            continue  # to another of these addresses
        if answer.content_type.startswith("text/html"):
            assert answer.status_code == 200 or (address.startswith(("/?", "/try?")) and answer.status_code < 500), (
                address
            )
            assert_harmless(address, answer.text)
        if address.startswith("/record/") or address in {"/", "/due"}:
            assert f"&lt;{TAG}" in answer.text, "it is shown, as text"
    events = [record.entry.event for record in desk.records[:3]]
    for address in changes(browser, desk):
        for event in events if address == "/try" else events[:1]:
            answer = browser.post(address, {"event": event, "run_id": "7"})
            assert answer.status_code < 500 or answer.status_code == 503, address
            assert_harmless(address, answer.text)


def assert_harmless(address: str, html: str) -> None:
    """Assert that nothing of an event is an element, an attribute or a script of a page."""
    seen = Seen(html)
    assert TAG not in seen.tags, address
    for tag, name, value in seen.attributes:
        place = (address, tag, name, value)
        assert not name.startswith("on"), place
        assert name not in {"style", "srcdoc", "http-equiv"}, place
        if name in {"href", "src", "action", "formaction", "xlink:href"}:
            assert urlsplit(value).scheme in {"", "http", "https"}, place
            assert not value.startswith("//"), place
        if (tag, name) == ("script", "src"):
            assert value.startswith("/static/"), place
    assert re.findall(r"<script(?![^>]* src=)", html) == [], address
    assert "7777777" not in html, f"{address}: a template was rendered that came from an event"


def test_no_page_shows_a_secret(desk: Desk) -> None:
    """Not even if the queue refuses the key, so that a page tells of an error."""
    desk.deliver()
    desk.park("run-2")
    with serving(Response("no", 403)) as refusing:
        account = f"AccountName=a;AccountKey={base64.b64encode(secret('key').encode()).decode()}"
        desk.settings = {
            "RESUME_STORAGE": f"DefaultEndpointsProtocol=http;{account};QueueEndpoint={refusing.url}/a",
            "NOTIFY_URL": f"https://hooks.example/?sig={secret('sig')}",
            "ENVIRONMENT_VALUE": secret("environment"),
        }
        browser = admitted(desk)
        assert "is not known: the resume queue" in browser.get("/due").text
        for address in [*addresses(browser, desk), "/nope"]:
            answer = browser.get(address)
            shown = answer.text + str(answer.headers)
            assert leaks(shown) == [], address
            assert browser.page.session.token not in shown
            assert browser.page.session.cookie not in shown
