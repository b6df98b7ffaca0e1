"""Function apps: which functions are listed, the call that lists them, the keys, and the language versions of a region.

Sources: Azure/azure-rest-api-specs (Microsoft.Web: Sync Triggers, List Host Keys, Function App Stacks), and
``az functionapp list-flexconsumption-runtimes`` of Azure/azure-cli for the answer about Flex Consumption.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from devstack.arm.types import FUNCTION, SITE, WEB

if TYPE_CHECKING:
    from devstack.arm.store import Document, Store

ACTION = re.compile(
    r"(?P<site>/subscriptions/.+/providers/Microsoft\.Web/sites/[^/]+)/host/default/(?P<action>\w+)",
    re.IGNORECASE,
)
STACKS = re.compile(
    r"(/subscriptions/[^/]+)?/providers/Microsoft\.Web/locations/(?P<location>[^/]+)/functionAppStacks",
    re.IGNORECASE,
)
STACKS_VERSIONS = ("2020-10-01", *WEB)
_WARM_UP = "WarmUp"


def listed_functions(store: Store, site: str) -> list[Document]:
    """Return the functions that Resource Manager lists. Before the first sync, that is only ``WarmUp``."""
    app = store.get(site)
    if app is None or app["type"] != SITE.name:
        return []
    if store.syncs.get(site.lower(), 0) >= store.behavior.syncs:
        return store.of_type(FUNCTION.key, site)
    warm_up = {"id": f"{app['id']}/functions/{_WARM_UP}", "name": f"{app['name']}/{_WARM_UP}", "type": FUNCTION.name}
    return [{**warm_up, "properties": {"name": _WARM_UP, "isDisabled": False}}]


def sync(store: Store, site: str) -> None:
    store.syncs[site.lower()] = store.syncs.get(site.lower(), 0) + 1


def host_keys(store: Store) -> dict[str, object]:
    """Return the keys of an app. ``eventgrid_extension`` opens the webhook of the Event Grid trigger."""
    return {
        "masterKey": store.keys["master"],
        "functionKeys": {"default": store.keys["default"]},
        "systemKeys": {"eventgrid_extension": store.keys["system"]},
    }


def stacks(store: Store, location: str) -> dict[str, object]:
    """Return the Python versions of a region, in the form of Function App Stacks. 3.9 is not for Flex Consumption."""
    versions = store.behavior.python_versions
    minor = [
        {
            "displayText": f"Python {version}",
            "value": version,
            "stackSettings": {
                "linuxRuntimeSettings": {
                    "runtimeVersion": f"Python|{version}",
                    "isDefault": version in versions[-1:],
                    "Sku": [
                        {
                            "skuCode": sku,
                            "instanceMemoryMB": [{"size": 2048, "isDefault": True}],
                            "functionAppConfigProperties": {"runtime": {"name": "python", "version": version}},
                        }
                    ],
                }
            },
        }
        for version, sku in (("3.9", "EP1"), *((version, "FC1") for version in versions))
    ]
    python = {"displayText": "Python", "value": "python", "preferredOs": "linux"}
    properties = {**python, "majorVersions": [{"displayText": "Python 3", "value": "3", "minorVersions": minor}]}
    stack = {"id": None, "name": "python", "location": location, "type": "Microsoft.Web/functionAppStacks"}
    return {"value": [{**stack, "properties": properties}], "nextLink": None}
