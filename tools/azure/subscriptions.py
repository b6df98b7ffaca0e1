"""The event subscriptions that lead from a topic to the app, and what they are good for.

They are recognized by their destination, so it does not matter who made them and how they are named.
Source: Event Grid's REST API 2025-02-15, System Topic Event Subscriptions; its documentation on dead letters with a
managed identity.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shared.events.event import AML_PREFIX
from tools.azure.event_resources import EVENT_GRID, watched
from tools.azure.resource_manager import ResourceManager
from tools.azure.topics import identity_of

SUCCEEDED: Final = "Succeeded"

_METRICS: Final = "2023-10-01"


@dataclass(frozen=True, slots=True)
class EventSubscription:
    """An event subscription that leads to the app.

    :param state: the state of its provisioning; ``Succeeded`` if it delivers.
    :param types: the event types that it delivers; None for all.
    :param writes_dead_letters: it stores events that cannot be delivered, and has an identity to do so.
    """

    name: str
    state: str
    types: frozenset[str] | None
    writes_dead_letters: bool


def subscriptions_to(manager: ResourceManager, topic: dict[str, Any], function_id: str) -> list[EventSubscription]:
    """Return the event subscriptions of a topic that lead to a function.

    :raises ResourceManagerError: they may not be listed.
    """
    return [
        _described(str(each["name"]), each["properties"], has_identity=bool(identity_of(topic)))
        for each in manager.list(f"{topic['id']}/eventSubscriptions", EVENT_GRID)
        if _destination(each["properties"]).lower() == function_id.lower()
    ]


def missing_types(subscriptions: Sequence[EventSubscription], wanted: Iterable[str]) -> list[str]:
    """Return the event types that no subscription delivers, as routes.yaml names them."""
    if any(one.types is None for one in subscriptions):
        return []
    delivered = {each.lower() for one in subscriptions for each in one.types or ()}
    return [name.removeprefix(AML_PREFIX) for name in wanted if name.lower() not in delivered]


def matched(manager: ResourceManager, topic_id: str, since: datetime, until: datetime) -> dict[str, float]:
    """Return how many events each event subscription of a topic has matched, by its name in lower case.

    A subscription that never matched an event may be missing. Source: Azure Monitor's REST API, Metrics - List, and its
    docs, "Supported metrics for Microsoft.EventGrid/systemTopics".

    :raises ResourceManagerError: the metrics may not be read.
    """
    metrics = manager.list(
        f"{watched(topic_id).id}/providers/Microsoft.Insights/metrics",
        _METRICS,
        metricnames="MatchedEventCount",
        aggregation="Total",
        interval="FULL",
        timespan=f"{since:%Y-%m-%dT%H:%M:%SZ}/{until:%Y-%m-%dT%H:%M:%SZ}",
        filter_="EventSubscriptionName eq '*'",
    )
    found: dict[str, float] = {}
    for series in (series for metric in metrics for series in metric.get("timeseries") or ()):
        names = {str(one["name"]["value"]).lower(): str(one["value"]) for one in series.get("metadatavalues") or ()}
        name = names.get("eventsubscriptionname", "").lower()
        found[name] = found.get(name, 0) + sum(point.get("total") or 0 for point in series.get("data") or ())
    return found


def _destination(properties: dict[str, Any]) -> str:
    """Return the resource ID of the destination; empty if it is not a resource, such as a webhook."""
    with_identity = properties.get("deliveryWithResourceIdentity") or {}
    destination = properties.get("destination") or with_identity.get("destination") or {}
    return str((destination.get("properties") or {}).get("resourceId") or "")


def _described(name: str, properties: dict[str, Any], *, has_identity: bool) -> EventSubscription:
    dead_letters = properties.get("deadLetterWithResourceIdentity") or {}
    by_identity = bool(dead_letters.get("deadLetterDestination"))
    included = (properties.get("filter") or {}).get("includedEventTypes")
    return EventSubscription(
        name,
        str(properties.get("provisioningState") or ""),
        None if not included else frozenset(included),
        bool(properties.get("deadLetterDestination")) or (by_identity and has_identity),
    )
