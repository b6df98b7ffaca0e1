"""The resources that have events, and their topics, as Azure Resource Manager shows them.

Sources: Event Grid's REST API 2025-02-15, System Topics, Topics, Domains, Topic Types; Azure's REST API 2021-04-01,
Providers - Get At Tenant Scope; Microsoft Learn, "Azure Blob Storage as Event Grid source" for the kinds of accounts.
"""

from typing import Final, NamedTuple

from shared.suggestion import suggestion
from tools.azure.answers import Answer, ResourceManagerError
from tools.azure.event_resources import EVENT_GRID, WORKSPACES, is_ours, watched
from tools.azure.plan import WORKSPACE_VARIABLES, Plan
from tools.azure.resource_manager import ResourceManager
from tools.azure.sources import SOURCES, STORAGE, SYSTEM_TOPIC, WORKSPACE, Resource
from tools.errors import CommandFailed

PROVIDERS: Final = "2021-04-01"

_TOPIC_TYPES: Final = "/providers/Microsoft.EventGrid/topicTypes"
_FORBIDDEN: Final = 403
_UNAUTHORIZED: Final = frozenset({401, 403})
_WITHOUT_EVENTS: Final = frozenset({"Storage", "FileStorage"})
"""The kinds of storage accounts that raise no events about blobs: general purpose v1, and file shares only."""


class Found(NamedTuple):
    """What there is of the resources of a plan.

    :param listed: the system topics next to them, whatever their source.
    :param topics: the topic of each resource; None if it has none yet.
    :param regions: where each is.
    :param kinds: for each, the type of its system topic; empty for a topic that is not a system topic.
    """

    listed: list[Answer]
    topics: dict[Resource, Answer | None]
    regions: dict[Resource, str]
    kinds: dict[Resource, str]


def find_all(manager: ResourceManager, plan: Plan) -> Found:
    """Find the resources of a plan and their topics, and check that events of the wanted types can come from them.

    :raises CommandFailed: one does not exist, may not be read, or does not have such events.
    """
    documents = {resource: _read(manager, resource) for resource in plan.resources}
    listed = list_topics(manager, plan)
    topics = {resource: topic_of(manager, resource, listed) for resource in plan.resources}
    for resource, topic in topics.items():
        check_identity(plan, resource, topic)
    regions = {resource: document.text("location", "") for resource, document in documents.items()}
    found = Found(listed, topics, regions, {one: _kind(manager, one, documents[one]) for one in plan.resources})
    for resource, kind in found.kinds.items():
        _check_sources(manager, plan, resource, kind)
    return found


def _read(manager: ResourceManager, resource: Resource) -> Answer:
    """Return a resource. That of a topic in a domain is the domain.

    :raises CommandFailed: it does not exist, or may not be read.
    """
    why = ""
    try:
        wanted = watched(resource.id) if resource.is_topic else resource
        found = manager.get(wanted.id, _version(manager, wanted))
    except ResourceManagerError as exc:
        if exc.status not in _UNAUTHORIZED:
            raise
        found, why = None, f" ({exc.reason.rstrip('.')})"
    if found is None:
        variables = " or ".join(WORKSPACE_VARIABLES) if resource.type == WORKSPACE else SOURCES
        raise CommandFailed(
            f"there is no {resource.kind} {resource.id} that you may read{why}; correct {variables}, or ask for the "
            "role Reader"
        )
    return found


def _version(manager: ResourceManager, resource: Resource) -> str:
    """Return the version of the API that reads a resource: for other types than our own, the newest stable one."""
    if resource.type == WORKSPACE:
        return WORKSPACES
    namespace, _, kind = resource.type.partition("/")
    if namespace == SYSTEM_TOPIC.partition("/")[0]:
        return EVENT_GRID
    provider = manager.get(f"/providers/{namespace}", PROVIDERS)
    types = () if provider is None else provider.objects("resourceTypes")
    versions = next((one.texts("apiVersions") for one in types if one.text("resourceType").lower() == kind.lower()), [])
    if not versions:
        raise CommandFailed(f"Azure has no resources of the type {resource.type}; correct {SOURCES}: {resource.id}")
    return next((version for version in versions if "preview" not in version), versions[0])


def _kind(manager: ResourceManager, resource: Resource, document: Answer) -> str:
    """Return the type of the system topic of a resource: its resource type with dots, as Event Grid spells it.

    :param document: the resource.
    :raises CommandFailed: there is none, so the resource has no events.
    """
    if resource.type == WORKSPACE:
        return "Microsoft.MachineLearningServices.Workspaces"
    if resource.is_topic:
        return document.object("properties").text("topicType", "")
    name = resource.type.replace("/", ".")
    found = {each.lower(): each for each in _names(manager, _TOPIC_TYPES) or [name]}.get(name.lower())
    if found is None:
        raise CommandFailed(
            f"Event Grid has no events of resources of the type {resource.type}, such as {resource.id}; "
            "'az eventgrid topic-type list' shows the types that it has"
        )
    if resource.type == STORAGE and document.text("kind", "") in _WITHOUT_EVENTS:
        raise CommandFailed(
            f"the {resource.words} is of the kind {document['kind']}, which raises no events about blobs; upgrade it "
            "to StorageV2, or name another one"
        )
    return found


