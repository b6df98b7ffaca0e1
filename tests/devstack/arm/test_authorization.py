"""Role assignments and locks."""

import re
from typing import Any

import pytest

from devstack.arm import sample
from tests.support.services.arm import CONTAINER, SYSTEM_TOPIC, Arm, assignment, role, topic

PRINCIPAL = sample.IDENTITY
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
ROLE = role(CONTAINER)
OTHER_NAME = role(CONTAINER, "6b6b6b6b-1111-2222-3333-444444444444")
LOCK = f"{sample.STORAGE}/providers/Microsoft.Authorization/locks/journal"


def test_an_assignment_is_made_once(arm: Arm) -> None:
    made = arm.good("PUT", ROLE, assignment(PRINCIPAL), status=201)["properties"]
    assert made["scope"] == CONTAINER
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", made["createdOn"])
    again = arm.good("PUT", ROLE, assignment(PRINCIPAL))["properties"]
    assert again == {**made, "updatedOn": again["updatedOn"]}
    assert arm.refused(409, "RoleAssignmentExists", "PUT", OTHER_NAME, assignment(PRINCIPAL)) == (
        "The role assignment already exists."
    )


def test_neither_principal_nor_role_of_an_assignment_can_be_changed(arm: Arm) -> None:
    arm.written(ROLE, assignment(PRINCIPAL))
    arm.refused(
        400, "RoleAssignmentUpdateNotPermitted", "PUT", ROLE, assignment("7c7c7c7c-1111-2222-3333-444444444444")
    )
    arm.refused(400, "RoleAssignmentUpdateNotPermitted", "PUT", ROLE, assignment(PRINCIPAL, READER))


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (role(CONTAINER, "mine"), assignment(PRINCIPAL), 400, "InvalidRoleAssignmentId"),
        (ROLE, assignment(PRINCIPAL, "0" * 8), 400, "RoleDefinitionDoesNotExist"),
        (ROLE, {"properties": {"principalId": PRINCIPAL}}, 400, "InvalidRequestContent"),
        (ROLE, assignment("7c7c7c7c-1111-2222-3333-444444444444", kind=None), 400, "PrincipalNotFound"),
        (role(f"{CONTAINER}-2"), assignment(PRINCIPAL), 404, "ResourceNotFound"),
    ],
)
def test_refusals(arm: Arm, path: str, body: dict[str, Any], status: int, code: str) -> None:
    assert arm.refused(status, code, "PUT", path, body)


def test_a_new_identity_is_found_later_unless_its_type_is_given(arm: Arm) -> None:
    arm.switch(principal_checks=2)
    principal = arm.written(SYSTEM_TOPIC, topic())["identity"]["principalId"]
    for _ in range(2):
        message = arm.refused(400, "PrincipalNotFound", "PUT", ROLE, assignment(principal, kind=None))
        assert "set the role assignment principalType property" in message
    assert arm.written(ROLE, assignment(principal, kind=None))
    assert arm.good("PUT", role(sample.STORAGE), assignment(principal), status=201)


def test_an_assignment_is_deleted_once(arm: Arm) -> None:
    arm.written(ROLE, assignment(PRINCIPAL))
    assert arm.good("DELETE", ROLE)["properties"]["principalId"] == PRINCIPAL
    assert arm.good("DELETE", ROLE, status=204) is None
    arm.refused(404, "RoleAssignmentNotFound", "GET", ROLE)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["account", "container"]),
        ("?$filter=atScope()", ["account"]),
        (f"?$filter=principalId eq '{PRINCIPAL}'", ["container"]),
        (f"?$filter=assignedTo('{PRINCIPAL}')", ["container"]),
    ],
)
def test_lists_are_filtered(arm: Arm, query: str, found: list[str]) -> None:
    other = "7c7c7c7c-1111-2222-3333-444444444444"
    arm.written(role(CONTAINER), assignment(PRINCIPAL))
    arm.written(role(sample.STORAGE, "6b6b6b6b-1111-2222-3333-444444444444"), assignment(other))
    arm.written(role(sample.WORKSPACE, "8d8d8d8d-1111-2222-3333-444444444444"), assignment(PRINCIPAL, READER))
    scopes = {CONTAINER: "container", sample.STORAGE: "account"}
    path = f"{sample.STORAGE}/providers/Microsoft.Authorization/roleAssignments"
    listed = arm.good("GET", path + query)["value"]
    assert sorted(scopes[one["properties"]["scope"]] for one in listed) == found


def test_other_filters_are_refused(arm: Arm) -> None:
    path = f"{sample.STORAGE}/providers/Microsoft.Authorization/roleAssignments?$filter=name eq 'x'"
    assert "principalId eq '{value}'" in arm.refused(400, "UnsupportedQuery", "GET", path)


class TestLocks:
    def test_nothing_in_a_locked_scope_is_deleted(self, arm: Arm) -> None:
        arm.written(ROLE, assignment(PRINCIPAL))
        arm.good("PUT", LOCK, {"properties": {"level": "CanNotDelete", "notes": "the journal"}}, status=201)
        assert arm.refused(409, "ScopeLocked", "DELETE", ROLE) == (
            f"The scope '{ROLE}' cannot perform delete operation because following scope(s) are locked: "
            f"'{sample.STORAGE}'. Please remove the lock and try again."
        )
        arm.refused(409, "ScopeLocked", "DELETE", sample.GROUP)
        assert arm.good("PUT", ROLE, assignment(PRINCIPAL))
        arm.good("DELETE", LOCK)
        arm.good("DELETE", ROLE)

    def test_nothing_in_a_read_only_scope_is_written(self, arm: Arm) -> None:
        arm.good("PUT", LOCK, {"properties": {"level": "ReadOnly"}}, status=201)
        assert "cannot perform write operation" in arm.refused(409, "ScopeLocked", "PUT", ROLE, assignment(PRINCIPAL))

    def test_a_read_only_app_does_not_give_its_keys(self, arm: Arm) -> None:
        lock = f"{sample.APP}/providers/Microsoft.Authorization/locks/app"
        arm.good("PUT", lock, {"properties": {"level": "ReadOnly"}}, status=201)
        arm.refused(409, "ScopeLocked", "POST", f"{sample.APP}/host/default/listKeys")

    @pytest.mark.parametrize("body", [{}, {"properties": {"level": "All"}}])
    def test_an_unknown_level(self, arm: Arm, body: dict[str, Any]) -> None:
        arm.refused(400, "LockLevelNotSpecified", "PUT", LOCK, body)


def test_what_the_caller_may_do(arm: Arm) -> None:
    path = f"{sample.GROUP}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"
    arm.switch(permissions=({"actions": ["*/read"]},))
    assert arm.good("GET", path)["value"][-1] == {"actions": ["*/read"], "notActions": []}
