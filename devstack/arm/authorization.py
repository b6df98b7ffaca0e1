"""Role assignments and locks.

Sources: Azure/azure-rest-api-specs (Microsoft.Authorization), and Microsoft Learn, "Troubleshoot Azure RBAC" and "Lock
your resources to protect your infrastructure".
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from devstack.arm.errors import ArmError, invalid_content, scope_locked
from devstack.arm.types import LOCK, ROLE_ASSIGNMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from devstack.arm.ids import Address
    from devstack.arm.store import Document, Store

ROLES = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
    "b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
    "acdd72a7-3385-48ef-bd42-f606fba81ae7": "Reader",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
}
"""The built-in roles that the stand-in knows. Source: Microsoft Learn, "Azure built-in roles"."""
BLOB_WRITERS = frozenset({"Storage Blob Data Contributor", "Storage Blob Data Owner"})

PERMISSIONS_PATH = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Authorization/permissions", re.IGNORECASE
)
_LEVELS = {"CanNotDelete": ("delete",), "ReadOnly": ("delete", "write")}
_FILTERS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Document, str], bool]], ...] = (
    (re.compile(r"atScope\(\)"), lambda _found, assignment, scope: _covers(assignment["properties"]["scope"], scope)),
    (
        re.compile(r"(?:principalId eq|assignedTo\()\s*'(?P<id>[^']*)'\)?"),
        lambda found, assignment, _scope: assignment["properties"]["principalId"].lower() == found["id"].lower(),
    ),
)


def check_role_assignment(store: Store, address: Address, body: Mapping[str, Any]) -> Document:
    """Return the assignment that a PUT writes.

    :raises ArmError: the service refuses it. Sources of codes and messages: azure-search-openai-demo issue 9
        (PrincipalNotFound), terraform-provider-azurerm issue 28557 (RoleAssignmentExists), graphrag-accelerator issue
        168 (RoleAssignmentUpdateNotPermitted).
    """
    properties = body.get("properties")
    if not isinstance(properties, dict) or not {"principalId", "roleDefinitionId"} <= {*properties}:
        raise invalid_content("properties must have principalId and roleDefinitionId")
    if not _is_guid(address.name):
        message = f"The role assignment ID '{address.name}' is not valid. The role assignment ID must be a GUID."
        raise ArmError(400, "InvalidRoleAssignmentId", message)
    principal, role = str(properties["principalId"]), str(properties["roleDefinitionId"])
    if _role_name(role) is None:
        message = f"The specified role definition with ID '{role.rpartition('/')[2]}' does not exist."
        raise ArmError(400, "RoleDefinitionDoesNotExist", message)
    _find_principal(store, principal, str(properties.get("principalType", "")))
    wanted = (principal.lower(), _role_name(role), address.parent.lower())
    for other in store.of_type(ROLE_ASSIGNMENT.key):
        is_same = other["id"].lower() == address.key
        if _content(other) == wanted and not is_same:
            raise ArmError(409, "RoleAssignmentExists", "The role assignment already exists.")
        if is_same and _content(other) != wanted:
            message = "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
            raise ArmError(400, "RoleAssignmentUpdateNotPermitted", message)
    known = store.get(address.text)
    if known is None and store.behavior.role_checks:
        store.arrivals[address.key] = store.behavior.role_checks
    now = f"{store.clock():%Y-%m-%dT%H:%M:%S.%f}0Z"
    times = {"createdOn": known["properties"]["createdOn"] if known else now, "updatedOn": now}
    return {"properties": {"principalType": "ServicePrincipal", **properties, "scope": address.parent, **times}}


def permissions(store: Store) -> dict[str, object]:
    """Return what the caller may do in a resource group: one permission for each of its role assignments."""
    granted = [{"actions": [], "notActions": []}, *({"notActions": [], **one} for one in store.behavior.permissions)]
    return {"value": granted}


def _is_guid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _role_name(role_id: str) -> str | None:
    start, _, name = role_id.rpartition("/")
    return ROLES.get(name.lower()) if start.lower().endswith("/microsoft.authorization/roledefinitions") else None


def _find_principal(store: Store, principal: str, kind: str) -> None:
    """Refuse an identity that Microsoft Entra does not know yet. It is not looked for if its type is given."""
    if kind:
        return
    left = store.principals.get(principal, 1)
    if left:
        if principal in store.principals:
            store.principals[principal] = left - 1
        message = (
            f"Principal {principal.replace('-', '')} does not exist in the directory {store.tenant}. Check that you "
            "have the correct principal ID. If you are creating this principal and then immediately assigning a role, "
            "this error might be related to a replication delay. In this case, set the role assignment principalType "
            "property to a value, such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype"
        )
        raise ArmError(400, "PrincipalNotFound", message)


def _content(assignment: Document) -> tuple[str, str | None, str]:
    properties = assignment["properties"]
    return (
        properties["principalId"].lower(),
        _role_name(properties["roleDefinitionId"]),
        properties["scope"].lower(),
    )


def may(store: Store, principal: str, roles: frozenset[str], scope: str) -> bool:
    """Return whether an identity has one of the roles, in a scope or above it. Each call may let a role arrive."""
    is_allowed = False
    for assignment in store.of_type(ROLE_ASSIGNMENT.key):
        holder, role, where = _content(assignment)
        if holder != principal.lower() or role not in roles or not _covers(where, scope):
            continue
        key = assignment["id"].lower()
        if store.arrivals.get(key, 0):
            store.arrivals[key] -= 1
        else:
            is_allowed = True
    return is_allowed


def _covers(scope: str, other: str) -> bool:
    """Return whether a scope is another one, or above it."""
    return f"{other.lower()}/".startswith(f"{scope.lower()}/")


def list_role_assignments(store: Store, scope: str, query: str) -> list[Document]:
    """Return the assignments at a scope, above it and below it that a ``$filter`` selects.

    :raises ArmError: the filter is not one of those that the service knows.
    """
    found = [
        one
        for one in store.of_type(ROLE_ASSIGNMENT.key)
        if _covers(one["properties"]["scope"], scope) or _covers(scope, one["properties"]["scope"])
    ]
    if not query:
        return found
    for pattern, accepts in _FILTERS:
        match = pattern.fullmatch(query.strip())
        if match:
            return [one for one in found if accepts(match, one, scope)]
    message = (
        f"The filter '{query}' is not supported. Supported filters are either 'atScope()' or 'principalId eq "
        "'{value}'' or 'assignedTo('{value}')'."
    )
    raise ArmError(400, "UnsupportedQuery", message)


def check_lock(_store: Store, _address: Address, body: Mapping[str, Any]) -> Document:
    """Return the lock that a PUT writes.

    :raises ArmError: its level is unknown.
    """
    properties = body.get("properties")
    if not isinstance(properties, dict) or properties.get("level") not in _LEVELS:
        raise ArmError(400, "LockLevelNotSpecified", f"The lock level must be one of {', '.join(_LEVELS)}.")
    return {"properties": properties}


def refuse_locked(store: Store, address: Address, operation: str) -> None:
    """Refuse to write or delete a resource if it, or what it is in, is locked. A group also if something in it is.

    :raises ArmError: there is a lock. A lock itself can always be changed.
    """
    if address.kind == LOCK.key:
        return
    scopes = [
        scope
        for lock in store.of_type(LOCK.key)
        if operation in _LEVELS[lock["properties"]["level"]]
        for scope in [lock["id"][: lock["id"].lower().rindex("/providers/microsoft.authorization/locks/")]]
        if _covers(scope, address.text) or (operation == "delete" and _covers(address.text, scope))
    ]
    if scopes:
        raise scope_locked(address.text, operation, scopes)
