"""The page Waits: the same waits as ``manage.py waits`` shows."""

from datetime import timedelta

import pytest

from shared.clock import utc_now
from shared.journal.records import State
from shared.waits.request import Task
from tests.support.builders import WORKSPACE
from tests.support.canaries import leaks
from tests.support.waits import EVENT, ORGANIZATION, Scene, a_request, the_end
from tests.tools.conftest import Desk
from tests.tools.page.conftest import Browser
from tools.page import paging


def wait(desk: Desk, *runs: str, workspace: str | None = None) -> list[Task]:
    """Let a task wait for each run, and return the tasks."""
    waits, until = Scene(desk.store, utc_now).waits, utc_now() + timedelta(minutes=5)
    requests = [a_request(run_id=run, workspace=workspace) for run in runs]
    for request in requests:
        waits.register(request, until)
    return [request.task for request in requests]


def test_nothing_waits(desk: Desk, browser: Browser) -> None:
    desk.deliver()
    assert "No task waits." in browser.get("/waits").text
    assert "No task has waited." in browser.get("/waits?all=1").text


def test_open_waits_with_their_plans_and_those_that_are_over_on_demand(desk: Desk, browser: Browser) -> None:
    ended, open_one = wait(desk, "run-1", "run-2", workspace=WORKSPACE)
    Scene(desk.store, utc_now).waits.run_ended(the_end("run-1"), EVENT, utc_now() + timedelta(minutes=5))
    shown = browser.get("/waits").text
    assert (ended.key[:12] in shown, open_one.key[:12] in shown) == (False, True)
    plan = f"{ORGANIZATION}/{open_one.project_id}/_apis/distributedtask/hubs/build/plans/{open_one.plan_id}"
    assert f'<a href="{plan}" rel="noopener noreferrer">{open_one.plan_id}</a>' in shown
    assert '<span class="state state-waiting">waiting</span>' in shown
    assert f'<td data-label="Workspace" title="{WORKSPACE}">{WORKSPACE.rpartition("/")[2]}</td>' in shown
    assert '<a href="/waits?all=1">' in shown
    assert "data-refresh" in shown
    both = browser.get("/waits?all=1").text
    assert both.index(ended.key[:12]) < both.index(open_one.key[:12]), "the oldest first"
    assert "because run run-1 is Completed" in both
    assert leaks(shown + both) == []


def test_a_long_list_has_pages(desk: Desk, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "SIZE", 2)
    wait(desk, "run-1", "run-2", "run-3")
    first, second = browser.get("/waits?all=1").text, browser.get("/waits?all=1&page=2").text
    assert "1 to 2 of 3 waits" in first
    assert '<a href="/waits?page=2&amp;all=1" rel="next">Next</a>' in first
    assert '<a href="/waits?page=1&amp;all=1" rel="prev">Previous</a>' in second
    assert ("run-1" in second, "run-3" in second) == (False, True)


def test_a_wait_that_another_program_has_changed_is_named(desk: Desk, browser: Browser) -> None:
    wait(desk, "run-1", "run-2")
    store = desk.store
    broken = next(record for record in desk.records if record.state is State.WAITING)
    assert store.replace(broken._replace(document="[]")) is not None
    shown = browser.get("/waits").text
    assert "1 record cannot be read:" in shown
    assert f"the record {broken.key.key[:12]} of route" in shown
