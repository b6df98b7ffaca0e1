"""What the commands show of events that are gathered, before and after their run is queued."""

import json

import pytest

from handlers import DISPATCH, NAMES
from shared.composition import App, compose, load_configuration
from shared.http.message import HttpRequest, HttpResponse
from shared.journal.records import State
from shared.resume.sqlite_queue import SqliteQueue
from tests.support.builders import GATHERS, event_text
from tests.support.clock import ManualClock
from tests.tools.conftest import Desk
from tools.events.documents import Document
from tools.events.webhook import Webhook


class Gathering:
    """An app with a clock, whose Azure DevOps queues run 42."""

    def __init__(self, desk: Desk) -> None:
        desk.routes(GATHERS)
        desk.settings = {"RESUME_STORAGE": "sqlite"}
        self.clock = desk.clock = ManualClock()
        configuration = load_configuration(desk.environment, desk.folder, NAMES)
        self.app: App = compose(configuration, DISPATCH, transport=self._send, report=lambda _: None, clock=self.clock)

    @staticmethod
    def _send(request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        url = "https://dev.azure.com/contoso/_build/results?buildId=42"
        found = {"value": [{"folder": "\\", "name": "retrain", "id": 7}]}
        run = {"id": 42, "_links": {"web": {"href": url}}}
        return HttpResponse(200, {}, json.dumps(found if request.method == "GET" else run).encode())

    def deliver(self, *numbers: int) -> None:
        for number in numbers:
            data = {"experimentName": "train", "runId": f"run-{number}"}
            event = event_text(
                "RunCompleted", data, id=f"event-{number}", subject="" if number == 2 else f"run-{number}"
            )
            self.app.relay.deliver(event)
            self.clock.advance(60)

    def end(self) -> None:
        """Let the period end, and take up what is due."""
        self.clock.advance(600)
        resumption = self.app.resumption
        assert resumption is not None
        assert isinstance(resumption.queue, SqliteQueue)
        while (taken := resumption.queue.take()) is not None:
            resumption.resume.go_on(taken.key, taken.ticket)


@pytest.fixture
def gathering(desk: Desk) -> Gathering:
    return Gathering(desk)


HELD = "held until 2026-11-20 12:12:00, or until 2026-11-20 14:00:00 UTC at the latest if more events come"


def test_the_doctor_counts_the_events_that_are_held(desk: Desk, gathering: Gathering) -> None:
    gathering.deliver(1, 2, 3)
    words = "3 events in 1 group wait for one run per group; see 'manage.py resume'"
    assert ["ok", "gathered", words] in desk.run("doctor").rows
    gathering.end()
    assert [row for row in desk.run("doctor").rows if row[1:2] == ["gathered"]] == []


def test_while_the_period_is_open(desk: Desk, gathering: Gathering) -> None:
    gathering.deliver(1, 2, 3)
    rows = desk.run("journal").rows[1:]
    assert [row[1:5] + row[6:] for row in rows] == [
        [
            "gathers",
            "gathered",
            f"{number}m",
            f"RunCompleted event-{4 - number}",
            f"event {4 - number} of its group; {HELD}",
        ]
        for number in (1, 2, 3)
    ]
    assert [row[1:5] for row in desk.run("resume").rows[1:]] == [["gathers", "waiting", "3m", "in 9m"]]
    assert desk.run("resume").rows[1][5] == f"3 events gathered since 2026-11-20 12:00:00 UTC for train; {HELD}"
    (document,) = desk.run("resume", "--json").json
    assert document["comes_again_at"] == "2026-11-20T12:12:00+00:00"
    assert f"gather    event 3 of its group; {HELD}\n" in desk.run("journal", "show", rows[0][0]).out


def test_an_event_that_is_sent(desk: Desk, gathering: Gathering, monkeypatch: pytest.MonkeyPatch) -> None:
    def notify(_self: Webhook, event: Document, _deliveries: int) -> tuple[int, str]:
        gathering.app.relay.deliver(json.dumps(event))
        return 202, ""

    monkeypatch.setattr(Webhook, "notify", notify)
    gathering.deliver(1)
    (row,) = desk.run("send", "RunCompleted", "--wait").rows
    assert row[1:] == ["gathers", "gathered", f"event 2 of its group; {HELD.replace('12:12', '12:11')}"]


def test_a_period_whose_message_is_lost_is_ended_by_hand(desk: Desk, gathering: Gathering) -> None:
    gathering.deliver(1)
    resumption = gathering.app.resumption
    assert resumption is not None
    assert isinstance(resumption.queue, SqliteQueue)
    gathering.clock.advance(540)
    while (taken := resumption.queue.take()) is not None:
        resumption.queue.drop(taken.ticket)
    assert desk.run("resume").rows[1][4] == "now"
    assert desk.run("resume", "--now").code == 0
    gathering.end()
    assert [row[2] for row in desk.run("journal").rows[1:]] == ["queued", "gathered"]


def test_a_period_is_not_ended_by_hand_before_its_time(desk: Desk, gathering: Gathering) -> None:
    gathering.deliver(1)
    assert desk.run("resume", "--now").code == 0
    assert desk.run("resume").rows[1][4] == "in 9m"


def test_after_its_run_was_queued(desk: Desk, gathering: Gathering) -> None:
    gathering.deliver(1, 2, 3)
    gathering.end()
    rows = desk.run("journal").rows[1:]
    assert [row[2:] for row in rows] == [
        ["queued", "0s", "RunCompleted event-3", "42", "for 3 events"],
        *(
            ["gathered", f"{age}m", f"RunCompleted event-{number}", "-", "gathered into run 42, with 2 others"]
            for number, age in ((3, 11), (2, 12), (1, 13))
        ),
    ]
    assert desk.run("resume").out.startswith("nothing is deferred")
    shown = desk.run("journal", "show", rows[0][0])
    keys = [row[0] for row in rows[:0:-1]]
    events = ["RunCompleted event-1, run-1", "RunCompleted event-2", "RunCompleted event-3, run-3"]
    listed = "".join(
        f"  {number}     {key}  {event}\n" for number, (key, event) in enumerate(zip(keys, events, strict=True), 1)
    )
    assert f"\ngathered:\n{listed}" in shown.out
    document = desk.run("journal", "show", rows[0][0], "--json").json
    assert [key[:12] for key in document["gathered_events"]] == keys
    assert document["gathered"]["events"] == 3
    assert document["request"]["parameters"]["count"] == "3"
    assert desk.run("journal", "show", keys[0]).out.count("gather    gathered into run 42, with 2 others\n") == 1


def test_a_run_that_was_refused_shows_what_a_redrive_would_do(desk: Desk, gathering: Gathering) -> None:
    gathering.deliver(1, 2)
    gathering.end()
    run = next(record for record in desk.records if record.state is State.QUEUED)
    assert desk.store.replace(run._replace(state=State.PARKED, run_id=None, reason="refused")) is not None
    shown = desk.run("journal", "show", run.key.key).out
    assert "would queue  retrain in contoso/mlops on main; run=run-2, count=2, since=2026-11-20T12:00:00Z" in shown
    words = [row[6] for row in desk.run("journal").rows if row[2:3] == ["gathered"]]
    assert words == [f"gathered into {run.key.key[:12]}, which is parked, with 1 other"] * 2


def test_explain_says_until_when_it_would_be_held(desk: Desk, gathering: Gathering) -> None:
    gathering.deliver(1)
    file = desk.file(event_text("RunCompleted", {"experimentName": "train", "runId": "run-2"}, id="event-2"))
    shown = desk.run("explain", file.name).out
    assert 'one run for all events for "train", until none has come for 10m\n' in shown
    assert "at the latest 2h after the first one\n" in shown
    held = "held until 2026-11-20 12:11:00, or until 2026-11-20 14:00:00 UTC at the latest if more events come"
    assert f"outcome   would gather  event 2 of its group; {held}\n" in shown
    (route,) = desk.run("explain", file.name, "--json").json[0]["routes"]
    assert route["gather"] == {"by": "train", "quiet": "10m", "at_most": "2h"}


def test_groups_are_not_events(desk: Desk, gathering: Gathering) -> None:
    gathering.deliver(1)
    keys = [record.key for record in desk.records]
    assert sorted(key.is_about_event for key in keys) == [False, True]
    assert len(desk.run("journal").rows) == 2
