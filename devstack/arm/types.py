"""The resource types that the stand-in knows, with their API versions and how they are written.

Sources: the type index of Azure/bicep-types-az for the API versions, and Azure/azure-rest-api-specs for the answers:
Event Grid's system topics and event subscriptions are long-running, role assignments, locks and metric alerts are not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    """A resource type.

    :param name: namespace and type, as answers spell them.
    :param versions: the newest stable API versions.
    :param is_tracked: whether it has a location of its own.
    :param is_written: whether the stand-in accepts PUT.
    :param is_long_running: whether PUT and DELETE answer before they have ended.
    :param created: the status of the answer to a PUT that creates a resource. Later ones are answered with 200.
    """

    name: str
    versions: tuple[str, ...]
    is_tracked: bool = False
    is_written: bool = False
    is_long_running: bool = False
    created: int = 201

    @property
    def key(self) -> str:
        return self.name.lower()


_EVENT_GRID = ("2021-12-01", "2022-06-15", "2025-02-15")
_STORAGE = ("2025-06-01", "2025-08-01", "2026-04-01")
WEB = ("2024-04-01", "2024-11-01", "2025-03-01")

SYSTEM_TOPIC = ResourceType(
    name="Microsoft.EventGrid/systemTopics",
    versions=_EVENT_GRID,
    is_tracked=True,
    is_written=True,
    is_long_running=True,
)
EVENT_SUBSCRIPTION = ResourceType(
    name="Microsoft.EventGrid/systemTopics/eventSubscriptions",
    versions=_EVENT_GRID,
    is_written=True,
    is_long_running=True,
)
CUSTOM_TOPIC = ResourceType(name="Microsoft.EventGrid/topics", versions=_EVENT_GRID, is_tracked=True)
CUSTOM_TOPIC_SUBSCRIPTION = replace(EVENT_SUBSCRIPTION, name="Microsoft.EventGrid/topics/eventSubscriptions")
DOMAIN = ResourceType(name="Microsoft.EventGrid/domains", versions=_EVENT_GRID, is_tracked=True)
DOMAIN_TOPIC = ResourceType(name="Microsoft.EventGrid/domains/topics", versions=_EVENT_GRID)
DOMAIN_TOPIC_SUBSCRIPTION = replace(EVENT_SUBSCRIPTION, name="Microsoft.EventGrid/domains/topics/eventSubscriptions")
VAULT = ResourceType(
    name="Microsoft.KeyVault/vaults", versions=("2024-11-01", "2025-05-01", "2026-02-01"), is_tracked=True
)
ROLE_ASSIGNMENT = ResourceType(
    name="Microsoft.Authorization/roleAssignments", versions=("2015-07-01", "2022-04-01"), is_written=True
)
LOCK = ResourceType(name="Microsoft.Authorization/locks", versions=("2017-04-01", "2020-05-01"), is_written=True)
METRIC_ALERT = ResourceType(
    name="Microsoft.Insights/metricAlerts",
    versions=("2018-03-01", "2026-01-01"),
    is_tracked=True,
    is_written=True,
    created=200,  # the only status in the specification
)
DIAGNOSTIC_SETTING = ResourceType(
    name="Microsoft.Insights/diagnosticSettings",
    versions=("2016-09-01", "2021-05-01-preview"),
    is_written=True,
    created=200,  # the only status in the specification
)
GROUP = ResourceType(
    name="Microsoft.Resources/resourceGroups",
    versions=("2024-11-01", "2025-03-01", "2025-04-01"),
    is_tracked=True,
    is_long_running=True,
)
SUBSCRIPTION = ResourceType(name="Microsoft.Resources/subscriptions", versions=("2022-12-01",))
WORKSPACE = ResourceType(
    name="Microsoft.MachineLearningServices/workspaces",
    versions=("2024-04-01", "2025-12-01", "2026-03-01", "2026-05-01"),
    is_tracked=True,
)
SITE = ResourceType(name="Microsoft.Web/sites", versions=WEB, is_tracked=True)
FUNCTION = ResourceType(name="Microsoft.Web/sites/functions", versions=WEB)
ACCOUNT = ResourceType(name="Microsoft.Storage/storageAccounts", versions=_STORAGE, is_tracked=True)
BLOB_SERVICE = ResourceType(name="Microsoft.Storage/storageAccounts/blobServices", versions=_STORAGE)
CONTAINER = ResourceType(name="Microsoft.Storage/storageAccounts/blobServices/containers", versions=_STORAGE)
ACTION_GROUP = ResourceType(
    name="Microsoft.Insights/actionGroups", versions=("2022-04-01", "2022-06-01", "2023-01-01"), is_tracked=True
)

TYPES = {
    one.key: one
    for one in (
        SYSTEM_TOPIC,
        EVENT_SUBSCRIPTION,
        CUSTOM_TOPIC,
        CUSTOM_TOPIC_SUBSCRIPTION,
        DOMAIN,
        DOMAIN_TOPIC,
        DOMAIN_TOPIC_SUBSCRIPTION,
        VAULT,
        ROLE_ASSIGNMENT,
        LOCK,
        METRIC_ALERT,
        DIAGNOSTIC_SETTING,
        GROUP,
        SUBSCRIPTION,
        WORKSPACE,
        SITE,
        FUNCTION,
        ACCOUNT,
        BLOB_SERVICE,
        CONTAINER,
        ACTION_GROUP,
    )
}
