"""The Build API: filters, order and pages of builds, cancellation, and tags."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from devstack.ado.access import AZURE_DEVOPS
from devstack.ado.emulator import Emulator
from devstack.ado.times import timestamp
from tests.support.services.emulator import DECLARATION, PAT, PLAIN_RUN, PROJECT, RUNS, TOKEN, Ado, Clock, basic

BUILDS = f"{PROJECT}/build/builds"
CONNECTION = "/contoso/_apis/connectionData"


@pytest.fixture
def ado() -> Ado:
    """Four builds: 501 and 503 of pipeline 1, 502 and 504 of pipeline 4. 503 has finished, and after it 501.

    Each reading of the clock advances it by a second. Recording the requests reads it at odd seconds, so the builds
    are queued at :02, :04, :06 and :08.
    """
    ado = Ado(Emulator(DECLARATION, pats={PAT}, clock=Clock()))
    release: dict[str, object] = {"resources": {"repositories": {"self": {"refName": "refs/heads/release/1"}}}}
    ado.run({**PLAIN_RUN, "variables": {"system.debug": {"value": "true"}}})
    ado.run({}, pipeline=4)
    ado.run()
    ado.run(release, pipeline=4)
    ado.emulator.finish_run(503, "succeeded")
    ado.emulator.finish_run(501, "failed")
    return ado


@pytest.mark.parametrize(
    ("order", "query", "ids"),
    [
        ("queueTimeAscending", {}, [501, 502, 503, 504]),
        ("queueTimeDescending", {}, [504, 503, 502, 501]),
        ("FINISHTIMEDESCENDING", {}, [504, 502, 501, 503]),
        ("queueTimeAscending", {"definitions": "1"}, [501, 503]),
        ("queueTimeAscending", {"definitions": "1, 4"}, [501, 502, 503, 504]),
        ("queueTimeAscending", {"definitions": "99"}, []),
        ("queueTimeAscending", {"branchName": "refs/heads/release/1"}, [504]),
        ("queueTimeAscending", {"branchName": "release/1"}, []),
        ("queueTimeAscending", {"minTime": "2026-08-12T08:00:04.685642Z"}, [502, 503, 504]),
        ("queueTimeAscending", {"minTime": "2026-08-12T08:00:04.6856430Z"}, [503, 504]),
        ("queueTimeAscending", {"maxTime": "2026-08-12T08:00:04.685642Z"}, [501, 502]),
        # Runs start five seconds after they are queued, or when they end. 504 has not started.
        ("startTimeAscending", {"minTime": "2026-08-12T10:00:08+02:00"}, [502, 503]),
        ("startTimeAscending", {"minTime": "2026-08-12T08:00:05", "maxTime": "2026-08-12"}, []),
        # Without an order, the limits apply to finish times. 503 finished at :09 and 501 at :10, the others did not.
        ("", {"minTime": "2026-08-12T08:00:10Z"}, [501]),
        ("", {"minTime": "2026-08-12T08:00:00Z"}, [501, 503]),
        ("", {"maxTime": "2026-08-12T08:00:10Z"}, [503]),
    ],
    ids=str,
)
def test_lists(ado: Ado, order: str, query: dict[str, str], ids: list[int]) -> None:
    listed = ado.good("ado_build_list", "GET", BUILDS, query={**query, **({"queryOrder": order} if order else {})})
    assert (listed["count"], [build["id"] for build in listed["value"]]) == (len(ids), ids)


@pytest.mark.parametrize("order", ["queueTimeDescending", "queueTimeAscending"])
def test_pages_contain_every_build_once_even_if_others_are_queued_meanwhile(ado: Ado, order: str) -> None:
    pages: list[list[int]] = []
    query = {"$top": "3", "queryOrder": order}
    while True:
        answer = ado.ask("GET", BUILDS, query=query)
        assert answer.json is not None
        pages.append([build["id"] for build in answer.json["value"]])
        if "x-ms-continuationtoken" not in answer.headers:
            break
        query["continuationToken"] = answer.headers["x-ms-continuationtoken"]
        if order == "queueTimeDescending":
            ado.run()

    assert pages == ([[504, 503, 502], [501]] if order == "queueTimeDescending" else [[501, 502, 503], [504]])


def test_a_build_shows_the_same_values_as_its_run(ado: Ado) -> None:
    build = ado.good("ado_build", "GET", f"{BUILDS}/501")

    shown = ("buildNumber", "status", "result", "queueTime", "finishTime", "sourceBranch", "reason")
    assert [build[key] for key in shown] == [
        *("20260812.1", "completed", "failed", "2026-08-12T08:00:02.6856420Z", "2026-08-12T08:00:10.6856420Z"),
        *("refs/heads/main", "manual"),
    ]
    run = ado.emulator.books.runs[0]
    assert build["orchestrationPlan"] == {"planId": run.plan_id}
    assert build["plans"] == [{"planId": run.plan_id}]
    assert build["templateParameters"]["runId"] == "brave_fig"
    assert json.loads(build["parameters"]) == {"system.debug": "true"}
    assert (build["definition"]["id"], build["definition"]["name"]) == (1, "everything")
    assert "parameters" not in ado.good("ado_build", "GET", f"{BUILDS}/502")  # it has no variables


def test_a_build_starts_some_seconds_after_it_was_queued() -> None:
    """A run in the Pipelines API is in progress from the beginning."""
    clock = Clock()
    ado = Ado(Emulator(DECLARATION, pats={PAT}, clock=clock))

    assert ado.run()["state"] == "inProgress"
    waiting = ado.good("ado_build", "GET", f"{BUILDS}/501")
    clock.now += timedelta(seconds=5)
    started = ado.good("ado_build", "GET", f"{BUILDS}/501")

    assert (waiting["status"], waiting["queueTime"]) == ("notStarted", "2026-08-12T08:00:02.6856420Z")
    assert (started["status"], started["startTime"]) == ("inProgress", "2026-08-12T08:00:07.6856420Z")


def test_a_build_shows_the_revision_that_was_requested(ado: Ado) -> None:
    run = ado.good("ado_run", "POST", RUNS, PLAIN_RUN, query={"pipelineVersion": "2"})

    assert ado.good("ado_build", "GET", f"{BUILDS}/{run['id']}")["definition"]["revision"] == 2
    assert run["pipeline"]["revision"] == 2
    assert ado.good("ado_build", "GET", f"{BUILDS}/501")["definition"]["revision"] == 3


def test_a_build_is_requested_by_the_identity_of_the_credential() -> None:
    ado = Ado(Emulator(DECLARATION, pats={PAT, "canary-pat-2"}, tokens={TOKEN}))
    managed = ado.emulator.credentials.issue(AZURE_DEVOPS)
    credentials = [basic(PAT), basic("canary-pat-2"), *({"Authorization": f"Bearer {x}"} for x in (TOKEN, managed))]
    users = []
    for headers in credentials:
        who = ado.good("ado_connection_data", "GET", CONNECTION, headers=headers, query={"api-version": "7.1-preview"})
        run = ado.good("ado_run", "POST", RUNS, PLAIN_RUN, headers=headers)
        build = ado.good("ado_build", "GET", f"{BUILDS}/{run['id']}")
        assert build["requestedBy"]["id"] == build["requestedFor"]["id"] == who["authenticatedUser"]["id"]
        users.append(build["requestedBy"]["id"])

    assert len(set(users)) == 4
    ado.emulator.credentials.issued.clear()
    renewed = {"Authorization": f"Bearer {ado.emulator.credentials.issue(AZURE_DEVOPS)}"}
    who = ado.good("ado_connection_data", "GET", CONNECTION, headers=renewed, query={"api-version": None})
    assert who["authenticatedUser"]["id"] == users[-1]


def test_runs_of_others_have_other_requesters_and_reasons(ado: Ado) -> None:
    order = {"pipeline": 1, "reason": "schedule", "requester": "Ada Byron", **PLAIN_RUN}
    answer: Any = ado.ask("POST", "/_emulator/runs", order)
    ado.emulator.queue_run(4, requester="Ada Byron", build={"parameters": "{ 'x': '1' }"})
    ado.emulator.queue_run(4)

    builds: list[Any] = [ado.ask("GET", f"{BUILDS}/{number}").json for number in (501, 505, 506, 507)]
    own, scheduled, manual, unnamed = builds

    assert (answer.status_code, answer.json["id"], answer.json["reason"]) == (201, 505, "schedule")
    assert [build["reason"] for build in (scheduled, manual)] == ["schedule", "manual"]
    assert scheduled["requestedBy"] == manual["requestedFor"]
    assert scheduled["requestedBy"]["displayName"] == "Ada Byron"
    assert len({build["requestedBy"]["id"] for build in (own, scheduled, unnamed)}) == 3
    assert manual["parameters"] == "{ 'x': '1' }"


def test_a_build_is_canceled_and_ends_a_moment_later(ado: Ado) -> None:
    """Canceling it again changes nothing, and is refused as soon as it has ended."""
    for _ in range(2):
        assert ado.good("ado_build", "PATCH", f"{BUILDS}/502", {"status": "cancelling"})["status"] == "cancelling"
    assert ado.good("ado_run", "GET", f"{PROJECT}/pipelines/4/runs/502")["state"] == "canceling"
    ends = ado.emulator.books.runs[1].cancels
    assert ends is not None
    while ado.emulator.books.clock() < ends:  # each call advances it
        pass

    build = ado.good("ado_build", "GET", f"{BUILDS}/502")

    assert (build["status"], build["result"], build["finishTime"]) == ("completed", "canceled", timestamp(ends))
    (recorded,) = [run for run in ado.emulator.books.runs if run.result == "canceled"]
    assert (recorded.id, ado.emulator.finish_run(502, "failed")) == (502, recorded)
    builds: Any = ado.good("ado_build_list", "GET", BUILDS)
    (listed,) = [one for one in builds["value"] if one["id"] == 502]
    assert listed["result"] == "canceled"
    assert ado.ask("PATCH", f"{BUILDS}/502", {"status": "cancelling"}).status_code == 400


@pytest.mark.parametrize(
    ("pipeline", "skipped", "expected"),
    [
        (1, ["deploy"], [("build", "pending", None), ("deploy", "completed", "skipped")]),
        (4, ["any", "other"], [("any", "completed", "skipped"), ("other", "completed", "skipped")]),
        (4, [], [("__default", "pending", None)]),
    ],
)
def test_a_timeline_shows_which_stages_are_skipped(
    ado: Ado, pipeline: int, skipped: list[str], expected: list[tuple[str, str, str | None]]
) -> None:
    run = ado.run({**(PLAIN_RUN if pipeline == 1 else {}), "stagesToSkip": skipped}, pipeline)

    def stages() -> list[tuple[str, str, str | None]]:
        timeline = ado.good("ado_build_timeline", "GET", f"{BUILDS}/{run['id']}/timeline")
        assert all(record["type"] == "Stage" for record in timeline["records"])
        return [(record["identifier"], record["state"], record["result"]) for record in timeline["records"]]

    assert stages() == expected
    ado.emulator.finish_run(run["id"], "failed")
    assert stages() == [(name, "completed", result or "failed") for name, _, result in expected]


def test_tags_are_added_once_and_are_not_case_sensitive(ado: Ado) -> None:
    path = f"{BUILDS}/501/tags"
    assert ado.good("ado_tags", "GET", path)["value"] == []
    assert ado.good("ado_tags", "POST", path, ["b", "a"])["value"] == ["a", "b"]
    assert ado.good("ado_tags", "POST", path, ["Drift", "B"])["value"] == ["a", "b", "Drift"]
    assert ado.good("ado_tags", "GET", path)["value"] == ["a", "b", "Drift"]
    assert ado.good("ado_run", "GET", f"{PROJECT}/pipelines/1/runs/501")["tags"] == ["a", "b", "Drift"]
