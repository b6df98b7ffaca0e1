"""Servers that take a connection and never answer, over sockets: they take their own time only."""

import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest

from devstack.ado import Emulator, Fault, Match, load_declaration, serve
from handlers import DISPATCH, NAMES
from shared.clock import utc_now
from shared.composition import Bridge, compose, load_configuration
from shared.journal.records import NO_EVENT, WAIT_PREFIX, Selection, State
from tests.support import ROOT
from tests.support.builders import run_completed
from tests.support.canaries import secret
from tests.support.fakes import Reports
from tests.support.journal.memory_store import MemoryStore
from tests.support.polling import wait_until
from tests.support.services.host_apps import app_settings
from tests.support.waits import KEY, a_task, default_headers, the_end

BODY = b'{"run_id": "run-1"}'


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts every connection, and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/contoso"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def bridge(organization_url: str, store: MemoryStore) -> Bridge:
    settings = app_settings(organization_url, "sqlite:unused") | {"WAIT_TOKEN_KEYS": KEY}
    app = compose(load_configuration(settings, ROOT, NAMES), DISPATCH, store=store, report=Reports())
    assert app.bridge is not None
    return app.bridge


def test_a_task_of_a_silent_server_is_not_kept(silent: str, store: MemoryStore) -> None:
    answer = bridge(silent, store).endpoint.answer(default_headers(a_task(plan_url=silent)), BODY)
    assert answer.status == 503
    assert "Azure DevOps could not be asked about task" in str(answer.document["error"])
    assert str(answer.document["error"]).endswith("; the wait was not stored; run the job again")
    assert store.records == {}


def test_requests_about_tasks_that_get_no_answer_hold_back_neither_other_tasks_nor_events(store: MemoryStore) -> None:
    """The pause after five requests without an answer refused every task of the organization, and deferred events."""
    emulator = Emulator(load_declaration(), pats={secret("pat")})
    with serve(emulator) as ado:
        settings = app_settings(ado.organization_url, "sqlite:unused") | {"WAIT_TOKEN_KEYS": KEY}
        app = compose(load_configuration(settings, ROOT, NAMES), DISPATCH, store=store, report=Reports())
        assert app.bridge is not None
        stuck, honest = (emulator.start_wait_task(ado.organization_url) for _ in range(2))
        plan = Match(path=f"/plans/{stuck.record.plan_id}/")
        emulator.plan(Fault(accept=False, drop=True, times=99, match=plan))
        for _ in range(6):
            assert app.bridge.endpoint.answer(stuck.headers, BODY).status == 503
        assert app.bridge.endpoint.answer(honest.headers, BODY).status == 202
        app.relay.deliver(run_completed("another"))  # raises if the event is deferred


def test_tasks_that_get_no_answer_do_not_keep_the_others_from_being_completed(store: MemoryStore) -> None:
    emulator = Emulator(load_declaration(), pats={secret("pat")})
    with serve(emulator) as ado:
        app = bridge(ado.organization_url, store)
        started = [emulator.start_wait_task(ado.organization_url) for _ in range(12)]
        for task in started:
            assert app.endpoint.answer(task.headers, BODY).status == 202
        stuck, honest = started[::6], [task for task in started if task not in started[::6]]
        for task in stuck:
            plan = Match(path=f"/plans/{task.record.plan_id}/")
            emulator.plan(Fault(accept=False, drop=True, delay_before_seconds=60, times=99, match=plan))

        def tell() -> bool:
            app.waits.run_ended(the_end(), NO_EVENT, utc_now() + timedelta(seconds=2))
            return all(emulator.books.task_hub.task(task.record.id).completions for task in honest)

        wait_until(tell)
        results = [emulator.books.task_hub.task(task.record.id) for task in honest]
        assert {(one.result, one.completions) for one in results} == {("succeeded", 1)}
        assert not any(emulator.books.task_hub.task(task.record.id).completions for task in stuck)
        states = [record.state for record in store.select(Selection(route_prefix=WAIT_PREFIX), 99)]
        assert states.count(State.COMPLETED) == 10
