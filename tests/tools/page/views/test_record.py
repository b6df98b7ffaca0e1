"""The page of a record: what it shows in each state, and what its buttons do, on a real journal."""

import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from shared.azure_devops.runs import Run, RunRequest
from shared.clock import utc_now
from shared.journal.records import NO_EVENT, Entry, Gathered, JournalKey, Record, State, Step, cut_remark
from shared.queueing.orphans import Orphan
from shared.queueing.search import LostRequest
from tests.support.builders import run_completed
from tests.support.canaries import leaks, secret
from tests.support.journal.records import NOW
from tests.support.journal.records import record as new_record
from tests.tools.conftest import RIGHT, TRIAGE, Desk
from tests.tools.page.conftest import Browser, admitted
from tools.installation import Installation


class Screen(HTMLParser):
    """What a page shows: its text, with single spaces, and the forms that change something, by their buttons."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: dict[str, tuple[str, dict[str, str]]] = {}
        self._text = self._button = ""
        self._form: tuple[str, dict[str, str]] = ("", {})
        self._is_button = False
        self.feed(html)
        self.text = re.sub(r"\s+", " ", self._text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._text += " "
        if tag == "form":
            self._form = (given["action"], {})
        if tag == "input":
            self._form[1][given["name"]] = given.get("value", "")
        self._is_button = tag == "button"

    def handle_data(self, data: str) -> None:
        self._text += data
        if self._is_button and data.strip():
            self.forms[data.strip()] = self._form


def address(key: JournalKey) -> str:
    return f"/record/{key.route}/{key.key}"


def look(browser: Browser, key: JournalKey, status: int = 200) -> Screen:
    answer = browser.get(address(key))
    assert answer.status_code == status, answer.text
    return Screen(answer.text)


def press(browser: Browser, screen: Screen, button: str, status: int = 200, **entered: str) -> Screen:
    """Press a button of a page, after filling in its form."""
    action, fields = screen.forms[button]
    answer = browser.post(action, {**fields, **entered})
    assert answer.status_code == status, answer.text
    return Screen(answer.text)


def stored(desk: Desk, record: Record) -> Record:
    current = desk.store.get(record.key)
    assert current is not None
    return current


def write(desk: Desk, record: Record) -> Record:
    written = desk.store.insert(record)
    assert written is not None
    return written


def test_a_parked_record(browser: Browser, desk: Desk) -> None:
    record = desk.park()
    before = (desk.folder / "journal.sqlite3").read_bytes()
    screen = look(browser, record.key)
    for words in (
        "RunCompleted event-1 parked reason parameter 'runId': 'data.nope' has no value in this event",
        "evaluate would queue model-evaluation in contoso/mlops on main; runId=run-1, experimentName=train",
        "the event happened",
        "0 ms later parked",
        '"eventType": "Microsoft.MachineLearningServices.RunCompleted", "eventTime": ',
        "No request could be built from the event, so nothing was sent.",
        'experimentName "train" {{ experiment_name }}',
        "What the routes.yaml on this machine decides of the event. evaluate matches",
        "delivery would be a duplicate, since this record exists",
        "Authorization: Basic ***",
        f"route evaluate key {record.key.key}",
    ):
        assert words in screen.text
    assert list(screen.forms) == ["Dry run of redrive"]
    press(browser, screen, "Dry run of redrive")
    again = browser.get(screen.forms["Dry run of redrive"][0])
    assert (again.status_code, again.location) == (303, address(record.key))
    assert (desk.folder / "journal.sqlite3").read_bytes() == before
    assert stored(desk, record) == record


def test_wrong_routes(browser: Browser, desk: Desk) -> None:
    record = desk.park()
    desk.routes(f"name: x\nevent: Nope sig={secret('sig')}\npipeline: 1")
    screen = look(browser, record.key)
    assert "routes.yaml has 1 problem, so the app does not start:" in screen.text
    assert "'Nope sig=***'" in screen.text
    refused = press(browser, screen, "Dry run of redrive", 503)
    assert "routes.yaml has 1 problem" in refused.text
    assert leaks(screen.text + refused.text) == []
    desk.routes(TRIAGE)
    assert "but the route was removed, or now handles another event type" in look(browser, record.key).text


def test_a_cut_event(browser: Browser, desk: Desk) -> None:
    parked = desk.park()
    cut = parked.entry._replace(event=parked.entry.event[:50] + cut_remark(50, 900))
    record = write(desk, parked._replace(key=JournalKey("evaluate", "ab" * 32), entry=cut, version=""))
    screen = look(browser, record.key)
    assert "The journal has only the beginning of it" in screen.text
    assert "so routes.yaml cannot be asked about it" in screen.text
    assert "would park" in screen.text


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (
            new_record("ab12", "$cooldown.evaluate", entry=NO_EVENT, document="cd34"),
            "(cooldown window) claimed held by cd34",
        ),
        (new_record("ab12", "$wait.1", entry=NO_EVENT, document='{"sealed": "x"}'), "(waiting task) claimed changed"),
        (new_record("ab12", "$orphans", entry=NO_EVENT, document="{}"), "(orphan) claimed"),
        (new_record("$gather.1", entry=NO_EVENT, document="{}"), "(group of gathered events) claimed"),
    ],
)
def test_records_that_are_not_about_events(browser: Browser, desk: Desk, record: Record, words: str) -> None:
    screen = look(browser, write(desk, record).key)
    assert words in screen.text
    assert screen.forms == {}
    refused = press(browser, Screen(f'<form action="{address(record.key)}/redrive"><button>x</button></form>'), "x")
    assert "it is not about an event" in refused.text
    assert refused.forms == {}


def test_other_records_that_belong_to_it(browser: Browser, desk: Desk) -> None:
    """A run for two events, with a second run that is not canceled, and another record of the same run of Azure ML."""
    entry = Entry("event-9", "Microsoft.MachineLearningServices.RunCompleted", "", run_completed("run-9"))
    gathered = Gathered("aa" * 32, 2, NOW, "$gather.1")
    run = write(
        desk,
        new_record(
            "aa" * 32,
            "evaluate",
            state=State.QUEUED,
            entry=entry,
            run_id=7,
            run_url="javascript:alert(1)",
            gathered=gathered,
            history=(Step(NOW, State.UNCERTAIN, "lost"), Step(NOW, State.QUEUED, "run 7")),
        ),
    )
    for number, into in enumerate(["aa", "aa", "ab"], 1):
        event = new_record(
            f"e{number}" * 32, "evaluate", state=State.GATHERED, entry=entry._replace(event_id=f"e-{number}")
        )
        write(desk, event._replace(gathered=gathered._replace(events=number, into=into * 32)))
    write(desk, new_record("bb" * 32, "other", state=State.SUPPRESSED, entry=entry._replace(event_id="other")))
    orphan = Orphan(LostRequest(run.key, RunRequest("https://ado", "p", 1), "", NOW, NOW), Run(8, "https://ado/8"))
    write(desk, new_record("cc", "$orphans", state=State.WAITING, entry=NO_EVENT, document=orphan.to_json()))

    answer = browser.get(address(run.key))
    text = Screen(answer.text).text
    for words in (
        "run 7 its state is not known: the journal has only a part of the request",
        "gather for 2 events",
        "gathered evaluate RunCompleted e-1 - e1e1e1e1e1e1",
        "gathered evaluate RunCompleted e-2 - e2e2e2e2e2e2",
        "suppressed other RunCompleted other Azure ML run - bbbbbbbbbbbb",
        "Searched for event event-9, Azure ML run run-9 in 5 records.",
        f"8, since {NOW:%Y-%m-%d %H:%M:%S} UTC: a delivery, a redrive or a timer will cancel it",
    ):
        assert words in text
    assert "e-3" not in text[text.index("The last events") : text.index("Other records")]
    assert 'href="javascript' not in answer.text


def test_the_credential_is_only_for_known_organizations(browser: Browser, desk: Desk) -> None:
    request = RunRequest("https://evil.example/contoso", "mlops", 1)
    entry = Entry("event-1", "type", "", run_completed(), request.to_json())
    foreign = write(desk, new_record("aa" * 32, "evaluate", state=State.QUEUED, entry=entry, run_id=7))
    text = look(browser, foreign.key).text
    assert "run 7 its state is not known: https://evil.example/contoso is neither in the settings nor in" in text

    own = entry._replace(request=request._replace(organization_url=desk.organization_url).to_json())
    record = write(desk, foreign._replace(key=JournalKey("evaluate", "bb" * 32), entry=own, run_id=8, version=""))
    desk.settings = {"AZURE_DEVOPS_EXT_PAT": ""}
    text = look(admitted(desk), record.key).text
    assert "run 8 its state is not known: AZURE_DEVOPS_AUTH is 'pat', but no PAT is configured; set" in text


def test_records_that_are_gone_or_unreadable(browser: Browser, desk: Desk) -> None:
    record = desk.park()
    missing = look(browser, JournalKey("evaluate", "0" * 64), 404)
    assert "A finished record is purged after JOURNAL_RETENTION_DAYS" in missing.text
    screen = press(browser, look(browser, record.key), "Dry run of redrive")
    with sqlite3.connect(desk.folder / "journal.sqlite3") as connection:
        connection.execute("UPDATE records SET document = '{' WHERE route = 'evaluate'")
    assert "cannot be read" in look(browser, record.key, 500).text
    assert "repair or delete the record" in press(browser, screen, "Redrive", 500).text
    with sqlite3.connect(desk.folder / "journal.sqlite3") as connection:
        connection.execute("DELETE FROM records WHERE route = 'evaluate'")
    assert "A finished record is purged" in press(browser, screen, "Redrive", 404).text


def test_a_deferred_record_is_tried_now(desk: Desk) -> None:
    desk.settings = {"RESUME_STORAGE": "sqlite"}
    desk.deliver()
    (record,) = desk.records
    browser = admitted(desk)
    screen = look(browser, record.key)
    assert "resume comes again at" in screen.text
    asked = press(browser, screen, "Try now …")
    desk.clock = lambda: utc_now() + timedelta(seconds=1)
    assert "1 record of the route evaluate can be tried now." in press(browser, asked, "Try now").text
    queue = Installation(desk.folder, desk.environment).due_queue()
    assert queue is not None
    (message,) = queue.due(10)
    assert message.key == record.key
    assert message.at is not None
    assert message.at <= desk.clock()
    assert stored(desk, record) == record


def test_redrive(busy_browser: Browser, busy_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two people look at the same record, each on a page of their own, and redrive it at the same time."""
    record, browsers = busy_desk.park(), (busy_browser, admitted(busy_desk))
    asked = [press(browser, look(browser, record.key), "Dry run of redrive") for browser in browsers]
    assert "evaluate would queue model-evaluation in contoso/mlops on main" in asked[0].text
    assert busy_desk.runs == []

    with ThreadPoolExecutor() as people:
        done = list(people.map(lambda browser, screen: press(browser, screen, "Redrive").text, browsers, asked))
    (run,) = busy_desk.runs
    assert any(f"What happened Route Outcome Run Reason evaluate queued {run['id']} " in text for text in done)
    late = press(busy_browser, asked[0], "Redrive")
    assert "Nothing was done: the record or routes.yaml has changed since you were asked. Look again." in late.text
    assert "duplicate it is queued; nothing is left to do" in late.text
    assert (late.forms, len(busy_desk.runs)) == ({}, 1)

    screen = look(busy_browser, record.key)
    assert f"run {run['id']} not started changed" in screen.text
    assert "POST http://127.0.0.1" in screen.text
    assert screen.forms == {}

    forgotten: list[JournalKey] = []
    monkeypatch.setattr(busy_browser.page.source, "forget", forgotten.append)
    moving = busy_desk.park("run-2")
    busy_desk.routes(RIGHT + "\nonce_per: '{{ event.id }}'")
    asked = [press(busy_browser, look(busy_browser, moving.key), "Dry run of redrive")]
    moved = busy_browser.post(*asked[0].forms["Redrive"]).text
    (found,) = re.findall(r'href="(/record/evaluate/[0-9a-f]+)">\w{12}<', moved)
    assert found != address(moving.key)
    assert "evaluate, RunCompleted event-1, was parked" in Screen(moved).text
    assert "The record has moved, and its old key is gone. As of" in Screen(moved).text
    assert forgotten == [moving.key]
    assert busy_browser.get(found).status_code == 200
    assert "a redrive may have moved it to another key" in look(busy_browser, moving.key, 404).text
    assert forgotten == [moving.key] * 2