def _check_sources(manager: ResourceManager, plan: Plan, resource: Resource, kind: str) -> None:
    """Check the event types of the sources that are a resource.

    :raises CommandFailed: a type is missing or unknown, so that too many events would come, or none.
    """
    wanted = [source.filter.get("includedEventTypes", []) for source in plan.sources_of(resource)]
    if resource.type == STORAGE and [] in wanted:
        raise CommandFailed(
            f"{SOURCES} names no 'types' for the {resource.words}, which raises an event for each blob that is "
            'written, renamed or deleted; add "types": ["Microsoft.Storage.BlobCreated"]'
        )
    if not kind or not any(wanted):
        return
    known = _names(manager, f"{_TOPIC_TYPES}/{kind}/eventTypes")
    for name in (name for types in wanted for name in types):
        if known and name not in known:
            raise CommandFailed(
                f"the {resource.words} has no events of the type {name}, which {SOURCES} names; "
                f"{suggestion(name, known)}"
            )


def _names(manager: ResourceManager, path: str) -> list[str]:
    """Return the names in a list of Event Grid's types; none if it may not be read, as they belong to the tenant."""
    try:
        return [each.text("name") for each in manager.list(path, EVENT_GRID)]
    except ResourceManagerError as exc:
        if exc.status not in _UNAUTHORIZED:
            raise
        return []


def list_topics(manager: ResourceManager, plan: Plan) -> list[Answer]:
    """Return the system topics of the resources' subscriptions, or of what can be read there.

    The topic of a resource may be in any resource group. An operator who may not list the whole subscription sees
    those of the resource's group. If there is one elsewhere, Event Grid refuses to create another, and says so.

    :raises CommandFailed: they cannot be listed.
    """
    topics = []
    resources = [one for one in plan.resources if not one.is_topic]
    for subscription in dict.fromkeys(one.subscription for one in resources):
        try:
            topics += _list(manager, f"/subscriptions/{subscription}")
        except ResourceManagerError as exc:
            if exc.status != _FORBIDDEN:
                raise
            groups = (each.group_id for each in resources if each.subscription == subscription)
            for group in dict.fromkeys(groups):
                topics += _list_group(manager, group)
    return topics


def _list_group(manager: ResourceManager, group: str) -> list[Answer]:
    try:
        return _list(manager, group)
    except ResourceManagerError as exc:
        if exc.status != _FORBIDDEN:
            raise
        raise CommandFailed(
            f"the Event Grid system topics in {group} cannot be listed: {exc.reason.rstrip('.')}; ask for the role "
            "EventGrid Contributor on it",
            1,
        ) from exc


def _list(manager: ResourceManager, scope: str) -> list[Answer]:
    return manager.list(f"{scope}/providers/{SYSTEM_TOPIC}", EVENT_GRID)


def topic_of(manager: ResourceManager, resource: Resource, topics: list[Answer]) -> Answer | None:
    """Return the topic of a resource: its system topic, or the resource, if it is a topic; None if there is none.

    :param topics: the system topics that are listed. Resource IDs are equal whatever their case.
    :raises ResourceManagerError: it may not be read.
    """
    if resource.is_topic:
        found = manager.get(watched(resource.id).id, EVENT_GRID)
        return None if found is None else Answer({**found, "id": resource.id, "name": resource.name}, found.request)
    wanted = resource.id.lower()
    return next((one for one in topics if one.object("properties").text("source", "").lower() == wanted), None)


def identity_of(topic: Answer) -> str:
    """Return the object ID of a topic's system-assigned identity; an empty string if it has none."""
    return topic.object("identity").text("principalId", "")


def check_identity(plan: Plan, resource: Resource, topic: Answer | None) -> None:
    """Check that a topic of somebody else can write dead letters. A system topic of ours gets its identity from us.

    :raises CommandFailed: it has no identity of its own. The message says how to add one.
    """
    if topic is None or identity_of(topic) or is_ours(plan, resource, topic):
        return
    owner = watched(topic.text("id"))
    of_what = "" if resource.is_topic else f" of the {resource.words}"
    raise CommandFailed(
        f"the Event Grid {owner.words}{of_what} has no identity to write dead letters with; give it a system-assigned "
        f"one: in the portal on its page Identity, or with az eventgrid {owner.kind.replace(' ', '-')} update "
        f"--ids {owner.id} --identity systemassigned"
    )
