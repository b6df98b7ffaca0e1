"""The types of system topics, by the type of their source, and the event types of each.

Sources: Event Grid's REST API 2025-02-15, Topic Types - List, and - List Event Types; Microsoft Learn, "Azure Machine
Learning as Event Grid source", "Azure Blob Storage as Event Grid source", "Azure Key Vault as Event Grid source".
"""

from __future__ import annotations

import re

from devstack.arm.types import ACCOUNT, VAULT, WORKSPACE

PATH = re.compile(r"/providers/Microsoft\.EventGrid/topicTypes(/(?P<kind>[^/]+)/eventTypes)?", re.IGNORECASE)
_ALL = {
    WORKSPACE.key: (
        "Microsoft.MachineLearningServices.Workspaces",
        "Microsoft.MachineLearningServices",
        ("ModelRegistered", "ModelDeployed", "RunCompleted", "DatasetDriftDetected", "RunStatusChanged"),
    ),
    ACCOUNT.key: (
        "Microsoft.Storage.StorageAccounts",
        "Microsoft.Storage",
        ("BlobCreated", "BlobDeleted", "BlobRenamed", "BlobTierChanged", "DirectoryCreated", "DirectoryDeleted"),
    ),
    VAULT.key: ("Microsoft.KeyVault.vaults", "Microsoft.KeyVault", ("SecretNewVersionCreated", "SecretExpired")),
}

TOPIC_TYPES = {key: name for key, (name, _, _) in _ALL.items()}
"""From the type of the source, in lower case, to the type of its system topic."""

EVENT_TYPES = {name: tuple(f"{prefix}.{each}" for each in types) for name, prefix, types in _ALL.values()}
"""From the type of a system topic to its event types."""


def listed(kind: str | None) -> list[dict[str, object]]:
    """Return the types of system topics, or the event types of one of them."""
    if kind is None:
        names = dict.fromkeys(EVENT_TYPES, "topicTypes")
    else:
        of_kind = next((types for name, types in EVENT_TYPES.items() if name.lower() == kind.lower()), ())
        names = dict.fromkeys(of_kind, "topicTypes/eventTypes")
    return [
        {"name": name, "type": f"Microsoft.EventGrid/{type_}", "properties": {"displayName": name}}
        for name, type_ in names.items()
    ]
