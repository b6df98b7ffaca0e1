"""``manage.py waits``: the waiting tasks. No other command treats their records as events."""

import re
from datetime import timedelta

import pytest

from shared.clock import utc_now
from shared.journal.records import State
from shared.redrive import REDRIVABLE_STATES
from tests.support.builders import run_completed
from tests.support.canaries import leaks
from tests.support.waits import EVENT, KEY, Scene, a_request, the_end
from tests.tools.conftest import RIGHT, Desk
from tools.actions.records import is_wait
from tools.events.documents import Document
from tools.events.webhook import Webhook


def scene(desk: Desk) -> Scene:
    return Scene(desk.store, utc_now)


def wait(desk: Desk, run_id: str = "run-1", workspace: str | None = None) -> str:
    """Register a waiting task; return the key of its wait."""
    request = a_request(run_id=run_id, workspace=workspace)
    scene(desk).waits.register(request, utc_now() + timedelta(minutes=5))
    return request.task.key


def end(desk: Desk, run_id: str) -> None:
    scene(desk).waits.run_ended(the_end(run_id), EVENT, utc_now() + timedelta(minutes=5))


def test_as_a_process(desk: Desk) -> None:
    key = wait(desk)
    result = desk.process("waits")
    assert (result.code, result.err) == (0, "")
    assert result.rows[0] == ["KEY", "RUN", "WORKSPACE", "STATE", "AGE", "PLAN", "REASON"]
    assert result.rows[1][:4] == [key[:12], "run-1", "any", "waiting"]


def test_the_oldest_comes_first_and_all_includes_waits_that_are_over(desk: Desk) -> None:
    keys = [wait(desk, f"run-{number}", "ws") for number in range(3)]
    end(desk, "run-1")
    assert [found["key"] for found in desk.run("waits", "--json").json] == [keys[0], keys[2]]
    found = desk.run("waits", "--all", "--json").json
    assert [one["key"] for one in found] == keys
    assert [one["state"] for one in found] == ["waiting", "completed", "waiting"]
    assert found[1]["reason"].endswith("because run run-1 is Completed")
    assert desk.run("journal", "--windows", "--json").json == [], "the journal lists events only"
    assert desk.run("resume").err == "2 tasks waiting for an Azure ML run; see 'manage.py waits'\n"
    for number in (0, 2):
        end(desk, f"run-{number}")
    assert desk.run("waits").out.startswith("no waiting tasks in the journal ")


def test_one_wait_is_shown_without_its_token(desk: Desk) -> None:
    key = wait(desk)
    shown = desk.run("journal", "show", key[:8])
    assert shown.code == 0
    assert "(waiting task)" in shown.out
    assert "redrive: nothing to do: it is not about an event" in re.sub(r"\s+", " ", shown.out)
    document = desk.run("journal", "show", key, "--json").json
    assert document["document"]["sealed_token"] == "***"
    assert leaks(shown.out) == []


@pytest.mark.parametrize("state", [State.WAITING, *sorted(REDRIVABLE_STATES)])
def test_a_wait_cannot_be_redriven(desk: Desk, state: State) -> None:
    """A redrive would park the record, because it does not belong to an event."""
    key = wait(desk)
    (record,) = [each for each in desk.records if each.key.key == key and is_wait(each)]
    written = desk.store.replace(record._replace(state=state))
    result = desk.run("redrive", key)
    assert "the timer sweep_waits takes care of waiting tasks" in re.sub(r"\s+", " ", result.out + result.err)
    assert [each for each in desk.records if each.key == record.key] == [written]


def test_the_event_that_completes_a_wait(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.settings = {"WAIT_TOKEN_KEYS": KEY}
    desk.routes(RIGHT + "\nenabled: false")
    keys = [wait(desk, "run-1"), wait(desk, "run-2")]
    event = desk.file(run_completed("run-1"))
    explained = desk.run("explain", event)
    assert (explained.code, "  (waiting task): would complete the task of plan " in explained.out) == (0, True)
    (document,) = desk.run("explain", event, "--json").json
    assert [one["key"] for one in document["waiting_tasks"]] == keys[:1]

    def notify(_self: Webhook, _event: Document, _deliveries: int) -> tuple[int, str]:
        end(desk, "run-1")
        return 202, ""

    monkeypatch.setattr(Webhook, "notify", notify)
    sent = desk.run("send", event, "--wait")
    ((*_, what, outcome, words),) = sent.rows
    assert (sent.code, what, outcome) == (0, "(waiting task)", "completed")
    assert words.endswith("because run run-1 is Completed")
    again = desk.run("send", event, "--wait")
    assert (again.code, again.rows[0][1:3]) == (0, ["-", "ignored"])
