"""Long-running operations, planned faults, and the log of requests; also by the control addresses of a process."""

from pathlib import Path
from typing import Any

import pytest
import requests

from devstack.arm import Fault, Match, sample
from devstack.http_server import ConnectionDropped
from devstack.processes import start
from tests.support.services.arm import EVENTS, SYSTEM_TOPIC, Arm, subscription, topic

PUT = Match(method="PUT", path=".")
DENIED = {"error": {"code": "AuthorizationFailed", "message": "The client does not have authorization."}}
ERROR = {"code": "InternalServerError", "message": "The operation failed due to an internal server error."}


class TestOperations:
    def test_a_put_is_followed_by_its_status(self, arm: Arm) -> None:
        arm.switch(polls=3)
        answer = arm.ask("PUT", SYSTEM_TOPIC, topic())
        assert answer.headers["Retry-After"] == "0.01"
        url = answer.headers["Azure-AsyncOperation"]
        assert [arm.good("GET", url)["status"] for _ in range(4)] == ["InProgress"] * 2 + ["Succeeded"] * 2

    def test_its_resource_shows_its_progress(self, arm: Arm) -> None:
        arm.switch(polls=3)
        arm.ask("PUT", SYSTEM_TOPIC, topic())
        states = [arm.good("GET", SYSTEM_TOPIC)["properties"]["provisioningState"] for _ in range(3)]
        assert states == ["Creating", "Creating", "Succeeded"]

    def test_a_delete_is_followed_by_status_or_result(self, arm: Arm) -> None:
        arm.written(SYSTEM_TOPIC, topic())
        arm.switch(polls=3)
        answer = arm.ask("DELETE", SYSTEM_TOPIC)
        assert (answer.status_code, answer.content) == (202, b"")
        assert arm.ask("GET", answer.headers["Location"]).status_code == 202
        assert arm.good("GET", SYSTEM_TOPIC)["properties"]["provisioningState"] == "Deleting"
        assert arm.ask("GET", answer.headers["Location"]).status_code == 204
        assert arm.finish(answer)["status"] == "Succeeded"
        arm.refused(404, "ResourceNotFound", "GET", SYSTEM_TOPIC)
        assert arm.ask("DELETE", SYSTEM_TOPIC).status_code == 204

    def test_nothing_is_changed_while_an_operation_runs(self, arm: Arm) -> None:
        arm.switch(polls=4)
        arm.ask("PUT", SYSTEM_TOPIC, topic())
        arm.refused(409, "Conflict", "PUT", SYSTEM_TOPIC, topic())
        arm.refused(409, "Conflict", "DELETE", SYSTEM_TOPIC)
        assert "Creating" in arm.refused(409, "Conflict", "PUT", EVENTS, subscription())
        assert arm.ask("PUT", SYSTEM_TOPIC, topic()).status_code == 200

    @pytest.mark.parametrize("method", ["PUT", "DELETE"])
    def test_an_operation_fails_at_its_end(self, arm: Arm, method: str) -> None:
        arm.written(SYSTEM_TOPIC, topic())
        arm.emulator.plan(
            Fault(accept=True, match=Match(method=method, path="."), behavior={"polls": 2, "failure": ERROR})
        )
        status = arm.finish(arm.ask(method, SYSTEM_TOPIC, topic()))
        assert (status["status"], status["error"]) == ("Failed", ERROR)
        assert arm.good("GET", SYSTEM_TOPIC)["properties"]["provisioningState"] == "Failed"
        assert arm.finish(arm.ask(method, SYSTEM_TOPIC, topic()))["status"] == "Succeeded"

    def test_an_operation_that_does_not_exist(self, arm: Arm) -> None:
        arm.refused(
            404, "NotFound", "GET", f"/subscriptions/{sample.SUBSCRIPTION}/operationResults/1", version="2025-04-01"
        )


