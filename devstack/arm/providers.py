"""Whether resource providers are registered in a subscription.

Source: Azure's REST API 2021-04-01, Providers - Get.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devstack.arm.store import Store

PATH = re.compile(r"/subscriptions/[^/]+/providers/(?P<namespace>[^/]+)", re.IGNORECASE)
VERSIONS = ("2021-04-01",)


def provider(store: Store, namespace: str) -> dict[str, object]:
    """Return a resource provider, without its resource types."""
    is_registered = namespace not in store.behavior.unregistered
    return {"namespace": namespace, "registrationState": "Registered" if is_registered else "NotRegistered"}
