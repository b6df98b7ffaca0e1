"""What Resource Manager itself answers: credentials, versions, IDs, lists, groups; and what there is without checks."""

import re
import uuid
from typing import Any

import pytest

from devstack.arm import sample, types
from tests.infra.bicep import INFRA
from tests.support.services.arm import CONTAINER, EVENTS, SYSTEM_TOPIC, Arm, topic

GROUP = sample.GROUP
TOPICS = f"/subscriptions/{sample.SUBSCRIPTION}/providers/Microsoft.EventGrid/systemTopics"


@pytest.mark.parametrize(("token", "code"), [(None, "AuthenticationFailed"), ("wrong", "InvalidAuthenticationToken")])
def test_a_request_needs_a_token(arm: Arm, token: str | None, code: str) -> None:
    answer = arm.ask("GET", GROUP, token=token)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)
    assert re.fullmatch(
        r'Bearer authorization_uri="https://login\.microsoftonline\.com/[0-9a-f-]{36}", error="invalid_token"',
        answer.headers["WWW-Authenticate"],
    )


def test_every_answer_has_ids(arm: Arm) -> None:
    for path in (GROUP, GROUP + "-2"):
        headers = arm.ask("GET", path).headers
        assert str(uuid.UUID(headers["x-ms-request-id"])) == headers["x-ms-correlation-request-id"]


@pytest.mark.parametrize(
    ("path", "version", "status", "code"),
    [
        (GROUP, None, 400, "MissingApiVersionParameter"),
        (GROUP, "1999-01-01", 400, "NoRegisteredProviderFound"),
        (f"{sample.APP}/host/default/sync", "1999-01-01", 400, "NoRegisteredProviderFound"),
        (f"/subscriptions/{uuid.UUID(int=0)}/resourceGroups/ml", "", 404, "SubscriptionNotFound"),
        (f"{GROUP}-2/providers/Microsoft.EventGrid/systemTopics/t", "", 404, "ResourceGroupNotFound"),
        (f"{GROUP}/providers/Microsoft.Sql/servers/s", "2025-01-01", 404, "InvalidResourceType"),
        (SYSTEM_TOPIC, "", 404, "ResourceNotFound"),
        (EVENTS, "", 404, "ParentResourceNotFound"),
        (f"{SYSTEM_TOPIC}/providers/Microsoft.Authorization/locks/l", "", 404, "ResourceNotFound"),
        ("/subscriptions", "2022-12-01", 404, "NotFound"),
    ],
)
def test_refusals(arm: Arm, path: str, version: str | None, status: int, code: str) -> None:
    assert arm.refused(status, code, "GET", path, version=version)


def test_a_group_that_does_not_exist(arm: Arm) -> None:
    assert (
        arm.refused(404, "ResourceGroupNotFound", "GET", f"{GROUP}-2")
        == "Resource group 'rg-dev-2' could not be found."
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("PUT", SYSTEM_TOPIC, [], 400, "InvalidRequestContent"),
        ("PUT", SYSTEM_TOPIC, None, 415, "UnsupportedMediaType"),
        ("PUT", sample.WORKSPACE, {"location": "westeurope"}, 405, "MethodNotAllowed"),
        ("PATCH", sample.WORKSPACE, {}, 405, "MethodNotAllowed"),
        ("DELETE", sample.WORKSPACE, None, 405, "MethodNotAllowed"),
        ("DELETE", TOPICS, None, 405, "MethodNotAllowed"),
        ("POST", f"{sample.APP}/host/default/listSyncStatus", None, 405, "MethodNotAllowed"),
    ],
)
def test_requests_that_are_not_supported(arm: Arm, method: str, path: str, body: Any, status: int, code: str) -> None:
    arm.refused(status, code, method, path, body)


def test_ids_are_not_case_sensitive_and_keep_their_spelling(arm: Arm) -> None:
    path = sample.WORKSPACE.replace("resourceGroups", "resourcegroups").replace("workspaces/ws", "Workspaces/WS")
    assert arm.good("GET", path)["id"] == sample.WORKSPACE


def test_a_workspace(arm: Arm) -> None:
    assert (
        arm.good("GET", sample.WORKSPACE).items()
        >= {
            "name": "ws",
            "type": "Microsoft.MachineLearningServices/workspaces",
            "location": "westeurope",
        }.items()
    )


def test_lists_have_pages(arm: Arm) -> None:
    ids = [sample.workspace_id(f"ws{number}") for number in range(5)]
    arm.emulator.add(*(sample.workspace(one) for one in ids))
    arm.switch(page_size=4)
    path = f"/subscriptions/{sample.SUBSCRIPTION}/providers/Microsoft.MachineLearningServices/workspaces"
    first = arm.good("GET", path)
    second = arm.good("GET", first["nextLink"])
    assert [one["id"] for page in (first, second) for one in page["value"]] == [sample.WORKSPACE, *ids]
    assert "nextLink" not in second


def test_lists_of_a_group_and_of_a_subscription(arm: Arm) -> None:
    arm.written(SYSTEM_TOPIC, topic())
    in_group = SYSTEM_TOPIC.rpartition("/")[0]
    assert [one["name"] for one in arm.good("GET", in_group)["value"]] == ["nextstage-dev"]
    assert [one["name"] for one in arm.good("GET", TOPICS)["value"]] == ["nextstage-dev"]
    assert arm.good("GET", f"{GROUP}/providers/Microsoft.EventGrid/systemTopics") == {"value": []}
    assert arm.good("GET", f"{SYSTEM_TOPIC}/eventSubscriptions") == {"value": []}
    groups = arm.good("GET", f"/subscriptions/{sample.SUBSCRIPTION}/resourceGroups")
    assert [one["name"] for one in groups["value"]] == ["rg-dev", "ml"]


def test_a_group_is_deleted_with_everything_in_it(arm: Arm) -> None:
    arm.switch(polls=2)
    answer = arm.ask("DELETE", GROUP)
    assert answer.status_code == 202
    assert "Azure-AsyncOperation" not in answer.headers
    url = answer.headers["Location"]
    assert [arm.ask("GET", url).status_code for _ in range(3)] == [202, 204, 204]
    arm.refused(404, "ResourceGroupNotFound", "GET", CONTAINER)
    assert arm.good("GET", sample.WORKSPACE)["name"] == "ws"


def test_the_bicep_files_use_versions_that_the_stand_in_knows() -> None:
    found = {
        (match[1], match[2])
        for file in INFRA.rglob("*.bicep")
        for match in re.finditer(r"'(Microsoft\.[\w./]+)@([\w-]+)'", file.read_text(encoding="utf-8"))
        if match[1].lower() in types.TYPES
    }
    assert found
    assert [one for one in found if one[1] not in types.TYPES[one[0].lower()].versions] == []
