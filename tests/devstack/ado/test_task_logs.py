"""The logs, timelines and console lines of the emulator's Task API."""

from __future__ import annotations

import pytest

from tests.contracts import validate
from tests.support.services.tasks import OTHER_GUID, TaskClient


@pytest.fixture
def task() -> TaskClient:
    return TaskClient()


def test_a_log_is_created_filled_and_shown(task: TaskClient) -> None:
    request = {"path": f"logs\\{task.record.id}"}
    validate("ado_task_log_request", request)
    log = task.good("ado_task_log", "POST", f"{task.plan_path()}/logs", request)
    assert (log["id"], log["path"], log["lineCount"]) == (1, request["path"], 0)
    binary = {**task.bearer, "Content-Type": "application/octet-stream"}
    for content in (b"one\ntw", b"o\nthree \xc3", b"\x9c\n"):
        log = task.good("ado_task_log", "POST", f"{task.plan_path()}/logs/1", data=content, headers=binary)
    assert log["lineCount"] == 3
    assert not task.record.log_lines

    change = {"value": [{"id": task.record.id, "log": {"id": 1}, "state": None}], "count": 1}
    answer = task.good("ado_timeline_record_list", "PATCH", task.records_path, change)

    assert [record["log"]["id"] for record in answer["value"]] == [1]
    assert task.record.log_lines == ("one", "two", "three Ü")


def test_log_content_must_be_bytes_and_the_log_must_exist(task: TaskClient) -> None:
    path = f"{task.plan_path()}/logs/1"
    key = "VssRequestContentTypeNotSupportedException"
    assert "application/octet-stream" in task.refused(415, key, "POST", path, data=b"x")
    binary = {**task.bearer, "Content-Type": "application/octet-stream"}
    task.refused(404, "ResourceNotFoundException", "POST", path, data=b"x", headers=binary)


def test_changing_and_adding_records_does_not_end_the_task(task: TaskClient) -> None:
    change = [
        {"id": task.record.id, "currentOperation": "waits", "percentComplete": 50, "log": {"id": 0, "location": None}},
        {"id": OTHER_GUID.upper(), "parentId": task.record.job_id, "name": "More", "state": "completed"},
    ]
    body = {"value": [*change, {"id": task.record.id, "result": "failed", "name": None}]}
    answer = task.good("ado_timeline_record_list", "PATCH", task.records_path, body)

    own, added = answer["value"]
    assert (own["currentOperation"], own["percentComplete"], own["result"]) == ("waits", 50, "failed")
    assert (own["name"], own["log"]) == ("AzureFunction", None)
    assert (added["id"], added["name"], added["state"]) == (OTHER_GUID, "More", "completed")
    assert task.good("ado_timeline_record_list", "GET", task.records_path)["count"] == 3
    assert task.record.state == "waiting"


def test_console_lines(task: TaskClient) -> None:
    path = f"{task.records_path}/{task.record.id}/feed"
    lines = {"value": ["waits for brave_fig", "still waits"], "count": 2}
    validate("ado_feed_request", lines)

    assert task.ask("POST", path, lines).status_code == 204
    assert task.ask("POST", path, {"value": ["done"], "startLine": 3}).status_code == 204
    assert task.ask("POST", path.replace(task.record.id, task.record.job_id), lines).status_code == 204
    assert task.record.feed_lines == ("waits for brave_fig", "still waits", "done")
    task.refused(404, "ResourceNotFoundException", "POST", path.replace(task.record.id, OTHER_GUID), lines)
