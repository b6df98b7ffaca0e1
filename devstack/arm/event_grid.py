"""Event Grid: what it checks of system topics and event subscriptions, and when.

Form, names and numbers are checked when a PUT arrives. The destination is checked while the operation runs: whether
the function exists, whether its endpoint answers the validation, and whether the topic's identity may write dead
letters. If not, the operation fails, and the subscription stays with the provisioning state ``Failed``
(azure-sdk-for-net issue 51014).

Sources: Azure/azure-rest-api-specs (Microsoft.EventGrid 2025-02-15), and Microsoft Learn, "Event filtering" for the
limits of filters.
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from devstack.arm.authorization import BLOB_WRITERS, may
from devstack.arm.errors import ArmError, invalid_request
from devstack.arm.topic_types import EVENT_TYPES, TOPIC_TYPES
from devstack.arm.types import CONTAINER, DOMAIN_TOPIC, SYSTEM_TOPIC
from devstack.arm.web import listed_functions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devstack.arm.ids import Address
    from devstack.arm.store import Document, Store

_TOPIC_NAME = re.compile(r"[A-Za-z0-9-]{3,50}")
_SUBSCRIPTION_NAME = re.compile(r"[A-Za-z0-9-]{3,64}")
_OPERATORS = {
    *(f"Number{how}" for how in ("In", "NotIn", "InRange", "NotInRange")),
    *(f"String{how}" for how in ("In", "BeginsWith", "EndsWith", "Contains")),
    *(f"StringNot{how}" for how in ("In", "BeginsWith", "EndsWith", "Contains")),
}
_SINGLE_OPERATORS = {
    "BoolEquals",
    *(f"Number{how}Than{or_}" for how in ("Less", "Greater") for or_ in ("", "OrEquals")),
}
_BARE_OPERATORS = {"IsNotNull", "IsNullOrUndefined"}
_FILTERS = {"includedEventTypes", "subjectBeginsWith", "subjectEndsWith", "isSubjectCaseSensitive", "advancedFilters"}
_CLOUD_EVENTS = "CloudEventSchemaV1_0"
_MOST_VALUES = 25
_LONGEST_VALUE = 512
_FUNCTION_ID = re.compile(r"/subscriptions/.+/sites/[^/]+/functions/[^/]+", re.IGNORECASE)


def check_topic(store: Store, address: Address, body: Mapping[str, Any]) -> Document:
    """Return the system topic that a PUT writes. A PUT without an identity takes the identity away.

    :raises ArmError: Event Grid refuses it. Sources of the messages: azure-docs pull request 97986 (one topic per
        source), azure-quickstart-templates issue 13688 (source), AzureMapsCodeSamples issue 75 (location).
    """
    if not _TOPIC_NAME.fullmatch(address.name):
        raise invalid_request(f"System topic name '{address.name}' is invalid: 3 to 50 letters, digits and hyphens.")
    properties = _object(body, "properties")
    source, topic_type = str(properties.get("source", "")), str(properties.get("topicType", ""))
    known = store.get(address.text)
    if known is not None and known["properties"]["source"].lower() != source.lower():
        raise invalid_request("System topic source cannot be modified.")
    found = store.get(source)
    if found is None or found["type"].lower() not in TOPIC_TYPES:
        raise invalid_request(f"System topic source {source} does not exist.")
    known_type = TOPIC_TYPES[found["type"].lower()]
    if topic_type.lower() != known_type.lower():
        raise invalid_request(f"Topic type {topic_type} does not match the source {source}.")
    if str(body.get("location", "")).lower().replace(" ", "") != found["location"].lower():
        raise invalid_request(f"System topic's location must match with location of the source resource {source}.")
    for other in store.of_type(SYSTEM_TOPIC.key):
        if other["properties"]["source"].lower() == source.lower() and other["id"].lower() != address.key:
            message = (
                f"There is an existing tracked system topic for the given source {source}. "
                "Only one system topic is allowed per source."
            )
            raise invalid_request(message)
    document: Document = {
        "location": found["location"],
        "tags": body.get("tags"),
        "properties": {"source": source, "topicType": known_type, "metricResourceId": str(uuid.uuid4())},
    }
    if known is not None and (metric := known["properties"].get("metricResourceId")):  # an added one may have none
        document["properties"]["metricResourceId"] = metric
    if identity := _identity(store, known, body.get("identity")):
        document["identity"] = identity
    return document


def _identity(store: Store, known: Document | None, wanted: object) -> Document | None:
    kind = str(wanted.get("type", "None")) if isinstance(wanted, dict) else "None"
    if kind == "None":
        return None
    if kind != "SystemAssigned":
        raise invalid_request(f"The stand-in does not support identities of the type {kind}.")
    if known is not None and "identity" in known:
        return dict(known["identity"])
    principal = str(uuid.uuid4())
    store.principals[principal] = store.behavior.principal_checks
    return {"type": "SystemAssigned", "principalId": principal, "tenantId": store.tenant}


def check_subscription(store: Store, address: Address, body: Mapping[str, Any]) -> Document:
    """Return the event subscription that a PUT writes.

    :raises ArmError: Event Grid refuses it. The messages are the stand-in's, except where a source is named.
    """
    if not _SUBSCRIPTION_NAME.fullmatch(address.name):
        message = f"Event subscription name '{address.name}' is invalid: 3 to 64 letters, digits and hyphens."
        raise invalid_request(message)
    properties = _object(body, "properties")
    topic = _topic(store, address.parent)
    _check_destination(_object(properties, "destination"))
    _check_numbers("retryPolicy", properties.get("retryPolicy"), _RETRY_POLICY)
    schema = properties.get("eventDeliverySchema", "EventGridSchema")
    if schema not in ("EventGridSchema", _CLOUD_EVENTS):
        raise invalid_request(f"The event delivery schema {schema} is not supported.")
    if topic["properties"].get("inputSchema") == _CLOUD_EVENTS != schema:
        raise invalid_request(f"The topic {topic['name']} receives CloudEvents, which are not delivered as {schema}.")
    _check_filter(_object(properties, "filter"), str(topic["properties"].get("topicType")))
    if "deadLetterWithResourceIdentity" in properties:
        _check_dead_letters(_object(properties, "deadLetterWithResourceIdentity"), topic)
    return {"properties": {**properties, "eventDeliverySchema": schema, "topic": topic["id"]}}


def _topic(store: Store, topic_id: str) -> Document:
    """Return a topic, with what a topic in a domain has from its domain. It exists: parents are looked for first."""
    found = store.get(topic_id) or {}
    if found["type"] != DOMAIN_TOPIC.name:
        return found
    domain = store.get(topic_id[: topic_id.lower().rindex("/topics/")]) or {}
    return {**domain, "id": found["id"], "name": found["name"]}


_RETRY_POLICY = {"eventTimeToLiveInMinutes": (1, 1440), "maxDeliveryAttempts": (1, 30)}
_BATCH = {"maxEventsPerBatch": (1, 5000), "preferredBatchSizeInKilobytes": (1, 1024)}


def _check_destination(destination: Mapping[str, Any]) -> None:
    if destination.get("endpointType") != "AzureFunction":
        raise invalid_request(f"The stand-in does not support the endpoint type {destination.get('endpointType')}.")
    properties = _object(destination, "properties")
    if not _FUNCTION_ID.fullmatch(str(properties.get("resourceId"))):
        raise invalid_request("Invalid event subscription request: the resource ID of an Azure function is expected.")
    _check_numbers("destination", {name: properties[name] for name in _BATCH if name in properties}, _BATCH)


def _check_numbers(what: str, given: object, limits: Mapping[str, tuple[int, int]]) -> None:
    for name, value in given.items() if isinstance(given, dict) else ():
        least, most = limits.get(name, (0, -1))
        if not isinstance(value, int) or not least <= value <= most:
            raise invalid_request(f"{what}: {name} must be between {least} and {most}, got {value}.")


def _check_filter(given: Mapping[str, Any], topic_type: str) -> None:
    """Check the event types and the other filters. Source of a message: cloud-custodian issue 4669."""
    known = EVENT_TYPES.get(topic_type)
    for kind in given.get("includedEventTypes") or ():
        if known is not None and kind not in known:
            raise invalid_request(f"The event type {kind} is not one of the topic type {topic_type}.")
    if unknown := {*given} - _FILTERS:
        raise invalid_request(f"A filter has no property {min(unknown)}.")
    filters = given.get("advancedFilters") or []
    count = sum(_check_advanced_filter(one) for one in filters)
    if max(count, len(filters)) > _MOST_VALUES:
        raise invalid_request(f"The maximum number of values allowed on an advanced filter is {_MOST_VALUES}.")


def _check_advanced_filter(one: Mapping[str, Any]) -> int:
    """Check an advanced filter, and return the number of its values."""
    operator, key = one.get("operatorType"), one.get("key")
    if not isinstance(key, str) or not key:
        raise invalid_request("An advanced filter must have a key.")
    if operator not in _OPERATORS | _SINGLE_OPERATORS | _BARE_OPERATORS:
        raise invalid_request(f"The operator type {operator} of the advanced filter on {key} is not supported.")
    values = one.get("values") if operator in _OPERATORS else [one[name] for name in ("value",) if name in one]
    if not isinstance(values, list) or not (values or operator in _BARE_OPERATORS):
        raise invalid_request(f"The advanced filter {operator} on {key} must have values.")
    if any(isinstance(value, str) and len(value) > _LONGEST_VALUE for value in values):
        raise invalid_request(f"A value of an advanced filter is longer than {_LONGEST_VALUE} characters.")
    return len(values)


def _check_dead_letters(given: Mapping[str, Any], topic: Document) -> None:
    destination = _object(given, "deadLetterDestination")
    properties = _object(destination, "properties")
    if destination.get("endpointType") != "StorageBlob" or not {"resourceId", "blobContainerName"} <= {*properties}:
        raise invalid_request("A dead-letter destination must be a blob container.")
    if _object(given, "identity").get("type") != "SystemAssigned":
        raise invalid_request("The stand-in supports only the system-assigned identity of the topic.")
    if "identity" not in topic:
        raise invalid_request(f"The topic {topic['name']} has no identity of the type SystemAssigned.")


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = parent.get(name)
    if not isinstance(value, dict):
        raise invalid_request(f"Invalid event subscription request: {name} must be an object.")
    return value


def finish_subscription(store: Store, document: Document) -> ArmError | None:
    """Return why the operation that writes an event subscription fails, or None.

    Sources of codes and messages: bicep issue 11656 (function), Azure-Functions issue 1007 (validation),
    bicep-registry-modules issue 5205 (role).
    """
    properties = document["properties"]
    target = properties["destination"]["properties"]["resourceId"]
    site = target[: target.lower().rindex("/functions/")]
    if target.lower() not in {function["id"].lower() for function in listed_functions(store, site)}:
        return _no_destination(target)
    if store.failed_validations < store.behavior.validations:
        store.failed_validations += 1
        app = store.get(site) or {}
        host = app.get("properties", {}).get("defaultHostName") or f"{app.get('name')}.azurewebsites.net"
        message = (
            f"The attempt to validate the provided endpoint https://{host}/runtime/webhooks/EventGrid failed. "
            "For more details, visit https://aka.ms/esvalidation."
        )
        return ArmError(400, "Url validation", message)
    return _finish_dead_letters(store, document)


def _finish_dead_letters(store: Store, document: Document) -> ArmError | None:
    properties = document["properties"]
    if "deadLetterWithResourceIdentity" not in properties:
        return None
    where = properties["deadLetterWithResourceIdentity"]["deadLetterDestination"]["properties"]
    container = f"{where['resourceId']}/blobServices/default/containers/{where['blobContainerName']}"
    found = store.get(container)
    if found is None or found["type"] != CONTAINER.name:
        return _no_destination(container)
    topic = _topic(store, properties["topic"])
    if may(store, str(topic.get("identity", {}).get("principalId")), BLOB_WRITERS, container):
        return None
    message = (
        f"Managed Identity for {document['name']} does not have permission to perform appropriate action on the "
        "destination resource. Managed identity for event subscription does not have authorization to deliver to the "
        "endpoint. Visit aka.ms/egmsivalidation for more details."
    )
    return ArmError(400, "Managed Identity Authorization Error", message)


def _no_destination(resource: str) -> ArmError:
    message = (
        f"Destination endpoint not found. Resource details: resourceId: {resource}. "
        "Resource should pre-exist before attempting this operation."
    )
    return ArmError(400, "Endpoint validation", message)
