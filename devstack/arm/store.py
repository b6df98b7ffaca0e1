"""The resources, and the operations on them that have not ended."""

from __future__ import annotations

import uuid
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from devstack.ado.access import new_token
from devstack.ado.times import utc_now
from devstack.arm import ids
from devstack.arm.behavior import Behavior
from devstack.arm.types import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

Document = dict[str, Any]


@dataclass
class Operation:
    """A change that has not ended: of ``resource``, to ``document``, or to nothing if that is None."""

    resource: str
    document: Document | None
    looks: int
    failure: Mapping[str, str] | None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "InProgress"
    error: Mapping[str, str] | None = None


class Store:
    """Everything that the stand-in knows. It is not thread-safe; the emulator has a lock.

    :param resources: documents with an ``id``. They are taken as they are, without the checks of the services.
    :param clock: the time at which role assignments are created.
    """

    def __init__(self, resources: Iterable[Mapping[str, Any]] = (), clock: Callable[[], datetime] = utc_now) -> None:
        self.clock = clock
        self.behavior = Behavior()
        self.tenant = str(uuid.uuid4())
        self.principals: dict[str, int] = {}
        """The identities, each with the number of checks that do not find it yet."""
        self.arrivals: dict[str, int] = {}
        """The role assignments that have not arrived, each with the number of checks that do not see it yet."""
        self.syncs: dict[str, int] = {}
        """How often the functions of a site have been synchronized."""
        self.matched: dict[str, int] = {}
        """How many events each event subscription has matched, by its name."""
        self.failed_validations = 0
        """How many validations of an endpoint have failed."""
        self.keys = {name: new_token(f"{name}key") for name in ("master", "default", "system")}
        """The keys of all function apps."""
        self.operations: dict[str, Operation] = {}
        self._resources: dict[str, Document] = {}
        for resource in resources:
            self.add(resource)

    def add(self, resource: Mapping[str, Any]) -> None:
        """Add a resource, and the subscription and the resource group that it is in.

        :raises ValueError: it has no ID of a known type.
        """
        address = ids.parse(str(resource.get("id")))
        if address is None or address.is_collection or address.kind not in TYPES:
            raise ValueError(f"id: must be the ID of a resource of a known type, got {resource.get('id')!r}")
        self.save(address, resource)
        if principal := resource.get("identity", {}).get("principalId"):
            self.principals.setdefault(principal, 0)
        for path in ("/".join(address.text.split("/")[:length]) for length in (3, 5)):
            above = ids.parse(path)
            if above is not None and above.kind in (ids.GROUP, ids.SUBSCRIPTION) and self.get(path) is None:
                self.save(above, {"location": "westeurope", "properties": {"provisioningState": "Succeeded"}})

    def save(self, address: ids.Address, document: Mapping[str, Any]) -> Document:
        """Write a resource and return it. It keeps the ID with which it was first written."""
        known = self._resources.get(address.key, {"id": address.text, "name": document.get("name", address.name)})
        envelope = {"id": known["id"], "name": known["name"]}
        self._resources[address.key] = {**deepcopy(dict(document)), **envelope, "type": TYPES[address.kind].name}
        return deepcopy(self._resources[address.key])

    def get(self, resource_id: str) -> Document | None:
        return deepcopy(self._resources.get(resource_id.rstrip("/").lower()))

    def delete(self, resource_id: str) -> None:
        """Delete a resource with everything that is in it, nested in it, or an extension of it."""
        key = resource_id.rstrip("/").lower()
        for known in [one for one in self._resources if one == key or one.startswith(f"{key}/")]:
            del self._resources[known]
            self.arrivals.pop(known, None)

    def of_type(self, kind: str, scope: str = "") -> list[Document]:
        """Return the resources of a type, in a scope, in the order of their creation."""
        start = f"{scope.rstrip('/').lower()}/" if scope else ""
        return [
            deepcopy(document)
            for key, document in self._resources.items()
            if document["type"].lower() == kind and key.startswith(start)
        ]

    @property
    def resources(self) -> list[Document]:
        return deepcopy(list(self._resources.values()))

    def operation_on(self, resource_id: str) -> Operation | None:
        """Return the operation on a resource that has not ended, if there is one."""
        key = resource_id.lower()
        running = (one for one in self.operations.values() if one.status == "InProgress")
        return next((one for one in running if one.resource.lower() == key), None)
