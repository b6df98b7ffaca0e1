"""Where events come from: Azure resources, and what is delivered of each. No I/O.

``NEXTSTAGE_EVENT_SOURCES`` is a JSON list with an object for each event subscription. Sources: Event Grid's REST API
2025-02-15, EventSubscriptionFilter; Microsoft Learn, "Event filtering" for the limits of advanced filters.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from shared.suggestion import suggestion
from tools.errors import CommandFailed

SOURCES: Final = "NEXTSTAGE_EVENT_SOURCES"

WORKSPACE: Final = "Microsoft.MachineLearningServices/workspaces"
STORAGE: Final = "Microsoft.Storage/storageAccounts"
SYSTEM_TOPIC: Final = "Microsoft.EventGrid/systemTopics"
CUSTOM_TOPIC: Final = "Microsoft.EventGrid/topics"
DOMAIN_TOPIC: Final = "Microsoft.EventGrid/domains/topics"
DOMAIN: Final = "Microsoft.EventGrid/domains"
TOPICS: Final = (SYSTEM_TOPIC, CUSTOM_TOPIC, DOMAIN_TOPIC)

_RESOURCE: Final = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)"
    r"/providers/(?P<namespace>[^/]+)(?P<path>(/[^/]+/[^/]+)+)",
    re.IGNORECASE,
)
_KINDS: Final = {
    WORKSPACE: "workspace",
    STORAGE: "storage account",
    SYSTEM_TOPIC: "system topic",
    CUSTOM_TOPIC: "topic",
    DOMAIN_TOPIC: "domain topic",
    DOMAIN: "domain",
}
_NAMES: Final = {name.lower(): name for name in _KINDS}

KEYS: Final = {
    "source": "",
    "types": "includedEventTypes",
    "subject_begins_with": "subjectBeginsWith",
    "subject_ends_with": "subjectEndsWith",
    "advanced_filters": "advancedFilters",
}
"""The keys of an entry, and their names in Event Grid's filters."""

_OPERATORS: Final = {
    **{f"Number{how}": "values" for how in ("In", "NotIn", "InRange", "NotInRange")},
    **{
        f"String{negated}{how}": "values"
        for negated in ("", "Not")
        for how in ("In", "BeginsWith", "EndsWith", "Contains")
    },
    **{f"Number{how}Than{or_}": "value" for how in ("Less", "Greater") for or_ in ("", "OrEquals")},
    "BoolEquals": "value",
    "IsNotNull": "",
    "IsNullOrUndefined": "",
}
"""The operators of advanced filters, and the key of what they compare with."""

_MOST: Final = 25
"""The most advanced filters, and the most values of all of them together. A range counts as one value."""
_LONGEST: Final = 512
"""The most characters of a value."""
_BLOB_TYPES: Final = re.compile(
    r"Microsoft\.Storage\.(Blob(Created|Deleted|Renamed|TierChanged)|Directory\w+)", re.IGNORECASE
)
_CONTAINERS: Final = "/blobServices/default/containers/"
_EXAMPLE: Final = '[{"source": "<resource id>", "types": ["Microsoft.Storage.BlobCreated"]}]'


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource, by the parts of its ID.

    :param type: its type, such as ``Microsoft.Storage/storageAccounts``; in this spelling, if the type is known here.
    """

    id: str
    subscription: str = ""
    group: str = ""
    name: str = ""
    type: str = ""

    def __bool__(self) -> bool:
        """Return whether it is known."""
        return bool(self.id)

    @property
    def group_id(self) -> str:
        """The resource ID of its resource group."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"

    @property
    def kind(self) -> str:
        """What it is, in words: ``storage account``."""
        return _KINDS.get(self.type, "resource")

    @property
    def words(self) -> str:
        """What it is, with its name: ``storage account landing``."""
        return f"{self.kind} {self.name}"

    @property
    def is_topic(self) -> bool:
        """Whether it is a topic of Event Grid itself."""
        return self.type in TOPICS


class Source(NamedTuple):
    """Events of a resource that the app receives, by an event subscription of their own.

    :param filter: the filter in Event Grid's form.
    """

    resource: Resource
    filter: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Six digits that differ for different filters. The name of the event subscription ends with them."""
        return hashlib.sha256(json.dumps(self.filter, sort_keys=True).encode()).hexdigest()[:6]


UNKNOWN: Final = Resource("")


def resource_of(text: str) -> Resource | None:
    """Return the resource with an ID; None if it is not the ID of a resource in a resource group."""
    match = _RESOURCE.fullmatch(text)
    if match is None:
        return None
    types, names = match["path"].split("/")[1::2], match["path"].split("/")[2::2]
    kind = "/".join([match["namespace"], *types])
    return Resource(text, match["subscription"], match["group"], names[-1], _NAMES.get(kind.lower(), kind))


def read_sources(text: str) -> tuple[Source, ...]:
    """Read the value of ``NEXTSTAGE_EVENT_SOURCES``. It may be empty.

    :raises CommandFailed: it has mistakes; the message names the entry of each.
    """
    if not text:
        return ()
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise CommandFailed(f"{SOURCES} is not JSON: {exc}; it has the form {_EXAMPLE}") from exc
    if not isinstance(entries, list):
        raise CommandFailed(f"{SOURCES} must be a list; it has the form {_EXAMPLE}")
    problems: list[str] = []
    found: list[Source] = []
    numbers: dict[tuple[str, str], int] = {}
    for number, entry in enumerate(entries, 1):
        resource = _resource(entry)
        wrong = list(_problems(entry, resource))
        if resource is not None and not wrong:
            source = Source(resource, _filter(entry))
            first = numbers.setdefault((resource.id.lower(), source.key), number)
            wrong = [f"is the same as entry {first}"] if first != number else []
            found.append(source)
        problems += (f"{_place(number, entry)} {one}" for one in wrong)
    if problems:
        raise CommandFailed("\n".join(problems))
    return tuple(found)


def _place(number: int, entry: Any) -> str:
    """Return what names an entry: its number, and the name of its resource."""
    source = entry.get("source") if isinstance(entry, dict) else None
    name = source.rstrip("/").rpartition("/")[2] if isinstance(source, str) else ""
    return f"{SOURCES}, entry {number}{f' ({name})' if name else ''}:"


def _resource(entry: Any) -> Resource | None:
    source = entry.get("source") if isinstance(entry, dict) else None
    return resource_of(source.strip().rstrip("/")) if isinstance(source, str) else None


def _filter(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry's filter in Event Grid's form."""
    return {theirs: entry[name] for name, theirs in KEYS.items() if theirs and name in entry}


