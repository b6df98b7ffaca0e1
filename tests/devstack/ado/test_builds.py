"""The Build API: filters, order and pages of builds, cancelling, and tags."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devstack.ado.emulator import Emulator
from tests.support.services.emulator import DECLARATION, PAT, PLAIN_RUN, PROJECT, Ado, Clock

BUILDS = f"{PROJECT}/build/builds"
UNREADABLE = "VssPropertyValidationException"


@pytest.fixture
def ado() -> Ado:
    """Four builds: 501 and 503 of pipeline 1, 502 and 504 of pipeline 4; 503 and then 501 have finished.

    Each look at the clock is a second: the requests take odd ones, so they are queued at :02, :04, :06 and :08.
    """
    ado = Ado(Emulator(DECLARATION, pats={PAT}, clock=Clock()))
    release: dict[str, object] = {"resources": {"repositories": {"self": {"refName": "refs/heads/release/1"}}}}
    ado.run({**PLAIN_RUN, "variables": {"system.debug": {"value": "true"}}})
    ado.run({}, pipeline=4)
    ado.run()
    ado.run(release, pipeline=4)
    ado.emulator.finish_run(503, "succeeded")
    ado.emulator.finish_run(501, "failed")
    ado.emulator.books.cancel(504)
    ado.emulator.books.change_tags(502, ["nightly", "Train"])
    return ado


def _ids(ado: Ado, **query: str) -> list[int]:
    listed = ado.good("ado_build_list", "GET", BUILDS, query=query)
    assert listed["count"] == len(listed["value"])
    return [build["id"] for build in listed["value"]]


@pytest.mark.parametrize(
    ("order", "ids"),
    [
        ("queueTimeAscending", [501, 502, 503, 504]),
        ("queueTimeDescending", [504, 503, 502, 501]),
        ("startTimeDescending", [504, 503, 502, 501]),
        ("finishTimeAscending", [503, 501, 502, 504]),
        ("FINISHTIMEDESCENDING", [504, 502, 501, 503]),
    ],
)
def test_order(ado: Ado, order: str, ids: list[int]) -> None:
    assert _ids(ado, queryOrder=order) == ids


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({}, [501, 502, 503, 504]),
        ({"definitions": "1"}, [501, 503]),
        ({"definitions": "1, 4"}, [501, 502, 503, 504]),
        ({"definitions": "99"}, []),
        ({"buildIds": "502,504,999"}, [502, 504]),
        ({"branchName": "refs/heads/release/1"}, [504]),
        ({"branchName": "release/1"}, []),
        ({"statusFilter": "inProgress"}, [502]),
        ({"statusFilter": "inProgress,cancelling"}, [502, 504]),
        ({"statusFilter": "completed"}, [501, 503]),
        ({"statusFilter": "notStarted"}, []),
        ({"statusFilter": "all"}, [501, 502, 503, 504]),
        ({"statusFilter": "none"}, [501, 502, 503, 504]),
        ({"resultFilter": "failed"}, [501]),
        ({"resultFilter": "succeeded,partiallySucceeded"}, [503]),
        ({"reasonFilter": "manual"}, [501, 502, 503, 504]),
        ({"reasonFilter": "schedule"}, []),
        ({"tagFilters": "train,NIGHTLY"}, [502]),
        ({"tagFilters": "train,other"}, []),
        ({"buildNumber": "20260812.2"}, [503, 504]),
        ({"buildNumber": "20260812.*"}, [501, 502, 503, 504]),
        ({"buildNumber": "20260813.*"}, []),
        ({"maxBuildsPerDefinition": "1"}, [501, 502]),
        ({"definitions": "1", "resultFilter": "succeeded", "branchName": "refs/heads/main"}, [503]),
    ],
)
def test_filters(ado: Ado, query: dict[str, str], ids: list[int]) -> None:
    assert _ids(ado, queryOrder="queueTimeAscending", **query) == ids


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({"minTime": "2026-08-12T08:00:04.685642Z", "queryOrder": "queueTimeAscending"}, [502, 503, 504]),
        ({"minTime": "2026-08-12T08:00:04.6856430Z", "queryOrder": "queueTimeAscending"}, [503, 504]),
        ({"maxTime": "2026-08-12T08:00:04.685642Z", "queryOrder": "queueTimeAscending"}, [501, 502]),
        ({"minTime": "2026-08-12T10:00:05+02:00", "queryOrder": "startTimeAscending"}, [503, 504]),
        ({"minTime": "2026-08-12T08:00:05", "maxTime": "2026-08-12", "queryOrder": "startTimeAscending"}, []),
        ({"minTime": "2026-08-12T08:00:10Z"}, [501]),
        ({"minTime": "2026-08-12T08:00:00Z"}, [501, 503]),
        ({"maxTime": "2026-08-12T08:00:10Z"}, [503]),
    ],
    ids=str,
)
def test_times_are_those_that_the_order_names(ado: Ado, query: dict[str, str], ids: list[int]) -> None:
    """Without queryOrder that is the finish time: 503 finished at :09, 501 at :10, and the others not at all."""
    assert _ids(ado, **query) == ids


@pytest.mark.parametrize("order", ["queueTimeDescending", "queueTimeAscending", "finishTimeDescending"])
def test_pages_hold_every_build_once_though_others_are_queued_meanwhile(ado: Ado, order: str) -> None:
    expected = _ids(ado, queryOrder=order)
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

    assert [len(page) for page in pages] == [3, 1]
    assert [build_id for page in pages for build_id in page] == expected


def test_a_build_is_the_run_seen_from_elsewhere(ado: Ado) -> None:
    build = ado.good("ado_build", "GET", f"{BUILDS}/501")

    assert (build["id"], build["buildNumber"], build["status"], build["result"]) == (
        501,
        "20260812.1",
        "completed",
        "failed",
    )
    assert build["queueTime"] == build["startTime"] == "2026-08-12T08:00:02.6856420Z"
    assert build["finishTime"] == "2026-08-12T08:00:10.6856420Z"
    assert build["sourceBranch"] == "refs/heads/main"
    assert build["templateParameters"]["runId"] == "brave_fig"
    assert json.loads(build["parameters"]) == {"system.debug": "true"}
    assert (build["definition"]["id"], build["definition"]["name"]) == (1, "everything")
    assert build["reason"] == "manual"


def test_a_build_without_variables_has_no_parameters(ado: Ado) -> None:
    build = ado.good("ado_build", "GET", f"{BUILDS}/502")

    assert (build["tags"], build["status"], "parameters" in build) == (["nightly", "Train"], "inProgress", False)
    assert ado.good("ado_build", "GET", build["url"].removeprefix("http://localhost")) == build


def test_a_build_is_cancelled_and_ends_later(ado: Ado) -> None:
    build = ado.good("ado_build", "PATCH", f"{BUILDS}/502", {"status": "cancelling"})
    assert build["status"] == "cancelling"
    assert ado.good("ado_run", "GET", f"{PROJECT}/pipelines/4/runs/502")["state"] == "canceling"

    ado.emulator.finish_run(502, "canceled")
    build = ado.good("ado_build", "GET", f"{BUILDS}/502")

    assert (build["status"], build["result"]) == ("completed", "canceled")


def _tags(ado: Ado, method: str, path: str = "", body: object = None) -> Any:
    return ado.good("ado_tags", method, f"{BUILDS}/501/tags{path}", body)["value"]


def test_tags(ado: Ado) -> None:
    assert _tags(ado, "GET") == []
    assert _tags(ado, "POST", body=["b", "a"]) == ["a", "b"]
    assert _tags(ado, "PUT", "/Drift") == ["a", "b", "Drift"]
    assert _tags(ado, "PUT", "/drift") == ["a", "b", "Drift"]
    assert _tags(ado, "PUT", "/key/with slash") == ["a", "b", "Drift", "key/with slash"]
    assert _tags(ado, "PATCH", body={"tagsToAdd": ["c"], "tagsToRemove": ["A", "drift"]}) == [
        "b",
        "c",
        "key/with slash",
    ]
    assert _tags(ado, "PATCH", body={}) == ["b", "c", "key/with slash"]
    assert _tags(ado, "DELETE", "/B") == ["c", "key/with slash"]
    assert _tags(ado, "DELETE", "/nope") == ["c", "key/with slash"]
    assert _tags(ado, "GET") == ["c", "key/with slash"]
    assert ado.good("ado_run", "GET", f"{PROJECT}/pipelines/1/runs/501")["tags"] == ["c", "key/with slash"]
