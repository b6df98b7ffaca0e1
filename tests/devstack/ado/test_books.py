"""The books over HTTP and in process, the end of runs, and concurrent writers."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from devstack.ado.books import FIRST_RUN_ID
from devstack.ado.emulator import Emulator
from devstack.ado.masking import without_secrets
from tests.support.services.emulator import DECLARATION, PAT, PLAIN_RUN, PROJECT, RUNS, Ado, Clock, basic

BUILDS = f"{PROJECT}/build/builds"


@pytest.fixture
def ado() -> Ado:
    return Ado(Emulator(DECLARATION, pats={PAT}, clock=Clock()))


def _books(ado: Ado) -> Any:
    answer = ado.ask("GET", "/_emulator/books")
    assert answer.status_code == 200
    return answer.json


def test_the_books_over_http(ado: Ado) -> None:
    secret = {"apiKey": {"value": "canary-api-key", "isSecret": True}, "system.debug": {"value": "true"}}
    ado.run({**PLAIN_RUN, "variables": secret, "stagesToSkip": ["deploy"]})
    ado.emulator.books.add_tags(501, ["nightly"])

    books = _books(ado)

    assert books["runs"] == [
        {
            "id": 501,
            "pipelineId": 1,
            "pipelineName": "everything",
            "name": "20260812.1",
            "planId": ado.emulator.books.runs[0].plan_id,
            "requester": {"id": str(uuid.uuid5(uuid.NAMESPACE_OID, PAT)), "name": "devstack"},
            "reason": "manual",
            "branch": "refs/heads/main",
            "templateParameters": {
                "runId": "brave_fig",
                "environment": "test",
                "replicas": "1",
                "force": "False",
                "consent": "true",
                "options": "{}",
                "regions": '["west"]',
            },
            "variables": {"apiKey": {"isSecret": True}, "system.debug": {"value": "true"}},
            "stagesToSkip": ["deploy"],
            "createdDate": "2026-08-12T08:00:02.6856420Z",
            "finishedDate": None,
            "state": "inProgress",
            "result": None,
            "tags": ["nightly"],
        }
    ]
    assert books["requests"] == [
        {
            "method": "POST",
            "path": RUNS,
            "query": "api-version=7.1",
            "status": 200,
            "time": "2026-08-12T08:00:01.6856420Z",
            "credential": "Basic",
            "headers": {"Content-Type": "application/json", "X-TFS-FedAuthRedirect": "Suppress"},
            "body": {
                **PLAIN_RUN,
                "variables": {"apiKey": {"value": "***", "isSecret": True}, "system.debug": {"value": "true"}},
                "stagesToSkip": ["deploy"],
            },
        }
    ]


@pytest.mark.parametrize(
    ("headers", "credential"),
    [
        (basic("canary-bad"), "Basic"),
        ({"Authorization": "Bearer canary-bad"}, "Bearer"),
        ({"Authorization": "canary-bad"}, "other"),
        ({"Authorization": ""}, "none"),
    ],
)
def test_refused_requests_are_recorded(ado: Ado, headers: dict[str, str], credential: str) -> None:
    ado.ask("POST", RUNS, data="not JSON", headers=headers)

    (request,) = ado.emulator.books.requests
    assert (request.method, request.path, request.status, request.body) == ("POST", RUNS, 203, None)
    assert request.credential == credential


@pytest.mark.parametrize("result", ["succeeded", "failed", "canceled"])
def test_a_run_keeps_its_first_result(ado: Ado, result: str) -> None:
    ado.run()

    answer: Any = ado.ask("POST", "/_emulator/runs/501", {"result": result})

    assert (answer.status_code, answer.json) == (200, _books(ado)["runs"][0])
    assert (answer.json["state"], answer.json["result"]) == ("completed", result)
    assert answer.json["finishedDate"] > answer.json["createdDate"]
    assert ado.ask("POST", "/_emulator/runs/501", {"result": result}).json == answer.json
    assert ado.emulator.finish_run(501, "failed").result == result
    with pytest.raises(LookupError, match="there is no run 502"):
        ado.emulator.finish_run(502, "failed")


def test_after_a_restart_only_the_books_know_the_earlier_runs(ado: Ado) -> None:
    earlier = ado.run()
    answer = ado.ask("POST", "/_emulator/restart", {"first_run_id": 501})
    later = ado.run({}, pipeline=4)

    assert answer.json == {"forgotten": 1}
    assert [run["pipelineId"] for run in _books(ado)["runs"]] == [1, 4]
    assert (later["id"], later["name"]) == (earlier["id"], earlier["name"])
    assert ado.good("ado_build_list", "GET", BUILDS)["count"] == 1
    assert ado.good("ado_build", "GET", f"{BUILDS}/501")["definition"]["id"] == 4


def test_concurrent_writers() -> None:
    emulator = Emulator(DECLARATION, pats={PAT})

    def queue_some(_writer: int) -> list[int]:
        ado = Ado(emulator)
        return [ado.run()["id"] for _ in range(25)]

    with ThreadPoolExecutor(8) as pool:
        ids = [run_id for some in pool.map(queue_some, range(8)) for run_id in some]

    runs = emulator.books.runs
    assert sorted(ids) == [run.id for run in runs] == list(range(FIRST_RUN_ID, FIRST_RUN_ID + 200))
    assert len({run.name for run in runs}) == 200
    assert [request.status for request in emulator.books.requests] == [200] * 200


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ([{"token": "x"}, 1], [{"token": "***"}, 1]),
        ({"value": "x"}, {"value": "x"}),
        ({"a": {"isSecret": True, "value": "x"}}, {"a": {"isSecret": True, "value": "***"}}),
    ],
)
def test_secrets_in_bodies_are_masked(body: object, kept: object) -> None:
    assert without_secrets(body) == kept