def _problems(entry: Any, resource: Resource | None) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield "must be an object with 'source' and 'types'"
        return
    for name in entry:
        if name not in KEYS:
            yield f"has an unknown key '{name}'; {suggestion(name, KEYS)}"
    yield from _source_problems(entry.get("source"), resource)
    types = entry.get("types", ["all"])
    if not isinstance(types, list) or not types or not all(isinstance(each, str) and each.strip() for each in types):
        types = ["all"]
        yield "'types' must be a list of event types, such as [\"Microsoft.Storage.BlobCreated\"]"
    for name in ("subject_begins_with", "subject_ends_with"):
        text = entry.get(name, "all")
        if not isinstance(text, str) or not text:
            yield f"'{name}' must be a string that is not empty"
        elif "*" in text:
            yield f"'{name}' has a '*', but Event Grid knows no wildcards"
    begins = str(entry.get("subject_begins_with", ""))
    is_storage = resource is not None and resource.type == STORAGE
    if is_storage and all(_BLOB_TYPES.fullmatch(str(each)) for each in types) and not _is_beginning_of_blobs(begins):
        yield (
            f"'subject_begins_with' matches no blob: {begins}; the subject of a blob is "
            f"{_CONTAINERS}<container>/blobs/<path>"
        )
    yield from _filter_problems(entry.get("advanced_filters", []))


def _is_beginning_of_blobs(text: str) -> bool:
    """Return whether the subject of an event about a blob can begin with this text, in any case."""
    text, containers = text.lower(), _CONTAINERS.lower()
    if not text.startswith(containers):
        return containers.startswith(text)
    _, _, rest = text.removeprefix(containers).partition("/")
    return rest.startswith("blobs/") or "blobs/".startswith(rest)


def _source_problems(source: Any, resource: Resource | None) -> Iterator[str]:
    kind = resource.type.lower() if resource is not None else ""
    if not isinstance(source, str) or not source.strip():
        yield "needs a 'source': the resource id of a storage account, a topic, or another resource that has events"
    elif resource is None:
        yield (
            f"'source' is not a resource id: {source}; it has the form "
            "/subscriptions/<id>/resourceGroups/<group>/providers/<type>/<name>"
        )
    elif resource.type == DOMAIN:
        yield "'source' is a domain; name one of its topics: <id of the domain>/topics/<name>"
    elif kind.startswith("microsoft.eventgrid/") and not resource.is_topic:
        yield f"'source' has the type {resource.type}; of Event Grid's own types, there are {', '.join(TOPICS)}"
    elif kind.startswith(f"{STORAGE.lower()}/"):
        yield "'source' must be the storage account itself; choose a container with 'subject_begins_with'"


def _filter_problems(filters: Any) -> Iterator[str]:
    if not isinstance(filters, list):
        yield "'advanced_filters' must be a list of filters in Event Grid's form"
        return
    values = 0
    for number, one in enumerate(filters, 1):
        where = f"filter {number} of 'advanced_filters'"
        if not isinstance(one, dict) or not isinstance(one.get("key"), str) or not one["key"]:
            yield f"{where} must be an object with a 'key', such as data.api"
        elif problem := _filter_problem(one):
            yield f"{where} {problem}"
        else:
            values += len(one.get("values", [0]))
    if max(values, len(filters)) > _MOST:
        yield f"'advanced_filters' has {max(values, len(filters))} filters or values; Event Grid allows {_MOST}"


def _filter_problem(one: Mapping[str, Any]) -> str:
    """Return what is wrong with an advanced filter; an empty string if nothing is."""
    operator = str(one.get("operatorType"))
    if operator not in _OPERATORS:
        return f"has an unknown 'operatorType' {operator}; {suggestion(operator, _OPERATORS)}"
    needed = _OPERATORS[operator]
    if needed and needed not in one:
        return f"needs '{needed}' for {operator}"
    if unknown := sorted({*one} - {"key", "operatorType", needed}):
        return f"has no key '{unknown[0]}' for {operator}"
    values = one.get("values", [""])
    if not isinstance(values, list) or not values:
        return f"needs a list of 'values' for {operator}"
    if any(isinstance(value, str) and len(value) > _LONGEST for value in values):
        return f"has a value of more than {_LONGEST} characters"
    compared = values if needed == "values" else [one[needed]] if needed else []
    wrong = (value for value in compared if not _is_comparable(value, operator))
    return next((f"cannot compare with {json.dumps(value)} by {operator}" for value in wrong), "")


def _is_comparable(value: Any, operator: str) -> bool:
    if operator.startswith("String"):
        return isinstance(value, str)
    if operator.startswith("Bool"):
        return isinstance(value, bool)
    numbers = value if operator.endswith("InRange") and isinstance(value, list) else [value]
    is_complete = len(numbers) == (2 if operator.endswith("InRange") else 1)
    return is_complete and all(isinstance(each, int | float) and not isinstance(each, bool) for each in numbers)
