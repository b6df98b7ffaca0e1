"""The schemas themselves: each one is valid, and they catch what they are there to catch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from tests import contracts

RUN_REQUEST: dict[str, Any] = {
    "templateParameters": {"runId": "brave_fig"},
    "variables": {"system.debug": {"value": "true"}},
    "resources": {"repositories": {"self": {"refName": "refs/heads/main"}}},
    "stagesToSkip": ["deploy"],
}


@pytest.mark.parametrize("name", contracts.names())
def test_every_file_is_a_schema(name: str) -> None:
    validator = contracts._validator(name)

    assert isinstance(validator, Draft202012Validator)
    with pytest.raises(ValidationError):
        contracts.validate(name, 1)


def test_a_run_request_passes() -> None:
    contracts.validate("ado_run_request", RUN_REQUEST)
    contracts.validate("ado_run_request", {})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("parameters", {}),
        ("templateParameters", {"runId": 1}),
        ("templateParameters", None),
        ("variables", {"system.debug": "true"}),
        ("resources", {"repositories": {"self": {"refName": "main"}}}),
        ("resources", {"repository": {}}),
        ("stagesToSkip", "deploy"),
        ("stagesToSkip", ["deploy", "deploy"]),
        ("previewRun", "true"),
    ],
)
def test_a_wrong_run_request_is_caught(key: str, value: object) -> None:
    request = copy.deepcopy(RUN_REQUEST) | {key: value}

    with pytest.raises(ValidationError):
        contracts.validate("ado_run_request", request)


TASK_EVENT: dict[str, Any] = {
    "name": "TaskCompleted",
    "taskId": "5f1a5b0e-58a5-4a4e-9d0f-1a2b3c4d5e6f",
    "jobId": "0a1b2c3d-0000-4000-8000-000000000001",
    "result": "succeeded",
}


@pytest.mark.parametrize(
    "change", [{"name": "TaskStarted"}, {"taskId": "1"}, {"result": "Completed"}, {"result": None}, {"runId": "x"}]
)
def test_a_wrong_task_event_is_caught(change: dict[str, object]) -> None:
    contracts.validate("ado_task_event", TASK_EVENT)
    with pytest.raises(ValidationError):
        contracts.validate("ado_task_event", TASK_EVENT | change)


def test_a_reference_to_another_schema_is_followed() -> None:
    contracts.validate("ado_build_list", {"count": 0, "value": []})
    with pytest.raises(ValidationError, match="'_links' is a required property"):
        contracts.validate("ado_build_list", {"count": 1, "value": [{}]})