def test_routes_that_change_before_a_redrive(browser: Browser, desk: Desk) -> None:
    record = desk.park()
    asked = press(browser, look(browser, record.key), "Dry run of redrive")
    desk.routes(RIGHT.replace("experimentName: ", "experiment: "))
    again = press(browser, asked, "Redrive")
    assert "has changed since you were asked. Look again. What will happen" in again.text
    assert "runId=run-1, experiment=train" in again.text
    assert stored(desk, record) == record


def test_a_run_that_may_exist(busy_browser: Browser, busy_desk: Desk) -> None:
    """The answers to three requests were lost, and Azure DevOps does not show the parameters of their runs."""
    desk, browser, names = busy_desk, busy_browser, ("run-1", "run-2", "run-3")
    for name in names:
        desk.plan(accept=True, drop=True, behavior={"parameters": "null"})
        desk.deliver(run_completed(name))
    desk.settle()
    for name in names:
        desk.deliver(run_completed(name))
    one, two, three = desk.records

    screen = look(browser, one.key)
    assert "reason cannot tell whether one of these runs was queued for it: 501 (http" in screen.text
    assert "evaluate would look a run may exist: the app searches for it" in screen.text
    buttons = ["Dry run of redrive", "Dry run without looking", *(f"Adopt run {run} …" for run in (501, 502, 503))]
    assert list(screen.forms) == [*buttons, "Adopt …"]
    assert "would look" in press(browser, screen, "Dry run of redrive").text
    for entered, message in {
        "999": "there is no run 999 in project mlops",
        "x1": "got 'x1'; it is in the run's URL",
        f"{'1':0>20}{'9' * 5000}": "the ID of a run is a number such as 501",
    }.items():
        assert message in press(browser, screen, "Adopt …", 400, run_id=entered).text
    asked = press(browser, screen, "Adopt run 501 …")
    assert "evaluate would adopt 501 nothing was changed" in asked.text
    assert stored(desk, one).state is State.PARKED
    assert "evaluate queued 501 adopted by an operator" in press(browser, asked, "Adopt the run").text
    assert (stored(desk, one).run_id, len(desk.runs)) == (501, 3)

    other = desk.queue(11, templateParameters={"runId": "another", "experimentName": "train"})
    asked = press(browser, look(browser, two.key), "Adopt …", run_id=str(other))
    assert f"would adopt {other} but another identity requested it; runId is 'another' instead of" in asked.text
    sure = press(browser, asked, "Adopt the run")
    assert f"Run {other} does not look like the run of this event" in sure.text
    assert "Nothing was changed: another identity requested it; runId is 'another' instead of 'run-2'." in sure.text
    assert stored(desk, two).state is State.PARKED
    press(browser, sure, "Adopt the run all the same")
    assert stored(desk, two).run_id == other

    asked = press(browser, look(browser, three.key), "Dry run without looking")
    assert "Nobody searches Azure DevOps for a run of this event. Be sure that it has none." in asked.text
    assert "evaluate would queue" in asked.text
    assert "evaluate queued" in press(browser, asked, "Redrive without looking").text
    assert (stored(desk, three).state, len(desk.runs)) == (State.QUEUED, 5)
