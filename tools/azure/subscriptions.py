"""The event subscriptions that lead from a topic to the app, and what they are good for.

They are recognized by their destination, so it does not matter who made them and how they are named.
Source: Event Grid's REST API 2025-02-15, System Topic Event Subscriptions; its documentation on dead letters with a
managed identity.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.events.event import AML_PREFIX
from tools.azure.answers import Answer
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


def subscriptions_to(manager: ResourceManager, topic: Answer, function_id: str) -> list[EventSubscription]:
    """Return the event subscriptions of a topic that lead to a function.

    :raises ResourceManagerError: they may not be listed.
    """
    return [
        _described(each.text("name"), each.object("properties"), has_identity=bool(identity_of(topic)))
        for each in manager.list(f"{topic.text('id')}/eventSubscriptions", EVENT_GRID)
        if _destination(each.object("properties")).lower() == function_id.lower()
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
    for series in (series for metric in metrics for series in metric.objects("timeseries")):
        values = series.objects("metadatavalues")
        names = {one.object("name").text("value").lower(): one.text("value", "") for one in values}
        name = names.get("eventsubscriptionname", "").lower()
        found[name] = found.get(name, 0) + sum(point.number("total") for point in series.objects("data"))
    return found


def _destination(properties: Answer) -> str:
    """Return the resource ID of the destination; empty if it is not a resource, such as a webhook."""
    with_identity = properties.object("deliveryWithResourceIdentity")
    destination = properties.object("destination") or with_identity.object("destination")
    return destination.object("properties").text("resourceId", "")


def _described(name: str, properties: Answer, *, has_identity: bool) -> EventSubscription:
    dead_letters = properties.object("deadLetterWithResourceIdentity")
    by_identity = bool(dead_letters.object("deadLetterDestination"))
    included = properties.object("filter").texts("includedEventTypes")
    return EventSubscription(
        name,
        properties.text("provisioningState", ""),
        frozenset(included) or None,
        bool(properties.object("deadLetterDestination")) or (by_identity and has_identity),
    )
