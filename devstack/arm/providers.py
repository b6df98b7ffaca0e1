"""Resource providers: whether they are registered in a subscription, and the API versions of their resource types.

Source: Azure's REST API 2021-04-01, Providers - Get, and Providers - Get At Tenant Scope.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from devstack.arm.types import TYPES

if TYPE_CHECKING:
    from devstack.arm.store import Store

PATH = re.compile(r"(?P<scope>/subscriptions/[^/]+)?/providers/(?P<namespace>[^/]+)", re.IGNORECASE)
VERSIONS = ("2021-04-01",)
_PREVIEW = "2099-01-01-preview"


def provider(store: Store, namespace: str, subscription: str | None) -> dict[str, object]:
    """Return a resource provider with the resource types that the stand-in knows, the newest version first.

    :param subscription: in which it may be registered; None for the whole tenant.
    """
    found: dict[str, object] = {"namespace": namespace, "resourceTypes": _resource_types(namespace)}
    if subscription is None:
        return found
    is_registered = namespace not in store.behavior.unregistered
    return {**found, "registrationState": "Registered" if is_registered else "NotRegistered"}


def _resource_types(namespace: str) -> list[dict[str, object]]:
    start = f"{namespace.lower()}/"
    return [
        {"resourceType": kind.name[len(start) :], "apiVersions": [_PREVIEW, *reversed(kind.versions)]}
        for key, kind in TYPES.items()
        if key.startswith(start)
    ]
