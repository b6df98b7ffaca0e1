"""The switches of the emulator: idempotency, forms of parameters, lists that lag, the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from devstack.ado import Behavior, Emulator, Fault, serve
from tests.support.services.emulator import DECLARATION, PAT, PLAIN_RUN, PROJECT, RUNS, Ado, Clock, basic

BUILDS = f"{PROJECT}/build/builds"
GUID = "5f1a5b0e-58a5-4a4e-9d0f-1a2b3c4d5e6f"
HONORED = Behavior(idempotency="honored")


def _ado(behavior: Behavior | None = None, clock: Clock | None = None) -> Ado:
    return Ado(Emulator(DECLARATION, pats={PAT}, clock=clock or Clock(), behavior=behavior))


def _build(ado: Ado, number: int = 501) -> Any:
    return ado.good("ado_build", "GET", f"{BUILDS}/{number}")


class TestIdempotency:
    @pytest.mark.parametrize("sent", [GUID, GUID.upper(), GUID.replace("-", ""), f"{{{GUID}}}"])
    def test_honored_means_one_run_for_a_guid(self, sent: str) -> None:
        ado = _ado(HONORED)
        ado.good("ado_run", "POST", RUNS, PLAIN_RUN, headers={"X-VSS-E2EID": sent})
        path, again = f"{PROJECT}/pipelines/4/runs", {"X-VSS-E2EID": GUID}

        message = ado.refused(400, "RunOrchestrationExistsException", "POST", path, {}, headers=again)

        assert message == f"A run with the orchestration ID {GUID} already exists."
        assert len(ado.emulator.books.runs) == 1
        assert _build(ado)["orchestrationPlan"] == {"planId": GUID}
        assert _build(ado)["plans"] == [{"planId": GUID}]

    @pytest.mark.parametrize(
        ("behavior", "headers"),
        [(Behavior(), {"X-VSS-E2EID": GUID}), (HONORED, {"X-VSS-E2EID": "run-7"}), (HONORED, {})],
    )
    def test_otherwise_each_request_queues_a_run(self, behavior: Behavior, headers: dict[str, str]) -> None:
        ado = _ado(behavior)
        for _ in range(2):
            ado.good("ado_run", "POST", RUNS, PLAIN_RUN, headers=headers)

        assert len({run.plan_id for run in ado.emulator.books.runs} - {GUID}) == 2

    def test_a_preview_and_a_refused_request_do_not_use_the_guid(self) -> None:
        ado, headers = _ado(HONORED), {"X-VSS-E2EID": GUID}
        ado.good("ado_preview", "POST", f"{PROJECT}/pipelines/1/preview", PLAIN_RUN, headers=headers)
        ado.refused(400, "PipelineValidationException", "POST", RUNS, {}, headers=headers)

        ado.good("ado_run", "POST", RUNS, PLAIN_RUN, headers=headers)

        assert [request.headers["X-VSS-E2EID"] for request in ado.emulator.books.requests] == [GUID] * 3


@pytest.mark.parametrize(
    ("sent", "listed"),
    [
        ("2026-11-20T10:00:00Z", "11/20/2026 10:00:00"),
        ("2026-11-20T10:00:00.123", "11/20/2026 10:00:00"),
        ("2026-11-20T10:00:00+02:00", "11/20/2026 08:00:00"),
        ("2026-11-20", "2026-11-20"),
        ("2026-13-20T10:00:00Z", "2026-13-20T10:00:00Z"),
        ("true", "True"),
        ('{"a":1,"b":[2]}', '{\n  "a": 1,\n  "b": [\n    2\n  ]\n}'),
        ("[half", "[half"),
        ("1.10", "1.10"),
        ("007", "007"),
    ],
)
def test_parameters_are_listed_as_net_formats_them(sent: str, listed: str) -> None:
    ado = _ado(Behavior(parameters="reformatted"))
    run = ado.run({"templateParameters": {"runId": sent}})

    assert _build(ado)["templateParameters"]["runId"] == listed
    assert run["templateParameters"]["runId"] == ado.emulator.books.runs[0].template_parameters["runId"] == sent


def test_a_fault_changes_the_behavior_for_its_requests_only() -> None:
    ado = _ado()
    ado.emulator.plan(Fault(accept=True, status=500, behavior={"parameters": "null"}))
    assert ado.ask("POST", RUNS, PLAIN_RUN).status_code == 500
    ado.run()

    assert [_build(ado, number)["templateParameters"] is None for number in (501, 502)] == [True, False]


def test_a_lagging_list_contains_a_run_later() -> None:
    clock = Clock()
    ado = _ado(Behavior(list_lag_seconds=40), clock)
    ado.run()

    def listed() -> int:
        return int(ado.good("ado_build_list", "GET", BUILDS)["count"])

    assert (listed(), _build(ado)["id"]) == (0, 501)
    clock.now += timedelta(seconds=40)
    assert listed() == 1


@pytest.mark.parametrize("offset", [-600, 600])
def test_the_clock_may_be_ahead_or_behind(offset: int) -> None:
    with serve(Emulator(DECLARATION, pats={PAT}, behavior=Behavior(clock_offset_seconds=offset))) as served:
        ado = Ado(served.emulator)
        ado.run()
        answer = requests.get(f"{served.url}{BUILDS}", headers=basic(PAT), timeout=10)

    for moment in (parsedate_to_datetime(answer.headers["Date"]), served.emulator.books.runs[0].created):
        assert abs(moment - datetime.now(UTC) - timedelta(seconds=offset)) < timedelta(seconds=120)


def test_the_behavior_is_changed_over_http() -> None:
    ado = Ado()
    assert ado.ask("POST", "/_emulator/behavior", {"idempotency": "honored"}).status_code == 200

    answer: Any = ado.ask("POST", "/_emulator/behavior", {"clock_offset_seconds": -32.5})

    assert ado.emulator.behavior == Behavior(idempotency="honored", clock_offset_seconds=-32.5)
    assert answer.json == ado.ask("GET", "/_emulator/behavior").json
    assert answer.json["parameters"] == "sent"