class TestFaults:
    def test_a_refusal_that_heals(self, arm: Arm) -> None:
        arm.emulator.plan(Fault(accept=False, match=PUT, status=403, body=DENIED, times=2))
        arm.refused(403, "AuthorizationFailed", "PUT", SYSTEM_TOPIC, topic())
        arm.good("GET", sample.WORKSPACE)
        arm.refused(403, "AuthorizationFailed", "PUT", SYSTEM_TOPIC, topic())
        assert arm.ask("PUT", SYSTEM_TOPIC, topic()).status_code == 201

    def test_throttling(self, arm: Arm) -> None:
        arm.emulator.plan(Fault(accept=False, match=PUT, status=429, headers={"Retry-After": "7"}))
        answer = arm.ask("PUT", SYSTEM_TOPIC, topic())
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")

    @pytest.mark.parametrize("accept", [True, False])
    def test_a_lost_answer(self, arm: Arm, accept: bool) -> None:
        arm.emulator.plan(Fault(accept=accept, match=PUT, drop=True))
        with pytest.raises(requests.ConnectionError):
            arm.ask("PUT", SYSTEM_TOPIC, topic())
        assert arm.ask("GET", SYSTEM_TOPIC).status_code == (200 if accept else 404)
        assert [one.status for one in arm.emulator.requests] == ["dropped", 200 if accept else 404]


def test_the_answer_to_a_request_that_was_carried_out_can_be_lost_by_a_test(arm: Arm) -> None:
    def lose() -> None:
        raise ConnectionDropped

    arm.emulator.before_answer = lose
    with pytest.raises(requests.ConnectionError):
        arm.ask("PUT", SYSTEM_TOPIC, topic())
    assert [one.status for one in arm.emulator.requests] == ["dropped"]
    assert "nextstage-dev" in {one["name"] for one in arm.emulator.resources}


def test_requests_are_recorded(arm: Arm) -> None:
    arm.good("GET", sample.WORKSPACE)
    arm.ask("PUT", SYSTEM_TOPIC, topic())
    assert [(one.method, one.path, one.status) for one in arm.emulator.requests] == [
        ("GET", sample.WORKSPACE, 200),
        ("PUT", SYSTEM_TOPIC, 201),
    ]
    [change] = arm.emulator.changes
    assert (change.query, change.body) == ("api-version=2025-02-15", topic())


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("behavior", {"pols": 1}, "behavior: unknown switch 'pols'; there are polls, failure,"),
        ("behavior", {"polls": -1}, "behavior: polls must not be -1"),
        ("behavior", {"failure": {"code": "x"}}, "behavior: failure must not be"),
        ("behavior", [], "behavior: must be an object"),
        ("faults", {}, "faults: must be a list of objects"),
        ("faults", [{"accept": 1}], "[0].accept"),
        ("faults", [{"accept": True, "behavior": {"x": 1}}], "behavior: unknown switch 'x'"),
        ("resources", [{"id": "/x"}], "id: must be the ID of a resource of a known type, got '/x'"),
    ],
)
def test_wrong_control_requests(arm: Arm, name: str, body: Any, message: str) -> None:
    answer = requests.post(f"{arm.url}/_emulator/{name}", json=body, timeout=10)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_a_process_is_controlled(tmp_path: Path) -> None:
    with start("devstack.arm", env={"DEVSTACK_TOKEN": "mine"}, cwd=tmp_path, log=tmp_path / "arm.log") as process:
        control = f"{process.url}/_emulator"

        def ask() -> int:
            query, headers = {"api-version": "2025-12-01"}, {"Authorization": "Bearer mine"}
            return requests.get(process.url + sample.WORKSPACE, params=query, headers=headers, timeout=10).status_code

        fault = {"accept": False, "match": {"method": "GET", "path": "."}, "status": 503, "behavior": {"polls": 2}}
        planned = requests.post(f"{control}/faults", json=[fault], timeout=10)
        assert planned.status_code == 201
        assert planned.json()["faults"][0]["behavior"] == {"polls": 2}
        assert [ask(), ask()] == [503, 200]
        assert (
            requests.post(f"{control}/behavior", json={"page_size": 3}, timeout=10).json()["behavior"]["page_size"] == 3
        )
        added = requests.post(f"{control}/resources", json=sample.workspace(sample.workspace_id("w")), timeout=10)
        assert sample.workspace_id("w") in {one["id"] for one in added.json()["resources"]}
        books = requests.get(f"{control}/books", timeout=10).json()
        assert [one["status"] for one in books["requests"]] == [503, 200]
        assert requests.delete(f"{control}/faults", timeout=10).json()["faults"] == []
        assert requests.get(f"{control}/x", timeout=10).status_code == 404
        assert process.stop() == 0
