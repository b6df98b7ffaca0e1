"""Tests of read_request: valid requests, and that every wrong field is reported."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.credentials import Secret
from shared.errors import InvalidWait
from shared.waits.request import COORDINATES, MAX_BODY_BYTES, WaitRequest, read_request
from tests.support.builders import WORKSPACE
from tests.support.canaries import leaks, secret
from tests.support.waits import PLAN_URLS, TOKEN, a_task, default_headers

TASK = a_task(job_id="33333333-0000-0000-0000-000000000003", task_instance_id="55555555-0000-0000-0000-000000000005")
HEADERS = default_headers(TASK)
RUN = {"run_id": "frosty_plum_7x"}
BODY = json.dumps(RUN).encode()
EXPECTED = WaitRequest(TASK, Secret(TOKEN), "frosty_plum_7x")


def problems(headers: dict[str, str], body: bytes) -> dict[str, str]:
    with pytest.raises(InvalidWait) as caught:
        read_request(headers, body, PLAN_URLS)
    assert leaks(str(caught.value)) == []
    return caught.value.problems


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (HEADERS, {}),
        ({name.lower(): value for name, value in HEADERS.items()}, {}),
        ({}, {name: HEADERS[name] for name in COORDINATES}),
        (HEADERS, {"PlanId": "nonsense"}),  # a header takes precedence over the body
        (HEADERS | {"AuthToken": f"Bearer {TOKEN}"}, {}),
        (HEADERS, {"workspace": None}),
        (HEADERS, {"workspace": ""}),
    ],
)
def test_a_request(headers: dict[str, str], body: dict[str, str]) -> None:
    assert read_request(headers, json.dumps(RUN | body).encode(), PLAN_URLS) == EXPECTED


@pytest.mark.parametrize(
    "workspace", ["ws", WORKSPACE, WORKSPACE.upper() + "/", WORKSPACE.replace("/rg/", "/données_(prod).1/")]
)
def test_a_workspace(workspace: str) -> None:
    read = read_request(HEADERS, json.dumps(RUN | {"workspace": workspace}).encode(), PLAN_URLS)
    assert read == replace(EXPECTED, workspace=workspace)


def test_every_missing_field_is_named() -> None:
    assert set(problems({}, b"{}")) == {*COORDINATES, "run_id"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PlanUrl", "https://evil.example/"),
        ("ProjectId", "mlops"),
        ("HubName", "build/../checks"),
        ("HubName", "b" * 33),
        ("PlanId", "$(system.PlanId)"),
        ("JobId", f"{TASK.job_id}\n"),
        ("TimelineId", "00000000-0000-0000-0000-00000000000g"),
        ("TaskInstanceId", f"{TASK.task_instance_id}/events"),
        ("AuthToken", secret("two words ")),
        ("AuthToken", secret("line\r\nHost: evil")),
        ("AuthToken", "$(system.AccessToken)"),
    ],
)
def test_a_wrong_coordinate(name: str, value: str) -> None:
    # Surrounding spaces are removed, since a header cannot contain them.
    wrong = value if value.strip() == value else value + "x"
    assert set(problems({**HEADERS, name: wrong}, BODY)) == {name}


NOT_NAMES = ("$(resourceGroup)", "a b", "rg\n##vso[x]", "rg\u202e", "r" * 91)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"not JSON", "body"),
        (b"[]", "body"),
        (b"\xff", "body"),
        (b"[" * 60_000, "body"),
        (b'{"run_id": "' + b"r" * MAX_BODY_BYTES + b'"}', "body"),
        (b'{"run_id": 7}', "run_id"),
        (b'{"run_id": ""}', "run_id"),
        (b'{"run_id": "a/b"}', "run_id"),
        (b'{"run_id": "' + b"r" * 256 + b'"}', "run_id"),
        (b'{"run_id": "r", "workspace": 7}', "workspace"),
        (b'{"run_id": "r", "workspace": ["ws"]}', "workspace"),
        (b'{"run_id": "r", "workspace": "ws?x"}', "workspace"),
        (b'{"run_id": "r", "workspace": "workspaces/ws"}', "workspace"),
        *((json.dumps(RUN | {"workspace": WORKSPACE.replace("rg", name)}).encode(), "workspace") for name in NOT_NAMES),
    ],
)
def test_a_wrong_body(body: bytes, field: str) -> None:
    assert set(problems(HEADERS, body)) == {field}


def test_a_variable_that_is_not_set() -> None:
    found = problems(HEADERS, b'{"run_id": "$(runId)"}')
    assert found["run_id"].startswith("is '$(runId)', which Azure Pipelines did not replace")
    found = problems(HEADERS, json.dumps(RUN | {"workspace": WORKSPACE.replace("rg", "$(group)")}).encode())
    assert "which Azure Pipelines did not replace" in found["workspace"]


@given(
    st.dictionaries(st.sampled_from(COORDINATES), st.text(max_size=40)),
    st.binary(max_size=60)
    | st.dictionaries(st.text(max_size=12), st.text(max_size=20)).map(lambda d: json.dumps(d).encode()),
)
def test_any_request_is_either_read_or_refused(headers: dict[str, str], body: bytes) -> None:
    try:
        read = read_request({**HEADERS, **headers}, body, PLAN_URLS)
    except InvalidWait as exc:
        refused = exc.problems
    else:
        assert PLAN_URLS.problem(read.task.plan_url) is None
        return
    assert refused
