"""Resource IDs. They are not case-sensitive, and answers keep the spelling with which a resource was created.

Source: the resource provider contract (``Azure/azure-resource-manager-rpc``, resource API reference): a resource is
addressed by ``{scope}/providers/{namespace}/{type}/{name}``, followed by more pairs of type and name if it is nested.
If the scope is another resource, the resource is an extension of it, such as a role assignment or a lock.
"""

from __future__ import annotations

from dataclasses import dataclass

GROUP = "microsoft.resources/resourcegroups"
SUBSCRIPTION = "microsoft.resources/subscriptions"


@dataclass(frozen=True)
class Address:
    """The path of a resource or of a collection.

    :param text: the path without a slash at the end.
    :param kind: the resource type in lower case.
    :param names: the names of the resource and of those that it is nested in. A collection has one name fewer.
    :param parent: the path of the resource that this one is nested in or extends; else of its group or subscription.
    """

    text: str
    kind: str
    names: tuple[str, ...]
    parent: str
    is_collection: bool

    @property
    def key(self) -> str:
        return self.text.lower()

    @property
    def name(self) -> str:
        return self.names[-1]

    @property
    def subscription(self) -> str:
        return self.text.split("/")[2]

    @property
    def group(self) -> str | None:
        """The name of the resource group, or None if the resource is in none."""
        parts = self.text.split("/")
        return parts[4] if len(parts) > 4 and parts[3].lower() == "resourcegroups" else None


def parse(path: str) -> Address | None:
    """Return the address in a path, or None if the path has another form."""
    text = path.rstrip("/")
    parts = text.split("/")
    lower = [part.lower() for part in parts]
    if lower[:2] != ["", "subscriptions"] or "" in parts[1:] or len(parts) == 2:
        return None
    if "providers" not in lower:
        return _container(text, parts, lower)
    start = len(lower) - 1 - lower[::-1].index("providers")
    namespace, types, names = lower[start + 1 : start + 2], lower[start + 2 :: 2], parts[start + 3 :: 2]
    if not namespace or not types:
        return None
    is_collection = len(types) > len(names)
    end = len(parts) - (1 if is_collection else 2)
    parent = "/".join(parts[: end if len(types) > 1 else start])
    return Address(text, "/".join([*namespace, *types]), tuple(names), parent, is_collection)


def parsed(path: str) -> Address:
    """Return the address in a path that is known to have one."""
    address = parse(path)
    if address is None:
        raise ValueError(f"{path} is not the path of a resource")
    return address


def _container(text: str, parts: list[str], lower: list[str]) -> Address | None:
    match lower[3:]:
        case []:
            return Address(text, SUBSCRIPTION, (parts[2],), "", is_collection=False)
        case ["resourcegroups"]:
            return Address(text, GROUP, (), "/".join(parts[:3]), is_collection=True)
        case ["resourcegroups", _]:
            return Address(text, GROUP, (parts[4],), "/".join(parts[:3]), is_collection=False)
    return None
