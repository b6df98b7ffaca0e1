"""Planned faults over real connections: what is carried out, and what the client receives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests

from devstack.ado.emulator import Emulator
from devstack.ado.faults import Fault, FaultPlan, Match, parse_faults
from devstack.ado.server import Served, serve
from tests.support.polling import wait_until
from tests.support.services.emulator import DECLARATION, PAT, PLAIN_RUN, PROJECT, RUNS, Ado, basic

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADERS = {**basic(PAT), "X-TFS-FedAuthRedirect": "Suppress"}


@pytest.fixture
def served() -> Iterator[Served]:
    with serve(Emulator(DECLARATION, pats={PAT})) as served:
        yield served


def _run(served: Served, timeout: float = 10) -> requests.Response:
    return requests.post(
        f"{served.url}{RUNS}", params={"api-version": "7.1"}, json=PLAIN_RUN, headers=HEADERS, timeout=timeout
    )


def _statuses(emulator: Emulator) -> list[int | str | None]:
    return [request.status for request in emulator.books.requests]


@pytest.mark.parametrize(
    ("fault", "runs", "status", "headers", "body"),
    [
        (Fault(accept=True, status=500), 1, 500, {"Content-Length": "0"}, ""),
        (Fault(accept=False, status=503, headers={"Retry-After": "7"}), 0, 503, {"Retry-After": "7"}, ""),
        (
            Fault(accept=False, status=429, headers={"Retry-After": "3"}, body={"message": "TF400733"}),
            0,
            429,
            {"Retry-After": "3", "Content-Type": "application/json; charset=utf-8"},
            '{"message": "TF400733"}',
        ),
        (
            Fault(accept=False, body="<html>sign in</html>"),
            0,
            200,
            {"Content-Type": "text/html; charset=utf-8"},
            "<html>sign in</html>",
        ),
        (Fault(accept=True, body="{not json"), 1, 200, {"Content-Type": "text/plain; charset=utf-8"}, "{not json"),
    ],
)
def test_a_planned_answer_replaces_the_real_one(
    served: Served, fault: Fault, runs: int, status: int, headers: dict[str, str], body: str
) -> None:
    served.emulator.plan(fault)

    answer = _run(served)

    assert (answer.status_code, answer.text) == (status, body)
    assert headers.items() <= dict(answer.headers).items()
    assert len(served.emulator.books.runs) == runs
    assert _statuses(served.emulator) == [status]
    assert _run(served).json()["state"] == "inProgress"


@pytest.mark.parametrize("accept", [True, False])
def test_a_dropped_connection(served: Served, accept: bool) -> None:
    served.emulator.plan(Fault(accept=accept, drop=True))

    with pytest.raises(requests.ConnectionError, match="reset"):
        _run(served)

    assert len(served.emulator.books.runs) == int(accept)
    assert _statuses(served.emulator) == ["dropped"]
    assert _run(served).status_code == 200


def test_a_real_answer_with_added_headers(served: Served) -> None:
    served.emulator.plan(Fault(accept=True, headers={"Retry-After": "5", "X-RateLimit-Delay": "2.5"}))

    answer = _run(served)

    assert answer.json()["id"] == served.emulator.books.runs[0].id
    assert (answer.headers["Retry-After"], answer.headers["X-RateLimit-Delay"]) == ("5", "2.5")


def test_a_slow_answer_is_sent_after_the_run_is_queued(served: Served) -> None:
    served.emulator.plan(Fault(accept=True, delay_after_seconds=30))

    with pytest.raises(requests.ReadTimeout):
        _run(served, timeout=0.1)

    wait_until(lambda: len(served.emulator.books.runs) == 1)
    assert _statuses(served.emulator) == [None]


def test_a_delayed_request_is_carried_out_after_the_client_has_given_up(served: Served) -> None:
    served.emulator.plan(Fault(accept=True, delay_before_seconds=0.8))

    with pytest.raises(requests.ReadTimeout):
        _run(served, timeout=0.1)
    assert served.emulator.books.runs == ()

    wait_until(lambda: _statuses(served.emulator) == [200])
    assert len(served.emulator.books.runs) == 1


def test_a_delay_does_not_block_other_requests_and_ends_with_the_server() -> None:
    emulator = Emulator(DECLARATION, pats={PAT})
    emulator.plan(Fault(accept=True, delay_before_seconds=300))
    with ThreadPoolExecutor(1) as pool:
        with serve(emulator) as served:
            slow = pool.submit(_run, served, timeout=30)
            wait_until(lambda: len(emulator.books.requests) == 1)
            assert _run(served).json()["id"] == 501
            assert not slow.done()
        assert isinstance(slow.exception(), requests.ConnectionError)

    assert len(emulator.books.runs) == 1
    assert _statuses(emulator) == ["dropped", 200]


def test_faults_apply_in_order_and_as_many_times_as_planned() -> None:
    ado = Ado()
    ado.emulator.plan(Fault(accept=False, status=500, times=2), Fault(accept=False, status=503))

    assert [ado.ask("POST", RUNS, PLAIN_RUN).status_code for _ in range(4)] == [500, 500, 503, 200]
    assert ado.emulator.faults.pending == ()


@pytest.mark.parametrize(
    ("match", "method", "path", "covered"),
    [
        (Match(), "POST", RUNS, True),
        (Match(), "POST", f"{RUNS}/", True),
        (Match(), "POST", RUNS.upper(), True),
        (Match(), "GET", RUNS, False),
        (Match(), "POST", f"{PROJECT}/pipelines/1/preview", False),
        (Match(method="GET"), "GET", f"{RUNS}/501", False),
        (Match(method="GET", path="/runs/501$"), "GET", f"{RUNS}/501", True),
        (Match(method="*", path="build"), "PATCH", f"{PROJECT}/build/builds/501", True),
    ],
)
def test_which_requests_a_fault_covers(match: Match, method: str, path: str, covered: bool) -> None:
    plan = FaultPlan()
    fault = Fault(accept=True, match=match)
    plan.add(fault)

    assert plan.take(method, path) is (fault if covered else None)
    assert len(plan.pending) == int(not covered)


def test_faults_over_http() -> None:
    ado = Ado()
    planned = [
        {
            "accept": True,
            "match": {"method": "GET", "path": "."},
            "times": 2,
            "delay_before_seconds": 0,
            "delay_after_seconds": 0.0,
            "status": 502,
            "headers": {"Retry-After": "1"},
            "body": {"message": "bad gateway"},
            "drop": False,
            "behavior": {"list_lag_seconds": 2},
        },
        {"accept": False, "drop": True},
    ]

    answer = ado.ask("POST", "/_emulator/faults", planned)
    assert (answer.status_code, answer.json) == (201, {"planned": 2})
    assert ado.ask("GET", f"{PROJECT}/build/builds").status_code == 502
    listed: Any = ado.ask("GET", "/_emulator/faults").json
    assert [(fault["times"], fault["drop"]) for fault in listed["faults"]] == [(1, False), (1, True)]
    assert listed["faults"][1]["match"] == {"method": "POST", "path": Match().path}
    assert parse_faults(listed["faults"])[0].body == {"message": "bad gateway"}
    assert ado.ask("GET", "/_emulator/books").status_code == 200  # faults do not affect control addresses
    assert ado.ask("DELETE", "/_emulator/faults").json == {"removed": 2}
    assert ado.ask("GET", f"{PROJECT}/build/builds").status_code == 200
