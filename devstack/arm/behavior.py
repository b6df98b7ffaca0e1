"""What the services do at some times only. Times are counted in requests, so that no test depends on a clock."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class BehaviorError(ValueError):
    """A switch is unknown or has a wrong value. The message names it."""


@dataclass(frozen=True, kw_only=True)
class Behavior:
    """The switches of the stand-in. A fault's ``behavior`` changes them for single requests.

    - ``polls``: how often a new operation is looked at before it has ended: by its status, or by its resource.
    - ``failure``: the error with which operations end that begin now: ``{"code": …, "message": …}``.
    - ``retry_after_seconds``: the header Retry-After of operations. Event Grid sends 10. The stand-in also sends
      fractions, which azure-core understands and the HTTP standard does not allow.
    - ``page_size``: how many resources a page of a list has.
    - ``syncs``: how many calls of ``host/default/sync`` an app needs before its functions are listed. After a
      deployment to Flex Consumption, only a function ``WarmUp`` is listed until then. Sources: Azure/functions-action
      issue 373, azure-pipelines-tasks issue 22354.
    - ``role_checks``: how often Event Grid does not see a new role assignment yet. It may take ten minutes: Microsoft
      Learn, "Troubleshoot Azure RBAC", and azure-docs issue 98216.
    - ``principal_checks``: how often a role assignment without ``principalType`` does not find a new identity.
    - ``validations``: how many validations of an endpoint by Event Grid fail.
    - ``python_versions``: the versions that the region has for Flex Consumption.
    - ``permissions``: what the caller may do in every resource group, as objects with ``actions`` and ``notActions``.
      It is only told: nothing is refused because of it.
    - ``unregistered``: the resource providers that are not registered in any subscription.
    """

    polls: int = 1
    failure: Mapping[str, str] | None = None
    retry_after_seconds: float = 0.05
    page_size: int = 20
    syncs: int = 1
    role_checks: int = 0
    principal_checks: int = 0
    validations: int = 0
    python_versions: tuple[str, ...] = ("3.11", "3.12", "3.13")
    permissions: tuple[Mapping[str, list[str]], ...] = ({"actions": ["*"]},)
    unregistered: tuple[str, ...] = ()

    def changed(self, document: object) -> Behavior:
        """Return a copy with the switches in a JSON object.

        :raises BehaviorError: a switch is unknown or has a wrong value.
        """
        if not isinstance(document, dict):
            raise BehaviorError("behavior: must be an object")
        values: dict[str, Any] = {}
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in document.items():
            if name not in known:
                raise BehaviorError(f"behavior: unknown switch {name!r}; there are {', '.join(known)}")
            if name == "failure":
                is_right = value is None or (isinstance(value, dict) and {*value} == {"code", "message"})
            elif isinstance(known[name], tuple):
                is_right = isinstance(value, list | tuple)
            else:
                is_right = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
            if not is_right:
                raise BehaviorError(f"behavior: {name} must not be {value!r}")
            values[name] = tuple(value) if isinstance(known[name], tuple) else value
        return replace(self, **values)
